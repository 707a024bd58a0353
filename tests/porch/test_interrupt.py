"""Ctrl-C in a compiled loop that would run for years: the step ends with KeyboardInterrupt, and every variable is as it was."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, threading, time
import tapejit as tf

v = tf.Variable([1.0, 2.0])
count = tf.Variable(0)

@tf.function
def forever(n):
    count.assign_add(1)
    v.assign(v * 2.0)
    LOOP
    v.assign_add(x)
    return x

@tf.function
def after(x):
    v.assign_add(x)
    return tf.reduce_sum(v)

forever(tf.constant(1, tf.int64))
before = v.numpy(), count.numpy()
HANDLER
sent = []
def send():
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
threading.Timer(0.3, send).start()
try:
    forever(tf.constant(2**62, tf.int64))
except EXPECTED as e:
    print("interrupted", e, round(time.perf_counter() - sent[0], 3), file=sys.stderr)
    assert (v.numpy() == before[0]).all() and count.numpy() == before[1], (v, count)
    assert float(after(tf.constant([1.0, 1.0]))) == before[0].sum() + 2
    print("good")
"""
TIGHT = "_, x = tf.while_loop(lambda i, x: i < n, lambda i, x: (i + 1, x * 0.5 + 1.0), [tf.constant(0, tf.int64), v + 0.0])"
NESTED = """inner = lambda x: tf.while_loop(lambda j, x: j < 3, lambda j, x: (j + 1, x * 0.5 + 1.0), [0, x])[1]
    _, x = tf.while_loop(lambda i, x: i < n, lambda i, x: (i + 1, inner(x)), [tf.constant(0, tf.int64), v + 0.0])"""
HEAVY = """def body(i, x):
        return i + 1, tf.reduce_sum(tf.sin(tf.range(300000.0) * x[0])) * 1e-9 + x
    _, x = tf.while_loop(lambda i, x: i < n, body, [tf.constant(0, tf.int64), v + 0.0])"""


@pytest.mark.parametrize("loop", [TIGHT, NESTED, HEAVY], ids=["tight", "nested", "heavy"])
def test_a_long_loop_ends_at_ctrl_c(loop):
    as_at_a_prompt = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # background jobs of a shell ignore the signal
    run(PROGRAM.replace("LOOP", loop).replace("HANDLER", as_at_a_prompt).replace("EXPECTED", "KeyboardInterrupt"))


def test_what_a_handler_raises_ends_the_step_and_one_that_returns_does_not():
    handler = """
class Stop(Exception):
    pass

calls = []
def handle(number, frame):
    calls.append(number)
    if len(calls) == 2:
        raise Stop("the second time")
    threading.Timer(0.2, send).start()

signal.signal(signal.SIGINT, handle)
"""
    run(PROGRAM.replace("LOOP", TIGHT).replace("HANDLER", handler).replace("EXPECTED", "Stop"))


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "good\n", done.stderr

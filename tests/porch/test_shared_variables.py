"""Threads that call training steps on the same variables: no update is lost, also where steps let other threads run meanwhile."""

import os
import threading

import numpy as np

import tapejit as tf

COUNT = 1000


def in_threads(*works):
    failed = []

    def guarded(work):
        try:
            for _ in range(COUNT):
                work()
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=guarded, args=(w,)) for w in works]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, failed


def one():
    """1, by a loop: a step with a loop releases the interpreter's lock."""
    return tf.while_loop(lambda i, x: i < 10000, lambda i, x: (i + 1, x * 0.5 + 0.5), [0, 1.0])[1]


def test_one_step_from_two_threads():
    v = tf.Variable(tf.zeros([64]))

    @tf.function
    def step():
        v.assign_add(tf.fill([64], one()))

    step()
    in_threads(step, step)
    np.testing.assert_array_equal(v, np.full(64, 2 * COUNT + 1))


def test_two_steps_that_share_some_of_their_variables():
    a, b, c = (tf.Variable(0.0) for _ in range(3))

    @tf.function
    def first():
        a.assign_add(one())
        b.assign_add(one())

    @tf.function
    def second():
        c.assign_add(one())
        b.assign_add(one())

    first()
    second()
    in_threads(first, second, first)
    assert [v.numpy() for v in (a, b, c)] == [2 * COUNT + 1, 3 * COUNT + 2, COUNT + 1]


def test_a_step_that_calls_itself_through_python_does_not_wait_for_itself():
    v = tf.Variable(0)

    @tf.function
    def step(n):
        tf.py_function(lambda k: step(k - 1) if k > 0 else None, [n], [])
        v.assign_add(1)

    step(tf.constant(3))
    assert v.numpy() >= 1
    step(tf.constant(3))


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent():
    v = tf.Variable(0.0)

    @tf.function
    def step():
        v.assign_add(one())

    step()
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [step() for _ in iter(stop.is_set, True)])
    busy.start()
    for _ in range(5):
        child = os.fork()
        if not child:
            step()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    stop.set()
    busy.join()

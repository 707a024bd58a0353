"""Modules in parts: together they are the whole, each kernel is in one of them, and calls go from later parts to earlier ones."""

import itertools
import re

import numpy as np
import pytest

import tapejit as tf
from tapejit.codegen import llvm
from tapejit.codegen.llvm_parts import LEAST
from tapejit.passes import pipeline
from tapejit.runtime import compile as native
from tapejit.runtime import host
from tapejit.schedule import plan as schedule

RNG = np.random.default_rng(0)
SIZES = (9, 33, 17, 12, 5)


def network():
    weights = [tf.Variable(RNG.normal(size=s).astype("float32")) for s in itertools.pairwise(SIZES)]

    def step(x):
        with tf.GradientTape() as tape:
            h = x
            for w in weights:
                h = tf.nn.softmax(tf.tanh(h @ w)) * tf.exp(-h @ w)
            loss = tf.reduce_mean(tf.math.log1p(h * h))
        return loss, tape.gradient(loss, weights)

    return step


def source(step):
    x = tf.constant(RNG.normal(size=(2000, 9)).astype("float32"))
    traced = tf.function(step).get_concrete_function(x).traced
    return llvm.module(schedule.plan(pipeline.run(traced), host.target()).program, host.target(), pool=True)


def defined(text):
    return set(re.findall(r"^define (?:internal )?\w+ @(kernel\.[\w.$-]+|\w+)\(", text, re.MULTILINE))


@pytest.mark.skipif(host.target().threads < 2, reason="one thread compiles one module")
def test_every_kernel_is_in_one_part_and_parts_call_backwards():
    s = source(network())
    assert len(s.text.splitlines()) > LEAST
    assert len(s.parts) == 2
    kernels = [{n for n in defined(p) if n.startswith("kernel.")} for p in s.parts]
    assert not kernels[0] & kernels[1]
    assert kernels[0] | kernels[1] == {n for n in defined(s.text) if n.startswith("kernel.")}
    assert s.entry in defined(s.parts[1])
    declared = [set(re.findall(r"^declare \w+ @(kernel\.[\w.$-]+)\(", p, re.MULTILINE)) for p in s.parts]
    assert not declared[0]
    assert declared[1] <= kernels[0]


def test_small_modules_stay_whole():
    s = source(lambda x: x + 1.0)
    assert s.parts == (s.text,)


def test_a_step_in_parts_computes_what_python_does():
    step = network()
    x = tf.constant(RNG.normal(size=(700, 9)).astype("float32"))
    found, wanted = tf.function(step)(x), step(x)
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_part_that_llvm_refuses_is_an_error_whichever_it_is():
    good = "define i64 @f() {\n  ret i64 1\n}\n"
    for texts in ((good, "nonsense"), ("nonsense", good)):
        with pytest.raises(native.CompileError, match="nonsense"):
            native.object_codes(texts)

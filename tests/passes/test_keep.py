"""Products of a loop are kept for its gradient; what is cheap is computed again."""

from __future__ import annotations

import numpy as np
import pytest

import tapejit as tf
from tapejit.ir.verifier import verify
from tapejit.passes.keep import keep

RNG = np.random.default_rng(5)


def recurrent(x, w):
    with tf.GradientTape() as tape:
        tape.watch([x, w])
        states = tf.scan(lambda h, row: tf.tanh(row + h @ w), x, tf.zeros(x.shape[1:]))
        loss = tf.reduce_sum(tf.square(states))
    return loss, *tape.gradient(loss, [x, w])


def products_of(graph):
    """How many products the bodies of the loops of a graph have."""
    return [sum(n.op.name == "matmul" for n in loop.attrs["body"].body) for loop in graph.walk() if loop.op.name == "scan"]


@pytest.mark.parametrize(("width", "expected"), [(24, [1, 2]), (3, [1, 3])])
def test_deep_products_are_kept(width, expected):
    x, w = (tf.constant(0.3 * RNG.normal(size=s).astype("float32")) for s in ((5, 4, width), (width, width)))
    traced = tf.function(recurrent)
    for a, b in zip(traced(x, w), recurrent(x, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    graph = traced.graph("optimized")
    assert products_of(graph) == expected
    assert products_of(verify(keep(graph), graph)) == expected


def test_loops_of_other_operands_keep_nothing():
    def both(x, w, v):
        first = tf.scan(lambda h, row: tf.tanh(row + h @ w), x, tf.zeros(x.shape[1:]))
        second = tf.scan(lambda h, row: tf.tanh(row + h @ v), x, tf.zeros(x.shape[1:]))
        return first, second

    x, w, v = (tf.constant(0.3 * RNG.normal(size=s).astype("float32")) for s in ((5, 4, 20), (20, 20), (20, 20)))
    traced = tf.function(both)
    for a, b in zip(traced(x, w, v), both(x, w, v), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert products_of(traced.graph("optimized")) == [1, 1]


def test_second_order_and_reversed_layers():
    x, w = (tf.constant(0.3 * RNG.normal(size=s).astype("float32")) for s in ((4, 3, 18), (18, 18)))

    def curvature(x, w):
        with tf.GradientTape() as outer:
            outer.watch(w)
            with tf.GradientTape() as tape:
                tape.watch(w)
                h = tf.scan(lambda h, row: tf.tanh(row + h @ w), x, tf.zeros(x.shape[1:]), reverse=True)
                loss = tf.reduce_sum(h[0])
            steepness = tf.reduce_sum(tf.square(tape.gradient(loss, w)))
        return outer.gradient(steepness, w)

    np.testing.assert_allclose(tf.function(curvature)(x, w), curvature(x, w), rtol=1e-3, atol=1e-4)

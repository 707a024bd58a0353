"""What does not change within a loop is computed before it; what may fail, or costs nothing in the loop, stays."""

from __future__ import annotations

import numpy as np

import tapejit as tf
from tapejit.ir.verifier import verify
from tapejit.passes.hoist import hoist

RNG = np.random.default_rng(3)
X, W = (tf.constant(RNG.normal(size=s).astype("float32")) for s in ((5, 4, 3), (3, 3)))


def optimized(function, *args):
    """The optimised graph of a call, which gives what the function gives eagerly."""
    traced = tf.function(function)
    for a, b in zip(tf.nest.flatten(traced(*args)), tf.nest.flatten(function(*args)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    graph = traced.graph("optimized")
    assert verify(hoist(graph)) is not None
    return graph


def loops(graph):
    return [n for n in graph.walk() if n.op.name in ("scan", "while_loop")]


def names(graph):
    return [n.op.name for n in graph.body]


def test_products_and_sums_of_what_the_loop_does_not_change():
    def f(x, w):
        return tf.scan(lambda h, row: tf.tanh(row + h @ tf.matmul(w, w) + tf.reduce_sum(w, 0)), x, tf.zeros([4, 3]))

    graph = optimized(f, X, W)
    (loop,) = loops(graph)
    assert [n for n in names(graph) if n in ("matmul", "sum")] == ["matmul", "sum"]
    assert names(loop.attrs["body"]).count("matmul") == 1
    assert "sum" not in names(loop.attrs["body"])


def test_a_right_operand_is_turned_once():
    def f(x, w):
        return tf.scan(lambda h, row: row + tf.matmul(tf.matmul(h, w, transpose_b=True), w, transpose_b=True), x, tf.zeros([4, 3]))

    graph = optimized(f, X, W)
    (loop,) = loops(graph)
    assert names(graph).count("transpose") == 1
    assert not any(n.attrs.get("transpose_b") for n in loop.attrs["body"].body)


def test_the_gradient_of_a_recurrent_product():
    def f(x, w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            loss = tf.reduce_sum(tf.scan(lambda h, row: tf.tanh(row + h @ w), x, tf.zeros([4, 3])))
        return tape.gradient(loss, w)

    for loop in loops(optimized(f, X, W)):
        assert not any(n.attrs.get("transpose_b") for n in loop.attrs["body"].body)


def test_loops_in_loops_and_without_iterations():
    def f(x, w, n):
        def outer(i, y):
            def inner(j, z):
                return j + 1, tf.matmul(z, w @ w, transpose_b=True)

            return i + 1, tf.while_loop(lambda j, z: j < n, inner, (0, y))[1] + 1

        return tf.while_loop(lambda i, y: i < n, outer, (0, x))[1]

    for n in (0, 1, 3):
        graph = optimized(f, X[0], 0.1 * W, tf.constant(n))
    assert names(graph).count("matmul") == 1
    assert "matmul" not in names(loops(graph)[0].attrs["body"])


def test_what_may_fail_or_is_elementwise_stays():
    def f(x, w, at):
        return tf.scan(lambda h, row: h + row * tf.exp(tf.gather(w, at)), x, tf.zeros([4, 3]))

    graph = optimized(f, X, W, tf.constant([0, 1, 2, 1]))
    (loop,) = loops(graph)
    assert "exp" in names(loop.attrs["body"])
    assert "in_range" in names(loop.attrs["body"])


def test_the_product_of_repeated_rows_is_repeated():
    x, w = X[:, 0], W

    def f(x, w):
        return tf.matmul(tf.broadcast_to(x[:, None], [5, 7, 3]), w, transpose_b=True)

    graph = optimized(f, x, w)
    (product,) = (n for n in graph.body if n.op.name == "matmul")
    assert product.out.type.shape == (5, 1, 3)
    graph = optimized(lambda x, w: tf.matmul(tf.broadcast_to(x[0, :1], [5, 3]), w), x, w)  # each row the same number
    (product,) = (n for n in graph.body if n.op.name == "matmul")
    assert product.out.type.shape == (5, 3)

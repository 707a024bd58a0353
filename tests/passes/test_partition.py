"""Functions cut in two: the two halves give what the whole gives, and keep what is worth keeping."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.ir import interpreter
from tapejit.ir.verifier import verify
from tapejit.passes import pipeline
from tapejit.passes.differentiate import differentiate
from tapejit.passes.partition import backward, kept_values, pure
from tests.passes.programs import constant, traced

W = tf.Variable(np.array([[0.3, -0.2], [0.5, 0.7], [-0.4, 0.1]], "float32"), name="w")
S = tf.Variable(1.5, name="s")
X = tf.constant(np.array([[1.0, 2.0, -1.0], [0.5, -0.5, 2.0]], "float32"))
LARGE = tf.constant(np.linspace(-1, 1, 40, dtype="float32").reshape(20, 2))


def dense(x):
    hidden = tf.tanh(x @ W * S + 1.0)
    return tf.reduce_sum(hidden * hidden, axis=0) * 2.0


def cheap(x):
    return tf.reduce_sum(tf.abs(x * 2.0 + 1.0) * x)


def several(x):
    y = tf.exp(x)
    return y, tf.reduce_sum(y * S), tf.cast(x > 0.0, tf.int32)


def loops(x):
    return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.sin(y) * S), (0, x))[1]


def assigns(x):
    S.assign(S * 2.0)
    return x * S


def captures(x):
    return tf.reduce_sum(x @ tf.transpose(LARGE) if x.shape[1] == 2 else x) * tf.reduce_sum(LARGE * x[0, 0])


def halves(f, *args):
    concrete = traced(f, *args)
    graph = pure(differentiate(concrete.traced), list(concrete.cells), list(concrete.captured))
    kept = kept_values(graph)
    return concrete, verify(graph), kept


def run(graph, arrays):
    return interpreter.run(pipeline.run(graph), arrays)


@pytest.mark.parametrize("f", [dense, cheap, several, loops, assigns, captures])
def test_both_halves_together_give_what_the_eager_tape_gives(f):
    start = S.numpy()
    concrete, graph, kept = halves(f, X)
    values = [X.numpy(), *(v.numpy() for v in concrete.cells.values()), *(np.asarray(h) for h in concrete.captured.values())]
    with tf.GradientTape() as tape:
        tape.watch(X)
        target = f(X)
    S.assign(start)
    target = [t for t in (target if isinstance(target, tuple) else (target,)) if t.dtype.is_floating]
    expected = tape.gradient(target, [X, *concrete.cells.values()])
    given = [k for k, r in enumerate(graph.results) if r.type.dtype.differentiable]
    second, reached = backward(graph, given, kept)
    verify(second)
    *out, last = run(graph.with_body(graph.body, [*graph.results, *kept, graph.results[0]]), values)
    results, saved = out[: len(graph.results)], out[len(graph.results) :]
    np.testing.assert_array_equal(last, results[0])
    grads = run(second, [*values, *saved, *(np.ones_like(results[k]) for k in given)])
    found = dict(zip(reached, grads, strict=True))
    for k, e in enumerate(expected):
        assert (k in found) == (e is not None)
        if e is not None:
            np.testing.assert_allclose(found[k], e, rtol=1e-5, atol=1e-6)


def test_cheap_values_are_computed_again():
    _, _, kept = halves(cheap, X)
    assert kept == []


def test_products_and_costly_functions_are_kept():
    _, graph, kept = halves(dense, X)
    assert [v.name for v in kept] == ["hidden_1", "hidden"]  # the gradient of s needs the product
    second, _ = backward(graph, [0], kept)
    forward_products = [n for n in graph.body if n.op.name == "matmul"]
    assert [n for n in second.body if n.op.name == "matmul"] != forward_products
    assert not {id(n.outs[0]) for n in second.body} & {id(v) for v in kept}


def test_the_smaller_of_two_that_follow_from_each_other_is_kept():
    def f(x):
        row = tf.exp(tf.reduce_sum(x, axis=0, keepdims=True))
        wide = tf.broadcast_to(row, [2, 3])
        return tf.reduce_sum(wide * wide * x)

    _, _, kept = halves(f, X)
    assert [v.type.shape for v in kept] == [(1, 3)]


def test_a_result_costs_nothing_to_keep():
    def f(x):
        return tf.exp(x) * 2.0

    _, _, kept = halves(f, constant(1.0, 2.0))
    assert len(kept) == 1
    assert kept[0].type.shape == (2,)

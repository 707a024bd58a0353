"""Compares a function's values and its gradients to second order: eagerly, traced, traced under an eager tape, and by finite differences."""

from __future__ import annotations

import numpy as np
import optree

import tapejit as tf


def _loss(f, xs):
    """All results of `f` summed up with weights that tell them apart."""
    total = 0.0
    for k, y in enumerate(optree.tree_leaves(f(*xs))):
        y = tf.convert_to_tensor(y)
        if y.dtype.is_floating:
            y = tf.reshape(y, [-1])
            total = total + tf.reduce_sum(y * tf.cos(1.0 + k + tf.cast(tf.range(tf.shape(y)[0]), y.dtype)))
    return total


def orders(f, xs, directions):
    """The loss, its gradients, and the gradients of the gradients' product with `directions`."""
    with tf.GradientTape() as outer:
        outer.watch(xs)
        with tf.GradientTape() as inner:
            inner.watch(xs)
            loss = _loss(f, xs)
        first = inner.gradient(loss, xs, unconnected_gradients="zero")
        along = sum(tf.reduce_sum(g * d) for g, d in zip(first, directions, strict=True))
    second = outer.gradient(along, xs, unconnected_gradients="zero")
    return [loss, *first, *second]


def check(f, *arrays, tolerance=1e-9, second=True):
    """Assert that all ways agree on float64 `arrays`, and that finite differences do."""
    arrays = [np.asarray(a, np.float64) for a in arrays]
    random = np.random.default_rng(7)
    directions = [random.normal(size=a.shape) for a in arrays]
    ds = [tf.constant(d) for d in directions]
    xs = [tf.constant(a) for a in arrays]
    eager = [np.asarray(v) for v in orders(f, xs, ds)]
    traced = [np.asarray(v) for v in tf.function(lambda *a: orders(f, list(a), ds))(*xs)]
    called = [np.asarray(v) for v in orders(tf.function(f), xs, ds)]
    for name, got in (("traced", traced), ("a traced function under a tape", called)):
        for k, (g, e) in enumerate(zip(got, eager, strict=True)):
            assert (g.dtype, g.shape) == (e.dtype, e.shape), f"{name}, {k}"
            np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance, err_msg=f"{name}, {k}")
    n, step = len(arrays), 1e-5

    def at(sign):
        moved = [tf.constant(a + sign * step * d) for a, d in zip(arrays, directions, strict=True)]
        return [np.asarray(v) for v in orders(f, moved, ds)]

    up, down = at(1), at(-1)
    slope = (up[0] - down[0]) / (2 * step)
    along = sum(np.sum(g * d) for g, d in zip(eager[1 : n + 1], directions, strict=True))
    np.testing.assert_allclose(along, slope, rtol=1e-6, atol=1e-7, err_msg="finite difference")
    for k in range(n if second else 0):
        np.testing.assert_allclose(eager[n + 1 + k], (up[1 + k] - down[1 + k]) / (2 * step), rtol=1e-5, atol=1e-6, err_msg="second order")

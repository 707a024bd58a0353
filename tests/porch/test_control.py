"""Branches and loops on tensors: values and gradients eagerly, traced and compiled; variables in them; errors."""

from __future__ import annotations

import numpy as np
import pytest

import tapejit as tf
from orders import check

X = np.array([0.3, -0.7, 1.1])
M = np.array([[0.2, -0.4, 0.1], [0.5, 0.3, -0.2], [-0.1, 0.6, 0.4]])
ROWS = np.array([[0.1, 0.4, -0.3], [0.7, -0.2, 0.5], [-0.6, 0.3, 0.2], [0.9, 0.8, -0.5]])


def same(f, *args):
    """The result of `f` eagerly, which must be that of its trace."""
    want = f(*args)
    got = tf.function(f)(*args)
    for w, g in zip(tf.nest.flatten(want), tf.nest.flatten(got), strict=True):
        w, g = tf.convert_to_tensor(w), tf.convert_to_tensor(g)
        assert (w.dtype, tuple(w.shape)) == (g.dtype, tuple(g.shape))
        np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-6, atol=1e-6)
    return want


# ------------------------------------------------------------------------------------------------ gradients
def power(x, n=4):
    return tf.while_loop(lambda i, r: i < n, lambda i, r: (i + 1, r * x), (0, tf.ones_like(x)))[1]


def counted_by_data(x):
    return tf.while_loop(lambda v: tf.reduce_sum(v * v) < 30.0, lambda v: [v * 1.5 + x], [x])[0]


def loop_in_loop(x):
    def outer(i, s):
        _, s2 = tf.while_loop(lambda j, q: j < i, lambda j, q: (j + 1, tf.sin(q) + x * tf.cast(j + 1, tf.float64)), [0, s])
        return i + 1, s2

    return tf.while_loop(lambda i, s: i < 4, outer, [0, tf.zeros_like(x)])[1]


def branch_in_loop(x):
    def body(i, s):
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: s + x * x, lambda: tf.tanh(s) * x)

    return tf.while_loop(lambda i, s: i < 5, body, [0, x])[1]


def loop_in_branch(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: power(x), lambda: -x)


def scan_in_loop(x, rows):
    def body(i, s):
        return i + 1, tf.scan(lambda a, r: tf.tanh(a * r), rows, initializer=s)[-1] + x

    return tf.while_loop(lambda i, s: i < 3, body, [0, x])[1]


def branch_in_map(rows):
    return tf.map_fn(lambda r: tf.cond(tf.reduce_sum(r) > 0.5, lambda: r * r, lambda: tf.sin(r)), rows)


def two_results(x, m):
    a, b = tf.cond(x[0] < 0.5, lambda: (tf.linalg.matvec(m, x), tf.reduce_sum(x)), lambda: (x, tf.reduce_max(m)))
    return a * b


def rnn(rows, m):
    h = tf.scan(lambda h, r: tf.tanh(tf.linalg.matvec(m, h) + r), rows, initializer=tf.zeros([3], tf.float64))
    return h


def array_loop(rows, m):
    given = tf.TensorArray(tf.float64, size=4).unstack(rows)
    made = tf.TensorArray(tf.float64, size=4)

    def body(i, h, a):
        h = tf.tanh(tf.linalg.matvec(m, h) + given.read(i))
        return i + 1, h, a.write(i, h * 2.0)

    return tf.while_loop(lambda i, h, a: i < 4, body, [0, tf.ones([3], tf.float64), made])[2].stack()


def growing_array(x):
    made = tf.TensorArray(tf.float64, size=0, dynamic_size=True)

    def body(i, v, a):
        return i + 1, tf.sin(v) + x, a.write(i, v)

    return tf.while_loop(lambda i, v, a: i < 5, body, [0, x, made])[2].stack()


GRADIENTS = {
    "power": (power, X),
    "counted by data": (counted_by_data, X),
    "loop in loop": (loop_in_loop, X),
    "branch in loop": (branch_in_loop, X),
    "loop in branch": (loop_in_branch, X),
    "loop in other branch": (loop_in_branch, -X),
    "scan in loop": (scan_in_loop, X, ROWS),
    "branch in map": (branch_in_map, ROWS),
    "two results": (two_results, X, M),
    "no iterations": (lambda x: power(x, 0) + x, X),
    "limited": (lambda x: tf.while_loop(lambda s: True, lambda s: [tf.sin(s) * x], [x], maximum_iterations=3)[0], X),
    "recurrent": (rnn, ROWS, M),
    "scan of the rows themselves": (lambda r: tf.scan(lambda a, b: a * b + tf.sin(a), r), ROWS),
    "scan backwards": (lambda r: tf.scan(lambda a, b: a * b + 1.0, r, reverse=True), ROWS),
    "scan of a pair": (lambda r: tf.scan(lambda a, b: (a[0] * b, a[1] + tf.reduce_sum(a[0])), r, initializer=(tf.ones([3], tf.float64), tf.zeros([], tf.float64))), ROWS),
    "foldl": (lambda r: tf.foldl(lambda a, b: a * 0.5 + b * b * a, r), ROWS),
    "foldr": (lambda r: tf.foldr(lambda a, b: tf.sin(a) + b, r, initializer=tf.ones([3], tf.float64)), ROWS),
    "map": (lambda r, m: tf.map_fn(lambda x: tf.linalg.matvec(m, tf.tanh(x)), r), ROWS, M),
    "map of a pair": (lambda r, s: tf.map_fn(lambda p: p[0] * tf.sin(p[1]), (r, s), fn_output_signature=tf.float64), ROWS, ROWS + 1),
    "vectorized map": (lambda r: tf.vectorized_map(lambda x: tf.reduce_sum(tf.exp(x)) * x, r), ROWS),
    "array": (array_loop, ROWS, M),
    "growing array": (growing_array, X),
    "switch": (lambda x: tf.switch_case(tf.cast(tf.reduce_sum(x) * 2.0, tf.int32), [lambda: x, lambda: x * x, lambda: tf.sin(x)]), X),
    "case": (lambda x: tf.case([(x[0] > 1.0, lambda: -x), (x[2] > 1.0, lambda: x**3)], default=lambda: tf.sqrt(x)), X),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_to_second_order(name):
    f, *arrays = GRADIENTS[name]
    check(f, *arrays)

"""`tf.gradients` and `tf.hessians` within traced functions."""

import numpy as np
import pytest

import tapejit as tf

X = np.array([0.5, -1.5, 2.0], "float32")


def traced(f, *args):
    return tf.function(f)(*map(tf.constant, args))


def test_they_need_a_traced_function():
    x = tf.constant(X)
    for f in (tf.gradients, tf.hessians):
        with pytest.raises(
            RuntimeError, match=r"tf.gradients is not supported when eager execution is enabled. Use tf.GradientTape instead."
        ):
            f(x * x, x)


def test_the_function_is_the_record():
    def f(x, z):
        y = tf.sin(x) * z
        return tf.gradients(y, [x, z])

    dx, dz = traced(f, X, X + 1)
    np.testing.assert_allclose(dx, np.cos(X) * (X + 1), rtol=1e-6)
    np.testing.assert_allclose(dz, np.sin(X), rtol=1e-6)


def test_variables_are_read_wherever_they_are():
    v = tf.Variable([1.0, 2.0, 3.0])

    def f(x):
        a = v * x
        v.assign(x)
        return tf.gradients(a * v, v)[0], tf.gradients([a], [v], grad_ys=[x])[0]

    both, weighted = traced(f, X)
    np.testing.assert_allclose(both, X * X + np.array([1, 2, 3]) * X)
    np.testing.assert_allclose(weighted, X * X)


def test_sums_over_targets_and_weights():
    def f(x):
        return tf.gradients([x * x, 3.0 * x], x, grad_ys=[None, tf.constant([1.0, 0.0, 2.0])])

    np.testing.assert_allclose(traced(f, X)[0], 2 * X + [3, 0, 6])


def test_intermediate_values_are_sources_too():
    def f(x):
        y = x * x
        z = y * x
        return tf.gradients(z, [x, y])

    dx, dy = traced(f, X)
    np.testing.assert_allclose(dx, 3 * X * X)
    np.testing.assert_allclose(dy, X)


def test_stop_gradients_make_constants():
    def f(a):
        b = 2.0 * a
        free = tf.gradients(a + b, [a, b])
        partial = tf.gradients(a + b, [a, b], stop_gradients=[a, b])
        return free, partial

    free, partial = traced(f, 0.0)
    assert [float(g) for g in free] == [3.0, 1.0]
    assert [float(g) for g in partial] == [1.0, 1.0]


def test_unconnected_is_none_or_zeros():
    def f(x, z):
        assert tf.gradients(x * x, [z]) == [None]
        return tf.gradients(x * x, [z], unconnected_gradients="zero")

    assert traced(f, X, X)[0].numpy().tolist() == [0, 0, 0]


def test_higher_orders_and_tapes_around_it():
    def f(x):
        (first,) = tf.gradients(x**3, x)
        (second,) = tf.gradients(first, x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            (inner,) = tf.gradients(x**3, x)
        return second, tape.gradient(inner, x)

    second, around = traced(f, X)
    np.testing.assert_allclose(second, 6 * X, rtol=1e-6)
    np.testing.assert_allclose(around, 6 * X, rtol=1e-6)


def test_in_branches_and_loops():
    def f(x):
        y = x * x
        _, total = tf.while_loop(lambda k, t: k < 2, lambda k, t: (k + 1, t + tf.gradients(y * t, x)[0]), (0, x))
        return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.gradients(y, x)[0], lambda: x), total

    once, total = traced(f, X)
    np.testing.assert_allclose(once, 2 * X)
    t = X.astype("float64")
    for _ in range(2):
        t = t + 2 * X * t
    np.testing.assert_allclose(total, t, rtol=1e-5)


def test_through_loops():
    def f(x, n):
        y = tf.while_loop(lambda k, z: k < n, lambda k, z: (k + 1, z * x), (0, tf.ones_like(x)))[1]
        return tf.gradients(y, x)[0]

    np.testing.assert_allclose(traced(f, X, 3), 3 * X * X, rtol=1e-6)


def test_hessians():
    def f(x):
        y = tf.reduce_sum(x) ** 3 + tf.reduce_prod(x)
        return tf.hessians(y, [x])

    (h,) = traced(f, X)
    wanted = np.full((3, 3), 6 * X.sum())
    for i in range(3):
        for j in range(3):
            wanted[i, j] += 0 if i == j else X[3 - i - j]
    np.testing.assert_allclose(h, wanted, rtol=1e-5)


def test_wrong_arguments():
    def f(x):
        with pytest.raises(TypeError, match=r"every element of `xs` must be a tf.Tensor"):
            tf.gradients(x, [1.0])
        with pytest.raises(ValueError, match="2 ys need 2 grad_ys, got 1"):
            tf.gradients([x, x], x, grad_ys=[x])
        with pytest.raises(ValueError, match="do not depend on one of xs"):
            tf.hessians(tf.constant(1.0), x)
        return x

    traced(f, X)

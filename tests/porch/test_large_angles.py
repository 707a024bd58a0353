"""sin, cos and tan in traced functions, of arguments of any size: in loops, single numbers, reductions, and beside a matrix product."""

import numpy as np
import pytest

import tapejit as tf

RANDOM = np.random.default_rng(3)


def angles(dtype, *shape):
    """Both signs, exponents up to the largest."""
    top = np.log10(np.finfo(dtype).max)
    return ((10.0 ** RANDOM.uniform(-6, top, shape)) * RANDOM.choice([-1, 1], shape)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_any_shape(name, dtype):
    f = tf.function(lambda x: getattr(tf, name)(x), on_retrace="ignore")
    eps = np.finfo(dtype).eps
    for x in (angles(dtype, 10007), angles(dtype, 7, 33), angles(dtype, 3), angles(dtype), angles(dtype, 40, 50)[:, ::3]):
        wide = x.astype(np.float64)
        np.testing.assert_allclose(f(tf.constant(x)).numpy(), getattr(np, name)(wide), rtol=4 * eps, atol=0)


def test_common_and_large_arguments_side_by_side():
    x = np.where(np.arange(1000) % 97 == 5, 1e300, RANDOM.uniform(-10, 10, 1000))
    x[[11, 500, 999]] = np.inf, -np.inf, np.nan
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(tf.function(tf.sin)(tf.constant(x)).numpy(), np.sin(x), rtol=1e-15)


def test_in_reductions_products_and_gradients():
    x, w = angles(np.float64, 24, 40), RANDOM.normal(size=(40, 17))

    @tf.function
    def f(x, w):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.sin(x) * tf.cos(x))
        return y, tape.gradient(y, x), tf.cos(x) @ w, tf.sin(1e20 * (tf.tanh(x) @ w) + w[0]), tf.reduce_max(tf.tan(x), axis=0)

    y, d, product, after, top = (t.numpy() for t in f(tf.constant(x), tf.constant(w)))
    np.testing.assert_allclose(y, np.sum(np.sin(x) * np.cos(x)), rtol=1e-12)
    np.testing.assert_allclose(d, np.cos(x) ** 2 - np.sin(x) ** 2, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(product, np.cos(x) @ w, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(top, np.tan(x).max(axis=0), rtol=1e-14)
    assert np.all(np.abs(after) <= 1)

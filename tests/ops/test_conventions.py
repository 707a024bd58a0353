"""What the laws leave open: TensorFlow's choices at ties, kinks, zeros and infinities, of dtypes, and of complex numbers.

The expected values are TensorFlow's, but for the gradient of cumprod at zeros, where ours is the derivative.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import tapejit as tf

nan, inf = math.nan, math.inf


def slope(f, *xs, of=0):
    """The gradient of f(*xs) with respect to one argument, as an array or None."""
    tensors = [tf.constant(x) for x in xs]
    with tf.GradientTape() as tape:
        tape.watch(tensors[of])
        y = f(*tensors)
    g = tape.gradient(y, tensors[of])
    return None if g is None else g.numpy()


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (tf.abs, 0.0, 0),
        (tf.sign, 0.5, 0),
        (lambda x: tf.maximum(x, 0.0), 0.0, 1),
        (lambda x: tf.maximum(0.0, x), 0.0, 0),
        (lambda x: tf.minimum(x, 0.0), 0.0, 1),
        (lambda x: tf.minimum(0.0, x), 0.0, 0),
        (lambda x: tf.clip_by_value(x, 0.0, 1.0), 0.0, 1),
        (lambda x: tf.clip_by_value(x, 0.0, 1.0), 1.0, 1),
        (tf.reduce_max, [1.0, 3.0, 3.0], [0, 0.5, 0.5]),
        (tf.reduce_min, [1.0, 1.0, 3.0], [0.5, 0.5, 0]),
        (tf.sqrt, 0.0, inf),
        (tf.math.log, 0.0, inf),
        (tf.math.rsqrt, 0.0, -inf),
        (tf.math.reduce_euclidean_norm, [0.0, 0.0], [nan, nan]),
        (tf.math.reduce_std, [1.0, 1.0], [nan, nan]),
        (lambda x: tf.pow(x, 0.0), 0.0, nan),
        (lambda x: x**2, 0.0, 0),
        (lambda x: tf.math.divide_no_nan(1.0, x), 0.0, 0),
        (lambda x: tf.math.xlogy(x, 2.0), 0.0, 0),
        (lambda x: tf.math.multiply_no_nan(tf.math.log(x), x), 0.0, nan),
        (tf.reduce_prod, [2.0, 0.0, 3.0], [0, 6, 0]),
        (tf.reduce_prod, [0.0, 0.0, 3.0], [0, 0, 0]),
        (tf.math.cumprod, [0.0, 3.0, 2.0], [10, 0, 0]),
        (lambda x: tf.math.cumprod(x, exclusive=True, reverse=True), [2.0, 0.0, 3.0], [0, 3, 1]),
        (tf.math.special.bessel_i1e, 0.0, 0.5),
    ],
)
def test_gradients_at_edges(f, x, expected):
    np.testing.assert_allclose(slope(f, x), np.float32(expected), rtol=1e-6)


@pytest.mark.parametrize(
    "f",
    [
        tf.floor,
        tf.math.ceil,
        tf.round,
        tf.math.rint,
        tf.stop_gradient,
        lambda x: tf.math.floordiv(x, 2.0),
        lambda x: tf.cast(tf.argmax(x), tf.float32),
    ],
)
def test_piecewise_constant_functions_have_no_gradient(f):
    assert slope(f, [1.5, 2.5]) is None


def test_second_order_of_a_product_with_zeros():
    x = tf.constant([2.0, 0.0, 5.0])
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_prod(x)
        g = inner.gradient(y, x)
    hessian = [outer.gradient(g, x, row).numpy() for row in tf.eye(3)]
    np.testing.assert_array_equal(hessian, [[0, 5, 0], [5, 0, 2], [0, 2, 0]])


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda c: c * c, 4 - 2j),
        (tf.abs, (2 + 1j) / math.sqrt(5)),
        (tf.math.real, 1),
        (tf.math.imag, 1j),
        (tf.math.angle, 1j * (2 + 1j) / 5),
        (tf.math.conj, 1),
        (lambda c: tf.math.real(tf.math.conj(c) * c), 4 + 2j),
        (lambda c: tf.cast(c, tf.float64), 1),
        (tf.exp, np.conj(np.exp(2 + 1j))),
    ],
)
def test_complex_gradients_are_conjugate(f, expected):
    np.testing.assert_allclose(slope(f, np.complex128(2 + 1j)), expected, rtol=1e-12)


def test_gradient_into_the_parts_of_a_complex_number():
    def f(a, b):
        return tf.math.real(tf.complex(a, b) ** 2)

    assert slope(f, np.float64(3), np.float64(2)) == 6
    assert slope(f, np.float64(3), np.float64(2), of=1) == -4


def test_absolute_value_of_complex_zero_has_gradient_zero():
    assert slope(tf.abs, np.complex64(0)) == 0


def test_parts_of_real_numbers():
    x = tf.constant([-1.0, 2.0])
    assert tf.math.real(x) is x
    np.testing.assert_array_equal(tf.math.imag(x), [0, 0])
    np.testing.assert_allclose(tf.math.angle(x), np.float32([math.pi, 0]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="float32 or float64"):
        tf.complex(tf.constant(1.0, tf.float16), tf.constant(1.0, tf.float16))


def test_integer_arithmetic():
    a, b = tf.constant([7, -7, 7, -7]), tf.constant([2, 2, -2, -2])
    np.testing.assert_array_equal(a // b, [3, -4, -4, 3])
    np.testing.assert_array_equal(a % b, [1, 1, -1, -1])
    np.testing.assert_array_equal(tf.truncatediv(a, b), [3, -3, -3, 3])
    np.testing.assert_array_equal(tf.truncatemod(a, b), [1, -1, 1, -1])
    assert (a / b).dtype is tf.float64
    assert tf.divide(tf.constant([1], tf.int8), tf.constant([2], tf.int8)).dtype is tf.float32
    assert tf.reduce_mean(tf.constant([-1, -2, -2])).numpy() == -1  # towards zero
    assert tf.math.reduce_euclidean_norm(tf.constant([3, 4])).numpy() == 5
    assert tf.round(a) is a


def test_division_of_floats_is_rounded_down_after_it():
    assert tf.math.floordiv(tf.constant(1.0), tf.constant(0.1)).numpy() == 10
    assert tf.math.floordiv(tf.constant(1.0), tf.constant(0.0)).numpy() == inf
    np.testing.assert_array_equal(tf.truncatediv(tf.constant([7.0, -7.0]), 2.0), [3, -3])


def test_halves_are_rounded_to_even():
    np.testing.assert_array_equal(tf.round(tf.constant([0.5, 1.5, 2.5, -0.5, -1.5])), [0, 2, 2, 0, -2])


def test_reductions_of_nothing():
    none = tf.constant([], tf.float32)
    assert [float(f(none)) for f in (tf.reduce_sum, tf.reduce_prod, tf.reduce_max, tf.reduce_min)] == [0, 1, -inf, inf]
    assert math.isnan(tf.reduce_mean(none))
    assert float(tf.reduce_logsumexp(none)) == -inf
    assert tf.reduce_max(tf.constant([], tf.int32)).numpy() == -(2**31)
    assert not tf.reduce_any(tf.constant([], tf.bool))
    assert tf.reduce_all(tf.constant([], tf.bool))
    with pytest.raises(tf.errors.InvalidArgumentError, match="empty"):
        tf.argmax(none)


def test_axes():
    x = tf.constant(np.arange(24.0).reshape(2, 3, 4))
    assert tf.reduce_sum(x, axis=[0, -1]).dims == (3,)
    assert tf.reduce_sum(x, axis=(), keepdims=True).dims == (2, 3, 4)
    assert tf.reduce_sum(x, axis=tf.constant([1]), keepdims=True).dims == (2, 1, 4)
    for axis in (3, [0, -3], -4):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Invalid reduction dimension"):
            tf.reduce_sum(x, axis=axis)


def test_argmax():
    x = tf.constant([[1.0, 3.0, 3.0], [2.0, nan, 5.0]])
    np.testing.assert_array_equal(tf.argmax(x, axis=1), [1, 1])
    assert tf.argmax(x).dtype is tf.int64
    assert tf.argmin(x, output_type=tf.int32).dtype is tf.int32


def test_logarithms_of_sums_do_not_overflow():
    x = tf.constant([1000.0, 1000.0])
    np.testing.assert_allclose(tf.reduce_logsumexp(x), 1000 + math.log(2))
    np.testing.assert_allclose(tf.math.cumulative_logsumexp(x), [1000, 1000 + math.log(2)])
    assert float(tf.reduce_logsumexp(tf.constant([-inf, -inf]))) == -inf
    np.testing.assert_allclose(tf.math.softplus(tf.constant([1000.0, -1000.0])), [1000, 0])
    np.testing.assert_allclose(tf.math.log_sigmoid(tf.constant([1000.0, -1000.0])), [0, -1000])
    np.testing.assert_allclose(slope(tf.math.cumulative_logsumexp, [1000.0, 1000.0]), [1.5, 0.5], rtol=1e-4)


def test_functions_take_what_becomes_a_tensor():
    v = tf.Variable([1.0, 2.0])
    np.testing.assert_array_equal(tf.add(v, [1, 2]), [2, 4])
    np.testing.assert_array_equal(tf.multiply([1, 2], v), [1, 4])
    np.testing.assert_array_equal(tf.add_n([v, [1.0, 1.0], np.float32([2, 2])]), [4, 5])
    assert tf.divide(3, 2).numpy() == 1.5
    assert tf.reduce_sum([v[0], v[1], 1.0]).numpy() == 4
    assert slope(lambda x: tf.exp([x, 2 * x])[1], 0.0) == 2


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: tf.exp(2), tf.errors.InvalidArgumentError, "exp is not defined for int32"),
        (lambda: tf.reduce_sum(tf.constant([True])), tf.errors.InvalidArgumentError, "not defined for bool"),
        (lambda: tf.logical_and(1, 0), tf.errors.InvalidArgumentError, "not defined for int32"),
        (
            lambda: tf.add(tf.constant(1.0), tf.constant(1)),
            tf.errors.InvalidArgumentError,
            "expected to be a float32 tensor but is a int32",
        ),
        (lambda: tf.add([1.0, 2.0], [1.0, 2.0, 3.0]), tf.errors.InvalidArgumentError, "add of"),
        (lambda: tf.scalar_mul([1.0, 2.0], tf.constant([1.0])), ValueError, "Only scalar multiply works"),
        (lambda: tf.add_n([]), ValueError, "at least one Tensor"),
        (lambda: tf.add_n([tf.constant([1.0]), tf.constant([1.0, 2.0])]), tf.errors.InvalidArgumentError, "same size and shape"),
        (lambda: tf.math.reduce_variance(tf.constant([1])), TypeError, "must be either real or complex"),
        (lambda: tf.math.polyval((1.0,), 2.0), ValueError, "must be list"),
        (lambda: tf.clip_by_global_norm(tf.constant([1.0]), 1.0), TypeError, "sequence of tensors"),
        (lambda: tf.clip_by_value(tf.constant(1.0), tf.constant([0.0, 0.0]), 1.0), tf.errors.InvalidArgumentError, "must broadcast"),
        (lambda: tf.pow(tf.constant(2), tf.constant(-1)), tf.errors.InvalidArgumentError, "negative integer powers"),
        (lambda: slope(tf.math.igamma, 2.0, 1.0), NotImplementedError, "igamma"),
    ],
)
def test_errors_say_what_is_wrong_and_where(call, error, says):
    with pytest.raises(error, match=says) as caught:
        call()
    if error is not NotImplementedError:
        assert "test_conventions.py" in str(caught.value)


def test_sums_of_tensors_and_small_functions():
    x = tf.constant([0.0, 2.0, -2.0])
    assert tf.math.count_nonzero(x).numpy() == 2
    assert tf.math.count_nonzero(x).dtype is tf.int64
    np.testing.assert_allclose(tf.math.zero_fraction(x), 1 / 3)
    np.testing.assert_array_equal(tf.math.reciprocal_no_nan(x), [0, 0.5, -0.5])
    np.testing.assert_allclose(tf.sign(tf.constant([3 + 4j, 0])), [0.6 + 0.8j, 0])
    np.testing.assert_allclose(tf.math.polyval([1.0, 2.0, 3.0], x), [3, 11, 3])
    np.testing.assert_allclose(tf.math.l2_normalize(tf.constant([3.0, 4.0])), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(tf.math.lbeta(tf.constant([2.0, 3.0])), math.log(1 / 12), rtol=1e-5)
    np.testing.assert_allclose(tf.math.erfcinv(tf.constant(0.3)), 0.732869, rtol=1e-5)
    assert tf.math.is_non_decreasing([1, 1, 2])
    assert not tf.math.is_strictly_increasing([1, 1, 2])
    np.testing.assert_array_equal(tf.math.accumulate_n([x, x]), 2 * x.numpy())
    np.testing.assert_array_equal(tf.cumsum(x, exclusive=True, reverse=True), [0, -2, 0])


def test_clipping():
    x = tf.constant([3.0, 4.0])
    np.testing.assert_allclose(tf.clip_by_norm(x, 1.0), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(tf.clip_by_norm(x, 10.0), [3, 4], rtol=1e-6)
    np.testing.assert_array_equal(slope(lambda x: tf.clip_by_norm(x, 1.0), [0.0, 0.0]), [1, 1])
    (a, b), norm = tf.clip_by_global_norm([x, None], 2.5)
    assert b is None
    assert float(norm) == 5
    np.testing.assert_allclose(a, [1.5, 2], rtol=1e-6)
    assert np.isnan(tf.clip_by_global_norm([tf.constant([inf])], 1.0)[0][0].numpy()).all()


def test_saturating_casts_stay_in_range():
    np.testing.assert_array_equal(tf.saturate_cast(tf.constant([300.0, -5.0, 7.9]), tf.uint8), [255, 0, 7])
    np.testing.assert_array_equal(tf.saturate_cast(tf.constant([3e9, -3e9]), tf.int32), [2147483520, -(2**31)])
    np.testing.assert_array_equal(tf.saturate_cast(tf.constant([1000, -7]), tf.int8), [127, -7])
    np.testing.assert_array_equal(tf.saturate_cast(tf.constant([1e300], tf.float64), tf.float32), np.finfo(np.float32).max)


def test_bits():
    x = tf.constant([6, 5])
    np.testing.assert_array_equal(tf.bitwise.bitwise_and(x, [3, 4]), [2, 4])
    np.testing.assert_array_equal(tf.bitwise.bitwise_or(x, 1), [7, 5])
    np.testing.assert_array_equal(tf.bitwise.bitwise_xor(x, x), [0, 0])
    np.testing.assert_array_equal(tf.bitwise.invert(x), [-7, -6])
    np.testing.assert_array_equal(tf.bitwise.left_shift(x, 2), [24, 20])
    np.testing.assert_array_equal(tf.bitwise.right_shift(tf.constant([-8]), 1), [-4])
    with pytest.raises(tf.errors.InvalidArgumentError, match="not defined for float32"):
        tf.bitwise.invert(1.0)

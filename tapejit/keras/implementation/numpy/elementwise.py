"""Functions of single elements: arithmetic, comparison, logic, bits, powers, angles."""

from __future__ import annotations

import math
from typing import Any

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import (
    all_floating,
    all_numeric,
    binary,
    binary_floating,
    floating,
    logical,
    numeric,
    tensors,
    test,
    unary,
    unary_floating,
    unary_numeric,
    unary_whole,
)
from tapejit.keras.implementation.sparse import keeps_zeros, of_both, of_either, of_first
from tapejit.ops import elementwise as e

__all__ = [
    "abs",
    "absolute",
    "add",
    "allclose",
    "angle",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "cbrt",
    "ceil",
    "clip",
    "conj",
    "conjugate",
    "copy",
    "cos",
    "cosh",
    "deg2rad",
    "divide",
    "divide_no_nan",
    "equal",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "gcd",
    "greater",
    "greater_equal",
    "heaviside",
    "hypot",
    "i0",
    "imag",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "lcm",
    "ldexp",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "mod",
    "multiply",
    "nan_to_num",
    "negative",
    "nextafter",
    "not_equal",
    "power",
    "rad2deg",
    "real",
    "reciprocal",
    "right_shift",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
]  # fmt: skip

# ------------------------------------------------------------------------------------------------ arithmetic
add = of_both(binary(tf.add, tf.logical_or))
subtract = of_both(binary(tf.subtract))
multiply = of_either(binary(tf.multiply, tf.logical_and))
maximum = of_both(binary(tf.maximum, tf.logical_or))
minimum = of_both(binary(tf.minimum, tf.logical_and))
mod = binary(tf.math.floormod)
fmod = binary(tf.math.truncatemod)
floor_divide = binary(tf.math.floordiv)
true_divide = divide = of_first(binary_floating(tf.divide))
divide_no_nan = binary_floating(tf.math.divide_no_nan)

absolute = abs = keeps_zeros(unary(lambda x: x if x.dtype.is_bool or x.dtype.is_unsigned else tf.abs(x)))
fabs = keeps_zeros(unary_floating(tf.abs))
negative = keeps_zeros(unary_numeric(lambda x: 0 - x if x.dtype.is_unsigned else tf.negative(x)))
sign = keeps_zeros(unary_numeric(lambda x: tf.cast(x > 0, x.dtype) if x.dtype.is_unsigned else tf.sign(x)))
square = keeps_zeros(unary_numeric(tf.square))
reciprocal = unary_floating(tf.math.reciprocal)
floor = keeps_zeros(unary_floating(tf.floor))
ceil = keeps_zeros(unary_floating(tf.math.ceil))
trunc = keeps_zeros(unary_whole(e.trunc))
copy = keeps_zeros(unary(tf.identity))


def power(x1: Any, x2: Any) -> Any:
    """`x1` to the power of `x2`."""
    return tf.pow(*all_numeric(x1, x2))


def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """`x` kept between `x_min` and `x_max`, in a dtype that holds them all."""
    return minimum(maximum(numeric(x), x_min), x_max)


@keeps_zeros
def round(x: Any, decimals: int = 0) -> Any:
    """`x` to so many decimals, halves to even digits; integers to tens, hundreds ... for negative `decimals`."""
    x = convert_to_tensor(x)
    if x.dtype.is_floating:
        return tf.round(x) if decimals == 0 else tf.round(x * 10.0**decimals) / 10.0**decimals
    if decimals >= 0:
        return x
    unit = 10.0**-decimals
    return cast(tf.round(floating(x) / unit) * unit, x.dtype)


def hypot(x1: Any, x2: Any) -> Any:
    """sqrt(x1**2 + x2**2), without overflow."""
    x1, x2 = (tf.abs(x) for x in all_floating(x1, x2))
    high, low = tf.maximum(x1, x2), tf.minimum(x1, x2)
    ratio = low / tf.where(high == 0, tf.ones_like(high), high)
    return tf.where(tf.math.is_inf(high), high, high * tf.sqrt(1 + tf.square(ratio)))


def heaviside(x1: Any, x2: Any) -> Any:
    """0 where `x1` is negative, 1 where it is positive, `x2` where it is 0, NaN where it is NaN."""
    x1, x2 = all_floating(x1, x2)
    return tf.where(x1 == 0, x2, tf.where(tf.math.is_nan(x1), x1, tf.cast(x1 > 0, x1.dtype)))


def gcd(x1: Any, x2: Any) -> Any:
    """The greatest common divisor of integers, element by element, never negative."""
    x1, x2 = (absolute(x) for x in tensors(x1, x2))
    x1, x2 = x1 + tf.zeros_like(x2), x2 + tf.zeros_like(x1)  # one shape

    def step(a: Any, b: Any) -> tuple[Any, Any]:
        rest = tf.math.floormod(a, tf.maximum(b, 1))
        return tf.where(b == 0, a, b), tf.where(b == 0, b, rest)

    return tf.while_loop(lambda a, b: tf.reduce_any(b != 0), step, (x1, x2))[0]


def lcm(x1: Any, x2: Any) -> Any:
    """The least common multiple of integers, element by element, never negative."""
    x1, x2 = (absolute(x) for x in tensors(x1, x2))
    return x1 // tf.maximum(gcd(x1, x2), 1) * x2


def nextafter(x1: Any, x2: Any) -> Any:
    """The floating-point number next to `x1` in the direction of `x2`."""
    x1, x2 = all_floating(x1, x2)
    if x1.dtype.size != 2:
        return tf.math.nextafter(x1, x2)
    bits = tf.bitcast(x1, tf.int16)  # which count the numbers of one sign from 0 on
    beside = tf.bitcast(tf.where((x1 < x2) == (x1 > 0), bits + 1, bits - 1), x1.dtype)
    least = tf.bitcast(tf.ones_like(bits), x1.dtype)
    out = tf.where(x1 == 0, tf.where(x2 > 0, least, -least), beside)
    return tf.where(x1 == x2, x2, tf.where(tf.math.is_nan(x1 + x2), x1 + x2, out))


def ldexp(x1: Any, x2: Any) -> Any:
    """`x1` times 2 to the power of the integer `x2`. TypeError if that is no integer."""
    x1, x2 = convert_to_tensor(x1), convert_to_tensor(x2)
    if not x2.dtype.is_integer:
        raise TypeError(f"ldexp exponent must be an integer type. Received: x2 dtype={x2.dtype}")
    x1, x2 = all_floating(x1, x2)
    return x1 * tf.pow(tf.fill([], tf.constant(2, x1.dtype)), x2)


def nan_to_num(x: Any, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """`x` with NaN replaced by `nan` and infinities by these numbers, or by the dtype's largest and smallest."""
    x = convert_to_tensor(x)
    if not x.dtype.is_floating:
        return x
    for hit, value in (
        (tf.math.is_nan(x), nan),
        (x == math.inf, x.dtype.max if posinf is None else posinf),
        (x == -math.inf, x.dtype.min if neginf is None else neginf),
    ):
        x = tf.where(hit, convert_to_tensor(value, x.dtype), x)
    return x


# ------------------------------------------------------------------------------------------------ comparison
equal = binary(tf.equal, tf.equal)
not_equal = binary(tf.not_equal, tf.not_equal)
greater = binary(tf.greater)
greater_equal = binary(tf.greater_equal)
less = binary(tf.less)
less_equal = binary(tf.less_equal)

isfinite = test(tf.math.is_finite, True)
isinf = keeps_zeros(test(tf.math.is_inf, False))
isnan = keeps_zeros(test(tf.math.is_nan, False))
isposinf = test(lambda x: x == math.inf, False)
isneginf = test(lambda x: x == -math.inf, False)
signbit = keeps_zeros(
    unary(lambda x: e.copysign(tf.ones_like(x), x) < 0 if x.dtype.is_floating else tf.fill(x.dims, False) if x.dtype.is_bool else x < 0)
)


def isreal(x: Any) -> Any:
    """Whether there is no imaginary part."""
    x = convert_to_tensor(x)
    return tf.math.imag(x) == 0 if x.dtype.is_complex else tf.fill(x.dims, True)


def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether |x1 - x2| <= atol + rtol * |x2|; infinities are close to themselves only."""
    x1, x2 = all_floating(x1, x2)
    close = tf.logical_and(tf.abs(x1 - x2) <= atol + rtol * tf.abs(x2), tf.math.is_finite(x2))
    close = tf.logical_or(close, x1 == x2)
    return tf.logical_or(close, tf.logical_and(tf.math.is_nan(x1), tf.math.is_nan(x2))) if equal_nan else close


def allclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether all elements are close: a bool scalar."""
    return tf.reduce_all(isclose(x1, x2, rtol, atol, equal_nan))


def _unless_nan(op: Any) -> Any:
    """The function `op` of two tensors that takes the other operand where one is NaN."""

    def function(x1: Any, x2: Any) -> Any:
        x1, x2 = tensors(x1, x2)
        if not x1.dtype.is_floating:
            return op(x1, x2)
        return tf.where(tf.math.is_nan(x1), x2, tf.where(tf.math.is_nan(x2), x1, op(x1, x2)))

    return function


fmax = _unless_nan(maximum)
fmin = _unless_nan(minimum)

# ----------------------------------------------------------------------------------------------- logic and bits
logical_and = logical(tf.logical_and)
logical_or = logical(tf.logical_or)
logical_xor = logical(tf.math.logical_xor)


def _bits(op: Any, of_bools: Any = None) -> Any:
    """A function of two tensors of integers or bools, whose arguments Keras calls `x` and `y`."""
    joined = binary(op, of_bools)

    def function(x: Any, y: Any) -> Any:
        return joined(x, y)

    return function


bitwise_and = _bits(tf.bitwise.bitwise_and, tf.logical_and)
bitwise_or = _bits(tf.bitwise.bitwise_or, tf.logical_or)
bitwise_xor = _bits(tf.bitwise.bitwise_xor, tf.math.logical_xor)
bitwise_left_shift = left_shift = _bits(tf.bitwise.left_shift)
bitwise_right_shift = right_shift = _bits(tf.bitwise.right_shift)
bitwise_invert = bitwise_not = unary(lambda x: tf.logical_not(x) if x.dtype.is_bool else tf.bitwise.invert(x))


def logical_not(x: Any) -> Any:
    """Whether `x` is false or 0."""
    return tf.logical_not(cast(x, "bool"))


# -------------------------------------------------------------------------------------------- powers and logarithms
sqrt = keeps_zeros(unary_floating(tf.sqrt))
cbrt = keeps_zeros(unary_floating(lambda x: tf.sign(x) * tf.pow(tf.abs(x), 1 / 3)))
exp = unary_floating(tf.exp)
exp2 = unary_floating(lambda x: tf.exp(x * math.log(2)))
expm1 = keeps_zeros(unary_floating(tf.math.expm1))
log = unary_floating(tf.math.log)
log1p = keeps_zeros(unary_floating(tf.math.log1p))
log2 = unary_floating(lambda x: tf.math.log(x) / math.log(2))
log10 = unary_floating(lambda x: tf.math.log(x) / math.log(10))
i0 = unary_floating(tf.math.bessel_i0)


def _log_sum(scale: float) -> Any:
    """log_b(b**x1 + b**x2) with log(b) = `scale`, without overflow; equal infinities give themselves."""

    def function(x1: Any, x2: Any) -> Any:
        x1, x2 = all_floating(x1, x2)
        apart = tf.where(x1 == x2, tf.zeros_like(x1), x1 - x2)
        return tf.maximum(x1, x2) + tf.math.log1p(tf.exp(-tf.abs(apart) * scale)) / scale

    return function


logaddexp = _log_sum(1.0)
logaddexp2 = _log_sum(math.log(2))

# ------------------------------------------------------------------------------------------------ angles
sin = keeps_zeros(unary_floating(tf.sin))
cos = unary_floating(tf.cos)
tan = keeps_zeros(unary_floating(tf.tan))
sinh = keeps_zeros(unary_floating(tf.sinh))
cosh = unary_floating(tf.cosh)
tanh = keeps_zeros(unary_floating(tf.tanh))
arcsin = keeps_zeros(unary_floating(tf.asin))
arccos = unary_floating(tf.acos)
arctan = keeps_zeros(unary_floating(tf.atan))
arcsinh = keeps_zeros(unary_floating(tf.asinh))
arccosh = unary_floating(tf.acosh)
arctanh = keeps_zeros(unary_floating(tf.atanh))
arctan2 = binary_floating(tf.atan2)
deg2rad = keeps_zeros(unary_floating(lambda x: x * (math.pi / 180)))
rad2deg = keeps_zeros(unary_floating(lambda x: x * (180 / math.pi)))


def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), 1 at 0."""
    x = floating(x)
    angle = math.pi * tf.where(x == 0, tf.ones_like(x), x)
    return tf.where(x == 0, tf.ones_like(x), tf.sin(angle) / angle)


# ----------------------------------------------------------------------------------------------- complex numbers
conjugate = conj = keeps_zeros(unary(tf.math.conj))
real = keeps_zeros(unary(lambda x: tf.math.real(x) if x.dtype.is_complex else x))
imag = keeps_zeros(unary(lambda x: tf.math.imag(x) if x.dtype.is_complex else tf.zeros_like(x)))
angle = unary_floating(tf.math.angle)

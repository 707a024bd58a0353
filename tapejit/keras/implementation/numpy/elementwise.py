"""Functions of single elements: arithmetic, comparison, logic, powers, angles."""

from __future__ import annotations

from typing import Any

import tapejit as tf
from tapejit.keras.implementation.core import cast, convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import alike, binary, binary_floating, logical, unary, unary_floating
from tapejit.keras.implementation.numpy.rows import by_rows

__all__ = [
    "abs", "absolute", "add", "ceil", "clip", "cos", "divide", "divide_no_nan", "equal", "exp", "expm1", "floor", "floor_divide",
    "greater", "greater_equal", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log1p", "logical_and", "logical_not",
    "logical_or", "maximum", "minimum", "mod", "multiply", "negative", "not_equal", "power", "reciprocal", "round", "sign", "sin", "sqrt",
    "square", "subtract", "tanh", "true_divide", "where",
]  # fmt: skip


def add(x1: Any, x2: Any) -> Any:
    x1, x2 = alike(x1, x2)
    return tf.logical_or(x1, x2) if getattr(x1, "dtype", None) == tf.bool else tf.add(x1, x2)


@by_rows
def multiply(x1: Any, x2: Any) -> Any:
    x1, x2 = alike(x1, x2)
    return tf.logical_and(x1, x2) if getattr(x1, "dtype", None) == tf.bool else tf.multiply(x1, x2)


subtract = binary(tf.subtract)
maximum = binary(tf.maximum)
minimum = binary(tf.minimum)
equal = binary(tf.equal)
not_equal = binary(tf.not_equal)
greater = binary(tf.greater)
greater_equal = binary(tf.greater_equal)
less = binary(tf.less)
less_equal = binary(tf.less_equal)
power = binary(tf.pow)
mod = binary(tf.math.floormod)
floor_divide = binary(tf.math.floordiv)
true_divide = by_rows(binary_floating(tf.divide))
divide = true_divide
divide_no_nan = binary_floating(tf.math.divide_no_nan)
logical_and = logical(tf.logical_and)
logical_or = logical(tf.logical_or)

absolute = abs = by_rows(unary(lambda x: x if x.dtype == tf.bool or x.dtype.is_unsigned else tf.abs(x)))
negative = by_rows(unary(tf.negative))
sign = by_rows(unary(tf.sign))
reciprocal = unary_floating(tf.math.reciprocal)
sqrt = by_rows(unary_floating(tf.sqrt))
exp = unary_floating(tf.exp)
expm1 = unary_floating(tf.math.expm1)
log = unary_floating(tf.math.log)
log1p = unary_floating(tf.math.log1p)
sin = unary_floating(tf.sin)
cos = unary_floating(tf.cos)
tanh = unary_floating(tf.tanh)
floor = unary_floating(tf.floor)
ceil = unary_floating(tf.math.ceil)
isfinite = unary_floating(tf.math.is_finite)
isinf = unary_floating(tf.math.is_inf)
isnan = unary_floating(tf.math.is_nan)


def logical_not(x: Any) -> Any:
    return tf.logical_not(cast(x, "bool"))


@by_rows
def square(x: Any) -> Any:
    x = convert_to_tensor(x)
    return tf.square(cast(x, "int32") if x.dtype == tf.bool else x)


def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    x = convert_to_tensor(x)
    return minimum(maximum(cast(x, "int32") if x.dtype == tf.bool else x, x_min), x_max)


def round(x: Any, decimals: int = 0) -> Any:
    x = convert_to_tensor(x)
    if decimals == 0:
        return tf.round(x) if x.dtype.is_floating else x
    scaled = tf.round(true_divide(multiply(x, 10.0**decimals), 1.0))
    return cast(true_divide(scaled, 10.0**decimals), x.dtype)


def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """`x1` where the condition holds, else `x2`; without them the places where it holds, one tensor for each axis."""
    condition = convert_to_tensor(condition, "bool")
    if x1 is None and x2 is None:
        return tuple(tf.unstack(tf.where(condition), axis=1))
    if x1 is None or x2 is None:
        raise ValueError("`x1` and `x2` either both should be `None` or both should have non-None value.")
    return tf.where(condition, *alike(x1, x2))

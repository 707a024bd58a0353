"""Functions along axes: sums, means, extremes, with NaN counted or left out, and running sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras.src.backend.common.dtypes import result_type

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import all_floating, floating, numeric, wide
from tapejit.math import axes_of
from tapejit.ops.reductions import count_of

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero", "cumprod", "cumsum", "max", "mean", "min", "nanargmax",
    "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum", "nanvar", "prod", "ptp", "std",
    "sum", "var",
]  # fmt: skip

_SUMMED = {"bool": "int32", "int8": "int32", "int16": "int32", "uint8": "uint32", "uint16": "uint32"}  # dtypes too small for sums


def _summed(x: Any, dtype: Any = None) -> Any:
    """`x` in the dtype of its sums."""
    x = convert_to_tensor(x)
    return cast(x, dtype or _SUMMED.get(x.dtype.name, x.dtype))


def _without_nan(x: Any, value: float) -> Any:
    """`x` with `value` for every NaN."""
    x = convert_to_tensor(x)
    return tf.where(tf.math.is_nan(x), value, x) if x.dtype.is_floating else x


# ---------------------------------------------------------------------------------------------------- sums
def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if isinstance(x, tf.SparseTensor):
        return tf.sparse.reduce_sum(cast(x, _SUMMED.get(x.dtype.name, x.dtype)), axis, keepdims, output_is_sparse=True)
    return tf.reduce_sum(_summed(x), axis, keepdims)


def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    return tf.reduce_prod(_summed(x, dtype), axis, keepdims)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    if isinstance(x, tf.SparseTensor):
        total = sum(cast(x, result_type(x.dtype.name, float)), axis, keepdims)
        return total.with_values(total.values / count_of(x, axes_of(x, axis), total.dtype))
    return tf.reduce_mean(floating(x), axis, keepdims)


def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    x = floating(x)
    out = tf.math.reduce_variance(wide(x), axis, keepdims)
    return cast(out, x.dtype) if x.dtype.is_floating else out


def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.sqrt(var(x, axis, keepdims))


def average(x: Any, axis: Any = None, weights: Any = None) -> Any:
    """The mean, in which elements count as `weights` says: of the shape of `x`, or a vector for the one `axis`.

    ValueError if the weights have another shape.
    """
    if weights is None:
        return mean(x, axis)
    x, weights = all_floating(x, weights)
    axes = axes_of(x, axis)
    if len(weights.dims) != len(x.dims):
        if axis is None or len(axes) != 1 or len(weights.dims) != 1:
            raise ValueError(f"`weights` must have the shape of `x` or that of one axis. Received: {weights.shape}, {x.shape}, axis={axis}")
        weights = tf.reshape(weights, [-1 if k == axes[0] else 1 for k in range(len(x.dims))])
    total = tf.reduce_sum(tf.broadcast_to(weights, x.dims), axes)
    return tf.reduce_sum(x * weights, axes) / total


def count_nonzero(x: Any, axis: Any = None) -> Any:
    return tf.math.count_nonzero(convert_to_tensor(x), axis, dtype=tf.int32)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.reduce_all(cast(x, "bool"), axis, keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.reduce_any(cast(x, "bool"), axis, keepdims)


# ------------------------------------------------------------------------------------------------ without NaN
def nansum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return sum(_without_nan(x, 0.0), axis, keepdims)


def nanprod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return prod(_without_nan(x, 1.0), axis, keepdims)


def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    x = floating(x)
    return tf.reduce_sum(_without_nan(x, 0.0), axis, keepdims) / _numbers(x, axis, keepdims)


def _numbers(x: Any, axis: Any, keepdims: bool) -> Any:
    """How many elements are not NaN, in the dtype of `x`."""
    return tf.reduce_sum(tf.cast(tf.logical_not(tf.math.is_nan(x)), x.dtype), axis, keepdims)


def nanvar(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    x = floating(x)
    w = wide(x)
    away = _without_nan(w - nanmean(w, axis, True), 0.0)
    return cast(tf.reduce_sum(tf.square(away), axis, keepdims) / _numbers(w, axis, keepdims), x.dtype)


def nanstd(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.sqrt(nanvar(x, axis, keepdims))


# ------------------------------------------------------------------------------------------------ extremes
def max(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    return _extreme(tf.reduce_max, tf.reduce_any, tf.maximum, x, axis, keepdims, initial)


def min(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    return _extreme(tf.reduce_min, tf.reduce_all, tf.minimum, x, axis, keepdims, initial)


def _extreme(reduce: Any, of_bools: Any, join: Any, x: Any, axis: Any, keepdims: bool, initial: Any) -> Any:
    x = convert_to_tensor(x)
    if x.dtype.is_bool:
        return of_bools(x, axis, keepdims)
    axes = axes_of(x, axis)
    if initial is not None:
        return join(reduce(x, axes, keepdims), cast(initial, x.dtype))
    for a in axes:
        if isinstance(x.dims[a], int) and x.dims[a] == 0:
            raise ValueError(f"An empty axis has no largest or smallest element: axis {a} of shape {x.shape}; pass `initial`.")
    return reduce(x, axes, keepdims)


def amax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return max(x, axis, keepdims)


def amin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return min(x, axis, keepdims)


def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The distance from the smallest to the largest element."""
    return max(x, axis, keepdims) - min(x, axis, keepdims)


def _nan_extreme(extreme: Callable[..., Any], beyond: float) -> Any:
    def function(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        x = convert_to_tensor(x)
        if not x.dtype.is_floating:
            return extreme(x, axis, keepdims)
        empty = tf.reduce_all(tf.math.is_nan(x), axis, keepdims)
        return tf.where(empty, math.nan, extreme(_without_nan(x, beyond), axis, keepdims))

    return function


nanmax = _nan_extreme(max, -math.inf)
nanmin = _nan_extreme(min, math.inf)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    return _place(tf.argmax, x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    return _place(tf.argmin, x, axis, keepdims)


def _place(find: Any, x: Any, axis: int | None, keepdims: bool) -> Any:
    x = convert_to_tensor(x)
    rank = len(x.dims)
    found = find(tf.reshape(x, [-1]) if axis is None else x, axis or 0, output_type=tf.int32)
    if not keepdims:
        return found
    return tf.reshape(found, [1] * rank) if axis is None else tf.expand_dims(found, axis)


def _nan_place(find: Callable[..., Any], beyond: float) -> Any:
    def function(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        """The place among the numbers, -1 where there is none."""
        x = convert_to_tensor(x)
        if not x.dtype.is_floating:
            return find(x, axis, keepdims)
        empty = tf.reduce_all(tf.math.is_nan(x), axis, keepdims)
        return tf.where(empty, -1, find(_without_nan(x, beyond), axis, keepdims))

    return function


nanargmax = _nan_place(argmax, -math.inf)
nanargmin = _nan_place(argmin, math.inf)


# ------------------------------------------------------------------------------------------------ running sums
def _running(op: Any, neutral: float | None = None) -> Any:
    """`op` along an axis, or along the flattened tensor; with `neutral` that stands for every NaN."""

    def function(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
        x = numeric(x) if neutral is None else _without_nan(numeric(x), neutral)
        x = x if dtype is None else cast(x, dtype)
        return op(tf.reshape(x, [-1]), 0) if axis is None else op(x, axis)

    return function


cumsum, cumprod = _running(tf.cumsum), _running(tf.math.cumprod)
nancumsum, nancumprod = _running(tf.cumsum, 0.0), _running(tf.math.cumprod, 1.0)

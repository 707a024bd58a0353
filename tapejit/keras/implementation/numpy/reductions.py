"""Functions along axes: sums, means, extremes."""

from __future__ import annotations

from typing import Any

from keras.src.backend.common.dtypes import result_type

import tapejit as tf
from tapejit.keras.implementation.core import cast, convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import floating

__all__ = ["all", "any", "argmax", "argmin", "cumsum", "max", "mean", "min", "prod", "std", "sum", "var"]

_SUMMED = {"bool": "int32", "int8": "int32", "int16": "int32", "uint8": "uint32", "uint16": "uint32"}  # dtypes too small for sums


def _axis(axis: Any) -> Any:
    return list(axis) if isinstance(axis, tuple) else axis


def _summed(x: Any) -> Any:
    """`x` in the dtype of its sums."""
    x = convert_to_tensor(x)
    return cast(x, _SUMMED.get(x.dtype.name, x.dtype))


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.reduce_sum(_summed(x), _axis(axis), keepdims)


def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    return tf.reduce_prod(_summed(x) if dtype is None else cast(x, dtype), _axis(axis), keepdims)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.reduce_mean(floating(x), _axis(axis), keepdims)


def var(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.math.reduce_variance(floating(x), _axis(axis), keepdims)


def std(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.math.reduce_std(floating(x), _axis(axis), keepdims)


def max(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    return _extreme(tf.reduce_max, tf.reduce_any, tf.maximum, x, axis, keepdims, initial)


def min(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
    return _extreme(tf.reduce_min, tf.reduce_all, tf.minimum, x, axis, keepdims, initial)


def _extreme(reduce: Any, of_bools: Any, join: Any, x: Any, axis: Any, keepdims: bool, initial: Any) -> Any:
    x = convert_to_tensor(x)
    if x.dtype == tf.bool:
        return of_bools(x, _axis(axis), keepdims)
    out = reduce(x, _axis(axis), keepdims)
    return out if initial is None else join(out, convert_to_tensor(initial, x.dtype))


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.reduce_all(cast(x, "bool"), _axis(axis), keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.reduce_any(cast(x, "bool"), _axis(axis), keepdims)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    return _place(tf.argmax, x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    return _place(tf.math.argmin, x, axis, keepdims)


def _place(find: Any, x: Any, axis: int | None, keepdims: bool) -> Any:
    x = convert_to_tensor(x)
    x = cast(x, "int32") if x.dtype == tf.bool else x
    rank = len(x.dims)
    found = find(tf.reshape(x, [-1]) if axis is None else x, 0 if axis is None else axis, output_type=tf.int32)
    if not keepdims:
        return found
    return tf.reshape(found, [1] * rank) if axis is None else tf.expand_dims(found, axis)


def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    x = convert_to_tensor(x)
    x = cast(x, dtype or ("int32" if x.dtype == tf.bool else result_type(x.dtype.name)))
    return tf.cumsum(tf.reshape(x, [-1]) if axis is None else x, axis=axis or 0)

"""Functions that make tensors."""

from __future__ import annotations

from typing import Any

from keras.src.backend.common.dtypes import result_type
from keras.src.backend.config import floatx

import tapejit as tf
from tapejit.keras.implementation.core import convert_to_tensor

__all__ = ["arange", "array", "eye", "full", "full_like", "ones", "ones_like", "zeros", "zeros_like"]


def array(x: Any, dtype: Any = None) -> Any:
    return convert_to_tensor(x, dtype)


def zeros(shape: Any, dtype: Any = None) -> Any:
    return tf.zeros(shape, _dtype(dtype))


def ones(shape: Any, dtype: Any = None) -> Any:
    return tf.ones(shape, _dtype(dtype))


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    return tf.broadcast_to(convert_to_tensor(fill_value, _dtype(dtype)), [shape] if isinstance(shape, int) else shape)


def _dtype(dtype: Any) -> Any:
    return tf.as_dtype(result_type(dtype or floatx()))


def zeros_like(x: Any, dtype: Any = None) -> Any:
    return tf.zeros_like(convert_to_tensor(x), dtype and _dtype(dtype))


def ones_like(x: Any, dtype: Any = None) -> Any:
    return tf.ones_like(convert_to_tensor(x), dtype and _dtype(dtype))


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    x = convert_to_tensor(x)
    return tf.broadcast_to(convert_to_tensor(fill_value, dtype or x.dtype), x.dims)


def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """Numbers from `start` (or 0) up to `stop`, which is not among them, in the common dtype of the arguments or in `dtype`."""
    if dtype is None:
        dtype = result_type(*(getattr(x, "dtype", type(x)) for x in (start, stop, step) if x is not None))
    if stop is None:
        start, stop = 0, start
    return tf.range(*(convert_to_tensor(x, dtype) for x in (start, stop, 1 if step is None else step)))


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """Ones on the `k`-th diagonal of `N` rows and `M` (or `N`) columns."""
    rows, columns = tf.range(N), tf.range(N if M is None else M)
    return tf.cast(tf.equal(rows[:, None] + k, columns[None, :]), _dtype(dtype))

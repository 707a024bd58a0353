"""Mean and variance along axes, and what they normalise."""

from __future__ import annotations

from typing import Any

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import alike

__all__ = ["batch_normalization", "moments"]

_LARGEST_HALF = 65504.0  # of float16


def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> tuple[Any, Any]:
    """Mean and variance along axes; 16-bit floats by way of float32, and within the range of float16."""
    if synchronized:
        raise NotImplementedError("Argument `synchronized=True` is not supported with the tapejit backend.")
    x = convert_to_tensor(x)
    found = tf.nn.moments(
        cast(x, "float32") if x.dtype.bits == 16 else x, list(axes) if isinstance(axes, tuple) else axes, keepdims=keepdims
    )
    if x.dtype.bits != 16:
        return found
    mean, variance = (cast(tf.clip_by_value(v, -_LARGEST_HALF, _LARGEST_HALF), x.dtype) for v in found)
    return mean, variance


def batch_normalization(x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset along `axis`."""
    given = [convert_to_tensor(v) for v in (x, mean, variance, offset, scale) if v is not None]
    x, mean, variance, *rest = alike(*given)
    shape = [1] * len(x.dims)
    shape[axis] = mean.dims[0]
    mean, variance, *rest = (tf.reshape(v, shape) for v in (mean, variance, *rest))
    offset = rest.pop(0) if offset is not None else None
    return tf.nn.batch_normalization(x, mean, variance, offset, rest[0] if rest else None, epsilon)

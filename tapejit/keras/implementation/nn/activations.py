"""Activations: functions of single elements, and those that make a distribution of an axis. Formulas: `jax.nn`."""

from __future__ import annotations

from typing import Any

import tapejit as tf
from tapejit.keras.implementation.numpy.promotion import floating, unary, unary_floating

__all__ = [
    "celu", "elu", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu", "log_sigmoid", "log_softmax",
    "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid",
    "sparsemax", "squareplus", "tanh", "tanh_shrink", "threshold",
]  # fmt: skip

relu = unary(tf.nn.relu)
relu6 = unary(tf.nn.relu6)
sigmoid = unary_floating(tf.sigmoid)
tanh = unary_floating(tf.tanh)
softplus = unary_floating(tf.nn.softplus)
softsign = unary_floating(tf.nn.softsign)
silu = unary_floating(tf.nn.silu)
log_sigmoid = unary_floating(tf.math.log_sigmoid)
selu = unary_floating(tf.nn.selu)


def elu(x: Any, alpha: float = 1.0) -> Any:
    x = floating(x)
    return tf.where(x > 0, x, alpha * tf.math.expm1(tf.minimum(x, 0)))


def celu(x: Any, alpha: float = 1.0) -> Any:
    """max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1)."""
    x = floating(x)
    return tf.maximum(x, 0) + alpha * tf.math.expm1(tf.minimum(x, 0) / alpha)


def gelu(x: Any, approximate: bool = True) -> Any:
    return tf.nn.gelu(floating(x), approximate)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    return tf.nn.leaky_relu(floating(x), negative_slope)


def glu(x: Any, axis: int = -1) -> Any:
    """The first half along `axis` times the sigmoid of the second. ValueError for an odd size."""
    x = floating(x)
    size = x.dims[axis]
    if isinstance(size, int) and size % 2:
        raise ValueError(f"axis size must be divisible by 2, got {size} along axis {axis} of shape {x.shape}")
    linear, gate = tf.split(x, 2, axis=axis)
    return linear * tf.sigmoid(gate)


def hard_sigmoid(x: Any) -> Any:
    return tf.nn.relu6(floating(x) + 3) / 6


def hard_silu(x: Any) -> Any:
    return floating(x) * hard_sigmoid(x)


def hard_tanh(x: Any) -> Any:
    return tf.clip_by_value(floating(x), -1, 1)


def tanh_shrink(x: Any) -> Any:
    x = floating(x)
    return x - tf.tanh(x)


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """`x` brought `threshold` closer to 0, and 0 within it."""
    x = floating(x)
    return tf.where(x > threshold, x - threshold, tf.where(x < -threshold, x + threshold, tf.zeros_like(x)))


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """`x`, but 0 within `threshold` of 0."""
    x = floating(x)
    return tf.where(tf.abs(x) > threshold, x, tf.zeros_like(x))


def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """`x` above the threshold, else `default_value`."""
    x = floating(x)
    return tf.where(x > threshold, x, tf.cast(default_value, x.dtype))


def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2 between -1 and 1, beyond them 0 and 1."""
    return 0.5 * tf.clip_by_value(floating(x) + 1, 0, 2)


def sparse_plus(x: Any) -> Any:
    """(x + 1)^2 / 4 between -1 and 1, beyond them 0 and x."""
    x = floating(x)
    return tf.where(x <= -1, tf.zeros_like(x), tf.where(x >= 1, x, tf.square(x + 1) / 4))


def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x^2 + b)) / 2."""
    x = floating(x)
    return (x + tf.sqrt(tf.square(x) + b)) / 2


def softmax(x: Any, axis: Any = -1) -> Any:
    """exp(x) divided by its sum along an axis, or several, or all (None)."""
    x = floating(x)
    return tf.nn.softmax(x, tuple(range(len(x.dims))) if axis is None else axis)


def log_softmax(x: Any, axis: Any = -1) -> Any:
    """The logarithm of `softmax`."""
    x = floating(x)
    return tf.nn.log_softmax(x, tuple(range(len(x.dims))) if axis is None else axis)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """The point of the simplex that is nearest to `x` along `axis` (Martins and Astudillo 2016, algorithm 1)."""
    x = floating(x)
    ordered = tf.sort(x, axis, "DESCENDING")
    total = tf.cumsum(ordered, axis)
    place = [1] * len(x.dims)
    place[axis] = x.dims[axis]
    count = tf.reshape(tf.cast(tf.range(1, x.dims[axis] + 1), x.dtype), place)
    support = ordered - (total - 1) / count > 0
    size = tf.reduce_sum(tf.cast(support, x.dtype), axis, keepdims=True)
    excess = tf.reduce_sum(tf.where(support, ordered, tf.zeros_like(ordered)), axis, keepdims=True)
    return tf.maximum(x - (excess - 1) / size, 0)

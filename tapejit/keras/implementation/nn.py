"""The functions of `keras.ops.nn` on tapejit."""

from __future__ import annotations

from typing import Any

from keras.src.backend.config import epsilon

import tapejit as tf
from tapejit.keras.implementation.core import cast, convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import floating, unary_floating

# ---------------------------------------------------------------------------------------------------- activations
relu = unary_floating(tf.nn.relu)
relu6 = unary_floating(tf.nn.relu6)
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


def gelu(x: Any, approximate: bool = True) -> Any:
    return tf.nn.gelu(floating(x), approximate)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    return tf.nn.leaky_relu(floating(x), negative_slope)


def softmax(x: Any, axis: Any = -1) -> Any:
    return tf.nn.softmax(floating(x), axis)


def log_softmax(x: Any, axis: Any = -1) -> Any:
    return tf.nn.log_softmax(floating(x), axis)


# ---------------------------------------------------------------------------------------------------- classes
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """A row for every integer, with a one at that place; all zeros for integers out of range."""
    if sparse:
        raise ValueError("`sparse=True` is not supported with the tapejit backend")
    return tf.one_hot(convert_to_tensor(x, "int32"), num_classes, axis=axis, dtype=tf.as_dtype(dtype or "float32"))


def _same_shape(target: Any, output: Any, upto: int | None = None) -> None:
    """ValueError unless the shapes of target and output agree, up to axis `upto`."""
    wanted = output.dims[:upto]
    if len(target.dims) != len(wanted) or any(
        isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(target.dims, wanted, strict=True)
    ):
        raise ValueError(
            f"Arguments `target` and `output` must have the same shape{' up until the last dimension' if upto else ''}. Received: "
            f"target.shape={target.shape}, output.shape={output.shape}"
        )


def _normalised(output: Any, axis: int) -> Any:
    """Logarithms of probabilities brought to the sum 1."""
    output = output / tf.reduce_sum(output, axis, keepdims=True)
    return tf.math.log(tf.clip_by_value(output, epsilon(), 1 - epsilon()))


def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """-sum(target * log(output)) along `axis`, with probabilities or logits in `output`."""
    output = convert_to_tensor(output)
    target = convert_to_tensor(target, output.dtype)
    _same_shape(target, output)
    if len(target.dims) < 1:
        raise ValueError(f"Arguments `target` and `output` must be at least rank 1. Received: target.shape={target.shape}")
    if from_logits:
        return tf.nn.softmax_cross_entropy_with_logits(target, output, axis)
    return -tf.reduce_sum(target * _normalised(output, axis), axis)


def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """-log(output[target]) for the integer class of each row, with probabilities or logits along `axis` of `output`."""
    target, output = convert_to_tensor(target, "int32"), convert_to_tensor(output)
    if len(output.dims) < 1:
        raise ValueError(f"Argument `output` must be at least rank 1. Received: output.shape={output.shape}")
    if len(target.dims) == len(output.dims) and target.dims[-1] == 1:
        target = tf.squeeze(target, -1)
    _same_shape(target, output, -1)
    if from_logits and axis in (-1, len(output.dims) - 1):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(target, output)
    log_prob = tf.nn.log_softmax(output, axis) if from_logits else _normalised(output, axis)
    return -tf.reduce_sum(tf.one_hot(target, output.dims[axis], axis=axis, dtype=output.dtype) * log_prob, axis)


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-target * log(output) - (1 - target) * log(1 - output), one by one."""
    output = convert_to_tensor(output)
    target = convert_to_tensor(target, output.dtype)
    _same_shape(target, output)
    if from_logits:
        return tf.nn.sigmoid_cross_entropy_with_logits(target, output)
    output = tf.clip_by_value(output, epsilon(), 1 - epsilon())
    return -(target * tf.math.log(output) + (1 - target) * tf.math.log(1 - output))


# ---------------------------------------------------------------------------------------------------- normalisation
def moments(x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> tuple[Any, Any]:
    """Mean and variance along axes; 16-bit floats by way of float32."""
    if synchronized:
        raise NotImplementedError("Argument `synchronized=True` is not supported with the tapejit backend.")
    x = convert_to_tensor(x)
    return tf.nn.moments(x, list(axes) if isinstance(axes, tuple) else axes, keepdims=keepdims)


def batch_normalization(x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset along `axis`."""
    x = convert_to_tensor(x)
    shape = [1] * len(x.dims)
    shape[axis] = convert_to_tensor(mean).dims[0]
    mean, variance, offset, scale = (None if v is None else tf.reshape(cast(v, x.dtype), shape) for v in (mean, variance, offset, scale))
    return tf.nn.batch_normalization(x, mean, variance, offset, scale, epsilon)

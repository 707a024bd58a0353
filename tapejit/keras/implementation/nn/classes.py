"""Classes: one-hot rows, cross-entropies, and the peak signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

from keras.src.backend.common import standardize_dtype
from keras.src.backend.config import epsilon

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import alike
from tapejit.ops.gathering import in_range
from tapejit.ops.picking import pick

__all__ = ["binary_crossentropy", "categorical_crossentropy", "multi_hot", "one_hot", "psnr", "sparse_categorical_crossentropy"]


def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """A row for every integer, with a one at that place; all zeros for integers out of range."""
    x, wanted = convert_to_tensor(x, "int32"), tf.as_dtype(standardize_dtype(dtype or "float32"))
    return _sparse_one_hot(x, num_classes, axis, wanted) if sparse else tf.one_hot(x, num_classes, axis=axis, dtype=wanted)


def _sparse_one_hot(x: Any, num_classes: int, axis: int, dtype: Any) -> Any:
    """`one_hot` as a sparse tensor with an element for every integer in range."""
    dims = list(x.dims)
    dims.insert(axis % (len(dims) + 1), num_classes)
    at = tf.where(tf.logical_and(x >= 0, x < num_classes))
    columns = tf.unstack(at, axis=1) if x.dims else []
    columns.insert(axis % (len(x.dims) + 1), tf.cast(tf.gather_nd(x, at), tf.int64))
    indices = tf.stack(columns, 1)
    return tf.SparseTensor(indices, tf.ones(indices.dims[:1], dtype), dims)


def multi_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Ones at the places that the integers along axis 1 name (along axis 0 of a vector)."""
    if sparse:
        rows = one_hot(x, num_classes, axis, "int32", sparse)
        out = tf.sparse.reduce_sum(rows, 1 if len(rows.dims) > 2 else 0, output_is_sparse=True)
        return out.with_values(tf.ones(out.values.dims, tf.as_dtype(standardize_dtype(dtype or "float32"))))
    rows = one_hot(x, num_classes, axis, dtype)
    reduce = tf.reduce_any if rows.dtype == tf.bool else tf.reduce_max
    return reduce(rows, 1 if len(rows.dims) > 2 else 0)


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
    target, output = alike(convert_to_tensor(target), convert_to_tensor(output))
    _same_shape(target, output)
    if len(target.dims) < 1:
        raise ValueError(f"Arguments `target` and `output` must be at least rank 1. Received: target.shape={target.shape}")
    if from_logits:
        return tf.nn.softmax_cross_entropy_with_logits(target, output, axis)
    return -tf.reduce_sum(target * _normalised(output, axis), axis)


def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """-log(output[target]) for the integer class of each row, with probabilities or logits along `axis` of `output`.

    InvalidArgumentError for a class out of range, as on TensorFlow.
    """
    target, output = convert_to_tensor(target, "int32"), convert_to_tensor(output)
    if len(output.dims) < 1:
        raise ValueError(f"Argument `output` must be at least rank 1. Received: output.shape={output.shape}")
    if len(target.dims) == len(output.dims) and target.dims[-1] == 1:
        target = tf.squeeze(target, -1)
    _same_shape(target, output, -1)
    last = len(output.dims) - 1
    if axis not in (-1, last):
        output = tf.transpose(output, [*(k for k in range(last + 1) if k != axis % (last + 1)), axis % (last + 1)])
    if from_logits:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(target, output)
    return -pick(_normalised(output, -1), in_range(target, limit=output.dims[-1]))


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """-target * log(output) - (1 - target) * log(1 - output), one by one."""
    target, output = alike(convert_to_tensor(target), convert_to_tensor(output))
    _same_shape(target, output)
    if from_logits:
        return tf.nn.sigmoid_cross_entropy_with_logits(target, output)
    output = tf.clip_by_value(output, epsilon(), 1 - epsilon())
    return -(target * tf.math.log(output) + (1 - target) * tf.math.log(1 - output))


def psnr(x1: Any, x2: Any, max_val: Any) -> Any:
    """10 log10(max_val^2 / mean squared difference), in decibels. ValueError for shapes that differ."""
    x1, x2 = alike(convert_to_tensor(x1), convert_to_tensor(x2))
    if len(x1.dims) != len(x2.dims) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(x1.dims, x2.dims)):
        raise ValueError(f"Input shapes {x1.shape} and {x2.shape} must match for PSNR calculation. ")
    error = tf.reduce_mean(tf.square(x1 - x2))
    return (20 * tf.math.log(cast(max_val, x2.dtype)) - 10 * tf.math.log(error)) / tf.math.log(cast(10, x2.dtype))

"""Products of matrices and tensors."""

from __future__ import annotations

from typing import Any

import tapejit as tf
from tapejit.keras.implementation.numpy.promotion import alike

__all__ = ["matmul", "tensordot"]


def matmul(x1: Any, x2: Any) -> Any:
    """NumPy's `@`: vectors are rows or columns as needed, leading axes broadcast."""
    x1, x2 = alike(x1, x2)
    if len(x1.dims) == 1 and len(x2.dims) == 1:
        return tf.tensordot(x1, x2, 1)
    if len(x1.dims) == 1:
        return tf.squeeze(tf.matmul(tf.expand_dims(x1, 0), x2), -2)
    if len(x2.dims) == 1:
        return tf.linalg.matvec(x1, x2)
    return tf.matmul(x1, x2)


def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """Products summed along the axes that `axes` pairs: a number of them, or one list for each operand."""
    x1, x2 = alike(x1, x2)
    return tf.tensordot(x1, x2, axes)

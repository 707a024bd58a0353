"""Products of vectors, matrices and tensors, and what is made of them."""

from __future__ import annotations

from typing import Any

from keras.src.backend.common.dtypes import result_type

import tapejit as tf
from tapejit.core import sizes
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import all_floating, floating, numeric, tensors
from tapejit.keras.implementation.numpy.shapes import moveaxis, ravel
from tapejit.ops.slicing import axis_slice
from tapejit.sparse import product, sparse_product, turned

__all__ = [
    "corrcoef", "correlate", "cross", "dot", "einsum", "inner", "kron", "matmul", "outer", "slogdet", "tensordot", "vdot",
]  # fmt: skip


def _factors(*xs: Any) -> tuple[Any, ...]:
    """Tensors of one dtype in which their products are summed, and the dtype of the result."""
    xs = tuple(tensors(*xs))
    return (*(numeric(x) for x in xs), xs[0].dtype)


def matmul(x1: Any, x2: Any) -> Any:
    """NumPy's `@`: vectors are rows or columns as needed, leading axes broadcast; of int8 in int32. Of sparse matrices sparse."""
    if isinstance(x1, tf.SparseTensor) or isinstance(x2, tf.SparseTensor):
        return _sparse_product(x1, x2)
    x1, x2 = convert_to_tensor(x1), convert_to_tensor(x2)
    if x1.dtype == x2.dtype == tf.int8:
        x1, x2 = cast(x1, "int32"), cast(x2, "int32")
    x1, x2, dtype = _factors(x1, x2)
    if len(x1.dims) == 1 and len(x2.dims) == 1:
        out = tf.tensordot(x1, x2, 1)
    elif len(x1.dims) == 1:
        out = tf.squeeze(tf.matmul(tf.expand_dims(x1, 0), x2), -2)
    elif len(x2.dims) == 1:
        out = tf.linalg.matvec(x1, x2)
    else:
        out = tf.matmul(x1, x2)
    return cast(out, dtype)


def _sparse_product(x1: Any, x2: Any) -> Any:
    """The product of tensors of which at least one is sparse; of vectors it is dense."""
    x1, x2 = (x if isinstance(x, tf.SparseTensor) else convert_to_tensor(x) for x in (x1, x2))
    if min(len(x1.dims), len(x2.dims)) < 2:
        return matmul(convert_to_tensor(x1), convert_to_tensor(x2))
    dtype = result_type(*("int32" if x1.dtype == x2.dtype == tf.int8 else x.dtype.name for x in (x1, x2)))
    x1, x2 = cast(x1, dtype), cast(x2, dtype)
    if not isinstance(x1, tf.SparseTensor):
        return turned(product(turned(x2), turned(x1)))
    return sparse_product(x1, x2) if isinstance(x2, tf.SparseTensor) else product(x1, x2)


def dot(x1: Any, x2: Any) -> Any:
    """The products along the last axis of `x1` and the last but one of `x2`, or its only one; with a scalar the plain product."""
    x1, x2, dtype = _factors(x1, x2)
    if not x1.dims or not x2.dims:
        return cast(x1 * x2, dtype)
    return cast(tf.tensordot(x1, x2, [[-1], [-1 if len(x2.dims) == 1 else -2]]), dtype)


def inner(x1: Any, x2: Any) -> Any:
    """The products along the last axes; with a scalar the plain product."""
    x1, x2, dtype = _factors(x1, x2)
    return cast(tf.tensordot(x1, x2, [[-1], [-1]]) if x1.dims and x2.dims else x1 * x2, dtype)


def vdot(x1: Any, x2: Any) -> Any:
    """The sum of products of the flat tensors, the first conjugated."""
    x1, x2, dtype = _factors(x1, x2)
    return cast(tf.tensordot(tf.math.conj(ravel(x1)), ravel(x2), 1), dtype)


def outer(x1: Any, x2: Any) -> Any:
    """Every element of the flat `x1` times every one of the flat `x2`."""
    x1, x2, dtype = _factors(x1, x2)
    return cast(tf.expand_dims(ravel(x1), 1) * ravel(x2), dtype)


def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """Products summed along the axes that `axes` pairs: a number of them, or one list for each operand."""
    x1, x2, dtype = _factors(x1, x2)
    if isinstance(axes, tuple | list):
        axes = [list(a) if isinstance(a, tuple | list) else [a] for a in axes]
    return cast(tf.tensordot(x1, x2, axes), dtype)


def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """The contraction that `subscripts` names; of int8 in int32."""
    given = [convert_to_tensor(x) for x in operands]
    if all(x.dtype == tf.int8 for x in given):
        given = [cast(x, "int32") for x in given]
    *given, dtype = _factors(*given)
    return cast(tf.einsum(subscripts, *given), dtype)


def kron(x1: Any, x2: Any) -> Any:
    """`x2` in the place of every element of `x1`, times that element."""
    x1, x2, dtype = _factors(x1, x2)
    rank = max(len(x1.dims), len(x2.dims))
    a, b = ([1] * (rank - len(x.dims)) + list(x.dims) for x in (x1, x2))
    x1 = tf.reshape(x1, [d for n in a for d in (n, 1)])
    x2 = tf.reshape(x2, [d for n in b for d in (1, n)])
    return cast(tf.reshape(x1 * x2, [m * n for m, n in zip(a, b, strict=True)]), dtype)


def cross(x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The cross products of vectors of 3 numbers, or of 2 with a third of 0; of two such vectors the third number only.

    ValueError for vectors of another size.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    x1, x2, dtype = _factors(x1, x2)
    a, b = (tf.unstack(moveaxis(x, at, -1), axis=-1) for x, at in ((x1, axisa), (x2, axisb)))
    for v in (a, b):
        if len(v) not in (2, 3):
            raise ValueError(f"Both inputs must have vectors of 2 or 3 elements. Received: x1.shape={x1.shape}, x2.shape={x2.shape}")
    third = a[0] * b[1] - a[1] * b[0]
    if len(a) == len(b) == 2:
        return cast(third, dtype)
    a, b = ([*v, tf.zeros_like(v[0])] if len(v) == 2 else v for v in (a, b))
    out = tf.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], third], -1)
    return cast(moveaxis(out, -1, axisc), dtype)


def correlate(x1: Any, x2: Any, mode: str = "valid") -> Any:
    """The sums of products of two vectors, of which one is moved past the other: where both lie fully over each other ("valid"),
    as many as the longer one has ("same"), or all ("full"). ValueError for another mode."""
    x1, x2 = all_floating(x1, x2)
    if len(x1.dims) != 1 or len(x2.dims) != 1:
        raise ValueError(f"`x1` and `x2` must be 1-dimensional. Received: x1.shape={x1.shape}, x2.shape={x2.shape}")
    n, m = x1.dims[0], x2.dims[0]
    padded = tf.pad(x1, [[m - 1, m - 1]])
    every = tf.nn.conv1d(tf.reshape(padded, [1, -1, 1]), tf.reshape(x2, [-1, 1, 1]), 1, "VALID")
    every = tf.reshape(every, [-1])
    least, most = sizes.minimum(n, m), sizes.maximum(n, m)
    if mode == "valid":
        every = axis_slice(every, 0, least - 1, most - least + 1)
    elif mode == "same":
        turned = sizes.minimum(most - n, 1)  # 1 where the second one is longer, which then counts from the other end
        every = axis_slice(every, 0, (least - 1) // 2 + turned * ((least - 1) % 2), most)
    elif mode != "full":
        raise ValueError(f"`mode` must be either `valid`, `same`, or `full`. Received: mode={mode}")
    return every


def corrcoef(x: Any) -> Any:
    """Pearson's correlation of the rows of a matrix with one another, from -1 to 1; of a vector with itself."""
    x = floating(x)
    if len(x.dims) < 2:
        x = tf.reshape(x, [1, -1])
    away = x - tf.reduce_mean(x, 1, keepdims=True)
    covariance = tf.matmul(away, away, transpose_b=True)
    deviation = tf.sqrt(tf.linalg.diag_part(covariance))
    out = tf.clip_by_value(covariance / tf.expand_dims(deviation, 1) / deviation, -1.0, 1.0)
    return tf.squeeze(out, [0, 1]) if isinstance(x.dims[0], int) and x.dims[0] == 1 else out


def slogdet(x: Any) -> tuple[Any, Any]:
    """The sign of the determinants of matrices and the logarithms of their absolute values."""
    sign, logarithm = tf.linalg.slogdet(floating(x))
    return sign, logarithm

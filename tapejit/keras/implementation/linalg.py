"""The functions of `keras.ops.linalg` on tapejit, with the arguments and results that `keras.src.backend.jax.linalg` has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras.src import tree
from keras.src.backend.config import floatx

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import all_floating, floating, unary_floating
from tapejit.ops.lu import lu as factorized

__all__ = [
    "cholesky", "cholesky_inverse", "det", "eig", "eigh", "inv", "jvp", "lstsq", "lu_factor", "matrix_rank", "norm", "pinv", "qr", "solve",
    "solve_triangular", "svd",
]  # fmt: skip

det = unary_floating(tf.linalg.det)
inv = unary_floating(tf.linalg.inv)


def eig(x: Any) -> tuple[Any, Any]:
    """Complex eigenvalues and eigenvectors of square matrices, by NumPy; without a gradient."""
    x = floating(x)
    dtype = x.dtype if x.dtype.is_complex else tf.complex128 if x.dtype == tf.float64 else tf.complex64

    def found(a: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(part.astype(dtype.as_numpy_dtype) for part in np.linalg.eig(a))

    values, vectors = tf.numpy_function(found, [x], [dtype, dtype])
    return tf.ensure_shape(values, x.shape[:-1]), tf.ensure_shape(vectors, x.shape)


def eigh(x: Any) -> tuple[Any, Any]:
    """Eigenvalues from the smallest up and eigenvectors of Hermitian matrices."""
    values, vectors = tf.linalg.eigh(floating(x))
    return values, vectors


def cholesky(a: Any, upper: bool = False) -> Any:
    """The lower triangular L with L L^H = a, or its conjugate transpose. ValueError, outside of traced functions, where there is none."""
    a = floating(a)
    out = tf.linalg.cholesky((a + tf.linalg.adjoint(a)) / 2)
    if tf.executing_eagerly() and np.isnan(np.asarray(out)).any():
        raise ValueError("Cholesky decomposition failed. The input might not be a valid positive definite matrix.")
    return tf.linalg.adjoint(out) if upper else out


def cholesky_inverse(a: Any, upper: bool = False) -> Any:
    """The inverse of the matrix whose Cholesky factor is given."""
    a = floating(a)
    eye = tf.eye(a.dims[-1], batch_shape=a.dims[:-2], dtype=a.dtype)
    factor = tf.linalg.triangular_solve(a, eye, lower=not upper)
    return tf.matmul(factor, factor, transpose_b=True) if upper else tf.matmul(factor, factor, transpose_a=True)


def lu_factor(x: Any) -> tuple[Any, Any]:
    """The two triangles in one matrix, and for each row k which row it was exchanged with: `scipy.linalg.lu_factor`."""
    lu, pivots, _ = factorized(floating(x))
    return lu, pivots


def qr(x: Any, mode: str = "reduced") -> tuple[Any, Any]:
    """q with orthonormal columns and upper triangular r with q r = x; `mode` "complete" gives a square q."""
    if mode not in {"reduced", "complete"}:
        raise ValueError(f"`mode` argument value not supported. Expected one of {{'reduced', 'complete'}}. Received: mode={mode}")
    q, r = tf.linalg.qr(floating(x), full_matrices=mode == "complete")
    return q, r


def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """(u, s, v^H) with u diag(s) v^H = x, or s alone."""
    if not compute_uv:
        return tf.linalg.svd(floating(x), compute_uv=False)
    s, u, v = tf.linalg.svd(floating(x), full_matrices=full_matrices)
    return u, s, tf.linalg.adjoint(v)


def _with_columns(function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """A function of matrices and columns, for one column without its axis too."""
    a, b = all_floating(a, b)
    if len(b.dims) == len(a.dims) - 1:
        return tf.squeeze(function(a, tf.expand_dims(b, -1)), -1)
    return function(a, b)


def solve(a: Any, b: Any) -> Any:
    """The x with a x = b, columns or one vector."""
    return _with_columns(tf.linalg.solve, a, b)


def solve_triangular(a: Any, b: Any, lower: bool = False) -> Any:
    """The x with t x = b, t the upper or lower triangle of `a`."""
    return _with_columns(lambda a, b: tf.linalg.triangular_solve(a, b, lower=lower), a, b)


def lstsq(a: Any, b: Any, rcond: float | None = None) -> Any:
    """The shortest x of least |a x - b|; singular values below `rcond` times the largest count as 0."""

    def shortest(a: Any, b: Any) -> Any:
        s, u, v = tf.linalg.svd(a)
        least = np.finfo(s.dtype.as_numpy_dtype).eps * max(a.dims[-2:]) if rcond is None else rcond
        used = s > least * s[..., :1]
        inverse = tf.where(used, 1 / tf.where(used, s, tf.ones_like(s)), tf.zeros_like(s))
        return tf.matmul(v, inverse[..., None] * tf.matmul(u, b, adjoint_a=True))

    return _with_columns(shortest, a, b)


def _of_matrices(x: Any) -> Any:
    x = floating(x)
    if len(x.dims) < 2:
        raise ValueError(f"Expected input to have rank >= 2. Received input with shape {x.shape}.")
    return x


def matrix_rank(x: Any, tol: Any = None) -> Any:
    """How many singular values exceed `tol`, int32."""
    return tf.linalg.matrix_rank(_of_matrices(x), tol)


def pinv(x: Any, rcond: Any = None) -> Any:
    """The Moore-Penrose inverse."""
    return tf.linalg.pinv(_of_matrices(x), rcond)


# ---------------------------------------------------------------------------------------------------- norms
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """`numpy.linalg.norm`: of vectors along one axis, of matrices along two, of everything. ValueError for an unknown `ord`."""
    x = convert_to_tensor(x)
    x = cast(x, floatx()) if x.dtype.name == "int64" else floating(x)
    rank = len(x.dims)
    if axis is None:
        if ord is None or (rank == 1 and ord == 2) or (rank == 2 and ord == "fro"):
            return tf.sqrt(tf.reduce_sum(tf.square(tf.abs(x)), keepdims=keepdims))
        axis = tuple(range(rank))
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -rank <= a < rank for a in given):
        raise ValueError(f"axis {axis} is out of bounds for a tensor of rank {rank}")
    axes = [a % rank for a in given]
    if len(axes) == 1:
        return _vector_norm(tf.abs(x), ord, axes[0], keepdims)
    if len(axes) == 2:
        return _matrix_norm(x, ord, axes[0], axes[1], keepdims)
    raise ValueError(
        f"Improper number of axes for norm: axis={axis}. Pass one axis to compute a vector-norm, or two axes for a matrix-norm."
    )


def _vector_norm(size: Any, ord: Any, axis: int, keepdims: bool) -> Any:
    if isinstance(ord, str):
        raise ValueError(f"Invalid order '{ord}' for vector norm.")
    if ord is None or ord == 2:
        return tf.sqrt(tf.reduce_sum(tf.square(size), axis, keepdims))
    if math.isinf(ord):
        return (tf.reduce_max if ord > 0 else tf.reduce_min)(size, axis, keepdims)
    if ord == 0:
        return tf.reduce_sum(cast(size != 0, size.dtype), axis, keepdims)
    if ord == 1:
        return tf.reduce_sum(size, axis, keepdims)
    return tf.pow(tf.reduce_sum(tf.pow(size, cast(ord, size.dtype)), axis, keepdims), cast(1 / ord, size.dtype))


def _matrix_norm(x: Any, ord: Any, row: int, column: int, keepdims: bool) -> Any:
    if ord in (None, "fro"):
        return tf.sqrt(tf.reduce_sum(tf.square(tf.abs(x)), [row, column], keepdims))
    if ord in (1, -1, math.inf, -math.inf):
        sums = tf.reduce_sum(tf.abs(x), row if abs(ord) == 1 else column, keepdims=True)
        out = (tf.reduce_max if ord > 0 else tf.reduce_min)(sums, [row, column], keepdims=True)
    elif ord in (2, -2, "nuc"):
        rest = [k for k in range(len(x.dims)) if k not in (row, column)]
        s = tf.linalg.svd(tf.transpose(x, [*rest, row, column]), compute_uv=False)
        reduce = tf.reduce_sum if ord == "nuc" else tf.reduce_max if ord == 2 else tf.reduce_min
        out = tf.reshape(reduce(s, -1), [1 if k in (row, column) else d for k, d in enumerate(x.dims)])
    else:
        raise ValueError(f"Invalid order '{ord}' for matrix norm.")
    return out if keepdims else tf.squeeze(out, [row, column])


# ---------------------------------------------------------------------------------------------------- forward derivatives
def jvp(fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """`fun(*primals)` and its derivative along `tangents`; with `has_aux`, `fun` gives a second result, which is passed on."""
    primals, tangents = (tree.map_structure(convert_to_tensor, list(xs)) for xs in (primals, tangents))
    with tf.autodiff.ForwardAccumulator(primals, tangents) as accumulator:
        out = fun(*primals)
    out, *aux = out if has_aux else (out,)
    along = tree.map_structure(lambda y: accumulator.jvp(y, unconnected_gradients=tf.UnconnectedGradients.ZERO), out)
    return (out, along, *aux)

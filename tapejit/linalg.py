"""`tf.linalg`: products, systems, factorizations and norms of batches of matrices.

In: tensors [..., rows, columns] of float32, float64 or complex numbers and what converts to them; out: tensors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tapejit.clipping import global_norm
from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.creation import eye
from tapejit.math import l2_normalize, reduce_max, reduce_sum
from tapejit.matrices import band_part, diag, diag_part, set_diag, tensor_diag, tensor_diag_part, trace
from tapejit.ops import determinants as _d
from tapejit.ops import einsum as _einsum
from tapejit.ops import elementwise as _e
from tapejit.ops import factorizations as _f
from tapejit.ops import linalg as _l
from tapejit.ops.exponential import matrix_exponential as _exponential
from tapejit.ops.joining import stack
from tapejit.ops.matmul import matmul as _matmul
from tapejit.ops.reductions import sum_
from tapejit.ops.shapes import reshape as _reshape
from tapejit.ops.shapes import transpose as _transpose
from tapejit.ops.slicing import axis_slice
from tapejit.tensor import convert_to_tensor

__all__ = [
    "adjoint", "band_part", "cholesky", "cholesky_solve", "cross", "det", "diag", "diag_part", "eigh", "eigvalsh", "einsum", "expm", "eye",
    "global_norm", "inv", "l2_normalize", "logdet", "lstsq", "matmul", "matrix_rank", "matrix_transpose", "matvec", "norm", "normalize", "pinv",
    "qr", "set_diag", "slogdet", "solve", "svd", "tensor_diag", "tensor_diag_part", "tensordot", "trace", "triangular_solve",
]  # fmt: skip


class SlogDet(NamedTuple):
    """What `slogdet` gives: the sign of the determinant and the logarithm of its absolute value."""

    sign: Any
    log_abs_determinant: Any


class SVD(NamedTuple):
    """What `svd` gives: singular values, left and right singular vectors in columns."""

    s: Any
    u: Any
    v: Any


class QR(NamedTuple):
    """What `qr` gives: orthonormal columns and an upper triangle."""

    q: Any
    r: Any


class Eigh(NamedTuple):
    """What `eigh` gives: eigenvalues and eigenvectors in columns."""

    e: Any
    v: Any


def _pair(a: Any, b: Any) -> tuple[Any, Any]:
    """Two tensors; numbers and arrays take the dtype of the tensor they meet."""
    if hasattr(b, "dims") and not hasattr(a, "dims"):
        b = convert_to_tensor(b)
        return convert_to_tensor(a, b.dtype), b
    a = convert_to_tensor(a)
    return a, convert_to_tensor(b) if hasattr(b, "dims") else convert_to_tensor(b, a.dtype)


def _of_rank(x: Any, least: int, what: str) -> Any:
    x = convert_to_tensor(x)
    if len(x.dims) < least:
        raise InvalidArgumentError(places.with_place(f"{what} takes a tensor of rank {least} or more, got shape {x.shape}"))
    return x


# ------------------------------------------------------------------------------------------------ products
def matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, adjoint_a: bool = False, adjoint_b: bool = False, a_is_sparse: bool = False,
    b_is_sparse: bool = False, output_type: Any = None, grad_a: bool = False, grad_b: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """Matrix product of the last two axes, the others broadcast. InvalidArgumentError where inner sizes differ."""
    for side, turned, conjugated in (("a", transpose_a, adjoint_a), ("b", transpose_b, adjoint_b)):
        if turned and conjugated:
            raise ValueError(places.with_place(f"Only one of `transpose_{side}` and `adjoint_{side}` can be True."))
    a, b = _pair(a, b)
    if output_type is not None and dtypes.as_dtype(output_type) is not a.dtype:
        a, b = (_e.cast(x, dtype=dtypes.as_dtype(output_type)) for x in (a, b))
    if adjoint_a:
        a, transpose_a = _l.conj(a), True
    if adjoint_b:
        b, transpose_b = _l.conj(b), True
    flags = {k: True for k, v in (("transpose_a", transpose_a), ("transpose_b", transpose_b)) if v}
    return _matmul(a, b, **flags)


def matvec(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    adjoint_a: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Any:
    """Matrix [..., m, n] times vector [..., n]."""
    a, b = _pair(a, b)
    out = matmul(a, _reshape(b, shape=(*b.dims, 1)), transpose_a=transpose_a, adjoint_a=adjoint_a)
    return _reshape(out, shape=out.dims[:-1])


def einsum(equation: str, *inputs: Any, optimize: str = "greedy", name: str | None = None) -> Any:
    """The contraction that `equation` names, as in `numpy.einsum` with letters and "...". ValueError where it does not fit the operands."""
    typed = next((x.dtype for x in inputs if hasattr(x, "dims")), None)
    tensors = [convert_to_tensor(x) if hasattr(x, "dims") else convert_to_tensor(x, typed) for x in inputs]
    try:
        return _einsum.einsum(equation, *tensors)
    except ValueError as e:
        raise e if isinstance(e, InvalidArgumentError) else InvalidArgumentError(places.with_place(str(e))) from None


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    """The sum over pairs of axes: `axes` is how many last axes of `a` meet the first of `b`, or two lists of axes."""
    a, b = _pair(a, b)
    if hasattr(axes, "dims") or isinstance(axes, np.ndarray | np.generic):
        axes = np.asarray(axes).tolist()
    try:
        return _einsum.tensordot(a, b, axes)
    except ValueError as e:
        raise e if isinstance(e, InvalidArgumentError) else ValueError(places.with_place(str(e))) from None


def cross(a: Any, b: Any, name: str | None = None) -> Any:
    """The cross product of vectors of length 3 along the last axis."""
    a, b = _pair(a, b)
    for x in (a, b):
        if not x.dims or x.dims[-1] != 3:
            raise InvalidArgumentError(
                places.with_place(f"Cross-products are only defined for 3-element vectors, got shapes {a.shape} and {b.shape}")
            )
    last = len(a.dims) - 1
    (a0, a1, a2), (b0, b1, b2) = ([_reshape(axis_slice(x, len(x.dims) - 1, k, 1), shape=x.dims[:-1]) for k in range(3)] for x in (a, b))
    return stack(a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0, axis=last)


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Any:
    """The last two axes exchanged; `conjugate` conjugates complex elements."""
    x = _of_rank(a, 2, "matrix_transpose")
    return _l.adjoint(x) if conjugate else _l.flipped(x)


def adjoint(matrix: Any, name: str | None = None) -> Any:
    """The conjugate transpose of the last two axes."""
    return matrix_transpose(matrix, conjugate=True)


# ------------------------------------------------------------------------------------------------ systems
def cholesky(input: Any, name: str | None = None) -> Any:
    """The lower triangular L with L L^H = input; NaN for a matrix that is not positive definite. Only the lower triangle is read."""
    return _l.cholesky(convert_to_tensor(input))


def cholesky_solve(chol: Any, rhs: Any, name: str | None = None) -> Any:
    """The x with L L^H x = rhs, from the factor L."""
    chol, rhs = _pair(chol, rhs)
    return _l.triangular_solve(chol, _l.triangular_solve(chol, rhs), adjoint=True)


def triangular_solve(matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None) -> Any:
    """The x with T x = rhs (T^H x = rhs), T the lower or upper triangle of `matrix`. InvalidArgumentError where T is singular."""
    matrix, rhs = _pair(matrix, rhs)
    return _l.triangular_solve(matrix, rhs, lower=bool(lower), adjoint=bool(adjoint))


def solve(matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None) -> Any:
    """The x with matrix x = rhs (matrix^H x = rhs). InvalidArgumentError for a singular matrix."""
    matrix, rhs = _pair(matrix, rhs)
    return _l.solve(matrix, rhs, adjoint=bool(adjoint))


def inv(input: Any, adjoint: bool = False, name: str | None = None) -> Any:
    """The inverse, or the inverse of the conjugate transpose. InvalidArgumentError for a singular matrix."""
    x = convert_to_tensor(input)
    return _l.inv(_l.adjoint(x) if adjoint else x)


def det(input: Any, name: str | None = None) -> Any:
    """The determinant."""
    return _d.det(convert_to_tensor(input))


def slogdet(input: Any, name: str | None = None) -> SlogDet:
    """The sign of the determinant and the logarithm of its absolute value."""
    return SlogDet(*_d.slogdet(convert_to_tensor(input)))


def logdet(matrix: Any, name: str | None = None) -> Any:
    """The logarithm of the determinant of a Hermitian positive definite matrix, by its Cholesky factor."""
    factor = cholesky(matrix)
    on_diagonal = diag_part(factor)
    real = on_diagonal if not on_diagonal.dtype.is_complex else _e.cast(on_diagonal, dtype=on_diagonal.dtype.real_dtype)
    return 2.0 * sum_(_e.log(real), axis=(len(real.dims) - 1,))


def lstsq(matrix: Any, rhs: Any, l2_regularizer: Any = 0.0, fast: bool = True, name: str | None = None) -> Any:
    """The x of least |matrix x - rhs|^2 + l2_regularizer |x|^2; of several the shortest.

    `fast` solves the normal equations by Cholesky, which takes a matrix of full rank that is not too ill conditioned; otherwise
    by singular values.
    """
    a, b = _pair(matrix, rhs)
    m, n = a.dims[-2:]
    if not fast:
        if isinstance(l2_regularizer, int | float) and l2_regularizer == 0:
            return _matmul(pinv(a), b)
        raise InvalidArgumentError(places.with_place("lstsq with fast=False takes no l2_regularizer; write fast=True"))

    def regular(gram: Any) -> Any:
        if isinstance(l2_regularizer, int | float) and l2_regularizer == 0:
            return gram
        return gram + l2_regularizer * _identity_like(gram)

    wide = isinstance(m, int) and isinstance(n, int) and m < n
    h = _l.conj(a)
    if wide:
        return _matmul(h, cholesky_solve(_l.cholesky(regular(_matmul(a, h, transpose_b=True))), b), transpose_a=True)
    return cholesky_solve(_l.cholesky(regular(_matmul(h, a, transpose_a=True))), _matmul(h, b, transpose_a=True))


def _identity_like(x: Any) -> Any:
    """Identity matrices of the shape and dtype of `x`."""
    ones = _e.ones_like(x)
    return _l.triangle(_l.triangle(ones), lower=False)


# ------------------------------------------------------------------------------------------------ factorizations
def qr(input: Any, full_matrices: bool = False, name: str | None = None) -> QR:
    """q with orthonormal columns and upper triangular r with q r = input."""
    return QR(*_f.qr(convert_to_tensor(input), full_matrices=bool(full_matrices)))


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None) -> Any:
    """(s, u, v) with u diag(s) v^H = tensor, or s alone; singular values from the largest down."""
    x = convert_to_tensor(tensor)
    return SVD(*_f.svd(x, full_matrices=bool(full_matrices))) if compute_uv else _f.singular_values(x)


def eigh(tensor: Any, name: str | None = None) -> Eigh:
    """Eigenvalues from the smallest up and eigenvectors of Hermitian matrices, of which the lower triangle is read."""
    return Eigh(*_f.eigh(convert_to_tensor(tensor)))


def eigvalsh(tensor: Any, name: str | None = None) -> Any:
    """Eigenvalues of Hermitian matrices from the smallest up."""
    return _f.eigvalsh(convert_to_tensor(tensor))


def expm(input: Any, name: str | None = None) -> Any:
    """The matrix exponential."""
    return _exponential(convert_to_tensor(input))


def pinv(a: Any, rcond: Any = None, validate_args: bool = False, name: str | None = None) -> Any:
    """The Moore-Penrose inverse; singular values below `rcond` (10 * the larger size * machine epsilon) times the largest count as 0."""
    x = _of_rank(a, 2, "pinv")
    s, u, v = _f.svd(x)
    if rcond is None:
        rcond = 10.0 * _larger(x) * float(np.finfo(s.dtype.np).eps)
    cutoff = _e.cast(convert_to_tensor(rcond), dtype=s.dtype) if hasattr(rcond, "dims") else rcond
    cutoff = cutoff * reduce_max(s, -1, keepdims=True)
    inverse = _e.select(s > cutoff, 1 / _e.select(s > cutoff, s, _e.ones_like(s)), _e.zeros_like(s))
    row = _reshape(inverse, shape=(*inverse.dims[:-1], 1, inverse.dims[-1]))
    return _matmul(v * (_e.cast(row, dtype=v.dtype) if v.dtype.is_complex else row), _l.conj(u), transpose_b=True)


def _larger(x: Any) -> int:
    m, n = x.dims[-2:]
    if not (isinstance(m, int) and isinstance(n, int)):
        raise NotImplementedError(
            places.with_place(f"a default tolerance for a matrix whose sizes {m}, {n} are known only at run time; give rcond or tol")
        )
    return max(m, n)


def matrix_rank(a: Any, tol: Any = None, validate_args: bool = False, name: str | None = None) -> Any:
    """How many singular values exceed `tol` (machine epsilon * the larger size * the largest of them), int32."""
    x = _of_rank(a, 2, "matrix_rank")
    s = _f.singular_values(x)
    if tol is None:
        tol = float(np.finfo(s.dtype.np).eps) * _larger(x) * reduce_max(s, -1, keepdims=True)
    return sum_(_e.cast(s > tol, dtype=dtypes.int32), axis=(len(s.dims) - 1,))


# ------------------------------------------------------------------------------------------------ norms
def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: bool | None = None, name: str | None = None) -> Any:
    """Norms of vectors (`axis` an int, or None for the whole tensor as one vector) or matrices (`axis` two ints).

    `ord`: "euclidean", "fro", 1, 2, inf, and any p > 0 for vectors. ValueError for another.
    """
    x = convert_to_tensor(tensor)
    keep = bool(keepdims)
    matrix = isinstance(axis, list | tuple) and len(axis) == 2
    if isinstance(axis, list | tuple):
        if len(axis) not in (1, 2) or len(set(axis)) != len(axis):
            raise ValueError(places.with_place(f"'axis' must be None, an integer, or a tuple of 2 unique integers, got {axis}"))
        axes: Any = tuple(int(a) % len(x.dims) for a in axis)
    else:
        axes = None if axis is None else int(axis)
    infinite = isinstance(ord, float) and np.isinf(ord)
    if matrix and ord not in ("euclidean", "fro", 1, 2) and not infinite:
        raise ValueError(places.with_place(f"'ord' must be a supported matrix norm in ['euclidean', 'fro', 1, 2, inf], got {ord}"))
    if not matrix and not (ord == "euclidean" or (isinstance(ord, int | float) and ord > 0)):
        raise ValueError(places.with_place(f"'ord' must be a supported vector norm, got {ord}"))
    if ord in ("euclidean", "fro") or (ord == 2 and not matrix):
        if x.dtype.is_complex:
            return _e.cast(_e.sqrt(reduce_sum(_e.square(_e.abs_(x)), axes, keep)), dtype=x.dtype)
        return _e.sqrt(reduce_sum(x * x, axes, keep))
    size = _e.abs_(x)
    if matrix:
        rows, columns = axes
        if ord == 2:
            rest = [k for k in range(len(x.dims)) if k not in axes]
            largest = reduce_max(_f.singular_values(_transpose(x, perm=(*rest, rows, columns))), -1)
            return _reshape(largest, shape=tuple(1 if k in axes else d for k, d in enumerate(x.dims))) if keep else largest
        inner, outer = (rows, columns) if ord == 1 else (columns, rows)
        sums = reduce_max(reduce_sum(size, inner, True), outer, True)
        return sums if keep else _reshape(sums, shape=tuple(d for k, d in enumerate(x.dims) if k not in axes))
    if infinite:
        return reduce_max(size, axes, keep)
    if ord == 1:
        return reduce_sum(size, axes, keep)
    return _e.pow_(reduce_sum(_e.pow_(size, float(ord)), axes, keep), 1.0 / ord)


def normalize(tensor: Any, ord: Any = "euclidean", axis: Any = None, name: str | None = None) -> tuple[Any, Any]:
    """The tensor divided by its norm, and the norm, with axes of size 1."""
    x = convert_to_tensor(tensor)
    size = norm(x, ord, axis, keepdims=True)
    return x / size, size

"""QR, singular values, eigenvalues of Hermitian matrices, and the matrix exponential; batches in the last two axes.

LAPACK through NumPy and SciPy: in a compiled step these call back through the host. Gradients: QR from Walter & Lehmann,
"Algorithmic differentiation of linear algebra functions with application in optimum experimental design" (2010) and Roberts & Roberts,
"QR and LQ decomposition matrix backpropagation algorithms for square, wide, and deep matrices" (2020); singular values from Townsend,
"Differentiating the singular value decomposition" (2016); eigenvalues from Giles (2008); the exponential from the block form of
Mathias, "A chain rule for matrix functions and applications" (1996).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.ops.elementwise import cast, equal, ones_like, select, zeros_like
from tapejit.ops.joining import concat
from tapejit.ops.linalg import (
    SQUARES,
    adjoint,
    conj,
    flipped,
    matrices,
    positive_definite,
    square,
    triangle,
    triangular_solve,
    well_conditioned,
)
from tapejit.ops.matmul import matmul
from tapejit.ops.shapes import reshape
from tapejit.ops.slicing import axis_slice


def _row(x: Any) -> Any:
    """Vectors [..., n] as rows [..., 1, n]."""
    return reshape(x, shape=(*x.dims[:-1], 1, x.dims[-1]))


def _column(x: Any) -> Any:
    """Vectors [..., n] as columns [..., n, 1]."""
    return reshape(x, shape=(*x.dims, 1))


def _scaled(x: Any, s: Any) -> Any:
    """The columns of `x` times the entries of the real `s`."""
    return x * _row(cast(s, dtype=x.dtype) if x.dtype is not s.dtype else s)


def _diagonal(s: Any) -> Any:
    """Vectors as diagonal matrices."""
    whole = _column(s) * ones_like(_row(s))
    return triangle(triangle(whole), lower=False)


def _safe_reciprocal(x: Any) -> Any:
    """1 / x, damped near 0 as TensorFlow's `_SafeReciprocal` is, and 0 at 0 with all derivatives: equal values make no contribution."""
    zero = equal(x, 0)
    safe = select(zero, ones_like(x), x)
    return select(zero, zeros_like(x), safe / (safe * safe + 1e-20))


def _inverse_gaps(s: Any) -> Any:
    """F[i, j] = 1 / (s[j] - s[i]), 0 on the diagonal."""
    return _safe_reciprocal(_row(s) - _column(s))


def _columns(x: Any, begin: Dim, count: Dim) -> Any:
    return axis_slice(x, len(x.dims) - 1, begin, count)


def _tall(x: Type, name: str) -> tuple[Dim, Dim, Dim]:
    matrices(name, x)
    m, n = x.shape[-2:]
    return m, n, sizes.minimum(m, n)


class QR(Op):
    """(q, r) with q r = a, q with orthonormal columns and r upper triangular; all columns of q with `full_matrices`."""

    name = "qr"

    def infer(self, a: Type, *, full_matrices: bool = False) -> tuple[Type, ...]:
        m, n, k = _tall(a, "qr")
        k = m if full_matrices else k
        return a.with_shape((*a.shape[:-2], m, k)), a.with_shape((*a.shape[:-2], k, n))

    def eager(self, a: Any, *, full_matrices: bool = False) -> Any:
        q, r = np.linalg.qr(a, mode="complete" if full_matrices else "reduced")
        return q, r

    def vjp(self, g: Any, z: Any, a: Any, *, full_matrices: bool = False) -> tuple[Any, ...]:
        (q, r), (m, n) = z, a.dims[-2:]
        if not (isinstance(m, int) and isinstance(n, int)):
            raise NotImplementedError(f"gradient of qr of a matrix whose sizes {m}, {n} are known only at run time")
        if full_matrices and m > n:
            raise NotImplementedError(f"gradient of qr of a deep matrix [{m}, {n}] with full_matrices=True; write full_matrices=False")

        def rule() -> Any:
            dq, dr = (zeros_like(x) if d is None else conj(d) for x, d in zip(z, g, strict=True))
            if m >= n:
                return conj(_qr_rule(q, r, dq, dr))
            # wide: a = [x y], r = [u v]; q and u come from x alone, v = q^H y
            y, u = _columns(a, m, n - m), _columns(r, 0, m)
            du, dv = _columns(dr, 0, m), _columns(dr, m, n - m)
            dx = _qr_rule(q, u, dq + matmul(y, adjoint(dv)), du)
            return conj(concat(dx, matmul(q, dv), axis=len(a.dims) - 1))

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((3, 3), (4, 2), (2, 3), (2, 3, 2), (1, 1), (0, 2, 2)):
            yield (draw(shape),), {}
        yield (draw((3, 3)),), {"full_matrices": True}


def _qr_rule(q: Any, r: Any, dq: Any, dr: Any) -> Any:
    """The gradient of a = q r with as many rows as columns or more."""

    def over_r(x: Any) -> Any:  # x r^-H
        return adjoint(triangular_solve(r, adjoint(x), lower=False))

    qdq, rdr = matmul(adjoint(q), dq), matmul(r, adjoint(dr))
    low = triangle((qdq - adjoint(qdq)) + (rdr - adjoint(rdr)))
    return matmul(q, dr + over_r(low)) + over_r(dq - matmul(q, qdq))


class SVD(Op):
    """(s, u, v) with u diag(s) v^H = a, singular values from the largest down; all columns of u and v with `full_matrices`."""

    name = "svd"

    def infer(self, a: Type, *, full_matrices: bool = False) -> tuple[Type, ...]:
        m, n, k = _tall(a, "svd")
        lead = a.shape[:-2]
        return (
            Type(a.dtype.real_dtype, (*lead, k)),
            a.with_shape((*lead, m, m if full_matrices else k)),
            a.with_shape((*lead, n, n if full_matrices else k)),
        )

    def eager(self, a: Any, *, full_matrices: bool = False) -> Any:
        u, s, vh = np.linalg.svd(a, full_matrices=full_matrices)
        return s, u, np.ascontiguousarray(np.conj(np.swapaxes(vh, -1, -2)))

    def vjp(self, g: Any, z: Any, a: Any, *, full_matrices: bool = False) -> tuple[Any, ...]:
        (s, u, v), (gs, gu, gv) = z, g
        m, n = a.dims[-2:]
        if full_matrices and m != n and (gu is not None or gv is not None):
            raise NotImplementedError(f"gradient of svd of [{m}, {n}] with full_matrices=True; write full_matrices=False")
        if a.dtype.is_complex and (gu is not None or gv is not None):
            raise NotImplementedError("gradient of the singular vectors of a complex matrix; only that of the singular values is there")

        def rule() -> Any:
            k = s.dims[-1]
            u1, v1 = (_columns(x, 0, k) if full_matrices else x for x in (u, v))
            left = None if gs is None else _scaled(u1, gs)
            if gu is not None:
                inner = matmul(u, gu, transpose_a=True)
                part = _scaled(matmul(u, _inverse_gaps(s * s) * (inner - flipped(inner))), s)
                if m != k:
                    part = part + _scaled(gu - matmul(u, inner), _safe_reciprocal(s))
                left = part if left is None else left + part
            if gv is not None:
                inner = matmul(v, gv, transpose_a=True)
                part = matmul(u, _column(s) * (_inverse_gaps(s * s) * (inner - flipped(inner))))
                left = part if left is None else left + part
            total = matmul(conj(left), v1, transpose_b=True) if a.dtype.is_complex else matmul(left, v1, transpose_b=True)
            if gv is not None and n != k:
                total = total + matmul(_scaled(u, _safe_reciprocal(s)), gv - matmul(v, inner), transpose_b=True)
            return total

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((3, 3), (4, 2), (2, 3), (2, 3, 2), (1, 1), (0, 2, 2)):
            yield (draw(shape),), {}
        yield (draw((3, 3)),), {"full_matrices": True}


class SingularValues(Op):
    """The singular values of each matrix, from the largest down."""

    name = "singular_values"

    def infer(self, a: Type) -> Type:
        _, _, k = _tall(a, "svd")
        return Type(a.dtype.real_dtype, (*a.shape[:-2], k))

    def eager(self, a: Any) -> Any:
        return np.linalg.svd(a, compute_uv=False)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        def rule() -> Any:
            _, u, v = svd(a)
            return matmul(_scaled(conj(u), g), v, transpose_b=True)

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((3, 3), (4, 2), (2, 3), (2, 3, 2), (1, 1), (0, 2, 2)):
            yield (draw(shape),), {}


class HermitianEigen(Op):
    """(e, v) with a v = v diag(e): eigenvalues of a Hermitian matrix from the smallest up, eigenvectors in columns.

    Only the lower triangle of `a` is read, and only it has a gradient, as in TensorFlow.
    """

    name = "eigh"

    def infer(self, a: Type) -> tuple[Type, ...]:
        square("eigh", a)
        return Type(a.dtype.real_dtype, a.shape[:-1]), a

    def eager(self, a: Any) -> Any:
        e, v = np.linalg.eigh(a)
        return e, v

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        (e, v), (ge, gv) = z, g

        def rule() -> Any:
            middle = None if ge is None else _diagonal(ge)
            if middle is not None and a.dtype.is_complex:
                middle = cast(middle, dtype=a.dtype)
            if gv is not None:
                gaps = _inverse_gaps(e)
                turned = (cast(gaps, dtype=a.dtype) if a.dtype.is_complex else gaps) * matmul(adjoint(v), conj(gv))
                middle = turned if middle is None else middle + turned
            whole = matmul(matmul(v, middle), adjoint(v))
            return conj(triangle(whole + adjoint(whole), diagonal=0.5))

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (positive_definite(draw(shape, -1, 1)),), {}


class HermitianEigenvalues(Op):
    """The eigenvalues of a Hermitian matrix from the smallest up; only the lower triangle is read and has a gradient."""

    name = "eigvalsh"

    def infer(self, a: Type) -> Type:
        square("eigvalsh", a)
        return Type(a.dtype.real_dtype, a.shape[:-1])

    def eager(self, a: Any) -> Any:
        return np.linalg.eigvalsh(a)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        def rule() -> Any:
            _, v = eigh(a)
            whole = matmul(_scaled(v, g), adjoint(v))
            return conj(triangle(whole + adjoint(whole), diagonal=0.5))

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (positive_definite(draw(shape, -1, 1)),), {}


class MatrixExponential(Op):
    """The sum over k of a^k / k!. The gradient is a block of the exponential of [[a^T, g], [0, a^T]]."""

    name = "expm"

    def infer(self, a: Type) -> Type:
        square("expm", a)
        return a

    def eager(self, a: Any) -> Any:
        if not a.size:
            return a.copy()
        from scipy.linalg import expm

        return expm(a).astype(a.dtype, copy=False)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        def rule() -> Any:
            n, rank = a.dims[-1], len(a.dims)
            t = flipped(a)
            block = concat(concat(t, g, axis=rank - 1), concat(zeros_like(t), t, axis=rank - 1), axis=rank - 2)
            return _columns(axis_slice(matrix_exponential(block), rank - 2, 0, n), n, n)

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (well_conditioned(draw(shape, -0.5, 0.5)) * 0.2,), {}


qr, svd, singular_values = register(QR()), register(SVD()), register(SingularValues())
eigh, eigvalsh = register(HermitianEigen()), register(HermitianEigenvalues())
matrix_exponential = register(MatrixExponential())

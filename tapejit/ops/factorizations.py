"""QR, singular values, and eigenvalues of Hermitian matrices; batches of matrices in the last two axes.

Eagerly LAPACK through NumPy and SciPy; in a compiled step kernels call the same routines (see `lapack`). Gradients: QR from Walter & Lehmann,
"Algorithmic differentiation of linear algebra functions with application in optimum experimental design" (2010) and Roberts & Roberts,
"QR and LQ decomposition matrix backpropagation algorithms for square, wide, and deep matrices" (2020); singular values from Townsend,
"Differentiating the singular value decomposition" (2016); eigenvalues from Giles (2008).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Fail, If, Stmt
from tapejit.ops import lapack
from tapejit.ops.batching import leading
from tapejit.ops.elementwise import cast, equal, ones_like, select, zeros_like
from tapejit.ops.joining import concat
from tapejit.ops.linalg import (
    SQUARES,
    adjoint,
    conj,
    matrices,
    positive_definite,
    square,
    triangle,
    triangular_solve,
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


def _times(x: Any, s: Any) -> Any:
    """`x` times the real `s`, element by element."""
    return x * (cast(s, dtype=x.dtype) if x.dtype is not s.dtype else s)


def _scaled(x: Any, s: Any) -> Any:
    """The columns of `x` times the entries of the real `s`."""
    return _times(x, _row(s))


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
    pairs = True
    batch = leading

    def infer(self, a: Type, *, full_matrices: bool = False) -> tuple[Type, ...]:
        m, n, k = _tall(a, "qr")
        k = m if full_matrices else k
        return a.with_shape((*a.shape[:-2], m, k)), a.with_shape((*a.shape[:-2], k, n))

    def eager(self, a: Any, *, full_matrices: bool = False) -> Any:
        q, r = np.linalg.qr(a, mode="complete" if full_matrices else "reduced")
        return q, r

    def work(self, a: Type, *, full_matrices: bool = False) -> tuple[Type, ...]:
        m, n, k = _tall(a, "qr")
        wide = sizes.maximum(m if full_matrices else k, n)
        return lapack.scratch(a, wide, m), lapack.scratch(a, k), lapack.scratch(a, lapack.BLOCK * lapack.at_least_one(wide))

    def kernel(self, outs: Any, ins: Any, work: Any, *, full_matrices: bool = False) -> tuple[Stmt, ...]:
        (a,), (q, r), (w, tau, more) = ins, outs, work
        (m, n), (height, _), columns, k = a.dims[-2:], r.dims[-2:], q.dims[-1], tau.dims[-1]
        zero = expr.as_expr(0.0, a.dtype.real_dtype)

        def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
            matrix = lapack.place(w, (p, 0, 0)), m, lapack.place(tau, (p, 0)), lapack.place(more, (p, 0)), more.dims[-1]

            def upper(i: Expr, j: Expr, part: int) -> Expr:
                return expr.guarded(i <= j, lapack.element(w, (p, j, i), part), zero)

            steps = (
                lapack.transposed(w, (p,), a, at, n, m),
                lapack.call("geqrf", a.dtype, m, n, *matrix),
                lapack.fill(r, at, height, n, upper),
                lapack.call("ungqr" if a.dtype.is_complex else "orgqr", a.dtype, m, columns, k, *matrix),
                lapack.transposed(q, at, w, (p,), m, columns),
            )
            return lapack.unless_empty(k, steps, (lapack.unit(q, at, m),) if full_matrices else ())

        return lapack.batch(a.dims[:-2], each)

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
            yield (draw(shape, kinds="fc"),), {}
        yield (draw((3, 3), kinds="fc"),), {"full_matrices": True}


def _qr_rule(q: Any, r: Any, dq: Any, dr: Any) -> Any:
    """The gradient of a = q r with as many rows as columns or more."""

    def over_r(x: Any) -> Any:  # x r^-H
        return adjoint(triangular_solve(r, adjoint(x), lower=False))

    qdq, rdr = matmul(adjoint(q), dq), matmul(r, adjoint(dr))
    low = triangle((qdq - adjoint(qdq)) + (rdr - adjoint(rdr)))
    outside = dq - matmul(q, qdq)
    if q.dtype.is_complex:  # the diagonal of r is real
        on_diagonal = triangle(triangle(rdr - adjoint(qdq)), lower=False)
        outside = outside - matmul(q, (on_diagonal - conj(on_diagonal)) * 0.5)
    return matmul(q, dr + over_r(low)) + over_r(outside)


class SVD(Op):
    """(s, u, v) with u diag(s) v^H = a, singular values from the largest down; all columns of u and v with `full_matrices`."""

    name = "svd"
    pairs = True
    batch = leading

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

    def work(self, a: Type, *, full_matrices: bool = False) -> tuple[Type, ...]:
        m, _, k = _tall(a, "svd")
        return *_svd_work(a, vectors=True), lapack.scratch(a, m if full_matrices else k, m)

    def failure(self) -> str:
        """What went wrong where the iteration came to no end."""
        return "svd: SVD did not converge"

    def kernel(self, outs: Any, ins: Any, work: Any, *, full_matrices: bool = False) -> tuple[Stmt, ...]:
        (a,), (s, u, v), (*memory, left) = ins, outs, work
        (m, n), columns = a.dims[-2:], (u.dims[-1], v.dims[-1])

        def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
            # the transpose of v by columns is v by rows
            vectors = lapack.place(left, (p, 0, 0)), m, lapack.place(v, (*at, 0, 0)), columns[1]
            steps = (
                *_gesdd(a, at, s, memory, p, b"A" if full_matrices else b"S", vectors),
                lapack.transposed(u, at, left, (p,), m, columns[0]),
            )
            if a.dtype.is_complex:
                steps += (lapack.conjugated(v, at),)
            return lapack.unless_empty(s.dims[-1], steps, (lapack.unit(u, at, m), lapack.unit(v, at, n)) if full_matrices else ())

        return lapack.batch(a.dims[:-2], each)

    def vjp(self, g: Any, z: Any, a: Any, *, full_matrices: bool = False) -> tuple[Any, ...]:
        (s, u, v), (gs, gu, gv) = z, g
        m, n = a.dims[-2:]
        if full_matrices and m != n and (gu is not None or gv is not None):
            raise NotImplementedError(f"gradient of svd of [{m}, {n}] with full_matrices=True; write full_matrices=False")

        def rule() -> Any:
            k = s.dims[-1]
            u1, v1 = (_columns(x, 0, k) if full_matrices else x for x in (u, v))
            left = None if gs is None else _scaled(u1, gs)
            if gu is not None:
                du = conj(gu)
                inner = matmul(adjoint(u), du)
                apart = inner - adjoint(inner)
                part = _scaled(matmul(u, _times(apart, _inverse_gaps(s * s))), s)
                if a.dtype.is_complex:  # u and v turn together
                    part = part + _scaled(matmul(u, triangle(triangle(apart), lower=False)), 0.5 * _safe_reciprocal(s))
                if m != k:
                    part = part + _scaled(du - matmul(u, inner), _safe_reciprocal(s))
                left = part if left is None else left + part
            if gv is not None:
                dv = conj(gv)
                inner = matmul(adjoint(v), dv)
                part = matmul(u, _times(_times(inner - adjoint(inner), _inverse_gaps(s * s)), _column(s)))
                left = part if left is None else left + part
            total = matmul(left, adjoint(v1))
            if gv is not None and n != k:
                total = total + matmul(_scaled(u, _safe_reciprocal(s)), adjoint(dv - matmul(v, inner)))
            return conj(total)

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((3, 3), (4, 2), (2, 3), (2, 3, 2), (1, 1), (0, 2, 2)):
            yield (draw(shape, kinds="fc"),), {}
        yield (draw((3, 3), kinds="fc"),), {"full_matrices": True}


def _svd_work(a: Type, vectors: bool) -> tuple[Type, ...]:
    """A copy of the matrix, and what LAPACK's documentation of gesdd asks for, with room for blocks of columns."""
    m, n, k = _tall(a, "svd")
    large, blocks = sizes.maximum(m, n), lapack.BLOCK * (m + n)
    if not a.dtype.is_complex:
        counts = [(4 * k * k + 7 * k if vectors else 10 * k) + large + blocks]
    else:
        counts = [(k * k if vectors else 0) + 3 * k + large + blocks, 5 * k * k + 5 * k + (2 * large * k + 2 * k * k + k if vectors else 0)]
    own = (a.dtype, a.dtype.real_dtype)
    memory = [lapack.scratch(a, c, dtype=d) for c, d in zip(counts, own, strict=False)]
    return lapack.scratch(a, n, m), *memory, lapack.scratch(a, 8 * k, dtype=dtypes.int32)


def _gesdd(a: Any, at: lapack.Lead, s: Any, memory: Any, p: Expr, job: bytes, vectors: tuple[Any, ...]) -> tuple[Stmt, ...]:
    """The singular values of `a[at]` into `s[at]`, and with them `vectors` = (u by columns, its height, the transpose of v, its height)."""
    w, work, *rest = memory
    m, n = a.dims[-2:]
    return (
        lapack.transposed(w, (p,), a, at, n, m),
        lapack.call(
            "gesdd",
            a.dtype,
            job,
            m,
            n,
            lapack.place(w, (p, 0, 0)),
            m,
            s[(*at, 0)],
            *vectors,
            lapack.place(work, (p, 0)),
            work.dims[-1],
            *(x[(p, 0)] for x in rest),
        ),
        If(lapack.FAILED, (Fail(0),)),
    )


class SingularValues(Op):
    """The singular values of each matrix, from the largest down."""

    name = "singular_values"
    pairs = True
    batch = leading

    def infer(self, a: Type) -> Type:
        _, _, k = _tall(a, "svd")
        return Type(a.dtype.real_dtype, (*a.shape[:-2], k))

    def eager(self, a: Any) -> Any:
        return np.linalg.svd(a, compute_uv=False)

    def work(self, a: Type) -> tuple[Type, ...]:
        return _svd_work(a, vectors=False)

    def failure(self) -> str:
        """What went wrong where the iteration came to no end."""
        return "singular_values: SVD did not converge"

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (s,) = ins, outs

        def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
            unused = lapack.place(work[0], (p, 0, 0))
            return lapack.unless_empty(s.dims[-1], _gesdd(a, at, s, work, p, b"N", (unused, 1, unused, 1)))

        return lapack.batch(a.dims[:-2], each)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        def rule() -> Any:
            _, u, v = svd(a)
            return matmul(_scaled(conj(u), g), v, transpose_b=True)

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((3, 3), (4, 2), (2, 3), (2, 3, 2), (1, 1), (0, 2, 2)):
            yield (draw(shape, kinds="fc"),), {}


def _eigen_work(a: Type, vectors: bool) -> tuple[Type, ...]:
    """A copy of the matrix, and what LAPACK's documentation of syevd and heevd asks for, with room for blocks of columns."""
    n, blocks = a.shape[-1], lapack.BLOCK * a.shape[-1]
    if not a.dtype.is_complex:
        counts = [1 + 6 * n + (2 * n * n if vectors else 0) + blocks]
    else:
        counts = [1 + 2 * n + (n * n if vectors else 0) + blocks, 1 + 5 * n + (2 * n * n if vectors else 0)]
    own = (a.dtype, a.dtype.real_dtype)
    memory = [lapack.scratch(a, c, dtype=d) for c, d in zip(counts, own, strict=False)]
    return lapack.scratch(a, n, n), *memory, lapack.scratch(a, 3 + 5 * n, dtype=dtypes.int32)


def _syevd(a: Any, at: lapack.Lead, e: Any, memory: Any, p: Expr, job: bytes) -> tuple[Stmt, ...]:
    """The eigenvalues of `a[at]` into `e[at]`; with job "V" the eigenvectors by columns into the copy of the matrix."""
    w, *rest = memory
    n = a.dims[-1]
    lengths = [x for m in rest for x in (lapack.place(m, (p, 0)), m.dims[-1])]
    return (
        lapack.transposed(w, (p,), a, at, n, n),
        lapack.call(
            "heevd" if a.dtype.is_complex else "syevd", a.dtype, job, b"L", n, lapack.place(w, (p, 0, 0)), n, e[(*at, 0)], *lengths
        ),
        If(lapack.FAILED, (Fail(0),)),
    )


class HermitianEigen(Op):
    """(e, v) with a v = v diag(e): eigenvalues of a Hermitian matrix from the smallest up, eigenvectors in columns.

    Only the lower triangle of `a` is read, and only it has a gradient, as in TensorFlow.
    """

    name = "eigh"
    pairs = True
    batch = leading

    def infer(self, a: Type) -> tuple[Type, ...]:
        square("eigh", a)
        return Type(a.dtype.real_dtype, a.shape[:-1]), a

    def eager(self, a: Any) -> Any:
        e, v = np.linalg.eigh(a)
        return e, v

    def work(self, a: Type) -> tuple[Type, ...]:
        return _eigen_work(a, vectors=True)

    def failure(self) -> str:
        """What went wrong where the iteration came to no end."""
        return "eigh: Eigenvalues did not converge"

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (e, v) = ins, outs
        n = a.dims[-1]

        def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
            return lapack.unless_empty(n, (*_syevd(a, at, e, work, p, b"V"), lapack.transposed(v, at, work[0], (p,), n, n)))

        return lapack.batch(a.dims[:-2], each)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        (e, v), (ge, gv) = z, g

        def rule() -> Any:
            middle = None if ge is None else _diagonal(ge)
            if middle is not None and a.dtype.is_complex:
                middle = cast(middle, dtype=a.dtype)
            if gv is not None:
                turned = _times(matmul(adjoint(v), conj(gv)), _inverse_gaps(e))
                middle = turned if middle is None else middle + turned
            whole = matmul(matmul(v, middle), adjoint(v))
            return conj(triangle(whole + adjoint(whole), diagonal=0.5))

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (positive_definite(draw(shape, -1, 1, kinds="fc")),), {}


class HermitianEigenvalues(Op):
    """The eigenvalues of a Hermitian matrix from the smallest up; only the lower triangle is read and has a gradient."""

    name = "eigvalsh"
    pairs = True
    batch = leading

    def infer(self, a: Type) -> Type:
        square("eigvalsh", a)
        return Type(a.dtype.real_dtype, a.shape[:-1])

    def eager(self, a: Any) -> Any:
        return np.linalg.eigvalsh(a)

    def work(self, a: Type) -> tuple[Type, ...]:
        return _eigen_work(a, vectors=False)

    def failure(self) -> str:
        """What went wrong where the iteration came to no end."""
        return "eigvalsh: Eigenvalues did not converge"

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (e,) = ins, outs

        def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
            return lapack.unless_empty(a.dims[-1], _syevd(a, at, e, work, p, b"N"))

        return lapack.batch(a.dims[:-2], each)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        def rule() -> Any:
            _, v = eigh(a)
            whole = matmul(_scaled(v, g), adjoint(v))
            return conj(triangle(whole + adjoint(whole), diagonal=0.5))

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (positive_definite(draw(shape, -1, 1, kinds="fc")),), {}


qr, svd, singular_values = register(QR()), register(SVD()), register(SingularValues())
eigh, eigvalsh = register(HermitianEigen()), register(HermitianEigenvalues())

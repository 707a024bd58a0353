"""Solving: Cholesky, triangular and general systems, inverse; batches of matrices in the last two axes.

Eagerly LAPACK through NumPy and SciPy; in a compiled step the same routines (see `lapack`), and for small matrices loop nests of our own,
which are done before a routine has begun (see `elimination`). Gradients: Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); of the Cholesky factor: Murray, "Differentiation of the Cholesky decomposition" (2016).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, places, sizes, types
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Accumulator, Fail, If, Let, Stmt, Update
from tapejit.ops import lapack
from tapejit.ops.batching import aligned, leading
from tapejit.ops.broadcasting import broadcast_index, unbroadcast
from tapejit.ops.elementwise import conjugate
from tapejit.ops.elimination import back_substitution, elimination, scratch, square_of
from tapejit.ops.lapack import loop, var
from tapejit.ops.matmul import matmul
from tapejit.ops.shapes import reshape, transpose
from tapejit.ops.tangents import multilinear


# ------------------------------------------------------------------------------------------------ what the rows share
def square(name: str, x: Type) -> None:
    """ValueError or TypeError unless `x` is a batch of square matrices of a dtype that linear algebra takes."""
    matrices(name, x)
    try:
        sizes.unify(x.shape[-1], x.shape[-2])
    except ValueError:
        raise ValueError(f"{name}: Input matrix must be square, got {x}") from None


def matrices(name: str, *operands: Type) -> None:
    """ValueError or TypeError unless all operands are batches of matrices of one dtype that linear algebra takes."""
    for x in operands:
        if x.dtype.kind not in "fc" or x.dtype.narrow:
            raise TypeError(f"{name} is not defined for {x.dtype.name}; write tf.cast(x, tf.float32)")
        if x.dtype is not operands[0].dtype:
            raise TypeError(
                f"{name} takes operands of one dtype, got {operands[0].dtype.name} and {x.dtype.name}; write tf.cast(x, tf.{operands[0].dtype.name})"
            )
        if x.rank < 2:
            raise ValueError(f"{name} takes matrices, that is rank 2 or more, got {x}")


def flipped(x: Any) -> Any:
    """`x` with its last two axes exchanged."""
    rank = len(x.dims)
    return transpose(x, perm=(*range(rank - 2), rank - 1, rank - 2))


def conj(x: Any) -> Any:
    """The complex conjugate, real tensors as they are."""
    return conjugate(x) if x.dtype.is_complex else x


def adjoint(x: Any) -> Any:
    """The conjugate transpose of the last two axes."""
    return flipped(conj(x))


def stretched(x: Any) -> Any:
    """`x` with two axes of size 1 at the end."""
    return reshape(x, shape=(*x.dims, 1, 1))


def positive_definite(a: Any) -> Any:
    """a a^H + n * identity: samples that have a Cholesky factor and are far from singular."""
    return (a @ np.conj(np.swapaxes(a, -1, -2)) + a.shape[-1] * np.eye(a.shape[-1])).astype(a.dtype)


def well_conditioned(a: Any) -> Any:
    """a + n * identity: samples that elimination takes without trouble, not symmetric."""
    return (0.3 * a + a.shape[-1] * np.eye(a.shape[-1])).astype(a.dtype)


SQUARES = ((3, 3), (1, 1), (2, 4, 4), (2, 1, 2, 2), (0, 2, 2), (0, 0))


# ------------------------------------------------------------------------------------------------ rows
class Triangle(Op):
    """The lower (or upper) triangle of the last two axes, with the diagonal times `diagonal`; the rest is 0. Its own transpose."""

    name = "triangle"
    jvp = multilinear
    batch = leading

    def infer(self, x: Type, *, lower: bool = True, diagonal: float = 1.0) -> Type:
        if x.rank < 2 or x.dtype.kind not in "fc":
            raise ValueError(f"triangle takes floating-point matrices, got {x}")
        return x

    def eager(self, x: Any, *, lower: bool = True, diagonal: float = 1.0) -> Any:
        out = np.tril(x) if lower else np.triu(x)
        if diagonal != 1.0:
            n = min(x.shape[-2:])
            out[..., np.arange(n), np.arange(n)] *= x.dtype.type(diagonal)
        return out

    def vjp(self, g: Any, z: Any, x: Any, **attrs: Any) -> tuple[Any, ...]:
        return (lambda: triangle(g, **attrs),)

    def at(self, index: tuple[Expr, ...], x: Any, *, lower: bool = True, diagonal: float = 1.0) -> Expr:
        i, j = index[-2:]
        value = x[index]
        on = value if diagonal == 1.0 else value * expr.as_expr(diagonal, value.dtype)
        outside = expr.select(expr.compare("eq", i, j), on, expr.as_expr(0.0, value.dtype))
        return expr.select(j < i if lower else j > i, value, outside)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((3, 3), (2, 2, 4), (4, 2), (1, 1), (0, 2)):
            for lower in (True, False):
                yield (draw(shape, kinds="fc"),), {"lower": lower, "diagonal": 0.5}
        yield (draw((2, 3, 3), kinds="fc"),), {}


class Cholesky(Op):
    """The lower triangular L with L L^H = a; only the lower triangle of `a` is read. A matrix that is not positive definite gives NaN."""

    name = "cholesky"
    pairs = True
    batch = leading

    def infer(self, a: Type) -> Type:
        square("cholesky", a)
        return a

    def eager(self, a: Any) -> Any:
        try:
            return np.linalg.cholesky(a)
        except np.linalg.LinAlgError:
            if a.ndim == 2:
                if a.shape[0] != a.shape[1]:
                    raise ValueError("cholesky: Input matrix must be square") from None
                return np.tril(np.full_like(a, np.nan))
            return np.stack([self.eager(m) for m in a])

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        def rule() -> Any:
            middle = triangle(matmul(conj(z), conj(g), transpose_a=True), diagonal=0.5)
            left = triangular_solve(z, middle, adjoint=True)  # L^-H P
            whole = adjoint(triangular_solve(z, adjoint(left), adjoint=True))  # L^-H P L^-1
            return conj((whole + adjoint(whole)) * 0.5)

        return (rule,)

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (out,) = ins, outs
        n, real = a.dims[-1], a.dtype.real_dtype

        def spoilt(at: lapack.Lead, y: Expr, x: Expr, part: int) -> Expr:
            nan = expr.as_expr(0.0 if part else float("nan"), real)
            return expr.select(x <= y, nan, lapack.element(out, (*at, y, x), part))

        def by_lapack(at: lapack.Lead) -> tuple[Stmt, ...]:
            def lower(i: Expr, j: Expr, part: int) -> Expr:
                return expr.select(j <= i, lapack.element(a, (*at, i, j), part), 0.0)

            # by columns what is there by rows is the transpose: its upper triangle is U with U^H U, and U^T is L
            factor = lapack.call("potrf", a.dtype, b"U", n, lapack.place(out, (*at, 0, 0)), n)
            return lapack.fill(out, at, n, n, lower), factor, If(lapack.FAILED, (spoil(at),))

        def spoil(at: lapack.Lead) -> Stmt:
            """Nothing of the triangle is worth keeping."""
            return lapack.fill(out, at, n, n, lambda y, x, part: spoilt(at, y, x, part))

        def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
            steps = lapack.by_size(n, a.dtype, lambda: (*self._columns(a, out, at), spoil_if(at)), lambda: by_lapack(at), few=64)
            return lapack.unless_empty(n, steps)

        def spoil_if(at: lapack.Lead) -> Stmt:
            last = expr.of_dim(n) - 1  # a pivot that is NaN makes all later ones NaN
            return If(expr.call("isnan", out[(*at, last, last)], dtype=dtypes.bool_), (spoil(at),))

        return lapack.batch(a.dims[:-2], each)

    @staticmethod
    def _columns(a: Any, out: Any, b: lapack.Lead) -> tuple[Stmt, ...]:
        """The factor column by column, without a call."""
        n, dtype = a.dims[-1], a.dtype
        i, j, c, k = var("i"), var("j"), var("c"), var("k")
        zero = expr.as_expr(0.0, dtype)
        # the part of `out` that is not written yet is 0, so every dot product may run over whole rows
        clear = loop("r", n, loop("c", n, out.store((*b, var("r"), c), zero), kind="vector"))
        dot = loop("k", n, Update("rest", "add", -(out[(*b, i, k)] * out[(*b, j, k)])), kind="vector")
        rest, pivot = expr.Var(dtype, "rest"), expr.Var(dtype, "pivot")
        on_diagonal = expr.call("sqrt", expr.select(rest > 0.0, rest, float("nan")))
        column = loop(
            "i", n,
            If(i > j, (Accumulator("rest", a[(*b, i, j)]), dot, out.store((*b, i, j), rest / pivot))),
        )  # fmt: skip
        own = loop("q", n, Update("rest", "add", -(out[(*b, j, var("q"))] * out[(*b, j, var("q"))])), kind="vector")
        return clear, loop("j", n, Accumulator("rest", a[(*b, j, j)]), own, Let("pivot", on_diagonal), column, out.store((*b, j, j), pivot))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (positive_definite(draw(shape, -1, 1, kinds="fc")),), {}


def _broadcast_system(name: str, a: Type, b: Type) -> Type:
    square(name, a)
    matrices(name, a, b)
    try:
        sizes.unify(a.shape[-1], b.shape[-2])
    except ValueError:
        raise ValueError(
            f"{name}: the matrix {a} has {a.shape[-1]} rows, the right-hand side {b} has {b.shape[-2]}; write rhs[..., tf.newaxis] for a vector"
        ) from None
    return b.with_shape((*types.broadcast(a.shape[:-2], b.shape[:-2]), b.shape[-2], b.shape[-1]))


def _system(a: Type, b: Type) -> Type:
    """The matrices of systems, one for each of the batch."""
    with sizes.assuming():  # `infer` has recorded what has to be equal
        return a.with_shape((*types.broadcast(a.shape[:-2], b.shape[:-2]), *a.shape[-2:]))


def _singular(what: str = "Input matrix is not invertible.") -> InvalidArgumentError:
    return InvalidArgumentError(places.with_place(what))


def _by_rows(a: Any, at_a: lapack.Index, b: Any, at_b: lapack.Index, x: Any, at: lapack.Index, lower: bool, adjoint: bool) -> Stmt:
    """Substitution, row after row of the solution."""
    n, columns = x.dims[-2:]
    i, k, c, d, e = var("i"), var("k"), var("c"), var("d"), var("e")
    ascending = lower != adjoint
    element = a[(*at_a, *((k, i) if adjoint else (i, k)))]
    take = loop("d", columns, x.store((*at, i, d), -(element * x[(*at, k, d)]), combine="add"), kind="vector")
    return loop(
        "r", n,
        Let("i", var("r") if ascending else expr.of_dim(n) - 1 - var("r")),
        loop("c", columns, x.store((*at, i, c), b[(*at_b, i, c)]), kind="vector"),
        loop("k", n, If(k < i if ascending else k > i, (take,))),
        loop("e", columns, x.store((*at, i, e), x[(*at, i, e)] / a[(*at_a, i, i)]), kind="vector"),
    )  # fmt: skip


class TriangularSolve(Op):
    """The x with T x = b (T^H x = b with `adjoint`), T the lower or upper triangle of `a`; batch axes broadcast.

    InvalidArgumentError where T has a 0 on its diagonal.
    """

    name = "triangular_solve"
    pairs = True
    batch = aligned
    same_dtype = None

    def infer(self, a: Type, b: Type, *, lower: bool = True, adjoint: bool = False) -> Type:
        return _broadcast_system("triangular_solve", a, b)

    def eager(self, a: Any, b: Any, *, lower: bool = True, adjoint: bool = False) -> Any:
        if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != a.shape[-2] or a.shape[-1] != b.shape[-2]:
            raise ValueError("triangular_solve: the shapes of matrix and right-hand side do not fit")  # `infer` says why
        if np.any(np.diagonal(a, axis1=-2, axis2=-1) == 0):
            raise _singular()
        if a.ndim == 2 and a.size and b.size and a.shape[0] >= 16:  # LAPACK's own routine is worth the import
            from scipy.linalg import solve_triangular

            rows = b.shape[-2]
            flat = np.moveaxis(b, -2, 0).reshape(rows, -1)  # one matrix serves all right-hand sides of a batch
            x = solve_triangular(a, flat, lower=lower, trans=2 if adjoint else 0, check_finite=False)
            return np.ascontiguousarray(np.moveaxis(x.reshape(rows, *b.shape[:-2], b.shape[-1]), 0, -2))
        t = np.tril(a) if lower else np.triu(a)
        return np.linalg.solve(np.conj(np.swapaxes(t, -1, -2)) if adjoint else t, b)

    def vjp(self, g: Any, z: Any, a: Any, b: Any, *, lower: bool = True, adjoint: bool = False) -> tuple[Any, ...]:
        def for_b() -> Any:
            return triangular_solve(conj(a), g, lower=lower, adjoint=not adjoint)

        def for_a() -> Any:
            d = for_b()
            whole = conj(matmul(z, d, transpose_b=True)) if adjoint else matmul(d, z, transpose_b=True)
            return unbroadcast(triangle(-whole, lower=lower), a)

        return for_a, lambda: unbroadcast(for_b(), b)

    def work(self, *operands: Type, **attrs: Any) -> tuple[Type, ...]:
        n = operands[0].shape[-1]
        return (lapack.scratch(_system(*operands), n, n),)

    def failure(self) -> str:
        """What went wrong where the kernel found a 0 to divide by."""
        return "Input matrix is not invertible."

    def kernel(self, outs: Any, ins: Any, work: Any, *, lower: bool = True, adjoint: bool = False) -> tuple[Stmt, ...]:
        (a, b), (x,), (w,) = ins, outs, work
        n, columns = x.dims[-2:]

        def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
            at_a, at_b = broadcast_index(at, a.dims[:-2]), broadcast_index(at, b.dims[:-2])
            k = var("k")
            zero = [expr.compare("eq", lapack.element(a, (*at_a, k, k), part), 0.0) for part in range(1 + a.dtype.is_complex)]
            singular = loop("k", n, If(functools.reduce(operator.and_, zero), (Fail(0),)))

            def by_rows() -> tuple[Stmt, ...]:
                return (_by_rows(a, at_a, b, at_b, x, at, lower, adjoint),)

            def by_lapack() -> tuple[Stmt, ...]:
                copies = lapack.copied(w, (p,), a, at_a, n, n), lapack.copied(x, at, b, at_b, n, columns)
                solved = lapack.triangular(lower, adjoint, w, (p, 0, 0), n, x, (*at, 0, 0), columns)
                return *copies, *lapack.unless_empty(columns, (solved,))

            return (singular, *lapack.unless_empty(n, lapack.by_size(n, a.dtype, by_rows, by_lapack)))

        return lapack.batch(x.dims[:-2], each)

    def samples(self, draw: Any) -> Iterator[Any]:
        for a, b in (
            ((3, 3), (3, 2)),
            ((2, 3, 3), (2, 3, 1)),
            ((2, 2), (3, 2, 2)),
            ((2, 1, 2, 2), (3, 2, 2)),
            ((1, 1), (1, 4)),
            ((0, 0), (0, 2)),
            ((2, 2), (2, 0)),
        ):
            for lower, adjoint in ((True, False), (False, False), (True, True), (False, True)):
                yield (well_conditioned(draw(a, -1, 1, kinds="fc")), draw(b, kinds="fc")), {"lower": lower, "adjoint": adjoint}


class Solve(Op):
    """The x with a x = b (a^H x = b with `adjoint`); batch axes broadcast. InvalidArgumentError where `a` is singular."""

    name = "solve"
    pairs = True
    batch = aligned
    same_dtype = None

    def infer(self, a: Type, b: Type, *, adjoint: bool = False) -> Type:
        return _broadcast_system("solve", a, b)

    def eager(self, a: Any, b: Any, *, adjoint: bool = False) -> Any:
        if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != a.shape[-2] or a.shape[-1] != b.shape[-2]:
            raise ValueError("solve: the shapes of matrix and right-hand side do not fit")  # `infer` says why
        try:
            return np.linalg.solve(np.conj(np.swapaxes(a, -1, -2)) if adjoint else a, b)
        except np.linalg.LinAlgError:
            raise _singular() from None

    def vjp(self, g: Any, z: Any, a: Any, b: Any, *, adjoint: bool = False) -> tuple[Any, ...]:
        def for_b() -> Any:
            return solve(conj(a), g, adjoint=not adjoint)

        def for_a() -> Any:
            d = for_b()
            return unbroadcast(-(conj(matmul(z, d, transpose_b=True)) if adjoint else matmul(d, z, transpose_b=True)), a)

        return for_a, lambda: unbroadcast(for_b(), b)

    def work(self, *operands: Type, **attrs: Any) -> tuple[Type, ...]:
        a, n, columns = _system(*operands), operands[0].shape[-1], operands[1].shape[-1]
        return lapack.scratch(a, n, n), lapack.scratch(a, columns, n), lapack.scratch(a, n, dtype=dtypes.int32)

    def failure(self) -> str:
        """What went wrong where the kernel found a 0 to divide by."""
        return "Input matrix is not invertible."

    def kernel(self, outs: Any, ins: Any, work: Any, *, adjoint: bool = False) -> tuple[Stmt, ...]:
        (a, b), (x,), (w, right, pivots) = ins, outs, work
        n, columns = x.dims[-2:]

        def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
            at_a, at_b = broadcast_index(at, a.dims[:-2]), broadcast_index(at, b.dims[:-2])

            def by_elimination() -> tuple[Stmt, ...]:
                return (
                    lapack.transposed(w, (p,), a, at_a, n, n) if adjoint else lapack.copied(w, (p,), a, at_a, n, n),
                    lapack.copied(x, at, b, at_b, n, columns),
                    elimination(w, (p,), n, x.dtype, (x, at, columns), (Fail(0),)),
                    back_substitution(w, (p,), n, x, at, columns),
                )

            def by_lapack() -> tuple[Stmt, ...]:
                return (
                    # by columns what is there by rows is the transpose
                    lapack.copied(w, (p,), a, at_a, n, n, conjugate=True) if adjoint else lapack.transposed(w, (p,), a, at_a, n, n),
                    lapack.transposed(right, (p,), b, at_b, columns, n),
                    lapack.call(
                        "gesv", a.dtype, n, columns, *square_of(w, p), lapack.place(pivots, (p, 0)), lapack.place(right, (p, 0, 0)), n
                    ),
                    If(lapack.FAILED, (Fail(0),)),
                    lapack.transposed(x, at, right, (p,), n, columns),
                )

            return lapack.unless_empty(n, lapack.by_size(n, a.dtype, by_elimination, by_lapack))

        return lapack.batch(x.dims[:-2], each)

    def samples(self, draw: Any) -> Iterator[Any]:
        for a, b in (((3, 3), (3, 2)), ((2, 3, 3), (2, 3, 1)), ((2, 2), (3, 2, 2)), ((1, 1), (1, 4)), ((0, 0), (0, 2)), ((2, 2), (2, 0))):
            for adjoint in (False, True):
                yield (well_conditioned(draw(a, -1, 1, kinds="fc")), draw(b, kinds="fc")), {"adjoint": adjoint}
        # rows that have to be exchanged
        yield (np.array([[0, 2, 1], [1, 0, 0], [0, 1, 3]]).astype(draw((1,), kinds="fc").dtype), draw((3, 2), kinds="fc")), {}


class Inverse(Op):
    """The inverse of each matrix. InvalidArgumentError for a singular one."""

    name = "inv"
    pairs = True
    batch = leading

    def infer(self, a: Type) -> Type:
        square("inv", a)
        return a

    def eager(self, a: Any) -> Any:
        if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
            raise ValueError("inv: Input matrix must be square")
        try:
            return np.linalg.inv(a)
        except np.linalg.LinAlgError:
            raise _singular("Input is not invertible.") from None

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        return (lambda: -matmul(matmul(z, g, transpose_a=True), z, transpose_b=True),)

    def work(self, a: Type) -> tuple[Type, ...]:
        return scratch(a)

    def failure(self) -> str:
        """What went wrong where the kernel found a 0 to divide by."""
        return "Input is not invertible."

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (x,), (w, pivots) = ins, outs, work
        n = a.dims[-1]

        def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
            def by_elimination() -> tuple[Stmt, ...]:
                return elimination(w, (p,), n, a.dtype, (x, at, n), (Fail(0),)), back_substitution(w, (p,), n, x, at, n)

            def by_lapack() -> tuple[Stmt, ...]:
                # the inverse of the transpose, by columns, is the inverse by rows
                solve_ = lapack.call("gesv", a.dtype, n, n, *square_of(w, p), pivots[(p, 0)], lapack.place(x, (*at, 0, 0)), n)
                return solve_, If(lapack.FAILED, (Fail(0),))

            steps = lapack.by_size(n, a.dtype, by_elimination, by_lapack)
            return lapack.unless_empty(n, (lapack.copied(w, (p,), a, at, n, n), lapack.unit(x, at, n), *steps))

        return lapack.batch(a.dims[:-2], each)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (well_conditioned(draw(shape, -1, 1, kinds="fc")),), {}
        yield (np.array([[0, 2], [1, 0]]).astype(draw((1,), kinds="fc").dtype),), {}


triangle = register(Triangle())
cholesky, triangular_solve = register(Cholesky()), register(TriangularSolve())
solve, inv = register(Solve()), register(Inverse())

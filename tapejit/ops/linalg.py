"""Solving: Cholesky, triangular and general systems, inverse, determinants; batches of matrices in the last two axes.

Eagerly LAPACK through NumPy and SciPy; in a compiled step loop nests of our own (Gaussian elimination with partial pivoting by rows, so
that the inner loops run along memory). Gradients: Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); of the Cholesky factor: Murray, "Differentiation of the Cholesky decomposition" (2016).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, places, sizes, types
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Accumulator, Fail, For, If, Let, Stmt, Update
from tapejit.ops.batching import aligned, leading
from tapejit.ops.broadcasting import broadcast_index, unbroadcast
from tapejit.ops.elementwise import conjugate
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
        if x.dtype.kind not in "fc" or (x.dtype.kind == "f" and x.dtype.bits == 16):
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


def _real(types_: tuple[Type, ...]) -> bool:
    return all(t.dtype.kind == "f" for t in types_)


# --------------------------------------------------------------------------------------------------- loop nests
def _var(name: str) -> Expr:
    return expr.Var(expr.dtypes.int64, name)


def _for(index: str, extent: Dim, *body: Stmt, kind: str = "serial") -> For:
    return For(index, extent, kind, tuple(body))  # type: ignore[arg-type]


def _batches(lead: tuple[Dim, ...], body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """`body` for every matrix of the batch, whose index is `_lead(lead)`."""
    for a in reversed(range(len(lead))):
        body = (For(f"b{a}", lead[a], "parallel" if a == 0 else "serial", body),)
    return body


def _lead(lead: tuple[Dim, ...]) -> tuple[Expr, ...]:
    return tuple(_var(f"b{a}") for a in range(len(lead)))


def _elimination(
    w: Any,
    b: tuple[Expr, ...],
    n: Dim,
    dtype: DType,
    columns: tuple[Any, Dim] | None,
    on_zero: tuple[Stmt, ...],
    each: tuple[Stmt, ...] = (),
) -> For:
    """Forward elimination with partial pivoting on `w[b]`, n by n, and alongside on `columns` = (buffer, how many columns).

    Row k is final when `each` runs, with its index in `k` and whether it was exchanged with row `p`. `on_zero` runs where a column has no
    pivot but 0 (a column of NaN has one); nothing is eliminated there.
    """
    k, i, j, p = _var("k"), _var("i"), _var("j"), _var("p")
    zero = expr.as_expr(0.0, dtype)
    buffers = [(w, n)] + ([columns] if columns else [])
    swaps = [
        _for(f"s{m}", width, Let(f"t{m}", x[(*b, k, _var(f"s{m}"))]), x.store((*b, k, _var(f"s{m}")), x[(*b, p, _var(f"s{m}"))]),
             x.store((*b, p, _var(f"s{m}")), expr.Var(dtype, f"t{m}")), kind="vector")
        for m, (x, width) in enumerate(buffers)
    ]  # fmt: skip
    updates = [
        _for(
            f"u{m}",
            width,
            x.store((*b, i, _var(f"u{m}")), -(expr.Var(dtype, "factor") * x[(*b, k, _var(f"u{m}"))]), combine="add"),
            kind="vector",
        )
        for m, (x, width) in enumerate(buffers)
    ]
    size = expr.Var(dtype, "size")
    best = expr.Var(dtype, "best")
    find = _for(
        "j",
        n,
        If(j >= k, (Let("size", expr.call("abs", w[(*b, j, k)])), If(size > best, (Update("best", "set", size), Update("p", "set", j))))),
    )
    below = _for("i", n, If(i > k, (Let("factor", w[(*b, i, k)] / w[(*b, k, k)]), *updates)))
    body = (
        Accumulator("best", expr.as_expr(-1.0, dtype)),
        Accumulator("p", k),
        find,
        *swaps,
        *each,
        If(expr.compare("eq", best, zero), on_zero, (below,)),
    )
    return _for("k", n, *body)


def _back_substitution(w: Any, b: tuple[Expr, ...], n: Dim, x: Any, columns: Dim) -> For:
    """`x[b]` = inverse of the upper triangle of `w[b]` times `x[b]`, rows from the last to the first."""
    i, q, c, d = _var("i"), _var("q"), _var("c"), _var("d")
    divide = _for("c", columns, x.store((*b, i, c), x[(*b, i, c)] / w[(*b, i, i)]), kind="vector")
    take = _for("d", columns, x.store((*b, q, d), -(w[(*b, q, i)] * x[(*b, i, d)]), combine="add"), kind="vector")
    return _for("r", n, Let("i", expr.of_dim(n) - 1 - _var("r")), divide, _for("q", n, If(q < i, (take,))))


def _copied(source: Any, at: tuple[Expr, ...], w: Any, b: tuple[Expr, ...], n: Dim, transposed: bool) -> For:
    i, j = _var("ci"), _var("cj")
    return _for("ci", n, _for("cj", n, w.store((*b, i, j), source[(*at, *((j, i) if transposed else (i, j)))]), kind="vector"))


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

    def native(self, *operands: Type, **attrs: Any) -> bool:
        return _real(operands)

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (out,) = ins, outs
        lead, n, dtype = a.dims[:-2], a.dims[-1], a.dtype
        b, i, j, c, k = _lead(lead), _var("i"), _var("j"), _var("c"), _var("k")
        zero = expr.as_expr(0.0, dtype)
        # the part of `out` that is not written yet is 0, so every dot product may run over whole rows
        clear = _for("r", n, _for("c", n, out.store((*b, _var("r"), c), zero), kind="vector"))
        dot = _for("k", n, Update("rest", "add", -(out[(*b, i, k)] * out[(*b, j, k)])), kind="vector")
        rest, pivot = expr.Var(dtype, "rest"), expr.Var(dtype, "pivot")
        on_diagonal = expr.call("sqrt", expr.select(rest > 0.0, rest, float("nan")))
        column = _for(
            "i", n,
            If(i > j, (Accumulator("rest", a[(*b, i, j)]), dot, out.store((*b, i, j), rest / pivot))),
        )  # fmt: skip
        own = _for("q", n, Update("rest", "add", -(out[(*b, j, _var("q"))] * out[(*b, j, _var("q"))])), kind="vector")
        steps = _for("j", n, Accumulator("rest", a[(*b, j, j)]), own, Let("pivot", on_diagonal), column, out.store((*b, j, j), pivot))
        # a pivot that is NaN makes all later ones NaN: then nothing of the triangle is worth keeping
        last = expr.of_dim(n) - 1
        nan = out.store((*b, _var("y"), _var("x")), expr.as_expr(float("nan"), dtype))
        spoil = _for("y", n, _for("x", n, If(_var("x") <= _var("y"), (nan,)), kind="vector"))
        broken = If(last >= 0, (If(expr.call("isnan", out[(*b, last, last)], dtype=dtypes.bool_), (spoil,)),))
        return _batches(lead, (clear, steps, broken))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (positive_definite(draw(shape, -1, 1)),), {}


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


def _singular(what: str = "Input matrix is not invertible.") -> InvalidArgumentError:
    return InvalidArgumentError(places.with_place(what))


class TriangularSolve(Op):
    """The x with T x = b (T^H x = b with `adjoint`), T the lower or upper triangle of `a`; batch axes broadcast.

    InvalidArgumentError where T has a 0 on its diagonal.
    """

    name = "triangular_solve"
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

    def native(self, *operands: Type, **attrs: Any) -> bool:
        return _real(operands)

    def failure(self) -> str:
        """What went wrong where the kernel found a 0 to divide by."""
        return "Input matrix is not invertible."

    def kernel(self, outs: Any, ins: Any, work: Any, *, lower: bool = True, adjoint: bool = False) -> tuple[Stmt, ...]:
        (a, b), (x,) = ins, outs
        lead, n, columns, dtype = x.dims[:-2], x.dims[-2], x.dims[-1], x.dtype
        at = _lead(lead)
        at_a, at_b = broadcast_index(at, a.dims[:-2]), broadcast_index(at, b.dims[:-2])
        i, k, c, d, e = _var("i"), _var("k"), _var("c"), _var("d"), _var("e")
        ascending = lower != adjoint
        pivot = a[(*at_a, i, i)]
        element = a[(*at_a, *((k, i) if adjoint else (i, k)))]
        take = _for("d", columns, x.store((*at, i, d), -(element * x[(*at, k, d)]), combine="add"), kind="vector")
        rows = _for(
            "r", n,
            Let("i", _var("r") if ascending else expr.of_dim(n) - 1 - _var("r")),
            If(expr.compare("eq", pivot, expr.as_expr(0.0, dtype)), (Fail(0),)),
            _for("c", columns, x.store((*at, i, c), b[(*at_b, i, c)]), kind="vector"),
            _for("k", n, If(k < i if ascending else k > i, (take,))),
            _for("e", columns, x.store((*at, i, e), x[(*at, i, e)] / pivot), kind="vector"),
        )  # fmt: skip
        return _batches(lead, (rows,))

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
                yield (well_conditioned(draw(a, -1, 1)), draw(b)), {"lower": lower, "adjoint": adjoint}


class Solve(Op):
    """The x with a x = b (a^H x = b with `adjoint`); batch axes broadcast. InvalidArgumentError where `a` is singular."""

    name = "solve"
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

    def native(self, *operands: Type, **attrs: Any) -> bool:
        return _real(operands)

    def work(self, *operands: Type, **attrs: Any) -> tuple[Type, ...]:
        a, b = operands
        with sizes.assuming():  # `infer` has recorded that they are equal
            return (a.with_shape((*types.broadcast(a.shape[:-2], b.shape[:-2]), *a.shape[-2:])),)

    def failure(self) -> str:
        """What went wrong where the kernel found a 0 to divide by."""
        return "Input matrix is not invertible."

    def kernel(self, outs: Any, ins: Any, work: Any, *, adjoint: bool = False) -> tuple[Stmt, ...]:
        (a, b), (x,), (w,) = ins, outs, work
        lead, n, columns = x.dims[:-2], x.dims[-2], x.dims[-1]
        at = _lead(lead)
        i, c = _var("xi"), _var("xc")
        fill = _for("xi", n, _for("xc", columns, x.store((*at, i, c), b[(*broadcast_index(at, b.dims[:-2]), i, c)]), kind="vector"))
        return _batches(
            lead,
            (
                _copied(a, broadcast_index(at, a.dims[:-2]), w, at, n, adjoint),
                fill,
                _elimination(w, at, n, x.dtype, (x, columns), (Fail(0),)),
                _back_substitution(w, at, n, x, columns),
            ),
        )

    def samples(self, draw: Any) -> Iterator[Any]:
        for a, b in (((3, 3), (3, 2)), ((2, 3, 3), (2, 3, 1)), ((2, 2), (3, 2, 2)), ((1, 1), (1, 4)), ((0, 0), (0, 2)), ((2, 2), (2, 0))):
            for adjoint in (False, True):
                yield (well_conditioned(draw(a, -1, 1)), draw(b)), {"adjoint": adjoint}
        # rows that have to be exchanged
        yield (np.array([[0, 2, 1], [1, 0, 0], [0, 1, 3]]).astype(draw((1,)).dtype), draw((3, 2))), {}


class Inverse(Op):
    """The inverse of each matrix. InvalidArgumentError for a singular one."""

    name = "inv"
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

    def native(self, *operands: Type, **attrs: Any) -> bool:
        return _real(operands)

    def work(self, *operands: Type, **attrs: Any) -> tuple[Type, ...]:
        return operands

    def failure(self) -> str:
        """What went wrong where the kernel found a 0 to divide by."""
        return "Input is not invertible."

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (x,), (w,) = ins, outs, work
        lead, n, dtype = a.dims[:-2], a.dims[-1], a.dtype
        at = _lead(lead)
        i, c = _var("xi"), _var("xc")
        one = expr.select(expr.compare("eq", i, c), expr.as_expr(1.0, dtype), expr.as_expr(0.0, dtype))
        return _batches(
            lead,
            (
                _copied(a, at, w, at, n, False),
                _for("xi", n, _for("xc", n, x.store((*at, i, c), one), kind="vector")),
                _elimination(w, at, n, dtype, (x, n), (Fail(0),)),
                _back_substitution(w, at, n, x, n),
            ),
        )

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (well_conditioned(draw(shape, -1, 1)),), {}
        yield (np.array([[0, 2], [1, 0]]).astype(draw((1,)).dtype),), {}


class Determinant(Op):
    """The determinant of each matrix; 1 for a matrix of size 0."""

    name = "det"
    batch = leading

    def infer(self, a: Type) -> Type:
        square("det", a)
        return a.with_shape(a.shape[:-2])

    def eager(self, a: Any) -> Any:
        if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
            raise ValueError("det: Input matrix must be square")
        return np.asarray(np.linalg.det(a), a.dtype)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        return (lambda: stretched(g * z) * flipped(inv(a)),)

    def native(self, *operands: Type, **attrs: Any) -> bool:
        return _real(operands)

    def work(self, *operands: Type, **attrs: Any) -> tuple[Type, ...]:
        return operands

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (out,), (w,) = ins, outs, work
        lead, n, dtype = a.dims[:-2], a.dims[-1], a.dtype
        at, k, p = _lead(lead), _var("k"), _var("p")
        pivot = w[(*at, k, k)]
        each = (Update("product", "mul", expr.select(expr.compare("eq", k, p), pivot, -pivot)),)
        return _batches(
            lead,
            (
                _copied(a, at, w, at, n, False),
                Accumulator("product", expr.as_expr(1.0, dtype)),
                _elimination(w, at, n, dtype, None, (), each),
                out.store(at, expr.Var(dtype, "product")),
            ),
        )

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (well_conditioned(draw(shape, -1, 1)),), {}
        yield (np.array([[0, 2], [1, 0]]).astype(draw((1,)).dtype),), {}


class SignedLogDeterminant(Op):
    """The sign of the determinant of each matrix and the logarithm of its absolute value; 0 and -inf for a singular one."""

    name = "slogdet"
    batch = leading

    def infer(self, a: Type) -> tuple[Type, ...]:
        square("slogdet", a)
        return a.with_shape(a.shape[:-2]), a.with_shape(a.shape[:-2])

    def eager(self, a: Any) -> Any:
        if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
            raise ValueError("slogdet: Input matrix must be square")
        sign, log = np.linalg.slogdet(a)
        return np.asarray(sign, a.dtype), np.asarray(log, a.dtype)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        def rule() -> Any:
            g_sign, g_log = g
            if not a.dtype.is_complex:  # the sign is piecewise constant
                return None if g_log is None else stretched(g_log) * flipped(inv(a))
            total = None if g_log is None else (g_log + conj(g_log)) * 0.5
            if g_sign is not None:
                turned = g_sign * z[0]
                turned = (turned - conj(turned)) * 0.5
                total = turned if total is None else total + turned
            return stretched(total) * flipped(inv(a))

        return (rule,)

    def native(self, *operands: Type, **attrs: Any) -> bool:
        return _real(operands)

    def work(self, *operands: Type, **attrs: Any) -> tuple[Type, ...]:
        return operands

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (sign, log), (w,) = ins, outs, work
        lead, n, dtype = a.dims[:-2], a.dims[-1], a.dtype
        at, k, p = _lead(lead), _var("k"), _var("p")
        pivot = w[(*at, k, k)]
        zero, one = expr.as_expr(0.0, dtype), expr.as_expr(1.0, dtype)
        turn = expr.select(pivot > zero, one, expr.select(pivot < zero, -one, pivot))
        each = (
            Update("side", "mul", expr.select(expr.compare("eq", k, p), turn, -turn)),
            Update("total", "add", expr.call("log", expr.call("abs", pivot))),
        )
        return _batches(
            lead,
            (
                _copied(a, at, w, at, n, False),
                Accumulator("side", one),
                Accumulator("total", zero),
                _elimination(w, at, n, dtype, None, (), each),
                sign.store(at, expr.Var(dtype, "side")),
                log.store(at, expr.Var(dtype, "total")),
            ),
        )

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (well_conditioned(draw(shape, -1, 1)),), {}
        yield (np.array([[0, 2], [1, 0]]).astype(draw((1,)).dtype),), {}


triangle = register(Triangle())
cholesky, triangular_solve = register(Cholesky()), register(TriangularSolve())
solve, inv = register(Solve()), register(Inverse())
det, slogdet = register(Determinant()), register(SignedLogDeterminant())

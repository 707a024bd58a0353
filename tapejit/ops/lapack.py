"""How kernels use LAPACK: one matrix of a batch after the other, copied to where a routine may overwrite it.

In: the operands, results and scratch memory of `Op.kernel`, and what to do for one matrix; out: loop nests with calls in them. LAPACK has
matrices by columns, so a copy is a transposition there and back; where LAPACK's own result is the transpose of ours, it is written
in place. Threads share a batch: it is cut into `parts`, each with scratch memory of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.loops import expr
from tapejit.loops.expr import Expr, Var
from tapejit.loops.nest import CallLibrary, For, If, Let, Stmt

PARTS = 16  # how many threads can share a batch
BLOCK = 64  # columns that blocked algorithms work on at a time, at the most: scratch memory for them makes large matrices fast
_LETTERS = {"f32": "s", "f64": "d", "c64": "c", "c128": "z"}

Lead = tuple[Expr, ...]


def var(name: str) -> Expr:
    """A loop index or size."""
    return Var(dtypes.int64, name)


def parts(lead: tuple[Dim, ...]) -> Dim:
    """How many matrices of a batch may be under way at once."""
    count = sizes.product(lead)
    return min(count, PARTS) if isinstance(count, int) else PARTS


def scratch(like: Type, *shape: Dim, dtype: DType | None = None) -> Type:
    """Scratch memory of `shape` for each part of the batch of matrices `like`."""
    return Type(dtype or like.dtype, (parts(like.shape[:-2]), *shape))


def batch(lead: tuple[Dim, ...], each: Callable[[Lead, Expr], tuple[Stmt, ...]]) -> tuple[Stmt, ...]:
    """`each(at, part)` for every matrix: `at` is its index in the batch, `part` that of its scratch memory."""
    count, together = sizes.product(lead), parts(lead)
    if count == 0:
        return ()
    if count == 1:
        zero = expr.as_expr(0)
        return each((zero,) * len(lead), zero)
    turns = sizes.floordiv(count + (together - 1), together)
    body = each(_unravelled(var("item"), lead), var("part"))
    if count != turns * together:
        body = (If(var("item") < expr.of_dim(count), body),)
    item = Let("item", var("part") * turns + var("turn"))
    return (For("part", together, "parallel", (For("turn", turns, "serial", (item, *body)),)),)


def _unravelled(item: Expr, lead: tuple[Dim, ...]) -> Lead:
    at: list[Expr] = []
    for k in range(len(lead)):
        inner = sizes.product(lead[k + 1 :])
        index = item // expr.of_dim(inner)
        at.append(index if k == 0 else index % expr.of_dim(lead[k]))
    return tuple(at)


def call(routine: str, dtype: DType, *arguments: Any, info: str = "info") -> CallLibrary:
    """A call of the LAPACK routine for `dtype` whose name without its first letter is `routine`; dims may stand for integers."""
    return _call(f"lapack:{_LETTERS[dtype.short]}{routine}", info, arguments)


def gemm(n: Dim, a: Expr, b: Expr, c: Expr, add: bool = False) -> CallLibrary:
    """c = a b (c += a b), n by n matrices by rows: for BLAS, which has them by columns, c^T = b^T a^T."""
    one, beta = (expr.as_expr(v, c.dtype) for v in (1.0, float(add)))
    least = at_least_one(n)
    return _call(f"blas:{_LETTERS[c.dtype.short]}gemm", "", (b"N", b"N", n, n, n, one, b, least, a, least, beta, c, least))


def _call(symbol: str, info: str, arguments: tuple[Any, ...]) -> CallLibrary:
    return CallLibrary(info, symbol, tuple(a if isinstance(a, bytes) else expr.as_expr(a) for a in arguments))


def at_least_one(d: Dim) -> Dim:
    """A leading dimension: LAPACK refuses 0."""
    return max(d, 1) if isinstance(d, int) else sizes.maximum(d, 1)


def rows(height: Dim, width: Dim, element: Callable[[Expr, Expr], Stmt]) -> For:
    """`element(i, j)` for every i < height and j < width."""
    return For("i", height, "serial", (For("j", width, "vector", (element(var("i"), var("j")),)),))


def transposed(to: Any, at_to: Lead, source: Any, at_source: Lead, height: Dim, width: Dim) -> For:
    """to[i, j] = source[j, i] for i < height, j < width."""
    return rows(height, width, lambda i, j: to.store((*at_to, i, j), source[(*at_source, j, i)]))


def unit(to: Any, at: Lead, n: Dim) -> For:
    """The identity matrix."""
    one, zero = (expr.as_expr(v, to.dtype) for v in (1.0, 0.0))
    return rows(n, n, lambda i, j: to.store((*at, i, j), expr.select(expr.compare("eq", i, j), one, zero)))


def unless_empty(d: Dim, then: tuple[Stmt, ...], otherwise: tuple[Stmt, ...] = ()) -> tuple[Stmt, ...]:
    """`then` where `d` is positive, and `otherwise` where it is 0."""
    if isinstance(d, int):
        return then if d else otherwise
    return (If(expr.of_dim(d) > 0, then, otherwise),)

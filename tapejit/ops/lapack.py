"""How kernels use LAPACK: one matrix of a batch after the other, copied to where a routine may overwrite it.

In: the operands, results and scratch memory of `Op.kernel`, and what to do for one matrix; out: loop nests with calls in them. LAPACK has
matrices by columns, so a copy is a transposition there and back; where LAPACK's own result is the transpose of ours, it is written
in place. Threads share a batch: it is cut into `parts`, each with scratch memory of its own. Complex numbers are pairs of real ones to
kernels (`Op.pairs`); what is said here of an element is said of both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.loops import expr
from tapejit.loops.expr import Expr, Var
from tapejit.loops.nest import CallLibrary, Contract, For, If, Let, LoopKind, Stmt

PARTS = 16  # how many threads can share a batch
BLOCK = 64  # columns that blocked algorithms work on at a time, at the most: scratch memory for them makes large matrices fast
SMALL = 16  # rows up to which loop nests of our own are faster than a routine
FAILED = expr.compare("ne", Var(dtypes.int32, "info"), 0)  # what a routine reports is not success
_LETTERS = {"f32": "s", "f64": "d", "c64": "c", "c128": "z"}

Lead = tuple[Expr, ...]  # the index of a matrix in a batch
Index = tuple[Any, ...]


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


def product(x: Any, a: Index, b: Index, c: Index, n: Dim, add: bool = False) -> Stmt:
    """x[c] = x[a] x[b], or += with `add`: n by n matrices in one buffer."""
    if x.dtype.is_complex:  # for BLAS, which has matrices by columns, c^T = b^T a^T
        one, beta = number(1.0, x.dtype), number(float(add), x.dtype)
        at_a, at_b, at_c = (place(x, (*m, 0, 0)) for m in (a, b, c))
        arguments = b"N", b"N", n, n, n, one, at_b, n, at_a, n, beta, at_c, n
        return _call(f"blas:{_LETTERS[x.dtype.short]}gemm", "", arguments)
    i, j, k = var("i"), var("j"), var("k")
    store = x.store((*c, i, j), Var(x.dtype, "sum"), "add" if add else "set")
    return Contract("i", n, "j", n, "k", n, x[(*a, i, k)], x[(*b, k, j)], "sum", (store,))


def triangular(lower: bool, adjoint: bool, t: Any, at: Index, n: Dim, x: Any, at_x: Index, columns: Dim) -> CallLibrary:
    """x = t^-1 x (t^-H x), t the triangle of an n by n matrix: by columns x^T = x^T t^-T, t^T the other triangle."""
    trans = b"C" if adjoint else b"N"
    matrices = place(t, at), n, place(x, at_x), columns
    arguments = b"R", b"U" if lower else b"L", trans, b"N", columns, n, number(1.0, x.dtype), *matrices
    return _call(f"blas:{_LETTERS[x.dtype.short]}trsm", "", arguments)


def number(value: float, dtype: DType) -> bytes:
    """A number in memory."""
    return np.array(value, dtype.np).tobytes()


def _call(symbol: str, info: str, arguments: tuple[Any, ...]) -> CallLibrary:
    return CallLibrary(info, symbol, tuple(a if isinstance(a, bytes) else expr.as_expr(a) for a in arguments))


def by_size(
    n: Dim, dtype: DType, small: Callable[[], tuple[Stmt, ...]], large: Callable[[], tuple[Stmt, ...]], few: int = SMALL
) -> tuple[Stmt, ...]:
    """`small()` for up to `few` rows of real numbers, else `large()`, which calls LAPACK; where `n` is open both, and the choice between them."""
    if dtype.is_complex or (isinstance(n, int) and n > few):
        return large()
    return small() if isinstance(n, int) else (If(expr.of_dim(n) <= few, small(), large()),)


def at_least_one(d: Dim) -> Dim:
    """A leading dimension: LAPACK refuses 0."""
    return max(d, 1) if isinstance(d, int) else sizes.maximum(d, 1)


def loop(index: str, extent: Dim, *body: Stmt, kind: LoopKind = "serial") -> For:
    """A loop, its body written behind it."""
    return For(index, extent, kind, body)


def place(x: Any, index: Index) -> Expr:
    """The memory of `x` from an element on, as an argument of a routine."""
    return element(x, index, 0)


def element(x: Any, index: Index, part: int) -> Expr:
    """An element of `x`; of a complex one the real (0) or the imaginary part (1)."""
    return x.pairs[(*index, part)] if x.dtype.is_complex else x[index]


def fill(to: Any, at: Index, height: Dim, width: Dim, value: Callable[[Expr, Expr, int], Expr], combine: str = "set") -> For:
    """to[at, i, j] = value(i, j, part) for i < height and j < width; `part` is 1 for imaginary parts and else 0."""
    i, j = var("i"), var("j")
    if to.dtype.is_complex:
        stores = tuple(to.pairs.store((*at, i, j, part), value(i, j, part), combine) for part in (0, 1))
    else:
        stores = (to.store((*at, i, j), value(i, j, 0), combine),)
    return For("i", height, "serial", (For("j", width, "vector", stores),))


def copied(to: Any, at_to: Index, source: Any, at_source: Index, height: Dim, width: Dim, conjugate: bool = False) -> For:
    """to[i, j] = source[i, j], or its complex conjugate, for i < height and j < width."""

    def value(i: Expr, j: Expr, part: int) -> Expr:
        x = element(source, (*at_source, i, j), part)
        return -x if conjugate and part else x

    return fill(to, at_to, height, width, value)


def transposed(to: Any, at_to: Index, source: Any, at_source: Index, height: Dim, width: Dim) -> For:
    """to[i, j] = source[j, i] for i < height, j < width."""
    return fill(to, at_to, height, width, lambda i, j, part: element(source, (*at_source, j, i), part))


def conjugated(x: Any, at: Index) -> For:
    """x[at] = its complex conjugate."""
    imaginary = (*at, var("i"), var("j"), 1)
    negative = x.pairs.store(imaginary, -x.pairs[imaginary])
    return For("i", x.dims[-2], "serial", (For("j", x.dims[-1], "vector", (negative,)),))


def unit(to: Any, at: Index, n: Dim) -> For:
    """The identity matrix."""
    return fill(to, at, n, n, lambda i, j, part: expr.select(expr.compare("eq", i, j), expr.as_expr(1.0 - part, to.dtype.real_dtype), 0.0))


def unless_empty(d: Dim, then: tuple[Stmt, ...], otherwise: tuple[Stmt, ...] = ()) -> tuple[Stmt, ...]:
    """`then` where `d` is positive, and `otherwise` where it is 0."""
    if isinstance(d, int):
        return then if d else otherwise
    return (If(expr.of_dim(d) > 0, then, otherwise),)

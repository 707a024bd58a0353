"""Gaussian elimination as loop nests: what solves small systems faster than LAPACK is called.

Partial pivoting by rows, so that the inner loops run along memory. In: buffers of real matrices and the index of one in each; out: statements.
"""

from __future__ import annotations

from typing import Any

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Accumulator, For, If, Let, Stmt, Update
from tapejit.ops import lapack
from tapejit.ops.lapack import Index, loop, var


def elimination(
    w: Any,
    b: Index,
    n: Dim,
    dtype: DType,
    columns: tuple[Any, Index, Dim] | None,
    on_zero: tuple[Stmt, ...],
    each: tuple[Stmt, ...] = (),
) -> For:
    """Forward elimination with partial pivoting on `w[b]`, n by n, and alongside on `columns` = (buffer, index of the matrix, how many columns).

    Row k is final when `each` runs, with its index in `k` and whether it was exchanged with row `p`. `on_zero` runs where a column has no
    pivot but 0 (a column of NaN has one); nothing is eliminated there.
    """
    k, i, j, p = var("k"), var("i"), var("j"), var("p")
    zero = expr.as_expr(0.0, dtype)
    buffers = [(w, b, n)] + ([columns] if columns else [])
    swaps = [
        loop(f"s{m}", width, Let(f"t{m}", x[(*c, k, var(f"s{m}"))]), x.store((*c, k, var(f"s{m}")), x[(*c, p, var(f"s{m}"))]),
             x.store((*c, p, var(f"s{m}")), expr.Var(dtype, f"t{m}")), kind="vector")
        for m, (x, c, width) in enumerate(buffers)
    ]  # fmt: skip
    updates = [
        loop(
            f"u{m}",
            width,
            x.store((*c, i, var(f"u{m}")), -(expr.Var(dtype, "factor") * x[(*c, k, var(f"u{m}"))]), combine="add"),
            kind="vector",
        )
        for m, (x, c, width) in enumerate(buffers)
    ]
    size = expr.Var(dtype, "size")
    best = expr.Var(dtype, "best")
    find = loop(
        "j",
        n,
        If(j >= k, (Let("size", expr.call("abs", w[(*b, j, k)])), If(size > best, (Update("best", "set", size), Update("p", "set", j))))),
    )
    below = loop("i", n, If(i > k, (Let("factor", w[(*b, i, k)] / w[(*b, k, k)]), *updates)))
    body = (
        Accumulator("best", expr.as_expr(-1.0, dtype)),
        Accumulator("p", k),
        find,
        *swaps,
        *each,
        If(expr.compare("eq", best, zero), on_zero, (below,)),
    )
    return loop("k", n, *body)


def back_substitution(w: Any, b: Index, n: Dim, x: Any, at: Index, columns: Dim) -> For:
    """`x[at]` = inverse of the upper triangle of `w[b]` times `x[at]`, rows from the last to the first."""
    i, q, c, d = var("i"), var("q"), var("c"), var("d")
    divide = loop("c", columns, x.store((*at, i, c), x[(*at, i, c)] / w[(*b, i, i)]), kind="vector")
    take = loop("d", columns, x.store((*at, q, d), -(w[(*b, q, i)] * x[(*at, i, d)]), combine="add"), kind="vector")
    return loop("r", n, Let("i", expr.of_dim(n) - 1 - var("r")), divide, loop("q", n, If(q < i, (take,))))


def scratch(a: Type) -> tuple[Type, ...]:
    """A copy of the matrix, and LAPACK's pivots."""
    n = a.shape[-1]
    return lapack.scratch(a, n, n), lapack.scratch(a, n, dtype=dtypes.int32)


def square_of(w: Any, p: Expr) -> tuple[Any, ...]:
    """A matrix in scratch memory and its leading dimension, as arguments of a routine."""
    return lapack.place(w, (p, 0, 0)), w.dims[-1]

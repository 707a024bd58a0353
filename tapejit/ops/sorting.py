"""Sorting and searching along the last axis: stable orders, first occurrences, positions in a sorted array.

The kernels sort positions by merging, bottom up; NaN goes last. Everything else (`tf.sort`, `top_k`, `unique`) is composed of
these orders and `gather`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Accumulator, If, Let, Stmt, Update, While
from tapejit.ops.batching import leading
from tapejit.ops.gathering import loops

int64, bool_ = dtypes.int64, dtypes.bool_


def _var(name: str) -> Expr:
    return expr.Var(int64, name)


def _before(a: Expr, b: Expr, descending: bool) -> Expr:
    """Whether `a` goes before `b` in strict order; NaN goes after every number."""
    if a.dtype.narrow:
        a, b = expr.cast(a, dtypes.float32), expr.cast(b, dtypes.float32)
    if a.dtype.kind == "b":
        a, b = expr.cast(a, dtypes.uint8), expr.cast(b, dtypes.uint8)
    order = a > b if descending else a < b
    if a.dtype.kind != "f":
        return order
    return order | (expr.call("isnan", b, dtype=bool_) & ~expr.call("isnan", a, dtype=bool_))


def merge_sort(x: Any, order: Any, other: Any, lead: tuple[Expr, ...], n: Expr, descending: bool) -> tuple[Stmt, ...]:
    """Statements that leave in `order[lead]` the positions of `x[lead]` in stable order, with `other` as scratch of the same type."""
    at, width, low, i, j, k = (_var(v) for v in ("at", "width", "low", "left", "right", "to"))
    middle, high = _var("middle"), _var("high")
    place_right = _before(x[(*lead, order[(*lead, j)])], x[(*lead, order[(*lead, i)])], descending)
    take_left = expr.guarded(i < middle, expr.guarded(j < high, ~place_right, True), expr.as_expr(False, bool_))
    merge = (
        Let("middle", expr.binary("min", low + width, n)),
        Let("high", expr.binary("min", low + width * 2, n)),
        Accumulator("left", low),
        Accumulator("right", middle),
        Accumulator("to", low),
        While(
            k < high,
            (
                If(
                    take_left,
                    (other.store((*lead, k), order[(*lead, i)]), Update("left", "add", expr.as_expr(1))),
                    (other.store((*lead, k), order[(*lead, j)]), Update("right", "add", expr.as_expr(1))),
                ),
                Update("to", "add", expr.as_expr(1)),
            ),
        ),
        Update("low", "set", high),
    )
    return (
        Accumulator("at", expr.as_expr(0)),
        While(at < n, (order.store((*lead, at), at), Update("at", "add", expr.as_expr(1)))),
        Accumulator("width", expr.as_expr(1)),
        While(
            width < n,
            (
                Accumulator("low", expr.as_expr(0)),
                While(low < n, merge),
                Update("at", "set", expr.as_expr(0)),
                While(at < n, (order.store((*lead, at), other[(*lead, at)]), Update("at", "add", expr.as_expr(1)))),
                Update("width", "mul", expr.as_expr(2)),
            ),
        ),
    )


def stable_order(x: np.ndarray, descending: bool) -> np.ndarray:
    """`argsort` along the last axis; equal elements keep their order, NaN goes last either way."""
    if descending:
        x = ~x if x.dtype.kind in "biu" else -x
    return np.argsort(x, axis=-1, kind="stable")


class ArgSort(Op):
    """The positions that put the last axis in ascending or descending order, equal elements in the order they have."""

    name = "argsort"
    batch = leading
    no_gradient = True

    def infer(self, x: Type, *, descending: bool = False, dtype: DType = dtypes.int32) -> Type:
        if not x.rank:
            raise ValueError(f"argsort needs an axis to sort along, got {x}")
        return x.with_dtype(dtype)

    def eager(self, x: Any, *, descending: bool = False, dtype: DType = dtypes.int32) -> Any:
        return stable_order(x, descending).astype(dtype.np)

    def work(self, x: Type, *, descending: bool = False, dtype: DType = dtypes.int32) -> tuple[Type, ...]:
        return x.with_dtype(int64), x.with_dtype(int64)

    def kernel(self, outs: Any, ins: Any, work: Any, *, descending: bool = False, dtype: DType = dtypes.int32) -> tuple[Stmt, ...]:
        x, n = ins[0], expr.of_dim(ins[0].dims[-1])

        def body(lead: tuple[Expr, ...]) -> tuple[Stmt, ...]:
            at = _var("at")
            return (
                *merge_sort(x, work[0], work[1], lead, n, descending),
                Update("at", "set", expr.as_expr(0)),
                While(at < n, (outs[0].store((*lead, at), expr.cast(work[0][(*lead, at)], dtype)), Update("at", "add", expr.as_expr(1)))),
            )

        return loops("r", x.dims[:-1], body, "parallel")

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((5,), (2, 7), (1,), (0,), (3, 0), (2, 2, 3), (40,)):
            for descending in (False, True):
                yield (draw(shape, kinds="iuf"),), {"descending": descending}
        for descending in (False, True):
            yield (np.asarray([2.0, 1.0, 2.0, 0.0, 1.0], np.float32),), {"descending": descending}


class FirstOccurrence(Op):
    """For each element of a vector the position of the first one equal to it."""

    name = "first_occurrence"
    no_gradient = True

    def infer(self, x: Type) -> Type:
        if x.rank != 1:
            raise ValueError(f"unique expects a 1D vector, got {x}; write tf.reshape(x, [-1])")
        return x.with_dtype(int64)

    def eager(self, x: Any) -> Any:
        order = stable_order(x, False)
        ordered = x[order]
        new = np.ones(x.shape, bool)
        new[1:] = ordered[1:] != ordered[:-1]
        out = np.empty(x.shape, np.int64)
        out[order] = order[new][np.cumsum(new) - 1] if x.size else order
        return out

    def work(self, x: Type) -> tuple[Type, ...]:
        return x.with_dtype(int64), x.with_dtype(int64)

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        x, n, order = ins[0], expr.of_dim(ins[0].dims[0]), work[0]
        at, group = _var("at"), _var("group")
        same = expr.compare("eq", x[(order[(at,)],)], x[(group,)])
        return (
            *merge_sort(x, order, work[1], (), n, False),
            Update("at", "set", expr.as_expr(0)),
            Accumulator("group", expr.as_expr(0)),
            While(
                at < n,
                (
                    If(expr.guarded(at > 0, ~same, True), (Update("group", "set", order[(at,)]),)),
                    outs[0].store((order[(at,)],), group),
                    Update("at", "add", expr.as_expr(1)),
                ),
            ),
        )

    def samples(self, draw: Any) -> Iterator[Any]:
        for values in ([4, 1, 4, 2, 1], [7], [], [1, 1, 1], [3, 2, 1]):
            for dtype in (np.int32, np.int64, np.float32):
                yield (np.asarray(values, dtype),), {}


class SearchSorted(Op):
    """Where in the sorted last axis of `sequence` each of `values` would go: before equal elements, or with `right` after them.

    The leading axes of both belong together (`tf.searchsorted`).
    """

    name = "search_sorted"
    batch = leading
    no_gradient = True
    same_dtype = None

    def infer(self, sequence: Type, values: Type, *, right: bool = False, dtype: DType = dtypes.int32) -> Type:
        if sequence.rank != values.rank or not sequence.rank:
            raise ValueError(f"searchsorted: sorted_sequence {sequence} and values {values} need the same rank, 1 or more")
        if sequence.dtype is not values.dtype:
            raise TypeError(f"searchsorted takes operands of one dtype, got {sequence.dtype.name} and {values.dtype.name}")
        lead = tuple(sizes.unify(a, b) for a, b in zip(sequence.shape[:-1], values.shape[:-1], strict=True))
        return Type(dtype, (*lead, values.shape[-1]))

    def eager(self, sequence: Any, values: Any, *, right: bool = False, dtype: DType = dtypes.int32) -> Any:
        if sequence.shape[:-1] != values.shape[:-1]:
            raise ValueError(
                f"searchsorted: leading axes of sorted_sequence {list(sequence.shape)} and values {list(values.shape)} must agree"
            )
        count = int(np.prod(sequence.shape[:-1]))
        rows, wanted = sequence.reshape(count, sequence.shape[-1]), values.reshape(count, values.shape[-1])
        out = np.empty(wanted.shape, dtype.np)
        for k in range(len(rows)):
            out[k] = np.searchsorted(rows[k], wanted[k], "right" if right else "left")
        return out.reshape(values.shape)

    def kernel(self, outs: Any, ins: Any, work: Any, *, right: bool = False, dtype: DType = dtypes.int32) -> tuple[Stmt, ...]:
        sequence, values = ins
        n: Dim = sequence.dims[-1]

        def body(index: tuple[Expr, ...]) -> tuple[Stmt, ...]:
            low, high, middle = _var("low"), _var("high"), _var("middle")
            element, value = sequence[(*index[:-1], middle)], values[index]
            before = ~_before(value, element, False) if right else _before(element, value, False)
            return (
                Accumulator("low", expr.as_expr(0)),
                Accumulator("high", expr.of_dim(n)),
                While(
                    low < high,
                    (
                        Let("middle", (low + high) // 2),
                        If(before, (Update("low", "set", middle + 1),), (Update("high", "set", middle),)),
                    ),
                ),
                outs[0].store(index, expr.cast(low, dtype)),
            )

        return loops("v", values.dims, body, "parallel")

    def samples(self, draw: Any) -> Iterator[Any]:
        for right in (False, True):
            yield (np.asarray([1, 3, 3, 5], np.float32), np.asarray([0.5, 3, 9, 5], np.float32)), {"right": right}
            yield (np.asarray([[1, 2], [5, 6]], np.int32), np.asarray([[2, 0, 9], [5, 6, 7]], np.int32)), {"right": right}
            yield (np.zeros((0,), np.float32), np.asarray([1.0], np.float32)), {"right": right}


argsort, first_occurrence, search_sorted = register(ArgSort()), register(FirstOccurrence()), register(SearchSorted())

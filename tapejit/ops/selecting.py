"""Elements picked by a condition: where a mask holds, and `boolean_mask`. Their number is known only when they run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr, nest
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Stmt
from tapejit.ops.batching import Ragged
from tapejit.ops.elementwise import cast
from tapejit.ops.gathering import elements, loops
from tapejit.ops.reductions import sum_
from tapejit.ops.shapes import reshape
from tapejit.ops.slicing import slice_


class Nonzero(Op):
    """The indices of the `size` elements of a bool tensor that hold, in row-major order, one row each (`tf.where` of one)."""

    name = "nonzero"
    no_gradient = True

    def infer(self, x: Type, *, size: Dim) -> Type:
        if x.dtype.kind != "b":
            raise TypeError(f"nonzero takes a bool tensor, got {x}")
        return Type(dtypes.int64, (size, x.rank))

    def eager(self, x: Any, *, size: int) -> Any:
        found = np.argwhere(x)
        if len(found) != size:
            raise ValueError(f"nonzero: {len(found)} elements hold, size is {size}")
        return found

    def failure(self, size: float) -> str:
        """What went wrong, from the operands of `nest.Fail`."""
        return f"nonzero: more than {int(size)} elements hold"

    def kernel(self, outs: Any, ins: Any, work: Any, *, size: Dim) -> tuple[Stmt, ...]:
        x, out = ins[0], outs[0]
        to = expr.Var(dtypes.int64, "to")

        def body(index: tuple[Expr, ...]) -> tuple[Stmt, ...]:
            rows = tuple(out.store((to, expr.as_expr(k)), i) for k, i in enumerate(index))
            room = nest.If(to >= expr.of_dim(size), (nest.Fail(0, (expr.cast(expr.of_dim(size), dtypes.float64),)),))
            return (nest.If(x[index], (room, *rows, nest.Update("to", "add", expr.as_expr(1)))),)

        return (nest.Accumulator("to", expr.as_expr(0)), *loops("i", x.dims, body))

    def batch(self, slices: Dim, operands: Any, mapped: Any, **attrs: Any) -> Any:
        raise Ragged("how many elements hold differs from slice to slice; write tf.where(mask, x, 0) of the whole, or tf.map_fn")

    def samples(self, draw: Any) -> Iterator[Any]:
        for mask in ([True, False, True], [[True, False], [True, True]], [False], True, np.zeros((0, 2), bool)):
            held = np.asarray(mask, bool)
            yield (held,), {"size": int(held.sum())}


nonzero = register(Nonzero())


def where(condition: Any) -> Any:
    """The indices at which a bool tensor holds, int64, one row each."""
    count = sum_(cast(condition, dtype=dtypes.int64), axis=tuple(range(len(condition.dims))))
    return nonzero(condition, size=count.as_dim("K"))


def mask_rows(x: Any, mask: Any, axis: int = 0) -> Any:
    """The slices of `x` at which `mask` holds, whose axes are those of `x` from `axis` on (`tf.boolean_mask`)."""
    rank = len(mask.dims)
    if not rank:
        raise ValueError("boolean_mask: mask cannot be scalar.")
    if axis + rank > len(x.dims):
        raise ValueError(f"boolean_mask: a mask of rank {rank} does not fit tensor of shape {list(x.dims)} from axis {axis} on")
    for k in range(rank):
        try:
            sizes.unify(x.dims[axis + k], mask.dims[k])
        except ValueError as e:
            if not sizes.is_known([x.dims[axis + k], mask.dims[k]]):
                continue  # `reshape` below makes it a guard
            raise ValueError(f"boolean_mask: Shapes {list(x.dims[axis : axis + rank])} and {list(mask.dims)} are incompatible") from e
    count = sizes.product(mask.dims)
    flat = x if rank == 1 else reshape(x, shape=(*x.dims[:axis], count, *x.dims[axis + rank :]))
    rows = where(reshape(mask, shape=(count,)))
    ids = slice_(rows, begin=(0, 0), size=(rows.dims[0], 1), stride=(1, 1), drop=(1,))
    return elements(flat, ids, axis=axis)

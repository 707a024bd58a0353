"""Padding by reflection; padding with a constant is `slicing.embed`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.batching import padded
from tapejit.ops.slicing import axis_slice, embed, require_at_most, reversed_along
from tapejit.ops.tangents import multilinear


class MirrorPad(Op):
    """Axis k continued by `before[k]` and `after[k]` elements of its mirror image; with `symmetric` the edge itself is repeated (`tf.pad`)."""

    name = "mirror_pad"
    jvp = multilinear
    batch = padded(before=0, after=0)

    def infer(self, x: Type, *, before: tuple[Dim, ...], after: tuple[Dim, ...], symmetric: bool) -> Type:
        if not len(before) == len(after) == x.rank:
            raise ValueError(f"pad of {x}: paddings need {x.rank} rows, got {len(before)}")
        for k, (b, a, n) in enumerate(zip(before, after, x.shape, strict=True)):
            for p in (b, a):
                require_at_most(
                    p,
                    n if symmetric else n - 1 if n != 0 else 0,
                    f"pad of {x}: paddings must be no greater than the dimension size: {p} of axis {k}, which has size {n}",
                )
        return x.with_shape(tuple(b + n + a for b, n, a in zip(before, x.shape, after, strict=True)))

    def eager(self, x: Any, *, before: tuple[int, ...], after: tuple[int, ...], symmetric: bool) -> Any:
        if any(p > (n if symmetric else max(n - 1, 0)) for b, a, n in zip(before, after, x.shape, strict=True) for p in (b, a)):
            raise ValueError("pad: paddings must be no greater than the dimension size")
        return np.pad(x, tuple(zip(before, after, strict=True)), "symmetric" if symmetric else "reflect") if x.ndim else x

    def vjp(self, g: Any, z: Any, x: Any, *, before: tuple[Dim, ...], after: tuple[Dim, ...], symmetric: bool) -> tuple[Any, ...]:
        edge = 0 if symmetric else 1

        def rule() -> Any:
            total = g
            for k, (b, a) in enumerate(zip(before, after, strict=True)):
                n = x.dims[k]
                core = axis_slice(total, k, b, n)

                def folded(start: Dim, count: Dim, begin: Dim, whole: Any = total, axis: int = k, like: Any = core) -> Any:
                    part = reversed_along(axis_slice(whole, axis, start, count), (axis,))
                    return embed(
                        part,
                        begin=tuple(begin if j == axis else 0 for j in range(len(like.dims))),
                        shape=like.dims,
                        stride=(1,) * len(like.dims),
                    )

                out = core
                if b != 0:
                    out = out + folded(0, b, edge)
                if a != 0:
                    out = out + folded(b + n, a, n - a - edge)
                total = out
            return total

        return (rule,)

    def at(self, index: tuple[Expr, ...], x: Any, *, before: tuple[Dim, ...], after: tuple[Dim, ...], symmetric: bool) -> Expr:
        inner = []
        for i, b, a, d in zip(index, before, after, x.dims, strict=True):
            n = expr.of_dim(d)
            position = i - expr.of_dim(b)
            if b != 0:
                position = expr.select(position < 0, -position - (1 if symmetric else 0), position)
            if a != 0:
                position = expr.select(position < n, position, (n * 2) - position - (1 if symmetric else 2))
            inner.append(position)
        return x[tuple(inner)]

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, before, after in [
            ((4,), (2,), (1,)),
            ((3, 4), (1, 0), (2, 3)),
            ((2, 2), (0, 0), (0, 0)),
            ((2, 3), (1, 2), (1, 2)),
            ((), (), ()),
        ]:
            for symmetric in (False, True):
                yield (draw(shape, kinds="iufc"),), {"before": before, "after": after, "symmetric": symmetric}


mirror_pad = register(MirrorPad())

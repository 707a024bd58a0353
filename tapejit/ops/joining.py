"""Concatenation of any number of tensors, and what is composed of it: `stack`, `split`, `unstack`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.batching import along
from tapejit.ops.shapes import reshape
from tapejit.ops.slicing import axis_slice, slice_
from tapejit.ops.tangents import linear


class Concat(Op):
    """The operands one after the other along `axis`; all other sizes agree (`tf.concat`)."""

    name = "concat"
    jvp = linear
    batch = along("axis")
    same_dtype = None
    on_sizes = True

    def infer(self, *operands: Type, axis: int) -> Type:
        first = operands[0]
        if not 0 <= axis < first.rank:
            raise ValueError(f"concat: axis {axis} is out of range for {first}; scalars are joined by tf.stack")
        shape = list(first.shape)
        for k, other in enumerate(operands[1:], 1):
            if other.dtype is not first.dtype:
                raise TypeError(
                    f"concat takes operands of one dtype, got {first.dtype.name} and {other.dtype.name}; write tf.cast(x, tf.{first.dtype.name})"
                )
            if other.rank != first.rank:
                raise ValueError(f"concat: ranks of all inputs should match: operand 0 is {first}, operand {k} is {other}")
            for a in range(first.rank):
                if a == axis:
                    shape[a] = shape[a] + other.shape[a]
                    continue
                try:
                    shape[a] = sizes.unify(shape[a], other.shape[a])
                except ValueError:
                    raise ValueError(
                        f"concat: sizes of all inputs should match outside of axis {axis}: operand 0 is {first}, operand {k} is {other}"
                    ) from None
        return first.with_shape(tuple(shape))

    def eager(self, *arrays: Any, axis: int) -> Any:
        return np.concatenate(arrays, axis)

    def vjp(self, g: Any, z: Any, *operands: Any, axis: int) -> tuple[Any, ...]:
        starts: list[Dim] = [0]
        for x in operands:
            starts.append(starts[-1] + x.dims[axis])

        def rule(x: Any, start: Dim) -> Any:
            return lambda: axis_slice(g, axis, start, x.dims[axis])

        return tuple(rule(x, start) for x, start in zip(operands, starts, strict=False))

    def at(self, index: tuple[Expr, ...], *operands: Any, axis: int) -> Expr:
        starts: list[Dim] = [0]
        for x in operands:
            starts.append(starts[-1] + x.dims[axis])

        def element(first: int, end: int) -> Expr:
            if end - first > 1:
                middle = (first + end) // 2
                return expr.guarded(index[axis] < expr.of_dim(starts[middle]), element(first, middle), element(middle, end))
            return operands[first][tuple(i - expr.of_dim(starts[first]) if a == axis else i for a, i in enumerate(index))]

        return element(0, len(operands))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shapes, axis in [
            (((2, 3), (1, 3)), 0),
            (((2, 3), (2, 1), (2, 2)), 1),
            (((3,),), 0),
            (((0, 2), (2, 2)), 0),
            (((2, 1, 2), (2, 3, 2)), 1),
        ]:
            yield tuple(draw(s, kinds="fc") for s in shapes), {"axis": axis}
            yield tuple(draw(s, kinds="i") for s in shapes), {"axis": axis}


concat = register(Concat())


def stack(*tensors: Any, axis: int = 0) -> Any:
    """Tensors of one shape joined along a new axis, counted from 0 (`tf.stack`). ValueError where shapes differ."""
    shape = tensors[0].dims
    for k, t in enumerate(tensors):
        if len(t.dims) != len(shape):
            raise ValueError(
                f"stack: shapes of all inputs must match: values[0].shape = {list(shape)} != values[{k}].shape = {list(t.dims)}"
            )
    return concat(*(reshape(t, shape=(*t.dims[:axis], 1, *t.dims[axis:])) for t in tensors), axis=axis)


def split(x: Any, lengths: Sequence[Dim], axis: int) -> list[Any]:
    """Consecutive pieces of `x` along `axis` of the given lengths."""
    out: list[Any] = []
    start: Dim = 0
    for n in lengths:
        out.append(axis_slice(x, axis, start, n))
        start = start + n
    return out


def unstack(x: Any, count: int, axis: int) -> list[Any]:
    """The `count` slices of `x` along `axis`, which they no longer have."""
    rank = len(x.dims)
    return [
        slice_(
            x,
            begin=tuple(i if k == axis else 0 for k in range(rank)),
            size=tuple(1 if k == axis else d for k, d in enumerate(x.dims)),
            stride=(1,) * rank,
            drop=(axis,),
        )
        for i in range(count)
    ]

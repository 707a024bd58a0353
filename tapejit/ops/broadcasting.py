"""Broadcasting and its transpose: `broadcast_to` repeats along axes of size 1, `sum_to` sums what was repeated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import sizes, types
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import OPS, Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.tangents import multilinear


def is_one(d: Dim) -> bool:
    """Whether a dim is certainly 1."""
    return isinstance(d, int) and d == 1


def repeated_axes(small: tuple[Dim, ...], large: tuple[Dim, ...]) -> list[int]:
    """The axes of `large` along which an operand of shape `small` is repeated."""
    lead = len(large) - len(small)
    return [k for k, d in enumerate(large) if k < lead or (is_one(small[k - lead]) and not is_one(d))]


def stretches(small: tuple[Dim, ...], large: tuple[Dim, ...]) -> bool:
    """Whether an operand of shape `small` can be repeated to `large`; sizes not known to be equal are taken to be, as a guard."""
    try:
        types.broadcast(small, large)
    except ValueError:
        return False
    return len(small) <= len(large) and not repeated_axes(large[len(large) - len(small) :], small)


def broadcast_index(index: tuple[Expr, ...], small: tuple[Dim, ...]) -> tuple[Expr, ...]:
    """The index into an operand of shape `small` that belongs to `index` of the broadcast result."""
    tail = index[len(index) - len(small) :]
    return tuple(expr.as_expr(0) if is_one(d) else i for d, i in zip(small, tail, strict=True))


class BroadcastTo(Op):
    """The operand repeated to `shape` by NumPy's rules (`tf.broadcast_to`)."""

    name = "broadcast_to"
    jvp = multilinear

    def infer(self, x: Type, *, shape: tuple[Dim, ...]) -> Type:
        if not stretches(x.shape, shape):
            raise ValueError(f"shape {list(x.shape)} cannot be broadcast to {list(shape)}")
        return x.with_shape(shape)

    def eager(self, x: Any, *, shape: tuple[int, ...]) -> Any:
        return np.broadcast_to(x, shape).copy()

    def vjp(self, g: Any, z: Any, x: Any, *, shape: tuple[Dim, ...]) -> tuple[Any, ...]:
        return (lambda: sum_to(g, shape=x.dims),)

    def at(self, index: tuple[Expr, ...], x: Any, *, shape: tuple[Dim, ...]) -> Expr:
        return x[broadcast_index(index, x.dims)]

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, shape: tuple[Dim, ...]) -> Any:
        (x,) = operands
        missing = len(shape) - (len(x.dims) - 1)
        return broadcast_to(OPS["reshape"](x, shape=(slices, *(1,) * missing, *x.dims[1:])) if missing else x, shape=(slices, *shape))

    def samples(self, draw: Any) -> Iterator[Any]:
        for small, large in [((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 4, 1), (2, 3, 4, 5)), ((2, 3), (2, 3)), ((1,), (0,))]:
            yield (draw(small, kinds="fc"),), {"shape": large}


class SumTo(Op):
    """The operand summed down to `shape`: the transpose of `broadcast_to` (TensorFlow's `_ReduceGradientArgs` and `Sum`)."""

    name = "sum_to"
    jvp = multilinear

    def infer(self, x: Type, *, shape: tuple[Dim, ...]) -> Type:
        if not stretches(shape, x.shape):
            raise ValueError(f"shape {list(x.shape)} cannot be summed to {list(shape)}")
        return x.with_shape(shape)

    def eager(self, x: Any, *, shape: tuple[int, ...]) -> Any:
        axes = tuple(repeated_axes(shape, x.shape))
        return np.add.reduce(x, axis=axes, dtype=x.dtype).reshape(shape) if axes else x

    def vjp(self, g: Any, z: Any, x: Any, *, shape: tuple[Dim, ...]) -> tuple[Any, ...]:
        return (lambda: broadcast_to(g, shape=x.dims),)

    def at(self, index: tuple[Expr, ...], x: Any, *, shape: tuple[Dim, ...]) -> Expr:
        axes = repeated_axes(shape, x.dims)
        lead = len(x.dims) - len(shape)
        inner = [expr.Var(expr.dtypes.int64, f"r{k}") if k in axes else index[k - lead] for k in range(len(x.dims))]
        if not axes:
            return x[tuple(inner)]
        body = x[tuple(inner)]
        return expr.Reduce(body.dtype, "add", tuple((f"r{k}", x.dims[k]) for k in axes), body)

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, shape: tuple[Dim, ...]) -> Any:
        (x,) = operands
        missing = len(x.dims) - 1 - len(shape)
        out = sum_to(x, shape=(slices, *(1,) * missing, *shape))
        return OPS["reshape"](out, shape=(slices, *shape)) if missing else out

    def samples(self, draw: Any) -> Iterator[Any]:
        for large, small in [((2, 3), ()), ((2, 3), (3,)), ((2, 3), (2, 1)), ((2, 3, 4), (1, 3, 1)), ((2, 3), (2, 3)), ((0, 2), (2,))]:
            yield (draw(large, kinds="fc"),), {"shape": small}


broadcast_to, sum_to = register(BroadcastTo()), register(SumTo())


def broadcast_like(x: Any, shape: tuple[Dim, ...]) -> Any:
    """`x` at `shape`, itself where it has it already."""
    return x if x.dims == shape else broadcast_to(x, shape=shape)


def unbroadcast(g: Any, x: Any) -> Any:
    """The gradient `g` of an implicitly broadcast operand `x`, at the operand's own shape."""
    same = len(g.dims) == len(x.dims) and not repeated_axes(x.dims, g.dims)  # also where two sizes were taken to be equal
    return g if same else sum_to(g, shape=x.dims)


def elements(shape: tuple[Dim, ...], axes: list[int]) -> Dim:
    """How many elements a reduction over `axes` combines."""
    return sizes.product(shape[a] for a in axes)

"""Reductions over axes: sum, product, extremes, any and all.

`axis` is a tuple of axes counted from 0, in order; `keepdims` leaves axes of size 1. The porch turns None and negative axes
into this form with `normal_axes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.broadcasting import broadcast_like
from tapejit.ops.elementwise import cast, equal
from tapejit.ops.shapes import reshape


def normal_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """Axes as a sorted tuple counted from 0. None means all. ValueError for one that is out of range or named twice."""
    if axis is None:
        return tuple(range(rank))
    listed = [int(a) for a in np.asarray(axis).ravel()]
    for a in listed:
        if not -rank <= a < rank:
            raise ValueError(f"axis {a} is out of range for rank {rank}")
    out = tuple(sorted(a % rank for a in listed))
    if len(set(out)) != len(out):
        raise ValueError(f"axes {listed} name an axis twice")
    return out


def kept_shape(shape: tuple[Dim, ...], axis: tuple[int, ...], keepdims: bool) -> tuple[Dim, ...]:
    """The shape that a reduction over `axis` leaves."""
    return tuple(1 if k in axis else d for k, d in enumerate(shape) if keepdims or k not in axis)


class Reduction(Op):
    """One value per slice along `axis`. An empty slice gives the neutral element."""

    def __init__(self, name: str, combine: str, numpy: Callable[..., Any], kinds: str) -> None:
        self.name, self.combine, self.numpy, self.kinds = name, combine, numpy, kinds
        self.no_gradient = kinds == "b"

    def infer(self, x: Type, *, axis: tuple[int, ...], keepdims: bool = False) -> Type:
        if x.dtype.kind not in self.kinds:
            raise TypeError(f"{self.name} is not defined for {x.dtype.name}")
        return x.with_shape(kept_shape(x.shape, axis, keepdims))

    def eager(self, x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> Any:
        return self.numpy(x, axis, keepdims)

    def expanded(self, value: Any, x: Any, axis: tuple[int, ...]) -> Any:
        """`value` of the result's shape, repeated to the operand's."""
        return broadcast_like(reshape(value, shape=kept_shape(x.dims, axis, True)), x.dims)

    def at(self, index: tuple[Expr, ...], x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> Expr:
        outer = iter(i for k, i in enumerate(index) if not (keepdims and k in axis))
        inner = tuple(expr.Var(dtypes.int64, f"r{k}") if k in axis else next(outer) for k in range(len(x.dims)))
        body = x[inner]
        dtype = body.dtype
        if dtype.bits == 16 and dtype.kind == "f":
            body = expr.cast(body, dtypes.float32)
        return expr.cast(expr.Reduce(body.dtype, self.combine, tuple((f"r{k}", x.dims[k]) for k in axis), body), dtype)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, axis in [((3, 4), (0,)), ((3, 4), (1,)), ((3, 4), (0, 1)), ((2, 3, 4), (0, 2)), ((5,), (0,)), ((1, 3), (0,)), ((), ()), ((0, 3), (0,)), ((2, 3), ())]:
            for keepdims in (False, True):
                yield (draw(shape, kinds=self.kinds),), {"axis": axis, "keepdims": keepdims}


class Sum(Reduction):
    """Sum over axes; 16-bit floats are summed in float32."""

    def vjp(self, g: Any, z: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> tuple[Any, ...]:
        return (lambda: self.expanded(g, x, axis),)


class Extreme(Reduction):
    """Largest or smallest value over axes; the gradient is shared evenly among ties."""

    def vjp(self, g: Any, z: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> tuple[Any, ...]:
        def rule() -> Any:
            hit = cast(equal(x, self.expanded(z, x, axis)), dtype=x.dtype)
            share = g / sum_(hit, axis=axis, keepdims=keepdims)
            return hit * self.expanded(share, x, axis)

        return (rule,)


def _add(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    wide = np.float32 if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x.dtype
    return np.add.reduce(x, axis=axis, dtype=wide, keepdims=keepdims).astype(x.dtype, copy=False)


def _extreme(ufunc: np.ufunc, which: str) -> Callable[..., Any]:
    def reduce(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        if x.size:
            return ufunc.reduce(x, axis=axis, keepdims=keepdims)
        dtype = dtypes.as_dtype(x.dtype)
        lowest = dtype.min if which == "max" else dtype.max
        neutral = lowest if dtype.kind in "iu" else (-np.inf if which == "max" else np.inf)
        return ufunc.reduce(x, axis=axis, keepdims=keepdims, initial=np.asarray(neutral, x.dtype)[()])

    return reduce


sum_ = register(Sum("sum", "add", _add, "iufc"))
max_ = register(Extreme("max", "max", _extreme(np.maximum, "max"), "iuf"))
min_ = register(Extreme("min", "min", _extreme(np.minimum, "min"), "iuf"))
any_ = register(Reduction("any", "or", lambda x, axis, keepdims: np.any(x, axis=axis, keepdims=keepdims), "b"))
all_ = register(Reduction("all", "and", lambda x, axis, keepdims: np.all(x, axis=axis, keepdims=keepdims), "b"))

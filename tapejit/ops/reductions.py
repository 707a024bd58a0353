"""Reductions over axes: sum, mean, product, extremes and where they are, any and all.

`axis` is a tuple of axes counted from 0, in order; `keepdims` leaves axes of size 1. The porch turns None and negative axes
into this form with `normal_axes`.
"""

# mypy: disable-error-code="call-overload"
# NumPy's stubs want `keepdims` written out as True or False

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, places
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim, Size
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.ir.structure import dim
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Accumulator, For, If, Let, Stmt, Update
from tapejit.ops.batching import along
from tapejit.ops.broadcasting import broadcast_like, elements
from tapejit.ops.cumulative import cumprod, over
from tapejit.ops.elementwise import cast, equal
from tapejit.ops.shapes import reshape, transpose
from tapejit.ops.tangents import multilinear


def normal_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """Axes as a sorted tuple counted from 0. None means all. ValueError for one that is out of range or named twice."""
    if axis is None:
        return tuple(range(rank))
    array = np.asarray(axis)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(places.with_place(f"an axis is an integer, or a list of them, not {axis!r}"))
    listed = [int(a) for a in array.ravel()]
    for a in listed:
        if not -rank <= a < rank:
            raise ValueError(places.with_place(f"axis {a} is out of range for rank {rank}; {_axes_there_are(rank)}"))
    out = tuple(sorted(a % rank for a in listed))
    if len(set(out)) != len(out):
        raise ValueError(places.with_place(f"axes {listed} name an axis twice"))
    return out


def _axes_there_are(rank: int) -> str:
    return f"write an axis from {-rank} to {rank - 1}" if rank else "a scalar has no axes"


def kept_shape(shape: tuple[Dim, ...], axis: tuple[int, ...], keepdims: bool) -> tuple[Dim, ...]:
    """The shape that a reduction over `axis` leaves."""
    return tuple(1 if k in axis else d for k, d in enumerate(shape) if keepdims or k not in axis)


_ON_SIZES = {"add": np.add, "mul": np.multiply}


class Reduction(Op):
    """One value per slice along `axis`. An empty slice gives the neutral element."""

    batch = along("axis")

    def __init__(self, name: str, combine: str, numpy: Callable[..., Any], kinds: str) -> None:
        self.name, self.combine, self.numpy, self.kinds = name, combine, numpy, kinds
        self.no_gradient = kinds == "b"
        self.on_sizes = combine in _ON_SIZES

    def infer(self, x: Type, *, axis: tuple[int, ...], keepdims: bool = False) -> Type:
        if x.dtype.kind not in self.kinds:
            raise TypeError(f"{self.name} is not defined for {x.dtype.name}")
        return x.with_shape(kept_shape(x.shape, axis, keepdims))

    def eager(self, x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> Any:
        if x.dtype.kind == "O":  # sizes
            return _ON_SIZES[self.combine].reduce(x, axis=axis, keepdims=keepdims)
        if x.dtype.kind not in self.kinds and not (x.dtype.kind == "V" and "f" in self.kinds):
            raise TypeError(f"{self.name} is not defined for {dtypes.as_dtype(x.dtype).name}")
        return self.numpy(x, axis, keepdims)

    def expanded(self, value: Any, x: Any, axis: tuple[int, ...]) -> Any:
        """`value` of the result's shape, repeated to the operand's."""
        return broadcast_like(reshape(value, shape=kept_shape(x.dims, axis, True)), x.dims)

    def at(self, index: tuple[Expr, ...], x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> Expr:
        return expr.cast(self.reduced(index, x, axis, keepdims), x.dtype)

    def reduced(self, index: tuple[Expr, ...], x: Any, axis: tuple[int, ...], keepdims: bool) -> Expr:
        """The combined elements that belong to `index` of the result, 16-bit floats as float32."""
        outer = iter(i for k, i in enumerate(index) if not (keepdims and k in axis))
        inner = tuple(expr.Var(dtypes.int64, f"r{k}") if k in axis else next(outer) for k in range(len(x.dims)))
        body = x[inner]
        if body.dtype.narrow:
            body = expr.cast(body, dtypes.float32)
        return expr.Reduce(body.dtype, self.combine, tuple((f"r{k}", x.dims[k]) for k in axis), body)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, axis in [
            ((3, 4), (0,)),
            ((3, 4), (1,)),
            ((3, 4), (0, 1)),
            ((2, 3, 4), (0, 2)),
            ((5,), (0,)),
            ((1, 3), (0,)),
            ((), ()),
            ((0, 3), (0,)),
            ((2, 3), ()),
        ]:
            for keepdims in (False, True):
                yield (draw(shape, kinds=self.kinds),), {"axis": axis, "keepdims": keepdims}


class Sum(Reduction):
    """Sum over axes; 16-bit floats are summed in float32."""

    jvp = multilinear

    def vjp(self, g: Any, z: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> tuple[Any, ...]:
        return (lambda: self.expanded(g, x, axis),)


class Mean(Reduction):
    """Arithmetic mean over axes; NaN over an empty slice. 16-bit floats are summed in float32."""

    jvp = multilinear

    def vjp(self, g: Any, z: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> tuple[Any, ...]:
        return (lambda: self.expanded(g / count_of(x, axis, x.dtype), x, axis),)

    def at(self, index: tuple[Expr, ...], x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> Expr:
        total = self.reduced(index, x, axis, keepdims)
        count = expr.of_dim(elements(x.dims, list(axis)))
        return expr.cast(total / expr.cast(count, total.dtype), x.dtype)


class Prod(Reduction):
    """Product over axes. The gradient is right where elements are 0, as are gradients of higher order."""

    def vjp(self, g: Any, z: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> tuple[Any, ...]:
        def rule() -> Any:
            if not axis:
                return g
            rows, back = last_axis(x, axis)  # the product of all others is what stands before times what stands after
            others = cumprod(rows, axis=rows_axis(rows), exclusive=True) * cumprod(rows, axis=rows_axis(rows), exclusive=True, reverse=True)
            return self.expanded(g, x, axis) * back(others)

        return (rule,)


def rows_axis(rows: Any) -> int:
    """The last axis."""
    return len(rows.dims) - 1


def last_axis(x: Any, axis: tuple[int, ...]) -> tuple[Any, Callable[[Any], Any]]:
    """`x` with the axes `axis` merged into one, the last, and the function that takes such an array back to the shape of `x`."""
    if len(axis) == 1 and axis[0] == len(x.dims) - 1:
        return x, lambda rows: rows
    kept = tuple(k for k in range(len(x.dims)) if k not in axis)
    perm = kept + axis
    turned = transpose(x, perm=perm)
    rows = reshape(turned, shape=(*(x.dims[k] for k in kept), elements(x.dims, list(axis))))
    return rows, lambda y: transpose(reshape(y, shape=turned.dims), perm=tuple(perm.index(k) for k in range(len(perm))))


def count_of(x: Any, axis: tuple[int, ...], dtype: Any) -> Any:
    """How many elements a reduction of `x` over `axis` combines: a Python number, or a scalar of `dtype` where only the run knows."""
    count = elements(x.dims, list(axis))
    if isinstance(count, Size):
        return dim(size=count, dtype=dtype)
    return float(count) if dtype.kind in "fc" else count


class Extreme(Reduction):
    """Largest or smallest value over axes; the gradient is shared evenly among ties."""

    def vjp(self, g: Any, z: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool = False) -> tuple[Any, ...]:
        def rule() -> Any:
            hit = cast(equal(x, self.expanded(z, x, axis)), dtype=x.dtype)
            share = g / sum_(hit, axis=axis, keepdims=keepdims)
            return hit * self.expanded(share, x, axis)

        return (rule,)


def _wide(x: Any) -> Any:
    """The dtype in which elements of `x` are combined: 16-bit floats as float32."""
    return np.float32 if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x.dtype


def _add(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return np.add.reduce(x, axis=axis, dtype=_wide(x), keepdims=keepdims).astype(x.dtype, copy=False)


def _mean(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    total = np.add.reduce(x, axis=axis, dtype=_wide(x), keepdims=keepdims)
    return np.true_divide(total, total.dtype.type(elements(x.shape, list(axis)))).astype(x.dtype, copy=False)


def _multiply(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return np.multiply.reduce(x, axis=axis, dtype=_wide(x), keepdims=keepdims).astype(x.dtype, copy=False)


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
mean = register(Mean("mean", "add", _mean, "fc"))
prod = register(Prod("prod", "mul", _multiply, "iufc"))
max_ = register(Extreme("max", "max", _extreme(np.maximum, "max"), "iuf"))
min_ = register(Extreme("min", "min", _extreme(np.minimum, "min"), "iuf"))
any_ = register(Reduction("any", "or", lambda x, axis, keepdims: np.any(x, axis=axis, keepdims=keepdims), "b"))
all_ = register(Reduction("all", "and", lambda x, axis, keepdims: np.all(x, axis=axis, keepdims=keepdims), "b"))


class ArgExtreme(Op):
    """The index along `axis` of the largest (`argmax`) or smallest (`argmin`) element, the first of equals; NaN counts as beyond all."""

    batch = along("axis")

    no_gradient = True

    def __init__(self, name: str, numpy: Callable[..., Any], better: str) -> None:
        self.name, self.numpy, self.better = name, numpy, better

    def infer(self, x: Type, *, axis: int, dtype: DType = dtypes.int64) -> Type:
        if x.dtype.kind not in "biuf":
            raise TypeError(f"{self.name} is not defined for {x.dtype.name}")
        if not 0 <= axis < x.rank:
            raise ValueError(f"{self.name}: axis {axis} is out of range for {x}")
        if isinstance(x.shape[axis], int) and x.shape[axis] == 0:
            raise ValueError(f"{self.name}: axis {axis} of {x} is empty")
        return Type(dtype, kept_shape(x.shape, (axis,), False))

    def eager(self, x: Any, *, axis: int, dtype: DType = dtypes.int64) -> Any:
        wide = x.astype(np.float32) if x.dtype.kind == "V" else x  # NumPy does not compare bfloat16 here
        return self.numpy(wide, axis=axis).astype(dtype.np)

    def kernel(self, outs: Any, ins: Any, work: Any, *, axis: int, dtype: DType = dtypes.int64) -> tuple[Stmt, ...]:
        """One pass along the axis for every row, keeping the best element so far and where it was."""
        x = ins[0]
        rows = [expr.Var(dtypes.int64, f"a{k}") for k in range(len(x.dims))]
        first = tuple(expr.as_expr(0) if k == axis else v for k, v in enumerate(rows))
        small = x.dtype.narrow
        compute = dtypes.float32 if small else x.dtype

        def element(index: tuple[Expr, ...]) -> Expr:
            return expr.cast(x[index], dtypes.uint8 if compute.kind == "b" else compute)

        start = element(first)
        best, value, where = expr.Var(start.dtype, "best"), expr.Var(start.dtype, "value"), expr.Var(dtypes.int64, "where")
        wins = expr.compare(self.better, value, best)
        if compute.kind == "f":
            beyond, settled = (expr.call("isnan", v, dtype=dtypes.bool_) for v in (value, best))
            wins = expr.binary("and", expr.binary("or", wins, beyond), ~settled)
        improve = If(wins, (Update("best", "set", value), Update("where", "set", rows[axis])))
        scan = For(rows[axis].name, x.dims[axis], "serial", (Let("value", element(tuple(rows))), improve))
        out = tuple(v for k, v in enumerate(rows) if k != axis)
        store = outs[0].store(out, expr.cast(where, dtype))
        body: tuple[Stmt, ...] = (Accumulator("best", start), Accumulator("where", expr.as_expr(0)), scan, store)
        return over(body, x.dims, rows, axis)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, axis in [((3, 4), 0), ((3, 4), 1), ((2, 3, 4), 1), ((5,), 0), ((1, 3), 0), ((0, 3), 1)]:
            yield (draw(shape, kinds="fiub"),), {"axis": axis}
        yield (np.round(draw((20,), -2, 2, kinds="fi")),), {"axis": 0, "dtype": dtypes.int32}


argmax, argmin = register(ArgExtreme("argmax", np.argmax, "gt")), register(ArgExtreme("argmin", np.argmin, "lt"))

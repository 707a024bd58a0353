"""Slices with steps and their transpose: `slice` takes elements out, `embed` puts them into a filled array; `roll` turns axes.

In: begins, sizes and strides as dims per axis; out: ops that stay right for symbolic sizes. Python's slice arithmetic on dims
(negative and missing bounds, clamping) is `python_slice`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.core.dtypes import DType, float32
from tapejit.core.sizes import Dim, Size
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.batching import padded
from tapejit.ops.creation import shape_vector
from tapejit.ops.shapes import reshape
from tapejit.ops.tangents import multilinear


# ------------------------------------------------------------------------------------------- arithmetic on dims
def at_most(a: Dim, b: Dim) -> bool:
    """Whether `a <= b` for certain: by constant difference, or with each quotient in `a` replaced by its dividend."""
    if a == b or sizes.nonnegative(b - a):
        return True
    if not isinstance(a, Size):
        return False
    bound: Dim = 0
    for monomial, coefficient in a.terms.items():
        term: Dim = coefficient
        for atom in monomial:
            simple = (
                isinstance(atom, sizes.Quotient)
                and coefficient > 0
                and isinstance(atom.bottom, int)
                and atom.bottom >= 1
                and sizes.nonnegative(atom.top)
            )
            if simple and len(monomial) == 1:
                term = -(-coefficient // atom.bottom) * atom.top  # type: ignore[union-attr]
            else:
                term = term * Size({(atom,): 1})
        bound = bound + term
    return sizes.nonnegative(b - bound)


def _min(a: Dim, b: Dim) -> Dim:
    return a if at_most(a, b) else b if at_most(b, a) else sizes.minimum(a, b)


def _max(a: Dim, b: Dim) -> Dim:
    return b if at_most(a, b) else a if at_most(b, a) else sizes.maximum(a, b)


def from_start(bound: Dim, n: Dim) -> Dim:
    """A slice bound or index counted from the start of an axis of size `n`, where a negative one counts from its end."""
    if not isinstance(bound, Size):
        return bound if bound >= 0 else bound + n
    if sizes.nonnegative(bound):
        return bound
    negative = _max(0, _min(1, -bound))  # 1 where the bound is negative at run time, else 0
    return bound + n * negative


def python_slice(begin: Dim | None, end: Dim | None, step: int, n: Dim) -> tuple[Dim, Dim]:
    """Where `[begin:end:step]` of an axis of size `n` starts and how many elements it has, as Python slices."""
    if not isinstance(n, Size) and not isinstance(begin, Size) and not isinstance(end, Size):
        taken = range(n)[begin:end:step]
        return (taken.start if len(taken) else 0), len(taken)
    if step == 1 and (begin, end) in ((None, 1), (0, 1), (-1, None)):
        return (0 if end == 1 else n - 1), 1  # one element, as what is broadcast should be known to have; that the axis has one is a guard
    if step > 0:
        low = 0 if begin is None else _max(from_start(begin, n), 0)
        high = n if end is None else _min(from_start(end, n), n)
        return low, _max(0, _ceiling(high - low, step))
    high = n - 1 if begin is None else _min(from_start(begin, n), n - 1)
    low = -1 if end is None else _max(from_start(end, n), -1)
    return high, _max(0, _ceiling(high - low, -step))


def _ceiling(a: Dim, b: int) -> Dim:
    return a if b == 1 else sizes.floordiv(a + (b - 1), b)


def require_at_most(a: Dim, b: Dim, message: str) -> None:
    """ValueError if `a > b` for certain; where that is open it becomes a guard."""
    if at_most(a, b):
        return
    try:
        sizes.unify(sizes.maximum(a, b), b)
    except ValueError:
        raise ValueError(message) from None


def numpy_key(begin: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], drop: tuple[int, ...] = ()) -> tuple[Any, ...]:
    """NumPy's index for the elements that `slice` takes."""
    key: list[Any] = []
    for k, (b, s, t) in enumerate(zip(begin, size, stride, strict=True)):
        last = b + (s - 1) * t
        key.append(b if k in drop else slice(0, 0) if s == 0 else slice(b, last + 1 if t > 0 else (last - 1 if last > 0 else None), t))
    return tuple(key)


# ------------------------------------------------------------------------------------------------------- ops
class Slice(Op):
    """`z[i, ...] = x[begin + i * stride, ...]`, `size` elements along each axis; the axes in `drop`, of size 1, are left out.

    `x[1, :, ::2]` is one of these.
    """

    name = "slice"
    jvp = multilinear
    on_sizes = True

    def infer(self, x: Type, *, begin: tuple[Dim, ...], size: tuple[Dim, ...], stride: tuple[Dim, ...], drop: tuple[int, ...] = ()) -> Type:
        if not len(begin) == len(size) == len(stride) == x.rank:
            raise ValueError(f"slice of {x}: begin, size and stride need {x.rank} entries, got {len(begin)}, {len(size)} and {len(stride)}")
        for k, (b, s, t, n) in enumerate(zip(begin, size, stride, x.shape, strict=True)):
            if isinstance(s, Size):
                continue  # such sizes are made of clamped bounds
            if s < 0:
                raise ValueError(f"slice of {x}: size {s} of axis {k} is negative")
            if s == 0:
                continue
            last = b + (s - 1) * t
            low, high = (b, last) if isinstance(t, Size) or t > 0 else (last, b)
            what = (
                f"slice index {b} of dimension {k} out of bounds, which has size {n}"
                if k in drop
                else f"slice of {x}: elements {low} to {high} of axis {k} out of bounds"
            )
            require_at_most(0, low, what)
            require_at_most(high + 1, n, what)
        return x.with_shape(tuple(d for k, d in enumerate(size) if k not in drop))

    def eager(self, x: Any, *, begin: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], drop: tuple[int, ...] = ()) -> Any:
        for k, (b, s, t, n) in enumerate(zip(begin, size, stride, x.shape, strict=True)):
            if s < 0 or (s and not (0 <= b < n and 0 <= b + (s - 1) * t < n)):
                raise IndexError(f"slice index {b} of dimension {k} out of bounds, which has size {n}")
        return x[numpy_key(begin, size, stride, drop)]

    def vjp(
        self, g: Any, z: Any, x: Any, *, begin: tuple[Dim, ...], size: tuple[Dim, ...], stride: tuple[Dim, ...], drop: tuple[int, ...] = ()
    ) -> tuple[Any, ...]:
        def rule() -> Any:
            whole = reshape(g, shape=size) if drop else g
            return embed(whole, begin=begin, shape=x.dims, stride=stride)

        return (rule,)

    def at(
        self,
        index: tuple[Expr, ...],
        x: Any,
        *,
        begin: tuple[Dim, ...],
        size: tuple[Dim, ...],
        stride: tuple[Dim, ...],
        drop: tuple[int, ...] = (),
    ) -> Expr:
        left = iter(index)
        inner = [expr.as_expr(0) if k in drop else next(left) for k in range(len(begin))]
        return x[tuple(i * expr.of_dim(t) + expr.of_dim(b) for i, b, t in zip(inner, begin, stride, strict=True))]

    def batch(
        self,
        slices: Dim,
        operands: Any,
        mapped: Any,
        **attrs: Any,
    ) -> Any:
        whole = {"begin": (0, *attrs["begin"]), "size": (slices, *attrs["size"]), "stride": (1, *attrs["stride"])}
        return slice_(operands[0], drop=tuple(k + 1 for k in attrs.get("drop", ())), **whole)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, begin, size, stride, drop in [
            ((5,), (1,), (3,), (1,), ()), ((5,), (4,), (3,), (-2,), ()), ((3, 4), (0, 3), (3, 1), (1, 1), (1,)), ((3, 4), (2, 1), (1, 1), (1, 1), (0, 1)),
            ((6, 2), (1, 0), (3, 2), (2, 1), ()), ((3,), (0,), (0,), (1,), ()), ((), (), (), (), ()), ((2, 3, 4), (1, 2, 0), (1, 3, 2), (1, -1, 3), (0,)),
        ]:  # fmt: skip
            yield (draw(shape, kinds="biufc"),), {"begin": begin, "size": size, "stride": stride, "drop": drop}


class Embed(Op):
    """`z[begin + i * stride, ...] = x[i, ...]` in an array of `shape` that is `value` elsewhere: constant padding, and what undoes `slice`."""

    name = "embed"
    batch = padded(begin=0, shape="slices", stride=1)

    def infer(self, x: Type, *, begin: tuple[Dim, ...], shape: tuple[Dim, ...], stride: tuple[Dim, ...], value: Any = 0) -> Type:
        if not len(begin) == len(shape) == len(stride) == x.rank:
            raise ValueError(
                f"embed of {x}: begin, shape and stride need {x.rank} entries, got {len(begin)}, {len(shape)} and {len(stride)}"
            )
        return x.with_shape(shape)

    def eager(self, x: Any, *, begin: tuple[int, ...], shape: tuple[int, ...], stride: tuple[int, ...], value: Any = 0) -> Any:
        out = np.zeros(shape, x.dtype) if type(value) is int and value == 0 else np.full(shape, value, x.dtype)
        if x.size:
            out[numpy_key(begin, x.shape, stride)] = x
        return out

    def vjp(
        self, g: Any, z: Any, x: Any, *, begin: tuple[Dim, ...], shape: tuple[Dim, ...], stride: tuple[Dim, ...], value: Any = 0
    ) -> tuple[Any, ...]:
        return (lambda: slice_(g, begin=begin, size=x.dims, stride=stride),)

    def at(
        self, index: tuple[Expr, ...], x: Any, *, begin: tuple[Dim, ...], shape: tuple[Dim, ...], stride: tuple[Dim, ...], value: Any = 0
    ) -> Expr:
        inner: list[Expr] = []
        inside: Expr | None = None
        for i, b, d, t, n in zip(index, begin, shape, stride, x.dims, strict=True):
            if isinstance(t, int) and t == 1 and isinstance(b, int) and b == 0 and n == d:
                inner.append(i)
                continue
            if isinstance(t, int) and t < 0:
                from_begin, step = expr.of_dim(b) - i, expr.of_dim(-t)
            else:
                from_begin, step = i - expr.of_dim(b), expr.of_dim(t)
            position = from_begin // step
            hit = (from_begin >= 0) & (position < expr.of_dim(n))
            if not (isinstance(step, expr.Const) and step.value == 1):
                hit = hit & expr.compare("eq", from_begin % step, 0)
            inside = hit if inside is None else inside & hit
            inner.append(position)
        element = x[tuple(inner)]
        return element if inside is None else expr.guarded(inside, element, number(value, element.dtype))

    def jvp(self, tangents: Any, z: Any, x: Any, **attrs: Any) -> Any:
        return embed(tangents[0], **(attrs | {"value": 0}))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, begin, to, stride, value in [
            ((3,), (1,), (5,), (1,), 0), ((2, 3), (0, 2), (2, 6), (1, 1), 1), ((3,), (4,), (5,), (-2,), 0), ((2, 2), (1, 0), (5, 4), (2, 3), 0),
            ((0,), (0,), (3,), (1,), 0), ((), (), (), (), 0), ((2, 3), (0, 0), (2, 3), (1, 1), 0),
        ]:  # fmt: skip
            yield (draw(shape, kinds="biufc"),), {"begin": begin, "shape": to, "stride": stride, "value": value}


class Roll(Op):
    """`z[i] = x[(i - shift) mod n]` along each axis; `shift` has an entry per axis (`tf.roll`)."""

    name = "roll"
    jvp = multilinear
    batch = padded(shift=0)

    def infer(self, x: Type, *, shift: tuple[Dim, ...]) -> Type:
        if len(shift) != x.rank:
            raise ValueError(f"roll of {x}: shift needs {x.rank} entries, got {len(shift)}")
        return x

    def eager(self, x: Any, *, shift: tuple[int, ...]) -> Any:
        return np.roll(x, shift, tuple(range(x.ndim))) if shift else x

    def vjp(self, g: Any, z: Any, x: Any, *, shift: tuple[Dim, ...]) -> tuple[Any, ...]:
        return (lambda: roll(g, shift=tuple(-s for s in shift)),)

    def at(self, index: tuple[Expr, ...], x: Any, *, shift: tuple[Dim, ...]) -> Expr:
        return x[
            tuple(
                i if isinstance(s, int) and s == 0 else (i - expr.of_dim(s)) % expr.of_dim(n)
                for i, s, n in zip(index, shift, x.dims, strict=True)
            )
        ]

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, shift in [((5,), (2,)), ((2, 3), (0, -1)), ((2, 3), (1, 7)), ((0,), (1,)), ((), ()), ((1, 2), (5, 0))]:
            yield (draw(shape, kinds="biufc"),), {"shift": shift}


slice_, embed, roll = register(Slice()), register(Embed()), register(Roll())


def number(value: Any, dtype: DType) -> Expr:
    """A literal of any real dtype; those of 16-bit floats are converted, as they are storage only."""
    return expr.cast(expr.as_expr(value, float32), dtype) if dtype.narrow else expr.as_expr(value, dtype)


def axis_slice(x: Any, axis: int, begin: Dim, size: Dim) -> Any:
    """`size` elements of `x` along one axis, from `begin` on; all of the others."""
    rank = len(x.dims)
    return slice_(
        x,
        begin=tuple(begin if k == axis else 0 for k in range(rank)),
        size=tuple(size if k == axis else d for k, d in enumerate(x.dims)),
        stride=(1,) * rank,
    )


def reversed_along(x: Any, axes: Any) -> Any:
    """`x` with the given axes back to front."""
    axes = tuple(axes)
    return slice_(
        x,
        begin=tuple(d - 1 if k in axes else 0 for k, d in enumerate(x.dims)),
        size=tuple(x.dims),
        stride=tuple(-1 if k in axes else 1 for k in range(len(x.dims))),
    )


def scalar_of(d: Dim, dtype: DType) -> Any:
    """A dim to compute with in ops: a Python int, or where it is symbolic a scalar tensor of `dtype` that is still known as a size."""
    return slice_(shape_vector(dims=(d,), dtype=dtype), begin=(0,), size=(1,), stride=(1,), drop=(0,)) if isinstance(d, Size) else d

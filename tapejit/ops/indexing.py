"""`x[...]` by TensorFlow's rules: integers, slices with steps, `...`, None, scalar integer tensors, and a bool mask.

Static parts become one `slice` (and a `reshape` for new axes); integer tensors whose value is not known while recording become
`gather`s. `plan` is the same analysis for those who write at the place that an index names (variables).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tapejit.core import dtypes, places, sizes
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim, Size
from tapejit.ops.creation import iota
from tapejit.ops.elementwise import cast, maximum, minimum, select
from tapejit.ops.gathering import elements, gather, in_range
from tapejit.ops.selecting import mask_rows
from tapejit.ops.shapes import reshape
from tapejit.ops.slicing import from_start, python_slice, scalar_of, slice_


@dataclass(frozen=True)
class Plan:
    """What an index asks for, per axis of the operand: where it begins, how many elements, which step, whether the axis goes.

    `shape` is the result's, `picks` the axes that a tensor known only at run time picks one element of.
    """

    begin: tuple[Dim, ...]
    size: tuple[Dim, ...]
    stride: tuple[int, ...]
    drop: tuple[int, ...]
    shape: tuple[Dim, ...]
    new_axes: bool
    picks: dict[int, Any]


def _refuse(part: Any) -> TypeError:
    return TypeError(
        places.with_place(
            f"Only integers, slices (`:`), ellipsis (`...`), tf.newaxis (`None`) and scalar tf.int32/tf.int64 tensors are valid indices, got {part!r}; "
            "write tf.gather for a list of indices, tf.boolean_mask for a mask"
        )
    )


def _scalar(part: Any) -> Any:
    """An index or bound as an int or a dim; a symbolic tensor whose value is not known stays itself."""
    if isinstance(part, bool | np.bool_):
        raise _refuse(part)
    if isinstance(part, int | np.integer):
        return int(part)
    if isinstance(part, Size):
        return part
    if isinstance(part, np.ndarray):
        if part.ndim or part.dtype.kind not in "iu":
            raise _refuse(part)
        return int(part)
    if hasattr(part, "dims"):
        if part.dims or part.dtype.kind not in "iu":
            raise _refuse(part)
        known = part.known_dim()
        return part if known is None else known
    if hasattr(part, "__index__"):
        return part.__index__()
    raise _refuse(part)


def _bound(part: Any, n: Dim) -> Dim | None:
    """A bound of a slice as a dim."""
    if part is None:
        return None
    got = _scalar(part)
    if isinstance(got, int | Size):
        return got
    # known only at run time: counted from the start and clamped before it becomes a size, which may not be negative
    limit = scalar_of(n, got.dtype)
    counted = select(got < 0, got + limit, got)
    return minimum(maximum(counted, 0), limit).as_dim("N")


def plan(dims: tuple[Dim, ...], key: Any) -> Plan:
    """Take an index apart. TypeError for what is no index, InvalidArgumentError for too many indices or one out of bounds."""
    parts = list(key) if isinstance(key, tuple | list) else [key]
    given = sum(1 for p in parts if p is not None and p is not Ellipsis)
    dots = [i for i, p in enumerate(parts) if p is Ellipsis]
    if len(dots) > 1:
        raise ValueError(places.with_place("Multiple ellipses not allowed in slice spec"))
    if given > len(dims):
        raise InvalidArgumentError(places.with_place(f"slice index {parts!r}: too many indices, {given} for a tensor of rank {len(dims)}"))
    fill: list[Any] = [slice(None)] * (len(dims) - given)
    parts = [*parts[: dots[0]], *fill, *parts[dots[0] + 1 :]] if dots else [*parts, *fill]
    begin: list[Dim] = []
    size: list[Dim] = []
    stride: list[int] = []
    drop: list[int] = []
    shape: list[Dim] = []
    picks: dict[int, Any] = {}
    for part in parts:
        axis = len(begin)
        if part is None:
            shape.append(1)
            continue
        n = dims[axis]
        if isinstance(part, slice):
            step = 1 if part.step is None else _scalar(part.step)
            if not isinstance(step, int):
                raise NotImplementedError("a slice step that is known only at run time; write tf.gather(x, tf.range(begin, end, step))")
            if step == 0:
                raise InvalidArgumentError(places.with_place("slice step must be non-zero: strides[...] must be non-zero"))
            b, s = python_slice(_bound(part.start, n), _bound(part.stop, n), step, n)
            begin.append(b)
            size.append(s)
            stride.append(step)
            shape.append(s)
            continue
        index = _scalar(part)
        drop.append(axis)
        stride.append(1)
        size.append(1)
        if not isinstance(index, int | Size):
            picks[axis] = index
            begin.append(0)
            continue
        if isinstance(index, int) and isinstance(n, int) and not -n <= index < n:
            raise InvalidArgumentError(places.with_place(f"slice index {index} of dimension {axis} out of bounds."))
        begin.append(from_start(index, n))
    return Plan(tuple(begin), tuple(size), tuple(stride), tuple(drop), tuple(shape), any(p is None for p in parts), picks)


def counted(index: Any, n: Dim) -> Any:
    """An integer tensor that may count from the end of an axis of size `n`, counted from its start and checked when it runs."""
    limit = scalar_of(n, index.dtype)
    return in_range(select(index < 0, index + limit, index), limit=n)


def getitem(x: Any, key: Any) -> Any:
    """`x[key]` for a tensor `x`."""
    if type(key) is int and x.dims and type(x.dims[0]) is int and -x.dims[0] <= key < x.dims[0]:  # the common case, quickly
        rank = len(x.dims)
        return slice_(x, begin=(key % x.dims[0], *(0,) * (rank - 1)), size=(1, *x.dims[1:]), stride=(1,) * rank, drop=(0,))
    if (isinstance(key, np.ndarray) and key.dtype == bool) or (getattr(key, "dtype", None) is dtypes.bool_ and hasattr(key, "dims")):
        return mask_rows(x, key if hasattr(key, "dims") else cast(key, dtype=dtypes.bool_))
    asked = plan(x.dims, key)
    for axis in sorted(asked.picks, reverse=True):  # the axis stays, with size 1, for the slice to drop
        x = elements(x, reshape(counted(asked.picks[axis], x.dims[axis]), shape=(1,)), axis=axis)
    whole = not asked.drop and all(
        b == 0 and t == 1 and s == d for b, s, t, d in zip(asked.begin, asked.size, asked.stride, x.dims, strict=True)
    )
    if not whole or not asked.new_axes:
        x = slice_(x, begin=asked.begin, size=asked.size, stride=asked.stride, drop=asked.drop)
    return reshape(x, shape=asked.shape) if asked.new_axes else x


def positions(asked: Plan, dims: tuple[Dim, ...]) -> Any:
    """The places in memory of the elements that `asked` names in an array of shape `dims`, int64, in the shape of the result."""
    total = reshape(iota(size=sizes.product(dims), dtype=dtypes.int64), shape=dims)
    for axis in sorted(asked.picks, reverse=True):
        total = gather(total, reshape(counted(asked.picks[axis], dims[axis]), shape=(1,)), axis=axis)
    out = slice_(total, begin=asked.begin, size=asked.size, stride=asked.stride, drop=asked.drop)
    return reshape(out, shape=asked.shape) if asked.new_axes else out

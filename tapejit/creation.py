"""Tensors made from shapes and numbers: `tf.zeros`, `ones`, `fill`, `range`, `linspace`, `eye`, `one_hot`, `meshgrid`, masks.

In: numbers, tensors and shapes, whose sizes may be symbolic while a function is traced; out: tensors.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import DType, as_dtype
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim, Size
from tapejit.ops import elementwise as e
from tapejit.ops.broadcasting import broadcast_like
from tapejit.ops.creation import iota
from tapejit.ops.joining import concat
from tapejit.ops.reductions import max_
from tapejit.ops.shapes import reshape
from tapejit.ops.slicing import scalar_of
from tapejit.tensor import Tensor, convert_to_tensor, dims_of, shape_of

__all__ = ["eye", "fill", "linspace", "meshgrid", "one_hot", "ones", "ones_like", "range", "sequence_mask", "zeros", "zeros_like"]


def _filled(shape: Any, value: Any, dtype: Any) -> Any:
    wanted = as_dtype(dtype)
    if wanted.kind == "b":
        value = bool(value)
    return e.full(shape=shape_of(shape), value=value, dtype=wanted)


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None, layout: Any = None) -> Any:
    """A tensor of `shape` filled with 0."""
    return _filled(shape, 0, dtype)


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None, layout: Any = None) -> Any:
    """A tensor of `shape` filled with 1."""
    return _filled(shape, 1, dtype)


def zeros_like(input: Any, dtype: Any = None, name: str | None = None, layout: Any = None) -> Any:
    """Zeros of the shape of `input`, and of its dtype unless one is given."""
    x = convert_to_tensor(input)
    return _filled(x.dims, 0, x.dtype if dtype is None else dtype)


def ones_like(input: Any, dtype: Any = None, name: str | None = None, layout: Any = None) -> Any:
    """Ones of the shape of `input`, and of its dtype unless one is given."""
    x = convert_to_tensor(input)
    return _filled(x.dims, 1, x.dtype if dtype is None else dtype)


def fill(dims: Any, value: Any, name: str | None = None, layout: Any = None) -> Any:
    """A tensor of shape `dims` filled with the scalar `value`, which gradients flow to."""
    scalar = convert_to_tensor(value)
    if scalar.dims:
        raise InvalidArgumentError(places.with_place(f"value must be a scalar, got shape {list(scalar.dims)}"))
    return broadcast_like(scalar, shape_of(dims))


_RANK = {name: k for k, name in enumerate(("int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"))}


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Any:
    """Numbers from `start` up to but without `limit` in steps of `delta`; with one argument from 0 up to it.

    The dtype is the widest of the arguments' unless given. InvalidArgumentError for a `delta` of 0 or one that leads away from `limit`.
    """
    if limit is None:
        start, limit = 0, start
    parts = (start, limit, delta)
    if dtype is not None:
        wanted = as_dtype(dtype)
    else:
        known = [p.dtype if isinstance(getattr(p, "dtype", None), DType) else _scalar_tensor(p).dtype for p in parts]
        wanted = max(known, key=lambda d: _RANK[d.name])
    first, last, step = (_number(p) for p in parts)
    if isinstance(first, int | float) and isinstance(last, int | float) and isinstance(step, int | float):
        if step == 0:
            raise InvalidArgumentError(places.with_place("tf.range: Requires delta != 0: 0"))
        if (last - first) * step < 0:
            raise InvalidArgumentError(
                places.with_place(
                    f"tf.range: Requires start {'<=' if step > 0 else '>='} limit when delta {'>' if step > 0 else '<'} 0: {first}/{last}"
                )
            )
        if wanted.kind in "iu":
            size: Dim = len(builtins.range(int(first), int(last), int(step)))
        else:
            size = math.ceil(abs((last - first) / step))
    elif all(isinstance(p, int | Size) for p in (first, last)) and isinstance(step, int):
        if step == 0:
            raise InvalidArgumentError(places.with_place("tf.range: Requires delta != 0: 0"))
        span = last - first if step > 0 else first - last
        size = sizes.maximum(0, sizes.floordiv(span + (abs(step) - 1), abs(step)))
    else:
        begin, end, by = (e.cast(_scalar_tensor(p), dtype=wanted) for p in (first, last, step))
        if wanted.kind in "iu":
            count = e.neg(e.floordiv(begin - end, by))
        else:
            count = e.ceil(e.abs_((end - begin) / by))
        size = e.cast(e.maximum(count, 0), dtype=dtypes.int64).as_dim("N")
    counted = iota(size=size, dtype=wanted)
    if not (isinstance(step, int | float) and step == 1):
        counted = counted * _factor(step, wanted)
    if not (isinstance(first, int | float) and first == 0):
        counted = counted + _factor(first, wanted)
    return counted


def _number(x: Any) -> Any:
    """An argument of `range` as a number or dim where that is known, else as it is."""
    if isinstance(x, bool | int | np.integer):
        return int(x)
    if isinstance(x, float | np.floating):
        return float(x)
    if isinstance(x, np.ndarray):
        return x.item()
    if hasattr(x, "dims"):
        if x.dtype.kind in "iu":
            known = x.known_dim()
            return x if known is None else known
        return float(x) if hasattr(x, "numpy") else x
    return x


def _scalar_tensor(x: Any) -> Any:
    return convert_to_tensor(scalar_of(x, dtypes.int32) if isinstance(x, Size) else x)


def _factor(x: Any, dtype: DType) -> Any:
    if isinstance(x, Size):
        return scalar_of(x, dtype) if dtype.kind in "iu" else e.cast(scalar_of(x, dtypes.int64), dtype=dtype)
    if hasattr(x, "dims"):
        return e.cast(x, dtype=dtype)
    return int(x) if dtype.kind in "iu" else float(x)


def linspace(start: Any, stop: Any, num: Any, name: str | None = None, axis: int = 0) -> Any:
    """`num` evenly spaced values from `start` to `stop`, both included, along a new `axis`. Integers give float64."""
    a = convert_to_tensor(start)
    b = convert_to_tensor(stop) if hasattr(stop, "dims") else convert_to_tensor(stop, a.dtype)
    if a.dtype.kind in "iu":
        a, b = e.cast(a, dtype=dtypes.float64), e.cast(b, dtype=dtypes.float64)
    count = int(num)
    if count <= 0:
        raise InvalidArgumentError(places.with_place(f"Requires num > 0: {count}"))
    rank = len(a.dims)
    at = axis % (rank + 1)
    wide = (*a.dims[:at], 1, *a.dims[at:])
    low, high = reshape(a, shape=wide), reshape(b, shape=wide)
    if count == 1:
        return low
    inner = iota(size=count - 1, dtype=a.dtype)[1:]
    between = low + ((high - low) / float(count - 1)) * reshape(
        inner, shape=tuple(count - 2 if k == at else 1 for k in builtins.range(rank + 1))
    )
    return concat(low, between, high, axis=at)


def eye(num_rows: Any, num_columns: Any = None, batch_shape: Any = None, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """The identity matrix of `num_rows` by `num_columns`, repeated to `batch_shape`."""
    (rows,) = shape_of(num_rows)
    columns = rows if num_columns is None else shape_of(num_columns)[0]
    hit = e.equal(reshape(iota(size=rows, dtype=dtypes.int32), shape=(rows, 1)), iota(size=columns, dtype=dtypes.int32))
    out = e.cast(hit, dtype=as_dtype(dtype))
    return out if batch_shape is None else broadcast_like(out, (*shape_of(batch_shape), rows, columns))


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Any:
    """`on_value` (1) at each index along a new `axis` (the last) of size `depth`, `off_value` (0) elsewhere and for indices outside."""
    ids = convert_to_tensor(indices)
    if ids.dtype.kind not in "iu":
        raise TypeError(places.with_place(f"tf.one_hot: indices must be integers, got {ids.dtype.name}; write tf.cast(indices, tf.int32)"))
    if dtype is not None:
        wanted = as_dtype(dtype)
    elif on_value is not None or off_value is not None:
        wanted = convert_to_tensor(on_value if on_value is not None else off_value).dtype
    else:
        wanted = dtypes.float32
    for given, what in ((on_value, "on_value"), (off_value, "off_value")):
        if given is not None and dtype is not None and isinstance(getattr(given, "dtype", None), DType) and given.dtype is not wanted:
            raise TypeError(places.with_place(f"dtype {wanted.name} of tf.one_hot does not match {given.dtype.name} of {what}"))
    rank = len(ids.dims)
    at = rank if axis is None or axis == -1 else axis % (rank + 1)
    (size,) = shape_of(depth)
    classes = reshape(iota(size=size, dtype=ids.dtype), shape=tuple(size if k == at else 1 for k in builtins.range(rank + 1)))
    hit = e.equal(reshape(ids, shape=(*ids.dims[:at], 1, *ids.dims[at:])), classes)
    if on_value is None and off_value is None:
        return e.cast(hit, dtype=wanted)
    on, off = (
        convert_to_tensor(v if v is not None else d, None if isinstance(v, Tensor) else wanted) for v, d in ((on_value, 1), (off_value, 0))
    )
    return e.select(hit, on, off)


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool_, name: str | None = None) -> Any:
    """Per length n a row of `maxlen` elements (the greatest length) whose first n hold."""
    n = convert_to_tensor(lengths)
    if maxlen is None:
        size = max_(n, axis=tuple(builtins.range(len(n.dims)))).as_dim("N") if n.dims else n.as_dim("N")
        size = sizes.maximum(size, 0)
    else:
        (size,) = dims_of(maxlen)
    hit = e.less(iota(size=size, dtype=n.dtype), reshape(n, shape=(*n.dims, 1)))
    wanted = as_dtype(dtype)
    return hit if wanted is dtypes.bool_ else e.cast(hit, dtype=wanted)


def meshgrid(*args: Any, indexing: str = "xy", name: str | None = None) -> list[Any]:
    """One tensor per vector, each repeated over a grid of all; with "xy" the first two axes are exchanged."""
    if indexing not in ("xy", "ij"):
        raise ValueError(places.with_place(f"Argument `indexing` parameter must be either 'xy' or 'ij', got {indexing!r}"))
    vectors: Sequence[Any] = [convert_to_tensor(a) for a in args]
    flat = [reshape(v, shape=(sizes.product(v.dims),)) for v in vectors]
    rank = len(flat)
    order = list(builtins.range(rank))
    if indexing == "xy" and rank > 1:
        order[:2] = [1, 0]
    shape = tuple(flat[k].dims[0] for k in order)
    return [
        broadcast_like(reshape(v, shape=tuple(d if order[j] == k else 1 for j, d in enumerate(shape))), shape) for k, v in enumerate(flat)
    ]

"""Elements taken from and put at places that tensors name: `tf.gather`, `slice`, `where`, `boolean_mask`, `scatter_nd`, `unique`
and their kin.

In: anything convertible to a tensor; a Variable that is gathered from is read as such, so that its gradient can be sparse.
InvalidArgumentError for indices out of range, at once or when the traced function runs.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, NamedTuple

from tapejit.arrays import axis_of
from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import as_dtype
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.ir.op import thread
from tapejit.ops import elementwise as e
from tapejit.ops import gathering, indexing, joining, selecting, slicing
from tapejit.ops.creation import iota
from tapejit.ops.reductions import max_
from tapejit.ops.shapes import reshape
from tapejit.ops.sorting import first_occurrence, search_sorted
from tapejit.tensor import convert_to_tensor, dims_of

__all__ = [
    "boolean_mask", "dynamic_partition", "dynamic_stitch", "gather", "gather_nd", "scatter_nd", "slice", "strided_slice",
    "tensor_scatter_nd_add", "tensor_scatter_nd_max", "tensor_scatter_nd_min", "tensor_scatter_nd_sub", "tensor_scatter_nd_update",
    "unique", "unique_with_counts", "unravel_index", "where",
]  # fmt: skip


class Unique(NamedTuple):
    """What `tf.unique` gives: the distinct elements, and for each element the place of its like among them."""

    y: Any
    idx: Any


class UniqueWithCounts(NamedTuple):
    """What `tf.unique_with_counts` gives: as `Unique`, and how often each distinct element occurs."""

    y: Any
    idx: Any
    count: Any


def _indices(x: Any) -> Any:
    ids = convert_to_tensor(x) if hasattr(x, "dims") else convert_to_tensor(x, dtype_hint=dtypes.int32)
    if ids.dtype.kind not in "iu":
        raise TypeError(places.with_place(f"indices must be integers, got {ids.dtype.name}; write tf.cast(indices, tf.int32)"))
    return ids


def _operand(x: Any) -> Any:
    """A tensor, or a Variable as it is."""
    return x if hasattr(x, "dims") else convert_to_tensor(x)


# ------------------------------------------------------------------------------------------------ taking
def slice(input_: Any, begin: Any, size: Any, name: str | None = None) -> Any:
    """`size[k]` elements from `begin[k]` on along each axis k; -1 takes all that are left."""
    x = _operand(input_)
    starts, counts = dims_of(begin), dims_of(size)
    if not len(starts) == len(counts) == len(x.dims):
        raise InvalidArgumentError(
            places.with_place(f"tf.slice: begin and size must have {len(x.dims)} elements, got {len(starts)} and {len(counts)}")
        )
    taken: list[Dim] = []
    for k, (b, s, n) in enumerate(zip(starts, counts, x.dims, strict=True)):
        taken.append(n - b if isinstance(s, int) and s == -1 else s)
        if all(isinstance(d, int) for d in (b, s, n)) and (b < 0 or taken[-1] < 0 or b + taken[-1] > n):  # type: ignore[operator]
            raise InvalidArgumentError(
                places.with_place(f"Expected size[{k}] in [0, {n - b}], but got {s}; begin[{k}] is {b}, the size of axis {k} is {n}")
            )
    return slicing.slice_(x, begin=starts, size=tuple(taken), stride=(1,) * len(x.dims))


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Any:
    """`input_[begin:end:strides]` along every axis; bit k of a mask leaves out the bound k, makes it `...`, a new axis or an index."""
    starts, ends = dims_of(begin), dims_of(end)
    steps = dims_of(strides) if strides is not None else (1,) * len(starts)
    key: list[Any] = []
    for k, (b, f, s) in enumerate(zip(starts, ends, steps, strict=True)):
        bit = 1 << k
        if ellipsis_mask & bit:
            key.append(Ellipsis)
        elif new_axis_mask & bit:
            key.append(None)
        elif shrink_axis_mask & bit:
            key.append(b)
        else:
            key.append(builtins.slice(None if begin_mask & bit else b, None if end_mask & bit else f, s))
    return indexing.getitem(_operand(input_), tuple(key))


def gather(params: Any, indices: Any, validate_indices: Any = None, axis: Any = None, batch_dims: int = 0, name: str | None = None) -> Any:
    """Slices of `params` along `axis` (by default `batch_dims`) at `indices`; the first `batch_dims` axes of both belong together.

    InvalidArgumentError for an index that is negative or too large.
    """
    x, ids = _operand(params), _indices(indices)
    b = batch_dims + len(ids.dims) if batch_dims < 0 else int(batch_dims)
    if not x.dims:
        raise InvalidArgumentError(places.with_place("tf.gather: params must be at least 1 dimensional"))
    along = axis_of(b if axis is None else axis, len(x.dims), "gather")
    if not 0 <= b <= builtins.min(along, len(ids.dims)):
        raise ValueError(
            places.with_place(
                f"tf.gather: batch_dims = {b} must be less than or equal to axis = {along} and the rank of indices = {len(ids.dims)}"
            )
        )
    return gathering.gather(x, _in_range(ids, x.dims[along]), axis=along, batch_dims=b)


def _in_range(ids: Any, limit: Dim) -> Any:
    """Indices that are checked when a traced function runs; eagerly `gather` checks them itself."""
    return ids if thread.recorder is None else gathering.in_range(ids, limit=limit)


def gather_nd(params: Any, indices: Any, batch_dims: int = 0, name: str | None = None) -> Any:
    """Slices of `params` at index vectors, the last axis of `indices`; the first `batch_dims` axes of both belong together."""
    x, ids = _operand(params), _indices(indices)
    b = int(batch_dims)
    if not ids.dims or not isinstance(ids.dims[-1], int):
        raise InvalidArgumentError(
            places.with_place(f"tf.gather_nd: indices must have a last axis of known size, got shape {list(ids.dims)}")
        )
    depth = ids.dims[-1]
    if depth + b > len(x.dims):
        raise InvalidArgumentError(
            places.with_place(f"index innermost dimension length must be <= params rank; saw: {depth} vs. {len(x.dims) - b}")
        )
    batch, outer, tail = x.dims[:b], x.dims[b : b + depth], x.dims[b + depth :]
    flat = gathering.linear_index(ids, dims=outer)
    if b:
        count = sizes.product(batch)
        start = reshape(iota(size=count, dtype=dtypes.int64), shape=(*batch, *(1,) * (len(ids.dims) - 1 - b)))
        flat = flat + start * slicing.scalar_of(sizes.product(outer), dtypes.int64)
    single = depth == 1 and not b and len(ids.dims) == 2  # then the gradient is `IndexedSlices`, as of `gather`
    rows = x if single else reshape(x, shape=(sizes.product(batch) * sizes.product(outer), *tail))
    return gathering.gather(rows, flat)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    """`x` where `condition` holds, `y` elsewhere, broadcast together; alone, the int64 indices at which it is true."""
    c = convert_to_tensor(condition)
    if x is None and y is None:
        return selecting.where(c if c.dtype.kind == "b" else e.not_equal(c, e.zeros_like(c)))
    if x is None or y is None:
        raise ValueError(places.with_place("x and y must both be non-None or both be None."))
    if c.dtype.kind != "b":
        raise InvalidArgumentError(
            places.with_place(f"tf.where: condition must be bool, got {c.dtype.name}; write a comparison such as x > 0")
        )
    if not hasattr(x, "dims") and not hasattr(y, "dims"):
        x = convert_to_tensor(x)
        y = convert_to_tensor(y, x.dtype) if not hasattr(y, "dtype") else convert_to_tensor(y)
    return e.select(c, x, y)


def boolean_mask(tensor: Any, mask: Any, axis: Any = None, name: str = "boolean_mask") -> Any:
    """The elements of `tensor` at which `mask` holds; its axes are those of the tensor from `axis` (0) on."""
    x, m = _operand(tensor), convert_to_tensor(mask)
    if m.dtype.kind != "b":
        m = e.cast(m, dtype=dtypes.bool_)
    at = 0 if axis is None else axis_of(axis, len(x.dims), "boolean_mask")
    try:
        return selecting.mask_rows(x, m, at)
    except InvalidArgumentError:
        raise
    except ValueError as error:
        raise ValueError(places.with_place(str(error))) from None


# ------------------------------------------------------------------------------------------------ putting
def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Any:
    """Zeros of `shape` with `updates` added at index vectors; those at the same place are summed."""
    ids = _indices(indices)
    rows = convert_to_tensor(updates)
    whole = dims_of(shape)
    depth = _depth(ids, len(whole))
    outer, tail = whole[:depth], whole[depth:]
    _check_updates(ids, rows, tail)
    out = gathering.segment(rows, gathering.linear_index(ids, dims=outer), size=sizes.product(outer))
    return reshape(out, shape=whole)


def _depth(ids: Any, rank: int) -> int:
    if not ids.dims or not isinstance(ids.dims[-1], int) or ids.dims[-1] > rank:
        raise InvalidArgumentError(
            places.with_place(f"The inner dimension of indices {list(ids.dims)} must be known and at most the rank {rank} of the result")
        )
    return ids.dims[-1]


def _check_updates(ids: Any, rows: Any, tail: Sequence[Dim]) -> None:
    wanted = (*ids.dims[:-1], *tail)
    if len(wanted) != len(rows.dims) or any(
        isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(wanted, rows.dims, strict=True)
    ):
        raise InvalidArgumentError(
            places.with_place(
                f"Dimensions of updates {list(rows.dims)} must be those of indices but the last and of a slice: {list(wanted)}"
            )
        )


def scattered(tensor: Any, indices: Any, updates: Any, combine: str) -> Any:
    """`tensor` with `updates` combined into the slices that index vectors name."""
    x = convert_to_tensor(tensor)
    ids = _indices(indices)
    rows = convert_to_tensor(updates) if hasattr(updates, "dims") else convert_to_tensor(updates, x.dtype)
    depth = _depth(ids, len(x.dims))
    outer, tail = x.dims[:depth], x.dims[depth:]
    _check_updates(ids, rows, tail)
    flat = reshape(x, shape=(sizes.product(outer), *tail))
    return reshape(gathering.scatter(flat, gathering.linear_index(ids, dims=outer), rows, combine=combine), shape=x.dims)


def tensor_scatter_nd_update(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """`tensor` with the slices that index vectors name replaced by `updates`, the last of several winning."""
    return scattered(tensor, indices, updates, "set")


def tensor_scatter_nd_add(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """`tensor` with `updates` added at index vectors."""
    return scattered(tensor, indices, updates, "add")


def tensor_scatter_nd_sub(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """`tensor` with `updates` subtracted at index vectors."""
    x = convert_to_tensor(tensor)
    rows = convert_to_tensor(updates) if hasattr(updates, "dims") else convert_to_tensor(updates, x.dtype)
    return scattered(x, indices, e.neg(rows), "add")


def tensor_scatter_nd_max(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """`tensor` with the elements at index vectors raised to at least `updates`."""
    return scattered(tensor, indices, updates, "max")


def tensor_scatter_nd_min(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
    """`tensor` with the elements at index vectors lowered to at most `updates`."""
    return scattered(tensor, indices, updates, "min")


def dynamic_partition(data: Any, partitions: Any, num_partitions: int, name: str | None = None) -> list[Any]:
    """One tensor per partition, of the slices of `data` that `partitions` assigns to it."""
    x, parts = convert_to_tensor(data), _indices(partitions)
    parts = gathering.in_range(parts, limit=int(num_partitions))
    return [selecting.mask_rows(x, e.equal(parts, k)) for k in builtins.range(int(num_partitions))]


def dynamic_stitch(indices: Any, data: Any, name: str | None = None) -> Any:
    """The slices of all `data` put at the places that `indices` name; a later one wins. Places nobody names are 0."""
    ids = [_indices(i) for i in indices]
    parts: list[Any] = []
    for d in data:
        parts.append(convert_to_tensor(d) if hasattr(d, "dims") or not parts else convert_to_tensor(d, parts[0].dtype))
    tail = parts[0].dims[len(ids[0].dims) :]
    flat_ids = [reshape(i, shape=(sizes.product(i.dims),)) for i in ids]
    rows = [reshape(p, shape=(f.dims[0], *tail)) for p, f in zip(parts, flat_ids, strict=True)]
    places_ = flat_ids[0] if len(flat_ids) == 1 else joining.concat(*flat_ids, axis=0)
    values = rows[0] if len(rows) == 1 else joining.concat(*rows, axis=0)
    count = e.maximum(max_(places_, axis=(0,)), -1) + 1
    size = count.as_dim("N")
    return gathering.scatter(e.full(shape=(size, *tail), value=0, dtype=values.dtype), places_, values)


# ------------------------------------------------------------------------------------------------ distinct elements
def _distinct(x: Any, out_idx: Any) -> tuple[Any, Any, Dim]:
    values = convert_to_tensor(x)
    if len(values.dims) != 1:
        raise InvalidArgumentError(
            places.with_place(f"unique expects a 1D vector, got shape {list(values.dims)}; write tf.reshape(x, [-1])")
        )
    first = first_occurrence(values)
    mask = e.equal(first, iota(size=values.dims[0], dtype=dtypes.int64))
    found = selecting.where(mask)
    count = found.dims[0]
    starts = reshape(found, shape=(count,))
    return gathering.elements(values, starts), search_sorted(starts, first, dtype=as_dtype(out_idx)), count


def unique(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> Unique:
    """The distinct elements of a vector in the order of their first occurrence, and the place of each element among them."""
    y, place, _ = _distinct(x, out_idx)
    return Unique(y, place)


def unique_with_counts(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> UniqueWithCounts:
    """As `unique`, and how often each distinct element occurs."""
    y, place, count = _distinct(x, out_idx)
    ones = e.full(shape=place.dims, value=1, dtype=as_dtype(out_idx))
    return UniqueWithCounts(y, place, gathering.segment(ones, place, size=count))


def unravel_index(indices: Any, dims: Any, name: str | None = None) -> Any:
    """Positions in an array of shape `dims` as index vectors, one per column."""
    ids = _indices(indices)
    shape = dims_of(dims)
    rows, left = [], ids
    for k in reversed(builtins.range(len(shape))):
        d = slicing.scalar_of(shape[k], ids.dtype)
        rows.append(left if k == 0 else e.mod(left, d))
        left = e.floordiv(left, d)
    return joining.stack(*rows[::-1], axis=0)

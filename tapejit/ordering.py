"""Order and groups: `tf.sort`, `argsort`, `math.top_k`, `searchsorted`, the segment reductions, histograms and confusion matrices.

Equal elements keep their order (the lower index comes first); gradients of sorted values go back to where they came from.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tapejit.arrays import axis_of
from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import as_dtype
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.ops import elementwise as e
from tapejit.ops import sorting
from tapejit.ops.broadcasting import broadcast_like
from tapejit.ops.creation import iota
from tapejit.ops.gathering import elements, gather, in_range, linear_index, segment
from tapejit.ops.joining import stack
from tapejit.ops.reductions import max_, sum_
from tapejit.ops.shapes import reshape, transpose
from tapejit.ops.slicing import axis_slice, scalar_of
from tapejit.tensor import convert_to_tensor, dims_of

__all__ = [
    "argsort", "bincount", "confusion_matrix", "histogram_fixed_width", "histogram_fixed_width_bins", "in_top_k", "invert_permutation",
    "searchsorted", "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum", "sort", "top_k", "unsorted_segment_max",
    "unsorted_segment_mean", "unsorted_segment_min", "unsorted_segment_prod", "unsorted_segment_sqrt_n", "unsorted_segment_sum",
]  # fmt: skip


class TopKV2(NamedTuple):
    """What `top_k` gives: the largest elements of each row, and where they are."""

    values: Any
    indices: Any


# --------------------------------------------------------------------------------------------------- order
def _descending(direction: str) -> bool:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ValueError(places.with_place(f"Argument `direction` should be one of 'ASCENDING' or 'DESCENDING', got {direction!r}"))
    return direction == "DESCENDING"


def _last(x: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """`x` with `axis` last, and the permutation that did it (its own inverse)."""
    rank = len(x.dims)
    at = axis_of(axis, rank, "sort")
    perm = list(range(rank))
    perm[at], perm[-1] = perm[-1], perm[at]
    return (transpose(x, perm=tuple(perm)) if at != rank - 1 else x), tuple(perm)


def _back(x: Any, perm: tuple[int, ...]) -> Any:
    return x if perm == tuple(range(len(perm))) else transpose(x, perm=perm)


def _picked(x: Any, order: Any) -> Any:
    """The elements of each row of `x` at `order`."""
    return elements(x, order, axis=len(x.dims) - 1, batch_dims=len(x.dims) - 1)


def sort(values: Any, axis: Any = -1, direction: str = "ASCENDING", name: str | None = None) -> Any:
    """The elements along `axis` in order."""
    x, perm = _last(convert_to_tensor(values), axis)
    return _back(_picked(x, sorting.argsort(x, descending=_descending(direction))), perm)


def argsort(values: Any, axis: Any = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None) -> Any:
    """The int32 indices along `axis` that put it in order; always stable."""
    x, perm = _last(convert_to_tensor(values), axis)
    return _back(sorting.argsort(x, descending=_descending(direction)), perm)


def top_k(input: Any, k: Any = 1, sorted: bool = True, index_type: Any = dtypes.int32, name: str | None = None) -> TopKV2:
    """The `k` largest elements of the last axis and their indices, largest first, of equal ones the lower index first."""
    x = convert_to_tensor(input)
    if not x.dims:
        raise InvalidArgumentError(places.with_place("input must be at least 1-D, got a scalar"))
    (count,) = dims_of(k)
    n = x.dims[-1]
    if isinstance(count, int) and (count < 0 or (isinstance(n, int) and count > n)):
        raise InvalidArgumentError(places.with_place(f"input must have at least k columns. Had {n}, needed {count}"))
    order = axis_slice(sorting.argsort(x, descending=True, dtype=as_dtype(index_type)), len(x.dims) - 1, 0, count)
    return TopKV2(_picked(x, order), order)


def in_top_k(targets: Any, predictions: Any, k: Any, name: str | None = None) -> Any:
    """Whether each row's element at its target is among its `k` largest; ties count as in, anything not finite as out."""
    p, t = convert_to_tensor(predictions), convert_to_tensor(targets)
    own = gather(p, in_range(t, limit=p.dims[1]), axis=1, batch_dims=1)
    column = reshape(own, shape=(*own.dims, 1))
    ahead = sum_(e.cast(e.greater(p, column), dtype=dtypes.int32), axis=(1,))
    return e.logical_and(e.less(ahead, k if hasattr(k, "dims") else int(k)), e.is_finite(own))


def searchsorted(sorted_sequence: Any, values: Any, side: str = "left", out_type: Any = dtypes.int32, name: str | None = None) -> Any:
    """Where each value would go in the sorted last axis, before ("left") or after ("right") equal elements."""
    if side not in ("left", "right"):
        raise ValueError(places.with_place(f"side must be either 'right' or 'left'. Saw: {side}."))
    s = convert_to_tensor(sorted_sequence)
    v = convert_to_tensor(values) if hasattr(values, "dims") else convert_to_tensor(values, s.dtype)
    return sorting.search_sorted(s, v, right=side == "right", dtype=as_dtype(out_type))


def invert_permutation(x: Any, name: str | None = None) -> Any:
    """y with y[x[i]] = i."""
    perm = convert_to_tensor(x)
    n = perm.dims[0]
    return segment(iota(size=n, dtype=perm.dtype), in_range(perm, limit=n), size=n)


# ------------------------------------------------------------------------------------------------- segments
def _rows(data: Any) -> Any:
    return convert_to_tensor(data)


def _ids(ids: Any) -> Any:
    out = convert_to_tensor(ids)
    if out.dtype.kind not in "iu":
        raise TypeError(places.with_place(f"segment_ids must be integers, got {out.dtype.name}; write tf.cast(ids, tf.int32)"))
    return out


def _sorted_segments(data: Any, segment_ids: Any) -> tuple[Any, Any, Dim]:
    """Rows, ids and the number of segments for sorted ids."""
    rows, ids = _rows(data), _ids(segment_ids)
    if len(ids.dims) != 1:
        raise InvalidArgumentError(places.with_place(f"segment_ids should be a vector, got shape {list(ids.dims)}"))
    if hasattr(ids, "numpy"):
        values = ids.numpy()
        if values.size and (values[0] < 0 or (values[1:] < values[:-1]).any()):
            raise InvalidArgumentError(places.with_place("segment ids are not increasing; write tf.math.unsorted_segment_sum and the like"))
    count: Dim = 0
    if not (isinstance(ids.dims[0], int) and ids.dims[0] == 0):
        count = (max_(ids, axis=(0,)) + 1).as_dim("N")
    return rows, ids, count


def _filled(out: Any, ids: Any, size: Dim, value: Any) -> Any:
    """`out` with `value` in the segments without rows."""
    count = segment(e.full(shape=ids.dims, value=1, dtype=dtypes.int32), ids, size=size)
    empty = reshape(e.equal(count, 0), shape=(size, *(1,) * (len(out.dims) - 1)))
    return e.select(empty, e.full(shape=(), value=value, dtype=out.dtype), out)


def segment_sum(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """Sums of the rows with equal id; ids are sorted. A missing id gives 0."""
    rows, ids, size = _sorted_segments(data, segment_ids)
    return segment(rows, ids, size=size)


def segment_prod(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """Products of the rows with equal id; ids are sorted. A missing id gives 1."""
    rows, ids, size = _sorted_segments(data, segment_ids)
    return segment(rows, ids, size=size, combine="mul")


def segment_mean(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """Means of the rows with equal id; ids are sorted. A missing id gives 0."""
    rows, ids, size = _sorted_segments(data, segment_ids)
    return _mean(rows, ids, size)


def segment_max(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """Maxima of the rows with equal id; ids are sorted. A missing id gives 0."""
    rows, ids, size = _sorted_segments(data, segment_ids)
    return _filled(segment(rows, ids, size=size, combine="max"), ids, size, 0)


def segment_min(data: Any, segment_ids: Any, name: str | None = None) -> Any:
    """Minima of the rows with equal id; ids are sorted. A missing id gives 0."""
    rows, ids, size = _sorted_segments(data, segment_ids)
    return _filled(segment(rows, ids, size=size, combine="min"), ids, size, 0)


def _counts(rows: Any, ids: Any, size: Dim) -> Any:
    """How many rows each segment has, at least 1, in a shape that divides its sum."""
    dtype = rows.dtype
    count = segment(e.full(shape=ids.dims, value=1, dtype=dtype), ids, size=size)
    return reshape(e.maximum(count, 1), shape=(size, *(1,) * (len(rows.dims) - len(ids.dims))))


def _mean(rows: Any, ids: Any, size: Dim) -> Any:
    total = segment(rows, ids, size=size)
    count = _counts(rows, ids, size)
    return total / count if rows.dtype.kind in "fc" else e.floordiv(total, count)


def _unsorted(data: Any, segment_ids: Any, num_segments: Any, combine: str) -> Any:
    (size,) = dims_of(num_segments)
    if isinstance(size, int) and size < 0:
        raise InvalidArgumentError(places.with_place(f"num_segments must not be negative, got {size}"))
    return segment(_rows(data), _ids(segment_ids), size=size, combine=combine)


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """Sums of the rows with equal id, `num_segments` of them; rows with a negative id are left out."""
    return _unsorted(data, segment_ids, num_segments, "add")


def unsorted_segment_prod(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """Products of the rows with equal id; 1 without rows."""
    return _unsorted(data, segment_ids, num_segments, "mul")


def unsorted_segment_max(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """Maxima of the rows with equal id; the smallest value of the dtype without rows."""
    return _unsorted(data, segment_ids, num_segments, "max")


def unsorted_segment_min(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """Minima of the rows with equal id; the largest value of the dtype without rows."""
    return _unsorted(data, segment_ids, num_segments, "min")


def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """Means of the rows with equal id; 0 without rows."""
    return _mean(_rows(data), _ids(segment_ids), dims_of(num_segments)[0])


def unsorted_segment_sqrt_n(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """Sums of the rows with equal id, divided by the square root of their number."""
    rows, ids, size = _rows(data), _ids(segment_ids), dims_of(num_segments)[0]
    return segment(rows, ids, size=size) / e.sqrt(_counts(rows, ids, size))


# ------------------------------------------------------------------------------------------------- counting
def bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = dtypes.int32,
    name: str | None = None,
    axis: int | None = None,
    binary_output: bool = False,
) -> Any:
    """How often each of 0, 1, ... occurs, or the sum of its weights; with `axis=-1` per row. Values from `maxlength` on are left out."""
    x = convert_to_tensor(arr)
    if x.dtype.kind not in "iu":
        raise TypeError(places.with_place(f"tf.math.bincount: arr must be integers, got {x.dtype.name}; write tf.cast(arr, tf.int32)"))
    if axis not in (None, 0, -1):
        raise ValueError(places.with_place(f"Unsupported value for argument axis={axis}. Only 0 and -1 are currently supported."))
    if len(x.dims) > 1 and axis != -1:
        x = reshape(x, shape=(sizes.product(x.dims),))
        weights = None if weights is None else reshape(convert_to_tensor(weights), shape=x.dims)
    empty = isinstance(sizes.product(x.dims), int) and sizes.product(x.dims) == 0
    size: Dim = 0 if empty else (max_(x, axis=tuple(range(len(x.dims)))) + 1).as_dim("N")
    if minlength is not None:
        size = sizes.maximum(size, dims_of(minlength)[0])
    if maxlength is not None:
        size = sizes.minimum(size, dims_of(maxlength)[0])
    if hasattr(x, "numpy") and not empty and (x.numpy() < 0).any():
        raise InvalidArgumentError(places.with_place("Input arr must be non-negative!"))
    values = e.full(shape=x.dims, value=1, dtype=as_dtype(dtype)) if weights is None else convert_to_tensor(weights)
    wide = scalar_of(size, x.dtype)
    ids = e.select(e.less(x, wide), x, e.full(shape=(), value=-1, dtype=x.dtype)) if maxlength is not None else x
    if len(x.dims) > 1:
        rows = x.dims[0]
        offset = reshape(iota(size=rows, dtype=x.dtype), shape=(rows, 1)) * wide
        ids = e.select(e.less(ids, 0), ids, ids + offset)
        out = reshape(segment(values, ids, size=rows * size), shape=(rows, size))
    else:
        out = segment(values, ids, size=size)
    return e.minimum(out, 1) if binary_output else out


def histogram_fixed_width_bins(values: Any, value_range: Any, nbins: Any = 100, dtype: Any = dtypes.int32, name: str | None = None) -> Any:
    """For each value the bin of `nbins` equal ones over `value_range` it falls into; values outside fall into the nearest."""
    x = convert_to_tensor(values)
    low_high = convert_to_tensor(value_range) if hasattr(value_range, "dims") else convert_to_tensor(value_range, x.dtype)
    count = int(nbins)
    if hasattr(low_high, "numpy") and low_high.numpy()[0] >= low_high.numpy()[1]:
        raise InvalidArgumentError(
            places.with_place(f"value_range should satisfy value_range[0] < value_range[1], but got {low_high.numpy().tolist()}")
        )
    scaled = (x - low_high[0]) / (low_high[1] - low_high[0])
    bins = e.cast(e.floor(float(count) * scaled), dtype=as_dtype(dtype))
    return e.minimum(e.maximum(bins, 0), count - 1)


def histogram_fixed_width(values: Any, value_range: Any, nbins: Any = 100, dtype: Any = dtypes.int32, name: str | None = None) -> Any:
    """How many values fall into each of `nbins` equal bins over `value_range`."""
    bins = histogram_fixed_width_bins(values, value_range, nbins)
    return segment(e.full(shape=bins.dims, value=1, dtype=as_dtype(dtype)), bins, size=int(nbins))


def confusion_matrix(
    labels: Any, predictions: Any, num_classes: Any = None, weights: Any = None, dtype: Any = dtypes.int32, name: str | None = None
) -> Any:
    """How often (or with which weight) label i was predicted as j, at [i, j]."""
    t, p = convert_to_tensor(labels), convert_to_tensor(predictions)
    t, p = e.cast(t, dtype=dtypes.int64), e.cast(p, dtype=dtypes.int64)
    if len(p.dims) == len(t.dims) + 1:
        p = reshape(p, shape=t.dims)
    elif len(t.dims) == len(p.dims) + 1:
        t = reshape(t, shape=p.dims)
    if num_classes is None:
        (size,) = ((e.maximum(max_(t, axis=(0,)), max_(p, axis=(0,))) + 1).as_dim("N"),)
    else:
        (size,) = dims_of(num_classes)
    wanted = as_dtype(dtype)
    values = e.full(shape=t.dims, value=1, dtype=wanted) if weights is None else e.cast(convert_to_tensor(weights), dtype=wanted)
    flat = linear_index(stack(t, p, axis=1), dims=(size, size))
    return reshape(segment(broadcast_like(values, t.dims), flat, size=size * size), shape=(size, size))

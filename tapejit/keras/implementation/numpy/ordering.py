"""Functions of order: sorting, quantiles, searching, distinct elements, counting in bins."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tapejit as tf
from tapejit.core import sizes
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.creation import linspace
from tapejit.keras.implementation.numpy.promotion import floating, tensors, wide
from tapejit.keras.implementation.numpy.shapes import moveaxis, ravel
from tapejit.keras.implementation.sparse import keeps_zeros
from tapejit.math import axes_of
from tapejit.ops.creation import iota
from tapejit.ops.slicing import scalar_of
from tapejit.sparse import indices_at, places_of, summed
from tapejit.tensor import dims_of

__all__ = [
    "argpartition", "argsort", "bincount", "digitize", "histogram", "isin", "median", "nanmedian", "nanpercentile", "nanquantile",
    "percentile", "quantile", "searchsorted", "sort", "unique",
]  # fmt: skip


# ------------------------------------------------------------------------------------------------ sorting
def sort(x: Any, axis: int | None = -1) -> Any:
    x = convert_to_tensor(x)
    return tf.sort(ravel(x)) if axis is None else tf.sort(x, axis)


def argsort(x: Any, axis: int | None = -1) -> Any:
    """The int32 indices that put `axis` in order; without `axis`, or of a scalar, those of the flat tensor."""
    x = convert_to_tensor(x)
    return tf.argsort(ravel(x)) if axis is None or not x.dims else tf.argsort(x, axis)


def argpartition(x: Any, kth: int, axis: int | None = -1) -> Any:
    """Indices that put no greater element before the `kth` and no smaller one behind it: those of the sorted order."""
    return argsort(x, axis)


# ------------------------------------------------------------------------------------------------ quantiles
def quantile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """The elements a share `q` of the way through the sorted ones along `axis` (None: all); the axis of `q`, if any, comes first.

    Between two elements `method` takes the straight line ("linear"), the "lower", "higher" or "nearest" one, or their "midpoint".
    ValueError for another method. NaN if there is one.
    """
    return _quantile(x, q, axis, method, keepdims, without_nan=False)


def nanquantile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """`quantile` of the elements that are not NaN; NaN where there is none."""
    return _quantile(x, q, axis, method, keepdims, without_nan=True)


def percentile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    return quantile(x, floating(q) / 100, axis, method, keepdims)


def nanpercentile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    return nanquantile(x, floating(q) / 100, axis, method, keepdims)


def median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return quantile(x, 0.5, axis, "linear", keepdims)


def nanmedian(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return nanquantile(x, 0.5, axis, "linear", keepdims)


_BETWEEN: dict[str, Callable[[Any, Any, Any], Any]] = {
    "linear": lambda low, high, share: tf.where(low == high, low, low + (high - low) * share),
    "lower": lambda low, high, share: low,
    "higher": lambda low, high, share: tf.where(share > 0, high, low),
    "midpoint": lambda low, high, share: tf.where(share > 0, (low + high) * 0.5, low),
}


def _quantile(x: Any, q: Any, axis: Any, method: str, keepdims: bool, without_nan: bool) -> Any:
    if method not in (*_BETWEEN, "nearest"):
        raise ValueError(f"method must be one of {', '.join(_BETWEEN)}, nearest. Received: method={method}")
    x = floating(x)
    given, x = x, wide(x)
    q = cast(q, x.dtype)
    axes = axes_of(x, axis)
    kept = [1 if k in axes else d for k, d in enumerate(x.dims)]
    lead = [d for k, d in enumerate(x.dims) if k not in axes]
    count = sizes.product(x.dims[a] for a in axes)
    last = tuple(range(-len(axes), 0))
    rows = tf.sort(tf.reshape(moveaxis(x, axes, last) if axes else x, [*lead, count]))  # NaN goes last

    shares = tf.reshape(q, [*q.dims, *[1] * len(lead)])
    if without_nan:
        numbers = tf.reduce_sum(tf.cast(tf.logical_not(tf.math.is_nan(rows)), rows.dtype), -1)
        top = tf.maximum(numbers - 1, 0)
    else:
        top = (scalar_of(count, tf.int64) if not isinstance(count, int) else tf.constant(count)) - 1
        top = tf.cast(top, rows.dtype)
    place = shares * top
    below = tf.round(place) if method == "nearest" else tf.floor(place)

    def at(place: Any) -> Any:
        """The elements of the rows at these places, of shape [*q, *lead]."""
        wanted = tf.reshape(tf.cast(tf.minimum(place, top), tf.int32), [-1, *place.dims[len(q.dims) :]])
        wanted = tf.broadcast_to(wanted, [wanted.dims[0], *lead])
        picked = tf.gather(rows, moveaxis(wanted, 0, -1), axis=len(lead), batch_dims=len(lead))
        return tf.reshape(moveaxis(picked, -1, 0), [*q.dims, *lead])

    low = at(below)
    out = low if method in ("nearest", "lower") else _BETWEEN[method](low, at(below + 1), place - below)
    if not without_nan:
        out = tf.where(tf.math.is_nan(rows[..., -1]), math.nan, out)
    out = cast(out, given.dtype)
    return tf.reshape(out, [*q.dims, *kept]) if keepdims else out


# ------------------------------------------------------------------------------------------------ searching
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """The int32 places where `values` would go in a sorted vector, before ("left") or behind ("right") equal elements."""
    sequence, values = tensors(sorted_sequence, values)
    if len(sequence.dims) != 1:
        raise ValueError(
            "`searchsorted` only supports 1-D sorted sequences. You can use `keras.ops.vectorized_map` to extend it to N-D sequences. "
            f"Received: sorted_sequence.shape={sequence.shape}"
        )
    found = tf.searchsorted(sequence, ravel(values), side)
    return found if len(values.dims) == 1 else tf.reshape(found, values.dims)


@keeps_zeros
def digitize(x: Any, bins: Any) -> Any:
    """The number of the bin, of those that begin at the sorted `bins`, into which each element falls: 0 is before the first."""
    return searchsorted(bins, x, "right")


def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element of `x1` is among those of `x2`; with `invert` whether it is not."""
    x1, x2 = tensors(x1, x2)
    sequence = tf.sort(ravel(x2))
    if isinstance(sequence.dims[0], int) and sequence.dims[0] == 0:
        return tf.fill(x1.dims, invert)
    place = tf.minimum(searchsorted(sequence, x1), scalar_of(sequence.dims[0] - 1, tf.int32))
    found = tf.equal(tf.gather(sequence, place), x1)
    return tf.logical_not(found) if invert else found


# ------------------------------------------------------------------------------------------------ counting
def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often each of 0, 1, ... occurs in a vector or in each row of a matrix, or the sum of its weights; `minlength` numbers or more."""
    if sparse or isinstance(x, tf.SparseTensor):
        return _sparse_counts(x, weights, minlength)
    x = convert_to_tensor(x)
    if weights is not None:
        x_, weights = tensors(x, weights)
        weights = cast(weights, x_.dtype)
    return tf.math.bincount(cast(x, "int32"), weights, minlength, axis=-1)


def _sparse_counts(x: Any, weights: Any, minlength: int) -> Any:
    """`bincount` as a sparse tensor; what has no place in a sparse `x` is not counted. ValueError for weights of other places."""
    if isinstance(x, tf.SparseTensor) and weights is not None:
        if not isinstance(weights, tf.SparseTensor):
            raise ValueError("`x` and `weights` must both be sparse tensors")
        weights = weights.values
    dims = x.dims if isinstance(x, tf.SparseTensor) else convert_to_tensor(x).dims
    rows = x.indices if isinstance(x, tf.SparseTensor) else indices_at(tf.range(tf.size(x), dtype=tf.int64), dims)
    numbers = cast(ravel(x.values if isinstance(x, tf.SparseTensor) else x), "int64")
    counted = tf.ones_like(numbers, tf.int32) if weights is None else ravel(weights)
    size = tf.maximum(tf.reduce_max(numbers) + 1, minlength)
    dims = (*dims[:-1], dims_of(size)[0])
    return summed(places_of(tf.concat([rows[:, :-1], tf.expand_dims(numbers, 1)], 1), dims), counted, dims)


def histogram(x: Any, bins: Any = 10, range: Any = None) -> tuple[Any, Any]:
    """How many elements fall into each bin, and the edges: `bins` equal bins over `range` (or all elements), or bins with these edges.

    The upper edge belongs to the last bin.
    """
    x = floating(ravel(x))
    if isinstance(bins, int):
        low, high = (tf.reduce_min(x), tf.reduce_max(x)) if range is None else (cast(v, x.dtype) for v in range)
        apart = tf.cast(tf.equal(low, high), x.dtype) * 0.5
        edges = linspace(low - apart, high + apart, bins + 1)
    else:
        edges = cast(bins, x.dtype)
    (count,) = edges.dims
    place = searchsorted(edges, x, "right") - 1
    place = tf.where(x == edges[-1], scalar_of(count - 2, tf.int32), place)
    inside = tf.logical_and(x >= edges[0], x <= edges[-1])
    counts = tf.math.unsorted_segment_sum(tf.cast(inside, x.dtype), tf.where(inside, place, 0), count - 1)
    return counts, edges


def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The distinct elements (with `axis` slices) in order, and on demand where each first occurs, which of them each is, how often.

    With `size` there are that many: the first ones, or `fill_value` (by default the first) behind the last.
    """
    x = convert_to_tensor(x)
    rows = ravel(x) if axis is None else moveaxis(x, axis, 0)
    n = rows.dims[0]
    order = _row_order(rows)
    ordered = tf.gather(rows, order)
    other = tf.not_equal(ordered[1:], ordered[:-1])
    other = tf.reduce_any(tf.reshape(other, [other.dims[0], sizes.product(other.dims[1:])]), 1)
    first = tf.concat([tf.fill([sizes.minimum(n, 1)], True), other], 0)
    group = tf.cumsum(tf.cast(first, tf.int32)) - 1
    starts = tf.reshape(tf.cast(tf.where(first), tf.int32), [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(group), group, [starts.dims[0]])
    values, index = tf.gather(ordered, starts), tf.gather(order, starts)
    if size is not None:
        values, index, counts = (_of_size(v, size, f) for v, f in ((values, fill_value), (index, None), (counts, 0)))
    inverse = tf.gather(group, tf.math.invert_permutation(order))
    out = [values if axis is None else moveaxis(values, 0, axis)]
    if return_index:
        out.append(index)
    if return_inverse:
        out.append(tf.reshape(inverse, x.dims) if axis is None else inverse)
    if return_counts:
        out.append(counts)
    return tuple(out) if len(out) > 1 else out[0]


def _row_order(rows: Any) -> Any:
    """The stable order of rows by their first element, then the second and so on."""
    columns = tf.reshape(rows, [rows.dims[0], sizes.product(rows.dims[1:])])
    if not isinstance(columns.dims[1], int):
        raise NotImplementedError("unique along an axis needs slices of known size")
    order = iota(size=rows.dims[0], dtype=tf.int32)
    for k in reversed(range(columns.dims[1])):
        order = tf.gather(order, tf.argsort(tf.gather(columns[:, k], order), stable=True))
    return order


def _of_size(x: Any, size: int, fill_value: Any) -> Any:
    """The first `size` rows; behind the last there is `fill_value`, or the first row again."""
    place = iota(size=size, dtype=tf.int32)
    there = place < scalar_of(x.dims[0], tf.int32)
    rows = tf.gather(x, tf.where(there, place, 0))
    if fill_value is None:
        return rows
    there = tf.reshape(there, [-1, *[1] * (len(x.dims) - 1)])
    return tf.where(there, rows, cast(fill_value, x.dtype))

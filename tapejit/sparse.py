"""`tf.sparse`: functions of sparse tensors. Values are computed with ordinary ops, so all of them are differentiable and traceable.

A place is also one number, its place in the flat tensor: `places_of` gives these numbers, and what joins tensors works on them. Where the
number of elements of a result depends on the places, a traced function finds it when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapejit.arrays import concat as _concat
from tapejit.arrays import repeat
from tapejit.arrays import reshape as _reshape
from tapejit.arrays import transpose as _transpose
from tapejit.casting import cast
from tapejit.core import dtypes, places, sizes
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.math import add as _add
from tapejit.math import axes_of, conj, cumsum, unsorted_segment_sum
from tapejit.math import maximum as _maximum
from tapejit.math import minimum as _minimum
from tapejit.ops import elementwise as e
from tapejit.ops.creation import iota
from tapejit.ops.slicing import scalar_of
from tapejit.ordering import argsort, invert_permutation, searchsorted
from tapejit.selection import gather, gather_nd, scatter_nd, unique, where
from tapejit.sparse_tensor import SparseTensor
from tapejit.tensor import convert_to_tensor, dims_of

__all__ = [
    "SparseTensor", "add", "concat", "expand_dims", "from_dense", "map_values", "maximum", "minimum", "reduce_sum", "reorder", "reshape",
    "sparse_dense_matmul", "to_dense", "transpose",
]  # fmt: skip

_at = SparseTensor.at


# ------------------------------------------------------------------------------------------------ places as numbers
def places_of(indices: Any, dims: Sequence[Dim]) -> Any:
    """The place in the flat tensor of each index vector: int64, [n]."""
    place = e.full(shape=(indices.dims[0],), value=0, dtype=dtypes.int64)
    for k, d in enumerate(dims):
        place = place * scalar_of(d, dtypes.int64) + indices[:, k]
    return place


def indices_at(place: Any, dims: Sequence[Dim]) -> Any:
    """The index vectors of places in a flat tensor: int64, [n, rank]."""
    columns = []
    for d in reversed(dims):
        # an empty axis has no places to divide
        size = scalar_of(sizes.maximum(d, 1), dtypes.int64)
        columns.append(place % size)
        place = place // size
    if not columns:
        return e.full(shape=(place.dims[0], 0), value=0, dtype=dtypes.int64)
    return _concat([_reshape(c, (-1, 1)) for c in reversed(columns)], 1)


def distinct(place: Any) -> tuple[Any, Any]:
    """The distinct numbers in order, and where among them each one is."""
    found, at = unique(place, dtypes.int64)
    order = argsort(found)
    return gather(found, order), gather(invert_permutation(cast(order, dtypes.int64)), at)


def _sums(values: Any, at: Any, count: Any) -> Any:
    """The sums of the values that belong to each of `count` places; of bools whether one is true."""
    if values.dtype.kind == "b":
        return cast(unsorted_segment_sum(cast(values, dtypes.int32), at, count), dtypes.bool_)
    return unsorted_segment_sum(values, at, count)


def summed(place: Any, values: Any, dims: tuple[Dim, ...]) -> SparseTensor:
    """The sparse tensor of values at places in the flat tensor; those at one place are summed."""
    found, at = distinct(place)
    return _at(indices_at(found, dims), _sums(values, at, found.dims[:1]), dims)


def union(op: Callable[[Any, Any], Any], a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """`op` of two sparse tensors of one shape where either has an element; op(0, 0) is 0. ValueError for another shape."""
    dims = same_dims(a, b)
    if a.indices is b.indices:
        return a.with_values(op(a.values, b.values))
    found, at = distinct(_concat([places_of(a.indices, dims), places_of(b.indices, dims)], 0))
    n = a.indices.dims[0]
    one, two = (_sums(x.values, ids, found.dims[:1]) for x, ids in ((a, at[:n]), (b, at[n:])))
    return _at(indices_at(found, dims), op(one, two), dims)


def looked_up(a: SparseTensor, b: SparseTensor) -> Any:
    """What `b` has at the places of `a`, 0 where that is none of its places. ValueError for another shape."""
    dims = same_dims(a, b)
    if a.indices is b.indices:
        return b.values
    found, at = distinct(_concat([places_of(a.indices, dims), places_of(b.indices, dims)], 0))
    n = a.indices.dims[0]
    return gather(_sums(b.values, at[n:], found.dims[:1]), at[:n])


def same_dims(a: SparseTensor, b: SparseTensor) -> tuple[Dim, ...]:
    """The sizes that both have. ValueError if they differ."""
    if len(a.dims) != len(b.dims) or any(isinstance(x, int) and isinstance(y, int) and x != y for x, y in zip(a.dims, b.dims, strict=True)):
        raise ValueError(places.with_place(f"sparse tensors of shapes {a.shape} and {b.shape}: they have to be of one shape"))
    return tuple(map(_known, a.dims, b.dims))


def _known(x: Dim, y: Dim) -> Dim:
    """Of two dims that are one size, the one that is a number if there is such a one."""
    return y if isinstance(x, sizes.Size) else x


# ------------------------------------------------------------------------------------------------ from and to dense
def from_dense(tensor: Any, name: str | None = None) -> SparseTensor:
    """The elements of `tensor` that are not 0."""
    x = convert_to_tensor(tensor)
    indices = where(x if x.dtype.kind == "b" else e.not_equal(x, e.zeros_like(x)))
    return _at(indices, gather_nd(x, indices), x.dims)


def to_dense(sp_input: SparseTensor, default_value: Any = None, validate_indices: bool = True, name: str | None = None) -> Any:
    """The tensor, with `default_value` (0, False) where there is no element; elements at one place are summed."""
    if sp_input.dtype.kind == "b":  # no sums of bools
        return cast(to_dense(map_values(cast, sp_input, dtypes.int32), default_value), dtypes.bool_)
    dense = scatter_nd(sp_input.indices, sp_input.values, sp_input.dims)
    if default_value is None:
        return dense
    there = scatter_nd(sp_input.indices, e.full(shape=sp_input.values.dims, value=1, dtype=dtypes.int32), sp_input.dims)
    return where(e.greater(there, 0), dense, cast(default_value, sp_input.dtype))


def reorder(sp_input: SparseTensor, name: str | None = None) -> SparseTensor:
    """The same with its places in row-major order."""
    order = argsort(places_of(sp_input.indices, sp_input.dims))
    return _at(gather(sp_input.indices, order), gather(sp_input.values, order), sp_input.dims)


# ------------------------------------------------------------------------------------------------ elements
def map_values(op: Callable[..., Any], *args: Any, **kwargs: Any) -> SparseTensor:
    """`op` of the values of the sparse tensors among the arguments, which have the same places. ValueError if there is none."""
    given = [x for x in (*args, *kwargs.values()) if isinstance(x, SparseTensor)]
    if not given:
        raise ValueError(places.with_place("No SparseTensor in argument list of map_values"))

    def values(x: Any) -> Any:
        return x.values if isinstance(x, SparseTensor) else x

    return given[0].with_values(op(*map(values, args), **{k: values(x) for k, x in kwargs.items()}))


def add(a: Any, b: Any, threshold: Any = 0) -> Any:
    """The sum: of two sparse tensors a sparse one, with a dense tensor a dense one.

    A `threshold` above 0 leaves out elements of a sparse sum whose absolute value is smaller.
    """
    if not (isinstance(a, SparseTensor) and isinstance(b, SparseTensor)):
        return _add(*(to_dense(x) if isinstance(x, SparseTensor) else convert_to_tensor(x) for x in (a, b)))
    total = union(_add, a, b)
    if isinstance(threshold, int | float) and threshold == 0:
        return total
    kept = _reshape(where(e.abs_(total.values) >= threshold), (-1,))
    return _at(gather(total.indices, kept), gather(total.values, kept), total.dims)


def maximum(sp_a: SparseTensor, sp_b: SparseTensor, name: str | None = None) -> SparseTensor:
    """The larger element at every place."""
    return union(_maximum, sp_a, sp_b)


def minimum(sp_a: SparseTensor, sp_b: SparseTensor, name: str | None = None) -> SparseTensor:
    """The smaller element at every place."""
    return union(_minimum, sp_a, sp_b)


def reduce_sum(
    sp_input: SparseTensor, axis: Any = None, keepdims: bool | None = None, output_is_sparse: bool = False, name: str | None = None
) -> Any:
    """The sums along `axis` (an int, several, or None for all)."""
    dims = sp_input.dims
    axes = axes_of(sp_input, axis)
    kept = [k for k in range(len(dims)) if k not in axes]
    out = summed(places_of(gather(sp_input.indices, kept, axis=1), [dims[k] for k in kept]), sp_input.values, tuple(dims[k] for k in kept))
    if keepdims:
        out = reshape(out, [1 if k in axes else d for k, d in enumerate(dims)])
    return out if output_is_sparse else to_dense(out)


# ------------------------------------------------------------------------------------------------ arrangement
def reshape(sp_input: SparseTensor, shape: Any, name: str | None = None) -> SparseTensor:
    """The same elements in row-major order with these sizes, of which one may be -1. InvalidArgumentError if there are not as many."""
    wanted = dims_of(shape)
    count = sizes.product(sp_input.dims)
    if any(isinstance(d, int) and d == -1 for d in wanted):
        rest = sizes.product(tuple(d for d in wanted if not (isinstance(d, int) and d == -1)))
        wanted = tuple(count // rest if isinstance(d, int) and d == -1 else d for d in wanted)
    found = sizes.product(wanted)
    if isinstance(found, int) and isinstance(count, int) and found != count:
        raise InvalidArgumentError(
            places.with_place(f"tf.sparse.reshape: a tensor of shape {sp_input.shape} has {count} places, the shape {list(wanted)} {found}")
        )
    return _at(indices_at(places_of(sp_input.indices, sp_input.dims), wanted), sp_input.values, wanted)


def transpose(sp_input: SparseTensor, perm: Any = None, name: str | None = None) -> SparseTensor:
    """The axes in the order of `perm`, by default turned around."""
    rank = len(sp_input.dims)
    order = list(reversed(range(rank))) if perm is None else [int(p) % rank for p in perm]
    return reorder(_at(gather(sp_input.indices, order, axis=1), sp_input.values, tuple(sp_input.dims[p] for p in order)))


def expand_dims(sp_input: SparseTensor, axis: Any = None, name: str | None = None) -> SparseTensor:
    """A new axis of size 1 before `axis`, by default after all others."""
    rank = len(sp_input.dims)
    at = -1 if axis is None else int(axis)
    if not -rank - 1 <= at <= rank:
        raise ValueError(places.with_place(f"axis {axis} not in range [{-rank - 1}, {rank}]"))
    at %= rank + 1
    return reshape(sp_input, [*sp_input.dims[:at], 1, *sp_input.dims[at:]])


def concat(axis: int, sp_inputs: Sequence[SparseTensor], name: str | None = None) -> SparseTensor:
    """Sparse tensors one after another along `axis`."""
    rank = len(sp_inputs[0].dims)
    if not -rank <= axis < rank:
        raise ValueError(places.with_place(f"axis {axis} not in range [{-rank}, {rank})"))
    axis %= rank
    before: Dim = 0
    moved = []
    for x in sp_inputs:
        columns = [x.indices[:, k : k + 1] + (scalar_of(before, dtypes.int64) if k == axis else 0) for k in range(rank)]
        moved.append(_concat(columns, 1))
        before = before + x.dims[axis]
    dims = list(sp_inputs[0].dims)
    for x in sp_inputs[1:]:
        for k, d in enumerate(x.dims):
            if k != axis:
                dims[k] = _known(dims[k], d)
    dims[axis] = before
    joined = _at(_concat(moved, 0), _concat([x.values for x in sp_inputs], 0), tuple(dims))
    return joined if axis == 0 else reorder(joined)


# ------------------------------------------------------------------------------------------------ products
def sparse_dense_matmul(sp_a: Any, b: Any, adjoint_a: bool = False, adjoint_b: bool = False, name: str | None = None) -> Any:
    """The product of a sparse and a dense matrix, in either order; an adjoint one is transposed and conjugated. Both have one dtype."""
    a, b = _adjoint(sp_a) if adjoint_a else sp_a, _adjoint(b) if adjoint_b else b
    if isinstance(a, SparseTensor):
        return product(a, b if hasattr(b, "dims") else convert_to_tensor(b, a.dtype))
    return turned(product(turned(b), turned(a if hasattr(a, "dims") else convert_to_tensor(a, b.dtype))))


def _adjoint(x: Any) -> Any:
    if isinstance(x, SparseTensor):
        return map_values(conj, turned(x))
    return conj(turned(convert_to_tensor(x)))


def turned(x: Any) -> Any:
    """Matrices, sparse or dense, with their last two axes swapped."""
    rank = len(x.dims)
    order = [*range(rank - 2), rank - 1, rank - 2]
    return transpose(x, order) if isinstance(x, SparseTensor) else _transpose(x, order)


def product(a: SparseTensor, b: Any) -> Any:
    """The products of sparse matrices [..., m, k] and dense ones [..., k, n], dense; the axes before the last two are the same, or `b` has
    none of them. `b` may be a variable, whose gradient then is IndexedSlices of the rows that were used.
    """
    *lead, m, _ = a.dims
    shared = len(b.dims) > 2
    if shared and len(b.dims) != len(a.dims):
        raise ValueError(
            places.with_place(
                f"sparse matrices of shape {a.shape} times dense ones of shape {b.shape}: the leading axes have to be the same"
            )
        )
    columns = a.indices[:, -1]
    if shared:
        k, n = b.dims[-2:]
        b, columns = _reshape(convert_to_tensor(b), (-1, n)), places_of(_but(a.indices, -2), [*lead, k])
    scaled = gather(b, columns) * _reshape(a.values, (-1, 1))
    rows = unsorted_segment_sum(scaled, places_of(_but(a.indices, -1), [*lead, m]), [sizes.product((*lead, m))])
    return _reshape(rows, (*lead, m, b.dims[-1]))


def _but(indices: Any, column: int) -> Any:
    """Index vectors without one of their columns."""
    kept = list(range(indices.dims[1]))
    del kept[column]
    return gather(indices, kept, axis=1)


def sparse_product(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """The products of sparse matrices [..., m, k] and [..., k, n], sparse. The axes before the last two are the same."""
    *lead, m, k = a.dims
    n = b.dims[-1]
    # the elements of b by the row they are in; each element of a meets one row of them
    rows = places_of(_but(b.indices, -1), [*lead, k])
    order = argsort(rows)
    rows = gather(rows, order)
    wanted = places_of(_but(a.indices, -2), [*lead, k])
    first, end = (cast(searchsorted(rows, wanted, side), dtypes.int64) for side in ("left", "right"))
    met = end - first
    owner = repeat(iota(size=wanted.dims[0], dtype=dtypes.int64), met)
    nth = iota(size=owner.dims[0], dtype=dtypes.int64) - gather(cumsum(met, exclusive=True), owner)
    partner = gather(order, gather(first, owner) + nth)
    place = gather(places_of(_but(a.indices, -1), [*lead, m]), owner) * scalar_of(n, dtypes.int64) + gather(b.indices[:, -1], partner)
    return summed(place, gather(a.values, owner) * gather(b.values, partner), (*lead, m, n))

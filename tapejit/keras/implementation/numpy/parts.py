"""Parts of tensors: elements at indices or where a condition holds, diagonals, triangles, differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras.src.backend.common.backend_utils import vectorize_impl

import tapejit as tf
from tapejit.core.sizes import Dim
from tapejit.keras.implementation.core import cast, vectorized_map
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import alike, all_floating, tensors
from tapejit.keras.implementation.numpy.reductions import sum as sum_along
from tapejit.keras.implementation.numpy.shapes import moveaxis, ravel
from tapejit.ops.creation import iota
from tapejit.ops.slicing import scalar_of

__all__ = [
    "diag", "diagflat", "diagonal", "diff", "nonzero", "select", "take", "take_along_axis", "trace", "trapezoid", "tril", "triu",
    "unravel_index", "vectorize", "where",
]  # fmt: skip


# ------------------------------------------------------------------------------------------------ conditions
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """`x1` where the condition holds, else `x2`; without them the places where it holds, one tensor for each axis."""
    if x1 is None and x2 is None:
        return nonzero(condition)
    if x1 is None or x2 is None:
        raise ValueError("`x1` and `x2` either both should be `None` or both should have non-None value.")
    return tf.where(cast(condition, "bool"), *alike(x1, x2))


def nonzero(x: Any) -> tuple[Any, ...]:
    """The places of elements that are not 0, one tensor of indices for each axis."""
    return tuple(tf.unstack(tf.cast(tf.where(cast(x, "bool")), tf.int32), axis=1))


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The choice of the first condition that holds, `default` where none does."""
    *choices, out = tensors(*choicelist, default)
    for condition, choice in reversed(list(zip(condlist, choices, strict=True))):
        out = tf.where(cast(condition, "bool"), choice, out)
    return out


# ------------------------------------------------------------------------------------------------ indices
def _from_start(indices: Any, n: Dim) -> Any:
    """Indices with negative ones counted from the start; those known not to be negative stay as they are."""
    indices = convert_to_tensor(indices)
    if not indices.dtype.is_integer:
        indices = tf.cast(indices, tf.int32)
    if indices.dtype.is_unsigned or (hasattr(indices, "numpy") and not (indices.numpy() < 0).any()):
        return indices
    return tf.where(indices < 0, indices + scalar_of(n, indices.dtype), indices)


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The slices along `axis` at `indices`, of which negative ones count from the end; without `axis` elements of the flat tensor."""
    x = convert_to_tensor(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis %= len(x.dims)
    return tf.gather(x, _from_start(indices, x.dims[axis]), axis=axis)


def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The elements along `axis` at `indices`, which belong to the other places along the other axes or are repeated over them."""
    x, indices = convert_to_tensor(x), convert_to_tensor(indices)
    if axis is None:
        return tf.gather(ravel(x), _from_start(ravel(indices), ravel(x).dims[0]))
    axis %= len(x.dims)
    x, indices = moveaxis(x, axis, -1), moveaxis(_from_start(indices, x.dims[axis]), axis, -1)
    for k in range(len(x.dims) - 1):  # sizes of 1 stand for any
        ours, theirs = x.dims[k], indices.dims[k]
        if ours != theirs and isinstance(ours, int) and ours == 1:
            x = tf.repeat(x, theirs, k)
        elif ours != theirs:
            indices = tf.broadcast_to(indices, [*indices.dims[:k], ours, *indices.dims[k + 1 :]])
    return moveaxis(tf.gather(x, indices, axis=len(x.dims) - 1, batch_dims=len(x.dims) - 1), -1, axis)


def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """Indices of the flat tensor as one tensor of indices for each axis of `shape`."""
    indices = convert_to_tensor(indices)
    if indices.dims or shape:
        return tuple(tf.unstack(tf.unravel_index(indices, shape)))
    return ()


# ------------------------------------------------------------------------------------------------ diagonals
def diag(x: Any, k: int = 0) -> Any:
    """The matrix with a vector on its `k`-th diagonal, or the `k`-th diagonal of a matrix. ValueError for other ranks."""
    x = convert_to_tensor(x)
    if len(x.dims) == 1:
        return tf.linalg.diag(x, k=k)
    if len(x.dims) == 2:
        return diagonal(x, k)
    raise ValueError(f"`x` must be 1-D or 2-D. Received: x.shape={x.shape}")


def diagflat(x: Any, k: int = 0) -> Any:
    return diag(ravel(x), k)


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonals of the matrices that two axes make, as the last axis; empty beyond the corners."""
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = x.dims[-2:]
    if (isinstance(columns, int) and offset >= columns) or (isinstance(rows, int) and -offset >= rows):
        return tf.zeros([*x.dims[:-2], 0], x.dtype)
    return tf.linalg.diag_part(x, k=offset)


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sums of the diagonals."""
    return sum_along(diagonal(x, offset, axis1, axis2), -1)


def tril(x: Any, k: int = 0) -> Any:
    """`x` with zeros above the `k`-th diagonal."""
    return _triangle(x, lambda ahead: ahead <= k)


def triu(x: Any, k: int = 0) -> Any:
    """`x` with zeros below the `k`-th diagonal."""
    return _triangle(x, lambda ahead: ahead >= k)


def _triangle(x: Any, inside: Callable[[Any], Any]) -> Any:
    x = convert_to_tensor(x)
    rows, columns = x.dims[-2:]
    ahead = iota(size=columns, dtype=tf.int32) - tf.expand_dims(iota(size=rows, dtype=tf.int32), 1)
    return tf.where(inside(ahead), x, tf.zeros_like(x))


# ------------------------------------------------------------------------------------------------ neighbours
def _neighbours(x: Any, axis: int) -> tuple[Any, Any]:
    """All slices along `axis` but the first, and all but the last."""
    before = [slice(None)] * (axis % len(x.dims))
    return x[(*before, slice(1, None))], x[(*before, slice(None, -1))]


def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """The `n`-th differences of neighbours along `axis`; of bools whether they differ."""
    a = convert_to_tensor(a)
    for _ in range(n):
        later, earlier = _neighbours(a, axis)
        a = tf.not_equal(later, earlier) if a.dtype.is_bool else later - earlier
    return a


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of `y` along `axis` by the trapezoidal rule, at the places `x` or at distances `dx`."""
    y, places = all_floating(y, dx if x is None else x)
    y = moveaxis(y, axis, -1)
    later, earlier = _neighbours(y, -1)
    if x is None:
        apart = places
    else:
        apart = diff(places if len(places.dims) == 1 else moveaxis(places, axis, -1))
    return tf.reduce_sum((later + earlier) * apart, -1) * 0.5


def vectorize(pyfunc: Callable[..., Any], *, excluded: Any = None, signature: str | None = None) -> Callable[..., Any]:
    """`pyfunc` of single elements (or of the parts that `signature` names) as a function of tensors that broadcast."""
    return vectorize_impl(pyfunc, _mapped, excluded=excluded, signature=signature)


def _mapped(function: Callable[..., Any], in_axes: tuple[int | None, ...]) -> Callable[..., Any]:
    """`function` of the slices of those arguments that have 0 in `in_axes`."""

    def of_all(*args: Any) -> Any:
        rows = [convert_to_tensor(a) for a, axis in zip(args, in_axes, strict=True) if axis == 0]

        def of_one(slices: Any) -> Any:
            given = iter(slices)
            return function(*(next(given) if axis == 0 else a for a, axis in zip(args, in_axes, strict=True)))

        return vectorized_map(of_one, tuple(rows))

    return of_all

"""Functions that move elements: shapes, axes, joining, cutting, repeating, padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras.src.backend.common import standardize_dtype
from keras.src.backend.common.dtypes import result_type

import tapejit as tf
from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import convert_to_tensor as sparse_or_dense
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import tensors
from tapejit.ops.creation import iota
from tapejit.tensor import dims_of

__all__ = [
    "append", "array_split", "broadcast_to", "concatenate", "dsplit", "dstack", "expand_dims", "flip", "fliplr", "flipud", "hsplit",
    "hstack", "moveaxis", "ndim", "pad", "ravel", "repeat", "reshape", "roll", "rot90", "size", "split", "squeeze", "stack", "swapaxes",
    "tile", "transpose", "view", "vsplit", "vstack",
]  # fmt: skip


# ------------------------------------------------------------------------------------------------ shapes
def ndim(x: Any) -> int:
    return len(convert_to_tensor(x).dims)


def size(x: Any) -> Any:
    """The number of elements, an int unless the shape has open sizes."""
    x = convert_to_tensor(x)
    count = sizes.product(x.dims)
    return count if isinstance(count, int) else tf.size(x)


def reshape(x: Any, newshape: Any) -> Any:
    if isinstance(x, tf.SparseTensor):
        return tf.sparse.reshape(x, newshape)
    return tf.reshape(convert_to_tensor(x), newshape)


def ravel(x: Any) -> Any:
    return tf.reshape(convert_to_tensor(x), [-1])


def squeeze(x: Any, axis: Any = None) -> Any:
    if isinstance(x, tf.SparseTensor):
        return tf.sparse.reshape(x, _without(x.dims, axis))
    x = convert_to_tensor(x)
    axes = None if axis is None else [int(a) for a in _listed(axis)]
    return x if axes == [] else tf.squeeze(x, axes)


def _without(dims: tuple[Dim, ...], axis: Any) -> list[Dim]:
    """Sizes without those of these axes, or without those that are 1. ValueError for an axis of another size."""
    axes = [k for k, d in enumerate(dims) if isinstance(d, int) and d == 1] if axis is None else _axes(axis, len(dims))
    if any(isinstance(dims[k], int) and dims[k] != 1 for k in axes):
        raise ValueError(f"cannot squeeze axis {axis} of a tensor of shape {tf.TensorShape(dims)}: its size is not 1")
    return [d for k, d in enumerate(dims) if k not in axes]


def expand_dims(x: Any, axis: Any) -> Any:
    """`x` with axes of size 1 at these places of the result."""
    x = sparse_or_dense(x)
    new = set(_axes(axis, len(x.dims) + len(_listed(axis))))
    rest = iter(x.dims)
    return reshape(x, [1 if k in new else next(rest) for k in range(len(x.dims) + len(new))])


def broadcast_to(x: Any, shape: Any) -> Any:
    return tf.broadcast_to(convert_to_tensor(x), shape)


def _listed(axis: Any) -> list[Any]:
    return list(axis) if isinstance(axis, tuple | list) else [axis]


def _axes(axis: Any, rank: int) -> list[int]:
    """One axis or several, counted from 0, in the order given. ValueError for one that there is not, or that is named twice."""
    axes = [int(a) for a in _listed(axis)]
    if not all(-rank <= a < rank for a in axes):
        raise ValueError(f"axis {axis} is out of bounds for a tensor of {rank} axes")
    axes = [a % rank for a in axes]
    if len(set(axes)) != len(axes):
        raise ValueError(f"repeated axis in {axis}")
    return axes


def view(x: Any, dtype: Any = None) -> Any:
    """The bytes of `x` as numbers of `dtype`: as many fewer or more along the last axis as they are larger or smaller.

    ValueError if they do not fit.
    """
    x = convert_to_tensor(x)
    wanted = x.dtype if dtype is None else tf.as_dtype(standardize_dtype(dtype))
    ratio = wanted.size / x.dtype.size
    if ratio == 1:
        return tf.bitcast(x, wanted)
    if not x.dims or (isinstance(x.dims[-1], int) and x.dims[-1] % ratio):
        raise ValueError(f"The last axis of shape {x.shape} and dtype {x.dtype.name} cannot be viewed as {wanted.name}")
    *lead, last = x.dims
    if ratio < 1:
        return tf.reshape(tf.bitcast(x, wanted), [*lead, last * int(1 / ratio)])
    return tf.bitcast(tf.reshape(x, [*lead, last // int(ratio), int(ratio)]), wanted)


# ------------------------------------------------------------------------------------------------ order of axes
def transpose(x: Any, axes: Any = None) -> Any:
    x = sparse_or_dense(x)
    order = list(reversed(range(len(x.dims)))) if axes is None else _axes(axes, len(x.dims))
    if order == list(range(len(x.dims))):
        return x
    return tf.sparse.transpose(x, order) if isinstance(x, tf.SparseTensor) else tf.transpose(x, order)


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """The axes of `source` moved to the places `destination`; the others keep their order."""
    x = convert_to_tensor(x)
    rank = len(x.dims)
    moved = dict(zip(_axes(destination, rank), _axes(source, rank), strict=True))
    rest = (k for k in range(rank) if k not in moved.values())
    return transpose(x, [moved[k] if k in moved else next(rest) for k in range(rank)])


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    x = convert_to_tensor(x)
    return moveaxis(x, (axis1, axis2), (axis2, axis1)) if axis1 % len(x.dims) != axis2 % len(x.dims) else x


def flip(x: Any, axis: Any = None) -> Any:
    x = convert_to_tensor(x)
    axes = list(range(len(x.dims))) if axis is None else _axes(axis, len(x.dims))
    return tf.reverse(x, axes) if axes else x


def fliplr(x: Any) -> Any:
    return flip(x, 1)


def flipud(x: Any) -> Any:
    return flip(x, 0)


def rot90(array: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """`array` turned `k` times by 90 degrees in the plane of two axes, from the first towards the second.

    ValueError for fewer than two axes, or for `axes` that are not two different ones.
    """
    array = convert_to_tensor(array)
    if len(array.dims) < 2:
        raise ValueError(f"Input array must have at least 2 dimensions. Received: array.ndim={len(array.dims)}")
    if len(axes) != 2 or axes[0] == axes[1]:
        raise ValueError(f"Invalid axes: {axes}. Axes must be a tuple of two different dimensions.")
    first, second = _axes(axes, len(array.dims))
    match k % 4:
        case 0:
            return array
        case 1:
            return swapaxes(flip(array, second), first, second)
        case 2:
            return flip(array, (first, second))
        case _:
            return flip(swapaxes(array, first, second), second)


# ------------------------------------------------------------------------------------------------ joining
def concatenate(xs: Any, axis: int | None = 0) -> Any:
    if axis is not None and all(isinstance(x, tf.SparseTensor) for x in xs):
        dtype = result_type(*(x.dtype.name for x in xs))
        return tf.sparse.concat(axis, [cast(x, dtype) for x in xs])
    xs = tensors(*xs)
    if axis is None:
        xs, axis = [ravel(x) for x in xs], 0
    return tf.concat(xs, axis) if len(xs) > 1 else xs[0]


def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    return concatenate([x1, x2], axis)


def stack(x: Any, axis: int = 0) -> Any:
    return tf.stack(tensors(*x), axis)


def hstack(xs: Any) -> Any:
    """Joined along the second axis, or the only one."""
    xs = [_of_rank(1, x) for x in xs]
    return concatenate(xs, 0 if len(xs[0].dims) == 1 else 1)


def vstack(xs: Any) -> Any:
    """Joined along the first axis; vectors are rows."""
    return concatenate([_of_rank(2, x) for x in xs], 0)


def dstack(xs: Any) -> Any:
    """Joined along the third axis; matrices get one of size 1, vectors are rows."""
    return concatenate([_of_rank(3, x) for x in xs], 2)


def _of_rank(least: int, x: Any) -> Any:
    """`x` with at least this many axes: those of size 1 in front of a vector, behind a matrix."""
    x = convert_to_tensor(x)
    dims = list(x.dims) or [1]
    if len(dims) < least and len(dims) == 1:
        dims = [1, *dims]
    dims += [1] * (least - len(dims))
    return x if len(dims) == len(x.dims) else tf.reshape(x, dims)


# ------------------------------------------------------------------------------------------------ cutting
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Pieces along `axis`: so many equal ones, or those that end at the indices. ValueError if equal ones do not fit."""
    x = convert_to_tensor(x)
    (axis,) = _axes(axis, len(x.dims))
    n = x.dims[axis]
    if isinstance(indices_or_sections, int):
        if isinstance(n, int) and n % indices_or_sections:
            raise ValueError(f"A split into {indices_or_sections} equal pieces does not fit axis {axis} of shape {x.shape}")
        return list(tf.split(x, indices_or_sections, axis))
    bounds = [b if not isinstance(b, int) else _within(b, n) for b in dims_of(indices_or_sections)]
    lengths = [_length(b, e) for b, e in zip([0, *bounds], [*bounds, n], strict=True)]
    if _sums_to(lengths, n):
        return list(tf.split(x, lengths, axis))
    starts = [0, *bounds]
    return [x[(*[slice(None)] * axis, slice(b, e))] for b, e in zip(starts, [*bounds, None], strict=True)]


def _within(bound: int, n: Dim) -> int:
    if not isinstance(n, int):
        return bound
    return max(0, min(bound + n if bound < 0 else bound, n))


def _length(begin: Dim, end: Dim) -> Dim:
    return max(0, end - begin) if isinstance(begin, int) and isinstance(end, int) else end - begin


def _sums_to(lengths: list[Dim], n: Dim) -> bool:
    return not isinstance(n, int) or (all(isinstance(d, int) for d in lengths) and sum(lengths) == n)


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """As `split`; of pieces that cannot be equal the first ones have one element more."""
    x = convert_to_tensor(x)
    if not isinstance(indices_or_sections, int):
        return split(x, indices_or_sections, axis)
    least, more = divmod(x.dims[axis], indices_or_sections)
    return list(tf.split(x, [least + 1] * more + [least] * (indices_or_sections - more), axis))


def hsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    x = convert_to_tensor(x)
    return split(x, indices_or_sections, 0 if len(x.dims) == 1 else 1)


def vsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    return split(x, indices_or_sections, 0)


def dsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    return split(x, indices_or_sections, 2)


# ------------------------------------------------------------------------------------------------ repeating
def tile(x: Any, repeats: Any) -> Any:
    """`x` repeated along its last axes, or as often as `repeats` says for each of as many axes as there are."""
    x = convert_to_tensor(x)
    often = list(dims_of(repeats))
    missing = len(x.dims) - len(often)
    if missing < 0:
        x = tf.reshape(x, [1] * -missing + list(x.dims))
    return tf.tile(x, [1] * missing + often)


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    return tf.repeat(convert_to_tensor(x), repeats, axis)


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved on by `shift` along `axis`, those that fall out come in at the other end; without `axis` of the flat tensor."""
    x = convert_to_tensor(x)
    if axis is None:
        return tf.reshape(tf.roll(ravel(x), shift, 0), x.dims)
    axes, shifts = _listed(axis), list(dims_of(shift))
    count = max(len(shifts), len(axes))
    shifts, axes = (v * count if len(v) == 1 else v for v in (shifts, axes))
    return tf.roll(x, shifts, axes)


# ------------------------------------------------------------------------------------------------ padding
_MIRRORED = {"reflect": "REFLECT", "symmetric": "SYMMETRIC"}
_PLACED: dict[str, Callable[[Any, Any], Any]] = {
    "edge": lambda place, n: tf.clip_by_value(place, 0, n - 1),
    "wrap": tf.math.floormod,
    "circular": tf.math.floormod,
}


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """Elements put before and after along each axis, as the pairs of `pad_width` say: a constant, or others of the tensor.

    ValueError for `constant_values` with another mode. NotImplementedError for other modes.
    """
    x = convert_to_tensor(x)
    if mode != "constant" and constant_values is not None:
        raise ValueError(f"Argument `constant_values` can only be provided when `mode == 'constant'`. Received: mode={mode}")
    pairs = _pairs(pad_width, len(x.dims))
    if mode == "constant":
        value = 0 if constant_values is None else cast(constant_values, x.dtype)
        return tf.pad(x, pairs, constant_values=value)
    if mode in _MIRRORED:
        return tf.pad(x, pairs, _MIRRORED[mode])
    if mode not in _PLACED:
        raise NotImplementedError(f"pad with mode={mode!r}; there are constant, reflect, symmetric, {', '.join(_PLACED)}")
    for axis, (before, after) in enumerate(pairs):
        n = tf.shape(x)[axis]
        if (before, after) != (0, 0):
            x = tf.gather(x, _PLACED[mode](iota(size=before + x.dims[axis] + after, dtype=tf.int32) - before, n), axis=axis)
    return x


def _pairs(pad_width: Any, rank: int) -> list[tuple[Any, Any]]:
    """One number for all, one pair for all, or a pair for each axis, as pairs."""
    if isinstance(pad_width, int):
        return [(pad_width, pad_width)] * rank
    rows = [tuple(row) if hasattr(row, "__len__") else row for row in pad_width]
    if rows and not isinstance(rows[0], tuple):
        return [(rows[0], rows[-1])] * rank
    rows = [row * (2 if len(row) == 1 else 1) for row in rows]
    return rows * rank if len(rows) == 1 else rows

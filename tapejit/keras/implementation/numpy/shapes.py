"""Functions that move elements: shapes, joining, repeating, taking."""

from __future__ import annotations

from typing import Any

import tapejit as tf
from tapejit.keras.implementation.core import convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import alike

__all__ = [
    "broadcast_to",
    "concatenate",
    "expand_dims",
    "flip",
    "ndim",
    "ravel",
    "reshape",
    "size",
    "squeeze",
    "stack",
    "tile",
    "transpose",
]


def reshape(x: Any, newshape: Any) -> Any:
    return tf.reshape(convert_to_tensor(x), [newshape] if isinstance(newshape, int) else newshape)


def ravel(x: Any) -> Any:
    return tf.reshape(convert_to_tensor(x), [-1])


def squeeze(x: Any, axis: Any = None) -> Any:
    return tf.squeeze(convert_to_tensor(x), list(axis) if isinstance(axis, tuple) else axis)


def expand_dims(x: Any, axis: Any) -> Any:
    """`x` with axes of size 1 at these places of the result."""
    x = convert_to_tensor(x)
    rank = len(x.dims) + (len(axis) if isinstance(axis, tuple | list) else 1)
    for a in sorted(a % rank for a in (axis if isinstance(axis, tuple | list) else (axis,))):
        x = tf.expand_dims(x, a)
    return x


def transpose(x: Any, axes: Any = None) -> Any:
    return tf.transpose(convert_to_tensor(x), axes)


def broadcast_to(x: Any, shape: Any) -> Any:
    return tf.broadcast_to(convert_to_tensor(x), shape)


def tile(x: Any, repeats: Any) -> Any:
    """`x` repeated along its last axes, or as often as `repeats` says for each of as many axes as there are."""
    x = convert_to_tensor(x)
    repeats = [repeats] if isinstance(repeats, int) else list(repeats)
    missing = len(x.dims) - len(repeats)
    if missing < 0:
        x = tf.reshape(x, [1] * -missing + list(x.dims))
    return tf.tile(x, [1] * missing + repeats)


def concatenate(xs: Any, axis: int | None = 0) -> Any:
    xs = _tensors(xs)
    return tf.concat([tf.reshape(x, [-1]) for x in xs] if axis is None else xs, axis or 0)


def stack(x: Any, axis: int = 0) -> Any:
    return tf.stack(_tensors(x), axis)


def _tensors(xs: Any) -> list[Any]:
    """`xs` as tensors of one dtype."""
    return alike(*(convert_to_tensor(x) for x in xs))


def flip(x: Any, axis: Any = None) -> Any:
    x = convert_to_tensor(x)
    return tf.reverse(x, list(range(len(x.dims))) if axis is None else list(axis) if isinstance(axis, tuple | list) else [axis])


def ndim(x: Any) -> int:
    return len(convert_to_tensor(x).dims)


def size(x: Any) -> Any:
    return tf.size(convert_to_tensor(x))

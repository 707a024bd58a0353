"""`tf.image`: mirroring, turning, cropping and padding of images, by given or random amounts.

Images are [batch, height, width, channels] or [height, width, channels]; dtypes stay. Everything but `resize_with_pad` moves pixels only.
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable
from typing import Any

from tapejit import arrays, random
from tapejit.core import dtypes, places, sizes
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.ops.shapes import reshape
from tapejit.selection import slice as _slice
from tapejit.selection import where
from tapejit.tensor import convert_to_tensor, dims_of


def image_of(image: Any) -> Any:
    """A tensor of rank 3 or 4. ValueError for another rank."""
    x = convert_to_tensor(image)
    if len(x.dims) not in (3, 4):
        raise ValueError(places.with_place(f"'image' (shape {x.shape}) must have either 3 or 4 dimensions."))
    return x


# ------------------------------------------------------------------------------------------------ mirroring and turning
def flip_left_right(image: Any) -> Any:
    """The columns in reverse order."""
    return arrays.reverse(image_of(image), [-2])


def flip_up_down(image: Any) -> Any:
    """The rows in reverse order."""
    return arrays.reverse(image_of(image), [-3])


def transpose(image: Any, name: str | None = None) -> Any:
    """Rows and columns exchanged."""
    x = image_of(image)
    return arrays.transpose(x, (1, 0, 2) if len(x.dims) == 3 else (0, 2, 1, 3))


def rot90(image: Any, k: Any = 1, name: str | None = None) -> Any:
    """Turned `k` times by 90 degrees, counter-clockwise; `k` is an integer that is known while tracing."""
    (times,) = dims_of([k])
    if not isinstance(times, int):
        raise NotImplementedError(
            places.with_place("tf.image.rot90 by a number of turns that is known only at run time; write tf.switch_case")
        )
    x = image_of(image)
    turned = {1: lambda: flip_up_down(transpose(x)), 2: lambda: flip_up_down(flip_left_right(x)), 3: lambda: transpose(flip_up_down(x))}
    return turned[times % 4]() if times % 4 else x


# ------------------------------------------------------------------------------------------------ crops and margins
def crop_to_bounding_box(image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any) -> Any:
    """The part of size `target_height` x `target_width` whose corner is at the offsets. ValueError if it is not inside."""
    x = image_of(image)
    corner, size = dims_of([offset_height, offset_width]), dims_of([target_height, target_width])
    for d, begin, length, side in zip(x.dims[-3:-1], corner, size, ("height", "width"), strict=True):
        if isinstance(begin, int) and begin < 0:
            raise ValueError(places.with_place(f"offset_{side} must be >= 0, got {begin}."))
        if isinstance(length, int) and length <= 0:
            raise ValueError(places.with_place(f"target_{side} must be > 0, got {length}."))
        if all(isinstance(v, int) for v in (d, begin, length)) and begin + length > d:
            raise ValueError(places.with_place(f"{side} must be >= target + offset: {length} + {begin} of an image of {side} {d}."))
    lead = x.dims[:-3]
    return _slice(x, [0] * len(lead) + [*corner, 0], [*lead, *size, x.dims[-1]])


def pad_to_bounding_box(image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any) -> Any:
    """An image of size `target_height` x `target_width` that is zero around the given one, whose corner is at the offsets. ValueError if it does not fit."""
    x = image_of(image)
    pairs: list[Any] = [(0, 0)] * (len(x.dims) - 3)
    for d, before, length, side in zip(
        x.dims[-3:-1], dims_of([offset_height, offset_width]), dims_of([target_height, target_width]), ("height", "width"), strict=True
    ):
        after = length - before - d
        if isinstance(before, int) and before < 0:
            raise ValueError(places.with_place(f"offset_{side} must be >= 0, got {before}."))
        if isinstance(after, int) and after < 0:
            raise ValueError(places.with_place(f"{side} must be <= target - offset: {length} - {before} for an image of {side} {d}."))
        pairs.append((before, after))
    return arrays.pad(x, [*pairs, (0, 0)])


def central_crop(image: Any, central_fraction: float) -> Any:
    """The middle part, of `central_fraction` of the height and width. ValueError unless that is in (0, 1]."""
    fraction = float(central_fraction)
    if not 0.0 < fraction <= 1.0:
        raise ValueError(places.with_place(f"central_fraction must be within (0, 1], got {fraction}."))
    x = image_of(image)
    if fraction == 1.0:
        return x
    begins = [int((_static(d) - _static(d) * fraction) / 2) for d in x.dims[-3:-1]]
    return crop_to_bounding_box(x, *begins, *(d - 2 * b for d, b in zip(x.dims[-3:-1], begins, strict=True)))


def _static(d: Dim) -> int:
    if not isinstance(d, int):
        raise NotImplementedError(places.with_place("this for an image whose size is known only at run time"))
    return d


def resize_with_crop_or_pad(image: Any, target_height: Any, target_width: Any) -> Any:
    """An image of the given size, cropped around its middle or padded evenly with zeros on either side."""
    x = image_of(image)
    size = dims_of([target_height, target_width])
    have = x.dims[-3:-1]
    crop = [sizes.maximum((d - n) // 2, 0) for d, n in zip(have, size, strict=True)]
    x = crop_to_bounding_box(x, *crop, *(sizes.minimum(d, n) for d, n in zip(have, size, strict=True)))
    return pad_to_bounding_box(x, *(sizes.maximum((n - d) // 2, 0) for d, n in zip(have, size, strict=True)), *size)


def padded_to(image: Any, target_height: Any, target_width: Any, resize: Callable[[Any, list[int]], Any]) -> Any:
    """The image made as large as fits into the given size by `resize`, its proportions kept, with zeros around it."""
    x = image_of(image)
    height, width = (_static(d) for d in x.dims[-3:-1])
    target = [_static(d) for d in dims_of([target_height, target_width])]
    ratio = max(height / target[0], width / target[1])
    inner = [_math.floor(height / ratio), _math.floor(width / ratio)]
    margins = [max(0, _math.floor((n - d / ratio) / 2)) for n, d in zip(target, (height, width), strict=True)]
    return pad_to_bounding_box(resize(x, inner), *margins, *target)


# ------------------------------------------------------------------------------------------------ at random
def _flipped(image: Any, flip: Callable[[Any], Any], uniform: Callable[[Any], Any]) -> Any:
    """Each image flipped with probability one half."""
    x = image_of(image)
    lead = x.dims[:-3]
    chosen = uniform(lead) < 0.5
    return where(reshape(chosen, shape=(*lead, 1, 1, 1)), flip(x), x)


def random_flip_left_right(image: Any, seed: int | None = None) -> Any:
    """Each image mirrored left to right with probability one half."""
    return _flipped(image, flip_left_right, lambda shape: random.uniform(shape, seed=seed))


def random_flip_up_down(image: Any, seed: int | None = None) -> Any:
    """Each image mirrored upside down with probability one half."""
    return _flipped(image, flip_up_down, lambda shape: random.uniform(shape, seed=seed))


def stateless_random_flip_left_right(image: Any, seed: Any) -> Any:
    """`random_flip_left_right` as a function of the two integers in `seed`."""
    return _flipped(image, flip_left_right, lambda shape: random.stateless_uniform(shape, seed))


def stateless_random_flip_up_down(image: Any, seed: Any) -> Any:
    """`random_flip_up_down` as a function of the two integers in `seed`."""
    return _flipped(image, flip_up_down, lambda shape: random.stateless_uniform(shape, seed))


def _cropped(value: Any, size: Any, uniform: Callable[..., Any]) -> Any:
    """A part of the given size, of which every position is as likely."""
    x = convert_to_tensor(value)
    wanted = dims_of(size)
    if len(wanted) != len(x.dims):
        raise ValueError(places.with_place(f"size must say a length for each axis of shape {x.shape}, got {list(wanted)}"))
    if any(isinstance(d, int) and isinstance(n, int) and d < n for d, n in zip(x.dims, wanted, strict=True)):
        raise InvalidArgumentError(places.with_place(f"Need value.shape >= size, got {x.shape} and {list(wanted)}"))
    room = arrays.stack([convert_to_tensor(d - n + 1, dtypes.int32) for d, n in zip(x.dims, wanted, strict=True)])
    offset = uniform((len(wanted),), minval=0, maxval=dtypes.int32.max, dtype=dtypes.int32) % room
    return _slice(x, offset, list(wanted))


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Any:
    """A part of shape `size` of a tensor, cut out at a random place. InvalidArgumentError if the tensor is smaller."""
    return _cropped(value, size, lambda shape, **range_: random.uniform(shape, seed=seed, **range_))


def stateless_random_crop(value: Any, size: Any, seed: Any, name: str | None = None) -> Any:
    """`random_crop` as a function of the two integers in `seed`."""
    return _cropped(value, size, lambda shape, **range_: random.stateless_uniform(shape, seed, **range_))

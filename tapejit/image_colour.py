"""`tf.image`: conversions of dtypes and of colour spaces, brightness, contrast, hue, saturation; by given or random amounts.

Images are [..., height, width, channels]. Floats count from 0 to 1, integers from 0 to the largest; integers are computed as float32 and
come back with their dtype, saturated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapejit import random
from tapejit.arrays import concat, split, tile
from tapejit.casting import saturate_cast
from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.math import divide_no_nan, reduce_max, reduce_mean, reduce_min, reduce_std
from tapejit.ops import elementwise as e
from tapejit.ops.matmul import matmul
from tapejit.selection import where
from tapejit.tensor import convert_to_tensor


# ------------------------------------------------------------------------------------------------ dtypes
def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False, name: str | None = None) -> Any:
    """The image in another dtype, its values scaled so that white stays white. `saturate` guards against values out of range."""
    x, to = convert_to_tensor(image), dtypes.as_dtype(dtype)
    if x.dtype is to:
        return x
    narrowed = saturate_cast if saturate else lambda y, t: e.cast(y, dtype=t)
    if x.dtype.is_integer and to.is_integer:
        have, want = int(x.dtype.max) + 1, int(to.max) + 1
        if have > want:
            return narrowed(x // (have // want), to)
        return narrowed(x, to) * (want // have)
    if x.dtype.is_floating and to.is_floating:
        return e.cast(x, dtype=to)
    if x.dtype.is_integer:
        return e.cast(x, dtype=to) * (1.0 / float(x.dtype.max))
    return narrowed(x * (float(to.max) + 0.5), to)


def _as_floats(image: Any, change: Callable[[Any], Any]) -> Any:
    """`change` applied to the image in floats, the result in the image's dtype."""
    x = convert_to_tensor(image)
    floats = x if x.dtype.is_floating else convert_image_dtype(x, dtypes.float32)
    return convert_image_dtype(change(floats), x.dtype, saturate=True)


# ------------------------------------------------------------------------------------------------ colour spaces
def _channels(x: Any) -> list[Any]:
    if x.dims[-1] != 3:
        raise ValueError(places.with_place(f"the last axis has to be the three colours, got shape {x.shape}"))
    return split(x, 3, axis=-1)


def rgb_to_grayscale(images: Any, name: str | None = None) -> Any:
    """[..., 1]: 0.2989 red + 0.587 green + 0.114 blue."""

    def gray(x: Any) -> Any:
        red, green, blue = _channels(x)
        return 0.2989 * red + 0.587 * green + 0.114 * blue

    return _as_floats(images, gray)


def grayscale_to_rgb(images: Any, name: str | None = None) -> Any:
    """[..., 3] from [..., 1]: the same value in each colour."""
    x = convert_to_tensor(images)
    if x.dims[-1] != 1:
        raise ValueError(places.with_place(f"Last dimension of a grayscale image should be size 1, got shape {x.shape}."))
    return tile(x, [1] * (len(x.dims) - 1) + [3])


def rgb_to_hsv(images: Any, name: str | None = None) -> Any:
    """Hue, saturation and value, each from 0 to 1; a grey has hue 0."""
    red, green, blue = _channels(x := convert_to_tensor(images))
    value = reduce_max(x, axis=-1, keepdims=True)
    spread = value - reduce_min(x, axis=-1, keepdims=True)
    saturation = divide_no_nan(spread, value)

    def part(a: Any, b: Any) -> Any:
        return divide_no_nan(a - b, 6 * spread)

    hue = where(
        e.equal(red, value),
        part(green, blue),
        where(e.equal(green, value), part(blue, red) + 1 / 3, part(red, green) + 2 / 3),
    )
    hue = where(spread > 0, hue, hue * 0)
    return concat([where(hue < 0, hue + 1, hue), saturation, value], axis=-1)


def hsv_to_rgb(images: Any, name: str | None = None) -> Any:
    """Undoes `rgb_to_hsv`."""
    hue, saturation, value = _channels(convert_to_tensor(images))
    at = hue * 6

    def colour(weight: Any) -> Any:
        return (1 - saturation + saturation * e.minimum(e.maximum(weight, 0), 1)) * value

    return concat([colour(abs(at - 3) - 1), colour(2 - abs(at - 2)), colour(2 - abs(at - 4))], axis=-1)


_TO_YIQ = ((0.299, 0.59590059, 0.2115), (0.587, -0.27455667, -0.52273617), (0.114, -0.32134392, 0.31119955))
_FROM_YIQ = ((1, 1, 1), (0.95598634, -0.27201283, -1.10674021), (0.6208248, -0.64720424, 1.70423049))
_TO_YUV = ((0.299, -0.14714119, 0.61497538), (0.587, -0.28886916, -0.51496512), (0.114, 0.43601035, -0.10001026))
_FROM_YUV = ((1, 1, 1), (0, -0.394642334, 2.03206185), (1.13988303, -0.58062185, 0))


def _by_matrix(matrix: tuple[tuple[float, ...], ...], name: str, meaning: str) -> Callable[..., Any]:
    def function(images: Any) -> Any:
        x = convert_to_tensor(images)
        return matmul(x, convert_to_tensor(np.array(matrix, x.dtype.np)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{meaning}, by a matrix. Floats [..., 3]."
    return function


rgb_to_yiq = _by_matrix(_TO_YIQ, "rgb_to_yiq", "Luma and the two chroma components of NTSC")
yiq_to_rgb = _by_matrix(_FROM_YIQ, "yiq_to_rgb", "Undoes `rgb_to_yiq`")
rgb_to_yuv = _by_matrix(_TO_YUV, "rgb_to_yuv", "Luma and the two chroma components of PAL")
yuv_to_rgb = _by_matrix(_FROM_YUV, "yuv_to_rgb", "Undoes `rgb_to_yuv`")


# ------------------------------------------------------------------------------------------------ adjustments
def adjust_brightness(image: Any, delta: Any) -> Any:
    """`image + delta`, `delta` counted in floats from 0 to 1."""
    return _as_floats(image, lambda x: x + e.cast(convert_to_tensor(delta), dtype=x.dtype))


def adjust_contrast(images: Any, contrast_factor: Any) -> Any:
    """`(x - mean) * contrast_factor + mean` in each channel of each image."""

    def stretched(x: Any) -> Any:
        mean = reduce_mean(x, axis=[-3, -2], keepdims=True)
        return (x - mean) * e.cast(convert_to_tensor(contrast_factor), dtype=x.dtype) + mean

    return _as_floats(images, stretched)


def adjust_gamma(image: Any, gamma: Any = 1, gain: Any = 1) -> Any:
    """`gain * image ** gamma`. ValueError for a negative gamma."""
    if isinstance(gamma, int | float) and gamma < 0:
        raise ValueError(places.with_place("Gamma should be a non-negative real number."))
    return _as_floats(image, lambda x: gain * x**gamma)


def _in_hsv(image: Any, change: Callable[[Any, Any, Any], list[Any]]) -> Any:
    return _as_floats(image, lambda x: hsv_to_rgb(concat(change(*_channels(rgb_to_hsv(x))), axis=-1)))


def adjust_hue(image: Any, delta: Any, name: str | None = None) -> Any:
    """The hue turned by `delta` of a full turn. InvalidArgumentError for a number that is not in [-1, 1]."""
    if isinstance(delta, int | float) and not -1 <= delta <= 1:
        raise InvalidArgumentError(places.with_place("delta must be in the interval [-1, 1]"))
    return _in_hsv(image, lambda h, s, v: [(h + e.cast(convert_to_tensor(delta), dtype=h.dtype)) % 1, s, v])


def adjust_saturation(image: Any, saturation_factor: Any, name: str | None = None) -> Any:
    """The saturation multiplied by a factor, at most 1."""
    factor = convert_to_tensor(saturation_factor)
    return _in_hsv(image, lambda h, s, v: [h, e.minimum(e.maximum(s * e.cast(factor, dtype=s.dtype), 0), 1), v])


def per_image_standardization(image: Any) -> Any:
    """Each image with mean 0 and standard deviation 1; that of nearly uniform images is taken as 1 / sqrt(number of values). Integers become float32."""
    x = convert_to_tensor(image)
    x = x if x.dtype.is_floating else e.cast(x, dtype=dtypes.float32)
    count = 1
    for d in x.dims[-3:]:
        count = count * d
    least = e.rsqrt(e.cast(convert_to_tensor(count), dtype=x.dtype))
    axes = [-3, -2, -1]
    return (x - reduce_mean(x, axis=axes, keepdims=True)) / e.maximum(reduce_std(x, axis=axes, keepdims=True), least)


# ------------------------------------------------------------------------------------------------ at random


def _from_zero(adjust: Callable[..., Any], random_name: str, most: float | None = None) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`adjust` by an amount within `max_delta` of 0: with the seed of an operation, and with a seed of two integers."""

    def checked(max_delta: Any) -> None:
        if max_delta < 0 or (most is not None and max_delta > most):
            raise ValueError(places.with_place(f"max_delta must be non-negative{f' and at most {most}' if most else ''}, got {max_delta}."))

    def drawn(image: Any, max_delta: Any, seed: int | None = None) -> Any:
        checked(max_delta)
        return adjust(image, random.uniform([], -max_delta, max_delta, seed=seed))

    def stateless(image: Any, max_delta: Any, seed: Any) -> Any:
        checked(max_delta)
        return adjust(image, random.stateless_uniform([], seed, -max_delta, max_delta))

    return _named(drawn, stateless, random_name, adjust, "an amount within `max_delta` of 0")


def _between(adjust: Callable[..., Any], random_name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`adjust` by a factor between `lower` and `upper`: with the seed of an operation, and with a seed of two integers."""

    def checked(lower: Any, upper: Any) -> None:
        if not 0 <= lower < upper:
            raise ValueError(places.with_place(f"{random_name} wants 0 <= lower < upper, got {lower} and {upper}."))

    def drawn(image: Any, lower: Any, upper: Any, seed: int | None = None) -> Any:
        checked(lower, upper)
        return adjust(image, random.uniform([], lower, upper, seed=seed))

    def stateless(image: Any, lower: Any, upper: Any, seed: Any = None) -> Any:
        checked(lower, upper)
        return adjust(image, random.stateless_uniform([], seed, lower, upper))

    return _named(drawn, stateless, random_name, adjust, "a factor between `lower` and `upper`")


def _named(drawn: Any, stateless: Any, name: str, adjust: Any, amount: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    drawn.__name__ = drawn.__qualname__ = name
    drawn.__doc__ = f"`{adjust.__name__}` by {amount}, drawn at random."
    stateless.__name__ = stateless.__qualname__ = f"stateless_{name}"
    stateless.__doc__ = f"`{name}` as a function of the two integers in `seed`."
    return drawn, stateless


random_brightness, stateless_random_brightness = _from_zero(adjust_brightness, "random_brightness")
random_hue, stateless_random_hue = _from_zero(adjust_hue, "random_hue", 0.5)
random_contrast, stateless_random_contrast = _between(adjust_contrast, "random_contrast")
random_saturation, stateless_random_saturation = _between(adjust_saturation, "random_saturation")

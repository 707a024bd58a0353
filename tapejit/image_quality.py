"""`tf.image`: how alike two images are, and how their values change from pixel to pixel.

Images are [..., height, width, channels]; integers are scaled to floats from 0 to 1 first. All of it has gradients.
"""

from __future__ import annotations

import math as _math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapejit.arrays import concat, pad, stack
from tapejit.core import dtypes, places
from tapejit.image_colour import convert_image_dtype
from tapejit.math import log, reduce_mean, reduce_prod, reduce_sum
from tapejit.ops import elementwise as e
from tapejit.ops.shapes import reshape
from tapejit.sliding import avg_pool2d, depthwise_conv2d
from tapejit.tensor import convert_to_tensor


def _pair(a: Any, b: Any, max_val: Any) -> tuple[Any, Any, Any]:
    """The two images and the span of their values, as float32."""
    a, b = convert_to_tensor(a), convert_to_tensor(b)
    if a.dtype is not b.dtype:
        raise TypeError(places.with_place(f"the images have to have one dtype, got {a.dtype.name} and {b.dtype.name}"))
    span = e.cast(convert_to_tensor(max_val), dtype=a.dtype)
    a, b, span = (convert_image_dtype(x, dtypes.float32) for x in (a, b, span))
    return a, b, span


def psnr(a: Any, b: Any, max_val: Any, name: str | None = None) -> Any:
    """float32[...]: the peak signal-to-noise ratio in decibel, 10 log10(max_val^2 / mean squared difference), of each pair of images."""
    a, b, span = _pair(a, b, max_val)
    error = reduce_mean(e.square(a - b), axis=[-3, -2, -1])
    return (20 / _math.log(10)) * log(span) - (10 / _math.log(10)) * log(error)


def _window(size: int, sigma: float) -> np.ndarray:
    """[size, size]: the weights of a normal distribution, which sum to 1."""
    at = np.arange(size) - (size - 1) / 2
    line = np.exp(-0.5 * (at / sigma) ** 2)
    return np.outer(line, line) / line.sum() ** 2


def _ssim_per_channel(x: Any, y: Any, span: Any, size: int, sigma: float, k1: float, k2: float, index_map: bool = False) -> tuple[Any, Any]:
    """[..., channels]: similarity, and its part of contrast and structure (Wang et al., "Image quality assessment", 2004)."""
    *lead, height, width, channels = x.dims
    if any(isinstance(d, int) and d < size for d in (height, width)):
        raise ValueError(places.with_place(f"images of {height} x {width} pixels are smaller than the filter of size {size}"))
    window = convert_to_tensor(np.repeat(_window(size, sigma)[:, :, None, None], channels, axis=2).astype(np.float32))

    def smooth(z: Any) -> Any:
        flat = reshape(z, shape=(_product(lead), height, width, channels))
        out = depthwise_conv2d(flat, window, [1, 1, 1, 1], "VALID")
        return reshape(out, shape=(*lead, *out.dims[1:]))

    c1, c2 = e.square(k1 * span), e.square(k2 * span)
    mean_x, mean_y = smooth(x), smooth(y)
    product, squares = 2 * mean_x * mean_y, e.square(mean_x) + e.square(mean_y)
    structure = (2 * smooth(x * y) - product + c2) / (smooth(e.square(x) + e.square(y)) - squares + c2)
    likeness = (product + c1) / (squares + c1) * structure
    if index_map:
        return likeness, structure
    return reduce_mean(likeness, axis=[-3, -2]), reduce_mean(structure, axis=[-3, -2])


def _product(dims: Sequence[Any]) -> Any:
    out: Any = 1
    for d in dims:
        out = out * d
    return out


def ssim(
    img1: Any,
    img2: Any,
    max_val: Any,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    return_index_map: bool = False,
) -> Any:
    """float32[...]: the structural similarity of each pair of images, 1 for equal ones; at each pixel with `return_index_map`."""
    x, y, span = _pair(img1, img2, max_val)
    likeness, _ = _ssim_per_channel(x, y, span, filter_size, filter_sigma, k1, k2, return_index_map)
    return reduce_mean(likeness, axis=[-1])


_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim_multiscale(
    img1: Any,
    img2: Any,
    max_val: Any,
    power_factors: Sequence[float] = _POWERS,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
) -> Any:
    """float32[...]: the product of the similarities of the images at full size, half of it, and so on, each to its power (Wang et al. 2003)."""
    x, y, span = _pair(img1, img2, max_val)
    factors = []
    for k in range(len(power_factors)):
        if k:
            x, y = (_halved(z) for z in (x, y))
        likeness, structure = _ssim_per_channel(x, y, span, filter_size, filter_sigma, k1, k2)
        factors.append(e.maximum(structure if k + 1 < len(power_factors) else likeness, 0))
    powers = convert_to_tensor(np.asarray(power_factors, np.float32))
    return reduce_mean(reduce_prod(stack(factors, axis=-1) ** powers, axis=[-1]), axis=[-1])


def _halved(x: Any) -> Any:
    """Means of 2 x 2 pixels; the last row or column of an odd number is taken twice."""
    *lead, height, width, channels = x.dims
    flat = reshape(x, shape=(_product(lead), height, width, channels))
    flat = pad(flat, [[0, 0], [0, height % 2], [0, width % 2], [0, 0]], mode="SYMMETRIC")
    out = avg_pool2d(flat, 2, 2, "VALID")
    return reshape(out, shape=(*lead, *out.dims[1:]))


def total_variation(images: Any, name: str | None = None) -> Any:
    """[batch] or a scalar: the sum of the absolute differences of neighbouring pixels, down and across."""
    x = convert_to_tensor(images)
    if len(x.dims) not in (3, 4):
        raise ValueError(places.with_place(f"'images' must be either 3 or 4-dimensional, got shape {x.shape}"))
    axes = [-3, -2, -1]
    down, across = x[..., 1:, :, :] - x[..., :-1, :, :], x[..., 1:, :] - x[..., :-1, :]
    return reduce_sum(abs(down), axis=axes) + reduce_sum(abs(across), axis=axes)


def image_gradients(image: Any) -> tuple[Any, Any]:
    """(dy, dx): differences to the next row and the next column of images [batch, height, width, channels], 0 in the last ones."""
    x = convert_to_tensor(image)
    if len(x.dims) != 4:
        raise ValueError(places.with_place(f"image_gradients expects a 4D tensor [batch_size, h, w, d], not {x.shape}."))
    down, across = x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]
    return concat([down, x[:, :1] * 0], axis=1), concat([across, x[:, :, :1] * 0], axis=2)


def sobel_edges(image: Any) -> Any:
    """[batch, height, width, channels, 2]: Sobel's slopes down and across, of images mirrored at their edges."""
    x = convert_to_tensor(image)
    channels = x.dims[-1]
    down = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    kernels = np.repeat(np.stack([down, down.T], axis=-1)[:, :, None, :], channels, axis=2).astype(x.dtype.np)
    padded = pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
    out = depthwise_conv2d(padded, convert_to_tensor(kernels), [1, 1, 1, 1], "VALID")
    return reshape(out, shape=(*x.dims, 2))

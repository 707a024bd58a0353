"""`tf.image`: resizing, and the patches of images; crops and flips come from `image_geometry`, colours from `image_colour`, boxes from `image_boxes`, measures from
`image_quality`.

Images are [batch, height, width, channels] or [height, width, channels]. Resizing along an axis is a product with a matrix of
weights (sizes have to be known), so it has gradients of every order and is as fast as `matmul`; "nearest" picks.
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.image_boxes import non_max_suppression
from tapejit.image_colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    adjust_hue,
    adjust_saturation,
    convert_image_dtype,
    grayscale_to_rgb,
    hsv_to_rgb,
    per_image_standardization,
    random_brightness,
    random_contrast,
    random_hue,
    random_saturation,
    rgb_to_grayscale,
    rgb_to_hsv,
    rgb_to_yiq,
    rgb_to_yuv,
    stateless_random_brightness,
    stateless_random_contrast,
    stateless_random_hue,
    stateless_random_saturation,
    yiq_to_rgb,
    yuv_to_rgb,
)
from tapejit.image_geometry import (
    central_crop,
    crop_to_bounding_box,
    flip_left_right,
    flip_up_down,
    pad_to_bounding_box,
    padded_to,
    random_crop,
    random_flip_left_right,
    random_flip_up_down,
    resize_with_crop_or_pad,
    rot90,
    stateless_random_crop,
    stateless_random_flip_left_right,
    stateless_random_flip_up_down,
    transpose,
)
from tapejit.image_quality import (
    image_gradients,
    psnr,
    sobel_edges,
    ssim,
    ssim_multiscale,
    total_variation,
)
from tapejit.ops.elementwise import cast
from tapejit.ops.gathering import gather
from tapejit.ops.matmul import matmul
from tapejit.ops.shapes import reshape
from tapejit.ops.windows import patches
from tapejit.tensor import convert_to_tensor, dims_of

__all__ = [
    "ResizeMethod", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation", "central_crop",
    "convert_image_dtype", "crop_to_bounding_box", "extract_patches", "flip_left_right", "flip_up_down", "grayscale_to_rgb",
    "hsv_to_rgb", "image_gradients", "non_max_suppression", "pad_to_bounding_box", "per_image_standardization", "psnr", "random_brightness",
    "random_contrast", "random_crop", "random_flip_left_right", "random_flip_up_down", "random_hue", "random_saturation",
    "resize", "resize_with_crop_or_pad", "resize_with_pad", "rgb_to_grayscale", "rgb_to_hsv", "rgb_to_yiq", "rgb_to_yuv", "rot90",
    "sobel_edges", "ssim", "ssim_multiscale", "stateless_random_brightness", "stateless_random_contrast", "stateless_random_crop",
    "stateless_random_flip_left_right", "stateless_random_flip_up_down", "stateless_random_hue", "stateless_random_saturation",
    "total_variation", "transpose", "yiq_to_rgb", "yuv_to_rgb",
]  # fmt: skip


class ResizeMethod:
    """Names of the methods that `resize` knows."""

    BILINEAR = "bilinear"
    NEAREST_NEIGHBOR = "nearest"
    BICUBIC = "bicubic"
    AREA = "area"
    LANCZOS3 = "lanczos3"
    LANCZOS5 = "lanczos5"
    GAUSSIAN = "gaussian"
    MITCHELLCUBIC = "mitchellcubic"


# ------------------------------------------------------------------------------------------------ kernels of interpolation
def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(b: float, c: float) -> Callable[[np.ndarray], np.ndarray]:
    """Mitchell & Netravali, "Reconstruction filters in computer graphics" (1988)."""

    def weight(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near = ((12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + (6 - 2 * b)) / 6
        far = ((-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + (8 * b + 24 * c)) / 6
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))

    return weight


def _lanczos(radius: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(np.abs(x) < radius, np.sinc(x) * np.sinc(x / radius), 0.0)


def _gaussian(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 1.5, np.exp(-2.0 * x * x), 0.0)


_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic(0.0, 0.5), 2.0),
    "mitchellcubic": (_cubic(1 / 3, 1 / 3), 2.0),
    "lanczos3": (_lanczos(3.0), 3.0),
    "lanczos5": (_lanczos(5.0), 5.0),
    "gaussian": (_gaussian, 1.5),
}


def _weights(method: str, source: int, to: int, antialias: bool) -> np.ndarray:
    """The matrix [to, source] that resizes an axis: pixel centres are at halves, weights at the edges are those inside, scaled to 1."""
    if method == "area":
        edges = np.linspace(0, source, to + 1)
        starts = np.arange(source)
        overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
        return np.maximum(overlap, 0) * (to / source)
    kernel, _ = _KERNELS[method]
    scale = to / source
    spread = max(1.0, 1.0 / scale) if antialias else 1.0
    centres = (np.arange(to) + 0.5) / scale - 0.5
    if method == "bicubic" and not antialias:
        # TensorFlow's own bicubic keeps the four pixels around, the outer ones repeated beyond the edges left out
        return _scaled(kernel(np.arange(source)[None, :] - centres[:, None]))
    if method == "bilinear" and not antialias:
        low = np.floor(centres)
        out = np.zeros((to, source))
        rows = np.arange(to)
        upper = centres - low
        np.add.at(out, (rows, np.clip(low, 0, source - 1).astype(int)), 1 - upper)
        np.add.at(out, (rows, np.clip(low + 1, 0, source - 1).astype(int)), upper)
        return out
    return _scaled(kernel((np.arange(source)[None, :] - centres[:, None]) / spread))


def _scaled(weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(np.abs(total) < 1e-12, 1.0, total)


def resize(
    images: Any,
    size: Any,
    method: str = ResizeMethod.BILINEAR,
    preserve_aspect_ratio: bool = False,
    antialias: bool = False,
    name: str | None = None,
) -> Any:
    """Images of height and width `size`, float32 unless `method` is "nearest", which keeps the dtype (as does a size that is right already).

    ValueError for an unknown method or images that are not of rank 3 or 4.
    """
    x = convert_to_tensor(images)
    single = len(x.dims) == 3
    if len(x.dims) not in (3, 4):
        raise ValueError(places.with_place(f"'images' must have either 3 or 4 dimensions, got shape {x.shape}"))
    if single:
        x = reshape(x, shape=(1, *x.dims))
    method = method.lower() if isinstance(method, str) else method
    if method != "nearest" and method != "area" and method not in _KERNELS:
        raise ValueError(
            places.with_place(
                f"Resize method is not implemented: {method}; write one of 'nearest', 'area', {', '.join(map(repr, _KERNELS))}"
            )
        )
    given = dims_of(size)
    if len(given) != 2:
        raise ValueError(places.with_place(f"'size' must be a 1-D Tensor of 2 elements: new_height, new_width, got {list(given)}"))
    height, width = x.dims[1:3]
    if not all(isinstance(d, int) for d in (*given, height, width)):
        raise NotImplementedError(places.with_place("tf.image.resize of or to a size that is known only at run time"))
    to = [int(d) for d in given]  # type: ignore[arg-type]
    if preserve_aspect_ratio:
        factor = min(to[0] / height, to[1] / width)  # type: ignore[operator]
        to = [max(1, round(height * factor)), max(1, round(width * factor))]  # type: ignore[operator]
    if min(to) < 1:
        raise InvalidArgumentError(places.with_place(f"output dimensions must be positive, got {to}"))
    if method == "nearest":
        out = x
        for axis, (source, n) in enumerate(zip((height, width), to, strict=True), 1):
            if source != n:
                out = gather(out, _nearest(source, n), axis=axis)  # type: ignore[arg-type]
    elif (height, width) == tuple(to):
        out = x
    else:
        out = x if x.dtype.is_floating and x.dtype.bits >= 32 else cast(x, dtype=dtypes.float32)
        out = _resized(out, method, to, antialias)
        if out.dtype is not dtypes.float32:
            out = cast(out, dtype=dtypes.float32)
    return reshape(out, shape=out.dims[1:]) if single else out


def resize_with_pad(image: Any, target_height: Any, target_width: Any, method: str = ResizeMethod.BILINEAR, antialias: bool = False) -> Any:
    """The image made as large as fits into the given size with its proportions kept, with zeros around it."""
    return padded_to(image, target_height, target_width, lambda x, size: resize(x, size, method, antialias=antialias))


def _nearest(source: int, to: int) -> np.ndarray:
    scale = np.float32(source) / np.float32(to)
    return np.minimum(np.floor((np.arange(to, dtype=np.float32) + np.float32(0.5)) * scale).astype(np.int32), source - 1)


def _resized(x: Any, method: str, to: list[int], antialias: bool) -> Any:
    batch, height, width, channels = x.dims
    if height != to[0]:
        rows = _weights(method, height, to[0], antialias).astype(x.dtype.np)
        flat = matmul(convert_to_tensor(rows), reshape(x, shape=(batch, height, width * channels)))
        x = reshape(flat, shape=(batch, to[0], width, channels))
    if width != to[1]:
        columns = _weights(method, width, to[1], antialias).astype(x.dtype.np)
        x = matmul(convert_to_tensor(columns), x)
    return x


def extract_patches(images: Any, sizes: Any, strides: Any, rates: Any, padding: str, name: str | None = None) -> Any:
    """The patches of images that windows of `sizes` see, `strides` apart, their pixels `rates` apart, side by side in the channels.

    `sizes`, `strides` and `rates` are [1, rows, columns, 1]; `padding` is "SAME" or "VALID".
    """
    x = convert_to_tensor(images)
    window = [tuple(int(v) for v in given)[1:3] for given in (sizes, strides, rates)]
    out = patches(x, kernel=window[0], strides=window[1], dilations=window[2], padding=padding.upper())
    count = _math.prod(window[0])
    return reshape(out, shape=(*out.dims[:3], count * out.dims[-1]))

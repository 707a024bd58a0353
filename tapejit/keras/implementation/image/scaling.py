"""Images of other sizes: every axis multiplied by a matrix of weights. Formulas: `jax.image`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from keras.src.backend.common.dtypes import result_type
from keras.src.backend.config import standardize_data_format

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.image.layout import images_of, one_of
from tapejit.keras.implementation.numpy.promotion import floating

__all__ = ["resize", "scale_and_translate"]

RESIZE_INTERPOLATIONS = ("bilinear", "nearest", "lanczos3", "lanczos5", "bicubic")


# ---------------------------------------------------------------------------------------------------- weights
# of a sample at a distance of x >= 0 pixels
def _triangle(x: Any) -> Any:
    return tf.maximum(1 - x, 0)


def _cubic(x: Any) -> Any:
    """Keys' cubic with a = -1/2."""
    near = ((1.5 * x - 2.5) * x) * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return tf.where(x >= 2, tf.zeros_like(x), tf.where(x >= 1, far, near))


def _lanczos(radius: float) -> Callable[[Any], Any]:
    def kernel(x: Any) -> Any:
        y = radius * tf.sin(math.pi * x) * tf.sin(math.pi * x / radius)
        out = tf.where(x > 1e-3, y / tf.where(x != 0, math.pi**2 * tf.square(x), tf.ones_like(x)), tf.ones_like(x))
        return tf.where(x > radius, tf.zeros_like(x), out)

    return kernel


_KERNELS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("linear", "bilinear", "trilinear"), _triangle),
    **dict.fromkeys(("cubic", "bicubic", "tricubic"), _cubic),
    "lanczos3": _lanczos(3.0),
    "lanczos5": _lanczos(5.0),
}


def _weights(source: Any, to: Any, scale: Any, translation: Any, method: str, antialias: bool) -> Any:
    """float32[to, source]: what each pixel of the source counts in each of the result."""
    inverse = 1 / cast(scale, "float32")
    spread = tf.maximum(inverse, 1) if antialias else 1.0
    centres = (cast(tf.range(to), "float32") + 0.5) * inverse - cast(translation, "float32") * inverse - 0.5
    distances = tf.abs(centres[:, None] - cast(tf.range(source), "float32")[None, :]) / spread
    weights = _KERNELS[method](distances)
    total = tf.reduce_sum(weights, 1, keepdims=True)
    enough = tf.abs(total) > 1000 * 1.1920929e-07
    weights = tf.where(enough, weights / tf.where(enough, total, tf.ones_like(total)), tf.zeros_like(weights))
    inside = tf.logical_and(centres >= -0.5, centres <= cast(source, "float32") - 0.5)
    return tf.where(inside[:, None], weights, tf.zeros_like(weights))


def _weighted(x: Any, axis: int, weights: Any) -> Any:
    """The matrix times an axis."""
    rank = len(x.dims)
    order = [*(k for k in range(rank) if k != axis), axis]
    out = tf.tensordot(x, cast(weights, x.dtype), [[axis], [1]])
    return tf.transpose(out, [order.index(k) for k in range(rank)])


# ---------------------------------------------------------------------------------------------------- resize
def resize(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Images of height and width `size`; floating-point unless `interpolation` is "nearest".

    To keep the proportions, first the middle is cut out, or margins of `fill_value` are put around. ValueError for unknown names or both.
    """
    data_format = standardize_data_format(data_format)
    one_of("interpolation", interpolation, RESIZE_INTERPOLATIONS)
    if fill_mode != "constant":
        raise ValueError(f"Invalid value for argument `fill_mode`. Only `'constant'` is supported. Received: fill_mode={fill_mode}")
    if pad_to_aspect_ratio and crop_to_aspect_ratio:
        raise ValueError("Only one of `pad_to_aspect_ratio` & `crop_to_aspect_ratio` can be `True`.")
    if len(size) != 2:
        raise ValueError(f"Argument `size` must be a tuple of two elements (height, width). Received: size={size}")
    x = images_of(images)
    rows = len(x.dims) - (3 if data_format == "channels_last" else 2)
    if crop_to_aspect_ratio or pad_to_aspect_ratio:
        x = _proportioned(x, rows, size, fill_value if pad_to_aspect_ratio else None)
    dtype = x.dtype
    for axis, to in zip((rows, rows + 1), size, strict=True):
        source = x.dims[axis]
        if source == to:
            continue
        # of known sizes the weights are constants
        with tf.init_scope() if isinstance(source, int) and isinstance(to, int) else nullcontext():
            if interpolation == "nearest":
                taken = cast(tf.floor((cast(tf.range(to), "float32") + 0.5) * cast(source, "float32") / cast(to, "float32")), "int32")
            else:
                ratio = cast(to, "float32") / cast(source, "float32")
                weights = _weights(source, to, ratio, 0.0, interpolation, antialias)
        if interpolation == "nearest":
            x = tf.gather(x, taken, axis=axis)
        else:
            x = _weighted(cast(x, result_type(x.dtype.name, "float32")), axis, weights)
    return x if interpolation == "nearest" else cast(x, result_type(dtype.name, float))


def _proportioned(x: Any, rows: int, size: Sequence[int], fill_value: float | None) -> Any:
    """The middle of an image in the proportions of `size`, or, with a value to fill it, an image in those proportions around it."""
    height, width = x.dims[rows : rows + 2]
    if not (isinstance(height, int) and isinstance(width, int)):
        raise NotImplementedError("an aspect ratio kept for images whose size is known only at run time")
    wanted = int(float(width * size[0]) / size[1]), int(float(height * size[1]) / size[0])
    if fill_value is None:
        height, width = (max(min(n, w), 1) for n, w in zip((height, width), wanted, strict=True))
        begin = [0] * len(x.dims)
        begin[rows : rows + 2] = [(n - m) // 2 for n, m in zip(x.dims[rows : rows + 2], (height, width), strict=True)]
        return tf.slice(x, begin, [*x.dims[:rows], height, width, *x.dims[rows + 2 :]])
    margins = [(max(w - n, 0) // 2,) * 2 for n, w in zip((height, width), wanted, strict=True)]
    if margins[0][0]:
        margins[1] = (0, 0)
    return tf.pad(x, [(0, 0)] * rows + margins + [(0, 0)] * (len(x.dims) - rows - 2), constant_values=cast(fill_value, x.dtype))


def scale_and_translate(
    images: Any, output_shape: Sequence[int], scale: Any, translation: Any, spatial_dims: Sequence[int], method: str, antialias: bool = True
) -> Any:
    """A tensor of `output_shape`: the axes in `spatial_dims` stretched by `scale` and moved by `translation`, vectors of as many entries."""
    one_of("method", method, _KERNELS)
    x = floating(images)
    scale, translation = convert_to_tensor(scale), convert_to_tensor(translation)
    dtype = x.dtype
    x = cast(x, result_type(dtype.name, "float32"))
    for k, axis in enumerate(spatial_dims):
        axis %= len(x.dims)
        x = _weighted(x, axis, _weights(x.dims[axis], output_shape[axis], scale[k], translation[k], method, antialias))
    return cast(x, dtype)

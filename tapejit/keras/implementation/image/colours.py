"""Colours: grey values of red, green and blue, and their hue, saturation and value."""

from __future__ import annotations

from typing import Any

import ml_dtypes
from keras.src.backend.common.dtypes import result_type

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.image.layout import channels_axis, images_of

__all__ = ["hsv_to_rgb", "rgb_to_grayscale", "rgb_to_hsv"]

_LUMA = (0.2989, 0.5870, 0.1140)  # ITU-R BT.601


def rgb_to_grayscale(images: Any, data_format: str | None = None) -> Any:
    """One channel of three (of one: itself), in the same dtype."""
    images, axis = images_of(images), channels_axis(data_format)
    channels = images.dims[axis]
    if channels == 1:
        return images
    if channels != 3:
        raise ValueError(f"Invalid channel size: expected 3 (RGB) or 1 (Grayscale). Received input with shape: images.shape={images.shape}")
    x = cast(images, result_type(images.dtype.name, float))
    weights = tf.reshape(cast(_LUMA, x.dtype), [3] + [1] * (-1 - axis))
    return cast(tf.reduce_sum(x * weights, axis, keepdims=True), images.dtype)


def _planes(images: Any, data_format: str | None) -> tuple[Any, list[Any], int]:
    images, axis = images_of(images), channels_axis(data_format)
    if not images.dtype.is_floating:
        raise ValueError(f"Invalid images dtype: expected float dtype. Received: images.dtype={images.dtype.name}")
    return images, tf.unstack(images, axis=axis), axis


def rgb_to_hsv(images: Any, data_format: str | None = None) -> Any:
    """Hue (in turns), saturation and value."""
    images, planes, axis = _planes(images, data_format)
    eps = float(ml_dtypes.finfo(images.dtype.as_numpy_dtype).eps)
    r, g, b = (tf.where(tf.abs(x) < eps, tf.zeros_like(x), x) for x in planes)
    value = tf.maximum(tf.maximum(r, g), b)
    spread = value - tf.minimum(tf.minimum(r, g), b)
    nothing, one = tf.zeros_like(value), tf.ones_like(value)
    saturation = tf.where(value > 0, spread / tf.where(value > 0, value, one), nothing)
    sixth = 1 / (6 * tf.where(spread > 0, spread, one))
    hue = tf.where(value == g, sixth * (b - r) + 2 / 6, sixth * (r - g) + 4 / 6)
    hue = tf.where(value == r, sixth * (g - b), hue)
    hue = tf.where(spread > 0, hue, nothing) + cast(hue < 0, hue.dtype)
    return tf.stack([hue, saturation, value], axis)


def hsv_to_rgb(images: Any, data_format: str | None = None) -> Any:
    """Red, green and blue."""
    _, (hue, saturation, value), axis = _planes(images, data_format)
    sixths = tf.math.floormod(hue, cast(1, hue.dtype)) * 6

    def plane(ramp: Any) -> Any:
        return value * (1 - saturation + saturation * tf.clip_by_value(ramp, 0, 1))

    return tf.stack([plane(tf.abs(sixths - 3) - 1), plane(2 - tf.abs(sixths - 2)), plane(2 - tf.abs(sixths - 4))], axis)

"""Filters: every channel convolved with the same kernel."""

from __future__ import annotations

from typing import Any

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.image.layout import batched, images_of
from tapejit.keras.implementation.nn.windows import depthwise_conv

__all__ = ["gaussian_blur", "sobel_edges"]


def _filtered(x: Any, kernel: Any) -> Any:
    """[batch, height, width, channels] convolved with [height, width, results], beyond the edges 0: [..., channels * results]."""
    kernel = kernel[:, :, None, :]
    return depthwise_conv(x, tf.tile(kernel, [1, 1, x.dims[-1], 1]), 1, "same", "channels_last")


def gaussian_blur(images: Any, kernel_size: Any = (3, 3), sigma: Any = (1.0, 1.0), data_format: str | None = None) -> Any:
    """Images convolved with a Gaussian of `sigma`, cut off at `kernel_size`; columns first, then rows."""
    images = images_of(images)
    sigma = cast(sigma, images.dtype)

    def bell(k: int) -> Any:
        x = cast(tf.range(kernel_size[k]), images.dtype) - (kernel_size[k] - 1) / 2
        weights = tf.exp(-0.5 * tf.square(x / sigma[k]))
        return weights / tf.reduce_sum(weights)

    kernel = bell(1)[:, None] * bell(0)[None, :]
    return batched(images, data_format, lambda x: _filtered(x, kernel[:, :, None]))


_SOBEL = (((-1, -1), (-2, 0), (-1, 1)), ((0, -2), (0, 0), (0, 2)), ((1, -1), (2, 0), (1, 1)))  # [row, column, (down, right)]


def sobel_edges(images: Any, data_format: str | None = None) -> Any:
    """[*images.shape, 2]: how fast images change downwards and to the right."""
    images = images_of(images)
    first = data_format == "channels_first"
    x = tf.transpose(images, (0, 2, 3, 1)) if first else images
    out = tf.reshape(_filtered(x, cast(_SOBEL, x.dtype)), [*x.dims, 2])
    return tf.transpose(out, (0, 3, 1, 2, 4)) if first else out

"""What the functions of images ask of their arguments: a rank, a data format, one of the names they know."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from keras.src.backend.config import standardize_data_format

import tapejit as tf
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor


def one_of(name: str, value: Any, known: Collection[Any]) -> None:
    """ValueError unless `value` is known."""
    if value not in known:
        raise ValueError(f"Invalid value for argument `{name}`. Expected of one {known}. Received: {name}={value}")


def images_of(images: Any) -> Any:
    """A tensor of rank 3 or 4. ValueError otherwise."""
    images = convert_to_tensor(images)
    if len(images.dims) not in (3, 4):
        raise ValueError(
            "Invalid images rank: expected rank 3 (single image) or rank 4 (batch of images). Received input with shape: "
            f"images.shape={images.shape}"
        )
    return images


def channels_axis(data_format: str | None) -> int:
    """Where the channels are, counted from the last axis."""
    return -1 if standardize_data_format(data_format) == "channels_last" else -3


def batched(images: Any, data_format: str | None, function: Callable[[Any], Any]) -> Any:
    """`function` of [batch, height, width, channels], for single images and with channels first too."""
    first, single = channels_axis(data_format) == -3, len(images.dims) == 3
    x = images[None] if single else images
    x = tf.transpose(x, (0, 2, 3, 1)) if first else x
    out = function(x)
    out = tf.transpose(out, (0, 3, 1, 2)) if first else out
    return tf.squeeze(out, 0) if single else out

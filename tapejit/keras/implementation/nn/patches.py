"""Images taken apart and put together: windows in a row, and blocks of pixels in the channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tapejit as tf
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.ops.windows import fold as folded
from tapejit.ops.windows import patches

__all__ = ["depth_to_space", "fold", "space_to_depth", "unfold"]


def _pair(x: Any) -> tuple[int, int]:
    return (x, x) if isinstance(x, int) else tuple(x)


def _window(kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> dict[str, Any]:
    rows, columns = _pair(padding)
    return {
        "kernel": _pair(kernel_size),
        "strides": _pair(stride),
        "dilations": _pair(dilation),
        "padding": ((rows, rows), (columns, columns)),
    }


def unfold(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """[N, C, H, W] as the windows that slide over it: [N, C * kernel height * kernel width, windows]."""
    x = tf.transpose(convert_to_tensor(input), (0, 2, 3, 1))
    out = patches(x, **_window(kernel_size, dilation, padding, stride))  # [N, rows, columns, kernel height, kernel width, C]
    n, rows, columns, height, width, channels = out.dims
    return tf.reshape(tf.transpose(out, (0, 5, 3, 4, 1, 2)), (n, channels * height * width, rows * columns))


def fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """[N, C * kernel height * kernel width, windows] laid over an image [N, C, *output_size] and added up: the transpose of `unfold`."""
    x = convert_to_tensor(x)
    window = _window(kernel_size, dilation, padding, stride)
    size = _pair(output_size)
    height, width = window["kernel"]
    rows, columns = (
        (n + before + after - d * (k - 1) - 1) // s + 1
        for n, k, s, d, (before, after) in zip(size, *(window[a] for a in ("kernel", "strides", "dilations", "padding")), strict=True)
    )
    x = tf.reshape(x, (x.dims[0], x.dims[1] // (height * width), height, width, rows, columns))
    out = folded(tf.transpose(x, (0, 4, 5, 2, 3, 1)), size=size, **window)
    return tf.transpose(out, (0, 3, 1, 2))


def _channels_last(f: Callable[[Any, int, bool], Any]) -> Callable[..., Any]:
    """A function of images with channels last, for both data formats."""

    def function(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
        x = convert_to_tensor(x)
        if data_format == "channels_last":
            return f(x, block_size, False)
        return tf.transpose(f(tf.transpose(x, (0, 2, 3, 1)), block_size, True), (0, 3, 1, 2))

    return function


@_channels_last
def depth_to_space(x: Any, block: int, channels_outer: bool) -> Any:
    """Blocks of pixels from the channels, whose place in the block is the outer part of the channel, or with channels first the inner."""
    n, h, w, c = x.dims
    channels = c // block**2
    if channels_outer:
        x = tf.transpose(tf.reshape(x, (n, h, w, channels, block, block)), (0, 1, 4, 2, 5, 3))
    else:
        x = tf.transpose(tf.reshape(x, (n, h, w, block, block, channels)), (0, 1, 3, 2, 4, 5))
    return tf.reshape(x, (n, h * block, w * block, channels))


@_channels_last
def space_to_depth(x: Any, block: int, channels_outer: bool) -> Any:
    """Blocks of pixels put into the channels: undoes `depth_to_space`."""
    n, h, w, c = x.dims
    x = tf.reshape(x, (n, h // block, block, w // block, block, c))
    x = tf.transpose(x, (0, 1, 3, 5, 2, 4) if channels_outer else (0, 1, 3, 2, 4, 5))
    return tf.reshape(x, (n, h // block, w // block, c * block**2))

"""Sliding windows: convolutions and pooling of [batch, *spatial, channels] or [batch, channels, *spatial]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras.src.backend.common.backend_utils import (
    check_conv_input_channels,
    check_conv_transpose_input_channels,
    compute_conv_transpose_padding_args_for_jax,
)
from keras.src.backend.config import standardize_data_format

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import alike

__all__ = [
    "adaptive_average_pool", "adaptive_max_pool", "average_pool", "conv", "conv_transpose", "depthwise_conv", "max_pool", "separable_conv",
]  # fmt: skip


def _layout(data_format: str | None, rank: int) -> str:
    """tapejit's name of a data format for so many spatial axes."""
    spatial = "DHW"[3 - rank :] if rank <= 3 else ""
    return f"N{spatial}C" if standardize_data_format(data_format) == "channels_last" else f"NC{spatial}"


def _per_axis(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


# ---------------------------------------------------------------------------------------------------- convolution
def conv(inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None, dilation_rate: Any = 1) -> Any:
    """Convolution with a kernel [*window, channels / groups, out], in the kernel's dtype.

    ValueError where channels do not fit or the result would be empty.
    """
    kernel = convert_to_tensor(kernel)
    inputs = convert_to_tensor(inputs, kernel.dtype)
    rank = len(inputs.dims) - 2
    channels = inputs.dims[-1 if standardize_data_format(data_format) == "channels_last" else 1]
    if isinstance(channels, int) and channels % kernel.dims[-2]:
        raise ValueError(
            "The number of input channels must be evenly divisible by kernel's in_channels. Received input channels "
            f"{channels} and kernel in_channels {kernel.dims[-2]}. "
        )
    out = tf.nn.convolution(
        inputs, kernel, _per_axis(strides, rank), padding.upper(), _layout(data_format, rank), _per_axis(dilation_rate, rank)
    )
    if 0 in out.dims and 0 not in inputs.dims:
        raise ValueError(
            "The convolution operation resulted in an empty output. This can happen if the input is too small for the given kernel size, "
            "strides, dilation rate, and padding mode. Please check the input shape and convolution parameters."
        )
    return out


def depthwise_conv(
    inputs: Any, kernel: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None, dilation_rate: Any = 1
) -> Any:
    """Every channel convolved by kernels of its own: [*window, channels, multiplier]."""
    inputs, kernel = alike(convert_to_tensor(inputs), convert_to_tensor(kernel))
    check_conv_input_channels(inputs, kernel, standardize_data_format(data_format))
    *window, channels, multiplier = kernel.dims
    return conv(inputs, tf.reshape(kernel, (*window, 1, channels * multiplier)), strides, padding, data_format, dilation_rate)


def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """`depthwise_conv`, and a convolution of windows of one pixel."""
    between = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(between, pointwise_kernel, 1, "valid", data_format, 1)


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """The transpose of a convolution with the kernel [*window, out, in], whose result has about `strides` times the input's sizes."""
    inputs, kernel = alike(convert_to_tensor(inputs), convert_to_tensor(kernel))
    data_format = standardize_data_format(data_format)
    check_conv_transpose_input_channels(inputs, kernel, data_format)
    rank = len(inputs.dims) - 2
    strides, dilation = _per_axis(strides, rank), _per_axis(dilation_rate, rank)
    around = compute_conv_transpose_padding_args_for_jax(inputs.dims, kernel.dims, strides, padding, output_padding, dilation)
    last = data_format == "channels_last"
    reach = [(k - 1) * d for k, d in zip(kernel.dims, dilation, strict=False)]
    # what the convolution, whose transpose this is, adds around its input; less than nothing is zeros that no window saw
    pads = [(r - before, r - after) for r, (before, after) in zip(reach, around, strict=True)]
    size = [
        (n - 1) * s + r + 1 - max(before, 0) - max(after, 0)
        for n, s, r, (before, after) in zip(inputs.dims[1:-1] if last else inputs.dims[2:], strides, reach, pads, strict=True)
    ]
    inside = [(max(before, 0), max(after, 0)) for before, after in pads]
    out = tf.nn.conv_transpose(inputs, kernel, size, strides, inside, _layout(data_format, rank), dilation)
    outside = [(max(-before, 0), max(-after, 0)) for before, after in pads]
    if not any(any(pair) for pair in outside):
        return out
    return tf.pad(out, [(0, 0), *outside, (0, 0)] if last else [(0, 0), (0, 0), *outside])


# ---------------------------------------------------------------------------------------------------- pooling
def _pool(pool: Callable[..., Any], inputs: Any, pool_size: Any, strides: Any, padding: str, data_format: str | None) -> Any:
    if padding not in ("same", "valid"):
        raise ValueError(f"Invalid padding '{padding}', must be 'same' or 'valid'.")
    inputs = convert_to_tensor(inputs)
    rank = len(inputs.dims) - 2
    size = _per_axis(pool_size, rank)
    return pool(inputs, size, size if strides is None else _per_axis(strides, rank), padding.upper(), _layout(data_format, rank))


def max_pool(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None) -> Any:
    """The largest element of every window."""
    return _pool(tf.nn.max_pool, inputs, pool_size, strides, padding, data_format)


def average_pool(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None) -> Any:
    """The mean of every window's elements, padding not counted."""
    return _pool(tf.nn.avg_pool, inputs, pool_size, strides, padding, data_format)


def _adaptive(inputs: Any, output_size: Any, data_format: str | None, reduce: Callable[[Any, np.ndarray, int], Any]) -> Any:
    """Spatial axes brought to given sizes: element i of m is made of the elements from i n / m (rounded down) to (i + 1) n / m (up)."""
    x = convert_to_tensor(inputs)
    rank = len(x.dims) - 2
    first = 1 if standardize_data_format(data_format) == "channels_last" else 2
    for axis, m in enumerate(_per_axis(output_size, rank), first):
        n = x.dims[axis]
        if m is None or m == n:
            continue
        if not isinstance(n, int):
            raise NotImplementedError(f"adaptive pooling of axis {axis}, whose size is known only at run time")
        starts, ends = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m)
        places = starts[:, None] + np.arange((ends - starts).max())
        inside = places < ends[:, None]
        x = reduce(tf.gather(x, np.minimum(places, ends[:, None] - 1), axis=axis), inside, axis + 1)
    return x


def _means(windows: Any, inside: np.ndarray, axis: int) -> Any:
    """The mean along `axis` of what is inside of each window."""
    shape = [1] * len(windows.dims)
    shape[axis - 1 : axis + 1] = inside.shape
    weights = cast(np.reshape(inside / inside.sum(1, keepdims=True), shape), windows.dtype)
    return tf.reduce_sum(windows * weights, axis)


def _largest(windows: Any, inside: np.ndarray, axis: int) -> Any:
    """The largest along `axis`: what is not inside repeats an element that is."""
    return tf.reduce_max(windows, axis)


def adaptive_average_pool(inputs: Any, output_size: int | Sequence[int], data_format: str | None = None) -> Any:
    """Means of windows that divide the spatial axes evenly into `output_size` parts."""
    return _adaptive(inputs, output_size, data_format, _means)


def adaptive_max_pool(inputs: Any, output_size: int | Sequence[int], data_format: str | None = None) -> Any:
    """The largest elements of windows that divide the spatial axes evenly into `output_size` parts."""
    return _adaptive(inputs, output_size, data_format, _largest)

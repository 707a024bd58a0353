"""Convolution and pooling as `tf.nn` has them: any rank, strides, dilations, paddings, groups, and both data formats.

In: tensors [batch, *spatial, channels], or with "NC..." formats [batch, channels, *spatial], which are transposed on the way in and
out. Everything here is `ops.convolution`, `ops.pooling` and arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapejit.core import dtypes, places, sizes
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.ops.convolution import conv, conv_filter, conv_input
from tapejit.ops.creation import iota
from tapejit.ops.elementwise import cast, full
from tapejit.ops.pooling import max_pool as max_pool_op
from tapejit.ops.pooling import pool_where, window_sum
from tapejit.ops.shapes import reshape, transpose
from tapejit.ops.slicing import scalar_of
from tapejit.ops.windows import Padding, axis_padding, output_size, pads
from tapejit.tensor import convert_to_tensor, dims_of

__all__ = [
    "atrous_conv2d", "atrous_conv2d_transpose", "avg_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d", "conv1d", "conv1d_transpose", "conv2d",
    "conv2d_transpose", "conv3d", "conv3d_transpose", "conv_transpose", "convolution", "depthwise_conv2d", "depthwise_conv2d_backprop_filter",
    "depthwise_conv2d_backprop_input", "max_pool", "max_pool1d", "max_pool2d", "max_pool3d", "max_pool_with_argmax", "pool", "separable_conv2d",
]  # fmt: skip


# ------------------------------------------------------------------------------------------------ arguments
def _fail(message: str) -> ValueError:
    return ValueError(places.with_place(message))


def _channels_first(data_format: str | None, rank: int) -> bool:
    """Whether the format puts channels before the spatial axes. ValueError for one that does not belong to `rank` spatial axes."""
    if data_format is None:
        return False
    last, first = f"N{'DHW'[3 - rank :]}C", f"NC{'DHW'[3 - rank :]}"
    if data_format not in (last, first):
        raise _fail(f"data_format must be {last!r} or {first!r}, got {data_format!r}")
    return data_format == first


def _per_axis(value: Any, rank: int, name: str, first: bool) -> tuple[int, ...]:
    """One number per spatial axis from a number, a list of one, of `rank`, or of rank + 2 with ones for batch and channels."""
    if value is None:
        return (1,) * rank
    listed = [int(v) for v in np.atleast_1d(np.asarray(value))]
    if len(listed) == 1:
        return (listed[0],) * rank
    if len(listed) == rank:
        return tuple(listed)
    if len(listed) == rank + 2:
        spatial = listed[2:] if first else listed[1:-1]
        others = (listed[0], listed[1] if first else listed[-1])
        if others != (1, 1):
            raise _fail(f"{name} must be 1 in the batch and channel axes, got {listed}")
        return tuple(spatial)
    raise _fail(f"{name} should be of length 1, {rank} or {rank + 2} but was {len(listed)}: {listed}")


def _padding(padding: Any, rank: int, first: bool) -> Padding:
    """ "SAME", "VALID" or pairs per spatial axis, from a string or a list of pairs per axis."""
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise _fail(f'padding must be "SAME", "VALID" or a list of (before, after) pairs, got {padding!r}')
        return padding.upper()
    pairs = [tuple(int(v) for v in pair) for pair in padding]
    if len(pairs) == rank + 2:
        others = (pairs[0], pairs[1] if first else pairs[-1])
        if any(any(p) for p in others):
            raise _fail(f"padding must be [0, 0] in the batch and channel axes, got {padding}")
        pairs = pairs[2:] if first else pairs[1:-1]
    if len(pairs) != rank or any(len(p) != 2 for p in pairs):
        raise _fail(f"padding needs a (before, after) pair per spatial axis, got {padding}")
    return tuple((b, a) for b, a in pairs)


def _attributes(strides: tuple[int, ...], padding: Padding, dilations: tuple[int, ...], groups: Any = 1) -> dict[str, Any]:
    """Attributes of a convolution, those that are as by default left out so that the text stays short."""
    out: dict[str, Any] = {"strides": strides}
    if padding != "VALID":
        out["padding"] = padding
    if any(d != 1 for d in dilations):
        out["dilations"] = dilations
    if groups != 1:
        out["groups"] = groups
    return out


def _last(x: Any, first: bool) -> Any:
    """Channels moved behind the spatial axes."""
    rank = len(x.dims)
    return transpose(x, perm=(0, *range(2, rank), 1)) if first else x


def _back(x: Any, first: bool) -> Any:
    """Channels moved where the data format wants them."""
    rank = len(x.dims)
    return transpose(x, perm=(0, rank - 1, *range(1, rank - 1))) if first else x


def _operands(x: Any, w: Any) -> tuple[Any, Any]:
    x = convert_to_tensor(x)
    return x, convert_to_tensor(w) if hasattr(w, "dims") else convert_to_tensor(w, x.dtype)


def _over_batches(x: Any, rank: int, f: Callable[[Any], Any]) -> Any:
    """`f` of a tensor with one batch axis, for a tensor with any number of them."""
    extra = len(x.dims) - rank - 2
    if extra == 0:
        return f(x)
    if extra < 0:
        raise _fail(f"an input of rank {rank + 2} or more is expected, got shape {list(x.dims)}; write x[tf.newaxis] for a single example")
    lead = x.dims[: extra + 1]
    out = f(reshape(x, shape=(sizes.product(lead), *x.dims[extra + 1 :])))
    return reshape(out, shape=(*lead, *out.dims[1:]))


# ------------------------------------------------------------------------------------------------ convolution
def _convolved(x: Any, w: Any, strides: Any, padding: Any, data_format: str | None, dilations: Any, rank: int) -> Any:
    x, w = _operands(x, w)
    if len(w.dims) != rank + 2:
        raise _fail(f"a filter of rank {rank + 2}, [*kernel, in_channels, out_channels], is expected, got shape {list(w.dims)}")
    first = _channels_first(data_format, rank)

    def convolve(y: Any) -> Any:
        y = _last(y, first)
        have, per_group = y.dims[-1], w.dims[-2]
        groups = 1
        if isinstance(have, int) and isinstance(per_group, int) and have != per_group:
            if not per_group or have % per_group:
                raise InvalidArgumentError(
                    places.with_place(f"input depth must be evenly divisible by filter depth: {have} vs {per_group}")
                )
            groups = have // per_group
        attrs = _attributes(
            _per_axis(strides, rank, "strides", first),
            _padding(padding, rank, first),
            _per_axis(dilations, rank, "dilations", first),
            groups,
        )
        return _back(conv(y, w, **attrs), first)

    return _over_batches(x, rank, convolve)


def conv1d(
    input: Any, filters: Any, stride: Any, padding: Any, data_format: str = "NWC", dilations: Any = None, name: str | None = None
) -> Any:
    """Convolution over one axis: [batch, width, in] with a filter [width, in / groups, out]. InvalidArgumentError where channels do not fit."""
    format_ = {"NWC": None, "NCW": "NCW"}.get(data_format, data_format)
    return _convolved(input, filters, stride, padding, format_, dilations, 1)


def conv2d(
    input: Any, filters: Any, strides: Any, padding: Any, data_format: str = "NHWC", dilations: Any = None, name: str | None = None
) -> Any:
    """Convolution over two axes: [batch, height, width, in] with a filter [height, width, in / groups, out].

    `padding` is "SAME", "VALID" or pairs per axis. InvalidArgumentError where channels do not fit.
    """
    return _convolved(input, filters, strides, padding, data_format, dilations, 2)


def conv3d(
    input: Any, filters: Any, strides: Any, padding: Any, data_format: str = "NDHWC", dilations: Any = None, name: str | None = None
) -> Any:
    """Convolution over three axes: [batch, depth, height, width, in] with a filter [depth, height, width, in / groups, out]."""
    return _convolved(input, filters, strides, padding, data_format, dilations, 3)


def convolution(
    input: Any,
    filters: Any,
    strides: Any = None,
    padding: Any = "VALID",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """Convolution over as many axes as the filter has beside its two of channels."""
    w = filters if hasattr(filters, "dims") else convert_to_tensor(filters)
    return _convolved(input, w, strides, padding, data_format, dilations, len(w.dims) - 2)


def _transposed(x: Any, w: Any, output_shape: Any, strides: Any, padding: Any, data_format: str | None, dilations: Any, rank: int) -> Any:
    x, w = _operands(x, w)
    first = _channels_first(data_format, rank)
    given = dims_of(output_shape)
    if len(given) == rank + 2:
        size: tuple[Dim, ...] = given[2:] if first else given[1:-1]
        channels = given[1] if first else given[-1]
        if isinstance(channels, int) and isinstance(w.dims[-2], int) and channels != w.dims[-2]:
            raise _fail(f"output_shape {list(given)} has {channels} channels, the filter {list(w.dims)} makes {w.dims[-2]}")
    elif len(given) == rank:
        size = given
    else:
        raise _fail(f"output_shape must have {rank + 2} (or {rank}) entries, got {list(given)}")
    attrs = _attributes(
        _per_axis(strides, rank, "strides", first), _padding(padding, rank, first), _per_axis(dilations, rank, "dilations", first)
    )
    return _back(conv_input(_last(x, first), w, size=size, **attrs), first)


def conv1d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str = "NWC",
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """The transpose of `conv1d`: from its result's shape to `output_shape`; the filter is [width, out, in]."""
    return _transposed(input, filters, output_shape, strides, padding, {"NWC": None}.get(data_format, data_format), dilations, 1)


def conv2d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """The transpose of `conv2d`: from its result's shape to `output_shape`; the filter is [height, width, out, in]."""
    return _transposed(input, filters, output_shape, strides, padding, data_format, dilations, 2)


def conv3d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str = "NDHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """The transpose of `conv3d`: from its result's shape to `output_shape`; the filter is [depth, height, width, out, in]."""
    return _transposed(input, filters, output_shape, strides, padding, data_format, dilations, 3)


def conv_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """The transpose of `convolution`, over as many axes as the filter has beside its two of channels."""
    w = filters if hasattr(filters, "dims") else convert_to_tensor(filters)
    return _transposed(input, w, output_shape, strides, padding, data_format, dilations, len(w.dims) - 2)


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: str, name: str | None = None) -> Any:
    """`conv2d` with the filter's elements `rate` apart."""
    return conv2d(value, filters, 1, padding, dilations=rate)


def atrous_conv2d_transpose(value: Any, filters: Any, output_shape: Any, rate: int, padding: str, name: str | None = None) -> Any:
    """The transpose of `atrous_conv2d`."""
    return conv2d_transpose(value, filters, output_shape, 1, padding, dilations=rate)


def _depthwise_filter(w: Any) -> Any:
    """[height, width, channels, multiplier] as the filter of a convolution with a group per channel."""
    return reshape(w, shape=(*w.dims[:2], 1, w.dims[2] * w.dims[3]))


def depthwise_conv2d(
    input: Any, filter: Any, strides: Any, padding: Any, data_format: str | None = None, dilations: Any = None, name: str | None = None
) -> Any:
    """Each channel convolved by filters of its own: [height, width, channels, multiplier] gives channels * multiplier channels."""
    x, w = _operands(input, filter)
    first = _channels_first(data_format, 2)
    x = _last(x, first)
    groups = w.dims[2] if isinstance(w.dims[2], int) else x.dims[-1]
    if not isinstance(groups, int):
        raise NotImplementedError(
            places.with_place(
                f"depthwise_conv2d of shape {list(x.dims)} with filter {list(w.dims)}: the number of channels must be known; write x.set_shape(...) or "
                "tf.ensure_shape(x, [None, None, None, channels])"
            )
        )
    if isinstance(x.dims[-1], int) and x.dims[-1] != groups:
        raise InvalidArgumentError(
            places.with_place(f"input has {x.dims[-1]} channels, the depthwise filter {list(w.dims)} is for {groups}")
        )
    attrs = _attributes(
        _per_axis(strides, 2, "strides", first), _padding(padding, 2, first), _per_axis(dilations, 2, "dilations", first), groups
    )
    return _back(conv(x, _depthwise_filter(w), **attrs), first)


def depthwise_conv2d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """The gradient of `depthwise_conv2d` in its input, whose shape is `input_sizes`."""
    g, w = _operands(out_backprop, filter)
    first = _channels_first(data_format, 2)
    shape = dims_of(input_sizes)
    attrs = _attributes(
        _per_axis(strides, 2, "strides", first), _padding(padding, 2, first), _per_axis(dilations, 2, "dilations", first), w.dims[2]
    )
    return _back(conv_input(_last(g, first), _depthwise_filter(w), size=shape[2:] if first else shape[1:3], **attrs), first)


def depthwise_conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """The gradient of `depthwise_conv2d` in its filter, whose shape is `filter_sizes`."""
    x, g = _operands(input, out_backprop)
    first = _channels_first(data_format, 2)
    h, w, channels, multiplier = dims_of(filter_sizes)
    attrs = _attributes(
        _per_axis(strides, 2, "strides", first), _padding(padding, 2, first), _per_axis(dilations, 2, "dilations", first), channels
    )
    return reshape(conv_filter(_last(x, first), _last(g, first), kernel=(h, w), **attrs), shape=(h, w, channels, multiplier))


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Any:
    """`depthwise_conv2d`, then a convolution with a 1 by 1 filter that mixes the channels."""
    middle = depthwise_conv2d(input, depthwise_filter, strides, padding, data_format, dilations)
    return conv2d(middle, pointwise_filter, 1, "VALID", data_format or "NHWC")


# ------------------------------------------------------------------------------------------------ pooling
def _pooled(x: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None, rank: int, how: str, dilations: Any = None) -> Any:
    x = convert_to_tensor(x)
    first = _channels_first(data_format, rank)
    window = {
        "kernel": _per_axis(ksize, rank, "ksize", first),
        "strides": _per_axis(strides, rank, "strides", first),
        "dilations": _per_axis(dilations, rank, "dilations", first),
        "padding": _padding(padding, rank, first),
    }
    pool_ = _largest if how == "MAX" else _average
    return _over_batches(x, rank, lambda y: _back(pool_(_last(y, first), window), first))


def _largest(x: Any, window: dict[str, Any]) -> Any:
    return max_pool_op(x, **window)


def _average(x: Any, window: dict[str, Any]) -> Any:
    """The mean over each window's elements that are inside."""
    total = window_sum(x, **window)
    if window["padding"] == "VALID":
        return total / float(np.prod(window["kernel"]))
    ones = full(shape=(1, *x.dims[1:-1], 1), value=1, dtype=x.dtype)
    return total / window_sum(ones, **window)


def _spatial_rank(x: Any) -> int:
    rank = len(x.dims) - 2
    if rank < 1:
        raise _fail(f"pooling takes [batch, *spatial, channels], got shape {list(x.dims)}")
    return rank


def max_pool(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None, name: str | None = None) -> Any:
    """The largest element of each window; padding never wins, and the gradient goes to the first of several largest."""
    x = convert_to_tensor(input)
    return _pooled(x, ksize, strides, padding, data_format, _spatial_rank(x), "MAX")


def max_pool1d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NWC", name: str | None = None) -> Any:
    """`max_pool` over one axis."""
    return _pooled(input, ksize, strides, padding, {"NWC": None}.get(data_format, data_format), 1, "MAX")


def max_pool2d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NHWC", name: str | None = None) -> Any:
    """`max_pool` over two axes."""
    return _pooled(input, ksize, strides, padding, data_format, 2, "MAX")


def max_pool3d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NDHWC", name: str | None = None) -> Any:
    """`max_pool` over three axes."""
    return _pooled(input, ksize, strides, padding, data_format, 3, "MAX")


def avg_pool(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None, name: str | None = None) -> Any:
    """The mean over each window's elements, padding not counted."""
    x = convert_to_tensor(input)
    return _pooled(x, ksize, strides, padding, data_format, _spatial_rank(x), "AVG")


def avg_pool1d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NWC", name: str | None = None) -> Any:
    """`avg_pool` over one axis."""
    return _pooled(input, ksize, strides, padding, {"NWC": None}.get(data_format, data_format), 1, "AVG")


def avg_pool2d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NHWC", name: str | None = None) -> Any:
    """`avg_pool` over two axes."""
    return _pooled(input, ksize, strides, padding, data_format, 2, "AVG")


def avg_pool3d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NDHWC", name: str | None = None) -> Any:
    """`avg_pool` over three axes."""
    return _pooled(input, ksize, strides, padding, data_format, 3, "AVG")


def pool(
    input: Any, window_shape: Sequence[int], pooling_type: str, strides: Any = None, padding: Any = "VALID", data_format: str | None = None, dilations: Any = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Pooling of `pooling_type` "MAX" or "AVG" with windows of `window_shape`, whose elements may be `dilations` apart."""
    if pooling_type not in ("MAX", "AVG"):
        raise _fail(f'pooling_type must be "MAX" or "AVG", got {pooling_type!r}')
    x = convert_to_tensor(input)
    return _pooled(x, list(window_shape), strides, padding, data_format, len(window_shape), pooling_type, dilations)


def max_pool_with_argmax(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NHWC", output_dtype: Any = dtypes.int64, include_batch_in_index: bool = False,
    name: str | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """`max_pool2d`, and where in the flattened [height, width, channels] (or whole input) each largest element stands."""
    x = convert_to_tensor(input)
    if data_format != "NHWC":
        raise _fail(f"max_pool_with_argmax takes data_format 'NHWC', got {data_format!r}")
    window: dict[str, Any] = {
        "kernel": _per_axis(ksize, 2, "ksize", False),
        "strides": _per_axis(strides, 2, "strides", False),
        "dilations": (1, 1),
        "padding": _padding(padding, 2, False),
    }
    largest = max_pool_op(x, **window)
    batch, height, width, channels = x.dims
    place = cast(pool_where(x, largest, **window), dtype=dtypes.int64)
    margins = pads((height, width), **window)

    def along(axis: int, size: Dim, offset: Any) -> Any:
        """The position along a spatial axis: where the window starts plus the place in it."""
        count = output_size(size, window["kernel"][axis], window["strides"][axis], 1, axis_padding(window["padding"], axis))
        starts = iota(size=count, dtype=dtypes.int64) * window["strides"][axis] - scalar_of(margins[axis][0], dtypes.int64)
        return reshape(starts, shape=(count, *(1,) * (2 - axis))) + offset

    row, column = along(0, height, place // window["kernel"][1]), along(1, width, place % window["kernel"][1])
    wide, deep = scalar_of(width, dtypes.int64), scalar_of(channels, dtypes.int64)
    flat = (row * wide + column) * deep + iota(size=channels, dtype=dtypes.int64)
    if include_batch_in_index:
        flat = flat + reshape(iota(size=batch, dtype=dtypes.int64), shape=(batch, 1, 1, 1)) * scalar_of(
            height * width * channels, dtypes.int64
        )
    return largest, cast(flat, dtype=dtypes.as_dtype(output_dtype))

"""`tf.nn`: activations, losses on logits, normalisation, dropout, embeddings; convolution and pooling come from `sliding`.

In: tensors and what converts to them; out: tensors. Nearly all of it is plain arithmetic on ops, so gradients of every order follow.
Losses are written so that their gradients are the short ones (softmax(x) - labels), in one pass over the rows.
"""

from __future__ import annotations

import math as _math
from types import SimpleNamespace
from typing import Any

import numpy as np

from tapejit.activations import (
    crelu,
    elu,
    floating,
    gelu,
    leaky_relu,
    log_softmax,
    narrowed,
    relu,
    relu6,
    selu,
    shifted,
    silu,
    softmax,
    softsign,
    swish,
    wide,
)
from tapejit.arrays import batch_to_space, depth_to_space, space_to_batch, space_to_depth
from tapejit.candidates import sampled_logits
from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.math import l2_normalize, reduce_mean, reduce_sum, sigmoid, softplus, tanh, zero_fraction
from tapejit.ops import activations as _a
from tapejit.ops import elementwise as _e
from tapejit.ops.gathering import in_range
from tapejit.ops.picking import pick
from tapejit.ops.pooling import window_sum
from tapejit.ops.reductions import normal_axes, sum_
from tapejit.ops.shapes import reshape as _reshape
from tapejit.ops.slicing import scalar_of
from tapejit.ordering import in_top_k, top_k
from tapejit.random import log_uniform_candidate_sampler
from tapejit.selection import gather
from tapejit.sliding import (
    atrous_conv2d,
    atrous_conv2d_transpose,
    avg_pool,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    conv1d,
    conv1d_transpose,
    conv2d,
    conv2d_transpose,
    conv3d,
    conv3d_transpose,
    conv_transpose,
    convolution,
    depthwise_conv2d,
    depthwise_conv2d_backprop_filter,
    depthwise_conv2d_backprop_input,
    max_pool,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_pool_with_argmax,
    pool,
    separable_conv2d,
)  # fmt: skip
from tapejit.tensor import Tensor, convert_to_tensor, dims_of

__all__ = [
    "atrous_conv2d", "atrous_conv2d_transpose", "avg_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d", "batch_normalization",
    "batch_to_space", "bias_add", "compute_average_loss", "conv1d", "conv1d_transpose", "conv2d", "conv2d_transpose", "conv3d",
    "conv3d_transpose", "conv_transpose", "convolution", "crelu", "depth_to_space", "depthwise_conv2d", "depthwise_conv2d_backprop_filter",
    "depthwise_conv2d_backprop_input", "dropout", "elu", "embedding_lookup", "experimental", "gelu", "in_top_k", "l2_loss", "l2_normalize",
    "leaky_relu", "local_response_normalization", "log_poisson_loss", "log_softmax", "lrn", "max_pool", "max_pool1d", "max_pool2d",
    "max_pool3d", "max_pool_with_argmax", "moments", "nce_loss", "normalize_moments", "pool", "relu", "relu6", "sampled_softmax_loss", "scale_regularization_loss", "selu",
    "separable_conv2d", "sigmoid", "sigmoid_cross_entropy_with_logits", "silu", "softmax", "softmax_cross_entropy_with_logits", "softplus",
    "softsign", "space_to_batch", "space_to_depth", "sparse_softmax_cross_entropy_with_logits", "sufficient_statistics", "swish", "tanh",
    "top_k", "weighted_cross_entropy_with_logits", "weighted_moments", "zero_fraction",
]  # fmt: skip


def _fail(message: str) -> ValueError:
    return ValueError(places.with_place(message))


def _like(x: Any, other: Any) -> Any:
    """`x` as a tensor, of the dtype of `other` where it has none of its own."""
    return convert_to_tensor(x) if hasattr(x, "dims") else convert_to_tensor(x, other.dtype)


def _pair(x: Any, y: Any) -> tuple[Any, Any]:
    """Two tensors of one dtype; an array or number takes that of the tensor it meets."""
    if hasattr(x, "dims") and not hasattr(y, "dims"):
        x = convert_to_tensor(x)
        return x, _like(y, x)
    y = convert_to_tensor(y)
    return _like(x, y), y


# ------------------------------------------------------------------------------------------------ losses
def softmax_cross_entropy_with_logits(labels: Any, logits: Any, axis: int = -1, name: str | None = None) -> Any:
    """-sum(labels * log_softmax(logits)) along `axis`; `labels` are probabilities, which have a gradient too.

    InvalidArgumentError where the shapes do not fit.
    """
    labels, logits = _pair(labels, floating(logits, "softmax_cross_entropy_with_logits"))
    if len(labels.dims) != len(logits.dims):
        raise InvalidArgumentError(
            places.with_place(f"logits and labels must be broadcastable: logits_size={logits.shape} labels_size={labels.shape}")
        )
    less, axes = shifted(wide(logits), axis)
    partition = _e.log(sum_(_e.exp(less), axis=axes, keepdims=True))
    return narrowed(sum_(wide(labels) * (partition - less), axis=axes), logits.dtype)


def sparse_softmax_cross_entropy_with_logits(labels: Any, logits: Any, name: str | None = None) -> Any:
    """-log_softmax(logits)[label] for the integer label of each row.

    ValueError where ranks or shapes do not fit, InvalidArgumentError for a label outside of the classes.
    """
    logits = floating(logits, "sparse_softmax_cross_entropy_with_logits")
    labels = convert_to_tensor(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            places.with_place(
                f"labels must be integers, got {labels.dtype.name}; write tf.cast(labels, tf.int32), or softmax_cross_entropy_with_logits for probabilities"
            )
        )
    if not logits.dims:
        raise _fail("`logits` cannot be a scalar.")
    if len(labels.dims) != len(logits.dims) - 1:
        raise _fail(
            f"`labels.shape.rank` must equal `logits.shape.rank - 1`. Received: labels.shape={labels.shape} of rank {len(labels.dims)} and "
            f"logits.shape={logits.shape} of rank {len(logits.dims)}"
        )
    for a, b in zip(labels.dims, logits.dims, strict=False):
        if isinstance(a, int) and isinstance(b, int) and a != b:
            raise _fail(
                f"`labels.shape` must equal `logits.shape` except for the last dimension. Received: labels.shape={labels.shape} and logits.shape={logits.shape}"
            )
    less, axes = shifted(wide(logits), -1)
    partition = _e.log(sum_(_e.exp(less), axis=axes))
    return narrowed(partition - pick(less, in_range(labels, limit=logits.dims[-1])), logits.dtype)


def sigmoid_cross_entropy_with_logits(labels: Any = None, logits: Any = None, name: str | None = None) -> Any:
    """-labels * log(sigmoid(x)) - (1 - labels) * log(1 - sigmoid(x)), one by one. ValueError for shapes that differ."""
    labels, logits = _pair(labels, logits)
    _same_shape(labels, logits)
    return _a.sigmoid_cross_entropy(logits, labels)


def weighted_cross_entropy_with_logits(labels: Any, logits: Any, pos_weight: Any, name: str | None = None) -> Any:
    """`sigmoid_cross_entropy_with_logits` with the term of positive labels times `pos_weight`."""
    labels, logits = _pair(labels, logits)
    _same_shape(labels, logits)
    return (1 - labels) * logits + (1 + (pos_weight - 1) * labels) * _e.softplus(-logits)


def _same_shape(labels: Any, logits: Any) -> None:
    if len(labels.dims) != len(logits.dims) or any(
        isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(labels.dims, logits.dims, strict=True)
    ):
        raise _fail(f"`logits` and `labels` must have the same shape, received ({logits.shape} vs {labels.shape}).")


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    name: str = "nce_loss",
) -> Any:
    """[batch]: the noise-contrastive loss: the true classes told from `num_sampled` drawn ones, each by a logistic regression.

    `weights` is [num_classes, n], `inputs` [batch, n], `labels` [batch, num_true]; `sampled_values` is what a candidate sampler of
    `tf.random` gives, by default the log-uniform one.
    """
    values = sampled_values or log_uniform_candidate_sampler(labels, num_true, num_sampled, True, num_classes)
    logits, targets = sampled_logits(weights, biases, labels, inputs, num_true, values, remove_accidental_hits)
    return reduce_sum(sigmoid_cross_entropy_with_logits(targets, logits), axis=1)


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    seed: int | None = None,
    name: str = "sampled_softmax_loss",
) -> Any:
    """[batch]: the cross-entropy of a softmax over the true classes and `num_sampled` drawn ones; arguments as of `nce_loss`."""
    values = sampled_values or log_uniform_candidate_sampler(labels, num_true, num_sampled, True, num_classes, seed=seed)
    logits, targets = sampled_logits(weights, biases, labels, inputs, num_true, values, remove_accidental_hits)
    return softmax_cross_entropy_with_logits(targets, logits)


def log_poisson_loss(targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None) -> Any:
    """exp(x) - x * targets, with `compute_full_loss` plus Stirling's approximation of log(targets!) where targets exceed 1."""
    targets, x = _pair(targets, log_input)
    _same_shape(targets, x)
    loss = _e.exp(x) - x * targets
    if compute_full_loss:
        stirling = targets * _e.log(targets) - targets + 0.5 * _e.log(2.0 * _math.pi * targets)
        small = _e.logical_and(targets >= 0, targets <= 1)
        loss = loss + _e.select(small, _e.zeros_like(targets), stirling)
    return loss


def l2_loss(t: Any, name: str | None = None) -> Any:
    """Half the sum of squares."""
    x = floating(t, "l2_loss")
    return sum_(x * x, axis=tuple(range(len(x.dims)))) * 0.5


def compute_average_loss(per_example_loss: Any, sample_weight: Any = None, global_batch_size: Any = None) -> Any:
    """The (weighted) sum of losses over the batch size, which is by default that of `per_example_loss`."""
    loss = floating(per_example_loss, "compute_average_loss")
    if not loss.dims:
        raise _fail("compute_average_loss takes a loss per example, got a scalar; write the loss with reduction='none'")
    count = loss.dims[0] if global_batch_size is None else global_batch_size
    if sample_weight is not None:
        weight = narrowed(convert_to_tensor(sample_weight), loss.dtype)
        extra = len(loss.dims) - len(weight.dims)
        loss = loss * (_reshape(weight, shape=(*weight.dims, *(1,) * extra)) if extra > 0 and weight.dims else weight)
    total = reduce_sum(loss)
    if isinstance(count, int | float):
        return total / float(count)
    return total / narrowed(convert_to_tensor(count) if hasattr(count, "dims") else scalar_of(count, dtypes.int32), total.dtype)


def scale_regularization_loss(regularization_loss: Any) -> Any:
    """The sum of regularisation losses (there is one replica)."""
    return reduce_sum(convert_to_tensor(regularization_loss))


# ------------------------------------------------------------------------------------------------ statistics and normalisation
def moments(x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: str | None = None) -> tuple[Any, Any]:
    """Mean and variance over `axes`; 16-bit floats are summed in float32."""
    x = convert_to_tensor(x)
    axis = normal_axes(axes, len(x.dims))
    y = wide(x)
    mean = reduce_mean(y, axis, keepdims=True)
    variance = reduce_mean(_e.squared_difference(y, _e.stop_gradient(mean)), axis, keepdims=True)
    if not keepdims:
        kept = tuple(d for k, d in enumerate(x.dims) if k not in axis)
        mean, variance = _reshape(mean, shape=kept), _reshape(variance, shape=kept)
    return narrowed(mean, x.dtype), narrowed(variance, x.dtype)


def weighted_moments(x: Any, axes: Any, frequency_weights: Any, keepdims: bool = False, name: str | None = None) -> tuple[Any, Any]:
    """Mean and variance over `axes` of elements that count `frequency_weights` times, which broadcast against `x`."""
    x = convert_to_tensor(x)
    weights = narrowed(convert_to_tensor(frequency_weights), x.dtype)
    axis = normal_axes(axes, len(x.dims))
    y, w = wide(x), wide(weights)
    w = w + _e.zeros_like(y)
    total = sum_(w, axis=axis, keepdims=True)
    mean = sum_(w * y, axis=axis, keepdims=True) / total
    variance = sum_(w * _e.squared_difference(y, _e.stop_gradient(mean)), axis=axis, keepdims=True) / total
    if not keepdims:
        kept = tuple(d for k, d in enumerate(x.dims) if k not in axis)
        mean, variance = _reshape(mean, shape=kept), _reshape(variance, shape=kept)
    return narrowed(mean, x.dtype), narrowed(variance, x.dtype)


def sufficient_statistics(
    x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: str | None = None
) -> tuple[Any, Any, Any, Any]:
    """Count, sum and sum of squares over `axes` of x, or of x - shift, and `shift` itself: what `normalize_moments` takes."""
    x = convert_to_tensor(x)
    axis = normal_axes(axes, len(x.dims))
    count = sum_(_e.ones_like(x), axis=axis, keepdims=True)
    one = (0,) * len(count.dims)
    count = count[one]
    moved = x if shift is None else x - shift
    squares = moved * moved if shift is None else _e.squared_difference(x, _like(shift, x))
    return count, sum_(moved, axis=axis, keepdims=keepdims), sum_(squares, axis=axis, keepdims=keepdims), shift


def normalize_moments(counts: Any, mean_ss: Any, variance_ss: Any, shift: Any, name: str | None = None) -> tuple[Any, Any]:
    """Mean and variance from what `sufficient_statistics` gives."""
    divisor = 1.0 / convert_to_tensor(counts)
    shifted = convert_to_tensor(mean_ss) * divisor
    mean = shifted if shift is None else shifted + shift
    return mean, convert_to_tensor(variance_ss) * divisor - shifted * shifted


def batch_normalization(x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any, name: str | None = None) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset; `offset` and `scale` may be None. All broadcast."""
    x = convert_to_tensor(x)
    factor = _e.rsqrt(_like(variance, x) + variance_epsilon)
    if scale is not None:
        factor = factor * _like(scale, x)
    mean = _like(mean, x)
    return x * narrowed(factor, x.dtype) + narrowed(-mean * factor if offset is None else _like(offset, x) - mean * factor, x.dtype)


def local_response_normalization(
    input: Any, depth_radius: int = 5, bias: float = 1, alpha: float = 1, beta: float = 0.5, name: str | None = None
) -> Any:
    """x / (bias + alpha * sum of squares over the channels no more than `depth_radius` away) ** beta (Krizhevsky et al., 2012)."""
    x = floating(input, "local_response_normalization")
    if len(x.dims) != 4:
        raise InvalidArgumentError(places.with_place(f"in must be 4-dimensional, got shape {x.shape}"))
    batch, height, width, channels = x.dims
    r = int(depth_radius)
    squares = _reshape(x * x, shape=(batch * height * width, channels, 1))
    near = window_sum(squares, kernel=(2 * r + 1,), strides=(1,), dilations=(1,), padding=((r, r),))
    return x / _e.pow_(bias + alpha * _reshape(near, shape=x.dims), beta)


lrn = local_response_normalization


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Any:
    """A bias per channel added; channels are last, or with "NC..." formats second. InvalidArgumentError for a bias that does not fit."""
    x = convert_to_tensor(value)
    b = _like(bias, x)
    if data_format is not None and not data_format.startswith("N"):
        raise _fail(f"`data_format` must be of the form `N...C` or `NC...`. Received: data_format={data_format}")
    at = 1 if data_format is not None and data_format.startswith("NC") else len(x.dims) - 1
    if len(b.dims) != 1 or len(x.dims) < 2:
        raise InvalidArgumentError(places.with_place(f"Biases must be 1D and the input at least 2D, got {b.shape} and {x.shape}"))
    if isinstance(b.dims[0], int) and isinstance(x.dims[at], int) and b.dims[0] != x.dims[at]:
        raise InvalidArgumentError(
            places.with_place(f"Must provide as many biases as the last dimension of the input tensor: {b.shape} vs. {x.shape}")
        )
    return x + (b if at == len(x.dims) - 1 else _reshape(b, shape=(*b.dims, *(1,) * (len(x.dims) - at - 1))))


# ------------------------------------------------------------------------------------------------ dropout and embeddings
def _dropped(x: Any, rate: Any, noise_shape: Any, uniform: Any) -> Any:
    """`x` with a share `rate` of its elements put to 0 and the others scaled up; `uniform(shape, dtype)` draws."""
    x = floating(x, "dropout")
    if isinstance(rate, int | float | np.generic):
        rate = float(rate)
        if not 0 <= rate < 1:
            raise _fail(f"`rate` must be a scalar tensor or a float in the range [0, 1). Received: rate={rate}")
        if rate == 0:
            return x
        scale: Any = 1.0 / (1.0 - rate)
    else:
        rate = convert_to_tensor(rate)
        if rate.dims:
            raise _fail(f"`rate` must be a scalar, got shape {rate.shape}")
        rate = narrowed(rate, x.dtype)
        scale = 1 / (1 - rate)
    shape = x.dims
    if noise_shape is not None:
        wanted = noise_shape if isinstance(noise_shape, list | tuple) else dims_of(noise_shape)
        if len(wanted) != len(x.dims):
            raise _fail(f"noise_shape {list(wanted)} must have {len(x.dims)} entries for shape {x.shape}")
        shape = tuple(d if n is None else dims_of([n])[0] for n, d in zip(wanted, x.dims, strict=True))
    kept = uniform(shape, x.dtype) >= rate
    return _e.select(kept, x * scale, _e.zeros_like(x))


def dropout(x: Any, rate: Any, noise_shape: Any = None, seed: Any = None, name: str | None = None) -> Any:
    """Elements put to 0 with probability `rate`, the others times 1 / (1 - rate). Axes of size 1 in `noise_shape` are kept or dropped as a whole.

    ValueError for a rate outside of [0, 1).
    """

    def uniform(shape: Any, dtype: Any) -> Any:
        from tapejit import random

        return random.uniform(list(shape), dtype=dtype, seed=seed)

    return _dropped(x, rate, noise_shape, uniform)


def _stateless_dropout(x: Any, rate: Any, seed: Any, rng_alg: Any = "auto_select", noise_shape: Any = None, name: str | None = None) -> Any:
    """`dropout` whose pattern follows from `seed` (two integers) alone."""

    def uniform(shape: Any, dtype: Any) -> Any:
        from tapejit import random

        return random.stateless_uniform(list(shape), seed=seed, dtype=dtype)

    return _dropped(x, rate, noise_shape, uniform)


experimental = SimpleNamespace(stateless_dropout=_stateless_dropout)


def embedding_lookup(params: Any, ids: Any, max_norm: float | None = None, name: str | None = None) -> Any:
    """Rows of `params` (a tensor or variable) at `ids`; with `max_norm` scaled down to that norm. The gradient holds the rows read only."""
    if isinstance(params, list | tuple) and len(params) == 1:
        params = params[0]
    rows = gather(params, ids)
    if max_norm is None:
        return rows
    axes = tuple(range(len(ids.dims if isinstance(ids, Tensor) else convert_to_tensor(ids).dims), len(rows.dims)))
    norm = _e.sqrt(sum_(rows * rows, axis=axes, keepdims=True))
    return rows * max_norm / _e.maximum(norm, max_norm)

"""Samples of distributions drawn from a state of the generator: int64[3] with counter, stream and key.

In: a state, a shape (sizes may be open), parameters, a dtype; out: a tensor. The functions that check parameters are here as well, so that
draws from the process's state, from a Generator's and from a seed alone take the same ones.
"""

from __future__ import annotations

from typing import Any

from tapejit.casting import cast
from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.ops import elementwise as e
from tapejit.ops import random as ops
from tapejit.ops import sampling
from tapejit.ops.cumulative import cumsum
from tapejit.ops.gathering import elements
from tapejit.ops.reductions import max_
from tapejit.ops.sorting import argsort, search_sorted
from tapejit.ops.special import erfinv
from tapejit.tensor import convert_to_tensor, dims_of
from tapejit.variable import paused_tapes


def uniform(state: Any, shape: tuple[Dim, ...], minval: Any, maxval: Any, dtype: DType) -> Any:
    if dtype.is_integer:
        if minval is None and maxval is None:
            return ops.random_bits(state, shape=shape, dtype=dtype)
        return ops.random_integers(state, number(minval, dtype), number(maxval, dtype), shape=shape, dtype=dtype)
    u = ops.random_uniform(state, shape=shape, dtype=dtype)
    if _is(minval, 0) and (maxval is None or _is(maxval, 1)):
        return u
    low, high = number(minval, dtype), number(1 if maxval is None else maxval, dtype)
    return u * (high - low) + low


def normal(state: Any, shape: tuple[Dim, ...], mean: Any, stddev: Any, dtype: DType) -> Any:
    return _scaled(ops.random_normal(state, shape=shape, dtype=dtype), mean, stddev, dtype)


_WITHIN = 0.9544997361036416  # the part of the normal distribution within two standard deviations


def truncated_normal(state: Any, shape: tuple[Dim, ...], mean: Any, stddev: Any, dtype: DType) -> Any:
    """Within two standard deviations, by the inverse of the distribution function."""
    wide = dtype.wide
    u = ops.random_uniform(state, shape=shape, dtype=wide)
    z = erfinv((u * 2 - 1) * _WITHIN) * 2**0.5
    return _scaled(cast(e.minimum(e.maximum(z, -2), 2), dtype), mean, stddev, dtype)


def gamma(state: Any, shape: tuple[Dim, ...], alpha: Any, beta: Any, dtype: DType) -> Any:
    """Of scale 1 / beta, and never 0, of which there is no logarithm."""
    z = sampling.random_gamma(state, alpha, shape=shape, dtype=dtype)
    return e.maximum(z if beta is None else z / beta, _tiny(dtype))


def _tiny(dtype: DType) -> float:
    """The smallest normal number."""
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype.np).smallest_normal)


def poisson(state: Any, shape: tuple[Dim, ...], rate: Any, dtype: DType) -> Any:
    return sampling.random_poisson(state, rate, shape=shape, dtype=dtype)


def categorical(state: Any, logits: Any, count: Dim, dtype: DType) -> Any:
    """int[batch, count]: where in each row's running sum of probabilities a uniform number lies."""
    rows, _ = logits.dims
    x = e.cast(logits, dtype=dtypes.float64)
    with paused_tapes():
        total = cumsum(e.exp(x - max_(x, axis=(1,), keepdims=True)), axis=1)
        u = ops.random_uniform(state, shape=(rows, count), dtype=dtypes.float64)
        return search_sorted(total, u * total[:, -1:], right=True, dtype=dtype)


def categorical_operands(logits: Any, num_samples: Any, dtype: Any) -> tuple[Any, Dim, DType]:
    logits = convert_to_tensor(logits)
    if len(logits.dims) != 2:
        raise InvalidArgumentError(places.with_place(f"logits should be a matrix [batch, classes], got shape {logits.shape}"))
    kind = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    if kind not in (dtypes.int32, dtypes.int64):
        raise TypeError(places.with_place(f"class numbers are tf.int32 or tf.int64, not tf.{kind.name}"))
    return logits, dims_of(num_samples)[0], kind


def shuffled(state: Any, value: Any) -> Any:
    """The rows in the order of random keys; there is nothing to order in a scalar."""
    if not value.dims:
        return value
    return elements(value, argsort(ops.random_bits(state, shape=(value.dims[0],), dtype=dtypes.uint64)))


def _scaled(x: Any, mean: Any, stddev: Any, dtype: DType) -> Any:
    if not _is(stddev, 1):
        x = x * number(stddev, dtype)
    return x if _is(mean, 0) else x + number(mean, dtype)


def _is(x: Any, number: int) -> bool:
    return isinstance(x, int | float) and x == number


def number(x: Any, dtype: DType) -> Any:
    return convert_to_tensor(x, dtype)


def rate(x: Any, dtype: DType = dtypes.float32) -> Any:
    """A parameter that may be of any dtype, as a floating-point one."""
    x = convert_to_tensor(x) if hasattr(x, "dims") else convert_to_tensor(x, dtype)
    return x if x.dtype.is_floating else e.cast(x, dtype=dtypes.float64)


def floating(dtype: Any) -> DType:
    found = dtypes.as_dtype(dtype)
    if not found.is_floating:
        raise ValueError(
            places.with_place(f"Argument `dtype` got invalid value {found.name}: expected a floating-point dtype such as tf.float32")
        )
    return found


def countable(dtype: Any) -> DType:
    found = dtypes.as_dtype(dtype)
    if found.kind not in "fi":
        raise ValueError(
            places.with_place(
                f"Argument `dtype` got invalid value {found.name}: expected a floating-point or signed integer dtype such as tf.int32"
            )
        )
    return found


def uniform_dtype(minval: Any, maxval: Any, dtype: Any, full: bool = False) -> DType:
    """The dtype of uniform numbers; with `full`, integers without bounds are allowed. ValueError otherwise."""
    found = dtypes.as_dtype(dtype)
    if not found.is_floating and not (found.is_integer and found.bits >= 32):
        raise ValueError(
            places.with_place(f"Argument `dtype` got invalid value {found.name}: expected a floating-point dtype, tf.int32 or tf.int64")
        )
    if found.is_integer and (maxval is None or minval is None):
        if not full:
            raise ValueError(
                places.with_place(
                    f"Must specify maxval for integer dtype {found.name}; write for example tf.random.uniform(shape, maxval=10, dtype=tf.{found.name})"
                )
            )
        if not (maxval is None and minval is None):
            raise ValueError(
                places.with_place(
                    f"For integer dtype {found.name}, minval and maxval must be both None or both non-None; got minval={minval} and maxval={maxval}"
                )
            )
    return found


def size(shape: tuple[Dim, ...]) -> Dim:
    return sizes.product(shape)

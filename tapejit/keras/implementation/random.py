"""The functions of `keras.random` on tapejit: Philox streams that follow from a seed alone, so that traced steps draw anew by their state."""

from __future__ import annotations

from typing import Any

from keras.src.backend.config import floatx
from keras.src.random.seed_generator import SeedGenerator, draw_seed, make_default_seed

import tapejit as tf
from tapejit.keras.implementation.core import cast, convert_to_tensor


def _seed(seed: Any) -> Any:
    """Two integers from a number, a `SeedGenerator` or None; a tensor of them is itself."""
    return seed if tf.is_tensor(seed) else draw_seed(seed)


def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Normal values."""
    return tf.random.stateless_normal(shape, _seed(seed), mean, stddev, dtype or floatx())


def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Normal values within two standard deviations of the mean."""
    return tf.random.stateless_truncated_normal(shape, _seed(seed), mean, stddev, dtype or floatx())


def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Values uniform in [minval, maxval)."""
    return tf.random.stateless_uniform(shape, _seed(seed), minval, maxval, dtype or floatx())


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """`inputs` with elements put to 0 with probability `rate`, the others times 1 / (1 - rate). None in `noise_shape` is the input's size."""
    x = convert_to_tensor(inputs)
    if rate == 0:
        return x
    if noise_shape is not None:
        noise_shape = [d if n is None else n for n, d in zip(noise_shape, x.dims, strict=True)]
    if rate >= 1:
        return tf.zeros_like(x)
    drawn = tf.random.stateless_uniform(x.dims if noise_shape is None else noise_shape, _seed(seed))
    return tf.where(drawn >= rate, x / cast(1 - rate, x.dtype), tf.zeros_like(x))

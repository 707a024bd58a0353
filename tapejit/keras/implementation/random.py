"""The functions of `keras.random` on tapejit: Philox streams that follow from a seed alone, so that traced steps draw anew by their state."""

from __future__ import annotations

from typing import Any

from keras.src.backend.common import standardize_dtype
from keras.src.backend.config import floatx
from keras.src.random.seed_generator import SeedGenerator as SeedGenerator
from keras.src.random.seed_generator import draw_seed
from keras.src.random.seed_generator import make_default_seed as make_default_seed

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import floating

_DRAWN = ("int32", "int64", "uint32", "uint64")  # the integers that are drawn as they are


def _seed(seed: Any) -> Any:
    """Two integers from a number, a `SeedGenerator` or None; a tensor of them is itself."""
    return seed if tf.is_tensor(seed) else draw_seed(seed)


def _dtype(dtype: Any) -> Any:
    return tf.as_dtype(standardize_dtype(dtype or floatx()))


def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Normal values."""
    return tf.random.stateless_normal(shape, _seed(seed), mean, stddev, _dtype(dtype))


def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Normal values within two standard deviations of the mean."""
    return tf.random.stateless_truncated_normal(shape, _seed(seed), mean, stddev, _dtype(dtype))


def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Values uniform in [minval, maxval)."""
    return tf.random.stateless_uniform(shape, _seed(seed), minval, maxval, _dtype(dtype))


def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Any:
    """Integers uniform in [minval, maxval)."""
    wanted = standardize_dtype(dtype)
    drawn = wanted if wanted in _DRAWN else "int32"
    return cast(tf.random.stateless_uniform(shape, _seed(seed), cast(minval, drawn), cast(maxval, drawn), tf.as_dtype(drawn)), wanted)


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """[batch, num_samples] classes with the probabilities softmax(logits) of [batch, classes]."""
    return cast(tf.random.stateless_categorical(floating(logits), num_samples, _seed(seed), tf.int64), dtype)


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Gamma values of shape parameter `alpha` and scale 1."""
    dtype = _dtype(dtype)
    return tf.random.stateless_gamma(shape, _seed(seed), convert_to_tensor(alpha, dtype), dtype=dtype)


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Beta values: x / (x + y) with x and y gamma values of `alpha` and `beta`."""
    one, other = tf.unstack(tf.random.split(_seed(seed)))
    x, y = gamma(shape, alpha, dtype, one), gamma(shape, beta, dtype, other)
    return x / (x + y)


def binomial(shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Of `counts` trials how many succeed with the given probabilities."""
    counts, probabilities = (convert_to_tensor(x, "float32") for x in (counts, probabilities))
    return cast(tf.random.stateless_binomial(shape, _seed(seed), counts, probabilities, tf.float32), _dtype(dtype))


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """The slices along `axis` in random order."""
    x = convert_to_tensor(x)
    order = tf.random.experimental.stateless_shuffle(tf.range(x.dims[axis]), _seed(seed))
    return tf.gather(x, order, axis=axis)


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

"""`tf.random`: random numbers from a counter-based generator, Philox4x32-10, the same eagerly and in traced functions.

Draws take from the process's state or a seed's (`generators.py`); `stateless_*` functions depend on their seed argument alone. The numbers
are not TensorFlow's; the distributions (`distributions.py`) are.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from tapejit import candidates, distributions, generators
from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.types import broadcast
from tapejit.generators import Algorithm, Generator, create_rng_state, get_global_generator, set_global_generator, set_seed
from tapejit.ops import elementwise as e
from tapejit.ops import random as ops
from tapejit.ops import sampling
from tapejit.ops.joining import stack
from tapejit.tensor import convert_to_tensor, shape_of

__all__ = [
    "Algorithm", "Generator", "categorical", "create_rng_state", "experimental", "fold_in", "gamma", "get_global_generator",
    "log_uniform_candidate_sampler", "normal", "poisson", "set_global_generator", "set_seed", "shuffle", "split", "stateless_binomial", "stateless_categorical", "stateless_gamma",
    "stateless_normal", "stateless_poisson", "stateless_truncated_normal", "stateless_uniform", "truncated_normal", "uniform", "uniform_candidate_sampler",
]  # fmt: skip


# -------------------------------------------------------------------------------------- draws from the process's state
def normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None
) -> Any:
    """Normal values of `shape` (`tf.random.normal`). ValueError for a dtype that is not floating."""
    dims, kind = shape_of(shape), distributions.floating(dtype)
    return distributions.normal(generators.states.take(seed, distributions.size(dims)), dims, mean, stddev, kind)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None
) -> Any:
    """Normal values within two standard deviations (`tf.random.truncated_normal`)."""
    dims, kind = shape_of(shape), distributions.floating(dtype)
    return distributions.truncated_normal(generators.states.take(seed, distributions.size(dims)), dims, mean, stddev, kind)


def uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None
) -> Any:
    """Uniform values in [minval, maxval) (`tf.random.uniform`); `maxval` is 1 for floats and must be given for integers (ValueError)."""
    dims, kind = shape_of(shape), distributions.uniform_dtype(minval, maxval, dtype)
    return distributions.uniform(generators.states.take(seed, distributions.size(dims)), dims, minval, maxval, kind)


def gamma(shape: Any, alpha: Any, beta: Any = None, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None) -> Any:
    """Gamma values: `shape` of them for each of the parameters, alpha the shape and beta the inverse scale (`tf.random.gamma`).

    Gradients flow to both parameters, to alpha along samples that keep their place in the distribution.
    """
    kind = distributions.floating(dtype)
    first, second = distributions.number(alpha, kind), None if beta is None else distributions.number(beta, kind)
    dims = (*shape_of(shape), *(first.dims if second is None else broadcast(first.dims, second.dims)))
    return distributions.gamma(generators.states.take(seed, distributions.size(dims)), dims, first, second, kind)


def poisson(shape: Any, lam: Any, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None) -> Any:
    """Poisson counts: `shape` of them for each rate of `lam` (`tf.random.poisson`)."""
    rate, kind = distributions.rate(lam), distributions.countable(dtype)
    dims = (*shape_of(shape), *rate.dims)
    return distributions.poisson(generators.states.take(seed, distributions.size(dims)), dims, rate, kind)


def categorical(logits: Any, num_samples: Any, dtype: Any = None, seed: int | None = None, name: str | None = None) -> Any:
    """`num_samples` class numbers for each row of unnormalised log-probabilities [batch, classes] (`tf.random.categorical`)."""
    logits, count, kind = distributions.categorical_operands(logits, num_samples, dtype)
    return distributions.categorical(generators.states.take(seed, logits.dims[0] * count), logits, count, kind)


def shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Any:
    """The rows of `value` in random order (`tf.random.shuffle`)."""
    value = convert_to_tensor(value)
    return distributions.shuffled(generators.states.take(seed, value.dims[0] if value.dims else 1), value)


def uniform_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: int | None = None, name: str | None = None
) -> candidates.Sampled:
    """Classes drawn from 0..range_max, all as likely, and the expected counts of the true ones and of these."""
    draw = functools.partial(uniform, seed=seed)
    return candidates.sampled(candidates.UNIFORM, true_classes, num_true, num_sampled, unique, range_max, draw)


def log_uniform_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: int | None = None, name: str | None = None
) -> candidates.Sampled:
    """Classes drawn as by Zipf's law, log((k + 2) / (k + 1)) / log(range_max + 1), and the expected counts of the true ones and of these."""
    draw = functools.partial(uniform, seed=seed)
    return candidates.sampled(candidates.LOG_UNIFORM, true_classes, num_true, num_sampled, unique, range_max, draw)


# ------------------------------------------------------------------------------------------ draws from a seed alone
def _stateless(seed: Any, alg: Any = None) -> Any:
    """The state that a seed [a, b] stands for."""
    generators.only_philox(alg)
    return ops.random_state(_seed(seed), domain=generators.STATELESS)


def _seed(seed: Any) -> Any:
    pair = convert_to_tensor(seed)
    if not pair.dtype.is_integer:
        raise InvalidArgumentError(places.with_place(f"a seed is two integers, got a {pair.dtype.name} tensor"))
    return e.cast(pair, dtype=dtypes.int64)


def stateless_normal(
    shape: Any,
    seed: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    name: str | None = None,
    alg: Any = "auto_select",
) -> Any:
    """`normal` as a function of the two integers in `seed`."""
    return distributions.normal(_stateless(seed, alg), shape_of(shape), mean, stddev, distributions.floating(dtype))


def stateless_truncated_normal(
    shape: Any,
    seed: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    name: str | None = None,
    alg: Any = "auto_select",
) -> Any:
    """`truncated_normal` as a function of the two integers in `seed`."""
    return distributions.truncated_normal(_stateless(seed, alg), shape_of(shape), mean, stddev, distributions.floating(dtype))


def stateless_uniform(
    shape: Any,
    seed: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = dtypes.float32,
    name: str | None = None,
    alg: Any = "auto_select",
) -> Any:
    """`uniform` as a function of the two integers in `seed`; integers without bounds (both None) take all values."""
    kind = distributions.uniform_dtype(minval, maxval, dtype, full=True)
    return distributions.uniform(_stateless(seed, alg), shape_of(shape), minval, maxval, kind)


def stateless_gamma(shape: Any, seed: Any, alpha: Any, beta: Any = None, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """Gamma values of exactly `shape`, with which the parameters broadcast, as a function of `seed`."""
    kind = distributions.floating(dtype)
    return distributions.gamma(
        _stateless(seed),
        shape_of(shape),
        distributions.number(alpha, kind),
        None if beta is None else distributions.number(beta, kind),
        kind,
    )


def stateless_poisson(shape: Any, seed: Any, lam: Any, dtype: Any = dtypes.int32, name: str | None = None) -> Any:
    """Poisson counts of exactly `shape`, with which `lam` broadcasts, as a function of `seed`."""
    return distributions.poisson(_stateless(seed), shape_of(shape), distributions.rate(lam), distributions.countable(dtype))


def stateless_binomial(shape: Any, seed: Any, counts: Any, probs: Any, output_dtype: Any = dtypes.int32, name: str | None = None) -> Any:
    """Of `counts` trials how many succeed with probability `probs`, both of which broadcast with `shape`, as a function of `seed`."""
    return sampling.random_binomial(
        _stateless(seed),
        distributions.rate(counts),
        distributions.rate(probs),
        shape=shape_of(shape),
        dtype=distributions.countable(output_dtype),
    )


def stateless_categorical(logits: Any, num_samples: Any, seed: Any, dtype: Any = dtypes.int64, name: str | None = None) -> Any:
    """`categorical` as a function of the two integers in `seed`."""
    logits, count, kind = distributions.categorical_operands(logits, num_samples, dtype)
    return distributions.categorical(_stateless(seed), logits, count, kind)


def _stateless_shuffle(value: Any, seed: Any, alg: Any = "auto_select", name: str | None = None) -> Any:
    """`shuffle` as a function of the two integers in `seed`."""
    return distributions.shuffled(_stateless(seed, alg), convert_to_tensor(value))


def split(seed: Any, num: int = 2, alg: Any = "auto_select") -> Any:
    """[num, 2] of the seed's dtype: seeds made of one seed (`tf.random.split`)."""
    pair = convert_to_tensor(seed)
    return stateless_uniform((num, 2), pair, None, None, pair.dtype, alg=alg)


def fold_in(seed: Any, data: Any, alg: Any = "auto_select") -> Any:
    """[2] of the dtype of `data`: a seed made of a seed and a number (`tf.random.fold_in`)."""
    number = convert_to_tensor(data)
    return stack(stateless_uniform((), seed, None, None, number.dtype, alg=alg), number, axis=0)


experimental = SimpleNamespace(
    Algorithm=Algorithm, Generator=Generator, create_rng_state=create_rng_state, get_global_generator=get_global_generator,
    set_global_generator=set_global_generator, stateless_fold_in=fold_in, stateless_shuffle=_stateless_shuffle, stateless_split=split,
)  # fmt: skip

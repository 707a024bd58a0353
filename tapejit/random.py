"""`tf.random`: random numbers from a counter-based generator, Philox4x32-10, the same eagerly and in traced functions.

The process has one state, the cell `rng` of every graph that draws: each draw, used or not, takes the next blocks of its stream in
program order. A draw with a `seed` of its own has a state of its own, which depends on that seed and the one of `set_seed` only.
`stateless_*` functions depend on their seed argument alone. The numbers are not TensorFlow's; the distributions are.
"""

from __future__ import annotations

import os
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

from tapejit.casting import cast, stop_gradient
from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import broadcast
from tapejit.math import argmax, log, reciprocal
from tapejit.ops import random as ops
from tapejit.ops.broadcasting import broadcast_like
from tapejit.ops.shapes import reshape
from tapejit.ops.special import gamma_quantile, ndtri, poisson_quantile
from tapejit.ordering import argsort
from tapejit.record.recorder import recording
from tapejit.selection import gather
from tapejit.tensor import constant, convert_to_tensor, dims_of
from tapejit.variable import Variable, paused_tapes

__all__ = [
    "Algorithm", "Generator", "categorical", "create_rng_state", "experimental", "fold_in", "gamma", "get_global_generator", "normal",
    "poisson", "set_global_generator", "set_seed", "shuffle", "split", "stateless_categorical", "stateless_gamma", "stateless_normal",
    "stateless_poisson", "stateless_shuffle", "stateless_truncated_normal", "stateless_uniform", "truncated_normal", "uniform",
]  # fmt: skip

_DEFAULT_SEED = 87654321  # TensorFlow's, for draws that have a seed where the process has none
_STATELESS, _SEEDED, _GENERATOR = 1, 2, 3  # so that no two ways of making a state from a seed give the same one


class Algorithm(IntEnum):
    """`tf.random.Algorithm`: only Philox is there, and is what AUTO_SELECT selects."""

    PHILOX = 1
    THREEFRY = 2
    AUTO_SELECT = 3


# ------------------------------------------------------------------------------------------------- distributions
# Each takes the state to draw from; `*_blocks` says how far that moves the state.
def _uniform(state: Any, shape: tuple[Dim, ...], minval: Any, maxval: Any, dtype: DType) -> Any:
    if dtype.is_integer:
        low, high = (cast(convert_to_tensor(v) if hasattr(v, "dims") else constant(v, dtype), dtype) for v in (minval, maxval))
        return ops.random_integers(state, low, high, shape=shape, dtype=dtype)
    u = ops.random_uniform(state, shape=shape, dtype=dtype)
    if _is(minval, 0) and (maxval is None or _is(maxval, 1)):
        return u
    low, high = (_number(v, dtype) for v in (minval, 1 if maxval is None else maxval))
    return u * (high - low) + low


def _normal(state: Any, shape: tuple[Dim, ...], mean: Any, stddev: Any, dtype: DType) -> Any:
    return _scaled(ops.random_normal(state, shape=shape, dtype=dtype), mean, stddev, dtype)


_BELOW = 0.022750131948179195  # the normal distribution function at -2


def _truncated_normal(state: Any, shape: tuple[Dim, ...], mean: Any, stddev: Any, dtype: DType) -> Any:
    """Within two standard deviations, by the inverse of the distribution function."""
    u = ops.random_uniform(state, shape=shape, dtype=dtype)
    return _scaled(ndtri(u * (1 - 2 * _BELOW) + _BELOW), mean, stddev, dtype)


def _gamma(state: Any, shape: tuple[Dim, ...], alpha: Any, beta: Any, dtype: DType) -> Any:
    """By the inverse of the distribution function; the shape is that of the draw, then that of the parameters."""
    alpha, beta = _number(alpha, dtype), _number(1 if beta is None else beta, dtype)
    whole = (*shape, *broadcast(alpha.dims, beta.dims))
    return gamma_quantile(_open_uniform(state, whole, dtype), broadcast_like(alpha, whole)) * reciprocal(beta)


def _poisson(state: Any, shape: tuple[Dim, ...], lam: Any, dtype: DType) -> Any:
    rate = convert_to_tensor(lam) if hasattr(lam, "dims") else convert_to_tensor(np.asarray(lam, np.float32 if dtype is not dtypes.float64 else np.float64))
    rate = stop_gradient(cast(rate, dtypes.float64))
    whole = (*shape, *rate.dims)
    return cast(poisson_quantile(ops.random_uniform(state, shape=whole, dtype=dtypes.float64), broadcast_like(rate, whole)), dtype)


def _categorical(state: Any, logits: Any, count: Dim, dtype: DType) -> Any:
    """The largest of logits plus Gumbel noise (Gumbel, 1954): int[batch, count]."""
    rows, classes = logits.dims
    noise = -log(-log(_open_uniform(state, (rows, count, classes), logits.dtype)))
    return argmax(reshape(logits, shape=(rows, 1, classes)) + noise, axis=-1, output_type=dtype)


def _shuffled(state: Any, value: Any) -> Any:
    """Rows in the order of random keys."""
    keys = ops.random_bits(state, shape=(value.dims[0],), dtype=dtypes.int64)
    return gather(value, argsort(keys))


def _open_uniform(state: Any, shape: tuple[Dim, ...], dtype: DType) -> Any:
    """Uniform in (0, 1)."""
    u = ops.random_uniform(state, shape=shape, dtype=dtype)
    return u + {16: 2.0**-12, 32: 2.0**-24, 64: 2.0**-53}[dtype.bits]


def _scaled(x: Any, mean: Any, stddev: Any, dtype: DType) -> Any:
    if not _is(stddev, 1):
        x = x * _number(stddev, dtype)
    return x if _is(mean, 0) else x + _number(mean, dtype)


def _is(x: Any, number: int) -> bool:
    return isinstance(x, int | float) and x == number


def _number(x: Any, dtype: DType) -> Any:
    return convert_to_tensor(x) if hasattr(x, "dims") else convert_to_tensor(x, dtype)


def _floating(dtype: Any) -> DType:
    found = dtypes.as_dtype(dtype)
    if not found.is_floating:
        raise ValueError(places.with_place(f"Argument `dtype` got invalid value {found.name}: expected a floating-point dtype such as tf.float32"))
    return found


def _bounds(minval: Any, maxval: Any, dtype: DType) -> None:
    if dtype.is_integer and maxval is None:
        raise ValueError(places.with_place(f"Must specify maxval for integer dtype {dtype.name}; write for example tf.random.uniform(shape, maxval=10, dtype=tf.{dtype.name})"))


def _size(shape: tuple[Dim, ...]) -> Dim:
    return sizes.product(shape)


# ------------------------------------------------------------------------------------------------------- states
class _States:
    """The states of the process: one for draws without a seed, one per seed for the others."""

    def __init__(self) -> None:
        self.seed: int | None = None
        self.generator: Generator | None = None
        self.seeded: dict[int, Variable] = {}

    def take(self, seed: Any, blocks: Dim) -> Any:
        """The state to draw `blocks` blocks from; whatever is drawn next comes after them."""
        if seed is None:
            return get_global_generator()._take(blocks)
        key = int(seed)
        if key not in self.seeded:
            self.seeded[key] = _cell(self._of(key), f"rng_{key}".replace("-", "m"))
        return _taken(self.seeded[key], blocks)

    def _of(self, key: int) -> Any:
        return ops.random_state(_pair((_DEFAULT_SEED if self.seed is None else self.seed) * 4 + _SEEDED, key))

    def reset(self, seed: int) -> None:
        """Begin all streams anew, in the cells that traced functions know."""
        self.seed = seed
        get_global_generator().reset_from_seed(seed)
        with recording(None), paused_tapes():
            for key, cell in self.seeded.items():
                cell.assign(self._of(key))


def _pair(a: int, b: int) -> Any:
    """Two integers as an int64 seed; they count modulo 2^64."""
    return convert_to_tensor(np.array([a & 2**64 - 1, b & 2**64 - 1], np.uint64).astype(np.int64))


def _cell(state: Any, name: str) -> Variable:
    with recording(None), paused_tapes():
        return Variable(state() if callable(state) else state, trainable=False, name=name)


def _taken(cell: Variable, blocks: Dim) -> Any:
    with paused_tapes():
        state = cell.read_tensor()
        cell.assign(ops.random_advance(state, count=blocks))
    return state


_states = _States()


def set_seed(seed: int) -> None:
    """Begin the process's streams anew from `seed` (`tf.random.set_seed`)."""
    with recording(None), paused_tapes():
        _states.reset(int(seed))


class Generator:
    """TensorFlow's `tf.random.Generator`: a state of its own, in a variable, and draws from it."""

    def __init__(self, copy_from: Generator | None = None, state: Any = None, alg: Any = None) -> None:
        if copy_from is not None:
            state = copy_from.state.numpy()
        if state is None:
            raise ValueError(places.with_place("a Generator needs a state; write tf.random.Generator.from_seed(1)"))
        _philox(alg)
        self._state = _cell(convert_to_tensor(np.asarray(state).astype(np.int64)), "rng")

    @classmethod
    def from_seed(cls, seed: int, alg: Any = None) -> Generator:
        return cls(state=create_rng_state(seed, alg).numpy())

    @classmethod
    def from_non_deterministic_state(cls, alg: Any = None) -> Generator:
        return cls(state=np.frombuffer(os.urandom(24), np.int64) * np.array([0, 1, 1]), alg=alg)

    @classmethod
    def from_state(cls, state: Any, alg: Any = None) -> Generator:
        return cls(state=state.numpy() if hasattr(state, "numpy") else state, alg=alg)

    @property
    def state(self) -> Variable:
        """int64[3]: counter, stream, key."""
        return self._state

    @property
    def algorithm(self) -> int:
        return int(Algorithm.PHILOX)

    @property
    def key(self) -> Any:
        return self._state[2]

    def reset(self, state: Any) -> None:
        with recording(None), paused_tapes():
            self._state.assign(cast(convert_to_tensor(state), dtypes.int64))

    def reset_from_seed(self, seed: int) -> None:
        self.reset(create_rng_state(seed))

    def skip(self, delta: int) -> Any:
        """Leave out `delta` blocks; returns the state before."""
        return self._take(int(delta))

    def _take(self, blocks: Dim) -> Any:
        return _taken(self._state, blocks)

    def normal(self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
        dims, kind = dims_of(shape), _floating(dtype)
        return _normal(self._take(ops.blocks(_size(dims), kind)), dims, mean, stddev, kind)

    def truncated_normal(self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
        dims, kind = dims_of(shape), _floating(dtype)
        return _truncated_normal(self._take(ops.blocks(_size(dims), kind)), dims, mean, stddev, kind)

    def uniform(self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
        dims, kind = dims_of(shape), dtypes.as_dtype(dtype)
        _bounds(minval, maxval, kind)
        return _uniform(self._take(ops.blocks(_size(dims), kind, kind.is_integer)), dims, minval, maxval, kind)

    def uniform_full_int(self, shape: Any, dtype: Any = dtypes.uint64, name: str | None = None) -> Any:
        dims, kind = dims_of(shape), dtypes.as_dtype(dtype)
        return ops.random_bits(self._take(ops.blocks(_size(dims), kind)), shape=dims, dtype=kind)

    def make_seeds(self, count: int = 1) -> Any:
        """int64[2, count]: seeds for `stateless_*` functions, one per column."""
        return self.uniform_full_int([2, count], dtypes.int64)

    def split(self, count: int = 1) -> list[Generator]:
        """Generators with streams of their own."""
        seeds = self.make_seeds(count).numpy()
        return [Generator(state=ops.random_state(convert_to_tensor(seeds[:, k])).numpy()) for k in range(count)]


def _philox(alg: Any) -> None:
    if alg not in (None, "philox", "auto_select", 1, 3):
        raise NotImplementedError(places.with_place(f"random numbers by {alg}: write alg='philox'"))


def create_rng_state(seed: int, alg: Any = None) -> Any:
    """The state int64[3] that a seed stands for."""
    _philox(alg)
    with recording(None), paused_tapes():
        return ops.random_state(_pair(int(seed), _GENERATOR))


def get_global_generator() -> Generator:
    """The generator that draws without a seed come from."""
    if _states.generator is None:
        with recording(None), paused_tapes():
            _states.generator = Generator.from_non_deterministic_state()
    return _states.generator


def set_global_generator(generator: Generator) -> None:
    _states.generator = generator


# -------------------------------------------------------------------------------------- draws from the process's state
def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None) -> Any:
    """Normal values of `shape` (`tf.random.normal`). ValueError for a dtype that is not floating."""
    dims, kind = dims_of(shape), _floating(dtype)
    return _normal(_states.take(seed, ops.blocks(_size(dims), kind)), dims, mean, stddev, kind)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None
) -> Any:
    """Normal values within two standard deviations (`tf.random.truncated_normal`)."""
    dims, kind = dims_of(shape), _floating(dtype)
    return _truncated_normal(_states.take(seed, ops.blocks(_size(dims), kind)), dims, mean, stddev, kind)


def uniform(shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None) -> Any:
    """Uniform values in [minval, maxval) (`tf.random.uniform`); `maxval` is 1 for floats and must be given for integers (ValueError)."""
    dims, kind = dims_of(shape), dtypes.as_dtype(dtype)
    _bounds(minval, maxval, kind)
    return _uniform(_states.take(seed, ops.blocks(_size(dims), kind, kind.is_integer)), dims, minval, maxval, kind)


def gamma(shape: Any, alpha: Any, beta: Any = None, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None) -> Any:
    """Gamma values: `shape` of them for each of the parameters, alpha the shape and beta the inverse scale (`tf.random.gamma`)."""
    kind = _floating(dtype)
    dims = (*dims_of(shape), *broadcast(_number(alpha, kind).dims, _number(1 if beta is None else beta, kind).dims))
    return _gamma(_states.take(seed, ops.blocks(_size(dims), kind)), dims_of(shape), alpha, beta, kind)


def poisson(shape: Any, lam: Any, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None) -> Any:
    """Poisson counts: `shape` of them for each rate of `lam` (`tf.random.poisson`)."""
    dims = (*dims_of(shape), *(lam.dims if hasattr(lam, "dims") else np.shape(lam)))
    return _poisson(_states.take(seed, ops.blocks(_size(dims), dtypes.float64)), dims_of(shape), lam, dtypes.as_dtype(dtype))


def categorical(logits: Any, num_samples: Any, dtype: Any = None, seed: int | None = None, name: str | None = None) -> Any:
    """`num_samples` class numbers for each row of unnormalised log-probabilities [batch, classes] (`tf.random.categorical`)."""
    logits, count, kind = _categorical_operands(logits, num_samples, dtype)
    return _categorical(_states.take(seed, ops.blocks(_size((*logits.dims, count)), logits.dtype)), logits, count, kind)


def _categorical_operands(logits: Any, num_samples: Any, dtype: Any) -> tuple[Any, Dim, DType]:
    logits = convert_to_tensor(logits)
    if len(logits.dims) != 2:
        raise ValueError(places.with_place(f"categorical takes logits [batch, classes], got shape {logits.shape}"))
    return stop_gradient(logits), dims_of(num_samples)[0], dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)


def shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Any:
    """The rows of `value` in random order (`tf.random.shuffle`)."""
    value = convert_to_tensor(value)
    return _shuffled(_states.take(seed, ops.blocks(value.dims[0], dtypes.int64)), value)


# ------------------------------------------------------------------------------------------ draws from a seed alone
def _stateless(seed: Any) -> Any:
    """The state that a seed [a, b] stands for."""
    return ops.random_state(cast(convert_to_tensor(seed), dtypes.int64))


def stateless_normal(shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, name: str | None = None, alg: Any = "auto_select") -> Any:
    """`normal` as a function of the two integers in `seed`."""
    _philox(alg)
    return _normal(_stateless(seed), dims_of(shape), mean, stddev, _floating(dtype))


def stateless_truncated_normal(
    shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, name: str | None = None, alg: Any = "auto_select"
) -> Any:
    """`truncated_normal` as a function of the two integers in `seed`."""
    _philox(alg)
    return _truncated_normal(_stateless(seed), dims_of(shape), mean, stddev, _floating(dtype))


def stateless_uniform(
    shape: Any, seed: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, name: str | None = None, alg: Any = "auto_select"
) -> Any:
    """`uniform` as a function of the two integers in `seed`; integers without bounds (both None) take all values."""
    _philox(alg)
    kind = dtypes.as_dtype(dtype)
    if kind.is_integer and minval is None and maxval is None:
        return ops.random_bits(_stateless(seed), shape=dims_of(shape), dtype=kind)
    _bounds(minval, maxval, kind)
    return _uniform(_stateless(seed), dims_of(shape), minval, maxval, kind)


def stateless_gamma(shape: Any, seed: Any, alpha: Any, beta: Any = None, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """Gamma values of exactly `shape`, with which the parameters broadcast, as a function of `seed`."""
    kind, dims = _floating(dtype), dims_of(shape)
    u = _open_uniform(_stateless(seed), dims, kind)
    return gamma_quantile(u, broadcast_like(_number(alpha, kind), dims)) * reciprocal(_number(1 if beta is None else beta, kind))


def stateless_poisson(shape: Any, seed: Any, lam: Any, dtype: Any = dtypes.int32, name: str | None = None) -> Any:
    """Poisson counts of exactly `shape`, with which `lam` broadcasts, as a function of `seed`."""
    dims = dims_of(shape)
    rate = stop_gradient(cast(_number(lam, dtypes.float64), dtypes.float64))
    u = ops.random_uniform(_stateless(seed), shape=dims, dtype=dtypes.float64)
    return cast(poisson_quantile(u, broadcast_like(rate, dims)), dtypes.as_dtype(dtype))


def stateless_categorical(logits: Any, num_samples: Any, seed: Any, dtype: Any = dtypes.int64, name: str | None = None) -> Any:
    """`categorical` as a function of the two integers in `seed`."""
    logits, count, kind = _categorical_operands(logits, num_samples, dtype)
    return _categorical(_stateless(seed), logits, count, kind)


def stateless_shuffle(value: Any, seed: Any, alg: Any = "auto_select", name: str | None = None) -> Any:
    """`shuffle` as a function of the two integers in `seed`."""
    _philox(alg)
    return _shuffled(_stateless(seed), convert_to_tensor(value))


def split(seed: Any, num: int = 2, alg: Any = "auto_select") -> Any:
    """int64[num, 2]: seeds made of one seed (`tf.random.split`)."""
    _philox(alg)
    return ops.random_bits(_stateless(seed), shape=(int(num), 2), dtype=dtypes.int64)


def fold_in(seed: Any, data: Any, alg: Any = "auto_select") -> Any:
    """int64[2]: a seed made of a seed and a number (`tf.random.fold_in`)."""
    _philox(alg)
    mixed = _stateless(seed)[1:] + cast(convert_to_tensor(data), dtypes.int64)
    return ops.random_bits(_stateless(mixed), shape=(2,), dtype=dtypes.int64)


experimental = SimpleNamespace(
    Algorithm=Algorithm, Generator=Generator, create_rng_state=create_rng_state, get_global_generator=get_global_generator,
    set_global_generator=set_global_generator, stateless_fold_in=fold_in, stateless_shuffle=stateless_shuffle,
    stateless_split=split,
)  # fmt: skip

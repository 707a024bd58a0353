"""`tf.random`: random numbers from a counter-based generator, Philox4x32-10, the same eagerly and in traced functions.

The process has one state, the cell `rng` of every graph that draws: each draw, used or not, takes the next blocks of its stream in
program order. A draw with a `seed` of its own has a state of its own, which depends on that seed and the one of `set_seed` only, and
which all draws with that seed share. `stateless_*` functions depend on their seed argument alone. A draw of n elements moves the state
by n, whatever the distribution. The numbers are not TensorFlow's; the distributions are.
"""

from __future__ import annotations

import functools
import os
import threading
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

from tapejit import candidates
from tapejit.casting import cast
from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.core.types import broadcast
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.op import thread
from tapejit.ops import elementwise as e
from tapejit.ops import random as ops
from tapejit.ops import sampling
from tapejit.ops.cumulative import cumsum
from tapejit.ops.joining import stack
from tapejit.ops.reductions import max_
from tapejit.ops.sorting import argsort, search_sorted
from tapejit.ops.special import erfinv
from tapejit.record.recorder import recording
from tapejit.selection import gather
from tapejit.tensor import EagerTensor, convert_to_tensor, dims_of, shape_of
from tapejit.variable import Variable, paused_tapes

__all__ = [
    "Algorithm", "Generator", "categorical", "create_rng_state", "experimental", "fold_in", "gamma", "get_global_generator",
    "log_uniform_candidate_sampler", "normal", "poisson", "set_global_generator", "set_seed", "shuffle", "split", "stateless_binomial", "stateless_categorical", "stateless_gamma",
    "stateless_normal", "stateless_poisson", "stateless_truncated_normal", "stateless_uniform", "truncated_normal", "uniform", "uniform_candidate_sampler",
]  # fmt: skip

_DEFAULT_SEED = 87654321  # TensorFlow's, for draws that have a seed where the process has none
_STATELESS, _SEEDED, _GENERATOR = 0, 1, 2  # domains: the same seed begins another stream in each


class Algorithm(IntEnum):
    """`tf.random.Algorithm`: only Philox is there, and is what AUTO_SELECT selects."""

    PHILOX = 1
    THREEFRY = 2
    AUTO_SELECT = 3


# ------------------------------------------------------------------------------------------------- distributions
# Each draws `shape` from a state.
def _uniform(state: Any, shape: tuple[Dim, ...], minval: Any, maxval: Any, dtype: DType) -> Any:
    if dtype.is_integer:
        if minval is None and maxval is None:
            return ops.random_bits(state, shape=shape, dtype=dtype)
        return ops.random_integers(state, _number(minval, dtype), _number(maxval, dtype), shape=shape, dtype=dtype)
    u = ops.random_uniform(state, shape=shape, dtype=dtype)
    if _is(minval, 0) and (maxval is None or _is(maxval, 1)):
        return u
    low, high = _number(minval, dtype), _number(1 if maxval is None else maxval, dtype)
    return u * (high - low) + low


def _normal(state: Any, shape: tuple[Dim, ...], mean: Any, stddev: Any, dtype: DType) -> Any:
    return _scaled(ops.random_normal(state, shape=shape, dtype=dtype), mean, stddev, dtype)


_WITHIN = 0.9544997361036416  # the part of the normal distribution within two standard deviations


def _truncated_normal(state: Any, shape: tuple[Dim, ...], mean: Any, stddev: Any, dtype: DType) -> Any:
    """Within two standard deviations, by the inverse of the distribution function."""
    wide = dtype.wide
    u = ops.random_uniform(state, shape=shape, dtype=wide)
    z = erfinv((u * 2 - 1) * _WITHIN) * 2**0.5
    return _scaled(cast(e.minimum(e.maximum(z, -2), 2), dtype), mean, stddev, dtype)


def _gamma(state: Any, shape: tuple[Dim, ...], alpha: Any, beta: Any, dtype: DType) -> Any:
    """Of scale 1 / beta, and never 0, of which there is no logarithm."""
    z = sampling.random_gamma(state, alpha, shape=shape, dtype=dtype)
    return e.maximum(z if beta is None else z / beta, _tiny(dtype))


def _tiny(dtype: DType) -> float:
    """The smallest normal number."""
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype.np).smallest_normal)


def _poisson(state: Any, shape: tuple[Dim, ...], rate: Any, dtype: DType) -> Any:
    return sampling.random_poisson(state, rate, shape=shape, dtype=dtype)


def _categorical(state: Any, logits: Any, count: Dim, dtype: DType) -> Any:
    """int[batch, count]: where in each row's running sum of probabilities a uniform number lies."""
    rows, _ = logits.dims
    x = e.cast(logits, dtype=dtypes.float64)
    with paused_tapes():
        total = cumsum(e.exp(x - max_(x, axis=(1,), keepdims=True)), axis=1)
        u = ops.random_uniform(state, shape=(rows, count), dtype=dtypes.float64)
        return search_sorted(total, u * total[:, -1:], right=True, dtype=dtype)


def _shuffled(state: Any, value: Any) -> Any:
    """The rows in the order of random keys; there is nothing to order in a scalar."""
    if not value.dims:
        return value
    return gather(value, argsort(ops.random_bits(state, shape=(value.dims[0],), dtype=dtypes.uint64)))


def _scaled(x: Any, mean: Any, stddev: Any, dtype: DType) -> Any:
    if not _is(stddev, 1):
        x = x * _number(stddev, dtype)
    return x if _is(mean, 0) else x + _number(mean, dtype)


def _is(x: Any, number: int) -> bool:
    return isinstance(x, int | float) and x == number


def _number(x: Any, dtype: DType) -> Any:
    return convert_to_tensor(x, dtype)


def _rate(x: Any, dtype: DType = dtypes.float32) -> Any:
    """A parameter that may be of any dtype, as a floating-point one."""
    x = convert_to_tensor(x) if hasattr(x, "dims") else convert_to_tensor(x, dtype)
    return x if x.dtype.is_floating else e.cast(x, dtype=dtypes.float64)


def _floating(dtype: Any) -> DType:
    found = dtypes.as_dtype(dtype)
    if not found.is_floating:
        raise ValueError(
            places.with_place(f"Argument `dtype` got invalid value {found.name}: expected a floating-point dtype such as tf.float32")
        )
    return found


def _countable(dtype: Any) -> DType:
    found = dtypes.as_dtype(dtype)
    if found.kind not in "fi":
        raise ValueError(
            places.with_place(
                f"Argument `dtype` got invalid value {found.name}: expected a floating-point or signed integer dtype such as tf.int32"
            )
        )
    return found


def _uniform_dtype(minval: Any, maxval: Any, dtype: Any, full: bool = False) -> DType:
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


def _size(shape: tuple[Dim, ...]) -> Dim:
    return sizes.product(shape)


# ------------------------------------------------------------------------------------------------------- states
class _States:
    """The states of the process: one for draws without a seed, one per seed for the others."""

    def __init__(self) -> None:
        self.seed: int | None = None
        self.unseeded: Variable | None = None
        self.seeded: dict[int, Variable] = {}
        self.generator: Generator | None = None

    def take(self, seed: Any, size: Dim) -> Any:
        """The state to draw `size` elements from; whatever is drawn next comes after them."""
        if seed is None:
            if self.unseeded is None:
                self.unseeded = _cell(_entropy(), "rng")
            return _taken(self.unseeded, size)
        key = int(seed)
        if key not in self.seeded:
            self.seeded[key] = _cell(self.of(key), f"rng_{key}".replace("-", "m"))
        return _taken(self.seeded[key], size)

    def of(self, key: int) -> np.ndarray:
        return _state(_DEFAULT_SEED if self.seed is None else self.seed, key, _SEEDED)

    def reset(self, seed: int) -> None:
        """Begin all streams anew, in the cells that traced functions know."""
        self.seed = seed
        start = _state(seed, 0, _GENERATOR)
        with recording(None), paused_tapes():
            if self.unseeded is None:
                self.unseeded = _cell(start, "rng")
            self.unseeded.assign(start)
            for key, cell in self.seeded.items():
                cell.assign(self.of(key))


def _state(a: int, b: int, domain: int) -> np.ndarray:
    """The state of a seed of two integers, which count modulo 2^64."""
    return ops.random_state.eager(np.array([a & 2**64 - 1, b & 2**64 - 1], np.uint64).astype(np.int64), domain=domain)


def _entropy() -> np.ndarray:
    """A state that the operating system chooses."""
    return np.array([0, *np.frombuffer(os.urandom(16), np.int64)])


def _cell(state: Any, name: str) -> Variable:
    with recording(None), paused_tapes():
        return _Stream(state, trainable=False, name=name, dtype=dtypes.int64)


class _Stream(Variable):
    """A cell in which the process keeps a state of its own, which no user made."""

    __slots__ = ()
    internal = True


_lock = threading.Lock()


def _taken(cell: Variable, size: Dim) -> Any:
    """The state that a cell holds, which it then holds no more. Threads never take the same one."""
    recorder = thread.recorder
    if recorder is None:
        with _lock:
            state = cell._value
            cell._value = EagerTensor(ops.random_advance.eager(state.numpy_view(), count=size))
        return state
    with paused_tapes():
        value = cell.enter_graph(recorder)
        (further,) = recorder.builder.emit(
            ops.random_advance, (value,), {"count": size}, name=cell.label(), tapes=recorder.tapes, place=places.here(2)
        )
        recorder.assign(cell, cell.label(), cell.cell_type(), further)
    return GraphTensor(value, recorder)


_states = _States()


def set_seed(seed: int) -> None:
    """Begin the process's streams anew from `seed` (`tf.random.set_seed`); generators keep theirs."""
    _states.reset(int(seed))


class Generator:
    """TensorFlow's `tf.random.Generator`: a state of its own, in a variable, and draws from it."""

    def __init__(self, copy_from: Generator | None = None, state: Any = None, alg: Any = None) -> None:
        _philox(alg)
        if copy_from is not None:
            state = copy_from.state.numpy()
        if state is None:
            raise ValueError(places.with_place("a Generator needs a state; write tf.random.Generator.from_seed(1)"))
        self._state = Variable(_as_state(state), trainable=False, name="rng", dtype=dtypes.int64)

    @classmethod
    def from_seed(cls, seed: Any, alg: Any = None) -> Generator:
        """A generator whose state `create_rng_state(seed)` gives."""
        return cls(state=create_rng_state(seed, alg))

    @classmethod
    def from_non_deterministic_state(cls, alg: Any = None) -> Generator:
        """A generator whose state the operating system chooses."""
        return cls(state=_entropy(), alg=alg)

    @classmethod
    def from_state(cls, state: Any, alg: Any = None) -> Generator:
        """A generator with that state, int64[3]."""
        return cls(state=state, alg=alg)

    @classmethod
    def from_key_counter(cls, key: Any, counter: Any, alg: Any = None) -> Generator:
        """A generator with that key and those two numbers as counter and stream."""
        return cls(state=_keyed(key, counter), alg=alg)

    @property
    def state(self) -> Variable:
        """int64[3]: counter, stream, key."""
        return self._state

    @property
    def algorithm(self) -> int:
        return int(Algorithm.PHILOX)

    def _trackable_children(self) -> dict[str, Any]:
        """What a checkpoint of it holds."""
        return {"_state_var": self._state}

    @property
    def key(self) -> Any:
        """The key, an int64 scalar."""
        return self._state[2]

    def reset(self, state: Any) -> None:
        """Go on from `state`."""
        self._state.assign(_as_state(state))

    def reset_from_seed(self, seed: Any) -> None:
        """Go on as `from_seed(seed)` begins."""
        self.reset(create_rng_state(seed))

    def reset_from_key_counter(self, key: Any, counter: Any) -> None:
        """Go on as `from_key_counter(key, counter)` begins."""
        self.reset(_keyed(key, counter))

    def skip(self, delta: Any) -> Any:
        """Go on as after a draw of `delta` elements; gives the state before."""
        (size,) = dims_of(delta)
        return _taken(self._state, size)

    def normal(self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
        """As `tf.random.normal`."""
        dims, kind = shape_of(shape), _floating(dtype)
        return _normal(_taken(self._state, _size(dims)), dims, mean, stddev, kind)

    def truncated_normal(self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
        """As `tf.random.truncated_normal`."""
        dims, kind = shape_of(shape), _floating(dtype)
        return _truncated_normal(_taken(self._state, _size(dims)), dims, mean, stddev, kind)

    def uniform(self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
        """As `tf.random.uniform`."""
        dims, kind = shape_of(shape), _uniform_dtype(minval, maxval, dtype)
        return _uniform(_taken(self._state, _size(dims)), dims, minval, maxval, kind)

    def uniform_full_int(self, shape: Any, dtype: Any = dtypes.uint64, name: str | None = None) -> Any:
        """Integers of 32 or 64 bits, all of which are random."""
        dims, kind = shape_of(shape), _uniform_dtype(None, None, dtype, full=True)
        return _uniform(_taken(self._state, _size(dims)), dims, None, None, kind)

    def binomial(self, shape: Any, counts: Any, probs: Any, dtype: Any = dtypes.int32, name: str | None = None) -> Any:
        """How many of `counts` trials succeed with probability `probs`; both broadcast to `shape`."""
        dims, kind = shape_of(shape), _countable(dtype)
        return sampling.random_binomial(_taken(self._state, _size(dims)), _rate(counts), _rate(probs), shape=dims, dtype=kind)

    def make_seeds(self, count: int = 1) -> Any:
        """int64[2, count]: seeds for `stateless_*` functions, one per column."""
        return self.uniform_full_int([2, count], dtypes.int64)

    def split(self, count: int = 1) -> list[Generator]:
        """Generators with streams of their own."""
        seeds = self.make_seeds(count)
        return [Generator(state=ops.random_state(seeds[:, k], domain=_GENERATOR)) for k in range(count)]


def _as_state(state: Any) -> Any:
    """A state as int64[3]. ValueError for what has another shape."""
    state = convert_to_tensor(state.value() if isinstance(state, Variable) else state)
    if state.dims != (3,):
        raise ValueError(
            places.with_place(f"the state of a generator is int64[3], got shape {state.shape}; write tf.random.create_rng_state(seed)")
        )
    return cast(state, dtypes.int64)


def _keyed(key: Any, counter: Any) -> Any:
    counter = convert_to_tensor(counter, dtypes.int64)
    if counter.dims not in ((), (1,), (2,)):
        raise ValueError(places.with_place(f"a counter has one or two elements, got shape {counter.shape}"))
    low, high = (counter, 0) if not counter.dims else (counter[0], counter[1] if counter.dims == (2,) else 0)
    return convert_to_tensor([low, high, key], dtypes.int64)


def _philox(alg: Any) -> None:
    if alg not in (None, "philox", "auto_select", 1, 3):
        raise NotImplementedError(places.with_place(f"random numbers by {alg}: write alg='philox'"))


def create_rng_state(seed: Any, alg: Any = None) -> Any:
    """The state int64[3] that a seed stands for, an integer or a few of them."""
    _philox(alg)
    numbers = np.atleast_1d(np.asarray(seed, dtype=object)).ravel()
    state = _state(int(numbers[0]), 0, _GENERATOR)
    for n in numbers[1:]:
        state = _state(int(state[2]) ^ int(state[1]), int(n), _GENERATOR)
    return EagerTensor(state)


def with_own_stream(cells: dict[str, Variable]) -> dict[str, Variable]:
    """The cells of a traced function, the process's stream among them replaced by one of its own, which begins at a seed drawn from it.

    So a function that runs in another thread neither disturbs the numbers that the program draws nor depends on when it runs.
    """
    if not any(v is _states.unseeded for v in cells.values()):
        return cells
    return {name: _cell(process_state(), "rng") if v is _states.unseeded else v for name, v in cells.items()}


def process_state(seed: int | None = None) -> np.ndarray:
    """int64[3]: where a stream apart begins, drawn from the process's; with `seed`, from that and the one of `set_seed` alone."""
    if seed is not None:
        return _states.of(int(seed))
    with recording(None), paused_tapes():
        return ops.random_state(_uniform(_states.take(None, 2), (2,), None, None, dtypes.int64), domain=_GENERATOR).numpy_view()


def get_global_generator() -> Generator:
    """The process's generator, begun from a state that the operating system chooses (`tf.random.get_global_generator`)."""
    if _states.generator is None:
        with recording(None), paused_tapes():
            _states.generator = Generator.from_non_deterministic_state()
    return _states.generator


def set_global_generator(generator: Generator) -> None:
    """Put another generator in the place of `get_global_generator()`."""
    _states.generator = generator


# -------------------------------------------------------------------------------------- draws from the process's state
def normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None
) -> Any:
    """Normal values of `shape` (`tf.random.normal`). ValueError for a dtype that is not floating."""
    dims, kind = shape_of(shape), _floating(dtype)
    return _normal(_states.take(seed, _size(dims)), dims, mean, stddev, kind)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None
) -> Any:
    """Normal values within two standard deviations (`tf.random.truncated_normal`)."""
    dims, kind = shape_of(shape), _floating(dtype)
    return _truncated_normal(_states.take(seed, _size(dims)), dims, mean, stddev, kind)


def uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None
) -> Any:
    """Uniform values in [minval, maxval) (`tf.random.uniform`); `maxval` is 1 for floats and must be given for integers (ValueError)."""
    dims, kind = shape_of(shape), _uniform_dtype(minval, maxval, dtype)
    return _uniform(_states.take(seed, _size(dims)), dims, minval, maxval, kind)


def gamma(shape: Any, alpha: Any, beta: Any = None, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None) -> Any:
    """Gamma values: `shape` of them for each of the parameters, alpha the shape and beta the inverse scale (`tf.random.gamma`).

    Gradients flow to both parameters, to alpha along samples that keep their place in the distribution.
    """
    kind = _floating(dtype)
    first, second = _number(alpha, kind), None if beta is None else _number(beta, kind)
    dims = (*shape_of(shape), *(first.dims if second is None else broadcast(first.dims, second.dims)))
    return _gamma(_states.take(seed, _size(dims)), dims, first, second, kind)


def poisson(shape: Any, lam: Any, dtype: Any = dtypes.float32, seed: int | None = None, name: str | None = None) -> Any:
    """Poisson counts: `shape` of them for each rate of `lam` (`tf.random.poisson`)."""
    rate, kind = _rate(lam), _countable(dtype)
    dims = (*shape_of(shape), *rate.dims)
    return _poisson(_states.take(seed, _size(dims)), dims, rate, kind)


def categorical(logits: Any, num_samples: Any, dtype: Any = None, seed: int | None = None, name: str | None = None) -> Any:
    """`num_samples` class numbers for each row of unnormalised log-probabilities [batch, classes] (`tf.random.categorical`)."""
    logits, count, kind = _categorical_operands(logits, num_samples, dtype)
    return _categorical(_states.take(seed, logits.dims[0] * count), logits, count, kind)


def _categorical_operands(logits: Any, num_samples: Any, dtype: Any) -> tuple[Any, Dim, DType]:
    logits = convert_to_tensor(logits)
    if len(logits.dims) != 2:
        raise InvalidArgumentError(places.with_place(f"logits should be a matrix [batch, classes], got shape {logits.shape}"))
    kind = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    if kind not in (dtypes.int32, dtypes.int64):
        raise TypeError(places.with_place(f"class numbers are tf.int32 or tf.int64, not tf.{kind.name}"))
    return logits, dims_of(num_samples)[0], kind


def shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Any:
    """The rows of `value` in random order (`tf.random.shuffle`)."""
    value = convert_to_tensor(value)
    return _shuffled(_states.take(seed, value.dims[0] if value.dims else 1), value)


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
    _philox(alg)
    return ops.random_state(_seed(seed), domain=_STATELESS)


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
    return _normal(_stateless(seed, alg), shape_of(shape), mean, stddev, _floating(dtype))


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
    return _truncated_normal(_stateless(seed, alg), shape_of(shape), mean, stddev, _floating(dtype))


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
    kind = _uniform_dtype(minval, maxval, dtype, full=True)
    return _uniform(_stateless(seed, alg), shape_of(shape), minval, maxval, kind)


def stateless_gamma(shape: Any, seed: Any, alpha: Any, beta: Any = None, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """Gamma values of exactly `shape`, with which the parameters broadcast, as a function of `seed`."""
    kind = _floating(dtype)
    return _gamma(_stateless(seed), shape_of(shape), _number(alpha, kind), None if beta is None else _number(beta, kind), kind)


def stateless_poisson(shape: Any, seed: Any, lam: Any, dtype: Any = dtypes.int32, name: str | None = None) -> Any:
    """Poisson counts of exactly `shape`, with which `lam` broadcasts, as a function of `seed`."""
    return _poisson(_stateless(seed), shape_of(shape), _rate(lam), _countable(dtype))


def stateless_binomial(shape: Any, seed: Any, counts: Any, probs: Any, output_dtype: Any = dtypes.int32, name: str | None = None) -> Any:
    """Of `counts` trials how many succeed with probability `probs`, both of which broadcast with `shape`, as a function of `seed`."""
    return sampling.random_binomial(_stateless(seed), _rate(counts), _rate(probs), shape=shape_of(shape), dtype=_countable(output_dtype))


def stateless_categorical(logits: Any, num_samples: Any, seed: Any, dtype: Any = dtypes.int64, name: str | None = None) -> Any:
    """`categorical` as a function of the two integers in `seed`."""
    logits, count, kind = _categorical_operands(logits, num_samples, dtype)
    return _categorical(_stateless(seed), logits, count, kind)


def _stateless_shuffle(value: Any, seed: Any, alg: Any = "auto_select", name: str | None = None) -> Any:
    """`shuffle` as a function of the two integers in `seed`."""
    return _shuffled(_stateless(seed, alg), convert_to_tensor(value))


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

"""The states that draws take their numbers from: the process's streams, and `tf.random.Generator`.

The process has one state, the cell `rng` of every graph that draws: each draw, used or not, takes the next blocks of its stream in
program order. A draw with a `seed` of its own has a state of its own, which depends on that seed and the one of `set_seed` only, and
which all draws with that seed share. A draw of n elements moves the state by n, whatever the distribution.
"""

from __future__ import annotations

import os
import threading
from enum import IntEnum
from typing import Any

import numpy as np

from tapejit import distributions
from tapejit.casting import cast
from tapejit.core import dtypes, places
from tapejit.core.sizes import Dim
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.op import thread
from tapejit.ops import random as ops
from tapejit.ops import sampling
from tapejit.record.recorder import recording
from tapejit.tensor import EagerTensor, convert_to_tensor, dims_of, shape_of
from tapejit.variable import Variable, paused_tapes

_DEFAULT_SEED = 87654321  # TensorFlow's, for draws that have a seed where the process has none
STATELESS, _SEEDED, _GENERATOR = 0, 1, 2  # domains: the same seed begins another stream in each


class Algorithm(IntEnum):
    """`tf.random.Algorithm`: only Philox is there, and is what AUTO_SELECT selects."""

    PHILOX = 1
    THREEFRY = 2
    AUTO_SELECT = 3


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
            return taken(self.unseeded, size)
        key = int(seed)
        if key not in self.seeded:
            self.seeded[key] = _cell(self.of(key), f"rng_{key}".replace("-", "m"))
        return taken(self.seeded[key], size)

    def of(self, key: int) -> np.ndarray:
        return state_of_seed(_DEFAULT_SEED if self.seed is None else self.seed, key, _SEEDED)

    def reset(self, seed: int) -> None:
        """Begin all streams anew, in the cells that traced functions know."""
        self.seed = seed
        start = state_of_seed(seed, 0, _GENERATOR)
        with recording(None), paused_tapes():
            if self.unseeded is None:
                self.unseeded = _cell(start, "rng")
            self.unseeded.assign(start)
            for key, cell in self.seeded.items():
                cell.assign(self.of(key))


def state_of_seed(a: int, b: int, domain: int) -> np.ndarray:
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


def taken(cell: Variable, size: Dim) -> Any:
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


states = _States()


def set_seed(seed: int) -> None:
    """Begin the process's streams anew from `seed` (`tf.random.set_seed`); generators keep theirs."""
    states.reset(int(seed))


class Generator:
    """TensorFlow's `tf.random.Generator`: a state of its own, in a variable, and draws from it."""

    def __init__(self, copy_from: Generator | None = None, state: Any = None, alg: Any = None) -> None:
        only_philox(alg)
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
        return taken(self._state, size)

    def normal(self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
        """As `tf.random.normal`."""
        dims, kind = shape_of(shape), distributions.floating(dtype)
        return distributions.normal(taken(self._state, distributions.size(dims)), dims, mean, stddev, kind)

    def truncated_normal(self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
        """As `tf.random.truncated_normal`."""
        dims, kind = shape_of(shape), distributions.floating(dtype)
        return distributions.truncated_normal(taken(self._state, distributions.size(dims)), dims, mean, stddev, kind)

    def uniform(self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
        """As `tf.random.uniform`."""
        dims, kind = shape_of(shape), distributions.uniform_dtype(minval, maxval, dtype)
        return distributions.uniform(taken(self._state, distributions.size(dims)), dims, minval, maxval, kind)

    def uniform_full_int(self, shape: Any, dtype: Any = dtypes.uint64, name: str | None = None) -> Any:
        """Integers of 32 or 64 bits, all of which are random."""
        dims, kind = shape_of(shape), distributions.uniform_dtype(None, None, dtype, full=True)
        return distributions.uniform(taken(self._state, distributions.size(dims)), dims, None, None, kind)

    def binomial(self, shape: Any, counts: Any, probs: Any, dtype: Any = dtypes.int32, name: str | None = None) -> Any:
        """How many of `counts` trials succeed with probability `probs`; both broadcast to `shape`."""
        dims, kind = shape_of(shape), distributions.countable(dtype)
        return sampling.random_binomial(
            taken(self._state, distributions.size(dims)), distributions.rate(counts), distributions.rate(probs), shape=dims, dtype=kind
        )

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


def only_philox(alg: Any) -> None:
    if alg not in (None, "philox", "auto_select", 1, 3):
        raise NotImplementedError(places.with_place(f"random numbers by {alg}: write alg='philox'"))


def create_rng_state(seed: Any, alg: Any = None) -> Any:
    """The state int64[3] that a seed stands for, an integer or a few of them."""
    only_philox(alg)
    numbers = np.atleast_1d(np.asarray(seed, dtype=object)).ravel()
    state = state_of_seed(int(numbers[0]), 0, _GENERATOR)
    for n in numbers[1:]:
        state = state_of_seed(int(state[2]) ^ int(state[1]), int(n), _GENERATOR)
    return EagerTensor(state)


def with_own_stream(cells: dict[str, Variable]) -> dict[str, Variable]:
    """The cells of a traced function, the process's stream among them replaced by one of its own, which begins at a seed drawn from it.

    So a function that runs in another thread neither disturbs the numbers that the program draws nor depends on when it runs.
    """
    if not any(v is states.unseeded for v in cells.values()):
        return cells
    return {name: _cell(process_state(), "rng") if v is states.unseeded else v for name, v in cells.items()}


def process_state(seed: int | None = None) -> np.ndarray:
    """int64[3]: where a stream apart begins, drawn from the process's; with `seed`, from that and the one of `set_seed` alone."""
    if seed is not None:
        return states.of(int(seed))
    with recording(None), paused_tapes():
        return ops.random_state(distributions.uniform(states.take(None, 2), (2,), None, None, dtypes.int64), domain=_GENERATOR).numpy_view()


def get_global_generator() -> Generator:
    """The process's generator, begun from a state that the operating system chooses (`tf.random.get_global_generator`)."""
    if states.generator is None:
        with recording(None), paused_tapes():
            states.generator = Generator.from_non_deterministic_state()
    return states.generator


def set_global_generator(generator: Generator) -> None:
    """Put another generator in the place of `get_global_generator()`."""
    states.generator = generator

"""A stage of a pipeline: what every dataset is made of."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tapejit.core.shape import TensorShape
from tapejit.data.elements import Elements, Leaves
from tapejit.data.pieces import Piece
from tapejit.rewinding import moving
from tapejit.spec import TypeSpec

INFINITE, UNKNOWN = -1, -2


class Stage:
    """Something with elements. Iterating over `pieces()` again begins again."""

    sources: tuple[Stage, ...] = ()

    def __init__(self, *sources: Stage) -> None:
        self.sources = sources

    @property
    def source(self) -> Stage:
        """The one stage that this one follows."""
        return self.sources[0]

    @property
    def known(self) -> bool:
        """Whether `elements` is known without running anything."""
        return all(s.known for s in self.sources)

    @functools.cached_property
    def elements(self) -> Elements:
        """What the elements are. Found at the first need: a function that cannot be traced has to be tried on an element."""
        return self.describe()

    @property
    def tree(self) -> Any:
        """The structure of the elements. Once there has been one, it is known without trying any."""
        return self.sources[0].tree if self.sources else self.elements.tree

    def describe(self) -> Elements:
        """Find `elements`."""
        raise NotImplementedError(f"{type(self).__name__}.describe")

    def pieces(self) -> Iterator[Piece]:
        """The elements, in pieces."""
        raise NotImplementedError(f"{type(self).__name__}.pieces")

    def cardinality(self) -> int:
        """The number of elements, INFINITE or UNKNOWN."""
        return UNKNOWN

    def each(self) -> Iterator[Leaves]:
        """The elements one by one."""
        for piece in self.pieces():
            yield from piece

    def as_leaf(self) -> DatasetSpec:
        """The spec of elements that are pipelines like this one."""
        return DatasetSpec(self.elements.structure)

    def all(self) -> list[Stage]:
        """This stage and those before it, each once."""
        found: dict[int, Stage] = {}
        waiting: list[Stage] = [self]
        while waiting:
            stage = waiting.pop()
            if id(stage) not in found:
                found[id(stage)] = stage
                waiting += stage.sources
        return list(found.values())

    def seeded(self) -> list[Seeded]:
        """The stages among `all()` that draw random numbers."""
        return [s for s in self.all() if isinstance(s, Seeded)]

    def beginning(self) -> None:
        """Called before an iteration begins: a trial run puts the random streams back."""
        moving(self, self._streams_kept)

    def _streams_kept(self) -> Callable[[], None]:
        kept = [(s, s.state) for s in self.seeded()]

        def put_back() -> None:
            for s, state in kept:
                s.state = state

        return put_back


class Seeded(Stage):
    """A stage that draws random numbers: each iteration from a stream that its seed and the number of the iteration give."""

    def __init__(self, seed: Sequence[int], renewed: bool, *sources: Stage) -> None:
        super().__init__(*sources)
        self._seed, self._renewed, self._round, self._lock = tuple(seed), renewed, 0, threading.Lock()

    def stream(self) -> np.random.Generator:
        """The stream of the iteration that begins now; the same one each time unless it is to be `renewed`."""
        with self._lock:
            out = np.random.default_rng([*self._seed, self._round])
            self._round += self._renewed
        return out

    @property
    def state(self) -> list[int]:
        """What the next streams depend on."""
        return [*self._seed, self._round]

    @state.setter
    def state(self, numbers: Sequence[int]) -> None:
        *seed, self._round = map(int, numbers)
        self._seed = tuple(seed)


class DatasetSpec(TypeSpec):
    """The spec of a dataset (`tf.data.DatasetSpec`)."""

    def __init__(self, element_spec: Any, dataset_shape: Any = ()) -> None:
        self.element_spec, self.shape = element_spec, TensorShape(dataset_shape)

    def is_compatible_with(self, other: Any) -> bool:
        """Whether `other` is a spec, or a dataset, of the same elements."""
        return getattr(other, "element_spec", None) == self.element_spec

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatasetSpec) and other.element_spec == self.element_spec

    def __hash__(self) -> int:
        return hash(repr(self.element_spec))

    def __repr__(self) -> str:
        return f"DatasetSpec({self.element_spec!r}, {self.shape!r})"


def fewest(cardinalities: Iterator[int]) -> int:
    """The number of elements where the shortest of several ends first."""
    known = list(cardinalities)
    finite = [c for c in known if c >= 0]
    if UNKNOWN in known:
        return UNKNOWN
    return min(finite) if finite else INFINITE

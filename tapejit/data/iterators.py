"""Iterators over pipelines: as users hold them, with arrays in place of tensors, and as arguments of traced functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Iterator as PythonIterator
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.core.errors import InvalidArgumentError, OperatorNotAllowedInGraphError, OutOfRangeError
from tapejit.data.elements import elements_of, packing
from tapejit.data.order import Skip
from tapejit.data.pipeline import Stage
from tapejit.data.traced import TracedIterator, handle, meant, passed
from tapejit.ir.op import thread
from tapejit.rewinding import moving
from tapejit.spec import TypeSpec
from tapejit.tensor import EagerTensor, convert_to_tensor


class IteratorSpec(TypeSpec):
    """The spec of an iterator over a dataset (`tf.data.IteratorSpec`)."""

    def __init__(self, element_spec: Any) -> None:
        self.element_spec = element_spec

    def seen(self, handle: Any) -> PassedIterator:
        """What a traced function sees of one."""
        return PassedIterator(self.element_spec, handle)

    def meant(self, handle: Any) -> Any:
        """The iterator that is passed by its number."""
        return meant([handle])[0]

    def is_compatible_with(self, spec_or_value: Any) -> bool:
        """Whether it is a spec, or an iterator, of the same elements."""
        return getattr(spec_or_value, "element_spec", None) == self.element_spec

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IteratorSpec) and other.element_spec == self.element_spec

    def __hash__(self) -> int:
        return hash(repr(self.element_spec))

    def __repr__(self) -> str:
        return f"IteratorSpec({self.element_spec!r})"


_NO_OPTIONAL = "get_next_as_optional() in a traced function; go along the iterator with `for`, or pass what it gives eagerly"


class PassedIterator:
    """What stands for an iterator that is an argument of the function being traced."""

    def __init__(self, element_spec: Any, handle: Any) -> None:
        self.element_spec, self._handle = element_spec, handle

    def __iter__(self) -> PassedIterator:
        return self

    def __tf_traced_iter__(self) -> TracedIterator:
        """How the function goes on along the iterator that is passed."""
        return TracedIterator("iterator", lambda it: it._leaves(), elements_of(self.element_spec), [self._handle])

    def __tf_handle__(self) -> tuple[Any, IteratorSpec]:
        """The number passed for it, for functions called in turn."""
        return self._handle, IteratorSpec(self.element_spec)

    def get_next(self, name: str | None = None) -> Any:
        """The next element. OutOfRangeError when the function runs and there is none."""
        return self.__tf_traced_iter__().next()

    __next__ = get_next

    def get_next_as_optional(self) -> Any:
        """NotImplementedError."""
        raise NotImplementedError(places.with_place(_NO_OPTIONAL))


class BegunIterator(PassedIterator):
    """What `iter(dataset)` is while a function is traced: an iterator that begins each time the function runs."""

    def __next__(self) -> Any:
        raise _in_python()


def _in_python() -> OperatorNotAllowedInGraphError:
    return OperatorNotAllowedInGraphError(
        places.with_place(
            "Iterating over a dataset in Python is not possible while a function is traced; leave autograph on, or write get_next()"
        )
    )


class Iterator:
    """An iterator over a dataset (`tf.data.Iterator`)."""

    def __init__(self, stage: Stage, nested: Callable[[Stage], Any]) -> None:
        self._stage, self._nested = stage, nested
        stage.beginning()
        self._begin([s.state for s in stage.seeded()])

    def _begin(self, streams: list[list[int]], position: int = 0) -> None:
        stage = self._stage
        self._streams, self._position = streams, position
        self._each = (Skip(stage, position) if position else stage).each()
        self._pack: Callable[[Any], Any] | None = None

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if thread.recorder is not None:
            raise _in_python()
        leaves = self._taken()
        pack = self._pack
        if pack is None:
            pack = self._pack = packing(self._stage.tree)
        return pack([EagerTensor(x) if isinstance(x, np.ndarray | np.generic) else self._nested(x) for x in leaves])

    def _taken(self) -> Any:
        moving(self, self._way_back)
        leaves = next(self._each)
        self._position += 1
        return leaves

    def _way_back(self) -> Callable[[], None]:
        return functools.partial(self.restore_state, self.saved_state())

    def _leaves(self) -> PythonIterator[Any]:
        """The leaves of the elements from here on."""
        return iter(self._taken, None)

    # ---------------------------------------------------------------------------------- in traced functions
    def __tf_traced_iter__(self) -> TracedIterator:
        """How the function being traced goes on along the dataset, from where this iterator is when it runs."""
        return TracedIterator("iterator", self._leaves, self._stage.elements)

    def __tf_handle__(self) -> tuple[Any, IteratorSpec]:
        """The number that is passed to a traced function for the iterator, and which iterators one trace serves."""
        spec = IteratorSpec(self.element_spec)
        return (passed("iterator", lambda: self) if thread.recorder is not None else handle(self)), spec

    def get_next(self, name: str | None = None) -> Any:
        """The next element. OutOfRangeError at the end."""
        if thread.recorder is not None:
            return self.__tf_traced_iter__().next()
        try:
            return next(self)
        except StopIteration:
            raise OutOfRangeError(places.with_place("End of sequence")) from None

    # ---------------------------------------------------------------------------------- in checkpoints
    def saved_state(self) -> np.ndarray:
        """What a checkpoint holds: the number of elements taken, and how the random streams of the pipeline began."""
        return np.array([self._position, *(n for state in self._streams for n in state)], np.uint64)

    def restore_state(self, array: np.ndarray) -> None:
        """Go on where a checkpoint was made, in the same order. InvalidArgumentError for the state of another pipeline."""
        stages = self._stage.seeded()
        position, numbers = int(array[0]), [int(n) for n in array[1:]]
        if len(numbers) != sum(len(s.state) for s in stages):
            raise InvalidArgumentError(places.with_place("the iterator in the checkpoint is one over another pipeline"))
        streams = []
        for s in stages:
            s.state = numbers[: len(s.state)]
            streams.append(s.state)
            del numbers[: len(s.state)]
        self._begin(streams, position)

    def get_next_as_optional(self) -> Optional:
        """The next element, or none, as an `Optional`. NotImplementedError while a function is traced."""
        if thread.recorder is not None:
            raise NotImplementedError(places.with_place(_NO_OPTIONAL))
        return Optional(list(_take(self, 1)), self.element_spec)

    @property
    def element_spec(self) -> Any:
        """The specs of the elements, in their structure."""
        return self._stage.elements.structure


class NumpyIterator:
    """The elements of a dataset with arrays for tensors."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._each = stage, stage.each()
        self._pack: Callable[[Any], Any] | None = None

    def __iter__(self) -> NumpyIterator:
        return self

    def __next__(self) -> Any:
        leaves = next(self._each)
        if self._pack is None:
            self._pack = packing(self._stage.tree)
        return self._pack([EagerTensor(x).numpy() for x in leaves])


class Optional:
    """An element or none (`tf.experimental.Optional`)."""

    def __init__(self, elements: list[Any], spec: Any) -> None:
        self._elements, self.element_spec = elements, spec

    def has_value(self, name: str | None = None) -> Any:
        """Whether there is an element."""
        return convert_to_tensor(bool(self._elements))

    def get_value(self, name: str | None = None) -> Any:
        """The element. InvalidArgumentError if there is none."""
        if not self._elements:
            raise InvalidArgumentError(places.with_place("The given optional does not have a value."))
        return self._elements[0]


def _take(items: Any, count: int) -> PythonIterator[Any]:
    for _, item in zip(range(count), items, strict=False):
        yield item

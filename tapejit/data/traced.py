"""Datasets in traced functions: `for x in dataset` and `next(iterator)` when the compiled step runs, through declared callbacks.

In: a dataset or iterator that a traced function goes along. Out: lines that begin a run through it, that have the next element ready (if there is
one), and that take an element by its number. As taking one has no effect, a gradient may take it again:
a run keeps its latest elements for that, up to `KEPT_BYTES`.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from tapejit.autograph.convert import converted
from tapejit.control import while_loop
from tapejit.core import dtypes, places
from tapejit.core.dtypes import DType
from tapejit.core.errors import InternalError, InvalidArgumentError, OutOfRangeError
from tapejit.core.types import Type
from tapejit.data.elements import Elements, packing
from tapejit.data.pieces import Piece
from tapejit.data.pipeline import Stage
from tapejit.ir.op import Op, register
from tapejit.record.recorder import recording
from tapejit.tensor import EagerTensor, constant

KEPT_BYTES = 256 << 20
_RUNS = 4  # runs of one source that are remembered: their elements may be wanted once more

_sources: WeakValueDictionary[str, _Source] = WeakValueDictionary()
_names = itertools.count(1)
_numbers = itertools.count(1)
_objects: WeakValueDictionary[int, Any] = WeakValueDictionary()  # datasets and iterators by the numbers that are passed for them


def handle(x: Any) -> EagerTensor:
    """The number that is passed for a dataset or iterator, an int64 scalar. It means the object as long as that lives."""
    _objects[id(x)] = x
    return EagerTensor(np.asarray(id(x), np.int64))


def passed(name: str, make: Callable[..., Any], handles: Sequence[Any] = ()) -> Any:
    """While a function is traced: the number of what `make`, of what `handles` stand for, gives when the function runs."""
    return dataset_passed(*handles, source=_entered(name, make))


def made(name: str, make: Callable[..., Any], tensors: Sequence[Any]) -> Any:
    """While a function is traced: the number of what `make` gives, of the values that tensors have when the function runs."""
    return dataset_made(*tensors, source=_entered(name, make))


class _Name(str):
    """The name of a source in a graph. The graphs that have it keep the source alive."""

    source: _Source

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)


def _entered(name: str, begin: Callable[..., Any]) -> str:
    out = _Name(f"{name}_{next(_names)}")
    out.source = _sources[str(out)] = _Source(begin)
    return out


def meant(handles: Sequence[Any]) -> list[Any]:
    """What numbers stand for. InvalidArgumentError if it is gone."""
    found = [_objects.get(int(h)) for h in handles]
    if any(x is None for x in found):
        raise InvalidArgumentError(
            "a dataset or iterator that was passed to a traced function does not exist any more; keep a reference to it"
        )
    return found


class Argument(Stage):
    """What stands for a dataset that is an argument of the function being traced: its `handle` is the number passed for it."""

    def __init__(self, elements: Elements, handle: Any) -> None:
        self.elements, self.handle = elements, handle

    def pieces(self) -> Iterator[Piece]:
        raise NotImplementedError("the elements of a dataset that is an argument of the function being traced; go along it with for")


def bound(stage: Stage, actual: dict[int, Stage]) -> Stage:
    """The pipeline with other stages in the place of arguments (by id)."""
    if id(stage) in actual:
        return actual[id(stage)]
    sources = tuple(bound(s, actual) for s in stage.sources)
    if all(a is b for a, b in zip(sources, stage.sources, strict=True)):
        return stage
    out = copy.copy(stage)
    out.sources = sources
    return out


class _Run:
    """One way through a source: its iterator, the latest elements, and those that somebody has looked ahead to."""

    def __init__(self, each: Iterator[Any]) -> None:
        self.each = each
        self.kept: OrderedDict[int, tuple[np.ndarray, ...]] = OrderedDict()
        self.coming: deque[tuple[np.ndarray, ...]] = deque()
        self.count = self.bytes = 0

    def _taken(self) -> tuple[np.ndarray, ...] | None:
        leaves = next(self.each, None)
        return None if leaves is None else tuple(np.asarray(x) for x in leaves)

    def look_ahead(self) -> bool:
        """Whether there is one more element than were looked ahead to."""
        leaves = self._taken()
        if leaves is not None:
            self.coming.append(leaves)
        return leaves is not None

    def advance(self) -> int:
        leaves = self.coming.popleft() if self.coming else self._taken()
        if leaves is None:
            return -1
        self.kept[self.count] = leaves
        self.bytes += sum(x.nbytes for x in leaves)
        while self.bytes > KEPT_BYTES and len(self.kept) > 1:
            self.bytes -= sum(x.nbytes for x in self.kept.popitem(last=False)[1])
        self.count += 1
        return self.count - 1

    def element(self, number: int) -> tuple[np.ndarray, ...]:
        """InvalidArgumentError if it is not kept any more."""
        if 0 <= number - self.count < len(self.coming):
            return self.coming[number - self.count]
        if number not in self.kept:
            raise InvalidArgumentError(
                f"element {number} of a dataset is needed once more for a gradient, but only the latest {KEPT_BYTES >> 20} MiB are kept; "
                "open the tape within the loop over the dataset"
            )
        return self.kept[number]


class _Source:
    """What is gone along: `begin`, of what the handles stand for, gives the leaves of its elements from where a run begins."""

    def __init__(self, begin: Callable[..., Iterator[Any]]) -> None:
        self.begin = begin
        self.lock = threading.Lock()
        self.runs: OrderedDict[int, _Run] = OrderedDict()
        self.made: deque[Any] = deque(maxlen=_RUNS)

    def start(self, objects: list[Any]) -> int:
        """The number of a run that begins now."""
        with self.lock:
            number = next(_numbers)
            self.runs[number] = _Run(self.begin(*objects))
            while len(self.runs) > _RUNS:
                self.runs.popitem(last=False)
            return number

    def make(self, objects: list[Any]) -> Any:
        """What `begin` makes, kept alive for a while."""
        with self.lock:
            made = self.begin(*objects)
            self.made.append(made)
            return made


def _run(source: str, number: Any) -> _Run:
    found = _sources[source].runs.get(int(number)) if source in _sources else None
    if found is None:
        raise InternalError(f"a run through {source} that is not remembered")
    return found


class _HostOp(Op):
    """An op that calls Python, where the pipeline is."""

    no_gradient = True

    def samples(self, draw: Any) -> Iterator[Any]:
        return iter(())


class DatasetStart(_HostOp):
    """Begin to go along `source`, in which the handles stand for what was passed as arguments; the number of the run."""

    name = "dataset_start"
    effect = True

    def infer(self, *handles: Type, source: str) -> Type:
        return Type(dtypes.int64)

    def eager(self, *handles: Any, source: str) -> Any:
        return np.asarray(_sources[source].start(meant(handles)), np.int64)


class DatasetPassed(DatasetStart):
    """The number of the dataset or iterator that `source` makes of those that the handles stand for, to be passed on."""

    name = "dataset_passed"

    def eager(self, *handles: Any, source: str) -> Any:
        return handle(_sources[source].make(meant(handles))).numpy_view()


class DatasetMade(DatasetStart):
    """The number of the dataset that `source` makes of the tensors, to be gone along or passed on."""

    name = "dataset_made"

    def eager(self, *tensors: Any, source: str) -> Any:
        with recording(None):  # the arrays are the step's own
            return handle(_sources[source].make([EagerTensor(np.array(x)) for x in tensors])).numpy_view()


class DatasetMore(_HostOp):
    """Whether a run has had elements: what stands for `dataset_advance` where a loop runs again for its gradient, by the count it had."""

    name = "dataset_more"

    def infer(self, run: Type, *, source: str) -> Type:
        return Type(dtypes.bool_)

    def eager(self, run: Any, *, source: str) -> Any:
        return np.asarray(_run(source, run).count > 0)


class DatasetAdvance(_HostOp):
    """Have the next element of a run ready; False if there is none."""

    name = "dataset_advance"
    effect = True
    again, ahead = "dataset_more", "dataset_ahead"

    def infer(self, run: Type, *, source: str) -> Type:
        return Type(dtypes.bool_)

    def eager(self, run: Any, *, source: str) -> Any:
        with recording(None):
            return np.asarray(_run(source, run).advance() >= 0)


class DatasetAhead(_HostOp):
    """Whether the run has one more element than were looked ahead to, which is then held until the run comes to it."""

    name = "dataset_ahead"
    effect = True

    def infer(self, run: Type, *, source: str) -> Type:
        return Type(dtypes.bool_)

    def eager(self, run: Any, *, source: str) -> Any:
        with recording(None):
            return np.asarray(_run(source, run).look_ahead())


class DatasetNext(_HostOp):
    """Have the next element of a run ready; its number. OutOfRangeError if there is none."""

    name = "dataset_next"
    effect = True

    def infer(self, run: Type, *, source: str) -> Type:
        return Type(dtypes.int64)

    def eager(self, run: Any, *, source: str) -> Any:
        with recording(None):
            number = _run(source, run).advance()
        if number < 0:
            raise OutOfRangeError("End of sequence")
        return np.asarray(number, np.int64)


class DatasetSizes(_HostOp):
    """The sizes of an element that its spec leaves open, `axes` being the (leaf, axis) of each."""

    name = "dataset_sizes"

    def infer(self, run: Type, number: Type, *, source: str, axes: tuple[tuple[int, int], ...]) -> Type:
        return Type(dtypes.int64, (len(axes),))

    def eager(self, run: Any, number: Any, *, source: str, axes: tuple[tuple[int, int], ...]) -> Any:
        leaves = _run(source, run).element(int(number))
        return np.array([leaves[k].shape[axis] for k, axis in axes], np.int64)


class DatasetElement(_HostOp):
    """The leaves of an element of a run, by its number."""

    name = "dataset_element"
    tuple_result = True

    def infer(self, run: Type, number: Type, *, source: str, dtypes: tuple[DType, ...], shapes: tuple[Any, ...]) -> tuple[Type, ...]:
        return tuple(Type(d, s) for d, s in zip(dtypes, shapes, strict=True))

    def eager(self, run: Any, number: Any, *, source: str, dtypes: tuple[DType, ...], shapes: tuple[Any, ...]) -> tuple[Any, ...]:
        leaves = _run(source, run).element(int(number))
        for x, shape in zip(leaves, shapes, strict=True):
            if x.shape != tuple(shape):
                raise InvalidArgumentError(f"an element of a dataset has shape {list(x.shape)}, but its spec says {list(shape)}")
        return leaves


dataset_start, dataset_advance, dataset_more = register(DatasetStart()), register(DatasetAdvance()), register(DatasetMore())
dataset_ahead = register(DatasetAhead())
dataset_passed, dataset_made = register(DatasetPassed()), register(DatasetMade())
dataset_next, dataset_sizes, dataset_element = register(DatasetNext()), register(DatasetSizes()), register(DatasetElement())


class TracedIterator:
    """A dataset or iterator that the function being traced goes along: what `for` and `next` of converted functions ask of one."""

    def __init__(self, name: str, begin: Callable[..., Iterator[Any]], elements: Elements, handles: Sequence[Any] = ()) -> None:
        if not elements.static:
            raise NotImplementedError(
                places.with_place(
                    f"a traced function going along elements of unknown rank, or datasets of datasets ({elements.structure}); write "
                    "ds.map(...) with functions that set shapes, or go along it eagerly"
                )
            )
        self._elements = elements
        self._source = _entered(name, begin)
        self._run = dataset_start(*handles, source=self._source)

    def advance(self) -> Any:
        """Have the next element ready: whether there is one."""
        return dataset_advance(self._run, source=self._source)

    def element(self, number: Any) -> Any:
        """The element of that number."""
        specs = self._elements.leaves
        axes = tuple((k, axis) for k, s in enumerate(specs) for axis, d in enumerate(s.shape) if d is None)
        found: Any = dataset_sizes(self._run, number, source=self._source, axes=axes) if axes else None
        sizes = {a: found[i].as_dim("B") for i, a in enumerate(axes)}
        shapes = tuple(tuple(sizes.get((k, axis), d) for axis, d in enumerate(s.shape)) for k, s in enumerate(specs))
        leaves = dataset_element(
            self._run, number, source=self._source, dtypes=tuple(s.dtype for s in specs), shapes=shapes
        )  # fmt: skip
        return packing(self._elements.tree)(list(leaves))

    def reduce(self, state: Any, function: Callable[[Any, Any], Any]) -> Any:
        """The state after `function(state, element)`, which gives the next one, of all elements."""
        step = converted(function)

        def body(going: Any, number: Any, state: Any) -> Any:
            new = step(state, self.element(number))
            return self.advance(), number + 1, tuple(new) if type(new) is list else new

        return while_loop(lambda going, *_: going, body, (self.advance(), constant(0, dtypes.int64), state))[-1]

    def next(self) -> Any:
        """The next element. OutOfRangeError when the function runs and there is none."""
        return self.element(dataset_next(self._run, source=self._source))

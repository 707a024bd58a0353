"""Where elements come from: arrays, numbers, generators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tapejit.core import dtypes, places
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.data.elements import Elements, array_of, flattened, spec_of
from tapejit.data.pieces import Arithmetic, Piece, Rows, Table
from tapejit.data.pipeline import INFINITE, UNKNOWN, Seeded, Stage
from tapejit.spec import TensorSpec

_ENDLESS = 2**62


class TensorSlice(Stage):
    """The rows of arrays (`from_tensor_slices`). ValueError for scalars and for arrays of different lengths."""

    def __init__(self, value: Any) -> None:
        leaves, tree = flattened(value)
        arrays = [array_of(x) for x in leaves]
        if not arrays:
            raise ValueError(places.with_place("Invalid `tensors`: there is no tensor in it"))
        for a in arrays:
            if a.ndim == 0:
                raise ValueError(places.with_place("Unbatching a tensor is only supported for rank >= 1; write from_tensors for a scalar"))
            if len(a) != len(arrays[0]):
                raise InvalidArgumentError(
                    places.with_place(f"Dimensions {len(arrays[0])} and {len(a)} are not compatible: all tensors must have as many rows")
                )
        self.elements = Elements(tree, tuple(TensorSpec(a.shape[1:], dtypes.as_dtype(a.dtype)) for a in arrays))
        self._table, self._count = Table(arrays), len(arrays[0])

    def cardinality(self) -> int:
        return self._count

    def pieces(self) -> Iterator[Piece]:
        yield Rows(self._table, range(self._count))


class Fixed(Stage):
    """Elements that are there already: those of `from_tensors`, of a window, of a group."""

    def __init__(self, elements: Elements, pieces: Sequence[Piece]) -> None:
        self.elements, self._pieces = elements, pieces

    @classmethod
    def of(cls, value: Any) -> Fixed:
        """One element (`from_tensors`)."""
        leaves, tree = flattened(value)
        arrays = tuple(array_of(x) for x in leaves)
        return cls(Elements(tree, tuple(spec_of(a) for a in arrays)), [[arrays]])

    def cardinality(self) -> int:
        return sum(map(len, self._pieces))

    def pieces(self) -> Iterator[Piece]:
        return iter(self._pieces)


class Range(Stage):
    """start, start + step, ... (`range`, and `counter` where `stop` is None)."""

    def __init__(self, start: int, stop: int | None, step: int, dtype: DType) -> None:
        if step == 0:
            raise InvalidArgumentError(places.with_place("step cannot be zero"))
        _, tree = flattened(0)
        self.elements = Elements(tree, (TensorSpec([], dtype),))
        self._endless = stop is None
        self._count = _ENDLESS if stop is None else len(range(start, stop, step))
        self._table = Table([Arithmetic(start, step, dtype.np)])

    def cardinality(self) -> int:
        return INFINITE if self._endless else self._count

    def pieces(self) -> Iterator[Piece]:
        yield Rows(self._table, range(self._count))


class Random(Seeded):
    """Numbers below 2^32, without end (`random`)."""

    def describe(self) -> Elements:
        return Elements(flattened(0)[1], (TensorSpec([], dtypes.int64),))

    def cardinality(self) -> int:
        return INFINITE

    def pieces(self) -> Iterator[Piece]:
        draw = self.stream()
        while True:
            for number in draw.integers(2**32, size=256):
                yield [(number,)]


class Generator(Stage):
    """What a Python generator yields (`from_generator`). Elements are converted to the dtypes declared.

    InvalidArgumentError for one of another structure or shape, as TensorFlow reports the TypeError inside.
    """

    def __init__(self, generator: Callable[..., Any], elements: Elements, arguments: Sequence[Any]) -> None:
        self.elements, self._generator, self._arguments = elements, generator, tuple(arguments)

    def cardinality(self) -> int:
        return UNKNOWN

    def pieces(self) -> Iterator[Piece]:
        wanted = self.elements
        for value in self._generator(*self._arguments):
            leaves, tree = flattened(value)
            if tree != wanted.tree:
                leaves = self._as_declared(value)
            yield [tuple(self._leaf(x, spec) for x, spec in zip(leaves, wanted.leaves, strict=True))]

    def _as_declared(self, value: Any) -> list[Any]:
        """The leaves of a value with lists for tuples, or of other mapping types."""
        if self.elements.tree.type is tuple and isinstance(value, list):
            value = tuple(value)
        try:
            return self.elements.tree.flatten_up_to(value)
        except ValueError:
            raise InvalidArgumentError(
                "TypeError: `generator` yielded an element that did not match the expected structure. "
                f"The expected structure was {self.elements.structure}, but the yielded element was {value!r}."
            ) from None

    def _leaf(self, x: Any, spec: TensorSpec) -> np.ndarray:
        try:
            array = array_of(x.numpy_view().astype(spec.dtype.np) if hasattr(x, "numpy_view") else np.asarray(x, spec.dtype.np))
        except (TypeError, ValueError):
            raise InvalidArgumentError(
                f"TypeError: `generator` yielded an element that could not be converted to the expected type. The expected type was {spec.dtype.name}, "
                f"but the yielded element was {x!r}."
            ) from None
        if not spec.shape.is_compatible_with(array.shape):
            raise InvalidArgumentError(
                f"TypeError: `generator` yielded an element of shape {array.shape} where an element of shape {spec.shape} was expected."
            )
        return array

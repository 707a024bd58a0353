"""Several elements as one, and back: batch, padded_batch, unbatch, window, group_by_window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.shape import TensorShape
from tapejit.data.elements import Elements, Leaves, batched_spec
from tapejit.data.order import Selection
from tapejit.data.pieces import Piece, Reader, Rows, Table, joined, size, stacked
from tapejit.data.pipeline import UNKNOWN, DatasetSpec, Stage
from tapejit.data.sources import Fixed
from tapejit.spec import TensorSpec


def _groups(elements: int, size: int, drop_remainder: bool) -> int:
    """How many groups of `size` so many elements make."""
    return elements if elements < 0 else elements // size if drop_remainder else -(-elements // size)


def positive(what: str, number: int) -> int:
    """`number`. InvalidArgumentError if it is not positive."""
    if number <= 0:
        raise InvalidArgumentError(places.with_place(f"{what} must be greater than zero, got {number}"))
    return number


class Batch(Stage):
    """`size` elements stacked along a new first axis."""

    def __init__(self, source: Stage, size: int, drop_remainder: bool) -> None:
        super().__init__(source)
        self._size, self._drop = positive("batch_size", size), drop_remainder

    def describe(self) -> Elements:
        return self.source.elements.mapped(lambda spec: batched_spec(spec, self._size if self._drop else None))

    def cardinality(self) -> int:
        return _groups(self.source.cardinality(), self._size, self._drop)

    def pieces(self) -> Iterator[Piece]:
        reader = Reader(self.source.pieces())
        while parts := reader.read(self._size):
            if self._drop and size(parts) < self._size:
                return
            yield [stacked(parts)]


class PaddedBatch(Batch):
    """The same after padding. `shapes` and `values` have one entry per leaf; None in a shape is the largest size in the batch."""

    def __init__(self, source: Stage, size: int, drop_remainder: bool, shapes: Sequence[Any] | None, values: Sequence[Any] | None) -> None:
        super().__init__(source, size, drop_remainder)
        specs = source.elements.leaves
        for spec in specs:
            if shapes is None and spec.shape.rank is None:
                raise ValueError(
                    places.with_place("padded_batch of tensors of unknown rank; write padded_shapes, or output_signature for the generator")
                )
        self._shapes = [TensorShape(s) for s in shapes] if shapes is not None else [s.shape for s in specs]
        self._values = [np.asarray(0 if v is None else v, s.dtype.np) for v, s in zip(values or [None] * len(specs), specs, strict=True)]

    def describe(self) -> Elements:
        specs, size = self.source.elements, self._size if self._drop else None
        return Elements(specs.tree, tuple(TensorSpec([size, *s], spec.dtype) for s, spec in zip(self._shapes, specs.leaves, strict=True)))

    def pieces(self) -> Iterator[Piece]:
        reader = Reader(self.source.pieces())
        while parts := reader.read(self._size):
            if self._drop and size(parts) < self._size:
                return
            columns = zip(*joined(parts), strict=True)
            yield [tuple(_padded(c, s, v) for c, s, v in zip(columns, self._shapes, self._values, strict=True))]


def _padded(column: Sequence[Any], shape: TensorShape, value: Any) -> np.ndarray:
    """The arrays of a column in one array, at its beginning along each axis, `value` elsewhere."""
    rank = shape.rank
    if any(np.ndim(x) != rank for x in column):
        found = next(np.shape(x) for x in column if np.ndim(x) != rank)
        raise InvalidArgumentError(f"padded_batch takes elements of rank {rank} here, got one of shape {list(found)}")
    largest = [max(np.shape(x)[k] for x in column) for k in range(rank or 0)]
    for want, have in zip(shape, largest, strict=True):
        if want is not None and have > want:
            raise InvalidArgumentError(
                f"an element of size {have} cannot be padded to size {want}; write a larger one, or None, in padded_shapes"
            )
    sizes = [have if want is None else want for want, have in zip(shape, largest, strict=True)]
    out = np.full((len(column), *sizes), value, column[0].dtype)
    for k, x in enumerate(column):
        corner: Any = (k, *map(slice, np.shape(x)))
        out[corner] = x
    return out


class Unbatch(Stage):
    """The rows of elements as elements."""

    def describe(self) -> Elements:
        return self.source.elements.mapped(_unbatched)

    def cardinality(self) -> int:
        sizes = {s.shape[0] for s in self.source.elements.leaves if isinstance(s, TensorSpec) and s.shape.rank}
        have = self.source.cardinality()
        return have * next(iter(sizes)) if have >= 0 and len(sizes) == 1 and None not in sizes else have if have in (0, -1) else UNKNOWN

    def pieces(self) -> Iterator[Piece]:
        for leaves in self.source.each():
            counts = {len(x) if np.ndim(x) else None for x in leaves}
            if len(counts) != 1 or None in counts:
                raise InvalidArgumentError(f"unbatch takes tensors of one first size, got shapes {[list(np.shape(x)) for x in leaves]}")
            yield Rows(Table(leaves), range(counts.pop() or 0))


def _unbatched(spec: Any) -> Any:
    if isinstance(spec, TensorSpec) and spec.named_shape is None:
        return spec
    if not isinstance(spec, TensorSpec) or not spec.named_shape:
        raise ValueError(places.with_place(f"Cannot unbatch an input with scalar components: {spec}"))
    return TensorSpec(spec.named_shape[1:], spec.dtype)


class Window(Stage):
    """Datasets of `size` elements, one every `stride`; each begins `shift` after the one before. Each leaf is a dataset of its own."""

    def __init__(self, source: Stage, size: int, shift: int, stride: int, drop_remainder: bool) -> None:
        super().__init__(source)
        self._size, self._drop = positive("size", size), drop_remainder
        self._shift, self._stride = positive("shift", shift), positive("stride", stride)

    def describe(self) -> Elements:
        return self.source.elements.mapped(lambda spec: DatasetSpec(spec.element_spec if isinstance(spec, DatasetSpec) else spec))

    def cardinality(self) -> int:
        have, reach = self.source.cardinality(), (self._size - 1) * self._stride
        return have if have < 0 else _groups(max(0, have - reach), self._shift, False) if self._drop else _groups(have, self._shift, False)

    def pieces(self) -> Iterator[Piece]:
        reader = Reader(self.source.pieces())
        singles = [Elements(_LEAF, (spec,)) for spec in self.source.elements.leaves]
        held: Piece = []
        while True:
            missing = (self._size - 1) * self._stride + 1 - len(held)
            held = joined([p for p in (held, *reader.read(missing)) if len(p)])
            window = held[:: self._stride][: self._size]
            if not len(window) or (self._drop and len(window) < self._size):
                return
            yield [tuple(Fixed(one, [_column(window, k)]) for k, one in enumerate(singles))]
            reader.read(self._shift - len(held))
            held = held[self._shift :]


_LEAF = Fixed.of(0).elements.tree


def _column(piece: Piece, k: int) -> Piece:
    """Elements that consist of one leaf of each element."""
    if isinstance(piece, Rows):
        return Rows(Table([piece.table.columns[k]]), piece.numbers[piece.table.groups[k]])
    return [(leaves[k],) for leaves in piece]


class GroupByWindow(Selection):
    """Elements gathered by `key`; as soon as `count(key)` of one key are there, `reduce(key, group)` gives the pipeline that follows.

    What is left at the end follows in the order of the keys.
    """

    def __init__(
        self, source: Stage, key: Callable[[Leaves], Any], reduce: Callable[[Any, Stage], Stage], count: Callable[[Any], int]
    ) -> None:
        super().__init__(source)
        self._key, self._reduce, self._count = key, reduce, count

    @property
    def tree(self) -> Any:
        return self.elements.tree

    def describe(self) -> Elements:
        inner = self.source.elements
        return self._reduce(np.int64(0), Fixed(inner, [])).elements

    def pieces(self) -> Iterator[Piece]:
        groups: dict[int, list[Leaves]] = {}
        for leaves in self.source.each():
            key = self._key(leaves)
            group = groups.setdefault(int(key), [])
            group.append(leaves)
            if len(group) >= positive("window_size", self._count(key)):
                yield from self._reduce(key, Fixed(self.source.elements, [groups.pop(int(key))])).pieces()
        for number in sorted(groups):
            yield from self._reduce(np.int64(number), Fixed(self.source.elements, [groups[number]])).pieces()

"""Which elements come, and in which order: shuffle, repeat, take, skip, shard, zip, concatenate, cache, choose."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.core.errors import InvalidArgumentError
from tapejit.data.elements import Elements, composed, widened
from tapejit.data.pieces import Piece, Reader, Rows, Table, joined, stacked, taken
from tapejit.data.pipeline import INFINITE, UNKNOWN, Seeded, Stage, fewest

_BLOCK = 4096  # a shuffle with a buffer smaller than the data moves on by so many rows


class Selection(Stage):
    """Some of the elements of one source."""

    def describe(self) -> Elements:
        return self.source.elements


class Shuffle(Seeded):
    """Each element is drawn from a buffer of the next `buffer` ones."""

    def __init__(self, source: Stage, buffer: int, seed: Sequence[int], renewed: bool) -> None:
        super().__init__(seed, renewed, source)
        if buffer <= 0:
            raise InvalidArgumentError(places.with_place(f"buffer_size must be greater than zero, got {buffer}"))
        self._buffer = buffer

    def describe(self) -> Elements:
        return self.source.elements

    def cardinality(self) -> int:
        return self.source.cardinality()

    def pieces(self) -> Iterator[Piece]:
        return self._shuffled(Reader(self.source.pieces()), self.stream())

    def _shuffled(self, reader: Reader, draw: np.random.Generator) -> Iterator[Piece]:
        held = joined(reader.read(self._buffer))
        while isinstance(held, Rows) and (piece := reader.some(max(_BLOCK, self._buffer // 4))) is not None:
            both = joined([held, piece])
            if not isinstance(both, Rows):  # rows of another table, or elements: from here on one by one
                reader.unread(piece)
                held = list(held)
                break
            order, stay = _exchanged(len(held), len(piece), draw)
            yield taken(both, order)
            held = taken(both, stay)
        if isinstance(held, list):
            while (piece := reader.some(1)) is not None:
                slot = int(draw.integers(len(held)))
                yield [held[slot]]
                (held[slot],) = piece
        if len(held):
            yield taken(held, draw.permutation(len(held)))


def _exchanged(slots: int, count: int, draw: np.random.Generator) -> tuple[list[int], list[int]]:
    """`count` elements come to `slots` that are filled, each in the place of one drawn: which leave, in order, and which stay."""
    held, gone = list(range(slots)), []
    for new, slot in enumerate(draw.integers(slots, size=count).tolist(), slots):
        gone.append(held[slot])
        held[slot] = new
    return gone, held


class Repeat(Selection):
    """The elements `count` times, or for ever (None). An empty source has nothing to repeat."""

    def __init__(self, source: Stage, count: int | None) -> None:
        super().__init__(source)
        self._count = count

    def cardinality(self) -> int:
        once = self.source.cardinality()
        if self._count is None:
            return INFINITE if once != 0 else 0
        return once if once == UNKNOWN or (once == INFINITE and self._count) else max(once, 0) * self._count

    def pieces(self) -> Iterator[Piece]:
        done = 0
        while self._count is None or done < self._count:
            done += 1
            empty = True
            for piece in self.source.pieces():
                empty = empty and not len(piece)
                yield piece
            if empty and self._count is None:
                return


class Take(Selection):
    """The first `count` elements; all where it is negative."""

    def __init__(self, source: Stage, count: int) -> None:
        super().__init__(source)
        self._count = count

    def cardinality(self) -> int:
        have = self.source.cardinality()
        if self._count < 0 or have == UNKNOWN:
            return have if self._count else 0
        return self._count if have == INFINITE else min(have, self._count)

    def pieces(self) -> Iterator[Piece]:
        if self._count < 0:
            yield from self.source.pieces()
            return
        left = self._count
        if not left:
            return
        for piece in self.source.pieces():
            yield piece[:left]
            left -= min(left, len(piece))
            if not left:
                return


class Skip(Selection):
    """All but the first `count` elements; none where it is negative."""

    def __init__(self, source: Stage, count: int) -> None:
        super().__init__(source)
        self._count = count

    def cardinality(self) -> int:
        have = self.source.cardinality()
        if self._count < 0:
            return 0
        return have if have < 0 else max(0, have - self._count)

    def pieces(self) -> Iterator[Piece]:
        if self._count < 0:
            return
        left = self._count
        for piece in self.source.pieces():
            if left < len(piece):
                yield piece[left:]
            left = max(0, left - len(piece))


class Shard(Selection):
    """Every `count`th element from the one with number `index` on."""

    def __init__(self, source: Stage, count: int, index: int) -> None:
        super().__init__(source)
        if count < 1 or not 0 <= index < count:
            raise InvalidArgumentError(
                places.with_place(f"shard takes num_shards >= 1 and 0 <= index < num_shards, got num_shards {count} and index {index}")
            )
        self._count, self._index = count, index

    def cardinality(self) -> int:
        have = self.source.cardinality()
        return have if have < 0 else len(range(self._index, have, self._count))

    def pieces(self) -> Iterator[Piece]:
        next_ = self._index
        for piece in self.source.pieces():
            part = piece[next_ :: self._count]
            next_ += len(part) * self._count - len(piece)
            if len(part):
                yield part


class Concatenate(Stage):
    """The elements of one source, then those of another. TypeError if their structures or dtypes differ."""

    def __init__(self, first: Stage, second: Stage) -> None:
        super().__init__(first, second)
        self.elements = like(first.elements, second.elements, "concatenate")

    def cardinality(self) -> int:
        counts = [s.cardinality() for s in self.sources]
        return INFINITE if INFINITE in counts else UNKNOWN if UNKNOWN in counts else sum(counts)

    def pieces(self) -> Iterator[Piece]:
        for source in self.sources:
            yield from source.pieces()


def like(first: Elements, second: Elements, what: str) -> Elements:
    """The elements of datasets put together. TypeError where their structures or dtypes differ."""
    if first.tree != second.tree:
        raise TypeError(
            places.with_place(f"Incompatible types of input datasets: {what} got elements {first.structure} and {second.structure}")
        )
    return Elements(first.tree, tuple(widened(a, b) for a, b in zip(first.leaves, second.leaves, strict=True)))


class Zip(Stage):
    """Elements side by side, in the structure `tree` with a source at each leaf, as long as all sources have one."""

    def __init__(self, sources: Sequence[Stage], tree: Any) -> None:
        super().__init__(*sources)
        self._tree = tree

    @property
    def tree(self) -> Any:
        return composed(self._tree, [s.tree for s in self.sources])

    def describe(self) -> Elements:
        leaves = tuple(leaf for s in self.sources for leaf in s.elements.leaves)
        return Elements(self.tree, leaves)

    def cardinality(self) -> int:
        return fewest(s.cardinality() for s in self.sources)

    def pieces(self) -> Iterator[Piece]:
        readers = [Reader(s.pieces()) for s in self.sources]
        table: tuple[tuple[Table, ...], Table] | None = None
        while True:
            parts: list[Piece] = []
            count = sys.maxsize
            for reader in readers:
                piece = reader.some(count)
                if piece is None:
                    return
                count = len(piece)
                parts.append(piece)
            for reader, piece in zip(readers, parts, strict=True):
                if len(piece) > count:
                    reader.unread(piece[count:])
            parts = [p[:count] for p in parts]
            rows = [p for p in parts if isinstance(p, Rows)]
            if len(rows) < len(parts):
                yield [tuple(leaf for one in elements for leaf in one) for elements in zip(*parts, strict=True)]
                continue
            tables = tuple(p.table for p in rows)
            if table is None or any(a is not b for a, b in zip(table[0], tables, strict=True)):
                table = tables, beside(tables)
            yield Rows(table[1], *(n for p in rows for n in p.numbers))


def beside(tables: Sequence[Table]) -> Table:
    """The columns of all tables, their groups kept apart."""
    groups: list[int] = []
    for t in tables:
        first = max(groups, default=-1) + 1
        groups += [first + g for g in t.groups]
    return Table([c for t in tables for c in t.columns], groups)


class Cache(Selection):
    """Keeps the elements of the first iteration that reaches the end. Those of one shape become rows of arrays."""

    def __init__(self, source: Stage) -> None:
        super().__init__(source)
        self._kept: list[Piece] | None = None

    def cardinality(self) -> int:
        return self.source.cardinality()

    def pieces(self) -> Iterator[Piece]:
        if self._kept is not None:
            yield from self._kept
            return
        seen: list[Piece] = []
        for piece in self.source.pieces():
            seen.append(piece)
            yield piece
        if self._kept is None:
            self._kept = _compact(seen)


def _compact(pieces: list[Piece]) -> list[Piece]:
    """Elements as rows of arrays where all have the same shapes."""
    piece = joined(pieces)
    if isinstance(piece, Rows) or len(piece) < 2:
        return [piece]
    for column in zip(*piece, strict=True):
        if not all(isinstance(x, np.ndarray | np.generic) for x in column) or len({(x.shape, x.dtype) for x in column}) > 1:
            return [piece]
    return [Rows(Table(stacked([piece])), range(len(piece)))]


class Choose(Stage):
    """Elements of several sources, one at a time from the one that is chosen. `stop`: at the first one that is empty."""

    stop: bool

    def describe(self) -> Elements:
        return functools.reduce(lambda a, b: like(a, b, "a choice"), (s.elements for s in self._chosen()))

    def _chosen(self) -> Sequence[Stage]:
        """What is chosen from."""
        return self.sources

    def choice(self) -> Callable[[list[int]], int | None]:
        """For a new iteration, the function that chooses one of the sources that are left, or ends it."""
        raise NotImplementedError(f"{type(self).__name__}.choice")

    def pieces(self) -> Iterator[Piece]:
        readers = [Reader(s.pieces()) for s in self._chosen()]
        left = list(range(len(readers)))
        choose = self.choice()
        while left and (chosen := choose(left)) is not None:
            if chosen not in left:
                continue
            piece = readers[chosen].some(1)
            if piece is not None:
                yield piece
            elif self.stop:
                return
            else:
                left.remove(chosen)


class Chosen(Choose):
    """The choice is the last source, of numbers (`choose_from_datasets`)."""

    def __init__(self, sources: Sequence[Stage], numbers: Stage, stop: bool) -> None:
        super().__init__(*sources, numbers)
        self.stop = stop

    def _chosen(self) -> Sequence[Stage]:
        return self.sources[:-1]

    def choice(self) -> Callable[[list[int]], int | None]:
        numbers, count = self.sources[-1].each(), len(self.sources) - 1

        def choose(left: list[int]) -> int | None:
            for (number,) in numbers:
                if not 0 <= int(number) < count:
                    raise InvalidArgumentError(f"choice_dataset gives {int(number)}, but there are {count} datasets")
                return int(number)
            return None

        return choose


class Sampled(Seeded, Choose):
    """The choice is random, with probabilities in the ratio of `weights` (`sample_from_datasets`)."""

    def __init__(self, sources: Sequence[Stage], weights: np.ndarray, seed: Sequence[int], renewed: bool, stop: bool) -> None:
        super().__init__(seed, renewed, *sources)
        self._weights, self.stop = weights, stop

    def choice(self) -> Callable[[list[int]], int | None]:
        draw = self.stream()

        def choose(left: list[int]) -> int | None:
            weights = self._weights[left]
            return int(draw.choice(left, p=weights / weights.sum())) if weights.sum() > 0 else None

        return choose

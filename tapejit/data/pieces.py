"""How elements travel through a pipeline: in pieces, of which whole runs of rows of arrays are not yet looked up.

A piece is a `Rows`, the numbers of rows of a table of arrays, or a list of elements. Both have a length, slices and elements in order.
What only selects and orders elements (shuffle, repeat, take, shard, zip, filter) is arithmetic on row numbers then, and a batch is one
gather from each array.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tapejit.core.errors import InvalidArgumentError
from tapejit.data.elements import Leaves

Numbers = range | np.ndarray  # of rows


class Arithmetic:
    """The column start, start + step, ... without the memory for it."""

    def __init__(self, start: int, step: int, dtype: np.dtype) -> None:
        self.start, self.step, self.dtype = start, step, dtype

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return (self.start + self.step * np.arange(key.start, key.stop, key.step)).astype(self.dtype)
        return self.dtype.type(self.start + self.step * key)

    def take(self, rows: np.ndarray, axis: int) -> np.ndarray:
        return (self.start + self.step * rows).astype(self.dtype)


class Table:
    """Arrays whose rows are the leaves of elements. Columns of one group are read at the same row numbers."""

    __slots__ = ("columns", "groups")

    def __init__(self, columns: Sequence[Any], groups: Sequence[int] | None = None) -> None:
        self.columns, self.groups = tuple(columns), tuple(groups or (0,) * len(columns))


class Rows:
    """Rows of a table, by their numbers in each group."""

    __slots__ = ("numbers", "table")

    def __init__(self, table: Table, *numbers: Numbers) -> None:
        self.table, self.numbers = table, numbers

    def __len__(self) -> int:
        return len(self.numbers[0])

    def __getitem__(self, part: slice) -> Rows:
        return Rows(self.table, *(n[part] for n in self.numbers))

    def __iter__(self) -> Iterator[Leaves]:
        columns, groups = self.table.columns, self.table.groups
        numbers = [n if isinstance(n, range) else n.tolist() for n in self.numbers]
        if len(numbers) == 1:
            if len(columns) == 1:
                (column,) = columns
                return ((column[k],) for k in numbers[0])
            return (tuple([column[k] for column in columns]) for k in numbers[0])
        return (tuple([column[at[g]] for column, g in zip(columns, groups, strict=True)]) for at in zip(*numbers, strict=True))

    def stacked(self) -> Leaves:
        """The leaves of all rows as one array per column; slices of the columns where the numbers are regular."""
        out = []
        for column, g in zip(self.table.columns, self.table.groups, strict=True):
            n = self.numbers[g]
            out.append(column[n.start : n.stop : n.step] if isinstance(n, range) and n.step > 0 else column.take(np.asarray(n), axis=0))
        return tuple(out)


Piece = Rows | list


def joined(pieces: Sequence[Piece]) -> Piece:
    """One piece with the elements of all."""
    if len(pieces) == 1:
        return pieces[0]
    first = pieces[0] if pieces else []
    if isinstance(first, Rows) and all(isinstance(p, Rows) and p.table is first.table for p in pieces):
        return Rows(first.table, *(_joined_numbers(n) for n in zip(*(p.numbers for p in pieces), strict=True)))  # type: ignore[union-attr]
    return [element for piece in pieces for element in piece]


def _joined_numbers(parts: Sequence[Numbers]) -> Numbers:
    first = parts[0]
    if isinstance(first, range):
        end, step = first.stop, first.step
        for p in parts[1:]:
            if not isinstance(p, range) or p.step != step or p.start != end:
                break
            end = p.stop
        else:
            return range(first.start, end, step)
    return np.concatenate([np.asarray(p, np.int64) for p in parts])


def stacked(pieces: Sequence[Piece]) -> Leaves:
    """The leaves of all elements, each stacked to one array. InvalidArgumentError where their shapes differ."""
    rows = [p for p in pieces if isinstance(p, Rows)]
    if rows and len(rows) == len(pieces):
        if all(p.table is rows[0].table for p in rows):
            return joined(rows).stacked()  # type: ignore[union-attr]
        columns = list(zip(*(p.stacked() for p in rows), strict=True))
        if all(x.shape[1:] == c[0].shape[1:] for c in columns for x in c):
            return tuple(np.concatenate(c) for c in columns)
    piece = joined(pieces)
    out = []
    for k, column in enumerate(zip(*piece, strict=True)):
        first = np.shape(column[0])
        for i, x in enumerate(column):
            if np.shape(x) != first:
                raise InvalidArgumentError(
                    f"Cannot batch tensors with different shapes in component {k}. First element had shape {list(first)} and element {i} had "
                    f"shape {list(np.shape(x))}; write padded_batch, or make them alike in map"
                )
        out.append(np.array(column) if first == () else np.stack(column))
    return tuple(out)


def taken(piece: Piece, positions: Any) -> Piece:
    """The elements at `positions`, in that order."""
    if isinstance(piece, Rows):
        at = np.asarray(positions, np.int64)
        return Rows(piece.table, *(np.asarray(n, np.int64)[at] for n in piece.numbers))
    return [piece[k] for k in positions]


class Reader:
    """Reads pieces by number of elements."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = iter(pieces)
        self._rest: Piece = []

    def some(self, limit: int) -> Piece | None:
        """The next piece, at most `limit` elements of it; None at the end."""
        while not len(self._rest):
            found = next(self._pieces, None)
            if found is None:
                return None
            self._rest = found
        piece, self._rest = (self._rest, []) if len(self._rest) <= limit else (self._rest[:limit], self._rest[limit:])
        return piece

    def unread(self, piece: Piece) -> None:
        """Have `piece` come next."""
        self._rest = joined([piece, self._rest]) if len(self._rest) else piece

    def read(self, count: int) -> list[Piece]:
        """Pieces of `count` elements together, fewer where the end is near, none at the end."""
        out: list[Piece] = []
        while count > 0 and (piece := self.some(count)) is not None:
            out.append(piece)
            count -= len(piece)
        return out


def size(pieces: Iterable[Piece]) -> int:
    """The number of elements."""
    return sum(map(len, pieces))

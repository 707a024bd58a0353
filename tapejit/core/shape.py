"""`TensorShape`: the static shape users see, a tuple of sizes where None stands for one that is known only at run time."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any

from tapejit.core import places
from tapejit.core.sizes import Size


def _dimension(d: Any) -> int | None:
    if d is None or isinstance(d, Size):
        return None
    try:
        size = operator.index(d)
    except TypeError:
        raise TypeError(places.with_place(f"Dimension value must be integer or None, got value {d!r} with type {type(d)}")) from None
    if size < 0:
        raise ValueError(places.with_place(f"Dimension {size} must be >= 0"))
    return size


class TensorShape:
    """TensorFlow's `tf.TensorShape`: `TensorShape([None, 3])`, `TensorShape(None)` for unknown rank, indexing, comparison.

    Two shapes, or a shape and a tuple or list, are equal if their sizes are, None being equal to None only.
    """

    __slots__ = ("_dims",)

    def __init__(self, dims: Any) -> None:
        self._dims: tuple[int | None, ...] | None
        if isinstance(dims, TensorShape):
            self._dims = dims._dims
        elif dims is None:
            self._dims = None
        else:
            self._dims = tuple(map(_dimension, dims if isinstance(dims, Iterable) and not isinstance(dims, str) else (dims,)))

    @property
    def rank(self) -> int | None:
        return None if self._dims is None else len(self._dims)

    ndims = rank

    @property
    def dims(self) -> list[int | None] | None:
        return None if self._dims is None else list(self._dims)

    def _known_rank(self) -> tuple[int | None, ...]:
        if self._dims is None:
            raise ValueError("the rank of this TensorShape is unknown")
        return self._dims

    def as_list(self) -> list[int | None]:
        """Sizes as a list. ValueError for unknown rank."""
        return list(self._known_rank())

    def num_elements(self) -> int | None:
        """The product of the sizes, None where one is unknown."""
        if not self.is_fully_defined():
            return None
        out = 1
        for d in self._known_rank():
            out *= d or 0
        return out

    def is_fully_defined(self) -> bool:
        return self._dims is not None and None not in self._dims

    def is_compatible_with(self, other: Any) -> bool:
        """Whether one array could have both shapes."""
        other = TensorShape(other)
        if self._dims is None or other._dims is None:
            return True
        return len(self._dims) == len(other._dims) and all(
            a is None or b is None or a == b for a, b in zip(self._dims, other._dims, strict=True)
        )

    def assert_is_compatible_with(self, other: Any) -> None:
        """ValueError unless `is_compatible_with`."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {TensorShape(other)} are incompatible")

    def assert_has_rank(self, rank: int) -> None:
        if self._dims is not None and len(self._dims) != rank:
            raise ValueError(f"Shape {self} must have rank {rank}")

    def with_rank(self, rank: int) -> TensorShape:
        self.assert_has_rank(rank)
        return self if self._dims is not None else TensorShape([None] * rank)

    def merge_with(self, other: Any) -> TensorShape:
        """The shape with what either knows. ValueError if they contradict."""
        other = TensorShape(other)
        self.assert_is_compatible_with(other)
        if self._dims is None or other._dims is None:
            return other if self._dims is None else self
        return TensorShape([b if a is None else a for a, b in zip(self._dims, other._dims, strict=True)])

    def concatenate(self, other: Any) -> TensorShape:
        other = TensorShape(other)
        return TensorShape(None) if self._dims is None or other._dims is None else TensorShape(self._dims + other._dims)

    def __len__(self) -> int:
        return len(self._known_rank())

    def __iter__(self) -> Iterator[int | None]:
        return iter(self._known_rank())

    def __getitem__(self, key: Any) -> Any:
        got = self._known_rank()[key]
        return TensorShape(got) if isinstance(key, slice) else got

    def __bool__(self) -> bool:
        return self._dims is not None

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TensorShape | tuple | list | type(None)):
            return NotImplemented
        return self._dims == TensorShape(other)._dims

    def __hash__(self) -> int:
        return hash(self._dims)

    def __repr__(self) -> str:
        return f"TensorShape({None if self._dims is None else list(self._dims)})"

    def __str__(self) -> str:
        if self._dims is None:
            return "<unknown>"
        return f"({', '.join(map(str, self._dims))}{',' if len(self._dims) == 1 else ''})"

    def __reduce__(self) -> tuple:
        return TensorShape, (self._dims,)

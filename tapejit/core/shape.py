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

    def _known_rank(self, what: str) -> tuple[int | None, ...]:
        if self._dims is None:
            raise ValueError(f"{what} is not defined on an unknown TensorShape.")
        return self._dims

    def as_list(self) -> list[int | None]:
        """Sizes as a list. ValueError for unknown rank."""
        return list(self._known_rank("as_list()"))

    def num_elements(self) -> int | None:
        """The product of the sizes, None where one is unknown."""
        if not self.is_fully_defined():
            return None
        out = 1
        for d in self._dims or ():
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

    def assert_is_fully_defined(self) -> None:
        """ValueError unless every size is known."""
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined")

    def assert_has_rank(self, rank: int) -> None:
        """ValueError if the rank is known to be another."""
        if self._dims is not None and len(self._dims) != rank:
            raise ValueError(f"Shape {self} must have rank {rank}")

    def assert_same_rank(self, other: Any) -> None:
        """ValueError if the ranks are known and differ."""
        other = TensorShape(other)
        if self._dims is not None and other._dims is not None and len(self._dims) != len(other._dims):
            raise ValueError(f"Shapes {self} and {other} must have the same rank")

    def with_rank(self, rank: int) -> TensorShape:
        """This shape, or one of `rank` unknown sizes. ValueError if the rank is another."""
        self.assert_has_rank(rank)
        return self if self._dims is not None else TensorShape([None] * rank)

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """This shape. ValueError if its rank is less."""
        if self._dims is not None and len(self._dims) < rank:
            raise ValueError(f"Shape {self} must have rank at least {rank}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        """This shape. ValueError if its rank is more."""
        if self._dims is not None and len(self._dims) > rank:
            raise ValueError(f"Shape {self} must have rank at most {rank}")
        return self

    def is_subtype_of(self, other: Any) -> bool:
        """Whether every array of this shape has the shape `other`, too."""
        other = TensorShape(other)
        if other._dims is None:
            return True
        return (
            self._dims is not None
            and len(self._dims) == len(other._dims)
            and all(b is None or a == b for a, b in zip(self._dims, other._dims, strict=True))
        )

    def most_specific_compatible_shape(self, other: Any) -> TensorShape:
        """The narrowest shape that arrays of either have."""
        other = TensorShape(other)
        if self._dims is None or other._dims is None or len(self._dims) != len(other._dims):
            return TensorShape(None)
        return TensorShape([a if a == b else None for a, b in zip(self._dims, other._dims, strict=True)])

    def most_specific_common_supertype(self, others: Iterable[Any]) -> TensorShape | None:
        """The narrowest shape that arrays of this and of all other shapes have; None if one of them is no shape."""
        out = self
        for other in others:
            if not isinstance(other, TensorShape):
                return None
            out = out.most_specific_compatible_shape(other)
        return out

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
        return len(self._known_rank("len()"))

    def __iter__(self) -> Iterator[int | None]:
        return iter(self._known_rank("iteration"))

    def __getitem__(self, key: Any) -> Any:
        if self._dims is None:
            return TensorShape(None) if isinstance(key, slice) else None
        got = self._dims[key]
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

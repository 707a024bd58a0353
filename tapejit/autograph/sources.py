"""What a recorded `for` loop can go along: tensors, ranges of tensors, and tensors counted or side by side.

In: an iterable. Out: `Rows`, tensors whose slices along the first axis are the elements, or None for one that Python goes along.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import optree

from tapejit.autograph.values import symbolic
from tapejit.core import dtypes, places, sizes
from tapejit.core.sizes import Dim
from tapejit.ops import elementwise as e
from tapejit.ops.creation import iota
from tapejit.ops.slicing import axis_slice
from tapejit.tensor import convert_to_tensor
from tapejit.tensor_array import TensorArray


@dataclass(frozen=True)
class Rows:
    """Nested structure of tensors of one first size, `length`."""

    structure: Any

    @property
    def tensors(self) -> list[Any]:
        found: list[Any] = optree.tree_leaves(self.structure)
        return found

    @property
    def length(self) -> Dim:
        known = [x.dims[0] for x in self.tensors]
        return next((d for d in known if isinstance(d, int)), known[0])

    def element(self, slices: list[Any]) -> Any:
        """An element, of the slices of the tensors."""
        return optree.tree_unflatten(optree.tree_structure(self.structure), slices)

    def __iter__(self) -> Iterator[Any]:
        """Python's way along them, for a length that is known."""
        return (self.element(list(row)) for row in zip(*self.tensors, strict=True))


class Source(Protocol):
    """What `x.__tf_traced_iter__()` gives for an `x` whose elements are made when the step runs. All its methods record.

    An element may be asked for again by the same number, as gradients do.
    """

    def advance(self) -> Any:
        """Have the next element ready: whether there is one, a bool scalar."""

    def element(self, number: Any) -> Any:
        """The element of a number (int64), counted from 0."""


def rows_of(x: Any) -> Rows | None:
    """The rows that `x` has, if it is a tensor or made of tensors. TypeError for a scalar."""
    if isinstance(x, Rows):
        return x
    if isinstance(x, TensorArray):
        return rows_of(x.stack())
    if not symbolic(x):
        return None
    tensor = convert_to_tensor(x)
    if not tensor.dims:
        raise TypeError(places.with_place("Cannot iterate over a scalar tensor; write tf.range(n) to count up to one"))
    return Rows(tensor)


def counted(rows: Rows, start: Any) -> Rows:
    """`enumerate`: the elements with their numbers from `start` on (int32, or the dtype of `start`)."""
    numbers = iota(size=rows.length, dtype=start.dtype if hasattr(start, "dims") else dtypes.int32)
    return Rows((numbers if isinstance(start, int) and start == 0 else e.add(numbers, start), rows.structure))


def zipped(sources: list[Rows]) -> Rows:
    """`zip`: elements side by side, as many as the shortest has."""
    length = sources[0].length
    for rows in sources[1:]:
        length = sizes.minimum(length, rows.length)
    cut = [optree.tree_map(lambda x: x if x.dims[0] == length else axis_slice(x, 0, 0, length), r.structure) for r in sources]
    return Rows(tuple(cut))

"""A branch while it is recorded: `tf.cond`, `if` and conditional expressions whose condition only the run knows.

In: what both sides give, as Python has it; out: one line of the function that holds a graph for each side. Variables read within are read
before that line, those assigned within are results of it and assigned after it, so program order is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optree

from tapejit import nest
from tapejit.carried import (
    agree,
    as_value,
    cut,
    filled,
    fits,
    shape_text,
    size_along,
    tensorlike,
)
from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.graph import Value
from tapejit.ir.op import thread
from tapejit.nest import leaves_of
from tapejit.ops import control
from tapejit.ops import elementwise as e
from tapejit.ops.shapes import reshape
from tapejit.ops.stashing import stash, stashed
from tapejit.record.nesting import assign_after, cells_touched, lift, read_before
from tapejit.record.recorder import Recorder, recording
from tapejit.tensor import EagerTensor, convert_to_tensor
from tapejit.tensor_array import TensorArray, enlarged


def known(x: Any) -> bool | None:
    """A condition's value where it is known while recording."""
    if isinstance(x, bool | int | float | np.generic | np.ndarray | EagerTensor):
        return bool(x)
    return bool(x) if thread.recorder is None else None


def condition(x: Any) -> Any:
    """A condition as a bool scalar. ValueError for several elements."""
    x = convert_to_tensor(x)
    if x.dtype is not dtypes.bool_:
        x = e.not_equal(x, 0)
    if x.dims and sizes.product(x.dims) != 1:
        raise ValueError(
            places.with_place(f"a condition must be a scalar, got shape {x.shape}; write tf.reduce_all(x) or tf.reduce_any(x)")
        )
    return reshape(x, shape=()) if x.dims else x


SIDES = ("true_fn", "false_fn")


class Branches:
    """A `cond` while it is recorded: two graphs that are filled one after the other, then results that are the one's or the other's.

    `ways` are the recorders of the graphs, `sides` is what errors call them.
    """

    def __init__(self, pred: Any, sides: tuple[str, str] = SIDES) -> None:
        self.outer, self.sides = thread.recorder, sides
        self.chosen = condition(pred)
        self.ways: tuple[Recorder, Recorder] = (self.outer.inner("then"), self.outer.inner("otherwise"))
        self._again: list[Callable[[list[Any]], Any]] = []

    def add(self, x: Any, y: Any, label: str) -> None:
        """A result: `x`, a tensor, number or TensorArray of the first graph, or `y` of the other. TypeError or ValueError if they differ in kind."""
        self._again.append(self._joined(x, y, label))

    def results(self) -> list[Any]:
        """Write the line; the results in the order they were added."""
        recorder, ways = self.outer, self.ways
        read, written = cells_touched(w.graph for w in ways)
        holds = read_before(recorder, [*read, *written])
        after = [lift(w.graph, recorder.builder.names, holds) for w in ways]
        left = [self._values([way[c] for way in after]) for c in written]
        made = list(control.cond(self.chosen, then=ways[0].graph, otherwise=ways[1].graph) or ())
        assign_after(recorder, written, [again(made).value for again in left])
        return [again(made) for again in self._again]

    def _value(self, way: Recorder, x: Any, dtype: DType | None = None) -> Value:
        with recording(way):
            return as_value(way, x, dtype)

    def _joined(self, x: Any, y: Any, label: str) -> Callable[[list[Any]], Any]:
        """Make leaves `x` and `y` results of the two graphs; returns what takes the leaf of the whole out of the list of results."""
        if x is y and not hasattr(x, "dims"):
            return lambda made: x
        for z, side in zip((x, y), self.sides, strict=True):
            if z is None:
                raise ValueError(
                    places.with_place(f"{label} is None at the end of {side}. Both {self.sides[0]} and {self.sides[1]} must set it")
                )
            if not tensorlike(z):
                raise TypeError(
                    places.with_place(f"{label} is {z!r} at the end of {side}; branches that both may run give tensors or numbers")
                )
        if isinstance(x, TensorArray) or isinstance(y, TensorArray):
            return self._joined_arrays(x, y, label)
        wanted = next((z.dtype for z in (x, y) if isinstance(getattr(z, "dtype", None), DType)), None)
        given = [
            self._value(way, z, None if isinstance(getattr(z, "dtype", None), DType) or not fits(z, wanted) else wanted)
            for way, z in zip(self.ways, (x, y), strict=True)
        ]
        return self._same_results(given, label)

    def _same_results(self, given: list[Value], label: str) -> Callable[[list[Any]], Any]:
        (one, other), sides = (v.type for v in given), self.sides
        if one.dtype is not other.dtype:
            raise TypeError(
                places.with_place(
                    f"{label} has dtype {one.dtype.name} in {sides[0]}, but dtype {other.dtype.name} in {sides[1]}; write tf.cast in one of them"
                )
            )
        if one.rank != other.rank:
            raise ValueError(
                places.with_place(
                    f"{label} has shape {shape_text(one)} in {sides[0]}, but shape {shape_text(other)} in {sides[1]}; both branches must agree"
                )
            )
        return self._values(given, agree(one, other))

    def _values(self, given: list[Value], alike: bool = False) -> Callable[[list[Any]], Any]:
        """Make two values of one dtype and rank results; `alike` if undecided sizes are to be taken to be equal."""
        one, other = (v.type for v in given)
        if any(self._bound_inside(d) for t in (one, other) for d in t.shape):
            return self._kept_results(given, one, other)
        if one != other and not alike:
            return self._open_results(given, one, other)
        at = len(self.ways[0].graph.results)
        for way, v in zip(self.ways, given, strict=True):
            way.graph.results.append(v)
        return lambda made: made[at]

    def _bound_inside(self, d: Dim) -> bool:
        """Whether a size is known only within one of the graphs."""
        bound = {n.out.name for way in self.ways for n in way.graph.walk() if n.op.binds_size}
        return not bound.isdisjoint(sizes.names(d))

    def _open_results(self, given: list[Value], one: Type, other: Type) -> Callable[[list[Any]], Any]:
        """Results whose sizes differ: both graphs give them with room for the larger, and their sizes, which are known when it runs."""
        axes = [k for k, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if a != b]
        room = [sizes.maximum(a, b) for a, b in zip(one.shape, other.shape, strict=True)]
        at = len(self.ways[0].graph.results)
        for way, v in zip(self.ways, given, strict=True):
            with recording(way):
                x = GraphTensor(v, way)
                way.graph.results += [as_value(way, y) for y in (filled(x, axes, room), *(size_along(x, axis) for axis in axes))]
        return lambda made: cut(made[at], axes, made[at + 1 :])

    def _kept_results(self, given: list[Value], one: Type, other: Type) -> Callable[[list[Any]], Any]:
        """Results with sizes that only one of the graphs knows: both put them by, and give their tokens and such sizes."""
        shape: list[Any] = [a if a == b and not self._bound_inside(a) else None for a, b in zip(one.shape, other.shape, strict=True)]
        axes = [k for k, d in enumerate(shape) if d is None]
        at = len(self.ways[0].graph.results)
        for way, v in zip(self.ways, given, strict=True):
            with recording(way):
                x = GraphTensor(v, way)
                way.graph.results += [as_value(way, y) for y in (stash(x), *(size_along(x, axis) for axis in axes))]

        def taken_up(made: list[Any]) -> Any:
            for axis, size in zip(axes, made[at + 1 :], strict=False):
                shape[axis] = size.as_dim("K")
            return stashed(made[at], dtype=one.dtype, shape=tuple(shape))

        return taken_up

    def _joined_arrays(self, x: Any, y: Any, label: str) -> Callable[[list[Any]], Any]:
        if not (isinstance(x, TensorArray) and isinstance(y, TensorArray)) or x.dtype is not y.dtype:
            raise TypeError(places.with_place(f"{label} is {x!r} in {self.sides[0]}, but {y!r} in {self.sides[1]}"))
        element = x.element() or y.element()
        for way, z in zip(self.ways, (x, y), strict=True):  # the tensor of one that nobody has touched may show the shape of an element
            if element is None:
                with recording(way):
                    element = tuple(z.whole().dims[1:])
        dense, lengths = [], []
        partial = x.rows() != y.rows() or x._length is not None or y._length is not None
        room = sizes.maximum(x.rows(), y.rows())
        for way, z in zip(self.ways, (x, y), strict=True):
            with recording(way):
                dense.append(as_value(way, enlarged(z.whole(element), room)))
                lengths.append(as_value(way, z.size()))
        rows = self._same_results(dense, label)
        if not partial:
            return lambda made: x.of(rows(made), None, x._fixed)
        length = self._same_results(lengths, label)
        return lambda made: x.of(rows(made), length(made), x._fixed)


def branch(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any], sides: tuple[str, str] = SIDES, label: str = "") -> Any:
    """`cond` in a function being traced. `sides` is what errors call the branches, `label` the result."""
    both = Branches(pred, sides)
    given = []
    for way, fn in zip(both.ways, (true_fn, false_fn), strict=True):
        with recording(way):
            given.append(fn())
    a, b = given
    try:
        nest.assert_same_structure(a, b, check_types=False, expand_composites=True)
    except (ValueError, TypeError) as error:
        raise TypeError(
            places.with_place(
                f"{sides[0]} and {sides[1]} must have the same nested structure of results: {sides[0]} returns {a!r}, "
                f"{sides[1]} returns {b!r} ({error})"
            )
        ) from None
    leaves, tree = leaves_of(a)
    for k, (x, y) in enumerate(zip(leaves, leaves_of(b)[0], strict=True)):
        both.add(x, y, label or _label(leaves, k))
    return optree.tree_unflatten(tree, both.results())


def _label(leaves: list[Any], k: int) -> str:
    return "the result" if len(leaves) == 1 else f"result {k}"

"""Stages that call a user's function: map, filter, take_while, flat_map, interleave, scan; and the fold behind reduce."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import optree

from tapejit.core import places
from tapejit.data.elements import Elements, Leaves, composed, packing, spec_of, widened
from tapejit.data.functions import ElementFunction
from tapejit.data.order import Selection
from tapejit.data.pieces import Piece, Reader, Rows, taken
from tapejit.data.pipeline import Stage
from tapejit.data.threads import parallel
from tapejit.spec import TensorSpec


def seen(leaves: Leaves, tree: Any) -> Elements:
    """What can be said of all elements from one: the structure and dtypes, no shapes."""
    return Elements(tree, tuple(TensorSpec(None, s.dtype) if isinstance(s := spec_of(x), TensorSpec) else s for x in leaves))


class Map(Stage):
    """`function` of each element. `workers`: calls at a time, where they are slow enough to gain by it; the order stays."""

    def __init__(self, source: Stage, function: ElementFunction, workers: int) -> None:
        super().__init__(source)
        self._function, self._workers = function, workers
        self._traced = function.trace(source.elements) if source.known else None

    @property
    def known(self) -> bool:
        return self._traced is not None

    @property
    def tree(self) -> Any:
        return self.elements.tree if self._function.tree is None else self._function.tree

    def describe(self) -> Elements:
        if self._traced is not None:
            return self._traced
        for leaves in self.each():
            return seen(leaves, self._function.tree)
        raise ValueError(places.with_place("the elements of an empty dataset after a function that cannot be traced are not known"))

    def cardinality(self) -> int:
        return self.source.cardinality()

    def pieces(self) -> Iterator[Piece]:
        function = self._function
        ordered = self._traced is not None and not function.repeatable  # it draws random numbers, or prints
        if self._workers > 1 and not ordered and not function.in_blocks:
            return ([leaves] for leaves in parallel(function, self.source.each(), self._workers))
        return (made for piece in self.source.pieces() for _, made in function.over(piece))


class Filter(Selection):
    """The elements for which `predicate` holds. ValueError if that is no boolean scalar."""

    def __init__(self, source: Stage, predicate: ElementFunction) -> None:
        super().__init__(source)
        self._predicate = predicate
        traced = predicate.trace(source.elements) if source.known else None
        if traced is not None:
            _boolean([(s.shape, s.dtype.np) for s in traced.leaves])

    def pieces(self) -> Iterator[Piece]:
        for piece in self.source.pieces():
            for part, held in self._tested(piece):
                if held.all():
                    yield part
                elif held.any():
                    yield taken(part, np.flatnonzero(held))

    def _tested(self, piece: Piece) -> Iterator[tuple[Piece, np.ndarray]]:
        """Parts of a piece, and for which of its elements the predicate holds."""
        for part, result in self._predicate.over(piece):
            held = result.stacked()[0] if isinstance(result, Rows) else np.asarray(result[0][0])
            if isinstance(result, list):
                _boolean([(x.shape, x.dtype) for x in result[0]])
            yield part, held


def _boolean(results: list[tuple[Any, Any]]) -> None:
    if len(results) != 1 or tuple(results[0][0]) != () or results[0][1] != np.bool_:
        raise ValueError(
            places.with_place(
                f"`predicate` return type must be convertible to a scalar boolean tensor. Got {[f'{d}{tuple(s)}' for s, d in results]}."
            )
        )


class TakeWhile(Filter):
    """The elements up to the first one for which `predicate` does not hold."""

    def pieces(self) -> Iterator[Piece]:
        for piece in self.source.pieces():
            for part, held in self._tested(piece):
                if not held.all():
                    if first := int(np.argmin(held)):
                        yield part[:first]
                    return
                yield part


class FlatMap(Stage):
    """The elements of the pipelines that `function` makes of each element, `block` at a time from `cycle` of them in turn (`interleave`)."""

    def __init__(self, source: Stage, function: ElementFunction, cycle: int = 0, block: int = 1) -> None:
        super().__init__(source)
        self._function, self._cycle, self._block = function, cycle, block
        self._latest: Stage | None = None

    @property
    def known(self) -> bool:
        return False

    def describe(self) -> Elements:
        if self._latest is not None:
            return self._latest.elements
        for leaves in self.source.each():
            return self._made(leaves).elements
        raise ValueError(places.with_place("the elements that flat_map or interleave makes of an empty dataset are not known"))

    def _made(self, leaves: Leaves) -> Stage:
        made = self._function(leaves)
        if len(made) != 1 or not isinstance(made[0], Stage):
            raise TypeError(f"`map_func` must return a `Dataset` object. Got {[type(x).__name__ for x in made]}.")
        self._latest = made[0]
        return made[0]

    @property
    def tree(self) -> Any:
        return self.elements.tree if self._latest is None else self._latest.tree

    def pieces(self) -> Iterator[Piece]:
        if not self._cycle:
            for leaves in self.source.each():
                yield from self._made(leaves).pieces()
            return
        coming: Iterator[Leaves | None] = self.source.each()
        ended = False
        open_: list[Reader | None] = [None] * self._cycle
        at = 0
        while not ended or any(reader is not None for reader in open_):
            reader = open_[at]
            if reader is None and not ended:
                following = next(coming, None)
                ended = following is None
                if following is not None:
                    reader = open_[at] = Reader(self._made(following).pieces())
            if reader is not None:
                left = self._block
                while left and (piece := reader.some(left)) is not None:
                    left -= len(piece)
                    yield piece
                if left:  # it has ended: its place goes to the next element when its turn comes
                    open_[at] = None
            at = (at + 1) % self._cycle


_PAIR = optree.tree_structure(cast(Any, (0, 0)))


class Accumulation:
    """A function of a state and an element. `state` are its first leaves and `tree` their structure.

    Where what the function returns for a state has other sizes than the state, these are taken to vary. TypeError for another structure
    or dtype.
    """

    def __init__(self, function: Any, state: Leaves, tree: Any, source: Stage) -> None:
        self.state, self.tree = state, tree
        self.function: ElementFunction = function(lambda: composed(_PAIR, [tree, source.tree]))
        self.source = source
        self.result: Elements | None = None
        specs = [spec_of(x) for x in state]
        for _ in range(3):
            pair = composed(_PAIR, [tree, source.tree]) if source.known else None
            self.result = self.function.trace(Elements(pair, (*specs, *source.elements.leaves))) if source.known else None
            if self.result is None:
                break
            wider = [widened(a, b) for a, b in zip(specs, self._new_state(self.result.leaves), strict=True)]
            if wider == specs:
                break
            specs = wider

    def _new_state(self, out: tuple[Any, ...]) -> tuple[Any, ...]:
        new = out[: len(self.state)]
        for a, b in zip(self.state, new, strict=False):
            if b.dtype != a.dtype:
                raise TypeError(
                    places.with_place(
                        f"The element types for the new state must match the initial state. Expected {a.dtype}; got {b.dtype}."
                    )
                )
        if len(new) != len(self.state):
            raise TypeError(
                places.with_place(f"The structure of the new state must match the initial state: {packing(self.tree)(self.state)}")
            )
        return new

    def over(self, source: Stage) -> Iterator[tuple[Leaves, Leaves]]:
        """After each element: the state, and what else the function returned."""
        state = self.state
        for leaves in source.each():
            out = self.function((*state, *leaves))
            state = self._new_state(out)
            yield state, out[len(state) :]


class Scan(Stage):
    """What the function of an accumulation returns besides the state."""

    def __init__(self, accumulation: Accumulation) -> None:
        super().__init__(accumulation.source)
        self._accumulation = accumulation

    @property
    def known(self) -> bool:
        return self._accumulation.result is not None

    def describe(self) -> Elements:
        result, states = self._accumulation.result, len(self._accumulation.state)
        if result is not None:
            return Elements(_second(result.tree), result.leaves[states:])
        for leaves in self.each():
            return seen(leaves, _second(self._accumulation.function.tree))
        raise ValueError(places.with_place("the elements of a scan of an empty dataset that cannot be traced are not known"))

    @property
    def tree(self) -> Any:
        return self.elements.tree if self._accumulation.function.tree is None else _second(self._accumulation.function.tree)

    def cardinality(self) -> int:
        return self.source.cardinality()

    def pieces(self) -> Iterator[Piece]:
        return ([leaves] for _, leaves in self._accumulation.over(self.source))


def _second(tree: Any) -> Any:
    """The structure of the second of two things. TypeError if there are not two."""
    if tree.is_leaf() or tree.num_children != 2:
        raise TypeError("The scan function must return a pair comprising the new state and the output value.")
    return tree.children()[1]


class Unique(Selection):
    """Each element once."""

    def pieces(self) -> Iterator[Piece]:
        met: set[tuple[bytes, ...]] = set()
        for piece in self.source.pieces():
            for k, leaves in enumerate(piece):
                key = tuple(np.asarray(x).tobytes() for x in leaves)
                if key not in met:
                    met.add(key)
                    yield piece[k : k + 1]

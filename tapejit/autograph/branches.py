"""`if` in converted functions, and the expressions that choose: `and`, `or`, `not`, ternaries, chained comparisons, `assert`.

In: conditions, and what they choose between. With a Python condition they do what Python does. With a tensor, while a function is traced,
both sides are recorded, and what they assign or give becomes a result of one `cond` line.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optree

from tapejit import branching
from tapejit.autograph.values import UNDEFINED, State, symbolic
from tapejit.carried import tensorlike
from tapejit.core import dtypes, places
from tapejit.debugging import Assert
from tapejit.graph_tensor import GraphTensor
from tapejit.ir import structure
from tapejit.ir.op import thread
from tapejit.nest import leaves_of
from tapejit.ops import elementwise as e
from tapejit.ops.families import Elementwise
from tapejit.record.recorder import Recorder, recording
from tapejit.tensor import convert_to_tensor

SIDES = ("the main branch", "the else branch")


class If:
    """An `if` statement; see `transform` for how it is used."""

    def __init__(self, test: Any, later: Sequence[str], local: Sequence[str], paths: Sequence[Any]) -> None:
        self.values: list[Any] = []
        self.undefined = False
        self.staged = symbolic(test)
        if self.staged:
            self._state = State(sys._getframe(1), later, local, paths)
            self._branches = branching.Branches(test, SIDES)
            self._ends: list[list[Any]] = []
        else:
            self._holds = bool(test)

    def then(self) -> bool:
        """Whether to run the first side now."""
        if not self.staged:
            return self._holds
        thread.recorder = self._branches.ways[0]
        return True

    def otherwise(self) -> bool:
        """Whether to run the other side now."""
        if not self.staged:
            return not self._holds
        self._give(self._state.before)
        thread.recorder = self._branches.ways[1]
        return True

    def leave(self) -> None:
        """The side that ran is done."""
        if self.staged:
            self._ends.append(self._state.read(sys._getframe(1)))
            thread.recorder = self._branches.outer

    def joined(self) -> bool:
        """Whether the frame has to take over what the sides assigned: `values`."""
        if not self.staged:
            return False
        state, before = self._state, self._state.before
        then, other = self._ends if len(self._ends) == 2 else (self._ends[0], before)
        joins = [
            _Join(self._branches, state.label(k), x, y, b) if state.lives(k) else None
            for k, (x, y, b) in enumerate(zip(then, other, before, strict=True))
        ]
        made = iter(self._branches.results())
        self._give([b if j is None else j.result(made) for j, b in zip(joins, before, strict=True)])
        return True

    def _give(self, values: Sequence[Any]) -> None:
        self.values = self._state.put(values)
        self.undefined = any(v is UNDEFINED for v in self.values)


class _Join:
    """One variable after a branch: its values at the ends of both sides made one."""

    def __init__(self, branches: branching.Branches, name: str, x: Any, y: Any, before: Any) -> None:
        self.tree: Any = None
        self.kept = x
        label = f"'{name}'"
        if x is y and (x is before or not isinstance(x, int | float | complex) or isinstance(x, bool)):
            return
        if name == "retval_" and (x is UNDEFINED or y is UNDEFINED):  # never read where it is not defined
            way, given = (branches.ways[0], y) if x is UNDEFINED else (branches.ways[1], x)
            parts, tree = leaves_of(given)
            filled = optree.tree_unflatten(tree, [_filler(way, v) for v in parts])
            x, y = (filled, y) if x is UNDEFINED else (x, filled)
        for value, side in zip((x, y), ("main", "else"), strict=True):
            if value is UNDEFINED:
                raise ValueError(places.with_place(f"{label} must also be initialized in the {side} branch"))
        xs, self.tree = leaves_of(x)
        ys, other = leaves_of(y)
        if self.tree != other and x is not None and y is not None:
            raise TypeError(
                places.with_place(
                    f"{label} must have the same nested structure in the main and else branches: {x!r} in the main branch, {y!r} in the else branch"
                )
            )
        self.fixed = [_same(a, b) for a, b in zip(xs, ys, strict=True)]
        self.leaves = xs
        for a, b, fixed in zip(xs, ys, self.fixed, strict=True):
            if not fixed:
                branches.add(_typed(a), _typed(b), label)

    def result(self, made: Any) -> Any:
        """The value after the branch; its tensors are taken from `made`."""
        if self.tree is None:
            return self.kept
        return optree.tree_unflatten(self.tree, [x if fixed else next(made) for x, fixed in zip(self.leaves, self.fixed, strict=True)])


def _typed(x: Any) -> Any:
    """A number as the tensor it becomes: it does not take the dtype of what the other side has."""
    return convert_to_tensor(x) if isinstance(x, bool | int | float | complex | np.generic | np.ndarray) else x


def _same(a: Any, b: Any) -> bool:
    """Whether two leaves are one Python value that is no tensor."""
    if tensorlike(a) or tensorlike(b):
        return False
    return a is b or (type(a) is type(b) and isinstance(a, str | bytes | dtypes.DType) and a == b)


def _filler(way: Recorder, given: Any) -> Any:
    """Something of the kind of `given`, in the graph of the side that has no value."""
    if not hasattr(given, "dims"):
        return given
    with recording(way):
        return e.full(shape=given.dims, value=False if given.dtype.kind == "b" else 0, dtype=given.dtype)


# ------------------------------------------------------------------------------------------------ expressions
def and_(first: Any, *others: Callable[[], Any]) -> Any:
    """`first and others[0]() and ...`; each is evaluated where those before it hold."""
    return _chosen(first, others, True)


def or_(first: Any, *others: Callable[[], Any]) -> Any:
    """`first or others[0]() or ...`; each is evaluated where none of those before it holds."""
    return _chosen(first, others, False)


def _chosen(value: Any, others: Sequence[Callable[[], Any]], goes_on: bool) -> Any:
    for k, other in enumerate(others):
        if symbolic(value):
            rest = others[k + 1 :]
            return _both(value, lambda: _chosen(other(), rest, goes_on), goes_on)
        if bool(value) is not goes_on:
            return value
        value = other()
    return value


def _both(pred: Any, other: Callable[[], Any], is_and: bool) -> Any:
    """`pred and other()`, or `pred or other()`."""
    branches = branching.Branches(pred, SIDES)
    with recording(branches.ways[0 if is_and else 1]):
        value = branching.condition(other())
    return both(branches, value, is_and)


def both(branches: branching.Branches, value: Any, is_and: bool) -> Any:
    """The condition of `branches` and (or) `value`, recorded on its side: computed in any case where that cannot fail, else where it counts."""
    outer, way = branches.outer, branches.ways[0 if is_and else 1]
    if _harmless(way):
        outer.graph.body.extend(way.graph.body)
        outer.graph.guards.extend(way.graph.guards)
        if isinstance(value, GraphTensor) and value.recorder is way:
            value = GraphTensor(value.value, outer)
        return (e.logical_and if is_and else e.logical_or)(branches.chosen, value)
    x, y = (value, False) if is_and else (True, value)
    branches.add(x, y, "the condition")
    (out,) = branches.results()
    return out


def _harmless(way: Recorder) -> bool:
    """Whether what was recorded is a few operations on scalars that nobody notices if it need not have been done."""
    return all(
        (isinstance(n.op, Elementwise) or n.op in (structure.read, structure.constant, e.cast)) and not any(o.type.shape for o in n.outs)
        for n in way.graph.body
    )


def not_(x: Any) -> Any:
    """`not x`."""
    if not symbolic(x):
        return not x
    x = convert_to_tensor(x)
    return e.logical_not(x if x.dtype is dtypes.bool_ else branching.condition(x))


def if_exp(test: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """`then() if test else otherwise()`."""
    if not symbolic(test):
        return then() if test else otherwise()
    return branching.branch(test, then, otherwise, SIDES, "the conditional expression")


_OPERATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}


def compare(first: Any, *rest: Any) -> Any:
    """`first < a() <= b() ...`: `rest` alternates between symbols and functions that give the operands."""
    symbol, operand, *more = rest
    right = operand()
    holds = _OPERATIONS[symbol](first, right)
    return and_(holds, lambda: compare(right, *more)) if more else holds


def asserted(test: Any, message: Callable[[], Any] | None = None) -> bool:
    """Whether an assertion holds as far as that is known now; what is not is checked when the function runs."""
    if not symbolic(test):
        return bool(test)
    place = places.here(1)
    said = [message()] if message is not None else [f"assertion failed: {place.text}" if place is not None else "assertion failed"]
    Assert(branching.condition(test), said)
    return True


def clear(*flags: Any) -> Any:
    """Whether none of the flags of jumps is set."""
    if any(f is True for f in flags):
        return False
    unknown = [f for f in flags if f is not False]
    out = True
    for f in unknown:
        out = e.logical_not(f) if out is True else e.logical_and(out, e.logical_not(f))
    return out


def recorder() -> Any:
    """What records the thread's operations now."""
    return thread.recorder


def resume(before: Any) -> None:
    """Record where `before` does again: an exception left a branch or loop that it came from."""
    thread.recorder = before

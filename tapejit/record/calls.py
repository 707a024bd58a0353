"""Numbers of the calls of Python that a function makes when it runs (`tf.py_function`): they say which call it was whose results are wanted.

In: a recorder, where a call is written. Out: the value of its number. The numbers of a run count on from one that no other run has, through
branches and loops as what a cell holds does. So a loop that runs once more for its gradient comes to the same numbers, and takes what the
calls gave in place of calling again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.builder import number
from tapejit.ir.graph import Operand, Value, substituted
from tapejit.ir.op import Op, register
from tapejit.ops.elementwise import add
from tapejit.ops.stashing import Store
from tapejit.record.recorder import Recorder

_INTEGER = Type(dtypes.int64)
_runs = itertools.count(1)
_begun = Store()


class CallsBegin(Op):
    """The number that the calls of a run count on from. `number` is that of the run itself where it is part of another one, else 0."""

    name = "calls_begin"
    effect = True
    no_gradient = True
    again = "calls_begun"

    def infer(self, number: Type) -> Type:
        return _INTEGER

    def eager(self, number: Any) -> Any:
        first = np.asarray(next(_runs) << 32, np.int64)
        if number:
            _begun.put(first, first.nbytes, int(number))
        return first


class CallsBegun(Op):
    """What `calls_begin` gave for this number."""

    name = "calls_begun"
    no_gradient = True

    def infer(self, number: Type) -> Type:
        return _INTEGER

    def eager(self, number: Any) -> Any:
        return _begun.get(number, "a run of a function that calls Python")

    def samples(self, draw: Any) -> Iterator[Any]:
        return iter(())


calls_begin, calls_begun = register(CallsBegin()), register(CallsBegun())


class _Counter:
    """What stands for the next number among the cells of a function being traced."""

    open_axes = ()

    @property
    def _value(self) -> _Counter:
        return self

    def numpy_view(self) -> np.ndarray:
        return np.zeros((), np.int64)


_counter = _Counter()


def next_number(recorder: Recorder) -> Value:
    """The number of the call of Python that is written next."""
    taken = recorder.read(_counter, "calls", _INTEGER)
    (following,) = recorder.builder.emit(add, (taken, number(1, dtypes.int64)), name="calls")
    recorder.assign(_counter, "calls", _INTEGER, following)
    return taken


def begin(recorder: Recorder) -> None:
    """At the end of a trace: its numbers count on from where its run begins."""
    cell = next((name for name, held in recorder.cells.items() if held is _counter), None)
    if cell is None:
        return
    graph = recorder.graph
    (first,) = recorder.builder.emit(calls_begin, (number(0, dtypes.int64),), name="calls")
    body = [graph.body.pop()]
    now: dict[int, Operand] = {}
    holds: Operand = first
    for node in graph.body:
        node = substituted(node, lambda v: now.get(id(v), v)) if now else node
        if node.op is structure.read and node.attrs["cell"] == cell:
            now[id(node.out)] = holds
        elif node.op is structure.assign and node.attrs["cell"] == cell:
            holds = node.args[0]
        else:
            body.append(node)
    graph.body[:] = body
    del recorder.cells[cell], graph.cells[cell]

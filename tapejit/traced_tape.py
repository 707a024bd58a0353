"""A gradient tape while a function is traced: its lines in the graph, and what it knows of the record before the graph is done.

In: the calls of `GradientTape` that meet a recorder. Out: `watch` and `gradient` lines; a source that nothing connects to a target
is answered with None at once, for which the graph is followed as the pass `differentiate` will see it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from tapejit.core import places
from tapejit.explain.gradients import NO_GRADIENT, Explanation, Line, explain, lines_of, source_in
from tapejit.graph_tensor import GraphTensor
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Node, Value
from tapejit.ir.names import Names
from tapejit.ir.op import Op, thread
from tapejit.lookups import Lookup
from tapejit.passes.differentiate import Differentiator
from tapejit.record.recorder import Recorder, SymbolicTensor
from tapejit.record.source import name_at
from tapejit.record.sweep import Record
from tapejit.variable import Variable


class TracedTape:
    """What a tape keeps while a function is traced: its name in the graph, and the cells it watches."""

    def __init__(self, recorder: Recorder, base: str) -> None:
        self.root = weakref.ref(recorder.root)
        self.name = recorder.root.builder.names.fresh(base or "tape")
        self._home = weakref.ref(recorder)  # where the tape was entered
        self._cells: dict[str, weakref.ref[Recorder]] = {}  # cell -> where it is watched

    def _emit(self, recorder: Recorder, op: Op, args: tuple[Value, ...], attrs: dict[str, Any]) -> None:
        recorder.builder.emit(op, args, {"tape": self.name, **attrs}, place=places.here(3), tapes=recorder.tapes)

    def watch_cell(self, recorder: Recorder, variable: Variable) -> None:
        cell = _cell(recorder, variable)
        around = list(recorder.around())
        if cell in self._cells and self._cells[cell]() in around:
            return
        home = self._home()
        where = home if home in around else recorder  # read in a loop, it is watched from before the loop on
        assert where is not None
        self._cells[cell] = weakref.ref(where)
        self._emit(where, structure.watch, (), {"cell": cell})

    def watch(self, x: Any) -> None:
        recorder = thread.recorder
        self._emit(recorder, structure.watch, (recorder.builder.literal(recorder.operand(x)),), {})

    def gradient(self, recorder: Recorder, targets: list[Any], seeds: list[Any], sources: list[Any]) -> list[Any]:
        """Record the `gradient` line; sources it does not reach are None and left out of it."""
        heads: list[Value] = []
        given: list[Any] = []
        for t, g in zip(targets, seeds, strict=True):
            if isinstance(t, Variable):  # read once more for this tape: so it is one of the reads that stand for the variable
                if not any(t is s for s in sources):
                    continue
                self.watch_cell(recorder, t)
                heads.append(self._read(recorder, t))
            else:
                heads.append(recorder.builder.literal(recorder.operand(t)))
            given.append(g)
        keys = [_key(recorder, s) for s in sources]
        hits = _shadow(recorder).connected(self.name, heads, keys)
        wanted = [k for k, hit in zip(keys, hits, strict=True) if hit]
        if not wanted:
            return [None] * len(sources)
        operands: list[Value] = list(heads)
        listed: list[int | str] = []
        types = []
        for k in wanted:
            if isinstance(k, str):
                listed.append(f"state.{k}")
                types.append(recorder.cell_type(k))
            else:
                listed.append(len(operands))
                operands.append(k)
        positions: list[int | None] = []
        for g in given:
            positions.append(None if g is None else len(operands))
            if g is not None:
                operands.append(recorder.builder.literal(recorder.operand(g)))
        attrs = {"tape": self.name, "targets": len(heads), "sources": tuple(listed), "seeds": tuple(positions), "cells": tuple(types)}
        frame = places.user_frame(4)
        place = places.place_of(frame.f_code, frame.f_lasti) if frame is not None else None
        named = name_at(frame.f_code, frame.f_lasti) if frame is not None else None
        each = named.each if named is not None and len(named.each) == len(hits) else ("",) * len(hits)
        base = named.base if named is not None and len(hits) == 1 else ""
        names = tuple(n or base or f"d_{_source_name(s)}" for n, s, hit in zip(each, sources, hits, strict=True) if hit)
        outs = recorder.builder.emit(structure.gradient, tuple(operands), attrs, place=place, tapes=recorder.tapes, name=names)
        grads = iter(outs)
        return [GraphTensor(next(grads), recorder) if hit else None for hit in hits]

    def lookups(self, recorder: Recorder, targets: list[Any], sources: list[Any]) -> list[list[Lookup]]:
        """For each source what lines of the graph look up in it, if its gradient comes through nothing else."""
        heads = [recorder.builder.literal(recorder.operand(t)) for t in targets if not isinstance(t, Variable)]
        found = _shadow(recorder).lookups(self.name, heads, [_key(recorder, s) for s in sources])
        if not any(found):
            return [[] for _ in sources]
        lines = {id(node.outs[0]): node for at in recorder.around() for node in at.graph.body if node.outs}

        def of(record: Record) -> Lookup | None:
            node = lines.get(id(record.outputs[0].value))  # none for a line of a gradient, which the graph does not name yet
            return None if node is None else Lookup(*(GraphTensor(recorder.builder.literal(x), recorder) for x in (node.out, *node.args)))

        made = [[] if any(s is t for t in targets) else [of(r) for r in records] for s, records in zip(sources, found, strict=True)]
        return [[x for x in each if x is not None] if None not in each else [] for each in made]

    def explain(self, recorder: Recorder, targets: list[Any], source: Any, target_name: str, name: str) -> Explanation:
        """See `GradientTape.explain`."""
        body = [node for at in reversed(list(recorder.around())) for node in at.graph.body]
        assigned: dict[str, Any] = {}  # what a cell holds; a read of it is a way from there, which no gradient goes
        lines: list[Line] = []
        for line in lines_of(body, self.name):
            cell = line.attrs.get("cell", "")
            if line.op is structure.assign:
                assigned[cell] = line
            elif line.op is structure.read and cell in assigned:
                kept = assigned[cell]
                lines.append(replace(kept, outputs=line.outputs, followed=False))
            lines.append(line)
        heads = [_held(recorder, t) for t in targets]
        what: Any = _cell(recorder, source) if isinstance(source, Variable) else _held(recorder, source)
        why = "" if not isinstance(source, Variable) or source.trainable else "it is a variable with trainable=False; write tape.watch(v)"
        found = explain(lines, heads, source_in(body, self.name, name, what, why), target_name)
        if found.connected and not any(_shadow(recorder).connected(self.name, heads, [what])):
            said = f"the gradient of {target_name} with respect to {name} is None: a gradient on the way is itself constant in {name}"
            return Explanation(NO_GRADIENT, said, found.path[-1].place if found.path else None, found.path)
        return found

    def _read(self, recorder: Recorder, variable: Variable) -> Value:
        tapes = (*recorder.tapes, self.name) if self.name not in recorder.tapes else recorder.tapes
        cell = _cell(recorder, variable)
        attrs = {"cell": cell, "type": recorder.cell_type(cell)}
        return recorder.builder.emit(structure.read, (), attrs, name=cell, tapes=tapes, place=places.here(3))[0]


def looking_back(recorder: Recorder, sources: Sequence[Any], constants: Sequence[Any]) -> TracedTape:
    """A tape that has seen every line of the function so far, with `sources` watched from where they are made.

    The lines that make one of `constants` are left out, so no path leads through them.
    """
    tape = TracedTape(recorder, "graph")

    def value(x: Any) -> Value:
        return recorder.builder.literal(recorder.operand(x))

    cells = {_cell(recorder, x): None for x in sources if isinstance(x, Variable)}
    watched = {id(v): v for v in (value(x) for x in sources if not isinstance(x, Variable))}
    cut = {id(value(x)) for x in constants if not isinstance(x, Variable)}
    frozen = {_cell(recorder, x) for x in constants if isinstance(x, Variable)} - set(cells)
    for at in recorder.around():
        body: list[Node] = []

        def watch(values: Iterable[Value], into: list[Node] = body) -> None:
            into.extend(Node(structure.watch, (v,), {"tape": tape.name}, ()) for v in values if id(v) in watched)

        if at is recorder.root:
            body += [Node(structure.watch, (), {"tape": tape.name, "cell": c}, ()) for c in cells]
        watch(at.graph.params)
        for node in at.graph.body:
            if not any(id(o) in cut for o in node.outs) and not (node.op is structure.read and node.attrs["cell"] in frozen):
                node.tapes = (*node.tapes, tape.name)
            body.append(node)
            watch(node.outs)
        at.graph.body[:] = body
        _shadows.pop(at, None)  # what it has followed was not tagged yet
    for c in cells:
        tape._cells[c] = weakref.ref(recorder.root)
    return tape


def _held(recorder: Recorder, x: Any) -> Any:
    """The value of the graph that a tensor is, or a variable's latest."""
    if not isinstance(x, Variable):
        return recorder.builder.literal(recorder.operand(x))
    cell = _cell(recorder, x)
    found = [n.out for at in recorder.around() for n in at.graph.body if n.op is structure.read and n.attrs["cell"] == cell]
    return found[-1] if found else recorder.builder.literal(recorder.operand(x))


def _source_name(source: Any) -> str:
    """What the gradient with respect to a source is called after."""
    if isinstance(source, Variable):
        return source.label()
    return source.value.name if isinstance(source, SymbolicTensor) else "tensor"


class _Shadow:
    """A traced function's graph as the pass `differentiate` will see it, followed as far as it has been recorded.

    The tapes ask it what is connected: where a tape recorded another one's gradient, only the lines of that sweep can tell.
    """

    def __init__(self, recorder: Recorder, outer: _Shadow | None) -> None:
        self._body = recorder.graph.body
        names = outer.at.builder.names if outer else Names()
        self.at: Differentiator = Differentiator(Graph("shadow"), names, outer.at if outer else None)
        self._last: Node | None = None

    def follow(self) -> None:
        """Take the lines recorded since the last time."""
        new: list[Node] = []
        for node in reversed(self._body):  # constants come in at the top, which no tape minds
            if node is self._last:
                break
            new.append(node)
        for node in reversed(new):
            if node.op is structure.gradient and not node.tapes:
                self.at.opaque(node)
            else:
                self.at.line(node)
        if new:
            self._last = new[0]


_shadows: weakref.WeakKeyDictionary[Recorder, _Shadow] = weakref.WeakKeyDictionary()


def _shadow_of(recorder: Recorder) -> _Shadow:
    found = _shadows.get(recorder)
    if found is None:
        found = _shadows[recorder] = _Shadow(recorder, _shadow_of(recorder.outer) if recorder.outer is not None else None)
    found.follow()
    return found


def _shadow(recorder: Recorder) -> Differentiator:
    return _shadow_of(recorder).at


def _key(recorder: Recorder, source: Any) -> Value | str:
    """What a source is to the graph: a value, or the name of a cell."""
    return _cell(recorder, source) if isinstance(source, Variable) else recorder.builder.literal(recorder.operand(source))


def _cell(recorder: Recorder, variable: Variable) -> str:
    return recorder.cell(variable, variable.label(), variable.cell_type())

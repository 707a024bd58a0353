"""Separate: every complex value becomes its real and its imaginary part, so that kernels know real numbers only.

In: a graph of plain ops. Out: an equal graph in which complex values are left only where memory is: parameters, cells, constants,
results, what nested graphs take and give, and the operands of ops that have no parted form (`Op.parted`), which call the host. There a
complex array and the array of its pairs are one memory, so going from one to the other (`ops.parts`) moves nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.ir import structure
from tapejit.ir.builder import Builder, nested_tuple, number
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import Names
from tapejit.ops.parts import Parts, along_pairs, from_pairs, to_pairs
from tapejit.passes.copies import taken_names
from tapejit.passes.symbol import Symbol, Writer


def separate(graph: Graph) -> Graph:
    """`graph` with complex arithmetic as arithmetic on parts, nested graphs included."""
    if not any(_complex(x) for n in graph.walk() for x in (*n.args, *n.outs)):
        return graph
    return _Separator(graph, taken_names(graph), None).run()


def _complex(x: Operand) -> bool:
    return x.type.dtype.kind == "c"


class _Separator:
    def __init__(self, graph: Graph, names: Names, outer: _Separator | None) -> None:
        self.graph, self.outer = graph, outer
        self.out = replace(graph, body=[], guards=list(graph.guards))
        self.writer = Writer(Builder(self.out, names))
        self.made: dict[int, Parts] = {}  # the parts of a complex value
        self.whole: set[int] = {id(p) for p in graph.params}  # complex values that are in memory as such
        self.now: dict[int, Operand] = {}  # what stands for a real value

    def run(self) -> Graph:
        for node in self.graph.body:
            self._node(node)
        results = []
        for r in self.graph.results:
            new = self._operand(r)
            results.append(new if isinstance(new, Value) else self.writer.builder.literal(new, name=r.name))
        return self.out.with_body(self.out.body, results)

    # ---------------------------------------------------------------------------------------- operands
    def _operand(self, x: Operand) -> Operand:
        """`x` for a line that takes whole complex numbers."""
        if not isinstance(x, Value):
            return x
        if not _complex(x):
            return self.now[id(x)] if id(x) in self.now else self.outer._operand(x) if self.outer is not None else x
        if id(x) in self.whole:
            return x
        if id(x) not in self.made:
            assert self.outer is not None
            return self.outer._operand(x)
        with self._writing(x):
            pairs = self.made[id(x)].pairs
            (made,) = self.writer.emit(from_pairs, (pairs.value,), {})
        self.writer.builder.names.give_back(made.name)
        self.out.body[-1] = replace(self.out.body[-1], outs=(x,))
        self.whole.add(id(x))
        return x

    def _parts(self, x: Operand) -> Any:
        """`x` for a parted form: a complex one as its parts."""
        if not _complex(x):
            return self.writer.symbol(self._operand(x))
        if isinstance(x, Literal):
            return self._number(x.value, x.dtype.real_dtype)
        if id(x) not in self.made and id(x) not in self.whole and self.outer is not None:
            return self.outer._parts(x)
        if id(x) not in self.made:
            since = len(self.out.body)
            with self._writing(x):
                pairs = to_pairs(self.writer.symbol(x))
                self.made[id(x)] = Parts(along_pairs(pairs, 0), along_pairs(pairs, 1), pairs=pairs)
            self._named(self.made[id(x)], x.name, since)
        return self.made[id(x)]

    def _number(self, value: Any, part: Any) -> Parts:
        value = complex(value)
        return Parts(*(self.writer.symbol(number(v, part)) for v in (value.real, value.imag)), known=value)

    def _writing(self, x: Value) -> Any:
        self.writer.base = x.name
        return self.writer.at_work()

    # ---------------------------------------------------------------------------------------- lines
    def _node(self, node: Node) -> None:
        self.writer.place, self.writer.tapes = node.place, node.tapes
        if any(map(_complex, (*node.args, *node.outs))):
            if node.op is structure.constant:
                self._constant(node)
                return
            if node.op.parted is not None and self._parted(node):
                return
        self.writer.place, self.writer.tapes = node.place, node.tapes
        nested = {k: _Separator(a, self.writer.builder.names, self).run() if isinstance(a, Graph) else a for k, a in node.attrs.items()}
        self.out.body.append(replace(node, args=tuple(map(self._operand, node.args)), attrs=nested))
        self.whole.update(id(o) for o in node.outs if _complex(o))

    def _constant(self, node: Node) -> None:
        array = np.asarray(node.attrs["value"], node.attrs["dtype"].np)
        part = node.attrs["dtype"].real_dtype
        if not array.shape:
            self.made[id(node.out)] = self._number(array, part)
            return
        with self._writing(node.out):
            halves = [structure.constant(value=nested_tuple(v, part), dtype=part) for v in (array.real, array.imag)]
        self.made[id(node.out)] = Parts(*halves)

    def _parted(self, node: Node) -> bool:
        """Write `node` by parts, if its op has a form for these operands."""
        assert node.op.parted is not None
        operands = [self._parts(a) for a in node.args]
        (out,) = node.outs
        before = len(self.out.body)
        with self._writing(out), sizes.assuming():  # what has to be equal is a guard of the graph already
            result = node.op.parted(*operands, **node.attrs)
            if isinstance(result, Parts):
                result = result.shaped(out.type.shape)
        if result is None:
            return False
        if isinstance(result, Parts):
            self.made[id(out)] = result
            self._named(result, out.name, before)
            return True
        assert isinstance(result, Symbol)
        self.now[id(out)] = result.value
        if isinstance(result.value, Value) and self._written(result.value, before):
            self.writer.builder.names.give_back(out.name)
            self._rename(result.value, out.name)
        return True

    def _written(self, value: Operand, since: int) -> bool:
        return any(o is value for n in self.out.body[since:] for o in n.outs)

    def _named(self, parts: Parts, name: str, since: int) -> None:
        """Call the parts that were written since then after the value they are parts of."""
        for which, x in parts.made():
            if self._written(x.value, since):
                self._rename(x.value, f"{name}_{which}")

    def _rename(self, value: Value, name: str) -> None:
        names = self.writer.builder.names
        names.give_back(value.name)
        value.name = names.fresh(name)

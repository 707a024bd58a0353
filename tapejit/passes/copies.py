"""Copies of graphs with values and names of their own, and the names that a graph has taken."""

from __future__ import annotations

from typing import Any

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import Names


def taken_names(graph: Graph) -> Names:
    """All names that a function uses, nested graphs included, so that new ones differ from them."""
    names = Names()
    _take(graph, names)
    for t in (*graph.cells.values(), *graph.consts.values()):
        _take_sizes(t, names)
    return names


def _take(graph: Graph, names: Names) -> None:
    names.take(graph.name)
    for p in graph.params:
        names.take(p.name)
        _take_sizes(p.type, names)
    for node in graph.body:
        for tape in node.tapes:
            names.take(tape)
        for o in node.outs:
            names.take(o.name)
            _take_sizes(o.type, names)
        for g in node.graphs():
            _take(g, names)


def _take_sizes(type: Type, names: Names) -> None:
    for d in type.shape:
        if isinstance(d, sizes.Size):
            for n in sizes.names(d):
                names.take(n)


class Copier:
    """Copies lines: each result becomes a new value with a fresh name; values made elsewhere stay unless `values` replaces them.

    Sizes that copied lines bind get the new names too.
    """

    def __init__(self, names: Names, values: dict[int, Operand] | None = None) -> None:
        self.names = names
        self.values: dict[int, Operand] = dict(values or {})
        self.sizes: dict[str, Dim] = {}

    def operand(self, x: Operand) -> Operand:
        """The copy of an operand."""
        return x if isinstance(x, Literal) else self.values.get(id(x), x)

    def type(self, t: Type) -> Type:
        """A type with the sizes that were renamed."""
        return Type(t.dtype, tuple(sizes.substitute(d, self.sizes) for d in t.shape)) if self.sizes else t

    def new(self, x: Value) -> Value:
        """A new value that stands for `x` in the copy."""
        out = self.values[id(x)] = Value(self.names.fresh(x.name), self.type(x.type))
        return out

    def attribute(self, value: Any) -> Any:
        """An attribute in the copy: nested graphs are copied, renamed sizes replaced."""
        if isinstance(value, Graph):
            return self.graph(value)
        if isinstance(value, sizes.Size) and self.sizes:
            return sizes.substitute(value, self.sizes)
        if isinstance(value, Type):
            return self.type(value)
        if isinstance(value, tuple):
            return tuple(self.attribute(v) for v in value)
        return value

    def node(self, node: Node) -> Node:
        """The copy of a line."""
        args = tuple(self.operand(a) for a in node.args)
        attrs = {k: self.attribute(v) for k, v in node.attrs.items()}
        outs = tuple(self.new(o) for o in node.outs)
        if node.op.binds_size:
            self.sizes[node.out.name] = sizes.named(outs[0].name)
        return Node(node.op, args, attrs, outs, node.place, node.tapes)

    def graph(self, graph: Graph) -> Graph:
        """The copy of a nested graph."""
        out = Graph(self.names.fresh(graph.name), cells=graph.cells, consts=graph.consts, place=graph.place)
        out.params = [self.new(p) for p in graph.params]
        out.body = [self.node(n) for n in graph.body]
        out.guards = [(self.attribute(a), self.attribute(b)) for a, b in graph.guards]  # of sizes that its lines bind, too
        for r in graph.results:
            new = self.operand(r)
            assert isinstance(new, Value)
            out.results.append(new)
        return out

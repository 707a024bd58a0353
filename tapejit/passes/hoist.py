"""Hoist: what a loop computes alike in every iteration is computed once, before the loop.

In: a graph of plain ops. Out: the same, where products, reductions and the like of values that a loop does not change stand before it, as
does the transposition of a right operand that the schedule would otherwise copy in every iteration. Elementwise lines stay: in the loop they
cost no memory. Lines that may fail stay too, as a loop may have no iterations.
"""

from __future__ import annotations

from dataclasses import replace

from tapejit.core import sizes
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value, substituted
from tapejit.ir.names import Names
from tapejit.ops.control import scan, while_loop
from tapejit.ops.matmul import matmul
from tapejit.ops.reductions import Reduction
from tapejit.ops.shapes import transpose
from tapejit.passes.copies import taken_names


def hoist(graph: Graph) -> Graph:
    """The graph with what does not change within its loops before them, nested ones included."""
    if not any(n.op in (scan, while_loop) for n in graph.walk()):
        return graph
    return _hoisted(graph, taken_names(graph))


def _hoisted(graph: Graph, names: Names) -> Graph:
    out = replace(graph, body=[], guards=list(graph.guards))
    for given in graph.body:
        nested = {k: _hoisted(a, names) for k, a in given.attrs.items() if isinstance(a, Graph)}
        node = replace(given, attrs=given.attrs | nested) if nested else given
        out.body.append(_Loop(node, Builder(out, names)).node() if node.op in (scan, while_loop) else node)
    return out


class _Loop:
    """A loop that leaves lines of its body to the builder of the graph around it."""

    def __init__(self, loop: Node, around: Builder) -> None:
        self.loop, self.around = loop, around
        self.body: Graph = loop.attrs["body"]
        first = loop.attrs["carried"] + loop.attrs.get("scanned", 0)
        self.outside: dict[int, Operand] = {  # what is the same in every iteration -> what it is before the loop
            id(p): a for p, a in zip(self.body.params[first:], loop.args[first:], strict=True)
        }
        self.entered: dict[int, tuple[Value, Value]] = {}  # a line's result before the loop -> it, and the parameter it enters as
        self.own_sizes = {n.out.name for n in self.body.walk() if n.op.binds_size}

    def node(self) -> Node:
        """The loop without these lines."""
        lines: list[Node] = []
        now: dict[int, Operand] = {}
        for given in self.body.body:
            node = substituted(given, lambda v: now.get(id(v), v))
            if self._unchanging(node):
                made = self._before(node)
                self.outside[id(node.out)] = made
                now[id(node.out)] = self._parameter(made)
            else:
                lines.append(self._with_right_along_columns(node))
        if not self.entered:
            return self.loop
        results = [r if not isinstance(new := now.get(id(r), r), Value) else new for r in self.body.results]
        parameters = [p for _, p in self.entered.values()]
        attrs = {**self.loop.attrs, "body": replace(self.body, params=[*self.body.params, *parameters], body=lines, results=results)}
        if "test" in attrs:
            unused = [Value(self.around.names.fresh(p.name), p.type) for p in parameters]
            attrs["test"] = replace(attrs["test"], params=[*attrs["test"].params, *unused])
        return replace(self.loop, args=(*self.loop.args, *(v for v, _ in self.entered.values())), attrs=attrs)

    def _unchanging(self, node: Node) -> bool:
        """Whether a line gives the same in every iteration, is worth a place in memory, and can do no harm before the loop."""
        op = node.op
        if len(node.outs) != 1 or op.effect or op.can_fail or op.binds_size or any(node.graphs()) or not any(node.values()):
            return False
        if not (op is matmul or isinstance(op, Reduction) or (op.at is None and op.kernel is not None)):
            return False
        return all(id(a) in self.outside for a in node.values()) and not self.own_sizes & _size_names(*node.values(), *node.outs)

    def _before(self, node: Node) -> Value:
        """The line before the loop."""
        args = tuple(a if isinstance(a, Literal) else self.outside[id(a)] for a in node.args)
        return self.around.emit(node.op, args, node.attrs, place=node.place, name=node.out.name)[0]

    def _parameter(self, made: Value) -> Value:
        """What stands in the body for a value before the loop."""
        if id(made) not in self.entered:
            parameter = Value(self.around.names.fresh(made.name), made.type)
            self.entered[id(made)] = made, parameter
            self.outside[id(parameter)] = made
        return self.entered[id(made)][1]

    def _with_right_along_columns(self, node: Node) -> Node:
        """A product whose right operand is the same in every iteration, with that turned before the loop."""
        if node.op is not matmul or not node.attrs.get("transpose_b", False):
            return node
        right = node.args[1]
        outside = self.outside.get(id(right))
        if not isinstance(outside, Value) or not isinstance(right, Value) or self.own_sizes & _size_names(right):
            return node
        rank = right.type.rank
        known = next((p for v, p in self.entered.values() if self._turns(v, outside)), None)
        if known is None:
            perm = (*range(rank - 2), rank - 1, rank - 2)
            known = self._parameter(self.around.emit(transpose, (outside,), {"perm": perm}, place=node.place, name=right.name)[0])
        return replace(node, args=(node.args[0], known), attrs={**node.attrs, "transpose_b": False})

    def _turns(self, v: Value, x: Value) -> bool:
        """Whether `v` is `x` turned, by a line that was written here."""
        return any(n.op is transpose and n.outs == (v,) and n.args == (x,) for n in reversed(self.around.graph.body))


def _size_names(*values: Value) -> set[str]:
    return {n for v in values for d in v.type.shape if isinstance(d, sizes.Size) for n in sizes.names(d)}

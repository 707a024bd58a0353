"""Inline: lines that are only there for gradients, and calls, become what they stand for.

In: a graph after differentiation. Out: the same graph, its nested graphs included, without `custom_gradient`, `held`, `overwritten` and
`stop_gradient` lines, whose results are operands of theirs, and with the lines of the graph that a `call` calls in its place.
"""

from __future__ import annotations

from dataclasses import replace

from tapejit.ir import structure
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value, substituted
from tapejit.ir.names import Names
from tapejit.ops import control
from tapejit.ops.elementwise import stop_gradient
from tapejit.passes.copies import Copier, taken_names

_STAND_FOR = {control.held: 0, control.overwritten: 1, stop_gradient: 0}  # op -> the operand that its result is
_OPS = {control.custom_gradient, control.call, *_STAND_FOR}


def inline(graph: Graph) -> Graph:
    """`graph` without lines that only say what another line says."""
    if not any(n.op in _OPS for n in graph.walk()):
        return graph
    return _inlined(graph, taken_names(graph), {})


def _inlined(graph: Graph, names: Names, became: dict[int, Operand]) -> Graph:
    def now(x: Operand) -> Operand:
        while isinstance(x, Value) and id(x) in became:  # a call's result may be that of a line inlined with it
            x = became[id(x)]
        return x

    out = replace(graph, body=[], guards=list(graph.guards))
    builder = Builder(out, names)
    pending = list(reversed(graph.body))
    while pending:
        node = pending.pop()
        if node.op in _OPS:
            args = [now(a) for a in node.args]
            if node.op is control.call:
                called = node.attrs["body"]
                copier = Copier(names, {id(p): a for p, a in zip(called.params, args, strict=True)})
                lines = [copier.node(n) for n in called.body]
                pending.extend(reversed(lines))
                stand = [copier.operand(r) for r in called.results]
            else:
                stand = args[: len(node.outs)] if node.op is control.custom_gradient else [args[_STAND_FOR[node.op]]]
            for o, s in zip(node.outs, stand, strict=True):
                if isinstance(s, Literal):  # a result has to stay a value
                    builder.add(Node(structure.constant, (), {"value": s.value, "dtype": s.dtype}, (o,), node.place))
                else:
                    became[id(o)] = s
            continue
        graphs = {k: _inlined(a, names, became) for k, a in node.attrs.items() if isinstance(a, Graph)}
        builder.add(substituted(replace(node, attrs=node.attrs | graphs) if graphs else node, now))
    out.results = []
    for r in graph.results:
        new = now(r)
        assert isinstance(new, Value)
        out.results.append(new)
    return out

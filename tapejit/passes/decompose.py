"""Decompose: an op that is computed faster as several simpler ones becomes those (a convolution: windows, and a product of matrices).

In: a graph of plain ops, after differentiation, so that gradients are those of the whole op. Out: the same graph without ops that have
a `decomposed` form for their operands; results keep their names, the steps on the way are called after them.
"""

from __future__ import annotations

from dataclasses import replace

from tapejit.core import sizes
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph, Node, Operand, Value, substituted
from tapejit.ir.names import Names
from tapejit.passes.copies import taken_names
from tapejit.passes.symbol import Symbol, Writer


def decompose(graph: Graph) -> Graph:
    """`graph` with every op that has one in its decomposed form, nested graphs included."""
    if not any(n.op.decomposed is not None for n in graph.walk()):
        return graph
    return _decomposed(graph, taken_names(graph))


def _decomposed(graph: Graph, names: Names) -> Graph:
    out = replace(graph, body=[], guards=list(graph.guards))
    writer = Writer(Builder(out, names, merge=True))
    now: dict[int, Operand] = {}

    def of(v: Value) -> Operand:
        return now.get(id(v), v)

    for given in graph.body:
        node = substituted(given, of)
        made = _in_simpler_ops(node, writer) if node.op.decomposed is not None else None
        if made is None:
            nested = {k: _decomposed(a, names) for k, a in node.attrs.items() if isinstance(a, Graph)}
            stand = writer.builder.add(replace(node, attrs=node.attrs | nested) if nested else node)
        else:
            stand = (made,)
        now.update((id(o), x) for o, x in zip(given.outs, stand, strict=True) if o is not x)
    out.results = [writer.builder.literal(of(r), name=r.name) for r in graph.results]
    writer.builder.finish()
    return out


def _in_simpler_ops(node: Node, writer: Writer) -> Operand | None:
    """What stands for the result of `node`, written in simpler ops; None if there is no such form for its operands."""
    assert node.op.decomposed is not None
    body, names = writer.builder.graph.body, writer.builder.names
    writer.place, writer.tapes, writer.base = node.place, node.tapes, node.out.name
    before = len(body)
    with writer.at_work(), sizes.assuming():  # what has to be equal was assumed where the whole op was written
        made = node.op.decomposed(*(writer.symbol(a) for a in node.args), **node.attrs)
    if made is None:
        return None
    assert isinstance(made, Symbol)
    if len(body) > before and body[-1].outs == (made.value,):  # not an earlier line: it takes over the name
        names.give_back(body[-1].out.name)
        body[-1].out.name = node.out.name
    return made.value

"""Decompose: an op that is computed faster as several simpler ones becomes those (a convolution: windows, and a product of matrices).

In: a graph of plain ops, after differentiation, so that gradients are those of the whole op. Out: the same graph without ops that have
a `decomposed` form for their operands; results keep their names, the steps on the way are called after them.
"""

from __future__ import annotations

from dataclasses import replace

from tapejit.core import sizes
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph, Node
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
    writer = Writer(Builder(out, names))
    for node in graph.body:
        if node.op.decomposed is None or not _rewritten(node, writer):
            nested = {k: _decomposed(a, names) if isinstance(a, Graph) else a for k, a in node.attrs.items()}
            out.body.append(replace(node, attrs=nested))
    return out


def _rewritten(node: Node, writer: Writer) -> bool:
    """Write the decomposed form of `node`, if there is one for its operands, with its own results at the end."""
    assert node.op.decomposed is not None
    writer.place, writer.tapes, writer.base = node.place, node.tapes, node.out.name
    body = writer.builder.graph.body
    with writer.at_work(), sizes.assuming():  # what has to be equal was assumed where the whole op was written
        made = node.op.decomposed(*(writer.symbol(a) for a in node.args), **node.attrs)
    if made is None:
        return False
    assert isinstance(made, Symbol)
    last = body.pop()
    assert last.outs == (made.value,)
    writer.builder.names.give_back(last.out.name)
    body.append(replace(last, outs=node.outs))
    return True

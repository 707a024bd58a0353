"""Makes the graphs of a control node closed: what they use from outside become operands, what they do to cells becomes values.

In: nested graphs as they were recorded, with free values, reads and assignments. Out: graphs whose last parameters stand for the
captures, which are the last operands of the node.
"""

from __future__ import annotations

from dataclasses import replace

from tapejit.ir.graph import Graph, Node, Value, substituted_graph
from tapejit.ir.names import Names


def closed(node: Node, names: Names) -> Node:
    """The node with the free values of its graphs made operands; itself if there are none."""
    free = captures(list(node.graphs()))
    if not free:
        return node
    attrs = {k: close(a, free, names) if isinstance(a, Graph) else a for k, a in node.attrs.items()}
    return replace(node, args=(*node.args, *free), attrs=attrs)


def captures(graphs: list[Graph]) -> list[Value]:
    """The values from outside that any of the graphs use, in order of first use."""
    found: dict[int, Value] = {}
    for g in graphs:
        for v in g.free():
            found.setdefault(id(v), v)
    return list(found.values())


def close(graph: Graph, free: list[Value], names: Names) -> Graph:
    """`graph` with a parameter at the end for each of the values `free`."""
    new = {id(v): Value(names.fresh(v.name), v.type) for v in free}
    inner = substituted_graph(graph, lambda v: new.get(id(v), v))
    return replace(inner, params=[*graph.params, *new.values()])

"""Forward cells: every read of a cell becomes the value it is known to have, and only the last assignment is kept.

In: a graph without tape lines. Out: one in which a cell is read at most once, before anything is assigned to it, and assigned at most once.
"""

from __future__ import annotations

from tapejit.ir import structure
from tapejit.ir.graph import Graph, Node, Operand, Value, substituted


def forward(graph: Graph) -> Graph:
    """`graph` with loads forwarded from earlier loads and stores. Nested graphs touch no cells."""
    known: dict[str, Operand] = {}
    became: dict[int, Operand] = {}
    last = {n.attrs["cell"]: n for n in graph.body if n.op is structure.assign}

    def now(v: Value) -> Operand:
        return became.get(id(v), v)

    body: list[Node] = []
    for node in graph.body:
        node = substituted(node, now) if became else node
        cell: str = node.attrs.get("cell", "")
        if node.op is structure.read:
            if cell in known:
                became[id(node.out)] = known[cell]
                continue
            known[cell] = node.out
        elif node.op is structure.assign:
            known[cell] = node.args[0]
            continue
        body.append(node)
    for node in last.values():  # at the end, so that whatever fails comes before any cell is written
        value = known[node.attrs["cell"]]
        body.append(Node(node.op, (value,), node.attrs, (), node.place, node.tapes))
    results = []
    for r in graph.results:
        new = now(r)
        assert isinstance(new, Value)  # what is assigned to a cell is a value
        results.append(new)
    return graph.with_body(body, results)

"""Donate: parameters whose buffers a call may overwrite become cells that live for that call.

In: a traced graph and the positions of the parameters that callers give away. Out: a graph in which such a parameter is the first value of
a cell of its own, and a result of its type is what the cell is left with, so that all that is known of cells (writing in place, second
buffers, leaving them as they were where a call fails) holds for it; and where each donated parameter's result went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tapejit.core.places import Place
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Node, Value


def donate(graph: Graph, positions: Sequence[int]) -> tuple[Graph, dict[int, tuple[str, int]]]:
    """The graph, and for every donated parameter that a result fits its cell and the number of that result.

    A result fits that has the parameter's type; one that is the parameter itself goes first, then they are taken in order. A parameter
    that no result fits stays one.
    """
    open_results = dict(enumerate(graph.results))
    matched: dict[int, int] = {}
    for same in (True, False):
        for p in positions:
            param = graph.params[p]
            fits = (k for k, r in open_results.items() if (r is param if same else r.type == param.type))
            k = next(fits, None) if p not in matched else None
            if k is not None:
                matched[p] = k
                del open_results[k]
    cells = dict(graph.cells)
    reads: list[Node] = []
    assigns: list[Node] = []
    went: dict[int, tuple[str, int]] = {}
    for p in sorted(matched):
        param, result = graph.params[p], graph.results[matched[p]]
        cell = _free(param.name, cells)
        cells[cell] = param.type
        reads.append(Node(structure.read, (), {"cell": cell, "type": param.type}, (param,), graph.place))
        assigns.append(Node(structure.assign, (result,), {"cell": cell}, (), _place(graph, result)))
        went[p] = cell, matched[p]
    params = [p for k, p in enumerate(graph.params) if k not in matched]
    body = [*reads, *graph.body, *assigns]
    return replace(graph, params=params, cells=cells, body=body, results=list(open_results.values())), went


def _free(name: str, taken: Mapping[str, object]) -> str:
    out, count = name, 0
    while out in taken:
        count += 1
        out = f"{name}_{count}"
    return out


def _place(graph: Graph, value: Value) -> Place | None:
    return next((n.place for n in graph.body if any(o is value for o in n.outs)), graph.place)

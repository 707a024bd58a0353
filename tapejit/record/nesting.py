"""Makes the graphs of a control node closed: what they use from outside become operands, what they do to cells becomes values.

In: nested graphs as they were recorded, with free values, reads and assignments. Out: graphs whose last parameters stand for the
captures, which are the last operands of the node.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tapejit.core import places
from tapejit.ir import structure
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph, Node, Value, substituted_graph
from tapejit.ir.names import Names
from tapejit.ops.control import held, overwritten

if TYPE_CHECKING:
    from tapejit.record.recorder import Recorder


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


# ------------------------------------------------------------------------------------------------ cells
def cells_touched(graphs: Iterable[Graph]) -> tuple[list[str], list[str]]:
    """The cells that nested graphs, whose own nested graphs touch none any more, read but do not write; and those they write."""
    read: dict[str, None] = {}
    written: dict[str, None] = {}
    for node in (n for g in graphs for n in g.body):
        if node.op is structure.read:
            read.setdefault(node.attrs["cell"])
        elif node.op is structure.assign:
            written.setdefault(node.attrs["cell"])
    return [c for c in read if c not in written], list(written)


def lift(graph: Graph, names: Names, holds: dict[str, Value], stay: Container[int] = ()) -> dict[str, Value]:
    """Turn the reads and assignments of cells in a nested graph into values, in place.

    `holds` gives the value of each cell where the graph begins; returns that where it ends. Lines whose ids are in `stay` are left alone.
    """
    holds, lines = dict(holds), graph.body
    builder = Builder(graph, names)
    graph.body = []
    for node in lines:
        if id(node) in stay:
            builder.add(node)
        elif node.op is structure.read:
            builder.add(replace(node, op=held, args=(holds[node.attrs["cell"]],), attrs={"cell": node.attrs["cell"]}))
        elif node.op is structure.assign:
            cell = node.attrs["cell"]
            (holds[cell],) = builder.emit(overwritten, (holds[cell], node.args[0]), place=node.place, name=cell, tapes=node.tapes)
        else:
            builder.add(node)
    return holds


def read_before(recorder: Recorder, cells: Iterable[str]) -> dict[str, Value]:
    """Reads of cells in the graph being recorded, for the nested graphs of the line that comes next."""
    out = {}
    for c in cells:
        attrs = {"cell": c, "type": recorder.cell_type(c)}
        out[c] = recorder.builder.emit(structure.read, (), attrs, name=c, tapes=recorder.tapes, place=places.here(2))[0]
    return out


def carried_cells(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[Value]:
    """What a loop's body leaves in the cells it writes. NotImplementedError for another size than it finds there."""
    for cell, found in before.items():
        if after[cell].type.shape != found.type.shape:
            raise NotImplementedError(
                places.with_place(
                    f"a loop whose body gives the variable of state.{cell} another size: it finds {found.type} there and leaves "
                    f"{after[cell].type}; change a loop variable with a shape invariant and assign that after the loop"
                )
            )
    return [after[cell] for cell in before]


def lift_reads(recorder: Recorder, graph: Graph) -> None:
    """Lift the cells that a nested graph only reads; reads and assignments of others stay, for a graph that is written out elsewhere.

    NotImplementedError for an assignment where the graph itself is nested, in a loop or branch.
    """
    read, written = cells_touched([graph])
    if written and recorder.outer is not None:
        raise NotImplementedError(places.with_place(f"an assignment to state.{written[0]} within {graph.name} in a loop or branch"))
    stay = [n for n in graph.body if n.op in (structure.read, structure.assign) and n.attrs["cell"] in written]
    lift(graph, recorder.builder.names, read_before(recorder, read), {id(n) for n in stay})


def assign_after(recorder: Recorder, cells: Iterable[str], values: Iterable[Value]) -> None:
    """Assign what cells hold after a line whose nested graphs wrote them."""
    for c, v in zip(cells, values, strict=True):
        recorder.write(c, v, places.here(2))

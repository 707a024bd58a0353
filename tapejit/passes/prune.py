"""Drops lines whose results nobody needs: effects and assignments stay, but not an assignment that a later one hides unread.

In: a graph; out: the same graph without dead lines, also in nested graphs, where results and operands that are not used go too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tapejit.ir import structure
from tapejit.ir.graph import Graph, Node, Value
from tapejit.ir.op import Op
from tapejit.ops.control import Nesting, call, cond, scan, while_loop


def prune(graph: Graph) -> Graph:
    """The graph without dead lines and hidden assignments; declared cells and constants stay."""
    return live(_without_hidden_assignments(graph))


def live(graph: Graph, results: Sequence[Value] | None = None) -> Graph:
    """The lines that the results (those given, or all) and the effects need."""
    wanted = list(graph.results if results is None else results)
    needed = {id(r) for r in wanted}
    sizes_needed = _size_names_of(graph)
    kept: list[Node] = []
    for node in reversed(graph.body):
        if not (has_effect(node) or any(id(o) in needed for o in node.outs) or (node.op.binds_size and node.out.name in sizes_needed)):
            continue
        if isinstance(node.op, Nesting) and node.op in _NARROW:
            node = _narrowed(node, needed)
        needed.update(id(v) for v in node.values())
        for g in node.graphs():
            needed.update(id(v) for v in g.free())
        kept.append(node)
    kept.reverse()
    return graph.with_body(kept, wanted)


def has_effect(node: Node) -> bool:
    return node.op.effect or any(has_effect(n) for g in node.graphs() for n in g.body)


def _size_names_of(graph: Graph) -> set[str]:
    """Names of sizes that lines bind: they are used by types and attributes, not as operands, so all of them count as needed."""
    return {n.out.name for n in graph.walk() if n.op.binds_size}


# ------------------------------------------------------------------------------------------------ assignments
def _without_hidden_assignments(graph: Graph) -> Graph:
    """Assignments that another one of the same cell follows without a read between them go, and so do those of what the cell holds."""
    kept: list[Node] = []
    hidden: set[str] = set()  # cells that are assigned below before anyone reads them
    for node in reversed(graph.body):
        if node.op is structure.assign:
            cell = node.attrs["cell"]
            if cell in hidden:
                continue
            hidden.add(cell)
        elif node.op is structure.read:
            hidden.discard(node.attrs["cell"])
        else:
            if node.op.effect:
                hidden.clear()  # it may fail, and then what was assigned before it must be there
            for g in node.graphs():
                hidden -= structure.cells_read(g) | structure.cells_written(g)
        kept.append(node)
    kept.reverse()
    holds: dict[str, Value] = {}
    out: list[Node] = []
    for node in kept:
        if node.op is structure.read:
            holds.setdefault(node.attrs["cell"], node.out)
        elif node.op is structure.assign:
            if holds.get(node.attrs["cell"]) is node.args[0]:
                continue
            value = node.args[0]
            assert isinstance(value, Value)
            holds[node.attrs["cell"]] = value
        for g in node.graphs():
            for cell in structure.cells_written(g):
                holds.pop(cell, None)
        out.append(node)
    return graph.with_body(out)


# -------------------------------------------------------------------------------------------- nested graphs
_NARROW: tuple[Op, ...] = (cond, while_loop, scan, call)


def carried_on(body: Graph, test: Graph | None, carried: int, wanted: set[int]) -> set[int]:
    """Of the first `carried` values, which a loop carries on, those that the results `wanted`, its effects and its condition depend on."""
    kept = {k for k in wanted if k < carried}
    while True:
        lean = live(body, [body.results[k] for k in sorted(kept | wanted)])
        used = {id(v) for g in (lean, test) if g is not None for v in g.uses()}
        more = {k for k in range(carried) if any(id(g.params[k]) in used for g in (body, test) if g is not None)}
        if more <= kept:
            return kept
        kept |= more


def _without_idle(node: Node, needed: set[int]) -> Node:
    """A loop without the values that it carries on for themselves alone."""
    attrs, count = node.attrs, node.attrs["carried"]
    body, test = attrs["body"], attrs.get("test")
    kept = carried_on(body, test, count, {k for k, o in enumerate(node.outs[: len(body.results)]) if id(o) in needed})
    if len(kept) == count:
        return node

    def left(values: Sequence[Any]) -> list[Any]:
        return [v for k, v in enumerate(values) if k >= count or k in kept]

    graphs = {k: replace(g, params=left(g.params)) for k, g in (("body", body), ("test", test)) if g is not None}
    graphs["body"].results = left(body.results)
    return replace(node, args=tuple(left(node.args)), outs=tuple(left(node.outs)), attrs=attrs | graphs | {"carried": len(kept)})


def _narrowed(node: Node, needed: set[int]) -> Node:
    """A control node without results that nobody uses, where each can go by itself, and without operands that its graphs do not use."""
    if "carried" in node.attrs:
        node = _without_idle(node, needed)
    graphs = {k: a for k, a in node.attrs.items() if isinstance(a, Graph)}
    outs, attrs = node.outs, dict(node.attrs)
    first = attrs["carried"] if node.op is scan else len(outs) if node.op is while_loop else 0  # results before this one stay
    keep = [k for k, o in enumerate(outs) if k < first or id(o) in needed]
    if not keep and not any(has_effect(n) for g in graphs.values() for n in g.body):
        keep = [0]
    if len(keep) < len(outs):
        outs = tuple(outs[k] for k in keep)
        for name, g in graphs.items():
            graphs[name] = g.with_body(g.body, [g.results[k] for k in keep])
    graphs = {k: live(g) for k, g in graphs.items()}
    start = {scan: attrs.get("carried", 0), while_loop: attrs.get("carried", 0)}.get(node.op, 0)
    lead = 1 if node.op is cond else 0  # the condition is no parameter
    used = {id(v) for g in graphs.values() for v in g.uses()}
    count = len(node.args) - lead
    stay = [i for i in range(count) if i < start or any(id(g.params[i]) in used for g in graphs.values())]
    if len(stay) < count:
        if node.op is scan:
            first_capture = attrs["carried"] + attrs["scanned"]
            attrs["scanned"] = sum(1 for i in stay if attrs["carried"] <= i < first_capture)
        graphs = {k: replace(g, params=[g.params[i] for i in stay]) for k, g in graphs.items()}
    args = (*node.args[:lead], *(node.args[lead + i] for i in stay))
    return replace(node, args=args, attrs=attrs | graphs, outs=outs)

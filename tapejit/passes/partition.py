"""Cuts a function that is called under a tape in two: forward, which also gives the values to keep, and backward, which starts from them.

In: a graph without tape lines. Out: `forward -> (results, kept)` and `backward(operands, kept, output gradients) -> gradients`. What is kept
is a minimum cut over bytes: values that are cheap to compute again (sums, products, comparisons, other shapes of the same elements) are
computed again where that saves memory, all others are kept or follow from something smaller that is. The cut is networkx's; the
formulation is that of Feng et al., "min-cut rematerialization", as in functorch's partitioner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tapejit.core import sizes
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Node, Operand, Value
from tapejit.ir.op import OPS
from tapejit.ops.control import held, overwritten
from tapejit.ops.creation import iota
from tapejit.passes.copies import taken_names
from tapejit.passes.differentiate import Differentiator

CHEAP = frozenset(
    OPS[name]
    for name in (
        *("add", "sub", "mul", "neg", "abs", "sign", "square", "maximum", "minimum", "cast", "select", "stop_gradient"),
        *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
        *("logical_and", "logical_or", "logical_xor", "logical_not"),
        *("reshape", "transpose", "broadcast_to", "full", "constant", "dim", "held", "overwritten"),
    )
) | {iota}
_OPEN = 256  # what a size that is not known is taken to be


def pure(graph: Graph, cells: Sequence[str], consts: Sequence[str], written: Sequence[Value] = ()) -> Graph:
    """The graph with parameters in place of its cells and constants, at the end and in the order given, and without assignments.

    `written` are values of `constant` lines that get parameters too.

    Its values are those of `graph`. What is assigned to a cell carries no gradient; later reads are reads of the cell.
    """
    names = taken_names(graph)
    holds: dict[str, Value] = {c: Value(names.fresh(c), graph.cells[c]) for c in cells}
    arrays = {c: Value(names.fresh(c), graph.consts[c]) for c in consts}
    tensors = {id(v): Value(names.fresh(v.name), v.type) for v in written}
    params = [*graph.params, *holds.values(), *arrays.values(), *tensors.values()]
    body: list[Node] = []
    for node in graph.body:
        if node.op is structure.read:
            cell = node.attrs["cell"]
            body.append(replace(node, op=held, args=(holds[cell],), attrs={"cell": cell}))
        elif node.op is structure.const:
            name = node.attrs["const"]
            body.append(replace(node, op=held, args=(arrays[name],), attrs={"cell": name}))
        elif len(node.outs) == 1 and id(node.out) in tensors:
            body.append(replace(node, op=held, args=(tensors[id(node.out)],), attrs={"cell": node.out.name}))
        elif node.op is structure.assign:
            cell = node.attrs["cell"]
            new = Value(names.fresh(cell), node.args[0].type)
            body.append(Node(overwritten, (holds[cell], node.args[0]), {}, (new,), node.place))
            holds[cell] = new
        elif not (node.op.effect and not node.outs):  # other effects belong to the forward run
            body.append(undeclared(node))
    return replace(graph, params=params, body=body, cells={}, consts={})


def undeclared(node: Node) -> Node:
    """A line whose nested graphs, which touch no cells, declare none either."""
    if not any(True for _ in node.graphs()):
        return node
    attrs = {
        k: replace(a, body=[undeclared(n) for n in a.body], cells={}, consts={}) if isinstance(a, Graph) else a
        for k, a in node.attrs.items()
    }
    return replace(node, attrs=attrs)


def backward(graph: Graph, given: Sequence[int], kept: Sequence[Value] = ()) -> tuple[Graph, list[int]]:
    """The gradients of a pure graph, and the positions of the parameters that have one.

    Parameters: those of `graph`, the `kept` values, then an output gradient for each result listed in `given`.
    """
    names = taken_names(graph)
    out = replace(graph, name=names.fresh(f"d_{graph.name}"), params=list(graph.params), body=list(graph.body), guards=list(graph.guards))
    at = Differentiator(out, names)
    seeds, grads = at.gradients(graph, range(len(graph.params)), given)
    reached = [k for k, g in enumerate(grads) if g is not None]
    results = [at.as_value(g) for g in grads if g is not None]
    body = _needed(out.body, results, {id(v) for v in kept})
    return replace(out, params=[*graph.params, *kept, *seeds], body=body, results=results), reached


def _needed(body: Sequence[Node], results: Sequence[Value], have: set[int]) -> list[Node]:
    """The lines that the results need which are not among the values that there are; effects are the forward run's."""
    wanted = {id(r) for r in results} - have
    named: set[str] = set()  # sizes that lines further down are written with
    lines: list[Node] = []
    for node in reversed(body):
        if any(id(o) in wanted or (node.op.binds_size and o.name in named) for o in node.outs):
            lines.append(node)
            named |= _sizes_in((*node.attrs.values(), *(o.type for o in node.outs)))
            used = [*node.values(), *(v for g in node.graphs() for v in g.free())]
            wanted.update(id(v) for v in used if id(v) not in have)
    return lines[::-1]


def _sizes_in(x: Any) -> set[str]:
    """The named sizes in attributes, types and the lines of nested graphs."""
    if isinstance(x, Graph):
        return {n for line in x.body for n in _sizes_in((*line.attrs.values(), *(o.type for o in line.outs)))} | _sizes_in(
            tuple(p.type for p in x.params)
        )
    if isinstance(x, Type):
        return _sizes_in(x.shape)
    return {n for v in x for n in _sizes_in(v)} if isinstance(x, tuple) else sizes.names(x)


def kept_values(graph: Graph) -> list[Value]:
    """The values of a pure graph to keep for its gradient, where all results have one; in the order they are made.

    Where the graph binds sizes only what lines with effects give, as these are not run again: the values have sizes that only its own lines know.
    """
    import networkx as nx

    given = [k for k, r in enumerate(graph.results) if r.type.dtype.differentiable]
    derived, _ = backward(graph, given)
    if any(n.op.binds_size for n in graph.body):
        return [o for n in graph.body if n.op.effect for o in n.outs if sizes.is_known(o.type.shape)]
    own = {id(o) for n in graph.body for o in n.outs}
    maker = {id(o): n for n in graph.body for o in n.outs}
    results = {id(r) for r in graph.results}
    params = {id(p) for p in graph.params}
    # a line of the derived graph that is no line of this one is a backward line; what it uses of this graph is needed
    needed: dict[int, Value] = {}
    for node in derived.body:
        if not any(id(o) in own for o in node.outs):
            used: list[Operand] = [*node.args, *(v for g in node.graphs() for v in g.free())]
            needed.update((id(v), v) for v in used if isinstance(v, Value) and (id(v) in own or id(v) in params))
    for r in derived.results:
        if id(r) in own:
            needed[id(r)] = r
    net: Any = nx.DiGraph()
    values: dict[int, Value] = {}

    def add(v: Value) -> None:
        if id(v) in values:
            return
        values[id(v)] = v
        inner, outer = ("in", id(v)), ("out", id(v))
        if id(v) in params:  # the caller has it anyway
            net.add_edge("source", inner)
            net.add_edge(inner, outer, capacity=0)
            return
        node = maker[id(v)]
        if node.op is overwritten:  # no line of the forward half, which assigns instead
            net.add_edge(inner, outer)
        else:
            net.add_edge(inner, outer, capacity=1 if id(v) in results else 1 + _bytes(v.type))
        if node.op in CHEAP:
            for a in node.values():
                add(a)
                net.add_edge(("out", id(a)), inner)
            if not any(True for _ in node.values()):
                return  # made from nothing: always there
        else:
            net.add_edge("source", inner)

    for v in needed.values():
        add(v)
        net.add_edge(("out", id(v)), "sink")
    if "source" not in net or "sink" not in net:
        return []
    _, (before, _) = nx.minimum_cut(net, "source", "sink")
    cut = {key for key, v in values.items() if ("in", key) in before and ("out", key) not in before and key not in params}
    return [o for n in graph.body for o in n.outs if id(o) in cut]


def _bytes(type: Type) -> int:
    count = sizes.substitute(type.size, dict.fromkeys(sizes.names(type.size), _OPEN))
    assert isinstance(count, int)
    return max(count, 0) * type.dtype.size

"""Together: loops along the same operands that do the same, but for what they keep of each step, become one loop that keeps it all.

In: a graph of plain ops. Out: the same, where a loop that a gradient runs again to have the values of every step is the forward one itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tapejit.ir.graph import Graph, Literal, Node, Operand, Value, substituted
from tapejit.ops.control import scan


def together(graph: Graph) -> Graph:
    """The graph with its loops, nested ones included, run together where they are alike."""
    body: list[Node] = []
    now: dict[int, Operand] = {}
    for given in graph.body:
        node = substituted(given, lambda v: now.get(id(v), v)) if now else given
        if any(node.graphs()):
            node = replace(node, attrs={k: together(a) if isinstance(a, Graph) else a for k, a in node.attrs.items()})
        if node.op is scan:
            for k, earlier in enumerate(body):
                merged = _merged(earlier, node) if earlier.op is scan else None
                if merged is not None:
                    body[k], stand = merged
                    now.update((id(o), s) for o, s in zip(node.outs, stand, strict=True))
                    break
            else:
                body.append(node)
        else:
            body.append(node)
    results = [r if (new := now.get(id(r), r)) is r or not isinstance(new, Value) else new for r in graph.results]
    return graph.with_body(body, results)


def _merged(first: Node, second: Node) -> tuple[Node, list[Value]] | None:
    """The first loop giving also what the second one gives, and which of its results those are; None if they do not do the same."""
    a, b = first.attrs, second.attrs
    if not _same_operands(first.args, second.args) or any(a[k] != b[k] for k in ("carried", "scanned", "length")):
        return None
    if a.get("reverse", False) is not b.get("reverse", False):
        return None
    body, other, carried = a["body"], b["body"], a["carried"]
    meant = _matched(body, other)
    if meant is None:
        return None
    ends = [meant[id(r)] for r in other.results]
    if any(x is not y for x, y in zip(ends[:carried], body.results[:carried], strict=True)):
        return None
    node = replace(
        first, outs=(*first.outs, *second.outs[carried:]), attrs={**a, "body": replace(body, results=[*body.results, *ends[carried:]])}
    )
    return node, [*first.outs[:carried], *second.outs[carried:]]


def _same_operands(a: tuple[Operand, ...], b: tuple[Operand, ...]) -> bool:
    return len(a) == len(b) and all(x is y or (isinstance(x, Literal) and x == y) for x, y in zip(a, b, strict=True))


def _matched(one: Graph, other: Graph) -> dict[int, Value] | None:
    """For each value of `other` the one of `one` that is the same; None if a line of it has no like. `one` may have more lines."""
    meant: dict[int, Value] = {id(q): p for p, q in zip(one.params, other.params, strict=True)}
    lines = iter(one.body)
    for node in other.body:
        like = next((n for n in lines if alike(n, node, meant)), None)
        if like is None:
            return None
        meant.update((id(q), p) for p, q in zip(like.outs, node.outs, strict=True))
    return meant if all(id(r) in meant for r in other.results) else None


def alike(one: Node, other: Node, meant: dict[int, Value]) -> bool:
    """Whether a line does the same as another one, values of which stand for those that `meant` gives."""
    if (
        not (one.op is other.op or one.op.again == other.op.name)
        or len(one.outs) != len(other.outs)
        or one.attrs.keys() != other.attrs.keys()
    ):
        return False
    args = tuple(meant.get(id(x), x) if isinstance(x, Value) else x for x in other.args)
    return _same_operands(one.args, args) and all(_same_attribute(one.attrs[k], other.attrs[k]) for k in one.attrs)


def _same_attribute(one: Any, other: Any) -> bool:
    if not isinstance(one, Graph) or not isinstance(other, Graph):
        return type(one) is type(other) and bool(one == other)
    if len(one.params) != len(other.params) or len(one.results) != len(other.results):
        return False
    meant = _matched(one, other)
    return meant is not None and all(meant[id(y)] is x for x, y in zip(one.results, other.results, strict=True))

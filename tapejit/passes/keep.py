"""Keep: products of a loop that another one would compute again, which the loop's gradient does, are kept of every step instead.

In: a graph of plain ops. Out: the same, where such a product is one more stacked result of the first loop and one more scanned operand of
the second. What is cheaper to compute than to read back is computed again.
"""

from __future__ import annotations

from dataclasses import replace

from tapejit.core import sizes
from tapejit.ir.graph import Graph, Node, Operand, Value, substituted
from tapejit.ir.names import Names
from tapejit.ops.control import scan
from tapejit.ops.matmul import matmul
from tapejit.passes.copies import taken_names
from tapejit.passes.together import alike

DEEP = 16  # terms of each element of a product from which it pays to keep it


def keep(graph: Graph) -> Graph:
    """The graph with the products of its loops, nested ones included, computed once."""
    if sum(n.op is scan for n in graph.walk()) < 2:
        return graph
    return _kept(graph, taken_names(graph))


def _kept(graph: Graph, names: Names) -> Graph:
    body: list[Node] = []
    for given in graph.body:
        nested = {k: _kept(a, names) for k, a in given.attrs.items() if isinstance(a, Graph)}
        node = replace(given, attrs=given.attrs | nested) if nested else given
        if node.op is scan:
            for k, earlier in enumerate(body):
                if earlier.op is scan and earlier.attrs["length"] == node.attrs["length"]:
                    body[k], node = _shared(earlier, node, names)
        body.append(node)
    return graph.with_body(body, graph.results)


def _shared(first: Node, second: Node, names: Names) -> tuple[Node, Node]:
    """Two loops, the second without the products that the first has in the same step."""
    meant = _same_in_a_step(first, second)
    one, other = first.attrs["body"], second.attrs["body"]
    own = {n.out.name for n in one.walk() if n.op.binds_size}  # sizes that may differ from step to step
    stacked: list[tuple[Value, Value]] = []  # a product of the first loop's body, and it of all steps
    entered: dict[int, Operand] = {}  # a product of the second one's, and the parameter that takes its place
    lines: list[Node] = []
    for node in other.body:
        like = next((n for n in one.body if alike(n, node, meant)), None)
        if like is not None:
            meant.update((id(q), p) for p, q in zip(like.outs, node.outs, strict=True))
        if like is None or not _dear(node) or own & {n for d in like.out.type.shape for n in sizes.names(d)}:
            lines.append(substituted(node, lambda v: entered.get(id(v), v)))
            continue
        t = like.out.type
        stacked.append((like.out, Value(names.fresh(like.out.name), t.with_shape((first.attrs["length"], *t.shape)))))
        entered[id(node.out)] = Value(names.fresh(node.out.name), t)
    if not stacked:
        return first, second
    first = replace(
        first,
        outs=(*first.outs, *(s for _, s in stacked)),
        attrs=first.attrs | {"body": replace(one, results=[*one.results, *(v for v, _ in stacked)])},
    )
    at = second.attrs["carried"] + second.attrs["scanned"]
    parameters = [p for p in entered.values() if isinstance(p, Value)]
    results = [r if not isinstance(new := entered.get(id(r), r), Value) else new for r in other.results]
    body = replace(other, params=[*other.params[:at], *parameters, *other.params[at:]], body=lines, results=results)
    args = (*second.args[:at], *(s for _, s in stacked), *second.args[at:])
    return first, replace(second, args=args, attrs=second.attrs | {"body": body, "scanned": second.attrs["scanned"] + len(stacked)})


def _same_in_a_step(first: Node, second: Node) -> dict[int, Value]:
    """For parameters of the second loop's body what they are in the first one's, in the same step."""
    a, b = first.attrs, second.attrs
    begins, ends = a["carried"], a["carried"] + a["scanned"]
    of_steps = {id(o): r for o, r in zip(first.outs[begins:], a["body"].results[begins:], strict=True)}
    of_steps |= {id(x): p for x, p in zip(first.args[begins:ends], a["body"].params[begins:ends], strict=True)}
    of_all = {id(x): p for x, p in zip(first.args[ends:], a["body"].params[ends:], strict=True)}
    rows = b["carried"] + b["scanned"]
    listed = list(zip(second.args, b["body"].params, strict=True))
    return {id(p): of_steps[id(x)] for x, p in listed[b["carried"] : rows] if id(x) in of_steps} | {
        id(p): of_all[id(x)] for x, p in listed[rows:] if id(x) in of_all
    }


def _dear(node: Node) -> bool:
    """Whether to compute the line takes longer than to read its result."""
    if node.op is not matmul:
        return False
    depth = node.args[0].type.shape[-2 if node.attrs.get("transpose_a") else -1]
    return not isinstance(depth, int) or depth >= DEEP

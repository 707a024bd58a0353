"""Batch: a `vmap` line becomes the lines of its body, each on all slices at once.

In: a graph after differentiation. Out: the same graph without `vmap` lines, in nested graphs too. Ops go by their own rules (`Op.batch`)
and slice by slice where they have none; lines that depend on no slice are written once, as they are. Where the shapes of slices would
differ, the whole body runs slice by slice, which is a `scan`. Lines keep their places, and what they make its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value, substituted
from tapejit.ir.names import Names
from tapejit.ops.batching import Ragged, batched, repeated
from tapejit.ops.control import scan, vmap
from tapejit.passes.copies import Copier, taken_names
from tapejit.passes.symbol import Symbol, Writer


def batch(graph: Graph) -> Graph:
    """`graph` with its `vmap` lines opened out."""
    if not any(n.op is vmap for n in graph.walk()):
        return graph
    return _opened(graph, taken_names(graph))


def _opened(graph: Graph, names: Names) -> Graph:
    out = replace(graph, body=[], guards=list(graph.guards))
    became: dict[int, Operand] = {}

    def now(x: Operand) -> Operand:
        return became.get(id(x), x)

    for given in graph.body:
        node = substituted(given, now)
        nested = {k: _opened(a, names) if isinstance(a, Graph) else a for k, a in node.attrs.items()}
        node = replace(node, attrs=nested)
        if node.op is not vmap:
            out.body.append(node)
            continue
        for o, new in zip(node.outs, _lines_of(node, out, names), strict=True):
            became[id(o)] = new
    results = [now(r) for r in graph.results]
    assert all(isinstance(r, Value) for r in results)
    out.results = results  # type: ignore[assignment]
    return out


def _lines_of(node: Node, out: Graph, names: Names) -> list[Value]:
    """Write the lines that a `vmap` line stands for; what its results are."""
    body, mapped, slices = node.attrs["body"], node.attrs["mapped"], node.attrs["size"]
    lines, guards = len(out.body), len(out.guards)
    at = Vectorizer(Builder(out, names), slices)
    out.guards.extend(body.guards)
    try:
        with at.at_work():
            operands = [at.symbol(a) for a in node.args]
            made = at.opened(body, operands, [k < mapped for k in range(len(operands))])
            at.place = node.place
            whole = [at.full(x, m) for x, m in made]
    except Ragged:
        del out.body[lines:], out.guards[guards:]
        attrs = {"body": body, "carried": 0, "scanned": mapped, "length": slices}
        out.body.append(replace(node, op=scan, attrs=attrs))
        return list(node.outs)
    for o, v in zip(node.outs, whole, strict=True):
        if any(v in line.outs for line in out.body[lines:]) and v.name != o.name:
            v.name = o.name
    return whole


class Vectorizer(Writer):
    """Writes the lines of graphs on `slices` slices at once. While it is at work, rules of ops that hold graphs ask it for theirs."""

    def __init__(self, builder: Builder, slices: Dim) -> None:
        super().__init__(builder)
        self.slices = slices

    def full(self, x: Symbol, mapped: bool) -> Value:
        """A value with the new axis, whether or not `x` has it."""
        whole = repeated(x, self.slices, mapped)
        return whole.value if isinstance(whole.value, Value) else self.builder.literal(whole.value, self.place)

    def opened(self, graph: Graph, operands: Sequence[Symbol], mapped: Sequence[bool]) -> list[tuple[Symbol, bool]]:
        """Write the lines of `graph` on `operands`; its results, and whether each has the new axis."""
        stands: dict[int, tuple[Symbol, bool]] = {id(p): (x, m) for p, x, m in zip(graph.params, operands, mapped, strict=True)}

        def of(x: Operand) -> tuple[Symbol, bool]:
            return (self.symbol(x), False) if isinstance(x, Literal) else stands.get(id(x), (self.symbol(x), False))

        for node in graph.body:
            found = [of(a) for a in node.args]
            if not any(m for _, m in found):
                line = substituted(node, lambda v: of(v)[0].value)
                self.builder.graph.body.append(replace(line, tapes=()))
                continue
            self.place, self.base = node.place, node.outs[0].name if node.outs else ""
            made = batched(node.op, self.slices, tuple(x for x, _ in found), tuple(m for _, m in found), node.attrs, node.place)
            self.base = ""
            listed = made if isinstance(made, tuple) else () if made is None else (made,)
            for o, z in zip(node.outs, listed, strict=True):
                stands[id(o)] = z, True
                last = self.builder.graph.body[-1] if self.builder.graph.body else None
                if last is not None and z.value in last.outs:
                    z.value.name = o.name
        return [of(r) for r in graph.results]

    def copy(self, graph: Graph) -> Graph:
        """A nested graph with values of its own, for lines that are written twice."""
        return Copier(self.builder.names).graph(graph)

    def nested(self, name: str) -> Vectorizer:
        """The writer of a nested graph called after `name`."""
        return Vectorizer(Builder(Graph(self.builder.names.fresh(name)), self.builder.names), self.slices)

    def parameter(self, name: str, type: Type, mapped: bool = False) -> Symbol:
        """A new parameter of the graph being written, for the slices of one of `type` if `mapped`."""
        whole = type.with_shape((self.slices, *type.shape)) if mapped else type
        return self.symbol(self.builder.parameter(name, whole))

    def vectorized(self, graph: Graph, mapped: Sequence[bool], results: Sequence[bool] | None = None) -> tuple[Graph, list[bool]]:
        """A nested graph on slices, whose parameters flagged in `mapped` have the new axis; and which of its results have it.

        Those flagged in `results` get it in any case.
        """
        copy = self.copy(graph)
        at = self.nested(graph.name)
        at.builder.graph.guards.extend(graph.guards)
        params = [at.parameter(p.name, p.type, m) for p, m in zip(graph.params, mapped, strict=True)]
        with at.at_work():
            made = at.opened(copy, params, mapped)
            flags = [m or bool(results and results[k]) for k, (_, m) in enumerate(made)]
            at.builder.graph.results = [at.full(x, m or not f) for (x, m), f in zip(made, flags, strict=True)]
        return at.builder.graph, flags

"""A call of a traced function as tapes around it see it: one op, whose gradient is a function again.

In: the function's graph without cells, constants and tape lines. Out: an op, and what a tape records of a call. Of a table that the function
only looks up, that is the lookups and the call on the rows, so that the table's gradient may stay rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tapejit.core.errors import InternalError
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.graph import Graph, Node, Operand, Value
from tapejit.ir.op import Op, thread
from tapejit.ops.control import held
from tapejit.passes.partition import backward, kept_values
from tapejit.passes.prune import live
from tapejit.record.inline import inline
from tapejit.record.recorder import Recorder


class Call(Op):
    """A call of a traced function as one op, for tapes around it.

    Operands are its arguments, the cells it read and its captures, but for tables that it only looks up: in place of each, at the end, the
    rows of each lookup. Results are the function's, then what its gradient keeps: the values it is cheaper to keep than to compute again.
    Their part in a gradient of the gradient is a result's like any other.

    `graph` has parameters for all that it takes. `giving(values)` makes the function that gives these values of the graph too, and
    `derived(function, graph, part)` the concrete function of what `function`, which takes the parameters of `graph`, records.
    """

    def __init__(
        self, function: str, graph: Graph, giving: Callable[[list[Value]], Any], derived: Callable[[Callable[..., Any], Graph, Any], Any]
    ) -> None:
        self.name = f"call_{function}"
        self._derive = derived
        self._lookups, self._operands, inner = _without_lookups(graph)
        try:
            self._kept = kept_values(inner)
        except LookupError:  # an op without a gradient, which matters when one is asked for
            self._kept = []
        own = {id(r) for r in inner.results}
        results = [*inner.results, *(v for v in self._kept if id(v) not in own)]
        self._at = [next(k for k, r in enumerate(results) if r is v) for v in self._kept]
        self._graph = inner.with_body(inner.body, results)
        ids = [x.ids for x in self._lookups]
        self._indices = _Indices(function, live(graph.with_body(graph.body, ids)))
        self.forward = giving([*results[len(graph.results) :], *ids, *(x.line.out for x in self._lookups)])
        self._backward: dict[tuple[int, ...], tuple[Any, list[int]]] = {}

    def records(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> list[tuple[Op, list[Any], dict[str, Any], tuple[Any, ...]]]:
        """What tapes record of a call, (op, operands, attributes, results) each; `outputs` are those of `forward`."""
        count, given = len(self._lookups), len(self._graph.results)
        ids, rows = outputs[given : given + count], outputs[given + count :]
        found: list[tuple[Op, list[Any], dict[str, Any], tuple[Any, ...]]] = (
            [(self._indices, list(inputs), {}, tuple(ids))] if count else []
        )
        found += [(x.line.op, [inputs[x.table], i], x.line.attrs, (r,)) for x, i, r in zip(self._lookups, ids, rows, strict=True)]
        return [*found, (self, [*(inputs[k] for k in self._operands), *rows], {}, tuple(outputs[:given]))]

    def gradient_operands(self, count: int, attrs: dict[str, Any]) -> list[int]:
        return list(range(count))

    def vjp(self, g: Any, z: Any, *operands: Any) -> tuple[Any, ...]:
        gs, zs = (g, z) if isinstance(z, tuple) else ((g,), (z,))
        present = tuple(k for k, x in enumerate(gs) if x is not None)
        if present not in self._backward:
            self._backward[present] = self._derived(present)
        function, reached = self._backward[present]
        out: list[Any] = [None] * len(operands)
        if reached:
            grads = function.call([*operands, *(zs[k] for k in self._at), *(gs[k] for k in present)], [])
            for k, d in zip(reached, grads, strict=True):
                out[k] = d
        return tuple(out)

    def reached(self, result: int) -> list[int]:
        """The operands that a gradient of one result flows to."""
        return backward(self._graph, (result,), self._kept)[1] if result < len(self._graph.results) else []

    def kept(self) -> list[tuple[Value, Any]]:
        """What the gradient keeps of the lines of the call, with their places."""
        made = {id(o): n.place for n in self._graph.body for o in n.outs}
        return [(v, made[id(v)]) for v in self._kept if id(v) in made] + [(x.line.out, x.line.place) for x in self._lookups]

    def inside(self) -> tuple[list[Any], list[Value], list[Value]]:
        """The lines of the call, what its operands are called there, and its results."""
        return self._graph.body, self._graph.params, self._graph.results

    def replayed(self, recorder: Recorder, operands: list[Operand]) -> list[Operand]:
        """The results of the call as lines of a function being traced."""
        return _written(recorder, self._graph, operands)

    def _derived(self, present: tuple[int, ...]) -> tuple[Any, list[int]]:
        """The function (operands, kept values, output gradients) -> gradients of the operands that are connected."""
        graph, reached = backward(self._graph, present, self._kept)

        def gradients(*xs: Any) -> Any:
            recorder = thread.recorder
            out = _written(recorder, graph, [recorder.operand(x) for x in xs])
            return tuple(GraphTensor(recorder.builder.literal(o), recorder) for o in out)

        return self._derive(gradients, graph, ("gradient", present)), reached


class _Indices(Op):
    """The indices that a call looks up with, of all that it takes; without them a recording could not be written again with other operands."""

    no_gradient = True

    def __init__(self, function: str, graph: Graph) -> None:
        self.name, self._graph = f"indices_of_{function}", graph

    def replayed(self, recorder: Recorder, operands: list[Operand]) -> list[Operand]:
        """The indices as lines of a function being traced."""
        return _written(recorder, self._graph, operands)


class _Lookup(NamedTuple):
    """A line that looks rows up in a parameter, by its number."""

    table: int
    ids: Value
    line: Node


def _without_lookups(graph: Graph) -> tuple[list[_Lookup], list[int], Graph]:
    """The lookups in parameters of known shape that have no other use; the numbers of the other parameters; and the graph of these, with the
    rows as further parameters. None in a graph that binds sizes, in which rows may have sizes that only its own lines know.
    """
    tables = {id(p): k for k, p in enumerate(graph.params) if p.type.dtype.differentiable and all(isinstance(d, int) for d in p.type.shape)}
    found: list[_Lookup] = []
    otherwise = {tables.get(id(r)) for r in graph.results}
    for node in graph.body:
        table = tables.get(id(node.args[0])) if node.args else None
        if table is not None and node.op is held:
            tables[id(node.out)] = table
            otherwise |= {table for r in graph.results if r is node.out}
        elif table is not None and node.op.picks_rows(**node.attrs) and isinstance(node.args[1], Value):
            found.append(_Lookup(table, node.args[1], node))
        else:
            otherwise |= {tables.get(id(v)) for v in (*node.args, *(v for g in node.graphs() for v in g.free()))}
    found = [x for x in found if x.table not in otherwise and not any(n.op.binds_size for n in graph.body)]
    gone = {x.table for x in found}
    operands = [k for k in range(len(graph.params)) if k not in gone]
    own = {id(x.line) for x in found}
    body = [n for n in graph.body if id(n) not in own]
    inner = replace(graph, params=[*(graph.params[k] for k in operands), *(x.line.out for x in found)], body=body)
    return found, operands, live(inner) if found else graph


def _written(recorder: Recorder, graph: Graph, operands: Sequence[Operand]) -> list[Operand]:
    """The results of a graph without cells as lines of a function being traced."""
    return inline(recorder, graph, [recorder.builder.literal(x) for x in operands], _no_cell, _no_cell, _no_cell)


def _no_cell(*name: Any) -> Any:
    raise InternalError(f"a gradient that touches {name[0]}")

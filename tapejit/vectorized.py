"""A Python function on all slices of tensors at once: recorded for one slice, carried out for all of them by the ops' batching rules.

In: a function of tensors that stand for one slice along axis 0. Out: its results, each with the axis in front. While a function is traced
this is a line `vmap`. Otherwise what was recorded is carried out line by line on whole arrays, where tapes see every op; with loops,
branches or effects in it, it is compiled first and tapes see one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapejit.carried import as_value
from tapejit.core.errors import InternalError
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.function import function
from tapejit.graph_tensor import GraphTensor
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Literal, Operand, Value
from tapejit.ir.op import thread
from tapejit.ops import control
from tapejit.ops.batching import batched, repeated
from tapejit.passes.differentiate import differentiate
from tapejit.passes.partition import undeclared
from tapejit.record.inline import inline
from tapejit.record.nesting import cells_touched, lift, read_before
from tapejit.record.recorder import Recorder, recording
from tapejit.tensor import EagerTensor
from tapejit.variable import paused_tapes

Build = Callable[..., list[Any]]


class Assigns(NotImplementedError):
    """The function changes a variable, which slices at once cannot do one after the other."""


class Closure(Recorder):
    """Records what a function does with tensors from outside, all of which it holds by reference: tapes know them by identity."""

    def written_out(self, array: Any, identity: Any) -> Value:
        """The value that stands for a small tensor: held like any other."""
        return self.capture(identity, identity, "tensor")


def over_slices(build: Build, rows: Sequence[Any], size: Dim, name: str) -> list[Any]:
    """The list of tensors that `build` returns for the slices of `rows`, each for all `size` slices stacked.

    Assigns where `build` changes a variable; Ragged where results of the slices differ in shape.
    """
    recorder = thread.recorder
    if recorder is not None:
        with recorder.nested(name) as inside:
            _record(build, rows, inside)
        _unchanged(inside.graph)
        lift(inside.graph, recorder.builder.names, read_before(recorder, cells_touched([inside.graph])[0]))
        return list(control.vmap(*rows, body=inside.graph, mapped=len(rows), size=size) or ())
    closure = Closure(Graph(name))
    with recording(closure), paused_tapes():
        _record(build, rows, closure)
    graph = differentiate(closure.graph)
    _unchanged(graph)
    if any(isinstance(n.op, control.Nesting) or n.op.effect for n in graph.body):
        return _compiled(graph, closure, rows, size)
    assert isinstance(size, int)
    return _line_by_line(graph, closure, rows, size)


def _record(build: Build, rows: Sequence[Any], inside: Recorder) -> None:
    names = ["row"] if len(rows) == 1 else [f"row_{k}" for k in range(1, len(rows) + 1)]
    given = [GraphTensor(inside.builder.parameter(n, Type(x.dtype, tuple(x.dims[1:]))), inside) for n, x in zip(names, rows, strict=True)]
    inside.graph.results = [as_value(inside, y) for y in build(*given)]


def _unchanged(graph: Graph) -> None:
    written = structure.cells_written(graph)
    if written:
        raise Assigns(f"an assignment to state.{min(written)} for every slice")


def _held(closure: Closure, name: str) -> Any:
    held = closure.captured[name]
    return held if isinstance(held, EagerTensor) else EagerTensor(held)


def _line_by_line(graph: Graph, closure: Closure, rows: Sequence[Any], size: int) -> list[Any]:
    stands: dict[int, tuple[Any, bool]] = {id(p): (x, True) for p, x in zip(graph.params, rows, strict=True)}
    bound: dict[str, int] = {}

    def of(x: Operand) -> tuple[Any, bool]:
        return (EagerTensor(x.dtype.np.type(x.value)), False) if isinstance(x, Literal) else stands[id(x)]

    for node in graph.body:
        if node.op is structure.read:
            stands[id(node.out)] = closure.cells[node.attrs["cell"]].read_tensor(), False
            continue
        if node.op is structure.const:
            stands[id(node.out)] = _held(closure, node.attrs["const"]), False
            continue
        found = [of(a) for a in node.args]
        attrs = {k: structure.attribute_dims(v, bound) for k, v in node.attrs.items()}
        xs, mapped = tuple(x for x, _ in found), tuple(m for _, m in found)
        made = batched(node.op, size, xs, mapped, attrs) if any(mapped) else node.op(*xs, **attrs)
        for o, z in zip(node.outs, made if isinstance(made, tuple) else (made,), strict=True):
            stands[id(o)] = z, any(mapped)
        if node.op.binds_size:
            bound[node.out.name] = int(made)
    return [repeated(x, size, m) for x, m in map(of, graph.results)]


def _compiled(graph: Graph, closure: Closure, rows: Sequence[Any], size: Dim) -> list[Any]:
    cells, consts = list(closure.cells), list(closure.captured)
    graph = graph.with_body([undeclared(n) for n in graph.body])

    def every_slice(*xs: Any) -> list[Any]:
        recorder = thread.recorder
        held = dict(zip([*cells, *consts], (recorder.operand(x) for x in xs[len(rows) :]), strict=True))
        with recorder.nested(graph.name) as inside:
            params: list[Operand] = [inside.builder.parameter(p.name, p.type) for p in graph.params]
            made = inline(inside, graph, params, held.__getitem__, _no_assignment, held.__getitem__)
            inside.graph.results = [inside.builder.literal(y) for y in made]
        return list(control.vmap(*xs[: len(rows)], body=inside.graph, mapped=len(rows), size=size) or ())

    captures = [*(closure.cells[c].read_tensor() for c in cells), *(_held(closure, c) for c in consts)]
    return list(function(every_slice, autograph=False)(*rows, *captures))


def _no_assignment(cell: str, value: Operand) -> None:
    raise InternalError(f"an assignment to state.{cell} for every slice")

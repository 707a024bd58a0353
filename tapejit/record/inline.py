"""A recorded graph written once more into another one: how a traced function called by a traced function becomes part of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tapejit.core import sizes
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import Names
from tapejit.record.calls import calls_begin, next_number
from tapejit.record.recorder import Recorder


def renamed_dims(value: Any, env: dict[str, Any]) -> Any:
    """An attribute with its named sizes replaced."""
    if isinstance(value, sizes.Size):
        return sizes.substitute(value, env)
    return tuple(renamed_dims(v, env) for v in value) if isinstance(value, tuple) else value


def copied(graph: Graph, env: dict[int, Operand], names: Names, dims: dict[str, Any], root: Graph) -> Graph:
    """A nested graph, in `root` now, with values and sizes of its own; what it uses from outside is looked up in `env` (by id) and `dims`."""
    inner, dims = dict(env), dict(dims)
    params = [Value(names.fresh(p.name), p.type.with_shape(tuple(renamed_dims(p.type.shape, dims)))) for p in graph.params]
    inner.update((id(old), new) for old, new in zip(graph.params, params, strict=True))
    body: list[Node] = []
    for node in graph.body:
        outs = tuple(Value(names.fresh(o.name), o.type.with_shape(tuple(renamed_dims(o.type.shape, dims)))) for o in node.outs)
        args = tuple(a if isinstance(a, Literal) else inner.get(id(a), a) for a in node.args)
        attrs = {k: copied(a, inner, names, dims, root) if isinstance(a, Graph) else renamed_dims(a, dims) for k, a in node.attrs.items()}
        body.append(replace(node, args=args, attrs=attrs, outs=outs))
        inner.update((id(old), new) for old, new in zip(node.outs, outs, strict=True))
        if node.op.binds_size:
            dims[node.out.name] = sizes.named(outs[0].name)
    results = []
    for r in graph.results:
        new = inner.get(id(r), r)
        assert isinstance(new, Value)
        results.append(new)
    guards = [(renamed_dims(a, dims), renamed_dims(b, dims)) for a, b in graph.guards]
    return Graph(names.fresh(graph.name), params, root.cells, root.consts, body, results, graph.place, guards)


def inline(
    recorder: Recorder,
    graph: Graph,
    args: list[Operand],
    read: Callable[[str], Operand],
    assign: Callable[[str, Operand], None],
    const: Callable[[str], Operand],
) -> list[Operand]:
    """Write the lines of `graph`, which has no tape lines, through `recorder`; returns what its results are there.

    `read`, `assign` and `const` say what the cells and constants of the graph are. Tapes that record around the call see every line.
    """
    builder, names = recorder.builder, recorder.builder.names
    env: dict[int, Operand] = {}
    dims: dict[str, Any] = {}
    for p, a in zip(graph.params, args, strict=True):
        env[id(p)] = a
        for d, n in zip(p.type.shape, a.type.shape, strict=True):
            if isinstance(d, sizes.Size) and len(sizes.names(d)) == 1 and d == sizes.named(next(iter(sizes.names(d)))):
                dims.setdefault(next(iter(sizes.names(d))), n)
    for node in graph.body:
        if node.tapes or "tape" in node.attrs:
            raise ValueError(f"{graph.name} has tape lines; differentiate it before it is written into another graph")
        values = tuple(a if isinstance(a, Literal) else env[id(a)] for a in node.args)
        if node.op is structure.read:
            env[id(node.out)] = read(node.attrs["cell"])
            continue
        if node.op is structure.const:
            env[id(node.out)] = const(node.attrs["const"])
            continue
        if node.op is structure.assign:
            assign(node.attrs["cell"], values[0])
            continue
        if node.op is calls_begin:  # a run that is part of this one
            values = (next_number(recorder),)
        attrs = {
            k: copied(a, env, names, dims, recorder.root.graph) if isinstance(a, Graph) else renamed_dims(a, dims)
            for k, a in node.attrs.items()
        }
        outs = builder.emit(
            node.op, values, attrs, place=node.place, name=node.outs[0].name if len(node.outs) == 1 else "", tapes=recorder.tapes
        )
        for old, new in zip(node.outs, outs, strict=True):
            env[id(old)] = new
            if node.op.binds_size:
                dims[old.name] = sizes.named(new.name)
    return [env[id(r)] for r in graph.results]

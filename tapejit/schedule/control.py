"""Control flow: branches and loops of a graph as steps of the program, their nested graphs planned like the graph itself.

In: a node with nested graphs (`ops.control`), whose operands are all in memory. Out: steps. What a loop carries has a buffer that every
iteration reads and, at its end, overwrites.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tapejit.core import dtypes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.loops import expr
from tapejit.loops.expr import Const, Expr, Load, Var
from tapejit.loops.nest import For, Kernel, Param, Stmt, Store
from tapejit.loops.program import Branch, Copy, Launch, Repeat, Step
from tapejit.ops import control
from tapejit.schedule.define import Definition, Definitions
from tapejit.schedule.lower import Layout


class Planner(Protocol):
    """What planning a control node asks of the plan it is part of."""

    definitions: Definitions
    layout: Layout
    work: Any

    def nested(self, graph: Graph, given: dict[str, Any], results: list[str], state: Sequence[str] = ()) -> list[Step]: ...

    def scratch_buffer(self, name: str, type: Type) -> str: ...

    def buffer_of(self, value: Value) -> str: ...


COUNT = Type(dtypes.int64)


def control_steps(planner: Planner, node: Node) -> list[Step]:
    """The steps that compute the results of `node`."""
    if node.op is control.cond:
        return _branch(planner, node)
    if node.op is control.while_loop:
        return _while(planner, node)
    if node.op is control.scan:
        return _scan(planner, node)
    raise NotImplementedError(f"{node.op.name} in a compiled function")


def _operands(planner: Planner, args: tuple[Operand, ...], steps: list[Step]) -> list[str]:
    """The name that kernels know each operand by; literals get a buffer of their own."""
    out = []
    for a in args:
        if isinstance(a, Literal):
            name = planner.scratch_buffer("literal", a.type)
            steps.append(_launch(planner, "set_literal", [Store(name, (), expr.as_expr(a.value, a.dtype))], [(name, a.type, "out")]))
            out.append(name)
        else:
            out.append(planner.layout.memory[a.name].name)
    return out


def _begin(planner: Planner, state: list[str], operands: list[str]) -> list[Step]:
    """The state of a loop before its first iteration."""
    return [Copy(s, planner.work.views.get(o, o)) for s, o in zip(state, operands, strict=True)]


def _launch(planner: Planner, name: str, body: list[Stmt], params: list[tuple[str, Type, Any]], sizes: tuple[str, ...] = ()) -> Launch:
    kernel = Kernel(planner.work.kernel_name(name), tuple(Param(n, t.dtype, t.shape, m) for n, t, m in params), sizes, tuple(body))
    return Launch(kernel, tuple(planner.work.views.get(n, n) for n, _, _ in params))


def _branch(planner: Planner, node: Node) -> list[Step]:
    steps: list[Step] = []
    pred, *captures = _operands(planner, node.args, steps)
    results = [planner.buffer_of(o) for o in node.outs]

    def arm(graph: Graph) -> tuple[Step, ...]:
        return tuple(planner.nested(graph, dict(zip((p.name for p in graph.params), captures, strict=True)), results))

    return [*steps, Branch(planner.work.views.get(pred, pred), arm(node.attrs["then"]), arm(node.attrs["otherwise"]))]


def _named(graph: Graph, buffers: list[Any]) -> dict[str, Any]:
    return dict(zip((p.name for p in graph.params), buffers, strict=True))


def _while(planner: Planner, node: Node) -> list[Step]:
    steps: list[Step] = []
    operands = _operands(planner, node.args, steps)
    carried, test, body = node.attrs["carried"], node.attrs["test"], node.attrs["body"]
    results = [planner.buffer_of(o) for o in node.outs]
    state, count = results[:carried], results[carried]
    steps += _begin(planner, state, operands[:carried])
    steps.append(_launch(planner, "start_count", [Store(count, (), Const(dtypes.int64, 0))], [(count, COUNT, "out")]))
    going = planner.scratch_buffer("going", Type(dtypes.bool_))
    after = [planner.scratch_buffer(f"next_{p.name}", p.type) for p in body.params[:carried]]
    given = [*state, *operands[carried:]]
    tested = planner.nested(test, _named(test, given), [going])
    inner = planner.nested(body, _named(body, given), after, state)
    inner.append(_launch(planner, "count_up", [Store(count, (), Const(dtypes.int64, 1), "add")], [(count, COUNT, "inout")]))
    return [*steps, Repeat(tuple(tested), going, tuple(inner))]


def _scan(planner: Planner, node: Node) -> list[Step]:
    steps: list[Step] = []
    operands = _operands(planner, node.args, steps)
    body, carried, scanned, length = (node.attrs[k] for k in ("body", "carried", "scanned", "length"))
    results = [planner.buffer_of(o) for o in node.outs]
    state, stacked = results[:carried], results[carried:]
    steps += _begin(planner, state, operands[:carried])
    step, going = planner.scratch_buffer("step", COUNT), planner.scratch_buffer("going", Type(dtypes.bool_))
    steps.append(_launch(planner, "start_step", [Store(step, (), Const(dtypes.int64, 0))], [(step, COUNT, "out")]))
    total = expr.of_dim(length)
    at: Expr = Load(dtypes.int64, step, ())
    row = total - 1 - at if node.attrs.get("reverse") else at
    size_names = tuple(sorted({x.name for x in expr.walk(total) if isinstance(x, Var)}))
    test = _launch(
        planner, "more_steps", [Store(going, (), at < total)], [(step, COUNT, "in"), (going, Type(dtypes.bool_), "out")], size_names
    )
    given: list[Any] = list(state)
    slices: list[Step] = []
    for p, buffer in zip(body.params[carried : carried + scanned], operands[carried : carried + scanned], strict=True):
        if p.type.dtype.kind == "c":  # kernels know no complex numbers but as pairs, so the slice is copied whole
            given.append(planner.scratch_buffer(p.name, p.type))
            slices.append(_move_row(planner, buffer, given[-1], p.type, length, row, step, size_names, put=False))
            continue
        index = planner.definitions.index(p.type.shape)
        whole = {buffer: p.type.with_shape((length, *p.type.shape))}
        given.append(Definition(p.name, p.type, "pointwise", index, Load(p.type.dtype, buffer, (row, *index)), inline=True, extra=whole))
    given += operands[carried + scanned :]
    after = [planner.scratch_buffer(f"next_{r.name}", r.type) for r in body.results]
    inner = slices + planner.nested(body, _named(body, given), after, state)
    for out, new, r in zip(stacked, after[carried:], body.results[carried:], strict=True):
        inner.append(_move_row(planner, out, new, r.type, length, row, step, size_names, put=True))
    inner.append(_launch(planner, "next_step", [Store(step, (), Const(dtypes.int64, 1), "add")], [(step, COUNT, "inout")]))
    return [*steps, Repeat((test,), going, tuple(inner))]


def _move_row(
    planner: Planner, rows: str, one: str, type: Type, length: Dim, row: Expr, step: str, size_names: tuple[str, ...], *, put: bool
) -> Step:
    """`rows[row] = one` with `put`, else `one = rows[row]`. Complex numbers move as pairs of floats."""
    if type.dtype.kind == "c":
        type = Type(type.dtype.real_dtype, (*type.shape, 2))
    index = planner.definitions.index(type.shape)
    there, here = (row, *index), index
    body: Stmt = Store(rows, there, Load(type.dtype, one, here)) if put else Store(one, here, Load(type.dtype, rows, there))
    for i, d in reversed(list(zip(index, type.shape, strict=True))):
        if isinstance(i, Var):
            body = For(i.name, d, "serial", (body,))
    named = {n for d in type.shape for n in _names(d)} | set(size_names)
    whole = type.with_shape((length, *type.shape))
    params = [(one, type, "in" if put else "out"), (step, COUNT, "in"), (rows, whole, "out" if put else "in")]
    return _launch(planner, "put_row" if put else "take_row", [body], params, tuple(sorted(named)))


def _names(d: Dim) -> set[str]:
    return {x.name for x in expr.walk(expr.of_dim(d)) if isinstance(x, Var)}

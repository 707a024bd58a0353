"""Adds, behind every line that computes floating-point numbers, a check that they are finite. The rest of the program stays as it is.

In: an optimized graph. Out: the same with `finite` lines, at the places of the lines they check. Lines that only move numbers, or pick some,
need none: what they give they were given.
"""

from __future__ import annotations

from typing import Any

from tapejit.core.dtypes import DType
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.loops import expr
from tapejit.loops.expr import Call, Const, Expr, Load, Reduce, Var
from tapejit.ops.checking import finite
from tapejit.ops.families import Elementwise

_SHOWN = 40  # numbers that fit into the error record beside the index


def checked(graph: Graph) -> Graph:
    """`graph` with checks, nested graphs included."""
    body: list[Node] = []
    for node in graph.body:
        nested = {k: checked(a) if isinstance(a, Graph) else a for k, a in node.attrs.items()}
        body.append(Node(node.op, node.args, nested, node.outs, node.place, node.tapes))
        body += [check_of(node, out) for out in node.outs if out.type.dtype.kind in "fc" and computes(node)]
    return graph.with_body(body)


def check_of(node: Node, out: Value) -> Node:
    """The line that checks a result of `node`."""
    each = isinstance(node.op, Elementwise) and len(node.args) <= _SHOWN and len(out.type.shape) <= 16
    names = tuple(_name(a) if each or isinstance(a, Literal) else f"{a.name}: {a.type}" for a in node.args)
    attrs = {"op": node.op.name, "made": out.name, "operands": names, "rank": len(out.type.shape)}
    return Node(finite, (out, *(node.args if each else ())), attrs, (), node.place, node.tapes)


def _name(x: Operand) -> str:
    return x.name if isinstance(x, Value) else f"literal {x.value!r}"


def computes(node: Node) -> bool:
    """Whether a line can give NaN or an infinity where its operands are finite."""
    floats = [a for a in node.values() if a.type.dtype.kind in "fc"]
    if not floats or node.op in (structure.assign, structure.watch) or any(node.graphs()):
        return False  # a loop's or a branch's own lines are checked inside
    if node.op.at is None or len(node.outs) != 1 or any(v.type.dtype.kind == "c" for v in (*floats, node.out)):
        return True
    index = tuple(Var(expr.as_expr(0).dtype, f"i{k}") for k in range(len(node.out.type.shape)))
    return not _moves(node.op.at(index, *map(_Element, node.args), **node.attrs))


def _moves(e: Expr) -> bool:
    """Whether an element is one of those it is made from."""
    match e:
        case Load() | Const() | Var():
            return True
        case Call(fn="select" | "guarded", args=(_, a, b)):
            return _moves(a) and _moves(b)
        case Call(fn="min" | "max", args=(a, b)):
            return _moves(a) and _moves(b)
        case Call(fn="cast", args=(a,)):
            return _moves(a) and (a.dtype.kind != "f" or e.dtype.kind != "f" or a.dtype.bits <= e.dtype.bits)
        case Call(fn="neg" | "abs", args=(a,)):
            return _moves(a)
        case Reduce(combine="min" | "max"):
            return _moves(e.body)
    return False


class _Element:
    """An operand as `Op.at` sees it."""

    def __init__(self, x: Operand) -> None:
        self._x, self.dims, self.dtype = x, x.type.shape, x.type.dtype

    dtype: DType

    def __getitem__(self, index: Any) -> Expr:
        if isinstance(self._x, Literal):
            return expr.as_expr(self._x.value, self.dtype)
        return Load(self.dtype, self._x.name, tuple(expr.as_expr(i) for i in (index if isinstance(index, tuple) else (index,))))

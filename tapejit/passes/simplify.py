"""Simplify: rewrites nodes by the rules, sees constants through shapes, and makes equal lines one.

In: a graph of plain ops whose cells are read once and assigned once. Out: an equal graph with fewer lines. Values keep their names.
Nothing is reassociated, and an operation on floats is only dropped where not a bit of its result depends on it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.core.dtypes import DType
from tapejit.ir import structure
from tapejit.ir.builder import number
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import Names
from tapejit.ops.broadcasting import broadcast_to, sum_to
from tapejit.ops.elementwise import cast, full
from tapejit.ops.families import Elementwise
from tapejit.ops.matmul import matmul
from tapejit.ops.reductions import sum_
from tapejit.ops.shapes import reshape, transpose
from tapejit.passes.copies import taken_names
from tapejit.passes.rules import Pattern, match_node, rules

Form = Operand | Node  # what a node may become: another operand, or another node with the same results


def simplify(graph: Graph) -> Graph:
    """The graph with every node in its simplest form, nested graphs included."""
    return _Simplifier(graph, taken_names(graph)).run()


class _Simplifier:
    def __init__(self, graph: Graph, names: Names) -> None:
        self.graph, self.names = graph, names
        self.body: list[Node] = []
        self.now: dict[int, Operand] = {}
        self.maker: dict[int, Node] = {}
        self.uniform: dict[int, Literal] = {}  # values all of whose elements are one number
        self.known: dict[Any, Node] = {}

    def run(self) -> Graph:
        for node in self.graph.body:
            self._line(node)
        results = [self._value(self._of(r), r) for r in self.graph.results]
        return self.graph.with_body(self.body, results)

    def _of(self, x: Operand) -> Operand:
        return self.now.get(id(x), x)

    def _value(self, x: Operand, like: Value) -> Value:
        """`x` as a value: a literal gets a line."""
        if isinstance(x, Value):
            return x
        out = Value(self.names.fresh(like.name), x.type)
        self._append(Node(structure.constant, (), {"value": x.value, "dtype": x.dtype}, (out,)))
        return out

    def _append(self, node: Node) -> None:
        self.body.append(node)
        self.maker.update((id(o), node) for o in node.outs)

    def _line(self, node: Node) -> None:
        args = tuple(self._of(a) for a in node.args)
        if node.op is structure.assign or any(node.graphs()):
            args = tuple(self._value(a, a0) if isinstance(a0, Value) else a for a, a0 in zip(args, node.args, strict=True))
        attrs = {k: _Simplifier(a, self.names).run() if isinstance(a, Graph) else a for k, a in node.attrs.items()}
        node = replace(node, args=args, attrs=attrs)
        for _ in range(16):  # each step makes the node smaller; the limit is a guard against a pair of rules that undo each other
            form = self._simpler(node)
            if form is None:
                break
            if not isinstance(form, Node):
                self.now[id(node.out)] = form
                return
            node = form
        if node.op is structure.constant and not node.out.type.shape and node.attrs["dtype"].kind != "c":
            self.now[id(node.out)] = number(node.attrs["value"], node.attrs["dtype"])
            return
        key = _key(node)
        if key is not None:
            earlier = self.known.setdefault(key, node)
            if earlier is not node:
                self.now.update((id(o), e) for o, e in zip(node.outs, earlier.outs, strict=True))
                return
        if node.op is full and node.attrs["dtype"].kind != "c":
            self.uniform[id(node.out)] = number(node.attrs["value"], node.attrs["dtype"])
        self._append(node)

    # ---------------------------------------------------------------------------------------- forms
    def _simpler(self, node: Node) -> Form | None:
        """One step to a simpler form of a node, or None."""
        if node.op.effect or len(node.outs) != 1 or node.op.binds_size:
            return None
        for step in (self._by_uniform, self._by_shape, self._by_rule):
            form = step(node)
            if form is not None and (isinstance(form, Node) or form.type == node.out.type):
                return form
        return None

    def _made_by(self, v: Value) -> Node | None:
        return self.maker.get(id(v))

    def _by_rule(self, node: Node) -> Form | None:
        for rule in rules().get(node.op, ()):
            found: dict[str, Operand] = {}
            if not match_node(rule.left, node, self._made_by, found):
                continue
            variables = [x for n, x in found.items() if n != "c"] or list(found.values())
            if variables[0].type.dtype.kind not in rule.kinds:
                continue
            form = self._instance(rule.right, found, node)
            if isinstance(form, Node):
                with sizes.assuming():  # what has to be equal is a guard of the graph already
                    inferred = form.op.infer(*(a.type for a in form.args), **form.attrs)
                if inferred != node.out.type:
                    continue
            elif form.type != node.out.type:
                continue
            return form
        return None

    def _instance(self, pattern: Pattern, found: dict[str, Operand], node: Node) -> Form:
        """The right side of a rule; its outermost op takes over the node's results. (No rule has an op inside another one there.)"""
        if pattern.name:
            return found[pattern.name]
        dtype = next(x.type.dtype for n, x in found.items() if n != "c")
        assert pattern.op is not None
        args = tuple(found[p.name] if p.name else number(p.number, dtype) for p in pattern.args)
        return replace(node, op=pattern.op, args=args)

    def _number(self, x: Operand) -> Literal | None:
        return x if isinstance(x, Literal) else self.uniform.get(id(x))

    def _by_uniform(self, node: Node) -> Form | None:
        """Arrays all of whose elements are one number: the number goes where the array went."""
        out, args = node.out, node.args
        if not args or any(a.type.dtype.kind == "c" for a in args) or out.type.dtype.kind == "c":
            return None
        numbers = [self._number(a) for a in args]
        rearranged = node.op in (reshape, transpose, broadcast_to) or node.op is cast
        if all(n is not None for n in numbers) and (isinstance(node.op, Elementwise) or rearranged):
            value = self._evaluated(node, [n for n in numbers if n is not None])
            if not out.type.shape:
                return number(value, out.type.dtype)
            return replace(node, op=full, args=(), attrs={"shape": out.type.shape, "value": value, "dtype": out.type.dtype})
        if isinstance(node.op, Elementwise) and any(n is not None and isinstance(a, Value) for a, n in zip(args, numbers, strict=True)):
            rest = [a.type.shape for a, n in zip(args, numbers, strict=True) if n is None]
            if out.type.shape in rest:  # the others alone have the result's shape
                return replace(node, args=tuple(a if n is None else n for a, n in zip(args, numbers, strict=True)))
        return None

    @staticmethod
    def _evaluated(node: Node, numbers: list[Literal]) -> Any:
        arrays = [np.asarray(n.value, n.dtype.np) for n in numbers]
        dtype: DType = node.out.type.dtype
        if isinstance(node.op, Elementwise):
            with np.errstate(all="ignore"):
                result = node.op.eager(*arrays, **node.attrs)
        else:
            result = arrays[0] if node.op is not cast else cast.eager(arrays[0], **node.attrs)
        array = np.asarray(result).astype(dtype.np)
        return float(array) if dtype.kind == "f" else array.item()

    def _by_shape(self, node: Node) -> Form | None:
        """Rearrangements that are none, or two that are one."""
        if not node.args or not isinstance(node.args[0], Value):
            return None
        x, out = node.args[0], node.out
        below = self.maker.get(id(x))
        if node.op in (reshape, broadcast_to, sum_to) and x.type.shape == out.type.shape:
            return x
        if node.op is cast and x.type.dtype is out.type.dtype:
            return x
        if node.op is transpose:
            perm = node.attrs["perm"]
            if perm == tuple(range(len(perm))):
                return x
            if below is not None and below.op is transpose:
                return replace(node, args=below.args, attrs={"perm": tuple(below.attrs["perm"][p] for p in perm)})
        if node.op is reshape and below is not None and below.op is reshape:
            return replace(node, args=below.args)
        if node.op is sum_ and all(x.type.shape[a] == 1 for a in node.attrs["axis"]):
            return replace(node, op=reshape, attrs={"shape": out.type.shape})
        if node.op is matmul:
            for k, flag in enumerate(("transpose_a", "transpose_b")):
                operand = node.args[k]
                turned = self.maker.get(id(operand)) if isinstance(operand, Value) else None
                if turned is not None and turned.op is transpose and _swaps_last(turned.attrs["perm"]):
                    args = tuple(turned.args[0] if i == k else a for i, a in enumerate(node.args))
                    return replace(node, args=args, attrs={**node.attrs, flag: not node.attrs.get(flag, False)})
        return None


def _swaps_last(perm: tuple[int, ...]) -> bool:
    n = len(perm)
    return n >= 2 and perm == (*range(n - 2), n - 1, n - 2)


def _key(node: Node) -> Any:
    """What makes two lines equal; None for lines that are never merged."""
    if node.op.effect or node.op.binds_size or any(node.graphs()) or node.op in (structure.read, structure.const):
        return None
    operands = tuple(a if isinstance(a, Literal) else id(a) for a in node.args)
    try:
        key = (node.op, operands, tuple(sorted((k, _exact(v)) for k, v in node.attrs.items())))
        hash(key)
    except TypeError:
        return None
    return key


def _exact(value: Any) -> Any:
    """An attribute in a form that tells 1 from 1.0 and True, and 0.0 from -0.0."""
    if isinstance(value, tuple):
        return ("tuple", *(_exact(v) for v in value))
    return type(value).__name__, str(value) if isinstance(value, sizes.Size) else repr(value)

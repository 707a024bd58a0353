"""Simplify: rewrites nodes by the rules, sees constants through shapes, and makes equal lines one.

In: a graph of plain ops. Out: an equal graph with fewer lines, in which a cell is read at most once, before anything is assigned to it,
and assigned at most once. Values keep their names. Nothing is reassociated, and an operation on floats is only dropped where not a bit of
its result depends on it. Equal lines, operations on numbers and cells are the builder's business (`merge=True`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tapejit.core import sizes
from tapejit.core.dtypes import DType
from tapejit.core.places import Place
from tapejit.ir import structure
from tapejit.ir.builder import Builder, folded_literal, number
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import Names
from tapejit.ops.broadcasting import broadcast_to, sum_to
from tapejit.ops.elementwise import cast, div, div_no_nan, full
from tapejit.ops.families import Elementwise
from tapejit.ops.joining import concat
from tapejit.ops.matmul import matmul
from tapejit.ops.parts import from_pairs, pair, to_pairs
from tapejit.ops.reductions import Reduction
from tapejit.ops.shapes import reshape, transpose
from tapejit.ops.slicing import slice_
from tapejit.passes.copies import taken_names
from tapejit.passes.fold import contents, folded
from tapejit.passes.rules import Pattern, match_node, rules

_REARRANGES = (reshape, transpose, broadcast_to)
Form = Operand | Node  # what a node may become: another operand, or another node with the same results


def simplify(graph: Graph) -> Graph:
    """The graph with every node in its simplest form, nested graphs included."""
    return _simplified(graph, taken_names(graph))


def _simplified(graph: Graph, names: Names) -> Graph:
    out = replace(graph, body=[], guards=list(graph.guards))
    simplifier = _Simplifier(Builder(out, names, merge=True))
    for node in graph.body:
        simplifier.line(node)
    out.results = [simplifier.value(r) for r in graph.results]
    simplifier.builder.finish()
    return out


class _Simplifier:
    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.now: dict[int, Operand] = {}  # what stands for a value of the given graph
        self.maker: dict[int, Node] = {}
        self.uniform: dict[int, Literal] = {}  # values all of whose elements are one number
        self.written: dict[int, np.ndarray] = {}  # values whose elements the text says

    def _of(self, x: Operand) -> Operand:
        return self.now.get(id(x), x)

    def value(self, x: Operand, place: Place | None = None) -> Value:
        """What stands for a value, as a value: a literal gets a line."""
        return self.builder.literal(self._of(x), place, x.name if isinstance(x, Value) else "")

    def line(self, node: Node) -> None:
        """Take the next line of the given graph."""
        if node.op is structure.assign or any(node.graphs()):
            args = tuple(self.value(a, node.place) if isinstance(a, Value) else a for a in node.args)
        else:
            args = tuple(self._of(a) for a in node.args)
        attrs = {k: _simplified(a, self.builder.names) if isinstance(a, Graph) else a for k, a in node.attrs.items()}
        node = replace(node, args=args, attrs=attrs)
        for _ in range(16):  # each step makes the node smaller; the limit is a guard against a pair of rules that undo each other
            form = self._simpler(node)
            if form is None:
                break
            if not isinstance(form, Node):
                self.now[id(node.out)] = form
                return
            node = form
        stand = self.builder.add(node)
        if stand is not node.outs:
            self.now.update((id(o), x) for o, x in zip(node.outs, stand, strict=True))
            return
        self.maker.update((id(o), node) for o in node.outs)
        if node.op is full and node.attrs["dtype"].kind != "c":
            self.uniform[id(node.out)] = number(node.attrs["value"], node.attrs["dtype"])
        elif (array := contents(node)) is not None:
            self.written[id(node.out)] = array

    # ---------------------------------------------------------------------------------------- forms
    def _simpler(self, node: Node) -> Form | None:
        """One step to a simpler form of a node, or None."""
        if node.op.effect or len(node.outs) != 1 or node.op.binds_size:
            return None
        for step in (self._by_uniform, self._by_contents, self._by_shape, self._by_rule):
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
        known = [n for n in numbers if n is not None]
        if len(known) == len(args) and (node.op in _REARRANGES or node.op is cast or isinstance(node.op, Elementwise)):
            folded = known[0] if node.op in _REARRANGES else folded_literal(node.op, tuple(known), node.attrs)
            if folded is None:
                return None
            if not out.type.shape:
                return folded
            return replace(node, op=full, args=(), attrs={"shape": out.type.shape, "value": folded.value, "dtype": out.type.dtype})
        if isinstance(node.op, Elementwise) and any(n is not None and isinstance(a, Value) for a, n in zip(args, numbers, strict=True)):
            rest = [a.type.shape for a, n in zip(args, numbers, strict=True) if n is None]
            if out.type.shape in rest:  # the others alone have the result's shape
                return replace(node, args=tuple(a if n is None else n for a, n in zip(args, numbers, strict=True)))
        return None

    def _by_contents(self, node: Node) -> Form | None:
        """An op of constants is a constant, and what watches for a divisor of 0 is a division where it is another number."""
        if node.op is div_no_nan and (divisor := self._number(node.args[1])) is not None and divisor.value != 0:
            return replace(node, op=div)
        return folded(node, lambda x: np.asarray(x.value, x.dtype.np) if isinstance(x, Literal) else self.written.get(id(x)))

    def _by_shape(self, node: Node) -> Form | None:
        """Rearrangements that are none, or two that are one."""
        if not node.args or not isinstance(node.args[0], Value):
            return None
        x, out = node.args[0], node.out
        below = self.maker.get(id(x))
        if node.op in (reshape, broadcast_to, sum_to) and x.type.shape == out.type.shape:
            return x
        if node.op is cast:
            if x.type.dtype is out.type.dtype:
                return x
            if below is not None and below.op is cast and _needless(below.args[0].type.dtype, x.type.dtype, out.type.dtype):
                return replace(node, args=below.args)
        if node.op is transpose:
            perm = node.attrs["perm"]
            if perm == tuple(range(len(perm))):
                return x
            if below is not None and below.op is transpose:
                return replace(node, args=below.args, attrs={"perm": tuple(below.attrs["perm"][p] for p in perm)})
        if node.op is reshape and below is not None and below.op is reshape:
            return replace(node, args=below.args)
        if isinstance(node.op, Reduction) and all(x.type.shape[a] == 1 for a in node.attrs["axis"]):
            return replace(node, op=reshape, attrs={"shape": out.type.shape})
        if node.op is concat and len(node.args) == 1:
            return x
        if below is not None and (node.op, below.op) in ((to_pairs, from_pairs), (from_pairs, to_pairs)):
            return below.args[0]
        if below is not None and below.op is pair and node.op is slice_ and node.attrs["size"] == (*below.args[0].type.shape, 1):
            return below.args[node.attrs["begin"][-1]] if node.attrs["drop"] == (len(out.type.shape),) else None
        if node.op is matmul:
            if below is not None and below.op is broadcast_to and (form := self._of_repeated_rows(node, below)) is not None:
                return form
            for k, flag in enumerate(("transpose_a", "transpose_b")):
                operand = node.args[k]
                turned = self.maker.get(id(operand)) if isinstance(operand, Value) else None
                if turned is not None and turned.op is transpose and _swaps_last(turned.attrs["perm"]):
                    args = tuple(turned.args[0] if i == k else a for i, a in enumerate(node.args))
                    return replace(node, args=args, attrs={**node.attrs, flag: not node.attrs.get(flag, False)})
        return None

    def _of_repeated_rows(self, node: Node, repeated: Node) -> Node | None:
        """The product of rows that are repeated with one matrix: the rows of the product are repeated instead."""
        x, (whole, y) = repeated.args[0], node.args
        if not isinstance(x, Value) or node.attrs.get("transpose_a") or y.type.rank != 2 or x.type.rank != whole.type.rank:
            return None
        if x.type.shape[-1] != whole.type.shape[-1]:
            return None
        (product,) = self.builder.emit(matmul, (x, y), node.attrs, place=node.place, tapes=node.tapes, name=node.out.name)
        self.maker[id(product)] = Node(matmul, (x, y), node.attrs, (product,))
        return replace(node, op=broadcast_to, args=(product,), attrs={"shape": node.out.type.shape})


def _needless(first: DType, middle: DType, last: DType) -> bool:
    """Whether a cast from `first` to `last` gives the same without one to `middle` in between."""
    if not _holds(middle, first):
        return False
    wraps = all(d.kind in "biu" for d in (first, middle, last))
    return wraps or last.kind in "bf" or (first.kind in "biu" and _holds(last, first))


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of one real dtype is one of another."""
    if wide.kind not in "iuf" or narrow.kind not in "biuf":
        return wide is narrow
    if narrow.kind == "b":
        return True
    if narrow.kind == "f":
        return wide is narrow or (wide.kind == "f" and wide.bits > narrow.bits)
    if wide.kind == "f":
        with np.errstate(over="ignore"):
            return bool(float(wide.np.type(narrow.max)) == narrow.max)  # whose bits are all ones
    return bool(wide.min <= narrow.min and narrow.max <= wide.max)


def _swaps_last(perm: tuple[int, ...]) -> bool:
    n = len(perm)
    return n >= 2 and perm == (*range(n - 2), n - 1, n - 2)

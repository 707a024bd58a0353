"""What each value of a graph is, element by element: expressions over loads of other values.

In: a flat graph. Out: for every value a `Definition`: read from memory that exists (parameters, cells, constants), an expression of
loop indices, a reduction, an opaque loop nest, or a host call. Ops that only rearrange or repeat (transpose, slice, broadcast)
are seen through: whoever loads their result loads their operand instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.graph import Literal as LiteralOperand
from tapejit.ir.graph import Node, Operand, Value
from tapejit.loops import expr
from tapejit.loops.expr import Call, Const, Expr, Load, Reduce, Var
from tapejit.loops.nest import Store

Kind = Literal["memory", "pointwise", "reduce", "opaque", "host", "control", "copy"]
WHOLE = ("opaque", "host", "control", "copy")  # kinds that read and write whole buffers


@dataclass(eq=False)
class Definition:
    """How the value `name` is computed.

    `pointwise` and `reduce`: `element` over the index variables `axes` (one per axis whose size is not 1; `index` has a constant 0
    for the others). `reduce`: `element` is combined over `reduced`. All variables are unique in the program.
    """

    name: str
    type: Type
    kind: Kind
    index: tuple[Expr, ...] = ()
    element: Expr | None = None
    combine: str = ""
    reduced: tuple[tuple[str, Dim], ...] = ()
    node: Node | None = None
    group: tuple[str, ...] = ()  # all results of an opaque or host node
    operands: tuple[str, ...] = ()  # values an opaque, host or control node reads
    inline: bool = False
    alias_of: str = ""  # the same memory under another shape
    place: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    _loads: tuple[Expr, list[Load]] | None = field(default=None, repr=False)  # found once for each `element`

    @property
    def axes(self) -> list[tuple[str, Dim]]:
        """The index variables with their extents."""
        return [(i.name, d) for i, d in zip(self.index, self.type.shape, strict=True) if isinstance(i, Var)]

    def loads(self) -> list[Load]:
        """The loads of other values in `element`."""
        if self.element is None:
            return []
        if self._loads is None or self._loads[0] is not self.element:
            self._loads = self.element, [e for e in expr.walk(self.element) if isinstance(e, Load)]
        return self._loads[1]

    def uses(self) -> list[str]:
        """Names of the values it reads, each once."""
        return list(dict.fromkeys([x.buffer for x in self.loads()] + list(self.operands)))


def pairs(t: Type) -> Type:
    """The type of the memory of `t` to a kernel: complex numbers are pairs of real ones."""
    return Type(t.dtype.real_dtype, (*t.shape, 2)) if t.dtype.kind == "c" else t


class Source:
    """An operand as `Op.at` and `Op.kernel` see it: `x[index]` is the element there."""

    def __init__(self, name: str, type: Type, seen_through: Definition | None = None) -> None:
        self.name, self.dims, self.dtype = name, type.shape, type.dtype
        self._through = seen_through

    @property
    def pairs(self) -> Source:
        """Complex elements as pairs of real ones, along one axis more: so kernels have them (see `pairs`)."""
        return Source(self.name, pairs(Type(self.dtype, self.dims)))

    def __getitem__(self, index: Any) -> Expr:
        index = tuple(expr.as_expr(i) for i in (index if isinstance(index, tuple) else (index,)))
        if len(index) != len(self.dims):
            raise ValueError(f"{self.name} has rank {len(self.dims)}, indexed by {len(index)}")
        index = tuple(expr.as_expr(0) if isinstance(d, int) and d == 1 else i for i, d in zip(index, self.dims, strict=True))
        d = self._through
        if d is not None and d.element is not None:
            return expr.substitute(d.element, {v.name: i for v, i in zip(d.index, index, strict=True) if isinstance(v, Var)})
        return Load(self.dtype, self.name, index)

    def store(self, index: Any, value: Expr, combine: str = "set") -> Store:
        """The statement that writes one element."""
        index = tuple(expr.as_expr(i) for i in (index if isinstance(index, tuple) else (index,)))
        return Store(self.name, index, value, combine)


class Scalar:
    """A literal operand: every index gives the number."""

    dims: tuple[Dim, ...] = ()

    def __init__(self, value: Any, dtype: DType) -> None:
        self.value, self.dtype = value, dtype

    def __getitem__(self, index: Any) -> Expr:
        if self.dtype.narrow:
            return expr.cast(expr.as_expr(self.value, dtypes.float32), self.dtype)
        return expr.as_expr(self.value, self.dtype)


class Definitions:
    """Definitions by value name, in program order, with the counter of fresh names."""

    def __init__(self, fresh: Iterator[int] | None = None) -> None:
        self.table: dict[str, Definition] = {}
        self.fresh = fresh if fresh is not None else itertools.count()
        self.found: dict[str, str] = {}  # what a value is, in words -> the first value that is that
        self.same: dict[str, str] = {}  # value -> the earlier one that it equals, element by element

    def variable(self, base: str = "i") -> str:
        """A loop variable that no other expression uses."""
        return next(name for k in self.fresh if (name := f"{base}{k}") not in dtypes.BY_SHORT)

    def index(self, shape: tuple[Dim, ...]) -> tuple[Expr, ...]:
        """Fresh index variables for a shape; axes of size 1 have the constant index 0."""
        return tuple(expr.as_expr(0) if isinstance(d, int) and d == 1 else Var(dtypes.int64, self.variable()) for d in shape)

    def source(self, x: Operand) -> Source | Scalar:
        """An operand for `at` or `kernel`."""
        if isinstance(x, LiteralOperand):
            return Scalar(x.value, x.dtype)
        d = self.table[x.name]
        return Source(x.name, x.type, d if d.inline else None)

    def memory(self, value: Value) -> Definition:
        """A value that is in memory already."""
        return self.add(Definition(value.name, value.type, "memory"))

    def add(self, d: Definition) -> Definition:
        self.table[d.name] = d
        return d

    def define(self, node: Node) -> None:
        """Definitions for the results of a node that is no cell, constant or control node."""
        types = [a.type for a in node.args] + [o.type for o in node.outs]
        native = (node.op.pairs or all(t.dtype.kind != "c" for t in types)) and node.op.native(*(a.type for a in node.args), **node.attrs)
        place = str(node.place) if node.place else ""
        if node.op.view and isinstance(node.args[0], Value) and not _same_but_ones(node.args[0].type.shape, node.out.type.shape):
            whole = self.same.get(node.args[0].name, node.args[0].name)
            self.add(Definition(node.out.name, node.out.type, "memory", node=node, operands=(whole,), alias_of=whole))
            return
        if native and node.op.at is not None and len(node.outs) == 1:
            out = node.out
            index = self.index(out.type.shape)
            element = node.op.at(index, *(self.source(a) for a in node.args), **node.attrs)
            self._pointwise(out.name, out.type, index, element, node, place)
            return
        kind: Kind = "opaque" if native and node.op.kernel is not None else "control" if any(node.graphs()) else "host"
        names = tuple(o.name for o in node.outs)
        operands = tuple(dict.fromkeys(a.name for a in node.values()))
        for o in node.outs:
            self.add(Definition(o.name, o.type, kind, node=node, group=names, operands=operands, place=place))
        if not node.outs:  # an effect alone: it has its place among the others under a name of its own
            name = f"{node.op.name}_{len(self.table)}_done"
            self.add(Definition(name, Type(dtypes.bool_), kind, node=node, group=(name,), operands=operands, place=place))

    def _pointwise(self, name: str, type: Type, index: tuple[Expr, ...], element: Expr, node: Node, place: str) -> None:
        if isinstance(element, Reduce) and not any(isinstance(e, Reduce) for e in expr.walk(element.body)):
            self._reduce(name, type, index, element, node, place)
            return
        element = self._without_reductions(name, element, index, type, node, place)
        d = self.add(Definition(name, type, "pointwise", index, element, node=node, place=place))
        d.inline = is_rearrangement(element)
        self._seen_before(d)

    def _seen_before(self, d: Definition) -> None:
        """Make `d` another name of an earlier value that is computed in the same way, if there is one."""
        if d.inline or d.element is None:
            return
        numbered: dict[str, Expr] = {v: Var(dtypes.int64, f"[{k}]") for k, (v, _) in enumerate([*d.axes, *d.reduced])}
        words = repr((d.type, d.combine, [e for _, e in d.reduced], expr.substitute(d.element, numbered)))  # tells 0.0 from -0.0
        first = self.found.setdefault(words, d.name)
        if first != d.name:
            self.same[d.name] = first
            d.kind, d.element, d.combine, d.reduced, d.inline = "pointwise", Load(d.element.dtype, first, d.index), "", (), True

    def _reduce(self, name: str, type: Type, index: tuple[Expr, ...], e: Reduce, node: Node, place: str) -> None:
        renamed: dict[str, Expr] = {}
        reduced: list[tuple[str, Dim]] = []
        for v, d in e.axes:
            if isinstance(d, int) and d == 1:
                renamed[v] = expr.as_expr(0)
            else:
                fresh = self.variable("k")
                renamed[v] = Var(dtypes.int64, fresh)
                reduced.append((fresh, d))
        body = expr.substitute(e.body, renamed)
        if reduced:
            self._seen_before(self.add(Definition(name, type, "reduce", index, body, e.combine, tuple(reduced), node=node, place=place)))
        else:  # a sum over axes of size 1 is the element itself
            d2 = self.add(Definition(name, type, "pointwise", index, body, node=node, place=place))
            d2.inline = is_rearrangement(body)

    def _without_reductions(self, name: str, element: Expr, index: tuple[Expr, ...], type: Type, node: Node, place: str) -> Expr:
        """`element` with each inner reduction made a value of its own."""

        def replace(e: Expr) -> Expr:
            if isinstance(e, Reduce):
                inner = f"{name}.{self.variable('part')}"
                body = expr.rebuild(e, replace)
                assert isinstance(body, Reduce)
                own = self.index(type.shape)
                swap = {i.name: o for i, o in zip(index, own, strict=True) if isinstance(i, Var)}
                self._reduce(
                    inner,
                    Type(e.dtype, type.shape),
                    own,
                    Reduce(body.dtype, body.combine, body.axes, expr.substitute(body.body, swap)),
                    node,
                    place,
                )
                made = self.table[inner]
                return Source(inner, made.type, made if made.inline else None)[index]
            return expr.rebuild(e, replace)

        return replace(element)


def _same_but_ones(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> bool:
    """Whether two shapes differ in axes of size 1 only."""
    return [d for d in a if d != 1] == [d for d in b if d != 1]


def is_rearrangement(e: Expr) -> bool:
    """Whether an element is a constant or one load, possibly of a smaller type or under a bounds check: not worth memory of its own."""
    if isinstance(e, Const | Var):
        return True
    if isinstance(e, Load):
        return all(not isinstance(x, Load) for i in e.index for x in expr.walk(i))
    if isinstance(e, Call):
        if e.fn == "cast":
            return isinstance(e.args[0], Const) or (isinstance(e.args[0], Load) and is_rearrangement(e.args[0]))
        if e.dtype is dtypes.int64 and not any(isinstance(x, Load) for x in expr.walk(e)):
            return True
    return False

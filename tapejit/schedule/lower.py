"""Units of fusion as kernels: trees and products become statements over buffers.

In: a unit, the buffer each value lives in, and which values must be stored. Out: a `Kernel` and the buffers it is launched on.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.loops import expr
from tapejit.loops.expr import Call, Const, Expr, Load, Var
from tapejit.loops.nest import Accumulator, CallLibrary, Contract, Fail, For, If, Kernel, Let, LoopKind, Param, Stmt, Store, Update, While
from tapejit.schedule.define import Definition, Scalar, Source, pairs
from tapejit.schedule.fuse import Before, Leaf, Loop, Made, Product, Tree, leaves


@dataclass(frozen=True)
class Memory:
    """A buffer as kernels see it."""

    name: str
    type: Type


class Layout:
    """Where values live: `of(value)` names the buffer and its shape. Values computed and used inside one kernel have none."""

    def __init__(self) -> None:
        self.memory: dict[str, Memory] = {}
        self._buffers: set[str] = set()

    def give(self, value: str, buffer: str, type: Type) -> None:
        self.memory[value] = Memory(buffer, type)
        self._buffers.add(buffer)

    def local(self, value: str) -> str:
        """The name of the local scalar that holds a value, or an element of it: no buffer's."""
        name = value.replace(".", "_")
        while name in self._buffers:
            name += "_"
        return name


def neutral(combine: str, dtype: DType) -> Expr:
    """The element that changes nothing under `combine`."""
    if combine in ("or", "and"):
        return Const(dtype, combine == "and")
    if combine in ("add", "mul"):
        return expr.as_expr(0 if combine == "add" else 1, dtype)
    if dtype.kind in "iu":
        return Const(dtype, int(dtype.min if combine == "max" else dtype.max))
    return Const(dtype, float("-inf") if combine == "max" else float("inf"))


# ------------------------------------------------------------------------------------------------------ trees
def visible(made: Made, path: list[Loop], index: tuple[Expr, ...]) -> bool:
    """Whether a value made in the tree is a local scalar at `path`, for the element at `index`."""
    if made.in_memory:
        return False
    home = made.home
    return home == path[: len(home)] and index == made.index


def uses_in_tree(tree: Tree) -> Iterable[tuple[Leaf, list[Loop], Load]]:
    """Every load of every leaf with the loops it is under."""

    def visit(body: list[Any], path: list[Loop]) -> Iterable[tuple[Leaf, list[Loop], Load]]:
        for item in body:
            if isinstance(item, Loop):
                yield from visit(item.body, [*path, item])
            elif isinstance(item, Leaf):
                for e in expr.walk(item.element):
                    if isinstance(e, Load):
                        yield item, path, e

    yield from visit(tree.body, [])


def spilled(tree: Tree) -> dict[str, int]:
    """Values made and used in the tree that have to pass through memory, with the number of outer loops their uses share."""
    out: dict[str, int] = {}
    for name, made in tree.made.items():
        if made.in_memory:
            out[name] = len(made.path)
    for _, path, load in uses_in_tree(tree):
        maker = tree.made.get(load.buffer)
        if maker is None or visible(maker, path, load.index):
            continue
        shared = 0
        for k, (a, b) in enumerate(zip(maker.path, path, strict=False)):
            axis = maker.axis[k]
            if a is b and a.over_parts:
                shared = k + 1
                continue
            if a is not b or maker.reduced[k] or axis is None or load.index[axis] != Var(dtypes.int64, a.variable):
                break
            shared = k + 1
        out[load.buffer] = min(out.get(load.buffer, len(maker.path)), shared)
    return out


@dataclass(frozen=True)
class Scratch:
    """The memory of a value that is made and used within one pass of some loops: it has no room for their other passes.

    `axes`: per axis of the memory the axis of the value that it is, or the variable that counts in its place.
    """

    axes: tuple[int | str, ...]
    shape: tuple[Dim, ...]

    def at(self, index: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """Where the element at `index` of the value is."""
        return tuple(index[a] if isinstance(a, int) else Var(dtypes.int64, a) for a in self.axes)


def contracted(made: Made, shared: int, parallel: Loop | None) -> Scratch:
    """The scratch memory of a spilled value whose uses share the `shared` outermost loops with it.

    Of a loop over a part of a range there is room for one part. Each pass of a parallel loop has its own.
    """
    shape = made.definition.type.shape
    axes: list[int | str] = []
    dims: list[Dim] = []
    if parallel is not None and made.axis[0] is None:
        axes.append(parallel.variable)
        dims.append(parallel.extent)
    loop_of = {axis: k for k, axis in enumerate(made.axis) if axis is not None}
    for axis, d in enumerate(shape):
        k = loop_of.get(axis)
        loop = made.path[k] if k is not None else None
        if k is None or loop is None:
            axes.append(axis)
            dims.append(d)
        elif k >= shared and loop.part is not None:
            axes.append(loop.counter)
            dims.append(loop.capacity)
        elif k >= shared or loop is parallel:
            axes.append(axis)
            dims.append(d)
    return Scratch(tuple(axes), tuple(dims))


def lower_tree(name: str, tree: Tree, layout: Layout, stored: set[str], scratch: dict[str, Scratch]) -> Kernel:
    """The kernel of a tree. `stored` values are written to their buffers; `scratch` ones have buffers of another shape."""

    def at(value: str, index: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return scratch[value].at(index) if value in scratch else index

    def element(e: Expr, path: list[Loop]) -> Expr:
        def swap(x: Expr) -> Expr:
            if isinstance(x, Load):
                made = tree.made.get(x.buffer)
                if made is not None and visible(made, path, x.index):
                    return Var(x.dtype, layout.local(x.buffer))
                index = tuple(swap(i) for i in x.index)
                return Load(x.dtype, layout.memory[x.buffer].name, at(x.buffer, index))
            return expr.rebuild(x, swap)

        return swap(e)

    def before(made: Made) -> list[Stmt]:
        d = made.definition
        assert d.element is not None
        start = neutral(d.combine, d.element.dtype)
        if not made.in_memory:
            return [Accumulator(layout.local(d.name), start)]
        first = made.reduced.index(True)
        inner = [loop for loop, r in zip(made.path[first:], made.reduced[first:], strict=True) if not r]
        stmt: Stmt = Store(layout.memory[d.name].name, at(d.name, made.index), start)
        for loop in reversed(inner):
            stmt = For(loop.variable, loop.extent, "vector" if loop is inner[-1] else "serial", (stmt,))
        return [stmt]

    def leaf(x: Leaf, path: list[Loop]) -> list[Stmt]:
        d = x.definition
        value = element(x.element, path)
        if d.kind == "reduce":
            if tree.made[d.name].in_memory:
                return [Store(layout.memory[d.name].name, at(d.name, x.index), value, d.combine)]
            return [Update(layout.local(d.name), d.combine, value)]
        out: list[Stmt] = [Let(layout.local(d.name), value)]
        if d.name in stored:
            out.append(Store(layout.memory[d.name].name, at(d.name, x.index), Var(value.dtype, layout.local(d.name))))
        return out

    def block(body: list[Any], path: list[Loop]) -> tuple[Stmt, ...]:
        out: list[Stmt] = []
        for item in body:
            if isinstance(item, Before):
                out += before(item.made)
            elif isinstance(item, Leaf):
                out += leaf(item, path)
            else:
                innermost = not any(isinstance(x, Loop) and not short(x, tree) for x in item.body)
                kind: LoopKind = "parallel" if item is tree.parallel else "vector" if innermost else "serial"
                inner = block(item.body, [*path, item])
                if item.part is not None:
                    inner = (Let(item.variable, item.part + Var(dtypes.int64, item.counter)), *inner)
                if short(item, tree):
                    out += written_out(item.counter, 2, inner)
                    continue
                out.append(For(item.counter, item.extent, kind, inner))
                for made in tree.made.values():
                    done = made.definition.kind == "reduce" and not made.in_memory and made.path[made.reduced.index(True)] is item
                    if done and made.definition.name in stored:
                        dtype = made.definition.element.dtype  # type: ignore[union-attr]
                        out.append(
                            Store(
                                layout.memory[made.definition.name].name,
                                at(made.definition.name, made.index),
                                Var(dtype, layout.local(made.definition.name)),
                            )
                        )
        return tuple(out)

    body = block(tree.body, [])
    places = list(dict.fromkeys(x.definition.place for item in tree.body for x in leaves(item) if x.definition.place))
    return kernel(name, body, layout, places)


def short(loop: Loop, tree: Tree) -> bool:
    """Whether a loop is written out: two elements computed side by side, as the parts of complex numbers are."""
    simple = all(isinstance(x, Leaf) and x.definition.kind == "pointwise" for x in loop.body)
    return simple and loop.extent == 2 and loop.part is None and not loop.over_parts and loop is not tree.parallel


def written_out(index: str, count: int, body: tuple[Stmt, ...]) -> list[Stmt]:
    """The statements of all passes of a loop, one pass after the other; what selects by the index is decided."""
    out: list[Stmt] = []
    for k in range(count):
        here: dict[str, Expr] = {index: Const(dtypes.int64, k)}

        def at(e: Expr, here: dict[str, Expr] = here) -> Expr:
            return decided(expr.substitute(e, here))

        for s in body:
            if isinstance(s, Let):
                value = at(s.value)
                out.append(Let(f"{s.name}_{k}", value))
                here[s.name] = Var(value.dtype, f"{s.name}_{k}")
            else:
                assert isinstance(s, Store)
                out.append(Store(s.buffer, tuple(map(at, s.index)), at(s.value), s.combine))
    return out


def decided(e: Expr) -> Expr:
    """`e` with every choice between two values that depends on numbers alone made."""
    if isinstance(e, Call) and e.fn in ("select", "guarded"):
        c = e.args[0]
        if isinstance(c, Call) and c.fn in ("eq", "ne", "lt", "le", "gt", "ge") and all(isinstance(a, Const) for a in c.args):
            a, b = (x.value for x in c.args if isinstance(x, Const))
            return decided(e.args[1] if getattr(operator, c.fn)(a, b) else e.args[2])
    return expr.rebuild(e, decided)


# --------------------------------------------------------------------------------------------------- products
def lower_product(name: str, p: Product, layout: Layout, stored: set[str], panel: int = 0, share_batch: bool = False) -> Kernel:
    """The kernel of a matrix product with its epilogue; with `panel`, in parallel panels of so many rows; with `share_batch`, parallel
    over its outermost batch axis."""

    def swap(x: Expr) -> Expr:
        if isinstance(x, Load):
            if x.buffer in p.made:
                return Var(x.dtype, layout.local(x.buffer))
            return Load(x.dtype, layout.memory[x.buffer].name, tuple(swap(i) for i in x.index))
        return expr.rebuild(x, swap)

    out = p.definition
    epilogue: list[Stmt] = []

    def keep(d: Definition, index: tuple[Expr, ...]) -> None:
        if d.name in stored:
            epilogue.append(Store(layout.memory[d.name].name, index, Var(d.type.dtype, layout.local(d.name))))

    keep(out, out.index)
    for leaf in p.epilogue:
        epilogue.append(Let(layout.local(leaf.definition.name), swap(leaf.element)))
        keep(leaf.definition, leaf.index)
    left, rows = swap(p.left), p.row[1]
    if panel:  # row r of panel b is row panel * b + r
        b = f"{p.row[0]}_panel"
        shifted: dict[str, Expr] = {p.row[0]: Var(dtypes.int64, b) * panel + Var(dtypes.int64, p.row[0])}
        left, epilogue = expr.substitute(left, shifted), [_shifted(s, shifted) for s in epilogue]
        rows = sizes.minimum(panel, rows - panel * sizes.named(b))
    stmt: Stmt = Contract(
        p.row[0], rows, p.column[0], p.column[1], p.depth[0], p.depth[1], left, swap(p.right), layout.local(out.name), tuple(epilogue)
    )
    if panel:
        stmt = For(b, sizes.floordiv(p.row[1] + (panel - 1), panel), "parallel", (stmt,))
    for variable, extent in reversed(p.batch):
        stmt = For(variable, extent, "parallel" if share_batch and variable == p.batch[0][0] else "serial", (stmt,))
    places = list(dict.fromkeys(d.place for d in p.made.values() if d.place))
    return kernel(name, (stmt,), layout, places)


def _shifted(s: Stmt, env: dict[str, Expr]) -> Stmt:
    if isinstance(s, Let):
        return Let(s.name, expr.substitute(s.value, env))
    assert isinstance(s, Store)
    return Store(s.buffer, tuple(expr.substitute(i, env) for i in s.index), s.value, s.combine)


# ----------------------------------------------------------------------------------------------------- opaque
def lower_opaque(name: str, definitions: list[Definition], layout: Layout, work: list[Memory], node_number: int) -> Kernel:
    """The kernel an op writes itself; its `Fail` statements get the node's number."""
    node = definitions[0].node
    assert node is not None
    assert node.op.kernel is not None
    ins: list[Any] = []
    for a in node.args:
        ins.append(Scalar(a.value, a.dtype) if not hasattr(a, "name") else Source(layout.memory[a.name].name, a.type))  # type: ignore[union-attr]
    outs = [Source(layout.memory[d.name].name, d.type) for d in definitions]
    body = node.op.kernel(outs, ins, [Source(w.name, w.type) for w in work], **node.attrs)
    return kernel(
        name, tuple(_numbered(s, node_number) for s in body), layout, [definitions[0].place] if definitions[0].place else [], work
    )


def _numbered(s: Stmt, node: int) -> Stmt:
    if isinstance(s, Fail):
        return replace(s, node=node)
    if isinstance(s, For | While):
        return replace(s, body=tuple(_numbered(x, node) for x in s.body))
    if isinstance(s, If):
        return replace(s, then=tuple(_numbered(x, node) for x in s.then), otherwise=tuple(_numbered(x, node) for x in s.otherwise))
    return s


# ---------------------------------------------------------------------------------------------------- kernels
def kernel(name: str, body: tuple[Stmt, ...], layout: Layout, places: list[str], extra: Iterable[Memory] = ()) -> Kernel:
    """A kernel with the parameters and sizes that its statements speak of."""
    read: dict[str, None] = {}
    written: dict[str, None] = {}
    named: set[str] = set()
    bound: set[str] = set()

    def in_expr(e: Expr) -> None:
        for x in expr.walk(e):
            if isinstance(x, Load):
                read[x.buffer] = None
            elif isinstance(x, Var) and x.dtype is dtypes.int64:
                named.add(x.name)

    def in_stmts(stmts: tuple[Stmt, ...]) -> None:
        for s in stmts:
            match s:
                case Let(n, e) | Accumulator(n, e):
                    bound.add(n)
                    in_expr(e)
                case Update(_, _, e):
                    in_expr(e)
                case Store(buffer, index, e, combine):
                    for i in index:
                        in_expr(i)
                    in_expr(e)
                    written[buffer] = None
                    if combine != "set":
                        read[buffer] = None
                case For(index_name, extent, _, inner):
                    bound.add(index_name)
                    named.update(sizes.names(extent))
                    in_stmts(inner)
                case If(condition, then, otherwise):
                    in_expr(condition)
                    in_stmts(then)
                    in_stmts(otherwise)
                case While(condition, inner):
                    in_expr(condition)
                    in_stmts(inner)
                case Contract():
                    bound.update((s.row, s.column, s.depth_index, s.accumulator))
                    for d in (s.rows, s.columns, s.depth):
                        named.update(sizes.names(d))
                    in_expr(s.left)
                    in_expr(s.right)
                    in_stmts(s.epilogue)
                case CallLibrary(info, _, arguments):
                    bound.add(info)
                    for a in arguments:
                        if isinstance(a, Load):
                            written[a.buffer] = None
                        if not isinstance(a, bytes):
                            in_expr(a)
                case Fail(_, operands):
                    for e in operands:
                        in_expr(e)

    in_stmts(body)
    touched = {*read, *written}
    types = {m.name: pairs(m.type) for m in (*layout.memory.values(), *extra) if m.name in touched}
    params = []
    for b in [*read, *(w for w in written if w not in read)]:
        t = types[b]
        for d in t.shape:
            named.update(sizes.names(d))
        params.append(Param(b, t.dtype, t.shape, "inout" if b in read and b in written else "out" if b in written else "in"))
    return Kernel(name, tuple(params), tuple(sorted(named - bound)), body, tuple(places))

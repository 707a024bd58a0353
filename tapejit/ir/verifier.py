"""Checks that a graph is one: the promises that every pass may rely on and has to keep.

In: a graph, and optionally the graph it was made from; out: the same graph, or an InternalError that names the line.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, NoReturn

from tapejit.core import sizes
from tapejit.core.errors import InternalError
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.builder import Builder
from tapejit.ir.grammar import Equalities
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import is_reserved
from tapejit.ir.parser import allows
from tapejit.ir.printer import line


def verify(graph: Graph, before: Graph | None = None) -> Graph:
    """`graph`, if it is well formed; with `before`, if effects are still in the order they had there.

    Well formed: operands are defined before they are used, names are unique in the whole function, types are what each op
    infers, cells and constants are declared and hold what their types say, sizes are bound, and what is taken to be equal is a guard.
    """
    _Check(graph).function(graph, None)
    if before is not None:
        _check_order(before, graph)
    return graph


class _Scope:
    def __init__(self, graph: Graph, outer: _Scope | None) -> None:
        self.graph = graph
        self.values: set[int] = set(outer.values) if outer else set()
        self.sizes: set[str] = set(outer.sizes) if outer else set()
        self.guards: list[tuple[Dim, Dim]] = [*(outer.guards if outer else ()), *graph.guards]
        self.equal = Equalities(self.guards)


class _Check:
    def __init__(self, root: Graph) -> None:
        self.root = root
        self.names: dict[str, Node | Graph] = {}  # name -> the node whose result, or the graph whose parameter it is
        self.defined: set[int] = set()
        self.tapes: set[str] = set()
        self.seen: set[int] = set()  # nested graphs, which several nodes may share

    def fail(self, graph: Graph, node: Node | None, message: str) -> NoReturn:
        where = "" if node is None else f"\n    {line(node)}" + (f"\n{node.place.quote()}" if node.place else "")
        raise InternalError(f"{graph.name}: {message}{where}")

    def function(self, graph: Graph, outer: _Scope | None) -> None:
        scope = _Scope(graph, outer)
        if outer is not None:
            for kind, inner, declared in (("state", graph.cells, self.root.cells), ("const", graph.consts, self.root.consts)):
                for name, type in inner.items():
                    if declared.get(name) != type:
                        self.fail(graph, None, f"{kind}.{name}: {type} is not declared so in {self.root.name}")
        for types in ([p.type for p in graph.params], graph.cells.values(), graph.consts.values()):
            scope.sizes |= {n for t in types for d in t.shape for n in sizes.names(d)}
        for p in graph.params:
            self.define(p, graph, scope)
        for node in graph.body:
            self.node(node, scope)
        for r in graph.results:
            if not isinstance(r, Value) or id(r) not in scope.values:
                self.fail(graph, None, f"result {getattr(r, 'name', r)} is not defined")

    def define(self, value: Value, by: Node | Graph, scope: _Scope) -> None:
        name, node = value.name, by if isinstance(by, Node) else None
        if id(value) in self.defined:
            self.fail(scope.graph, node, f"{name} is defined twice")
        if name in self.names:
            other = self.names[name]
            described = f"`{line(other)}`" if isinstance(other, Node) else f"a parameter of {other.name}"
            self.fail(scope.graph, node, f"two values are called {name}: the other is {described}")
        if not name.isidentifier() or is_reserved(name):
            self.fail(scope.graph, node, f"{name!r} is no name that a value may have")
        if name in self.tapes:
            self.fail(scope.graph, node, f"{name} is the name of a tape")
        if name in scope.sizes and not (node is not None and node.op.binds_size):
            self.fail(scope.graph, node, f"{name} is the name of a size")
        self.defined.add(id(value))
        self.names[name] = by
        scope.values.add(id(value))

    def node(self, node: Node, scope: _Scope) -> None:
        graph = scope.graph
        for a in node.args:
            self.operand(a, node, scope)
        for tape in (*node.tapes, *([node.attrs["tape"]] if node.op in (structure.watch, structure.gradient) else [])):
            self.tapes.add(tape)
            if tape in self.names:
                self.fail(graph, node, f"the tape {tape} has the name of a value")
        for name in sorted({n for v in node.attrs.values() for n in _size_names(v)} - scope.sizes):
            self.fail(graph, node, f"size {name} is not bound")
        for g in node.graphs():
            if id(g) not in self.seen:
                self.seen.add(id(g))
                self.function(g, scope)
            for v in g.free():
                if id(v) not in scope.values:
                    self.fail(graph, node, f"{v.name}, which {g.name} uses, is not defined")
        self.cell(node, scope)
        try:
            inferred, assumed = Builder.types(node.op, node.args, node.attrs)
        except Exception as e:  # whatever an op's law trips over, the line is to blame
            raise InternalError(f"{graph.name}: {type(e).__name__}: {e}\n    {line(node)}") from e
        for a, b in assumed:
            if not scope.equal.same(a, b):
                self.fail(graph, node, f"sizes {a} and {b} are taken to be equal, but no guard says so")
        if len(inferred) != len(node.outs):
            self.fail(graph, node, f"{node.op.name} has {len(inferred)} results, the line has {len(node.outs)}")
        for v, t in zip(node.outs, inferred, strict=True):
            if v.type != t and not scope.equal.same_type(v.type, t):
                self.fail(graph, node, f"{v.name} is {t}, but the line says {v.type}")
        for v in node.outs:
            if node.op.binds_size:
                scope.sizes.add(v.name)
            self.define(v, node, scope)

    def operand(self, a: Operand, node: Node, scope: _Scope) -> None:
        if isinstance(a, Literal):
            kinds = {"b": bool, "i": int, "u": int, "f": float, "c": complex}
            if type(a.value) is not kinds[a.dtype.kind]:
                self.fail(scope.graph, node, f"the literal {a.value!r} is no {a.dtype.short}")
        elif not isinstance(a, Value):
            self.fail(
                scope.graph,
                None,
                f"operand {a!r} of {node.op.name} ({', '.join(o.name for o in node.outs)}) is neither a value nor a literal",
            )
        elif id(a) not in scope.values:
            self.fail(scope.graph, node, f"{a.name} is used before it is defined")

    def cell(self, node: Node, scope: _Scope) -> None:
        """Lines that name cells and constants name declared ones, and move values of the declared types."""
        attrs, graph = node.attrs, scope.graph
        named = [s.removeprefix("state.") for s in attrs.get("sources", ()) if isinstance(s, str)] if node.op is structure.gradient else []
        if node.op in (structure.read, structure.assign, structure.watch) and attrs.get("cell"):
            named = [attrs["cell"]]
        for cell in named:
            if cell not in self.root.cells:
                self.fail(graph, node, f"state.{cell} is not declared")
        if node.op is structure.const and attrs["const"] not in self.root.consts:
            self.fail(graph, node, f"const.{attrs['const']} is not declared")
        if node.op is structure.read and not allows(self.root.cells[attrs["cell"]], attrs["type"]):
            self.fail(graph, node, f"state.{attrs['cell']} is declared as {self.root.cells[attrs['cell']]}, but read as {attrs['type']}")
        if node.op is structure.const and self.root.consts[attrs["const"]] != attrs["type"]:
            self.fail(graph, node, f"const.{attrs['const']} is declared as {self.root.consts[attrs['const']]}, but read as {attrs['type']}")
        if node.op is structure.assign and not _assignable(self.root.cells[attrs["cell"]], node.args[0].type):
            self.fail(
                graph, node, f"state.{attrs['cell']} is declared as {self.root.cells[attrs['cell']]}, but assigned {node.args[0].type}"
            )


def _assignable(declared: Type, new: Type) -> bool:
    """Whether a cell may be given a value: known sizes must not differ, others are checked where the value is made."""
    if declared.dtype is not new.dtype or declared.rank != new.rank:
        return False
    return all(d == n or isinstance(d, sizes.Size) or isinstance(n, sizes.Size) for d, n in zip(declared.shape, new.shape, strict=True))


def _size_names(value: Any) -> set[str]:
    if isinstance(value, tuple | list):
        return {n for v in value for n in _size_names(v)}
    if isinstance(value, Type):
        return {n for d in value.shape for n in sizes.names(d)}
    return sizes.names(value)


# ------------------------------------------------------------------------------------------------ order
def _check_order(before: Graph, after: Graph) -> None:
    """Effects that both graphs have are in the same order, and a value read from a cell is read before or after the same writes.

    A read is recognised by the name of its value. Writes may have been dropped (a later one hides them, or nothing changes),
    so where their number changed, a read may only not move from before the first write to after one.
    """
    old, new = _Order(before), _Order(after)
    for name in old.reads.keys() & new.reads.keys():
        (cell, was), (_, now) = old.reads[name], new.reads[name]
        if (old.assigns[cell] == new.assigns[cell] and was != now) or (was == 0 and now > 0):
            raise InternalError(f"{after.name}: {name} was read from state.{cell} after {was} of its assignments, now after {now}")
    position = {key: i for i, key in enumerate(old.effects)}
    common = [key for key in new.effects if key in position]
    for a, b in itertools.pairwise(common):
        if position[a] > position[b]:
            raise InternalError(f"{after.name}: `{b[-1]}` came before `{a[-1]}`, now it comes after")


class _Order:
    """What a graph does in which order, found in one walk.

    `reads` gives for the value of each read its cell and how many assignments of that come before; `assigns` counts a cell's assignments;
    `effects` are keys of the nodes with effects that must not change places: prints, checks, host calls. A key repeated is numbered.
    """

    def __init__(self, graph: Graph) -> None:
        self.reads: dict[str, tuple[str, int]] = {}
        self.assigns: Counter[str] = Counter()
        self.effects: list[tuple[str, ...]] = []
        seen: Counter[tuple[str, ...]] = Counter()
        for node in graph.walk():
            if node.op is structure.read:
                self.reads[node.out.name] = (node.attrs["cell"], self.assigns[node.attrs["cell"]])
            elif node.op is structure.assign:
                self.assigns[node.attrs["cell"]] += 1
            elif node.op.effect and node.op is not structure.watch:
                key = (node.op.name, str(node.place), *(o.name for o in node.outs), line(node))
                seen[key] += 1
                self.effects.append((str(seen[key]), *key))

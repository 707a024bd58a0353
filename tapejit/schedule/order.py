"""The order of units, and which cells may be written in place.

A cell is written in place if every other use of its old value comes before, and nothing that can fail comes after: then no second
buffer is needed. Uses in other units become edges of the order; a use in the same kernel must be at the same element, at or
before the place where the new value is stored.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from tapejit.ir.graph import Value
from tapejit.loops import expr
from tapejit.loops.expr import Load
from tapejit.ops.gathering import scatter
from tapejit.schedule.define import Definition
from tapejit.schedule.fuse import Fuser, Item, Leaf, Product, Single, Unit, leaves, members
from tapejit.schedule.lower import Layout


class Hazards:
    """Finds the edges that in-place writing adds to the order."""

    def __init__(
        self,
        table: dict[str, Definition],
        layout: Layout,
        cell_buffer: dict[str, str],
        assigned: dict[str, str],
        fuser: Fuser,
        fallible: Callable[[Unit], bool],
    ) -> None:
        self.table, self.layout, self.fuser, self.assigned, self.fallible = table, layout, fuser, assigned, fallible
        self.cell_buffer = cell_buffer
        self.edges: set[tuple[int, int]] = data_edges(fuser, table)

    def in_place(self) -> set[str]:
        """The cells that are written in place; their edges are added to `edges`."""
        out: set[str] = set()
        failing = [k for k, u in enumerate(self.fuser.units) if self.fallible(u)]
        for cell, value in self.assigned.items():
            writer = self.fuser.unit_of.get(value)
            if writer is not None and writer not in failing and self.over(value, self.cell_buffer[cell], {(k, writer) for k in failing}):
                out.add(cell)
        return out

    def over(self, value: str, buffer: str, more: Iterable[tuple[int, int]] = ()) -> bool:
        """Whether `value` is written over what `buffer` held before; if so its edges, and `more`, are added to `edges`."""
        writer = self.fuser.unit_of.get(value)
        if writer is None:
            return False
        reads = {name for name, m in self.layout.memory.items() if m.name == buffer}
        reads |= {d.name for d in self.table.values() if d.alias_of and _root(self.table, d.name) in reads}
        new = {(k, writer) for k, u in enumerate(self.fuser.units) if k != writer and _reads(u, reads)} | set(more)
        if not _same_place(self.fuser.units[writer], value, reads) or not acyclic(len(self.fuser.units), self.edges | new):
            return False
        self.edges |= new
        return True


def _root(table: dict[str, Definition], name: str) -> str:
    while table[name].alias_of:
        name = table[name].alias_of
    return name


def data_edges(fuser: Fuser, table: dict[str, Definition]) -> set[tuple[int, int]]:
    """(maker, user) for units that use what others make; host calls stay in program order."""
    edges: set[tuple[int, int]] = set()
    last_effect = -1
    for at, unit in enumerate(fuser.units):
        for d in members(unit):
            for u in d.uses():
                for name in (u, _root(table, u)):
                    maker = fuser.unit_of.get(name)
                    if maker is not None and maker != at:
                        edges.add((maker, at))
        if isinstance(unit, Product):
            for e in (unit.left, unit.right):
                for x in expr.walk(e):
                    if isinstance(x, Load):
                        for name in (x.buffer, _root(table, x.buffer)):
                            if name in fuser.unit_of and fuser.unit_of[name] != at:
                                edges.add((fuser.unit_of[name], at))
        if isinstance(unit, Single) and unit.definitions[0].kind in ("host", "control"):
            if last_effect >= 0:
                edges.add((last_effect, at))
            last_effect = at
    return edges


def _reads(unit: Unit, names: set[str]) -> bool:
    if any(u in names for d in members(unit) for u in d.uses()):
        return True
    return isinstance(unit, Product) and any(
        isinstance(x, Load) and x.buffer in names for e in (unit.left, unit.right) for x in expr.walk(e)
    )


def _same_place(unit: Unit, value: str, reads: set[str]) -> bool:
    """Whether the unit reads the old value only at the element it is about to write, not after writing it."""
    if isinstance(unit, Product):
        if any(isinstance(x, Load) and x.buffer in reads for e in (unit.left, unit.right) for x in expr.walk(e)):
            return False
        if value == unit.definition.name:
            return not any(isinstance(x, Load) and x.buffer in reads for leaf in unit.epilogue for x in expr.walk(leaf.element))
        seen = False
        own = next(leaf.index for leaf in unit.epilogue if leaf.definition.name == value)
        for leaf in unit.epilogue:
            for x in expr.walk(leaf.element):
                if isinstance(x, Load) and x.buffer in reads and (seen or x.index != own):
                    return False
            seen = seen or leaf.definition.name == value
        return True
    if isinstance(unit, Single):  # an op that changes some elements of its first operand
        node = unit.definitions[0].node
        if node is None or node.op is not scatter:
            return False
        first, *rest = node.args
        return isinstance(first, Value) and first.name in reads and not any(a.name in reads for a in rest if isinstance(a, Value))
    if value not in unit.made:
        return False
    made = unit.made[value]
    if made.definition.kind != "pointwise":  # a reduction is stored after its loops: no read of the old value may be in the tree at all
        return not any(x.buffer in reads for _, x in _tree_loads(unit.body))
    before: set[int] = set()  # loads of what is not written yet
    for level in range(len(made.path), -1, -1):
        fixed = made.axis[:level]
        for item in made.path[level - 1].body if level else unit.body:
            at_last = isinstance(item, Leaf) and item.definition.name == value
            if level < len(made.path) and item is made.path[level]:
                break
            for _, x in _tree_loads([item]):
                # earlier in the same pass of the loops around, and of an element that only this pass writes
                exact = level == len(made.path) and x.index == made.index
                alike = None not in fixed and len(x.index) == len(made.index) and not at_last
                if level == 0 or exact or (alike and all(x.index[a] == made.index[a] for a in fixed if a is not None)):
                    before.add(id(x))
            if at_last:
                break
    return all(id(x) in before for _, x in _tree_loads(unit.body) if x.buffer in reads)


def _tree_loads(body: list[Item]) -> list[tuple[Leaf, Load]]:
    return [(leaf, x) for item in body for leaf in leaves(item) for x in expr.walk(leaf.element) if isinstance(x, Load)]


def _topological(count: int, edges: set[tuple[int, int]]) -> list[int]:
    """Numbers in an order that respects the edges, smallest first where there is a choice; shorter than `count` if there is a circle."""
    after: dict[int, list[int]] = {}
    waiting = [0] * count
    for a, b in edges:
        after.setdefault(a, []).append(b)
        waiting[b] += 1
    ready = [k for k in range(count) if not waiting[k]]
    heapq.heapify(ready)
    out: list[int] = []
    while ready:
        k = heapq.heappop(ready)
        out.append(k)
        for b in after.get(k, ()):
            waiting[b] -= 1
            if not waiting[b]:
                heapq.heappush(ready, b)
    return out


def acyclic(count: int, edges: set[tuple[int, int]]) -> bool:
    """Whether the edges allow an order at all."""
    return len(_topological(count, edges)) == count


def ordered(fuser: Fuser, edges: set[tuple[int, int]]) -> list[int]:
    """The units in an order that respects the edges."""
    return _topological(len(fuser.units), edges)

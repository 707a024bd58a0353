"""Fusion: which values are computed in one kernel, by which loops.

A kernel under construction is a tree of loops. A value is added to the kernel that shares most loops with it: it may share a loop with
the values it uses if it uses them at that loop's own index, and not if they are still being reduced over it. So chains of
elementwise ops become one loop, a reduction joins the loop that makes its operand, and a row-wise softmax becomes one loop
over rows with several short loops inside. What is used only where it is made never touches memory.

Matrix products are kernels of their own (register tiles), with elementwise consumers of the same shape as epilogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tapejit.core import dtypes
from tapejit.core.sizes import Dim
from tapejit.loops import expr
from tapejit.loops.expr import Call, Expr, Load, Var
from tapejit.schedule.define import WHOLE, Definition, Definitions


@dataclass(eq=False)
class Leaf:
    """One value computed at the end of its path of loops."""

    definition: Definition
    element: Expr
    index: tuple[Expr, ...]


@dataclass(eq=False)
class Loop:
    """A loop of a kernel; `body` runs in order.

    A loop over a `part` of a range counts from 0 below `extent`, which is at most `capacity`; `variable` is `part` plus that count.
    """

    variable: str
    extent: Dim
    body: list[Item] = field(default_factory=list)
    part: Expr | None = None
    capacity: Dim = 0
    over_parts: bool = False  # counts the parts of a loop inside it, not elements

    @property
    def counter(self) -> str:
        """The variable that counts from 0."""
        return self.variable if self.part is None else f"{self.variable}_in"


@dataclass(eq=False)
class Before:
    """What a reduction needs before its outermost reduced loop: a scalar accumulator, or its memory set to the neutral element."""

    made: Made


Item = Loop | Leaf | Before


@dataclass(eq=False)
class Made:
    """A value made in a kernel: under which loops, and where its result can be seen."""

    definition: Definition
    path: list[Loop]
    reduced: list[bool]  # per loop of the path: is it one the value is reduced over
    axis: list[int | None]  # per loop of the path: the axis of the value that runs with it
    in_memory: bool  # accumulates in its buffer, because a kept axis runs inside a reduced one
    index: tuple[Expr, ...]  # index of the value in terms of the path's variables
    stored: bool = False  # has to be in memory because someone uses it elsewhere

    @property
    def home(self) -> list[Loop]:
        """The loops within which the finished scalar is visible."""
        return self.path[: self.reduced.index(True)] if True in self.reduced else self.path


@dataclass(eq=False)
class Tree:
    """A kernel made of nested loops, of which the outermost may be `parallel`."""

    body: list[Item] = field(default_factory=list)
    made: dict[str, Made] = field(default_factory=dict)
    parallel: Loop | None = None


@dataclass(eq=False)
class Product:
    """A register-tiled matrix product with elementwise consumers."""

    definition: Definition
    batch: list[tuple[str, Dim]]
    row: tuple[str, Dim]
    column: tuple[str, Dim]
    depth: tuple[str, Dim]
    left: Expr
    right: Expr
    packed: str = ""  # name of the buffer that holds the right operand with its columns together, if it has to be packed
    epilogue: list[Leaf] = field(default_factory=list)
    made: dict[str, Definition] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Single:
    """A node that is a kernel or a host call by itself, or control flow."""

    definitions: list[Definition]


Unit = Tree | Product | Single

REACH = 64  # how many units back a value looks for company: beyond that the search would cost more than it finds


def loop_order(d: Definition) -> list[tuple[str, Dim, bool]]:
    """The loops of a value from the outside in: (variable, extent, reduced).

    Kept axes outside, reduced ones inside, but where most loads run along a kept axis in memory and none along the innermost
    reduced one, that axis becomes the innermost loop.
    """
    kept = [(v, e, False) for v, e in d.axes]
    reduced = [(v, e, True) for v, e in d.reduced]
    if not reduced or not kept:
        return kept + reduced

    def unit_stride(v: str) -> int:
        return sum(1 for x in d.loads() if x.index and isinstance(x.index[-1], Var) and x.index[-1].name == v)

    last_kept, last_reduced = kept[-1][0], reduced[-1][0]
    if unit_stride(last_kept) > unit_stride(last_reduced):
        return kept[:-1] + reduced + kept[-1:]
    return kept + reduced


class Fuser:
    """Places definitions, in program order, into units; `units` is in an order that respects all dependences."""

    def __init__(self, definitions: Definitions, needed: set[str], tiled: Callable[[Definition], Tree | None] = lambda d: None) -> None:
        self.table, self.needed = definitions.table, needed  # `needed`: values that must be in memory (results, cells, operands of singles)
        self.index, self.variable = definitions.index, definitions.variable
        self.tiled = tiled  # the loops of a value that has loops of its own kind
        self.units: list[Unit] = []
        self.unit_of: dict[str, int] = {}
        self.closed: set[str] = set()  # values that can be used only after their whole unit has run

    # ------------------------------------------------------------------------------------- placing
    def place(self, d: Definition) -> None:
        """Put a definition into the best unit."""
        if d.alias_of:
            if d.alias_of in self.unit_of:
                self.unit_of[d.name] = self.unit_of[d.alias_of]
            self.closed.add(d.name)
            return
        if d.kind in WHOLE:
            if d.group[:1] == (d.name,) or not d.group:
                self._append(Single([self.table[n] for n in d.group] or [d]), list(d.group) or [d.name])
            return
        product = as_product(d)
        if product is not None:
            self._append(product, [d.name])
            product.made[d.name] = d
            return
        turned = self.tiled(d)
        if turned is not None:
            self._append(turned, [d.name])
            return
        earliest = max((self.unit_of.get(u, -1) for u in d.uses()), default=-1)
        # what is seen through another name, or gives a size, is finished only when its unit is
        earliest = max([earliest, *(self.unit_of[u] + 1 for u in d.uses() if u in self.closed and u in self.unit_of)])
        best: tuple[int, int] | None = None
        for at in range(len(self.units) - 1, max(earliest, 0, len(self.units) - REACH) - 1, -1):
            shared = self._shareable(self.units[at], d)
            if shared is not None and (best is None or shared > best[0]):
                best = (shared, at)
        loops = len(d.axes) + len(d.reduced)
        if best is not None and (best[0] > 0 or loops == 0):
            self._join(best[1], d)
        else:
            tree = Tree()
            self._append(tree, [d.name])
            self.add(tree, d)

    def _append(self, unit: Unit, names: list[str]) -> None:
        self.units.append(unit)
        for n in names:
            self.unit_of[n] = len(self.units) - 1

    def _join(self, at: int, d: Definition) -> None:
        self.unit_of[d.name] = at
        unit = self.units[at]
        if isinstance(unit, Product):
            unit.epilogue.append(self._epilogue_leaf(unit, d))
            unit.made[d.name] = d
        else:
            assert isinstance(unit, Tree)
            self.add(unit, d)

    def _shareable(self, unit: Unit, d: Definition) -> int | None:
        """How many loops `d` would share with a unit; None if it cannot join it."""
        if isinstance(unit, Single):
            return None
        if isinstance(unit, Product):
            return self._fits_epilogue(unit, d)
        return len(self._walk(unit, d)[0])

    # --------------------------------------------------------------------------------------- trees
    def _walk(self, tree: Tree, d: Definition) -> tuple[list[Loop], list[tuple[str, Dim, bool]]]:
        """The loops `d` can share from the outside in, and the loops left over."""
        remaining = loop_order(d)
        path: list[Loop] = []
        body = tree.body
        while remaining:
            variable, extent, _ = remaining[0]
            found = None
            for item in reversed(body):
                if (
                    isinstance(item, Loop)
                    and not item.over_parts
                    and item.part is None
                    and item.extent == extent
                    and self._may_share(tree, item, d, variable)
                ):
                    found = item
                    break
                if self._makes_use(item, d):
                    break
            if found is None:
                break
            path.append(found)
            body = found.body
            remaining = remaining[1:]
        return path, remaining

    def _may_share(self, tree: Tree, loop: Loop, d: Definition, variable: str) -> bool:
        for load in d.loads():
            made = tree.made.get(load.buffer)
            if made is None or loop not in made.path:
                continue
            k = made.path.index(loop)
            axis = made.axis[k]
            if made.reduced[k] or axis is None:
                return False
            at = load.index[axis]
            if not (isinstance(at, Var) and at.name == variable):
                return False
        return True

    def _makes_use(self, item: Item, d: Definition) -> bool:
        """Whether `item` makes something that `d` uses, so that `d` must come after it."""
        uses = set(d.uses())
        return any(leaf.definition.name in uses for leaf in leaves(item))

    def add(self, tree: Tree, d: Definition) -> None:
        """Put a definition into a tree: under the loops it can share, and new ones for the rest."""
        path, remaining = self._walk(tree, d)
        body = path[-1].body if path else tree.body
        for variable, extent, _ in remaining:
            loop = Loop(variable, extent)
            body.append(loop)
            path.append(loop)
            body = loop.body
        order = loop_order(d)
        names = {v: loop.variable for (v, _, _), loop in zip(order, path, strict=True)}
        env: dict[str, Expr] = {v: Var(dtypes.int64, n) for v, n in names.items()}
        assert d.element is not None
        leaf = Leaf(d, expr.substitute(d.element, env), tuple(expr.substitute(i, env) for i in d.index))
        body.append(leaf)
        reduced = [r for _, _, r in order]
        axis_of = {i.name: a for a, i in enumerate(d.index) if isinstance(i, Var)}
        first = reduced.index(True) if True in reduced else len(order)
        made = Made(d, path, reduced, [axis_of.get(v) for v, _, _ in order], not all(reduced[first:]), leaf.index)
        tree.made[d.name] = made
        if True in reduced:  # what it needs goes right before its outermost reduced loop
            outer = path[first - 1].body if first else tree.body
            outer.insert(next(k for k, item in enumerate(outer) if item is path[first]), Before(made))

    # ------------------------------------------------------------------------------------ products
    def _fits_epilogue(self, p: Product, d: Definition) -> int | None:
        if d.kind != "pointwise" or d.element is None:
            return None
        axes = [*p.batch, p.row, p.column]
        mine = d.axes
        if [e for _, e in mine] != [e for _, e in axes] or len(d.type.shape) != len(p.definition.type.shape):
            return None
        column = mine[-1][0]
        for e in expr.walk(d.element):
            if isinstance(e, Load):
                if e.buffer in p.made and e.index != d.index:
                    return None
                if any(column in variables(i) for i in e.index[:-1]) or (
                    e.index and column in variables(e.index[-1]) and not isinstance(e.index[-1], Var)
                ):
                    return None
            elif isinstance(e, Call) and e.fn == "guarded":
                return None
        if not any(x.buffer in p.made for x in d.loads()):
            return None
        return len(axes)

    def _epilogue_leaf(self, p: Product, d: Definition) -> Leaf:
        axes = [*p.batch, p.row, p.column]
        env: dict[str, Expr] = {v: Var(dtypes.int64, w) for (v, _), (w, _) in zip(d.axes, axes, strict=True)}
        assert d.element is not None
        return Leaf(d, expr.substitute(d.element, env), tuple(expr.substitute(i, env) for i in d.index))


def members(unit: Unit) -> list[Definition]:
    """The definitions a unit makes."""
    if isinstance(unit, Single):
        return unit.definitions
    if isinstance(unit, Product):
        return list(unit.made.values())
    return [m.definition for m in unit.made.values()]


def leaves(item: Item) -> Iterator[Leaf]:
    """The leaves below an item."""
    if isinstance(item, Leaf):
        yield item
    elif isinstance(item, Loop):
        for x in item.body:
            yield from leaves(x)


def variables(e: Expr) -> set[str]:
    """The variables an expression depends on."""
    return {x.name for x in expr.walk(e) if isinstance(x, Var)}


def as_product(d: Definition) -> Product | None:
    """`d` as a matrix product, if it is a sum over one axis of the product of two loads that share no other index but batch axes."""
    if d.kind != "reduce" or d.combine != "add" or len(d.reduced) != 1 or d.type.dtype not in (dtypes.float32, dtypes.float64):
        return None
    e = d.element
    if not (isinstance(e, Call) and e.fn == "mul" and all(isinstance(a, Load) for a in e.args)):
        return None
    axes = d.axes
    if len(axes) < 2:
        return None
    (depth,) = d.reduced
    row, column = axes[-2], axes[-1]
    batch = axes[:-2]
    left, right = e.args
    if row[0] in variables(right):
        left, right = right, left
    l, r = variables(left), variables(right)
    if not (row[0] in l and column[0] not in l and column[0] in r and row[0] not in r and depth[0] in l and depth[0] in r):
        return None
    if isinstance(column[1], int) and column[1] < 4:
        return None
    assert isinstance(left, Load)
    assert isinstance(right, Load)
    if not all(isinstance(i, Var) or not variables(i) for i in (*left.index, *right.index)):
        return None
    return Product(d, list(batch), row, column, depth, left, right)

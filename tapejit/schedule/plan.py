"""A graph becomes a program: define, fuse, decide where values live, lower, order.

In: a flat graph (no tape lines) and the target; out: a `Program` and what its caller must know (`Plan`): where arguments, cells,
constants and results stand in the table, and which Python functions the program calls back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.target import Target
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Node, Value
from tapejit.ir.names import Names
from tapejit.loops import expr
from tapejit.loops.expr import Load, Var
from tapejit.loops.program import RESERVED, BindSize, Buffer, CheckSize, Copy, HostCall, Launch, Program, Repeat, Step
from tapejit.schedule.control import control_steps
from tapejit.schedule.define import WHOLE, Definition, Definitions
from tapejit.schedule.fuse import Fuser, Product, Single, Tree, Unit, as_product, members
from tapejit.schedule.lower import Layout, Memory, Scratch, contracted, lower_opaque, lower_product, lower_tree, spilled
from tapejit.schedule.memory import arena
from tapejit.schedule.order import Hazards, ordered
from tapejit.schedule.record import CellPlan, HostWork, Plan
from tapejit.schedule.split import split
from tapejit.schedule.tile import effort, panel_rows, shares_batch
from tapejit.schedule.transpose import tiled_copy

LONG = 50_000  # nanoseconds from which a step lets other Python threads run


@dataclass
class Workspace:
    """What the plans of a graph and of those nested in it share: one program has one set of names and buffers."""

    numbers: dict[int, int]  # id of a node -> its number, by which failures are reported
    late_sizes: set[str]  # sizes known only within the call
    names: Names = field(default_factory=Names)
    views: dict[str, str] = field(default_factory=dict)  # name in kernels -> the buffer it is
    view_names: dict[tuple[str, Type], str] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    consts: list[tuple[str, str]] = field(default_factory=list)
    host: list[HostWork] = field(default_factory=list)

    @classmethod
    def of(cls, graph: Graph) -> Workspace:
        out = cls({id(n): k for k, n in enumerate(graph.walk())}, {o.name for n in graph.walk() if n.op.binds_size for o in n.outs})
        for name in (*RESERVED, graph.name):
            out.names.take(name)
        return out

    def kernel_name(self, title: str) -> str:
        """A name for a kernel: its title, unless a buffer, the function or another kernel is called so."""
        return self.names.fresh(f"compute_{title}" if title in self.names else title)


class Planner:
    """Plans one graph."""

    def __init__(self, graph: Graph, target: Target, outer: Planner | None = None) -> None:
        self.graph, self.target = graph, target
        self.work: Workspace = outer.work if outer is not None else Workspace.of(graph)
        self.definitions: Definitions = Definitions(outer.definitions.fresh if outer is not None else None)
        self.layout = Layout()
        self.assigned: dict[str, str] = {}  # cell -> value it ends up with
        self.resized: dict[str, int] = {}  # cell -> the number of the result that it ends up with, of another size
        self.given: list[str] | None = None  # a nested graph's results go to these buffers
        self.state: list[str] = []  # and from there, for what a loop carries on, to these
        self.cell_buffer = {c: self.work.names.fresh(f"state_{c}") for c in graph.cells} if outer is None else {}

    # ------------------------------------------------------------------------------------- defining
    def define(self) -> None:
        """Definitions of every value, in program order. The parameters of a nested graph are defined already."""
        for p in self.graph.params:
            if p.name not in self.definitions.table:
                self.external(p.name, p.type, self.work.names.fresh(p.name), "argument")
        for c, t in self.graph.cells.items() if self.given is None else ():
            self.work.buffers[self.cell_buffer[c]] = Buffer(self.cell_buffer[c], t.dtype, t.shape, "cell")
        for node in self.graph.body:
            self._define(node)

    def external(self, value: str, type: Type, buffer: str, home: Any) -> None:
        """A value that lives in `buffer` before the graph begins."""
        self.definitions.add(Definition(value, type, "memory"))
        self.layout.give(value, buffer, type)
        if buffer not in self.work.buffers and buffer not in self.work.views:
            self.work.buffers[buffer] = Buffer(buffer, type.dtype, type.shape, home)

    def _define(self, node: Node) -> None:
        if node.op is structure.read:
            cell = node.attrs["cell"]
            if cell in self.assigned:
                raise NotImplementedError(f"a read of state.{cell} after it is assigned must have been forwarded")
            self.definitions.add(Definition(node.out.name, node.out.type, "memory"))
            self.layout.give(node.out.name, self.cell_buffer[cell], node.out.type)
        elif node.op is structure.assign:
            value = node.args[0]
            assert isinstance(value, Value)
            self.assigned[node.attrs["cell"]] = value.name
        elif node.op is structure.const:
            buffer = self.work.names.fresh(f"const_{node.attrs['const']}")
            self.work.consts.append((node.attrs["const"], buffer))
            self.external(node.out.name, node.out.type, buffer, "constant")
        elif node.op is structure.constant and (node.out.type.shape or node.out.type.dtype.kind == "c"):
            buffer = self.work.names.fresh(node.out.name)
            self.work.constants[buffer] = np.asarray(node.attrs["value"], node.attrs["dtype"].np)
            self.external(node.out.name, node.out.type, buffer, "constant")
        elif _is_table(node):
            buffer = self.work.names.fresh(node.out.name)
            self.work.constants[buffer] = node.op.eager(**node.attrs)
            self.external(node.out.name, node.out.type, buffer, "constant")
        elif node.op is structure.constant:
            self._scalar(node, expr.as_expr(node.attrs["value"], node.attrs["dtype"]))
        elif node.op is structure.dim:
            self._scalar(node, expr.cast(expr.of_dim(node.attrs["size"]), node.attrs["dtype"]))
        else:
            self.definitions.define(node)
        taken = [dim for a in node.args for dim in a.type.shape]
        for o in node.outs:
            d = self.definitions.table[o.name]
            seen = {x.name for x in expr.walk(d.element) if isinstance(x, Var)} if d.element is not None else set()
            late = ({n for dim in (*_dims_of(d), *taken) for n in sizes.names(dim)} | _attr_names(node.attrs) | seen) & self.work.late_sizes
            needs = {n for n in late if n in self.definitions.table}
            d.operands = tuple(dict.fromkeys([*d.operands, *sorted(needs - {d.name})]))

    def _scalar(self, node: Node, element: Any) -> None:
        d = self.definitions.add(Definition(node.out.name, node.out.type, "pointwise", (), element, node=node))
        d.inline = True

    # -------------------------------------------------------------------------------------- needing
    def needed(self) -> set[str]:
        """Values that have to be in memory whatever fusion does; what was seen through becomes real where it is needed."""
        table = self.definitions.table
        out = {r.name for r in self.graph.results} | set(self.assigned.values()) | (self.work.late_sizes & set(self.definitions.table))
        for d in list(table.values()):
            if d.kind in WHOLE or d.alias_of:
                out.update(n for n in d.operands if n not in self.work.late_sizes or d.kind != "memory")
            if d.kind in WHOLE:
                out.add(d.name)
        for name in out:
            table[name].inline = False
        return out

    # -------------------------------------------------------------------------------------- planning
    def plan(self) -> Plan:
        """The whole way."""
        steps = self.steps()
        return self._finish(steps, self.results, self.in_place)

    def nested(self, graph: Graph, given: dict[str, Any], results: list[str], state: Sequence[str] = ()) -> list[Step]:
        """The steps of a nested graph: `given` says of each parameter which buffer it is, or how its elements are defined; the
        results go to the buffers `results`, the first of them then to `state`, the buffers of the first parameters. There they are
        written at once where every use of what was there comes before."""
        moving = [k for k in range(len(results)) if k >= len(state) or graph.results[k] is not graph.params[k]]
        inner = Planner(graph.with_body(graph.body, [graph.results[k] for k in moving]), self.target, self)
        inner.given, inner.state = [results[k] for k in moving], [state[k] for k in moving if k < len(state)]
        for p in graph.params:
            what = given[p.name]
            if isinstance(what, str):
                inner.external(p.name, p.type, what, "arena")
            else:
                inner.definitions.add(what)
                for load in what.loads():
                    type = what.extra.get(load.buffer) or Type(load.dtype, self.work.buffers[load.buffer].shape)
                    inner.definitions.add(Definition(load.buffer, type, "memory"))
                    inner.layout.give(load.buffer, load.buffer, type)
        steps = inner.steps()
        return steps + [Copy(s, r) for s, r, (v, _) in zip(inner.state, inner.given, inner.results, strict=False) if v not in inner.over]

    def steps(self) -> list[Step]:
        """Define, fuse, place, lower, order."""
        self.define()
        needed = self.needed()
        table = self.definitions.table
        self.results, copies = self._destinations()
        needed |= copies
        fuser = Fuser(self.definitions, needed, tiled_copy)
        fuser.closed |= self.work.late_sizes
        used = {u for d in table.values() if not d.inline for u in d.uses()}
        for d in list(table.values()):
            if d.inline or (d.kind == "memory" and not d.alias_of):
                continue
            if d.name not in needed and d.name not in used and d.kind in ("pointwise", "reduce"):
                continue
            self._pack_product(fuser, d)
            fuser.place(d)
        split(fuser, self.target)
        stored = self._stored(fuser, needed)
        hazards = Hazards(table, self.layout, self.cell_buffer, self.assigned, fuser, fallible=self._fallible)
        self.in_place = hazards.in_place()
        self.over = {v: s for (v, _), s in zip(self.results, self.state, strict=False) if hazards.over(v, s)}
        self._place_values(fuser, stored, self.results, self.in_place)
        return self._steps(fuser, ordered(fuser, hazards.edges), stored)

    def _destinations(self) -> tuple[list[tuple[str, Type]], set[str]]:
        """A buffer per result. A result that is in other memory, or is returned twice, gets a copy of its own."""
        table = self.definitions.table
        results: list[tuple[str, Type]] = []
        copies: set[str] = set()
        taken: set[str] = set()
        self.assigned = {c: self._owner(v) for c, v in self.assigned.items()}
        for r in self.graph.results:
            name = self._owner(r.name)
            if table[name].kind == "memory" or name in taken or name in self.assigned.values():
                name = self._copy(name)
                copies.add(name)
            taken.add(name)
            results.append((name, r.type))
        finals: set[str] = set()
        for cell, value in list(self.assigned.items()):
            if table[value].kind == "memory" or value in finals:
                self.assigned[cell] = self._copy(value)
                copies.add(self.assigned[cell])
            finals.add(self.assigned[cell])
        return results, copies

    def _owner(self, value: str) -> str:
        """The value whose memory a view is, where that is computed here and may as well be computed where the view is wanted."""
        table = self.definitions.table
        owner = value
        while table[owner].alias_of:
            owner = table[owner].alias_of
        late = self.work.late_sizes & {n for d in table[owner].type.shape for n in sizes.names(d)}
        return value if table[owner].kind == "memory" or late else owner

    def _copy(self, value: str) -> str:
        """A new value equal to `value`, element by element."""
        d = self.definitions.table[value]
        index = self.definitions.index(d.type.shape)
        late = tuple(n for n in d.operands if n in self.work.late_sizes)
        name = f"{value}_copy{len(self.definitions.table)}"
        if d.type.dtype.kind == "c":  # kernels know no complex numbers
            self.definitions.add(Definition(name, d.type, "copy", operands=(value, *late), place=d.place))
            return name
        self.definitions.add(Definition(name, d.type, "pointwise", index, Load(d.type.dtype, value, index), place=d.place, operands=late))
        if d.kind == "pointwise":
            d.inline = False
        return name

    def _pack_product(self, fuser: Fuser, d: Definition) -> None:
        """Where a product's right operand does not lie along its columns, first make a copy that does."""
        p = as_product(d)
        if p is None:
            return
        right = p.right
        assert isinstance(right, Load)
        if right.index and right.index[-1] == Var(dtypes.int64, p.column[0]):
            return
        batch = [(v, e) for v, e in p.batch if any(i == Var(dtypes.int64, v) for i in right.index)]
        axes = [*batch, p.depth, p.column]
        fresh = {v: Var(dtypes.int64, self.definitions.variable()) for v, _ in axes}
        name = f"{right.buffer}_T{len(self.definitions.table)}"
        type = Type(right.dtype, tuple(e for _, e in axes))
        element = expr.substitute(right, dict(fresh))
        packed = Definition(name, type, "pointwise", tuple(fresh[v] for v, _ in axes), element, place=d.place)
        self.definitions.table[name] = packed
        fuser.needed.add(name)
        fuser.place(packed)
        new_right = Load(right.dtype, name, tuple(Var(dtypes.int64, v) for v, _ in axes))

        def swap(e: Any) -> Any:
            return new_right if e is right else expr.rebuild(e, swap)

        d.element = swap(d.element)

    def _stored(self, fuser: Fuser, needed: set[str]) -> set[str]:
        """Values that must be written to memory: needed ones, and those used outside the unit that makes them."""
        out = {n for n in needed if n in fuser.unit_of}
        for at, unit in enumerate(fuser.units):
            for d in members(unit):
                out.update(u for u in self._resolved_uses(d) if fuser.unit_of.get(u, at) != at)
            if isinstance(unit, Product):
                out.update(
                    x.buffer for e in (unit.left, unit.right) for x in expr.walk(e) if isinstance(x, Load) and x.buffer in fuser.unit_of
                )
            if isinstance(unit, Tree):
                out.update(spilled(unit))
        return out

    def _resolved_uses(self, d: Definition) -> list[str]:
        """What a definition reads, with names that are views of other memory also by the memory's own name."""
        out: list[str] = []
        for u in d.uses():
            out.append(u)
            while self.definitions.table[u].alias_of:
                u = self.definitions.table[u].alias_of
                out.append(u)
        return out

    def _fallible(self, unit: Unit) -> bool:
        if isinstance(unit, Single):
            first = unit.definitions[0]
            if first.kind != "opaque" or first.node is None or first.node.op.can_fail:
                return True
        return any(d.name in self.work.late_sizes for d in members(unit))

    # ---------------------------------------------------------------------------------------- memory
    def _place_values(self, fuser: Fuser, stored: set[str], results: list[tuple[str, Type]], in_place: set[str]) -> None:
        """Give every stored value a buffer."""
        table = self.definitions.table
        home: dict[str, tuple[str, Any]] = {}
        for k, (name, _) in enumerate(results):
            if self.given is None:
                home[name] = (self.work.names.fresh(f"{name}_out"), "result")
            else:
                home[name] = (self.over.get(name, self.given[k]), "arena")
        for cell, value in self.assigned.items():
            home[value] = (self.cell_buffer[cell], "cell") if cell in in_place else (self.work.names.fresh(f"{cell}_new"), "result")
        self.new_cell = {c: home[v][0] for c, v in self.assigned.items() if c not in in_place}
        self.scratch: dict[str, Scratch] = {}
        elsewhere = self._used_elsewhere(fuser)
        for unit in fuser.units:
            if isinstance(unit, Tree):
                for n, made in unit.made.items():
                    made.stored = n in stored
                outside = {n for n in unit.made if n in stored and n in elsewhere} | set(home)
                for name, shared in spilled(unit).items():
                    if name not in outside:
                        self.scratch[name] = contracted(unit.made[name], shared, unit.parallel)
        for name in (n for n in table if n in stored):  # in program order, so that a program prints the same in every process
            d = table[name]
            type = d.type
            if name in home:
                buffer, where = home[name]
            else:
                buffer, where = self.work.names.fresh(name), "arena"
                if name in self.scratch:
                    type = type.with_shape(self.scratch[name].shape)
            if {n for dim in type.shape for n in sizes.names(dim)} & self.work.late_sizes:
                where = "heap"
            held = self.work.buffers.setdefault(buffer, Buffer(buffer, type.dtype, type.shape, where))
            same = (held.dtype, held.shape) == (type.dtype, type.shape)
            self.layout.give(name, buffer if same else self._view(buffer, d), type)
        for d in table.values():
            if d.alias_of:
                root = d.alias_of
                while table[root].alias_of:
                    root = table[root].alias_of
                self.layout.give(d.name, self._view(self.layout.memory[root].name, d), d.type)

    def _view(self, buffer: str, d: Definition) -> str:
        """The name under which kernels see a buffer at another type: one for each type, so that they see where they read what they write."""
        buffer = self.work.views.get(buffer, buffer)
        key = buffer, d.type
        if key not in self.work.view_names:
            self.work.view_names[key] = name = self.work.names.fresh(d.name)
            self.work.views[name] = buffer
        return self.work.view_names[key]

    def _used_elsewhere(self, fuser: Fuser) -> set[str]:
        """The values that a unit other than the one that makes them reads."""
        out: set[str] = set()
        for at, unit in enumerate(fuser.units):
            for d in members(unit):
                out.update(u for u in self._resolved_uses(d) if fuser.unit_of.get(u, at) != at)
            if isinstance(unit, Product):
                out.update(x.buffer for e in (unit.left, unit.right) for x in expr.walk(e) if isinstance(x, Load))
        return out

    # ------------------------------------------------------------------------------------------ steps
    def _steps(self, fuser: Fuser, order: list[int], stored: set[str]) -> list[Step]:
        steps: list[Step] = []
        guards = list(self.graph.guards)
        if self.given is not None:  # those of the whole graph are checked before the step is called
            steps += self._checks(guards, set(), "")
        bound: set[str] = set()
        for at in order:
            unit = fuser.units[at]
            made = [d.name for d in members(unit)]
            if isinstance(unit, Single):
                self._single(unit, steps)
            else:
                if not any(n in stored for n in made):
                    continue
                name = self.work.kernel_name(_title([n for n in made if n in stored]))
                if isinstance(unit, Tree):
                    kernel = lower_tree(name, unit, self.layout, stored, self.scratch)
                else:
                    panel, share_batch = panel_rows(unit, self.target), shares_batch(unit, self.target)
                    kernel = lower_product(name, unit, self.layout, stored, panel, share_batch)
                steps.append(Launch(kernel, tuple(self.work.views.get(p.name, p.name) for p in kernel.params)))
            for n in made:
                if n in self.work.late_sizes:
                    bound.add(n)
                    steps.append(BindSize(n, self.layout.memory[n].name))
                    steps += self._checks(guards, bound, n)
        return steps

    def _checks(self, guards: list[tuple[Dim, Dim]], bound: set[str], newest: str) -> list[Step]:
        """Checks of the guards that can be decided now that the size `newest` is known; they are taken off the list."""
        own = self.work.late_sizes & set(self.definitions.table)
        due = [g for g in guards if (late := (sizes.names(g[0]) | sizes.names(g[1])) & own) <= bound and (newest in late or not newest)]
        guards[:] = [g for g in guards if g not in due]
        node = self.definitions.table[newest].node if newest else None
        return [CheckSize(self.work.numbers.get(id(node), 0), a, b) for a, b in due]

    def _single(self, unit: Single, steps: list[Step]) -> None:
        first = unit.definitions[0]
        node = first.node
        if first.kind == "copy":
            source = self.layout.memory[first.operands[0]].name
            steps.append(Copy(self.layout.memory[first.name].name, self.work.views.get(source, source)))
            return
        assert node is not None
        number = self.work.numbers.get(id(node), 0)
        if first.kind == "control":
            steps.extend(control_steps(self, node))
            return
        if first.kind == "opaque":
            work = []
            with sizes.assuming():  # what has to be equal is a guard of the graph already
                work_types = node.op.work(*(a.type for a in node.args), **node.attrs)
            for t in work_types:
                work.append(Memory(self.scratch_buffer(f"{first.name}_work", t), t))
            kernel = lower_opaque(self.work.kernel_name(f"{node.op.name}_{first.name}"), unit.definitions, self.layout, work, number)
            steps.append(Launch(kernel, tuple(self.work.views.get(p.name, p.name) for p in kernel.params)))
            return
        operands: list[Any] = []
        buffers: list[str] = []
        for a in node.args:
            if isinstance(a, Value):
                name = self.layout.memory[a.name].name
                operands.append((len(buffers), a.type))
                buffers.append(self.work.views.get(name, name))
            else:
                operands.append(np.asarray(a.value, a.dtype.np))
        results = []
        for d in unit.definitions if node.outs else ():
            results.append((len(buffers), d.type))
            buffers.append(self.layout.memory[d.name].name)
        named = sorted(
            {n for o in operands if isinstance(o, tuple) for x in o[1].shape for n in sizes.names(x)}
            | {n for _, t in results for x in t.shape for n in sizes.names(x)}
            | _attr_names(node.attrs)
        )
        self.work.host.append(HostWork(node.op, node.attrs, tuple(operands), tuple(results), tuple(named), number))
        steps.append(HostCall(len(self.work.host) - 1, number, tuple(buffers), tuple(sizes.named(n) for n in named)))

    def scratch_buffer(self, name: str, type: Type) -> str:
        """A new buffer for an intermediate."""
        name = self.work.names.fresh(name)
        late = {n for d in type.shape for n in sizes.names(d)} & self.work.late_sizes
        self.work.buffers[name] = Buffer(name, type.dtype, type.shape, "heap" if late else "arena")
        return name

    def buffer_of(self, value: Value) -> str:
        """The buffer that a value of the graph is in."""
        name = self.layout.memory[value.name].name
        return self.work.views.get(name, name)

    # ----------------------------------------------------------------------------------------- finish
    def _finish(self, steps: list[Step], results: list[tuple[str, Type]], in_place: set[str]) -> Plan:
        late = tuple(self.layout.memory[n].name for n, t in results if self.work.buffers[self.layout.memory[n].name].home == "heap")
        steps, placed, total = arena(steps, self.work.buffers, late)
        known = sorted(
            {n for v in [*self.graph.params] for d in v.type.shape for n in sizes.names(d)}
            | {n for t in self.graph.cells.values() for d in t.shape for n in sizes.names(d)}
        )
        table = [b.name for b in placed.values() if b.home in ("argument", "cell", "constant", "result")]
        for n in late:
            table += [f"{n}.address", *(f"{n}.size{k}" for k in range(len(placed[n].shape)))]
        table += ["arena", *known, "error", "callback"]
        program = Program(self.graph.name, placed, tuple(steps), tuple(table), total, tuple(known))
        cells = tuple(
            CellPlan(c, t, self.cell_buffer[c], "in place" if c in in_place else self.new_cell.get(c, ""), self.resized.get(c))
            for c, t in self.graph.cells.items()
        )
        return Plan(
            program,
            tuple((self.layout.memory[p.name].name, p.type) for p in self.graph.params),
            cells,
            tuple(self.work.consts),
            self.work.constants,
            tuple((self.layout.memory[n].name, t) for n, t in results),
            late,
            tuple(self.work.host),
            tuple(n.place for n in self.graph.walk()),
            any(isinstance(s, Repeat | HostCall) for s in steps) or sum(effort(k.body) for k in program.kernels()) > LONG,
        )


def _is_table(node: Node) -> bool:
    """Whether a line is one array whatever the arguments are, which no kernel computes: it is computed now."""
    made = node.op.at is None and node.op.kernel is None and len(node.outs) == 1 and not node.op.effect
    return made and not node.args and not any(node.graphs()) and node.op is not structure.dim and not _attr_names(node.attrs)


def _dims_of(d: Definition) -> list[Dim]:
    return [*d.type.shape, *(e for _, e in d.reduced)]


def _attr_names(attrs: dict[str, Any]) -> set[str]:
    found: set[str] = set()

    def visit(v: Any) -> None:
        if isinstance(v, tuple):
            for x in v:
                visit(x)
        elif isinstance(v, Graph):
            visit(tuple(d for p in v.params for d in p.type.shape))
            for n in v.body:
                visit((*n.attrs.values(), *(d for o in n.outs for d in o.type.shape)))
        else:
            found.update(sizes.names(v))

    for v in attrs.values():
        visit(v)
    return found


def _title(stored: list[str]) -> str:
    """A kernel is called after what it leaves behind."""
    names = [n for n in dict.fromkeys(stored)]
    return "_and_".join(names[:3]) + (f"_and_{len(names) - 3}_more" if len(names) > 3 else "")


def plan(graph: Graph, target: Target) -> Plan:
    """The program of `graph` for `target`, with its calling record."""
    graph, resized = _resizing(graph)
    planner = Planner(graph, target)
    planner.resized = resized
    return planner.plan()


def _resizing(graph: Graph) -> tuple[Graph, dict[str, int]]:
    """The graph with results, at the end, in place of assignments that give cells another size; and which result each such cell is given."""
    last = {n.attrs["cell"]: n.args[0] for n in graph.body if n.op is structure.assign}
    values = {c: v for c, v in last.items() if isinstance(v, Value) and v.type.shape != graph.cells[c].shape}
    if not values:
        return graph, {}
    body = [n for n in graph.body if n.op is not structure.assign or n.attrs["cell"] not in values]
    resized = {c: len(graph.results) + k for k, c in enumerate(values)}
    return graph.with_body(body, [*graph.results, *values.values()]), resized

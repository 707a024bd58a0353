"""`f.memory_report(...)`: what a step keeps from its forward lines for the backward ones, in bytes, and how much memory it works in.

In: a trace and the arguments of a call. Out: a `MemoryReport`: the values that backward lines need, each with the line it comes from, its bytes and
whether it goes through memory or is computed again inside the kernels that use it; and the arena, in which intermediates share room by lifetime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tapejit.core import sizes
from tapejit.core.places import Place
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Value
from tapejit.ir.interpreter import bind_sizes
from tapejit.loops.program import Buffer


@dataclass(frozen=True)
class Residual:
    """A value of a forward line that backward lines use. Not `kept`: it stays in registers or is computed again where it is used."""

    name: str
    type: str
    place: Place | None
    bytes: int
    kept: bool


@dataclass(frozen=True)
class MemoryReport:
    """`residuals` in program order; `arena` is the memory for intermediates in bytes, of which `largest` lists the biggest buffers as
    (name, bytes). `under_tape`: the residuals are what a tape around the call keeps, because the step has no gradients of its own.
    """

    name: str
    residuals: tuple[Residual, ...]
    arena: int
    largest: tuple[tuple[str, int], ...]
    under_tape: bool

    @property
    def kept(self) -> int:
        """Bytes of the residuals that go through memory."""
        return sum(r.bytes for r in self.residuals if r.kept)

    @property
    def recomputed(self) -> int:
        """Bytes that are not kept."""
        return sum(r.bytes for r in self.residuals if not r.kept)

    def by_line(self) -> dict[Place | None, int]:
        """Bytes kept per line of the user's."""
        out: dict[Place | None, int] = {}
        for r in self.residuals:
            if r.kept:
                line = None if r.place is None else Place(r.place.file, r.place.line)
                out[line] = out.get(line, 0) + r.bytes
        return out

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=100, no_color=True, highlight=False)
        with console.capture() as capture:
            console.print(self.table())
        who = "a tape around it keeps" if self.under_tape else "kept for the backward lines"
        said = f"{who}: {shown_bytes(self.kept)}; computed again: {shown_bytes(self.recomputed)}; arena: {shown_bytes(self.arena)}"
        if self.largest:
            said += f"\nlargest in the arena: {', '.join(f'{n} ({shown_bytes(b)})' for n, b in self.largest)}"
        return "\n".join([*(line.rstrip() for line in capture.get().splitlines()), said])

    __repr__ = __str__

    def table(self) -> Any:
        """The residuals as a rich table."""
        from rich.table import Table

        table = Table(title=self.name)
        for heading, justify in (("value", "left"), ("line", "left"), ("bytes", "right"), ("", "left")):
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        for r in self.residuals:
            where = "" if r.place is None else f"{r.place}  {r.place.text}"
            table.add_row(f"{r.name}: {r.type}", where, str(r.bytes), "" if r.kept else "computed again")
        return table


def report(name: str, concrete: Any, tensors: Sequence[Any], variables: Sequence[Any]) -> MemoryReport:
    """The report for one call of a trace."""
    from tapejit.passes import pipeline
    from tapejit.runtime import host
    from tapejit.schedule.plan import plan

    graph = pipeline.run(concrete.traced)
    bound = concrete.bindings(list(variables))
    env = bind_sizes(graph, [tuple(t.dims) for t in tensors], {c: v._value._array.shape for c, v in bound.items() if c in graph.cells})
    program = plan(graph, host.target()).program
    buffers: dict[str, Buffer] = program.buffers

    def weight(dims: Sequence[Any], itemsize: int) -> int:
        known = [d for d in dims if not (sizes.names(d) - set(env))]  # sizes that only the call knows count as 1
        return itemsize * int(sizes.evaluate(sizes.product(tuple(known)), env))

    def stored(v: Value) -> bool:
        return v.name in buffers or f"{v.name}_out" in buffers

    needed = _needed_backward(graph)
    residuals = tuple(_residual(v, place, weight, stored(v)) for v, place in needed)
    under_tape = not any(n.place is not None and n.place.backward for n in graph.walk())
    if under_tape:
        residuals = tuple(_residual(v, place, weight, True) for v, place in concrete.kept_under_tape())
    largest = sorted(((b.name, weight(b.shape, b.dtype.np.itemsize)) for b in buffers.values() if b.home == "arena"), key=lambda x: -x[1])[
        :5
    ]
    return MemoryReport(name, residuals, int(sizes.evaluate(program.arena, env)), tuple(largest), under_tape)


def _residual(v: Value, place: Place | None, weight: Any, kept: bool) -> Residual:
    t: Type = v.type
    return Residual(v.name, str(t), place, weight(t.shape, t.dtype.np.itemsize), kept)


def _needed_backward(graph: Graph) -> list[tuple[Value, Place | None]]:
    """The values that forward lines make and backward lines use, in program order; what is in memory anyway is not among them."""
    anyway = (structure.read, structure.const, structure.constant, structure.dim)
    forward = {id(o): (o, n.place) for n in graph.body if not (n.place and n.place.backward) and n.op not in anyway for o in n.outs}
    used = {id(v) for n in graph.body if n.place and n.place.backward for v in (*n.values(), *(f for g in n.graphs() for f in g.free()))}
    return [pair for key, pair in forward.items() if key in used]


def shown_bytes(n: int) -> str:
    """A number of bytes in the unit that suits it."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n >= scale:
            return f"{n / scale:.3g} {unit}"
    return f"{n} B"

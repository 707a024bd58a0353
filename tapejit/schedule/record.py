"""What the caller of a program must know of it: data that outlives planning, and is kept on disk beside the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tapejit.core.types import Type
from tapejit.ir.op import Op
from tapejit.loops.program import Program


@dataclass(frozen=True)
class HostWork:
    """What a host call does: `op.eager` on the operands' buffers, into the results' buffers."""

    op: Op
    attrs: dict[str, Any]
    operands: tuple[Any, ...]  # (position among the call's addresses, Type), or a literal as an array
    results: tuple[tuple[int, Type], ...]
    sizes: tuple[str, ...]  # the named sizes the call passes
    node: int


@dataclass(frozen=True)
class CellPlan:
    """How a program treats a cell: `written` "" (only read), "in place", or the name of the second buffer that takes its place.

    A value of another size is the `result` of that number instead.
    """

    cell: str
    type: Type
    buffer: str
    written: str
    result: int | None = None


@dataclass(frozen=True)
class Plan:
    """A program and its calling record. Buffers are named as in `program.table`."""

    program: Program
    arguments: tuple[tuple[str, Type], ...]
    cells: tuple[CellPlan, ...]
    consts: tuple[tuple[str, str], ...]  # (name of the const in the graph, buffer)
    constants: dict[str, Any]  # buffer -> array written out in the graph
    results: tuple[tuple[str, Type], ...]
    late: tuple[str, ...]  # buffers of results whose size is known only after the call
    host: tuple[HostWork, ...]
    places: tuple[Any, ...]  # per node number, its Place
    long: bool  # takes so long that other Python threads should run meanwhile

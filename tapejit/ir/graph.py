"""Graphs: typed values, the nodes that make them, in program order. Data only; text, checks and meaning live beside it.

A node's operands are values or literals. A nested graph (the body of a loop, a branch) is an attribute of its node and may use
the values of the graphs around it. Cells (`state.x`) are touched by `read` and `assign` nodes alone; `const.x` names an array
held by reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tapejit.core.dtypes import DType
from tapejit.core.places import Place
from tapejit.core.types import Type
from tapejit.ir.op import Op


class Value:
    """The result of a node, or a parameter. Compared by identity."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type: Type) -> None:
        self.name, self.type = name, type

    def __repr__(self) -> str:
        return f"{self.name}: {self.type}"


@dataclass(frozen=True)
class Literal:
    """A scalar written into the line that uses it. `value` is a Python bool, int, float or complex that `dtype` can hold."""

    value: Any
    dtype: DType

    @property
    def type(self) -> Type:
        return Type(self.dtype)

    def __eq__(self, other: object) -> bool:  # -0.0 is not 0.0, nan is nan, True is not 1
        return isinstance(other, Literal) and self.dtype is other.dtype and repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash((self.dtype, repr(self.value)))


Operand = Value | Literal


@dataclass(eq=False)
class Node:
    """One line: `outs = op(*args, **attrs)`, made at `place` while the tapes named in `tapes` were recording."""

    op: Op
    args: tuple[Operand, ...]
    attrs: dict[str, Any]
    outs: tuple[Value, ...]
    place: Place | None = None
    tapes: tuple[str, ...] = ()

    @property
    def out(self) -> Value:
        """The result of a node that has one."""
        return self.outs[0]

    def values(self) -> Iterator[Value]:
        """The operands that are values."""
        return (a for a in self.args if isinstance(a, Value))

    def graphs(self) -> Iterator[Graph]:
        """The nested graphs."""
        return (a for a in self.attrs.values() if isinstance(a, Graph))


@dataclass
class Graph:
    """A function on tensors: parameters, cells and constants it uses by name, nodes in program order, results."""

    name: str
    params: list[Value] = field(default_factory=list)
    cells: dict[str, Type] = field(default_factory=dict)
    consts: dict[str, Type] = field(default_factory=dict)
    body: list[Node] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)
    place: Place | None = None
    guards: list[tuple[Any, Any]] = field(default_factory=list)  # pairs of dims that must be equal at entry

    def uses(self) -> Iterator[Value]:
        """Every value that the nodes and results use, those used inside nested graphs included."""
        for node in self.body:
            yield from node.values()
            for g in node.graphs():
                yield from g.uses()
        yield from self.results

    def free(self) -> list[Value]:
        """The values of surrounding graphs that this nested graph uses, in order of first use."""
        own = {id(p) for p in self.params} | {id(o) for n in self.body for o in n.outs}
        found: dict[int, Value] = {}
        for node in self.body:
            for v in node.values():
                if id(v) not in own:
                    found.setdefault(id(v), v)
            for g in node.graphs():
                for v in g.free():
                    if id(v) not in own:
                        found.setdefault(id(v), v)
        for v in self.results:
            if id(v) not in own:
                found.setdefault(id(v), v)
        return list(found.values())

    def walk(self) -> Iterator[Node]:
        """Every node, nested ones after the node that holds them."""
        for node in self.body:
            yield node
            for g in node.graphs():
                yield from g.walk()

    def with_body(self, body: list[Node], results: list[Value] | None = None) -> Graph:
        """The same function with other lines."""
        return replace(self, body=body, results=self.results if results is None else results)


def substituted(node: Node, value_of: Callable[[Value], Operand]) -> Node:
    """`node` with its operands, and the free values of its nested graphs, replaced; results stay the same values."""
    args = tuple(value_of(a) if isinstance(a, Value) else a for a in node.args)
    attrs = {k: substituted_graph(a, value_of) if isinstance(a, Graph) else a for k, a in node.attrs.items()}
    return replace(node, args=args, attrs=attrs)


def substituted_graph(graph: Graph, value_of: Callable[[Value], Operand]) -> Graph:
    """A nested graph with values of the graphs around it replaced. A result must stay a value."""
    results: list[Value] = []
    for r in graph.results:
        new = value_of(r)
        if not isinstance(new, Value):
            raise TypeError(f"a literal cannot be a result of {graph.name}")
        results.append(new)
    return replace(graph, body=[substituted(n, value_of) for n in graph.body], results=results)

"""Two traces of one function for different sizes in, one graph with those sizes left open out.

The sizes in which the arguments differ become names; every other number in which the traces differ must be an expression of them
(`2 * B`, `B * N`, `B - 1`, `B // 2`). What comes out is right for the two traces by construction; whether it is for a third one, `sizes_of`
says by comparing every number of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import Names

NEAR = 2  # `B - 1` is likelier than a quotient that is the same in both cases, `B - 5` is not


class Unlike(Exception):
    """The traces differ in more than sizes."""


@dataclass(frozen=True)
class Outline:
    """A graph written out flat: numbers that may stand for sizes as they are, all else as tuples; the first `head` are the arguments'."""

    items: tuple[Any, ...]
    head: int


@dataclass(frozen=True)
class General:
    """A graph with open sizes, and what each number of an outline is in terms of them."""

    graph: Graph
    base: Outline
    numbers: tuple[Any, ...]

    def sizes_of(self, other: Outline) -> dict[str, int] | None:
        """The sizes with which the graph is the one outlined by `other`; None if there are none."""
        if len(other.items) != len(self.base.items):
            return None
        env: dict[str, int] = {}
        for mine, base, theirs in zip(self.numbers, self.base.items, other.items, strict=True):
            if not isinstance(mine, sizes.Size) or isinstance(base, sizes.Size):
                if mine != theirs or type(mine) is not type(theirs):
                    return None
                continue
            if type(base) is not type(theirs):
                return None
            unknown = sizes.names(mine) - env.keys()
            if unknown:  # the arguments' sizes come first
                env[next(iter(unknown))] = theirs
            elif sizes.evaluate(mine, env) != theirs:
                return None
        return env if all(_holds(a, b, env) for g in (self.graph, *_nested(self.graph)) for a, b in g.guards) else None


def _holds(a: Dim, b: Dim, env: dict[str, int]) -> bool:
    """Whether two sizes are equal, as far as that is known before the call."""
    difference = sizes.substitute(a, env) - sizes.substitute(b, env)
    return isinstance(difference, sizes.Size) or difference == 0


def _nested(graph: Graph) -> Iterator[Graph]:
    return (g for node in graph.walk() for g in node.graphs())


# ------------------------------------------------------------------------------------------------ writing a graph out
def outline(graph: Graph) -> Outline:
    """The outline of a graph."""
    items: list[Any] = []
    number: dict[int, int] = {}

    def attribute(x: Any) -> None:
        if isinstance(x, tuple | list):
            items.append((type(x).__name__, len(x)))
            for v in x:
                attribute(v)
        elif isinstance(x, Graph):
            nested(x)
        elif isinstance(x, Type):
            type_(x)
        elif isinstance(x, Literal):
            items.append(("literal", x.dtype))
            items.append(_open(x.value))
        else:
            items.append(_open(x))

    def type_(t: Type) -> None:
        items.append(("type", t.dtype, t.rank))
        items.extend(t.shape)

    def define(v: Value) -> None:
        number[id(v)] = len(number)

    def operand(x: Operand) -> None:
        if isinstance(x, Literal):
            attribute(x)
        else:
            items.append(("value", number.get(id(x))))

    def nested(g: Graph) -> None:
        items.append(("graph", len(g.params), len(g.body), len(g.results)))
        for p in g.params:
            type_(p.type)
            define(p)
        for node in g.body:
            items.append(("node", node.op, len(node.args), len(node.outs), tuple(node.attrs), node.place, node.tapes))
            for a in node.args:
                operand(a)
            for v in node.attrs.values():
                attribute(v)
            for o in node.outs:
                define(o)
                if node.op.binds_size:
                    items.append(("size", o.name))
        for r in g.results:
            operand(r)

    items.append(("cells", *graph.cells))
    for p in graph.params:
        items.append(("parameter", p.name))
        type_(p.type)
    for t in graph.cells.values():
        type_(t)
    head = len(items)
    items.append(("consts", *graph.consts))
    for t in graph.consts.values():
        type_(t)
    items.append(("guards", len(graph.guards)))
    for a, b in graph.guards:
        items += [a, b]
    nested(graph)
    return Outline(tuple(items), head)


def _open(x: Any) -> Any:
    """A number that may be a size as it is, anything else in a tuple that tells it from all others."""
    if isinstance(x, int) and not isinstance(x, bool):
        return x
    if isinstance(x, sizes.Size):
        return x
    if isinstance(x, float):
        return x if x == int(x if abs(x) < 2**53 else 0) and str(x) != "-0.0" else ("float", repr(x))
    return type(x), x


# ------------------------------------------------------------------------------------------------ what they have in common
def generalise(graph: Graph, mine: Outline, other: Graph, theirs: Outline) -> General | None:
    """The graph of which `graph` and `other` are two cases; None if there is none. `mine` and `theirs` are their outlines."""
    names = _names_in(graph)
    try:
        numbers = _numbers(mine, theirs, names)
        found = _Opened(iter(numbers), names).function(graph)
    except (Unlike, ValueError, TypeError, NotImplementedError, ZeroDivisionError):
        return None
    out = General(found, mine, tuple(numbers))
    env = out.sizes_of(theirs)
    if env is None or any(
        tuple(sizes.substitute(d, env) for d in mine_.type.shape) != theirs_.type.shape
        for mine_, theirs_ in zip(found.results, other.results, strict=True)
    ):
        return None
    return out


def _numbers(mine: Outline, other: Outline, names: Names) -> list[Any]:
    """Every item of an outline, those that differ as expressions of the sizes that the arguments differ in. Unlike if one cannot be."""
    if len(mine.items) != len(other.items) or mine.head != other.head:
        raise Unlike
    known: dict[tuple[Any, Any], Dim] = {}
    atoms: list[tuple[Dim, int, int]] = []
    out: list[Any] = []
    for k, (a, b) in enumerate(zip(mine.items, other.items, strict=True)):
        if type(a) is type(b) and a == b:
            out.append(a)
            continue
        if not (isinstance(a, int | float) and isinstance(b, int | float)) or type(a) is not type(b):
            raise Unlike
        at = int(a), int(b)
        if at not in known:
            if k < mine.head:
                known[at] = sizes.named(names.fresh("N" if atoms else "B"))
                atoms.append((known[at], *at))
            else:
                known[at] = _expressed(*at, atoms)
        out.append(known[at])
    if not atoms:
        raise Unlike
    return out


def _expressed(a: int, b: int, atoms: list[tuple[Dim, int, int]]) -> Dim:
    """The simplest expression that is `a` in the one case and `b` in the other: multiples and products of sizes, then sums and quotients."""
    products = [*atoms]
    for depth in range(2):
        products += [(d * e, x * p, y * q) for d, x, y in products[len(atoms) * depth :] for e, p, q in atoms]
    for d, x, y in products:
        if x and y and a % x == 0 and b % y == 0 and a // x == b // y:
            return a // x * d
    sums = [(d, factor, a - factor * x) for d, x, y in products if x != y and (a - b) % (x - y) == 0 and (factor := (a - b) // (x - y))]
    sums.sort(key=lambda s: abs(s[2]))
    quotients = [
        (d + add) // divisor
        for divisor in range(2, 65)
        for d, x, y in atoms
        for add in (0, divisor - 1)
        if ((x + add) // divisor, (y + add) // divisor) == (a, b)
    ]
    if sums and (abs(sums[0][2]) <= NEAR or not quotients):
        d, factor, rest = sums[0]
        return factor * d + rest
    if quotients:
        return quotients[0]
    raise Unlike


def _names_in(graph: Graph) -> Names:
    """All names that a graph uses."""
    names = Names()
    nodes = list(graph.walk())
    values = [*(p for g in (graph, *_nested(graph)) for p in g.params), *(o for n in nodes for o in n.outs)]
    for name in (
        *(v.name for v in values),
        *(t for n in nodes for t in n.tapes),
        *(s for v in values for d in v.type.shape for s in sizes.names(d)),
    ):
        names.take(name)
    return names


class _Opened:
    """A graph rebuilt with other numbers, taken from an iterator in the order in which `outline` writes them."""

    def __init__(self, numbers: Iterator[Any], names: Names) -> None:
        self.numbers, self.names = numbers, names
        self.values: dict[int, Value] = {}

    def skip(self) -> None:
        """Pass over an item that is no number."""
        next(self.numbers)

    def function(self, graph: Graph) -> Graph:
        self.skip()
        for p in graph.params:
            self.skip()
            self.type(p.type)
        cells = {name: self.type(t) for name, t in graph.cells.items()}
        self.skip()
        consts = {name: self.type(t) for name, t in graph.consts.items()}
        self.skip()
        guards = [(next(self.numbers), next(self.numbers)) for _ in graph.guards]
        out = replace(graph, params=[], cells=cells, consts=consts, body=[], results=[], guards=guards)
        self.fill(graph, out, out)
        return out

    def fill(self, graph: Graph, out: Graph, root: Graph) -> None:
        """The parameters, lines and results of a graph or of one nested in it."""
        self.skip()
        for p in graph.params:
            new = Value(p.name, self.type(p.type))
            self.values[id(p)] = new
            out.params.append(new)
        for node in graph.body:
            self.skip()
            args = tuple(self.operand(a, node, out) for a in node.args)
            attrs = {k: self.attribute(v, root) for k, v in node.attrs.items()}
            op = node.op
            if op is structure.constant and isinstance(attrs["value"], sizes.Size):
                op, attrs = structure.dim, {"size": attrs["value"], "dtype": attrs["dtype"]}
            types, assumed = Builder.types(op, args, attrs)
            outs = tuple(Value(o.name, t) for o, t in zip(node.outs, types, strict=True))
            out.guards.extend(g for g in assumed if g not in out.guards)
            out.body.append(Node(op, args, attrs, outs, node.place, node.tapes))
            for old, new in zip(node.outs, outs, strict=True):
                self.values[id(old)] = new
                if op.binds_size:
                    self.skip()
        for r in graph.results:
            self.skip()
            out.results.append(self.values[id(r)])

    def type(self, t: Type) -> Type:
        self.skip()
        return t.with_shape(tuple(next(self.numbers) for _ in t.shape))

    def operand(self, x: Operand, node: Node, out: Graph) -> Operand:
        """An operand of a line; a number that is a size has a line of its own before it."""
        if isinstance(x, Value):
            self.skip()
            return self.values[id(x)]
        self.skip()
        number = next(self.numbers)
        if not isinstance(number, sizes.Size):
            return x
        value = Value(self.names.fresh("size_"), Type(x.dtype))
        out.body.append(Node(structure.dim, (), {"size": number, "dtype": x.dtype}, (value,), node.place, node.tapes))
        return value

    def attribute(self, x: Any, root: Graph) -> Any:
        if isinstance(x, tuple | list):
            self.skip()
            return type(x)(self.attribute(v, root) for v in x)
        if isinstance(x, Graph):
            inner = replace(x, params=[], cells=root.cells, consts=root.consts, body=[], results=[], guards=[])
            self.fill(x, inner, root)
            return inner
        if isinstance(x, Type):
            return self.type(x)
        if isinstance(x, Literal):
            self.skip()
        number = next(self.numbers)
        if isinstance(number, sizes.Size):
            if isinstance(x, Literal | float):
                raise Unlike
            return number
        return x

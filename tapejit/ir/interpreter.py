"""Runs a graph node by node with each op's `eager`: the reference meaning of a graph, slow and plain.

In: a graph without `gradient` lines, arrays for its parameters, a mutable mapping of cells and one of constants. Out: the list
of result arrays; cells are updated in the mapping, which the caller may discard. InvalidArgumentError names the line of a node that fails.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim, Size
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value


class Environment:
    """Arrays by value, cells and constants by name, sizes by name; nested graphs see those around them."""

    def __init__(
        self, cells: MutableMapping[str, Any], consts: Mapping[str, Any], sizes_: dict[str, int], outer: Environment | None = None
    ) -> None:
        self.cells, self.consts, self.sizes, self.outer = cells, consts, sizes_, outer
        self.arrays: dict[int, Any] = {}
        self.node: Node | None = None  # the line that is being run

    def inner(self) -> Environment:
        """The environment of a nested graph."""
        return type(self)(self.cells, self.consts, self.sizes, self)

    def __getitem__(self, x: Operand) -> Any:
        if isinstance(x, Literal):
            return np.asarray(x.value, x.dtype.np)
        found = self.arrays.get(id(x))
        if found is None:
            if self.outer is None:
                raise KeyError(f"value {x.name} has not been computed")
            return self.outer[x]
        return found

    def __setitem__(self, x: Value, array: Any) -> None:
        self.arrays[id(x)] = array

    def attributes(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Attributes with every size evaluated."""
        return {k: structure.attribute_dims(v, self.sizes) for k, v in attrs.items()}


def bind_sizes(graph: Graph, shapes: list[tuple[int, ...]], cell_shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Values of the named sizes of a graph from the shapes of its arguments and cells, guards checked.

    InvalidArgumentError where a shape does not fit its type or two sizes that must be equal are not.
    """
    env: dict[str, int] = {}
    pairs = [(p.name, p.type.shape, s) for p, s in zip(graph.params, shapes, strict=True)]
    pairs += [(f"state.{c}", t.shape, cell_shapes[c]) for c, t in graph.cells.items() if c in cell_shapes]
    for name, dims, shape in pairs:
        if len(dims) != len(shape):
            raise InvalidArgumentError(f"{graph.name}: {name} must have rank {len(dims)}, got shape {list(shape)}")
    for _ in range(2):  # a size that only occurs in a product is solved once its other factors are known
        for name, dims, shape in pairs:
            for d, n in zip(dims, shape, strict=True):
                if isinstance(d, Size):
                    try:
                        solved = sizes.solve(d, n, env)
                    except ValueError:
                        raise InvalidArgumentError(
                            f"{graph.name}: {name} of shape {list(shape)} has an axis of size {n}, which {d} cannot be"
                        ) from None
                    if solved is not None:
                        env.setdefault(*solved)
    for name, dims, shape in pairs:
        for axis, (d, n) in enumerate(zip(dims, shape, strict=True)):
            if not sizes.names(d) - set(env) and sizes.evaluate(d, env) != n:
                raise InvalidArgumentError(f"{graph.name}: axis {axis} of {name} must have size {d}, got {n}")
    _check(graph, graph.guards, env)
    return env


def _check(graph: Graph, guards: list[tuple[Dim, Dim]], env: Mapping[str, int], node: Node | None = None) -> list[tuple[Dim, Dim]]:
    """Check the guards whose sizes are known; those that are left. InvalidArgumentError names the line that bound the last size."""
    left = []
    for a, b in guards:
        if not (sizes.names(a) | sizes.names(b)) <= env.keys():
            left.append((a, b))
        elif (m := sizes.evaluate(a, env)) != (n := sizes.evaluate(b, env)):
            where = f"\n{node.place.quote()}" if node is not None and node.place is not None else ""
            raise InvalidArgumentError(f"{graph.name}: sizes {a} and {b} must be equal, got {m} and {n}{where}")
    return left


def run(graph: Graph, args: list[Any], cells: MutableMapping[str, Any] | None = None, consts: Mapping[str, Any] | None = None) -> list[Any]:
    """The results of `graph` on `args` (arrays, in the order of its parameters)."""
    cells = {} if cells is None else cells
    arrays = [np.asarray(a) for a in args]
    env = Environment(cells, consts or {}, bind_sizes(graph, [a.shape for a in arrays], {c: np.shape(v) for c, v in cells.items()}))
    with np.errstate(all="ignore"):
        return run_in(graph, arrays, env)


def run_in(graph: Graph, args: list[Any], env: Environment) -> list[Any]:
    """The results of `graph` on `args`, its free values, cells and sizes taken from `env`. Guards are checked as soon as their sizes are known."""
    guards = graph.guards
    if guards:
        for bound in (n.out.name for n in graph.body if n.op.binds_size):
            env.sizes.pop(bound, None)  # what it was in the iteration before
        guards = _check(graph, guards, env.sizes)
    for p, a in zip(graph.params, args, strict=True):
        env[p] = a
    for node in graph.body:
        try:
            env.node = node
            out = node.op.interpret(node, env, lambda g, xs, outer: run_in(g, xs, outer.inner()))
        except (ValueError, TypeError, IndexError) as e:
            if node.place is None or "function" in node.attrs or "\n  at " in str(e):  # what the user's own Python raises stays as it is
                raise
            raise InvalidArgumentError(f"{e}\n{node.place.quote()}") from None
        for v, a in zip(node.outs, out if isinstance(out, tuple) else (out,), strict=True):
            env[v] = a
            if node.op.binds_size:
                env.sizes[v.name] = int(a)
                guards = _check(graph, guards, env.sizes, node) if guards else guards
    return [env[r] for r in graph.results]

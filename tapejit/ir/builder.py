"""The one door through which nodes are made: infers types, names results, keeps places; folds and merges where that is asked for.

Recording only appends. Passes after differentiation build with `merge=True`: then a node equal to an earlier one is that one
(never across an assignment of the cell it reads), and a pure op of literals is evaluated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.places import Place
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import Names
from tapejit.ir.op import Op


class Builder:
    """Appends nodes to `graph.body`. `names` is shared by a graph and the graphs nested in it."""

    def __init__(self, graph: Graph, names: Names | None = None, *, merge: bool = False) -> None:
        self.graph, self.merge = graph, merge
        self.names = names if names is not None else Names()
        self._made: dict[Any, tuple[Value, ...]] = {}
        self._version: dict[str, int] = {}

    def parameter(self, name: str, type: Type) -> Value:
        """A new parameter at the end of the list."""
        value = Value(self.names.fresh(name), type)
        self.graph.params.append(value)
        return value

    def emit(
        self,
        op: Op,
        args: tuple[Operand, ...],
        attrs: dict[str, Any] | None = None,
        *,
        place: Place | None = None,
        name: str | tuple[str, ...] = "",
        tapes: tuple[str, ...] = (),
    ) -> tuple[Value, ...]:
        """Add `op(*args, **attrs)`; returns its results. `name` is the base of their names, or one base for each; the op's by default.

        Raises what `op.infer` raises. Sizes that have to be equal and are not known to be become guards of the graph.
        """
        attrs = attrs or {}
        key = None
        if self.merge and not op.effect:
            key = self._key(op, args, attrs)
            if key in self._made:
                return self._made[key]
        types, assumed = self.types(op, args, attrs)
        if self.merge:
            folded = self._folded(op, args, attrs, types)
            if folded is not None:
                op, args, attrs = folded
        bases = name if isinstance(name, tuple) else (name,) * len(types)
        outs = tuple(Value(self.names.fresh(base or op.name), t) for base, t in zip(bases, types, strict=True))
        self.graph.body.append(Node(op, args, attrs, outs, place, tapes))
        self.graph.guards.extend(g for g in assumed if g not in self.graph.guards)
        written = [attrs["cell"]] if op is structure.assign else []
        for g in attrs.values():
            if isinstance(g, Graph):
                written += structure.cells_written(g)
        for cell in written:
            self._version[cell] = self._version.get(cell, 0) + 1
        if key is not None:
            self._made[key] = outs
        return outs

    @staticmethod
    def types(op: Op, args: tuple[Operand, ...], attrs: dict[str, Any]) -> tuple[tuple[Type, ...], list[tuple[Any, Any]]]:
        """The types of the results, and the pairs of sizes taken to be equal."""
        with sizes.assuming() as assumed:
            inferred = op.infer(*(a.type for a in args), **attrs)
        return (inferred if isinstance(inferred, tuple) else (inferred,)), assumed

    def literal(self, value: Operand, place: Place | None = None, name: str = "") -> Value:
        """`value` as a value: a literal becomes a `constant` line."""
        if isinstance(value, Value):
            return value
        return self.emit(structure.constant, (), {"value": value.value, "dtype": value.dtype}, place=place, name=name)[0]

    def _key(self, op: Op, args: tuple[Operand, ...], attrs: dict[str, Any]) -> Any:
        if any(isinstance(a, Graph) for a in attrs.values()):
            return None  # what a nested graph reads may have changed, what it writes would be written once
        version = self._version.get(attrs["cell"], 0) if op is structure.read else 0
        try:
            key = (
                op,
                tuple(a if isinstance(a, Literal) else id(a) for a in args),
                tuple(sorted((k, _exact(v)) for k, v in attrs.items())),
                version,
            )
            hash(key)
        except TypeError:
            return None
        return key

    def _folded(self, op: Op, args: tuple[Operand, ...], attrs: dict[str, Any], types: tuple[Type, ...]) -> Any:
        """`constant` in place of a pure op all of whose operands are literals."""
        if op.effect or op.binds_size or len(types) != 1 or not args or types[0].shape or types[0].dtype.kind == "c":
            return None
        if not all(isinstance(a, Literal) for a in args) or any(not sizes.is_known([d]) for a in attrs.values() for d in _flat(a)):
            return None
        with np.errstate(all="ignore"):
            value = op.eager(*(np.asarray(a.value, a.dtype.np) for a in args if isinstance(a, Literal)), **attrs)
        return structure.constant, (), {"value": np.asarray(value).astype(types[0].dtype.np).item(), "dtype": types[0].dtype}


def _flat(value: Any) -> list[Any]:
    return [x for v in value for x in _flat(v)] if isinstance(value, tuple) else [value]


def _exact(value: Any) -> Any:
    """An attribute as a key that tells 1 from 1.0 and True."""
    if isinstance(value, tuple):
        return ("tuple", *(_exact(v) for v in value))
    return (type(value).__name__, repr(value) if isinstance(value, float) else str(value))


def number(value: Any, dtype: dtypes.DType) -> Literal:
    """A literal of `dtype` from a Python or NumPy number."""
    array = np.asarray(value).astype(dtype.np)
    return Literal(float(array) if dtype.kind == "f" else array.item(), dtype)

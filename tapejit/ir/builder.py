"""The one door through which nodes are made: infers types, names results, keeps places; merges, folds and forwards where that is asked for.

Recording only appends. Passes after differentiation build with `merge=True`. Then a line equal to an earlier one is that one, a pure op
of numbers is a number, a read of a cell is what the cell is known to hold, and of the assignments of a cell the last one is written, at
the end. Effects, lines that bind sizes and lines that hold graphs are never made one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.places import Place
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.names import Names
from tapejit.ir.op import Op


class Builder:
    """Appends nodes to `graph.body`. `names` is shared by a graph and the graphs nested in it.

    With `merge`, `finish()` must be called at the end: it writes the assignments that were held back until then.
    """

    def __init__(self, graph: Graph, names: Names | None = None, *, merge: bool = False) -> None:
        self.graph, self.merge = graph, merge
        self.names = names if names is not None else Names()
        self._made: dict[Any, tuple[Value, ...]] = {}
        self._holds: dict[str, Operand] = {}  # what cells are known to hold
        self._pending: dict[str, Node] = {}  # their assignments that are not written yet

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
        found, key = self._found(op, args, attrs) if self.merge else (None, None)
        if found is not None:
            return tuple(self.literal(x, place, name if isinstance(name, str) else name[0]) for x in found)
        types, assumed = self.types(op, args, attrs)
        bases = name if isinstance(name, tuple) else (name,) * len(types)
        outs = tuple(Value(self.names.fresh(base or op.name), t) for base, t in zip(bases, types, strict=True))
        self.graph.guards.extend(g for g in assumed if g not in self.graph.guards)
        self._append(Node(op, args, attrs, outs, place, tapes), key)
        return outs

    def add(self, node: Node) -> tuple[Operand, ...]:
        """Add a line that has its types and names; returns what stands for its results: they themselves, unless its like is known."""
        found, key = self._found(node.op, node.args, node.attrs) if self.merge else (None, None)
        if found is not None:
            return found
        self._append(node, key)
        return node.outs

    def finish(self) -> None:
        """Write the assignments that were held back, after everything that may fail."""
        self.graph.body += self._pending.values()
        self._pending = {}

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
        attrs = {"value": value.value, "dtype": value.dtype}
        key = _key(structure.constant, (), attrs) if self.merge else None
        if key is None or key not in self._made:
            out = Value(self.names.fresh(name or structure.constant.name), value.type)
            self._append(Node(structure.constant, (), attrs, (out,), place), key)
            return out
        return self._made[key][0]

    # -------------------------------------------------------------------------------------- merging
    def _found(self, op: Op, args: tuple[Operand, ...], attrs: dict[str, Any]) -> tuple[tuple[Operand, ...] | None, Any]:
        """What stands for the results of a line without writing it, if anything does; and the key by which equal lines will find it."""
        if op is structure.read:
            held = self._holds.get(attrs["cell"])
            return None if held is None else (held,), None
        folded = folded_literal(op, args, attrs)
        if folded is not None:
            return (folded,), None
        key = _key(op, args, attrs)
        return self._made.get(key) if key is not None else None, key

    def _append(self, node: Node, key: Any) -> None:
        if key is not None:
            self._made[key] = node.outs
        if self.merge:
            if node.op is structure.assign:
                cell = node.attrs["cell"]
                self._holds[cell] = node.args[0]
                self._pending.pop(cell, None)
                self._pending[cell] = node
                return
            if node.op is structure.read:
                self._holds[node.attrs["cell"]] = node.out
            for g in node.graphs():
                self._around(g)
        self.graph.body.append(node)

    def _around(self, graph: Graph) -> None:
        """Before a line whose nested graph touches cells: it finds there what was assigned to them, and may leave something else."""
        written = structure.cells_written(graph)
        for cell in structure.cells_read(graph) | written:
            if cell in self._pending:
                self.graph.body.append(self._pending.pop(cell))
        for cell in written:
            self._holds.pop(cell, None)


def folded_literal(op: Op, args: tuple[Operand, ...], attrs: dict[str, Any]) -> Literal | None:
    """The scalar that a pure op of literals makes, None where it does not make one or fails. Complex numbers are not folded."""
    if op is structure.constant and not isinstance(attrs["value"], tuple) and attrs["dtype"].kind != "c":
        return number(attrs["value"], attrs["dtype"])
    if not args or op.effect or op.binds_size or not all(isinstance(a, Literal) and a.dtype.kind != "c" for a in args):
        return None
    if any(not sizes.is_known([d]) for a in attrs.values() for d in _flat(a)):
        return None
    inferred = op.infer(*(a.type for a in args), **attrs)
    if not isinstance(inferred, Type) or inferred.shape or inferred.dtype.kind == "c":
        return None
    try:
        with np.errstate(all="ignore"):
            value = op.eager(*(np.asarray(a.value, a.dtype.np) for a in args if isinstance(a, Literal)), **attrs)
    except InvalidArgumentError:  # the line says so when it runs
        return None
    return number(value, inferred.dtype)


def _key(op: Op, args: tuple[Operand, ...], attrs: dict[str, Any]) -> Any:
    """What makes two lines equal; None for lines that are never merged. What nested graphs do, they do once for each line."""
    if op.effect or op.binds_size or any(isinstance(a, Graph) for a in attrs.values()):
        return None
    try:
        key = (op, tuple(a if isinstance(a, Literal) else id(a) for a in args), tuple(sorted((k, _exact(v)) for k, v in attrs.items())))
        hash(key)
    except TypeError:
        return None
    return key


def _flat(value: Any) -> list[Any]:
    return [x for v in value for x in _flat(v)] if isinstance(value, tuple) else [value]


def _exact(value: Any) -> Any:
    """An attribute in a form that tells 1 from 1.0 and True, and 0.0 from -0.0."""
    if isinstance(value, tuple):
        return ("tuple", *(_exact(v) for v in value))
    return type(value).__name__, str(value) if isinstance(value, sizes.Size) else repr(value)


def number(value: Any, dtype: dtypes.DType) -> Literal:
    """A literal of `dtype` from a Python or NumPy number."""
    array = np.asarray(value).astype(dtype.np)
    return Literal(float(array) if dtype.kind == "f" else array.item(), dtype)


def nested_tuple(array: np.ndarray, dtype: DType) -> Any:
    """An array as nested tuples of Python numbers, as the `constant` line holds it."""
    if dtype.narrow:
        array = array.astype(np.float32)

    def freeze(x: Any) -> Any:
        return tuple(freeze(v) for v in x) if isinstance(x, list) else x

    return freeze(array.tolist())

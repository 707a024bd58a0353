"""Operands of rules that write lines: a `Symbol` stands for a value of a graph, and a `Writer` carries out ops on symbols by adding nodes.

In: op calls on symbols, numbers and small arrays while the writer is at work (`with writer.at_work():`). Out: nodes in the
graph of the writer's builder, and symbols for their results. Gradient rules and rewrite rules are both written with ops, so
this is how a pass runs either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InternalError
from tapejit.core.places import Place
from tapejit.core.sizes import Dim
from tapejit.ir import structure
from tapejit.ir.builder import Builder, nested_tuple, number
from tapejit.ir.graph import Literal, Node, Operand, Value
from tapejit.ir.op import Op, thread
from tapejit.ops.convert import as_array
from tapejit.ops.operand import Tensor


class Symbol(Tensor):
    """A value or literal of a graph as an operand of ops. Compared by identity; a writer makes one per value."""

    __slots__ = ("value",)

    def __init__(self, value: Operand) -> None:
        self.value = value

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self.value.type.dtype

    @property
    def dims(self) -> tuple[Dim, ...]:  # type: ignore[override]
        return self.value.type.shape

    def carry_out(self, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """Reached only when no writer is at work."""
        raise InternalError(f"{op.name} of {self.value!r} outside a pass that writes lines")

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"Symbol({self.value!r})"


class Writer:
    """Carries out ops by writing lines at the end of `builder.graph`.

    `place` and `tapes` are those of the lines to come, `base` is what they are steps of: they are called `base_1`, `base_2`, ...
    (by their ops without one). `wrote` is told of every line.
    """

    def __init__(self, builder: Builder, wrote: Callable[[Node], None] | None = None) -> None:
        self.builder, self.wrote = builder, wrote
        self.place: Place | None = None
        self.tapes: tuple[str, ...] = ()
        self.base = ""
        self._symbols: dict[int, Symbol] = {}

    def symbol(self, x: Operand) -> Symbol:
        """The symbol that stands for `x`: always the same one for a value."""
        if isinstance(x, Literal):
            return Symbol(x)
        found = self._symbols.get(id(x))
        if found is None:
            found = self._symbols[id(x)] = Symbol(x)
        return found

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within, this writer carries out the ops of the thread."""
        before, thread.recorder = thread.recorder, self
        try:
            yield
        finally:
            thread.recorder = before

    def carry_out(self, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """Write `op(*operands, **attrs)`."""
        outs = self.emit(op, self.operands(op, operands), attrs)
        symbols = tuple(self.symbol(v) for v in outs)
        if not symbols:
            return None
        return symbols if len(symbols) > 1 or getattr(op, "tuple_result", False) else symbols[0]

    def emit(self, op: Op, args: tuple[Operand, ...], attrs: dict[str, Any]) -> tuple[Value, ...]:
        """Write a line of values and literals; returns its results."""
        body = self.builder.graph.body
        before = len(body)
        base = self.base or op.name
        outs = self.builder.emit(op, args, attrs, place=self.place, tapes=self.tapes, name=base)
        if len(body) > before:
            names = self.builder.names
            for v in outs:
                if self.base and v.name == base and not op.binds_size:
                    names.give_back(v.name)
                    v.name = names.step(base)
            if self.wrote is not None:
                self.wrote(body[-1])
        return outs

    def operands(self, op: Op, operands: tuple[Any, ...]) -> tuple[Operand, ...]:
        """Values or literals for the operands of a rule; numbers take the dtype of the symbols they meet."""
        agree = op.same_dtype
        wanted: DType | None = None
        for i, x in enumerate(operands):
            if isinstance(x, Symbol) and (agree is None or i in agree):
                wanted = x.dtype
                break
        return tuple(self._operand(x, wanted if agree is None or i in agree else None) for i, x in enumerate(operands))

    def _operand(self, x: Any, wanted: DType | None) -> Operand:
        if isinstance(x, Symbol):
            return x.value
        if isinstance(x, Value | Literal):
            return x
        array = as_array(x, wanted)
        dtype = dtypes.as_dtype(array.dtype)
        if array.ndim == 0 and dtype.kind != "c":
            return number(array, dtype)
        return self.emit(structure.constant, (), {"value": nested_tuple(array, dtype), "dtype": dtype})[0]

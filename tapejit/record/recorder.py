"""The recorder: while a function is traced it carries out every op of its thread by writing a line into a graph.

In: op calls whose operands are symbolic tensors, eager tensors (captured), variables (cells), Python and NumPy values. Out: symbolic
tensors; the graph grows by one node a call, with the user's name and place. Nested recorders make the nested graphs of
loops and branches and share the outermost one's cells, captures and names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InaccessibleTensorError
from tapejit.core.places import Place, place_of, user_frame
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.builder import Builder, nested_tuple, number
from tapejit.ir.graph import Graph, Literal, Operand, Value
from tapejit.ir.op import Op, thread
from tapejit.ops.convert import as_array
from tapejit.ops.elementwise import full
from tapejit.ops.operand import Tensor
from tapejit.record.source import name_at

SMALL = 16  # arrays up to this many elements are written out in the text
_COUNTED = 64  # integer tensors up to this many elements carry them as sizes


class SymbolicTensor(Tensor):
    """A tensor that is a value of the graph being recorded. `elements`: its elements as dims, where they are known."""

    __slots__ = ("__weakref__", "elements", "recorder", "value")
    wrap: Callable[..., SymbolicTensor]  # the porch's own subclass, with all of TensorFlow's methods

    def __init__(self, value: Value, recorder: Recorder, elements: np.ndarray | None = None) -> None:
        self.value, self.recorder, self.elements = value, recorder, elements

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self.value.type.dtype

    @property
    def dims(self) -> tuple[Dim, ...]:  # type: ignore[override]
        return self.value.type.shape

    def carry_out(self, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """Reached only when no recorder is at work: the tensor has left the function that made it."""
        raise InaccessibleTensorError(places.with_place(self._out_of_scope()))

    def _out_of_scope(self) -> str:
        made = next((n.place for n in self.recorder.graph.walk() if self.value in n.outs), None)
        return (
            f"{self!r} is out of scope and cannot be used here. Use return values, explicit Python locals or TensorFlow collections to access it: "
            f"`{self.value.name}` is a line of the traced function {self.recorder.root.graph.name}"
            + (f"\nit was defined here:\n{made.quote()}\nit was used here:" if made else "")
        )


class Recorder:
    """Writes op calls into `graph`. `outer` is the recorder of the graph around a nested one.

    `observer` is a trace function (`sys.settrace`) that is there for the user's code only: it rests while an op is recorded.
    """

    observer: Any = None

    def __init__(self, graph: Graph, outer: Recorder | None = None) -> None:
        self.graph, self.outer = graph, outer
        self.root: Recorder = self if outer is None else outer.root
        self.builder: Builder = Builder(graph, outer.builder.names if outer else None)
        self.tapes: tuple[str, ...] = outer.tapes if outer else ()
        self._last: tuple[Any, Value, str] | None = None
        self._resized: dict[str, Type] = {}  # cells that the graph gives another size
        self.within: Recorder | None = None  # who was at work when the recording of a whole function began
        if outer is None:
            self.cells: dict[str, Any] = {}  # cell name -> variable
            self.captured: dict[str, Any] = {}  # const name -> tensor or array
            self._by_identity: dict[int, str] = {}
            self._const_values: dict[str, Value] = {}
            self._written: dict[int, Value] = {}
            self._size_count = 0
            self._aliases: dict[int, Value] = {}
            self.keep: list[Any] = []  # objects whose identity is a key must live as long as the recorder

    def creating(self, variable: Any, name: str | None = None, initial_value: Any = None) -> None:
        """Called when a variable is made while recording; the recorder of a whole function says whether that is allowed."""

    def evaluate(self, tensor: SymbolicTensor) -> Any:
        """The value of a symbolic tensor that depends on no argument; only the recorder of a whole function knows it."""
        raise NotImplementedError(f"the value of {tensor.value.name} while it is recorded")

    # ------------------------------------------------------------------------------------------ ops
    def carry_out(self, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """Record `op(*operands, **attrs)`."""
        tracer = sys.gettrace()
        if tracer is None or tracer is not self.observer:
            return self._carried_out(op, operands, attrs)
        sys.settrace(None)
        try:
            return self._carried_out(op, operands, attrs)
        finally:
            sys.settrace(tracer)

    def _carried_out(self, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        frame = user_frame(3)
        place = place_of(frame.f_code, frame.f_lasti) if frame is not None else None
        args = self.operands(op, operands)
        try:
            outs = self.named_lines(op, args, attrs, frame, place)
        except (ValueError, TypeError) as e:
            if place is not None and "\n  at " not in str(e):
                raise type(e)(f"{e}\n{place.quote()}") from None
            raise
        elements = self._elements(op, operands, attrs, outs)
        tensors = tuple(SymbolicTensor.wrap(v, self, elements) for v in outs)
        if not tensors:
            return None
        multiple = len(tensors) > 1 or getattr(op, "tuple_result", False)
        return tensors if multiple else tensors[0]

    def named_lines(self, op: Op, args: tuple[Operand, ...], attrs: dict[str, Any], frame: Any, place: Place | None) -> tuple[Value, ...]:
        """Write a line, its results named as the source names what is computed at the instruction where `frame` is."""
        name = name_at(frame.f_code, frame.f_lasti) if frame is not None else None
        if name is None or not name.base:
            self._last = None
            return self.builder.emit(op, args, attrs, place=place, tapes=self.tapes)
        names, key = self.builder.names, (id(frame), frame.f_lasti)
        if name.whole and self._last is not None and self._last[0] == key:
            # the same expression made a value a moment ago, so that was a step on the way to this one
            _, earlier, taken = self._last
            if earlier.name == taken:
                names.give_back(taken)
                earlier.name = names.step(name.base)
        outs = self.builder.emit(op, args, attrs, place=place, tapes=self.tapes, name=name.base)
        if not name.whole:
            for v in outs:
                if v.name == name.base:
                    v.name = names.step(name.base)
                    names.give_back(name.base)
        self._last = (key, outs[0], outs[0].name) if name.whole and len(outs) == 1 else None
        return outs

    def _elements(self, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any], outs: tuple[Value, ...]) -> np.ndarray | None:
        """The elements of a small integer result as dims, where those of all operands are known."""
        if not op.on_sizes or len(outs) != 1 or outs[0].type.dtype.kind not in "iu" or not sizes.is_known(outs[0].type.shape):
            return None
        if not sizes.is_known([outs[0].type.size]) or sizes.evaluate(outs[0].type.size, {}) > _COUNTED:
            return None
        known: list[np.ndarray] = []
        for x in operands:
            e = elements_of(x)
            if e is None:
                return None
            known.append(e)
        try:
            return np.asarray(op.eager(*known, **attrs), dtype=object)
        except TypeError:  # it depends on the value of a size that is known only at run time
            return None

    # ------------------------------------------------------------------------------------ operands
    def operands(self, op: Op, operands: tuple[Any, ...]) -> tuple[Operand, ...]:
        """Values or literals for whatever a user passes; Python and NumPy values take the dtype of the tensors they meet."""
        agree = op.same_dtype
        wanted: DType | None = None
        for i, x in enumerate(operands):
            if isinstance(getattr(x, "dtype", None), DType) and (agree is None or i in agree):
                wanted = x.dtype
                break
        return tuple(self.operand(x, wanted if agree is None or i in agree else None) for i, x in enumerate(operands))

    def operand(self, x: Any, wanted: DType | None = None) -> Operand:
        """One operand; see `operands`."""
        if isinstance(x, SymbolicTensor):
            if x.recorder is self or any(at is x.recorder for at in self.around()):
                return x.value
            return self._from_around(x)
        if hasattr(x, "enter_graph"):
            known = self.alias(x)
            return x.enter_graph(self) if known is None else known
        if isinstance(x, Literal | Value):
            return x
        if hasattr(x, "to_tensor"):
            return self.operand(x.to_tensor())
        array = as_array(x, wanted)
        dtype = dtypes.as_dtype(array.dtype)
        if array.ndim == 0 and dtype.kind != "c":
            return number(array, dtype)
        return self.constant(array, x)

    def _from_around(self, x: SymbolicTensor) -> Value:
        """A tensor of a function that is being traced around this one, captured. InaccessibleTensorError for one of any other function."""
        at = self.root.within
        while at is not None and not any(one is x.recorder for one in at.around()):
            at = at.root.within
        if at is None or not sizes.is_known(x.dims):
            raise InaccessibleTensorError(places.with_place(x._out_of_scope()))
        return self.capture(x, x.value, x.value.name)

    def held(self, held: Any) -> Operand:
        """What stands here for a tensor or array that another function captured."""
        if isinstance(held, SymbolicTensor):
            return self.operand(held)
        return held.enter_graph(self) if hasattr(held, "enter_graph") else self.constant(held, held)

    def stands_for(self, x: Any, value: Value) -> None:
        """From here on the tensor `x` from outside is `value`: a recording is written again with other operands."""
        self.root._aliases[id(x)] = value
        self.root.keep.append(x)

    def alias(self, x: Any) -> Value | None:
        """What stands for a tensor from outside, where that was said."""
        return self.root._aliases.get(id(x)) if self.root._aliases else None

    def constant(self, array: np.ndarray, source: Any = None) -> Value:
        """A value for an array: written out where it is small, otherwise held by reference (a snapshot of a user's ndarray)."""
        dtype = dtypes.as_dtype(array.dtype)
        if array.size <= SMALL and dtype.kind != "c":
            op, attrs = _spelled(array, dtype)
            return self.builder.emit(op, (), attrs, tapes=self.tapes, place=places.here(2))[0]
        return self.capture(np.array(array) if source is array else array, source if source is not None else array, "array")

    def written_out(self, array: np.ndarray, identity: Any) -> Value:
        """The one value that stands for a small tensor from outside, written out at the top of the graph: tapes know it by identity."""
        root = self.root
        value = root._written.get(id(identity))
        if value is None:
            op, attrs = _spelled(array, dtypes.as_dtype(array.dtype))
            (value,) = root.builder.emit(op, (), attrs, place=places.here(2))
            root.graph.body.insert(0, root.graph.body.pop())  # where every nested graph sees it
            root._written[id(identity)] = value
            root.keep.append(identity)
        return value

    def tensors_written_out(self) -> list[tuple[Value, Any]]:
        """The values that stand for small tensors from outside that a tape may follow, and these tensors."""
        held = {id(x): x for x in self.root.keep}
        return [(v, held[k]) for k, v in self.root._written.items() if v.type.dtype.differentiable]

    def capture(self, held: Any, identity: Any, base: str) -> Value:
        """The value of `const.<name>` that stands for the tensor or array `held`; the same object is captured once."""
        root = self.root
        name = root._by_identity.get(id(identity))
        if name is None:
            name = root.builder.names.fresh(base)
            root._by_identity[id(identity)] = name
            root.captured[name] = held
            root.keep.append(identity)
            type = Type(dtypes.as_dtype(held.dtype), tuple(held.dims) if hasattr(held, "dims") else held.shape)
            root.graph.consts[name] = type
            node_value = root.builder.emit(structure.const, (), {"const": name, "type": type}, name=name)[0]
            root.graph.body.insert(0, root.graph.body.pop())  # at the top, where every nested graph sees it
            root._const_values[name] = node_value
        return root._const_values[name]

    # --------------------------------------------------------------------------------------- cells
    def cell(self, variable: Any, base: str, type: Type) -> str:
        """The name of the cell that stands for `variable`. Sizes along its `open_axes` are those it has when the function runs."""
        root = self.root
        name = root._by_identity.get(id(variable))
        if name is None:
            name = root.builder.names.fresh(base)
            root.builder.names.give_back(name)  # values read from the cell may have its name
            while name in root.cells:
                name = root.builder.names.step(base)
            root._by_identity[id(variable)] = name
            root.cells[name] = variable
            root.keep.append(variable)
            dims = [sizes.named(self.new_size("N")) if k in variable.open_axes else d for k, d in enumerate(type.shape)]
            root.graph.cells[name] = type.with_shape(tuple(dims))
        return name

    def cell_type(self, cell: str) -> Type:
        """The type of what a cell holds at this point of the program."""
        return next((at._resized[cell] for at in self.around() if cell in at._resized), self.root.graph.cells[cell])

    def read(self, variable: Any, base: str, type: Type) -> Value:
        """The value of a variable at this point of the program."""
        cell = self.cell(variable, base, type)
        attrs = {"cell": cell, "type": self.cell_type(cell)}
        return self.builder.emit(structure.read, (), attrs, name=cell, tapes=self.tapes, place=places.here(2))[0]

    def assign(self, variable: Any, base: str, type: Type, value: Any) -> None:
        """From here on the variable has `value`."""
        cell = self.cell(variable, base, type)
        place = places.here(2)
        self.write(cell, self.builder.literal(self.operand(value, type.dtype), place, base), place)

    def write(self, cell: str, value: Value, place: Place | None) -> None:
        """From here on the cell has `value`."""
        self.builder.emit(structure.assign, (value,), {"cell": cell}, place=place, tapes=self.tapes)
        if value.type != self.cell_type(cell):
            self._resized[cell] = value.type

    # --------------------------------------------------------------------------------------- sizes
    def new_size(self, base: str = "") -> str:
        """A name for a size that no one has named: B, then N1, N2, ..."""
        root = self.root
        if base:
            return root.builder.names.fresh(base)
        root._size_count += 1
        return root.builder.names.fresh("B" if root._size_count == 1 else f"N{root._size_count - 1}")

    # -------------------------------------------------------------------------------------- nesting
    @contextmanager
    def nested(self, name: str) -> Iterator[Recorder]:
        """Record a nested graph: within, ops go into a graph of its own."""
        inner = self.inner(name)
        with recording(inner):
            yield inner

    def inner(self, name: str) -> Recorder:
        """A recorder of a nested graph."""
        return Recorder(Graph(self.builder.names.fresh(name), cells=self.root.graph.cells, consts=self.root.graph.consts), self)

    def around(self) -> Iterator[Recorder]:
        """This recorder and those of the graphs around it, outwards."""
        at: Recorder | None = self
        while at is not None:
            yield at
            at = at.outer


def elements_of(x: Any) -> np.ndarray | None:
    """The elements of an integer tensor as an object array of dims, if they are known while recording."""
    if isinstance(x, SymbolicTensor):
        return x.elements
    if isinstance(x, bool | float | complex):
        return None
    if hasattr(x, "numpy_view"):
        x = x.numpy_view()
    if isinstance(x, int | np.integer) or (isinstance(x, np.ndarray) and x.dtype.kind in "iu" and x.size <= _COUNTED):
        return np.asarray(x).astype(object)
    if isinstance(x, list | tuple) and len(x) <= _COUNTED and all(isinstance(i, int | sizes.Size) for i in x):
        out = np.empty(len(x), dtype=object)
        out[:] = list(x)
        return out
    return None


def _spelled(array: np.ndarray, dtype: DType) -> tuple[Op, dict[str, Any]]:
    """The op and attributes that write out a small array."""
    if array.size == 0:  # nested brackets do not say how long the axes behind an empty one are
        return full, {"shape": array.shape, "value": number(0, dtype).value, "dtype": dtype}
    return structure.constant, {"value": nested_tuple(array, dtype), "dtype": dtype}


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Within, `recorder` carries out the ops of this thread (None: nobody does, they run eagerly)."""
    before, thread.recorder = thread.recorder, recorder
    try:
        yield
    finally:
        thread.recorder = before

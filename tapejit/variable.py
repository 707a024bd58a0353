"""Variables: named state that ops read and `assign` changes.

A variable points at an immutable tensor; assigning points it at another one, so a tensor read before keeps its value. While a
function is traced a variable is a cell of the graph.
"""

from __future__ import annotations

import itertools
from enum import Enum
from typing import Any

import numpy as np

from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.names import identifier
from tapejit.ir.op import Op, thread
from tapejit.ops.broadcasting import broadcast_like
from tapejit.ops.gathering import in_range, scatter
from tapejit.ops.indexing import getitem, plan, positions
from tapejit.ops.operand import Operand
from tapejit.ops.shapes import ensure_shape, identity, reshape
from tapejit.ops.slicing import numpy_key
from tapejit.record.recorder import Recorder, recording
from tapejit.record.source import name_at
from tapejit.scope import name_scope, scoped
from tapejit.selection import gather, gather_nd, scattered
from tapejit.tensor import EagerTensor, Reference, convert_to_tensor, execute, shown


class VariableSynchronization(Enum):
    """When replicas of a variable would be brought together (`tf.VariableSynchronization`); there are none."""

    AUTO = 0
    NONE = 1
    ON_WRITE = 2
    ON_READ = 3


class VariableAggregation(Enum):
    """How replicas of a variable would be brought together (`tf.VariableAggregation`); there are none."""

    NONE = 0
    SUM = 1
    MEAN = 2
    ONLY_FIRST_REPLICA = 3


_made = itertools.count()


def _refused(called: str, sign: str, instead: str) -> Any:
    """What `v += value` and its kin do, which in Python would make `v` another object. `called`: what messages call the variable."""

    def refuse(self: Variable, other: Any) -> Any:
        raise RuntimeError(
            places.with_place(
                f"`{called} {sign}= value` with `tf.Variable`s is not supported. Use `{called}.{instead}` to modify the variable, or "
                f"`out = {called} {sign} value` if you need to get a new output Tensor."
            )
        )

    return refuse


class Variable(Operand):
    """TensorFlow's `tf.Variable`: `initial_value` a tensor, number, array or a callable that makes one.

    `shape` may leave sizes open (`TensorShape([None, 2])`), which later assignments may then change. Raises ValueError for an initial
    value that does not fit `dtype` or `shape`.
    """

    internal = False  # whether it is ours: a cell of traced functions, but none of the variables that they are said to use

    __slots__ = ("__dict__", "__weakref__", "_created_at", "_dtype", "_group", "_name", "_static", "_trainable", "_value", "order")

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        import_scope: Any = None,
        constraint: Any = None,
        synchronization: Any = VariableSynchronization.AUTO,
        aggregation: Any = VariableAggregation.NONE,
        shape: Any = None,
    ) -> None:
        if initial_value is None:
            raise ValueError(places.with_place("initial_value must be specified: tf.Variable(0.0) or tf.Variable(tf.zeros([2]))"))
        created = thread.recorder
        if created is not None:
            created.root.creating(self, name, initial_value)
        with recording(None):
            if callable(initial_value) and not hasattr(initial_value, "dims"):
                initial_value = initial_value()
            if isinstance(initial_value, GraphTensor):
                initial_value = initial_value.recorder.root.evaluate(initial_value)
            tensor = convert_to_tensor(initial_value) if hasattr(initial_value, "dims") else convert_to_tensor(initial_value, dtype)
        array = np.array(tensor.numpy_view(), order="C")
        wanted = tensor.dtype if dtype is None else dtypes.as_dtype(dtype)
        self._value = EagerTensor(array if wanted is tensor.dtype else array.astype(wanted.np))
        self._dtype = wanted
        self._static = TensorShape(array.shape) if shape is None else TensorShape(shape)
        if not self._static.is_compatible_with(array.shape):
            raise ValueError(
                places.with_place(
                    f"The initial value's shape ({TensorShape(array.shape)}) is not compatible with the explicitly supplied `shape` argument ({self._static})."
                )
            )
        self._trainable = trainable is not False
        self.order = next(_made)  # variables are listed in the order of their making
        self._name = scoped(name or "Variable")
        self.constraint = constraint
        self.synchronization, self.aggregation = synchronization, aggregation
        frame = places.user_frame()
        self._created_at = None if frame is None else (frame.f_code, frame.f_lasti)
        for listener in list(_listeners.values()):
            listener.made(self)
        if created is None:
            for tape in thread.tapes:
                tape.assigned(self, tensor)

    # ---------------------------------------------------------------- what ops and recorders ask
    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self._dtype

    @property
    def dims(self) -> tuple[Dim, ...]:  # type: ignore[override]
        recorder = thread.recorder
        if recorder is None or not self.open_axes:
            return self._value._array.shape
        return recorder.cell_type(recorder.cell(self, self.label(), self.cell_type())).shape

    @property
    def open_axes(self) -> tuple[int, ...]:
        """The axes along which assignments may change the size."""
        if self._static.is_fully_defined():
            return ()
        return tuple(k for k in range(self._value._array.ndim) if self._static.rank is None or self._static[k] is None)

    def kept_shape(self) -> tuple[int | None, ...]:
        """The sizes that it keeps, None where assignments may change them."""
        return tuple(None if k in self.open_axes else d for k, d in enumerate(self._value._array.shape))

    def read_tensor(self) -> Any:
        """The current value as a tensor; the tapes of the thread see the read."""
        if thread.recorder is not None:
            return GraphTensor(self.enter_graph(thread.recorder), thread.recorder)
        value = self._value
        for tape in thread.tapes:
            tape.saw(self, value)
        return value

    def known_dim(self) -> Dim | None:
        """This integer scalar as a dim; None while a function is traced, which may be run when it has another value."""
        return None if thread.recorder is not None else int(self.read_tensor())

    def as_dim(self, base: str = "N") -> Dim:
        """This integer scalar as a dim."""
        return self.read_tensor().as_dim(base)

    def label(self) -> str:
        """The name of the cell in graphs: the variable's own, or what the user's source calls it where it is created."""
        named = self._name.rpartition("/")[2] != "Variable"
        if named or self._created_at is None:
            return identifier(self._name if named else "variable")
        return identifier(name_at(*self._created_at).base or "variable")

    def cell_type(self) -> Type:
        """The type of the cell that stands for this variable in a graph."""
        return Type(self._dtype, self._value._array.shape)

    def enter_graph(self, recorder: Recorder) -> Any:
        for tape in thread.tapes:
            tape.saw(self, None)
        return recorder.read(self, self.label(), self.cell_type())

    def carry_out(self, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        return execute(op, operands, attrs)

    # ------------------------------------------------------------------------------ TensorFlow's
    @property
    def shape(self) -> TensorShape:
        return self._static

    @property
    def ndim(self) -> int:
        return len(self.dims)

    @property
    def trainable(self) -> bool:
        return self._trainable

    @property
    def name(self) -> str:
        return self._name + ":0"

    @property
    def device(self) -> str:
        return self._value.device

    @property
    def handle(self) -> Variable:
        return self

    def get_shape(self) -> TensorShape:
        return self._static

    def value(self) -> Any:
        """The current value as a tensor of its own, which can be given away (`donate=`)."""
        if thread.recorder is not None:
            return self.read_tensor()
        value = EagerTensor(self._value._array)
        for tape in thread.tapes:
            tape.saw(self, value)
        return value

    read_value = value

    def is_initialized(self, name: str | None = None) -> Any:
        """Whether it has a value, a bool scalar: it always has."""
        return convert_to_tensor(True)

    @property
    def initial_value(self) -> Any:
        """RuntimeError: a variable keeps its present value alone, as in TensorFlow."""
        raise RuntimeError(
            places.with_place(
                "initial_value is not supported when eager execution is enabled; keep the tensor that the variable is made from"
            )
        )

    def initialized_value(self) -> Any:
        return self.read_tensor()

    def numpy(self) -> Any:
        """A copy of the value: an ndarray, or a NumPy scalar."""
        if thread.recorder is not None:
            raise NotImplementedError(
                places.with_place(
                    f"numpy() is only available when eager execution is enabled: {self.name} is a cell of the function being traced; use its value as a tensor"
                )
            )
        out = self._value.numpy()
        for tape in thread.tapes:
            tape.gave(self, out)
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype)

    def __dlpack__(self, **options: Any) -> Any:
        return self._value.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._value.__dlpack_device__()

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Variable:
        """Set the value. ValueError if its shape does not fit, InvalidArgumentError if its dtype is another; returns the variable."""
        recorder = thread.recorder
        if recorder is not None:
            shape = value.dims if hasattr(value, "dims") else np.shape(value)
            self._check(shape, getattr(value, "dtype", None))
            if len(shape) != self._value._array.ndim:
                raise NotImplementedError(
                    places.with_place(
                        f"assigning shape {TensorShape(shape)} to the variable {self.name!r} of shape {self._value.shape} in a traced function: "
                        "there its rank stays. Return the tensor and assign it outside"
                    )
                )
            sized = tuple(d if k in self.open_axes else n for k, (d, n) in enumerate(zip(shape, self._value._array.shape, strict=True)))
            if sized != tuple(shape):  # whether it has the sizes that the variable keeps is known when the function runs
                value = ensure_shape(value, shape=sized)
            recorder.assign(self, self.label(), self.cell_type(), value)
            return self
        if type(value) is not EagerTensor:
            value = self._converted(value)
        array = value._array
        if array.shape != self._value._array.shape or array.dtype != self._value._array.dtype:
            self._check(array.shape, value.dtype)
        self._value = EagerTensor(np.asarray(array, order="C"))  # as compiled steps want it
        for tape in thread.tapes:
            tape.assigned(self, value)
        return self

    def _converted(self, value: Any) -> EagerTensor:
        tensor = convert_to_tensor(value) if hasattr(value, "dims") else convert_to_tensor(value, self._dtype)
        if not isinstance(tensor, EagerTensor):
            identity(tensor)  # a tensor of a function being traced has no value; this says so
        return tensor if isinstance(value, EagerTensor) else EagerTensor(tensor._array)

    def _check(self, shape: tuple[Dim, ...], dtype: Any) -> None:
        if isinstance(dtype, DType) and dtype is not self._dtype:
            raise InvalidArgumentError(
                places.with_place(
                    f"{self.name} has dtype {self._dtype.name} and cannot be assigned a {dtype.name} tensor; write tf.cast(value, tf.{self._dtype.name})"
                )
            )
        if not self._static.is_compatible_with(TensorShape(shape)):
            raise ValueError(
                places.with_place(
                    f"Cannot assign value to variable '{self.name}': Shape mismatch. The variable shape {self._static}, and the assigned value shape {TensorShape(shape)} are incompatible."
                )
            )

    def assign_add(self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Variable:
        """`assign(self + delta)`; of `IndexedSlices` only the rows that they name are touched."""
        return self._update("+", delta)

    def assign_sub(self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Variable:
        """`assign(self - delta)`; of `IndexedSlices` only the rows that they name are touched."""
        return self._update("-", delta)

    def _update(self, sign: str, delta: Any) -> Variable:
        if hasattr(delta, "to_tensor") and delta.shape == self.shape:  # IndexedSlices
            return self.scatter_add(delta) if sign == "+" else self.scatter_sub(delta)
        if thread.recorder is None:
            with paused_tapes():  # an assignment is not differentiable, so nothing of it belongs on a tape
                value = self._converted(delta)
                change, array = value._array, self._value._array
                if getattr(change, "shape", None) != array.shape or change.dtype != array.dtype:
                    self._check(change.shape, dtypes.as_dtype(change.dtype))
                self._value = EagerTensor(np.asarray(array + change if sign == "+" else array - change, order="C"))
            for tape in thread.tapes:
                tape.assigned(self, value)
            return self
        value = self.read_tensor()
        return self.assign(value + delta if sign == "+" else value - delta)

    # --------------------------------------------------------------------------- parts of a variable
    def __getitem__(self, key: Any) -> Any:
        """`self[key]` as a tensor; `self[key].assign(value)` changes that part of the variable."""
        out = getitem(self, key)
        out._origin = lambda value, how: self._assign_part(key, value, how)
        return out

    def _assign_part(self, key: Any, value: Any, how: str) -> Variable:
        asked = plan(self.dims, key)
        with paused_tapes():
            rows = convert_to_tensor(value) if hasattr(value, "dims") else convert_to_tensor(value, self._dtype)
            if rows.dtype is not self._dtype:
                self._check(self.dims, rows.dtype)
            if thread.recorder is None:
                taken = tuple(d for k, d in enumerate(asked.size) if k not in asked.drop)
                part = np.broadcast_to(rows.numpy_view(), asked.shape).reshape(taken)  # type: ignore[arg-type]
                array = np.array(self._value._array)
                at = numpy_key(asked.begin, asked.size, asked.stride, asked.drop)  # type: ignore[arg-type]
                array[at] = part if how == "set" else array[at] + part if how == "add" else array[at] - part
                self._value = EagerTensor(array)
                return self
            rows = broadcast_like(-rows if how == "sub" else rows, asked.shape)
            flat = reshape(self.read_tensor(), shape=(sizes.product(self.dims),))
            new = scatter(flat, positions(asked, self.dims), rows, combine="set" if how == "set" else "add")
            return self.assign(reshape(new, shape=self.dims))

    def _scattered(self, indices: Any, updates: Any, combine: str) -> Variable:
        with paused_tapes():
            return self.assign(scattered(self.read_tensor(), indices, updates, combine))

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Variable:
        """The slices that index vectors name become `updates`."""
        return self._scattered(indices, updates, "set")

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Variable:
        """`updates` added at index vectors."""
        return self._scattered(indices, updates, "add")

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Variable:
        """`updates` subtracted at index vectors."""
        with paused_tapes():
            rows = convert_to_tensor(updates) if hasattr(updates, "dims") else convert_to_tensor(updates, self._dtype)
            return self._scattered(indices, -rows, "add")

    def scatter_nd_max(self, indices: Any, updates: Any, name: str | None = None) -> Variable:
        """The elements at index vectors raised to at least `updates`."""
        return self._scattered(indices, updates, "max")

    def scatter_nd_min(self, indices: Any, updates: Any, name: str | None = None) -> Variable:
        """The elements at index vectors lowered to at most `updates`."""
        return self._scattered(indices, updates, "min")

    def _scattered_rows(self, sparse_delta: Any, combine: str, turned: Any = None) -> Variable:
        if not hasattr(sparse_delta, "indices"):
            raise TypeError(
                places.with_place(f"sparse_delta is not IndexedSlices: {sparse_delta!r}; write tf.IndexedSlices(values, indices)")
            )
        with paused_tapes():
            ids = in_range(sparse_delta.indices, limit=self.dims[0])
            rows = broadcast_like(sparse_delta.values, (*ids.dims, *self.dims[1:]))
            return self.assign(scatter(self.read_tensor(), ids, rows if turned is None else turned(rows), combine=combine))

    def scatter_update(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Variable:
        """The rows that `IndexedSlices` name become its values."""
        return self._scattered_rows(sparse_delta, "set")

    def scatter_add(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Variable:
        """`IndexedSlices` added."""
        return self._scattered_rows(sparse_delta, "add")

    def scatter_sub(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Variable:
        """`IndexedSlices` subtracted."""
        return self._scattered_rows(sparse_delta, "add", lambda rows: -rows)

    def scatter_max(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Variable:
        """The rows that `IndexedSlices` name raised to at least its values."""
        return self._scattered_rows(sparse_delta, "max")

    def scatter_min(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Variable:
        """The rows that `IndexedSlices` name lowered to at most its values."""
        return self._scattered_rows(sparse_delta, "min")

    def scatter_mul(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Variable:
        """The rows that `IndexedSlices` name multiplied by its values."""
        return self._scattered_rows(sparse_delta, "mul")

    def scatter_div(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Variable:
        """The rows that `IndexedSlices` name divided by its values."""
        return self._scattered_rows(sparse_delta, "mul", lambda rows: 1 / rows)

    def sparse_read(self, indices: Any, name: str | None = None) -> Any:
        """The rows at `indices`; the gradient of the variable stays sparse."""
        return gather(self, indices)

    def gather_nd(self, indices: Any, name: str | None = None) -> Any:
        """The slices at index vectors."""
        return gather_nd(self, indices)

    def ref(self) -> Reference:
        return Reference(self)

    __iadd__ = _refused("variable", "+", "assign_add(value)")
    __isub__ = _refused("variable", "-", "assign_sub(value)")
    __imul__, __itruediv__, __ipow__ = (_refused("var", sign, f"assign(var {sign} value)") for sign in ("*", "/", "**"))

    def __float__(self) -> float:
        return float(self.read_tensor())

    def __int__(self) -> int:
        return int(self.read_tensor())

    def __complex__(self) -> complex:
        return complex(self.read_tensor())

    def __bool__(self) -> bool:
        return bool(self.read_tensor())

    def __index__(self) -> int:
        return self.read_tensor().__index__()

    def __len__(self) -> int:
        return len(self.read_tensor())

    def __iter__(self) -> Any:
        return iter(self.read_tensor())

    def __copy__(self) -> Variable:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: Any) -> Variable:
        with name_scope(""):
            copy = Variable(self.numpy(), trainable=self._trainable, name=self._name, dtype=self._dtype, shape=self._static)
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> tuple:
        return _restored, (self.numpy(), self._trainable, self._name, self._dtype)

    def __hash__(self) -> int:
        raise TypeError(places.with_place("Variable is unhashable. Instead, use variable.ref() as the key."))

    def __repr__(self) -> str:
        if thread.recorder is not None:
            return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"
        return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}, numpy={shown(self._value._array, repr)}>"


def _restored(value: Any, trainable: bool, name: str, dtype: DType) -> Variable:
    with name_scope(""):
        return Variable(value, trainable=trainable, name=name, dtype=dtype)


def variable_behind(x: Any) -> Any:
    """The variable that `x` stands for, which its `handle` says; anything else is itself."""
    return getattr(x, "handle", x) if hasattr(x, "read_tensor") else x


# ------------------------------------------------------------------------------------- who is told of new variables
_listeners: dict[int, Any] = {}


def listen(listener: Any) -> None:
    """Have `listener.made(variable)` called with each variable made from now on."""
    _listeners[id(listener)] = listener


def unlisten(listener: Any) -> None:
    """Undo `listen`."""
    _listeners.pop(id(listener), None)


class paused_tapes:
    """Within, no tape of the thread records."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before, thread.tapes = thread.tapes, ()

    def __exit__(self, *error: Any) -> None:
        thread.tapes = self._before

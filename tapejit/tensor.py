"""Eager tensors: an array and TensorFlow's manners. Also conversion to tensors and the executor of eager ops.

In: op calls outside any traced function; out: `EagerTensor`s. The tapes of the thread see every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, places
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, default_carrier, thread
from tapejit.ops.convert import as_array
from tapejit.ops.joining import stack
from tapejit.ops.operand import Tensor
from tapejit.record.recorder import SMALL, Recorder, SymbolicTensor
from tapejit.record.sizes import dims_of_elements

_DTYPE_OF = {d.np: d for d in dtypes.ALL}


class _Errstate:
    """NumPy's warnings switched off and on by its public interface."""

    def set(self, how: Any) -> Any:
        return np.seterr(all=how)

    def reset(self, before: Any) -> None:
        np.seterr(**before)


# NumPy's floating-point warnings are silenced around eager ops. `np.errstate` costs more than a small op; the context
# variable below it is the same switch. A NumPy that has no such variable is switched by its public interface.
_quiet: Any
_QUIET: Any
try:
    _quiet = np._core.umath._extobj_contextvar  # type: ignore[attr-defined]
    _QUIET = np._core.umath._make_extobj(all="ignore")  # type: ignore[attr-defined]
except AttributeError:
    _quiet, _QUIET = _Errstate(), "ignore"


ASSIGNMENTS = {"assign": "set", "assign_add": "add", "assign_sub": "sub"}


def assignment(tensor: Any, name: str) -> Any:
    """`v[key].assign` and its kin, which a tensor has that was just sliced from a variable. AttributeError for any other."""
    try:
        update = object.__getattribute__(tensor, "_origin")
    except AttributeError:
        raise AttributeError(
            places.with_place(f"a tensor has no attribute {name!r}: tensors are immutable; keep what changes in a tf.Variable")
        ) from None

    def assign(
        value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True, how: str = ASSIGNMENTS[name]
    ) -> Any:
        return update(value, how)

    return assign


class EagerTensor(Tensor):
    """A tensor with a value. Immutable: nobody writes into its array.

    `_origin` is set on slices of variables: what to call to assign to the slice.
    """

    __slots__ = ("__weakref__", "_array", "_origin")

    def __init__(self, array: Any) -> None:
        self._array = array  # an ndarray, or for scalars possibly a NumPy scalar

    # ---------------------------------------------------------------- what ops and recorders ask
    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return _DTYPE_OF[self._array.dtype]

    @property
    def dims(self) -> tuple[int, ...]:  # type: ignore[override]
        return self._array.shape

    def numpy_view(self) -> np.ndarray:
        """The array itself, for reading only."""
        if type(self._array) is not np.ndarray:
            self._array = np.asarray(self._array)
        return self._array

    def enter_graph(self, recorder: Recorder) -> Any:
        """What a graph being recorded writes for this tensor: its elements where they are few, else a capture by reference."""
        array = self.numpy_view()
        if array.size <= SMALL and array.dtype.kind != "c":
            return recorder.written_out(array, self)
        return recorder.capture(self, self, "tensor")

    def carry_out(self, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        return execute(op, operands, attrs)

    def known_dim(self) -> Dim | None:
        """This integer scalar as a dim."""
        return _decided(self, int(self._array))

    def as_dim(self, base: str = "N") -> Dim:
        """This integer scalar as a dim."""
        return _decided(self, int(self._array))

    # ------------------------------------------------------------------------------ TensorFlow's
    @property
    def shape(self) -> TensorShape:
        return TensorShape(self._array.shape)

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def device(self) -> str:
        return "/job:localhost/replica:0/task:0/device:CPU:0"

    def get_shape(self) -> TensorShape:
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """ValueError if the tensor's shape is not one of those that `shape` stands for."""
        if not self.shape.is_compatible_with(shape):
            raise ValueError(places.with_place(f"Tensor's shape {self.shape} is not compatible with supplied shape {TensorShape(shape)}."))

    def numpy(self) -> Any:
        """The value as an ndarray of its own, or as a NumPy scalar where the tensor is one."""
        out = self._array[()] if self._array.ndim == 0 else self._array.copy()
        return _given(self, out) if thread.tapes else out

    def ref(self) -> Reference:
        """A hashable stand-in for this tensor."""
        return Reference(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy_view()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"a tensor of dtype {array.dtype} cannot be seen as {np.dtype(dtype)} without a copy")
            return _given(self, array.astype(dtype))
        if copy is False:
            view = array.view()
            view.flags.writeable = False
            return _given(self, view)
        return _given(self, array.copy())

    def __dlpack__(self, **options: Any) -> Any:
        # consumers may write into what they get, and tensors are immutable: hand out a copy
        return np.array(self._array).__dlpack__(**{k: v for k, v in options.items() if k != "copy"})

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __getattr__(self, name: str) -> Any:
        if name in ASSIGNMENTS:
            return assignment(self, name)
        raise AttributeError(f"'EagerTensor' object has no attribute {name!r}")

    def _scalar(self, to: str) -> Any:
        if self._array.size != 1 or (self._array.ndim > 0 and to == "index"):
            raise TypeError(places.with_place(f"only tensors with one element can be converted to a Python {to}, got shape {self.shape}"))
        out = self._array.item() if self._array.ndim == 0 else self._array.reshape(())[()].item()
        return _given(self, out) if thread.tapes else out

    def __float__(self) -> float:
        return float(self._scalar("float"))

    def __int__(self) -> int:
        return _decided(self, int(self._scalar("int")))

    def __complex__(self) -> complex:
        return complex(self._scalar("complex"))

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iu":
            raise TypeError(
                places.with_place(f"only integer tensors can be used as an index, got {self.dtype.name}; write tf.cast(i, tf.int32)")
            )
        return _decided(self, int(self._scalar("index")))

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise ValueError(
                places.with_place(
                    f"The truth value of a tensor with shape {self.shape} is ambiguous; write tf.reduce_any(x) or tf.reduce_all(x)"
                )
            )
        return _decided(self, bool(self._array))

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(
            places.with_place(
                "a tensor does not support item assignment: write x = tf.tensor_scatter_nd_update(x, indices, updates), or keep what changes in a "
                "tf.Variable and write v[...].assign(value)"
            )
        )

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise TypeError(places.with_place("Scalar tensor has no `len()`; tf.size(x) is 1"))
        return self._array.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if self._array.ndim == 0:
            raise TypeError(places.with_place("Cannot iterate over a scalar tensor; write tf.range(x) to count up to it"))
        return (self[i] for i in range(self._array.shape[0]))

    def __format__(self, spec: str) -> str:
        return format(self._array[()] if self._array.ndim == 0 else self._array, spec)

    def __copy__(self) -> EagerTensor:
        return self

    def __deepcopy__(self, memo: Any) -> EagerTensor:
        return EagerTensor(self._array.copy())

    def __reduce__(self) -> tuple:
        return convert_to_tensor, (self.numpy_view(),)

    def __hash__(self) -> int:
        raise TypeError(places.with_place("Tensor is unhashable. Instead, use tensor.ref() as the key."))

    def __repr__(self) -> str:
        return f"<tf.Tensor: shape={self.shape}, dtype={self.dtype.name}, numpy={shown(self._array, repr)}>"

    def __str__(self) -> str:
        return f"tf.Tensor({shown(self._array, str)}, shape={self.shape}, dtype={self.dtype.name})"


def _given(tensor: Any, value: Any) -> Any:
    """`value`, which a tensor is handed out as."""
    for tape in thread.tapes:
        tape.gave(tensor, value)
    return value


def _taken(value: Any, tensor: EagerTensor) -> EagerTensor:
    """`tensor`, the constant that `value` has become."""
    for tape in thread.tapes:
        tape.took(value, tensor)
    return tensor


def shown(array: Any, how: Callable[[Any], str]) -> str:
    """An array as the text of a tensor has it: by `how`, `str` or `repr`, on lines of its own if it takes several."""
    text = str(array[()]) if array.ndim == 0 else how(np.asarray(array))
    return f"\n{text}" if "\n" in text else text


def _decided(tensor: Any, value: Any) -> Any:
    """`value`, which a tensor has become for Python to decide by."""
    for tape in thread.tapes:
        tape.decided(tensor, value)
    return value


class Reference:
    """`tensor.ref()`: equal and of equal hash for the same object; `deref()` gives it back."""

    __slots__ = ("_to",)

    def __init__(self, to: Any) -> None:
        self._to = to

    def deref(self) -> Any:
        return self._to

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and other._to is self._to

    def __hash__(self) -> int:
        return id(self._to)

    def __repr__(self) -> str:
        return f"<Reference wrapping {self._to!r}>"


# ------------------------------------------------------------------------------------------------ eager execution
def execute(op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
    """Carry out an op on arrays at once, and let the tapes of the thread record it."""
    inputs: Any
    arrays: Any
    if len(operands) == 2:  # written out, because this is where eager programs spend their time
        x, y = operands
        if type(x) is not EagerTensor:
            x = _entered(op, x, operands, 0)
        if type(y) is not EagerTensor:
            y = _entered(op, y, operands, 1)
        inputs, arrays = (x, y), (x._array, y._array)
        if arrays[0].dtype is not arrays[1].dtype:
            _agree(op, arrays)
    elif len(operands) == 1:
        (x,) = operands
        if type(x) is not EagerTensor:
            x = _entered(op, x, operands, 0)
        inputs, arrays = (x,), (x._array,)
    else:
        inputs = [x if type(x) is EagerTensor else _entered(op, x, operands, k) for k, x in enumerate(operands)]
        arrays = [x._array for x in inputs]
        _agree(op, arrays)
    token = _quiet.set(_QUIET)
    try:
        out = op.eager(*arrays, **attrs)
    except (ValueError, TypeError, IndexError) as e:
        raise _explained(op, inputs, attrs, e) from None
    finally:
        _quiet.reset(token)
    if type(out) is tuple:
        outputs = tuple([EagerTensor(a) for a in out])
        if _after is not None:
            _after(op, inputs, attrs, outputs)
        for tape in thread.tapes:
            tape.record(op, inputs, attrs, outputs)
        return outputs
    output = EagerTensor(out)
    if _after is not None:
        _after(op, inputs, attrs, (output,))
    for tape in thread.tapes:
        tape.record(op, inputs, attrs, (output,))
    return output


default_carrier(execute)
_after: Callable[..., None] | None = None


def after_each_op(listener: Callable[..., None] | None) -> None:
    """Have `listener(op, inputs, attrs, outputs)` called after every eager op, before the tapes see it; None for nobody."""
    global _after
    _after = listener


_NUMBERS = 1024
_numbers: dict[
    tuple[type, float, Any], EagerTensor
] = {}  # Python numbers as tensors; a loop meets the same ones again (but for 0.0 and -0.0)


def _agree(op: Op, arrays: list[Any]) -> None:
    """InvalidArgumentError unless the operands that must have one dtype have it."""
    agreeing = arrays if op.same_dtype is None else [arrays[i] for i in op.same_dtype if i < len(arrays)]
    if len(agreeing) > 1:
        first = agreeing[0].dtype
        for k, a in enumerate(agreeing):
            if a.dtype is not first and a.dtype != first:
                raise InvalidArgumentError(
                    places.with_place(
                        f"cannot compute {op.name} as input #{k}(zero-based) was expected to be a {_DTYPE_OF[first].name} tensor but is a "
                        f"{_DTYPE_OF[a.dtype].name} tensor; write tf.cast(x, tf.{_DTYPE_OF[first].name})"
                    )
                )


def _entered(op: Op, x: Any, operands: tuple[Any, ...], position: int) -> EagerTensor:
    """An operand that is no eager tensor yet: a variable is read, a number takes the dtype of the tensors it meets."""
    kind = type(x)
    if (kind is float or kind is int) and op.same_dtype is None and len(operands) == 2 and x:
        dtype = getattr(operands[1 - position], "dtype", None)
        key = (kind, x, dtype)
        if thread.tapes and any(tape.knows(x) for tape in thread.tapes):
            return _taken(x, EagerTensor(_array_of(x, dtype if isinstance(dtype, DType) else None)))
        found = _numbers.get(key)
        if found is None:
            found = EagerTensor(_array_of(x, dtype if isinstance(dtype, DType) else None))
            if len(_numbers) >= _NUMBERS:
                _numbers.clear()
            _numbers[key] = found
        return found
    if hasattr(x, "read_tensor"):
        return x.read_tensor()
    if isinstance(x, SymbolicTensor):
        x.carry_out(op, operands, {})
    if hasattr(x, "to_tensor"):
        return x.to_tensor()
    agree = op.same_dtype
    wanted = None
    if agree is None or position in agree:
        for i, other in enumerate(operands):
            if (agree is None or i in agree) and isinstance(getattr(other, "dtype", None), DType):
                wanted = other.dtype
                break
    return _taken(x, EagerTensor(_array_of(x, wanted)))


def _explained(op: Op, inputs: list[EagerTensor], attrs: dict[str, Any], error: Exception) -> Exception:
    """The error of an op with what the op says of the operands' types, and the user's line."""
    if isinstance(error, InvalidArgumentError):
        return error if "\n  at " in str(error) else InvalidArgumentError(places.with_place(str(error)))
    message = str(error)
    try:
        op.infer(*(Type(x.dtype, x.dims) for x in inputs), **attrs)
    except (ValueError, TypeError) as e:
        message = str(e)
    except NotImplementedError:
        pass
    return InvalidArgumentError(places.with_place(message if op.name in message else f"{op.name}: {message}"))


# ------------------------------------------------------------------------------------------------ conversion
def _array_of(x: Any, dtype: DType | None) -> Any:
    """`as_array`, with tensors and variables inside nested lists allowed, and anything that offers `__array__` or DLPack."""
    if isinstance(x, EagerTensor):
        return x._array if dtype is None or x.dtype is dtype else as_array(x._array, dtype)
    if isinstance(x, list | tuple) and _holds_tensors(x):
        return as_array(_unwrapped(x, dtype), dtype)
    return np.array(as_array(x, dtype)) if isinstance(x, np.ndarray) else as_array(x, dtype)


def _holds_tensors(x: Any) -> bool:
    return isinstance(x, list | tuple) and any(_holds_tensors(v) if isinstance(v, list | tuple) else hasattr(v, "dims") for v in x)


def _unwrapped(x: Any, dtype: DType | None) -> np.ndarray:
    parts = [_unwrapped(v, dtype) if isinstance(v, list | tuple) else v for v in x]
    if dtype is None:
        typed: Any = next((v.dtype for v in parts if hasattr(v, "dims")), None)
        dtype = typed or next((dtypes.as_dtype(v.dtype) for v in parts if isinstance(v, np.ndarray)), None)
    return np.stack(
        [np.asarray(as_array(v.read_tensor()._array if hasattr(v, "read_tensor") else getattr(v, "_array", v), dtype)) for v in parts]
    )


def convert_to_tensor(value: Any, dtype: Any = None, dtype_hint: Any = None, name: str | None = None) -> Any:
    """`value` as a tensor (`tf.convert_to_tensor`). A tensor is itself; a variable is read; lists may hold tensors, which are stacked.

    ValueError if a tensor's dtype is another than `dtype`, TypeError for a number that does not fit it.
    """
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    if isinstance(value, Tensor):
        if wanted is not None and value.dtype is not wanted:
            raise ValueError(
                places.with_place(
                    f"Tensor conversion requested dtype {wanted.name} for Tensor with dtype {value.dtype.name}: {value!r}; write tf.cast"
                )
            )
        return value
    if hasattr(value, "read_tensor"):
        return convert_to_tensor(value.read_value(), dtype)
    if hasattr(value, "to_tensor"):  # IndexedSlices
        return convert_to_tensor(value.to_tensor(), dtype)
    if isinstance(value, list | tuple) and _holds_tensors(value) and (thread.recorder is not None or thread.tapes):
        parts = [convert_to_tensor(v, dtype) if isinstance(v, list | tuple) or hasattr(v, "dims") else v for v in value]
        typed = next((p.dtype for p in parts if isinstance(p, Tensor)), wanted)
        return stack(*(p if isinstance(p, Tensor) else convert_to_tensor(p, typed) for p in parts), axis=0)
    if dtype_hint is not None and wanted is None:
        try:
            return _taken(value, EagerTensor(_array_of(value, dtypes.as_dtype(dtype_hint))))
        except (TypeError, ValueError):
            pass
    return _taken(value, EagerTensor(_array_of(value, wanted)))


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str = "Const") -> Any:
    """A tensor with the given value (`tf.constant`), repeated to `shape` if it is one number.

    TypeError or ValueError for values that are no numbers, do not fit `dtype` or do not fill `shape`.
    """
    if isinstance(value, SymbolicTensor):
        return value
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    value = value.read_tensor() if hasattr(value, "read_tensor") else value
    array = _array_of(value, None if isinstance(value, EagerTensor) else wanted)
    if wanted is not None and array.dtype != wanted.np:
        array = array.astype(wanted.np)
    if shape is not None:
        sizes = tuple(int(d or 0) for d in TensorShape(shape))
        if array.size == 1:
            array = np.full(sizes, array.reshape(())[()], array.dtype)
        elif array.size == int(np.prod(sizes)):
            array = array.reshape(sizes)
        else:
            raise TypeError(
                places.with_place(
                    f"Eager execution of tf.constant with unsupported shape. Tensor has {array.size} elements, but got `shape` {TensorShape(shape)}"
                )
            )
    return _taken(value, EagerTensor(array))


def is_tensor(x: Any) -> bool:
    """Whether `x` is a tensor, sparse ones included, or a variable (`tf.is_tensor`)."""
    return isinstance(x, Tensor) or hasattr(x, "read_tensor") or hasattr(x, "with_values")


def is_symbolic_tensor(tensor: Any) -> bool:
    """Whether `tensor` is one of a function being traced, which has no value yet."""
    return isinstance(tensor, SymbolicTensor)


def shape_of(shape: Any) -> tuple[Dim, ...]:
    """The shape of a tensor to be made: `dims_of`, and InvalidArgumentError for a negative size."""
    dims = dims_of(shape)
    for d in dims:
        if isinstance(d, int) and d < 0:
            raise InvalidArgumentError(places.with_place(f"Dimension {d} must be >= 0 in shape {list(dims)}"))
    return dims


def dims_of(shape: Any) -> tuple[Dim, ...]:
    """A shape argument as a tuple of dims: ints, None-free TensorShape, integer tensors, or lists that mix them.

    While a function is traced, elements that are sizes stay symbolic; any other integer tensor becomes a size of its own, known
    when the function runs.
    """
    if isinstance(shape, TensorShape):
        return tuple(_int(d) for d in shape)
    if isinstance(shape, int | np.integer):
        return (int(shape),)
    if isinstance(shape, EagerTensor) or hasattr(shape, "read_tensor"):
        array = np.asarray(shape)
        return tuple(int(d) for d in array.ravel())
    if isinstance(shape, SymbolicTensor):
        return dims_of_elements(shape)
    if isinstance(shape, np.ndarray):
        return tuple(int(d) for d in shape.ravel())
    if isinstance(shape, str) or not isinstance(shape, Iterable):
        raise TypeError(places.with_place(f"a shape is a list of sizes, an int or an integer tensor, not {shape!r}"))
    return tuple(d for part in shape for d in (dims_of(part) if hasattr(part, "dims") else (_int(part),)))


def _int(d: Any) -> Any:
    if d is None:
        raise ValueError(
            places.with_place("a size of the shape is None; write -1 in tf.reshape, or tf.shape(x)[k] for a size known at run time")
        )
    return d if not isinstance(d, int | np.integer | float) else int(d)

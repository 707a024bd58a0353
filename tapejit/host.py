"""`tf.py_function` and `tf.numpy_function`: Python inside a step. Eagerly they simply run; a traced function calls them back each time.

While a function is traced the shape of a result is not known, and a tensor needs one: what they return there is `Unshaped` until
`set_shape`, `tf.ensure_shape` or `tf.reshape` says it. That shape is checked when the function runs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.core.dtypes import DType, as_dtype, float64
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.op import Op, register, thread
from tapejit.record.recorder import SymbolicTensor, recording
from tapejit.tape import GradientTape
from tapejit.tensor import EagerTensor, convert_to_tensor

__all__ = ["numpy_function", "py_function", "timestamp"]

_KEPT = 1024  # forward calls whose tapes wait for their backward calls, as in a loop


@dataclass
class _Function:
    """A Python function that graphs call by name."""

    call: Callable[..., Any]
    tensors: bool  # whether it takes and gives tensors, not arrays
    differentiated: bool = False
    backward: bool = False  # it is the gradient of another one
    tapes: deque = field(default_factory=lambda: deque(maxlen=_KEPT))
    answered: deque = field(default_factory=lambda: deque(maxlen=8))  # those whose gradient was asked for; it may be asked for again


_functions: dict[str, _Function] = {}


def _entered(function: Callable[..., Any], tensors: bool) -> str:
    base = getattr(function, "__name__", type(function).__name__)
    base = "lambda" if base == "<lambda>" else base
    name = f"{base}_{len(_functions) + 1}"
    _functions[name] = _Function(function, tensors)
    return name


def _results(given: Any, wanted: Sequence[DType], what: str) -> tuple[Any, ...]:
    """What a function returned as tensors of the dtypes declared. InvalidArgumentError for another number of them."""
    listed = list(given) if isinstance(given, list | tuple) else [] if given is None and not wanted else [given]
    if len(listed) != len(wanted):
        raise InvalidArgumentError(f"{what} returns {len(listed)} values, Tout lists {len(wanted)}")
    out = []
    for value, dtype in zip(listed, wanted, strict=True):
        tensor = (
            convert_to_tensor(value)
            if hasattr(value, "dims")
            else convert_to_tensor(np.asarray(value, dtype.np) if value is None or not isinstance(value, np.ndarray) else value)
        )
        if tensor.dtype is not dtype:
            raise InvalidArgumentError(
                f"{what} returns {tensor.dtype.name}, Tout says {dtype.name}; write tf.cast(result, tf.{dtype.name})"
            )
        out.append(tensor)
    return tuple(out)


def _alike(tensors: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether the arguments of two calls are the same: one function may be called from several lines, whose backward calls come in any order."""
    return all(a.numpy_view().tobytes() == b.numpy_view().tobytes() for a, b in zip(tensors, others, strict=True))


class HostCall(Op):
    """Calls the Python function entered as `function`; `shapes` are those declared for its results (None: no one uses it)."""

    name = "host_call"
    effect = True
    tuple_result = True

    def infer(self, *operands: Type, function: str, dtypes: tuple[DType, ...], shapes: tuple[Any, ...]) -> tuple[Type, ...]:
        return tuple(Type(d, () if s is None else s) for d, s in zip(dtypes, shapes, strict=True))

    def eager(self, *arrays: Any, function: str, dtypes: tuple[DType, ...], shapes: tuple[Any, ...]) -> tuple[Any, ...]:
        entry = _functions[function]
        with recording(None):
            if not entry.tensors:
                found = _results(entry.call(*(np.array(a) for a in arrays)), dtypes, f"numpy_function {function}")
            else:
                inputs = [EagerTensor(np.array(a)) for a in arrays]
                if entry.differentiated:
                    with GradientTape(persistent=True) as tape:
                        tape.watch([x for x in inputs if x.dtype.differentiable])
                        found = _results(entry.call(*inputs), dtypes, f"py_function {function}")
                    entry.tapes.append((tape, inputs, found))
                else:
                    found = _results(entry.call(*inputs), dtypes, f"py_function {function}")
        out = []
        for tensor, shape, dtype in zip(found, shapes, dtypes, strict=True):
            array = tensor.numpy_view()
            if shape is not None and array.shape != tuple(shape):
                raise InvalidArgumentError(
                    f"{function} returned shape {list(array.shape)}, but {list(shape)} was declared with set_shape or tf.ensure_shape"
                )
            out.append(np.zeros((), dtype.np) if shape is None else array)
        return tuple(out)

    def vjp(self, g: Any, z: Any, *operands: Any, function: str, dtypes: tuple[DType, ...], shapes: tuple[Any, ...]) -> tuple[Any, ...]:
        entry = _functions[function]
        if entry.backward:  # it replays a tape, and what that computes is seen by no other one
            raise LookupError(
                "gradient registry has no entry for: the gradient of tf.py_function in a traced function; call it eagerly for second derivatives"
            )
        given = g if isinstance(g, tuple) else (g,)
        entry.differentiated = True
        used = tuple(k for k, d in enumerate(given) if d is not None)
        flows = [k for k, x in enumerate(operands) if x.dtype.differentiable]
        backward = f"{function}_backward_{''.join(map(str, used))}"

        def run(*given: Any) -> list[Any]:
            seeds, values = given[: len(used)], given[len(used) :]
            found = next((call for calls in (entry.tapes, entry.answered) for call in reversed(calls) if _alike(call[1], values)), None)
            if found is None:
                raise InvalidArgumentError(f"the gradient of py_function {function} was asked for, but no forward call of it is waiting")
            if found in entry.tapes:
                entry.tapes.remove(found)
                entry.answered.append(found)
            tape, inputs, outputs = found
            grads = tape.gradient(
                [outputs[k] for k in used], [inputs[k] for k in flows], output_gradients=list(seeds), unconnected_gradients="zero"
            )
            return [convert_to_tensor(d) for d in grads]

        _functions.setdefault(backward, _Function(run, True, backward=True))
        made: list[Any] = []

        def gradient(position: int) -> Callable[[], Any]:
            def rule() -> Any:
                if not made:
                    made.append(
                        host_call(
                            *(given[k] for k in used),
                            *operands,
                            function=backward,
                            dtypes=tuple(operands[k].dtype for k in flows),
                            shapes=tuple(tuple(operands[k].dims) for k in flows),
                        )
                    )
                return made[0][position]

            return rule

        return tuple(gradient(flows.index(k)) if k in flows else None for k in range(len(operands)))


class NumpyCall(HostCall):
    """The same for a function of arrays, which has no gradient."""

    name = "numpy_call"
    no_gradient = True


host_call, numpy_call = register(HostCall()), register(NumpyCall())


_raw: Any = SymbolicTensor.__dict__["value"]  # the slot that `Unshaped.value` hides


class Unshaped(GraphTensor):
    """A result of `tf.py_function` in a traced function before its shape is said: then it becomes a tensor like any other."""

    __slots__ = ()

    @staticmethod
    def of(tensor: GraphTensor, position: int, operands: list[Any]) -> Any:
        """Take the shape from a result of `host_call`; `operands` are what a size left open may be found in."""
        tensor._origin = (position, operands)
        tensor.__class__ = Unshaped
        return tensor

    @property
    def value(self) -> Any:  # type: ignore[override]
        raise NotImplementedError(
            places.with_place(
                "the result of tf.py_function in a traced function has no shape yet; write y.set_shape([...]) or y = tf.ensure_shape(y, [...]) before it is used"
            )
        )

    @property
    def dims(self) -> tuple[Dim, ...]:  # type: ignore[override]
        return self.value.type.shape

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return _raw.__get__(self).type.dtype

    @property
    def shape(self) -> TensorShape:
        return TensorShape(None)

    def set_shape(self, shape: Any) -> None:
        """From here on it is a tensor of `shape`; None stands for the size that an operand of like shape has there."""
        self.shaped(shape)

    def shaped(self, shape: Any) -> Any:
        """The tensor with `shape`, which is checked when the function runs."""
        position, operands = self._origin
        wanted = list(TensorShape(shape))
        like: tuple[Dim, ...] = tuple(0 for _ in wanted)
        if any(d is None for d in wanted):
            found = next(
                (x.dims for x in operands if len(x.dims) == len(wanted) and TensorShape(x.dims).is_compatible_with(TensorShape(wanted))),
                None,
            )
            if found is None:
                raise NotImplementedError(
                    places.with_place(
                        f"tf.py_function with the result shape {TensorShape(wanted)}: the size of a result of Python must be known before the call; "
                        "write a full shape, or that of an argument"
                    )
                )
            like = found
        said = tuple(have if want is None else want for have, want in zip(like, wanted, strict=True))
        value = _raw.__get__(self)
        node = next(n for n in self.recorder.graph.walk() if value in n.outs)
        shapes = list(node.attrs["shapes"])
        shapes[position] = said
        node.attrs["shapes"] = tuple(shapes)
        value.type = Type(value.type.dtype, said)
        self.__class__ = GraphTensor  # type: ignore[assignment]
        del self._origin
        return self

    def __repr__(self) -> str:
        return f"<tf.Tensor shape=<unknown> dtype={self.dtype.name}>"


def _called(func: Callable[..., Any], inp: Sequence[Any], Tout: Any, tensors: bool) -> Any:
    many = isinstance(Tout, list | tuple)
    wanted = tuple(as_dtype(getattr(t, "dtype", t)) for t in (Tout if many else [Tout])) if Tout is not None else ()
    declared = [getattr(t, "shape", None) for t in (Tout if many else [Tout])]
    operands = [convert_to_tensor(x) for x in inp]
    if thread.recorder is None:
        if tensors:  # eager tapes see what the function does
            out: tuple[Any, ...] = _results(func(*operands), wanted, "py_function")
        else:
            out = _results(func(*(x.numpy() for x in operands)), wanted, "numpy_function")
    else:
        made = (host_call if tensors else numpy_call)(
            *operands, function=_entered(func, tensors), dtypes=wanted, shapes=(None,) * len(wanted)
        ) or ()
        out = tuple(Unshaped.of(t, k, operands) for k, t in enumerate(made))
        for result, shape in zip(out, declared, strict=False):
            if isinstance(shape, TensorShape):
                result.set_shape(shape)
    return list(out) if many else (out[0] if out else None)


def py_function(func: Callable[..., Any], inp: Sequence[Any], Tout: Any, name: str | None = None) -> Any:
    """`func` of eager tensors, run in Python each time, with gradients.

    `Tout` is a dtype, or a list of them for several results ([] for none). InvalidArgumentError if `func` returns another number or
    dtype. In a traced function the result's shape has to be said, with `set_shape` or `tf.ensure_shape`.
    """
    return _called(func, inp, Tout, True)


def numpy_function(func: Callable[..., Any], inp: Sequence[Any], Tout: Any, stateful: bool = True, name: str | None = None) -> Any:
    """`func` of arrays, run in Python each time, without gradients; `Tout` as for `py_function`."""
    return _called(func, inp, Tout, False)


def timestamp(name: str | None = None) -> Any:
    """Seconds since 1970 when it is carried out, a float64 scalar (`tf.timestamp`)."""
    now = numpy_function(time.time, [], float64)
    if thread.recorder is not None:
        now.set_shape([])
    return now

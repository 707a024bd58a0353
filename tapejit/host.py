"""`tf.py_function` and `tf.numpy_function`: Python inside a step. Eagerly they simply run; a traced function calls them back each time.

While a function is traced the shape of a result is not known, and a tensor needs one: what they return there is `Unshaped` until
`set_shape`, `tf.ensure_shape` or `tf.reshape` says it. That shape is checked when the function runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.core.dtypes import DType, as_dtype
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register, thread
from tapejit.record.recorder import recording
from tapejit.tape import GradientTape
from tapejit.tensor import EagerTensor, convert_to_tensor

__all__ = ["numpy_function", "py_function"]

_KEPT = 1024  # forward calls whose tapes wait for their backward calls, as in a loop


@dataclass
class _Function:
    """A Python function that graphs call by name."""

    call: Callable[..., Any]
    tensors: bool  # whether it takes and gives tensors, not arrays
    differentiated: bool = False
    tapes: deque = field(default_factory=lambda: deque(maxlen=_KEPT))


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
        given = g if isinstance(g, tuple) else (g,)
        if not entry.tensors:
            return (None,) * len(operands)
        entry.differentiated = True
        used = tuple(k for k, d in enumerate(given) if d is not None)
        flows = [k for k, x in enumerate(operands) if x.dtype.differentiable]
        backward = f"{function}_backward_{''.join(map(str, used))}"

        def run(*seeds: Any) -> list[Any]:
            if not entry.tapes:
                raise InvalidArgumentError(f"the gradient of py_function {function} was asked for, but no forward call of it is waiting")
            tape, inputs, outputs = entry.tapes.pop()
            grads = tape.gradient(
                [outputs[k] for k in used], [inputs[k] for k in flows], output_gradients=list(seeds), unconnected_gradients="zero"
            )
            return [convert_to_tensor(d) for d in grads]

        _functions[backward] = _Function(run, True)
        made: list[Any] = []

        def gradient(position: int) -> Callable[[], Any]:
            def rule() -> Any:
                if not made:
                    made.append(
                        host_call(
                            *(given[k] for k in used),
                            function=backward,
                            dtypes=tuple(operands[k].dtype for k in flows),
                            shapes=tuple(tuple(operands[k].dims) for k in flows),
                        )
                    )
                return made[0][position]

            return rule

        return tuple(gradient(flows.index(k)) if k in flows else None for k in range(len(operands)))


host_call = register(HostCall())


class Unshaped:
    """A result of `tf.py_function` in a traced function, before its shape is said. It is a tensor for nothing but that."""

    def __init__(self, tensor: Any, position: int, operands: list[Any]) -> None:
        self._tensor, self._position, self._operands = tensor, position, operands
        self._said: tuple[Dim, ...] | None = None

    @property
    def shape(self) -> TensorShape:
        return TensorShape(None) if self._said is None else TensorShape(self._said)

    @property
    def dtype(self) -> DType:
        return self._tensor.dtype

    def get_shape(self) -> TensorShape:
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """From here on it is a tensor of `shape`; None stands for the size that an operand of like shape has there."""
        self.shaped(shape)

    def shaped(self, shape: Any) -> Any:
        """The tensor with `shape`, which is checked when the function runs."""
        wanted = list(shape) if isinstance(shape, tuple | list) else list(TensorShape(shape))
        if any(d is None for d in wanted):
            like = next(
                (
                    x.dims
                    for x in self._operands
                    if len(x.dims) == len(wanted) and TensorShape(x.dims).is_compatible_with(TensorShape(wanted))
                ),
                None,
            )
            if like is None:
                raise NotImplementedError(
                    places.with_place(
                        f"tf.py_function with the result shape {TensorShape(wanted)}: the size of a result of Python must be known before the call; "
                        "write a full shape, or that of an argument"
                    )
                )
            wanted = [have if want is None else want for have, want in zip(like, wanted, strict=True)]
        said: tuple[Dim, ...] = tuple(d for d in wanted if d is not None)
        value = self._tensor.value
        node = next(n for n in self._tensor.recorder.root.graph.walk() if value in n.outs)
        shapes = list(node.attrs["shapes"])
        if shapes[self._position] is not None and shapes[self._position] != said:
            raise ValueError(places.with_place(f"set_shape: the result has shape {shapes[self._position]}, not {said}"))
        shapes[self._position] = said
        node.attrs["shapes"] = tuple(shapes)
        value.type = Type(value.type.dtype, said)
        self._said = said
        return self._tensor

    def read_tensor(self) -> Any:
        """The tensor, once its shape is known. NotImplementedError before."""
        if self._said is None:
            raise NotImplementedError(
                places.with_place(
                    "the result of tf.py_function in a traced function has no shape yet; write y.set_shape([...]) or y = tf.ensure_shape(y, [...]) "
                    "before it is used"
                )
            )
        return self._tensor

    @property
    def dims(self) -> tuple[Dim, ...]:
        return self.read_tensor().dims

    def enter_graph(self, recorder: Any) -> Any:
        return recorder.operand(self.read_tensor())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "numpy":
            raise AttributeError(f"the result of tf.py_function in a traced function has no attribute {name!r}")
        return getattr(self.read_tensor(), name)

    def __repr__(self) -> str:
        return f"<tf.Tensor shape={self.shape} dtype={self.dtype.name}>"


def _operator(name: str) -> Callable[..., Any]:
    def apply(self: Unshaped, *others: Any) -> Any:
        return getattr(self.read_tensor(), name)(*others)

    return apply


for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv", "mod", "rmod", "pow", "rpow", "matmul",
    "rmatmul", "neg", "abs", "lt", "le", "gt", "ge", "getitem", "iter", "len", "invert", "and", "or", "xor",
):  # fmt: skip
    setattr(Unshaped, f"__{_name}__", _operator(f"__{_name}__"))


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
        made = host_call(*operands, function=_entered(func, tensors), dtypes=wanted, shapes=(None,) * len(wanted)) or ()
        out = tuple(Unshaped(t, k, operands) for k, t in enumerate(made))
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

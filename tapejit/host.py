"""`tf.py_function` and `tf.numpy_function`: Python inside a step. Eagerly they simply run; a traced function calls them back each time.

A line of the graph makes the call, which has a number; further ones take the results of that number, and their sizes where these are
open. Of the shape of a result a trace must know the rank: `set_shape`, `tf.ensure_shape` or `tf.reshape` says it, or it is the one that an
eager run of the function met (see `learned`); until then the result is `Unshaped`. What the trace took for known is checked when it runs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapejit import learned
from tapejit.core import dtypes, places
from tapejit.core.dtypes import DType, as_dtype, float64
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.graph import Node
from tapejit.ir.op import Op, register, thread
from tapejit.ops.stashing import Store
from tapejit.record.calls import next_number
from tapejit.record.recorder import SymbolicTensor, recording
from tapejit.tape import GradientTape
from tapejit.tensor import EagerTensor, convert_to_tensor

__all__ = ["numpy_function", "py_function", "timestamp"]


@dataclass
class _Function:
    """A Python function that graphs call by name."""

    call: Callable[..., Any]
    tensors: bool  # whether it takes and gives tensors, not arrays
    differentiated: bool = False

    @property
    def title(self) -> str:
        """What errors call it."""
        return "py_function" if self.tensors else "numpy_function"


_functions: dict[str, _Function] = {}


def _entered(function: Callable[..., Any], tensors: bool) -> str:
    base = getattr(function, "__name__", type(function).__name__)
    base = "lambda" if base == "<lambda>" else base
    name = f"{base}_{len(_functions) + 1}"
    _functions[name] = _Function(function, tensors)
    return name


@dataclass(frozen=True)
class _Call:
    """A call of a Python function that a step has made; the tape only where its gradient may be asked for."""

    inputs: list[EagerTensor]
    results: tuple[Any, ...]
    tape: GradientTape | None


_calls = Store()


def _call_of(number: Any, function: str) -> _Call:
    """The call of that number. InvalidArgumentError if too many came after it."""
    return _calls.get(number, f"a call of {_functions[function].title} {function}")


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
    """Calls the Python function entered as `function`, whose results have these dtypes, on the operands after the number of the call."""

    name = "host_call"
    effect = True
    no_gradient = True
    again = "host_called"

    def infer(self, number: Type, *operands: Type, function: str, dtypes: tuple[DType, ...]) -> Type:
        return number

    def eager(self, number: Any, *arrays: Any, function: str, dtypes: tuple[DType, ...]) -> Any:
        entry = _functions[function]
        what = f"{entry.title} {function}"
        inputs = [EagerTensor(np.array(a)) for a in arrays]
        tape = GradientTape(persistent=True) if entry.tensors and entry.differentiated else None
        with recording(None):
            if not entry.tensors:
                found = _results(entry.call(*(x.numpy() for x in inputs)), dtypes, what)
            elif tape is None:
                found = _results(entry.call(*inputs), dtypes, what)
            else:
                with tape:
                    tape.watch([x for x in inputs if x.dtype.differentiable])
                    found = _results(entry.call(*inputs), dtypes, what)
        call = _Call(inputs if tape is not None else [], found, tape)
        _calls.put(call, sum(t.numpy_view().nbytes for t in (*call.inputs, *found)), int(number))
        return number


class HostCalled(Op):
    """The number of a call that was made before."""

    name = "host_called"
    no_gradient = True

    def infer(self, number: Type, *operands: Type, function: str, dtypes: tuple[DType, ...]) -> Type:
        return number

    def eager(self, number: Any, *arrays: Any, function: str, dtypes: tuple[DType, ...]) -> Any:
        return number

    def at(self, index: Any, number: Any, *operands: Any, function: str, dtypes: tuple[DType, ...]) -> Any:
        return number[index]

    def samples(self, draw: Any) -> Iterator[Any]:
        return iter(())


class HostShape(Op):
    """The sizes of result `which` of a call of `of`. InvalidArgumentError if it has another rank."""

    name = "host_shape"
    no_gradient = True

    def infer(self, number: Type, *, of: str, which: int, rank: int) -> Type:
        return Type(_NUMBER, (rank,))

    def eager(self, number: Any, *, of: str, which: int, rank: int) -> Any:
        found = _call_of(number, of).results[which].dims
        if len(found) != rank:
            raise InvalidArgumentError(
                f"{_functions[of].title} {of} returned shape {list(found)} here, of rank {len(found)}, where the function was traced for rank "
                f"{rank}; the rank of a traced tensor is always the same. Write tf.reshape in the Python function"
            )
        return np.array(found, np.int64)


class HostResult(Op):
    """Result `which` of a call of `of` on the operands after its number. InvalidArgumentError if it has another shape."""

    name = "host_result"
    constant_operands = frozenset({0})

    def infer(self, number: Type, *operands: Type, of: str, which: int, dtype: DType, shape: tuple[Dim, ...]) -> Type:
        return Type(dtype, shape)

    def eager(self, number: Any, *arrays: Any, of: str, which: int, dtype: DType, shape: tuple[int, ...]) -> Any:
        found = _call_of(number, of).results[which].numpy_view()
        if found.shape != tuple(shape):
            raise InvalidArgumentError(
                f"{_functions[of].title} {of} returned shape {list(found.shape)}, but {list(shape)} was declared with set_shape or tf.ensure_shape"
            )
        return found

    def vjp(self, g: Any, z: Any, number: Any, *operands: Any, of: str, which: int, dtype: DType, shape: Any) -> tuple[Any, ...]:
        flows = [k for k, x in enumerate(operands) if x.dtype.differentiable]
        if flows:
            host_gradient.prepare(of=of)
        made: list[Any] = []

        def gradient(position: int) -> Callable[[], Any]:
            def rule() -> Any:
                if not made:
                    made.extend(host_gradient(number, g, *operands, of=of, which=which))
                return made[position]

            return rule

        return (None, *(gradient(flows.index(k)) if k in flows else None for k in range(len(operands))))


class HostGradient(Op):
    """Gradients of the differentiable operands of a call of `of` from that of its result `which`: what the tape of the call gives."""

    name = "host_gradient"
    tuple_result = True

    def infer(self, number: Type, g: Type, *operands: Type, of: str, which: int) -> tuple[Type, ...]:
        return tuple(t for t in operands if t.dtype.differentiable)

    def prepare(self, **attrs: Any) -> None:
        _functions[attrs["of"]].differentiated = True

    def eager(self, number: Any, g: Any, *arrays: Any, of: str, which: int) -> tuple[Any, ...]:
        call = _call_of(number, of)
        if call.tape is None:
            raise InvalidArgumentError(f"the gradient of py_function {of} was asked for after a call of it that no tape recorded")
        sources = [x for x in call.inputs if x.dtype.differentiable]
        with recording(None):
            grads = call.tape.gradient(
                call.results[which], sources, output_gradients=EagerTensor(np.array(g)), unconnected_gradients="zero"
            )
        return tuple(convert_to_tensor(d).numpy_view() for d in grads)

    def vjp(self, g: Any, z: Any, *operands: Any, of: str, which: int) -> tuple[Any, ...]:
        raise LookupError(
            "gradient registry has no entry for: the gradient of tf.py_function in a traced function; call it eagerly for second derivatives"
        )


_NUMBER = dtypes.int64
host_call, host_called = register(HostCall()), register(HostCalled())
host_shape, host_result = register(HostShape()), register(HostResult())
host_gradient = register(HostGradient())


@dataclass(frozen=True)
class _Source:
    """Where a tensor without a shape comes from: a result of the call that a line makes. `operands` are what its gradient flows to."""

    number: GraphTensor
    node: Node
    name: str
    which: int
    dtype: DType
    operands: tuple[Any, ...]
    call: learned.Call | None
    ranks: learned.Ranks | None  # that earlier runs met

    @property
    def rank(self) -> int | None:
        """Its own, if it is known."""
        found = None if self.ranks is None else self.ranks.of(self.call)
        return None if found is None else found[self.which]


_raw: Any = SymbolicTensor.__dict__["value"]  # the slot that `Unshaped.value` hides


class Unshaped(GraphTensor):
    """A result of `tf.py_function` in a traced function before its shape is said, or its rank wanted: then it becomes a tensor like any other."""

    __slots__ = ()

    @staticmethod
    def of(source: _Source) -> Any:
        """The tensor that comes from there."""
        out: Any = object.__new__(Unshaped)
        out.recorder, out.elements, out._origin = source.number.recorder, None, source
        return out

    @property
    def value(self) -> Any:  # type: ignore[override]
        source: _Source = self._origin
        if source.rank is None:
            raise learned.UnknownRank(
                places.with_place(
                    "the rank of a result of tf.py_function is not known while a function is traced, unless a call of the function, which "
                    "then runs eagerly, has met it; call it once, or write y.set_shape([...]) or y = tf.ensure_shape(y, [...]) before y is used"
                ),
                source.call,
                source.ranks,
            )
        return self.shaped([None] * source.rank).value

    @property
    def dims(self) -> tuple[Dim, ...]:  # type: ignore[override]
        return self.value.type.shape

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self._origin.dtype

    @property
    def shape(self) -> TensorShape:
        return TensorShape(None) if self._origin.rank is None else TensorShape(self.dims)

    def set_shape(self, shape: Any) -> None:
        """From here on it is a tensor of `shape`, None being sizes that are known when the function runs."""
        self.shaped(shape)

    def shaped(self, shape: Any) -> Any:
        """The tensor with `shape`, which is checked when the function runs; itself, as it is, for one of unknown rank."""
        wanted = TensorShape(shape)
        if wanted.rank is None:
            return self
        source: _Source = self._origin
        recorder, call = self.recorder, source.node
        body, of = recorder.graph.body, call.attrs["function"]
        before = len(body)
        with recording(recorder):
            dims = list(wanted)
            if None in dims:
                found = host_shape(source.number, of=of, which=source.which, rank=len(dims))
                dims = [found[k].as_dim() if d is None else d for k, d in enumerate(dims)]
            made = host_result(source.number, *source.operands, of=of, which=source.which, dtype=source.dtype, shape=tuple(dims))
        lines = body[before:]  # which belong behind the call, where every graph that knows the tensor sees them
        del body[before:]
        for line in lines:
            line.place, line.tapes = call.place, call.tapes
        at = next(k for k, line in enumerate(body) if line is call) + 1
        body[at:at] = lines
        names = recorder.builder.names
        names.give_back(made.value.name)
        made.value.name = names.fresh(source.name)
        _raw.__set__(self, made.value)
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
            out = _results(func(*(np.asarray(x.numpy()) for x in operands)), wanted, "numpy_function")
        learned.noted(tuple(len(t.dims) for t in out))
    else:
        number = host_call(next_number(thread.recorder), *operands, function=_entered(func, tensors), dtypes=wanted)
        node, names, name = number.recorder.graph.body[-1], number.recorder.builder.names, number.value.name
        number.value.name = names.fresh(f"{name}_call")
        names.give_back(name)  # which is that of the results
        flows, (call, ranks) = tuple(operands) if tensors else (), learned.asked()
        sources = (_Source(number, node, name, k, d, flows, call, ranks) for k, d in enumerate(wanted))
        out = tuple(Unshaped.of(source) for source in sources)
        for result, shape in zip(out, declared, strict=False):
            if isinstance(shape, TensorShape):
                result.set_shape(shape)
    return list(out) if many else (out[0] if out else None)


def py_function(func: Callable[..., Any] | None = None, inp: Sequence[Any] | None = None, Tout: Any = None, name: str | None = None) -> Any:
    """`func` of eager tensors, run in Python each time, with gradients.

    `Tout` is a dtype, or a list of them for several results ([] for none). InvalidArgumentError if `func` returns another number or
    dtype. Without `func`, a decorator: the decorated function takes what `inp` lists. In a traced function whose first call meets it without
    `set_shape` or `tf.ensure_shape` for its results, that call runs eagerly; later ones know their ranks.
    """
    if func is None:
        return lambda f: functools.wraps(f)(lambda *inp: py_function(f, inp, Tout))
    return _called(func, inp or (), Tout, True)


def numpy_function(
    func: Callable[..., Any] | None = None,
    inp: Sequence[Any] | None = None,
    Tout: Any = None,
    stateful: bool = True,
    name: str | None = None,
) -> Any:
    """`func` of arrays, run in Python each time, without gradients; all else as for `py_function`."""
    if func is None:
        return lambda f: functools.wraps(f)(lambda *inp: numpy_function(f, inp, Tout))
    return _called(func, inp or (), Tout, False)


def timestamp(name: str | None = None) -> Any:
    """Seconds since 1970 when it is carried out, a float64 scalar (`tf.timestamp`)."""
    now = numpy_function(time.time, [], float64)
    if thread.recorder is not None:
        now.set_shape([])
    return now

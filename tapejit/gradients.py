"""Gradients given by the user: `tf.custom_gradient`, and what is made of it, `recompute_grad` and `grad_pass_through`.

In: Python functions on tensors; out: functions like them whose gradient is another one. The function runs as any other code, with the
tapes of the thread watching, so that a gradient which uses values from inside it can itself be differentiated. While a function is
traced, the gradient function is traced at once into a graph that the line `custom_gradient` holds.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import optree

from tapejit.arrays import identity
from tapejit.core import places
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.op import Listener, Op, thread
from tapejit.nest import leaves_of
from tapejit.ops import control
from tapejit.ops.broadcasting import broadcast_like
from tapejit.ops.elementwise import zeros_like
from tapejit.record.nesting import lift_reads
from tapejit.record.sweep import conjugated
from tapejit.tape import GradientTape, seated
from tapejit.tensor import EagerTensor, Tensor, convert_to_tensor
from tapejit.variable import Variable, paused_tapes

__all__ = ["custom_gradient", "grad_pass_through", "recompute_grad"]


# ------------------------------------------------------------------------------------------ what they share
class _Watcher(Listener):
    """Stands among the tapes of the thread and notes which trainable variables are read."""

    pushes = False

    def __init__(self) -> None:
        self.read: dict[int, Variable] = {}

    def saw(self, variable: Variable, value: Any) -> None:
        if variable.trainable:
            self.read.setdefault(id(variable), variable)

    def follows(self, inputs: Any) -> bool:
        """Whether an op of these operands would be recorded."""
        return False


@contextmanager
def _watching() -> Iterator[_Watcher]:
    watcher = _Watcher()
    thread.tapes = seated(watcher)
    try:
        yield watcher
    finally:
        thread.tapes = tuple(t for t in thread.tapes if t is not watcher)


def _leaves(structure: Any) -> list[Any]:
    return [structure] if isinstance(structure, Tensor | Variable) else optree.tree_leaves(structure, none_is_leaf=True)


def _is_tensor(x: Any) -> bool:
    return isinstance(x, Tensor | Variable) or hasattr(x, "to_tensor")


class _Call:
    """One call of a function with a gradient of its own: what went in, what came out, and how to ask for the gradient."""

    def __init__(self, name: str, result: Any, grad_fn: Callable[..., Any], args: tuple[Any, ...], read: dict[int, Variable]) -> None:
        self.name, self.grad_fn = name, grad_fn
        self.args = _leaves(args)
        given = {id(a) for a in self.args}
        self.variables = [v for v in read.values() if id(v) not in given]
        self._check(grad_fn)
        self.inputs = [convert_to_tensor(a) if _is_tensor(a) else None for a in [*self.args, *self.variables]]
        leaves, self.tree = leaves_of(result)
        self.results = [None if x is None else convert_to_tensor(x) for x in leaves]

    def _check(self, grad_fn: Callable[..., Any]) -> None:
        if not self.variables:
            return
        try:
            taken = inspect.signature(grad_fn).parameters
        except (TypeError, ValueError):
            return
        if "variables" not in taken and not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
            raise TypeError(
                places.with_place(
                    f"@tf.custom_gradient grad_fn must accept keyword argument 'variables', since function uses variables: {self.variables}"
                )
            )

    def gradients(self, of_results: list[Any]) -> list[Any]:
        """What the user's function gives for each input, variables last; None where it gives none."""
        if self.variables:
            of_args, of_variables = self.grad_fn(*of_results, variables=self.variables)
            of_variables = list(of_variables)
            if len(of_variables) != len(self.variables):
                raise ValueError(places.with_place("Must return gradient for each variable from @custom_gradient grad_fn."))
        else:
            of_args, of_variables = self.grad_fn(*of_results), []
        found = _leaves(of_args)
        if len(found) != len(self.args):
            raise ValueError(
                places.with_place(
                    f"custom_gradient function expected to return {len(self.args)} gradients, but returned {len(found)} instead."
                )
            )
        return [self._fitted(k, g, x) for k, (g, x) in enumerate(zip([*found, *of_variables], self.inputs, strict=True))]

    def _fitted(self, k: int, g: Any, x: Any) -> Any:
        """The gradient of input `x` as a tensor of its type. ValueError where it has another shape, TypeError for another dtype."""
        if g is None or x is None or not x.dtype.differentiable:
            return None
        g = convert_to_tensor(g) if hasattr(g, "dims") or hasattr(g, "to_tensor") else convert_to_tensor(g, x.dtype)
        if g.dtype is not x.dtype:
            raise TypeError(
                places.with_place(f"{self.name}: gradient {k} has dtype {g.dtype.name}, its argument {x.dtype.name}; write tf.cast")
            )
        if g.dims == x.dims:
            return g
        try:
            return broadcast_like(g, x.dims)
        except ValueError:
            raise ValueError(
                places.with_place(f"{self.name}: gradient {k} has shape {g.shape}, its argument has shape {x.shape}")
            ) from None

    def packed(self, results: list[Any]) -> Any:
        """Results in the structure of the function's."""
        return optree.tree_unflatten(self.tree, results)


class _Eager(Op):
    """A call outside any traced function as an op that tapes record."""

    def __init__(self, call: _Call) -> None:
        self.name, self._call = call.name, call

    def vjp(self, g: Any, z: Any, *operands: Any) -> tuple[Any, ...]:
        gs, zs = (g, z) if isinstance(z, tuple) else ((g,), (z,))
        asked = [zeros_like(y) if d is None else conjugated(d) for d, y in zip(gs, zs, strict=True)]
        return tuple(d if d is None else conjugated(d) for d in self._call.gradients(asked))

    def reached(self, result: int) -> list[int]:
        """The operands that the gradient function gives a gradient for, which it is asked."""
        with paused_tapes():
            found = self._call.gradients([zeros_like(y) for y in self._call.results if y is not None])
        return [k for k, g in enumerate(found) if g is not None]

    closes_over = True  # the gradient function uses what it finds around it

    def replayed(self, recorder: Any, operands: list[Any]) -> list[Any]:
        """The results as lines of a function being traced; what was computed on the way to them has been written already."""
        return [x.value for x in leaves_of(_traced(self._call))[0] if x is not None]


def _recorded(call: _Call) -> Any:
    """The results as fresh tensors that every tape of the thread knows the call behind."""
    results = [None if y is None else EagerTensor(y.numpy_view()) for y in call.results]
    made = tuple(y for y in results if y is not None)
    op = _Eager(call)
    for tape in thread.tapes:
        tape.record(op, call.inputs, {}, made)
    return call.packed(results)


def _traced(call: _Call) -> Any:
    """The line `custom_gradient` for the call, and its results."""
    recorder = thread.recorder
    results = [y for y in call.results if y is not None]
    with recorder.nested(f"{call.name}_gradient") as inner:
        asked = [
            GraphTensor(inner.builder.parameter(f"d_{call.name}", recorder.builder.literal(recorder.operand(y)).type), inner)
            for y in results
        ]
        found = call.gradients([conjugated(d) for d in asked])
        wanted = [k for k, g in enumerate(found) if g is not None]
        inner.graph.results = [inner.builder.literal(inner.operand(conjugated(found[k]))) for k in wanted]
    lift_reads(recorder, inner.graph)
    outs = control.custom_gradient(
        *results, *(call.inputs[k] for k in wanted), backward=inner.graph, results=len(results), inputs=len(wanted)
    )
    made = iter(outs or ())
    return call.packed([None if y is None else next(made) for y in call.results])


# ------------------------------------------------------------------------------------------ what users call
def custom_gradient(f: Callable[..., Any] | None = None) -> Any:
    """A function with a gradient of its own (`tf.custom_gradient`).

    `f(*args)` returns `(y, grad_fn)`, and `grad_fn(*dys)`, with one tensor per tensor of `y`, the gradients of the positional arguments
    (None for none). If `f` reads trainable variables that are no arguments, `grad_fn(*dys, variables=...)` returns a pair: the
    gradients of the arguments and the list of those of the variables. TypeError if `grad_fn` does not take `variables` then; ValueError
    for another number of gradients, and for keyword arguments while a function is traced. Second order differentiates `grad_fn`.
    """
    if f is None:
        return custom_gradient
    return _Differentiated(f)


class _Differentiated:
    """What `custom_gradient` makes of a function. It becomes a method as functions do; the instance is then none of its arguments."""

    def __init__(self, f: Callable[..., Any]) -> None:
        functools.update_wrapper(self, f)
        self._f = f

    def __get__(self, instance: Any, owner: Any = None) -> _Differentiated:
        return self if instance is None else _Differentiated(self._f.__get__(instance, owner))  # type: ignore[attr-defined]

    def converted_by(self, convert: Callable[..., Any]) -> _Differentiated:
        """The same around the converted form of the function."""
        f = convert(self._f)
        return self if f is self._f else _Differentiated(f)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = getattr(self._f, "__name__", type(self._f).__name__)
        name = "custom" if not name.isidentifier() else name
        if kwargs and thread.recorder is not None:
            raise ValueError(
                places.with_place(
                    "The custom_gradient decorator currently supports keywords arguments only when eager execution is enabled."
                )
            )
        with _watching() as watcher:
            returned = self._f(*args, **kwargs)
        if not isinstance(returned, tuple) or len(returned) != 2 or not callable(returned[1]):
            raise TypeError(
                places.with_place(
                    f"{name}, decorated with tf.custom_gradient, must return (result, grad_fn); found {type(returned).__name__}"
                )
            )
        result, grad_fn = returned
        call = _Call(name, result, grad_fn, args, watcher.read)
        return _recorded(call) if thread.recorder is None else _traced(call)


def recompute_grad(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, which tapes keep nothing of: its gradient runs it once more (`tf.recompute_grad`). `__wrapped__` is `f` itself.

    While a function is traced this is `f`: there the compiler decides what is kept and what is computed again.
    """
    name = getattr(f, "__name__", type(f).__name__)

    @functools.wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        if thread.recorder is not None:
            return f(*args, **kwargs)
        with paused_tapes(), _watching() as watcher:
            result = f(*args, **kwargs)

        def grad(*dys: Any, variables: Any = ()) -> Any:
            with GradientTape(watch_accessed_variables=False) as tape:
                given, tree = leaves_of(args)
                again = optree.tree_unflatten(tree, [identity(a) if _is_tensor(a) else a for a in given])
                sources = [a for a in _leaves(again) if _is_tensor(a)]
                tape.watch([*sources, *variables])
                y = f(*again, **kwargs)
            targets = [t for t in _leaves(y) if t is not None]
            found = iter(tape.gradient(targets, [*sources, *variables], output_gradients=list(dys)))
            of_args = [next(found) if _is_tensor(a) else None for a in given]
            return (of_args, list(found)) if variables else of_args

        return _recorded(_Call(name, result, grad, args, watcher.read))

    return decorated


def grad_pass_through(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` with the gradient of the identity: what comes in for the result goes out for the argument (`tf.grad_pass_through`).

    Variables that `f` reads get none. ValueError if `f` has another number of results than of arguments.
    """

    @functools.wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        def grad(*dys: Any, variables: Any = None) -> Any:
            return dys if variables is None else (dys, [None] * len(variables))

        @custom_gradient
        @functools.wraps(f)
        def passing(*inner: Any) -> Any:
            return f(*inner, **kwargs), grad

        return passing(*args)

    return decorated

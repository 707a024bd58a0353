"""What an op is: the questions the rest of the house may ask of one, and the table of all ops by name.

An op is a row of a family (`ops.families`) or a class of its own; nothing outside its row names it. Calling an op hands the
call to whoever carries out ops now: the recorder of the thread, or the operands themselves (see `dispatch`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from tapejit.core.types import Type

OPS: dict[str, Op] = {}


class Op:
    """One operation on tensors.

    The class attributes and methods below are the whole of it. `infer` is the law of dtypes and shapes, `eager` the meaning
    in NumPy, `vjp` the gradient written with ops, `jvp` the derivative along a direction, `batch` the op on many slices at once,
    `at` the value of one element as a loop expression, `samples` inputs for the laws that every op is tested by.
    """

    name: str = ""
    symbol: str = ""  # how the IR prints a call with two operands: "x * y"
    precedence: int = 0
    no_gradient: bool = False  # the gradient is None: the result is piecewise constant, or of integers
    constant_operands: frozenset[int] = frozenset()  # operands no gradient flows to (indices, conditions); -1: all from the second on
    same_dtype: tuple[int, ...] | None = ()  # operands that must agree in dtype; None: all of them
    effect: bool = False  # must be kept, in program order (print, assertions, host calls)
    again: str = ""  # the op without effect that stands for one with an effect where a loop is run again for its gradient
    ahead: str = ""  # the op that foretells one with an effect, in order, where a loop is run beforehand for what it will need
    on_sizes: bool = False  # `eager` also works on object arrays of sizes, so small integer tensors stay symbolic
    pairs: bool = False  # `kernel` takes complex numbers too, as pairs of real ones: x.pairs[(*index, 0)] is a real part
    view: bool = False  # the result is the operand's memory under another shape
    told: tuple[str, ...] = ()  # attributes that `failure` wants to know
    binds_size: bool = False  # the result is a scalar count that later shapes may be written with

    def infer(self, *types: Type, **attrs: Any) -> Type | tuple[Type, ...]:
        """Types of the results from the types of the operands. ValueError or TypeError says what does not fit."""
        raise NotImplementedError(f"{self.name}.infer")

    def eager(self, *arrays: Any, **attrs: Any) -> Any:
        """The meaning: NumPy arrays in, NumPy array (or a tuple of them) out. Never writes into its operands."""
        raise NotImplementedError(f"{self.name}.eager")

    def vjp(self, g: Any, z: Any, *operands: Any, **attrs: Any) -> tuple[Any, ...]:
        """Gradients of the operands from the gradient `g` of the result `z`; None where there is none.

        For several results `g` and `z` are tuples, with None in `g` where a result carries no gradient.
        """
        raise LookupError(f"gradient registry has no entry for: {self.name}")

    def jvp(self, tangents: tuple[Any, ...], z: Any, *operands: Any, **attrs: Any) -> Any:
        """The tangent of the result `z` (a tuple for several) from those of the operands, None where there is none. Written with ops;
        NotImplemented where there is no rule, and then it is the transpose of `vjp`.
        """
        return NotImplemented

    def batch(self, slices: Any, operands: tuple[Any, ...], mapped: tuple[bool, ...], /, **attrs: Any) -> Any:
        """The op on each of `slices` slices at once: operands flagged in `mapped` have a new axis 0 that runs through the slices, and every
        result gets it. At least one is flagged. Written with ops; None where there is no rule, and then the op runs slice by slice.
        """
        return None

    # How a kernel computes the op, in order of preference:
    #   at(index, *operands, **attrs) -> loops.Expr       the value of one element; operands are read as x[index] and have dims, dtype
    #   kernel(outs, ins, work, **attrs) -> tuple[Stmt]   a loop nest over memory: x[index] loads, out.store(index, value, combine)
    #   neither                                           the step calls `eager` back through the host
    at: Callable[..., Any] | None = None
    kernel: Callable[..., Any] | None = None

    # decomposed(*operands, **attrs): the same in simpler ops, which compiled steps compute faster; None where it is not faster
    decomposed: Callable[..., Any] | None = None

    # parted(*operands, **attrs): the op on complex numbers written with ops on real ones: complex operands come as `ops.parts.Parts`,
    # complex results are Parts too. None, of the form or of a call: the step calls the host
    parted: Callable[..., Any] | None = None

    def work(self, *types: Type, **attrs: Any) -> tuple[Type, ...]:
        """Types of the scratch buffers that `kernel` works in."""
        return ()

    def failure(self, *operands: float, **told: Any) -> str:
        """What went wrong where a kernel of this op ended in `nest.Fail` with these operands; `told` are attributes it asked for."""
        return f"{self.name} failed" + (f" on {', '.join(f'{v:g}' for v in operands)}" if operands else "")

    @property
    def can_fail(self) -> bool:
        """Whether a kernel of this op may end in `nest.Fail`: then it says what went wrong."""
        return type(self).failure is not Op.failure

    def native(self, *types: Type, **attrs: Any) -> bool:
        """Whether `at` or `kernel` serves operands of these types; complex numbers only where `pairs` is set."""
        return True

    def prepare(self, **attrs: Any) -> None:
        """Called when a step is loaded that calls `eager` through the host, with the attributes of the line."""

    def made_for(self, *types: Type, **attrs: Any) -> tuple[Any, ...]:
        """The sizes that a kernel of this op should be made for: a program that leaves them open is so much slower that it is not worth sharing."""
        return ()

    def samples(self, draw: Any) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Yield (operands as NumPy arrays, attributes) that the laws try; `draw` makes arrays (see `ops.samples`)."""
        raise NotImplementedError(f"{self.name}.samples")

    def gradient_operands(self, count: int, attrs: dict[str, Any]) -> list[int]:
        """Positions among `count` operands that a gradient may flow to, dtypes aside."""
        if self.no_gradient:
            return []
        if -1 in self.constant_operands:
            return [0][:count]
        return [i for i in range(count) if i not in self.constant_operands]

    def reached_operands(self, count: int, attrs: dict[str, Any], results: list[int]) -> list[int]:
        """Of `gradient_operands`, those that a gradient of the results listed flows to."""
        return self.gradient_operands(count, attrs)

    def picks_rows(self, **attrs: Any) -> bool:
        """Whether the result is rows of the first operand at the indices that the second one holds: then the gradient of the first is those of
        the result, at these indices, which may stay apart."""
        return False

    def interpret(self, node: Any, env: Any, run: Callable[[Any, list[Any], Any], list[Any]]) -> Any:
        """Carry out `node` in the interpreter, by `eager` on its operands; ops with nested graphs `run` them."""
        return self.eager(*(env[a] for a in node.args), **env.attributes(node.attrs))

    def __call__(self, *operands: Any, **attrs: Any) -> Any:
        recorder = thread.recorder
        if recorder is not None:
            return recorder.carry_out(self, operands, attrs)
        for x in operands:
            carry = getattr(x, "carry_out", None)
            if carry is not None:
                return carry(self, operands, attrs)
        return thread.default(self, operands, attrs)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> Any:
        return (named, (self.name,)) if OPS.get(self.name) is self else super().__reduce__()


def named(name: str) -> Op:
    """The op of that name. KeyError if there is none."""
    return OPS[name]


class _Thread(threading.local):
    """Who carries out ops in this thread: `recorder` while a function is traced; `default` for calls whose operands do not know."""

    recorder: Any = None
    tapes: tuple[Any, ...] = ()
    default: Callable[[Op, tuple[Any, ...], dict[str, Any]], Any]


thread = _Thread()


class Listener:
    """What may stand among `thread.tapes`: it is told of every eager op and of every way by which values come and go.

    `pushes`: it computes something of its own for every op, with ops that those before it see.
    """

    pushes: bool = False

    def follows(self, inputs: Any) -> bool:
        """Whether an op of these operands would be recorded."""
        return False

    def record(self, op: Op, inputs: Any, attrs: dict[str, Any], outputs: tuple[Any, ...]) -> None:
        """An op was carried out."""

    def saw(self, variable: Any, value: Any) -> None:
        """A variable was read; `value` is the tensor read, None while a function is traced."""

    def gave(self, tensor: Any, value: Any) -> None:
        """A tensor or variable was handed out as the NumPy or Python value `value`."""

    def knows(self, value: Any) -> bool:
        """Whether a Python number is one that a tensor was handed out as."""
        return False

    def took(self, value: Any, tensor: Any) -> None:
        """`value`, a NumPy or Python value or a tensor, became the constant `tensor`."""

    def assigned(self, variable: Any, value: Any) -> None:
        """A variable was given the value of the tensor `value`."""

    def decided(self, tensor: Any, value: Any) -> None:
        """The bool or int `value` of a tensor became Python's: a branch, a bound or an index, which is part of the program now."""


def default_carrier(carry_out: Callable[[Op, tuple[Any, ...], dict[str, Any]], Any]) -> None:
    """Set, for all threads, who carries out an op none of whose operands is a tensor (the eager executor)."""
    _Thread.default = staticmethod(carry_out)  # type: ignore[assignment]


def register(op: Op) -> Op:
    """Enter an op into the table. ValueError if its name is taken."""
    if op.name in OPS:
        raise ValueError(f"there is an op called {op.name} already")
    OPS[op.name] = op
    return op

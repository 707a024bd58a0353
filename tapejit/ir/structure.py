"""The ops that are not arithmetic: cells, constants, sizes, and the tape's own lines.

x = state.x                     read     the value of a cell
state.x = y                     assign   from here on the cell has the value y
x = const.x                     const    an array held by reference
c = constant([1.0, 2.0])        constant a small array written out
n = dim(B)                      dim      a size as a scalar
tape.watch(x)                   watch
dw, = tape.gradient([l], [w])   gradient
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.graph import Graph, Literal, Node
from tapejit.ir.op import Op, register


class Read(Op):
    """The value of cell `cell` (attribute) at this point of the program; `type` is the cell's type."""

    name = "read"

    def infer(self, *types: Type, cell: str, type: Type) -> Type:
        return type

    def interpret(self, node: Node, env: Any, run: Any) -> Any:
        return env.cells[node.attrs["cell"]]


class Assign(Op):
    """Give cell `cell` the value of the operand, whose dtype and shape the cell must allow. No result."""

    name = "assign"
    effect = True
    no_gradient = True

    def infer(self, *types: Type, cell: str) -> tuple[Type, ...]:
        return ()

    def interpret(self, node: Node, env: Any, run: Any) -> Any:
        env.cells[node.attrs["cell"]] = env[node.args[0]]
        return ()


class Const(Op):
    """The array held by reference under the name `const` (attribute)."""

    name = "const"

    def infer(self, *types: Type, const: str, type: Type) -> Type:
        return type

    def interpret(self, node: Node, env: Any, run: Any) -> Any:
        return env.consts[node.attrs["const"]]


class Constant(Op):
    """A small array written out: `value` is a nested tuple of Python numbers (a bare number for a scalar)."""

    name = "constant"
    no_gradient = True

    def infer(self, *types: Type, value: Any, dtype: DType) -> Type:
        return Type(dtype, np.shape(value))

    def eager(self, *arrays: Any, value: Any, dtype: DType) -> Any:
        return np.asarray(value, dtype.np)


class DimOp(Op):
    """A size as a scalar of `dtype`. The interpreter and the schedule know sizes; in eager mode it is a plain int."""

    name = "dim"
    no_gradient = True

    def infer(self, *types: Type, size: Dim, dtype: DType) -> Type:
        return Type(dtype)

    def eager(self, *arrays: Any, size: Dim, dtype: DType) -> Any:
        return np.asarray(size, dtype.np)


class Watch(Op):
    """From here on `tape` follows the operand, or with `cell` every later read of that cell."""

    name = "watch"
    effect = True
    no_gradient = True

    def infer(self, *types: Type, tape: str, cell: str = "") -> tuple[Type, ...]:
        return ()

    def interpret(self, node: Node, env: Any, run: Any) -> Any:
        return ()


class Gradient(Op):
    """`outs = tape.gradient(targets, sources)`: what the reverse sweep over the record of `tape` so far gives.

    Operands: the targets, then the sources that are values, then the output gradients. `targets` counts the targets; `sources`
    has per result the position of its operand or, for a cell, its name as `state.x`; `seeds` has per target the position of
    its output gradient or None for ones. Every source is connected: unconnected ones were answered while recording.
    """

    name = "gradient"

    def infer(
        self, *types: Type, tape: str, targets: int, sources: tuple[int | str, ...], seeds: tuple[int | None, ...], cells: tuple[Type, ...]
    ) -> tuple[Type, ...]:
        listed = iter(cells)
        return tuple(types[s] if isinstance(s, int) else next(listed) for s in sources)

    def interpret(self, node: Node, env: Any, run: Any) -> Any:
        raise NotImplementedError("a gradient line runs after the pass `differentiate`, or eagerly with the text's own tape")


read, assign, const, constant, dim, watch, gradient = (
    register(op) for op in (Read(), Assign(), Const(), Constant(), DimOp(), Watch(), Gradient())
)  # fmt: skip


def attribute_dims(value: Any, env: dict[str, int]) -> Any:
    """An attribute with every size in it evaluated; tuples are gone through, graphs and all else left alone."""
    if isinstance(value, sizes.Size):
        return sizes.evaluate(value, env)
    if isinstance(value, tuple):
        return tuple(attribute_dims(v, env) for v in value)
    return value


def literal_dtype(args: tuple[Any, ...]) -> DType:
    """The dtype that a bare number in a line has: that of the first operand that is no literal and no bool; float32 without one."""
    for a in args:
        if not isinstance(a, Literal) and a.type.dtype is not dtypes.bool_:
            return a.type.dtype
    return dtypes.float32


def cells_written(graph: Graph) -> set[str]:
    """Names of the cells that a graph assigns, nested graphs included."""
    return {n.attrs["cell"] for n in graph.walk() if n.op is assign}


def cells_read(graph: Graph) -> set[str]:
    """Names of the cells that a graph reads, nested graphs included."""
    return {n.attrs["cell"] for n in graph.walk() if n.op is read}

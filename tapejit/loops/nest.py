"""Statements of the loop IR and the kernel they make up.

A kernel reads and writes contiguous row-major buffers, named and typed in its parameters, through loops of four kinds:
`serial`; `parallel` (iterations are independent: the outermost loop may be cut into chunks for threads); `vector` (serial in
meaning; promises that iterations are independent but for reductions into accumulators); `unroll`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.loops.expr import Expr

LoopKind = Literal["serial", "parallel", "vector", "unroll"]


@dataclass(frozen=True)
class Stmt:
    """A statement."""


@dataclass(frozen=True)
class Let(Stmt):
    """`name: dtype = value`, a local scalar that is not assigned again."""

    name: str
    value: Expr


@dataclass(frozen=True)
class Accumulator(Stmt):
    """`name: dtype = init`, a local scalar that `Update` changes."""

    name: str
    init: Expr


@dataclass(frozen=True)
class Update(Stmt):
    """`name = combine(name, value)`; combine is "add", "mul", "min", "max", "and", "or", or "set" (plain assignment)."""

    name: str
    combine: str
    value: Expr


@dataclass(frozen=True)
class Store(Stmt):
    """`buffer[index] = value`, or with `combine` (as in `Update`) `buffer[index] = combine(buffer[index], value)`."""

    buffer: str
    index: tuple[Expr, ...]
    value: Expr
    combine: str = "set"


@dataclass(frozen=True)
class For(Stmt):
    """`for index in kind(extent): body`, index counting from 0."""

    index: str
    extent: Dim
    kind: LoopKind
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class If(Stmt):
    """`if condition: then else: otherwise`."""

    condition: Expr
    then: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] = ()


@dataclass(frozen=True)
class While(Stmt):
    """`while condition: body`; the condition reads accumulators and buffers anew each time."""

    condition: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Contract(Stmt):
    """A register-tiled product: `out[rows.., cols..] (combine)= epilogue(sum over depth of left * right)`.

    For every (`row`, `column`) in `rows` x `columns`: acc = sum over `depth_index` < `depth` of left * right, then the
    statements of `epilogue` run with the sum bound to the variable `accumulator`. `left` must not depend on `column`,
    `right` must be contiguous (or constant) in `column`. The printer chooses tile sizes from the target's vector width.
    Meaning: the plain triple loop, which is also how it is printed for Numba and the reference.
    """

    row: str
    rows: Dim
    column: str
    columns: Dim
    depth_index: str
    depth: Dim
    left: Expr
    right: Expr
    accumulator: str
    epilogue: tuple[Stmt, ...]


@dataclass(frozen=True)
class CallLibrary(Stmt):
    """`info: int32 = routine(arguments)`: call the Fortran routine `symbol`, as in "lapack:dgesdd", and bind what it reports of itself.

    Every argument goes by address: letters (bytes), an element of a buffer (`Load`), from which on the routine may read and write, and the
    values of other expressions, int64 ones as 32-bit integers. LAPACK's last argument, `info`, is added: 0 if all went well.
    BLAS has none: there `info` is empty and nothing is bound.
    """

    info: str
    symbol: str
    arguments: tuple[Expr | bytes, ...]


@dataclass(frozen=True)
class Fail(Stmt):
    """Write (node, operand values as float64) into the error record and leave the kernel with a non-zero status."""

    node: int
    operands: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Param:
    """A buffer a kernel works on. `mode`: "in" is only read, "out" only written, "inout" both. All are distinct memory."""

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    mode: Literal["in", "out", "inout"] = "in"


@dataclass(frozen=True)
class Kernel:
    """A named loop nest over buffers; `sizes` are the named sizes its shapes and extents speak of (int64 parameters)."""

    name: str
    params: tuple[Param, ...]
    sizes: tuple[str, ...]
    body: tuple[Stmt, ...]
    places: tuple[str, ...] = field(default=())  # "file.py:12" lines of the user that it computes, for the reader

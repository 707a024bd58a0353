"""What the printer, the parser and the executor of the text agree on: symbols, numbers, defaults, and where sizes come from.

In: ops, numbers, graphs; out: pieces of text, and the tables to read them back by.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.graph import Graph
from tapejit.ir.op import OPS, Op

SYMBOLS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**", ast.MatMult: "@",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
TRANSPOSES = ("transpose_a", "transpose_b")  # attributes that `x.T @ y.T` stands for


def infix_op(symbol: str) -> Op | None:
    """The op that `x symbol y` means: the first one registered with that symbol."""
    return _by_symbol(len(OPS)).get(symbol)


@functools.lru_cache(maxsize=1)
def _by_symbol(count: int) -> dict[str, Op]:  # `count` makes a new table once ops were added
    table: dict[str, Op] = {}
    for op in OPS.values():
        if op.symbol:
            table.setdefault(op.symbol, op)
    return table


@functools.cache
def defaults(op: Op) -> dict[str, Any]:
    """The attributes of an op that may be left out, with what they then are: the keyword defaults of its `infer`."""
    listed = inspect.signature(op.infer).parameters.values()
    return {p.name: p.default for p in listed if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}


def is_default(op: Op, name: str, value: Any) -> bool:
    """Whether attribute `name` need not be printed."""
    known = defaults(op)
    return name in known and type(known[name]) is type(value) and repr(known[name]) == repr(value)


# ------------------------------------------------------------------------------------------------- numbers
def float_text(value: Any, dtype: DType) -> str:
    """The shortest decimal that reads back as `value` in `dtype` (a floating type); `inf`, `-inf` and `nan` by name."""
    number = float(value)
    if math.isnan(number):
        return "nan"
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    if dtype is dtypes.float64:
        return repr(number)
    exact = dtype.np.type(number)
    with np.errstate(over="ignore"):  # few digits of the largest number may say more than it
        for digits in range(1, 10):
            short = float(f"{number:.{digits}g}")
            if dtype.np.type(short) == exact:
                return repr(short)
    return repr(number)


def number_text(value: Any, dtype: DType) -> str:
    """A number of any dtype, as Python: `True`, `-3`, `0.1`, `complex(1.0, -0.0)`."""
    if dtype.kind == "b":
        return str(bool(value))
    if dtype.kind in "iu":
        return str(int(value))
    if dtype.kind == "f":
        return float_text(value, dtype)
    number, part = complex(value), dtype.real_dtype
    return f"complex({float_text(number.real, part)}, {float_text(number.imag, part)})"


def natural_dtype(value: Any) -> DType:
    """The dtype of a written-out array that names none: by its first number; float32 if it has none."""
    while isinstance(value, (tuple, list)):
        inner = next((v for v in value if not isinstance(v, (tuple, list)) or len(v)), None)
        if inner is None:
            return dtypes.float32
        value = inner
    return dtypes.as_dtype(type(value))


# ------------------------------------------------------------------------------------------------- sizes
@dataclass(frozen=True)
class Binding:
    """How a named size follows from one axis: `factor * name + rest == size(of, axis)`; `of` is `x` or `state.x`."""

    name: str
    of: str
    axis: int
    factor: Dim
    rest: Dim

    @property
    def text(self) -> str:
        """The right side of the declaration: `size(x, 0)`, or `(size(x, 0) - 1) // 2`."""
        out = f"size({self.of}, {self.axis})"
        if self.rest != 0:
            out += f" + {-self.rest}" if isinstance(self.rest, int) and self.rest < 0 else f" - {_grouped(self.rest)}"
        if self.factor != 1:
            out = (f"({out})" if self.rest != 0 else out) + f" // {_grouped(self.factor)}"
        return out


def _grouped(d: Dim) -> str:
    return str(d) if (isinstance(d, int) and d >= 0) or str(d).isidentifier() else f"({d})"


def bindings(graph: Graph, known: Iterable[str] = ()) -> list[Binding]:
    """The named sizes that the axes of parameters and cells give, in the order they can be computed in; `known` ones are left out."""
    have = set(known)
    axes = [(p.name, axis, d) for p in graph.params for axis, d in enumerate(p.type.shape)]
    axes += [(f"state.{c}", axis, d) for c, t in graph.cells.items() for axis, d in enumerate(t.shape)]
    found: list[Binding] = []
    while True:  # an axis of size B * C gives C once B is known, and only if no other axis is C
        solved = [Binding(split[0], of, axis, *split[1:]) for of, axis, d in axes if (split := _solved(d, have)) is not None]
        if not solved:
            return found
        found.append(min(solved, key=lambda b: isinstance(b.factor, sizes.Size)))
        have.add(found[-1].name)


def _solved(d: Dim, known: set[str]) -> tuple[str, Dim, Dim] | None:
    """(name, factor, rest) with `d == factor * name + rest`, where `name` alone is not known; None if `d` is not so."""
    unknown = sizes.names(d) - known
    if len(unknown) != 1 or not isinstance(d, sizes.Size):
        return None
    (name,) = unknown
    factor: Dim = 0
    rest: Dim = 0
    for atoms, coefficient in d.terms.items():
        others = [a for a in atoms if a != name]
        if len(atoms) - len(others) > 1 or any(name in sizes.names(sizes.Size({(a,): 1})) for a in others):
            return None
        term = sizes.product([coefficient, *(sizes.Size({(a,): 1}) for a in others)])
        if len(others) < len(atoms):
            factor = factor + term
        else:
            rest = rest + term
    return name, factor, rest


class Equalities:
    """What a graph takes to be equal (its guards and those around it): compares sizes and types up to that."""

    def __init__(self, pairs: Iterable[tuple[Dim, Dim]]) -> None:
        self._env: dict[str, Dim] = {}
        self._differences: list[Dim] = []
        for a, b in pairs:
            self.add(a, b)

    def add(self, a: Dim, b: Dim) -> None:
        """From here on `a` and `b` are equal."""
        a, b = self._normal(a), self._normal(b)
        if a == b:
            return
        for x, y in ((a, b), (b, a)):
            name = str(x)
            if name.isidentifier() and name not in sizes.names(y):
                self._env = {k: sizes.substitute(v, {name: y}) for k, v in self._env.items()} | {name: y}
                self._differences = [sizes.substitute(d, {name: y}) for d in self._differences]
                return
        self._differences.append(a - b)

    def _normal(self, d: Dim) -> Dim:
        return sizes.substitute(d, self._env) if self._env else d

    def same(self, a: Dim, b: Dim) -> bool:
        """Whether the two are equal, by themselves or by what is assumed."""
        if a == b:
            return True
        difference = self._normal(a) - self._normal(b)
        return difference == 0 or any(difference == d or difference == -d for d in self._differences)

    def same_type(self, a: Type, b: Type) -> bool:
        """Whether two types are equal, sizes up to what is assumed."""
        return a.dtype is b.dtype and a.rank == b.rank and all(map(self.same, a.shape, b.shape))

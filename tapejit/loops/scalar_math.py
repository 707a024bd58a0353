"""The elementary and special functions of the loop language, defined in terms of its primitives.

In: the source texts of `tapejit.loops.math` (a subset of Python: straight-line functions of `name = expression` and one
`return`). Out: `DEFINITIONS`, which maps (function, dtype) as in ("exp", "f32") to a `Definition`: local scalars in order and the
result, made of one-instruction functions only (arithmetic, fma, rint, floor, sqrt, abs, comparisons, select, casts, bit operations).
Calls of one definition by another are already expanded, there are no branches, loads or tables, and hence a loop around any
of them vectorises and runs on every target.

The definitions are right under IEEE arithmetic, with or without contraction of a * b + c into a fused operation; they do not
survive reassociation, or flags that assume that there are no NaNs or infinities, and they need an `fma` that rounds once.

`REACH` names the definitions that hold only up to some size of their operand. Beyond it, which is rare, printers that use them call the C
library's function of the same name instead: a branch in the loop, not a choice between two values.

The source language adds to the syntax of `scalar.parse`: parameters annotated with their dtype (functions are overloaded on it),
`horner(x, c0, c1, ...)` for c0 + x * (c1 + x * (...)) in fused steps, several results (`return a, b` and `a, b = f(x)`), and calls of
other functions of the source.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.loops import scalar
from tapejit.loops.expr import Call, Const, Expr, Var, walk
from tapejit.loops.math import SOURCES
from tapejit.loops.nest import Let


@dataclass(frozen=True)
class Definition:
    """`name(params) = result`, where `lets` bind local scalars in order, each naming only parameters and earlier ones."""

    name: str
    params: tuple[Var, ...]
    lets: tuple[Let, ...]
    result: Expr


class _Reader(scalar.Reader):
    """Reads one function body; calls of functions of the source are expanded into `lets`."""

    def __init__(self, names: dict[str, Any], lets: list[Let], prefix: str, functions: Mapping[tuple[str, str], ast.FunctionDef]) -> None:
        super().__init__(names)
        self.names: dict[str, Any] = names
        self.lets, self.prefix, self.functions, self.dtype = lets, prefix, functions, dtypes.float32

    def body(self, function: ast.FunctionDef) -> tuple[Expr, ...]:
        """Bind the locals of `function` and give its results; a bare number among them takes the first parameter's dtype."""
        self.dtype = _dtypes(function)[0]
        for statement in function.body:
            match statement:
                case ast.Expr(value=ast.Constant(value=str())):
                    continue
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.names[name] = self.bind(name, self.read(value))
                case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Call() as value):
                    for target, result in zip(targets, self.expand(value), strict=True):
                        name = ast.unparse(target)
                        self.names[name] = self.bind(name, result)
                case ast.Return(value=ast.Tuple(elts=results)):
                    return tuple(self.typed(r, self.dtype) for r in results)
                case ast.Return(value=ast.expr() as result):
                    return (self.typed(result, self.dtype),)
                case _:
                    raise SyntaxError(f"{function.name}: expected `name = expression` or `return`, found {ast.unparse(statement)}")
        raise SyntaxError(f"{function.name} has no return")

    def bind(self, name: str, value: scalar.Operand) -> scalar.Operand:
        """A local scalar for `value`, unless it is a number or already a variable."""
        if not isinstance(value, Expr) or isinstance(value, (Const, Var)):
            return value
        full = self.prefix + name
        if name in self.names or any(let.name == full for let in self.lets):  # a source may use a name again, a definition not
            full += str(len(self.lets))
        self.lets.append(Let(full, value))
        return Var(value.dtype, full)

    def expand(self, call: ast.Call) -> tuple[Expr, ...]:
        """The results of a call of a function of the source."""
        name = ast.unparse(call.func)
        args = [self.read(a) for a in call.args]
        dtype = next(a.dtype for a in args if isinstance(a, Expr))
        function = self.functions.get((name, dtype.short))
        if function is None:
            raise SyntaxError(f"{name} is not defined for {dtype.short}")
        prefix = f"{self.prefix}{name}{len(self.lets)}_"
        inner = _Reader({}, self.lets, prefix, self.functions)
        for parameter, kind, a in zip(function.args.args, _dtypes(function), args, strict=True):
            value = self._strong(a, kind)
            if value.dtype is not kind:
                raise TypeError(f"{name}: {parameter.arg} is {kind.short}, found {value.dtype.short}")
            inner.names[parameter.arg] = inner.bind(parameter.arg, value)
        return inner.body(function)

    def read(self, node: ast.expr) -> scalar.Operand:
        match node:
            case ast.Call(func=ast.Name(id="horner"), args=[x, *coefficients]):
                return self.horner(self.read(x), [self.read(c) for c in coefficients])
            case ast.Call(func=ast.Name(id=name)) if any(name == f for f, _ in self.functions):
                (result,) = self.expand(node)
                return result
        return super().read(node)

    def horner(self, x: scalar.Operand, coefficients: list[scalar.Operand]) -> scalar.Operand:
        if not isinstance(x, Expr):
            raise TypeError("horner takes an expression first, found a number")
        x = self.bind(f"at{len(self.lets)}", x)
        total = coefficients[-1]
        for c in reversed(coefficients[:-1]):
            total = self.apply("fma", [total, x, c])
        return total

    def apply(self, fn: str, args: list[scalar.Operand]) -> scalar.Operand:
        """As in the base class; a choice between two numbers has the dtype of the first parameter."""
        if fn == "select" and not any(isinstance(a, Expr) for a in args[1:]):
            args = [args[0], *(self._strong(a, self.dtype) for a in args[1:])]
        return super().apply(fn, args)

    @staticmethod
    def _strong(x: scalar.Operand, dtype: DType) -> Expr:
        """As in the base class; a float32 literal is rounded here, so that every printer and test sees the same number."""
        if not isinstance(x, Expr) and dtype is dtypes.float32:
            with np.errstate(over="ignore"):
                x = float(np.float32(x))
        return scalar.Reader._strong(x, dtype)


def _dtypes(function: ast.FunctionDef) -> list[DType]:
    """The dtypes of the parameters."""
    return [dtypes.BY_SHORT[ast.unparse(a.annotation)] for a in function.args.args if a.annotation is not None]


class Definitions(Mapping[tuple[str, str], Definition]):
    """The definitions in source texts, which may call one another: (name, dtype of the first parameter) -> `Definition`.

    Functions whose name is not in `scalar.FUNCTIONS` are only there to be called by others. The texts are parsed when first asked,
    and each definition is made when it is first asked for; SyntaxError, NameError and TypeError for what the language does not have.
    """

    def __init__(self, *sources: str) -> None:
        self.sources = sources
        self._made: dict[tuple[str, str], Definition] = {}

    @functools.cached_property
    def functions(self) -> dict[tuple[str, str], ast.FunctionDef]:
        """The functions of the texts, helpers too."""
        out: dict[tuple[str, str], ast.FunctionDef] = {}
        for source in self.sources:
            for node in ast.parse(source).body:
                if not isinstance(node, ast.FunctionDef):
                    raise SyntaxError(f"expected a function, found {ast.unparse(node)}")
                out[node.name, _dtypes(node)[0].short] = node
        return out

    def __getitem__(self, key: tuple[str, str]) -> Definition:
        if key not in self._made:
            function = self.functions[key]
            if key[0] not in scalar.FUNCTIONS:
                raise KeyError(key)
            params = tuple(Var(d, a.arg) for a, d in zip(function.args.args, _dtypes(function), strict=True))
            lets: list[Let] = []
            (result,) = _Reader({p.name: p for p in params}, lets, "", self.functions).body(function)
            self._made[key] = Definition(function.name, params, tuple(lets), result)
        return self._made[key]

    def __contains__(self, key: object) -> bool:
        return key in self.functions and isinstance(key, tuple) and key[0] in scalar.FUNCTIONS

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return (key for key in self.functions if key[0] in scalar.FUNCTIONS)

    def __len__(self) -> int:
        return sum(1 for _ in self)


DEFINITIONS: Mapping[tuple[str, str], Definition] = Definitions(*SOURCES)

# Neighbouring float64 lie 2^-8 apart there; what is left of a multiple of pi / 2 would take a thousand bits of 2 / pi beyond.
REACH: Mapping[tuple[str, str], float] = {(fn, "f64"): 2.0**45 for fn in ("sin", "cos", "tan")}


def primitives(definition: Definition) -> set[str]:
    """The names of the functions that a definition uses."""
    values = (*(let.value for let in definition.lets), definition.result)
    return {e.fn for value in values for e in walk(value) if isinstance(e, Call)}

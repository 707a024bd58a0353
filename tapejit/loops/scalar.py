"""The scalar functions of the loop language and its expression syntax.

In: names of functions, or text such as "1 / (1 + exp(-x))" with its operands; out: `Function` rows and `Expr` trees.

Conventions. Integer arithmetic wraps; integer division and remainder by zero give 0, as in NumPy. `min` and `max` keep NaN
(the sign of a zero they return is not fixed). Shifts by the width or more give 0 (or the sign). Half precision (f16, bf16) is
computed as float32 and rounded where it is stored. Casts of floats to integers truncate; beyond the range the result is
unspecified. `select` evaluates both arms, `guarded` only the one it takes.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.loops import expr
from tapejit.loops.expr import Call, Const, Expr

Result = Literal["first", "second", "bool", "given"]


@dataclass(frozen=True)
class Function:
    """A scalar function: `result` says whose dtype it returns, `kinds` which kinds of operands it takes, `reference` its
    meaning on NumPy scalars (`cast` and `bitcast` get the dtype as a second argument). `routine` is the function of a library
    (`core.libraries`) that computes it in float64, `output` which of its numbers is meant where it gives several."""

    name: str
    arity: int
    result: Result
    kinds: str
    reference: Callable[..., Any]
    routine: str = ""
    output: int | None = None


# ------------------------------------------------------------------------------------------------ references
def _special(name: str, output: int | None = None) -> Callable[..., Any]:
    def reference(*args: Any) -> Any:
        import scipy.special

        found = getattr(scipy.special, name)(*map(np.float64, args))
        return args[0].dtype.type(found if output is None else found[output])

    return reference


def _floordiv(a: Any, b: Any) -> Any:
    if a.dtype.kind == "f":
        return np.floor(a / b)
    return a // b if b != 0 else a.dtype.type(0)


def _truncdiv(a: Any, b: Any) -> Any:
    if b == 0:
        return a.dtype.type(0)
    quotient = abs(int(a)) // abs(int(b))
    return np.array(quotient if (a < 0) == (b < 0) else -quotient).astype(a.dtype)[()]


def _shift(a: Any, b: Any, left: bool) -> Any:
    bits = a.dtype.itemsize * 8
    if 0 <= int(b) < bits:
        return a << b if left else a >> b
    return a.dtype.type(-1 if not left and a < 0 else 0)


def _pow(a: Any, b: Any) -> Any:
    if a.dtype.kind == "f":
        return np.power(a, b)
    if b >= 0:
        return np.power(a, b)
    return a.dtype.type(0 if abs(int(a)) != 1 else int(a) if int(b) % 2 else 1)


def _rsqrt(a: Any) -> Any:
    return a.dtype.type(1) / np.sqrt(a)


def _cast(a: Any, dtype: DType) -> Any:
    return np.asarray(a).astype(dtype.np)[()]


def _bitcast(a: Any, dtype: DType) -> Any:
    return np.asarray(a).view(dtype.np)[()]


def _fma(a: Any, b: Any, c: Any) -> Any:
    if a.dtype.kind == "f" and a.dtype.itemsize < 8:
        return a.dtype.type(np.float64(a) * np.float64(b) + np.float64(c))
    return a * b + c


def _mulhi(a: Any, b: Any) -> Any:
    return np.uint32((int(a) * int(b)) >> 32)


def _not(a: Any) -> Any:
    return np.logical_not(a) if a.dtype.kind == "b" else np.invert(a)


def _select(c: Any, a: Any, b: Any) -> Any:
    return a if c else b


def _popcount(a: Any) -> Any:
    return a.dtype.type(int(a).bit_count() if a >= 0 else (int(a) + (1 << a.dtype.itemsize * 8)).bit_count())


def _rows(*rows: tuple[str, int, Result, str, Callable[..., Any]]) -> dict[str, Function]:
    return {name: Function(name, arity, result, kinds, reference) for name, arity, result, kinds, reference in rows}


FUNCTIONS: dict[str, Function] = _rows(
    # arithmetic
    ("add", 2, "first", "iuf", np.add),
    ("sub", 2, "first", "iuf", np.subtract),
    ("mul", 2, "first", "iuf", np.multiply),
    ("div", 2, "first", "f", np.divide),
    ("floordiv", 2, "first", "iuf", _floordiv),  # rounds down; floor(a / b) for floats, as TensorFlow
    ("mod", 2, "first", "iuf", np.mod),  # has the sign of the divisor
    ("truncdiv", 2, "first", "iu", _truncdiv),  # rounds towards zero
    ("rem", 2, "first", "iuf", np.fmod),  # has the sign of the dividend
    ("neg", 1, "first", "iuf", np.negative),
    ("abs", 1, "first", "iuf", np.abs),
    ("min", 2, "first", "biuf", np.minimum),
    ("max", 2, "first", "biuf", np.maximum),
    ("fma", 3, "first", "f", _fma),  # a * b + c, rounded once
    ("copysign", 2, "first", "f", np.copysign),
    ("nextafter", 2, "first", "f", np.nextafter),
    # comparison and logic
    ("eq", 2, "bool", "biuf", np.equal),
    ("ne", 2, "bool", "biuf", np.not_equal),
    ("lt", 2, "bool", "biuf", np.less),
    ("le", 2, "bool", "biuf", np.less_equal),
    ("gt", 2, "bool", "biuf", np.greater),
    ("ge", 2, "bool", "biuf", np.greater_equal),
    ("and", 2, "first", "biu", np.bitwise_and),
    ("or", 2, "first", "biu", np.bitwise_or),
    ("xor", 2, "first", "biu", np.bitwise_xor),
    ("not", 1, "first", "biu", _not),
    ("shl", 2, "first", "iu", lambda a, b: _shift(a, b, True)),
    ("shr", 2, "first", "iu", lambda a, b: _shift(a, b, False)),
    ("popcount", 1, "first", "iu", _popcount),
    ("mulhi_u32", 2, "first", "u", _mulhi),  # the upper half of the 64-bit product
    ("select", 3, "second", "biuf", _select),
    ("guarded", 3, "second", "biuf", _select),
    ("isnan", 1, "bool", "f", np.isnan),
    ("isinf", 1, "bool", "f", np.isinf),
    ("isfinite", 1, "bool", "f", np.isfinite),
    ("cast", 1, "given", "biuf", _cast),
    ("bitcast", 1, "given", "iuf", _bitcast),
    # rounding
    ("floor", 1, "first", "f", np.floor),
    ("ceil", 1, "first", "f", np.ceil),
    ("rint", 1, "first", "f", np.rint),  # half to even
    ("trunc", 1, "first", "f", np.trunc),
    # roots, powers, exponentials
    ("sqrt", 1, "first", "f", np.sqrt),
    ("rsqrt", 1, "first", "f", _rsqrt),
    ("pow", 2, "first", "iuf", _pow),
    ("exp", 1, "first", "f", np.exp),
    ("expm1", 1, "first", "f", np.expm1),
    ("log", 1, "first", "f", np.log),
    ("log1p", 1, "first", "f", np.log1p),
    ("sigmoid", 1, "first", "f", _special("expit")),
    ("softplus", 1, "first", "f", lambda a: np.logaddexp(a, a.dtype.type(0))),
    # trigonometric and hyperbolic
    ("sin", 1, "first", "f", np.sin),
    ("cos", 1, "first", "f", np.cos),
    ("tan", 1, "first", "f", np.tan),
    ("asin", 1, "first", "f", np.arcsin),
    ("acos", 1, "first", "f", np.arccos),
    ("atan", 1, "first", "f", np.arctan),
    ("atan2", 2, "first", "f", np.arctan2),
    ("sinh", 1, "first", "f", np.sinh),
    ("cosh", 1, "first", "f", np.cosh),
    ("tanh", 1, "first", "f", np.tanh),
    ("asinh", 1, "first", "f", np.arcsinh),
    ("acosh", 1, "first", "f", np.arccosh),
    ("atanh", 1, "first", "f", np.arctanh),
    # special
    ("erf", 1, "first", "f", _special("erf")),
    ("erfc", 1, "first", "f", _special("erfc")),
    ("lgamma", 1, "first", "f", _special("gammaln")),
    ("digamma", 1, "first", "f", _special("digamma")),
    ("erfinv", 1, "first", "f", _special("erfinv")),
    ("ndtri", 1, "first", "f", _special("ndtri")),
)


def _from_library(name: str, arity: int, routine: str = "", output: int | None = None) -> Function:
    routine = routine or name

    return Function(name, arity, "first", "f", _special(routine, output), f"special:{routine}", output)


# rare functions: one call of a library for each element
FUNCTIONS |= {f.name: f for f in (
    *(_from_library(f"bessel_{name}", 1, name) for name in ("i0", "i1", "i0e", "i1e", "j0", "j1", "k0", "k1", "k0e", "k1e", "y0", "y1")),
    _from_library("dawsn", 1), _from_library("spence", 1), _from_library("expint", 1, "expi"),
    _from_library("fresnel_sin", 1, "fresnel", 0), _from_library("fresnel_cos", 1, "fresnel", 1),
    _from_library("gammainc", 2), _from_library("gammaincc", 2), _from_library("betainc", 3),
)}  # fmt: skip

NUMBERS: dict[str, float] = {"inf": math.inf, "nan": math.nan, "pi": math.pi}
COMBINES = ("add", "mul", "min", "max", "and", "or")


def neutral(combine: str, dtype: DType) -> int | float | bool:
    """The value that `combine` leaves unchanged: 0 for add, -inf or the smallest integer for max, and so on."""
    if combine in ("add", "or"):
        return {"b": False, "f": 0.0}.get(dtype.kind, 0)
    if combine == "mul":
        return {"b": True, "f": 1.0}.get(dtype.kind, 1)
    if combine == "and":
        return True if dtype.kind == "b" else (-1 if dtype.kind == "i" else int(dtype.max))
    if combine in ("min", "max"):
        if dtype.kind == "f":
            return math.inf if combine == "min" else -math.inf
        limit = dtype.max if combine == "min" else dtype.min
        return bool(limit) if dtype.kind == "b" else int(limit)
    raise ValueError(f"no neutral element of {combine!r}; expected one of {', '.join(COMBINES)}")


def result_dtype(fn: str, args: tuple[Expr, ...], given: DType | None = None) -> DType:
    """The dtype of `fn(*args)`. TypeError for a wrong number or kind of operands, or operands of different dtypes."""
    row = FUNCTIONS.get(fn)
    if row is None:
        raise TypeError(f"no scalar function is called {fn!r}; expected one of {', '.join(FUNCTIONS)}")
    if len(args) != row.arity:
        raise TypeError(f"{fn} takes {row.arity} operands, found {len(args)}")
    operands = args
    if row.result == "second":
        if args[0].dtype.kind != "b":
            raise TypeError(f"{fn} takes a bool condition, found {args[0].dtype.short}")
        operands = args[1:]
    for a in operands:
        if a.dtype.kind not in row.kinds:
            raise TypeError(f"{fn} does not take {a.dtype.short}")
        if a.dtype is not operands[0].dtype:
            raise TypeError(f"{fn} of {operands[0].dtype.short} and {a.dtype.short}; write a cast, as {operands[0].dtype.short}(...)")
    if row.result == "given":
        if given is None:
            raise TypeError(f"{fn} needs the dtype it goes to")
        return given
    return dtypes.bool_ if row.result == "bool" else operands[0].dtype


# ------------------------------------------------------------------------------------------------ syntax
OPERATORS: dict[type, str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.FloorDiv: "floordiv", ast.Mod: "mod", ast.Pow: "pow",
    ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "shr",
}  # fmt: skip
COMPARISONS: dict[type, str] = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge",
}  # fmt: skip

Operand = Expr | int | float | bool


class Reader:
    """Reads the expression syntax: Python's operators, `a if c else b`, and calls of `FUNCTIONS`.

    A number has no dtype until it meets an operand that has one. `names` gives the meaning of names; what else an expression
    may contain (element access) a subclass reads by overriding `other`.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names

    def other(self, node: ast.expr) -> Operand:
        """Nodes that the scalar language itself does not have."""
        raise SyntaxError(f"not an expression of the loop language: {ast.unparse(node)}")

    def typed(self, node: ast.expr, dtype: DType) -> Expr:
        """The expression, a bare number taking `dtype`."""
        return self._strong(self.read(node), dtype)

    def read(self, node: ast.expr) -> Operand:
        """The expression, or a number that has met no operand."""
        match node:
            case ast.Constant(value=bool() | int() | float() as v):
                return v
            case ast.Name(id=name):
                return self.name(name)
            case ast.BinOp(left=a, op=op, right=b) if type(op) in OPERATORS:
                return self.apply(OPERATORS[type(op)], [self.read(a), self.read(b)])
            case ast.UnaryOp(op=ast.USub(), operand=a):
                x = self.read(a)
                return -x
            case ast.UnaryOp(op=ast.UAdd(), operand=a):
                return self.read(a)
            case ast.UnaryOp(op=ast.Invert() | ast.Not(), operand=a):
                return self.apply("not", [self.read(a)])
            case ast.BoolOp(op=op, values=values):
                return self._fold("and" if isinstance(op, ast.And) else "or", [self.read(v) for v in values])
            case ast.Compare(left=a, ops=ops, comparators=bs) if all(type(o) in COMPARISONS for o in ops):
                xs = [self.read(a), *map(self.read, bs)]
                return self._fold("and", [self.apply(COMPARISONS[type(o)], [x, y]) for o, x, y in zip(ops, xs, xs[1:])])
            case ast.IfExp(test=c, body=a, orelse=b):
                return self.apply("select", [self.read(c), self.read(a), self.read(b)])
            case ast.Call(func=ast.Name(id="bitcast"), args=[a, ast.Name(id=to)], keywords=[]) if to in dtypes.BY_SHORT:
                return self.convert("bitcast", self.read(a), dtypes.BY_SHORT[to])
            case ast.Call(func=ast.Name(id=to), args=[a], keywords=[]) if to in dtypes.BY_SHORT:
                return self.convert("cast", self.read(a), dtypes.BY_SHORT[to])
            case ast.Call(func=ast.Name(id=("min" | "max") as fn), args=args, keywords=[]) if len(args) > 2 and not any(
                isinstance(a, ast.GeneratorExp) for a in args
            ):
                return self._fold(fn, [self.read(a) for a in args])
            case ast.Call(func=ast.Name(id=fn), args=args, keywords=[]) if fn in FUNCTIONS and not any(
                isinstance(a, ast.GeneratorExp) for a in args
            ):
                return self.apply(fn, [self.read(a) for a in args])
        return self.other(node)

    def name(self, name: str) -> Operand:
        """What a name stands for. NameError for an unknown one."""
        if name in self.names:
            return expr.as_expr(self.names[name]) if not isinstance(self.names[name], (int, float)) else self.names[name]
        if name in NUMBERS:
            return NUMBERS[name]
        raise NameError(f"the loop expression speaks of {name!r}, which is not defined; known are {', '.join(sorted(self.names))}")

    def convert(self, fn: str, x: Operand, dtype: DType) -> Expr:
        """`dtype(x)` or `bitcast(x, dtype)`; a bare number becomes a literal of that dtype."""
        if not isinstance(x, Expr):
            return self._strong(x, dtype)
        if fn == "cast":
            return expr.cast(x, dtype)
        if dtype.bits != x.dtype.bits:
            raise TypeError(f"bitcast of {x.dtype.short} to {dtype.short}: the widths differ")
        return Call(result_dtype(fn, (x,), dtype), fn, (x,))

    def apply(self, fn: str, args: list[Operand]) -> Operand:
        """`fn(*args)`, numbers taking the dtype of the first operand that has one; of numbers alone, the number."""
        free = args[1:] if FUNCTIONS[fn].result == "second" else args
        dtype = next((a.dtype for a in free if isinstance(a, Expr)), None)
        if dtype is None:
            if all(not isinstance(a, Expr) for a in args):
                return self._number(fn, args)
            dtype = dtypes.float32 if any(isinstance(a, float) for a in free) else dtypes.int64
        strong = [self._strong(a, dtype) for a in free]
        if len(free) < len(args):
            strong.insert(0, self._strong(args[0], dtypes.bool_))
        operands = tuple(strong)
        to = result_dtype(fn, operands)
        if len(operands) == 2 and to is operands[0].dtype:
            return expr.binary(fn, *operands)
        return Call(to, fn, operands)

    def _fold(self, fn: str, args: list[Operand]) -> Operand:
        out = args[0]
        for a in args[1:]:
            out = self.apply(fn, [out, a])
        return out

    @staticmethod
    def _number(fn: str, args: list[Any]) -> Any:
        operands = [
            np.bool_(a) if isinstance(a, bool) else np.float64(a) if isinstance(a, float) or fn == "div" else np.int64(a) for a in args
        ]
        if any(isinstance(a, np.float64) for a in operands):
            operands = [np.float64(a) for a in operands]
        with np.errstate(all="ignore"):
            return FUNCTIONS[fn].reference(*operands).item()

    @staticmethod
    def _strong(x: Operand, dtype: DType) -> Expr:
        if isinstance(x, Expr):
            return x
        if dtype.kind in "iu" and isinstance(x, float) and x != int(x):
            raise TypeError(f"the number {x} is no {dtype.short}; write a cast, as f32(...)")
        return Const(dtype, bool(x) if dtype.kind == "b" else int(x) if dtype.kind in "iu" else float(x))


def parse(text: str, dtype: DType | None = None, **operands: Any) -> Expr:
    """The expression that `text` says of `operands` (expressions, or Python numbers for attributes).

    `1 / (1 + exp(-x))`, `x if x > 0 else alpha * (exp(x) - 1)`. A number takes the dtype of the operand it meets; one that meets
    none takes `dtype`, or that of the first expression among the operands. SyntaxError, NameError or TypeError for bad text.
    """
    first = next((o.dtype for o in operands.values() if isinstance(o, Expr)), dtypes.float32)
    return Reader(operands).typed(ast.parse(text.strip(), mode="eval").body, dtype or first)

"""Scalar expressions of the loop IR: what one element of a result is.

Built with Python operators on `Expr` (and by `scalar.parse` from text). Indices are int64 expressions; a number that meets an
expression takes its dtype. `Reduce` is the one non-scalar: a sum (or max, ...) over axes of its own, which the schedule
lowers into a loop before anything is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim, Size


@dataclass(frozen=True)
class Expr:
    """A scalar of type `dtype`."""

    dtype: DType

    def __add__(self, o: Any) -> Expr:
        return binary("add", self, o)

    def __radd__(self, o: Any) -> Expr:
        return binary("add", o, self)

    def __sub__(self, o: Any) -> Expr:
        return binary("sub", self, o)

    def __rsub__(self, o: Any) -> Expr:
        return binary("sub", o, self)

    def __mul__(self, o: Any) -> Expr:
        return binary("mul", self, o)

    def __rmul__(self, o: Any) -> Expr:
        return binary("mul", o, self)

    def __truediv__(self, o: Any) -> Expr:
        return binary("div", self, o)

    def __rtruediv__(self, o: Any) -> Expr:
        return binary("div", o, self)

    def __floordiv__(self, o: Any) -> Expr:
        return binary("floordiv", self, o)

    def __rfloordiv__(self, o: Any) -> Expr:
        return binary("floordiv", o, self)

    def __mod__(self, o: Any) -> Expr:
        return binary("mod", self, o)

    def __rmod__(self, o: Any) -> Expr:
        return binary("mod", o, self)

    def __and__(self, o: Any) -> Expr:
        return binary("and", self, o)

    def __or__(self, o: Any) -> Expr:
        return binary("or", self, o)

    def __xor__(self, o: Any) -> Expr:
        return binary("xor", self, o)

    def __lshift__(self, o: Any) -> Expr:
        return binary("shl", self, o)

    def __rshift__(self, o: Any) -> Expr:
        return binary("shr", self, o)

    def __neg__(self) -> Expr:
        return Const(self.dtype, -self.value) if isinstance(self, Const) and self.dtype.kind in "if" else Call(self.dtype, "neg", (self,))

    def __invert__(self) -> Expr:
        return Call(self.dtype, "not", (self,))

    def __lt__(self, o: Any) -> Expr:
        return compare("lt", self, o)

    def __le__(self, o: Any) -> Expr:
        return compare("le", self, o)

    def __gt__(self, o: Any) -> Expr:
        return compare("gt", self, o)

    def __ge__(self, o: Any) -> Expr:
        return compare("ge", self, o)

    def __bool__(self) -> bool:
        raise TypeError("a loop expression has no truth value; use select(condition, a, b)")


@dataclass(frozen=True)
class Const(Expr):
    """A literal; `value` is a Python bool, int or float (inf and nan too) that `dtype` can hold."""

    value: Any


@dataclass(frozen=True)
class Var(Expr):
    """A loop index, a size, or a local scalar, by name."""

    name: str


@dataclass(frozen=True)
class Load(Expr):
    """One element of the buffer called `buffer`: one int64 expression per axis (none for a scalar buffer)."""

    buffer: str
    index: tuple[Expr, ...]


@dataclass(frozen=True)
class Call(Expr):
    """A scalar function of `scalar.FUNCTIONS` on `args`; `cast` and `bitcast` go to `dtype`."""

    fn: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Reduce(Expr):
    """`body` combined over `axes` = ((index name, extent), ...) by "add", "mul", "min", "max", "and" or "or".

    An empty range gives the neutral element of `combine`.
    """

    combine: str
    axes: tuple[tuple[str, Dim], ...]
    body: Expr


# ------------------------------------------------------------------------------------------------ construction
def as_expr(x: Any, dtype: DType = dtypes.int64) -> Expr:
    """`x` itself, or a literal of `dtype`, or the int64 expression that a dim stands for."""
    if isinstance(x, Expr):
        return x
    if isinstance(x, Size):
        return of_dim(x)
    if dtype.kind == "b":
        return Const(dtype, bool(x))
    return Const(dtype, int(x) if dtype.kind in "iu" else float(x))


def of_dim(d: Dim) -> Expr:
    """The int64 expression of a dim; its named sizes become variables."""
    if not isinstance(d, Size):
        return Const(dtypes.int64, int(d))
    total: Expr = Const(dtypes.int64, 0)
    for monomial, coefficient in d.terms.items():
        term: Expr = Const(dtypes.int64, coefficient)
        for atom in monomial:
            if isinstance(atom, str):
                term = term * Var(dtypes.int64, atom)
            elif isinstance(atom, sizes.Quotient):
                term = term * (of_dim(atom.top) // of_dim(atom.bottom))
            else:
                term = term * binary(atom.which, of_dim(atom.a), of_dim(atom.b))
        total = total + term
    return total


def _pair(a: Any, b: Any) -> tuple[Expr, Expr]:
    if isinstance(a, Expr):
        return a, as_expr(b, a.dtype)
    return as_expr(a, b.dtype), b


_FOLD: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "min": min, "max": max,
}  # fmt: skip


def binary(fn: str, a: Any, b: Any) -> Expr:
    """`fn(a, b)` of one dtype. Integer (index) arithmetic is folded; floating-point arithmetic is left as written."""
    x, y = _pair(a, b)
    if x.dtype is not y.dtype:
        raise TypeError(f"loop expression {fn} of {x.dtype.short} and {y.dtype.short}")
    if x.dtype is dtypes.int64:
        if isinstance(x, Const) and isinstance(y, Const) and fn in _FOLD and not (fn in ("floordiv", "mod") and y.value == 0):
            return Const(x.dtype, _FOLD[fn](x.value, y.value))
        for const, other in ((x, y), (y, x)):
            if isinstance(const, Const):
                if (fn == "add" and const.value == 0) or (fn == "mul" and const.value == 1):
                    return other
                if fn == "mul" and const.value == 0:
                    return const
        if isinstance(y, Const):
            if (fn == "sub" and y.value == 0) or (fn == "floordiv" and y.value == 1):
                return x
            if fn == "mod" and y.value == 1:
                return Const(x.dtype, 0)
    return Call(x.dtype, fn, (x, y))


def compare(fn: str, a: Any, b: Any) -> Expr:
    """A comparison ("eq", "ne", "lt", "le", "gt", "ge"), of type bool."""
    x, y = _pair(a, b)
    if x.dtype is not y.dtype:
        raise TypeError(f"loop expression {fn} of {x.dtype.short} and {y.dtype.short}")
    return Call(dtypes.bool_, fn, (x, y))


def call(fn: str, *args: Expr, dtype: DType | None = None) -> Expr:
    """`fn(*args)`; the result has `dtype`, or that of the first argument."""
    return Call(dtype or args[0].dtype, fn, args)


def select(condition: Expr, a: Any, b: Any) -> Expr:
    """`a` where `condition` holds, `b` elsewhere; both are evaluated, so neither may load out of bounds (see `guarded`)."""
    x, y = _pair(a, b)
    return Call(x.dtype, "select", (condition, x, y))


def guarded(condition: Expr, a: Expr, b: Any) -> Expr:
    """`a` where `condition` holds, `b` elsewhere; `a` is evaluated only where it holds, so its loads may need the guard."""
    return Call(a.dtype, "guarded", (condition, a, as_expr(b, a.dtype)))


def cast(x: Expr, dtype: DType) -> Expr:
    """`x` as `dtype`: floats truncate towards zero to integers, anything but zero is True."""
    if x.dtype is dtype:
        return x
    if isinstance(x, Const) and dtype.kind in "iuf" and x.dtype.kind in "iu":
        return as_expr(x.value, dtype)
    return Call(dtype, "cast", (x,))


def children(e: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside `e`."""
    if isinstance(e, Call):
        return e.args
    if isinstance(e, Load):
        return e.index
    return (e.body,) if isinstance(e, Reduce) else ()


def walk(e: Expr) -> Iterator[Expr]:
    """`e` and every expression inside it, outermost first."""
    yield e
    for c in children(e):
        yield from walk(c)


def rebuild(e: Expr, f: Callable[[Expr], Expr]) -> Expr:
    """`e` with `f` applied to each direct child."""
    if isinstance(e, Call):
        args = tuple(f(a) for a in e.args)
        if args == e.args:
            return e
        return binary(e.fn, *args) if e.fn in _FOLD and e.dtype is dtypes.int64 else Call(e.dtype, e.fn, args)
    if isinstance(e, Load):
        return Load(e.dtype, e.buffer, tuple(f(i) for i in e.index))
    if isinstance(e, Reduce):
        return Reduce(e.dtype, e.combine, e.axes, f(e.body))
    return e


def substitute(e: Expr, env: dict[str, Expr]) -> Expr:
    """`e` with variables replaced by name."""
    if isinstance(e, Var):
        return env.get(e.name, e)
    return rebuild(e, lambda c: substitute(c, env))

"""Symbolic sizes: integer polynomials over named sizes, floor quotients, minima and maxima.

A *dim* is a plain `int` where it is known and a `Size` where it is not; every operation here gives back a dim in that
normal form, so `B - B` is `0` and two equal polynomials compare equal. `str` of a size is Python and `parse` reads it.
"""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Union

Dim = Union[int, "Size"]


@dataclass(frozen=True)
class Quotient:
    """The atom `top // bottom` that could not be divided out; a negative quotient rounds down, as in Python."""

    top: Dim
    bottom: Dim

    def __str__(self) -> str:
        top, bottom = (str(d) if str(d).isidentifier() or str(d).isdigit() else f"({d})" for d in (self.top, self.bottom))
        return f"{top} // {bottom}"


@dataclass(frozen=True)
class Extremum:
    """The atom `min(a, b)` or `max(a, b)`; `which` is the name."""

    which: str
    a: Dim
    b: Dim

    def __str__(self) -> str:
        return f"{self.which}({self.a}, {self.b})"


Atom = Union[str, Quotient, Extremum]
Monomial = tuple[Atom, ...]


class Size:
    """A polynomial: a sum of integer coefficients times products of atoms. Immutable, hashable, compared by value."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms: dict[Monomial, int] = {m: c for m, c in terms.items() if c}
        self._hash = hash(frozenset(self.terms.items()))

    def __add__(self, other: Dim) -> Dim:
        out = dict(self.terms)
        for m, c in _terms(other).items():
            out[m] = out.get(m, 0) + c
        return _normal(out)

    __radd__ = __add__

    def __mul__(self, other: Dim) -> Dim:
        out: dict[Monomial, int] = {}
        for m1, c1 in self.terms.items():
            for m2, c2 in _terms(other).items():
                m = tuple(sorted(m1 + m2, key=str))
                out[m] = out.get(m, 0) + c1 * c2
        return _normal(out)

    __rmul__ = __mul__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + -other

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return self - other * floordiv(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return other - self * floordiv(other, self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        out = ""
        for m, c in sorted(self.terms.items(), key=lambda t: (-len(t[0]), [str(a) for a in t[0]])):
            factors = [_factor(a, len(m) > 1 or c != 1) for a in m]  # -(a // b) is not -a // b
            body = " * ".join(([str(abs(c))] if abs(c) != 1 or not m else []) + factors)
            out += (" - " if c < 0 else " + ") + body if out else ("-" if c < 0 else "") + body
        return out

    __repr__ = __str__  # a shape in a message reads [B, 3]

    def __reduce__(self) -> tuple:
        return Size, (self.terms,)  # the hash kept in a slot is good for one process only

    def __bool__(self) -> bool:
        raise TypeError(f"the size {self} is known only at run time and has no truth value; use tf.cond or tf.where")

    __index__ = None  # an unknown size is no Python integer: `range(size)` must fail, not guess


def _factor(a: Atom, inside: bool) -> str:
    return f"({a})" if inside and isinstance(a, Quotient) else str(a)


def _terms(d: Dim) -> Mapping[Monomial, int]:
    return d.terms if isinstance(d, Size) else {(): int(d)}


def _normal(terms: Mapping[Monomial, int]) -> Dim:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    return Size(kept)


def named(name: str) -> Size:
    """The size called `name`, as `B` in `f32[B, 784]`."""
    return Size({(name,): 1})


def floordiv(a: Dim, b: Dim) -> Dim:
    """`a // b`, divided out where every coefficient allows it, an atom otherwise. ZeroDivisionError for a zero `b`."""
    if not isinstance(b, Size):
        if b == 0:
            raise ZeroDivisionError(f"size {a} // 0")
        if not isinstance(a, Size):
            return a // b
        whole = {m: c // b for m, c in a.terms.items() if c % b == 0}
        rest = _normal({m: c for m, c in a.terms.items() if c % b})
        if not isinstance(rest, Size):  # k // b with 0 <= k < b contributes by Python's rounding
            return _normal(whole) + rest // b
        return _normal(whole) + Size({(Quotient(rest, b),): 1})
    if a == b:
        return 1
    if isinstance(a, int) and a == 0:
        return 0
    divided = _divide_exactly(a, b)
    return divided if divided is not None else Size({(Quotient(a, b),): 1})


def _divide_exactly(a: Dim, b: Size) -> Dim | None:
    """`a / b` where `b` is one monomial that divides every term of `a`, else None."""
    if len(b.terms) != 1:
        return None
    ((mb, cb),) = b.terms.items()
    out: dict[Monomial, int] = {}
    for m, c in _terms(a).items():
        left = list(m)
        for atom in mb:
            if atom not in left:
                return None
            left.remove(atom)
        if c % cb:
            return None
        out[tuple(left)] = c // cb
    return _normal(out)


def minimum(a: Dim, b: Dim) -> Dim:
    """The smaller of two dims; an atom where it is not decided by a constant difference."""
    return _extremum("min", a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    """The larger of two dims; an atom where it is not decided by a constant difference. Named sizes are at least 0."""
    return _extremum("max", a, b)


def _extremum(which: str, a: Dim, b: Dim) -> Dim:
    difference = a - b
    if not isinstance(difference, Size):
        first = difference <= 0 if which == "min" else difference >= 0
        return a if first else b
    for x, y in ((a, b), (b, a)):
        if not isinstance(x, Size) and x <= 0 and nonnegative(y):
            return x if which == "min" else y
    first_dim, second_dim = sorted((a, b), key=str)
    return Size({(Extremum(which, first_dim, second_dim),): 1})


def nonnegative(d: Dim) -> bool:
    """Whether `d` is certainly at least 0: named sizes and their products are, differences need not be."""
    if not isinstance(d, Size):
        return d >= 0
    return all(c > 0 and all(_nonnegative_atom(a) for a in m) for m, c in d.terms.items())


def _nonnegative_atom(a: Atom) -> bool:
    if isinstance(a, Quotient):
        return nonnegative(a.top) and nonnegative(a.bottom)
    if isinstance(a, Extremum):
        return (all if a.which == "min" else any)(nonnegative(d) for d in (a.a, a.b))
    return True


def product(dims: Iterable[Dim]) -> Dim:
    """The product of dims; 1 for none."""
    out: Dim = 1
    for d in dims:
        out = out * d
    return out


def is_known(dims: Iterable[Dim]) -> bool:
    """Whether every dim is a plain int."""
    return not any(isinstance(d, Size) for d in dims)


def names(d: Any) -> set[str]:
    """The named sizes that occur in a dim."""
    found: set[str] = set()
    if isinstance(d, Size):
        for m in d.terms:
            for a in m:
                if isinstance(a, str):
                    found.add(a)
                elif isinstance(a, Quotient):
                    found |= names(a.top) | names(a.bottom)
                else:
                    found |= names(a.a) | names(a.b)
    return found


def substitute(d: Dim, env: Mapping[str, Dim]) -> Dim:
    """`d` with named sizes replaced; names not in `env` stay."""
    if not isinstance(d, Size):
        return d
    total: Dim = 0
    for m, c in d.terms.items():
        term: Dim = c
        for a in m:
            if isinstance(a, str):
                term = term * env.get(a, named(a))
            elif isinstance(a, Quotient):
                term = term * floordiv(substitute(a.top, env), substitute(a.bottom, env))
            else:
                term = term * _extremum(a.which, substitute(a.a, env), substitute(a.b, env))
        total = total + term
    return total


def evaluate(d: Dim, env: Mapping[str, int]) -> int:
    """The integer that `d` is with every named size given. KeyError names a size that is not."""
    out = substitute(d, env)
    if isinstance(out, Size):
        raise KeyError(f"size {sorted(names(out))} of {d} has no value")
    return out


def solve(d: Dim, value: int, env: Mapping[str, int]) -> tuple[str, int] | None:
    """The one unknown name in `d` and its value such that `d == value`, or None if `d` is no linear equation in it.

    ValueError if there is no size, a whole number from 0 on, that satisfies the equation.
    """
    rest = substitute(d, env)
    if not isinstance(rest, Size):
        return None
    linear = [(m[0], c) for m, c in rest.terms.items() if len(m) == 1 and isinstance(m[0], str)]
    if len(linear) != 1 or len(rest.terms) > 2 or (len(rest.terms) == 2 and () not in rest.terms):
        return None
    (name, coefficient), constant = linear[0], rest.terms.get((), 0)
    if (value - constant) % coefficient or (value - constant) // coefficient < 0:
        raise ValueError(f"{d} == {value} has no whole solution from 0 on")
    return str(name), (value - constant) // coefficient


def parse(expression: ast.expr | str) -> Dim:
    """Read a dim printed by `str`. ValueError for anything that is not a size."""
    node = ast.parse(expression, mode="eval").body if isinstance(expression, str) else expression
    match node:
        case ast.Constant(value=int(v)) if not isinstance(v, bool):
            return v
        case ast.Name(id=name):
            return named(name)
        case ast.UnaryOp(op=ast.USub(), operand=x):
            return -parse(x)
        case ast.BinOp(left=x, op=op, right=y) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](parse(x), parse(y))
        case ast.Call(func=ast.Name(id="min" | "max" as which), args=[x, y]):
            return _extremum(which, parse(x), parse(y))
    raise ValueError(f"not a size: {ast.unparse(node)}")


_OPERATORS: dict[type, Callable[[Any, Any], Dim]] = {
    ast.Add: lambda x, y: x + y,
    ast.Sub: lambda x, y: x - y,
    ast.Mult: lambda x, y: x * y,
    ast.FloorDiv: floordiv,
    ast.Mod: lambda x, y: x - y * floordiv(x, y),
}


# ---------------------------------------------------------------------------------- what is taken to be equal
class _Assumptions(threading.local):
    taken: list[tuple[Dim, Dim]] | None = None


_assumptions = _Assumptions()


@contextmanager
def assuming() -> Iterator[list[tuple[Dim, Dim]]]:
    """Within, `unify` of two undecided dims succeeds and is added to the list, to be checked at run time."""
    before, _assumptions.taken = _assumptions.taken, []
    try:
        yield _assumptions.taken
    finally:
        _assumptions.taken = before


def unify(a: Dim, b: Dim) -> Dim:
    """The one dim that `a` and `b` both are; known ints win. ValueError if they certainly differ, or are not known to be equal."""
    if a == b:
        return a
    difference = a - b
    if not isinstance(difference, Size):
        raise ValueError(f"sizes {a} and {b} differ")
    if _assumptions.taken is None:
        raise ValueError(f"sizes {a} and {b} are not known to be equal")
    _assumptions.taken.append((a, b))
    return b if isinstance(a, Size) else a


def shown(dims: Sequence[Any]) -> str:
    """A shape as messages write it, like a tuple in Python."""
    return f"({', '.join(map(str, dims))}{',' if len(dims) == 1 else ''})"

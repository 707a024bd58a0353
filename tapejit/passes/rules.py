"""Rewrite rules, written in the ops: a name that says the law, and the two sides of it.

A rule holds for every bit of every float, NaN, infinities and -0.0 included (`x + 0.0` is not `x`: for -0.0 it is 0.0), and for every
dtype of its kinds; a test proves each of them on samples. Operands of commutative ops match in either order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.ir.graph import Literal, Node, Operand, Value
from tapejit.ir.op import Op, thread
from tapejit.ops import elementwise as e
from tapejit.ops import operand

Sides = tuple[Any, Any]

RULES: dict[str, tuple[str, Callable[..., Sides]]] = {
    # law: (kinds of dtypes it holds for, its sides)
    "-(-x) is x": ("ifc", lambda x: (-(-x), x)),  # noqa: B002
    "x * 1 is x": ("iuf", lambda x: (x * 1, x)),
    "x / 1 is x": ("f", lambda x: (x / 1, x)),
    "x * -1 is -x": ("if", lambda x: (x * -1, -x)),
    "x - 0.0 is x": ("iuf", lambda x: (x - 0.0, x)),
    "x + -0.0 is x": ("f", lambda x: (x + -0.0, x)),
    "x + 0 is x": ("iu", lambda x: (x + 0, x)),
    "x - (-y) is x + y": ("if", lambda x, y: (x - (-y), x + y)),
    "x + (-y) is x - y": ("if", lambda x, y: (x + (-y), x - y)),
    "(-x) * (-y) is x * y": ("if", lambda x, y: ((-x) * (-y), x * y)),
    "(-x) / (-y) is x / y": ("f", lambda x, y: ((-x) / (-y), x / y)),
    "square(-x) is square(x)": ("if", lambda x: (e.square(-x), e.square(x))),
    "abs(-x) is abs(x)": ("f", lambda x: (e.abs_(-x), e.abs_(x))),
    "abs(abs(x)) is abs(x)": ("if", lambda x: (e.abs_(e.abs_(x)), e.abs_(x))),
    "x ** 1 is x": ("f", lambda x: (x**1, x)),
    "x ** 2 is square(x)": ("f", lambda x: (x**2, e.square(x))),
    "x ** -1 is 1 / x": ("f", lambda x: (x**-1, 1 / x)),
    "where(c, x, x) is x": ("iufb", lambda c, x: (e.select(c, x, x), x)),
    "not not c is c": ("b", lambda c: (e.logical_not(e.logical_not(c)), c)),
    "c and c is c": ("b", lambda c: (e.logical_and(c, c), c)),
    "c or c is c": ("b", lambda c: (e.logical_or(c, c), c)),
    "max(x, x) is x": ("iuf", lambda x: (e.maximum(x, x), x)),
    "min(x, x) is x": ("iuf", lambda x: (e.minimum(x, x), x)),
    "not (x == y) is x != y": ("iuf", lambda x, y: (e.logical_not(e.equal(x, y)), e.not_equal(x, y))),
    "where(not c, x, y) is where(c, y, x)": ("iufb", lambda c, x, y: (e.select(e.logical_not(c), x, y), e.select(c, y, x))),
}

COMMUTATIVE = frozenset({"add", "mul", "logical_and", "logical_or", "logical_xor", "equal", "not_equal"})


class Pattern(operand.Operand):
    """A side of a rule: a variable (by name), a number, or an op on patterns."""

    __slots__ = ("args", "name", "number", "op")
    dims: tuple[Any, ...] = ()
    __hash__ = object.__hash__

    def __init__(self, name: str = "", number: Any = None, op: Op | None = None, args: tuple[Pattern, ...] = ()) -> None:
        self.name, self.number, self.op, self.args = name, number, op, args

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return dtypes.float32  # operators ask whether they divide integers; rules do not

    def carry_out(self, op: Op, operands: tuple[Any, ...], attrs: dict[str, Any]) -> Pattern:
        """An op on patterns is a pattern."""
        if attrs:
            raise TypeError(f"a rule's ops have no attributes, got {op.name} with {attrs}")
        return Pattern(op=op, args=tuple(x if isinstance(x, Pattern) else Pattern(number=x) for x in operands))

    def variables(self) -> set[str]:
        """Names of the variables in it."""
        return {self.name} if self.name else set().union(*(a.variables() for a in self.args))


@dataclass(frozen=True)
class Rule:
    """One law, with its sides as patterns."""

    name: str
    kinds: str
    left: Pattern
    right: Pattern


@cache
def rules() -> dict[Op, tuple[Rule, ...]]:
    """All rules by the op on the outside of their left sides."""
    out: dict[Op, list[Rule]] = {}
    for name, (kinds, sides) in RULES.items():
        rule = _rule(name, kinds, sides)
        assert rule.left.op is not None
        out.setdefault(rule.left.op, []).append(rule)
    return {op: tuple(listed) for op, listed in out.items()}


def _rule(name: str, kinds: str, sides: Callable[..., Sides]) -> Rule:
    before, thread.recorder = thread.recorder, None  # patterns carry out ops themselves
    try:
        left, right = sides(*(Pattern(name=n) for n in signature(sides).parameters))
    finally:
        thread.recorder = before
    return Rule(name, kinds, left, right)


def match(pattern: Pattern, x: Operand, made_by: Callable[[Value], Node | None], found: dict[str, Operand]) -> bool:
    """Whether `x` has the form of `pattern`; variables are entered into `found`."""
    if pattern.name:
        if pattern.name in found:
            return same(found[pattern.name], x)
        found[pattern.name] = x
        return True
    if pattern.op is None:
        return isinstance(x, Literal) and x.dtype.kind in "iuf" and x.value == pattern.number and _sign(x.value) == _sign(pattern.number)
    node = made_by(x) if isinstance(x, Value) else None
    return node is not None and match_node(pattern, node, made_by, found)


def match_node(pattern: Pattern, node: Node, made_by: Callable[[Value], Node | None], found: dict[str, Operand]) -> bool:
    """Whether a node has the form of an op pattern."""
    if node.op is not pattern.op or node.attrs or len(node.args) != len(pattern.args):
        return False
    orders = [pattern.args] + ([pattern.args[::-1]] if node.op.name in COMMUTATIVE else [])
    for args in orders:
        trial = dict(found)
        if all(match(p, a, made_by, trial) for p, a in zip(args, node.args, strict=True)):
            found.update(trial)
            return True
    return False


def same(a: Operand, b: Operand) -> bool:
    """Whether two operands are the same value or equal literals."""
    return a is b or (isinstance(a, Literal) and a == b)


def _sign(x: Any) -> float:
    return math.copysign(1.0, x)

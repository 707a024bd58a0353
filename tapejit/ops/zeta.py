"""Hurwitz' zeta function, the sum of (y + k)^-x over k = 0, 1, 2, ...

Eagerly SciPy's. In a compiled step a loop over the first terms and then the Euler-Maclaurin formula, in float64 as there: a library
has no address to call for it. Formula: Abramowitz and Stegun, 23.1.30; where to stop: Cephes.
"""

from __future__ import annotations

import math
from typing import Any

from tapejit.core import dtypes
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr, Var
from tapejit.loops.nest import Accumulator, If, Let, Stmt, Update, While
from tapejit.ops.broadcasting import broadcast_index
from tapejit.ops.families import Elementwise
from tapejit.ops.gathering import loops

_TERMS = 9  # that are added one by one, at the least, and up to y + k > 9
_BERNOULLI = (  # numerators and denominators of the numbers with even index
    (1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510), (43867, 798), (-174611, 330),
    (854513, 138), (-236364091, 2730),
)  # fmt: skip
_SMALL = 2.0**-53
_LARGE = 1e8  # from which on the first two terms of the expansion for large y are all


def _number(x: float) -> Expr:
    return expr.as_expr(x, dtypes.float64)


class Zeta(Elementwise):
    """Hurwitz' zeta(x, y): a loop nest, because how many terms are added depends on y."""

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (out,) = outs

        def value(index: tuple[Expr, ...]) -> tuple[Stmt, ...]:
            operands = (Let(n, expr.cast(v[broadcast_index(index, v.dims)], dtypes.float64)) for n, v in zip("xq", ins, strict=True))
            return *operands, *_hurwitz(), out.store(index, expr.cast(Var(dtypes.float64, "sum"), out.dtype))

        return loops("i", out.dims, value, outer="parallel")


def _hurwitz() -> tuple[Stmt, ...]:
    """The accumulator `sum` becomes zeta(x, q)."""
    x, q, total, at, term, factor, open_ = (Var(dtypes.float64, n) for n in ("x", "q", "sum", "at", "term", "factor", "open"))
    count, one, zero = Var(dtypes.int64, "count"), _number(1.0), _number(0.0)

    def power(base: Expr, exponent: Expr) -> Expr:
        return expr.call("pow", base, exponent)

    def close(part: Expr) -> Stmt:
        """Nothing is added any more once a part is too small to count."""
        return If(expr.call("abs", part) < expr.call("abs", total) * _SMALL, (Update("open", "set", zero),))

    series: list[Stmt] = [
        Update("sum", "set", power(q, -x)),
        While(
            (open_ > 0.0) & ((count < _TERMS) | (at <= float(_TERMS))),
            (
                Update("count", "add", expr.as_expr(1)),
                Update("at", "add", one),
                Update("term", "set", power(at, -x)),
                Update("sum", "add", term),
                close(term),
            ),
        ),
        Update("sum", "add", expr.select(open_ > 0.0, term * at / (x - 1.0) - 0.5 * term, 0.0)),
    ]
    for k, (numerator, denominator) in enumerate(_BERNOULLI):
        divisor = math.factorial(2 * k + 2) * denominator / numerator
        series += [
            Update("factor", "mul", x + 2.0 * k),
            Update("term", "set", term / at),
            If(open_ > 0.0, (Let("part", factor * term / divisor), Update("sum", "add", Var(dtypes.float64, "part")), close(Var(dtypes.float64, "part")))),
            Update("factor", "mul", x + (2.0 * k + 1.0)),
            Update("term", "set", term / at),
        ]  # fmt: skip
    far = (one / (x - 1.0) + one / (2.0 * q)) * power(q, one - x)
    whole = expr.compare("eq", expr.call("floor", q), q)
    defined = (q > 0.0) | expr.compare("eq", expr.call("floor", x), x)
    return (
        *(Accumulator(n, v) for n, v in (("sum", _number(math.nan)), ("at", q), ("term", zero), ("factor", one), ("open", one))),
        Accumulator("count", expr.as_expr(0)),
        If(
            expr.compare("eq", x, one) | (~(x < 1.0) & (q <= 0.0) & whole),
            (Update("sum", "set", _number(math.inf)),),
            (If((x > 1.0) & defined, (If(q > _LARGE, (Update("sum", "set", far),), tuple(series)),)),),
        ),
    )


def _eager(x: Any, y: Any) -> Any:
    import scipy.special

    return scipy.special.zeta(x, y).astype(y.dtype, copy=False)


zeta: Op = register(
    Zeta(
        "zeta", ("x", "y"), _eager, "", (None, lambda g, z, x, y: -g * x * zeta(x + 1, y)), wide=True, domain=((1.5, 4), (0.6, 4)),
        doc="Hurwitz' zeta(x, y).",
    )
)  # fmt: skip

"""The matrix exponential, of batches of matrices in the last two axes.

Eagerly SciPy's. In a compiled step scaling and squaring with one Pade approximant for each precision, of degree 7 and 13, from Higham,
"The scaling and squaring method for the matrix exponential revisited" (2005). The gradient is the block form of Mathias, "A chain rule
for matrix functions and applications" (1996).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from tapejit.core import dtypes
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr, Var
from tapejit.loops.nest import Accumulator, For, Stmt, Update, While
from tapejit.ops import lapack
from tapejit.ops.batching import leading
from tapejit.ops.elementwise import zeros_like
from tapejit.ops.joining import concat
from tapejit.ops.linalg import SQUARES, flipped, square, well_conditioned
from tapejit.ops.slicing import axis_slice

_LARGEST = {32: (7, 3.925724783138660), 64: (13, 5.371920351148152)}  # degree, and the norm up to which it is exact to rounding
_PLACES = 6  # matrices that the work is done in
_A, _A2, _A4, _A6, _NUMERATOR, _DENOMINATOR = range(_PLACES)


def _coefficients(degree: int) -> list[float]:
    """Those of the numerator of the diagonal Pade approximant of e^x, the last one 1."""
    q = degree
    return [float(math.factorial(2 * q - k) // (math.factorial(k) * math.factorial(q - k))) for k in range(q + 1)]


def _exponential(a: Any, at: lapack.Lead, out: Any, w: Any, pivots: Any, p: Expr) -> tuple[Stmt, ...]:
    """The exponential of `a[at]` into `out[at]`. `w[p]` are the matrices to work in."""
    n, dtype, real = a.dims[-1], a.dtype, a.dtype.real_dtype
    degree, limit = _LARGEST[real.bits]
    b = _coefficients(degree)
    norm, scale, turns, now = Var(real, "norm"), Var(real, "scale"), lapack.var("turns"), lapack.var("now")
    other = _NUMERATOR + _DENOMINATOR - now
    total, zero = Var(real, "total"), expr.as_expr(0.0, real)
    i, j = lapack.var("i"), lapack.var("j")

    def polynomial(to: int, powers: dict[int, float], unit: float = 0.0) -> Stmt:
        """to = the sum of matrices times numbers, and `unit` times the identity."""

        def value(i: Expr, j: Expr, part: int) -> Expr:
            total = expr.select(expr.compare("eq", i, j), expr.as_expr(unit * (1 - part), real), 0.0)
            for k, c in powers.items():
                total = total + lapack.element(w, (p, k, i, j), part) * expr.as_expr(c, real)
            return total

        return lapack.fill(w, (p, to), n, n, value)

    def product(x: int | Expr, y: int | Expr, to: int | Expr, add: bool = False) -> Stmt:
        return lapack.product(w, (p, x), (p, y), (p, to), n, add)

    def entry(k: int | Expr) -> Callable[[Expr, Expr, int], Expr]:
        return lambda i, j, part: lapack.element(w, (p, k, i, j), part)

    sides = [lapack.element(a, (*at, i, j), part) for part in range(1 + a.dtype.is_complex)]
    size = expr.call("abs", sides[0]) if len(sides) == 1 else expr.call("sqrt", sides[0] * sides[0] + sides[1] * sides[1])
    measure = (
        Accumulator("norm", zero),
        For("j", n, "serial", (Accumulator("total", zero), For("i", n, "serial", (Update("total", "add", size),)), Update("norm", "max", total))),
        Accumulator("scale", expr.as_expr(1.0, real)),
        Accumulator("turns", expr.as_expr(0)),
        # of a matrix with infinities or NaN nothing can be made but NaN
        Update("norm", "set", expr.select(expr.call("isfinite", norm, dtype=dtypes.bool_), norm, zero)),
        While(norm * scale > limit, (Update("scale", "mul", expr.as_expr(0.5, real)), Update("turns", "add", expr.as_expr(1)))),
        lapack.fill(w, (p, _A), n, n, lambda i, j, part: lapack.element(a, (*at, i, j), part) * scale),
        product(_A, _A, _A2),
        product(_A2, _A2, _A4),
        product(_A2, _A4, _A6),
    )  # fmt: skip
    even, spare = _NUMERATOR, _DENOMINATOR
    odd = _A4  # in the end; then times A
    if degree == 7:
        halves: tuple[Stmt, ...] = (
            polynomial(even, {_A2: b[2], _A4: b[4], _A6: b[6]}, b[0]),
            polynomial(odd, {_A2: b[3], _A4: b[5], _A6: b[7]}, b[1]),
        )
    else:
        halves = (
            polynomial(even, {_A2: b[2], _A4: b[4], _A6: b[6]}, b[0]),
            polynomial(spare, {_A2: b[8], _A4: b[10], _A6: b[12]}),
            product(_A6, spare, even, add=True),
            polynomial(spare, {_A2: b[9], _A4: b[11], _A6: b[13]}),
            polynomial(odd, {_A2: b[3], _A4: b[5], _A6: b[7]}, b[1]),
            product(_A6, spare, odd, add=True),
        )

    def place(k: int) -> Expr:
        return lapack.place(w, (p, k, 0, 0))

    return (
        *measure,
        *halves,
        product(_A, odd, _A2),
        lapack.fill(w, (p, _DENOMINATOR), n, n, lambda i, j, part: entry(even)(i, j, part) - entry(_A2)(i, j, part)),
        lapack.fill(w, (p, _NUMERATOR), n, n, entry(_A2), "add"),
        # both are polynomials of one matrix and commute: to solve by columns what is there by rows comes to the same
        lapack.call("gesv", dtype, n, n, place(_DENOMINATOR), n, pivots[(p, 0)], place(_NUMERATOR), n),
        Accumulator("now", expr.as_expr(_NUMERATOR)),
        While(turns > 0, (product(now, now, other), Update("now", "set", other), Update("turns", "add", expr.as_expr(-1)))),
        lapack.fill(out, at, n, n, entry(now)),
    )


class MatrixExponential(Op):
    """The sum over k of a^k / k!. The gradient is a block of the exponential of [[a^T, g], [0, a^T]]."""

    name = "expm"
    batch = leading
    pairs = True

    def infer(self, a: Type) -> Type:
        square("expm", a)
        return a

    def eager(self, a: Any) -> Any:
        if not a.size:
            return a.copy()
        from scipy.linalg import expm

        return expm(a).astype(a.dtype, copy=False)

    def work(self, a: Type) -> tuple[Type, ...]:
        n = a.shape[-1]
        return lapack.scratch(a, _PLACES, n, n), lapack.scratch(a, n, dtype=dtypes.int32)

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (a,), (out,), (w, pivots) = ins, outs, work

        def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
            return lapack.unless_empty(a.dims[-1], _exponential(a, at, out, w, pivots, p))

        return lapack.batch(a.dims[:-2], each)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        def rule() -> Any:
            n, rank = a.dims[-1], len(a.dims)
            t = flipped(a)
            block = concat(concat(t, g, axis=rank - 1), concat(zeros_like(t), t, axis=rank - 1), axis=rank - 2)
            return axis_slice(axis_slice(matrix_exponential(block), rank - 2, 0, n), rank - 1, n, n)

        return (rule,)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (well_conditioned(draw(shape, -0.5, 0.5, kinds="fc")) * 0.2,), {}


matrix_exponential = register(MatrixExponential())

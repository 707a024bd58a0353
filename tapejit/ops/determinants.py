"""Determinants, and their signs and logarithms, of batches of matrices in the last two axes.

Eagerly NumPy's; in a compiled step the pivots of elimination, or for large and complex matrices of LAPACK. Gradients: Giles, "Collected matrix
derivative results for forward and reverse mode algorithmic differentiation" (2008).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Accumulator, Let, Stmt, Update
from tapejit.ops import lapack
from tapejit.ops.batching import leading
from tapejit.ops.elimination import elimination, scratch, square_of
from tapejit.ops.lapack import loop, var
from tapejit.ops.linalg import SQUARES, conj, flipped, inv, square, stretched, well_conditioned


def _by_diagonal(a: Any, w: Any, pivots: Any, unit: bool, results: Callable[[lapack.Lead], tuple[Stmt, ...]]) -> tuple[Stmt, ...]:
    """For each matrix, the product of the pivots of elimination, and -1 for each exchange, in the accumulators `re` and `im`.

    With `unit` each pivot counts divided by its absolute value, of which the logarithms are summed in `total`. `results(at)` stores them.
    """
    n, real = a.dims[-1], a.dtype.real_dtype
    zero, one = (expr.as_expr(v, real) for v in (0.0, 1.0))
    x, y, re, im, size = (expr.Var(real, name) for name in ("x", "y", "re", "im", "size"))

    def factor(p: Expr, k: Expr, exchanged: Expr) -> tuple[Stmt, ...]:
        """One pivot into the accumulators."""
        turn = expr.select(exchanged, -one, one)
        x_, y_ = lapack.element(w, (p, k, k), 0), lapack.element(w, (p, k, k), 1) if a.dtype.is_complex else zero
        length = expr.call("sqrt", x_ * x_ + y_ * y_) if a.dtype.is_complex else expr.call("abs", x_)
        out: tuple[Stmt, ...] = (Let("size", length), Update("total", "add", expr.call("log", size))) if unit else ()
        sides = [turn * v for v in (x_, y_)]
        if unit:
            nothing = expr.compare("eq", size, zero)
            sides = [expr.select(nothing, zero, v / size) for v in sides]
        out += (Let("x", sides[0]),)
        if not a.dtype.is_complex:
            return (*out, Update("re", "mul", x))
        return (
            *out,
            Let("y", sides[1]),
            Let("turned", re * x - im * y),
            Update("im", "set", re * y + im * x),
            Update("re", "set", expr.Var(real, "turned")),
        )

    def each(at: lapack.Lead, p: Expr) -> tuple[Stmt, ...]:
        k = var("k")

        def by_elimination() -> tuple[Stmt, ...]:
            return (elimination(w, (p,), n, a.dtype, None, (), factor(p, k, expr.compare("ne", k, var("p")))),)

        def by_lapack() -> tuple[Stmt, ...]:
            exchanged = expr.compare("ne", expr.cast(pivots[(p, k)], dtypes.int64), k + 1)
            return lapack.call("getrf", a.dtype, n, n, *square_of(w, p), pivots[(p, 0)]), loop("k", n, *factor(p, k, exchanged))

        start = (("re", one), ("im", zero), ("total", zero))
        steps = (lapack.copied(w, (p,), a, at, n, n), *lapack.by_size(n, a.dtype, by_elimination, by_lapack))
        return (*(Accumulator(name, v) for name, v in start), *lapack.unless_empty(n, steps), *results(at))

    return lapack.batch(a.dims[:-2], each)


def _put(out: Any, at: lapack.Lead, re: str, im: str) -> tuple[Stmt, ...]:
    """Store a number whose parts are in accumulators; an empty name stands for 0."""
    real = out.dtype.real_dtype
    parts = [expr.Var(real, name) if name else expr.as_expr(0.0, real) for name in (re, im)]
    return tuple(out.pairs.store((*at, k), v) for k, v in enumerate(parts)) if out.dtype.is_complex else (out.store(at, parts[0]),)


class Determinant(Op):
    """The determinant of each matrix; 1 for a matrix of size 0."""

    name = "det"
    pairs = True
    batch = leading

    def infer(self, a: Type) -> Type:
        square("det", a)
        return a.with_shape(a.shape[:-2])

    def eager(self, a: Any) -> Any:
        if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
            raise ValueError("det: Input matrix must be square")
        return np.asarray(np.linalg.det(a), a.dtype)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        return (lambda: stretched(g * z) * flipped(inv(a)),)

    def work(self, a: Type) -> tuple[Type, ...]:
        return scratch(a)

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        (out,) = outs
        return _by_diagonal(ins[0], work[0], work[1], unit=False, results=lambda at: _put(out, at, "re", "im"))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (well_conditioned(draw(shape, -1, 1, kinds="fc")),), {}
        yield (np.array([[0, 2], [1, 0]]).astype(draw((1,), kinds="fc").dtype),), {}


class SignedLogDeterminant(Op):
    """The sign of the determinant of each matrix and the logarithm of its absolute value; 0 and -inf for a singular one."""

    name = "slogdet"
    pairs = True
    batch = leading

    def infer(self, a: Type) -> tuple[Type, ...]:
        square("slogdet", a)
        return a.with_shape(a.shape[:-2]), a.with_shape(a.shape[:-2])

    def eager(self, a: Any) -> Any:
        if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
            raise ValueError("slogdet: Input matrix must be square")
        sign, log = np.linalg.slogdet(a)
        return np.asarray(sign, a.dtype), np.asarray(log, a.dtype)

    def vjp(self, g: Any, z: Any, a: Any) -> tuple[Any, ...]:
        def rule() -> Any:
            g_sign, g_log = g
            if not a.dtype.is_complex:  # the sign is piecewise constant
                return None if g_log is None else stretched(g_log) * flipped(inv(a))
            total = None if g_log is None else (g_log + conj(g_log)) * 0.5
            if g_sign is not None:
                turned = g_sign * z[0]
                turned = (turned - conj(turned)) * 0.5
                total = turned if total is None else total + turned
            return stretched(total) * flipped(inv(a))

        return (rule,)

    def work(self, a: Type) -> tuple[Type, ...]:
        return scratch(a)

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        sign, log = outs
        return _by_diagonal(
            ins[0], work[0], work[1], unit=True, results=lambda at: (*_put(sign, at, "re", "im"), *_put(log, at, "total", ""))
        )

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in SQUARES:
            yield (well_conditioned(draw(shape, -1, 1, kinds="fc")),), {}
        yield (np.array([[0, 2], [1, 0]]).astype(draw((1,), kinds="fc").dtype),), {}


det, slogdet = register(Determinant()), register(SignedLogDeterminant())

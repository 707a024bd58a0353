"""Running sums, products and logarithms of sums of exponentials along an axis, and the linear recurrence their gradients need.

`exclusive` leaves an element out of its own result (so the first is the neutral element), `reverse` runs from the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr, Var
from tapejit.loops.nest import Accumulator, For, Let, Stmt, Update
from tapejit.ops.batching import along
from tapejit.ops.elementwise import exp
from tapejit.ops.tangents import multilinear

Number = tuple[Expr, Expr]  # a complex number: real and imaginary part


def over(body: tuple[Stmt, ...], dims: tuple[Dim, ...], index: list[Var], axis: int) -> tuple[Stmt, ...]:
    """Loops over all axes but `axis` around `body`; the outermost may be divided among threads."""
    others = [k for k in range(len(dims)) if k != axis]
    for k in reversed(others):
        body = (For(index[k].name, dims[k], "parallel" if k == others[0] else "serial", body),)
    return body


class Cumulative(Op):
    """A running value along `axis`: `step(so far, element...)` for each element in turn, from `neutral`."""

    batch = along("axis")

    kinds = "iufc"
    same_dtype = None

    def infer(self, *operands: Type, axis: int, exclusive: bool = False, reverse: bool = False) -> Type:
        x = operands[0]
        if x.dtype.kind not in self.kinds:
            raise TypeError(f"{self.name} is not defined for {x.dtype.name}")
        if any(o.dtype is not x.dtype or o.rank != x.rank for o in operands):
            raise TypeError(f"{self.name} takes operands of one type, got {' and '.join(map(str, operands))}")
        shape = x.shape
        for o in operands[1:]:
            shape = tuple(map(sizes.unify, shape, o.shape))
        if not 0 <= axis < x.rank:
            raise ValueError(f"{self.name}: axis {axis} is out of range for {x}")
        return x.with_shape(shape)

    def eager(self, *arrays: Any, axis: int, exclusive: bool = False, reverse: bool = False) -> Any:
        x = arrays[0]
        if x.dtype.kind not in self.kinds.replace("f", "fV"):
            raise TypeError(f"{self.name} is not defined for {x.dtype.name}")
        wide = np.float32 if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x.dtype
        # running along the first axis from the front, whatever was asked for
        turned = [np.moveaxis(a, axis, 0)[:: -1 if reverse else 1].astype(wide, copy=False) for a in arrays]
        out = self.run(*turned)
        if exclusive:
            out = np.concatenate([np.full_like(out[:1], self.neutral(x.dtype)), out[:-1]])
        return np.moveaxis(out[:: -1 if reverse else 1], 0, axis).astype(x.dtype, order="C")

    def run(self, *arrays: Any) -> Any:
        """The running values along the first axis."""
        raise NotImplementedError(f"{self.name}.run")

    def neutral(self, dtype: Any) -> Any:
        """The value before the first element, for an array of NumPy dtype `dtype`."""
        return 0

    def step(self, so_far: Expr, *elements: Expr) -> Expr:
        """The running value after one more element."""
        raise NotImplementedError(f"{self.name}.step")

    def complex_step(self, so_far: Number, *elements: Number) -> Number:
        """The same of complex numbers, as pairs of parts."""
        raise NotImplementedError(f"{self.name}.complex_step")

    def kernel(self, outs: Any, ins: Any, work: Any, *, axis: int, exclusive: bool = False, reverse: bool = False) -> tuple[Stmt, ...]:
        """One pass along the axis for every row."""
        dims, dtype = ins[0].dims, ins[0].dtype.wide
        index = [Var(dtypes.int64, f"c{k}") for k in range(len(dims))]
        turn: Expr = index[axis]
        at = tuple(expr.of_dim(dims[axis]) - 1 - turn if k == axis and reverse else v for k, v in enumerate(index))
        if dtype.kind == "c":
            return over(
                self._complex_scan(outs[0].pairs, [x.pairs for x in ins], at, index[axis].name, dims[axis], exclusive), dims, index, axis
            )
        running = Var(dtype, "running")
        following = Let("following", self.step(running, *(expr.cast(x[at], dtype) for x in ins)))
        after = Var(dtype, "following")
        store = outs[0].store(at, expr.cast(running if exclusive else after, ins[0].dtype))
        scan = For(index[axis].name, dims[axis], "serial", (following, store, Update("running", "set", after)))
        start = self.neutral(ins[0].dtype.np)
        return over((Accumulator("running", expr.as_expr(start if dtype.kind in "iu" else float(start), dtype)), scan), dims, index, axis)

    def _complex_scan(self, out: Any, ins: list[Any], at: tuple[Expr, ...], turn: str, n: Dim, exclusive: bool) -> tuple[Stmt, ...]:
        """The loop along the axis for pairs."""
        parts = (expr.as_expr(0), expr.as_expr(1))
        names = ("re", "im")
        running, after = (tuple(Var(out.dtype, f"{when}_{name}") for name in names) for when in ("running", "following"))
        following = self.complex_step((running[0], running[1]), *((x[(*at, parts[0])], x[(*at, parts[1])]) for x in ins))
        body: list[Stmt] = [Let(v.name, value) for v, value in zip(after, following, strict=True)]
        body += [out.store((*at, k), value) for k, value in zip(parts, running if exclusive else after, strict=True)]
        body += [Update(v.name, "set", value) for v, value in zip(running, after, strict=True)]
        starts = (float(self.neutral(np.float64)), 0.0)
        return (
            *(Accumulator(v.name, expr.as_expr(start, out.dtype)) for v, start in zip(running, starts, strict=True)),
            For(turn, n, "serial", tuple(body)),
        )

    def draws(self, draw: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
        """Operands of a sample."""
        return (draw(shape, kinds=self.kinds),)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, axis in [((5,), 0), ((3, 4), 0), ((2, 3, 2), 1), ((1,), 0), ((0, 2), 0), ((2, 0), 0)]:
            for exclusive in (False, True):
                for reverse in (False, True):
                    yield self.draws(draw, shape), {"axis": axis, "exclusive": exclusive, "reverse": reverse}


class CumSum(Cumulative):
    """Running sum."""

    name = "cumsum"
    jvp = multilinear

    def run(self, x: Any) -> Any:
        return np.cumsum(x, axis=0, dtype=x.dtype)

    def step(self, so_far: Expr, x: Expr) -> Expr:
        return so_far + x

    def vjp(self, g: Any, z: Any, x: Any, *, axis: int, exclusive: bool = False, reverse: bool = False) -> tuple[Any, ...]:
        return (lambda: cumsum(g, axis=axis, exclusive=exclusive, reverse=not reverse),)


class LinearScan(Cumulative):
    """The recurrence u[k] = b[k] + a[k] * u[k-1] along an axis, from 0; two operands, a and b."""

    name = "linear_scan"
    kinds = "fc"
    pairs = True

    def run(self, a: Any, b: Any) -> Any:
        out = b.copy()
        for k in range(1, len(out)):
            out[k] += a[k] * out[k - 1]
        return out

    def step(self, so_far: Expr, a: Expr, b: Expr) -> Expr:
        return b + a * so_far

    def complex_step(self, so_far: Number, *elements: Number) -> Number:
        (a, b), u = elements, so_far
        return b[0] + (a[0] * u[0] - a[1] * u[1]), b[1] + (a[0] * u[1] + a[1] * u[0])

    def vjp(self, g: Any, z: Any, a: Any, b: Any, *, axis: int, exclusive: bool = False, reverse: bool = False) -> tuple[Any, ...]:
        if exclusive:
            along = _shared(lambda: linear_scan(a, g, axis=axis, exclusive=True, reverse=not reverse))
            return (lambda: along() * z, along)
        along = _shared(lambda: _from_neighbour(a, g, axis, not reverse))
        return (lambda: along() * linear_scan(a, b, axis=axis, exclusive=True, reverse=reverse), along)

    def draws(self, draw: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
        return draw(shape, -1.5, 1.5, kinds=self.kinds), draw(shape, kinds=self.kinds)


def _shared(make: Callable[[], Any]) -> Callable[[], Any]:
    """`make`, called at most once."""
    made: list[Any] = []

    def once() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return once


def _from_neighbour(a: Any, b: Any, axis: int, reverse: bool) -> Any:
    """The recurrence r[k] = b[k] + a[k-1] * r[k-1], whose coefficient is the neighbour's."""
    return b + linear_scan(a, a * b, axis=axis, exclusive=True, reverse=reverse)


class CumProd(Cumulative):
    """Running product. The gradient is right where elements are 0, as are gradients of higher order."""

    name = "cumprod"
    pairs = True

    def run(self, x: Any) -> Any:
        return np.cumprod(x, axis=0, dtype=x.dtype)

    def neutral(self, dtype: Any) -> Any:
        return 1

    def step(self, so_far: Expr, x: Expr) -> Expr:
        return so_far * x

    def complex_step(self, so_far: Number, *elements: Number) -> Number:
        (x,), u = elements, so_far
        return u[0] * x[0] - u[1] * x[1], u[0] * x[1] + u[1] * x[0]

    def vjp(self, g: Any, z: Any, x: Any, *, axis: int, exclusive: bool = False, reverse: bool = False) -> tuple[Any, ...]:
        def rule() -> Any:
            # what stands before an element, times what its result and later ones make of it
            if exclusive:
                return z * linear_scan(x, g, axis=axis, exclusive=True, reverse=not reverse)
            return cumprod(x, axis=axis, exclusive=True, reverse=reverse) * _from_neighbour(x, g, axis, not reverse)

        return (rule,)


class CumulativeLogSumExp(Cumulative):
    """Running log(sum(exp(x))), without overflow. As in TensorFlow the exclusive form starts with the lowest finite number."""

    name = "cumulative_logsumexp"
    kinds = "f"

    def run(self, x: Any) -> Any:
        return np.logaddexp.accumulate(x, axis=0) if len(x) else x

    def neutral(self, dtype: Any) -> Any:
        return dtypes.as_dtype(dtype).min

    def step(self, so_far: Expr, x: Expr) -> Expr:
        low, high = expr.binary("min", so_far, x), expr.binary("max", so_far, x)
        level = expr.compare("eq", low, high)  # also where both are infinite
        grown = high + expr.call("log1p", expr.call("exp", low - high))
        return expr.select(level, high + expr.as_expr(float(np.log(2.0)), so_far.dtype), grown)

    def vjp(self, g: Any, z: Any, x: Any, *, axis: int, exclusive: bool = False, reverse: bool = False) -> tuple[Any, ...]:
        def rule() -> Any:
            # dz[i]/dx[k] = exp(x[k] - z[i]) = exp(x[k] - z[k]) * product over k < j <= i of exp(z[j-1] - z[j]), factors of at most 1
            total = cumulative_logsumexp(x, axis=axis, reverse=reverse) if exclusive else z
            before = z if exclusive else cumulative_logsumexp(x, axis=axis, exclusive=True, reverse=reverse)
            step = exp(before - total)
            if exclusive:
                later = linear_scan(step, g, axis=axis, exclusive=True, reverse=not reverse)
            else:
                later = _from_neighbour(step, g, axis, not reverse)
            return exp(x - total) * later

        return (rule,)


cumsum, cumprod = register(CumSum()), register(CumProd())
linear_scan, cumulative_logsumexp = register(LinearScan()), register(CumulativeLogSumExp())

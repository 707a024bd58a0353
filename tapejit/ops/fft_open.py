"""Fourier transforms of a length that is known only when the step runs: a convolution with a chirp, in stages of radix 2.

The length of the convolution is the least power of two that holds it, found by the kernel, which computes the roots of unity as it
goes: slower than `ops.fft`, whose stages and tables are made for one length, but as many operations, O(n log n), for every length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.loops.nest import Accumulator, For, If, Let, Stmt, Update, While
from tapejit.ops.shapes import unravel

CHUNKS = 8  # parts of the rows, each of which works in scratch memory of its own
int64 = dtypes.int64


def _var(name: str, dtype: DType = int64) -> Expr:
    return expr.Var(dtype, name)


def _root(turns: Expr, of: Expr, dtype: DType, prefix: str) -> tuple[list[Stmt], Expr, Expr]:
    """exp(-2 pi i turns / of), computed in float64."""
    wide = dtypes.float64
    angle = expr.cast(turns, wide) / expr.cast(of, wide) * (-2 * math.pi)
    a = _var(f"{prefix}_angle", wide)
    lets: list[Stmt] = [Let(f"{prefix}_angle", angle)]
    for name, fn in (("cos", "cos"), ("sin", "sin")):
        lets.append(Let(f"{prefix}_{name}", expr.cast(expr.call(fn, a), dtype)))
    return lets, _var(f"{prefix}_cos", dtype), _var(f"{prefix}_sin", dtype)


def _loop(index: str, extent: Expr, body: tuple[Stmt, ...], kind: Any = "vector") -> tuple[Stmt, ...]:
    return (Let(f"{index}_end", extent), For(index, sizes.named(f"{index}_end"), kind, body))


def _stages(a: tuple[Any, Any], b: tuple[Any, Any], chunk: Expr, length: Expr, name: str) -> tuple[Stmt, ...]:
    """The transform of `length` numbers in `a`, a power of two, with `b` as scratch."""
    left, s = _var(f"{name}_left"), _var(f"{name}_stride")
    m, p, q, c = _var(f"{name}_m"), _var(f"{name}_p"), _var(f"{name}_q"), _var(f"{name}_c")
    dtype = a[0].dtype
    lets, cos, sin = _root(p, left, dtype, name)

    def at(x: Any, k: Expr) -> Expr:
        return x[(chunk, k)]

    low, high = p * s + q, (p + m) * s + q
    differences = [at(x, low) - at(x, high) for x in a]
    d = [_var(f"{name}_d{k}", dtype) for k in range(2)]
    to, beside = p * 2 * s + q, (p * 2 + 1) * s + q
    butterfly: tuple[Stmt, ...] = (
        *(Let(f"{name}_d{k}", v) for k, v in enumerate(differences)),
        *(y.store((chunk, to), at(x, low) + at(x, high)) for x, y in zip(a, b, strict=True)),
        b[0].store((chunk, beside), d[0] * cos - d[1] * sin),
        b[1].store((chunk, beside), d[0] * sin + d[1] * cos),
    )
    return (
        Accumulator(f"{name}_left", length),
        Accumulator(f"{name}_stride", expr.as_expr(1)),
        While(
            left > 1,
            (
                Let(f"{name}_m", left // 2),
                *_loop(f"{name}_p", m, (*lets, *_loop(f"{name}_q", s, butterfly)), "serial"),
                *_loop(f"{name}_c", length, tuple(x.store((chunk, c), at(y, c)) for x, y in zip(a, b, strict=True))),
                Update(f"{name}_left", "set", m),
                Update(f"{name}_stride", "mul", expr.as_expr(2)),
            ),
        ),
    )


class FFTOpen(Op):
    """The Fourier transform of pairs [..., n, ..., 2] along `axis`; `inverse` turns the other way round and divides by n."""

    name = "fft_open"
    no_gradient = True

    def infer(self, x: Type, *, axis: int, inverse: bool = False) -> Type:
        if x.dtype not in (dtypes.float32, dtypes.float64):
            raise TypeError(f"fft_open takes float32 or float64 pairs, got {x}")
        return x

    def eager(self, x: Any, *, axis: int, inverse: bool = False) -> Any:
        z = x[..., 0] + 1j * x[..., 1]
        out = (np.fft.ifft if inverse else np.fft.fft)(z, axis=axis) if z.size else z
        return np.stack([out.real, out.imag], axis=-1).astype(x.dtype)

    def work(self, x: Type, *, axis: int, inverse: bool = False) -> tuple[Type, ...]:
        return (Type(x.dtype, (CHUNKS, 4 * x.shape[axis])),) * 6  # a power of two that holds 2 n - 1 is less than 4 n

    def kernel(self, outs: Any, ins: Any, work: Any, *, axis: int, inverse: bool = False) -> tuple[Stmt, ...]:
        x, dtype, chunk = ins[0], ins[0].dtype, _var("chunk")
        a, b, c = work[:2], work[2:4], work[4:]
        n, k, length = expr.of_dim(x.dims[axis]), _var("k"), _var("length")
        others = (*x.dims[:axis], *x.dims[axis + 1 : -1])
        rows = sizes.product(others)
        where = unravel(_var("row"), others)
        re, im = (1, 0) if inverse else (0, 1)
        zero = expr.as_expr(0.0, dtype)
        lets, cos, sin = _root(k * k % (n * 2), n * 2, dtype, "chirp")

        def place(part: int) -> tuple[Expr, ...]:
            return (*where[:axis], k, *where[axis:], expr.as_expr(part))

        def clear(target: Any) -> tuple[Stmt, ...]:
            return _loop("k", length, tuple(t.store((chunk, k), zero) for t in target))

        mirrored = tuple(c[i].store((chunk, j), v) for i, v in ((0, cos), (1, -sin)) for j in (k, (length - k) % length))
        kernel = (*clear(c), *_loop("k", n, (*lets, *mirrored), "serial"), *_stages((c[0], c[1]), (b[0], b[1]), chunk, length, "kernel"))
        u, v = x[place(re)], x[place(im)]
        enter = (*lets, a[0].store((chunk, k), u * cos - v * sin), a[1].store((chunk, k), u * sin + v * cos))
        p, q, r, s = a[0][(chunk, k)], a[1][(chunk, k)], c[0][(chunk, k)], c[1][(chunk, k)]
        product = (
            Let("product_re", p * r - q * s),
            Let("product_im", p * s + q * r),
            a[0].store((chunk, k), _var("product_im", dtype)),  # exchanged: the transform back
            a[1].store((chunk, k), _var("product_re", dtype)),
        )
        count = expr.cast(length * n if inverse else length, dtype)
        f, g = a[1][(chunk, k)] / count, a[0][(chunk, k)] / count
        leave = (*lets, outs[0].store(place(re), f * cos - g * sin), outs[0].store(place(im), f * sin + g * cos))
        stages = [_stages((a[0], a[1]), (b[0], b[1]), chunk, length, name) for name in ("there", "back")]
        row = (*clear(a), *_loop("k", n, enter), *stages[0], *_loop("k", length, product), *stages[1], *_loop("k", n, leave))
        each = sizes.floordiv(rows + (CHUNKS - 1), CHUNKS)
        at = Let("row", chunk * expr.of_dim(each) + _var("in_chunk"))
        longer = (
            Accumulator("power", expr.as_expr(1)),
            While(_var("power") < n * 2 - 1, (Update("power", "mul", expr.as_expr(2)),)),
            Let("length", _var("power")),
        )
        one = For("in_chunk", each, "serial", (at, If(_var("row") < expr.of_dim(rows), row)))
        used = If((chunk * expr.of_dim(each) < expr.of_dim(rows)) & (n > 0), (*longer, *kernel, one))
        return (For("chunk", CHUNKS, "parallel", (used,)),)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, axis in (((5, 2), 0), ((2, 8, 2), 1), ((3, 2, 2), 0), ((1, 2), 0), ((0, 4, 2), 1), ((0, 2), 0)):
            for inverse in (False, True):
                yield (draw(shape, kinds="f"),), {"axis": axis, "inverse": inverse}


fft_open = register(FFTOpen())

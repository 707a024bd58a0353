"""Pooling over windows: maxima with the place of the first one, and sums (averages are sums divided by a count).

Operands are [batch, *spatial, channels], windows as in `ops.windows`. `pool_take` and `pool_put` move values from and to the places that
`pool_where` found; they are transposes of one another, as `window_sum` and `window_spread` are, so every order of gradient closes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.batching import folded
from tapejit.ops.tangents import multilinear
from tapejit.ops.windows import axes, guard, output_sizes, padded, pads, places, seen, seen_by, window_samples


def _counts(x: Type, window: dict[str, Any]) -> tuple[Dim, ...]:
    return (x.shape[0], *output_sizes(x.shape[1:-1], **window), x.shape[-1])


def _lowest(dtype: Any) -> Any:
    d = dtypes.as_dtype(dtype)
    return -float("inf") if d.kind == "f" else d.min


def _flat(k: tuple[Expr, ...], kernel: tuple[int, ...]) -> Expr:
    """The number of a place in the window, row-major."""
    out = expr.as_expr(0)
    for j, size in zip(k, kernel, strict=True):
        out = out * size + j
    return out


class MaxPool(Op):
    """The largest element of each window; padding never wins. The gradient goes to the first of several largest (row-major)."""

    name = "max_pool"
    batch = folded

    def infer(self, x: Type, **window: Any) -> Type:
        if x.dtype.kind not in "iuf":
            raise TypeError(f"max_pool is not defined for {x.dtype.name}")
        return x.with_shape(_counts(x, window))

    def eager(self, x: Any, **window: Any) -> Any:
        counts = output_sizes(x.shape[1:-1], **window)
        source = padded(x, pads(x.shape[1:-1], **window), _lowest(x.dtype))
        out = np.full((x.shape[0], *counts, x.shape[-1]), _lowest(x.dtype), x.dtype)
        for _, where in places(counts, window["kernel"], window["strides"], window["dilations"]):
            np.maximum(out, source[where], out=out)
        return out

    def vjp(self, g: Any, z: Any, x: Any, **window: Any) -> tuple[Any, ...]:
        return (lambda: pool_put(g, pool_where(x, z, **window), size=x.dims[1:-1], **window),)

    def at(self, index: tuple[Expr, ...], x: Any, **window: Any) -> Expr:
        over, k = axes("k", window["kernel"])
        at, inside = seen(index[1:-1], k, x.dims[1:-1], **window)
        value = x[(index[0], *at, index[-1])]
        dtype = value.dtype
        body = guard(inside, value, _lowest(dtype))
        if dtype.narrow:
            body = expr.cast(body, dtypes.float32)
        return expr.cast(expr.Reduce(body.dtype, "max", over, body), dtype)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, window in window_samples():
            yield (draw(shape),), window


class PoolWhere(Op):
    """The place in each window of `x`, counted row-major, of the first element equal to the window's value in `z`; int32.

    Where none is equal (the window holds a NaN), the number of places.
    """

    name = "pool_where"
    batch = folded
    no_gradient = True
    same_dtype = None

    def infer(self, x: Type, z: Type, **window: Any) -> Type:
        return Type(dtypes.int32, _counts(x, window))

    def eager(self, x: Any, z: Any, **window: Any) -> Any:
        kernel = window["kernel"]
        counts = z.shape[1:-1]
        # a NaN in the margins equals nothing, so a window of nothing but -inf finds an element and not the padding
        fill = np.nan if dtypes.as_dtype(x.dtype).kind == "f" else _lowest(x.dtype)
        source = padded(x, pads(x.shape[1:-1], **window), fill)
        out = np.full(z.shape, int(np.prod(kernel)), np.int32)
        for number, (_, where) in reversed(list(enumerate(places(counts, kernel, window["strides"], window["dilations"])))):
            out[source[where] == z] = number
        return out

    def at(self, index: tuple[Expr, ...], x: Any, z: Any, **window: Any) -> Expr:
        kernel = window["kernel"]
        over, k = axes("k", kernel)
        at, inside = seen(index[1:-1], k, x.dims[1:-1], **window)
        value, largest = x[(index[0], *at, index[-1])], z[index]
        if value.dtype.narrow:
            value, largest = expr.cast(value, dtypes.float32), expr.cast(largest, dtypes.float32)
        none = expr.as_expr(sizes.product(kernel))
        body = guard(inside, expr.select(expr.compare("eq", value, largest), _flat(k, kernel), none), none)
        return expr.cast(expr.binary("min", expr.Reduce(dtypes.int64, "min", over, body), none), dtypes.int32)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, window in window_samples():
            x = draw(shape)
            yield (x, max_pool.eager(x, **window)), window


class PoolTake(Op):
    """z[n, *o, c] = the element of `x` at place where[n, *o, c] of the window o, 0 for a place outside."""

    name = "pool_take"
    jvp = multilinear
    batch = folded
    constant_operands = frozenset({1})

    def infer(self, x: Type, where: Type, **window: Any) -> Type:
        return x.with_shape(_counts(x, window))

    def eager(self, x: Any, where: Any, **window: Any) -> Any:
        source = padded(x, pads(x.shape[1:-1], **window))
        out = np.zeros(where.shape, x.dtype)
        for number, (_, at) in enumerate(places(where.shape[1:-1], window["kernel"], window["strides"], window["dilations"])):
            np.copyto(out, source[at], where=where == number)
        return out

    def vjp(self, g: Any, z: Any, x: Any, where: Any, **window: Any) -> tuple[Any, ...]:
        return (lambda: pool_put(g, where, size=x.dims[1:-1], **window), None)

    def at(self, index: tuple[Expr, ...], x: Any, where: Any, **window: Any) -> Expr:
        kernel = window["kernel"]
        number = expr.cast(where[index], dtypes.int64)
        k: list[Expr] = []
        for a, size in enumerate(kernel):
            below = int(np.prod(kernel[a + 1 :], dtype=np.int64))
            k.append(number // below % size)
        at, inside = seen(index[1:-1], tuple(k), x.dims[1:-1], **window)
        chosen = (number >= 0) & (number < sizes.product(kernel))
        return guard(chosen if inside is None else chosen & inside, x[(index[0], *at, index[-1])])

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, window in window_samples():
            x = draw(shape)
            yield (x, pool_where.eager(x, max_pool.eager(x, **window), **window)), window


class PoolPut(Op):
    """The transpose of `pool_take`: an array [batch, *size, channels] with each g[n, *o, c] added at its place."""

    name = "pool_put"
    jvp = multilinear
    batch = folded
    constant_operands = frozenset({1})

    def infer(self, g: Type, where: Type, *, size: tuple[Dim, ...], **window: Any) -> Type:
        return g.with_shape((g.shape[0], *size, g.shape[-1]))

    def eager(self, g: Any, where: Any, *, size: tuple[int, ...], **window: Any) -> Any:
        margins = pads(size, **window)
        out = np.zeros((g.shape[0], *(d + b + a for d, (b, a) in zip(size, margins, strict=True)), g.shape[-1]), g.dtype)
        zero = g.dtype.type(0)
        for number, (_, at) in enumerate(places(g.shape[1:-1], window["kernel"], window["strides"], window["dilations"])):
            if g.size:
                out[at] += np.where(where == number, g, zero)
        return np.ascontiguousarray(out[(slice(None), *(slice(b, b + d) for d, (b, _) in zip(size, margins, strict=True)))])

    def vjp(self, g: Any, z: Any, y: Any, where: Any, *, size: tuple[Dim, ...], **window: Any) -> tuple[Any, ...]:
        return (lambda: pool_take(g, where, **window), None)

    def at(self, index: tuple[Expr, ...], g: Any, where: Any, *, size: tuple[Dim, ...], **window: Any) -> Expr:
        kernel = window["kernel"]
        over, k = axes("k", kernel)
        o, exists = seen_by(index[1:-1], k, size, **window)
        at = (index[0], *o, index[-1])
        hit = expr.compare("eq", expr.cast(where[at], dtypes.int64), _flat(k, kernel))
        value = g[at]
        body = guard(exists, guard(hit, value))
        if value.dtype.narrow:
            body = expr.cast(body, dtypes.float32)
        return expr.cast(expr.Reduce(body.dtype, "add", over, body), value.dtype)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, window in window_samples():
            x = draw(shape)
            z = max_pool.eager(x, **window)
            yield (draw(z.shape), pool_where.eager(x, z, **window)), {"size": shape[1:-1], **window}


class WindowSum(Op):
    """The sum of each window; padding counts as zero."""

    name = "window_sum"
    jvp = multilinear
    batch = folded

    def infer(self, x: Type, **window: Any) -> Type:
        if x.dtype.kind not in "iuf":
            raise TypeError(f"window_sum is not defined for {x.dtype.name}")
        return x.with_shape(_counts(x, window))

    def eager(self, x: Any, **window: Any) -> Any:
        counts = output_sizes(x.shape[1:-1], **window)
        source = padded(x, pads(x.shape[1:-1], **window))
        wide = np.dtype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x.dtype
        out = np.zeros((x.shape[0], *counts, x.shape[-1]), wide)
        for _, where in places(counts, window["kernel"], window["strides"], window["dilations"]):
            out += source[where]
        return out.astype(x.dtype, copy=False)

    def vjp(self, g: Any, z: Any, x: Any, **window: Any) -> tuple[Any, ...]:
        return (lambda: window_spread(g, size=x.dims[1:-1], **window),)

    def at(self, index: tuple[Expr, ...], x: Any, **window: Any) -> Expr:
        over, k = axes("k", window["kernel"])
        at, inside = seen(index[1:-1], k, x.dims[1:-1], **window)
        return _sum(over, guard(inside, x[(index[0], *at, index[-1])]))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, window in window_samples():
            yield (draw(shape),), window


class WindowSpread(Op):
    """The transpose of `window_sum`: at each element of [batch, *size, channels] the sum of g over the windows that see it."""

    name = "window_spread"
    jvp = multilinear
    batch = folded

    def infer(self, g: Type, *, size: tuple[Dim, ...], **window: Any) -> Type:
        return g.with_shape((g.shape[0], *size, g.shape[-1]))

    def eager(self, g: Any, *, size: tuple[int, ...], **window: Any) -> Any:
        margins = pads(size, **window)
        wide = np.dtype(np.float32) if g.dtype.itemsize == 2 and g.dtype.kind in "fV" else g.dtype
        out = np.zeros((g.shape[0], *(d + b + a for d, (b, a) in zip(size, margins, strict=True)), g.shape[-1]), wide)
        for _, at in places(g.shape[1:-1], window["kernel"], window["strides"], window["dilations"]):
            if g.size:
                out[at] += g
        inner = out[(slice(None), *(slice(b, b + d) for d, (b, _) in zip(size, margins, strict=True)))]
        return np.ascontiguousarray(inner).astype(g.dtype, copy=False)

    def vjp(self, g: Any, z: Any, y: Any, *, size: tuple[Dim, ...], **window: Any) -> tuple[Any, ...]:
        return (lambda: window_sum(g, **window),)

    def at(self, index: tuple[Expr, ...], g: Any, *, size: tuple[Dim, ...], **window: Any) -> Expr:
        over, k = axes("k", window["kernel"])
        o, exists = seen_by(index[1:-1], k, size, **window)
        return _sum(over, guard(exists, g[(index[0], *o, index[-1])]))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, window in window_samples():
            yield (draw((shape[0], *output_sizes(shape[1:-1], **window), shape[-1])),), {"size": shape[1:-1], **window}


def _sum(over: tuple[tuple[str, Dim], ...], body: Expr) -> Expr:
    dtype = body.dtype
    if dtype.narrow:
        body = expr.cast(body, dtypes.float32)
    return expr.cast(expr.Reduce(body.dtype, "add", over, body), dtype)


max_pool, pool_where = register(MaxPool()), register(PoolWhere())
pool_take, pool_put = register(PoolTake()), register(PoolPut())
window_sum, window_spread = register(WindowSum()), register(WindowSpread())

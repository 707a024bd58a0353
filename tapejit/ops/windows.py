"""Sliding windows over the spatial axes of an array [batch, *spatial, channels]: their geometry, and `patches` with its transpose `fold`.

Convolution and pooling are written with what is here. A window is given by four static attributes, one entry per spatial axis:
`kernel` sizes, `strides`, `dilations`, and `padding`, which is "VALID", "SAME" or a tuple of (before, after) pairs of dims.
Position o of the result sees the elements o * stride + k * dilation - before, k < kernel, of the operand; outside is zero.
"""

from __future__ import annotations

import itertools
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

Padding = str | tuple[tuple[Dim, Dim], ...]


# ------------------------------------------------------------------------------------------------ geometry
def output_size(size: Dim, kernel: Dim, stride: int, dilation: int, padding: str | tuple[Dim, Dim]) -> Dim:
    """How many windows fit along one axis. ValueError if the window is larger than the padded axis."""
    extent = (kernel - 1) * dilation + 1
    if padding == "SAME":
        return (size + (stride - 1)) // stride
    before, after = (0, 0) if isinstance(padding, str) else padding
    room = size + before + after
    if isinstance(room, int) and isinstance(extent, int) and 0 < room < extent:
        raise ValueError(
            f"Computed output size would be negative: a window of {extent} (kernel {kernel}, dilation {dilation}) does not fit an axis of size {room}; "
            'write padding="SAME" or a smaller kernel'
        )
    if isinstance(room, int) and room <= 0:
        return 0
    return (room - extent) // stride + 1


def axis_padding(padding: Padding, axis: int) -> str | tuple[Dim, Dim]:
    """What `padding` says of one spatial axis."""
    return padding if isinstance(padding, str) else padding[axis]


def output_sizes(
    spatial: tuple[Dim, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], padding: Padding
) -> tuple[Dim, ...]:
    """How many windows fit along each spatial axis."""
    for name, values in (("kernel", kernel), ("strides", strides), ("dilations", dilations)):
        if len(values) != len(spatial):
            raise ValueError(f"{name} {list(values)} has {len(values)} entries, {len(spatial)} spatial axes need {len(spatial)}")
        if any(isinstance(v, int) and v < 1 for v in values):
            raise ValueError(f"{name} must be at least 1, got {list(values)}")
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(f'padding must be "SAME", "VALID" or one (before, after) pair per spatial axis, got {padding!r}')
    elif len(padding) != len(spatial):
        raise ValueError(f"padding {padding} has {len(padding)} pairs, {len(spatial)} spatial axes need {len(spatial)}")
    return tuple(output_size(d, kernel[a], strides[a], dilations[a], axis_padding(padding, a)) for a, d in enumerate(spatial))


def pads(
    spatial: tuple[Dim, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], padding: Padding
) -> tuple[tuple[Dim, Dim], ...]:
    """(before, after) for each spatial axis; "SAME" puts the odd one after, as TensorFlow does."""
    if padding == "VALID":
        return ((0, 0),) * len(spatial)
    if not isinstance(padding, str):
        return padding
    out: list[tuple[Dim, Dim]] = []
    for size, k, s, d in zip(spatial, kernel, strides, dilations, strict=True):
        extent = (k - 1) * d + 1
        # with stride 1 the need does not depend on the size, which keeps symbolic sizes out of the program
        total = extent - 1 if s == 1 else sizes.maximum(((size + (s - 1)) // s - 1) * s + extent - size, 0)
        before = total // 2
        out.append((before, total - before))
    return tuple(out)


# ------------------------------------------------------------------------------------------------ loop expressions
def seen(
    out: tuple[Expr, ...],
    k: tuple[Expr, ...],
    spatial: tuple[Dim, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    padding: Padding,
) -> tuple[tuple[Expr, ...], Expr | None]:
    """The operand's index that window `out` sees at `k`, and the condition under which it is inside (None: always)."""
    index: list[Expr] = []
    inside: Expr | None = None
    for o, j, size, s, d, (before, after) in zip(
        out, k, spatial, strides, dilations, pads(spatial, kernel, strides, dilations, padding), strict=True
    ):
        at = o * s + j * d - expr.of_dim(before)
        index.append(at)
        if not _is_zero(before):
            inside = _and(inside, at >= 0)
        if not _is_zero(after):
            inside = _and(inside, at < expr.of_dim(size))
    return tuple(index), inside


def seen_by(
    at: tuple[Expr, ...],
    k: tuple[Expr, ...],
    spatial: tuple[Dim, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    padding: Padding,
) -> tuple[tuple[Expr, ...], Expr]:
    """The window that sees the operand's element `at` at its place `k`, and the condition under which there is one."""
    index: list[Expr] = []
    condition: Expr | None = None
    counts = output_sizes(spatial, kernel, strides, dilations, padding)
    for i, j, count, s, d, (before, _) in zip(
        at, k, counts, strides, dilations, pads(spatial, kernel, strides, dilations, padding), strict=True
    ):
        start = i + expr.of_dim(before) - j * d
        o = start // s if s != 1 else start
        index.append(o)
        condition = _and(condition, (start >= 0) & (o < expr.of_dim(count)))
        if s != 1:
            condition = _and(condition, expr.compare("eq", start % s, 0))
    assert condition is not None
    return tuple(index), condition


def _is_zero(d: Dim) -> bool:
    return isinstance(d, int) and d == 0


def _and(a: Expr | None, b: Expr) -> Expr:
    return b if a is None else a & b


def guard(condition: Expr | None, value: Expr, other: Any = 0) -> Expr:
    """`value` where `condition` holds; its loads happen only there."""
    return value if condition is None else expr.guarded(condition, value, other)


def axes(names: str, extents: tuple[Dim, ...]) -> tuple[tuple[tuple[str, Dim], ...], tuple[Expr, ...]]:
    """Axes of a reduction called names0, names1, ..., and their variables."""
    named = tuple((f"{names}{a}", d) for a, d in enumerate(extents))
    return named, tuple(expr.Var(expr.dtypes.int64, n) for n, _ in named)


# ------------------------------------------------------------------------------------------------ NumPy
def padded(x: Any, margins: tuple[tuple[Any, Any], ...], fill: Any = 0) -> Any:
    """`x` with `margins` of `fill` around its spatial axes; `x` itself where they are empty."""
    if not any(before or after for before, after in margins):
        return x
    shape = (x.shape[0], *(d + b + a for d, (b, a) in zip(x.shape[1:-1], margins, strict=True)), x.shape[-1])
    out = np.full(shape, fill, x.dtype) if fill else np.zeros(shape, x.dtype)
    out[(slice(None), *(slice(b, b + d) for d, (b, _) in zip(x.shape[1:-1], margins, strict=True)))] = x
    return out


def places(
    counts: tuple[Any, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """For each place k of the window, in row-major order: k and the slices of a padded array [batch, *spatial, channels] that all windows see there."""
    for k in itertools.product(*map(range, kernel)):
        yield (
            k,
            (
                slice(None),
                *(
                    slice(j * d, j * d + (n - 1) * s + 1, s) if n else slice(0, 0)
                    for j, n, s, d in zip(k, counts, strides, dilations, strict=True)
                ),
            ),
        )


def window_view(x: Any, counts: tuple[Any, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]) -> Any:
    """A read-only view [batch, *counts, *kernel, channels] of a padded array."""
    first, *middle, last = x.strides
    return np.lib.stride_tricks.as_strided(
        x,
        (x.shape[0], *counts, *kernel, x.shape[-1]),
        (first, *(b * s for b, s in zip(middle, strides, strict=True)), *(b * d for b, d in zip(middle, dilations, strict=True)), last),
        writeable=False,
    )


def fold_array(
    columns: Any, spatial: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], padding: Padding
) -> Any:
    """The sum at each element of [batch, *spatial, channels] of what `columns` [batch, *counts, *kernel, channels] has for it."""
    rank = len(spatial)
    margins = pads(spatial, kernel, strides, dilations, padding)
    counts = columns.shape[1 : 1 + rank]
    out = np.zeros((columns.shape[0], *(d + b + a for d, (b, a) in zip(spatial, margins, strict=True)), columns.shape[-1]), columns.dtype)
    if columns.size:
        for k, where in places(counts, kernel, strides, dilations):
            out[where] += columns[(slice(None),) * (rank + 1) + k]
    return out[(slice(None), *(slice(b, b + d) for d, (b, _) in zip(spatial, margins, strict=True)))]


# ------------------------------------------------------------------------------------------------ ops
class Patches(Op):
    """z[n, *o, *k, c] = x[n, *(o * stride + k * dilation - before), c], zero outside (im2col)."""

    name = "patches"
    jvp = multilinear
    batch = folded

    def infer(self, x: Type, *, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], padding: Padding) -> Type:
        return x.with_shape((x.shape[0], *output_sizes(x.shape[1:-1], kernel, strides, dilations, padding), *kernel, x.shape[-1]))

    def eager(self, x: Any, *, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], padding: Padding) -> Any:
        spatial = x.shape[1:-1]
        counts = output_sizes(spatial, kernel, strides, dilations, padding)
        view = window_view(padded(x, pads(spatial, kernel, strides, dilations, padding)), counts, kernel, strides, dilations)
        return np.ascontiguousarray(view)

    def vjp(self, g: Any, z: Any, x: Any, **window: Any) -> tuple[Any, ...]:
        return (lambda: fold(g, size=x.dims[1:-1], **window),)

    def at(
        self,
        index: tuple[Expr, ...],
        x: Any,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        dilations: tuple[int, ...],
        padding: Padding,
    ) -> Expr:
        rank = len(kernel)
        at, inside = seen(index[1 : 1 + rank], index[1 + rank : -1], x.dims[1:-1], kernel, strides, dilations, padding)
        return guard(inside, x[(index[0], *at, index[-1])])

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, window in window_samples():
            yield (draw(shape, kinds="fc"),), window


class Fold(Op):
    """The transpose of `patches`: every element of [batch, *size, channels] is the sum of its copies in the windows (col2im)."""

    name = "fold"
    jvp = multilinear
    batch = folded

    def infer(
        self,
        g: Type,
        *,
        size: tuple[Dim, ...],
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        dilations: tuple[int, ...],
        padding: Padding,
    ) -> Type:
        counts = output_sizes(size, kernel, strides, dilations, padding)
        for a, b in zip(g.shape[1:-1], (*counts, *kernel), strict=True):
            sizes.unify(a, b)
        return g.with_shape((g.shape[0], *size, g.shape[-1]))

    def eager(
        self,
        g: Any,
        *,
        size: tuple[int, ...],
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        dilations: tuple[int, ...],
        padding: Padding,
    ) -> Any:
        wide = g.astype(np.float32) if g.dtype.itemsize == 2 and g.dtype.kind in "fV" else g
        return np.ascontiguousarray(fold_array(wide, size, kernel, strides, dilations, padding)).astype(g.dtype, copy=False)

    def vjp(self, g: Any, z: Any, x: Any, *, size: tuple[Dim, ...], **window: Any) -> tuple[Any, ...]:
        return (lambda: patches(g, **window),)

    def at(
        self,
        index: tuple[Expr, ...],
        g: Any,
        *,
        size: tuple[Dim, ...],
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        dilations: tuple[int, ...],
        padding: Padding,
    ) -> Expr:
        over, k = axes("k", kernel)
        o, exists = seen_by(index[1:-1], k, size, kernel, strides, dilations, padding)
        value = g[(index[0], *o, *k, index[-1])]
        body = guard(exists, value)
        if value.dtype.narrow:
            body = expr.cast(body, dtypes.float32)
        return expr.cast(expr.Reduce(body.dtype, "add", over, body), value.dtype)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, window in window_samples():
            counts = output_sizes(shape[1:-1], **window)
            yield (draw((shape[0], *counts, *window["kernel"], shape[-1]), kinds="fc"),), {"size": shape[1:-1], **window}


def window_samples() -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
    """Shapes [batch, *spatial, channels] and windows over them, for the laws: ranks 1 to 3, gaps, overlaps, every kind of padding."""
    rows: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], Padding]] = [
        ((2, 5, 2), (3,), (1,), (1,), "SAME"),
        ((1, 6, 1), (2,), (3,), (1,), "VALID"),
        ((1, 4, 2), (2,), (1,), (2,), ((2, 1),)),
        ((1, 4, 5, 2), (3, 2), (1, 2), (1, 1), "SAME"),
        ((2, 5, 4, 1), (2, 2), (2, 1), (1, 2), "VALID"),
        ((1, 3, 3, 2), (1, 1), (2, 2), (1, 1), "VALID"),
        ((1, 2, 3, 2, 1), (2, 2, 1), (1, 1, 1), (1, 1, 1), "SAME"),
        ((0, 3, 2), (2,), (1,), (1,), "VALID"),
    ]
    for shape, kernel, strides, dilations, padding in rows:
        yield shape, {"kernel": kernel, "strides": strides, "dilations": dilations, "padding": padding}


patches, fold = register(Patches()), register(Fold())

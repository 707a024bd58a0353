"""Convolution of any rank and its two transposes. Each one's gradient is written with the other two, so every order closes.

The operand x is [batch, *spatial, channels], the filter w [*kernel, channels // groups, filters], the result
[batch, *counts, filters]; filter f belongs to group f // (filters // groups) and sees that group's channels only. Windows are as in
`ops.windows`; the filter is not flipped (TensorFlow's "convolution" is a correlation).

`as_matmul` gives each of the three as `patches`, `fold` and `matmul`, the form that register-tiled products compute fastest.
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
from tapejit.ops.batching import from_front, to_front
from tapejit.ops.broadcasting import is_one
from tapejit.ops.elementwise import cast
from tapejit.ops.matmul import matmul
from tapejit.ops.shapes import reshape, transpose
from tapejit.ops.tangents import multilinear
from tapejit.ops.windows import (
    Padding,
    axes,
    fold,
    fold_array,
    guard,
    output_sizes,
    padded,
    pads,
    patches,
    places,
    seen,
    seen_by,
    window_samples,
    window_view,
)


def _one_dtype(name: str, x: Type, y: Type) -> None:
    if x.dtype is not y.dtype:
        raise TypeError(f"{name} takes operands of one dtype, got {x.dtype.name} and {y.dtype.name}; write tf.cast(x, tf.{x.dtype.name})")
    if x.dtype.kind not in "fiu":
        raise TypeError(f"{name} is not defined for {x.dtype.name}")


def _product(a: Expr, b: Expr) -> Expr:
    """a * b, of 16-bit floats in float32."""
    if a.dtype.narrow:
        a, b = expr.cast(a, dtypes.float32), expr.cast(b, dtypes.float32)
    return a * b


def _summed(over: tuple[tuple[str, Dim], ...], body: Expr, dtype: Any) -> Expr:
    return expr.cast(expr.Reduce(body.dtype, "add", over, body), dtype)


def _axis(name: str, extent: Dim) -> tuple[tuple[tuple[str, Dim], ...], Expr]:
    """An axis to sum over and its variable; none and 0 where there is nothing to sum."""
    return ((), expr.as_expr(0)) if is_one(extent) else (((name, extent),), expr.Var(dtypes.int64, name))


def _wide(*arrays: Any) -> tuple[Any, ...]:
    return tuple(a.astype(np.float32) if a.dtype.itemsize == 2 and a.dtype.kind in "fV" else a for a in arrays)


def _columns(x: Any, counts: tuple[Any, ...], window: dict[str, Any]) -> Any:
    """A view [batch, *counts, *kernel, channels] of what the windows see."""
    return window_view(padded(x, pads(x.shape[1:-1], **window)), counts, window["kernel"], window["strides"], window["dilations"])


def _by_group(columns: Any, rank: int, groups: int) -> Any:
    """[batch, *counts, *kernel, channels] as [groups, batch * counts, kernel * channels // groups]."""
    lead, kernel, channels = columns.shape[: 1 + rank], columns.shape[1 + rank : -1], columns.shape[-1]
    m, k = int(np.prod(lead)), int(np.prod(kernel))
    split = columns.reshape(m, k, groups, channels // groups)
    return split.transpose(2, 0, 1, 3).reshape(groups, m, k * (channels // groups))


def _filters_by_group(w: Any, groups: int) -> Any:
    """[*kernel, channels // groups, filters] as [groups, kernel * channels // groups, filters // groups]."""
    flat = w.reshape(-1, groups, w.shape[-1] // groups)
    return flat.transpose(1, 0, 2)


def _more_examples(op: Op, size: Dim, x: Any, w: Any, attrs: dict[str, Any]) -> Any:
    out = op(reshape(x, shape=(size * x.dims[1], *x.dims[2:])), w, **attrs)
    return reshape(out, shape=(size, x.dims[1], *out.dims[1:]))


def _split(x: Any, axis: int, groups: int) -> Any:
    """`x` [size, ...] with its new axis between the `groups` of `axis`, counted without it, and their members; merged with the members."""
    dims = x.dims[1:]
    parted = reshape(x, shape=(x.dims[0], *dims[:axis], groups, dims[axis] // groups, *dims[axis + 1 :]))
    return reshape(from_front(parted, axis + 1), shape=(*dims[:axis], x.dims[0] * dims[axis], *dims[axis + 1 :]))


def _joined(z: Any, axis: int, size: Dim, groups: int) -> Any:
    """The result whose `axis` holds, in each of `groups`, `size` slices, as [size, ...]."""
    dims = z.dims
    parted = reshape(z, shape=(*dims[:axis], groups, size, dims[axis] // (size * groups), *dims[axis + 1 :]))
    out = to_front(parted, axis + 1)
    return reshape(out, shape=(size, *dims[:axis], dims[axis] // size, *dims[axis + 1 :]))


class Conv(Op):
    """z[n, *o, f] = sum over k, c of x[n, *(o * stride + k * dilation - before), c] * w[*k, c, f]."""

    name = "conv"
    jvp = multilinear
    same_dtype = None

    def infer(
        self, x: Type, w: Type, *, strides: tuple[int, ...], padding: Padding = "VALID", dilations: tuple[int, ...] = (), groups: int = 1
    ) -> Type:
        _one_dtype("conv", x, w)
        if x.rank < 3 or x.rank != w.rank:
            raise ValueError(
                f"conv takes [batch, *spatial, channels] and a filter [*kernel, channels, filters] of the same rank, got {x} and {w}"
            )
        channels = w.shape[-2] * groups
        try:
            sizes.unify(x.shape[-1], channels)
        except ValueError:
            raise ValueError(
                f"input depth must be evenly divisible by filter depth: {x.shape[-1]} vs {w.shape[-2]} (conv of {x} with filter {w} and groups={groups}, "
                f"which needs {channels} channels)"
            ) from None
        if isinstance(w.shape[-1], int) and w.shape[-1] % groups:
            raise ValueError(f"conv with groups={groups} takes a number of filters that is divisible by it, got {w.shape[-1]}")
        counts = output_sizes(x.shape[1:-1], **_window(w.shape[:-2], strides, padding, dilations))
        return x.with_shape((x.shape[0], *counts, w.shape[-1]))

    def eager(
        self, x: Any, w: Any, *, strides: tuple[int, ...], padding: Padding = "VALID", dilations: tuple[int, ...] = (), groups: int = 1
    ) -> Any:
        if x.ndim != w.ndim or x.shape[-1] != w.shape[-2] * groups or w.shape[-1] % groups:
            raise ValueError("conv: the shapes of operand and filter do not fit")  # `infer` says why
        dtype = x.dtype
        x, w = _wide(x, w)
        window = _window(w.shape[:-2], strides, padding, dilations)
        counts = output_sizes(x.shape[1:-1], **window)
        rank, filters = len(counts), w.shape[-1]
        if groups > 1 and w.shape[-2] == 1 and filters == groups:  # depthwise: no product of matrices anywhere
            source = padded(x, pads(x.shape[1:-1], **window))
            out = np.zeros((x.shape[0], *counts, filters), x.dtype)
            for k, where in places(counts, window["kernel"], window["strides"], window["dilations"]):
                out += source[where] * w[k][0]
            return out.astype(dtype, copy=False)
        columns = _columns(x, counts, window)
        if groups == 1:
            flat = (
                columns.reshape(-1, w.size // filters if filters else 0)
                if w.size
                else np.zeros((int(np.prod(columns.shape[: 1 + rank])), 0), x.dtype)
            )
            out = np.matmul(flat, w.reshape(flat.shape[-1], filters))
        else:
            out = np.matmul(_by_group(columns, rank, groups), _filters_by_group(w, groups)).transpose(1, 0, 2)
        return out.reshape(x.shape[0], *counts, filters).astype(dtype, copy=False)

    def decomposed(self, a: Any, b: Any, **attrs: Any) -> Any:
        return None if _depthwise(self, a, b, attrs) else as_matmul(self, a, b, **attrs)

    def vjp(self, g: Any, z: Any, x: Any, w: Any, **attrs: Any) -> tuple[Any, ...]:
        return (
            lambda: conv_input(g, w, size=x.dims[1:-1], **attrs),
            lambda: conv_filter(x, g, kernel=w.dims[:-2], **attrs),
        )

    def at(
        self,
        index: tuple[Expr, ...],
        x: Any,
        w: Any,
        *,
        strides: tuple[int, ...],
        padding: Padding = "VALID",
        dilations: tuple[int, ...] = (),
        groups: int = 1,
    ) -> Expr:
        window = _window(w.dims[:-2], strides, padding, dilations)
        over, k = axes("k", w.dims[:-2])
        depth, c = _axis("c", w.dims[-2])
        f = index[-1]
        at, inside = seen(index[1:-1], k, x.dims[1:-1], **window)
        channel = c if groups == 1 else f // expr.of_dim(w.dims[-1] // groups) * expr.of_dim(w.dims[-2]) + c
        value = x[(index[0], *at, channel)]
        return _summed((*over, *depth), _product(guard(inside, value), w[(*k, c, f)]), value.dtype)

    def batch(self, slices: Dim, operands: Any, mapped: Any, **attrs: Any) -> Any:
        """Slices of the operand are more examples, slices of the filter more filters of each group, slices of both more groups."""
        x, w = operands
        groups, last = attrs.get("groups", 1), len(w.dims) - 1 - mapped[1]
        if mapped == (True, False):
            return _more_examples(self, slices, x, w, attrs)
        if mapped == (False, True):
            return _joined(conv(x, _split(w, last, groups), **attrs), last, slices, groups)
        if not isinstance(slices, int):
            return None
        out = conv(_split(x, last, 1), _split(w, last, 1), **(attrs | {"groups": slices * groups}))
        return _joined(out, last, slices, 1)

    def samples(self, draw: Any) -> Iterator[Any]:
        for x, w, attrs in conv_samples():
            yield (draw(x), draw(w)), attrs


class ConvInput(Op):
    """The transpose of `conv` in its operand: x[n, *i, c] = sum over the windows and filters that see it of g[n, *o, f] * w[*k, c, f].

    `size` is the spatial shape of the result (`tf.nn.conv_transpose`, the gradient of `conv`).
    """

    name = "conv_input"
    jvp = multilinear
    same_dtype = None

    def infer(
        self,
        g: Type,
        w: Type,
        *,
        size: tuple[Dim, ...],
        strides: tuple[int, ...],
        padding: Padding = "VALID",
        dilations: tuple[int, ...] = (),
        groups: int = 1,
    ) -> Type:
        _one_dtype("conv_input", g, w)
        if g.rank < 3 or g.rank != w.rank or len(size) != g.rank - 2:
            raise ValueError(
                f"conv_input takes [batch, *counts, filters], a filter [*kernel, channels, filters] and one size per spatial axis, got {g}, {w} and {size}"
            )
        counts = output_sizes(size, **_window(w.shape[:-2], strides, padding, dilations))
        try:
            for a, b in zip(g.shape[1:], (*counts, w.shape[-1]), strict=True):
                sizes.unify(a, b)
        except ValueError:
            raise ValueError(
                f"the transpose of a convolution to spatial size {list(size)} with filter {w}, strides {list(strides)} and padding {padding} takes "
                f"[batch, {', '.join(map(str, counts))}, {w.shape[-1]}], got {g}"
            ) from None
        return g.with_shape((g.shape[0], *size, w.shape[-2] * groups))

    def eager(
        self,
        g: Any,
        w: Any,
        *,
        size: tuple[int, ...],
        strides: tuple[int, ...],
        padding: Padding = "VALID",
        dilations: tuple[int, ...] = (),
        groups: int = 1,
    ) -> Any:
        window = _window(w.shape[:-2], strides, padding, dilations)
        counts = output_sizes(size, **window)
        if g.shape[1:] != (*counts, w.shape[-1]):
            raise ValueError("conv_input: the shapes of gradient and filter do not fit")  # `infer` says why
        dtype = g.dtype
        g, w = _wide(g, w)
        kernel, per_group = window["kernel"], w.shape[-2]
        m, k = int(np.prod(g.shape[:-1])), int(np.prod(kernel))
        if groups == 1:
            columns = np.matmul(g.reshape(m, -1) if g.size else np.zeros((m, g.shape[-1]), g.dtype), w.reshape(k * per_group, -1).T)
        else:
            split = g.reshape(m, groups, g.shape[-1] // groups).transpose(1, 0, 2)
            parts = np.matmul(split, _filters_by_group(w, groups).transpose(0, 2, 1))
            columns = parts.reshape(groups, m, k, per_group).transpose(1, 2, 0, 3)
        columns = columns.reshape(g.shape[0], *counts, *kernel, per_group * groups)
        return np.ascontiguousarray(fold_array(columns, size, **window)).astype(dtype, copy=False)

    def decomposed(self, a: Any, b: Any, **attrs: Any) -> Any:
        return None if _depthwise(self, a, b, attrs) else as_matmul(self, a, b, **attrs)

    def vjp(self, g: Any, z: Any, y: Any, w: Any, *, size: tuple[Dim, ...], **attrs: Any) -> tuple[Any, ...]:
        return (
            lambda: conv(g, w, **attrs),
            lambda: conv_filter(g, y, kernel=w.dims[:-2], **attrs),
        )

    def at(
        self,
        index: tuple[Expr, ...], g: Any, w: Any, *, size: tuple[Dim, ...], strides: tuple[int, ...], padding: Padding = "VALID", dilations: tuple[int, ...] = (),
        groups: int = 1,
    ) -> Expr:  # fmt: skip
        window = _window(w.dims[:-2], strides, padding, dilations)
        over, k = axes("k", w.dims[:-2])
        o, exists = seen_by(index[1:-1], k, size, **window)
        per_group, c = w.dims[-1] // groups, index[-1]
        depth, j = _axis("j", per_group)
        f = j if groups == 1 else c // expr.of_dim(w.dims[-2]) * expr.of_dim(per_group) + j
        value = g[(index[0], *o, f)]
        weight = w[(*k, c if groups == 1 else c % expr.of_dim(w.dims[-2]), f)]
        return _summed((*over, *depth), _product(guard(exists, value), weight), value.dtype)

    def batch(self, slices: Dim, operands: Any, mapped: Any, **attrs: Any) -> Any:
        """As those of `conv`; slices of the filter alone are more channels of each group."""
        g, w = operands
        groups, last = attrs.get("groups", 1), len(w.dims) - 1 - mapped[1]
        if mapped == (True, False):
            return _more_examples(self, slices, g, w, attrs)
        if mapped == (False, True):
            return _joined(conv_input(g, _split(w, last - 1, 1), **attrs), last, slices, groups)
        if not isinstance(slices, int):
            return None
        out = conv_input(_split(g, last, 1), _split(w, last, 1), **(attrs | {"groups": slices * groups}))
        return _joined(out, last, slices, 1)

    def samples(self, draw: Any) -> Iterator[Any]:
        for x, w, attrs in conv_samples():
            counts = output_sizes(x[1:-1], **_window(w[:-2], attrs["strides"], attrs.get("padding", "VALID"), attrs.get("dilations", ())))
            yield (draw((x[0], *counts, w[-1])), draw(w)), {"size": x[1:-1], **attrs}


class ConvFilter(Op):
    """The transpose of `conv` in its filter: w[*k, c, f] = sum over n, o of x[n, *(o * stride + k * dilation - before), c] * g[n, *o, f].

    `kernel` is the spatial shape of the filter.
    """

    name = "conv_filter"
    jvp = multilinear
    same_dtype = None

    def infer(
        self,
        x: Type,
        g: Type,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        padding: Padding = "VALID",
        dilations: tuple[int, ...] = (),
        groups: int = 1,
    ) -> Type:
        _one_dtype("conv_filter", x, g)
        counts = output_sizes(x.shape[1:-1], **_window(kernel, strides, padding, dilations))
        try:
            for a, b in zip(g.shape[:-1], (x.shape[0], *counts), strict=True):
                sizes.unify(a, b)
        except ValueError:
            raise ValueError(
                f"conv_filter of {x} with kernel {list(kernel)} takes a gradient [{x.shape[0]}, {', '.join(map(str, counts))}, filters], got {g}"
            ) from None
        return x.with_shape((*kernel, x.shape[-1] // groups, g.shape[-1]))

    def eager(
        self,
        x: Any,
        g: Any,
        *,
        kernel: tuple[int, ...],
        strides: tuple[int, ...],
        padding: Padding = "VALID",
        dilations: tuple[int, ...] = (),
        groups: int = 1,
    ) -> Any:
        dtype = x.dtype
        x, g = _wide(x, g)
        window = _window(kernel, strides, padding, dilations)
        counts = g.shape[1:-1]
        if counts != output_sizes(x.shape[1:-1], **window):
            raise ValueError("conv_filter: the shapes of operand and gradient do not fit")  # `infer` says why
        rank, filters, channels = len(counts), g.shape[-1], x.shape[-1]
        m, k = int(np.prod(g.shape[:-1])), int(np.prod(kernel))
        if groups > 1 and channels == groups and filters == groups:
            source = padded(x, pads(x.shape[1:-1], **window))
            out = np.empty((*kernel, 1, filters), x.dtype)
            for place, where in places(counts, kernel, window["strides"], window["dilations"]):
                out[place][0] = np.einsum("mc,mc->c", source[where].reshape(m, channels), g.reshape(m, filters))
            return out.astype(dtype, copy=False)
        columns = _columns(x, counts, window)
        if groups == 1:
            out = np.matmul(columns.reshape(m, k * channels).T, g.reshape(m, filters))
        else:
            split = g.reshape(m, groups, filters // groups).transpose(1, 0, 2)
            out = np.matmul(_by_group(columns, rank, groups).transpose(0, 2, 1), split).transpose(1, 0, 2)
        return out.reshape(*kernel, channels // groups, filters).astype(dtype, copy=False)

    def decomposed(self, a: Any, b: Any, **attrs: Any) -> Any:
        return None if _depthwise(self, a, b, attrs) else as_matmul(self, a, b, **attrs)

    def vjp(self, g: Any, z: Any, x: Any, y: Any, *, kernel: tuple[int, ...], **attrs: Any) -> tuple[Any, ...]:
        return (
            lambda: conv_input(y, g, size=x.dims[1:-1], **attrs),
            lambda: conv(x, g, **attrs),
        )

    def at(
        self,
        index: tuple[Expr, ...], x: Any, g: Any, *, kernel: tuple[int, ...], strides: tuple[int, ...], padding: Padding = "VALID", dilations: tuple[int, ...] = (),
        groups: int = 1,
    ) -> Expr:  # fmt: skip
        window = _window(kernel, strides, padding, dilations)
        over, o = axes("o", g.dims[1:-1])
        n, (*k, c, f) = expr.Var(dtypes.int64, "n"), index
        at, inside = seen(o, tuple(k), x.dims[1:-1], **window)
        channel = c if groups == 1 else f // expr.of_dim(g.dims[-1] // groups) * expr.of_dim(x.dims[-1] // groups) + c
        value = x[(n, *at, channel)]
        return _summed((("n", x.dims[0]), *over), _product(guard(inside, value), g[(n, *o, f)]), value.dtype)

    def batch(self, slices: Dim, operands: Any, mapped: Any, **attrs: Any) -> Any:
        """Slices of the operand alone are more channels of each group, those of the gradient alone more filters, those of both more groups."""
        x, g = operands
        groups, last = attrs.get("groups", 1), len(g.dims) - 1 - mapped[1]
        if mapped == (True, False):
            return _joined(conv_filter(_split(x, last, groups), g, **attrs), last - 1, slices, 1)
        if mapped == (False, True):
            return _joined(conv_filter(x, _split(g, last, groups), **attrs), last, slices, groups)
        if not isinstance(slices, int):
            return None
        out = conv_filter(_split(x, last, 1), _split(g, last, 1), **(attrs | {"groups": slices * groups}))
        return _joined(out, last, slices, 1)

    def samples(self, draw: Any) -> Iterator[Any]:
        for x, w, attrs in conv_samples():
            counts = output_sizes(x[1:-1], **_window(w[:-2], attrs["strides"], attrs.get("padding", "VALID"), attrs.get("dilations", ())))
            yield (draw(x), draw((x[0], *counts, w[-1]))), {"kernel": w[:-2], **attrs}


def _window(kernel: tuple[Any, ...], strides: tuple[int, ...], padding: Padding, dilations: tuple[int, ...]) -> dict[str, Any]:
    return {"kernel": tuple(kernel), "strides": strides, "dilations": dilations or (1,) * len(strides), "padding": padding}


def conv_samples() -> Iterator[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]]:
    """Shapes of operand and filter and attributes, for the laws of all three."""
    for x, window in window_samples():
        w = (*window["kernel"], x[-1], 3)
        yield x, w, {k: v for k, v in window.items() if k != "kernel"}
    yield (2, 4, 4, 4), (3, 3, 2, 6), {"strides": (1, 1), "padding": "SAME", "groups": 2}  # grouped
    yield (1, 5, 4, 3), (2, 2, 1, 3), {"strides": (2, 1), "groups": 3}  # depthwise
    yield (1, 4, 4, 2), (3, 2, 1, 4), {"strides": (1, 1), "padding": "SAME", "groups": 2}  # depthwise with a multiplier


conv, conv_input, conv_filter = register(Conv()), register(ConvInput()), register(ConvFilter())


# ------------------------------------------------------------------------------------------------ as products of matrices
def _depthwise(op: Op, a: Any, b: Any, attrs: dict[str, Any]) -> bool:
    """Whether every group has one channel and one filter, so that there is no product of matrices in it."""
    groups = attrs.get("groups", 1)
    return groups > 1 and b.dims[-1] == groups and (a.dims[-1] == groups if op is conv_filter else b.dims[-2] == 1)


def as_matmul(op: Op, a: Any, b: Any, **attrs: Any) -> Any:
    """One of the three ops above, called with `(a, b, **attrs)`, composed of `patches`, `fold`, `matmul`, reshapes and transposes.

    The schedule's fast path: depth kernel * channels // groups at once. Groups become a batch axis of the product.
    """
    dtype = a.dtype
    if dtype.narrow:  # rounded once, at the end
        return cast(as_matmul(op, cast(a, dtype=dtypes.float32), cast(b, dtype=dtypes.float32), **attrs), dtype=dtype)
    groups, strides = attrs.get("groups", 1), attrs["strides"]
    rank = len(strides)
    if op is conv:
        window = _window(b.dims[:-2], strides, attrs.get("padding", "VALID"), attrs.get("dilations", ()))
        columns = patches(a, **window)
        out = matmul(_rows_by_group(columns, rank, groups), _weights_by_group(b, groups))
        return _rows_joined(out, (*columns.dims[: 1 + rank], b.dims[-1]), groups)
    if op is conv_input:
        window = _window(b.dims[:-2], strides, attrs.get("padding", "VALID"), attrs.get("dilations", ()))
        out = matmul(_rows_by_group(a, rank, groups), _weights_by_group(b, groups), transpose_b=True)
        k = sizes.product(window["kernel"])
        shape = (*a.dims[:-1], *window["kernel"], b.dims[-2] * groups)
        if groups == 1:
            columns = reshape(out, shape=shape)
        else:
            columns = reshape(
                transpose(reshape(out, shape=(groups, sizes.product(a.dims[:-1]), k, b.dims[-2])), perm=(1, 2, 0, 3)), shape=shape
            )
        return fold(columns, size=attrs["size"], **window)
    window = _window(attrs["kernel"], strides, attrs.get("padding", "VALID"), attrs.get("dilations", ()))
    columns = patches(a, **window)
    out = matmul(_rows_by_group(columns, rank, groups), _rows_by_group(b, rank, groups), transpose_a=True)
    shape = (*attrs["kernel"], a.dims[-1] // groups, b.dims[-1])
    return reshape(out if groups == 1 else transpose(out, perm=(1, 0, 2)), shape=shape)


def _rows_by_group(x: Any, rank: int, groups: int) -> Any:
    """[batch, *counts, *rest, channels] as [batch * counts, rest * channels], with a leading axis of groups where there are several."""
    m, rest, channels = sizes.product(x.dims[: 1 + rank]), sizes.product(x.dims[1 + rank : -1]), x.dims[-1]
    if groups == 1:
        return reshape(x, shape=(m, rest * channels))
    split = transpose(reshape(x, shape=(m, rest, groups, channels // groups)), perm=(2, 0, 1, 3))
    return reshape(split, shape=(groups, m, rest * (channels // groups)))


def _weights_by_group(w: Any, groups: int) -> Any:
    """[*kernel, channels // groups, filters] as [kernel * channels // groups, filters], with a leading axis of groups where there are several."""
    depth = sizes.product(w.dims[:-1])
    if groups == 1:
        return reshape(w, shape=(depth, w.dims[-1]))
    return transpose(reshape(w, shape=(depth, groups, w.dims[-1] // groups)), perm=(1, 0, 2))


def _rows_joined(out: Any, shape: tuple[Dim, ...], groups: int) -> Any:
    return reshape(out if groups == 1 else transpose(out, perm=(1, 0, 2)), shape=shape)

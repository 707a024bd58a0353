"""Matrix product of the last two axes, with leading axes broadcast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import sizes, types
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.batching import aligned
from tapejit.ops.broadcasting import broadcast_index, unbroadcast
from tapejit.ops.shapes import reshape
from tapejit.ops.tangents import multilinear


def _flipped(shape: tuple[Dim, ...], flip: bool) -> tuple[Dim, ...]:
    return (*shape[:-2], shape[-1], shape[-2]) if flip else shape


class MatMul(Op):
    """z[..., i, j] = sum over k of x[..., i, k] * y[..., k, j]; `transpose_a`, `transpose_b` swap an operand's last two axes first."""

    name = "matmul"
    jvp = multilinear
    symbol = "@"
    same_dtype = None

    def infer(self, x: Type, y: Type, *, transpose_a: bool = False, transpose_b: bool = False) -> Type:
        if x.dtype is not y.dtype:
            raise TypeError(
                f"matmul takes operands of one dtype, got {x.dtype.name} and {y.dtype.name}; write tf.cast(x, tf.{x.dtype.name})"
            )
        if x.rank < 2 or y.rank < 2:
            raise ValueError(
                f"matmul takes operands of rank 2 or more, got {x} and {y}; write tf.linalg.matvec or tf.tensordot for vectors"
            )
        a, b = _flipped(x.shape, transpose_a), _flipped(y.shape, transpose_b)
        try:
            sizes.unify(a[-1], b[-2])
        except ValueError:
            turned = "".join(f" with {n}" for n, t in (("transpose_a", transpose_a), ("transpose_b", transpose_b)) if t)
            raise ValueError(f"matmul of {x} and {y}{turned}: the inner sizes {a[-1]} and {b[-2]} differ") from None
        return Type(x.dtype, (*types.broadcast(a[:-2], b[:-2]), a[-2], b[-1]))

    def eager(self, x: Any, y: Any, *, transpose_a: bool = False, transpose_b: bool = False) -> Any:
        if x.ndim < 2 or y.ndim < 2:
            raise ValueError(f"matmul of arrays of rank {x.ndim} and {y.ndim}")
        if transpose_a:
            x = x.swapaxes(-1, -2)
        if transpose_b:
            y = y.swapaxes(-1, -2)
        if x.dtype.itemsize == 2 and x.dtype.kind in "fV":  # 16-bit floats are summed in float32
            return np.matmul(x.astype(np.float32), y.astype(np.float32)).astype(x.dtype)
        return np.matmul(x, y)

    def vjp(self, g: Any, z: Any, x: Any, y: Any, *, transpose_a: bool = False, transpose_b: bool = False) -> tuple[Any, ...]:
        def for_x() -> Any:
            d = matmul(y, g, transpose_a=transpose_b, transpose_b=True) if transpose_a else matmul(g, y, transpose_b=not transpose_b)
            return unbroadcast(d, x)

        def for_y() -> Any:
            a, b = x, g
            if len(y.dims) == 2 < len(x.dims) and not transpose_a:  # all rows in one product, rather than a sum of products
                a, b = (reshape(v, shape=(sizes.product(v.dims[:-1]), v.dims[-1])) for v in (x, g))
            d = matmul(b, a, transpose_a=True, transpose_b=transpose_a) if transpose_b else matmul(a, b, transpose_a=not transpose_a)
            return unbroadcast(d, y)

        return for_x, for_y

    def at(self, index: tuple[Expr, ...], x: Any, y: Any, *, transpose_a: bool = False, transpose_b: bool = False) -> Expr:
        k = expr.Var(expr.dtypes.int64, "k")
        *lead, i, j = index
        a = x[(*broadcast_index(tuple(lead), x.dims[:-2]), *((k, i) if transpose_a else (i, k)))]
        b = y[(*broadcast_index(tuple(lead), y.dims[:-2]), *((j, k) if transpose_b else (k, j)))]
        dtype = a.dtype
        if dtype.narrow:
            a, b = expr.cast(a, expr.dtypes.float32), expr.cast(b, expr.dtypes.float32)
        depth = _flipped(x.dims, transpose_a)[-1]
        return expr.cast(expr.Reduce(a.dtype, "add", (("k", depth),), a * b), dtype)

    def batch(self, slices: Dim, operands: Any, mapped: Any, *, transpose_a: bool = False, transpose_b: bool = False) -> Any:
        x, y = operands
        if mapped == (True, False) and len(x.dims) == 3 and len(y.dims) == 2 and not transpose_a:  # all rows in one product
            out = matmul(reshape(x, shape=(slices * x.dims[1], x.dims[2])), y, transpose_b=transpose_b)
            return reshape(out, shape=(slices, x.dims[1], out.dims[1]))
        return aligned(self, slices, operands, mapped, transpose_a=transpose_a, transpose_b=transpose_b)

    def samples(self, draw: Any) -> Iterator[Any]:
        for a, b in [
            ((2, 3), (3, 4)),
            ((5, 2, 3), (5, 3, 4)),
            ((5, 2, 3), (3, 1)),
            ((1, 2, 3), (6, 3, 2)),
            ((2, 0), (0, 3)),
            ((1, 1), (1, 1)),
            ((17, 33), (33, 40)),
        ]:
            yield (draw(a, kinds="fic"), draw(b, kinds="fic")), {}
        yield (draw((3, 2)), draw((3, 4))), {"transpose_a": True}
        yield (draw((2, 3)), draw((4, 3))), {"transpose_b": True}
        yield (draw((5, 3, 2)), draw((4, 3))), {"transpose_a": True, "transpose_b": True}


matmul = register(MatMul())

"""Ops that make integers out of nothing: counting along an axis, and shapes as vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim, is_known
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr


class Iota(Op):
    """0, 1, ..., size - 1 as a vector of `dtype`."""

    name = "iota"
    no_gradient = True
    on_sizes = True

    def infer(self, *, size: Dim, dtype: DType) -> Type:
        return Type(dtype, (size,))

    def eager(self, *, size: int, dtype: DType) -> Any:
        return np.arange(size).astype(dtype.np)

    def at(self, index: tuple[Expr, ...], *, size: Dim, dtype: DType) -> Expr:
        return expr.cast(index[0], dtype)

    def samples(self, draw: Any) -> Iterator[Any]:
        for size in (5, 0, 1):
            for dtype in (dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64):
                yield (), {"size": size, "dtype": dtype}


class ShapeVector(Op):
    """Sizes as an integer vector (`tf.shape`); while a function is traced its elements are known as sizes."""

    name = "shape"
    no_gradient = True
    on_sizes = True

    def infer(self, *, dims: tuple[Dim, ...], dtype: DType) -> Type:
        return Type(dtype, (len(dims),))

    def eager(self, *, dims: tuple[Dim, ...], dtype: DType) -> Any:
        if is_known(dims):
            return np.array(dims, dtype.np)
        out = np.empty(len(dims), object)
        out[:] = dims
        return out

    def at(self, index: tuple[Expr, ...], *, dims: tuple[Dim, ...], dtype: DType) -> Expr:
        value: Expr = expr.as_expr(0)
        for k, d in reversed(list(enumerate(dims))):
            value = expr.of_dim(d) if k == len(dims) - 1 else expr.select(expr.compare("eq", index[0], k), expr.of_dim(d), value)
        return expr.cast(value, dtype)

    def samples(self, draw: Any) -> Iterator[Any]:
        for dims in ((2, 3), (), (0,), (7, 1, 5)):
            for dtype in (dtypes.int32, dtypes.int64):
                yield (), {"dims": dims, "dtype": dtype}


iota, shape_vector = register(Iota()), register(ShapeVector())

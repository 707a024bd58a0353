"""One element of each row by an index, and its transpose: what losses on integer labels are written with.

Unlike `gather` and its transpose `segment` both have a form per element, so a loss and its gradient stay one pass over the rows. The
indices come checked (`gathering.in_range`).
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
from tapejit.ops.batching import leading
from tapejit.ops.slicing import number
from tapejit.ops.tangents import multilinear


def _integers(name: str, index: Type) -> None:
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name} takes integer indices, got {index}; write tf.cast(indices, tf.int32)")


class Pick(Op):
    """z[..] = x[.., index[..]]: one element of each row. The indices are in range."""

    name = "pick"
    jvp = multilinear
    batch = leading
    constant_operands = frozenset({1})

    def infer(self, x: Type, index: Type) -> Type:
        _integers("pick", index)
        if x.rank != index.rank + 1:
            raise ValueError(f"pick takes an index for each row of {x}, got {index}")
        for a, b in zip(x.shape, index.shape, strict=False):
            sizes.unify(a, b)
        return Type(x.dtype, index.shape)

    def eager(self, x: Any, index: Any) -> Any:
        if x.shape[:-1] != index.shape:
            raise ValueError("pick: shapes of operand and index do not fit")  # `infer` says why
        return np.take_along_axis(x, index[..., None].astype(np.int64, copy=False), -1)[..., 0]

    def vjp(self, g: Any, z: Any, x: Any, index: Any) -> tuple[Any, ...]:
        return (lambda: place(g, index, depth=x.dims[-1]), None)

    def at(self, index: tuple[Expr, ...], x: Any, where: Any) -> Expr:
        found = expr.cast(where[index], dtypes.int64)
        # checked where it came from; clamped all the same, so that no text can read wild memory
        return x[(*index, expr.binary("max", expr.binary("min", found, expr.of_dim(x.dims[-1]) - 1), 0))]

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, index in (((3, 4), [1, 3, 0]), ((5,), 2), ((2, 2, 3), [[0, 2], [1, 1]]), ((0, 3), []), ((2, 1), [0, 0])):
            yield (draw(shape, kinds="biufc"), np.asarray(index, np.int32)), {}


class Place(Op):
    """z[.., index[..]] = x[..] in rows of `depth` elements that are 0 elsewhere. The indices are in range."""

    name = "place"
    jvp = multilinear
    batch = leading
    constant_operands = frozenset({1})

    def infer(self, x: Type, index: Type, *, depth: Dim) -> Type:
        _integers("place", index)
        if x.rank != index.rank:
            raise ValueError(f"place takes one index for each element of {x}, got {index}")
        for a, b in zip(x.shape, index.shape, strict=True):
            sizes.unify(a, b)
        return x.with_shape((*x.shape, depth))

    def eager(self, x: Any, index: Any, *, depth: int) -> Any:
        out = np.zeros((*x.shape, depth), x.dtype)
        np.put_along_axis(out, index[..., None].astype(np.int64, copy=False), x[..., None], -1)
        return out

    def vjp(self, g: Any, z: Any, x: Any, index: Any, *, depth: Dim) -> tuple[Any, ...]:
        return (lambda: pick(g, index), None)

    def at(self, index: tuple[Expr, ...], x: Any, where: Any, *, depth: Dim) -> Expr:
        value = x[index[:-1]]
        hit = expr.compare("eq", expr.cast(where[index[:-1]], dtypes.int64), index[-1])
        return expr.select(hit, value, number(0, value.dtype))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, index, depth in (((3,), [1, 3, 0], 4), ((), 2, 5), ((2, 2), [[0, 2], [1, 1]], 3), ((0,), [], 3), ((2,), [0, 0], 1)):
            yield (draw(shape, kinds="biufc"), np.asarray(index, np.int32)), {"depth": depth}


pick, place = register(Pick()), register(Place())

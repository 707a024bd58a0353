"""The memory of tensors read as numbers of another dtype."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.batching import leading


class Bitcast(Op):
    """The operand's memory as numbers of `dtype` (`tf.bitcast`): of smaller ones a last axis holds the parts, of larger ones there was one."""

    name = "bitcast"
    view = True
    batch = leading
    no_gradient = True

    def infer(self, x: Type, *, dtype: DType) -> Type:
        if "b" in (x.dtype.kind, dtype.kind) or "c" in (x.dtype.kind, dtype.kind):
            raise TypeError(f"bitcast is not defined from {x.dtype.name} to {dtype.name}; it takes integers and floats")
        have, want = x.dtype.size, dtype.size
        if have >= want:
            return Type(dtype, x.shape if have == want else (*x.shape, have // want))
        if not x.rank:
            raise ValueError(f"bitcast to {dtype.name} takes a last axis of {want // have}, got {x}")
        sizes.unify(x.shape[-1], want // have)
        return Type(dtype, x.shape[:-1])

    def eager(self, x: Any, *, dtype: DType) -> Any:
        out = np.ascontiguousarray(x).view(dtype.np) if x.ndim else x.reshape(1).view(dtype.np)
        return out.reshape(self.infer(Type(dtypes.as_dtype(x.dtype), x.shape), dtype=dtype).shape)

    def native(self, x: Type, *, dtype: DType) -> bool:
        halves = x.dtype.size == 2 and "f" in (x.dtype.kind, dtype.kind)  # which native code knows as float32 only
        return x.dtype.size == dtype.size and not halves

    def at(self, index: tuple[Expr, ...], x: Any, *, dtype: DType) -> Expr:
        return expr.call("bitcast", x[index], dtype=dtype)

    def samples(self, draw: Any) -> Iterator[Any]:
        shapes: tuple[tuple[int, ...], ...] = ((3, 4), (4,), (0, 4), (2, 1, 4))
        cases = [(s, given, wanted) for s in shapes for given, wanted in (("i4", "f4"), ("f4", "i4"), ("i4", "i2"), ("i8", "u1"))]
        cases += [((2, 4), "i2", "i8"), ((2, 4), "u2", "f8"), ((2, 4), "u1", "u4"), ((), "i4", "f4"), ((3,), "i2", "f2")]
        for shape, given, wanted in cases:
            yield (draw(shape, 0, 100, kinds="i").astype(given),), {"dtype": dtypes.as_dtype(np.dtype(wanted))}


bitcast = register(Bitcast())

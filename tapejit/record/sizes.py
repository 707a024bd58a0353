"""Integers that are only known at run time, used as sizes: the bridge from symbolic tensors to dims."""

from __future__ import annotations

from typing import Any

from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim, named
from tapejit.core.types import Type
from tapejit.ir.builder import Builder
from tapejit.ir.op import Op, register
from tapejit.loops import expr, nest
from tapejit.loops.nest import Stmt
from tapejit.ops.batching import Ragged
from tapejit.ops.gathering import fail
from tapejit.record.recorder import SymbolicTensor


class SizeOf(Op):
    """An integer scalar taken as a size that later shapes may be written with. Negative values fail when the function runs."""

    name = "size_of"
    binds_size = True
    no_gradient = True

    def infer(self, x: Type) -> Type:
        if x.shape or x.dtype.kind not in "iu":
            raise TypeError(f"a size is an integer scalar, got {x}")
        return Type(dtypes.int64)

    def failure(self, a: float, b: float | None = None) -> str:
        """What went wrong where a size known only at run time is negative, or had to be equal to another one."""
        return f"a size cannot be negative, got {a:g}" if b is None else f"sizes that have to be equal are not: {a:g} and {b:g}"

    def eager(self, x: Any) -> Any:
        if x < 0:
            raise InvalidArgumentError(self.failure(float(x)))
        return x.astype("int64")

    def kernel(self, outs: Any, ins: Any, work: Any) -> tuple[Stmt, ...]:
        size = expr.cast(ins[0][()], dtypes.int64)
        return nest.If(size < 0, (fail(size),)), outs[0].store((), size)

    def batch(self, slices: Any, operands: Any, mapped: Any) -> Any:
        raise Ragged("a size that differs from slice to slice")


size_of = register(SizeOf())


def as_dim(x: SymbolicTensor, base: str = "N") -> Dim:
    """The dim that an integer scalar of the graph is: what it was computed from where that is known, else a size bound here."""
    known: Any = x.elements
    if known is not None and known.ndim == 0:
        return known[()]
    builder: Builder = x.recorder.builder
    (out,) = builder.emit(size_of, (x.value,), {}, name=base, place=places.here(2))
    return named(out.name)


def dims_of_elements(x: SymbolicTensor) -> tuple[Dim, ...]:
    """The elements of an integer vector (or scalar) of the graph as dims. ValueError for a vector of unknown length."""
    if x.elements is not None:
        return tuple(x.elements.ravel().tolist())
    if not x.dims:
        return (as_dim(x),)
    if len(x.dims) != 1 or not isinstance(x.dims[0], int):
        raise ValueError(f"a shape must be an integer vector of known length, got {x.value.type}")
    return tuple(as_dim(x[i]) for i in range(x.dims[0]))  # type: ignore[index]

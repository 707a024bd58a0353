"""Complex numbers as pairs of real ones: `Parts`, what the parted form of an op works on, and the ops between the two.

A complex array and a real one with a last axis of 2 (real part, imaginary part) are the same memory: `to_pairs` and `from_pairs`
are views. `pair` puts two real arrays together into such pairs. A graph pass writes these; no program does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.loops import expr
from tapejit.loops.expr import Expr
from tapejit.ops.batching import leading
from tapejit.ops.broadcasting import broadcast_like
from tapejit.ops.complex import complex_dtype
from tapejit.ops.elementwise import conjugate
from tapejit.ops.slicing import slice_


class ToPairs(Op):
    """The complex operand's memory as real numbers: a last axis of 2 holds the real and the imaginary part."""

    name = "to_pairs"
    batch = leading
    view = True

    def infer(self, x: Type) -> Type:
        if x.dtype.kind != "c":
            raise TypeError(f"to_pairs takes complex numbers, got {x.dtype.name}")
        return Type(x.dtype.real_dtype, (*x.shape, 2))

    def eager(self, x: Any) -> Any:
        return np.ascontiguousarray(x).view(dtypes.as_dtype(x.dtype).real_dtype.np).reshape(*x.shape, 2)

    def vjp(self, g: Any, z: Any, x: Any) -> tuple[Any, ...]:
        return (lambda: conjugate(from_pairs(g)),)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((3,), (), (2, 1), (0, 2)):
            yield (draw(shape, kinds="c"),), {}


class FromPairs(Op):
    """The real operand's memory as complex numbers, whose parts are along its last axis of 2."""

    name = "from_pairs"
    batch = leading
    view = True

    def infer(self, x: Type) -> Type:
        if not x.rank:
            raise ValueError(f"from_pairs takes a last axis of 2, got {x}")
        sizes.unify(x.shape[-1], 2)
        return Type(complex_dtype(x.dtype), x.shape[:-1])

    def eager(self, x: Any) -> Any:
        return np.ascontiguousarray(x).view(complex_dtype(dtypes.as_dtype(x.dtype)).np)[..., 0]

    def vjp(self, g: Any, z: Any, x: Any) -> tuple[Any, ...]:
        return (lambda: to_pairs(conjugate(g)),)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((3, 2), (2,), (2, 1, 2), (0, 2)):
            yield (draw(shape),), {}


class Pair(Op):
    """z[..., 0] = x and z[..., 1] = y, of two arrays of one type."""

    name = "pair"
    batch = leading
    same_dtype = None

    def infer(self, x: Type, y: Type) -> Type:
        if x.dtype is not y.dtype or x.rank != y.rank:
            raise TypeError(f"pair takes operands of one type, got {x} and {y}")
        return x.with_shape((*(sizes.unify(a, b) for a, b in zip(x.shape, y.shape, strict=True)), 2))

    def eager(self, x: Any, y: Any) -> Any:
        return np.stack([x, y], axis=-1)

    def vjp(self, g: Any, z: Any, x: Any, y: Any) -> tuple[Any, ...]:
        return (lambda: along_pairs(g, 0), lambda: along_pairs(g, 1))

    def at(self, index: tuple[Expr, ...], x: Any, y: Any) -> Expr:
        return expr.select(expr.compare("eq", index[-1], 0), x[index[:-1]], y[index[:-1]])

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((3,), (), (2, 1, 2), (0, 3), (2, 2)):
            yield (draw(shape), draw(shape)), {}


to_pairs, from_pairs, pair = register(ToPairs()), register(FromPairs()), register(Pair())


def along_pairs(x: Any, which: int) -> Any:
    """Element `which` along a last axis of 2."""
    lead = x.dims[:-1]
    ones = (1,) * len(x.dims)
    return slice_(x, begin=(0,) * len(lead) + (which,), size=(*lead, 1), stride=ones, drop=(len(lead),))


class Parts:
    """A complex operand, or result, of a parted form: its real part `re` and imaginary part `im`, real tensors of one shape.

    Made from the parts or from `pairs`, the array of both; each is written when it is first asked for. `known` is the number
    itself where it is written in the program.
    """

    def __init__(self, re: Any = None, im: Any = None, *, pairs: Any = None, known: complex | None = None) -> None:
        self._re, self._im, self._pairs, self.known = re, im, pairs, known

    @property
    def re(self) -> Any:
        if self._re is None:
            self._re = along_pairs(self._pairs, 0)
        return self._re

    @property
    def im(self) -> Any:
        if self._im is None:
            self._im = along_pairs(self._pairs, 1)
        return self._im

    @property
    def pairs(self) -> Any:
        if self._pairs is None:
            self._pairs = pair(self.re, self.im)
        return self._pairs

    @property
    def dims(self) -> tuple[Dim, ...]:
        return self._pairs.dims[:-1] if self._re is None else self._re.dims

    @property
    def dtype(self) -> DType:
        return complex_dtype((self._pairs if self._re is None else self._re).dtype)

    def each(self, f: Callable[[Any], Any]) -> Parts:
        """`f` of both parts."""
        return Parts(f(self.re), f(self.im))

    def made(self) -> Iterator[tuple[str, Any]]:
        """What there is of it so far, by name."""
        return ((k, x) for k, x in (("re", self._re), ("im", self._im), ("pairs", self._pairs)) if x is not None)

    def shaped(self, shape: tuple[Dim, ...]) -> Parts:
        """The same with both parts repeated to `shape`."""
        if self._re is None or all(x.dims == shape for x in (self.re, self.im)):
            return self
        return Parts(*(broadcast_like(x, shape) for x in (self.re, self.im)), known=self.known)

"""What can stand in an expression: Python's operators on tensors, symbols and variables, each a call of an op.

`Operand` is the mixin, `Tensor` the base of eager and symbolic tensors (`tf.Tensor`). A class that mixes it in has `dtype`
(a `DType`), `dims` (a tuple of dims) and carries out ops on itself or is recorded by the thread's recorder.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.ops import elementwise as e
from tapejit.ops.indexing import getitem
from tapejit.ops.matmul import matmul


def _true_divide(x: Any, y: Any) -> Any:
    """`x / y` as TensorFlow divides: integers as float64 (8 and 16 bits as float32)."""
    typed = x if isinstance(x, Operand) else y
    if typed.dtype.kind in "iu":
        wide = dtypes.float32 if typed.dtype.bits <= 16 else dtypes.float64
        x, y = (e.cast(v, dtype=wide) if isinstance(v, Operand) else v for v in (x, y))
    return e.div(x, y)


def _may_meet(x: Any, y: Any) -> bool:
    """Whether two shapes broadcast as far as is known. What has shapes that do not is not equal, which is no error (`==` of TensorFlow)."""
    pairs = zip(reversed(_sizes(x)), reversed(_sizes(y)), strict=False)
    return all(not (isinstance(m, int) and isinstance(n, int)) or m == n or 1 in (m, n) for m, n in pairs)


def _sizes(x: Any) -> tuple[Dim, ...]:
    """The shape of something to be compared, without converting it."""
    outer: list[Dim] = []
    while isinstance(x, list | tuple) and x:
        outer.append(len(x))
        x = x[0]
    return (*outer, *(x.dims if isinstance(x, Operand) else x.shape if isinstance(x, np.ndarray) else ()))


class Operand:
    """Python's operators, by TensorFlow's rules: no dtype promotion, numbers take the dtype of the tensor they meet."""

    __slots__ = ()
    dtype: DType
    dims: tuple[Dim, ...]
    __array_priority__ = 100  # ndarray + tensor is a tensor

    def __add__(self, o: Any) -> Any:
        return e.add(self, o)

    def __radd__(self, o: Any) -> Any:
        return e.add(o, self)

    def __sub__(self, o: Any) -> Any:
        return e.sub(self, o)

    def __rsub__(self, o: Any) -> Any:
        return e.sub(o, self)

    def __mul__(self, o: Any) -> Any:
        return e.logical_and(self, o) if self.dtype is dtypes.bool_ else e.mul(self, o)

    def __rmul__(self, o: Any) -> Any:
        return e.logical_and(o, self) if self.dtype is dtypes.bool_ else e.mul(o, self)

    def __truediv__(self, o: Any) -> Any:
        return _true_divide(self, o)

    def __rtruediv__(self, o: Any) -> Any:
        return _true_divide(o, self)

    def __floordiv__(self, o: Any) -> Any:
        return e.floordiv(self, o)

    def __rfloordiv__(self, o: Any) -> Any:
        return e.floordiv(o, self)

    def __mod__(self, o: Any) -> Any:
        return e.mod(self, o)

    def __rmod__(self, o: Any) -> Any:
        return e.mod(o, self)

    def __pow__(self, o: Any) -> Any:
        return e.pow_(self, o)

    def __rpow__(self, o: Any) -> Any:
        return e.pow_(o, self)

    def __matmul__(self, o: Any) -> Any:
        return matmul(self, o)

    def __rmatmul__(self, o: Any) -> Any:
        return matmul(o, self)

    def __neg__(self) -> Any:
        return e.neg(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return e.abs_(self)

    def __lt__(self, o: Any) -> Any:
        return e.less(self, o)

    def __le__(self, o: Any) -> Any:
        return e.less_equal(self, o)

    def __gt__(self, o: Any) -> Any:
        return e.greater(self, o)

    def __ge__(self, o: Any) -> Any:
        return e.greater_equal(self, o)

    def __getitem__(self, key: Any) -> Any:
        return getitem(self, key)

    def __eq__(self, o: object) -> Any:
        return False if o is None else e.equal(self, o) if _may_meet(self, o) else e.full(shape=(), value=False, dtype=dtypes.bool_)

    def __ne__(self, o: object) -> Any:
        return True if o is None else e.not_equal(self, o) if _may_meet(self, o) else e.full(shape=(), value=True, dtype=dtypes.bool_)

    def __invert__(self) -> Any:
        return e.logical_not(self) if self.dtype is dtypes.bool_ else e.bitwise_not(self)

    def __and__(self, o: Any) -> Any:
        return e.logical_and(self, o) if self.dtype is dtypes.bool_ else e.bitwise_and(self, o)

    def __rand__(self, o: Any) -> Any:
        return e.logical_and(o, self) if self.dtype is dtypes.bool_ else e.bitwise_and(o, self)

    def __or__(self, o: Any) -> Any:
        return e.logical_or(self, o) if self.dtype is dtypes.bool_ else e.bitwise_or(self, o)

    def __ror__(self, o: Any) -> Any:
        return e.logical_or(o, self) if self.dtype is dtypes.bool_ else e.bitwise_or(o, self)

    def __xor__(self, o: Any) -> Any:
        return e.logical_xor(self, o) if self.dtype is dtypes.bool_ else e.bitwise_xor(self, o)

    def __rxor__(self, o: Any) -> Any:
        return e.logical_xor(o, self) if self.dtype is dtypes.bool_ else e.bitwise_xor(o, self)


class Tensor(Operand):
    """A multi-dimensional array of one dtype: eager (it has its value) or symbolic (a line of a graph being recorded)."""

    __slots__ = ()

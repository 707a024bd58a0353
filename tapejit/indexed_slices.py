"""`tf.IndexedSlices`: rows of a tensor that is zero elsewhere, as gradients of `tf.gather` have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optree

from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.ir.op import thread
from tapejit.nest import COMPOSITES
from tapejit.ops.creation import shape_vector
from tapejit.ops.elementwise import cast
from tapejit.ops.gathering import segment
from tapejit.ops.joining import concat
from tapejit.tensor import convert_to_tensor, dims_of

__all__ = ["IndexedSlices"]


class IndexedSlices:
    """The tensor of shape `dense_shape` whose row `indices[i]` is the sum of all `values[i]` with that index, and 0 elsewhere.

    Equal indices are kept apart until the tensor is made dense, which `tf.convert_to_tensor` and every op does. Sums with another
    one stay sparse, sums with a tensor are dense; a scalar factor goes to the values. Traced functions take and return it, and loops and
    branches carry it on, as the tensors it consists of.
    """

    __slots__ = ("_indices", "_shape", "_values")

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self._values, self._indices = convert_to_tensor(values), convert_to_tensor(indices)
        self._shape = None if dense_shape is None else dims_of(dense_shape)

    @property
    def _dense(self) -> tuple[Dim, ...] | None:
        if not isinstance(self._shape, tuple | None):  # put together again from its parts
            self._shape = dims_of(self._shape)
        return self._shape

    @property
    def values(self) -> Any:
        """The rows, one per index."""
        return self._values

    @property
    def indices(self) -> Any:
        """Which row each of `values` belongs to."""
        return self._indices

    @property
    def dense_shape(self) -> Any:
        """The shape of the tensor it stands for, as a vector; None if it was not given."""
        return None if self._dense is None else shape_vector(dims=self._dense, dtype=dtypes.int32)

    @property
    def shape(self) -> TensorShape:
        if self._dense is None:
            return TensorShape([None, *self._values.dims[1:]])
        return TensorShape(self._dense)

    @property
    def dtype(self) -> DType:
        return self._values.dtype

    @property
    def device(self) -> str:
        return "/job:localhost/replica:0/task:0/device:CPU:0"

    def to_tensor(self) -> Any:
        """The dense tensor. ValueError without a `dense_shape`."""
        if self._dense is None:
            raise ValueError(
                "Tensor conversion requested for IndexedSlices without dense_shape; give tf.IndexedSlices(values, indices, dense_shape)"
            )
        return segment(self._values, self._indices, size=self._dense[0])

    def numpy(self) -> Any:
        """The dense value."""
        return self.to_tensor().numpy()

    def with_values(self, values: Any) -> IndexedSlices:
        """Other rows at the same indices."""
        return IndexedSlices(values, self._indices, self._dense)

    def __add__(self, other: Any) -> Any:
        if isinstance(other, IndexedSlices):
            if self._dense is not None and other._dense is not None:
                for a, b in zip(self._dense, other._dense, strict=True):
                    sizes.unify(a, b)
            return joined([self, other])
        return self.to_tensor() + other

    def __radd__(self, other: Any) -> Any:
        return other + self.to_tensor()

    def __sub__(self, other: Any) -> Any:
        return self + -other

    def __rsub__(self, other: Any) -> Any:
        return other - self.to_tensor()

    def __neg__(self) -> IndexedSlices:
        return self.with_values(-self._values)

    def __mul__(self, other: Any) -> Any:
        scalar = not getattr(other, "dims", ()) and not getattr(other, "shape", ())
        return self.with_values(self._values * other) if scalar else self.to_tensor() * other

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        scalar = not getattr(other, "dims", ()) and not getattr(other, "shape", ())
        return self.with_values(self._values / other) if scalar else self.to_tensor() / other

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.to_tensor().__array__(dtype)

    def __repr__(self) -> str:
        shape = self.dense_shape if thread.recorder is None else self._dense  # while a function is traced, text adds no line to it
        return f"IndexedSlices(indices={self._indices!s}, values={self._values!s}, dense_shape={shape!s})"


def joined(parts: Sequence[IndexedSlices]) -> IndexedSlices:
    """The sum of one or more: all their rows. Indices of several dtypes become int64."""
    first, *more = parts
    if not more:
        return first
    indices = [x._indices for x in parts]
    if len({i.dtype for i in indices}) > 1:
        indices = [cast(i, dtype=dtypes.int64) for i in indices]
    shape = next((x._dense for x in parts if x._dense is not None), None)
    return IndexedSlices(concat(*(x._values for x in parts), axis=0), concat(*indices, axis=0), shape)


def _parts(x: IndexedSlices) -> tuple[tuple[Any, ...], tuple[Dim, ...] | None]:
    """The tensors that it consists of, and its shape, which is among them if sizes in it are not known yet."""
    known = x._dense is None or all(isinstance(d, int) for d in x._dense)
    return ((x._values, x._indices), x._dense) if known else ((x._values, x._indices, x.dense_shape), None)


def _whole(shape: tuple[Dim, ...] | None, parts: tuple[Any, ...]) -> IndexedSlices:
    """What has these parts, which may be specs or anything else that stands for tensors."""
    out = object.__new__(IndexedSlices)
    out._values, out._indices, out._shape = (*parts, shape)[:3]
    return out


optree.register_pytree_node(IndexedSlices, _parts, _whole, namespace=COMPOSITES)  # type: ignore[arg-type]

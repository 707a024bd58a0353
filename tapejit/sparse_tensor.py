"""`tf.SparseTensor`: the elements of a tensor that are not zero, by their places."""

from __future__ import annotations

from typing import Any

import optree

from tapejit.arrays import reshape
from tapejit.casting import cast
from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import DType
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.nest import COMPOSITES
from tapejit.ops.creation import shape_vector
from tapejit.selection import gather, gather_nd
from tapejit.tensor import convert_to_tensor, dims_of

__all__ = ["SparseTensor"]


class SparseTensor:
    """The tensor of shape `dense_shape` with `values[i]` at the place `indices[i]`, and 0 elsewhere.

    `indices` is an int64 matrix with a row per element and a column per axis, `values` a vector. Places are expected to be distinct and
    in row-major order, which is not checked (`tf.sparse.reorder` sees to it). The values are an ordinary tensor: what is computed
    from them is recorded and differentiated as everything else. ValueError for parts that do not fit together.
    """

    __slots__ = ("_dims", "_indices", "_open", "_values")

    def __init__(self, indices: Any, values: Any, dense_shape: Any) -> None:
        self._indices, self._values = cast(convert_to_tensor(indices), dtypes.int64), convert_to_tensor(values)
        dims = dims_of(dense_shape)
        self._dims: Any = dims
        self._open: Any = None  # the sizes that are known beforehand, with None for the others, and the vector of all
        rows, columns = self._indices.dims, self._values.dims
        fits = len(rows) == 2 and len(columns) == 1 and rows[1] == len(dims)
        if not fits or (sizes.is_known((rows[0], columns[0])) and rows[0] != columns[0]):
            raise ValueError(
                places.with_place(
                    f"tf.SparseTensor: expected indices of shape [n, {len(dims)}] and values of shape [n] for a dense_shape of "
                    f"{len(dims)} axes, got indices of shape {self._indices.shape} and values of shape {self._values.shape}"
                )
            )

    @property
    def indices(self) -> Any:
        """The place of each value: int64, [n, rank]."""
        return self._indices

    @property
    def values(self) -> Any:
        """The elements at these places: [n]."""
        return self._values

    @property
    def dims(self) -> tuple[Dim, ...]:
        """The sizes of the tensor it stands for."""
        if self._dims is None:
            known, vector = self._open
            self._dims = tuple(k if d is None else d for d, k in zip(known, dims_of(vector), strict=True))
        return self._dims

    @property
    def dense_shape(self) -> Any:
        """The sizes as an int64 vector."""
        return shape_vector(dims=self.dims, dtype=dtypes.int64)

    @property
    def shape(self) -> TensorShape:
        return TensorShape(self.dims)

    def get_shape(self) -> TensorShape:
        return self.shape

    @property
    def dtype(self) -> DType:
        return self._values.dtype

    @property
    def device(self) -> str:
        return self._values.device

    def with_values(self, new_values: Any) -> SparseTensor:
        """Other values at the same places."""
        return self.at(self._indices, convert_to_tensor(new_values), self.dims)

    @classmethod
    def at(cls, indices: Any, values: Any, dims: tuple[Dim, ...]) -> SparseTensor:
        """The sparse tensor of parts that are known to fit."""
        return cls.from_parts(dims, (indices, values))

    def met_by(self, dense: Any) -> Any:
        """What of a dense tensor, broadcast to the sizes of this one, is at its places: [n], or a scalar.

        ValueError if the tensor has more axes, or is longer along one.
        """
        dims = self.dims
        first = len(dims) - len(dense.dims)
        ones = [isinstance(d, int) and d == 1 for d in dense.dims]
        if first < 0 or any(isinstance(d, int) and d == 1 and not one for d, one in zip(dims[first:], ones, strict=True)):
            raise ValueError(
                places.with_place(f"a dense tensor of shape {dense.shape} does not broadcast to the shape {self.shape} of a sparse one")
            )
        kept = [first + k for k, one in enumerate(ones) if not one]
        dense = reshape(dense, [d for d, one in zip(dense.dims, ones, strict=True) if not one])
        return gather_nd(dense, gather(self._indices, kept, axis=1)) if kept else dense

    def __mul__(self, other: Any) -> SparseTensor:
        """The products with a dense tensor that broadcasts to this one, or with a number."""
        return self.with_values(self._values * self._dense(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> SparseTensor:
        """The quotients by a dense tensor that broadcasts to this one, or by a number; the places stay, also where that is 0."""
        return self.with_values(self._values / self._dense(other))

    def _dense(self, other: Any) -> Any:
        if isinstance(other, SparseTensor):
            raise TypeError(places.with_place("sparse tensors times or by sparse ones: write tf.sparse.to_dense for one of them"))
        return self.met_by(other if hasattr(other, "dims") else convert_to_tensor(other, self.dtype))

    # --------------------------------------------------------------------------------- as a composite
    def to_parts(self) -> tuple[tuple[Any, ...], Any]:
        """Indices and values; where sizes are left open all go with them as a vector."""
        if self._open is None:
            dims = self.dims
            if all(isinstance(d, int) for d in dims):
                return (self._indices, self._values), dims
            self._open = tuple(d if isinstance(d, int) else None for d in dims), self.dense_shape
        known, vector = self._open
        return (self._indices, self._values, vector), known

    @classmethod
    def from_parts(cls, rest: Any, parts: tuple[Any, ...]) -> SparseTensor:
        self = object.__new__(cls)
        self._indices, self._values, *vector = parts
        self._dims, self._open = (None, (rest, vector[0])) if vector else (rest, None)
        return self

    def __repr__(self) -> str:
        return f"SparseTensor(indices={self._indices!r}, values={self._values!r}, shape={self._open[0] if self._dims is None else self._dims!r})"


optree.register_pytree_node(SparseTensor, SparseTensor.to_parts, SparseTensor.from_parts, namespace=COMPOSITES)  # type: ignore[arg-type]


def opened(x: SparseTensor) -> SparseTensor:
    """`x` with the first of its sizes as a value, so that one trace serves every number of rows."""
    return SparseTensor.from_parts((None, *x.dims[1:]), (x.indices, x.values, x.dense_shape))

"""`tf.TensorArray`: a list of tensors that loops write and read by index.

In: tensors, written at indices. Out: them again, one by one or stacked. It is a list as long as every index is known; where one is not,
in a traced function, it is one tensor whose rows are the elements. Loops carry it as such a tensor (see `control`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from tapejit.arrays import unstack
from tapejit.core import dtypes, places
from tapejit.core.dtypes import DType, as_dtype
from tapejit.core.errors import InvalidArgumentError, OutOfRangeError
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.ir.op import thread
from tapejit.ops import elementwise as e
from tapejit.ops.gathering import elements, in_range, scatter
from tapejit.ops.joining import concat, split, stack
from tapejit.ops.shapes import reshape
from tapejit.ops.slicing import axis_slice, scalar_of
from tapejit.tensor import constant, convert_to_tensor, dims_of

__all__ = ["TensorArray"]

Shape = tuple[Dim, ...]


class TensorArray:
    """`tf.TensorArray(dtype, size)`: `write`, `read`, `stack`, `unstack`, `gather`, `concat`, ...; each that changes it returns it.

    `dynamic_size=True` lets it grow. Outside traced functions an element is gone once it has been read, unless `clear_after_read=False`.
    OutOfRangeError (while a traced function runs: InvalidArgumentError) for an index it does not have.
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Any = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        if handle is not None:
            raise NotImplementedError(
                places.with_place("tf.TensorArray(handle=...): a TensorArray has no handle; pass the TensorArray itself")
            )
        self._dtype = as_dtype(dtype)
        self._dynamic, self._clear = bool(dynamic_size), clear_after_read is not False
        self._declared = TensorShape(element_shape)
        (count,) = dims_of([0 if size is None else size])
        self._items: list[Any] | None = [None] * count if isinstance(count, int) else None
        self._gone: set[int] = set()
        self._rows = count  # what follows is used where it is one tensor
        self._dense: Any = None
        self._length: Any = None  # how many of the rows are in use, where not all are
        self._entry: Callable[[Shape], Any] | None = None  # makes the tensor, once the shape of an element is known
        self._fixed = False  # a loop has made room for all it will hold

    # ------------------------------------------------------------------------------------ what it is
    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def element_shape(self) -> TensorShape:
        """The shape of an element as far as it is known."""
        known = self.element()
        return self._declared if known is None else TensorShape(known)

    @property
    def dynamic_size(self) -> bool:
        return self._dynamic

    @property
    def handle(self) -> None:
        """None: there is no handle."""
        return None

    @property
    def flow(self) -> Any:
        """A scalar that stands for its state in TensorFlow's graphs; here always 0."""
        return constant(0.0)

    def element(self) -> Shape | None:
        """The shape of an element, if it is known."""
        if self._dense is not None:
            return tuple(self._dense.dims[1:])
        found = next((x for x in self._items or () if x is not None), None)
        if found is not None:
            return tuple(found.dims)
        return tuple(d for d in self._declared if d is not None) if self._declared.is_fully_defined() else None

    def rows(self) -> Dim:
        """How many elements it has room for."""
        return len(self._items) if self._items is not None else self._rows

    def size(self, name: str | None = None) -> Any:
        """How many elements it has (int32)."""
        if self._items is not None:
            return constant(len(self._items))
        return scalar_of(self._rows, dtypes.int32) if self._length is None else self._length

    # --------------------------------------------------------------------------------- as one tensor
    def whole(self, element: Shape | None = None) -> Any:
        """All elements as the rows of one tensor, zeros where none was written. ValueError if the shape of an element is not known."""
        if self._dense is not None:
            return self._dense
        known = self.element()
        element = known if known is not None else element
        if element is None:
            raise ValueError(
                places.with_place(
                    "the shape of the elements of this TensorArray is not known here; write tf.TensorArray(..., element_shape=[...])"
                )
            )
        if self._entry is not None:
            self._dense = self._entry(element)
            return self._dense
        if not self._items or all(x is None for x in self._items):
            return e.full(shape=(self.rows(), *element), value=False if self._dtype.kind == "b" else 0, dtype=self._dtype)
        return stack(*(self._zeros(element) if x is None else x for x in self._items))

    def of(self, dense: Any, length: Any = None, fixed: bool = False) -> TensorArray:
        """This TensorArray with the rows of `dense` as its elements, of which the first `length` are in use."""
        out = copy.copy(self)
        out._items, out._rows, out._dense, out._length, out._fixed, out._entry = None, dense.dims[0], dense, length, fixed, None
        return out

    def awaiting(self, rows: Dim, length: Any, entry: Callable[[Shape], Any]) -> TensorArray:
        """This TensorArray with `rows` rows of a tensor that `entry` makes from the shape of an element when it is known."""
        out, known = copy.copy(self), self.element()
        if known is not None:
            out._declared = TensorShape(known)
        out._items, out._rows, out._dense, out._length, out._fixed, out._entry = None, rows, None, length, True, entry
        return out

    def untouched(self) -> bool:
        """Whether nobody has asked for the tensor that `awaiting` promised."""
        return self._entry is not None and self._dense is None

    def _zeros(self, element: Shape | None = None) -> Any:
        element = self.element() if element is None else element
        if element is None:
            raise ValueError(
                places.with_place("this element was not written and its shape is not known; write tf.TensorArray(..., element_shape=[...])")
            )
        return e.full(shape=element, value=False if self._dtype.kind == "b" else 0, dtype=self._dtype)

    # ------------------------------------------------------------------------------- one at a time
    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """With `value` at `index`. OutOfRangeError beyond the size unless it is dynamic; InvalidArgumentError for another dtype."""
        value, at = self._value(value), _index(index)
        if self._items is not None and isinstance(at, int):
            out = self
            if thread.recorder is not None:
                out = copy.copy(self)
                out._items = list(self._items)
            out._set(at, value)
            return out
        dense, length = self.whole(tuple(value.dims)), self._length
        ids = convert_to_tensor(at)
        if self._dynamic:
            used = e.maximum(self.size(), e.cast(ids, dtype=dtypes.int32) + 1)
            if not self._fixed:
                dense = enlarged(dense, e.maximum(scalar_of(dense.dims[0], dtypes.int64), e.cast(used, dtype=dtypes.int64)).as_dim("N"))
            if self._fixed or length is not None:
                length = used
        ids = in_range(reshape(ids, shape=(1,)), limit=dense.dims[0])
        return self.of(scatter(dense, ids, reshape(value, shape=(1, *value.dims))), length, self._fixed)

    def _value(self, value: Any) -> Any:
        value = convert_to_tensor(value) if hasattr(value, "dims") else convert_to_tensor(value, dtype_hint=self._dtype)
        if value.dtype is not self._dtype:
            raise InvalidArgumentError(
                places.with_place(
                    f"TensorArray dtype is {self._dtype.name} but Op is trying to write dtype {value.dtype.name}; write tf.cast"
                )
            )
        fits = self._declared.is_compatible_with(value.shape)
        if fits and self._dense is not None:
            fits = TensorShape(self._dense.dims[1:]).is_compatible_with(value.shape)
        if not fits:
            raise ValueError(places.with_place(f"Incompatible shape for value ({value.shape}), expected ({self.element_shape})"))
        return value

    def _set(self, at: int, value: Any) -> None:
        assert self._items is not None
        if at < 0:
            raise OutOfRangeError(places.with_place(f"Writing to negative indices (index {at}) is not allowed."))
        if at >= len(self._items):
            if not self._dynamic:
                raise OutOfRangeError(
                    places.with_place(f"Tried to write to index {at} but array is not resizeable and size is: {len(self._items)}")
                )
            self._items.extend([None] * (at + 1 - len(self._items)))
        self._items[at] = value

    def read(self, index: Any, name: str | None = None) -> Any:
        """The element at `index`."""
        at = _index(index)
        if self._items is None or not isinstance(at, int):
            dense = self.whole()
            return elements(dense, in_range(convert_to_tensor(at), limit=dense.dims[0]))
        if at < 0:
            raise OutOfRangeError(places.with_place(f"Reading from negative indices (index {at}) is not allowed."))
        if at >= len(self._items):
            raise OutOfRangeError(places.with_place(f"Tried to read from index {at} but array size is: {len(self._items)}"))
        found = self._items[at]
        if found is None:
            if at in self._gone:
                raise InvalidArgumentError(
                    places.with_place(
                        f"Could not read index {at} twice because it was cleared after a previous read (perhaps try setting clear_after_read = false?)"
                    )
                )
            found = self._zeros()
        if self._clear and thread.recorder is None:
            self._items[at] = None
            self._gone.add(at)
        return found

    # ---------------------------------------------------------------------------------- all at once
    def stack(self, name: str | None = None) -> Any:
        """All elements along a new first axis."""
        if self._items is not None and not self._items and self.element() is None:
            return e.full(shape=(0,), value=0, dtype=self._dtype)
        dense = self.whole()
        return dense if self._length is None else axis_slice(dense, 0, 0, self._length.as_dim("N"))

    def concat(self, name: str | None = None) -> Any:
        """All elements joined along their own first axis."""
        if self._items:
            return concat(*(self._zeros() if x is None else x for x in self._items), axis=0)
        whole = self.stack()
        if len(whole.dims) < 2:
            raise ValueError(places.with_place("TensorArray.concat: the elements are scalars; write stack"))
        return reshape(whole, shape=(whole.dims[0] * whole.dims[1], *whole.dims[2:]))

    def gather(self, indices: Any, name: str | None = None) -> Any:
        """The elements at `indices` along a new first axis."""
        dense = self.whole()
        ids = convert_to_tensor(indices) if hasattr(indices, "dims") else convert_to_tensor(indices, dtypes.int32)
        return elements(dense, in_range(ids, limit=dense.dims[0]))

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """With the slices of `value` along its first axis as elements. ValueError if there are more than it has room for."""
        whole = self._checked(convert_to_tensor(value) if hasattr(value, "dims") else convert_to_tensor(value, dtype_hint=self._dtype))
        count, room = whole.dims[0], self.rows()
        if isinstance(count, int) and isinstance(room, int) and count > room and not self._dynamic:
            raise ValueError(places.with_place(f"Cannot unstack {count} tensors into a TensorArray of static size {room}"))
        if thread.recorder is not None:
            return self.of(whole)
        self._items, self._gone = unstack(whole), set()
        return self

    def _checked(self, rows: Any) -> Any:
        if rows.dtype is not self._dtype:
            raise InvalidArgumentError(
                places.with_place(
                    f"TensorArray dtype is {self._dtype.name} but Op is trying to write dtype {rows.dtype.name}; write tf.cast"
                )
            )
        if not rows.dims:
            raise ValueError(places.with_place("TensorArray.unstack: expected a tensor of rank 1 or more, got a scalar"))
        return rows

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """With the slices of `value` along its first axis at `indices`."""
        rows = self._checked(convert_to_tensor(value) if hasattr(value, "dims") else convert_to_tensor(value, dtype_hint=self._dtype))
        ids = convert_to_tensor(indices) if hasattr(indices, "dims") else convert_to_tensor(indices, dtypes.int32)
        count = ids.dims[0]
        if isinstance(count, int) and (self._dynamic or hasattr(ids, "numpy_view")):
            out = self
            for k, row in enumerate(unstack(rows)):
                out = out.write(ids[k], row)
            return out
        dense = self.whole(tuple(rows.dims[1:]))
        return self.of(scatter(dense, in_range(ids, limit=dense.dims[0]), rows), self._length, self._fixed)

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """With consecutive pieces of `value` of the given lengths as elements."""
        rows = self._checked(convert_to_tensor(value) if hasattr(value, "dims") else convert_to_tensor(value, dtype_hint=self._dtype))
        counts = dims_of(lengths)
        if self._items is not None and not self._dynamic and len(counts) != len(self._items):
            raise InvalidArgumentError(
                places.with_place(
                    f"TensorArray's size is not equal to the size of lengths ({len(self._items)} vs. {len(counts)}), and the TensorArray is not "
                    "marked as dynamically resizeable"
                )
            )
        total = sum(counts[1:], counts[0])
        if isinstance(total, int) and isinstance(rows.dims[0], int) and total != rows.dims[0]:
            raise InvalidArgumentError(
                places.with_place(
                    f"Expected sum of lengths to be equal to values.shape[0], but sum of lengths is {total} and value's shape is: {rows.shape}"
                )
            )
        out = self if thread.recorder is None else copy.copy(self)
        out._items, out._gone, out._dense, out._length = split(rows, counts, 0), set(), None, None
        return out

    def identity(self) -> TensorArray:
        """Itself."""
        return self

    def close(self, name: str | None = None) -> None:
        """Forget the elements."""
        self._items, self._dense = [], None

    def __repr__(self) -> str:
        return f"<tf.TensorArray dtype={self._dtype.name} size={self.rows()} element_shape={self.element_shape}>"


def _index(index: Any) -> Any:
    """An index as an int where it is known, else as a tensor."""
    if isinstance(index, int | np.integer):
        return int(index)
    at = convert_to_tensor(index)
    known = at.known_dim()
    return known if isinstance(known, int) else at


def enlarged(dense: Any, rows: Dim) -> Any:
    """`dense` with zeros behind its rows up to `rows` of them."""
    if dense.dims[0] == rows:
        return dense
    more = e.full(shape=(rows - dense.dims[0], *dense.dims[1:]), value=False if dense.dtype.kind == "b" else 0, dtype=dense.dtype)
    return concat(dense, more, axis=0) if not isinstance(dense.dims[0], int) or dense.dims[0] else more

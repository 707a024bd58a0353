"""What goes through branches and loops that are recorded: tensors, numbers and TensorArrays as values of nested graphs.

In: the leaves of loop variables and of what branches return. Out: values of the graph being recorded, with the errors that name the leaf
whose dtype or shape does not stay.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import DType
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.graph import Value
from tapejit.ir.names import identifier
from tapejit.ir.op import thread
from tapejit.ops import elementwise as e
from tapejit.ops.joining import concat
from tapejit.ops.slicing import axis_slice, scalar_of
from tapejit.record.recorder import Recorder, recording
from tapejit.tensor import convert_to_tensor
from tapejit.tensor_array import TensorArray, enlarged


def as_value(recorder: Recorder, x: Any, dtype: DType | None = None) -> Value:
    """Whatever a branch or body returns for a tensor, as a value of the graph being recorded."""
    if hasattr(x, "dims") or hasattr(x, "to_tensor"):
        x = convert_to_tensor(x)
    return recorder.builder.literal(recorder.operand(x, dtype))


def shape_text(type_: Type) -> TensorShape:
    """The shape of a type as users see it."""
    return TensorShape(type_.shape)


def agree(a: Type, b: Type) -> bool:
    """Whether two types may be one."""
    if a.rank != b.rank:
        return False
    with sizes.assuming():
        try:
            for x, y in zip(a.shape, b.shape, strict=True):
                sizes.unify(x, y)
        except ValueError:
            return False
    return True


def fits(x: Any, dtype: DType | None) -> bool:
    """Whether a Python number becomes one of `dtype` without loss of meaning: 1 may be a float, 1.5 no integer."""
    if dtype is None or isinstance(x, np.ndarray | np.generic):
        return False
    kind = np.asarray(x).dtype.kind
    return dtype.kind == "b" if kind == "b" else dtype.kind in "iufc" if kind in "iu" else dtype.kind in "fc"


def tensorlike(x: Any) -> bool:
    return (
        isinstance(x, bool | int | float | complex | np.generic | np.ndarray | TensorArray) or hasattr(x, "dims") or hasattr(x, "to_tensor")
    )


class TensorVariable:
    """A loop variable that is a tensor."""

    def __init__(self, label: str, given: Any) -> None:
        self.label = label
        self.given = convert_to_tensor(given)
        self.type = Type(self.given.dtype, tuple(self.given.dims))

    def enter(self, inner: Recorder) -> Any:
        """The variable as the graph of `inner` sees it."""
        return GraphTensor(inner.builder.parameter(self.label, self.type), inner)

    def parameters(self, inner: Recorder, seen: Any) -> list[Value]:
        """The parameters that stand for it there."""
        return [seen.value]

    def leave(self, inner: Recorder, seen: Any, out: Any, hint: str) -> list[Value]:
        """What the body returns for it. TypeError or ValueError if that is of another type; `hint` says how a shape may be left open."""
        (value,) = self._checked(inner, out)
        if value.type.dtype is not self.type.dtype:
            raise TypeError(
                places.with_place(
                    f"'{self.label}' has dtype {self.type.dtype.name} before the loop, but dtype {value.type.dtype.name} after one iteration; "
                    "write tf.cast"
                )
            )
        if not agree(value.type, self.type):
            said = (
                f"'{self.label}' has shape {shape_text(self.type)} before the loop, but shape {shape_text(value.type)} after one iteration."
            )
            raise ValueError(places.with_place(f"{said} {hint}"))
        return [value]

    def _checked(self, inner: Recorder, out: Any) -> tuple[Value]:
        """What the body returns for it as a value."""
        if not tensorlike(out) or isinstance(out, TensorArray):
            raise TypeError(places.with_place(f"'{self.label}' is a tensor before the loop, but {out!r} after one iteration"))
        typed = isinstance(getattr(out, "dtype", None), DType)
        return (as_value(inner, out, None if typed or not fits(out, self.type.dtype) else self.type.dtype),)

    def starts(self) -> list[Any]:
        """Its values before the loop."""
        return [self.given]

    def wrap(self, made: list[Any]) -> Any:
        """The variable after the loop, whose values are taken off the front of `made`."""
        return made.pop(0)


def size_along(x: Any, axis: int) -> Any:
    """One size of a tensor as an int64 scalar."""
    d = x.dims[axis]
    return convert_to_tensor(d, dtypes.int64) if isinstance(d, int) else scalar_of(d, dtypes.int64)


def filled(x: Any, axes: Sequence[int], shape: Sequence[Dim]) -> Any:
    """A tensor with zeros behind it along `axes`, up to the sizes that `shape` has there."""
    for axis in axes:
        if x.dims[axis] != shape[axis]:
            more = (*x.dims[:axis], shape[axis] - x.dims[axis], *x.dims[axis + 1 :])
            x = concat(x, e.full(shape=more, value=False if x.dtype.kind == "b" else 0, dtype=x.dtype), axis=axis)
    return x


def cut(x: Any, axes: Sequence[int], lengths: Sequence[Any]) -> Any:
    """The part of a tensor that has the sizes `lengths`, int64 scalars, along `axes`."""
    for axis, length in zip(axes, lengths, strict=False):
        x = axis_slice(x, axis, 0, length.as_dim("K"))
    return x


class OpenVariable(TensorVariable):
    """A loop variable that is a tensor whose sizes along `axes` change: it travels in one that has room for the largest, with its sizes.

    The room is a size that the loop's lengths, run first by themselves, have at the most.
    """

    grows = touched = True

    def __init__(self, label: str, given: Any, axes: Sequence[int], recorder: Recorder) -> None:
        super().__init__(label, given)
        self.axes = tuple(axes)
        self.rooms = [recorder.new_size(f"{identifier(label)}_room") for _ in self.axes]
        shape = list(self.type.shape)
        for axis, room in zip(self.axes, self.rooms, strict=True):
            shape[axis] = sizes.named(room)
        self.roomy = Type(self.type.dtype, tuple(shape))
        self._values: dict[int, list[Value]] = {}  # id of a recorder -> the roomy tensor, its sizes, the largest so far

    def enter(self, inner: Recorder) -> Any:
        values = [inner.builder.parameter(self.label, self.roomy)]
        values += [inner.builder.parameter(f"{self.label}_{what}", Type(dtypes.int64)) for what in ("size", "most") for _ in self.axes]
        self._values[id(inner)] = values
        with recording(inner):
            tensor, *lengths = [GraphTensor(v, inner) for v in values]
            return cut(tensor, self.axes, lengths)

    def parameters(self, inner: Recorder, seen: Any) -> list[Value]:
        return self._values[id(inner)]

    def leave(self, inner: Recorder, seen: Any, out: Any, hint: str) -> list[Value]:
        (value,) = self._checked(inner, out)
        tensor = GraphTensor(value, inner)
        if tensor.dtype is not self.type.dtype or len(tensor.dims) != self.type.rank:
            raise TypeError(places.with_place(f"'{self.label}' is {self.type} before the loop, but {value.type} after one iteration"))
        have = [size_along(tensor, axis) for axis in self.axes]
        before = [GraphTensor(v, inner) for v in self._values[id(inner)][1 + len(have) :]]
        most = [e.maximum(m, h) for m, h in zip(before, have, strict=True)]
        return [as_value(inner, x) for x in (filled(tensor, self.axes, self.roomy.shape), *have, *most)]

    def room_starts(self) -> list[Any]:
        """What the lengths begin with, where the loop runs for them alone."""
        have = [size_along(self.given, axis) for axis in self.axes]
        return [None, *have, *have]

    def room_at(self) -> list[tuple[int, str]]:
        """Where among these the room is that each size of `rooms` stands for."""
        return [(1 + len(self.axes) + k, room) for k, room in enumerate(self.rooms)]

    def starts(self) -> list[Any]:
        return [filled(self.given, self.axes, self.roomy.shape), *self.room_starts()[1:]]

    def wrap(self, made: list[Any]) -> Any:
        values, made[:] = made[: 1 + 2 * len(self.axes)], made[1 + 2 * len(self.axes) :]
        return cut(values[0], self.axes, values[1:])


class ArrayVariable:
    """A loop variable that is a TensorArray: its elements are the rows of one tensor, made when the shape of an element is known."""

    def __init__(self, label: str, given: TensorArray, recorder: Recorder) -> None:
        self.label, self.given = label, given
        self.grows = given.dynamic_size and not given._fixed
        self.capacity = sizes.named(recorder.new_size(f"{identifier(label)}_size")) if self.grows else given.rows()
        self.counted = self.grows or given._length is not None
        self.filled = True  # whether the loop fills the room it has if it grows
        self._element: Any = given.element()
        self._values: dict[int, list[Value]] = {}  # id of a recorder -> the rows, then the length

    def enter(self, inner: Recorder) -> TensorArray:
        """The variable as the graph of `inner` sees it."""
        mine = self._values.setdefault(id(inner), [])
        length = None
        if self.counted:
            mine.append(inner.builder.parameter(f"{self.label}_length", Type(dtypes.int32)))
            length = GraphTensor(mine[0], inner)

        def entry(element: Any) -> Any:
            within = itertools.takewhile(lambda at: at is not inner.outer, thread.recorder.around())
            bound = {n.out.name for at in within for n in at.graph.walk() if n.op.binds_size}
            if any(sizes.names(d) & bound for d in element):
                raise NotImplementedError(
                    places.with_place(
                        f"'{self.label}' gets elements whose size each iteration decides; pad them to one size, or collect with tf.concat in a "
                        "variable of open shape (tf.autograph.experimental.set_loop_options(shape_invariants=...))"
                    )
                )
            self._element = element
            mine.insert(0, inner.builder.parameter(self.label, Type(self.given.dtype, (self.capacity, *element))))
            return GraphTensor(mine[0], inner)

        return self.given.awaiting(self.capacity, length, entry)

    @property
    def touched(self) -> bool:
        """Whether the loop uses the elements."""
        return any(len(v) > self.counted for v in self._values.values())

    def parameters(self, inner: Recorder, seen: TensorArray) -> list[Value]:
        """The parameters that stand for it there."""
        if self.touched and seen.untouched():
            with recording(inner):
                seen.whole(self._element)
        return self._values[id(inner)]

    def leave(self, inner: Recorder, seen: TensorArray, out: Any, hint: str) -> list[Value]:
        """What the body returns for it."""
        if not isinstance(out, TensorArray) or out.dtype is not seen.dtype:
            raise TypeError(places.with_place(f"'{self.label}' is {self.given!r} before the loop, but {out!r} after one iteration"))
        length = [as_value(inner, out.size())] if self.counted else []
        if out is seen and seen.untouched():
            return length
        element = seen.element() or out.element()
        dense = out.whole(element)
        seen.whole(tuple(dense.dims[1:]))
        value = as_value(inner, dense)
        if not agree(value.type, self._values[id(inner)][0].type):
            raise ValueError(
                places.with_place(
                    f"'{self.label}' has elements of shape {self.given.element_shape} before the loop, but is {out!r} after one iteration"
                )
            )
        return [value, *length]

    def room_starts(self) -> list[Any]:
        """What the length begins with, where the loop runs for it alone."""
        return [None, self.given.size()]

    def room_at(self) -> list[tuple[int, str]]:
        """Where among these the room is that a size stands for."""
        (name,) = sizes.names(self.capacity)
        return [(1, name)]

    def starts(self) -> list[Any]:
        """Its values before the loop."""
        length = [self.given.size()] if self.counted else []
        return [enlarged(self.given.whole(self._element), self.capacity), *length] if self.touched else length

    def wrap(self, made: list[Any]) -> Any:
        """The variable after the loop, whose values are taken off the front of `made`."""
        if not self.touched:
            del made[: int(self.counted)]
            return self.given
        dense = made.pop(0)
        length = made.pop(0) if self.counted else None
        return self.given.of(dense, None if self.grows and self.filled else length, self.given._fixed)

"""`TensorSpec`: the dtype and shape an argument of a traced function must have; sizes may be open (None) or named ("B"), and so may the rank."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tapejit.core import dtypes, places
from tapejit.core.dtypes import DType
from tapejit.core.shape import TensorShape
from tapejit.ops.operand import Tensor


class TypeSpec:
    """What is known of a value without the value (`tf.TypeSpec`): of a tensor, of a dataset."""

    __slots__ = ()

    def is_compatible_with(self, spec_or_value: Any) -> bool:
        """Whether a value, or whatever another spec describes, may be such a value."""
        raise NotImplementedError(f"{type(self).__name__}.is_compatible_with")


class TensorSpec(TypeSpec):
    """TensorFlow's `tf.TensorSpec(shape, dtype, name)`. A string as size names it: specs that use one name demand one size.

    `shape` None leaves the rank open: in an `input_signature`, every rank that is met has a trace of its own.
    """

    __slots__ = ("_dtype", "_name", "_named")

    def __init__(self, shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> None:
        self._dtype, self._name = dtypes.as_dtype(dtype), name
        if isinstance(shape, TensorShape):
            shape = None if shape.rank is None else shape.as_list()
        self._named: tuple[int | str | None, ...] | None = None
        if isinstance(shape, str):
            raise TypeError(
                places.with_place(f"the shape of a tf.TensorSpec is a list of sizes, None or names, not {shape!r}; write [{shape!r}]")
            )
        if shape is not None:
            self._named = tuple(
                d if isinstance(d, str) or d is None else int(d) for d in (shape if hasattr(shape, "__iter__") else (shape,))
            )

    @property
    def shape(self) -> TensorShape:
        return TensorShape(None if self._named is None else [None if isinstance(d, str) else d for d in self._named])

    @property
    def named_shape(self) -> tuple[int | str | None, ...] | None:
        """The sizes as given: ints, names, None; or None for a rank left open."""
        return self._named

    def known_rank(self) -> tuple[int | str | None, ...]:
        """The sizes as given. NotImplementedError for a rank left open, which a traced tensor cannot have."""
        if self._named is None:
            raise NotImplementedError(
                places.with_place(
                    f"{self} as an argument: the rank of a traced tensor is always known; write TensorSpec([None, None], ...), or call with a tensor"
                )
            )
        return self._named

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def name(self) -> str | None:
        return self._name

    def _serialize(self) -> tuple[TensorShape, DType, str | None]:
        """What another spec like this is made from, as Keras writes it into configurations."""
        return self.shape, self._dtype, self._name

    @classmethod
    def from_tensor(cls, tensor: Any, name: str | None = None) -> TensorSpec:
        return cls(tensor.shape, tensor.dtype, name)

    @classmethod
    def from_spec(cls, spec: TensorSpec, name: str | None = None) -> TensorSpec:
        return cls(spec.named_shape, spec.dtype, name or spec.name)

    @property
    def value_type(self) -> type:
        """The class of what it describes."""
        return Tensor

    def is_compatible_with(self, other: Any) -> bool:
        """Whether a tensor, or a tensor that another spec describes, may be one of these."""
        return self._dtype is getattr(other, "dtype", None) and self.shape.is_compatible_with(other.shape)

    def is_subtype_of(self, other: Any) -> bool:
        """Whether every such tensor is one that `other` describes."""
        return isinstance(other, TensorSpec) and self._dtype is other.dtype and self.shape.is_subtype_of(other.shape)

    def most_specific_common_supertype(self, others: Iterable[Any]) -> TensorSpec | None:
        """The narrowest spec of these tensors and all those of `others`; None for other dtypes."""
        shape = self.shape
        for other in others:
            if not isinstance(other, TensorSpec) or other.dtype is not self._dtype:
                return None
            shape = shape.most_specific_compatible_shape(other.shape)
        return TensorSpec(shape, self._dtype, self._name)

    def most_specific_compatible_type(self, other: Any) -> TensorSpec:
        """The narrowest spec of these tensors and those of `other`. ValueError for another dtype."""
        found = self.most_specific_common_supertype([other])
        if found is None:
            raise ValueError(f"No TypeSpec is compatible with both {self} and {other}")
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorSpec) and (self._dtype, self._named, self._name) == (other._dtype, other._named, other._name)

    def __hash__(self) -> int:
        return hash((self._dtype, self._named, self._name))

    def __repr__(self) -> str:
        return f"TensorSpec(shape={self.shape}, dtype={self._dtype!r}, name={self._name!r})"


def type_spec_from_value(value: Any) -> TypeSpec:
    """The spec of a value (`tf.type_spec_from_value`). TypeError for what has none."""
    found = getattr(value, "_type_spec", None)
    if isinstance(found, TypeSpec):
        return found
    if isinstance(value, np.ndarray | np.generic) or isinstance(getattr(value, "dtype", None), DType):
        return TensorSpec(value.shape, value.dtype)
    raise TypeError(places.with_place(f"Could not build a TypeSpec for {value!r} of type {type(value).__name__}"))

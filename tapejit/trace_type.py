"""What an argument is to the cache of traces: tensors by dtype and shape, variables by type and by which of them are the same one, Python
values by value and type, any other object by identity or equality, and whatever `__tf_tracing_type__` says.

In: the leaves of a call's arguments. Out: keys that can be hashed, compared, printed as TensorFlow prints them, and asked what they accept.
"""

from __future__ import annotations

import abc
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.core.dtypes import int64
from tapejit.core.shape import TensorShape
from tapejit.ops.operand import Tensor
from tapejit.spec import TensorSpec
from tapejit.variable import Variable, variable_behind


class TraceType(abc.ABC):
    """What `__tf_tracing_type__(context)` of a class of one's own gives: it decides which traces serve which objects.

    Hashable and comparable; `is_subtype_of(other)` says that a trace for `other` takes it; `placeholder_value` is what the Python function
    is called with when it is traced. (`tf.types.experimental.TraceType`)
    """

    @abc.abstractmethod
    def is_subtype_of(self, other: TraceType) -> bool:
        """Whether a trace made for `other` serves this one."""

    @abc.abstractmethod
    def most_specific_common_supertype(self, others: Sequence[TraceType]) -> TraceType | None:
        """The narrowest type that takes this one and all others; None if there is none."""

    @abc.abstractmethod
    def placeholder_value(self, placeholder_context: Any = None) -> Any:
        """The object that stands for such arguments while the function is traced."""

    @abc.abstractmethod
    def __hash__(self) -> int: ...

    @abc.abstractmethod
    def __eq__(self, other: object) -> bool: ...


class Leaf(abc.ABC):
    """One argument as a key."""

    def accepts(self, other: Leaf) -> bool:
        """Whether an argument described by `other` may be passed for this one."""
        return self == other

    def alive(self) -> bool:
        """Whether any argument can still be described by this."""
        return True

    def merged(self, other: Leaf) -> Leaf:
        """The leaf that takes this argument and, where there is such a one, those of an earlier trace."""
        return self

    @abc.abstractmethod
    def argument(self, tensors: Iterator[Any], variables: Iterator[Any]) -> Any:
        """The argument itself in a call with such tensors and variables, of which it takes its own."""


@dataclass(frozen=True)
class TensorLeaf(Leaf):
    """A tensor; None in `shape` is a size left open, a string one that has a name."""

    dtype: Any
    shape: tuple[Any, ...]

    def accepts(self, other: Leaf) -> bool:
        return (
            isinstance(other, TensorLeaf)
            and not isinstance(other, HandleLeaf)
            and self.dtype is other.dtype
            and len(self.shape) == len(other.shape)
            and all(a == b or not isinstance(a, int) for a, b in zip(self.shape, other.shape, strict=True))
        )

    def merged(self, other: Leaf) -> Leaf:
        if not isinstance(other, TensorLeaf) or self.dtype is not other.dtype or len(self.shape) != len(other.shape):
            return self
        return TensorLeaf(self.dtype, tuple(a if a == b else None for a, b in zip(self.shape, other.shape, strict=True)))

    def exact(self, tensor: Any) -> TensorLeaf:
        """The same with no size left open, as a tensor passed for it has them."""
        return replace(self, shape=tuple(tensor.dims))

    def seen(self, tensor: Any) -> Any:
        """What the traced function sees of an argument that is `tensor` in its graph."""
        return tensor

    def argument(self, tensors: Iterator[Any], variables: Iterator[Any]) -> Any:
        return next(tensors)

    def __repr__(self) -> str:
        return f"TensorSpec(shape={TensorShape([d if isinstance(d, int) else None for d in self.shape])}, dtype={self.dtype!r}, name=None)"


@dataclass(frozen=True)
class HandleLeaf(TensorLeaf):
    """An object that a step knows by a number, which is passed in its place: a dataset or an iterator over one.

    `kind` says which objects one trace serves, `kind.seen(number)` gives what the traced function sees of them, and `kind.meant(number)` the
    object itself.
    """

    kind: Any = None

    def accepts(self, other: Leaf) -> bool:
        return self == other

    def merged(self, other: Leaf) -> Leaf:
        return self

    def seen(self, tensor: Any) -> Any:
        return self.kind.seen(tensor)

    def argument(self, tensors: Iterator[Any], variables: Iterator[Any]) -> Any:
        return self.kind.meant(next(tensors))

    def __repr__(self) -> str:
        return repr(self.kind)


@dataclass(frozen=True)
class VariableLeaf(Leaf):
    """A variable; `alias` counts distinct variables in the order they are met."""

    alias: int
    dtype: Any
    shape: tuple[Any, ...]
    trainable: bool = True

    def argument(self, tensors: Iterator[Any], variables: Iterator[Any]) -> Any:
        return next(variables)

    def __repr__(self) -> str:
        return f"VariableSpec(shape={TensorShape(self.shape)}, dtype={self.dtype!r}, trainable={self.trainable}, alias_id={self.alias})"


class LiteralLeaf(Leaf):
    """A Python value, told apart by type as well as value: 1, 1.0 and True are three, 0.0 and -0.0 two; nan is itself."""

    __slots__ = ("_told", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._told = type(value), repr(value) if isinstance(value, float | complex) else value

    @property
    def kind(self) -> type:
        """The type of the value."""
        return type(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LiteralLeaf) and self._told == other._told

    def argument(self, tensors: Iterator[Any], variables: Iterator[Any]) -> Any:
        return self.value

    def __hash__(self) -> int:
        return hash(self._told)

    def __repr__(self) -> str:
        return f"Literal[{self.value!r}]"


class ObjectLeaf(Leaf):
    """Any other object: the same one, or an equal one. Does not keep the object alive."""

    __slots__ = ("_hash", "_ref")

    def __init__(self, obj: Any) -> None:
        self._hash = hash(obj)
        self._ref: Callable[[], Any]
        try:
            self._ref = weakref.WeakMethod(obj) if isinstance(obj, types.MethodType) else weakref.ref(obj)
        except TypeError:
            self._ref = lambda: obj

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObjectLeaf):
            return False
        mine, theirs = self._ref(), other._ref()
        return mine is not None and (mine is theirs or bool(mine == theirs))

    def object(self) -> Any:
        """The object, or None if it is gone."""
        return self._ref()

    def argument(self, tensors: Iterator[Any], variables: Iterator[Any]) -> Any:
        return self.object()

    def alive(self) -> bool:
        return self._ref() is not None

    def __repr__(self) -> str:
        found = self._ref()
        return f"Weakref[{'dead' if found is None else repr(found)}]"


@dataclass(frozen=True)
class ProtocolLeaf(Leaf):
    """An object whose class says itself what it is to the cache."""

    type: TraceType

    def accepts(self, other: Leaf) -> bool:
        return isinstance(other, ProtocolLeaf) and (self == other or other.type.is_subtype_of(self.type))

    def merged(self, other: Leaf) -> Leaf:
        common = self.type.most_specific_common_supertype([other.type]) if isinstance(other, ProtocolLeaf) else None
        return self if common is None else ProtocolLeaf(common)

    def argument(self, tensors: Iterator[Any], variables: Iterator[Any]) -> Any:
        return self.type.placeholder_value()

    def __repr__(self) -> str:
        return repr(self.type)


_LITERALS = (int, float, bool, str, bytes, complex, type(None), type(Ellipsis))


def leaf_key(x: Any, aliases: dict[int, int]) -> Leaf:
    """The key that an argument makes; `aliases` numbers the variables of the call. TypeError for what can be no key."""
    if isinstance(x, Tensor):
        return TensorLeaf(x.dtype, tuple(x.dims))
    if isinstance(v := variable_behind(x), Variable):
        return VariableLeaf(aliases.setdefault(id(v), len(aliases)), v.dtype, v.kept_shape(), v.trainable)
    if isinstance(x, TensorSpec):
        return TensorLeaf(x.dtype, x.known_rank())
    if type(x) in _LITERALS:
        return LiteralLeaf(x)
    if hasattr(x, "__tf_handle__"):
        return HandleLeaf(int64, (), x.__tf_handle__()[1])
    if hasattr(x, "__tf_tracing_type__"):
        found = x.__tf_tracing_type__(None)
        if not isinstance(found, TraceType):
            raise TypeError(places.with_place(f"Expected an instance of TraceType for Tracing Protocol call to {x!r} but got {found!r}"))
        return ProtocolLeaf(found)
    if isinstance(x, weakref.ref):
        raise TypeError(places.with_place(f"weakref input {x!r} not supported for tf.function; pass the object itself"))
    try:
        return ObjectLeaf(x)
    except TypeError:
        raise TypeError(
            places.with_place(
                f"Could not generate a generic TraceType for {x!r}. Please verify that it is immutable/hashable. Otherwise, consider "
                f"implementing the Tracing Protocol for it: give {type(x).__name__} a __hash__ and __eq__, or a __tf_tracing_type__, or pass "
                "a tensor or a Python value"
            )
        ) from None


def is_array(x: Any) -> bool:
    """Whether an argument counts as a tensor although it is none: arrays and NumPy's scalars, of NumPy or of other libraries."""
    return isinstance(x, np.ndarray | np.generic) or (
        hasattr(x, "__array__")
        and not isinstance(x, Tensor | type)
        and not hasattr(x, "read_tensor")
        and not hasattr(x, "__tf_tracing_type__")
    )


class Nested:
    """A structure of keys or specs, which prints as TensorFlow prints the type of an argument."""

    __slots__ = ("structure",)

    def __init__(self, structure: Any) -> None:
        self.structure = structure

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nested) and self.structure == other.structure

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        at = self.structure
        if isinstance(at, dict):
            return f"Dict[{', '.join(f'[{k!r}, {Nested(v)!r}]' for k, v in at.items())}]"
        if isinstance(at, tuple) and hasattr(at, "_fields"):
            return f"{type(at).__name__}[{', '.join(f'[{k!r}, {Nested(v)!r}]' for k, v in zip(at._fields, at, strict=True))}]"
        if isinstance(at, list | tuple):
            return f"{'List' if isinstance(at, list) else 'Tuple'}[{', '.join(repr(Nested(v)) for v in at)}]"
        return repr(at) if isinstance(at, Leaf | TensorSpec) else repr(LiteralLeaf(at))

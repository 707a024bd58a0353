"""What a traced function was called with, as a cache key: tensors by dtype and shape, Python values by value and type, variables by
type and by which of them are the same one, any other object by identity or equality.

`Signature` knows a Python function's parameters; `bind` turns a call into `Arguments`, whose `key` finds the trace.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import optree

from tapejit.core import places
from tapejit.core.types import Type
from tapejit.ops.operand import Tensor
from tapejit.spec import TensorSpec
from tapejit.tensor import EagerTensor, convert_to_tensor
from tapejit.variable import Variable


@dataclass(frozen=True)
class TensorLeaf:
    """A tensor argument; None in `shape` is a size left open, a string one that has a name."""

    dtype: Any
    shape: tuple[Any, ...]

    def accepts(self, other: TensorLeaf) -> bool:
        """Whether a tensor described by `other` may be passed for this one."""
        return (
            self.dtype is other.dtype
            and len(self.shape) == len(other.shape)
            and all(a == b or not isinstance(a, int) for a, b in zip(self.shape, other.shape, strict=True))
        )

    def __str__(self) -> str:
        return (
            f"TensorSpec(shape=({', '.join(map(str, self.shape))}{',' if len(self.shape) == 1 else ''}), dtype={self.dtype!r}, name=None)"
        )


@dataclass(frozen=True)
class VariableLeaf:
    """A variable argument; `alias` counts distinct variables in the order they are met."""

    alias: int
    dtype: Any
    shape: tuple[Any, ...]

    def __str__(self) -> str:
        return f"VariableSpec(shape={self.shape}, dtype={self.dtype!r}, alias_id={self.alias})"


@dataclass(frozen=True)
class LiteralLeaf:
    """A Python value, told apart by type as well as value: 1, 1.0 and True are three."""

    kind: type
    value: Any

    def __str__(self) -> str:
        return f"Literal[{self.value!r}]"


class ObjectLeaf:
    """Any other object: the same one, or an equal one. Does not keep the object alive."""

    __slots__ = ("_hash", "_ref")

    def __init__(self, obj: Any) -> None:
        self._hash = hash(obj)
        try:
            self._ref: Callable[[], Any] = weakref.ref(obj)
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

    def __str__(self) -> str:
        return f"<{type(self._ref()).__name__}>"


@dataclass
class Arguments:
    """A call: its structure, one leaf value and one key per leaf, tensors already converted."""

    structure: Any
    leaves: list[Any]
    keys: tuple[Any, ...]

    @property
    def key(self) -> Any:
        return self.structure, self.keys

    def exact(self) -> Arguments:
        """The same call with no size left open."""
        keys = tuple(
            TensorLeaf(k.dtype, tuple(x.dims)) if isinstance(k, TensorLeaf) else k for x, k in zip(self.leaves, self.keys, strict=True)
        )
        return Arguments(self.structure, self.leaves, keys)

    def tensors(self) -> list[Any]:
        """The tensor arguments in order."""
        return [x for x, k in zip(self.leaves, self.keys, strict=True) if isinstance(k, TensorLeaf)]

    def variables(self) -> list[Variable]:
        return [x for x, k in zip(self.leaves, self.keys, strict=True) if isinstance(k, VariableLeaf)]


_LITERALS = (int, float, bool, str, bytes, complex, type(None))


def leaf_key(x: Any, aliases: dict[int, int]) -> Any:
    """The part of the cache key that an argument makes."""
    if isinstance(x, Tensor):
        return TensorLeaf(x.dtype, tuple(x.dims))
    if isinstance(x, Variable):
        return VariableLeaf(aliases.setdefault(id(x), len(aliases)), x.dtype, tuple(x.dims))
    if isinstance(x, TensorSpec):
        return TensorLeaf(x.dtype, x.named_shape)
    if type(x) in _LITERALS:
        return LiteralLeaf(type(x), x)
    tracing = getattr(x, "__tf_tracing_type__", None)
    if tracing is not None:
        return tracing(None)
    try:
        return ObjectLeaf(x)
    except TypeError:
        raise TypeError(
            places.with_place(
                f"Could not generate a generic TraceType for {x!r}: it cannot be hashed. Pass a tensor, a Python value, or give {type(x).__name__} a __hash__ and __eq__."
            )
        ) from None


class Signature:
    """The parameters of a Python function, and the form in which all calls of it are equal."""

    def __init__(self, function: Callable[..., Any], input_signature: Any = None) -> None:
        self.function = function
        self.specs = None if input_signature is None else tuple(input_signature)
        self.parameters: inspect.Signature | None
        try:
            self.parameters = inspect.signature(function)
        except (TypeError, ValueError):
            self.parameters = None
        kinds = [p.kind for p in self.parameters.parameters.values()] if self.parameters else []
        self.positional_only = bool(kinds) and all(
            k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds
        )
        self.plain = (
            self.positional_only and all(p.default is inspect.Parameter.empty for p in self.parameters.parameters.values())
            if self.parameters
            else False
        )
        self.count = len(kinds)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """The call in canonical form: positions, keywords and defaults give one key. TypeError as Python's for arguments that do not fit."""
        if self.specs is not None:
            return self._cast(args, kwargs)
        names, values = self._canonical(args, kwargs)
        leaves: list[Any]
        leaves, structure = optree.tree_flatten(cast(Any, values), none_is_leaf=True)
        for k, x in enumerate(leaves):
            if isinstance(x, np.ndarray | np.generic):
                leaves[k] = convert_to_tensor(x)
            elif hasattr(x, "__tensor__"):
                leaves[k] = convert_to_tensor(x.__tensor__())
        aliases: dict[int, int] = {}
        return Arguments((names, structure), leaves, tuple(leaf_key(x, aliases) for x in leaves))

    def _canonical(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        if self.parameters is None:
            return tuple(sorted(kwargs)), (*args, *(kwargs[k] for k in sorted(kwargs)))
        if self.plain and not kwargs and len(args) == self.count:
            return (), args
        try:
            bound = self.parameters.bind(*args, **kwargs)
        except TypeError as e:
            raise TypeError(
                places.with_place(
                    f"Binding inputs to tf.function failed due to `{e}`. Received args: {args} and kwargs: {kwargs} for signature: {self.parameters}."
                )
            ) from None
        bound.apply_defaults()
        return tuple(bound.kwargs), (*bound.args, *(bound.kwargs[k] for k in bound.kwargs))

    def _cast(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Arguments converted to the input signature where Python and NumPy values allow it; tensors must fit as they are."""
        assert self.specs is not None

        def refuse(why: str) -> TypeError:
            return TypeError(
                places.with_place(
                    f"Binding inputs to tf.function failed due to `{why}`. Received args: {args} and kwargs: {kwargs} for signature: {self.specs}."
                )
            )

        names: tuple[str, ...] = ()
        if kwargs and self.parameters is not None:
            try:
                bound = self.parameters.bind(*args, **kwargs)
            except TypeError as e:
                raise refuse(str(e)) from None
            args = bound.args
        if len(args) > len(self.specs):
            raise refuse("too many positional arguments")
        if len(args) < len(self.specs):
            raise refuse(f"missing a required argument: {len(self.specs)} expected, got {len(args)}")
        leaves: list[Any] = []
        spec_leaves: list[Any] = []
        structures = []
        for spec, value in zip(self.specs, args, strict=True):
            listed, structure = optree.tree_flatten(spec, none_is_leaf=True)
            structures.append(structure)
            spec_leaves += listed
            try:
                leaves += structure.flatten_up_to(value)
            except ValueError:
                raise refuse(f"Can not cast {value!r} to {spec}") from None
        keys = []
        for k, (spec, x) in enumerate(zip(spec_leaves, leaves, strict=True)):
            if not isinstance(spec, TensorSpec):
                keys.append(leaf_key(x, {}))
                continue
            wanted = TensorLeaf(spec.dtype, spec.named_shape)
            if not isinstance(x, Tensor):
                try:
                    x = leaves[k] = convert_to_tensor(x) if isinstance(x, Variable) else EagerTensor(np.array(np.asarray(x), spec.dtype.np))
                except (TypeError, ValueError):
                    raise refuse(f"Can not cast {x!r} to {spec}") from None
            if not wanted.accepts(TensorLeaf(x.dtype, tuple(x.dims))):
                raise refuse(f"Can not cast {TensorLeaf(x.dtype, tuple(x.dims))} to {spec}")
            keys.append(wanted)
        return Arguments((names, optree.tree_structure(cast(Any, self.specs), none_is_leaf=True)), leaves, tuple(keys))

    def rebuild(self, structure: Any, leaves: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments with other leaves."""
        names, tree = structure
        values = optree.tree_unflatten(tree, leaves)
        cut = len(values) - len(names)
        return tuple(values[:cut]), dict(zip(names, values[cut:], strict=True))

    def leaf_paths(self, structure: Any) -> list[tuple[str, tuple[Any, ...]]]:
        """For every leaf the parameter that it came by (`rest_1` for the second of `*rest`), and its path inside a structure."""
        names, tree = structure
        listed = list(self.parameters.parameters) if self.parameters is not None else []
        variadic = [
            n for n in listed if self.parameters is not None and self.parameters.parameters[n].kind is inspect.Parameter.VAR_POSITIONAL
        ]
        out = []
        for path in optree.treespec_paths(tree):
            first, rest = path[0], path[1:]
            total = tree.num_children
            if first >= total - len(names):
                base = names[first - (total - len(names))]
            elif variadic and first >= listed.index(variadic[0]):
                base = f"{variadic[0]}_{first - listed.index(variadic[0])}"
            else:
                base = listed[first] if first < len(listed) else f"arg{first}"
            out.append((base, rest))
        return out

    def leaf_names(self, structure: Any) -> list[str]:
        """A name for every leaf: the parameter's, with the path inside a structure."""
        return ["_".join([base, *(str(p) for p in rest)]) for base, rest in self.leaf_paths(structure)]


def type_of(leaf: TensorLeaf, size: Callable[[Any], Any]) -> Type:
    """The type of a parameter; `size` makes a dim of None or of a name."""
    return Type(leaf.dtype, tuple(d if isinstance(d, int) else size(d) for d in leaf.shape))

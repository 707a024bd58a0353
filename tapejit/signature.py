"""The parameters of a traced function, and the one form in which all equal calls of it are the same.

In: a Python function, perhaps an input signature, and the arguments of a call. Out: `Arguments`, whose `key` finds the trace.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from inspect import Parameter
from typing import Any, NoReturn, cast

import optree

from tapejit.core import places
from tapejit.nest import leaves_of
from tapejit.ops.operand import Tensor
from tapejit.spec import TensorSpec
from tapejit.tensor import convert_to_tensor
from tapejit.trace_type import (
    HandleLeaf,
    Leaf,
    LiteralLeaf,
    Nested,
    ObjectLeaf,
    ProtocolLeaf,
    TensorLeaf,
    VariableLeaf,
    is_array,
    leaf_key,
)

__all__ = [
    "Arguments",
    "FunctionType",
    "Leaf",
    "LiteralLeaf",
    "ObjectLeaf",
    "ProtocolLeaf",
    "Signature",
    "TensorLeaf",
    "VariableLeaf",
    "leaf_key",
]

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class _Place(int):
    """Which argument of a call: stands for it where a call is bound to the parameters without one."""


@dataclass
class Arguments:
    """A call: its structure, one leaf value and one key per leaf, tensors already converted."""

    structure: Any
    leaves: list[Any]
    keys: tuple[Any, ...]
    handed: dict[int, Any] = field(default_factory=dict)  # the objects that leaves are the numbers of

    @property
    def key(self) -> Any:
        return self.structure, self.keys

    @property
    def kind(self) -> Any:
        """The key without the sizes of tensors."""
        return self.structure, tuple(replace(k, shape=(None,) * len(k.shape)) if isinstance(k, TensorLeaf) else k for k in self.keys)

    def exact(self) -> Arguments:
        """The same call with no size left open."""
        keys = tuple(k.exact(x) if isinstance(k, TensorLeaf) else k for x, k in zip(self.leaves, self.keys, strict=True))
        return Arguments(self.structure, self.leaves, keys, self.handed)

    def given(self) -> list[Any]:
        """The leaves as the Python function takes them outside of a trace."""
        return [self.handed.get(k, x) for k, x in enumerate(self.leaves)]

    def tensors(self) -> list[Any]:
        """The tensor arguments in order."""
        return [x for x, k in zip(self.leaves, self.keys, strict=True) if isinstance(k, TensorLeaf)]

    def variables(self) -> list[Any]:
        """The variable arguments in order, as they were passed, one that is passed twice twice."""
        return [x for x, k in zip(self.leaves, self.keys, strict=True) if isinstance(k, VariableLeaf)]


class FunctionType(inspect.Signature):
    """A signature whose annotations are keys and specs; of a trace also what it returns and captures."""

    def __init__(self, parameters: Any, *, captures: Mapping[str, Any] | None = None, return_annotation: Any = Parameter.empty) -> None:
        super().__init__(parameters, return_annotation=return_annotation)
        self.captures = dict(captures or {})

    @property
    def output(self) -> Any:
        """The structure of what is returned; None if that is not known before a call."""
        return None if self.return_annotation is Parameter.empty else self.return_annotation

    def __repr__(self) -> str:
        def listed(items: list[str]) -> str:
            return "\n".join(f"  {item}" for item in items or ["None"])

        inputs = [f"{p.name} ({p.kind.name}): {None if p.annotation is p.empty else p.annotation}" for p in self.parameters.values()]
        captures = listed([f"{name}: {spec}" for name, spec in self.captures.items()])
        return "\n".join(["Input Parameters:", listed(inputs), "Output Type:", f"  {self.output}", "Captures:", captures])


class Signature:
    """The parameters of a Python function. TypeError for an input signature that does not fit them."""

    def __init__(self, function: Callable[..., Any], input_signature: Any = None) -> None:
        self.function = function
        self.specs = None if input_signature is None else _checked(input_signature)
        try:
            found = inspect.signature(function)
        except (TypeError, ValueError):  # a builtin that does not tell
            found = inspect.Signature([Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)])
        parameters = list(found.parameters.values())
        self.constraints: dict[str, Any] = {}  # with an input signature: spec or default value by parameter
        if self.specs is not None:
            parameters, self.constraints = _constrained(parameters, self.specs)
        self.type = FunctionType(p.replace(annotation=self._annotation(p)) for p in parameters)
        self.parameters = self.type
        self.plain = self.specs is None and all(p.kind in _BY_POSITION and p.default is p.empty for p in parameters)
        self.count = len(parameters)

    def _annotation(self, p: Parameter) -> Any:
        return Nested(self.constraints[p.name]) if p.name in self.constraints else Parameter.empty

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """The call in canonical form: positions, keywords and defaults give one key. TypeError for arguments that do not fit."""
        names, values = self._canonical(args, kwargs)
        if self.specs is not None:
            return self._cast(names, values, lambda why: self._refuse(why, args, kwargs))
        leaves: list[Any]
        leaves, structure = leaves_of(values)
        for k, x in enumerate(leaves):
            if not isinstance(x, Tensor) and is_array(x):
                leaves[k] = convert_to_tensor(x)
        aliases: dict[int, int] = {}
        keys = tuple([leaf_key(x, aliases) for x in leaves])
        handed = {k: leaves[k] for k, key in enumerate(keys) if isinstance(key, HandleLeaf)}
        for k, x in handed.items():
            leaves[k] = x.__tf_handle__()[0]
        return Arguments((names, structure), leaves, keys, handed)

    def order(self, count: int, keywords: tuple[str, ...]) -> list[int | None]:
        """Where in a call with `count` positional arguments and these keywords after them each value of the canonical form stands; None
        for a default. TypeError for a call that does not fit."""
        _, values = self._canonical(tuple(map(_Place, range(count))), {name: _Place(count + k) for k, name in enumerate(keywords)})
        return [int(x) if isinstance(x, _Place) else None for x in values]

    def _canonical(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        """The names of the keyword arguments, and all values: positional ones first, then those of the names."""
        if self.plain and not kwargs and len(args) == self.count:
            return (), args
        try:
            bound = self.type.bind(*args, **kwargs)
        except TypeError as e:
            self._refuse(str(e), args, kwargs)
        bound.apply_defaults()
        given = bound.kwargs
        own = [name for name in given if name in self.type.parameters]
        names = (*own, *sorted(given.keys() - set(own)))  # the order of further keywords says nothing
        return names, (*bound.args, *(given[k] for k in names))

    def _refuse(self, why: str, args: Any, kwargs: Any) -> NoReturn:
        raise TypeError(
            places.with_place(
                f"Binding inputs to tf.function failed due to `{why}`. Received args: {args} and kwargs: {kwargs} for signature: {self.type}."
            )
        ) from None

    # ------------------------------------------------------------------------------ with an input signature
    def _cast(self, names: tuple[str, ...], values: tuple[Any, ...], refuse: Callable[[str], NoReturn]) -> Arguments:
        """Arguments converted to the input signature where Python and NumPy values allow it; tensors must fit as they are."""
        leaves: list[Any] = []
        keys: list[Leaf] = []
        for wanted, value in zip(self.constraints.values(), values, strict=True):
            specs, structure = optree.tree_flatten(wanted, none_is_leaf=True)
            try:
                given = structure.flatten_up_to(value)
            except ValueError:
                refuse(f"Can not cast {value!r} to {Nested(wanted)!r}")
            for spec, x in zip(specs, given, strict=True):
                x, key = fitted(x, spec, refuse)
                leaves.append(x)
                keys.append(key)
        return Arguments(
            (names, optree.tree_structure(cast(Any, tuple(self.constraints.values())), none_is_leaf=True)), leaves, tuple(keys)
        )

    def of_specs(self) -> Arguments:
        """The input signature as the arguments of a call."""
        names = tuple(p.name for p in self.type.parameters.values() if p.kind is Parameter.KEYWORD_ONLY)
        leaves: list[Any]
        leaves, tree = optree.tree_flatten(cast(Any, tuple(self.constraints.values())), none_is_leaf=True)
        return Arguments((names, tree), leaves, tuple(leaf_key(x, {}) for x in leaves))

    # ------------------------------------------------------------------------------------ of a trace
    def rebuild(self, structure: Any, leaves: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments with other leaves."""
        names, tree = structure
        values = optree.tree_unflatten(tree, leaves)
        cut = len(values) - len(names)
        return tuple(values[:cut]), dict(zip(names, values[cut:], strict=True))

    def argument_names(self, structure: Any) -> list[str]:
        """A name for every positional argument of a call, then for every keyword; those of `*args` are args_0, args_1, ..."""
        names, tree = structure
        listed = [p.name for p in self.type.parameters.values() if p.kind in _BY_POSITION]
        variadic = next((p.name for p in self.type.parameters.values() if p.kind is Parameter.VAR_POSITIONAL), "args")
        count = tree.num_children - len(names)
        return [*listed[:count], *(f"{variadic}_{k}" for k in range(count - len(listed))), *names]

    def leaf_paths(self, structure: Any) -> list[tuple[str, tuple[Any, ...]]]:
        """For every leaf the argument that it came by, and its path inside a structure."""
        names = self.argument_names(structure)
        return [(names[path[0]], path[1:]) for path in optree.treespec_paths(structure[1])]

    def leaf_names(self, structure: Any) -> list[str]:
        """A name for every leaf: the argument's, with the path inside a structure."""
        return ["_".join([base, *(str(p) for p in rest)]) for base, rest in self.leaf_paths(structure)]

    def type_of(self, structure: Any, keys: tuple[Any, ...], output: Any, captures: Mapping[str, Any]) -> FunctionType:
        """The signature of one trace."""
        names = self.argument_names(structure)
        own = self.type.parameters
        variadic = any(p.kind is Parameter.VAR_POSITIONAL for p in own.values())
        parameters = []
        for k, (name, value) in enumerate(zip(names, optree.tree_unflatten(structure[1], list(keys)), strict=True)):
            kind = own[name].kind if name in own else Parameter.POSITIONAL_ONLY
            if k >= len(names) - len(structure[0]):
                kind = Parameter.KEYWORD_ONLY
            elif variadic:
                kind = Parameter.POSITIONAL_ONLY
            parameters.append(Parameter(name, kind, annotation=Nested(value)))
        return FunctionType(parameters, captures=captures, return_annotation=Nested(output))


def fitted(x: Any, wanted: Any, refuse: Callable[[str], NoReturn]) -> tuple[Any, Leaf]:
    """An argument converted to what a signature wants, a `TensorSpec` or a Python value, and its key. Calls `refuse` if it does not fit."""
    if not isinstance(wanted, TensorSpec):
        x = convert_to_tensor(x) if not isinstance(x, Tensor) and is_array(x) else x
        key, literal = leaf_key(x, {}), leaf_key(wanted, {})
        return (x, literal) if literal.accepts(key) else refuse(f"Can not cast {x!r} to {literal!r}")
    if not isinstance(x, Tensor | TensorSpec):
        try:
            x = convert_to_tensor(x) if hasattr(x, "read_tensor") else convert_to_tensor(x, wanted.dtype)
        except (TypeError, ValueError) as e:
            refuse(f"Can not cast {x!r} to {wanted}: {str(e).splitlines()[0]}")
    given = leaf_key(x, {})
    assert isinstance(given, TensorLeaf)
    shape = (None,) * len(given.shape) if wanted.named_shape is None else wanted.named_shape
    key = TensorLeaf(wanted.dtype, shape)
    if not key.accepts(given):
        refuse(f"Can not cast {TensorSpec(x.shape, x.dtype, wanted.name)} to {wanted}")
    return x, key


def _checked(input_signature: Any) -> tuple[Any, ...]:
    """An input signature as a tuple. TypeError for anything but nested TensorSpecs."""
    if not isinstance(input_signature, list | tuple):
        raise TypeError(places.with_place(f"input_signature must be either a tuple or a list, got {type(input_signature)}."))
    bad = [x for x in optree.tree_leaves(cast(Any, tuple(input_signature)), none_is_leaf=True) if not isinstance(x, TensorSpec)]
    if bad:
        raise TypeError(
            places.with_place(
                f"input_signature must be a possibly nested sequence of TensorSpec objects, got invalid args {bad} with types {[type(x) for x in bad]}."
            )
        )
    return tuple(input_signature)


def _constrained(parameters: list[Parameter], specs: tuple[Any, ...]) -> tuple[list[Parameter], dict[str, Any]]:
    """The parameters that an input signature leaves, in order, and what each must be: its spec, or its default."""
    left = list(specs)
    out: list[Parameter] = []
    constraints: dict[str, Any] = {}
    variadic = any(p.kind is Parameter.VAR_POSITIONAL for p in parameters)
    for k, p in enumerate(parameters):
        if k == 0 and p.name == "self" and len(specs) < len(parameters):
            continue  # a method, whose instances are traced apart
        if p.kind is Parameter.VAR_KEYWORD:
            continue
        if p.kind is Parameter.VAR_POSITIONAL:
            for i, spec in enumerate(left):
                out.append(Parameter(f"{p.name}_{i}", Parameter.POSITIONAL_ONLY))
                constraints[out[-1].name] = spec
            left = []
            continue
        if p.kind is Parameter.KEYWORD_ONLY and p.default is p.empty:
            raise TypeError(
                places.with_place(f"Since input_signature is defined, keyword-only parameter `{p.name}` must have a default value")
            )
        if left:
            constraints[p.name] = left.pop(0)
        elif p.default is not p.empty:
            constraints[p.name] = p.default
        else:
            raise TypeError(places.with_place(f"input_signature missing type constraint for {p.name}"))
        out.append(p.replace(kind=Parameter.POSITIONAL_ONLY) if variadic and p.kind in _BY_POSITION else p)
    if left:
        raise TypeError(places.with_place(f"input_signature contains {len(left)} extra type constraints."))
    return out, constraints

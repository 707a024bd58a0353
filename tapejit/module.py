"""`tf.Module`: an object that finds the variables and modules in its attributes, lists, tuples and dicts included."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

from tapejit import nest
from tapejit.scope import name_scope
from tapejit.variable import Variable

__all__ = ["Module"]


class Module:
    """Base class of things with variables (`tf.Module`). `name` is the class's in snake case unless given; ValueError if it is no identifier."""

    def __init__(self, name: str | None = None) -> None:
        name = _snake(type(self).__name__) if name is None else name
        if not name.isidentifier():
            raise ValueError(
                f"{name!r} is not a valid module name. Module names must be valid Python identifiers (e.g. a valid class name)."
            )
        self._name = name
        with name_scope(name) as scope:
            self._name_scope = name_scope(scope)

    @property
    def name(self) -> str:
        """The name of this module, without the scopes around it."""
        return self._name

    @property
    def name_scope(self) -> name_scope:
        """A scope under which variables carry the module's name; raises ValueError if `super().__init__()` was not called."""
        scope = self.__dict__.get("_name_scope")
        if scope is None:
            raise ValueError(f"name_scope of {type(self).__name__} is not available because `super().__init__()` was not called.")
        return scope

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables of this module and those within it, each once: its own by the names of the attributes, then the others'."""
        return tuple(self._flatten(predicate=_is_variable))

    @property
    def trainable_variables(self) -> tuple[Variable, ...]:
        """Those of `variables` that are trainable."""
        return tuple(v for v in self.variables if v.trainable)

    @property
    def non_trainable_variables(self) -> tuple[Variable, ...]:
        """Those of `variables` that are not trainable."""
        return tuple(v for v in self.variables if not v.trainable)

    @property
    def submodules(self) -> tuple[Module, ...]:
        """The modules within this one, at any depth."""
        return tuple(self._flatten(predicate=_is_module))

    def _flatten(
        self,
        recursive: bool = True,
        predicate: Callable[[Any], bool] | None = None,
        with_path: bool = False,
        _seen: Any = None,
        _path: Any = (),
    ) -> Iterator[Any]:
        """The attribute values for which `predicate` holds; with `with_path`, pairs of a path and a value, values met again included."""
        seen: set[int] = {id(self)} if _seen is None else _seen
        within: list[tuple[tuple[Any, ...], Module]] = []
        for key in sorted(vars(self)):
            if key.startswith("_self_") or key in ("_name_scope", "_name"):
                continue
            for path, leaf in _leaves(vars(self)[key], (key,)):
                if id(leaf) in seen and not with_path:
                    continue
                first = id(leaf) not in seen
                seen.add(id(leaf))
                if predicate is None or predicate(leaf):
                    yield (_path + path, leaf) if with_path else leaf
                if recursive and first and _is_module(leaf):
                    within.append((_path + path, leaf))
        for path, module in within:
            yield from module._flatten(recursive, predicate, with_path, seen, path)

    @classmethod
    def with_name_scope(cls, method: Callable[..., Any]) -> Callable[..., Any]:
        """A method that runs in the module's `name_scope` (decorator)."""

        @functools.wraps(method)
        def scoped(self: Module, *args: Any, **kwargs: Any) -> Any:
            with self.name_scope:
                return method(self, *args, **kwargs)

        return scoped


def _is_variable(x: Any) -> bool:
    return isinstance(x, Variable)


def _is_module(x: Any) -> bool:
    return isinstance(x, Module)


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The leaves of an attribute and where they are; dicts go by sorted keys where these can be sorted."""
    if not nest.is_nested(value):
        yield path, value
    elif hasattr(value, "keys"):
        try:
            keys = sorted(value)
        except TypeError:
            keys = list(value)
        for key in keys:
            yield from _leaves(value[key], (*path, key))
    else:
        for k, item in enumerate(value):
            yield from _leaves(item, (*path, k))


def _snake(name: str) -> str:
    """`MultiHeadAttention` as `multi_head_attention`."""
    return re.sub(r"((?<=[a-z0-9])[A-Z]|(?!^)[A-Z](?=[a-z]))", r"_\1", name).lower()

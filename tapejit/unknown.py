"""What an unknown name of a module answers: an AttributeError with the nearest known name and the user's line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from tapejit.core import places


def guard(package: str, later: tuple[str, ...] = (), within: Mapping[str, str] = MappingProxyType({})) -> None:
    """See to it that unknown names of a package and of its modules, as far as they are loaded, are answered so.

    The package's modules named in `later` are loaded when they are first asked for; names in `within` are those of such a module.
    """
    root = sys.modules[package]
    for space in [root, *(m for m in vars(root).values() if isinstance(m, ModuleType) and m.__name__.startswith(f"{package}."))]:
        if "__getattr__" not in vars(space):
            space.__getattr__ = _Unknown(space, *((later, within) if space is root else ()))  # type: ignore[method-assign, assignment]


class _Unknown:
    """A module's `__getattr__`."""

    def __init__(self, space: ModuleType, later: tuple[str, ...] = (), within: Mapping[str, str] = MappingProxyType({})) -> None:
        self.space, self.later, self.within = space, later, within

    def __call__(self, name: str) -> Any:
        if name in self.within:
            return getattr(self(self.within[name]), name)
        if name in self.later:
            module = importlib.import_module(f"{self.space.__name__}.{name}")
            if "__getattr__" not in vars(module):
                module.__getattr__ = _Unknown(module)  # type: ignore[method-assign, assignment]
            return module
        space = self.space
        message = f"module {space.__name__!r} has no attribute {name!r}"
        if name.startswith("__"):  # the import system and inspection ask for such names all the time
            raise AttributeError(message)
        import difflib

        near = difflib.get_close_matches(name, [n for n in vars(space) if not n.startswith("_")], n=1, cutoff=0.75)
        shown = f"tf{space.__name__.removeprefix('tapejit')}"
        raise AttributeError(places.with_place(message + (f"; did you mean {shown}.{near[0]}?" if near else "")), name=name, obj=space)

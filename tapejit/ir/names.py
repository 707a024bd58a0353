"""Names of values: the user's where there is one, numbered where there are several; never a word the text reserves."""

from __future__ import annotations

import builtins
import keyword
import re

from tapejit.core import dtypes
from tapejit.ir.op import OPS

_RESERVED = {"state", "const", "size", "dim", "inf", "nan", *keyword.kwlist, *dir(builtins), *dtypes.BY_SHORT}


def is_reserved(name: str) -> bool:
    """Whether the text of a graph means something else by `name`."""
    return name in _RESERVED or name in OPS


def identifier(name: str) -> str:
    """`name` made into a Python identifier that is not reserved: `dense/kernel:0` is `dense_kernel`, `mean` is `mean_`."""
    name = re.sub(r":0$", "", name)
    name = re.sub(r"\W+", "_", name).strip("_") or "x"
    if name[0].isdigit():
        name = "_" + name
    return name + "_" if is_reserved(name) else name


class Names:
    """Gives out each name once. One counter per base name numbers steps and rebindings: `h`, `h_1`, `h_2`."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._count: dict[str, int] = {}

    def fresh(self, base: str) -> str:
        """`base` if it is free, else `base_1`, `base_2`, ..."""
        base = identifier(base)
        return self.take(base) if base not in self._taken else self.step(base)

    def step(self, base: str) -> str:
        """The next of `base_1`, `base_2`, ..., whether or not `base` is free."""
        base = identifier(base)
        while True:
            self._count[base] = count = self._count.get(base, 0) + 1
            name = f"{base}_{count}"
            if name not in self._taken:
                return self.take(name)

    def __contains__(self, name: str) -> bool:
        """Whether a name is in use."""
        return name in self._taken

    def take(self, name: str) -> str:
        """Note that `name` is in use; returns it."""
        self._taken.add(name)
        return name

    def give_back(self, name: str) -> None:
        """`name` may be used again: its value was renamed."""
        self._taken.discard(name)

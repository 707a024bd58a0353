"""What a code object reads from outside, and writes to: names with the attributes and items taken of them, found in its bytecode.

In: a code object. Out: `Reads`: chains like `model.rate` or `SETTINGS["decay"]`, each with the offset of its last instruction, so that whoever
knows which instructions ran knows which names were read.
"""

from __future__ import annotations

import dis
import weakref
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any

_NOTHING: Any = object()
_FILLERS = {"append", "extend", "insert", "add", "update", "setdefault", "appendleft"}


@dataclass(frozen=True)
class Chain:
    """`root.a.b["c"]` as it stands in bytecode: `kind` is "global", "cell" or "local"."""

    kind: str
    root: str
    steps: tuple[tuple[str, Any], ...]  # ("attr", name) or ("item", key)
    offset: int  # of the last instruction

    @property
    def name(self) -> str:
        """The chain as one writes it."""
        return self.root + "".join(f".{k}" if kind == "attr" else f"[{k!r}]" for kind, k in self.steps)


@dataclass(frozen=True)
class Reads:
    """What one code object reads and writes."""

    chains: tuple[Chain, ...]
    locals: frozenset[str]  # names of the locals that chains begin with
    written: frozenset[Any]  # names of globals, attributes and items that it writes
    stores: tuple[Chain, ...]  # what it writes to, or fills


_codes: weakref.WeakKeyDictionary[CodeType, Reads] = weakref.WeakKeyDictionary()
_LOADS = {
    "LOAD_GLOBAL": "global", "LOAD_NAME": "global", "LOAD_DEREF": "cell", "LOAD_CLASSDEREF": "cell",
    "LOAD_FAST": "local", "LOAD_FAST_CHECK": "local", "LOAD_FAST_BORROW": "local",
}  # fmt: skip
_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD"}
_WRITES = {"STORE_GLOBAL", "STORE_ATTR", "STORE_DEREF", "DELETE_ATTR", "DELETE_GLOBAL", "STORE_NAME"}
_SILENT = {"PUSH_NULL", "CACHE", "EXTENDED_ARG", "PRECALL", "NOP", "RESUME"}


def read_by(code: CodeType) -> Reads:
    """The chains of names that a code object reads, and the names that it writes."""
    found = _codes.get(code)
    if found is not None:
        return found
    chains: list[Chain] = []
    written: set[Any] = set()
    rebound: set[str] = set()
    stores: list[Chain] = []
    current: Chain | None = None
    constant: Any = _NOTHING

    def end() -> None:
        nonlocal current, constant
        if current is not None and (current.steps or current.kind != "local"):
            chains.append(current)
        current, constant = None, _NOTHING

    for op in dis.get_instructions(code):
        if op.opname in _LOADS:
            end()
            current = Chain(_LOADS[op.opname], op.argval, (), op.offset)
        elif op.opname in _ATTRIBUTES and current is not None and constant is _NOTHING:
            current = Chain(current.kind, current.root, (*current.steps, ("attr", op.argval)), op.offset)
        elif op.opname == "LOAD_CONST" and current is not None and constant is _NOTHING:
            constant = op.argval
        elif op.opname == "BINARY_SUBSCR" and current is not None and constant is not _NOTHING:
            current = Chain(current.kind, current.root, (*current.steps, ("item", constant)), op.offset)
            constant = _NOTHING
        elif op.opname == "STORE_SUBSCR" and constant is not _NOTHING:
            written.add(constant)
            if current is not None:
                stores.append(replace(current, steps=(*current.steps, ("item", constant)), offset=op.offset))
            end()
        elif op.opname == "STORE_ATTR" and current is not None:
            stores.append(replace(current, steps=(*current.steps, ("attr", op.argval)), offset=op.offset))
            end()
        elif op.opname not in _SILENT:
            end()
        if op.opname in _WRITES:
            written.add(op.argval)
            if op.opname in ("STORE_GLOBAL", "STORE_DEREF"):
                stores.append(Chain("global" if op.opname == "STORE_GLOBAL" else "cell", op.argval, (), op.offset))
        elif op.opname in ("STORE_FAST", "DELETE_FAST"):
            rebound.add(op.argval)
    end()

    def from_outside(c: Chain) -> bool:
        return c.kind != "local" or c.root not in rebound

    kept = tuple(filter(from_outside, chains))
    filled = (replace(c, steps=c.steps[:-1]) for c in kept if c.steps and c.steps[-1][1] in _FILLERS)
    into = tuple([*filter(from_outside, stores), *filled])
    roots = frozenset(c.root for c in (*kept, *into) if c.kind == "local")
    found = _codes[code] = Reads(kept, roots, frozenset(written), into)
    return found

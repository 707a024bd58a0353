"""What codegen hands to the runtime: text, and the names by which to reach into it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A printed program.

    `text` is LLVM IR of one module whose symbol `entry` has the signature `int64 entry(int64* table)`; `python` says the same as
    readable Python for Numba; `symbols` lists the C functions that must be found when the module is linked; `table` names the
    entries of the table in order. `parts` are modules that together say what `text` does, to be compiled side by side; each calls
    functions of itself and of those before it.
    """

    name: str
    entry: str
    text: str
    python: str
    symbols: tuple[str, ...]
    table: tuple[str, ...]
    parts: tuple[str, ...] = ()

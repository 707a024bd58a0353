"""The traces of one function: which of them takes a call, and which one goes when there are too many.

In: the `Arguments` of a call. Out: the trace that fits them best, or how a new one should leave sizes open.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tapejit.concrete import ConcreteFunction
from tapejit.signature import Arguments


class Traces:
    """At most `limit` traces. The one that was not asked for longest goes first."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a function keeps at least one trace; got max_traces={limit}")
        self.limit = limit
        self._held: dict[Any, ConcreteFunction] = {}  # the one used last comes last

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[ConcreteFunction]:
        """The traces in the order they were made."""
        return iter(sorted(self._held.values(), key=lambda c: c.number))

    def exact(self, arguments: Arguments) -> ConcreteFunction | None:
        """The trace that was made for just such arguments."""
        found = self._held.get(arguments.key)
        if found is not None:
            self.used(found)
        return found

    def accepting(self, arguments: Arguments) -> ConcreteFunction | None:
        """The most specific trace that takes these arguments: exact, or with the fewest open sizes."""
        found = self.exact(arguments)
        if found is None:
            found = min((c for c in self._held.values() if c.accepts(arguments)), key=lambda c: (c.open_sizes, -c.number), default=None)
            if found is not None:
                self.used(found)
        return found

    def used(self, concrete: ConcreteFunction) -> None:
        """Count a call of a trace."""
        if self._held.pop(concrete.key, None) is not None:
            self._held[concrete.key] = concrete

    def add(self, concrete: ConcreteFunction) -> None:
        """Enter a trace. Those that no call can fit any more, as an object they were made for is gone, go; and the oldest of too many."""
        alive = [c for c in self._held.values() if all(k.alive() for k in c.keys) and c.key != concrete.key]
        self._held = {c.key: c for c in [*alive, concrete][-self.limit :]}

    def clear(self) -> None:
        self._held.clear()

    def generalised(self, arguments: Arguments) -> Arguments:
        """The arguments with those sizes left open in which an earlier trace of the same structure differs."""
        keys = arguments.keys
        for concrete in self._held.values():
            if concrete.structure == arguments.structure:
                keys = tuple(k.merged(have) for have, k in zip(concrete.keys, keys, strict=True))
        return Arguments(arguments.structure, arguments.leaves, keys)

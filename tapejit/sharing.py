"""Compiled programs that the traces of one function share.

Python is traced again for every new shape, as its result may depend on it. But the program of the first size is compiled for just that,
and the program of the second distinct size of an axis is compiled with that axis left open; it serves every later trace that differs in
nothing but the sizes. So a last, smaller batch costs one compilation, and all others after it a trace.

In: the graph of a trace. Out: a `Program`, and the sizes with which it is that graph's.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tapejit.ir.graph import Graph
from tapejit.passes.generalise import General, Outline, generalise, outline

if TYPE_CHECKING:
    from tapejit import compiler

_log = logging.getLogger("tapejit")
REACH = 8  # how many times larger than the sizes it was made for may be those that a program serves
_NEAR = 16  # how many programs a new trace is compared with


@dataclass(eq=False)
class Program:
    """A compiled graph. `general` if sizes of it are open, which are then `likely` to be these: its loops are cut up for such sizes."""

    graph: Graph
    compiled: compiler.Compiled
    outline: Outline
    general: General | None = None
    likely: Mapping[str, int] = field(default_factory=dict)

    def sizes_of(self, other: Outline) -> dict[str, int] | None:
        """The values of the open sizes with which it is the program for a graph; None if it is not."""
        if self.general is None:
            return {} if self.outline == other else None
        env = self.general.sizes_of(other)
        return env if env is not None and all(n <= REACH * self.likely[name] for name, n in env.items()) else None


@dataclass(eq=False)
class Programs:
    """The programs of one function, as long as any of its traces uses them. `parts` are those of what is derived from the traces."""

    held: list[weakref.ref[Program]] = field(default_factory=list)
    parts: dict[Any, Programs] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.Lock)

    def part(self, key: Any) -> Programs:
        """The programs of something that is derived from every trace alike."""
        with self.lock:
            return self.parts.setdefault(key, Programs())

    def program(self, graph: Graph, timing: compiler.Timing, checks: bool) -> tuple[Program, dict[str, int]]:
        """The program for a graph, and the values of its open sizes."""
        from tapejit import compiler

        mine = outline(graph)
        with self.lock:
            self.held = [ref for ref in self.held if ref() is not None]
            near = [p for ref in reversed(self.held[-_NEAR:]) if (p := ref()) is not None]
        for p in near:
            env = p.sizes_of(mine)
            if env is not None:
                timing.shared = True
                return p, env
        made = self._opened(near, graph, mine, timing, checks) or Program(graph, compiler.compile(graph, timing, checks), mine)
        with self.lock:
            self.held.append(weakref.ref(made))
        return made, made.sizes_of(mine) or {}

    def _opened(self, near: list[Program], graph: Graph, mine: Outline, timing: compiler.Timing, checks: bool) -> Program | None:
        """A program with open sizes that serves a graph and an earlier one; None if they differ in more than sizes."""
        from tapejit import compiler

        for p in near:
            general = generalise(p.graph, p.outline, graph, mine) if p.general is None else None
            if general is None or not _worth_sharing(graph, general.graph):
                continue
            one, two = general.sizes_of(p.outline) or {}, general.sizes_of(mine) or {}
            likely = {name: max(n, one.get(name, 0)) for name, n in two.items()}
            try:
                return Program(general.graph, compiler.compile(general.graph, timing, checks, likely), mine, general, likely)
            except Exception as e:  # the call does not depend on it: there is always the program for its exact sizes
                _log.info("%s is compiled for its exact sizes: %s: %s", p.graph.name, type(e).__name__, e)
        return None


def _worth_sharing(graph: Graph, general: Graph) -> bool:
    """Whether the sizes that kernels should be made for are still known where they were known in the graph of a trace."""

    def made_for(g: Graph) -> list[Any]:
        return [d for n in g.walk() for d in n.op.made_for(*(a.type for a in n.args), **n.attrs)]

    return all(isinstance(d, int) or not isinstance(was, int) for was, d in zip(made_for(graph), made_for(general), strict=True))

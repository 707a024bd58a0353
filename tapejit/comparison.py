"""Eager against traced, side by side: time, values and memory of one function both ways.

In: a `Function` and arguments. Out: a `Comparison`, which prints as a table and holds the figures.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from tapejit.concrete import ConcreteFunction
from tapejit.core import places
from tapejit.explain.memory import shown_bytes
from tapejit.function import Function
from tapejit.ops.operand import Tensor
from tapejit.variable import Variable


@dataclass(frozen=True)
class Comparison:
    """Eager against traced, as `compare` measured it. Times in seconds, memory in bytes."""

    name: str
    eager_seconds: float
    traced_seconds: float
    trace_seconds: float
    passes_seconds: float
    compile_seconds: float
    first_call_seconds: float
    cache_hit: bool
    largest_difference: float
    where: str
    eager_bytes: int
    traced_bytes: int

    @property
    def speedup(self) -> float:
        """How many times faster a traced call is."""
        return self.eager_seconds / self.traced_seconds

    def rows(self) -> list[tuple[str, str, str]]:
        """The table: what, eager, traced."""
        return [
            ("time per call", _seconds(self.eager_seconds), _seconds(self.traced_seconds)),
            ("speed-up", "1.0x", f"{self.speedup:.1f}x"),
            ("first call", "", f"{_seconds(self.first_call_seconds)} (cache {'hit' if self.cache_hit else 'miss'})"),
            ("  trace", "", _seconds(self.trace_seconds)),
            ("  passes", "", "from the cache" if self.cache_hit else _seconds(self.passes_seconds)),
            ("  compile", "", "from the cache" if self.cache_hit else _seconds(self.compile_seconds)),
            ("largest difference", "", f"{self.largest_difference:.3g}" + (f" ({self.where})" if self.where else "")),
            ("peak memory", shown_bytes(self.eager_bytes), shown_bytes(self.traced_bytes)),
        ]

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=100, no_color=True, highlight=False)
        with console.capture() as capture:
            console.print(self._table())
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def _table(self) -> Any:
        from rich.table import Table

        table = Table(title=self.name)
        for heading in ("", "eager", "traced"):
            table.add_column(heading, justify="left" if not heading else "right")
        for row in self.rows():
            table.add_row(*row)
        return table


def _seconds(s: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if s >= scale:
            return f"{s / scale:.3g} {unit}"
    return f"{s / 1e-9:.3g} ns"


def compare(function: Any, *args: Any, seconds: float = 0.3, quiet: bool = False, **kwargs: Any) -> Comparison:
    """Call `function` on the arguments eagerly and traced, print a table of the two and return it as data.

    Both start from the same state, and every variable is afterwards as it was. `seconds` is how long each is timed. The largest difference is
    that of any returned value or any variable after one call, relative to the larger of 1 and the value.
    """
    if not isinstance(function, Function):
        raise TypeError(places.with_place(f"tf.compare takes a function made with @tf.function, got {function!r}"))
    started = time.perf_counter()
    function(*args, **kwargs)
    first = time.perf_counter() - started
    concrete = function._find(function.signature.bind(args, kwargs))
    variables = [*concrete.bindings(function.signature.bind(args, kwargs).variables()).items()]
    state = [v._value for _, v in variables]  # the first call moved it; both start from where it is now

    def restore() -> None:
        for (_, v), value in zip(variables, state, strict=True):
            v._value = value

    traced_out = _leaves(function(*args, **kwargs))
    traced_state = [v._value for _, v in variables]
    restore()
    eager_out = _leaves(function.python_function(*args, **kwargs))
    eager_state = [v._value for _, v in variables]
    restore()
    worst, where = 0.0, ""
    named = [(f"result {k}", a, b) for k, (a, b) in enumerate(zip(eager_out, traced_out, strict=True))]
    named += [(f"state.{n}", a, b) for (n, _), a, b in zip(variables, eager_state, traced_state, strict=True)]
    for label, a, b in named:
        d = _difference(a, b)
        if d > worst or d != d:
            worst, where = d, label
    try:
        eager_bytes = _peak(lambda: function.python_function(*args, **kwargs))
        restore()
        traced_bytes = _peak(lambda: function(*args, **kwargs)) + _arena(concrete)
        restore()
        eager_time = _time(lambda: function.python_function(*args, **kwargs), seconds)
        restore()
        traced_time = _time(lambda: function(*args, **kwargs), seconds)
    finally:
        restore()
    timing = concrete.timing
    compiling = timing.schedule + timing.codegen + timing.compile + timing.load
    first = max(first, timing.trace + timing.passes + compiling)  # it may have been called before
    out = Comparison(
        function.name, eager_time, traced_time, timing.trace, timing.passes, compiling, first,
        timing.hit, worst, where, eager_bytes, traced_bytes,
    )  # fmt: skip
    if not quiet:
        from rich.console import Console

        Console().print(out._table())
    return out


def _leaves(out: Any) -> list[Any]:
    return [np.asarray(x) for x in optree.tree_leaves(out) if isinstance(x, Tensor | Variable | np.ndarray | np.generic | float | int)]


def _difference(a: Any, b: Any) -> float:
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape:
        return float("nan")
    if x.dtype.kind in "biu" or x.size == 0:
        return float(np.any(x != y)) if x.size else 0.0
    x, y = x.astype(np.complex128 if x.dtype.kind == "c" else np.float64), y.astype(np.complex128 if y.dtype.kind == "c" else np.float64)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(x - y) / np.maximum(1.0, np.abs(x)))
    return float(apart.max())


def _peak(call: Any) -> int:
    """Bytes of memory that one call takes at most, beyond what was taken before."""
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _arena(concrete: ConcreteFunction) -> int:
    arena = concrete.compiled().record.arena
    return arena if isinstance(arena, int) else 0


def _time(call: Any, seconds: float) -> float:
    """Seconds per call: the best of several runs, so that what else the machine does counts little."""
    call()
    count, best, spent = 1, float("inf"), 0.0
    while spent < seconds:
        started = time.perf_counter()
        for _ in range(count):
            call()
        took = time.perf_counter() - started
        spent += took
        best = min(best, took / count)
        if took < seconds / 10:
            count *= 4
    return best

"""The corridor: the way every traced function goes, front to back.

    passes.run      tensor IR -> tensor IR      differentiate, simplify, prune
    schedule.plan   tensor IR -> loop nests, buffers and their order
    codegen.module  loop nests -> the text of one module
    runtime         text -> object code -> a native callable

In: a traced graph. Out: a `Compiled` step. What comes out of the corridor is kept on disk under the graph's text, so that the next
process goes in at one end and out at the other without stopping.
"""

from __future__ import annotations

import ctypes
import pickle
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.places import Place
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir import printer
from tapejit.ir.graph import Graph
from tapejit.ir.op import OPS
from tapejit.runtime import cache, host, interrupt, load, threads
from tapejit.runtime.launcher import launcher
from tapejit.runtime.plan import Argument, Cell, Plan, Result
from tapejit.schedule.record import CellPlan, HostWork
from tapejit.schedule.record import Plan as Planned
from tapejit.version import __version__

ERROR_WORDS = 64


@dataclass(frozen=True)
class Record:
    """All that a call of a compiled step needs besides its code; small, and kept with it on disk."""

    name: str
    entry: str
    table: tuple[str, ...]
    sizes: tuple[str, ...]
    arena: Dim
    arguments: tuple[tuple[str, Type], ...]
    cells: tuple[CellPlan, ...]
    consts: tuple[tuple[str, str], ...]
    constants: dict[str, Any]
    results: tuple[tuple[str, Type], ...]
    late: tuple[str, ...]
    host: tuple[HostWork, ...]
    places: tuple[Place | None, ...]
    ops: tuple[str, ...]
    told: dict[int, dict[str, Any]]  # by node, what its op's `failure` wants to know
    guards: tuple[tuple[Dim, Dim], ...]
    symbols: tuple[str, ...]
    long: bool


@dataclass
class Timing:
    """Seconds that the first call spent where; `hit` if the code came from the disk, `shared` if it is that of an earlier trace."""

    trace: float = 0.0
    passes: float = 0.0
    schedule: float = 0.0
    codegen: float = 0.0
    compile: float = 0.0
    load: float = 0.0
    hit: bool = False
    shared: bool = False


def compile(graph: Graph, timing: Timing | None = None, checks: bool = False, likely: Mapping[str, int] | None = None) -> Compiled:
    """The native step of a traced graph; with `checks` it fails at the first line that gives NaN or an infinity.

    `likely` are values that its open sizes are likely to have."""
    timing = timing if timing is not None else Timing()
    target = replace(host.target(), likely=tuple(sorted((likely or {}).items())))
    files = sorted({n.place.file for n in graph.walk() if n.place is not None})  # the text has their last names only
    key = cache.key("step", __version__, cache.sources(), target, printer.text(graph), files, checks)
    store = cache.default()
    found = _unpacked(store.lookup(key))
    if found is not None:
        timing.hit = True
        record, code = found
    else:
        # imported here, because a program that is found on disk needs none of them
        from tapejit.codegen import llvm
        from tapejit.passes import check, pipeline
        from tapejit.runtime import compile as native
        from tapejit.schedule import plan as schedule

        started = time.perf_counter()
        optimized = pipeline.run(graph)
        if checks:
            optimized = check.checked(optimized)
        timing.passes = time.perf_counter() - started
        started = time.perf_counter()
        planned = schedule.plan(optimized, target)
        timing.schedule = time.perf_counter() - started
        started = time.perf_counter()
        source = llvm.module(planned.program, target, pool=target.threads > 1, polls=interrupt.available())
        timing.codegen = time.perf_counter() - started
        started = time.perf_counter()
        code = native.object_codes(source.parts, target.cpu, target.features)
        timing.compile = time.perf_counter() - started
        record = record_of(optimized, planned, source.entry, source.symbols)
        if all(OPS.get(w.op.name) is w.op for w in record.host):
            store.store(key, graph.name, pickle.dumps((record, code)))
    started = time.perf_counter()
    compiled = Compiled(record, code)
    timing.load = time.perf_counter() - started
    return compiled


def _unpacked(payload: bytes | None) -> tuple[Record, tuple[bytes, ...]] | None:
    if payload is None:
        return None
    try:
        return pickle.loads(payload)
    except Exception:  # written by another version of a class; as good as absent
        return None


def record_of(graph: Graph, planned: Planned, entry: str, symbols: tuple[str, ...]) -> Record:
    """The calling record of a plan."""
    program = planned.program
    ops = tuple(n.op.name for n in graph.walk())
    told = {k: {a: n.attrs[a] for a in n.op.told} for k, n in enumerate(graph.walk()) if n.op.told}
    return Record(
        program.name, entry, program.table, program.sizes, program.arena, planned.arguments, planned.cells, planned.consts, planned.constants,
        planned.results, planned.late, planned.host, planned.places, ops, told, tuple(graph.guards), symbols, planned.long,
    )  # fmt: skip


class Compiled:
    """A native step and its calling record."""

    def __init__(self, record: Record, code: tuple[bytes, ...]) -> None:
        self.record = record
        ours = {threads.SYMBOL: threads.parallel_for, interrupt.SYMBOL: interrupt.poll}
        self.module = load.Module(code, record.symbols, {s: address() for s, address in ours.items() if s in record.symbols})
        self.address = self.module.address(record.entry)
        for work in record.host:
            work.op.prepare(**work.attrs)
        self._raised = threading.local()
        self._callback = _CALLBACK(self._host_call) if record.host else None

    def launcher(
        self,
        tensor: type,
        arguments: Callable[[list[Argument]], Sequence[Any]],
        keywords: Sequence[str],
        cells: Mapping[str, Any],
        consts: Mapping[str, np.ndarray],
        returns: Any,
        fallback: Callable[..., Any] | None = None,
        gate: np.ndarray | None = None,
        frozen: Any = None,
        pinned: Mapping[str, int] | None = None,
    ) -> Callable[..., Any]:
        """A callable that runs the step and returns `returns` with its results filled in.

        `tensor` is the class of tensors; `arguments` puts the step's tensor arguments into the structure of a call, of which the last
        ones are passed by `keywords`; `cells` gives the variable behind each cell, whose `_value` is a tensor, or the `Owner` among the
        arguments that stands for it; `consts` the arrays
        held by reference; `pinned` what open sizes must be, for a trace that shares the step with others. Where a call does not fit it
        returns what `fallback` does (NotImplemented without one), as it does while `gate` is not 0 or what is `frozen` has changed. Raises what the step's checks and
        callbacks raise, with every variable as it was.
        """
        record = self.record
        planned = Plan(
            step=self.address,
            table=record.table,
            tensor=tensor,
            arguments=arguments([Argument(slot if slot in record.table else None, t.dtype.np, t.shape) for slot, t in record.arguments]),
            keywords=keywords,
            cells=[self._cell(c, cells[c.cell]) for c in record.cells],
            results=[Result(f"{b}.address" if b in record.late else b, t.dtype.np, t.shape, b in record.late) for b, t in record.results],
            returns=returns,
            sizes=record.sizes,
            guards=[
                *((sizes.named(name), value) for name, value in (pinned or {}).items()),
                *((a, b) for a, b in record.guards if sizes.names(a) | sizes.names(b) <= set(record.sizes)),
            ],
            constants={b: np.ascontiguousarray(consts[n]) for n, b in record.consts if b in record.table}
            | {b: np.ascontiguousarray(a) for b, a in record.constants.items() if b in record.table},
            addresses={} if self._callback is None else {"callback": ctypes.cast(self._callback, ctypes.c_void_p).value or 0},
            arena=record.arena,
            gate=gate,
            frozen=frozen,
            release_gil=record.long,
            calls_back=self._callback is not None,
            keep=(self, self.module, self._callback),
        )
        made = launcher(planned, fallback, lambda status: self._raise(status, made.error))
        return made.call

    def _cell(self, c: CellPlan, variable: Any) -> Cell:
        read = c.buffer if c.buffer in self.record.table else None
        write = c.buffer if c.written == "in place" else c.written or None
        return Cell(variable, "_value", c.type.dtype.np, c.type.shape, read, write, c.written == "in place", c.result)

    # -------------------------------------------------------------------------------------- failing
    def _raise(self, status: int, error: np.ndarray) -> None:
        raise self.failure(status, error)

    def failure(self, status: int, error: np.ndarray) -> BaseException:
        """The exception that a status stands for, with the user's line and the operands that the kernel wrote down."""
        pending = getattr(self._raised, "error", None)
        if pending is not None:
            self._raised.error = None
            return pending
        if status < 0:
            return MemoryError(f"{self.record.name}: no memory for an intermediate result")
        node = status - 1
        place = self.record.places[node] if node < len(self.record.places) else None
        op = self.record.ops[node] if node < len(self.record.ops) else "?"
        operands = [float(v) for v in error[2 : 2 + int(error[1])].view(np.float64)] if 0 <= int(error[1]) <= ERROR_WORDS - 2 else []
        said = OPS[op].failure(*operands, **self.record.told.get(node, {})) if op in OPS else f"{op} failed"
        return InvalidArgumentError(f"{said}\n{place.quote()}" if place is not None else said)

    def _host_call(self, index: int, addresses: Any, dims: Any) -> int:
        """Do the work of a host call on the buffers it passes; an exception is kept and raised when the step has returned."""
        work = self.record.host[index]
        try:
            env = {n: dims[k] for k, n in enumerate(work.sizes)}

            def view(at: int, t: Type) -> np.ndarray:
                return _array_at(addresses[at], tuple(sizes.evaluate(d, env) for d in t.shape), t.dtype.np)

            operands = [view(*o) if isinstance(o, tuple) else o for o in work.operands]
            with np.errstate(all="ignore"):
                out = work.op.eager(*operands, **_evaluated(work.attrs, env))
            results = out if isinstance(out, tuple) else (out,) if work.results else ()
            for (at, t), value in zip(work.results, results, strict=True):
                view(at, t)[...] = value
            return 0
        except InvalidArgumentError as e:
            place = self.record.places[work.node] if work.node < len(self.record.places) else None
            known = "function" in work.attrs or "\n  at " in str(e)  # what the user's own Python raises stays as it is
            self._raised.error = e if known or place is None else InvalidArgumentError(f"{e}\n{place.quote()}")
            return 1
        except BaseException as e:
            self._raised.error = e
            return 1


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.c_int64))


def _evaluated(attrs: dict[str, Any], env: dict[str, int]) -> dict[str, Any]:
    def at(v: Any) -> Any:
        if isinstance(v, sizes.Size):
            return sizes.evaluate(v, env)
        return tuple(at(x) for x in v) if isinstance(v, tuple) else v

    return {k: at(v) for k, v in attrs.items()}


def _array_at(address: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The memory at `address` as an array that owns nothing."""
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return np.empty(shape, dtype)
    raw = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(memoryview(raw), dtype=dtype, count=count).reshape(shape)

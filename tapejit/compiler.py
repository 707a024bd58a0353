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
from collections.abc import Mapping
from dataclasses import dataclass
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
from tapejit.passes import pipeline
from tapejit.runtime import cache, call, host, load
from tapejit.schedule.plan import CellPlan, HostWork, Plan, plan
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
    guards: tuple[tuple[Dim, Dim], ...]
    symbols: tuple[str, ...]


@dataclass
class Timing:
    """Seconds that the first call spent where; `hit` if the code came from the disk."""

    trace: float = 0.0
    passes: float = 0.0
    schedule: float = 0.0
    codegen: float = 0.0
    compile: float = 0.0
    load: float = 0.0
    hit: bool = False


def compile(graph: Graph, timing: Timing | None = None) -> Compiled:
    """The native step of a traced graph."""
    timing = timing if timing is not None else Timing()
    target = host.target()
    key = cache.key("step", __version__, target, printer.text(graph))
    store = cache.default()
    found = _unpacked(store.lookup(key))
    if found is not None:
        timing.hit = True
        record, code = found
    else:
        from tapejit.codegen import llvm
        from tapejit.runtime import compile as native

        started = time.perf_counter()
        optimized = pipeline.run(graph)
        timing.passes = time.perf_counter() - started
        started = time.perf_counter()
        planned = plan(optimized, target)
        timing.schedule = time.perf_counter() - started
        started = time.perf_counter()
        source = llvm.module(planned.program, target)
        timing.codegen = time.perf_counter() - started
        started = time.perf_counter()
        code = native.object_code(source.text)
        timing.compile = time.perf_counter() - started
        record = record_of(optimized, planned, source.entry, source.symbols)
        if all(OPS.get(w.op.name) is w.op for w in record.host):
            store.store(key, graph.name, pickle.dumps((record, code)))
    started = time.perf_counter()
    compiled = Compiled(record, code)
    timing.load = time.perf_counter() - started
    return compiled


def _unpacked(payload: bytes | None) -> tuple[Record, bytes] | None:
    if payload is None:
        return None
    try:
        return pickle.loads(payload)
    except Exception:  # written by another version of a class; as good as absent
        return None


def record_of(graph: Graph, planned: Plan, entry: str, symbols: tuple[str, ...]) -> Record:
    """The calling record of a plan."""
    program = planned.program
    ops = tuple(n.op.name for n in graph.walk())
    return Record(
        program.name, entry, program.table, program.sizes, program.arena, planned.arguments, planned.cells, planned.consts, planned.constants,
        planned.results, planned.late, planned.host, planned.places, ops, tuple(graph.guards), symbols,
    )  # fmt: skip


class Compiled:
    """A native step and its calling record. `run` calls it the plain way; the porch's launcher has a faster one."""

    def __init__(self, record: Record, code: bytes) -> None:
        self.record = record
        self.module = load.Module(code, record.symbols)
        self.address = self.module.address(record.entry)
        self._slot = {name: k for k, name in enumerate(record.table)}
        self._call = call.plain(self.address, release_gil=False)
        self._arena = threading.local()
        self.raised: threading.local = threading.local()
        self._constants = {b: np.ascontiguousarray(a) for b, a in record.constants.items()}
        self.callback = _CALLBACK(self._host_call) if record.host else None

    # -------------------------------------------------------------------------------------- calling
    def template(self, consts: Mapping[str, np.ndarray]) -> np.ndarray:
        """The table with all that stays the same from call to call: constants and the callback."""
        table = np.zeros(len(self._slot), np.int64)
        for name, buffer in self.record.consts:
            if buffer in self._slot:
                table[self._slot[buffer]] = consts[name].ctypes.data
        for buffer, array in self._constants.items():
            if buffer in self._slot:
                table[self._slot[buffer]] = array.ctypes.data
        if self.callback is not None:
            table[self._slot["callback"]] = ctypes.cast(self.callback, ctypes.c_void_p).value
        return table

    def bind(self, shapes: list[tuple[int, ...]]) -> dict[str, int]:
        """Values of the named sizes from the shapes of the arguments, then of the cells. InvalidArgumentError if they do not fit."""
        env: dict[str, int] = {}
        types = [t for _, t in self.record.arguments] + [c.type for c in self.record.cells]
        for attempt in range(2):
            for t, shape in zip(types, shapes, strict=True):
                if len(t.shape) != len(shape):
                    raise InvalidArgumentError(f"{self.record.name}: expected {t}, got shape {list(shape)}")
                for d, n in zip(t.shape, shape, strict=True):
                    solved = sizes.solve(d, n, env) if isinstance(d, sizes.Size) else None
                    if solved is not None:
                        env.setdefault(*solved)
                    if attempt and sizes.evaluate(d, env) != n:
                        raise InvalidArgumentError(f"{self.record.name}: expected {t}, got shape {list(shape)}")
        for a, b in self.record.guards:
            if sizes.names(a) | sizes.names(b) <= set(env) and sizes.evaluate(a, env) != sizes.evaluate(b, env):
                raise InvalidArgumentError(f"{self.record.name}: sizes {a} and {b} must be equal, got {sizes.evaluate(a, env)} and {sizes.evaluate(b, env)}")
        return env

    def run(self, arguments: list[np.ndarray], cells: list[np.ndarray], consts: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """Results, and the new arrays of the cells that were written. Nothing passed in is changed.

        Raises what the step's checks and callbacks raise.
        """
        record, slot = self.record, self._slot
        arguments = [np.ascontiguousarray(a) for a in arguments]
        cells = [np.ascontiguousarray(c) for c in cells]
        env = self.bind([a.shape for a in arguments] + [c.shape for c in cells])
        table = self.template(consts)
        keep: list[Any] = [arguments, cells]
        for (buffer, _), a in zip(record.arguments, arguments, strict=True):
            table[slot[buffer]] = a.ctypes.data
        written: dict[str, np.ndarray] = {}
        for c, array in zip(record.cells, cells, strict=True):
            if c.written == "in place":
                array = array.copy()
                written[c.cell] = array
            table[slot[c.buffer]] = array.ctypes.data
            if c.written not in ("", "in place"):
                written[c.cell] = np.empty(tuple(sizes.evaluate(d, env) for d in c.type.shape), c.type.dtype.np)
                table[slot[c.written]] = written[c.cell].ctypes.data
        results: list[Any] = []
        for buffer, t in record.results:
            if buffer in record.late:
                results.append(None)
            else:
                out = np.empty(tuple(sizes.evaluate(d, env) for d in t.shape), t.dtype.np)
                table[slot[buffer]] = out.ctypes.data
                results.append(out)
        arena, base = self._take_arena(sizes.evaluate(record.arena, env))
        keep.append(arena)
        table[slot["arena"]] = base
        for name in record.sizes:
            table[slot[name]] = env[name]
        error = np.zeros(ERROR_WORDS, np.int64)
        table[slot["error"]] = error.ctypes.data
        status = self._call(table)
        if status:
            raise self.failure(status, error)
        for k, (buffer, t) in enumerate(record.results):
            if buffer in record.late:
                at = slot[f"{buffer}.address"]
                results[k] = _adopted(int(table[at]), tuple(int(n) for n in table[at + 1 : at + 1 + t.rank]), t.dtype.np)
        return results, written

    def _take_arena(self, nbytes: int) -> tuple[np.ndarray, int]:
        """Memory for intermediates, 64-byte aligned. A thread keeps its own; a call inside a call gets another."""
        arena = np.empty(nbytes + 64, np.uint8)
        return arena, (arena.ctypes.data + 63) & ~63

    # -------------------------------------------------------------------------------------- failing
    def failure(self, status: int, error: np.ndarray) -> BaseException:
        """The exception that a status stands for, with the user's line and the operands that the kernel wrote down."""
        pending = getattr(self.raised, "error", None)
        if pending is not None:
            self.raised.error = None
            return pending
        if status < 0:
            return MemoryError(f"{self.record.name}: no memory for an intermediate result")
        node = status - 1
        place = self.record.places[node] if node < len(self.record.places) else None
        op = self.record.ops[node] if node < len(self.record.ops) else "?"
        operands = [float(v) for v in error[2 : 2 + int(error[1])].view(np.float64)] if 0 <= int(error[1]) <= ERROR_WORDS - 2 else []
        explain = getattr(OPS.get(op), "failure", None)
        said = explain(*operands) if explain is not None else f"{op} failed" + (f" on {', '.join(f'{v:g}' for v in operands)}" if operands else "")
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
        except BaseException as e:
            self.raised.error = e
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
    return np.frombuffer(raw, dtype, count).reshape(shape)


def _adopted(address: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A copy of memory that the step allocated for a result; the memory is given back."""
    out = _array_at(address, shape, dtype).copy()
    _free(ctypes.c_void_p(address))
    return out


def _free(address: ctypes.c_void_p) -> None:
    ctypes.CDLL(None).free(address)

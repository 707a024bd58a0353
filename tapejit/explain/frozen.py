"""Python values from outside that a trace has frozen: globals, attributes, closure variables and small arrays, and whether they still hold.

In: the frames of the user's that run while a function is traced. Out: a `Frozen`: which names were read on lines that
ran, their values and lines, and a table that the native launcher compares in a few nanoseconds a name. Only what cannot change by itself is
kept: numbers, strings, None, tuples of those, and arrays of few bytes. Names that the traced code itself writes are left out.
"""

from __future__ import annotations

import itertools
import linecache
import sys
import sysconfig
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CellType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.core.places import Place, is_ours, place_of
from tapejit.explain.bytecode import Chain, read_by
from tapejit.explain.retraces import Change
from tapejit.explain.warned import FrozenValueWarning, LeakedTensorWarning, warn
from tapejit.record.recorder import Recorder, SymbolicTensor
from tapejit.runtime.layout import FROZEN_ATTRIBUTE, FROZEN_BYTES, FROZEN_CELL, FROZEN_ITEM

POLICIES = ("warn", "retrace", "off")
_MOST = 64  # names that are watched per trace
_ARRAY = 256  # bytes of an array that are compared
_LOOKED_AT = 1000  # elements of a container that are looked at
_SCALARS = (int, float, bool, str, bytes, complex, type(None))
_OURS = 2  # references to a container that nobody else holds: ours, and that of the call that counts them
_MISSING: Any = type("Missing", (), {"__repr__": lambda self: "gone"})()


@dataclass(frozen=True)
class Hop:
    """One step to a value: an item of a dict, an attribute of an object, or the content of a cell. `of` gives what is asked."""

    kind: int
    of: Callable[[], Any]
    key: Any = None

    def take(self) -> Any:
        """What is there now."""
        try:
            if self.kind == FROZEN_ITEM:
                return self.of()[self.key]
            if self.kind == FROZEN_ATTRIBUTE:
                return getattr(self.of(), self.key)
            return self.of().cell_contents
        except (KeyError, AttributeError, ValueError, TypeError):
            return _MISSING


@dataclass
class Read:
    """A name that was read while tracing, with its value then. `path` leads to it; `seen` is what was met on the way, the value last."""

    name: str
    place: Place
    path: tuple[Hop, ...]
    seen: list[Callable[[], Any]]  # what gives each, if it is still there
    value: Any
    kept: np.ndarray | None = None  # a snapshot of an array

    @property
    def then(self) -> Any:
        """The value while tracing."""
        return self.value if self.kept is None else self.kept

    def now(self) -> Any:
        """The value at present."""
        return self.path[-1].take()

    def gone(self) -> bool:
        """Whether an object on the way is no more."""
        return any(hop.of() is None for hop in self.path)

    def moved(self) -> bool:
        """Whether another, equal object is in the place of what was met."""
        return any(hop.take() is not seen() for hop, seen in zip(self.path, self.seen, strict=True))

    def holds(self) -> bool:
        """Whether the value is as it was. An equal one is taken for the same."""
        return _same(self.path[-1].take(), self.value, self.kept) and not any(
            hop.take() is not seen() for hop, seen in zip(self.path[:-1], self.seen[:-1], strict=True)
        )


def _same(now: Any, value: Any, kept: np.ndarray | None) -> bool:
    if kept is not None:
        return now is value and now.shape == kept.shape and now.dtype == kept.dtype and now.tobytes() == kept.tobytes()
    if now is value:
        return True
    try:
        return type(now) is type(value) and repr(now) == repr(value)
    except Exception:
        return False


class Frozen:
    """The values that one trace has frozen, and the table that native code compares (see `runtime.layout`)."""

    def __init__(self, reads: list[Read]) -> None:
        self.reads = reads[:_MOST]
        self.table = np.zeros(4 + 4 * sum(len(r.path) + (r.kept is not None) for r in self.reads), np.int64)
        self._alive: list[Any] = []
        self._write()

    def _write(self) -> None:
        rows: list[tuple[int, int, int, int]] = []
        self._alive = []
        for read in self.reads:
            for hop in read.path:
                asked, met = hop.of(), hop.take()
                key = sys.intern(hop.key) if type(hop.key) is str else hop.key
                self._alive += [key, self._held(asked), self._held(met)]
                rows.append((hop.kind, id(asked), id(key), id(met)))
            if read.kept is not None:
                self._alive.append(read.value)
                rows.append((FROZEN_BYTES, read.value.ctypes.data, read.kept.ctypes.data, read.kept.nbytes // 4))
        self.table[:] = 0
        self.table[0] = len(rows)
        self.table[4 : 4 + 4 * len(rows)] = np.array(rows, np.int64).reshape(-1)

    def _held(self, thing: Any) -> Any:
        """What keeps the address of a thing valid: the thing, or for an object that may go a reference that voids the table when it does."""
        if isinstance(thing, dict | ModuleType | type | CellType) or _plain(thing):
            return thing
        table = self.table

        def gone(_: Any) -> None:
            table[0] = -1

        try:
            return weakref.ref(thing, gone)
        except TypeError:
            return thing

    def holds(self) -> bool:
        """Whether all values are as they were."""
        return not self.changed()

    def changed(self) -> list[Read]:
        """Those that are not. The table is brought up to date if values are equal but no longer the same objects."""
        lost = [r for r in self.reads if r.gone()]
        if lost:
            self.forget(lost)
        out = [r for r in self.reads if not r.holds()]
        if not out and any(r.moved() for r in self.reads):
            for r in self.reads:
                r.seen = [_weakly(hop.take()) for hop in r.path]
            self._write()
        return out

    def forget(self, reads: list[Read]) -> None:
        """Watch these no longer."""
        self.reads = [r for r in self.reads if not any(r is x for x in reads)]
        self._write()

    def tell(self, function: str) -> None:
        """Warn of what has changed, once for each name."""
        changed = self.changed()
        for r in changed:
            warn(
                FrozenValueWarning,
                f"{r.name} is {_told(r.now())} now, but {function} was traced with {_told(r.then)} (read at {r.place}) and keeps that. Pass it as an "
                "argument, keep it in a tf.Variable, or write @tf.function(guard='retrace').",
                places.here(),
            )
        if changed:
            self.forget(changed)


def _weakly(thing: Any) -> Callable[[], Any]:
    """What gives a thing as long as somebody else holds it, or always, if it is plain or cannot be referred to weakly."""
    if not _plain(thing):
        try:
            return weakref.ref(thing)
        except TypeError:
            pass
    return lambda: thing


def _while_held(thing: Any) -> Callable[[], Any]:
    """What gives a thing as long as somebody else holds it, a list or dict too; `_MISSING` or None after that."""
    if not isinstance(thing, list | dict | set):
        return _weakly(thing)
    held = [thing]
    return lambda: held[0] if sys.getrefcount(held[0]) > _OURS else _MISSING


def _told(value: Any) -> str:
    text = repr(value).replace("\n", "")
    return text if len(text) <= 60 else text[:57] + "..."


def changes(reads: list[Read]) -> tuple[Change, ...]:
    """What has changed as the reason of a trace."""
    return tuple(Change(f"{r.name} (read at {r.place})", "value", _told(r.then), _told(r.now())) for r in reads)


# ------------------------------------------------------------------------------------------------------ collecting
@dataclass
class Collector:
    """Notes the frames of the user's that run while a function is traced."""

    function: Any
    reads: dict[tuple[str, int], Read] = field(default_factory=dict)
    written: set[Any] = field(default_factory=set)
    left: int = 50_000  # instructions that are still looked at
    _ran: dict[CodeType, set[int]] = field(default_factory=dict)  # offsets of the instructions that ran
    _frames: dict[tuple[Any, ...], tuple[CodeType, dict[str, Any], dict[str, Any]]] = field(default_factory=dict)

    def local(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The trace function of a frame of the user's."""
        if event == "opcode":
            self._ran.setdefault(frame.f_code, set()).add(frame.f_lasti)
            self.left -= 1
            if self.left < 0:  # long loops in Python have shown all their lines by now
                frame.f_trace_opcodes = False
        elif event == "return":
            self.finished(frame)
        return self.local

    def finished(self, frame: FrameType) -> None:
        """Note what the locals of a frame are by which it reads attributes."""
        code = frame.f_code
        wanted = read_by(code).locals
        values = frame.f_locals if wanted else {}
        roots = {name: values[name] for name in wanted if name in values}
        self._frames.setdefault((code, id(frame.f_globals), *(id(x) for x in roots.values())), (code, frame.f_globals, roots))

    def merge(self, other: Frozen) -> None:
        """What a function that is called was traced with belongs to the caller's trace as well."""
        for r in other.reads:
            self.reads.setdefault((r.name, id(r.path[-1].of())), r)

    def result(self) -> Frozen:
        """What has been read on lines that ran, and not written."""
        cells = _cells_of(self.function)
        written: list[tuple[str, Callable[[], Any], Place]] = []
        for code in self._ran:
            self.written |= read_by(code).written
        for code, globals_, roots in self._frames.values():
            ran = self._ran.get(code, set())
            for chain in read_by(code).chains:
                if chain.offset in ran or chain.offset - 2 in ran:  # before it may stand an EXTENDED_ARG
                    self._follow(code, chain, globals_, roots, cells)
            for chain in read_by(code).stores:
                if chain.offset in ran or chain.offset - 2 in ran:
                    written.append((chain.name, _while_held(_object(chain, globals_, roots, cells)), place_of(code, chain.offset)))
            del roots
        self._frames.clear()  # what nothing else holds was made while tracing and has gone with the function's locals
        leaks: dict[str, tuple[SymbolicTensor, list[Place]]] = {}
        for name, thing, at in written:
            leaked = _leaked(thing())
            if leaked is not None:
                leaks.setdefault(name, (leaked, []))[1].append(at)
        for name, (leaked, places_) in leaks.items():
            self._tell_of_leak(name, leaked, places_)
        return Frozen([r for r in self.reads.values() if r.now() is not _MISSING])

    def _tell_of_leak(self, name: str, leaked: SymbolicTensor, at: list[Place]) -> None:
        """Warn of a symbolic tensor that has been put where it outlives the trace, once for each name and place."""
        if (name, at[0]) in _told_of:
            return
        _told_of.add((name, at[0]))
        also = f" (or at {', '.join(map(str, at[1:]))})" if at[1:] else ""
        warn(
            LeakedTensorWarning,
            f"{name} has been given the symbolic tensor {leaked.value.name!r}{also} while {getattr(self.function, '__name__', 'a function')} was traced. "
            "This happens once per trace, not once per call, and the tensor has no value. Return it, or keep it in a tf.Variable or tf.TensorArray.",
            at[0],
        )

    def _follow(self, code: CodeType, chain: Chain, globals_: dict[str, Any], roots: dict[str, Any], cells: dict[str, Any]) -> None:
        name, path, seen = chain.name, [], []
        if chain.kind == "local":
            at = roots.get(chain.root, _MISSING)
        else:
            if chain.kind == "global":
                hop = Hop(FROZEN_ITEM, lambda: globals_, chain.root)
            elif chain.root in cells:
                cell = cells[chain.root]
                hop = Hop(FROZEN_CELL, lambda: cell)
            else:
                return
            at = hop.take()
            path, seen = [hop], [at]
        if at is _MISSING or (chain.root in self.written and chain.kind != "local"):
            return
        for kind, key in chain.steps:
            step = _hop(at, kind, key)
            if step is None or key in self.written:
                return
            path.append(step)
            at = step.take()
            seen.append(at)
        kept = _kept(at)
        if not path or at is _MISSING or (kept is None and not _plain(at)):
            return
        self.reads.setdefault(
            (name, id(path[-1].of())), Read(name, place_of(code, chain.offset), tuple(path), list(map(_weakly, seen)), at, kept)
        )


def _plain(value: Any) -> bool:
    """Whether a value cannot change by itself."""
    return (
        type(value) in _SCALARS or isinstance(value, np.generic) or (type(value) is tuple and len(value) <= 16 and all(map(_plain, value)))
    )


def _kept(value: Any) -> np.ndarray | None:
    """A snapshot of an array that is small enough to be compared at every call."""
    if (
        type(value) is np.ndarray
        and value.nbytes <= _ARRAY
        and value.nbytes % 4 == 0
        and value.flags.c_contiguous
        and not value.dtype.hasobject
    ):
        return value.copy()
    return None


def _hop(thing: Any, kind: str, key: Any) -> Hop | None:
    """The step from an object to a part of it, where that is a plain look-up; modules that come with Python or packages are passed by."""
    if kind == "item":
        return Hop(FROZEN_ITEM, lambda: thing, key) if type(thing) is dict and type(key) in (str, int) else None
    if isinstance(thing, ModuleType):
        file = getattr(thing, "__file__", None) or ""
        foreign = not file or "site-packages" in file or file.startswith(_LIBRARY) or thing.__name__.partition(".")[0] == "tapejit"
        return None if foreign else Hop(FROZEN_ITEM, lambda: thing.__dict__, key)
    if isinstance(thing, type) or type(thing).__getattribute__ is not object.__getattribute__ or not hasattr(thing, "__dict__"):
        return None
    found = thing.__dict__.get(key, _MISSING)
    if found is _MISSING:
        found = next((vars(c)[key] for c in type(thing).__mro__ if key in vars(c)), _MISSING)
        if found is _MISSING or hasattr(type(found), "__get__"):
            return None
    try:
        reference = weakref.ref(thing)
    except TypeError:
        return Hop(FROZEN_ATTRIBUTE, lambda: thing, key)
    return Hop(FROZEN_ATTRIBUTE, reference, key)


def _cells_of(function: Any, depth: int = 4) -> dict[str, Any]:
    """The closure of a function and of the functions in it, by name."""
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType) or not depth:
        return {}
    out: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        out[name] = cell
        try:
            inner = cell.cell_contents
        except ValueError:
            continue
        out = {**_cells_of(getattr(inner, "python_function", inner), depth - 1), **out}
    return out


def _leaked(held: Any) -> SymbolicTensor | None:
    """A symbolic tensor that a thing is, or holds."""
    parts = held.values() if isinstance(held, dict) else held if isinstance(held, list | tuple | set | deque) else (held,)
    return next((x for x in itertools.islice(parts, _LOOKED_AT) if isinstance(x, SymbolicTensor)), None)


def _object(chain: Chain, globals_: dict[str, Any], roots: dict[str, Any], cells: dict[str, Any]) -> Any:
    """What a chain leads to by plain look-ups; `_MISSING` where it leads nowhere."""
    at = roots.get(chain.root, _MISSING) if chain.kind == "local" else globals_.get(chain.root, _MISSING)
    if chain.kind == "cell":
        at = Hop(FROZEN_CELL, lambda: cells.get(chain.root)).take()
    for kind, key in chain.steps:
        step = _hop(at, kind, key)
        at = _MISSING if step is None else step.take()
    return at


class _Thread(threading.local):
    """The collectors at work in this thread, of functions being traced, innermost last."""

    def __init__(self) -> None:
        self.collectors: list[Collector] = []


_thread = _Thread()
_told_of: set[tuple[str, Place]] = set()
_LIBRARY = sysconfig.get_paths()["stdlib"]


_known: dict[CodeType, bool] = {}


def _foreign(code: CodeType) -> bool:
    """Whether code is not the program's own: ours, Python's, a package's, or generated. Cells of notebooks have a source, like files."""
    file = code.co_filename
    generated = file.startswith("<") and not linecache.getlines(file)
    return is_ours(code) or "site-packages" in file or file.startswith(_LIBRARY) or generated


def _tracer(frame: FrameType, event: str, arg: Any) -> Any:
    code = frame.f_code
    foreign = _known.get(code)
    if foreign is None:
        foreign = _known[code] = _foreign(code)
    if code.co_name in ("set_trace", "settrace"):  # a debugger takes over, to whom instructions mean nothing
        outer = frame.f_back
        while outer is not None:
            outer.f_trace_opcodes, outer.f_trace_lines = False, True
            outer = outer.f_back
        return None
    if foreign or not _thread.collectors or _thread.collectors[-1].left < 0:
        return None
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    return _thread.collectors[-1].local


Recorder.observer = staticmethod(_tracer)


@contextmanager
def collecting(function: Any) -> Iterator[Collector]:
    """Within, what the user's code reads is noted; nothing is where a debugger or a coverage tool traces already."""
    collector = Collector(function)
    before = sys.gettrace()
    ours = before is None or before is _tracer
    _thread.collectors.append(collector)
    if ours:
        sys.settrace(_tracer)
    try:
        yield collector
    finally:
        _thread.collectors.pop()
        if ours and sys.gettrace() is _tracer:
            sys.settrace(before)


def merge(frozen: Frozen | None) -> None:
    """A function with these values is being made part of the one being traced."""
    if _thread.collectors and frozen is not None:
        _thread.collectors[-1].merge(frozen)

"""Why a function was traced again: the call compared with the nearest earlier trace, leaf by leaf, and what to write to avoid it.

In: the keys of calls that made traces. Out: `Trace` records with the leaves that differ, the line of the call, what it cost and what to
paste; and, unless the function is told otherwise, one warning for each trace that nobody asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import CodeType
from typing import Any, cast

import optree

from tapejit.core import places, sizes
from tapejit.core.places import Place
from tapejit.explain.warned import RetraceError, RetraceWarning, warn
from tapejit.signature import Arguments, LiteralLeaf, ObjectLeaf, Signature, TensorLeaf, VariableLeaf

POLICIES = ("warn", "error", "ignore")
_KEPT = 1000  # records per function; a program that retraces for ever must not grow with it
_NEAR = 64  # earlier traces that a new one is compared with
_EACH = 10  # retraces of one function that are told one by one; from then on only every doubling
_ALIKE = 5  # functions made of one `def` and called alike at one line before it is said that they share nothing

FIRST = "first call"
CREATED = "variables were created"
ASKED = "get_concrete_function"
INLINED = "called while another function is traced"
GENERAL = "reduce_retracing"
UNEQUAL = "sizes taken to be equal are not"
GUARDED = "a value from outside has changed"
CALL = "a call that fits no trace"
FORGOTTEN = "its trace has been forgotten for newer ones"
_UNEXPECTED = (CALL, FORGOTTEN)


@dataclass(frozen=True)
class Change:
    """One leaf of the arguments in which a call differs: `what` is "shape", "dtype", "value", "type", "structure", "object" or "identity"."""

    path: str
    what: str
    before: str
    after: str
    axes: tuple[int, ...] = ()

    def __str__(self) -> str:
        at = "" if not self.axes else f", axis {self.axes[0]}" if len(self.axes) == 1 else f", axes {', '.join(map(str, self.axes))}"
        return f"{self.path}: {self.what} {self.before} -> {self.after}{at}"


@dataclass(frozen=True)
class Trace:
    """One trace of a function.

    `cause` says what made it; `changes` in what it differs from `against`, the number of the earlier trace nearest to it (0: none).
    `place` is the line of the call, `milliseconds` what tracing and compiling took, `paste` what to write so that it does not
    happen again (empty where there is nothing).
    """

    number: int
    function: str
    signature: str
    cause: str
    place: Place | None
    milliseconds: float = 0.0
    against: int = 0
    changes: tuple[Change, ...] = ()
    paste: str = ""
    advice: str = ""

    @property
    def expected(self) -> bool:
        """Whether the program asked for this trace, by its first call or otherwise."""
        return self.cause not in _UNEXPECTED

    @property
    def mode(self) -> bool:
        """Whether it is for another setting, as of `training=`: a bool, a string or None in place of another. There are few of these."""
        settings = ("True", "False", "None", "'", '"')
        return bool(self.changes) and all(
            c.what in ("value", "type") and c.after.startswith(settings) and c.before.startswith(settings) for c in self.changes
        )

    @property
    def path(self) -> str:
        """The first leaf that differs."""
        return self.changes[0].path if self.changes else ""

    @property
    def before(self) -> str:
        """What that leaf was in the earlier trace."""
        return self.changes[0].before if self.changes else ""

    @property
    def after(self) -> str:
        """What that leaf is now."""
        return self.changes[0].after if self.changes else ""

    def line(self) -> str:
        """The trace in one line, without the place."""
        why = "; ".join(map(str, self.changes)) or self.cause
        return f"{self.function} was traced again, which took {self.milliseconds:.3g} ms: {why}. {self.advice}".rstrip()


class Retraces(list):
    """Trace records that print as text."""

    def __repr__(self) -> str:
        if not self:
            return "no trace but those that were asked for"
        return "\n".join(f"{'' if t.place is None else f'{t.place}: '}{t.line()}" for t in self)

    __str__ = __repr__


class History:
    """The traces of one function, as records, and the warnings about them."""

    def __init__(self, name: str, policy: str = "warn", code: CodeType | None = None) -> None:
        if policy not in POLICIES:
            raise ValueError(places.with_place(f"on_retrace={policy!r}: write one of {', '.join(map(repr, POLICIES))}"))
        self.name, self.policy, self._code = name, policy, code
        self._traces: deque[tuple[Trace, Arguments]] = deque(maxlen=_KEPT)
        self._count = self._told = 0
        self._open: list[tuple[Trace, Callable[[], float]]] = []  # traces whose cost is not known before they have run

    def expect(self, signature: Signature, arguments: Arguments, cause: str, changed: tuple[Change, ...] = ()) -> Trace:
        """The record of a trace that is about to be made, perhaps because of values from outside. RetraceError where the function forbids it."""
        if not self._traces and cause in (CALL, INLINED, GENERAL):
            cause = FIRST
        found = Trace(self._count + 1, self.name, described(signature, arguments), cause, places.here(1))
        if changed:
            return replace(found, changes=changed)
        if self._traces and cause != CREATED:
            changes, nearest = min(
                ((compared(signature, have, arguments), t) for t, have in islice(reversed(self._traces), _NEAR)),
                key=lambda pair: len(pair[0]),
            )
            if cause == GENERAL and any(c.what != "shape" for c in changes):
                cause = CALL
            if cause == CALL and not changes:
                cause = FORGOTTEN
            paste, advice = (
                remedy(signature, [have for _, have in self._traces], arguments, changes)
                if cause != FORGOTTEN
                else ("", "Raise max_traces, or make calls share traces.")
            )
            found = replace(found, cause=cause, against=nearest.number, changes=changes, paste=paste, advice=advice)
        if self.policy == "error" and not found.expected:
            raise RetraceError(
                places.with_place(f"{self.name} would be traced again: {'; '.join(map(str, found.changes))}. {found.advice}")
            )
        return found

    def made(self, trace: Trace, arguments: Arguments, seconds: float | Callable[[], float]) -> None:
        """The trace exists now. `seconds` gives what it took, perhaps only once it has run."""
        self._count += 1
        forgetful = Arguments(arguments.structure, [], arguments.keys)
        self._traces.append((trace, forgetful))
        self._open.append((trace, seconds if callable(seconds) else lambda: seconds))
        if trace.cause == FIRST:
            _tell_of_copies(self._code, trace)

    def clear(self) -> None:
        """The traces are gone because the program asked for it; the next one is a first one again."""
        self.settle()
        self._traces.clear()

    def settle(self) -> None:
        """Enter what the latest traces took, and give the warnings that are due."""
        opened, self._open = self._open, []
        for trace, seconds in opened:
            done = replace(trace, milliseconds=seconds() * 1e3)
            for k, (have, arguments) in enumerate(self._traces):
                if have is trace:
                    self._traces[k] = done, arguments
            if self.policy == "warn" and not done.expected and not done.mode:
                self._tell(done)

    def _tell(self, trace: Trace) -> None:
        self._told += 1
        told, line = self._told, trace.line()
        if told > _EACH and told & (told - 1):
            return
        if told >= _EACH:
            line += f" This was retrace {told} of {self.name}; of the next ones only every doubling is told, {self.name}.why_retraced() lists them."
        warn(RetraceWarning, line, trace.place)

    def traces(self) -> Retraces:
        """All traces, the latest thousand of them."""
        self.settle()
        return Retraces(t for t, _ in self._traces)

    def retraces(self) -> Retraces:
        """Those that nobody asked for."""
        return Retraces(t for t in self.traces() if not t.expected or t.cause == GUARDED)


_copies: dict[tuple[CodeType, Place | None, str], int] = {}


def _tell_of_copies(code: CodeType | None, trace: Trace) -> None:
    """Functions made of one `def` again and again, as in a loop, are traced each on its own, be their calls ever so alike."""
    if code is None:
        return
    key = code, trace.place, trace.signature
    _copies[key] = _copies.get(key, 0) + 1
    if _copies[key] == _ALIKE:
        warn(
            RetraceWarning,
            f"{trace.function} has been made {_ALIKE} times of the same `def` ({Place(code.co_filename, code.co_firstlineno)}), and each of these "
            "functions is traced on its own. Make the tf.function once, outside the loop.",
            trace.place,
        )


# ---------------------------------------------------------------------------------------------------- comparing
def described(signature: Signature, arguments: Arguments) -> str:
    """The arguments of a call by what the cache knows of them: `x: f32[32, 3], training: True`."""
    return ", ".join(f"{path}: {_told(k)}" for path, k in zip(_paths(signature, arguments), arguments.keys, strict=True))


def compared(signature: Signature, before: Arguments, after: Arguments) -> tuple[Change, ...]:
    """The leaves in which two calls differ."""
    if before.structure == after.structure:
        pairs = zip(_paths(signature, after), before.keys, after.keys, strict=True)
        return tuple(c for path, a, b in pairs if a != b for c in [_change(f"argument {path}", a, b)])
    out: list[Change] = []
    old, new = _by_parameter(signature, before), _by_parameter(signature, after)
    for name in [*new, *(n for n in old if n not in new)]:
        a, b = old.get(name), new.get(name)
        if a is None or b is None:
            out.append(
                Change(f"argument {name}", "structure", "not given" if a is None else "given", "given" if a is None else "not given")
            )
        elif a[0] != b[0]:
            out.append(Change(f"argument {name}", "structure", _structure(a[0]), _structure(b[0])))
        else:
            out += [_change(f"argument {path}", x, y) for path, x, y in zip(b[1], a[2], b[2], strict=True) if x != y]
    return tuple(out) or (Change("arguments", "structure", _structure(before.structure[1]), _structure(after.structure[1])),)


def _paths(signature: Signature, arguments: Arguments) -> list[str]:
    return [base + "".join(f"[{p!r}]" for p in rest) for base, rest in signature.leaf_paths(arguments.structure)]


def _by_parameter(signature: Signature, arguments: Arguments) -> dict[str, tuple[Any, list[str], list[Any]]]:
    """Per parameter the structure of its value, and the paths and keys of its leaves."""
    names, tree = arguments.structure
    out: dict[str, tuple[Any, list[str], list[Any]]] = {}
    listed = iter(zip(signature.leaf_paths(arguments.structure), _paths(signature, arguments), arguments.keys, strict=True))
    for position, child in enumerate(tree.children()):
        taken = [next(listed) for _ in range(child.num_leaves)]
        cut = tree.num_children - len(names)
        base = taken[0][0][0] if taken else names[position - cut] if position >= cut else f"{position} (empty)"
        out[base] = child, [path for _, path, _ in taken], [k for _, _, k in taken]
    return out


def _structure(tree: Any) -> str:
    """A structure with its leaves as dots: `{'a': ., 'b': [., .]}`."""

    class Dot:
        def __repr__(self) -> str:
            return "."

    return repr(optree.tree_unflatten(tree, [Dot()] * tree.num_leaves))


def _change(path: str, a: Any, b: Any) -> Change:
    if type(a) is type(b) and isinstance(a, TensorLeaf | VariableLeaf):
        if a.dtype is not b.dtype:
            return Change(path, "dtype", a.dtype.name, b.dtype.name)
        if a.shape != b.shape:
            differ = [k for k, (m, n) in enumerate(zip(a.shape, b.shape, strict=False)) if m != n] if len(a.shape) == len(b.shape) else []
            return Change(path, "shape", sizes.shown(a.shape), sizes.shown(b.shape), tuple(differ))
        return Change(path, "identity", f"variable {getattr(a, 'alias', 0) + 1}", f"variable {getattr(b, 'alias', 0) + 1}")
    if isinstance(a, LiteralLeaf) and isinstance(b, LiteralLeaf) and a.kind is b.kind:
        return Change(path, "value", repr(a.value), repr(b.value))
    if isinstance(a, ObjectLeaf) and isinstance(b, ObjectLeaf):
        return Change(path, "object", _told(a), f"another {_told(b)}")
    return Change(path, "type", _told(a), _told(b))


def _told(key: Any) -> str:
    match key:
        case TensorLeaf():
            return f"{key.dtype.short}{list(key.shape) if key.shape else ''}"
        case VariableLeaf():
            return f"Variable {key.dtype.short}{list(key.shape) if key.shape else ''}"
        case LiteralLeaf():
            return repr(key.value)
        case ObjectLeaf():
            held = key.object()
            return "<object that is gone>" if held is None else f"<{type(held).__name__}>"
    return str(key)


# ------------------------------------------------------------------------------------------------ what to write
class _Source:
    """Text that stands for itself inside the `repr` of a structure."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def remedy(signature: Signature, earlier: Sequence[Arguments], now: Arguments, changes: Sequence[Change]) -> tuple[str, str]:
    """What to paste, and the sentence around it, so that calls which differ like these share a trace."""
    if not changes:
        return "", ""
    kinds = {c.what for c in changes}
    if kinds == {"shape"}:
        if any(not c.axes for c in changes):
            return "", "Tensors of another rank need a trace of their own; tf.reshape them to one rank, or use on_retrace='ignore'."
        specs = _signature_to_paste(signature, earlier, now)
        if specs:
            return specs, f"Write @tf.function({specs}) or @tf.function(reduce_retracing=True), and one trace serves both."
        return "reduce_retracing=True", "Write @tf.function(reduce_retracing=True), and one trace serves both."
    first = next(c for c in changes if c.what != "shape")
    k = next((k for k, path in enumerate(_paths(signature, now)) if first.path == f"argument {path}"), None)
    key = None if k is None else now.keys[k]
    parameter = first.path.removeprefix("argument ")
    if first.what in ("value", "type") and isinstance(key, LiteralLeaf) and key.kind in (int, float, complex):
        return (
            f"tf.constant({key.value!r})",
            f"Python numbers are part of the cache key, tensors are not: pass {parameter} as tf.constant({key.value!r}).",
        )
    if first.what == "dtype":
        return f"tf.cast({parameter}, tf.{first.before})", f"Pass tf.cast({parameter}, tf.{first.before}) to stay with one dtype."
    if first.what == "object":
        return "", f"Objects are part of the cache key by identity: pass the same object each time, or what {parameter} holds as tensors."
    return "", "If a trace for each is meant, write @tf.function(on_retrace='ignore')."


def _signature_to_paste(signature: Signature, earlier: Sequence[Arguments], now: Arguments) -> str:
    """`input_signature=[...]` with the sizes left open in which traces of this structure differ; empty if there is none.

    It lists the leading arguments, which must hold nothing but tensors; those behind them must have their default values.
    """
    names, tree = now.structure
    if names:
        return ""
    shapes = [list(k.shape) if isinstance(k, TensorLeaf) else [] for k in now.keys]
    for have in earlier[-_NEAR:]:
        if have.structure != now.structure:
            continue
        for shape, k, other in zip(shapes, now.keys, have.keys, strict=True):
            if isinstance(k, TensorLeaf) and isinstance(other, TensorLeaf) and other.dtype is k.dtype and len(other.shape) == len(shape):
                shape[:] = [a if a == b else None for a, b in zip(shape, other.shape, strict=True)]
    leaves: list[Any] = [
        _Source(f"tf.TensorSpec({shape!r}, tf.{k.dtype.name})") if isinstance(k, TensorLeaf) else k
        for shape, k in zip(shapes, now.keys, strict=True)
    ]
    listed = list(optree.tree_unflatten(tree, leaves))
    defaults = [] if signature.parameters is None else [p.default for p in signature.parameters.parameters.values()]
    while listed and isinstance(listed[-1], LiteralLeaf) and len(listed) <= len(defaults):
        if type(defaults[len(listed) - 1]) is not listed[-1].kind or defaults[len(listed) - 1] != listed[-1].value:
            return ""
        listed.pop()
    leaves = optree.tree_leaves(cast(Any, listed), none_is_leaf=True)
    return f"input_signature={listed!r}" if all(isinstance(x, _Source) for x in leaves) else ""

"""`GradientTape`: records ops while it is active and differentiates what it recorded.

Eagerly the tape keeps raw records and runs the sweep on eager tensors. While a function is traced, its lines carry the tape's name
and `gradient` is a line of the graph, which the pass `differentiate` opens out.
"""

from __future__ import annotations

import itertools
import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tapejit.core import places, sizes
from tapejit.core.places import Place
from tapejit.core.sizes import Dim
from tapejit.explain import numerics
from tapejit.explain.diary import ASSIGNMENT, EXPORT, NUMPY_VALUE, Diary, Kept
from tapejit.explain.gradients import RELEASED, Explanation, Source, explain, resolved
from tapejit.function import Function
from tapejit.ir.op import Listener, Op, thread
from tapejit.jacobians import rows_of
from tapejit.lookups import Lookup, gradients
from tapejit.ops.elementwise import full, ones_like, zeros_like
from tapejit.ops.shapes import reshape, transpose
from tapejit.record.source import assigned_at, name_at
from tapejit.record.sweep import Record, lookups, sweep
from tapejit.recorded import DECISION, function_of, names_of, names_on
from tapejit.targets import UnconnectedGradients, flatten, leaves_checked, seeds_for, single, unflatten, zeros_asked
from tapejit.tensor import EagerTensor, Tensor
from tapejit.traced_tape import TracedTape
from tapejit.variable import Variable

_log = logging.getLogger("tapejit")


def seated(tape: Any) -> tuple[Any, ...]:
    """The tapes of the thread with one more. Those that push tangents forward come last: what they compute uses an op's result, so all
    others must have recorded the op by then.
    """
    pushing = [t for t in thread.tapes if t.pushes]
    return (*(t for t in thread.tapes if not t.pushes), tape, *pushing)


class GradientTape(Listener):
    """TensorFlow's `tf.GradientTape`.

    Records ops with an operand that is watched or derived from one: trainable variables are watched when they are read
    (unless `watch_accessed_variables=False`), tensors by `watch`. `persistent=True` allows several calls of `gradient`.
    """

    pushes = False  # it does not compute when it records

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent, self._watch_accessed = persistent, watch_accessed_variables
        self._records: list[Record] = []
        self._active: dict[int, Any] = {}  # id -> the tensor that is watched or derived, kept alive so that ids stay unique
        self._reads: dict[int, tuple[Variable, list[Any]]] = {}  # id of a variable -> it, and its values read on this tape
        self._watched_variables: dict[int, Variable] = {}  # by reading or by `watch`
        self._recording = self._entered = self._used = False
        self._traced: TracedTape | None = None
        self._diary, self._kept = Diary(), Kept()  # for `explain`: while it records, and once the record is gone
        self._missed: tuple[int, list[Any], list[Any]] = (0, [], [])  # the latest sources without gradient, and their targets
        _tapes.add(self)
        self._values: dict[int, tuple[Variable, Any]] = {}  # by id, values read while active, of watched variables or not
        self._name = ""
        if thread.recorder is not None:
            frame = places.user_frame(2)
            self._name = name_at(frame.f_code, frame.f_lasti).base if frame is not None else ""

    # ----------------------------------------------------------------------------------- recording
    def __enter__(self) -> GradientTape:
        if self._recording:
            raise ValueError(places.with_place("Tape is still recording, This can happen if you try to re-enter an already-active tape."))
        self._entered = True
        self._diary.entered_at = places.position()
        recorder = thread.recorder
        if recorder is not None and (self._traced is None or self._traced.root() is not recorder.root):
            self._traced = TracedTape(recorder, self._name)
        self._start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._recording:
            self._stop()

    def _start(self) -> None:
        thread.tapes = seated(self)
        self._recording = True
        if self._traced is not None and thread.recorder is not None:
            thread.recorder.tapes = (*thread.recorder.tapes, self._traced.name)

    def _stop(self) -> None:
        thread.tapes = tuple(t for t in thread.tapes if t is not self)
        self._recording = False
        if self._traced is not None and thread.recorder is not None:
            thread.recorder.tapes = tuple(t for t in thread.recorder.tapes if t != self._traced.name)

    def record(self, op: Op, inputs: list[Any], attrs: dict[str, Any], outputs: tuple[Any, ...]) -> None:
        """Called by the executor for every eager op while the tape is active."""
        active = self._active
        for x in inputs:
            if id(x) in active:
                self._records.append(Record(op, tuple(inputs), attrs, outputs, places.position(4)))
                for o in outputs:
                    active[id(o)] = o
                return
        self._diary.passed(len(self._records), op, inputs, attrs, outputs, "", places.position(4))

    def gave(self, tensor: Any, value: Any) -> None:
        """Called when a tensor or variable is handed out as a NumPy or Python value while the tape is active."""
        if isinstance(tensor, Variable):
            if not (id(tensor) in self._watched_variables or (self._watch_accessed and tensor._trainable)):
                return
            tensor = self._diary.read(tensor, tensor._value)
        elif id(tensor) not in self._active:
            return
        self._diary.left(len(self._records), tensor, value)

    def took(self, value: Any, tensor: Any) -> None:
        """Called when a value becomes a constant while the tape is active."""
        if not isinstance(value, Tensor) or id(value) in self._active:
            self._diary.came_back(len(self._records), value, tensor)

    def knows(self, value: Any) -> bool:
        """Whether a Python number is one that a tensor was handed out as."""
        return self._diary.knows(value)

    def assigned(self, variable: Variable, value: Any) -> None:
        """Called when a variable is given a tensor's value while the tape is active."""
        if id(value) in self._active:
            self._diary.assignment(len(self._records), variable, value)

    def decided(self, tensor: Any, value: Any) -> None:
        """Called when a tensor's value becomes Python's while the tape is active."""
        self._diary.passed(len(self._records), DECISION, (tensor,), {"value": value}, (), "", places.position(3))

    def follows(self, inputs: list[Any]) -> bool:
        """Whether an op of these operands would be recorded."""
        return any(id(x) in self._active for x in inputs)

    def saw(self, variable: Variable, value: Any) -> None:
        """Called when a variable is read while the tape is active; `value` is the tensor read, None while tracing."""
        if value is None and self._traced is None:
            return  # an eager tape around a function being traced sees the call, not what is in it
        key = id(variable)
        if value is not None:
            self._values[id(value)] = variable, value
        if key not in self._watched_variables:
            if not (self._watch_accessed and variable._trainable):
                if value is not None:
                    self._diary.read(variable, value)
                return
            self._watched_variables[key] = variable
            if self._traced is not None and thread.recorder is not None:
                self._traced.watch_cell(thread.recorder, variable)
        if value is not None and id(value) not in self._active:
            self._active[id(value)] = value
            self._reads.setdefault(key, (variable, []))[1].append(value)

    def watch(self, tensor: Any) -> None:
        """Follow a tensor or variable, or a nested structure of them, from here on. ValueError for anything else."""
        if not self._entered:
            raise AttributeError(
                places.with_place(
                    "tape.watch before the tape is entered has nothing to record; call it inside `with tf.GradientTape() as tape:`"
                )
            )
        at = places.position()
        for x in flatten(tensor):
            self._diary.watched.setdefault(id(x), (x, at))
            if isinstance(x, Variable):
                self._warn_unless_float(x)
                self._watched_variables[id(x)] = x
                if self._traced is not None and thread.recorder is not None:
                    self._traced.watch_cell(thread.recorder, x)
            elif isinstance(x, Tensor):
                self._warn_unless_float(x)
                if thread.recorder is None:
                    self._active[id(x)] = x
                elif self._traced is not None:
                    self._traced.watch(x)
            else:
                raise ValueError(
                    places.with_place(f"Passed in object {x} of type {type(x).__name__!r}, not tf.Tensor or tf.Variable or ExtensionType.")
                )

    def _warn_unless_float(self, x: Any) -> None:
        global _integers_watched
        if not x.dtype.differentiable and _integers_watched < 5:
            _integers_watched += 1
            _log.warning("The dtype of the watched tensor must be floating (e.g. tf.float32), got %r", x.dtype)

    @contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Within, the tape does not record; values made there are constants for it."""
        if not self._entered:
            raise RuntimeError(places.with_place("Trying to stop recording a tape which is not recording."))
        if not self._recording:
            raise ValueError(places.with_place("Tape is not recording."))
        self._stop()
        stand_in = self._diary.stand_in(len(self._records)) if thread.recorder is None else None
        if stand_in is not None:
            thread.tapes = (*thread.tapes, stand_in)
        try:
            yield
        finally:
            thread.tapes = tuple(t for t in thread.tapes if t is not stand_in)
            self._start()

    def reset(self) -> None:
        """Forget the record and what was watched; tensors have to be watched again."""
        if not self._recording:
            raise ValueError(places.with_place("Tape is not recording."))
        self._records, self._active, self._reads, self._values, self._watched_variables = [], {}, {}, {}, {}
        self._diary = Diary()
        if self._traced is not None and thread.recorder is not None:
            self._stop()
            self._traced = TracedTape(thread.recorder, self._name)
            self._start()

    def watched_variables(self) -> tuple[Variable, ...]:
        """The variables watched so far, in the order they were made."""
        return tuple(sorted(self._watched_variables.values(), key=lambda v: v.order))

    # --------------------------------------------------------------------------------- derivatives
    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: Any = UnconnectedGradients.NONE
    ) -> Any:
        """Gradients of the sum of all elements of all targets, one per source, in the structure of `sources`.

        A source's gradient has its shape and dtype; it is `IndexedSlices` where it comes through `tf.gather` along the first axis alone. None,
        or zeros if so asked, where nothing connects a source to a target. `output_gradients` weight the targets and must match them in number
        and shape.
        RuntimeError for a second call on a tape that is not persistent, TypeError for a target that is no tensor,
        LookupError for an op without a gradient on the way.
        """
        zero = zeros_asked(unconnected_gradients)
        self._use()
        targets, listed = leaves_checked(target, "target"), leaves_checked(sources, "sources")
        self._leave("gradient")
        seeds = seeds_for(flatten(target), output_gradients)
        found = gradients(lambda xs: self.find(targets, seeds, xs), listed, self._lookups(targets, listed))
        self._keep(targets, listed, found)
        if zero:
            found = [zeros_like(_value(s)) if g is None else g for g, s in zip(found, listed, strict=True)]
        self._release()
        return unflatten(sources, found)

    def jacobian(
        self,
        target: Any,
        sources: Any,
        unconnected_gradients: Any = UnconnectedGradients.NONE,
        parallel_iterations: int | None = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """Gradients of every element of `target`, one tensor of shape target.shape + source.shape per source; None where unconnected.

        RuntimeError for a second call on a tape that is not persistent, or with `experimental_use_pfor=False` for any such tape outside a
        traced function; TypeError for a target that is no tensor.
        """
        zero = zeros_asked(unconnected_gradients)
        if not experimental_use_pfor and not self._persistent and thread.recorder is None:
            raise RuntimeError(
                places.with_place(
                    "GradientTape must be created with persistent=True to compute the jacobian with eager execution enabled and with  experimental_use_pfor set to False."
                )
            )
        self._use()
        head = single(target, "jacobian")
        listed = leaves_checked(sources, "sources")
        self._leave("jacobian")
        rows = rows_of(self, head, listed, head.dims, experimental_use_pfor)
        shapes = [(*head.dims, *s.dims) for s in listed]
        found = [None if r is None else reshape(r, shape=shape) for r, shape in zip(rows, shapes, strict=True)]
        if zero:
            found = [_zeros(shape, s) if r is None else r for r, s, shape in zip(found, listed, shapes, strict=True)]
        self._release()
        return unflatten(sources, found)

    def batch_jacobian(
        self,
        target: Any,
        source: Any,
        unconnected_gradients: Any = UnconnectedGradients.NONE,
        parallel_iterations: int | None = None,
        experimental_use_pfor: bool = True,
    ) -> Any:
        """Gradients of `target[i]` with respect to `source[i]` for each i of the first axis: shape [b, *target.shape[1:], *source.shape[1:]].

        ValueError unless both have rank 2 or more and the same first size. Zeros where the source is not connected. `target[i]` must not
        depend on `source[j]` for other j. RuntimeError as for `jacobian`.
        """
        zeros_asked(unconnected_gradients)
        if not experimental_use_pfor and not self._persistent and thread.recorder is None:
            raise RuntimeError(
                places.with_place(
                    "GradientTape must be created with persistent=True to compute the batch_jacobian with eager execution enabled and with  experimental_use_pfor set to False."
                )
            )
        self._use()
        head, s = single(target, "batch_jacobian"), single(source, "batch_jacobian")
        for x in (head, s):
            if len(x.dims) < 2:
                raise ValueError(places.with_place(f"Shape {sizes.shown(x.dims)} must have rank at least 2"))
        if isinstance(head.dims[0], int) and isinstance(s.dims[0], int) and head.dims[0] != s.dims[0]:
            raise ValueError(
                places.with_place(
                    f"Need first dimension of target shape ({sizes.shown(head.dims)}) and source shape ({sizes.shown(s.dims)}) to match."
                )
            )
        self._leave("batch_jacobian")
        inner, shape = head.dims[1:], (*head.dims, *s.dims[1:])
        (rows,) = rows_of(self, head, [s], inner, experimental_use_pfor)
        if rows is None:
            out = _zeros(shape, s)
        else:  # [elements of a slice, batch, ...] -> [batch, elements of a slice, ...]
            out = reshape(transpose(rows, perm=(1, 0, *range(2, len(rows.dims)))), shape=shape)
        self._release()
        return out

    # --------------------------------------------------------------------------------- explanations
    def explain(self, target: Any, source: Any) -> Any:
        """Why the gradient of `target` with respect to `source` is None, with the line where the path breaks; or the ops that connect them.

        Eagerly or in a traced function, before or after `gradient`. An `Explanation` for a tensor or variable, and for a nested structure of
        sources one each in that structure. TypeError for what is no tensor.
        """
        frame = places.user_frame()
        named = {} if frame is None else {id(v): n for n, v in frame.f_locals.items() if isinstance(v, Tensor | Variable)}
        targets, sources = leaves_checked(target, "target"), leaves_checked(source, "sources")
        name = named.get(id(target), "the target")
        made = None if frame is None or name not in frame.f_locals else assigned_at(frame.f_code, name)
        if thread.recorder is not None and self._traced is not None:
            return unflatten(source, [self._traced.explain(thread.recorder, targets, s, name, _called(s, named)) for s in sources])
        return unflatten(source, [self._explained(targets, s, name, _called(s, named), made) for s in sources])

    def _explained(self, targets: list[Any], source: Any, target_name: str, name: str, made: Place | None) -> Explanation:
        heads = [_value(t) for t in targets]
        kept = self._kept.explanation(targets, source, target_name, name)
        if kept is not None:
            return kept
        if self._used and not self._persistent:
            return Explanation(
                RELEASED, "the record has been given up by tape.gradient; ask before it, or write tf.GradientTape(persistent=True)"
            )
        return explain(
            self._diary.among(self._records), heads, self._source(source, name), target_name, lambda: self._elsewhere(heads), made
        )

    def _source(self, source: Any, name: str) -> Source:
        """What the tape knows of a source."""
        watched = self._diary.watched.get(id(source))
        why = ""
        values = [source]
        if isinstance(source, Variable):
            values = [*self._reads.get(id(source), (source, []))[1], *self._diary.reads.get(id(source), []), source._value]
            if not self._watch_accessed:
                why = "the tape was made with watch_accessed_variables=False; write tape.watch(v)"
            elif not source._trainable:
                why = "it is a variable with trainable=False; write tape.watch(v)"
        return Source(name, values, {id(v) for v in values if id(v) in self._active}, None if watched is None else watched[1], why)

    def _elsewhere(self, targets: list[Any]) -> str:
        """Whether another tape saw what this one did not."""
        for tape in _tapes:
            if tape is not self and any(id(t) in tape._active for t in targets):
                return f"another tape recorded it, the one entered at {resolved(tape._diary.entered_at)}"
        return ""

    def _keep(self, targets: list[Any], sources: list[Any], found: list[Any]) -> None:
        """Before the record goes, what `explain` may be asked of it: all if a gradient is None, that they are connected if none is."""
        missing = [weakref.ref(s) for g, s in zip(found, sources, strict=True) if g is None]
        if missing:
            self._missed = next(_serial), missing, [weakref.ref(t) for t in targets]
        if self._persistent or thread.recorder is not None:
            return
        if missing:
            asked = {id(s): self._source(s, "") for s in sources}
            self._kept.skeleton(self._diary.among(self._records), [(t, _value(t)) for t in targets], [(s, asked[id(s)]) for s in sources])
        else:
            self._kept.answered(targets, sources)

    # ----------------------------------------------------------------------------------- the record
    @property
    def nbytes(self) -> int:
        """The bytes of all arrays that the tape keeps alive: operands and results of what it recorded, and values of variables it saw read."""
        held = [x for r in self._records for x in (*r.inputs, *r.outputs)] + list(self._active.values())
        arrays = (x.numpy_view() for x in held if isinstance(x, EagerTensor))
        return sum({id(a): a.nbytes for a in (a if a.base is None else a.base for a in arrays)}.values())

    def to_function(self, target: Any, sources: Any, inputs: Any = None, name: str | None = None) -> Function:
        """What this tape recorded as a compiled function of `inputs` that returns the target and its gradient: `(target, gradients)`, in the
        structures of `target` and `sources`.

        `inputs` are tensors used while the tape was active, watched or not, or variables, given anew in every call (by default the tensors
        watched). Other variables of floating-point dtype are read when the function is called; all else keeps its value: other tensors,
        random numbers, and what Python decided by, which is checked. What was computed from an input before the tape was active is such
        another tensor. The text of the function (`show()`) has the lines that ran, with their names and places. Calls take the shapes and
        dtypes recorded. The tape stays as it is. ValueError for an input that is not on the record, for a variable that changed between
        two reads, and once the record is gone (a gradient was taken and the tape is not persistent).
        """
        if thread.recorder is not None:
            raise RuntimeError(places.with_place("tape.to_function is for tapes outside traced functions, which are compiled as they are"))
        if self._used and not self._persistent:
            raise ValueError(
                places.with_place("the record of this tape is gone with its gradient; call to_function before, or write persistent=True")
            )
        leaves_checked(target, "target"), leaves_checked(sources, "sources")
        noted = self._diary.among(self._records)
        lines = [Record(n.op, tuple(n.inputs), n.attrs, n.outputs, n.at) for n in noted if n.op not in (NUMPY_VALUE, ASSIGNMENT, EXPORT)]
        made = {id(o) for r in self._records for o in r.outputs}
        watched = [x for k, x in self._active.items() if k not in made and k not in self._values]
        listed = watched if inputs is None else leaves_checked(inputs, "inputs")
        names = names_of([*listed, self], places.user_frame(2)) | names_on(self._records)
        again = GradientTape(watch_accessed_variables=False)
        again._name = names.get(id(self), "tape")
        return function_of(lines, self._values, watched, target, sources, listed, names, name, again)

    # ------------------------------------------------------------------------------ what they share
    def _use(self) -> None:
        if not self._entered:
            raise RuntimeError(
                places.with_place("this tape was never entered, so it recorded nothing; compute within `with tf.GradientTape() as tape:`")
            )
        if self._used and not self._persistent:
            raise RuntimeError(
                places.with_place(
                    "A non-persistent GradientTape can only be used to compute one set of gradients (or jacobians); write tf.GradientTape(persistent=True)"
                )
            )

    def _leave(self, method: str) -> None:
        """A tape that is asked inside its context stops recording, unless it is persistent."""
        if self._recording:
            if self._persistent:
                _warn_once(
                    f"Calling GradientTape.{method} on a persistent tape inside its context is significantly less efficient than calling it outside the context (it causes the gradient ops to be recorded on the tape, leading to increased CPU and memory usage). Only call GradientTape.{method} inside the context if you actually want to trace the gradient in order to compute higher order derivatives."
                )
            else:
                self._stop()
        self._used = True

    def _release(self) -> None:
        if not self._persistent:
            self._records, self._active, self._reads, self._values = [], {}, {}, {}
            self._diary = Diary()

    def find(self, targets: list[Any], seeds: list[Any], sources: list[Any]) -> list[Any]:
        """Gradients with respect to a list of sources, tensors all of them; None where unconnected."""
        recorder = thread.recorder
        return self.swept(targets, seeds, sources) if recorder is None else self._here().gradient(recorder, targets, seeds, sources)

    def _here(self) -> TracedTape:
        """What the tape keeps of the function being traced. RuntimeError if it was not entered there."""
        if self._traced is None:
            raise RuntimeError(places.with_place("this tape recorded nothing of the function being traced: enter it inside the function"))
        return self._traced

    def _lookups(self, targets: list[Any], sources: list[Any]) -> list[list[Lookup]]:
        """For each source what was looked up in it, if its gradient comes through nothing else."""
        recorder = thread.recorder
        if recorder is not None:
            return self._here().lookups(recorder, targets, sources)
        known = [[] if isinstance(s, Variable) and any(s is t for t in targets) else self._standing_for(s, targets) for s in sources]
        return [[Lookup(r.outputs[0], *r.inputs) for r in made] for made in lookups(self._records, [_value(t) for t in targets], known)]

    def _standing_for(self, source: Any, targets: list[Any]) -> list[Any]:
        """The tensors on this tape that stand for a source: for a variable every value it had when it was read."""
        if isinstance(source, Variable):
            return self._reads[id(source)][1] if id(source) in self._reads else []
        # what the tape never saw can still be a target itself
        return [source] if id(source) in self._active or any(t is source for t in targets) else []

    def swept(self, targets: list[Any], seeds: list[Any], sources: list[Any]) -> list[Any]:
        """The sweep over what this tape recorded eagerly, carried out by whoever carries out ops now."""
        standing = [self._standing_for(s, targets) for s in sources]
        heads = [_value(t) for t in targets]
        given = [ones_like(t) if g is None else g for t, g in zip(heads, seeds, strict=True)]
        during = (lambda record, operand: numerics.gradient_of(record.where)) if numerics.enabled() else None
        grads = iter(sweep(self._records, heads, given, [x for own in standing for x in own], during))
        out = []
        for s, own in zip(sources, standing, strict=True):
            parts = [g for g in [next(grads) for _ in own] if g is not None]
            if isinstance(s, Variable) and s.dtype.differentiable:
                parts += [g for t, g in zip(targets, given, strict=True) if t is s and not any(t._value is e for e in own)]
            total = None
            for g in parts:
                total = g if total is None else total + g
            out.append(total)
        return out


def why_missing(variable: Variable) -> Explanation | None:
    """For a variable that `tape.gradient` gave None for, the explanation of the tape that was asked last; None if no tape knows."""
    asked = [t for t in _tapes if any(ref() is variable for ref in t._missed[1])]
    tape = max(asked, key=lambda t: t._missed[0], default=None)
    targets = [] if tape is None else [t for ref in tape._missed[2] if (t := ref()) is not None]
    return tape.explain(targets, variable) if tape is not None and targets else None


def _called(source: Any, named: dict[int, str]) -> str:
    """How a message speaks of a source: by the name it has where it is asked about."""
    label = f"variable {source.label()!r}" if isinstance(source, Variable) else "the source"
    return named.get(id(source), label)


def _value(x: Any) -> Any:
    return x._value if isinstance(x, Variable) else x


def _zeros(shape: tuple[Dim, ...], like: Any) -> Any:
    return full(shape=shape, value=0, dtype=like.dtype)


_tapes: weakref.WeakSet[GradientTape] = weakref.WeakSet()
_serial = itertools.count(1)
_warned: set[str] = set()
_integers_watched = 0  # the warning is given five times


def _warn_once(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        _log.warning(message)

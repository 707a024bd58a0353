"""`GradientTape`: records ops while it is active and differentiates what it recorded.

Eagerly the tape keeps raw records and runs the sweep on eager tensors. While a function is traced, its lines carry the tape's name
and `gradient` is a line of the graph, which the pass `differentiate` opens out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from tapejit.core import places
from tapejit.core.sizes import Dim
from tapejit.indexed_slices import IndexedSlices
from tapejit.ir import structure
from tapejit.ir.graph import Value
from tapejit.ir.op import Op, thread
from tapejit.ops.elementwise import ones_like, zeros_like
from tapejit.record.recorder import Recorder, SymbolicTensor
from tapejit.record.sweep import Record, connected, sweep
from tapejit.tensor import EagerTensor, GraphTensor, Tensor, convert_to_tensor
from tapejit.variable import Variable, paused_tapes

_log = logging.getLogger("tapejit")


class UnconnectedGradients(Enum):
    """What `gradient` gives for a source that no path connects to a target: None, or zeros."""

    NONE = "none"
    ZERO = "zero"


class GradientTape:
    """TensorFlow's `tf.GradientTape`.

    Records ops with an operand that is watched or derived from one: trainable variables are watched when they are read
    (unless `watch_accessed_variables=False`), tensors by `watch`. `persistent=True` allows several calls of `gradient`.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._persistent, self._watch_accessed = persistent, watch_accessed_variables
        self._records: list[Record] = []
        self._active: dict[int, Any] = {}  # id -> the tensor that is watched or derived, kept alive so that ids stay unique
        self._reads: dict[int, tuple[Variable, list[Any]]] = {}  # id of a variable -> it, and its values read on this tape
        self._watched_variables: dict[int, Variable] = {}  # by reading or by `watch`
        self._recording = self._entered = self._used = False
        self._traced: _Traced | None = None

    # ----------------------------------------------------------------------------------- recording
    def __enter__(self) -> GradientTape:
        if self._recording:
            raise ValueError(places.with_place("Tape is still recording, This can happen if you try to re-enter an already-active tape."))
        self._entered = True
        recorder = thread.recorder
        if recorder is not None and self._traced is None:
            self._traced = _Traced(recorder)
        self._start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._recording:
            self._stop()

    def _start(self) -> None:
        thread.tapes = (*thread.tapes, self)
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
                self._records.append(Record(op, tuple(inputs), attrs, outputs))
                for o in outputs:
                    active[id(o)] = o
                return

    def saw(self, variable: Variable, value: Any) -> None:
        """Called when a variable is read while the tape is active; `value` is the tensor read, None while tracing."""
        key = id(variable)
        if key not in self._watched_variables:
            if not (self._watch_accessed and variable._trainable):
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
            raise RuntimeError(places.with_place("tape.watch before the tape is entered has nothing to record; call it inside `with tf.GradientTape() as tape:`"))
        for x in _flatten(tensor):
            if isinstance(x, Variable):
                self._warn_unless_float(x)
                self._watched_variables[id(x)] = x
                if self._traced is not None and thread.recorder is not None:
                    self._traced.watch_cell(thread.recorder, x)
            elif isinstance(x, Tensor):
                self._warn_unless_float(x)
                if isinstance(x, SymbolicTensor):
                    if self._traced is not None:
                        self._traced.watch(x)
                else:
                    if self._traced is not None and thread.recorder is not None:
                        self._traced.watch_captured(thread.recorder, x)
                    self._active[id(x)] = x
            else:
                raise ValueError(places.with_place(f"Passed in object {x} of type {type(x).__name__!r}, not tf.Tensor or tf.Variable or ExtensionType."))

    def _warn_unless_float(self, x: Any) -> None:
        if not x.dtype.differentiable:
            _log.warning("The dtype of the watched tensor must be floating (e.g. tf.float32), got %r", x.dtype)

    @contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Within, the tape does not record; values made there are constants for it."""
        if not self._entered:
            raise RuntimeError(places.with_place("Trying to stop recording a tape which is not recording."))
        if not self._recording:
            raise ValueError(places.with_place("Tape is not recording."))
        self._stop()
        try:
            yield
        finally:
            self._start()

    def reset(self) -> None:
        """Forget the record and what was watched; tensors have to be watched again."""
        if not self._recording:
            raise ValueError(places.with_place("Tape is not recording."))
        self._records, self._active, self._reads, self._watched_variables = [], {}, {}, {}
        if self._traced is not None and thread.recorder is not None:
            self._stop()
            self._traced = _Traced(thread.recorder)
            self._start()

    def watched_variables(self) -> tuple[Variable, ...]:
        """The variables watched so far, in the order they were first read or watched."""
        return tuple(self._watched_variables.values())

    # --------------------------------------------------------------------------------- derivatives
    def gradient(self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: Any = UnconnectedGradients.NONE) -> Any:
        """Gradients of the sum of all elements of all targets, one per source, in the structure of `sources`.

        A source's gradient has its shape and dtype (for a variable read by `tf.gather` it may be `IndexedSlices`). None, or zeros if so asked,
        where nothing connects a source to a target. `output_gradients` weight the targets and must match them in number and shape.
        RuntimeError for a second call on a tape that is not persistent, TypeError for a target that is no tensor,
        LookupError for an op without a gradient on the way.
        """
        try:
            zero = UnconnectedGradients(unconnected_gradients) is UnconnectedGradients.ZERO
        except ValueError:
            raise ValueError(places.with_place(f"Unknown value for unconnected_gradients: {unconnected_gradients!r}")) from None
        if self._used and not self._persistent:
            raise RuntimeError(places.with_place("A non-persistent GradientTape can only be used to compute one set of gradients (or jacobians); write tf.GradientTape(persistent=True)"))
        targets, listed = self._checked(target, "target"), self._checked(sources, "sources")
        if self._recording:
            if self._persistent:
                _warn_once("Calling GradientTape.gradient on a persistent tape inside its context is significantly less efficient than calling it outside the context.")
            else:
                self._stop()
        self._used = True
        seeds = self._seeds(targets, output_gradients)
        found = self._find(targets, seeds, listed)
        if zero:
            found = [zeros_like(_dense(s)) if g is None else g for g, s in zip(found, listed, strict=True)]
        if not self._persistent:
            self._records, self._active, self._reads = [], {}, {}
        return _unflatten(sources, found)

    def _checked(self, structure_: Any, what: str) -> list[Any]:
        if structure_ is None and what == "target":
            raise TypeError(
                places.with_place("Argument `target` should be a list or nested structure of Tensors, Variables or CompositeTensors to be differentiated, but received None.")
            )
        out = [x.values if isinstance(x, IndexedSlices) and what == "target" else x for x in _flatten(structure_)]
        for x in out:
            if not isinstance(x, Tensor | Variable):
                raise TypeError(places.with_place(f"tape.gradient: every element of `{what}` must be a tf.Tensor or tf.Variable, got {x!r} of type {type(x).__name__}"))
        return out

    def _seeds(self, targets: list[Any], output_gradients: Any) -> list[Any]:
        if output_gradients is None:
            return [None] * len(targets)
        given = _flatten(output_gradients) if len(targets) != 1 or isinstance(output_gradients, list | tuple | dict) else [output_gradients]
        if len(given) != len(targets):
            raise ValueError(places.with_place(f"tape.gradient: {len(targets)} targets need {len(targets)} output_gradients, got {len(given)}"))
        seeds = []
        for k, (t, g) in enumerate(zip(targets, given, strict=True)):
            g = None if g is None else convert_to_tensor(g) if hasattr(g, "dims") else convert_to_tensor(g, t.dtype)
            if g is not None and g.dims != t.dims:
                raise ValueError(places.with_place(f"tape.gradient: output gradient {k} has shape {list(map(str, g.dims))}, its target {list(map(str, t.dims))}"))
            seeds.append(g)
        return seeds

    def _find(self, targets: list[Any], seeds: list[Any], sources: list[Any]) -> list[Any]:
        if self._traced is not None and thread.recorder is not None:
            return self._traced.gradient(thread.recorder, targets, seeds, sources)
        # a variable as a target or source stands for every value it had when it was read on this tape
        expanded: list[Any] = []
        spans: list[tuple[int, int]] = []
        for s in sources:
            values = self._values_of(s)
            spans.append((len(expanded), len(values)))
            expanded.extend(values)
        heads = [(t._value if isinstance(t, Variable) else t) for t in targets]
        given = [ones_like(t) if g is None else g for t, g in zip(heads, seeds, strict=True)]
        read = frozenset(id(v) for s in sources if isinstance(s, Variable) for v in self._values_of(s))
        grads = sweep(self._records, heads, given, expanded, sparse=(read, IndexedSlices))
        out = []
        for s, (start, count) in zip(sources, spans, strict=True):
            parts = [g for g in grads[start : start + count] if g is not None]
            own = [g for t, g in zip(targets, given, strict=True) if t is s and isinstance(s, Variable) and not any(t._value is e for e in expanded)]
            total = None
            for g in parts + own:
                total = g if total is None else total + g
            out.append(total)
        return out

    def _values_of(self, source: Any) -> list[Any]:
        if isinstance(source, Variable):
            return self._reads[id(source)][1] if id(source) in self._reads else []
        return [source]


class _Traced:
    """What a tape keeps while a function is traced: its name in the graph, and the lines it watches."""

    def __init__(self, recorder: Recorder) -> None:
        root = recorder.root
        self.name = root.builder.names.fresh("tape_" if False else "grad_tape")
        self.cells: dict[str, Variable] = {}

    def watch_cell(self, recorder: Recorder, variable: Variable) -> None:
        cell = recorder.cell(variable, variable._name, variable.cell_type())
        if cell not in self.cells:
            self.cells[cell] = variable
            recorder.builder.emit(structure.watch, (), {"tape": self.name, "cell": cell}, place=places.here(2), tapes=recorder.tapes)

    def watch(self, x: SymbolicTensor) -> None:
        recorder = thread.recorder or x.recorder
        recorder.builder.emit(structure.watch, (x.value,), {"tape": self.name}, place=places.here(2), tapes=recorder.tapes)

    def watch_captured(self, recorder: Recorder, x: EagerTensor) -> None:
        value = recorder.capture(x, x, "tensor")
        recorder.builder.emit(structure.watch, (value,), {"tape": self.name}, place=places.here(2), tapes=recorder.tapes)

    def gradient(self, recorder: Recorder, targets: list[Any], seeds: list[Any], sources: list[Any]) -> list[Any]:
        """Record the `gradient` line; sources it does not reach are None and left out of it."""
        heads = [recorder.builder.literal(recorder.operand(t)) for t in targets]
        keys: list[list[Any]] = []
        named: list[int | str] = []
        operands: list[Any] = list(heads)
        reads = {s: [n.out for n in recorder.root.graph.walk() if n.op is structure.read and self.name in n.tapes and recorder.root.cells[n.attrs["cell"]] is s] for s in ()}
        raise NotImplementedError(reads, keys, named, operands)


def _dense(x: Any) -> Any:
    return x._value if isinstance(x, Variable) else x


_warned: set[str] = set()


def _warn_once(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        _log.warning(message)


def _flatten(structure_: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts (keys in order), with None kept as a leaf."""
    if isinstance(structure_, Tensor | Variable):
        return [structure_]
    import optree

    return optree.tree_leaves(structure_, none_is_leaf=True)


def _unflatten(like: Any, leaves: list[Any]) -> Any:
    if isinstance(like, Tensor | Variable):
        return leaves[0]
    import optree

    return optree.tree_unflatten(optree.tree_structure(like, none_is_leaf=True), leaves)

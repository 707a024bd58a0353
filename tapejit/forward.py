"""`tf.autodiff.ForwardAccumulator`: derivatives along a direction, computed together with the values.

In: primals and the direction as tangents, then ops. Eagerly every op gets the tangent of its result at once, by its own rule (`Op.jvp`) or
as the transpose of its gradient: the gradient is linear in what it is given, so the gradient of that is the derivative forward. While
a function is traced, what lies between is a tape like any other and `jvp` is two `gradient` lines, the second one the transpose of the first.
"""

from __future__ import annotations

import logging
from typing import Any

from tapejit import nest
from tapejit.core import places
from tapejit.ir.op import Listener, Op, thread
from tapejit.ops.elementwise import zeros_like
from tapejit.ops.operand import Tensor
from tapejit.record.source import name_at
from tapejit.record.sweep import Record, sweep
from tapejit.tape import seated
from tapejit.targets import UnconnectedGradients, zeros_asked
from tapejit.tensor import convert_to_tensor
from tapejit.traced_tape import TracedTape
from tapejit.variable import Variable, variable_behind

_log = logging.getLogger("tapejit")
_integers_watched = 0  # the warning is given five times


class _Transpose(Listener):
    """Stands among the tapes of the thread and records what is derived from some tensors: one gradient rule, to be transposed."""

    pushes = False

    def __init__(self, watched: list[Any]) -> None:
        self._active = {id(x): x for x in watched}
        self.records: list[Record] = []

    def record(self, op: Op, inputs: Any, attrs: dict[str, Any], outputs: Any) -> None:
        """Called by the executor for every op."""
        if self.follows(inputs):
            self.records.append(Record(op, tuple(inputs), attrs, outputs))
            self._active.update((id(o), o) for o in outputs)

    def follows(self, inputs: Any) -> bool:
        """Whether an op of these operands would be recorded."""
        return any(id(x) in self._active for x in inputs)


def _tangents(op: Op, inputs: tuple[Any, ...], attrs: dict[str, Any], outputs: tuple[Any, ...], given: tuple[Any, ...]) -> Any:
    """The tangent, or None, of each result of an op that ran."""
    z = outputs[0] if len(outputs) == 1 else outputs
    found = op.jvp(given, z, *inputs, **attrs)
    if found is not NotImplemented:
        return found if isinstance(found, tuple) else (found,)
    flowing = [y if y.dtype.differentiable else None for y in outputs]
    seeds = [None if y is None else zeros_like(y) for y in flowing]
    transpose = _Transpose([u for u in seeds if u is not None])
    before, thread.tapes = thread.tapes, seated(transpose)
    try:
        parts = op.vjp(seeds[0] if len(outputs) == 1 else tuple(seeds), z, *inputs, **attrs)
        pulled = [p() if callable(p) and t is not None else p for p, t in zip(parts, given, strict=True)]
    finally:
        thread.tapes = before
    pairs = [(p, t) for p, t in zip(pulled, given, strict=True) if p is not None and t is not None]
    live = [u for u in seeds if u is not None]
    pushed = iter(sweep(transpose.records, [p for p, _ in pairs], [t for _, t in pairs], live, within=True))
    return tuple(None if u is None else next(pushed) for u in seeds)


class ForwardAccumulator(Listener):
    """Jacobian-vector products of what is computed within the context (`tf.autodiff.ForwardAccumulator`).

    `primals` (tensors and variables, nested as one likes) are moved along `tangents`, of the same structure, shapes and dtypes;
    `jvp` gives the derivative of a result along that direction. Accumulators nest, with one another and with gradient tapes.
    ValueError for a primal given twice or a tangent that does not fit.
    """

    pushes = True

    def __init__(self, primals: Any, tangents: Any) -> None:
        nest.assert_same_structure(primals, tangents, check_types=False)
        self._primals = [variable_behind(x) for x in nest.flatten(primals)]
        self._moved: list[Any] = []
        seen: set[int] = set()
        for x, t in zip(self._primals, nest.flatten(tangents), strict=True):
            if not isinstance(x, Tensor | Variable):
                raise TypeError(places.with_place(f"ForwardAccumulator: primals are tensors and variables, got {x!r}"))
            if id(x) in seen:
                raise ValueError(
                    places.with_place(
                        f"Tensor {x} was specified as a primal multiple times. This may indicate an error. If it was intended, please sum the corresponding tangents."
                    )
                )
            seen.add(id(x))
            self._moved.append(self._fitting(x, t))
        self._recording = self._entered = False
        self._of: dict[int, tuple[Any, Any]] = {}  # id -> a tensor, kept alive so that ids stay unique, and its tangent
        self._variables = {id(x): t for x, t in zip(self._primals, self._moved, strict=True) if isinstance(x, Variable)}
        for x, t in zip(self._primals, self._moved, strict=True):
            if x.dtype.differentiable and not isinstance(x, Variable):
                self._of[id(x)] = x, t
        self._traced: TracedTape | None = None
        self._around: tuple[str, ...] = ()

    @staticmethod
    def _fitting(x: Any, t: Any) -> Any:
        global _integers_watched
        if not x.dtype.differentiable and _integers_watched < 5:
            _integers_watched += 1
            _log.warning("The dtype of the watched primal must be floating (e.g. tf.float32), got %r", x.dtype)
        t = convert_to_tensor(t) if hasattr(t, "dims") else convert_to_tensor(t, x.dtype)
        if t.dtype is not x.dtype or len(t.dims) != len(x.dims) or any(a != b for a, b in zip(t.dims, x.dims, strict=True)):
            raise ValueError(
                places.with_place(
                    f"ForwardAccumulator: a tangent has the shape and dtype of its primal, {x.shape} and {x.dtype.name}, got {t.shape} and {t.dtype.name}"
                )
            )
        return t

    # ----------------------------------------------------------------------------------- recording
    def __enter__(self) -> ForwardAccumulator:
        if self._recording:
            raise ValueError(places.with_place("Accumulator is already recording."))
        recorder = thread.recorder
        if recorder is not None:
            if self._traced is None or self._traced.root() is not recorder.root:
                frame = places.user_frame(2)
                base = name_at(frame.f_code, frame.f_lasti).base if frame is not None else ""
                self._traced = TracedTape(recorder, base or "forward")
                self._around = recorder.tapes
                for x in self._primals:
                    if isinstance(x, Variable):
                        self._traced.watch_cell(recorder, x)
                    else:
                        self._traced.watch(x)
            recorder.tapes = (*recorder.tapes, self._traced.name)
        thread.tapes = (*thread.tapes, self)
        self._recording = self._entered = True
        return self

    def __exit__(self, *error: Any) -> None:
        if not self._recording:
            raise ValueError(places.with_place("Accumulator is not recording."))
        self._recording = False
        thread.tapes = tuple(t for t in thread.tapes if t is not self)
        if self._traced is not None and thread.recorder is not None:
            thread.recorder.tapes = tuple(t for t in thread.recorder.tapes if t != self._traced.name)

    def follows(self, inputs: Any) -> bool:
        """Whether an op of these operands has a tangent."""
        return any(id(x) in self._of for x in inputs)

    def saw(self, variable: Variable, value: Any) -> None:
        """Called when a variable is read while the accumulator is active; `value` is the tensor read, None while tracing."""
        if value is not None and id(variable) in self._variables:
            self._of[id(value)] = value, self._variables[id(variable)]

    def record(self, op: Op, inputs: Any, attrs: dict[str, Any], outputs: tuple[Any, ...]) -> None:
        """Called by the executor for every eager op while the accumulator is active."""
        if not self.follows(inputs):
            return
        flows = set(op.gradient_operands(len(inputs), attrs))
        given = tuple(self._of[id(x)][1] if k in flows and id(x) in self._of else None for k, x in enumerate(inputs))
        if all(t is None for t in given) or not any(y.dtype.differentiable for y in outputs):
            return
        before = thread.tapes
        thread.tapes = before[: before.index(self)]  # accumulators around this one, and all tapes
        try:
            found = _tangents(op, tuple(inputs), attrs, outputs, given)
        finally:
            thread.tapes = before
        self._of.update((id(y), (y, t)) for y, t in zip(outputs, found, strict=True) if t is not None)

    # --------------------------------------------------------------------------------- derivatives
    def jvp(self, primals: Any, unconnected_gradients: Any = UnconnectedGradients.NONE) -> Any:
        """The derivative of each of `primals`, results of what was computed within, in their structure; None, or zeros if so asked,
        where they do not depend on what is moved. ValueError before the context was entered.
        """
        zero = zeros_asked(unconnected_gradients)
        if not self._entered:
            raise ValueError(places.with_place("Called jvp() without first tracing anything."))
        listed = nest.flatten(primals)
        found = self._pushed(listed) if thread.recorder is None or self._traced is None else self._transposed(listed)
        if zero:
            found = [zeros_like(convert_to_tensor(x)) if t is None else t for x, t in zip(listed, found, strict=True)]
        return nest.pack_sequence_as(primals, found)

    def _pushed(self, listed: list[Any]) -> list[Any]:
        out = []
        for x in listed:
            known = self._variables.get(id(x)) if isinstance(x, Variable) else self._of.get(id(x), (None, None))[1]
            out.append(known)
        return out

    def _transposed(self, listed: list[Any]) -> list[Any]:
        """Record the gradient lines: what pulls `seeds` back to the primals, and what pulls the tangents back to the seeds."""
        recorder, mine = thread.recorder, self._traced
        assert mine is not None
        outer = recorder.tapes
        second = TracedTape(recorder, "transpose")
        recorder.tapes = (*dict.fromkeys((*self._around, *(t for t in outer if t != mine.name))),)
        try:
            heads = [k for k, x in enumerate(listed) if isinstance(x, Tensor | Variable) and x.dtype.differentiable]
            seeds = [zeros_like(convert_to_tensor(listed[k])) for k in heads]
            for u in seeds:
                second.watch(u)
            recorder.tapes = (*recorder.tapes, second.name)
            pulled = mine.gradient(recorder, [listed[k] for k in heads], seeds, self._primals)
            recorder.tapes = recorder.tapes[:-1]
            pairs = [(p, t) for p, t in zip(pulled, self._moved, strict=True) if p is not None]
            pushed = second.gradient(recorder, [p for p, _ in pairs], [t for _, t in pairs], seeds) if pairs else [None] * len(heads)
        finally:
            recorder.tapes = outer
        of = dict(zip(heads, pushed, strict=True))
        return [of.get(k) for k in range(len(listed))]

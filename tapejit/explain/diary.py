"""What a tape notes beside its record, so that it can say why a gradient is None: lines that it did not follow, and values that left.

A diary holds no more than a bounded number of lines and bytes. `Kept` is what remains when a tape gives its record up.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tapejit.core import places
from tapejit.explain import gradients
from tapejit.explain.gradients import Explanation, Line, Source
from tapejit.explain.warned import LostGradientWarning, warn
from tapejit.ir.op import Listener, Op
from tapejit.ops.operand import Tensor
from tapejit.record.sweep import Record

_LINES, _BYTES, _SCALARS, _PARTS = 10_000, 64 * 2**20, 1_000, 64


class _Left(Op):
    """Stands for the way of a value out of a tape's sight and back."""

    no_gradient = True

    def __init__(self, name: str) -> None:
        self.name = name


NUMPY_VALUE, ASSIGNMENT, EXPORT = _Left("numpy"), _Left("assign"), _Left("export")
_warned: set[tuple[Any, Any]] = set()


class _Export(NamedTuple):
    """A NumPy or Python value that a tensor was turned into."""

    holds: Any  # gives the value while it lives
    tensor: Any
    place: Any


class Diary:
    """The notes of one tape. The first argument of what notes a line is the length that the tape's record had by then."""

    def __init__(self) -> None:
        self.watched: dict[int, tuple[Any, Any]] = {}  # id -> the object that was watched, and where
        self.reads: dict[int, list[Any]] = {}  # id of a variable -> values read that the tape does not follow
        self.entered_at: Any = None
        self._lines: deque[tuple[Any, ...]] = deque(maxlen=_LINES)  # (at, ...), what a `Line` is made of
        self._exports: dict[int, _Export] = {}
        self._bytes = 0

    def among(self, records: Sequence[Record]) -> list[Line]:
        """The lines of the tape's record and those noted here, in the order they ran."""
        out: list[Line] = []
        done = 0
        for at, op, inputs, attrs, outputs, place, why, before in self._lines:
            out += [Line(*r) for r in records[done:at]]
            out.append(Line(op, tuple(inputs), attrs, outputs, place, False, why, before))
            done = max(done, at)
        return out + [Line(*r) for r in records[done:]]

    def passed(
        self, at: int, op: Op, inputs: Any, attrs: dict[str, Any], outputs: tuple[Any, ...], why: str, place: Any, before: Any = None
    ) -> None:
        """Note a line that the tape did not follow."""
        for o in outputs:
            self._bytes += o._array.nbytes
        if self._bytes > _BYTES:
            self._lines.clear()
            self._bytes = 0
        self._lines.append((at, op, inputs, attrs, outputs, place, why, before))

    def read(self, variable: Any, value: Any) -> Any:
        """Note, and give back, a value that was read from a variable."""
        self.reads.setdefault(id(variable), []).append(value)
        return value

    def assignment(self, at: int, variable: Any, value: Any) -> None:
        """Note that a variable was given a tensor's value."""
        self.passed(at, ASSIGNMENT, (value,), {}, (variable._value,), gradients.ASSIGNED, places.position(3))

    def left(self, at: int, tensor: Any, value: Any) -> None:
        """Note that a value the tape follows was handed out as `value`. Small integers are shared objects, which prove nothing."""
        self.passed(at, EXPORT, (tensor,), {}, (), gradients.NUMPY, places.position(3))
        if isinstance(value, np.ndarray):
            holds: Any = weakref.ref(value)
        elif isinstance(value, float | complex | np.generic) and len(self._exports) < _SCALARS:
            holds = lambda: value
        else:
            return
        self._exports[id(value)] = _Export(holds, tensor, places.position(3))

    def knows(self, value: Any) -> bool:
        """Whether a value that left is `value`."""
        return bool(self._exports) and self._found(value) is not None

    def came_back(self, at: int, value: Any, tensor: Any) -> None:
        """Note that `value` became a constant, if it is one that left or a part of it; told once for every pair of lines."""
        for part in value if type(value) in (list, tuple) and len(value) <= _PARTS else (value,):
            export = _Export(None, part, None) if isinstance(part, Tensor) else self._found(part)
            if export is None:
                continue
            place = places.position(3)
            self.passed(at, NUMPY_VALUE, (export.tensor,), {}, (tensor,), gradients.NUMPY, place, export.place)
            if (export.place, place) not in _warned:
                _warned.add((export.place, place))
                left = gradients.resolved(export.place)
                warn(
                    LostGradientWarning,
                    f"a value that a tape follows{'' if left is None else f' left as a NumPy or Python value ({left}) and'} comes back here as a constant: "
                    "the gradient through it is lost. Use the tensor itself, or tf.stop_gradient(x) where that is meant.",
                    gradients.resolved(place),
                )

    def _found(self, value: Any) -> _Export | None:
        seen = value
        while seen is not None:
            export = self._exports.get(id(seen))
            if export is not None and export.holds() is seen:
                return export
            seen = seen.base if isinstance(seen, np.ndarray) else None
        return None

    def stand_in(self, at: int) -> Listener:
        """Who listens in the tape's place while it does not record."""
        return _StandIn(self, at)


class _StandIn(Listener):
    """Notes what runs while a tape does not record."""

    def __init__(self, diary: Diary, at: int) -> None:
        self._diary, self._at = diary, at

    def record(self, op: Op, inputs: Any, attrs: dict[str, Any], outputs: tuple[Any, ...]) -> None:
        self._diary.passed(self._at, op, inputs, attrs, outputs, gradients.OUTSIDE, places.position(3))

    def saw(self, variable: Any, value: Any) -> None:
        if value is not None:
            self._diary.read(variable, value)

    def took(self, value: Any, tensor: Any) -> None:
        if not isinstance(value, Tensor):
            self._diary.came_back(self._at, value, tensor)


class _Ghost:
    """Stands for a tensor that is gone."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype


class Kept:
    """What a tape still knows when its record is gone: of the latest targets and sources, without keeping any tensor alive."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._targets: list[tuple[Any, Any]] = []  # reference, what stands for it in the lines
        self._sources: list[tuple[Any, Source | None]] = []  # None: all gradients were found

    def answered(self, targets: Sequence[Any], sources: Sequence[Any]) -> None:
        """Every source was connected."""
        self._lines = []
        self._targets = [(weakref.ref(t), None) for t in targets]
        self._sources = [(weakref.ref(s), None) for s in sources]

    def skeleton(self, lines: Sequence[Line], targets: Sequence[tuple[Any, Any]], sources: Sequence[tuple[Any, Source]]) -> None:
        """The lines with something else for every tensor; targets and sources with what stands for them."""
        ghosts: dict[int, Any] = {}

        def ghost(x: Any) -> Any:
            found = ghosts.get(id(x))
            if found is None:
                found = ghosts[id(x)] = _Ghost(getattr(x, "dtype", None))
            return found

        self._lines = [replace(x, inputs=tuple(map(ghost, x.inputs)), outputs=tuple(map(ghost, x.outputs))) for x in lines]
        self._targets = [(weakref.ref(t), ghost(value)) for t, value in targets]
        self._sources = [
            (weakref.ref(s), replace(known, values=[ghost(v) for v in known.values], active={id(ghosts[k]) for k in known.active}))
            for s, known in sources
        ]

    def explanation(self, targets: Sequence[Any], source: Any, target_name: str, name: str) -> Explanation | None:
        """The explanation for targets and a source that the record was asked about; None for others."""
        heads = [next(((g,) for ref, g in self._targets if ref() is t), None) for t in targets]
        known = next(((s,) for ref, s in self._sources if ref() is source), None)
        if known is None or any(h is None for h in heads):
            return None
        if known[0] is None:
            said = f"{target_name} is connected to {name}; by which ops has been forgotten with the record (tf.GradientTape(persistent=True) keeps it)"
            return Explanation(gradients.CONNECTED, said)
        return gradients.explain(self._lines, [h[0] for h in heads if h is not None], replace(known[0], name=name), target_name)

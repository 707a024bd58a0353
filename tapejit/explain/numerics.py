"""`tf.debugging.enable_check_numerics`: from then on the first op that gives NaN or an infinity raises, eagerly and in compiled steps.

Eagerly every result is looked at. A compiled step has a variant with checks (see `passes.check`), which takes the place of the plain one
while checking is on; two gates in the calls of both see to that without asking on the way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tapejit import tensor
from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.places import Place
from tapejit.core.types import Type
from tapejit.ir.graph import Node, Value
from tapejit.ir.op import Op
from tapejit.ops.checking import finite
from tapejit.passes import check
from tapejit.record.source import name_at

_plain, _checking = np.zeros(1, np.int64), np.ones(1, np.int64)  # 0 where calls of plain, of checking steps are allowed


class _Thread(threading.local):
    """The lines whose gradients are being computed in this thread, innermost last."""

    def __init__(self) -> None:
        self.backward: list[Place] = []


_thread = _Thread()


def enable_check_numerics(stack_height_limit: int = 30, path_length_limit: int = 50) -> None:
    """From here on InvalidArgumentError at the first op whose result is not finite: op, element, operands and the user's line.

    Holds for eager ops and for traced functions, whose steps are compiled once more with checks. Variables stay as they were where a step
    fails. The limits are TensorFlow's and have no effect.
    """
    _plain[0], _checking[0] = 1, 0
    tensor.after_each_op(_look)


def disable_check_numerics() -> None:
    """Undo `enable_check_numerics`."""
    _plain[0], _checking[0] = 0, 1
    tensor.after_each_op(None)


def enabled() -> bool:
    """Whether results are checked."""
    return bool(_plain[0])


def gate(checks: bool) -> np.ndarray:
    """The word that is not 0 while a step with or without checks may not be called the fast way."""
    return _checking if checks else _plain


@contextmanager
def gradient_of(place: Place | None) -> Iterator[None]:
    """Within, ops run on behalf of the gradient of what was done at `place`."""
    if place is None:
        yield
        return
    _thread.backward.append(place.in_gradient())
    try:
        yield
    finally:
        _thread.backward.pop()


def _look(op: Op, inputs: Any, attrs: dict[str, Any], outputs: tuple[Any, ...]) -> None:
    """InvalidArgumentError for a result that is not finite, of an op that does more than move numbers."""
    for out in outputs:
        array = out._array
        if array.dtype.kind not in "fcV":
            continue
        wide = np.asarray(array, np.float32) if array.dtype.itemsize == 2 else array
        if np.isfinite(wide).all():
            continue
        frame = places.user_frame(2)
        named = name_at(frame.f_code, frame.f_lasti) if frame is not None else None
        made = "result" if named is None or not named.base else named.base if named.whole else f"a step of {named.base}"
        names = getattr(op, "operands", None) or [f"input {k}" for k in range(len(inputs))]
        values = tuple(Value(str(n), Type(x.dtype, tuple(x.dims))) for n, x in zip(names, inputs, strict=False))
        node = Node(op, values, attrs, tuple(Value(made, Type(o.dtype, tuple(o.dims))) for o in outputs))
        if len(values) < len(inputs) or not check.computes(node):
            continue
        line = check.check_of(node, Value(made, Type(dtypes.as_dtype(array.dtype), array.shape)))
        shown = [np.asarray(x._array) for x in inputs] if len(line.args) > 1 else []
        place = _thread.backward[-1] if _thread.backward else places.here(2)
        try:
            finite.eager(np.asarray(array), *shown, **line.attrs)
        except InvalidArgumentError as e:
            raise InvalidArgumentError(places.with_place(str(e), place)) from None

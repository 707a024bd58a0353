"""What converted code asks of values, and the variables of the frame that branches and loops hand on.

In: whatever a user's variables hold. Out: whether it depends on the run (`symbolic`), and a `State`: the values of named variables and
attributes of the frame that is running.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import FrameType
from typing import Any

from tapejit.ir.op import thread
from tapejit.ops.operand import Tensor
from tapejit.variable import Variable


class _Undefined:
    """Stands for a variable that has no value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<undefined>"


UNDEFINED = _Undefined()


def symbolic(x: Any) -> bool:
    """Whether a function is being traced and what `x` holds is known only when it runs."""
    return thread.recorder is not None and isinstance(x, Tensor | Variable)


class State:
    """Variables and attributes of a frame that branches or loops assign. `later` of them are read later, `local` are not."""

    def __init__(self, frame: FrameType, later: Sequence[str], local: Sequence[str], paths: Sequence[Any]) -> None:
        self.names = (*later, *local)
        self.kept = len(later)
        self._holders: list[tuple[Any, str, Any, str]] = []
        for path in paths:
            self._holders += _holder(frame, *path)
        self.before = self.read(frame)

    def __len__(self) -> int:
        return len(self.names) + len(self._holders)

    def label(self, k: int) -> str:
        """What users call the value at `k`."""
        name = self.names[k] if k < len(self.names) else self._holders[k - len(self.names)][3]
        return "retval_" if name == ".value" else name.lstrip(".")

    def lives(self, k: int) -> bool:
        """Whether the value at `k` may be read later; attributes always may."""
        return k < self.kept or k >= len(self.names)

    def read(self, frame: FrameType) -> list[Any]:
        """The values now."""
        found = frame.f_locals
        own = {*frame.f_code.co_varnames, *frame.f_code.co_cellvars, *frame.f_code.co_freevars}
        names = [found.get(n, UNDEFINED) if n in own else frame.f_globals.get(n, UNDEFINED) for n in self.names]
        return names + [_get(obj, how, key) for obj, how, key, _ in self._holders]

    def put(self, values: Sequence[Any]) -> list[Any]:
        """Give attributes their values; those of the variables, for the frame to assign."""
        for (obj, how, key, _), value in zip(self._holders, values[len(self.names) :], strict=True):
            if value is not _get(obj, how, key):
                _set(obj, how, key, value)
        return list(values[: len(self.names)])


def _holder(frame: FrameType, name: str, steps: Sequence[tuple[str, Any]]) -> list[tuple[Any, str, Any, str]]:
    """The object that a path ends in, how and at what, and the path as users write it; nothing if it is not there yet."""
    obj, text = frame.f_locals.get(name, frame.f_globals.get(name, UNDEFINED)), name
    out: list[tuple[Any, str, Any, str]] = []
    for how, key in steps:
        if obj is UNDEFINED or isinstance(obj, Tensor | Variable):
            return []
        if how == "at":
            how, key = "key", frame.f_locals.get(key, UNDEFINED)
            if key is UNDEFINED or isinstance(key, Tensor | Variable | slice):
                return []
        text += f".{key}" if how == "attr" else f"[{key!r}]"
        out = [(obj, how, key, text)]
        obj = _get(obj, how, key)
    return out


def _get(obj: Any, how: str, key: Any) -> Any:
    try:
        return getattr(obj, key) if how == "attr" else obj[key]
    except (AttributeError, LookupError, TypeError):
        return UNDEFINED


def _set(obj: Any, how: str, key: Any, value: Any) -> None:
    if how == "attr":
        delattr(obj, key) if value is UNDEFINED else setattr(obj, key, value)
    elif value is UNDEFINED:
        del obj[key]
    else:
        obj[key] = value

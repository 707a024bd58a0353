"""Donated arguments: tensors whose buffers a traced function may overwrite, and which are dead after the call.

In: a call of a trace some of whose tensor arguments are donated. Out: its results, which may lie where the arguments lay; in the arguments
stands a `Donated`, which says so to whoever uses them. A buffer that somebody else holds too is copied first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any, NoReturn

import numpy as np

from tapejit.core import places
from tapejit.core.types import Type
from tapejit.ir.graph import Graph
from tapejit.passes.donate import donate
from tapejit.tensor import EagerTensor

Launch = Callable[[list[EagerTensor], dict[str, Any]], list[EagerTensor]]


class Donated:
    """In place of the array of a donated tensor: any use is a RuntimeError that says where the buffer went."""

    __slots__ = ("_argument", "_code", "_function", "_instruction", "_type")

    def __init__(self, argument: str, type: Type, function: str, code: CodeType | None, instruction: int) -> None:
        self._argument, self._type, self._function = argument, type, function
        self._code, self._instruction = code, instruction

    def _refuse(self) -> NoReturn:
        call = places.place_of(self._code, self._instruction) if self._code is not None else None
        raise RuntimeError(
            f"this tensor, {self._type}, was given away: it was argument {self._argument} of {self._function}, which is donated, so its buffer may "
            f"hold a result now; use that result, or pass a copy: tf.identity({self._argument})"
            + (f"\nit was donated here:\n{call.quote()}\nit was used here:" if call is not None else "")
            + places.with_place("")
        )

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse()

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        self._refuse()

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse()

    def __array_function__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse()

    def __getitem__(self, key: Any) -> NoReturn:
        self._refuse()

    def __int__(self) -> NoReturn:
        self._refuse()

    __index__ = __float__ = __bool__ = __len__ = __iter__ = __int__


class _Holder:
    """The variable behind a donated argument's cell for the time of a call."""

    __slots__ = ("_group", "_value")

    _value: EagerTensor


class Donation:
    """How a trace is called some of whose tensor arguments (position -> name) are donated. `graph` is what it compiles."""

    def __init__(self, function: str, traced: Graph, arguments: Mapping[int, str]) -> None:
        self.function, self.arguments, self.count = function, dict(arguments), len(traced.results)
        self.types = {p: traced.params[p].type for p in arguments}
        self.graph, self._went = donate(traced, list(arguments))
        self._holders = {p: _Holder() for p in self._went}
        self._lock = threading.Lock()

    def run(self, launch: Launch, tensors: Sequence[EagerTensor], bound: Mapping[str, Any]) -> list[EagerTensor]:
        """The results of `launch(tensors that are left, cells)`. If it fails, the arguments are what they were."""
        frame = places.user_frame()
        code, instruction = (frame.f_code, frame.f_lasti) if frame is not None else (None, 0)
        given = {id(tensors[p]) for p in self.arguments}
        with self._lock:
            cells = dict(bound)
            for p, (cell, _) in self._went.items():
                # no name here may hold the array: it is written in place only if this tensor alone has it
                self._holders[p]._value = EagerTensor(np.asarray(tensors[p]._array, order="C"))
                cells[cell] = self._holders[p]
            left = [EagerTensor(x._array) if id(x) in given else x for k, x in enumerate(tensors) if k not in self._went]
            for p, name in self.arguments.items():
                if type(tensors[p]._array) is not Donated:  # it may be two of the arguments
                    tensors[p]._array = Donated(name, self.types[p], self.function, code, instruction)
            try:
                results = launch(left, cells)
            except BaseException:
                self._restore(tensors, left)
                raise
            for p, (_, k) in sorted(self._went.items(), key=lambda item: item[1][1]):
                results.insert(k, self._holders[p]._value)
                del self._holders[p]._value
            return results

    def _restore(self, tensors: Sequence[EagerTensor], left: Sequence[EagerTensor]) -> None:
        for p in self._went:
            tensors[p]._array = self._holders[p]._value._array
            del self._holders[p]._value
        for x, kept in zip((x for k, x in enumerate(tensors) if k not in self._went), left, strict=True):
            x._array = kept._array


def donated_parameters(donate: Any, function: str, parameters: Any) -> frozenset[str]:
    """The names of the parameters that `donate` lists by name or position. ValueError for one that there is not."""
    listed = [donate] if isinstance(donate, str | int) else list(donate or ())
    names = list(parameters.parameters) if parameters is not None else []
    out = set()
    for x in listed:
        if isinstance(x, str) and x in names:
            out.add(x)
        elif isinstance(x, int) and not isinstance(x, bool) and -len(names) <= x < len(names):
            out.add(names[x])
        else:
            raise ValueError(
                places.with_place(
                    f"donate={donate!r}: {function} has no parameter {x!r}; write names or positions of {', '.join(names) or 'none'}"
                )
            )
    return frozenset(out)

"""Tensors that are put by while a step runs, and known by a number: how one leaves a graph that alone knows its sizes.

In: a tensor, in a branch; out: a token, which is a result of the branch as any scalar is, and outside of it the tensor, with sizes that are
results as well. The store is in Python, so both ops call the host. A token is taken up by one line only: its gradient is the token of the
tensor's gradient, and tokens cannot be added.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register

STASHED_COUNT, STASHED_BYTES = 1 << 14, 256 << 20


class Store(threading.local):
    """The latest things a thread has put by, by their numbers: at most STASHED_COUNT, and STASHED_BYTES if there is more than one."""

    def __init__(self) -> None:
        self._held: OrderedDict[int, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def put(self, thing: Any, size: int, number: int) -> None:
        """Put by a thing of `size` bytes; the oldest ones go when there are too many."""
        self._bytes += size - self._held.pop(number, (None, 0))[1]
        self._held[number] = thing, size
        while len(self._held) > 1 and (len(self._held) > STASHED_COUNT or self._bytes > STASHED_BYTES):
            self._bytes -= self._held.popitem(last=False)[1][1]

    def get(self, number: Any, what: str) -> Any:
        """InvalidArgumentError, which calls it `what`, if it is not held any more."""
        found = self._held.get(int(number))
        if found is None:
            raise InvalidArgumentError(
                f"{what} is needed once more for a gradient, but only the latest {STASHED_COUNT} of a thread are kept, in {STASHED_BYTES >> 20} MiB; "
                "ask for the gradient sooner"
            )
        return found[0]


_numbers = itertools.count(1)  # 0 is the token of zeros
_tensors = Store()


class Stash(Op):
    """The token of a tensor: a float64, so that gradients flow through it."""

    name = "stash"

    def infer(self, x: Type) -> Type:
        return Type(dtypes.float64)

    def eager(self, x: Any) -> Any:
        number = next(_numbers)
        _tensors.put(np.array(x), x.nbytes, number)
        return np.asarray(number, np.float64)

    def vjp(self, g: Any, z: Any, x: Any) -> tuple[Any, ...]:
        return (lambda: stashed(g, dtype=x.dtype, shape=x.dims),)

    def jvp(self, tangents: Any, z: Any, x: Any) -> Any:
        return stash(tangents[0])

    def samples(self, draw: Any) -> Iterator[Any]:
        return iter(())  # which number a tensor gets is no law


class Stashed(Op):
    """The tensor that a token stands for, zeros for token 0."""

    name = "stashed"

    def infer(self, token: Type, *, dtype: DType, shape: tuple[Dim, ...]) -> Type:
        return Type(dtype, shape)

    def eager(self, token: Any, *, dtype: DType, shape: tuple[int, ...]) -> Any:
        return _tensors.get(token, "what a branch gives") if token else np.zeros(shape, dtype.np)

    def vjp(self, g: Any, z: Any, token: Any, *, dtype: DType, shape: tuple[Dim, ...]) -> tuple[Any, ...]:
        return (lambda: stash(g),)

    def jvp(self, tangents: Any, z: Any, token: Any, *, dtype: DType, shape: tuple[Dim, ...]) -> Any:
        return stashed(tangents[0], dtype=dtype, shape=shape)

    def samples(self, draw: Any) -> Iterator[Any]:
        return iter(())


stash, stashed = register(Stash()), register(Stashed())

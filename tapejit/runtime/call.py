"""Calling a compiled step from Python with a table of addresses, in Python: the plain way.

`launcher` has the fast way. `PlainCall` carries out a `Plan` where that is not available (free-threaded or unusual Pythons, Windows)
and says in few lines what the native launcher does; the tests hold the two together.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from tapejit.core import sizes
from tapejit.core.sizes import Dim, Size
from tapejit.runtime.layout import ERROR_BYTES
from tapejit.runtime.locks import groups_of
from tapejit.runtime.plan import Cell, Give, GiveArgument, Leaf, Literal, Made, Owner, Plan, Same

_RELEASING = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_HOLDING = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)


def plain(address: int, *, release_gil: bool = True) -> Callable[[np.ndarray], int]:
    """The step at `address` as a function of its int64 table that returns its status; holds the interpreter lock if asked to.

    The table is a contiguous int64 array of as many entries as the step expects; what it points to must outlive the call.
    """
    native = (_RELEASING if release_gil else _HOLDING)(address)

    def call(table: np.ndarray) -> int:
        if table.dtype != np.int64 or not table.flags.c_contiguous:
            raise TypeError(f"the table of a step is a contiguous int64 array, not {table.dtype} with strides {table.strides}")
        try:
            return native(table.ctypes.data)
        except SystemError as e:  # a signal's handler raised meanwhile, and the step has ended (see `poll`)
            raise e.__cause__ or e from None

    return call


class _Unfit(Exception):
    """The call is not for this plan."""


class PlainCall:
    """A plan as a callable object. New values of cells always get an array of their own."""

    def __init__(self, plan: Plan, fallback: Callable[..., Any] | None, on_error: Callable[[int], Any] | None) -> None:
        self.plan, self.fallback, self.on_error = plan, fallback, on_error
        self.step = plain(plan.step, release_gil=plan.release_gil)
        self.error = np.zeros(ERROR_BYTES // 8, np.int64)
        self.counter = np.zeros(1, np.int64)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        try:
            leaves = self._leaves(args, keywords)
            with ExitStack() as locks:
                for group in groups_of(self._owner(owner, leaves) for owner in self.plan.locked()):
                    locks.enter_context(group.reentrant)
                return self._run(leaves)
        except _Unfit:
            return NotImplemented if self.fallback is None else self.fallback(*args, **keywords)

    def _leaves(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments of a call without their containers."""
        plan = self.plan
        if (
            list(keywords) != list(plan.keywords)
            or len(args) + len(keywords) != len(plan.arguments)
            or (plan.gate is not None and plan.gate.reshape(())[()])
            or (plan.frozen is not None and not plan.frozen.holds())
        ):
            raise _Unfit
        return tuple(_entered(list(plan.arguments), [*args, *keywords.values()]))

    def _owner(self, owner: Any, args: tuple[Any, ...]) -> Any:
        return args[self.plan.position(owner)] if isinstance(owner, Owner) else owner

    def _tensor_of(self, c: Cell, args: tuple[Any, ...]) -> Any:
        return getattr(self._owner(c.owner, args), c.attribute, None)

    def _run(self, args: tuple[Any, ...]) -> Any:
        plan = self.plan
        env: dict[str, int] = {}
        shapes: list[tuple[Dim, int]] = []
        table = np.zeros(len(plan.table), np.int64)
        alive: list[Any] = []

        def fill(name: str | None, array: np.ndarray) -> None:
            if name is not None:
                table[plan.slot(name)] = array.ctypes.data
                alive.append(array)

        first: dict[int, int] = {}  # the alias that an object has
        for a, value in zip(plan.leaves(), args, strict=True):
            if isinstance(a, Literal):
                if not _same(a, value):
                    raise _Unfit
            elif isinstance(a, Same):
                if value is None or a.reference() is not value:
                    raise _Unfit
            elif isinstance(a, Owner):
                if type(value) is not a.cls or (a.having is not None and getattr(value, a.having[0], None) is not a.having[1]):
                    raise _Unfit
                self._array(a.dtype, a.shape, getattr(value, a.attribute, None), False, env, shapes)
                if a.alias is not None and (first.setdefault(id(value), a.alias) != a.alias or list(first.values()).count(a.alias) > 1):
                    raise _Unfit
            else:
                fill(a.slot, self._array(a.dtype, a.shape, value, a.raw, env, shapes))
        for c in plan.cells:
            fill(c.read, self._array(c.dtype, c.shape, self._tensor_of(c, args), False, env, shapes))
        for _ in shapes:
            for d, n in shapes:
                try:
                    solved = sizes.solve(d, n, env)
                except ValueError:
                    raise _Unfit from None
                if solved is not None:
                    env.setdefault(*solved)
        if any(sizes.evaluate(d, env) != n for d, n in shapes):
            raise _Unfit
        if any(sizes.evaluate(a, env) != sizes.evaluate(b, env) for a, b in plan.guards):
            raise _Unfit

        new = {k: self._empty(c.dtype, c.shape, env) for k, c in enumerate(plan.cells) if c.write is not None}
        for k, array in new.items():
            if plan.cells[k].read == plan.cells[k].write:
                array[...] = getattr(self._tensor_of(plan.cells[k], args), plan.array)
            fill(plan.cells[k].write, array)
        results = [None if r.delivered else self._empty(r.dtype, r.shape, env) for r in plan.results]
        for r, made in zip(plan.results, results, strict=True):
            if made is not None:
                fill(r.slot, made)
        for name in plan.sizes:
            table[plan.slot(name)] = env[name]
        for name, array in plan.constants.items():
            fill(name, array)
        for name, address in plan.addresses.items():
            table[plan.slot(name)] = address
        if "arena" in plan.table:
            memory = np.empty(sizes.evaluate(plan.arena, env) + 64, np.uint8)
            fill("arena", memory[-memory.ctypes.data % 64 :])
        error = np.zeros_like(self.error)
        if "error" in plan.table:
            fill("error", error)

        self.counter += 1
        status = self.step(table)
        delivered = [self._delivered(k, table) if r.delivered else results[k] for k, r in enumerate(plan.results)]
        if status:
            self.error[:] = error
            return status if self.on_error is None else self.on_error(status)
        tensors = [self._tensor(array) for array in delivered]
        for k, array in new.items():
            setattr(self._owner(plan.cells[k].owner, args), plan.cells[k].attribute, self._tensor(array))
        for cell in plan.cells:
            if cell.result is not None:
                setattr(self._owner(cell.owner, args), cell.attribute, tensors[cell.result])
        return _returned(plan.returns, tensors, args)

    def _array(
        self, dtype: np.dtype, shape: tuple[Dim, ...], value: Any, raw: bool, env: dict[str, int], shapes: list[tuple[Dim, int]]
    ) -> np.ndarray:
        if type(value) is self.plan.tensor:
            value = getattr(value, self.plan.array, None)
        elif not raw:
            raise _Unfit
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if type(value) is not np.ndarray or value.dtype is not dtype or value.ndim != len(shape):
            raise _Unfit
        if not value.flags.c_contiguous or not value.flags.aligned:
            raise _Unfit
        for d, n in zip(shape, value.shape, strict=True):
            if not isinstance(d, Size):
                if d != n:
                    raise _Unfit
            elif len(names := sizes.names(d)) == 1 and d == sizes.named(name := next(iter(names))):
                if env.setdefault(name, n) != n:
                    raise _Unfit
            else:
                shapes.append((d, n))
        return value

    @staticmethod
    def _empty(dtype: np.dtype, shape: tuple[Dim, ...], env: dict[str, int]) -> np.ndarray:
        return np.empty([sizes.evaluate(d, env) for d in shape], dtype)

    def _delivered(self, k: int, table: np.ndarray) -> np.ndarray:
        r = self.plan.results[k]
        at = self.plan.slot(r.slot)
        array = np.empty([int(n) for n in table[at + 1 : at + 1 + len(r.shape)]], r.dtype)
        if table[at]:
            ctypes.memmove(array.ctypes.data, int(table[at]), array.nbytes)
            free = ctypes.CDLL(None).free
            free.argtypes = [ctypes.c_void_p]
            free(int(table[at]))
        return array

    def _tensor(self, array: Any) -> Any:
        tensor: Any = object.__new__(self.plan.tensor)
        setattr(tensor, self.plan.array, array)
        return tensor


def _entered(tree: Any, value: Any) -> Iterator[Any]:
    """The leaves of a value that is nested like the tree."""
    if isinstance(tree, Leaf):
        yield value
        return
    if type(value) is not type(tree) or len(value) != len(tree):
        raise _Unfit
    for key in tree if isinstance(tree, dict) else range(len(tree)):
        if isinstance(tree, dict) and key not in value:
            raise _Unfit
        yield from _entered(tree[key], value[key])


def _same(expected: Literal, value: Any) -> bool:
    if value is expected.value:
        return True
    if not expected.equal or type(value) is not type(expected.value):
        return False
    if isinstance(value, float):
        return value.hex() == expected.value.hex()
    return bool(value == expected.value)


def _returned(tree: Any, results: list[Any], args: tuple[Any, ...]) -> Any:
    match tree:
        case Give(result=k):
            return results[k]
        case GiveArgument(argument=k):
            return args[k]
        case tuple() | list() if type(tree) in (tuple, list):
            return type(tree)(_returned(x, results, args) for x in tree)
        case dict() if type(tree) is dict:
            return {key: _returned(x, results, args) for key, x in tree.items()}
        case Made(function=function, arguments=items):
            return function(*(_returned(x, results, args) for x in items))
    return tree

"""Locks for steps that let other Python threads run while they change state.

Between such a step's reading a cell and its leaving the new value there, another thread may call a step that does the same, and one of the
updates would be lost. So each owner of cells belongs to a group, which has a lock, and a step holds the locks of the groups that
the cells it writes are in. Owners that a step is the first to write make one group, so most steps hold one lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

_allocate, _free = ctypes.pythonapi.PyThread_allocate_lock, ctypes.pythonapi.PyThread_free_lock
_allocate.restype, _free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
_numbers = itertools.count()
_all: weakref.WeakSet[Group] = weakref.WeakSet()
_lock = threading.Lock()


class Seen:
    """What the native launcher sees of a group, in int64 `words`: a lock of CPython's, the thread that holds it, how often, and its number."""

    __slots__ = ("words",)


class Group(Seen):
    """One lock."""

    __slots__ = ("__weakref__", "number", "reentrant")

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.words = np.zeros(4, np.int64)
        self.renew()

    def renew(self) -> None:
        """A lock that nobody holds."""
        self.reentrant = threading.RLock()
        self.words[:] = _allocate(), 0, 0, self.number

    def __del__(self, free: Any = _free) -> None:  # bound early: it may run when modules are gone
        free(int(self.words[0]))


ATTRIBUTE = "_group"  # the slot in which an owner has its group, None or nothing as long as it has none


def groups_of(owners: Iterable[Any]) -> list[Group]:
    """The groups of some owners, in the order in which everybody takes their locks."""
    found: dict[int, Group] = {}
    with _lock:
        new: Group | None = None
        for owner in owners:
            group = getattr(owner, ATTRIBUTE, None)
            if group is None:
                new = group = new or Group()
                _all.add(group)
                with contextlib.suppress(AttributeError):  # without the slot only the calls of one plan wait for each other
                    setattr(owner, ATTRIBUTE, group)
            found[group.number] = group
    return [found[n] for n in sorted(found)]


def _renew() -> None:
    """In a forked child: other threads of the parent may have held the locks."""
    global _lock
    _lock = threading.Lock()
    for group in _all:
        group.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)

"""Trial runs take nothing: iterators and random streams of datasets that a run moved on go back to where they were.

In: whoever is moved on says so before it is, with how it is put back. Out: a context within which that is remembered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Trial(threading.local):
    """What the trial run of this thread has moved, by id, with how it is put back; None outside of one."""

    moved: dict[int, tuple[object, Callable[[], None]]] | None = None


_trial = _Trial()


@contextmanager
def rewinding() -> Iterator[None]:
    """Put back at the end what was moved within, in the order in which it was moved last to first."""
    outer, _trial.moved = _trial.moved, {}
    try:
        yield
    finally:
        moved, _trial.moved = _trial.moved, outer
        for _, put_back in reversed(moved.values()):
            put_back()


def moving(x: object, state: Callable[[], Callable[[], None]]) -> None:
    """Called before `x` moves on. `state()` notes where it is and gives what puts it back there; asked once in a trial run."""
    if _trial.moved is not None and id(x) not in _trial.moved:
        _trial.moved[id(x)] = x, state()

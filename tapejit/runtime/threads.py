"""The worker threads of this process: started at the first need, told to compiled steps as `tapejit_parallel_for`.

    int64 tapejit_parallel_for(kernel, context, int64 length, int64 grain)
    int64 kernel(context, int64 start, int64 stop)

calls the kernel on pieces that together are 0..length, on several threads, and returns the first status that is not 0. A forked
child, a loop within a loop, and a second Python thread while another's loop runs get the whole loop on the calling thread.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
import time
from typing import Any

from tapejit.runtime import host

SYMBOL = "tapejit_parallel_for"
SPIN_SECONDS = 0.0003  # how long a worker looks for work before it sleeps; waking it takes 50 to 150 microseconds

_lock = threading.Lock()


def parallel_for() -> int:
    """The address of `tapejit_parallel_for`. Starts `host.num_threads() - 1` workers, once."""
    start(host.num_threads() - 1)
    return _library().address(SYMBOL)


def start(workers: int) -> int:
    """See to it that there are so many workers besides the caller; how many there are. There never get fewer."""
    with _lock:
        return _library()["start"](workers, int(_spin_seconds() / _look_seconds()), time.CLOCK_MONOTONIC)


def available() -> bool:
    """Whether workers can be had here: where the C library has POSIX threads."""
    return sys.platform != "win32" and hasattr(ctypes.CDLL(None), "pthread_create")


def _spin_seconds() -> float:
    """With as many threads as cores, spinning is free; with more, spinners would keep the others from working."""
    return SPIN_SECONDS if host.num_threads() <= host.cores() else 0.0


@functools.cache
def _look_seconds() -> float:
    """How long one look with a pause takes; from 10 to 100 ns, by processor."""
    idle, rounds = _library()["idle"], 200
    found = 1.0
    for _ in range(20):  # others may take the core from this thread meanwhile
        started = time.perf_counter()
        idle(rounds)
        found = min(found, time.perf_counter() - started)
    return max(1e-9, found / rounds)


@functools.cache
def _library() -> Any:
    from tapejit.runtime import native, pool

    library = native.Library(pool)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))  # its threads run in it until the process ends
    return library


def _reset_lock() -> None:
    """In a forked child: another thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_lock)

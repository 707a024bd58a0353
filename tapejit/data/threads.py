"""Work ahead of the consumer: a function on several elements at a time, and a stage that runs in a thread of its own.

Threads are daemons that end when the iterator that started them is dropped. What they raise is raised in the consumer. Work that is
too short to gain by a thread stays where it is.
"""

from __future__ import annotations

import collections
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tapejit.data.order import Selection
from tapejit.data.pieces import Piece
from tapejit.data.pipeline import Stage

_HANDOVER = 1e-4  # seconds of work per element from which on handing it to a thread gains
_LONG, _TRIALS = 5e-3, 8


class Patience:
    """Measures work until it is known whether it is worth a thread."""

    def __init__(self) -> None:
        self._count, self._spent, self._longest = 0, 0.0, 0.0

    def spent(self, seconds: float) -> bool:
        """Count one element; whether the work is long. The longest one does not count: something may be prepared or compiled there."""
        self._count += 1
        self._spent += seconds
        self._longest = max(self._longest, seconds)
        rest = self._spent - self._longest
        return rest > (_LONG if self._count <= _TRIALS else (self._count - 1) * _HANDOVER)


def same_process(process: int) -> None:
    """RuntimeError in a process forked from `process`, in which the threads of an iterator stayed behind."""
    if os.getpid() != process:
        raise RuntimeError(
            "this iterator over a dataset has threads in the process it was made in; make a new one, iter(dataset), in the child"
        )


class Channel:
    """Hands things from threads to a consumer, in order; at most `capacity` wait."""

    def __init__(self, capacity: int) -> None:
        self._waiting: collections.deque = collections.deque()
        self._capacity, self._closed, self._changed = capacity, False, threading.Condition()
        self._process = os.getpid()

    def put(self, item: Any) -> bool:
        """Wait for room; False when the consumer is gone."""
        with self._changed:
            while len(self._waiting) >= self._capacity and not self._closed:
                self._changed.wait()
            self._waiting.append(item)
            self._changed.notify_all()
            return not self._closed

    def get(self) -> Any:
        """Wait for the next thing. RuntimeError in a process forked from the one in which the iterator was made."""
        same_process(self._process)
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            item = self._waiting.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """The consumer is gone."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()


class Prefetch(Selection):
    """The elements, up to `buffer` of them made in advance by a thread."""

    def __init__(self, source: Stage, buffer: int) -> None:
        super().__init__(source)
        self._buffer = buffer

    def cardinality(self) -> int:
        return self.source.cardinality()

    def pieces(self) -> Iterator[Piece]:
        return ahead(self.source.pieces(), self._buffer)


_END = object()


def ahead(items: Iterator[Any], capacity: int) -> Iterator[Any]:
    """The items, made in a thread from where they turn out to take long."""
    patience = Patience()
    while True:
        started = time.perf_counter()
        item = next(items, _END)
        took = time.perf_counter() - started
        if item is _END:
            return
        yield item
        if patience.spent(took):
            break
    channel = Channel(capacity)
    threading.Thread(target=_pump, args=(items, channel), name="tapejit.data", daemon=True).start()
    try:
        while True:
            item, error = channel.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        channel.close()


def _pump(items: Iterator[Any], channel: Channel) -> None:
    try:
        for item in items:
            if not channel.put((item, None)):
                return
        channel.put((_END, None))
    except BaseException as e:
        channel.put((None, e))


def parallel(function: Callable[[Any], Any], items: Iterator[Any], workers: int) -> Iterator[Any]:
    """`function` of each item in order, by several threads from where the calls turn out to take long."""
    patience = Patience()
    for item in items:
        started = time.perf_counter()
        result = function(item)
        took = time.perf_counter() - started
        yield result
        if patience.spent(took):
            break
    else:
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    process = os.getpid()
    pool = ThreadPoolExecutor(workers, "tapejit.data")
    waiting: collections.deque[Future] = collections.deque()
    failed: BaseException | None = None
    ended = False
    try:
        while True:
            while not ended and len(waiting) < 2 * workers:
                try:
                    waiting.append(pool.submit(function, next(items)))
                except StopIteration:
                    ended = True
                except BaseException as e:  # what came before it is still due
                    failed, ended = e, True
            if not waiting:
                break
            same_process(process)
            yield waiting.popleft().result()
        if failed is not None:
            raise failed
    finally:
        pool.shutdown(wait=False, cancel_futures=True)

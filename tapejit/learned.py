"""What only a run of a traced function can tell of it: the ranks of the tensors that Python gives it (`tf.py_function`).

A trace that needs such a rank raises `UnknownRank` and is abandoned. The call at hand is then run eagerly, and the ranks that are met are
noted by the lines of the calls of Python; the next trace finds them. In: the ranks met, the lines asked for. Out: ranks.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from types import CodeType, FrameType
from typing import Any

from tapejit.core.places import is_ours

Site = tuple[tuple[str, int], ...]  # file and line in every frame of the user's, from the innermost one out to that of the function
Call = tuple[Site, int]  # a call of Python, and how many of the same run were at this site before it


class UnknownRank(NotImplementedError):
    """A trace needs the rank of what Python gives at the call `call`, which `ranks` does not have."""

    def __init__(self, message: str, call: Call | None, ranks: Ranks | None) -> None:
        super().__init__(message)
        self.call, self.ranks = call, ranks


class Ranks:
    """The ranks known for one function and one kind of arguments. `lacking` is the call whose rank a trace asked for and no run has met yet,
    with what was said of it."""

    def __init__(self) -> None:
        self._found: dict[Site, list[tuple[int, ...]]] = {}
        self.lacking: tuple[str, Call | None] | None = None

    def of(self, call: Call | None) -> tuple[int, ...] | None:
        """The ranks of the results of a call; None if they are not known. A run may have made fewer calls at a site than a trace."""
        met = self._found.get(call[0]) if call is not None else None
        return None if not met or call is None else met[min(call[1], len(met) - 1)]

    def learn(self, found: dict[Site, list[tuple[int, ...]]], asked: UnknownRank) -> None:
        """Take up what a run met that was made because a trace asked for a rank."""
        self._found.update(found)
        self.lacking = (str(asked), asked.call) if asked.ranks is self and self.of(asked.call) is None else None


class at_work:
    """Within, this thread traces the function that the frame of the `with` statement calls, or runs it: then what is met goes to `found`."""

    def __init__(self, ranks: Ranks, found: dict[Site, list[tuple[int, ...]]] | None = None) -> None:
        self.ranks, self.found = ranks, found
        self._calls: Counter[Site] = Counter()

    def __enter__(self) -> at_work:
        self._frame: FrameType | None = sys._getframe(1)
        self._before, _thread.visit = _thread.visit, self
        return self

    def __exit__(self, *error: Any) -> None:
        self._frame, _thread.visit = None, self._before

    def call(self) -> Call:
        """The call of Python that is being made.

        A lambda that the function it stands in calls is a part of that: converted code has some for parts of expressions.
        """
        lines: list[tuple[str, int]] = []
        frame: FrameType | None = sys._getframe(2)
        inner: CodeType | None = None
        while frame is not None and frame is not self._frame:
            code = frame.f_code
            if not is_ours(code):
                if inner is None or inner.co_name != "<lambda>" or inner not in code.co_consts:
                    lines.append((code.co_filename, frame.f_lineno))
                inner = code
            frame = frame.f_back
        site = tuple(lines)
        self._calls[site] += 1
        return site, self._calls[site] - 1


class _Thread(threading.local):
    visit: at_work | None = None


_thread = _Thread()


def noted(ranks: tuple[int, ...]) -> None:
    """Python gave tensors of these ranks to a function that is being run."""
    visit = _thread.visit
    if visit is not None and visit.found is not None:
        visit.found.setdefault(visit.call()[0], []).append(ranks)


def asked() -> tuple[Call | None, Ranks | None]:
    """The call of Python that the function being traced makes here, and where the ranks are that earlier runs met there."""
    visit = _thread.visit
    return (None, None) if visit is None or visit.found is not None else (visit.call(), visit.ranks)

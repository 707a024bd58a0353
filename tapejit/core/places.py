"""Where in the user's source something happened: file, line and columns, the quoted line, and the frame it came from.

A frame is the user's if its file lies outside tapejit (and Keras, which calls us on the user's behalf).
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
from dataclasses import dataclass, field, replace
from types import CodeType, FrameType

LINE_END = sys.maxsize
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True)
class Place:
    """A stretch of source: `line` counts from 1, columns from 0; `end_column` is `LINE_END` where the stretch goes on over further lines, 0
    where the columns are not known.

    `backward` marks what was done on behalf of the stretch's gradient.
    """

    file: str
    line: int
    column: int = 0
    end_column: int = 0
    backward: bool = field(default=False, compare=False)

    def in_gradient(self) -> Place:
        """The same stretch, for what its gradient does."""
        return self if self.backward else replace(self, backward=True)

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"

    @property
    def text(self) -> str:
        """The source line without its indentation; empty if the source cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def quote(self) -> str:
        """The line and a caret below the stretch, for error messages."""
        raw = linecache.getline(self.file, self.line).rstrip("\n")
        head = f"  at {self.file}:{self.line}{', in the gradient of this line' if self.backward else ''}"
        if not raw.strip():
            return head
        indent = len(raw) - len(raw.lstrip())
        out = f"{head}\n      {raw.strip()}"
        if self.end_column > self.column >= indent:
            # columns count UTF-8 bytes; a caret line counts characters
            prefix = len(raw.encode()[: self.column].decode(errors="ignore")) - indent
            width = len(raw.encode()[self.column : self.end_column].decode(errors="ignore"))
            out += f"\n      {' ' * prefix}{'^' * max(width, 1)}"
        return out


_ours: dict[CodeType, bool] = {}


def is_ours(code: CodeType) -> bool:
    """Whether a code object belongs to tapejit, or to Keras, a generated file or `contextlib` on its way."""
    known = _ours.get(code)
    if known is None:
        name = code.co_filename
        known = name.startswith((_HERE, "<frozen")) or f"{os.sep}keras{os.sep}src{os.sep}" in name or name == contextlib.__file__
        _ours[code] = known
    return known


def user_frame(depth: int = 1) -> FrameType | None:
    """The innermost frame that is the user's, looking outwards from `depth` frames above the caller."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and is_ours(frame.f_code):
        frame = frame.f_back
    return frame


def position(depth: int = 1) -> tuple[CodeType, int] | None:
    """Where the user's code is at, as the arguments of `place_of`, looking outwards from `depth` frames above the caller."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        ours = _ours.get(code)
        if not (is_ours(code) if ours is None else ours):
            return code, frame.f_lasti
        frame = frame.f_back
    return None


_positions: dict[tuple[CodeType, str, int], Place] = {}  # by the file as well, which equal codes may differ in: copies, cells of notebooks


def place_of(code: CodeType, instruction: int) -> Place:
    """The place of the instruction at byte offset `instruction` (a frame's `f_lasti`) of a code object."""
    key = code, code.co_filename, instruction
    place = _positions.get(key)
    if place is None:
        listed = list(code.co_positions())
        line, end_line, column, end_column = listed[instruction // 2] if 0 <= instruction // 2 < len(listed) else (None,) * 4
        end = (end_column or 0) if line == end_line else LINE_END
        place = Place(code.co_filename, line or code.co_firstlineno, column or 0, end if line is not None else 0)
        _positions[key] = place
    return place


def here(depth: int = 1) -> Place | None:
    """The place where the user's code is at, as seen from `depth` frames above the caller; None outside any user code."""
    frame = user_frame(depth + 1)
    return place_of(frame.f_code, frame.f_lasti) if frame is not None else None


def with_place(message: str, place: Place | None = None) -> str:
    """`message` followed by the user's line, the current one unless `place` is given."""
    place = place or here(2)
    return f"{message}\n{place.quote()}" if place is not None else message

"""Tracebacks of exceptions raised while a function is traced: the user's frames, and a note that quotes their lines."""

from __future__ import annotations

import linecache
from types import TracebackType

from tapejit.core.places import is_ours
from tapejit.debugging import is_traceback_filtering_enabled


def told(error: Exception) -> Exception:
    """An exception that leaves the user's function, with the lines of the user's that led to it noted, and without frames of ours between
    them (unless `tf.debugging.disable_traceback_filtering()` says so)."""
    frames = []
    tb = error.__traceback__
    while tb is not None:
        if not is_ours(tb.tb_frame.f_code):
            frames.append(tb)
        tb = tb.tb_next
    if not frames:
        return error
    if not any(note.startswith("in user code:") for note in getattr(error, "__notes__", ())):
        error.add_note("in user code:\n\n" + "\n".join(map(_quoted, frames)))
    if not is_traceback_filtering_enabled():
        return error
    below: TracebackType | None = None
    for t in reversed(frames):
        below = TracebackType(below, t.tb_frame, t.tb_lasti, t.tb_lineno)
    return error.with_traceback(below)


def _quoted(t: TracebackType) -> str:
    """A frame as TensorFlow writes it."""
    code = t.tb_frame.f_code
    return f'    File "{code.co_filename}", line {t.tb_lineno}, in {code.co_name}  *\n        {linecache.getline(code.co_filename, t.tb_lineno).strip()}'

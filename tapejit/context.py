"""Where the program is: eager or inside a function being traced, and the way out of the latter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tapejit.ir.op import thread
from tapejit.record.recorder import recording
from tapejit.variable import paused_tapes

__all__ = ["executing_eagerly", "init_scope", "inside_function"]


def executing_eagerly() -> bool:
    """Whether ops compute at once (True), or are recorded because a function is being traced (`tf.executing_eagerly`)."""
    return thread.recorder is None


def inside_function() -> bool:
    """Whether a function is being traced."""
    return thread.recorder is not None


@contextmanager
def init_scope() -> Iterator[None]:
    """Within, ops run eagerly and no tape sees them, also while a function is traced (`tf.init_scope`)."""
    with recording(None), paused_tapes():
        yield

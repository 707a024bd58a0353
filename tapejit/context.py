"""Where the program is: eager or inside a function being traced, and the way out of the latter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tapejit.ir.op import thread
from tapejit.record.recorder import recording
from tapejit.variable import paused_tapes

__all__ = ["control_dependencies", "executing_eagerly", "group", "init_scope", "inside_function"]


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


@contextmanager
def control_dependencies(control_inputs: Any) -> Iterator[None]:
    """Within, ops come after `control_inputs`; they do so anyway, as effects keep the order of the program (`tf.control_dependencies`)."""
    yield


def group(*inputs: Any, **kwargs: Any) -> None:
    """Nothing that can be computed: `inputs` have their effects in the order of the program, whether grouped or not (`tf.group`)."""

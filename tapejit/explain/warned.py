"""The warnings (and two errors) that explain: one line each, given at the user's place, each with a category that Python's warning filters take.

warnings.filterwarnings("ignore", category=tf.explain.RetraceWarning)
"""

from __future__ import annotations

import os
import warnings
from typing import Any

from tapejit.core.errors import FailedPreconditionError, InternalError
from tapejit.core.places import Place


class ExplanationWarning(UserWarning):
    """What all warnings that explain a surprise have in common."""


class RetraceWarning(ExplanationWarning):
    """A traced function was traced again because a call differs from those before it."""


class RetraceError(FailedPreconditionError):
    """A call would be traced again, of a function made with `on_retrace="error"`."""


class VerificationError(InternalError):
    """The first call of a trace, of a function made with `verify="first"`, departs from the eager program; `verification` has every line."""

    def __init__(self, message: str, verification: Any = None) -> None:
        super().__init__(message)
        self.verification = verification


class FrozenValueWarning(ExplanationWarning):
    """A Python value from outside has changed since a function was traced with it."""


class LeakedTensorWarning(ExplanationWarning):
    """While a function was traced, a symbolic tensor was put where it outlives the trace, or printed as if it had a value."""


class LostGradientWarning(ExplanationWarning):
    """A value that a tape follows left as a NumPy or Python value and came back as a constant."""


def warn(category: type[Warning], message: str, place: Place | None) -> None:
    """Give a warning at a place of the user's; `place` None: somewhere unknown."""
    file, line = (place.file, place.line) if place is not None else ("<unknown>", 0)
    module = os.path.splitext(os.path.basename(file))[0]
    warnings.warn_explicit(message, category, file, line, module)

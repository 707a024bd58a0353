"""Why something happened, with the user's line: retraces, missing gradients, values frozen at trace, NaN in compiled code, divergence.

Nothing here computes for the program; the tapes and functions ask it, and hand it what they know. Its one-line warnings have the
categories of `warned`, which Python's filters take.
"""

from tapejit.explain.warned import (
    ExplanationWarning,
    FrozenValueWarning,
    LeakedTensorWarning,
    LostGradientWarning,
    RetraceError,
    RetraceWarning,
    VerificationError,
)

__all__ = [
    "ExplanationWarning", "FrozenValueWarning", "LeakedTensorWarning", "LostGradientWarning", "RetraceError", "RetraceWarning",
    "VerificationError",
]  # fmt: skip

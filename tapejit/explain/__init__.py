"""Why something happened, with the user's line: retraces, missing gradients, values frozen at trace, NaN in compiled code, divergence.

Nothing here computes for the program; the tapes and functions ask it, and hand it what they know. Its one-line warnings have the
categories of `warned`, which Python's filters take.
"""

from tapejit.explain.retraces import RetraceError as RetraceError
from tapejit.explain.warned import ExplanationWarning as ExplanationWarning
from tapejit.explain.warned import FrozenValueWarning as FrozenValueWarning
from tapejit.explain.warned import LeakedTensorWarning as LeakedTensorWarning
from tapejit.explain.warned import LostGradientWarning as LostGradientWarning
from tapejit.explain.warned import RetraceWarning as RetraceWarning

"""The hint that Python's `print` of a symbolic tensor prints once per trace, and not what the user wants to see."""

from __future__ import annotations

import re

from tapejit.core import places
from tapejit.core.places import Place
from tapejit.explain.warned import LeakedTensorWarning, warn

_PRINT = re.compile(r"(?<![\w.])print\(")
_told_of: set[Place] = set()


def symbolic(name: str) -> None:
    """Called when a symbolic tensor becomes text: if that is for `print`, the line is told once."""
    at = places.here(2)
    if at is None or at in _told_of or not _PRINT.search(at.text):
        return
    _told_of.add(at)
    warn(
        LeakedTensorWarning,
        f"print shows the symbolic tensor {name!r} once, while the function is traced, and without a value; write tf.print, which runs at every call.",
        at,
    )

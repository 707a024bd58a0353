"""`tf.keras`: the real Keras 3, with tapejit as its backend. Keras is imported when the first of its names is asked for."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

from tapejit.keras.seat import take


@cache
def _keras() -> ModuleType:
    return take()


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_keras(), name)


def __dir__() -> list[str]:
    return dir(_keras())

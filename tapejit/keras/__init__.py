"""`tf.keras`: the real Keras 3, with tapejit as its backend. Keras is imported when the first of its names is asked for."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from tapejit.keras.seat import API, Lender, take


def __getattr__(name: str) -> Any:
    if name.startswith("__") and name != "__version__":
        raise AttributeError(name)
    return getattr(take(), name)


def __dir__() -> list[str]:
    return dir(take())


class _Modules(Lender):
    """`import tapejit.keras.layers` and its kin: Keras' own modules, with us in the seat."""

    def create_module(self, spec: Any) -> ModuleType:
        take()
        return super().create_module(spec)


sys.meta_path.append(_Modules(__name__, API))  # last: modules of ours come first

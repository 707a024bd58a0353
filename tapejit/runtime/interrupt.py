"""What compiled steps call to hear of signals such as Ctrl-C in long loops: the address of `poll.tapejit_poll`."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

SYMBOL = "tapejit_poll"


def poll() -> int:
    """The address of `tapejit_poll`."""
    return _library().address(SYMBOL)


def available() -> bool:
    """Whether there is a clock that costs next to nothing to read, and CPython's signals."""
    return sys.platform != "win32" and sys.implementation.name == "cpython"


@functools.cache
def _library() -> Any:
    from tapejit.runtime import native, poll

    library = native.Library(poll)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(library))  # steps call into it until the process ends
    return library

"""Calling a compiled step from Python with a table of addresses: the plain way, through ctypes (about half a microsecond).

`launcher` has the fast way, which also checks arguments and makes results. This one serves where that is not available
(free-threaded or unusual Pythons), and whatever calls a step with a table it keeps itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

_RELEASING = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_HOLDING = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)


def plain(address: int, *, release_gil: bool = True) -> Callable[[np.ndarray], int]:
    """The step at `address` as a function of its int64 table that returns its status; holds the interpreter lock if asked to.

    The table is a contiguous int64 array of as many entries as the step expects; what it points to must outlive the call.
    """
    native = (_RELEASING if release_gil else _HOLDING)(address)

    def call(table: np.ndarray) -> int:
        if table.dtype != np.int64 or not table.flags.c_contiguous:
            raise TypeError(f"the table of a step is a contiguous int64 array, not {table.dtype} with strides {table.strides}")
        return native(table.ctypes.data)

    return call

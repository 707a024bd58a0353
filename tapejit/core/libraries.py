"""Functions of SciPy's libraries by address: LAPACK and BLAS, and the special functions. SciPy is imported where one is asked for.

A symbol is `library:routine`. `lapack:dgesdd` and `blas:dgemm` are Fortran: every argument goes by address, integers have 32 bits, and
there is no result. `special:j0` takes float64 numbers and then an integer 0, and gives a float64; `special:fresnel` gives two
numbers through pointers instead. (SciPy's `cython_lapack`, `cython_blas` and `cython_special` document them for callers in other languages.)
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import re
from typing import Any

import numpy as np

_MODULES = {
    "lapack": "scipy.linalg.cython_lapack",
    "blas": "scipy.linalg.cython_blas",
    "special": "scipy.special.cython_special",
}


@functools.cache
def address(symbol: str) -> int:
    """Where the routine begins. LookupError if there is no such library or routine."""
    library, _, routine = symbol.partition(":")
    if library not in _MODULES:
        raise LookupError(f"no library {library!r} for symbol {symbol}; known are {', '.join(_MODULES)}")
    table = importlib.import_module(_MODULES[library]).__pyx_capi__
    found = next((c for k, c in table.items() if re.fullmatch(rf"(__pyx_fuse_\d+)?{routine}", k) and _plain(library, c)), None)
    if found is None:
        raise LookupError(f"{_MODULES[library]} has no routine {routine!r}")
    return _api().PyCapsule_GetPointer(found, _api().PyCapsule_GetName(found))


def _plain(library: str, capsule: Any) -> bool:
    """Whether a routine is the one for float64, where a library has it for several types under one name."""
    return library != "special" or re.match(rb"(double|void) \(double\b", _api().PyCapsule_GetName(capsule)) is not None


@functools.cache
def _api() -> ctypes.PyDLL:
    api = ctypes.PyDLL(None)
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype, api.PyCapsule_GetPointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return api


def special(symbol: str, arity: int, output: int | None = None) -> Any:
    """A special function of `arity` float64 numbers and an integer 0 that gives a float64, for calls from Python and from Numba.

    `output` says which result is meant of a function that gives two through pointers.
    """
    plain = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * arity, ctypes.c_int)
    if output is None:
        return plain(address(symbol))
    pointers = [ctypes.POINTER(ctypes.c_double)] * 2
    routine = ctypes.CFUNCTYPE(None, *[ctypes.c_double] * arity, *pointers)(address(symbol))

    def function(*arguments: Any) -> float:
        results = ctypes.c_double(), ctypes.c_double()
        routine(*arguments[:-1], *map(ctypes.byref, results))
        return results[output].value

    return plain(function)


def call(symbol: str, *arguments: Any) -> int:
    """Call a Fortran routine on arrays (which it may change), letters, integers and other numbers; what LAPACK reports of it (0: all went well).

    LAPACK's last argument, `info`, is not among the `arguments`.
    """
    info = np.zeros((), np.int32)
    held = [
        a if isinstance(a, np.ndarray | bytes) else np.array(a, np.int32 if isinstance(a, int | np.int64) else np.asarray(a).dtype)
        for a in (*arguments, *([info] if symbol.startswith("lapack:") else []))
    ]
    routine = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(held))(address(symbol))
    routine(*(a if isinstance(a, bytes) else a.ctypes.data for a in held))
    return int(info)

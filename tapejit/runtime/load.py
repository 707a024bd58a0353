"""Object code in, an address to call out. llvmlite links it into the process in about a millisecond; Numba is not needed.

C functions that the code calls are found in the process (libc, libm, the Python runtime). A symbol called `lapack:dpotrf` or
`blas:sgemm` is the Fortran routine of that name in SciPy's own library (all arguments are pointers); SciPy is imported only for those.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from tapejit.runtime.compile import binding

_lock = threading.Lock()
_registered: dict[str, int] = {}
_LIBRARIES = {"lapack": "scipy.linalg.cython_lapack", "blas": "scipy.linalg.cython_blas"}


class Module:
    """Linked machine code. It stays in memory as long as this object lives; addresses from it are valid no longer."""

    def __init__(self, code: bytes, symbols: Iterable[str] = (), addresses: Mapping[str, int] | None = None) -> None:
        """Link `code`. `symbols` are the external functions it calls; `addresses` gives those that only we know.

        LookupError names a symbol that is nowhere to be found (calling it would end the process).
        """
        llvm = binding()
        with _lock:
            provide(symbols, addresses or {})
            machine = llvm.Target.from_default_triple().create_target_machine(opt=0, jit=True)
            self._engine: Any = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
            self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where the function `name` begins. LookupError if the code has none."""
        found = self._engine.get_function_address(name)
        if not found:
            raise LookupError(f"the object code has no function {name!r}")
        return found


def provide(symbols: Iterable[str], addresses: Mapping[str, int]) -> None:
    """Make external functions known to the linker. LookupError names one that does not exist."""
    llvm = binding()
    for name, address in addresses.items():
        if _registered.get(name) != address:
            llvm.add_symbol(name, address)
            _registered[name] = address
    for name in symbols:
        if name in _registered:
            continue
        library, colon, routine = name.partition(":")
        _registered[name] = fortran(library, routine) if colon else process(name)
        llvm.add_symbol(name, _registered[name])


def process(name: str) -> int:
    """Address of a C function of this process: Python's, or of a library that Python is linked with."""
    try:
        found = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    except AttributeError:
        found = binding().address_of_symbol(name)
    if not found:
        raise LookupError(f"the compiled program calls {name!r}, which no library of this process has")
    return found


def fortran(library: str, routine: str) -> int:
    """Address of a LAPACK or BLAS routine (`library` is "lapack" or "blas") in the library that SciPy brings."""
    if library not in _LIBRARIES:
        raise LookupError(f"no library {library!r} for symbol {library}:{routine}; known are {', '.join(_LIBRARIES)}")
    import importlib

    table = importlib.import_module(_LIBRARIES[library]).__pyx_capi__
    if routine not in table:
        raise LookupError(f"{_LIBRARIES[library]} has no routine {routine!r}")
    capsule = table[routine]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype, api.PyCapsule_GetPointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))

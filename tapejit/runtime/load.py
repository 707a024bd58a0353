"""Object code in, an address to call out. Our own linker does it in a millisecond where it can, LLVM's elsewhere; Numba is not needed.

C functions that the code calls are found in the process (libc, libm, the Python runtime). A symbol called `lapack:dpotrf` or
`blas:sgemm` is the Fortran routine of that name in SciPy's own library (all arguments are pointers); SciPy is imported only for those.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tapejit.runtime.compile import binding
from tapejit.runtime.link import Image, Unsupported

_lock = threading.Lock()
_LIBRARIES = {"lapack": "scipy.linalg.cython_lapack", "blas": "scipy.linalg.cython_blas"}


class Module:
    """Linked machine code. It stays in memory as long as this object lives; addresses from it are valid no longer."""

    def __init__(self, code: bytes, symbols: Iterable[str] = (), addresses: Mapping[str, int] | None = None) -> None:
        """Link `code`. `symbols` are the external functions it calls; `addresses` gives those that only we know.

        LookupError names a symbol that is nowhere to be found (calling it would end the process).
        """
        known = dict(addresses or {})
        for name in symbols:
            known.setdefault(name, 0)
            known[name] = known[name] or resolve(name)
        self._find: Callable[[str], int]
        try:
            self._image: Any = Image(code, lambda name: known.get(name) or resolve(name))
            self._find = lambda name: self._image.functions.get(name, 0)
        except Unsupported:
            self._image = _by_llvm(code, known)
            self._find = self._image.get_function_address

    def address(self, name: str) -> int:
        """Where the function `name` begins. LookupError if the code has none."""
        found = self._find(name)
        if not found:
            raise LookupError(f"the object code has no function {name!r}")
        return found


def _by_llvm(code: bytes, known: Mapping[str, int]) -> Any:
    """An execution engine of LLVM's with the code in it."""
    llvm = binding()
    with _lock:
        for name, address in known.items():
            llvm.add_symbol(name, address)
        machine = llvm.Target.from_default_triple().create_target_machine(opt=0, jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
    return engine


def resolve(name: str) -> int:
    """Address of a function of this process or of a library of SciPy's. LookupError if there is none."""
    library, colon, routine = name.partition(":")
    return fortran(library, routine) if colon else process(name)


def process(name: str) -> int:
    """Address of a C function of this process: Python's, or of a library that Python is linked with."""
    found = None
    for library in (ctypes.pythonapi, *([] if hasattr(ctypes.pythonapi, name) else _more_libraries())):
        if hasattr(library, name):
            found = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
            break
    if not found and "llvmlite.binding" in sys.modules:
        found = binding().address_of_symbol(name)
    if not found:
        raise LookupError(f"the compiled program calls {name!r}, which no library of this process has")
    return found


def _more_libraries() -> Iterable[ctypes.CDLL]:
    """The mathematical functions, and conversions of half precision, where Python itself is not linked with them."""
    for name in ("libm.so.6", "libgcc_s.so.1") if sys.platform == "linux" else ():
        try:
            yield ctypes.CDLL(name)
        except OSError:
            continue


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

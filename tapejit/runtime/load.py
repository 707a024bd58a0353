"""Object code in, an address to call out. Our own linker does it in a millisecond where it can, LLVM's elsewhere; Numba is not needed.

C functions that the code calls are found in the process (libc, libm, the Python runtime); a symbol called `lapack:dpotrf` is a routine
of a library that SciPy brings (see `core.libraries`), which is imported only for those.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tapejit.core import libraries
from tapejit.runtime.compile import binding
from tapejit.runtime.link import Image, Unsupported

_lock = threading.Lock()


class Module:
    """Linked machine code. It stays in memory as long as this object lives; addresses from it are valid no longer."""

    def __init__(self, code: bytes | tuple[bytes, ...], symbols: Iterable[str] = (), addresses: Mapping[str, int] | None = None) -> None:
        """Link `code`, or several parts of which each calls those before it. `symbols` are the external functions it calls; `addresses`
        gives those that only we know.

        LookupError names a symbol that is nowhere to be found (calling it would end the process).
        """
        known = dict(addresses or {})
        for name in symbols:
            known.setdefault(name, 0)
            known[name] = known[name] or resolve(name)
        parts = code if isinstance(code, tuple) else (code,)
        self._find: Callable[[str], int]
        try:
            functions: dict[str, int] = {}
            self._image: Any = []
            for part in parts:
                self._image.append(Image(part, lambda name: functions.get(name) or known.get(name) or resolve(name)))
                functions |= self._image[-1].functions
            self._find = lambda name: functions.get(name, 0)
        except Unsupported:
            self._image = _by_llvm(parts, known)
            self._find = self._image.get_function_address

    def address(self, name: str) -> int:
        """Where the function `name` begins. LookupError if the code has none."""
        found = self._find(name)
        if not found:
            raise LookupError(f"the object code has no function {name!r}")
        return found


def _by_llvm(parts: tuple[bytes, ...], known: Mapping[str, int]) -> Any:
    """An execution engine of LLVM's with the code in it."""
    llvm = binding()
    with _lock:
        for name, address in known.items():
            llvm.add_symbol(name, address)
        machine = llvm.Target.from_default_triple().create_target_machine(opt=0, jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        for part in parts:
            engine.add_object_file(llvm.ObjectFileRef.from_data(part))
        engine.finalize_object()
    return engine


def resolve(name: str) -> int:
    """Address of a function of this process or of a library of SciPy's. LookupError if there is none."""
    return libraries.address(name) if ":" in name else process(name)


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

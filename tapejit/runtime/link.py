"""A linker for the object code that `compile` emits on x86-64 Linux: a millisecond, where loading LLVM to do it takes forty.

In: an ELF relocatable object; out: an `Image`, its sections in memory with every reference filled in. Position-independent code of
one module needs few kinds of relocation; at anything else `Unsupported` is raised and `load` leaves the work to LLVM.
References: System V ABI (ELF), and its AMD64 supplement, chapter 4 "Relocation".
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from tapejit.runtime import host

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

_RELOCATABLE, _X86_64 = 1, 62  # e_type, e_machine
_SYMTAB, _RELA, _NOBITS, _REL = 2, 4, 8, 9  # sh_type
_WRITE, _ALLOC, _TLS = 0x1, 0x2, 0x400  # sh_flags
_UNDEFINED, _ABSOLUTE, _RESERVED = 0, 0xFFF1, 0xFF00  # st_shndx
_FUNCTION = 2  # st_info & 15
_R_64, _R_PC32, _R_GOT32, _R_PLT32, _R_PC64 = 1, 2, 9, 4, 24
_THROUGH_GOT = (_R_GOT32, 41, 42)  # GOTPCREL, GOTPCRELX, REX_GOTPCRELX

_PAGE = 4096
_READ_WRITE, _READ_EXECUTE = 3, 5  # PROT_*
_PRIVATE_ANONYMOUS = 0x22  # MAP_*
_JUMP = bytes.fromhex("ff2500000000")  # jmp [rip + displacement]


class Unsupported(Exception):
    """The object needs a linker that knows more."""


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


class Image:
    """A linked object. `functions` gives the addresses of its global functions; the memory goes with the image."""

    def __init__(self, code: bytes, resolve: Callable[[str], int]) -> None:
        """`resolve` gives the addresses of symbols the object does not define. Raises `Unsupported`, and what `resolve` raises."""
        if not host.is_x86() or sys.platform != "linux":
            raise Unsupported("not x86-64 Linux")
        if len(code) < _HEADER.size or code[:7] != b"\x7fELF\x02\x01\x01":
            raise Unsupported("not a 64-bit little-endian ELF object")
        header = _HEADER.unpack_from(code)
        if header[1] != _RELOCATABLE or header[2] != _X86_64:
            raise Unsupported("not a relocatable object for x86-64")
        self._code = code
        self._sections = _sections(code, header[6], header[12], header[13])
        self._symbols = self._read_symbols()
        relocations = [(s, r) for s in self._sections if s.kind == _RELA and self._loaded(s.info) for r in self._relocations(s)]

        # One block of memory: code and constants, jumps to functions elsewhere; on pages of its own what is written: data and addresses.
        through_got = {r[2] for _, r in relocations if r[1] in _THROUGH_GOT}
        jumped_to = {r[2] for _, r in relocations if r[1] == _R_PLT32 and self._symbols[r[2]][1] == _UNDEFINED}
        self._place: dict[int, int] = {}
        end = self._lay_out(0, writable=False)
        jumps = end = (end + 15) & ~15
        end += 8 * len(jumped_to)
        executable = (end + _PAGE - 1) & ~(_PAGE - 1)
        got = executable
        end = self._lay_out(got + 8 * len(through_got | jumped_to), writable=True)
        self._base = _map((end + _PAGE - 1) & ~(_PAGE - 1))
        # not at the end of the process: worker threads may still run in it, and arrays that go later call into it
        weakref.finalize(self, _unmap, self._base, (end + _PAGE - 1) & ~(_PAGE - 1)).atexit = False

        self._fill()
        where = {k: self._address(k, resolve) for k in {r[2] for _, r in relocations}}
        entries = {k: self._base + got + 8 * n for n, k in enumerate(sorted(through_got | jumped_to))}
        for k, entry in entries.items():
            ctypes.c_int64.from_address(entry).value = where[k]
        stubs = {k: self._base + jumps + 8 * n for n, k in enumerate(sorted(jumped_to))}
        for k, stub in stubs.items():
            ctypes.memmove(stub, _JUMP, len(_JUMP))
            ctypes.c_int32.from_address(stub + 2).value = entries[k] - (stub + len(_JUMP))
        for s, (offset, kind, symbol, addend) in relocations:
            at = self._base + self._place[s.info] + offset
            if kind in (_R_64, _R_PC64):
                ctypes.c_int64.from_address(at).value = where[symbol] + addend - (at if kind == _R_PC64 else 0)
                continue
            target = entries[symbol] if kind in _THROUGH_GOT else stubs.get(symbol, where[symbol]) if kind == _R_PLT32 else where[symbol]
            distance = target + addend - at
            if not -(2**31) <= distance < 2**31:
                raise Unsupported(f"{self._symbols[symbol][0]} is too far away")
            ctypes.c_int32.from_address(at).value = distance
        _protect(self._base, executable)
        self.functions = {
            name: self._base + self._place[section] + value
            for name, section, value, info in self._symbols
            if info & 15 == _FUNCTION and info >> 4 and section in self._place
        }

    def _loaded(self, index: int) -> bool:
        s = self._sections[index]
        return bool(s.flags & _ALLOC) and s.name != ".eh_frame"  # no exception ever passes through this code

    def _read_symbols(self) -> list[tuple[str, int, int, int]]:
        """Name, section, value, kind and binding of each symbol."""
        tables = [s for s in self._sections if s.kind == _SYMTAB]
        if len(tables) != 1:
            raise Unsupported(f"{len(tables)} symbol tables")
        names = self._sections[tables[0].link].offset
        found = []
        for at in range(tables[0].offset, tables[0].offset + tables[0].size, _SYMBOL.size):
            name, info, _, section, value, _ = _SYMBOL.unpack_from(self._code, at)
            if section >= _RESERVED and section != _ABSOLUTE and info & 15 != 4:
                raise Unsupported(f"symbol in special section {section:#x}")
            found.append((_text(self._code, names + name), section, value, info))
        return found

    def _relocations(self, s: _Section) -> list[tuple[int, int, int, int]]:
        """Offset, kind, symbol and addend."""
        found = []
        for at in range(s.offset, s.offset + s.size, _RELOCATION.size):
            offset, info, addend = _RELOCATION.unpack_from(self._code, at)
            kind = info & 0xFFFFFFFF
            if kind not in (_R_64, _R_PC32, _R_PLT32, _R_PC64, *_THROUGH_GOT):
                raise Unsupported(f"relocation of kind {kind}")
            found.append((offset, kind, info >> 32, addend))
        return found

    def _lay_out(self, end: int, writable: bool) -> int:
        for k, s in enumerate(self._sections):
            if not self._loaded(k) or bool(s.flags & _WRITE) != writable:
                continue
            if s.flags & _TLS:
                raise Unsupported("thread-local data")
            end = (end + s.align - 1) & -max(1, s.align)
            self._place[k] = end
            end += s.size
        return end

    def _fill(self) -> None:
        for k, at in self._place.items():
            s = self._sections[k]
            if s.kind != _NOBITS:  # what is mapped is zero already
                ctypes.memmove(self._base + at, self._code[s.offset : s.offset + s.size], s.size)

    def _address(self, symbol: int, resolve: Callable[[str], int]) -> int:
        name, section, value, _ = self._symbols[symbol]
        if section == _UNDEFINED:
            return resolve(name)
        if section == _ABSOLUTE:
            return value
        if section not in self._place:
            raise Unsupported(f"symbol {name} in section {self._sections[section].name}")
        return self._base + self._place[section] + value


def _sections(code: bytes, offset: int, count: int, names: int) -> list[_Section]:
    raw = [_SECTION.unpack_from(code, offset + k * _SECTION.size) for k in range(count)]
    if any(r[1] == _REL for r in raw):
        raise Unsupported("relocations without addends")
    return [_Section(_text(code, raw[names][4] + r[0]), r[1], r[2], r[4], r[5], r[6], r[7], r[8]) for r in raw]


def _text(code: bytes, at: int) -> str:
    return code[at : code.index(b"\0", at)].decode()


def _map(size: int) -> int:
    found = _libc().mmap(None, size, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    if found in (None, 2**64 - 1):
        raise MemoryError(f"no {size} bytes for machine code")
    return found


def _protect(base: int, size: int) -> None:
    if size and _libc().mprotect(base, size, _READ_EXECUTE):
        raise Unsupported("this system does not let memory that was written be executed")


def _unmap(base: int, size: int) -> None:
    _libc().munmap(base, size)


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc

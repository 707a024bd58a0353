"""Runs programs three ways: the reference, the printed LLVM module, the printed Python."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np

from tapejit.codegen import llvm
from tapejit.core import sizes
from tapejit.core.source import Source
from tapejit.core.target import Target
from tapejit.loops.nest import Kernel
from tapejit.loops.program import Buffer, Deliver, Launch, Program
from tapejit.runtime import compile as native
from tapejit.runtime import host
from tapejit.runtime.load import Module

CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)


def program_of(kernel: Kernel) -> Program:
    """A program that launches one kernel on argument buffers."""
    buffers = {p.name: Buffer(p.name, p.dtype, p.shape, "argument") for p in kernel.params}
    table = (*buffers, *kernel.sizes, "error")
    return Program(f"run_{kernel.name}", buffers, (Launch(kernel, tuple(buffers)),), table, 0, kernel.sizes)


class Native:
    """A program compiled through LLVM."""

    def __init__(
        self, program: Program, target: Target | None = None, addresses: Mapping[str, int] | None = None, pool: bool = False
    ) -> None:
        self.program = program
        self.target = target or host.target(threads=1)
        self.source: Source = llvm.module(program, self.target, pool)
        code = native.object_code(self.source.text, self.target.cpu, self.target.features)
        self.linked = Module(code, [s for s in self.source.symbols if s not in (addresses or {})], addresses)
        self.step = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self.linked.address(self.source.entry))
        self.error = np.zeros(8, np.int64)

    def table(self, arrays: Mapping[str, np.ndarray], named: Mapping[str, int], callback: Any = None) -> np.ndarray:
        """The table for a call; keeps the arena alive."""
        out = np.zeros(len(self.program.table) + 8, np.int64)
        self.arena = np.empty(sizes.evaluate(self.program.arena, named) + 64, np.uint8)
        self.callback = callback
        for k, name in enumerate(self.program.table):
            if name in arrays:
                assert arrays[name].flags.c_contiguous
                out[k] = arrays[name].ctypes.data
            elif name in named:
                out[k] = named[name]
            elif name == "error":
                out[k] = self.error.ctypes.data
            elif name == "arena":
                out[k] = (self.arena.ctypes.data + 63) // 64 * 64
            elif name == "callback" and callback is not None:
                out[k] = ctypes.cast(callback, ctypes.c_void_p).value
        return out

    def __call__(self, arrays: dict[str, np.ndarray], named: Mapping[str, int] | None = None, callback: Any = None) -> int:
        table = self.table(arrays, named or {}, callback)
        self.last_table = table
        return self.step(table.ctypes.data)


def run_python(text: str, program: Program, arrays: Mapping[str, np.ndarray], named: Mapping[str, int], compiled: bool) -> Any:
    """Run the printed Python, through Numba or as it stands."""
    if not compiled:
        text = text.replace("from numba import njit, prange", "njit = lambda *a, **k: a[0] if a else (lambda f: f)\nprange = range")
    space: dict[str, Any] = {}
    exec(compile(text, f"<{program.name}>", "exec"), space)
    slots = {s.slot for s in program.steps if isinstance(s, Deliver)}
    args = []
    for name in program.table:
        if name in arrays:
            args.append(arrays[name])
        elif name in named:
            args.append(named[name])
        elif name == "error":
            args.append(np.zeros(8))
        elif name not in slots and name != "arena":
            args.append(None)
    with np.errstate(all="ignore"):
        return space[program.name](*args)

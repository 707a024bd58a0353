"""Kernels as LLVM functions.

In: a `Kernel`; out: an internal function `i64 kernel(buffers, sizes, [error record], [lo, hi])` that returns 0 or the status of a
`Fail`. A kernel that is one parallel loop takes the bounds between which to run it, so that threads can share it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tapejit.codegen.llvm_contract import KernelPrinter
from tapejit.codegen.llvm_nest import INDEX
from tapejit.codegen.llvm_text import Function, Module, Value
from tapejit.core.target import Target
from tapejit.loops.nest import CallLibrary, Contract, Fail, For, Kernel, Let, Stmt
from tapejit.loops.walk import inside, statements

SMALL = 512  # statements run


def parallel_loop(kernel: Kernel) -> For | None:
    """The outermost parallel loop, if the kernel is nothing else (besides scalars that every chunk can compute anew)."""
    *before, last = kernel.body or (None,)
    if isinstance(last, For) and last.kind == "parallel" and all(isinstance(s, Let) for s in before):
        return last
    return None


def can_fail(kernel: Kernel) -> bool:
    """Whether a `Fail` stands anywhere in the kernel, so that it needs the error record."""
    return any(isinstance(s, Fail) for s in statements(kernel.body))


def function_name(kernel: Kernel) -> str:
    """What the kernel's function is called in the module, without sigil."""
    return f"kernel.{kernel.name}"


@dataclass(frozen=True)
class Promise:
    """What is known of the buffer that a parameter gets: whether it always begins at a multiple of 64 bytes, and whether its
    memory is never that of another parameter too (but for parameters that are only read)."""

    aligned: bool
    distinct: bool


def is_small(kernel: Kernel) -> bool:
    """Whether a kernel is but scalars and a few short loops, so that in a loop of steps a call would cost more than its work."""

    def size(body: tuple[Stmt, ...]) -> int:
        total = 0
        for s in body:
            if isinstance(s, Contract | CallLibrary) or (isinstance(s, For) and (s.kind == "parallel" or not isinstance(s.extent, int))):
                return SMALL + 1
            total += int(s.extent) * max(1, size(s.body)) if isinstance(s, For) else 1 + size(inside(s))  # type: ignore[arg-type]
        return total

    return size(kernel.body) <= SMALL


def print_kernel(module: Module, kernel: Kernel, target: Target, promises: tuple[Promise, ...], inlined: bool = False) -> None:
    """Add the kernel's function to the module."""
    parameters = []
    for i, (p, promise) in enumerate(zip(kernel.params, promises)):
        alone = " noalias" if promise.distinct else ""
        access = " readonly" if p.mode == "in" else ""
        parameters.append(f"ptr{alone} nofree noundef{access} captures(none) align {64 if promise.aligned else p.dtype.size} %p{i}")
    parameters += [f"i64 noundef %s{i}" for i in range(len(kernel.sizes))]
    if can_fail(kernel):
        parameters.append("ptr noalias captures(none) %error")
    chunked = parallel_loop(kernel)
    if chunked:
        parameters += ["i64 noundef %lo", "i64 noundef %hi"]
    out = Function(
        module, f"define internal i64 @{function_name(kernel)}({', '.join(parameters)}) {'alwaysinline' if inlined else 'noinline'} #0"
    )
    printer = KernelPrinter(module, out, kernel, target)
    if chunked:
        for s in kernel.body[:-1]:
            printer.statement(s)
        printer.loop(chunked, (Value("%lo", INDEX), Value("%hi", INDEX)))
    else:
        printer.body(kernel.body)
    out.do("ret i64 0")
    shapes = ", ".join(f"{p.name}: {p.mode} {p.dtype.short}{list(p.shape)}" for p in kernel.params)
    places = f" ({', '.join(kernel.places)})" if kernel.places else ""
    module.functions[function_name(kernel)] = f"; {shapes}{places}\n".replace("'", "") + out.text()

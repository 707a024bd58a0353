"""A program: buffers, kernels, and the order in which one native call runs them. What the schedule decides and codegen prints.

The native function has the signature `int64 step(int64* table)`. `table` holds, in the order of `Program.table`, the addresses
of all buffers that are not in the arena or on the heap, the arena's address, every named size known at entry, the address
of the error record and the callback's address. It returns 0, or 1 + the number of the node that failed (see `Fail`),
or -1 where memory could not be had. An error record is 8-byte words: node, number of operands, then those as float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.loops.nest import Kernel

# What the texts of a program mean something else by: no buffer or kernel is called so.
RESERVED = frozenset({
    "error", "arena", "callback", "status", "size", "sizes", "copy", "allocate", "free", "deliver", "check_size", "host_call",
    "fail", "library", "tiles", "serial", "parallel", "vector", "unroll", "guarded", "bitcast", "np", "math", "njit",
    "prange", "ml_dtypes", "floordiv", "truncdiv", "shl", "shr", "integer_mod", "integer_rem", "integer_pow", "popcount",
})  # fmt: skip

Home = Literal["argument", "cell", "result", "constant", "arena", "heap"]


@dataclass(frozen=True)
class Buffer:
    """Contiguous row-major memory. In the arena at `offset` bytes (64-byte aligned), on the heap (allocated within the call
    because its size is known only there), or at an address that the table gives."""

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    home: Home
    offset: Dim = 0


@dataclass(frozen=True)
class Step:
    """Something the host function does."""


@dataclass(frozen=True)
class Launch(Step):
    """Run a kernel on buffers, one name per parameter of the kernel."""

    kernel: Kernel
    buffers: tuple[str, ...]


@dataclass(frozen=True)
class Copy(Step):
    """`target[...] = source` of equal byte size."""

    target: str
    source: str


@dataclass(frozen=True)
class BindSize(Step):
    """The named size `name` is from here on the integer in scalar int64 buffer `source` (data-dependent sizes)."""

    name: str
    source: str


@dataclass(frozen=True)
class Allocate(Step):
    """Give the heap buffer its memory; its sizes are all bound."""

    buffer: str


@dataclass(frozen=True)
class Free(Step):
    """Give the heap buffer's memory back."""

    buffer: str


@dataclass(frozen=True)
class Deliver(Step):
    """A result of data-dependent size: write heap buffer `buffer`'s address and its sizes into the table, from slot on.

    The caller owns (and frees, with C `free`) the memory from then on, also if a later step fails.
    """

    buffer: str
    slot: str


@dataclass(frozen=True)
class CheckSize(Step):
    """Fail with `node` unless the two dims are equal."""

    node: int
    a: Dim
    b: Dim


@dataclass(frozen=True)
class Branch(Step):
    """Run `then` if the scalar bool buffer `condition` holds, `otherwise` if not."""

    condition: str
    then: tuple[Step, ...]
    otherwise: tuple[Step, ...]


@dataclass(frozen=True)
class Repeat(Step):
    """Run `test`, then while the scalar bool buffer `condition` holds: `body`, `test`. (`while` of the tensor IR.)"""

    test: tuple[Step, ...]
    condition: str
    body: tuple[Step, ...]


@dataclass(frozen=True)
class HostCall(Step):
    """Call back into Python: `int64 callback(index, addresses, sizes)`; a non-zero result ends the step with `node`.

    The porch finds the work to do by `index`; `addresses` holds one address per name in `buffers`.
    """

    index: int
    node: int
    buffers: tuple[str, ...]
    sizes: tuple[Dim, ...] = ()


@dataclass(frozen=True)
class Program:
    """All that codegen needs: see the module's docstring for the calling convention."""

    name: str
    buffers: dict[str, Buffer]
    steps: tuple[Step, ...]
    table: tuple[str, ...]
    arena: Dim = 0  # bytes
    sizes: tuple[str, ...] = ()  # named sizes known at entry
    notes: dict[str, Any] = field(default_factory=dict)

    def kernels(self) -> list[Kernel]:
        """The distinct kernels in the order of their first launch."""
        found: dict[str, Kernel] = {}

        def visit(steps: tuple[Step, ...]) -> None:
            for s in steps:
                if isinstance(s, Launch):
                    found.setdefault(s.kernel.name, s.kernel)
                elif isinstance(s, Branch):
                    visit(s.then)
                    visit(s.otherwise)
                elif isinstance(s, Repeat):
                    visit(s.test)
                    visit(s.body)

        visit(self.steps)
        return list(found.values())

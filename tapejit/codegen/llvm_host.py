"""The host function: what runs the kernels of a program in order, as LLVM instructions.

In: a `Program`; out: the function `i64 step(ptr table)`. It reads addresses and sizes from the table, runs the steps, and on
the first non-zero status frees what it has allocated and returns that status: 1 + the node that failed, -1 for no memory, or -2 where
`tapejit_poll`, which loops call every now and then if asked to, says that the step is to end.
Heap buffers handed over by `Deliver` belong to the caller even if a later step fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from tapejit.codegen.llvm_kernel import can_fail, function_name, parallel_loop
from tapejit.codegen.llvm_scalar import Scalars
from tapejit.codegen.llvm_text import Function, Module, Value, literal, symbol
from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.loops import expr
from tapejit.loops.expr import Call, Const, Expr, Var
from tapejit.loops.nest import CallLibrary, Contract, For, Kernel, Stmt
from tapejit.loops.program import (
    Allocate,
    BindSize,
    Branch,
    Buffer,
    CheckSize,
    Copy,
    Deliver,
    Free,
    HostCall,
    Launch,
    Program,
    Repeat,
    Step,
)  # fmt: skip
from tapejit.loops.walk import inside

INDEX = dtypes.int64
ALIGNMENT = 64  # bytes, of buffers; the largest buffer that may be a variable of the host function
MOST_CARRIED = 256
NO_MEMORY, INTERRUPTED = -1, -2
POLL = "tapejit_poll"  # how many iterations to run till the next call; 0 to end the step
GRAIN_WORK = 16384  # elements' worth of work below which a chunk of a parallel loop is not worth a thread
LIBRARY_WORK = 4096  # elements' worth of work that a routine of a library does at the least


class HostPrinter(Scalars):
    """Writes the host function."""

    def __init__(self, module: Module, out: Function, program: Program, pool: bool, polls: bool) -> None:
        super().__init__(module, out)
        self.program, self.pool, self.polls = program, pool, polls
        self.slots = {name: k for k, name in enumerate(program.table)}
        if len(self.slots) != len(program.table):
            twice = sorted({n for n in program.table if program.table.count(n) > 1})
            raise ValueError(f"the table of program {program.name} names {', '.join(twice)} twice")
        self.addresses: dict[str, str] = {}
        self.sizes: dict[str, str] = {}  # local memory of each named size
        self.heap: dict[str, str] = {}  # local memory of each heap buffer's address; null while it has none

    def write(self) -> None:
        """The whole body."""
        out = self.out
        self.status = out.local("i64", "status")
        for name in self.program.sizes:
            self._bind(name, out.let(f"load i64, ptr {self._slot(name)}, align 8", symbol(name)))
        for b in self.program.buffers.values():
            if b.home == "heap":
                self.heap[b.name] = out.local("ptr", symbol(b.name))
                out.do(f"store ptr null, ptr {self.heap[b.name]}")
            elif b.home != "arena":
                self.addresses[b.name] = out.let(f"load ptr, ptr {self._slot(b.name)}, align 8", symbol(b.name))
        self._begin_polls()
        if "arena" in self.slots:
            self.addresses[""] = out.let(f"load ptr, ptr {self._slot('arena')}, align 8", "arena")
        for name in carried_buffers(self.program):
            b = self.program.buffers[name]
            self.addresses[name] = out.local("i8", symbol(name), _known_bytes(b), align=ALIGNMENT)
        for b in self.program.buffers.values():
            if b.home == "arena" and b.name not in self.addresses and self._ready(b.offset):
                self._place(b)
        self.steps(self.program.steps)
        out.do(f"store i64 0, ptr {self.status}")
        out.jump("exit")
        out.label("exit")
        if self.heap:
            free = self.module.external("free", "void", ["ptr"])
            for pointer in self.heap.values():
                out.do(f"call void {free}(ptr {out.let(f'load ptr, ptr {pointer}', 'left')})")
        out.do(f"ret i64 {out.let(f'load i64, ptr {self.status}', 'result')}")

    # -------------------------------------------------------------------------------------------- names
    def _slot(self, name: str, beyond: int = 0) -> str:
        if name not in self.slots:
            raise KeyError(f"the table of program {self.program.name} has no entry {name!r}; it has {', '.join(self.slots)}")
        return self.out.let(f"getelementptr inbounds i64, ptr %table, i64 {self.slots[name] + beyond}", "slot")

    def _bind(self, name: str, value: str) -> None:
        if name not in self.sizes:
            self.sizes[name] = self.out.local("i64", symbol(name))
        self.out.do(f"store i64 {value}, ptr {self.sizes[name]}")

    def _ready(self, d: Dim) -> bool:
        return sizes.names(d) <= set(self.sizes)

    def dim(self, d: Dim) -> Value:
        """The value of a dim."""
        return self._index(expr.of_dim(d))

    def _index(self, e: Expr) -> Value:
        if isinstance(e, Const):
            return literal(e.value, INDEX)
        if isinstance(e, Var):
            if e.name not in self.sizes:
                raise KeyError(f"the size {e.name} of program {self.program.name} is not known where it is used")
            return Value(self.out.let(f"load i64, ptr {self.sizes[e.name]}", symbol(e.name)), INDEX)
        assert isinstance(e, Call)
        return self.call(e.fn, [self._index(a) for a in e.args], INDEX)

    def _place(self, b: Buffer) -> str:
        base = self.addresses.get("")
        if base is None:
            raise KeyError(f"buffer {b.name} is in the arena, but the table of program {self.program.name} has no entry 'arena'")
        self.addresses[b.name] = self.out.let(f"getelementptr inbounds i8, ptr {base}, {self.dim(b.offset)}", symbol(b.name))
        return self.addresses[b.name]

    def address(self, name: str) -> str:
        """The address of a buffer."""
        if name in self.addresses:
            return self.addresses[name]
        if name in self.heap:
            return self.out.let(f"load ptr, ptr {self.heap[name]}", symbol(name))
        buffer = self.program.buffers.get(name)
        if buffer is None:
            raise KeyError(f"program {self.program.name} has no buffer {name!r}")
        return self._place(buffer)

    def bytes(self, b: Buffer) -> Value:
        """How many bytes a buffer takes."""
        return self.dim(sizes.product(b.shape) * b.dtype.size)

    # -------------------------------------------------------------------------------------------- failure
    def _leave(self, status: str) -> None:
        self.out.do(f"store i64 {status}, ptr {self.status}")
        self.out.jump("exit")

    def _fail_if(self, condition: str, status: str) -> None:
        failed, good = self.out.fresh("failed"), self.out.fresh("good")
        self.out.branch(condition, failed, good)
        self.out.label(failed)
        self._leave(status)
        self.out.label(good)

    def _check(self, status: str) -> None:
        self._fail_if(self.out.let(f"icmp ne i64 {status}, 0", "bad"), status)

    # -------------------------------------------------------------------------------------------- steps
    def steps(self, steps: Iterable[Step]) -> None:
        """Steps in order. Addresses found in a branch are not known after it."""
        for s in steps:
            self.step(s)

    def _scope(self, steps: Iterable[Step]) -> None:
        addresses = dict(self.addresses)
        self.steps(steps)
        self.addresses = addresses

    def step(self, s: Step) -> None:
        out = self.out
        match s:
            case Launch():
                self._launch(s)
            case Copy(target=target, source=source):
                a, b = self.program.buffers[target], self.program.buffers[source]
                copy = self.module.declare("llvm.memcpy.p0.p0.i64", "void", ["ptr", "ptr", "i64", "i1 immarg"])
                size = self.bytes(a if self._ready(sizes.product(a.shape)) else b)
                out.do(f"call void {copy}(ptr {self.address(target)}, ptr {self.address(source)}, {size}, i1 false)")
            case BindSize(name=name, source=source):
                self._bind(name, out.let(f"load i64, ptr {self.address(source)}, align 8", symbol(name)))
            case Allocate(buffer=name):
                size = self.bytes(self.program.buffers[name])
                padded = self._op("and", self._op("add", size, literal(63, INDEX)), literal(-64, INDEX))
                least = self.call("max", [padded, literal(64, INDEX)], INDEX)
                allocate = self.module.external("aligned_alloc", "noalias ptr", ["i64", "i64"])
                got = out.let(f"call ptr {allocate}(i64 64, {least})", symbol(name))
                out.do(f"store ptr {got}, ptr {self.heap[name]}")
                self._fail_if(out.let(f"icmp eq ptr {got}, null", "none"), str(NO_MEMORY))
            case Free(buffer=name):
                out.do(f"call void {self.module.external('free', 'void', ['ptr'])}(ptr {self.address(name)})")
                out.do(f"store ptr null, ptr {self.heap[name]}")
            case Deliver(buffer=name, slot=slot):
                out.do(f"store ptr {self.address(name)}, ptr {self._slot(slot)}, align 8")
                for k, d in enumerate(self.program.buffers[name].shape):
                    size = self.dim(d)
                    out.do(f"store {size}, ptr {self._slot(slot, 1 + k)}, align 8")
                out.do(f"store ptr null, ptr {self.heap[name]}")
            case CheckSize(node=node, a=a, b=b):
                self._check_size(node, self.dim(a), self.dim(b))
            case Branch(condition=condition, then=then, otherwise=otherwise):
                yes, no, end = (out.fresh(h) for h in ("then", "else", "end"))
                out.branch(self._truth(condition), yes, no)
                for label, steps in ((yes, then), (no, otherwise)):
                    out.label(label)
                    self._scope(steps)
                    out.jump(end)
                out.label(end)
            case Repeat(test=test, condition=condition, body=body):
                head, inside, end = (out.fresh(h) for h in ("repeat", "do", "end"))
                out.jump(head)
                out.label(head)
                before = dict(self.addresses)
                self.steps(test)
                out.branch(self._truth(condition), inside, end)
                out.label(inside)
                self._poll()
                self._scope(body)
                out.jump(head)
                out.label(end)
                self.addresses = before
            case HostCall():
                self._host_call(s)
            case _:
                raise NotImplementedError(f"native code for the step {type(s).__name__}")

    def _begin_polls(self) -> None:
        """Loops count their iterations down; at 0 they call `tapejit_poll`."""
        self.polls = self.polls and any(isinstance(s, Repeat) for s in _all_steps(self.program.steps))
        if self.polls:
            self.countdown, self.poll_state = self.out.local("i64", "countdown"), self.out.local("[3 x i64]", "polls", align=8)
            self.out.do(f"store i64 1, ptr {self.countdown}")
            self.out.do(f"store [3 x i64] zeroinitializer, ptr {self.poll_state}")

    def _poll(self) -> None:
        """One iteration less to go till the next call."""
        if not self.polls:
            return
        out = self.out
        left = out.let(f"sub i64 {out.let(f'load i64, ptr {self.countdown}', 'count')}, 1", "left")
        out.do(f"store i64 {left}, ptr {self.countdown}")
        due, go = out.fresh("due"), out.fresh("go")
        out.branch(out.let(f"icmp eq i64 {left}, 0", "zero"), due, go)
        out.label(due)
        poll = self.module.external(POLL, "i64", ["ptr"], "cold nounwind")
        count = out.let(f"call i64 {poll}(ptr {self.poll_state})", "count")
        out.do(f"store i64 {count}, ptr {self.countdown}")
        self._fail_if(out.let(f"icmp eq i64 {count}, 0", "unwanted"), str(INTERRUPTED))
        out.jump(go)
        out.label(go)

    def _truth(self, buffer: str) -> str:
        return self.out.let(f"icmp ne i8 {self.out.let(f'load i8, ptr {self.address(buffer)}', 'byte')}, 0", "truth")

    def _launch(self, s: Launch) -> None:
        out, kernel = self.out, s.kernel
        if len(s.buffers) != len(kernel.params):
            raise ValueError(f"kernel {kernel.name} takes {len(kernel.params)} buffers, found {len(s.buffers)}")
        operands = [f"ptr {self.address(b)}" for b in s.buffers]
        operands += [str(self._index(Var(INDEX, name))) for name in kernel.sizes]
        if can_fail(kernel):
            slot = self._slot("error")
            operands.append("ptr " + out.let(f"load ptr, ptr {slot}", "error"))
        loop = parallel_loop(kernel)
        if loop is None:
            status = out.let(f"call i64 @{function_name(kernel)}({', '.join(operands)})", "status")
        elif not self.pool:
            bounds = f"i64 0, {self.dim(loop.extent)}"
            status = out.let(f"call i64 @{function_name(kernel)}({', '.join([*operands, bounds])})", "status")
        else:
            status = self._parallel(kernel, operands, self.dim(loop.extent))
        if can_fail(kernel):
            self._check(status)

    def _parallel(self, kernel: Kernel, operands: list[str], extent: Value) -> str:
        """Hand the loop to the thread pool: `tapejit_parallel_for(chunk, context, n, grain)` calls chunk(context, lo, hi)."""
        out = self.out
        types = [o.split(" ")[0] for o in operands]
        structure = f"{{ {', '.join(types)} }}"
        context = out.local(structure, "context")
        for k, operand in enumerate(operands):
            out.do(f"store {operand}, ptr {out.let(f'getelementptr inbounds {structure}, ptr {context}, i32 0, i32 {k}', 'field')}")
        chunk = f"{function_name(kernel)}.chunk"
        if chunk not in self.module.functions:
            inner = Function(self.module, f"define internal i64 @{chunk}(ptr %context, i64 %lo, i64 %hi) #0")
            got = []
            for k, t in enumerate(types):
                at = inner.let(f"getelementptr inbounds {structure}, ptr %context, i32 0, i32 {k}", "field")
                got.append(f"{t} {inner.let(f'load {t}, ptr {at}', 'operand')}")
            result = inner.let(f"call i64 @{function_name(kernel)}({', '.join([*got, 'i64 %lo', 'i64 %hi'])})", "status")
            inner.do(f"ret i64 {result}")
            self.module.functions[chunk] = inner.text()
        work = self.call("max", [self._row_work(kernel), literal(1, INDEX)], INDEX)
        grain = self.call("max", [self.call("floordiv", [literal(GRAIN_WORK, INDEX), work], INDEX), literal(1, INDEX)], INDEX)
        fn = self.module.external("tapejit_parallel_for", "i64", ["ptr", "ptr", "i64", "i64"])
        return out.let(f"call i64 {fn}(ptr @{chunk}, ptr {context}, {extent}, {grain})", "status")

    def _row_work(self, kernel: Kernel) -> Value:
        """About how many elements one iteration of the parallel loop touches: the largest product of extents inside it."""
        work = literal(1, INDEX)
        for d in inner_work(kernel):
            if self._ready(d):
                work = self.call("max", [work, self.dim(d)], INDEX)
        return work

    def _check_size(self, node: int, a: Value, b: Value) -> None:
        out = self.out
        failed, good = out.fresh("differ"), out.fresh("equal")
        out.branch(self._op("icmp eq", a, b, dtypes.bool_).text, good, failed)
        out.label(failed)
        record = out.let(f"load ptr, ptr {self._slot('error')}", "error")
        for k, word in enumerate((f"i64 {node}", "i64 2", str(self.cast(a, dtypes.float64)), str(self.cast(b, dtypes.float64)))):
            out.do(f"store {word}, ptr {out.let(f'getelementptr i64, ptr {record}, i64 {k}', 'record')}, align 8")
        self._leave(str(node + 1))
        out.label(good)

    def _host_call(self, s: HostCall) -> None:
        out = self.out
        addresses = out.local("ptr", "addresses", max(1, len(s.buffers)), align=8)
        for k, name in enumerate(s.buffers):
            address = self.address(name)
            out.do(f"store ptr {address}, ptr {out.let(f'getelementptr ptr, ptr {addresses}, i64 {k}', 'at')}")
        dims = out.local("i64", "dims", max(1, len(s.sizes)), align=8)
        for k, d in enumerate(s.sizes):
            size = self.dim(d)
            out.do(f"store {size}, ptr {out.let(f'getelementptr i64, ptr {dims}, i64 {k}', 'at')}")
        callback = out.let(f"load ptr, ptr {self._slot('callback')}", "callback")
        status = out.let(f"call i64 {callback}(i64 {s.index}, ptr {addresses}, ptr {dims})", "status")
        self._fail_if(out.let(f"icmp ne i64 {status}, 0", "bad"), str(s.node + 1))


def _all_steps(steps: Iterable[Step]) -> Iterator[Step]:
    for s in steps:
        yield s
        if isinstance(s, Branch):
            yield from _all_steps((*s.then, *s.otherwise))
        elif isinstance(s, Repeat):
            yield from _all_steps((*s.test, *s.body))


def carried_buffers(program: Program) -> list[str]:
    """Small buffers of the arena that loops of steps work on: as variables of the host function they may stay in registers."""
    found: dict[str, None] = {}
    for loop in (s for s in _all_steps(program.steps) if isinstance(s, Repeat)):
        for s in _all_steps((*loop.test, *loop.body)):
            if isinstance(s, Launch | Copy):
                found.update(dict.fromkeys(s.buffers if isinstance(s, Launch) else (s.target, s.source)))
    buffers = [program.buffers[n] for n in found]
    known = [b for b in buffers if b.home == "arena" and sizes.is_known(b.shape)]
    return [b.name for b in known if _known_bytes(b) <= ALIGNMENT][:MOST_CARRIED]


def _known_bytes(b: Buffer) -> int:
    """How many bytes a buffer takes whose sizes are known."""
    return math.prod(d for d in b.shape if isinstance(d, int)) * b.dtype.size


def inner_work(kernel: Kernel) -> list[Dim]:
    """The products of extents of each chain of loops inside the outermost one, in its first iteration."""
    found: list[Dim] = []
    first: dict[str, Dim] = {}  # the indices of loops around: extents of the parts of a loop depend on them

    def visit(s: Stmt, so_far: Dim) -> None:
        if isinstance(s, For):
            so_far = so_far * sizes.substitute(s.extent, first)
            first[s.index] = 0
        elif isinstance(s, Contract):
            so_far = so_far * sizes.substitute(sizes.product([s.rows, s.columns, s.depth]), first)
        elif isinstance(s, CallLibrary):
            so_far = so_far * LIBRARY_WORK
        below = inside(s)
        if not below:
            found.append(so_far)
        for x in below:
            visit(x, so_far)

    loop = parallel_loop(kernel)
    if loop is not None:
        first[loop.index] = 0
        for s in loop.body:
            visit(s, 1)
    return found

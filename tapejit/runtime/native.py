"""A systems language inside Python: functions on 64-bit integers and memory, printed as LLVM IR.

In: a module of ours written in the subset below; out: LLVM IR text of the same functions, or `Library`, the same linked into the
process. What must run without the interpreter's help (the launcher, the worker threads) is written in it. The subset also *is*
Python: imported as it stands, such a module runs (slowly), because the primitives below do in Python what they print.

    every value is an int64; a function returns an int64, 0 where it falls off the end
    constants: integers of the module, and of modules that it imports      `POOL = static(64)`: 64 zeroed bytes, the name is the address
    while, if, for i in range(...), break, continue, return, assignment, augmented assignment, pass, docstrings
    + - * // % << >> & | ^ ~, comparisons (chained not), and or not, x if c else y    (// and % are for non-negative numbers)
    i64[a] i32[a] u32[a] u8[a] read memory at address a, and write it on the left of =
    f(x) calls a function of the module, or one it imports from such a module (which then is part of it); c.name(x) one of the process; call(address, x) one at an address; address(f) is where f is
"""

from __future__ import annotations

import ast
import ctypes
import hashlib
import inspect
import sys
from collections.abc import Callable, Sequence
from types import FunctionType, ModuleType
from typing import Any

from tapejit.runtime import cache, compile, host, load


# ------------------------------------------------------------------------------------------- primitives, in Python
class _Memory:
    def __init__(self, kind: Any, llvm: str, extend: str) -> None:
        self.kind, self.llvm, self.extend = kind, llvm, extend

    def __getitem__(self, address: int) -> int:
        return self.kind.from_address(address).value

    def __setitem__(self, address: int, value: int) -> None:
        self.kind.from_address(address).value = value


class _Process:
    def __getattr__(self, name: str) -> Callable[..., int]:
        function = ctypes.pythonapi[name]
        return lambda *args: _call(ctypes.cast(function, ctypes.c_void_p).value or 0, args)


def _call(where: int, args: tuple[int, ...]) -> int:
    return ctypes.PYFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(args))(where)(*args)


i64 = _Memory(ctypes.c_int64, "i64", "")
i32 = _Memory(ctypes.c_int32, "i32", "sext")
u32 = _Memory(ctypes.c_uint32, "i32", "zext")
u8 = _Memory(ctypes.c_uint8, "i8", "zext")
c: Any = _Process()
_kept: list[Any] = []  # what `static` and `stack` gave out, and function pointers, when run as Python


def call(where: int, *args: int) -> int:
    """Call the function at an address."""
    return _call(where, args)


def static(size: int) -> int:
    """The address of `size` zeroed bytes that live as long as the module."""
    buffer = ctypes.create_string_buffer(size + 64)
    _kept.append(buffer)
    return (ctypes.addressof(buffer) + 63) & ~63


def stack(size: int) -> int:
    """The address of `size` bytes, aligned to 64, that live until the function returns."""
    return static(size)


def copy(target: int, source: int, size: int) -> int:
    """Copy bytes that do not overlap."""
    ctypes.memmove(target, source, size)
    return 0


def address(function: Callable[..., int]) -> int:
    """Where a function of the module begins."""
    pointer = ctypes.PYFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(inspect.signature(function).parameters))(function)
    _kept.append(pointer)
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def atomic_load(where: int) -> int:
    """Read an int64 that other threads write; what they wrote before it is visible afterwards."""
    return i64[where]


def atomic_store(where: int, value: int) -> int:
    """Write an int64 that other threads read; what was written before is visible to them."""
    i64[where] = value
    return 0


def atomic_add(where: int, value: int) -> int:
    """Add to an int64 in one step; what was there before."""
    before = i64[where]
    i64[where] = before + value
    return before


def atomic_swap(where: int, value: int) -> int:
    """Replace an int64 in one step; what was there before."""
    before = i64[where]
    i64[where] = value
    return before


def atomic_replace(where: int, expected: int, value: int) -> int:
    """Write `value` if `expected` is there, in one step; 1 if it was."""
    if i64[where] != expected:
        return 0
    i64[where] = value
    return 1


def pause() -> int:
    """Tell the processor that this loop only waits."""
    return 0


# ----------------------------------------------------------------------------------------------- printing as LLVM IR
_BINARY = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "sdiv", ast.Mod: "srem",
    ast.LShift: "shl", ast.RShift: "ashr", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor",
}  # fmt: skip
_COMPARE: dict[type, str] = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "slt", ast.LtE: "sle", ast.Gt: "sgt", ast.GtE: "sge"}
_MEMORY = {"i64": i64, "i32": i32, "u32": u32, "u8": u8}


class _Function:
    """Prints one function. Locals live in memory; LLVM's first pass puts them into registers."""

    def __init__(self, node: ast.FunctionDef, names: dict[str, Any], module: _Module) -> None:
        self.node, self.names, self.module = node, names, module
        self.lines: list[str] = []
        self.count = 0
        self.loops: list[tuple[str, str]] = []  # where `break` and `continue` go
        self.open = True  # whether the current block still lacks its end

    def text(self) -> str:
        params = [a.arg for a in self.node.args.args]
        stored = (n.id for n in ast.walk(self.node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        head = []
        for name in dict.fromkeys([*params, *stored]):
            head.append(f"  %{name}.at = alloca i64")
            head.append(f"  store i64 {f'%{name}' if name in params else 0}, ptr %{name}.at")
        self.locals = set(params) | {n.id for n in ast.walk(self.node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.body(self.node.body)
        if self.open:
            self.end("ret i64 0")
        linkage = "internal " if self.node.name.startswith("_") else ""
        signature = ", ".join(f"i64 %{p}" for p in params)
        return "\n".join([f"define {linkage}i64 @{self.node.name}({signature}) nounwind {{", "entry:", *head, *self.lines, "}"])

    # -------------------------------------------------------------------------------------------- pieces
    def let(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {text}")
        return f"%v{self.count}"

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def end(self, text: str) -> None:
        if self.open:
            self.do(text)
        self.open = False

    def block(self, label: str) -> None:
        self.end(f"br label %{label}")
        self.lines.append(f"{label}:")
        self.open = True

    def labels(self, *names: str) -> list[str]:
        self.count += 1
        return [f"{name}{self.count}" for name in names]

    def refuse(self, node: ast.AST) -> SyntaxError:
        return SyntaxError(f"{self.names['__name__']}, line {getattr(node, 'lineno', '?')}: not in the native subset: {ast.unparse(node)}")

    # -------------------------------------------------------------------------------------------- statements
    def body(self, statements: list[ast.stmt]) -> None:
        for s in statements:
            if self.open:
                self.statement(s)

    def statement(self, s: ast.stmt) -> None:
        match s:
            case ast.Pass() | ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.Expr(value=value):
                self.value(value)
            case ast.Return(value=value):
                self.end(f"ret i64 {self.value(value) if value else 0}")
            case ast.Assign(targets=[target], value=value):
                self.store(target, self.value(value))
            case ast.AugAssign(target=target, op=op, value=value):
                where = ast.parse(ast.unparse(target), mode="eval").body
                self.store(target, self.let(f"{_BINARY[type(op)]} i64 {self.value(where)}, {self.value(value)}"))
            case ast.If(test=test, body=body, orelse=orelse):
                yes, no, done = self.labels("then", "else", "end")
                self.branch(test, yes, no)
                self.block(yes)
                self.body(body)
                self.end(f"br label %{done}")
                self.block(no)
                self.body(orelse)
                self.block(done)
            case ast.While(test=test, body=body, orelse=[]):
                head, inside, done = self.labels("while", "do", "done")
                self.block(head)
                self.branch(test, inside, done)
                self.block(inside)
                self.looped(body, done, head)
                self.end(f"br label %{head}")
                self.block(done)
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=bounds), body=body, orelse=[]):
                start, stop = (["0"] if len(bounds) == 1 else []) + [self.value(b) for b in bounds]
                head, inside, again, done = self.labels("for", "do", "next", "done")
                self.do(f"store i64 {start}, ptr %{name}.at")
                self.block(head)
                at = self.let(f"load i64, ptr %{name}.at")
                self.end(f"br i1 {self.let(f'icmp slt i64 {at}, {stop}')}, label %{inside}, label %{done}")
                self.block(inside)
                self.looped(body, done, again)
                self.block(again)
                at = self.let(f"load i64, ptr %{name}.at")
                self.do(f"store i64 {self.let(f'add i64 {at}, 1')}, ptr %{name}.at")
                self.end(f"br label %{head}")
                self.block(done)
            case ast.Break() if self.loops:
                self.end(f"br label %{self.loops[-1][0]}")
            case ast.Continue() if self.loops:
                self.end(f"br label %{self.loops[-1][1]}")
            case _:
                raise self.refuse(s)

    def looped(self, body: list[ast.stmt], done: str, again: str) -> None:
        self.loops.append((done, again))
        self.body(body)
        self.loops.pop()

    def store(self, target: ast.expr, value: str) -> None:
        match target:
            case ast.Name(id=name):
                self.do(f"store i64 {value}, ptr %{name}.at")
            case ast.Subscript(value=ast.Name(id=kind), slice=where) if kind in _MEMORY:
                memory = _MEMORY[kind]
                if memory.llvm != "i64":
                    value = self.let(f"trunc i64 {value} to {memory.llvm}")
                self.do(f"store {memory.llvm} {value}, ptr {self.pointer(where)}, align 1")
            case _:
                raise self.refuse(target)

    def branch(self, test: ast.expr, yes: str, no: str) -> None:
        match test:
            case ast.BoolOp(op=op, values=values):
                for v in values[:-1]:
                    (middle,) = self.labels("and" if isinstance(op, ast.And) else "or")
                    self.branch(v, *((middle, no) if isinstance(op, ast.And) else (yes, middle)))
                    self.block(middle)
                self.branch(values[-1], yes, no)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self.branch(operand, no, yes)
            case ast.Constant(value=value):
                self.end(f"br label %{yes if value else no}")
            case _:
                self.end(f"br i1 {self.truth(test)}, label %{yes}, label %{no}")

    def truth(self, test: ast.expr) -> str:
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in _COMPARE:
            left, right = self.value(test.left), self.value(test.comparators[0])
            return self.let(f"icmp {_COMPARE[type(test.ops[0])]} i64 {left}, {right}")
        return self.let(f"icmp ne i64 {self.value(test)}, 0")

    # -------------------------------------------------------------------------------------------- expressions
    def value(self, e: ast.expr) -> str:
        match e:
            case ast.Constant(value=int(number)):
                return str(int(number))
            case ast.Name(id=name) if name in self.locals:
                return self.let(f"load i64, ptr %{name}.at")
            case ast.Name(id=name) if name in self.module.statics:
                return f"ptrtoint (ptr @{name} to i64)"
            case ast.Name(id=name) if isinstance(self.names.get(name), int):
                return str(self.names[name])
            case ast.Attribute(value=ast.Name(id=name), attr=constant) if isinstance(self.names.get(name), ModuleType):
                number = getattr(self.names[name], constant)
                if isinstance(number, int):
                    return str(int(number))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self.let(f"{_BINARY[type(op)]} i64 {self.value(left)}, {self.value(right)}")
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.let(f"sub i64 0, {self.value(operand)}")
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                return self.let(f"xor i64 -1, {self.value(operand)}")
            case ast.Compare(ops=[op]) if type(op) in _COMPARE:
                return self.let(f"zext i1 {self.truth(e)} to i64")
            case ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return self.choose(e, lambda: "1", lambda: "0")
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.choose(test, lambda: self.value(body), lambda: self.value(orelse))
            case ast.Subscript(value=ast.Name(id=kind), slice=where) if kind in _MEMORY:
                memory = _MEMORY[kind]
                got = self.let(f"load {memory.llvm}, ptr {self.pointer(where)}, align 1")
                return self.let(f"{memory.extend} {memory.llvm} {got} to i64") if memory.extend else got
            case ast.Call(func=ast.Name(id="address"), args=[ast.Name(id=name)]) if name in self.module.functions:
                return f"ptrtoint (ptr @{name} to i64)"
            case ast.Call(func=function, args=args, keywords=[]):
                return self.called(e, function, args)
        raise self.refuse(e)

    def choose(self, test: ast.expr, yes: Callable[[], str], no: Callable[[], str]) -> str:
        a, b, done = self.labels("yes", "no", "chosen")
        self.count += 1
        result = f"%choice{self.count}.at"
        self.lines.insert(0, f"  {result} = alloca i64")
        self.branch(test, a, b)
        for label, value in ((a, yes), (b, no)):
            self.block(label)
            self.do(f"store i64 {value()}, ptr {result}")
            self.end(f"br label %{done}")
        self.block(done)
        return self.let(f"load i64, ptr {result}")

    def pointer(self, where: ast.expr) -> str:
        return self.let(f"inttoptr i64 {self.value(where)} to ptr")

    def called(self, e: ast.Call, function: ast.expr, args: list[ast.expr]) -> str:
        match function:
            case ast.Attribute(value=ast.Name(id="c"), attr=name):
                if self.module.externals.setdefault(name, len(args)) != len(args):
                    raise self.refuse(e)
                return self.let(f"call i64 @{name}({self.passed(args)})")
            case ast.Name(id="call"):
                return self.let(f"call i64 {self.pointer(args[0])}({self.passed(args[1:])})")
            case ast.Name(id="stack"):
                return self.let(f"ptrtoint ptr {self.let(f'alloca i8, i64 {self.value(args[0])}, align 64')} to i64")
            case ast.Name(id="copy"):
                target, source, size = self.pointer(args[0]), self.pointer(args[1]), self.value(args[2])
                self.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, i1 false)")
                return "0"
            case ast.Name(id="pause"):
                self.do(f"call void @{self.module.pause}({'' if 'x86' in self.module.pause else 'i32 1'})")
                return "0"
            case ast.Name(id="atomic_load"):
                return self.let(f"load atomic i64, ptr {self.pointer(args[0])} acquire, align 8")
            case ast.Name(id="atomic_store"):
                value = self.value(args[1])
                self.do(f"store atomic i64 {value}, ptr {self.pointer(args[0])} seq_cst, align 8")
                return "0"
            case ast.Name(id="atomic_add" | "atomic_swap" as name):
                how = "add" if name == "atomic_add" else "xchg"
                return self.let(f"atomicrmw {how} ptr {self.pointer(args[0])}, i64 {self.value(args[1])} seq_cst, align 8")
            case ast.Name(id="atomic_replace"):
                where, old, new = self.pointer(args[0]), self.value(args[1]), self.value(args[2])
                got = self.let(f"cmpxchg ptr {where}, i64 {old}, i64 {new} seq_cst seq_cst, align 8")
                return self.let(f"zext i1 {self.let(f'extractvalue {{ i64, i1 }} {got}, 1')} to i64")
            case ast.Name(id=name) if name in self.module.functions:
                if len(self.module.functions[name][0].args.args) != len(args):
                    raise self.refuse(e)
                return self.let(f"call i64 @{name}({self.passed(args)})")
        raise self.refuse(e)

    def passed(self, args: list[ast.expr]) -> str:
        return ", ".join([f"i64 {v}" for v in [self.value(a) for a in args]])


class _Module:
    """Prints a module, and with it those it imports functions from."""

    def __init__(self, parts: Sequence[ModuleType]) -> None:
        self.name = parts[0].__name__
        self.functions: dict[str, tuple[ast.FunctionDef, dict[str, Any]]] = {}  # with the names of the module it stands in
        self.statics: dict[str, int] = {}
        self.externals: dict[str, int] = {}
        self.pause = "llvm.x86.sse2.pause" if host.is_x86() else "llvm.aarch64.hint"
        for part in parts:
            for s in ast.parse(inspect.getsource(part)).body:
                match s:
                    case ast.FunctionDef(name=name) if name in self.functions:
                        raise SyntaxError(f"{part.__name__}, line {s.lineno}: there is a function {name!r} in another part of {self.name}")
                    case ast.FunctionDef(name=name):
                        self.functions[name] = s, vars(part)
                    case ast.Assign(
                        targets=[ast.Name(id=n)], value=ast.Call(func=ast.Name(id="static"), args=[ast.Constant(value=int(size))])
                    ):
                        self.statics[n] = size

    def text(self) -> str:
        bodies = [_Function(f, names, self).text() for f, names in self.functions.values()]
        statics = [f"@{n} = internal global [{size} x i8] zeroinitializer, align 64" for n, size in self.statics.items()]
        declared = [f"declare i64 @{n}({', '.join(['i64'] * k)})" for n, k in self.externals.items()]
        declared.append("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1 immarg)")
        if any(f"@{self.pause}" in body for body in bodies):
            declared.append(f"declare void @{self.pause}({'' if 'x86' in self.pause else 'i32 immarg'})")
        return "\n".join([f"; {self.name}", *statics, *declared, *bodies]) + "\n"


def parts_of(module: ModuleType) -> list[ModuleType]:
    """A module and those whose functions it imports, and they in turn; primitives are no part of it."""
    found = {module.__name__: module}
    waiting = [module]
    while waiting:
        for thing in vars(waiting.pop()).values():
            if isinstance(thing, FunctionType) and thing.__module__ not in (__name__, *found):
                found[thing.__module__] = sys.modules[thing.__module__]
                waiting.append(found[thing.__module__])
    return list(found.values())


def text(module: ModuleType) -> tuple[str, tuple[str, ...]]:
    """LLVM IR of a module in the subset, and the C functions it calls. SyntaxError names what is not in the subset."""
    printer = _Module(parts_of(module))
    return printer.text(), tuple(printer.externals)


class Library:
    """A module in the subset, compiled (or found in the cache) and linked. `library.address("f")`, `library["f"](1, 2)`."""

    def __init__(self, module: ModuleType) -> None:
        parts = parts_of(module)
        sources = [_source(str(part.__file__)) for part in parts]
        constants = [
            sorted((k, v) for k, v in vars(part).items() if isinstance(v, int) and not k.startswith("_") and f"{k} = static(" not in source)
            for part, source in zip(parts, sources, strict=True)
        ]
        cpu, features = host.processor()
        version = hashlib.sha256(_source(__file__).encode()).hexdigest()
        key = cache.key("native", *sources, constants, cpu, features, compile.version(), version)
        store = cache.default()
        kept = store.lookup(key)
        if kept is None:
            printed, externals = text(module)
            kept = " ".join(externals).encode() + b"\n" + compile.object_code(printed, cpu, features)
            store.store(key, f"native {module.__name__}", kept)
        names, _, code = kept.partition(b"\n")
        self.module = load.Module(code, names.decode().split())

    def address(self, name: str) -> int:
        """Where a public function begins."""
        return self.module.address(name)

    def __getitem__(self, name: str) -> Callable[..., int]:
        where = self.address(name)
        return lambda *args: _call(where, args)


def _source(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()

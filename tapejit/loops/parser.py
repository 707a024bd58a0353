"""Reads kernels and programs from the text that `printer` writes.

In: text; out: `Kernel` and `Program`. SyntaxError names the line and what was expected there. A local scalar that is assigned
again after its declaration is an `Accumulator`, any other a `Let`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Literal, cast

from tapejit.core import dtypes, sizes, types
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.loops.expr import Expr, Load, Reduce, Var
from tapejit.loops.nest import Accumulator, CallLibrary, Contract, Fail, For, If, Kernel, Let, LoopKind, Param, Stmt, Store, Update, While
from tapejit.loops.printer import REDUCTIONS
from tapejit.loops.program import (
    Allocate,
    BindSize,
    Branch,
    Buffer,
    CheckSize,
    Copy,
    Deliver,
    Free,
    Home,
    HostCall,
    Launch,
    Program,
    Repeat,
    Step,
)  # fmt: skip
from tapejit.loops.scalar import Operand, Reader

_COMBINES = {text: combine for combine, text in REDUCTIONS.items()}
_AUGMENTED: dict[type, str] = {ast.Add: "add", ast.Mult: "mul", ast.BitAnd: "and", ast.BitOr: "or"}
_SLOT = re.compile(r"__(address|size\d+)$")  # of a result whose size is known only afterwards
_KINDS = ("serial", "parallel", "vector", "unroll")


def kernels(text: str) -> list[Kernel]:
    """The kernels in `text`, in order."""
    comments = _comments(text)
    return [_kernel(node, comments) for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]


def kernel(text: str) -> Kernel:
    """The one kernel in `text`. ValueError if there are none or several."""
    found = kernels(text)
    if len(found) != 1:
        raise ValueError(f"expected the text of one kernel, found {len(found)}")
    return found[0]


def program(text: str) -> Program:
    """The program in `text`: the last function is the host function, those before it are kernels."""
    comments = _comments(text)
    *before, host = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    known = {k.name: k for k in (_kernel(node, comments) for node in before)}
    return _Host(known).read(host)


def _comments(text: str) -> dict[int, tuple[str, ...]]:
    """The places named at the end of the first line of each function."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("def ") and "):  # " in line:
            found[number] = tuple(line.rsplit("):  # ", 1)[1].split(", "))
    return found


def _wrong(node: ast.AST, expected: str) -> SyntaxError:
    return SyntaxError(f"line {getattr(node, 'lineno', '?')}: expected {expected}, found: {ast.unparse(node).splitlines()[0]}")


def _name(node: ast.AST) -> str:
    if not isinstance(node, ast.Name):
        raise _wrong(node, "a name")
    return node.id


# ------------------------------------------------------------------------------------------------ kernels
def _kernel(node: ast.FunctionDef, comments: Mapping[int, tuple[str, ...]]) -> Kernel:
    params: list[Param] = []
    named: list[str] = []
    for a in node.args.args:
        match a.annotation:
            case ast.Name(id="size"):
                named.append(a.arg)
            case ast.Subscript(value=ast.Name(id="out" | "inout" as mode), slice=inner):
                t = types.parse(inner)
                params.append(Param(a.arg, t.dtype, t.shape, cast(Literal["out", "inout"], mode)))
            case ast.expr() as annotation:
                t = types.parse(annotation)
                params.append(Param(a.arg, t.dtype, t.shape))
            case None:
                raise _wrong(a, "a parameter with a type")
    body = _Body(params, named).read(node.body)
    return Kernel(node.name, tuple(params), tuple(named), body, comments.get(node.lineno, ()))


class _Expressions(Reader):
    """Expressions of a kernel: besides the scalar language, elements of buffers and reductions."""

    def __init__(self, names: Mapping[str, Expr], buffers: Mapping[str, DType]) -> None:
        super().__init__(names)
        self.buffers = buffers

    def other(self, node: ast.expr) -> Operand:
        match node:
            case ast.Subscript(value=ast.Name(id=buffer), slice=index) if buffer in self.buffers:
                return Load(self.buffers[buffer], buffer, self.index(index))
            case ast.Call(func=ast.Name(id=fn), args=[ast.GeneratorExp(elt=inner, generators=loops)]) if fn in _COMBINES:
                axes = tuple(_loop(g) for g in loops)
                names = {**self.names, **{name: Var(dtypes.int64, name) for name, _ in axes}}
                value = _Expressions(names, self.buffers).read(inner)
                if not isinstance(value, Expr):
                    raise _wrong(inner, "a value with a dtype, as f32(1.0)")
                return Reduce(value.dtype, _COMBINES[fn], axes, value)
        return super().other(node)

    def index(self, node: ast.expr) -> tuple[Expr, ...]:
        """Index expressions inside brackets."""
        return tuple(self.typed(i, dtypes.int64) for i in (node.elts if isinstance(node, ast.Tuple) else [node]))


def _loop(g: ast.comprehension) -> tuple[str, Dim]:
    match g:
        case ast.comprehension(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="serial"), args=[extent]), ifs=[]):
            return name, sizes.parse(extent)
    raise _wrong(g.iter, "for <index> in serial(<extent>)")


class _Body:
    """Statements, with the names in scope."""

    def __init__(self, params: list[Param], named: list[str]) -> None:
        self.buffers = {p.name: p.dtype for p in params}
        self.names: dict[str, Expr] = {s: Var(dtypes.int64, s) for s in named}

    def read(self, nodes: list[ast.stmt]) -> tuple[Stmt, ...]:
        before = dict(self.names)
        out = []
        for k, node in enumerate(nodes):
            if not isinstance(node, ast.Pass):
                out.append(self.statement(node, nodes[k + 1 :]))
        self.names = before
        return tuple(out)

    def _value(self, node: ast.expr, dtype: DType) -> Expr:
        return _Expressions(self.names, self.buffers).typed(node, dtype)

    def _within(self, names: list[str], nodes: list[ast.stmt]) -> tuple[Stmt, ...]:
        before = dict(self.names)
        self.names.update({n: Var(dtypes.int64, n) for n in names})
        out = self.read(nodes)
        self.names = before
        return out

    def statement(self, node: ast.stmt, following: list[ast.stmt]) -> Stmt:
        match node:
            case ast.AnnAssign(
                target=ast.Name(id=info), annotation=ast.Name(id="i32"), value=ast.Call(func=ast.Attribute() as routine, args=arguments)
            ):
                self.names[info] = Var(dtypes.int32, info)
                return self._library(info, routine, arguments)
            case ast.Expr(value=ast.Call(func=ast.Attribute() as routine, args=arguments)):
                return self._library("", routine, arguments)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id=short), value=ast.expr() as value) if (
                short in dtypes.BY_SHORT
            ):
                v = self._value(value, dtypes.BY_SHORT[short])
                if v.dtype is not dtypes.BY_SHORT[short]:
                    raise _wrong(node, f"a value of {short}, not of {v.dtype.short}")
                self.names[name] = Var(v.dtype, name)
                return Accumulator(name, v) if _assigned(name, following) else Let(name, v)
            case ast.AugAssign(target=target, op=op, value=value) if type(op) in _AUGMENTED:
                return self._change(target, _AUGMENTED[type(op)], value)
            case ast.Assign(targets=[target], value=ast.Call(func=ast.Name(id=("min" | "max") as fn), args=[first, value])) if ast.unparse(
                first
            ) == ast.unparse(target):
                return self._change(target, fn, value)
            case ast.Assign(targets=[target], value=value):
                return self._change(target, "set", value)
            case ast.For(target=ast.Name(id=index), iter=ast.Call(func=ast.Name(id=kind), args=[extent]), body=body) if kind in _KINDS:
                return For(index, sizes.parse(extent), cast(LoopKind, kind), self._within([index], body))
            case ast.For(target=ast.Tuple(elts=[row, column]), iter=ast.Call(func=ast.Name(id="tiles"), args=[rows, columns]), body=body):
                return self._contract(_name(row), sizes.parse(rows), _name(column), sizes.parse(columns), body)
            case ast.If(test=test, body=then, orelse=otherwise):
                return If(self._value(test, dtypes.bool_), self.read(then), self.read(otherwise))
            case ast.While(test=test, body=body):
                return While(self._value(test, dtypes.bool_), self.read(body))
            case ast.Expr(value=ast.Call(func=ast.Name(id="fail"), args=[ast.Constant(value=int(number)), *operands])):
                return Fail(number, tuple(self._value(o, dtypes.float64) for o in operands))
        raise _wrong(node, "a statement of the loop language")

    def _library(self, info: str, routine: ast.Attribute, arguments: list[ast.expr]) -> Stmt:
        def argument(node: ast.expr) -> Expr | bytes:
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                return node.value
            return self._value(node, dtypes.int64)

        return CallLibrary(info, ast.unparse(routine).replace(".", ":"), tuple(map(argument, arguments)))

    def _change(self, target: ast.expr, combine: str, value: ast.expr) -> Stmt:
        match target:
            case ast.Name(id=name) if name in self.names:
                return Update(name, combine, self._value(value, self.names[name].dtype))
            case ast.Subscript(value=ast.Name(id=buffer), slice=index) if buffer in self.buffers:
                at = _Expressions(self.names, self.buffers).index(index)
                return Store(buffer, at, self._value(value, self.buffers[buffer]), combine)
        raise _wrong(target, "an accumulator or an element of a buffer")

    def _contract(self, row: str, rows: Dim, column: str, columns: Dim, body: list[ast.stmt]) -> Stmt:
        before = dict(self.names)
        self.names.update({n: Var(dtypes.int64, n) for n in (row, column)})
        match body[0]:
            case ast.AnnAssign(
                target=ast.Name(id=name),
                annotation=ast.Name(id=short),
                value=ast.Call(
                    func=ast.Name(id="sum"), args=[ast.GeneratorExp(elt=ast.BinOp(left=a, op=ast.Mult(), right=b), generators=[g])]
                ),
            ) if short in dtypes.BY_SHORT:
                depth_index, depth = _loop(g)
                outside = dict(self.names)
                self.names[depth_index] = Var(dtypes.int64, depth_index)
                dtype = dtypes.BY_SHORT[short]
                left, right = self._value(a, dtype), self._value(b, dtype)
                self.names = {**outside, name: Var(dtype, name)}
                epilogue = self.read(body[1:])
            case _:
                raise _wrong(body[0], "<name>: <dtype> = sum(<left> * <right> for <index> in serial(<depth>))")
        self.names = before
        return Contract(row, rows, column, columns, depth_index, depth, left, right, name, epilogue)


def _assigned(name: str, nodes: list[ast.stmt]) -> bool:
    """Whether `name` is assigned again before it is declared anew."""
    for node in nodes:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return False
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                return True
        if isinstance(node, ast.For | ast.While | ast.If) and (_assigned(name, node.body) or _assigned(name, node.orelse)):
            return True
    return False


# ------------------------------------------------------------------------------------------------ programs
class _Host:
    """The host function of a program."""

    def __init__(self, kernels: Mapping[str, Kernel]) -> None:
        self.kernels = kernels

    def read(self, node: ast.FunctionDef) -> Program:
        buffers: dict[str, Buffer] = {}
        named: tuple[str, ...] = ()
        arena: Dim = 0
        steps: list[Step] = []
        for s in node.body:
            match s:
                case ast.Expr(value=ast.Call(func=ast.Name(id="sizes"), args=args)):
                    named = tuple(map(_name, args))
                case ast.Assign(targets=[ast.Name(id="arena")], value=value):
                    arena = sizes.parse(value)
                case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Subscript(value=ast.Name(id=home), slice=inner), value=offset):
                    t = types.parse(inner)
                    buffers[name] = Buffer(name, t.dtype, t.shape, cast(Home, home), sizes.parse(offset) if offset else 0)
                case _:
                    steps += self.steps([s])
        return Program(node.name, buffers, tuple(steps), tuple(_SLOT.sub(r".\1", a.arg) for a in node.args.args), arena, named)

    def steps(self, nodes: list[ast.stmt]) -> tuple[Step, ...]:
        return tuple(self.step(n) for n in nodes if not isinstance(n, ast.Pass))

    def step(self, node: ast.stmt) -> Step:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="size"), args=[source])):
                return BindSize(name, _name(source))
            case ast.If(test=ast.Name(id=c), body=then, orelse=otherwise):
                return Branch(c, self.steps(then), self.steps(otherwise))
            case ast.While(test=ast.Constant(value=True), body=body):
                for k, s in enumerate(body):
                    match s:
                        case ast.If(test=ast.UnaryOp(op=ast.Not(), operand=ast.Name(id=c)), body=[ast.Break()]):
                            return Repeat(self.steps(body[:k]), c, self.steps(body[k + 1 :]))
                raise _wrong(node, "a loop with 'if not <condition>: break'")
            case ast.Expr(value=ast.Call(func=ast.Name(id=fn), args=args)):
                return self._called(node, fn, args)
        raise _wrong(node, "a step of a program")

    def _called(self, node: ast.stmt, fn: str, args: list[ast.expr]) -> Step:
        if fn in self.kernels:
            return Launch(self.kernels[fn], tuple(map(_name, args)))
        match fn, args:
            case "copy", [target, source]:
                return Copy(_name(target), _name(source))
            case "allocate", [b]:
                return Allocate(_name(b))
            case "free", [b]:
                return Free(_name(b))
            case "deliver", [b, slot]:
                return Deliver(_name(b), _SLOT.sub(r".\1", _name(slot)))
            case "check_size", [ast.Constant(value=int(number)), a, b]:
                return CheckSize(number, sizes.parse(a), sizes.parse(b))
            case "host_call", [ast.Constant(value=int(index)), ast.Constant(value=int(number)), ast.List(elts=names), ast.List(elts=dims)]:
                return HostCall(index, number, tuple(map(_name, names)), tuple(map(sizes.parse, dims)))
        raise _wrong(node, f"a step; the kernels are {', '.join(self.kernels)}")

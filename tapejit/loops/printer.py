"""The text of loop expressions, kernels and programs: a subset of Python that `parser` reads back.

In: the data of `expr`, `nest` and `program`; out: text with `print(parse(text)) == text`. A number is printed bare where the
operand it meets, or the place it goes to, says its dtype, and as `f32(1.0)` elsewhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.loops.expr import Call, Const, Expr, Load, Reduce, Var
from tapejit.loops.nest import Accumulator, CallLibrary, Contract, Fail, For, If, Kernel, Let, Param, Stmt, Store, Update, While
from tapejit.loops.program import (
    Allocate,
    BindSize,
    Branch,
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

REDUCTIONS = {"add": "sum", "mul": "prod", "min": "min", "max": "max", "and": "all", "or": "any"}
UPDATES = {"add": "+=", "mul": "*=", "and": "&=", "or": "|="}

# operator, precedence; a right operand of the same precedence is parenthesised
_INFIX = {
    "or": ("|", 6), "xor": ("^", 7), "and": ("&", 8), "shl": ("<<", 9), "shr": (">>", 9), "add": ("+", 10), "sub": ("-", 10),
    "mul": ("*", 11), "div": ("/", 11), "floordiv": ("//", 11), "mod": ("%", 11),
}  # fmt: skip
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_TERNARY, _OR, _AND, _NOT, _COMPARISON, _UNARY, _ATOM = 1, 2, 3, 4, 5, 12, 20


def number(value: Any, dtype: DType) -> str:
    """A literal: the shortest decimal that gives the value in `dtype`."""
    if dtype.kind != "f":
        return str(value)
    if math.isinf(value) or math.isnan(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if dtype.bits == 64:
        return repr(float(value))
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return repr(float(value)) if np.isinf(single) else repr(float(str(single)))


def expression(e: Expr, bare: bool = True) -> str:
    """The text of an expression; `bare` if the place it goes to says the dtype of a number."""
    return _text(e, bare)[0]


def _at(e: Expr, bare: bool, least: int) -> str:
    text, precedence = _text(e, bare)
    return text if precedence >= least else f"({text})"


def _text(e: Expr, bare: bool) -> tuple[str, int]:
    if isinstance(e, Const):
        text = number(e.value, e.dtype)
        return (text, _UNARY if text.startswith("-") else _ATOM) if bare else (f"{e.dtype.short}({text})", _ATOM)
    if isinstance(e, Var):
        return e.name, _ATOM
    if isinstance(e, Load):
        index = ", ".join(expression(i) for i in e.index)
        return f"{e.buffer}[{index or '()'}]", _ATOM
    if isinstance(e, Reduce):
        loops = " ".join(f"for {name} in serial({extent})" for name, extent in e.axes)
        return f"{REDUCTIONS[e.combine]}({expression(e.body, False)} {loops})", _ATOM
    assert isinstance(e, Call)
    return _call(e)


def _call(e: Call) -> tuple[str, int]:
    fn, args = e.fn, e.args
    typed = args[1:] if fn in ("select", "guarded") else args
    known = any(not isinstance(a, Const) for a in typed)
    bare = [known or k > 0 for k in range(len(typed))]
    if fn in _INFIX and not (fn in ("and", "or") and e.dtype is dtypes.bool_):
        operator, p = _INFIX[fn]
        return f"{_at(args[0], bare[0], p)} {operator} {_at(args[1], bare[1], p + 1)}", p
    if fn in ("and", "or"):
        p = _AND if fn == "and" else _OR
        return f"{_at(args[0], bare[0], p)} {fn} {_at(args[1], bare[1], p + 1)}", p
    if fn in _COMPARE:
        return f"{_at(args[0], bare[0], _COMPARISON + 1)} {_COMPARE[fn]} {_at(args[1], bare[1], _COMPARISON + 1)}", _COMPARISON
    if fn == "not" and not isinstance(args[0], Const):
        return ("not " + _at(args[0], False, _NOT), _NOT) if e.dtype is dtypes.bool_ else ("~" + _at(args[0], False, _UNARY), _UNARY)
    if fn == "neg" and not isinstance(args[0], Const):
        return "-" + _at(args[0], False, _UNARY), _UNARY
    if fn == "select":
        c, a, b = args
        return f"{_at(a, bare[0], _OR)} if {_at(c, True, _OR)} else {_at(b, bare[1], _TERNARY)}", _TERNARY
    if fn == "cast":
        return f"{e.dtype.short}({expression(args[0], False)})", _ATOM
    if fn == "bitcast":
        return f"bitcast({expression(args[0], False)}, {e.dtype.short})", _ATOM
    texts = [expression(a, b) for a, b in zip(typed, bare)]
    if fn == "guarded":
        texts.insert(0, expression(args[0]))
    return f"{fn}({', '.join(texts)})", _ATOM


# ------------------------------------------------------------------------------------------------ kernels
def kernel(k: Kernel) -> str:
    """The text of a kernel."""
    parameters = [f"{p.name}: {_parameter(p)}" for p in k.params] + [f"{s}: size" for s in k.sizes]
    places = f"  # {', '.join(k.places)}" if k.places else ""
    return f"def {k.name}({', '.join(parameters)}):{places}\n" + "\n".join(body(k.body, 1)) + "\n"


def _parameter(p: Param) -> str:
    text = str(Type(p.dtype, p.shape))
    return text if p.mode == "in" else f"{p.mode}[{text}]"


def body(statements: tuple[Stmt, ...], depth: int) -> list[str]:
    """The lines of statements, indented."""
    lines = [line for s in statements for line in _statement(s, depth)]
    return lines or ["    " * depth + "pass"]


def _statement(s: Stmt, depth: int) -> list[str]:
    pad = "    " * depth
    match s:
        case Let(name=name, value=v):
            return [f"{pad}{name}: {v.dtype.short} = {expression(v)}"]
        case Accumulator(name=name, init=v):
            return [f"{pad}{name}: {v.dtype.short} = {expression(v)}"]
        case Update(name=name, combine=combine, value=v):
            return [pad + _change(name, combine, v)]
        case Store(buffer=buffer, index=index, value=v, combine=combine):
            return [pad + _change(expression(Load(v.dtype, buffer, index)), combine, v)]
        case For(index=index, extent=extent, kind=kind, body=inner):
            return [f"{pad}for {index} in {kind}({extent}):", *body(inner, depth + 1)]
        case If(condition=c, then=then, otherwise=otherwise):
            lines = [f"{pad}if {expression(c)}:", *body(then, depth + 1)]
            return lines + ([f"{pad}else:", *body(otherwise, depth + 1)] if otherwise else [])
        case While(condition=c, body=inner):
            return [f"{pad}while {expression(c)}:", *body(inner, depth + 1)]
        case Contract():
            known = not (isinstance(s.left, Const) and isinstance(s.right, Const))
            product = f"{_at(s.left, known, 11)} * {_at(s.right, True, 12)}"
            return [
                f"{pad}for {s.row}, {s.column} in tiles({s.rows}, {s.columns}):",
                f"{pad}    {s.accumulator}: {s.left.dtype.short} = sum({product} for {s.depth_index} in serial({s.depth}))",
                *(body(s.epilogue, depth + 1) if s.epilogue else []),
            ]
        case CallLibrary(info=info, symbol=symbol, arguments=arguments):
            bound = f"{info}: i32 = " if info else ""
            texts = [repr(a) if isinstance(a, bytes) else expression(a, a.dtype is dtypes.int64) for a in arguments]
            return [f"{pad}{bound}{symbol.replace(':', '.')}({', '.join(texts)})"]
        case Fail(node=node, operands=operands):
            return [f"{pad}fail({', '.join([str(node), *(expression(o, False) for o in operands)])})"]
    raise NotImplementedError(f"text of the statement {type(s).__name__}")


def _change(target: str, combine: str, value: Expr) -> str:
    if combine == "set":
        return f"{target} = {expression(value)}"
    if combine in UPDATES:
        return f"{target} {UPDATES[combine]} {expression(value)}"
    return f"{target} = {combine}({target}, {expression(value)})"


# ------------------------------------------------------------------------------------------------ programs
def program(p: Program) -> str:
    """The text of a program: its kernels, then the host function, its table as parameters and its buffers declared first."""
    lines = [f"def {p.name}({', '.join(map(slot, p.table))}):"]
    if p.sizes:
        lines.append(f"    sizes({', '.join(p.sizes)})")
    if not (isinstance(p.arena, int) and p.arena == 0):
        lines.append(f"    arena = {p.arena}")
    for b in p.buffers.values():
        offset = f" = {b.offset}" if b.home == "arena" else ""
        lines.append(f"    {b.name}: {b.home}[{Type(b.dtype, b.shape)}]{offset}")
    lines += _steps(p.steps, 1)
    return "\n".join([*(kernel(k) + "\n" for k in p.kernels()), "\n".join(lines)]) + "\n"


def slot(name: str) -> str:
    """A table entry as a Python name: `kept.size0` is `kept__size0`."""
    return name.replace(".", "__")


def _steps(steps: tuple[Step, ...], depth: int) -> list[str]:
    return [line for s in steps for line in _step(s, depth)] or ["    " * depth + "pass"]


def _listed(items: tuple[str, ...] | tuple[Dim, ...]) -> str:
    return f"[{', '.join(map(str, items))}]"


def _step(s: Step, depth: int) -> list[str]:
    pad = "    " * depth
    match s:
        case Launch(kernel=k, buffers=buffers):
            return [f"{pad}{k.name}({', '.join(buffers)})"]
        case Copy(target=target, source=source):
            return [f"{pad}copy({target}, {source})"]
        case BindSize(name=name, source=source):
            return [f"{pad}{name} = size({source})"]
        case Allocate(buffer=b):
            return [f"{pad}allocate({b})"]
        case Free(buffer=b):
            return [f"{pad}free({b})"]
        case Deliver(buffer=b, slot=to):
            return [f"{pad}deliver({b}, {slot(to)})"]
        case CheckSize(node=node, a=a, b=b):
            return [f"{pad}check_size({node}, {a}, {b})"]
        case Branch(condition=c, then=then, otherwise=otherwise):
            lines = [f"{pad}if {c}:", *_steps(then, depth + 1)]
            return lines + ([f"{pad}else:", *_steps(otherwise, depth + 1)] if otherwise else [])
        case Repeat(test=test, condition=c, body=inner):
            before = _steps(test, depth + 1) if test else []
            stop = [f"{pad}    if not {c}:", f"{pad}        break"]
            return [f"{pad}while True:", *before, *stop, *(_steps(inner, depth + 1) if inner else [])]
        case HostCall(index=index, node=node, buffers=buffers, sizes=dims):
            return [f"{pad}host_call({index}, {node}, {_listed(buffers)}, {_listed(dims)})"]
    raise NotImplementedError(f"text of the step {type(s).__name__}")

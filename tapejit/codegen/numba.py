"""A program as readable Python for Numba.

In: a `Program`; out: the text of one Python module: each kernel a function under `@njit`, named after what it computes, and a
host function that runs them in order, with one array for each buffer that the program does not make itself. It is what a reader
is shown. With Numba it is compiled; with `njit` and `prange` defined as plain Python it runs as it stands. Half precision is
computed as float32, as in the native code, but Numba itself cannot hold such arrays.
"""

from __future__ import annotations

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.sizes import Dim
from tapejit.loops import expr
from tapejit.loops.expr import Call, Const, Expr, Load, Reduce, Var
from tapejit.loops.nest import Accumulator, CallLibrary, Contract, Fail, For, If, Kernel, Let, Stmt, Store, Update, While
from tapejit.loops.printer import number
from tapejit.loops.program import (
    RESERVED,
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
)
from tapejit.loops.scalar import FUNCTIONS
from tapejit.loops.scalar_math import DEFINITIONS
from tapejit.loops.walk import expressions, locals_of, renamed, statements

_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip
_NUMPY = {
    "min": "minimum", "max": "maximum", "abs": "abs", "isnan": "isnan", "isinf": "isinf", "isfinite": "isfinite",
    "floor": "floor", "ceil": "ceil", "rint": "rint", "trunc": "trunc", "sqrt": "sqrt", "exp": "exp", "expm1": "expm1", "log": "log",
    "log1p": "log1p", "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "copysign": "copysign",
    "pow": "power", "rem": "fmod", "mod": "mod",
}  # fmt: skip
_MATH = {"erf", "erfc", "lgamma"}
_OURS = {
    "floordiv": "def floordiv(a, b):\n    return a // b if b != 0 else a * 0",
    "truncdiv": "def truncdiv(a, b):\n    if b == 0:\n        return a * 0\n    q = abs(a) // abs(b)\n    return q if (a < 0) == (b < 0) else -q",
    "shl": "def shl(a, b, bits):\n    return a << b if 0 <= b < bits else a * 0",
    "shr": "def shr(a, b, bits):\n    return a >> b if 0 <= b < bits else a >> (b * 0 + bits - 1) >> (b * 0 + 1)",
    "integer_mod": "def integer_mod(a, b):\n    return a % b if b != 0 else a * 0",
    "integer_rem": "def integer_rem(a, b):\n    if b == 0:\n        return a * 0\n    r = abs(a) % abs(b)\n    return r if a >= 0 else -r",
    "integer_pow": (
        "def integer_pow(a, n):\n    if n < 0:\n        return a * 0 if a != 1 and a != -1 else a if n % 2 else a * a\n"
        "    p = a * 0 + 1\n    for _ in range(n):\n        p = p * a\n    return p"
    ),
    "popcount": "def popcount(a):\n    n = 0\n    while a != 0:\n        n += 1\n        a &= a - 1\n    return n",
}
_HANDLED = {
    *_OPERATORS, *_NUMPY, *_MATH, *_OURS, "select", "guarded", "cast", "bitcast", "neg", "not", "div", "mulhi_u32", "fma", "rsqrt", "sigmoid",
}  # fmt: skip


def module(program: Program) -> str:
    """The whole module's text."""
    kernels = program.kernels()
    brain = any(b.dtype is dtypes.bfloat16 for b in program.buffers.values())
    parts = [
        f'"""{program.name}"""',
        "import math\n\n"
        + ("import ml_dtypes\n" if brain else "")
        + "import numpy as np\nfrom numba import njit, prange"
        + _libraries(kernels),
        "\n".join(f"{d.short} = np.{_numpy_name(d)}" for d in _dtypes(kernels)),
    ]
    used = {name for k in kernels for e in expressions(k.body) for name in _own(e)}
    parts += [f"@njit\n{_OURS[name]}" for name in _OURS if name in used]
    parts += [_definition(*key) for key in sorted({key for k in kernels for e in expressions(k.body) for key in _defined(e)})]
    parts += [kernel(k) for k in kernels]
    parts.append(_Host(program).text())
    return "\n\n\n".join(p for p in parts if p) + "\n"


def _libraries(kernels: list[Kernel]) -> str:
    """What the kernels need from libraries: `library` for LAPACK, and special functions by their names."""
    calls = [e for k in kernels for x in expressions(k.body) for e in expr.walk(x) if isinstance(e, Call)]
    rows = sorted({e.fn: FUNCTIONS[e.fn] for e in calls if FUNCTIONS[e.fn].routine}.values(), key=lambda row: row.name)
    imports = [*(["call as library"] if not all(map(_compiled, kernels)) else []), *(["special"] if rows else [])]
    if not imports:
        return ""
    lines = [f"{row.name} = special({row.routine!r}, {row.arity}, {row.output})" for row in rows]
    return "\n" + "\n".join(["", f"from tapejit.core.libraries import {', '.join(imports)}", *([""] if rows else []), *lines])


def _numpy_name(d: DType) -> str:
    return "bool_" if d.kind == "b" else d.name


def _dtypes(kernels: list[Kernel]) -> list[DType]:
    """The dtypes in which something is computed."""
    values = [e for k in kernels for e in expressions(k.body)]
    values += [x for d in (DEFINITIONS[key] for e in values for key in _defined(e)) for x in (*(let.value for let in d.lets), d.result)]
    found = {p.dtype for k in kernels for p in k.params} | {x.dtype for e in values for x in expr.walk(e)}
    if any(isinstance(x, Call) and FUNCTIONS[x.fn].routine for e in values for x in expr.walk(e)):
        found.add(dtypes.float64)
    found = {dtypes.float32 if d.narrow else d for d in found}
    return [d for d in dtypes.ALL if d in found]


def _own(e: Expr) -> set[str]:
    """Which functions of `_OURS` an expression calls."""
    found = set()
    for x in expr.walk(e):
        if isinstance(x, Call):
            name = f"integer_{x.fn}" if x.fn in ("mod", "rem", "pow") and x.dtype.kind != "f" else x.fn
            if name in _OURS and not _plain(x):
                found.add(name)
    return found


def _defined(e: Expr) -> set[tuple[str, str]]:
    """Which functions an expression calls that neither NumPy nor `math` has: (name, dtype)."""
    calls = [x for x in expr.walk(e) if isinstance(x, Call) and x.fn not in _HANDLED]
    return {(x.fn, _register(x.dtype)) for x in calls if (x.fn, _register(x.dtype)) in DEFINITIONS}


def _definition(fn: str, short: str) -> str:
    """The definition of a function by the math library, as Python."""
    d = DEFINITIONS[fn, short]
    lines = [f"    {let.name} = {expression(let.value)}" for let in d.lets]
    return "\n".join(["@njit", f"def {fn}_{short}({', '.join(p.name for p in d.params)}):", *lines, f"    return {expression(d.result)}"])


def _plain(e: Call) -> bool:
    """Whether Python's own operator says the same: division by a number that is not zero, a shift by less than the width."""
    b = e.args[-1]
    if e.fn in ("floordiv", "mod") and e.dtype.kind != "f":
        return isinstance(b, Const) and b.value > 0
    if e.fn in ("shl", "shr"):
        return isinstance(b, Const) and 0 <= b.value < e.dtype.bits
    return e.fn == "floordiv" and e.dtype.kind == "f"


# ------------------------------------------------------------------------------------------------ expressions
def expression(e: Expr) -> str:
    """An expression as Python that Numba types as we do: every operation has the dtype of its operands."""
    if isinstance(e, Const):
        return _literal(e)
    if isinstance(e, Var):
        return e.name
    if isinstance(e, Load):
        element = f"{e.buffer}[{', '.join(expression(i) for i in e.index) or '()'}]"
        return f"f32({element})" if e.dtype.narrow else element
    if isinstance(e, Reduce):
        raise NotImplementedError("a reduction inside an expression; the schedule lowers it into a loop")
    assert isinstance(e, Call)
    text = _call(e)
    narrow = e.dtype.kind in "iu" and e.dtype is not dtypes.int64 and e.fn not in ("select", "guarded", "cast", "bitcast")
    return f"{e.dtype.short}({text})" if narrow else text


def _literal(e: Const) -> str:
    text = number(e.value, e.dtype)
    if e.dtype.kind == "f":
        text = text.replace("inf", "np.inf").replace("nan", "np.nan")
        return text if e.dtype.bits == 64 and "np" not in text else f"{e.dtype.short if e.dtype.bits > 16 else 'f32'}({text})"
    return text if e.dtype.kind == "b" or e.dtype is dtypes.int64 else f"{e.dtype.short}({text})"


def _inside(e: Expr, text: str) -> str:
    """The text of `e` as an operand, in parentheses where it needs them."""
    whole = isinstance(e, Const | Var | Load) or (text.endswith(")") and text.split("(")[0].isidentifier() and _closed(text))
    return text if whole else f"({text})"


def _closed(text: str) -> bool:
    """Whether the first bracket of the text closes at its end."""
    depth = 0
    for k, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0 and c == ")":
            return k == len(text) - 1
    return False


def _call(e: Call) -> str:
    fn, args = e.fn, e.args
    kind = args[-1].dtype.kind
    each = [expression(a) for a in args]  # each once: trees are deep
    operands = [_inside(a, text) for a, text in zip(args, each)]
    texts = ", ".join(each)
    if fn in _OPERATORS and not (kind == "b" and fn in ("add", "mul")):
        return f"{operands[0]} {_OPERATORS[fn]} {operands[1]}"
    if kind == "b" and fn in ("add", "mul", "min", "max"):
        return f"{operands[0]} {'|' if fn in ('add', 'max') else '&'} {operands[1]}"
    if fn in ("select", "guarded"):
        return f"{operands[1]} if {each[0]} else {operands[2]}"
    if fn == "cast":
        return f"{operands[0]} != 0" if e.dtype.kind == "b" else f"{_register(e.dtype)}({texts})"
    if fn == "bitcast":
        return f"np.{_numpy_name(args[0].dtype)}({each[0]}).view(np.{_numpy_name(e.dtype)})"
    if fn == "neg":
        return f"-{operands[0]}"
    if fn == "not":
        return f"not {operands[0]}" if kind == "b" else f"~{operands[0]}"
    if fn == "div":
        return f"{operands[0]} / {operands[1]}"
    if fn == "floordiv":
        if kind == "f":
            return f"np.floor({operands[0]} / {operands[1]})"
        return f"{operands[0]} // {operands[1]}" if _plain(e) else f"floordiv({texts})"
    if fn in ("mod", "rem", "pow") and kind != "f":
        return f"{operands[0]} % {operands[1]}" if _plain(e) else f"integer_{fn}({texts})"
    if fn in ("shl", "shr"):
        return f"{operands[0]} {'<<' if fn == 'shl' else '>>'} {operands[1]}" if _plain(e) else f"{fn}({texts}, {e.dtype.bits})"
    if fn == "mulhi_u32":
        return f"(np.uint64({each[0]}) * np.uint64({each[1]})) >> np.uint64(32)"
    if fn == "fma":
        return f"{operands[0]} * {operands[1]} + {operands[2]}"
    if fn == "rsqrt":
        return f"{_one(e.dtype)} / np.sqrt({texts})"
    if fn == "sigmoid":
        return f"{_one(e.dtype)} / ({_one(e.dtype)} + np.exp(-{operands[0]}))"
    if fn in _NUMPY:
        return f"np.{_NUMPY[fn]}({texts})"
    if fn in _MATH:
        return f"{_register(e.dtype)}(math.{fn}({texts}))"
    if FUNCTIONS[fn].routine:
        call = f"{fn}({', '.join(f'f64({t})' for t in each)}, 0)"
        return f"f32({call})" if e.dtype.bits < 64 else call
    return f"{fn}({texts})" if fn in _OURS else f"{fn}_{_register(e.dtype)}({texts})"


def _register(d: DType) -> str:
    return "f32" if d.narrow else d.short


def _one(d: DType) -> str:
    return "1.0" if d.bits == 64 else "f32(1.0)"


# ------------------------------------------------------------------------------------------------ kernels
def kernel(k: Kernel) -> str:
    """A kernel as a Python function."""
    names = [p.name for p in k.params] + list(k.sizes)
    if any(isinstance(s, Fail) for s in statements(k.body)):
        names.append("error")
    places = f"  # {', '.join(k.places)}" if k.places else ""
    shapes = [f"    # {p.name}: {p.dtype.name}[{', '.join(map(str, p.shape))}]{'' if p.mode == 'in' else ' ' + p.mode}" for p in k.params]
    lines = ['@njit(error_model="numpy", nogil=True)'] if _compiled(k) else []
    lines += [f"def {k.name}({', '.join(names)}):{places}", *shapes]
    return "\n".join([*lines, *_Kernel(k).body(_apart(k), 1), "    return 0"])


def _compiled(k: Kernel) -> bool:
    """Whether Numba compiles the kernel; one that calls a library runs as Python."""
    return not any(isinstance(s, CallLibrary) for s in statements(k.body))


def _argument(e: Expr) -> str:
    """What a library gets: an array that begins at the element, or a value."""
    if not isinstance(e, Load):
        return expression(e)
    index = list(e.index)
    while index and isinstance(index[-1], Const) and index[-1].value == 0:
        index.pop()
    texts = [expression(i) for i in index]
    return f"{e.buffer}[{', '.join([*texts[:-1], texts[-1] + ':'])}]" if texts else e.buffer


def _apart(k: Kernel) -> tuple[Stmt, ...]:
    """The body with scalars renamed that are called like a buffer or something else in the text: in Python all are names."""
    buffers, inner = {p.name for p in k.params} | RESERVED, locals_of(k.body)
    names: dict[str, str] = {}
    for n in sorted(inner & buffers):
        new = f"{n}_"
        while new in buffers or new in inner or new in names.values():
            new += "_"
        names[n] = new
    return tuple(renamed(s, names) for s in k.body) if names else k.body


class _Kernel:
    def __init__(self, k: Kernel) -> None:
        self.dtypes = {p.name: p.dtype for p in k.params}

    def body(self, body: tuple[Stmt, ...], depth: int) -> list[str]:
        return [line for s in body for line in self.statement(s, depth)] or ["    " * depth + "pass"]

    def statement(self, s: Stmt, depth: int) -> list[str]:
        pad = "    " * depth
        match s:
            case Let(name=name, value=v) | Accumulator(name=name, init=v):
                return [f"{pad}{name} = {expression(v)}"]
            case Update(name=name, combine=combine, value=v):
                return [pad + self._change(name, Var(v.dtype, name), combine, v)]
            case Store(buffer=buffer, index=index, value=v, combine=combine):
                old = Load(self.dtypes[buffer], buffer, index)
                target = f"{buffer}[{', '.join(expression(i) for i in index) or '()'}]"
                return [pad + self._change(target, old, combine, v)]
            case For(index=index, extent=extent, kind=kind, body=body):
                over = "prange" if kind == "parallel" else "range"
                return [f"{pad}for {index} in {over}({extent}):", *self.body(body, depth + 1)]
            case If(condition=c, then=then, otherwise=otherwise):
                lines = [f"{pad}if {expression(c)}:", *self.body(then, depth + 1)]
                return lines + ([f"{pad}else:", *self.body(otherwise, depth + 1)] if otherwise else [])
            case While(condition=c, body=body):
                return [f"{pad}while {expression(c)}:", *self.body(body, depth + 1)]
            case Contract():
                product = expression(Call(s.left.dtype, "mul", (s.left, s.right)))
                return [
                    f"{pad}for {s.row} in range({s.rows}):",
                    f"{pad}    for {s.column} in range({s.columns}):",
                    f"{pad}        {s.accumulator} = {_literal(Const(s.left.dtype, 0))}",
                    f"{pad}        for {s.depth_index} in range({s.depth}):",
                    f"{pad}            {s.accumulator} += {product}",
                    *(self.body(s.epilogue, depth + 2) if s.epilogue else []),
                ]
            case CallLibrary(info=info, symbol=symbol, arguments=arguments):
                texts = [repr(symbol), *(repr(a) if isinstance(a, bytes) else _argument(a) for a in arguments)]
                return [f"{pad}{info + ' = ' if info else ''}library({', '.join(texts)})"]
            case Fail(node=node, operands=operands):
                words = [str(node), str(len(operands)), *(f"f64({expression(o)})" for o in operands[:6])]
                return [*(f"{pad}error[{k}] = {w}" for k, w in enumerate(words)), f"{pad}return {node + 1}"]
        raise NotImplementedError(f"Python text of the statement {type(s).__name__}")

    @staticmethod
    def _change(target: str, old: Expr, combine: str, v: Expr) -> str:
        if combine == "set":
            return f"{target} = {expression(v)}"
        if combine in ("add", "mul") and v.dtype.kind == "f":
            return f"{target} {'+=' if combine == 'add' else '*='} {expression(v)}"
        return f"{target} = {expression(Call(v.dtype, combine, (old, v)))}"


# ------------------------------------------------------------------------------------------------ host
class _Host:
    """The host function. Arguments: the arrays the table would hold, then the named sizes, then `error` and `callback`."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.delivered: list[str] = []

    def text(self) -> str:
        p = self.program
        delivered = tuple(s.slot for s in _all_steps(p.steps) if isinstance(s, Deliver))
        slots = [s for s in p.table if s != "arena" and s.isidentifier() and s not in delivered]
        compiled = not any(isinstance(s, HostCall | Deliver) for s in _all_steps(p.steps)) and all(map(_compiled, p.kernels()))
        lines = ['@njit(error_model="numpy", nogil=True)'] if compiled else []
        lines.append(f"def {p.name}({', '.join(slots)}):")
        for b in p.buffers.values():
            if b.home == "arena":
                lines.append(f"    {b.name} = {self._empty(b.name)}")
        lines += self.steps(p.steps, 1)
        lines.append(f"    return {', '.join(['0', *self.delivered])}")
        return "\n".join(lines)

    def _empty(self, name: str) -> str:
        b = self.program.buffers[name]
        shape = ", ".join(map(str, b.shape)) + ("," if len(b.shape) == 1 else "")
        return f"np.empty(({shape}), {'ml_dtypes.bfloat16' if b.dtype is dtypes.bfloat16 else 'np.' + _numpy_name(b.dtype)})"

    def steps(self, steps: tuple[Step, ...], depth: int) -> list[str]:
        return [line for s in steps for line in self.step(s, depth)] or ["    " * depth + "pass"]

    def _argument(self, name: str, shape: tuple[Dim, ...]) -> str:
        b = self.program.buffers[name]
        if b.shape == shape:
            return name
        return f"{name}.reshape(({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''}))"

    def step(self, s: Step, depth: int) -> list[str]:
        pad = "    " * depth
        match s:
            case Launch(kernel=k, buffers=buffers):
                operands = [self._argument(b, p.shape) for b, p in zip(buffers, k.params)] + list(k.sizes)
                if not any(isinstance(x, Fail) for x in statements(k.body)):
                    return [f"{pad}{k.name}({', '.join(operands)})"]
                call = f"{k.name}({', '.join([*operands, 'error'])})"
                return [f"{pad}status = {call}", f"{pad}if status != 0:", f"{pad}    return status"]
            case Copy(target=target, source=source):
                shape = self.program.buffers[target].shape
                return [f"{pad}{target}[...] = {self._argument(source, shape)}"]
            case BindSize(name=name, source=source):
                return [f"{pad}{name} = {source}[()]"]
            case Allocate(buffer=name):
                return [f"{pad}{name} = {self._empty(name)}"]
            case Free(buffer=name):
                return [f"{pad}# {name} is free from here on"]
            case Deliver(buffer=name):
                self.delivered.append(name)
                return [f"{pad}# {name} goes to the caller"]
            case CheckSize(node=node, a=a, b=b):
                words = [f"{pad}    error[{k}] = {w}" for k, w in enumerate((node, 2, a, b))]
                return [f"{pad}if {a} != {b}:", *words, f"{pad}    return {node + 1}"]
            case Branch(condition=c, then=then, otherwise=otherwise):
                lines = [f"{pad}if {c}[()]:", *self.steps(then, depth + 1)]
                return lines + ([f"{pad}else:", *self.steps(otherwise, depth + 1)] if otherwise else [])
            case Repeat(test=test, condition=c, body=body):
                before = self.steps(test, depth + 1) if test else []
                stop = [f"{pad}    if not {c}[()]:", f"{pad}        break"]
                return [f"{pad}while True:", *before, *stop, *(self.steps(body, depth + 1) if body else [])]
            case HostCall(index=index, node=node, buffers=buffers, sizes=dims):
                call = f"callback({index}, [{', '.join(buffers)}], [{', '.join(map(str, dims))}])"
                return [f"{pad}if {call} != 0:", f"{pad}    return {node + 1}"]
        raise NotImplementedError(f"Python text of the step {type(s).__name__}")


def _all_steps(steps: tuple[Step, ...]) -> list[Step]:
    found: list[Step] = []
    for s in steps:
        found.append(s)
        if isinstance(s, Branch):
            found += _all_steps(s.then) + _all_steps(s.otherwise)
        elif isinstance(s, Repeat):
            found += _all_steps(s.test) + _all_steps(s.body)
    return found

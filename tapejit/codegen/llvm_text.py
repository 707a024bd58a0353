"""The plain text side of LLVM IR: types, literals, fresh names, blocks, and what a module collects besides functions.

Values are computed in *register* types (bool as i1, half precision as float) and kept in memory in *storage* types (bool as i8,
bfloat16 as its 16 bits). Every value has a number of lanes: 1 is a scalar, more is a vector.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from typing import Any

from tapejit.core import dtypes
from tapejit.core.dtypes import DType


@dataclass(frozen=True)
class Value:
    """An operand: `text` as LLVM writes it without its type; `known` is its Python value where it is a literal."""

    text: str
    dtype: DType
    lanes: int = 1
    known: Any = None

    @property
    def type(self) -> str:
        return register_type(self.dtype, self.lanes)

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


@dataclass(frozen=True)
class Slot:
    """A local scalar (or vector of lanes) in memory, which LLVM turns into registers."""

    pointer: str
    dtype: DType
    lanes: int = 1


def _check(dtype: DType) -> None:
    if dtype.kind == "c":
        raise NotImplementedError(f"native code for {dtype.name}; compute with its real and imaginary parts")


def register_type(dtype: DType, lanes: int = 1) -> str:
    """The type in which a value is computed."""
    _check(dtype)
    if dtype.kind == "f":
        scalar = "double" if dtype.bits == 64 else "float"
    else:
        scalar = "i1" if dtype.kind == "b" else f"i{dtype.bits}"
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def storage_type(dtype: DType, lanes: int = 1) -> str:
    """The type in which an element lies in memory."""
    _check(dtype)
    if dtype is dtypes.bool_:
        scalar = "i8"
    elif dtype is dtypes.float16:
        scalar = "half"
    elif dtype is dtypes.bfloat16:
        scalar = "i16"
    else:
        scalar = register_type(dtype)
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def suffix(dtype: DType, lanes: int = 1) -> str:
    """How an overloaded intrinsic names the register type: f32, v16f32, i64."""
    scalar = register_type(dtype)
    name = {"float": "f32", "double": "f64"}.get(scalar, scalar)
    return name if lanes == 1 else f"v{lanes}{name}"


def literal(value: Any, dtype: DType, lanes: int = 1) -> Value:
    """A constant. Floats are written as the bits of the nearest value of the register type."""
    if dtype.kind == "b":
        text = "true" if value else "false"
    elif dtype.kind == "f":
        text = _float(float(value), dtype)
    else:
        bits = dtype.bits
        n = int(value) & ((1 << bits) - 1)
        text = str(n - (1 << bits) if n >> (bits - 1) else n)
    if lanes > 1:
        text = f"splat ({register_type(dtype)} {text})"
    return Value(text, dtype, lanes, value)


def _float(value: float, dtype: DType) -> str:
    if dtype.bits < 64 and not math.isnan(value):
        try:
            value = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            value = math.copysign(math.inf, value)
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def symbol(name: str) -> str:
    """`name` with what LLVM does not allow unquoted replaced."""
    return re.sub(r"[^A-Za-z0-9_.$-]", "_", name)


@dataclass
class Module:
    """Everything at the top level: functions, declarations, metadata, and the C symbols that are called."""

    functions: dict[str, str] = field(default_factory=dict)
    declarations: dict[str, str] = field(default_factory=dict)
    metadata: list[str] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    constants: dict[bytes, str] = field(default_factory=dict)

    def declare(self, name: str, result: str, arguments: list[str], attributes: str = "") -> str:
        """Declare an intrinsic or C function once; returns its name with "@"."""
        sigil = f"@{name}" if symbol(name) == name else f'@"{name}"'
        self.declarations.setdefault(name, f"declare {result} {sigil}({', '.join(arguments)}){' ' + attributes if attributes else ''}")
        return sigil

    def constant(self, data: bytes) -> str:
        """The name of constant bytes in memory."""
        return self.constants.setdefault(data, f"@bytes.{len(self.constants)}")

    def external(self, name: str, result: str, arguments: list[str], attributes: str = "nounwind") -> str:
        """Declare a C function that the linker must find."""
        if name not in self.symbols:
            self.symbols.append(name)
        return self.declare(name, result, arguments, attributes)

    def node(self, text: str) -> str:
        """Add a metadata node; returns its number with "!". In `text`, `!self` stands for the number."""
        name = f"!{len(self.metadata)}"
        self.metadata.append(f"{name} = {text.replace('!self', name)}")
        return name

    def text(self, comment: str, attributes: str) -> str:
        """The whole module."""
        data = []
        for content, name in self.constants.items():
            numbers = ", ".join(f"i8 {x}" for x in content)
            data.append(f"{name} = private constant [{len(content)} x i8] [{numbers}]")
        late = [f"ptr @{name}" for name, text in self.functions.items() if '"inline-late"' in text]
        if late:  # nothing calls them yet, if they are for vectors
            data.append(f'@llvm.compiler.used = appending global [{len(late)} x ptr] [{", ".join(late)}], section "llvm.metadata"')
        parts = [
            comment,
            "\n".join(data),
            *self.functions.values(),
            "\n".join(self.declarations.values()),
            attributes,
            "\n".join(self.metadata),
        ]
        return "\n\n".join(p for p in parts if p) + "\n"


class Function:
    """The text of one function while it is written: an entry block for local memory, then blocks of instructions."""

    def __init__(self, module: Module, header: str) -> None:
        self.module, self.header = module, header
        self.locals: list[str] = []
        self.lines: list[str] = []
        self.block = "start"
        self.counters: dict[str, int] = {}

    def fresh(self, hint: str) -> str:
        """A name that is not used yet in the function, without sigil."""
        hint = symbol(hint)
        n = self.counters[hint] = self.counters.get(hint, 0) + 1
        return f"{hint}.{n}"

    def do(self, instruction: str) -> None:
        """An instruction without a result."""
        self.lines.append("  " + instruction)

    def let(self, instruction: str, hint: str = "v") -> str:
        """An instruction with a result; returns its name."""
        name = "%" + self.fresh(hint)
        self.lines.append(f"  {name} = {instruction}")
        return name

    def local(self, type_: str, hint: str, count: int = 1, align: int | None = None) -> str:
        """Memory of the function's own, reserved once at entry."""
        name = "%" + self.fresh(hint)
        many = f", i64 {count}" if count != 1 else ""
        self.locals.append(f"  {name} = alloca {type_}{many}" + (f", align {align}" if align else ""))
        return name

    def label(self, name: str) -> None:
        """Begin a block."""
        self.lines.append(f"{name}:")
        self.block = name

    def jump(self, label: str, metadata: str = "") -> None:
        self.do(f"br label %{label}{metadata}")

    def branch(self, condition: str, yes: str, no: str) -> None:
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")

    def phi(self, type_: str, incoming: list[tuple[str, str]], hint: str) -> str:
        return self.let(f"phi {type_} " + ", ".join(f"[ {v}, %{b} ]" for v, b in incoming), hint)

    def mark(self) -> tuple[Any, ...]:
        """The present state, to return to with `reset`."""
        return len(self.locals), len(self.lines), self.block

    def reset(self, mark: tuple[Any, ...]) -> None:
        """Forget what was written since `mark`."""
        del self.locals[mark[0] :]
        del self.lines[mark[1] :]
        self.block = mark[2]

    def text(self) -> str:
        """The finished function."""
        return "\n".join([self.header + " {", "entry:", *self.locals, "  br label %start", "start:", *self.lines, "}"])

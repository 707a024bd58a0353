"""Scalar functions as LLVM instructions, for one lane or many.

In: `Value` operands; out: the `Value` of the function, its instructions appended to the `Function` being written. Elementary
functions come from `scalar_math.DEFINITIONS`, printed once each as an internal function that is always inlined, so that loops
around them vectorise; what has no definition there calls the C library lane by lane.
"""

from __future__ import annotations

from tapejit.codegen.llvm_text import Function, Module, Value, literal, register_type, suffix
from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.loops.expr import Call, Const, Expr, Var
from tapejit.loops.scalar import FUNCTIONS
from tapejit.loops.scalar_math import DEFINITIONS, REACH

CONTRACT = "contract "
REASSOCIATE = "reassoc contract "

_COMPARE = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_INTRINSIC = {
    "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "rint": "rint", "trunc": "trunc", "fma": "fma", "copysign": "copysign",
}  # fmt: skip
_LIBM = {
    **{name: name for name in (
        "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh",
        "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "pow",
    )},
}  # fmt: skip


class Scalars:
    """Writes scalar functions into `out`. `flags` are the fast-math flags of plain arithmetic."""

    def __init__(self, module: Module, out: Function, flags: str = CONTRACT) -> None:
        self.module, self.out, self.flags = module, out, flags

    # -------------------------------------------------------------------------------------------- lanes
    def broadcast(self, v: Value, lanes: int) -> Value:
        """`v` in every one of `lanes` lanes."""
        if v.lanes == lanes:
            return v
        if not v.text.startswith("%"):
            return literal(v.known, v.dtype, lanes)
        vector = register_type(v.dtype, lanes)
        one = self.out.let(f"insertelement {vector} poison, {v}, i64 0", "b")
        return Value(self.out.let(f"shufflevector {vector} {one}, {vector} poison, <{lanes} x i32> zeroinitializer", "b"), v.dtype, lanes)

    def matched(self, values: list[Value]) -> tuple[list[Value], int]:
        """All values with the lanes of the widest."""
        lanes = max(v.lanes for v in values)
        return [self.broadcast(v, lanes) for v in values], lanes

    def _op(self, instruction: str, a: Value, b: Value, dtype: DType | None = None) -> Value:
        return Value(self.out.let(f"{instruction} {a}, {b.text}"), dtype or a.dtype, a.lanes)

    def _intrinsic(self, name: str, args: list[Value], flags: str = "", extra: str = "", dtype: DType | None = None) -> Value:
        first = args[0]
        result = dtype or first.dtype
        declared = [a.type for a in args] + (["i1"] if extra else [])
        fn = self.module.declare(f"llvm.{name}.{suffix(first.dtype, first.lanes)}", register_type(result, first.lanes), declared)
        operands = ", ".join(map(str, args)) + extra
        return Value(self.out.let(f"call {flags}{register_type(result, first.lanes)} {fn}({operands})"), result, first.lanes)

    def const(self, value: object, like: Value) -> Value:
        """A literal of the dtype and lanes of `like`."""
        return literal(value, like.dtype, like.lanes)

    # -------------------------------------------------------------------------------------------- functions
    def call(self, fn: str, values: list[Value], dtype: DType) -> Value:
        """`fn(*values)`; NotImplementedError where there is neither an instruction, a definition nor a C function."""
        if fn == "cast":
            return self.cast(values[0], dtype)
        if fn == "bitcast":
            v = values[0]
            return Value(self.out.let(f"bitcast {v} to {register_type(dtype, v.lanes)}"), dtype, v.lanes)
        args, lanes = self.matched(values)
        if fn in ("select", "guarded"):
            c, a, b = args
            return Value(self.out.let(f"select {c}, {a}, {b}"), a.dtype, lanes)
        a = args[0]
        if a.dtype.kind == "f":
            return self._float(fn, args)
        return self._bool(fn, args) if a.dtype.kind == "b" else self._integer(fn, args)

    def combine(self, fn: str, a: Value, b: Value) -> Value:
        """`a` combined with `b` in a reduction, where the order of additions and products is free."""
        flags, self.flags = self.flags, REASSOCIATE
        try:
            return self.call(fn, [a, b], a.dtype) if fn != "set" else b
        finally:
            self.flags = flags

    def _float(self, fn: str, args: list[Value]) -> Value:
        a = args[0]
        match fn:
            case "add" | "sub" | "mul":
                return self._op(f"f{fn} {self.flags}".rstrip(), args[0], args[1])
            case "div":
                return self._op("fdiv", args[0], args[1])
            case "neg":
                return Value(self.out.let(f"fneg {a}"), a.dtype, a.lanes)
            case "abs":
                return self._intrinsic("fabs", args)
            case "min" | "max":
                return self._intrinsic("minimum" if fn == "min" else "maximum", args, "nsz ")
            case "floordiv":
                return self._intrinsic("floor", [self._op("fdiv", args[0], args[1])])
            case "rem":
                return self._op("frem", args[0], args[1])
            case "mod":
                return self._float_mod(*args)
            case "rsqrt":
                return self._op("fdiv", self.const(1.0, a), self._intrinsic("sqrt", [a]))
            case "sigmoid" if (fn, _wide(a.dtype).short) not in DEFINITIONS:
                one = self.const(1.0, a)
                return self._op("fdiv", one, self._op("fadd", one, self._float("exp", [self._float("neg", args)])))
            case "isnan":
                return self._op("fcmp uno", a, a, dtypes.bool_)
            case "isinf":
                return self._op("fcmp oeq", self._intrinsic("fabs", [a]), self.const(float("inf"), a), dtypes.bool_)
            case "isfinite":
                return self._op("fcmp one", self._intrinsic("fabs", [a]), self.const(float("inf"), a), dtypes.bool_)
        if fn in _COMPARE:
            return self._op(f"fcmp {_COMPARE[fn]}", args[0], args[1], dtypes.bool_)
        if fn in _INTRINSIC:
            return self._intrinsic(_INTRINSIC[fn], args)
        wide = _wide(a.dtype)
        if (fn, wide.short) in DEFINITIONS:
            return self._defined(fn, args, wide)
        if FUNCTIONS[fn].routine:
            return self._library(fn, args)
        if fn in _LIBM:
            return self._libm(_LIBM[fn], args)
        raise NotImplementedError(f"native code for {fn} of {a.dtype.name}")

    def _float_mod(self, a: Value, b: Value) -> Value:
        zero = self.const(0.0, a)
        rest = self._op("frem", a, b)
        nonzero = self._op("fcmp one", rest, zero, dtypes.bool_)
        apart = self._op("xor", self._op("fcmp olt", rest, zero, dtypes.bool_), self._op("fcmp olt", b, zero, dtypes.bool_))
        moved = self._op("fadd", rest, b)
        return self.call("select", [self._op("and", nonzero, apart), moved, rest], a.dtype)

    def _bool(self, fn: str, args: list[Value]) -> Value:
        a = args[0]
        if fn == "not":
            return self._op("xor", a, self.const(True, a))
        instruction = {"and": "and", "mul": "and", "min": "and", "or": "or", "add": "or", "max": "or", "xor": "xor", "ne": "xor"}.get(fn)
        if instruction:
            return self._op(instruction, args[0], args[1])
        b = args[1]
        match fn:
            case "eq":
                return self._op("icmp eq", a, b)
            case "lt" | "le" | "gt" | "ge":  # false < true
                return self._op(f"icmp u{fn}", a, b)
        raise NotImplementedError(f"native code for {fn} of bool")

    def _integer(self, fn: str, args: list[Value]) -> Value:
        a = args[0]
        sign = "s" if a.dtype.kind == "i" else "u"
        match fn:
            case "add" | "sub" | "mul" | "and" | "or" | "xor":
                return self._op(fn, args[0], args[1])
            case "neg":
                return self._op("sub", self.const(0, a), a)
            case "not":
                return self._op("xor", a, self.const(-1, a))
            case "abs":
                return self._intrinsic("abs", [a], extra=", i1 false") if sign == "s" else a
            case "min" | "max":
                return self._intrinsic(f"{sign}{fn}", args)
            case "eq" | "ne":
                return self._op(f"icmp {fn}", args[0], args[1], dtype=dtypes.bool_)
            case "lt" | "le" | "gt" | "ge":
                return self._op(f"icmp {sign}{fn}", args[0], args[1], dtype=dtypes.bool_)
            case "truncdiv" | "rem" | "floordiv" | "mod":
                return self._divide(fn, *args)
            case "shl" | "shr":
                return self._shift(fn, *args)
            case "popcount":
                return self._intrinsic("ctpop", [a])
            case "mulhi_u32":
                wide = [Value(self.out.let(f"zext {v} to {register_type(dtypes.uint64, v.lanes)}"), dtypes.uint64, v.lanes) for v in args]
                high = self._op("lshr", self._op("mul", wide[0], wide[1]), self.const(32, wide[0]))
                return Value(self.out.let(f"trunc {high} to {a.type}"), a.dtype, a.lanes)
            case "pow":
                return self._each("integer_power", args, self._integer_power(a.dtype))
        raise NotImplementedError(f"native code for {fn} of {a.dtype.name}")

    def _divide(self, fn: str, a: Value, b: Value) -> Value:
        """Division without a trap: by zero it gives 0, and the smallest integer by -1 itself."""
        sign = "s" if a.dtype.kind == "i" else "u"
        zero, safe, by_zero = self.const(0, a), b, None
        if b.known is None or b.known in (0, -1):
            by_zero = self._op("icmp eq", b, zero, dtypes.bool_)
            unsafe = by_zero
            if sign == "s":
                least = self._op("icmp eq", a, self.const(int(a.dtype.min), a), dtypes.bool_)
                minus = self._op("icmp eq", b, self.const(-1, b), dtypes.bool_)
                unsafe = self._op("or", by_zero, self._op("and", least, minus))
            safe = self.call("select", [unsafe, self.const(1, b), b], b.dtype)
        wants_quotient = fn in ("truncdiv", "floordiv")
        result = self._op(f"{sign}div" if wants_quotient else f"{sign}rem", a, safe)
        if sign == "s" and fn in ("floordiv", "mod"):
            rest = self._op("srem", a, safe) if wants_quotient else result
            if b.known is not None and b.known > 0:
                off = self._op("icmp slt", rest, zero, dtypes.bool_)
            else:
                apart = self._op("icmp slt", self._op("xor", rest, safe), zero, dtypes.bool_)
                off = self._op("and", self._op("icmp ne", rest, zero, dtypes.bool_), apart)
            moved = self._op("sub", result, self.const(1, a)) if wants_quotient else self._op("add", result, safe)
            result = self.call("select", [off, moved, result], a.dtype)
        return result if by_zero is None else self.call("select", [by_zero, zero, result], a.dtype)

    def _shift(self, fn: str, a: Value, b: Value) -> Value:
        bits = a.dtype.bits
        instruction = "shl" if fn == "shl" else "ashr" if a.dtype.kind == "i" else "lshr"
        if b.known is not None and 0 <= b.known < bits:
            return self._op(instruction, a, b)
        if instruction == "ashr":
            return self._op("ashr", a, self._intrinsic("umin", [b, self.const(bits - 1, b)]))
        fits = self._op("icmp ult", b, self.const(bits, b), dtypes.bool_)
        shifted = self._op(instruction, a, self._op("and", b, self.const(bits - 1, b)))
        return self.call("select", [fits, shifted, self.const(0, a)], a.dtype)

    # -------------------------------------------------------------------------------------------- casts
    def cast(self, v: Value, to: DType) -> Value:
        """`v` as `to`. Narrow unsigned targets go through a wider signed one, as the C compilers NumPy is built with do."""
        source = v.dtype
        if source is to:
            return v
        if to.kind == "b":
            test = "fcmp une" if source.kind == "f" else "icmp ne"
            return self._op(test, v, self.const(0, v), dtypes.bool_)
        target = register_type(to, v.lanes)

        def by(instruction: str, of: Value = v, into: DType = to) -> Value:
            return Value(self.out.let(f"{instruction} {of} to {register_type(into, v.lanes)}"), into, v.lanes)

        if source.kind == "f" and to.kind == "f":
            if to.bits == 16:
                single = by("fptrunc", v, dtypes.float32) if source.bits == 64 else v
                return self.rounded(Value(single.text, to, v.lanes))
            if register_type(source) == register_type(to):
                return Value(v.text, to, v.lanes, v.known)
            return by("fptrunc" if to.bits < source.bits else "fpext")
        if source.kind == "f":
            if to.bits == 64:
                number = by("fptosi" if to.kind == "i" else "fptoui")
            else:
                step = dtypes.int64 if to is dtypes.uint32 else dtypes.int32
                number = by("fptosi", v, step)
                number = Value(number.text, to, v.lanes) if to.bits == step.bits else by("trunc", number)
            return Value(self.out.let(f"freeze {number}"), to, v.lanes)
        if to.kind == "f":
            number = by("sitofp" if source.kind == "i" else "uitofp")
            return self.rounded(number) if to.bits == 16 else number
        source_bits = 1 if source.kind == "b" else source.bits
        if source_bits == to.bits:
            return Value(v.text, to, v.lanes, v.known)
        if source_bits > to.bits:
            return Value(self.out.let(f"trunc {v} to {target}"), to, v.lanes)
        return by("sext" if source.kind == "i" else "zext")

    def rounded(self, v: Value) -> Value:
        """A half-precision value (held as float) rounded to what its storage can hold."""
        return self.from_storage(self.to_storage(v), v.dtype, v.lanes)

    def to_storage(self, v: Value) -> str:
        """The text of `v` in the type it has in memory."""
        lanes = v.lanes
        if v.dtype is dtypes.bool_:
            return self.out.let(f"zext {v} to {_vector('i8', lanes)}", "byte")
        if v.dtype is dtypes.float16:
            return self.out.let(f"fptrunc {v} to {_vector('half', lanes)}", "half")
        if v.dtype is not dtypes.bfloat16:
            return v.text
        # Round to nearest even on the bits; a NaN keeps its upper half, made quiet.
        bits = Value(self.out.let(f"bitcast {v} to {register_type(dtypes.uint32, lanes)}"), dtypes.uint32, lanes)
        high = self._op("lshr", bits, self.const(16, bits))
        odd = self._op("and", high, self.const(1, bits))
        near = self._op("lshr", self._op("add", bits, self._op("add", odd, self.const(0x7FFF, bits))), self.const(16, bits))
        quiet = self._op("or", high, self.const(0x40, bits))
        kept = self.call("select", [self.call("isnan", [v], dtypes.bool_), quiet, near], dtypes.uint32)
        return self.out.let(f"trunc {kept} to {_vector('i16', lanes)}", "half")

    def from_storage(self, text: str, dtype: DType, lanes: int) -> Value:
        """The register value of an element read from memory."""
        if dtype is dtypes.bool_:
            zero = "0" if lanes == 1 else "zeroinitializer"
            return Value(self.out.let(f"icmp ne {_vector('i8', lanes)} {text}, {zero}"), dtype, lanes)
        if dtype is dtypes.float16:
            return Value(self.out.let(f"fpext {_vector('half', lanes)} {text} to {_vector('float', lanes)}"), dtype, lanes)
        if dtype is dtypes.bfloat16:
            bits = Value(self.out.let(f"zext {_vector('i16', lanes)} {text} to {_vector('i32', lanes)}"), dtypes.uint32, lanes)
            high = self._op("shl", bits, self.const(16, bits))
            return Value(self.out.let(f"bitcast {high} to {_vector('float', lanes)}"), dtype, lanes)
        return Value(text, dtype, lanes)

    # -------------------------------------------------------------------------------------------- functions of functions
    def _defined(self, fn: str, args: list[Value], wide: DType) -> Value:
        a = args[0]
        name = f"{fn}.{suffix(wide, a.lanes)}"
        if name not in self.module.functions:
            self.module.functions[name] = ""  # holds the place: definitions may use one another
            self.module.functions[name] = print_definition(self.module, fn, wide, a.lanes, name)
        result = register_type(wide, a.lanes)
        return Value(self.out.let(f"call {result} @{name}({', '.join(map(str, args))})", fn), a.dtype, a.lanes)

    def _library(self, fn: str, args: list[Value]) -> Value:
        """By a function of a library: of float64, with an integer more that is of no use to it, or with pointers for several results."""
        row, name = FUNCTIONS[fn], f"{fn}.f64"
        if name not in self.module.functions:
            numbers = ["double"] * row.arity
            named = ", ".join(f"double %x{k}" for k in range(row.arity))
            if row.output is None:
                routine = self.module.external(row.routine, "double", [*numbers, "i32"], "nounwind willreturn memory(none)")
                lines = [f"  %y = call double {routine}({named}, i32 0)"]
            else:
                routine = self.module.external(row.routine, "void", [*numbers, "ptr", "ptr"], "nounwind willreturn memory(argmem: write)")
                lines = [f"  %y{k} = alloca double" for k in range(2)]
                lines += [f"  call void {routine}({named}, ptr %y0, ptr %y1)", f"  %y = load double, ptr %y{row.output}"]
            text = [f"define internal double @{name}({named}) #0 {{", *lines, "  ret double %y", "}"]
            self.module.functions[name] = "\n".join(text)
        return self.cast(self._each(fn, [self.cast(a, dtypes.float64) for a in args], f"@{name}"), args[0].dtype)

    def _libm(self, name: str, args: list[Value]) -> Value:
        a = args[0]
        scalar = register_type(a.dtype)
        symbol = name if scalar == "double" else name + "f"
        fn = self.module.external(symbol, scalar, [scalar] * len(args), "nounwind willreturn memory(none)")
        return self._each(name, args, fn)

    def _each(self, hint: str, args: list[Value], fn: str) -> Value:
        a = args[0]
        scalar = register_type(a.dtype)
        if a.lanes == 1:
            return Value(self.out.let(f"call {scalar} {fn}({', '.join(map(str, args))})", hint), a.dtype)
        result = "poison"
        for lane in range(a.lanes):
            each = [f"{scalar} " + self.out.let(f"extractelement {v}, i64 {lane}") for v in args]
            one = self.out.let(f"call {scalar} {fn}({', '.join(each)})", hint)
            result = self.out.let(f"insertelement {a.type} {result}, {scalar} {one}, i64 {lane}")
        return Value(result, a.dtype, a.lanes)

    def _integer_power(self, dtype: DType) -> str:
        """The name of the function that raises integers to integer powers by repeated squaring."""
        name, t = f"power.{dtype.short}", register_type(dtype)
        shift = "ashr" if dtype.kind == "i" else "lshr"
        negative = f"icmp slt {t} %n, 0" if dtype.kind == "i" else f"icmp ult {t} %n, 0"
        self.module.functions.setdefault(name, f"""\
define internal {t} @{name}({t} %x, {t} %n) #0 {{
entry:
  %negative = {negative}
  %one = icmp eq {t} %x, 1
  %minus = icmp eq {t} %x, -1
  %unit = or i1 %one, %minus
  %bit0 = and {t} %n, 1
  %parity = icmp ne {t} %bit0, 0
  %odd = select i1 %parity, {t} %x, {t} 1
  %kept = select i1 %unit, {t} %odd, {t} 0
  br i1 %negative, label %end, label %loop
loop:
  %power = phi {t} [ 1, %entry ], [ %power1, %loop ]
  %base = phi {t} [ %x, %entry ], [ %base1, %loop ]
  %left = phi {t} [ %n, %entry ], [ %left1, %loop ]
  %bit = and {t} %left, 1
  %set = icmp ne {t} %bit, 0
  %times = mul {t} %power, %base
  %power1 = select i1 %set, {t} %times, {t} %power
  %base1 = mul {t} %base, %base
  %left1 = {shift} {t} %left, 1
  %more = icmp ne {t} %left1, 0
  br i1 %more, label %loop, label %end
end:
  %result = phi {t} [ %kept, %entry ], [ %power1, %loop ]
  ret {t} %result
}}""")  # fmt: skip
        return "@" + name


def _wide(d: DType) -> DType:
    """The dtype in which a float is computed."""
    return dtypes.float64 if d.bits == 64 else dtypes.float32


def _vector(scalar: str, lanes: int) -> str:
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


class Tree:
    """Writes expression trees without buffer access: variables come from `names`."""

    def __init__(self, scalars: Scalars, names: dict[str, Value]) -> None:
        self.scalars, self.names = scalars, names

    def value(self, e: Expr, lanes: int = 1) -> Value:
        if isinstance(e, Const):
            return literal(e.value, e.dtype, lanes)
        if isinstance(e, Var):
            return self.names[e.name]
        if isinstance(e, Call):
            return self.scalars.call(e.fn, [self.value(a, lanes) for a in e.args], e.dtype)
        raise NotImplementedError(f"{type(e).__name__} in a scalar definition")


def print_definition(module: Module, fn: str, dtype: DType, lanes: int, name: str) -> str:
    """The LLVM function of a definition of `scalar_math`. No fast-math flags: definitions say `fma` where they mean it."""
    definition = DEFINITIONS[fn, dtype.short]
    names = {p.name: Value(f"%{p.name}", p.dtype, lanes) for p in definition.params}
    result = register_type(dtype, lanes)
    parameters = ", ".join(str(v) for v in names.values())
    out = Function(module, f"define internal {result} @{name}({parameters}) alwaysinline #0")
    tree = Tree(Scalars(module, out, flags=""), names)
    for let in definition.lets:
        names[let.name] = tree.value(let.value, lanes)
    value = tree.value(definition.result, lanes)
    if (fn, dtype.short) in REACH:
        x = names[definition.params[0].name]
        call = f"call {result} @{_beyond(module, fn, dtype, lanes)}({x}, {value})"
        if lanes == 1:  # a loop that LLVM turns into one on vectors calls these
            found = (f"_ZGV_LLVM_N{n}vv_{_beyond(module, fn, dtype, 1)}({_beyond(module, fn, dtype, n)})" for n in _VECTORS)
            call += f' "vector-function-abi-variant"="{",".join(found)}"'
        value = Value(out.let(call, fn), dtype, lanes)
    out.do(f"ret {value}")
    return out.text()


_VECTORS = (2, 4, 8)


def _beyond(module: Module, fn: str, dtype: DType, lanes: int) -> str:
    """The name of the function (x, y) that gives y, but the C library's `fn` of x where that is beyond the definition's reach.

    It is called without a branch, so that loops become loops on vectors, and has one, taken if x is beyond in any lane. "inline-late" asks
    to inline it when that has been done.
    """
    name = f"{fn}.beyond.{suffix(dtype, lanes)}"
    if name in module.functions:
        return name
    module.functions[name] = ""
    result = register_type(dtype, lanes)
    pure = "nounwind willreturn memory(none)"
    x, y = Value("%x", dtype, lanes), Value("%y", dtype, lanes)
    out = Function(module, f'define internal {result} @{name}({x}, {y}) noinline {pure} "inline-late" #0')
    if lanes == 1:
        out.do("; on vectors: " + ", ".join(f"@{_beyond(module, fn, dtype, n)}" for n in _VECTORS))
    scalars = Scalars(module, out)
    far = scalars.call("gt", [scalars.call("abs", [x], dtype), scalars.const(REACH[fn, dtype.short], x)], dtypes.bool_)
    some = far.text
    if lanes > 1:
        some = out.let(f"call i1 {module.declare(f'llvm.vector.reduce.or.v{lanes}i1', 'i1', [far.type])}({far})", "some")
    out.branch(some, "beyond", "within")
    out.label("beyond")
    library = f"{fn}.library.{suffix(dtype, lanes)}"
    there = Value(out.let(f"call {result} @{library}({x})"), dtype, lanes)
    out.do(f"ret {scalars.call('select', [far, there, y], dtype)}")
    out.label("within")
    out.do(f"ret {y}")
    module.functions[name] = out.text()
    slow = Function(module, f"define internal {result} @{library}({x}) noinline cold {pure} #0")
    slow.do(f"ret {Scalars(module, slow)._libm(_LIBM[fn], [x])}")
    module.functions[library] = slow.text()
    return name

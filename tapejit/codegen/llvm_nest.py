"""Statements, loops and buffer access as LLVM instructions.

In: statements of a kernel; out: their instructions, appended to its function. Loops are scalar; LLVM vectorises them. Inside a
tile of a `Contract` the same printer works on vectors: `column` is then the variable that counts lanes, and accesses become
contiguous, uniform or gathering ones by how they depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tapejit.codegen.llvm_scalar import Scalars
from tapejit.codegen.llvm_text import Function, Module, Slot, Value, literal, register_type, storage_type, suffix
from tapejit.core import dtypes
from tapejit.core.sizes import Dim
from tapejit.core.target import Target
from tapejit.loops import expr, scalar
from tapejit.loops.expr import Call, Const, Expr, Load, Var
from tapejit.loops.nest import Accumulator, CallLibrary, Contract, Fail, For, If, Kernel, Let, Param, Stmt, Store, Update, While
from tapejit.loops.scalar_math import DEFINITIONS
from tapejit.loops.walk import expressions, linear, nonnegative

INDEX = dtypes.int64
SHORTEST_VECTOR = 8  # passes of a loop that is meant to become vectors
LONG_CHAIN = 20  # instructions of a pass from which several are to be under way at once
ERROR_OPERANDS = 6  # how many operand values an error record holds: it is (node, count, operands...) in 8-byte words


class Unvectorisable(Exception):
    """A statement that cannot be carried out on lanes; the caller prints the scalar loop instead."""


class NestPrinter(Scalars):
    """Writes the statements of one kernel."""

    def __init__(self, module: Module, out: Function, kernel: Kernel, target: Target) -> None:
        super().__init__(module, out)
        self.kernel, self.target = kernel, target
        self.params: dict[str, Param] = {p.name: p for p in kernel.params}
        self.pointers: dict[str, str] = {p.name: f"%p{i}" for i, p in enumerate(kernel.params)}
        self.env: dict[str, Value | Slot] = {s: Value(f"%s{i}", INDEX) for i, s in enumerate(kernel.sizes)}
        self.counting: set[str] = set(kernel.sizes)  # variables that are never negative
        self.memo: dict[int, tuple[Expr, Value]] = {}
        # While on vectors: the variable that counts lanes, its value in lane 0, how many, which of them are real.
        self.column: str | None = None
        self.base = Value("0", INDEX)
        self.lanes = 1
        self.mask: Value | None = None
        self.edge: Value | None = None  # the part of the mask that a tile at the edge of its matrix brings

    # -------------------------------------------------------------------------------------------- expressions
    def value(self, e: Expr) -> Value:
        """The value of an expression here; repeated subtrees (the same object) are computed once."""
        outer, self.memo = self.memo, {}
        try:
            return self._value(e)
        finally:
            self.memo = outer

    def _value(self, e: Expr) -> Value:
        if isinstance(e, Const):
            return literal(e.value, e.dtype)
        if isinstance(e, Var):
            return self._variable(e)
        found = self.memo.get(id(e))
        if found is not None:
            return found[1]
        if isinstance(e, Load):
            v = self._load(e)
        elif isinstance(e, Call) and e.fn == "guarded" and any(isinstance(x, Load) for x in expr.walk(e.args[1])):
            v = self._guarded(e)
        elif isinstance(e, Call):
            v = self.call(e.fn, [self._value(a) for a in e.args], e.dtype)
        else:
            raise NotImplementedError(f"native code for {type(e).__name__}; the schedule lowers it into a loop")
        self.memo[id(e)] = e, v
        return v

    def _variable(self, e: Var) -> Value:
        held = self.env.get(e.name)
        if held is None:
            raise NameError(f"kernel {self.kernel.name} speaks of {e.name!r}, which is not defined there; known are {', '.join(self.env)}")
        if isinstance(held, Slot):
            type_ = register_type(held.dtype, held.lanes)
            return Value(self.out.let(f"load {type_}, ptr {held.pointer}", e.name), held.dtype, held.lanes)
        return held

    def _guarded(self, e: Call) -> Value:
        condition, inside, otherwise = e.args
        c = self._value(condition)
        if c.lanes > 1:
            before, self.mask = self.mask, c if self.mask is None else self._op("and", self.mask, c)
            memo, self.memo = self.memo, dict(self.memo)
            try:
                a = self._value(inside)
            finally:
                self.mask, self.memo = before, memo
            return self.call("select", [c, a, self._value(otherwise)], e.dtype)
        b = self._value(otherwise)
        start, yes, end = self.out.block, self.out.fresh("inside"), self.out.fresh("joined")
        self.out.branch(c.text, yes, end)
        self.out.label(yes)
        memo, self.memo = self.memo, dict(self.memo)
        a = self._value(inside)
        self.memo = memo
        if a.lanes != b.lanes:
            raise Unvectorisable("arms of a guard with different lanes")
        last = self.out.block
        self.out.jump(end)
        self.out.label(end)
        return Value(self.out.phi(a.type, [(a.text, last), (b.text, start)], "guarded"), e.dtype, a.lanes)

    def index(self, e: Expr) -> Value:
        """An index: integer arithmetic that does not overflow, so that LLVM may reason about it."""
        if isinstance(e, Const):
            return literal(e.value, INDEX)
        if isinstance(e, Call) and e.dtype is INDEX:
            if e.fn in ("add", "sub", "mul"):
                a, b = self.matched([self.index(x) for x in e.args])[0]
                return self._op(f"{e.fn} nsw", a, b)
            top, bottom = (e.args + e.args)[:2]
            if e.fn in ("floordiv", "mod") and isinstance(bottom, Const) and bottom.value > 0 and nonnegative(top, self.counting):
                a, b = self.matched([self.index(top), self.index(bottom)])[0]
                return self._op("udiv" if e.fn == "floordiv" else "urem", a, b)
        return self.value(e)

    def dim(self, d: Dim) -> Value:
        """The value of a dim."""
        return self.index(expr.of_dim(d))

    # -------------------------------------------------------------------------------------------- access
    def varies(self, e: Expr) -> bool:
        """Whether `e` differs between lanes."""
        if self.lanes == 1 and self.column is None:
            return False
        return any(isinstance(x, Var) and (held := self.env.get(x.name)) is not None and held.lanes > 1 for x in expr.walk(e))

    def slope(self, e: Expr) -> int | None:
        """By how much `e` grows from lane to lane; None where that is not one known number."""
        if not self.varies(e):
            return 0
        if isinstance(e, Var):
            return 1 if e.name == self.column else None
        if isinstance(e, Call) and e.fn in ("add", "sub", "mul"):
            a, b = (self.slope(x) for x in e.args)
            if a is None or b is None:
                return None
            if e.fn != "mul":
                return a + b if e.fn == "add" else a - b
            for x, other in ((e.args[0], b), (e.args[1], a)):
                if isinstance(x, Const):
                    return x.value * other
        return None

    @contextmanager
    def first_lane(self) -> Iterator[None]:
        """Within, the lane variable is a scalar: its value in lane 0."""
        if self.column is None:
            yield
            return
        held = self.env[self.column]
        self.env[self.column] = self.base
        try:
            yield
        finally:
            self.env[self.column] = held

    def address(self, buffer: str, place: Expr, lanes: int = 1) -> str:
        """The address (or the vector of addresses) of the element at linear index `place`."""
        at = self.broadcast(self.index(place), lanes)
        type_ = storage_type(self.params[buffer].dtype)
        inbounds = "inbounds " if self.mask is None else ""
        return self.out.let(f"getelementptr {inbounds}{type_}, ptr {self.pointers[buffer]}, {at}", "at")

    def _parameter(self, buffer: str) -> Param:
        if buffer not in self.params:
            raise NameError(f"kernel {self.kernel.name} has no buffer {buffer!r}; its buffers are {', '.join(self.params)}")
        return self.params[buffer]

    def _load(self, e: Load) -> Value:
        param = self._parameter(e.buffer)
        place = linear(e.index, param.shape)
        slope = self.slope(place)
        size = param.dtype.size
        if slope == 0 and (self.lanes == 1 or self.mask is self.edge):  # lane 0 of a tile at the edge is always real
            text = self.out.let(f"load {storage_type(param.dtype)}, ptr {self.address(e.buffer, place)}, align {size}", e.buffer)
            return self.from_storage(text, param.dtype, 1)
        vector = storage_type(param.dtype, self.lanes)
        if slope == 1:
            with self.first_lane():
                at = self.address(e.buffer, place)
            if self.mask is None:
                text = self.out.let(f"load {vector}, ptr {at}, align {size}", e.buffer)
            else:
                name = f"llvm.masked.load.{_mangled(vector)}.p0"
                fn = self.module.declare(name, vector, ["ptr", f"<{self.lanes} x i1>", vector])
                text = self.out.let(f"call {vector} {fn}(ptr align {size} {at}, {self._mask()}, {vector} zeroinitializer)", e.buffer)
            return self.from_storage(text, param.dtype, self.lanes)
        pointers = f"<{self.lanes} x ptr>"
        name = f"llvm.masked.gather.{_mangled(vector)}.v{self.lanes}p0"
        fn = self.module.declare(name, vector, [pointers, f"<{self.lanes} x i1>", vector])
        at = self.address(e.buffer, place, self.lanes)
        text = self.out.let(f"call {vector} {fn}({pointers} align {size} {at}, {self._mask()}, {vector} zeroinitializer)", e.buffer)
        return self.from_storage(text, param.dtype, self.lanes)

    def _mask(self) -> Value:
        return self.mask if self.mask is not None else literal(True, dtypes.bool_, self.lanes)

    def _store(self, s: Store) -> None:
        param = self._parameter(s.buffer)
        place = linear(s.index, param.shape)
        slope = self.slope(place)
        v = self.value(s.value)
        if v.dtype is not param.dtype:
            raise TypeError(f"kernel {self.kernel.name} stores {v.dtype.short} into {s.buffer}, which holds {param.dtype.short}")
        size = param.dtype.size
        if slope == 0:
            if self.lanes > 1:
                if s.combine == "set":
                    raise Unvectorisable("every lane stores to one address")
                v = self.over_lanes(s.combine, v)
            at, element = self.address(s.buffer, place), storage_type(param.dtype)
            if s.combine != "set":
                old = self.out.let(f"load {element}, ptr {at}, align {size}", s.buffer)
                v = self.combine(s.combine, self.from_storage(old, param.dtype, 1), v)
            self.out.do(f"store {element} {self.to_storage(v)}, ptr {at}, align {size}")
            return
        if slope != 1:
            raise Unvectorisable("a scattered store")
        vector = storage_type(param.dtype, self.lanes)
        v = self.broadcast(v, self.lanes)
        if s.combine != "set":
            v = self.combine(s.combine, self._load(Load(param.dtype, s.buffer, s.index)), v)
        with self.first_lane():
            at = self.address(s.buffer, place)
        kept = self.to_storage(v)
        if self.mask is None:
            self.out.do(f"store {vector} {kept}, ptr {at}, align {size}")
        else:
            fn = self.module.declare(f"llvm.masked.store.{_mangled(vector)}.p0", "void", [vector, "ptr", f"<{self.lanes} x i1>"])
            self.out.do(f"call void {fn}({vector} {kept}, ptr align {size} {at}, {self._mask()})")

    def over_lanes(self, combine: str, v: Value) -> Value:
        """All (real) lanes of `v` combined into one."""
        v = self.broadcast(v, self.lanes)
        start = scalar.neutral(combine, v.dtype)
        if self.mask is not None:
            v = self.call("select", [self.mask, v, literal(start, v.dtype, v.lanes)], v.dtype)
        one = register_type(v.dtype)
        kind = v.dtype.kind
        if kind == "f" and combine in ("add", "mul"):
            first = literal(-0.0 if combine == "add" else 1.0, v.dtype)
            fn = self.module.declare(f"llvm.vector.reduce.f{combine}.{suffix(v.dtype, v.lanes)}", one, [one, v.type])
            return Value(self.out.let(f"call reassoc contract {one} {fn}({first}, {v})"), v.dtype)
        if combine in ("min", "max"):
            word = {"f": f"f{combine}imum", "i": f"s{combine}", "u": f"u{combine}"}.get(kind, "and" if combine == "min" else "or")
        else:
            word = {"add": "or", "mul": "and"}.get(combine, combine) if kind == "b" else combine
        fn = self.module.declare(f"llvm.vector.reduce.{word}.{suffix(v.dtype, v.lanes)}", one, [v.type])
        return Value(self.out.let(f"call {one} {fn}({v})"), v.dtype)

    # -------------------------------------------------------------------------------------------- statements
    def body(self, body: tuple[Stmt, ...]) -> None:
        """Statements in a scope of their own."""
        env, counting = dict(self.env), set(self.counting)
        for s in body:
            self.statement(s)
        self.env, self.counting = env, counting

    def statement(self, s: Stmt) -> None:
        match s:
            case Let():
                v = self.value(s.value)
                if s.value.dtype is INDEX and nonnegative(s.value, self.counting):
                    self.counting.add(s.name)
                else:
                    self.counting.discard(s.name)
                self.env[s.name] = v
            case Accumulator():
                v = self.broadcast(self.value(s.init), self.lanes)
                self.env[s.name] = slot = Slot(self.out.local(v.type, s.name), v.dtype, v.lanes)
                self.counting.discard(s.name)
                self.out.do(f"store {v}, ptr {slot.pointer}")
            case Update():
                self._update(s)
            case Store():
                self._store(s)
            case For():
                self.loop(s)
            case If():
                self._if(s)
            case While():
                self._while(s)
            case Contract():
                self.contract(s)
            case CallLibrary():
                self._call_library(s)
            case Fail():
                self._fail(s)
            case _:
                raise NotImplementedError(f"native code for the statement {type(s).__name__}")

    def _update(self, s: Update) -> None:
        slot = self.env.get(s.name)
        if not isinstance(slot, Slot):
            raise NameError(f"kernel {self.kernel.name} updates {s.name!r}, which is no accumulator")
        v = self.value(s.value)
        if v.dtype is not slot.dtype:
            raise TypeError(f"kernel {self.kernel.name} updates {s.name} ({slot.dtype.short}) with {v.dtype.short}")
        if slot.lanes == 1 and self.lanes > 1:
            if s.combine == "set":
                raise Unvectorisable("every lane sets one accumulator")
            v = self.over_lanes(s.combine, v)
        v = self.broadcast(v, slot.lanes)
        if s.combine != "set" or (self.mask is not None and slot.lanes > 1):
            old = self._variable(Var(slot.dtype, s.name))
            v = self.combine(s.combine, old, v)
            if self.mask is not None and slot.lanes > 1:
                v = self.call("select", [self.mask, v, old], v.dtype)
        self.out.do(f"store {v}, ptr {slot.pointer}")

    def _if(self, s: If) -> None:
        c = self.value(s.condition)
        if c.lanes > 1:
            before = self.mask
            for condition, body in ((c, s.then), (self.call("not", [c], c.dtype), s.otherwise)):
                self.mask = condition if before is None else self._op("and", before, condition)
                self.body(body)
            self.mask = before
            return
        yes, end = self.out.fresh("then"), self.out.fresh("end")
        no = self.out.fresh("else") if s.otherwise else end
        self.out.branch(c.text, yes, no)
        self.out.label(yes)
        self.body(s.then)
        self.out.jump(end)
        if s.otherwise:
            self.out.label(no)
            self.body(s.otherwise)
            self.out.jump(end)
        self.out.label(end)

    def _while(self, s: While) -> None:
        head, inside, end = (self.out.fresh(h) for h in ("while", "do", "end"))
        self.out.jump(head)
        self.out.label(head)
        c = self.value(s.condition)
        if c.lanes > 1:
            raise Unvectorisable("a while loop whose lanes end apart")
        self.out.branch(c.text, inside, end)
        self.out.label(inside)
        self.body(s.body)
        self.out.jump(head)
        self.out.label(end)

    def _call_library(self, s: CallLibrary) -> None:
        if self.lanes > 1:
            raise Unvectorisable("a call of a library")
        operands = [f"ptr {self.module.constant(a)}" if isinstance(a, bytes) else self._by_address(a) for a in s.arguments]
        if s.info:
            info = self.out.local("i32", s.info)
            operands.append(f"ptr {info}")
        routine = self.module.external(s.symbol, "void", ["ptr"] * len(operands))
        self.out.do(f"call void {routine}({', '.join(operands)})")
        if s.info:
            self.env[s.info] = Value(self.out.let(f"load i32, ptr {info}", s.info), dtypes.int32)

    def _by_address(self, e: Expr) -> str:
        """The address of an element, or of a copy of another value."""
        if isinstance(e, Load):
            return f"ptr {self.address(e.buffer, linear(e.index, self._parameter(e.buffer).shape))}"
        v = self.value(e)
        if v.dtype is INDEX:
            v = self.cast(v, dtypes.int32)
        copy = self.out.local(v.type, "argument")
        self.out.do(f"store {v}, ptr {copy}")
        return f"ptr {copy}"

    def _fail(self, s: Fail) -> None:
        if self.lanes > 1:
            raise Unvectorisable("a failure in one lane")
        words = [f"i64 {s.node}", f"i64 {len(s.operands[:ERROR_OPERANDS])}"]
        words += [str(self.cast(self.value(o), dtypes.float64)) for o in s.operands[:ERROR_OPERANDS]]
        for k, word in enumerate(words):
            at = self.out.let(f"getelementptr i64, ptr %error, i64 {k}", "record")
            self.out.do(f"store {word}, ptr {at}, align 8")
        self.out.do(f"ret i64 {s.node + 1}")
        self.out.label(self.out.fresh("dead"))

    def contract(self, s: Contract) -> None:
        """The product as three plain loops."""

        def element() -> None:
            slot = Slot(self.out.local(register_type(s.left.dtype), s.accumulator), s.left.dtype)
            self.out.do(f"store {literal(0, s.left.dtype)}, ptr {slot.pointer}")
            self.env[s.accumulator] = slot
            product = Update(s.accumulator, "add", Call(s.left.dtype, "mul", (s.left, s.right)))
            self.loop(For(s.depth_index, s.depth, "serial", (product,)))
            self.body((Let(s.accumulator, Var(s.left.dtype, s.accumulator)), *s.epilogue))

        zero = literal(0, INDEX)
        row = (s.row, zero, self.dim(s.rows))
        self.counted(*row, lambda: self.counted(s.column, zero, self.dim(s.columns), element))

    # -------------------------------------------------------------------------------------------- loops
    def loop(self, s: For, bounds: tuple[Value, Value] | None = None) -> None:
        """A loop over its extent, or from the first bound to the second."""
        if bounds is None:
            bounds = literal(0, INDEX), self.dim(s.extent)
        if bounds[0].known == 0 and bounds[1].known == 1:
            env, counting = dict(self.env), set(self.counting)
            self.env[s.index] = literal(0, INDEX)
            self.body(s.body)
            self.env, self.counting = env, counting
            return
        self.counted(s.index, *bounds, lambda: self.body(s.body), metadata=self._wishes(s))

    def _wishes(self, s: For) -> list[str]:
        """What LLVM should do with a loop, as metadata."""
        if s.kind == "unroll" and isinstance(s.extent, int):
            return ['!{!"llvm.loop.unroll.full"}']
        out = []
        if s.kind in ("vector", "parallel") and sum(map(weight, expressions(s.body))) >= LONG_CHAIN:
            # the next passes wait behind a long chain of operations; side by side they keep the processor busy
            lanes = self.target.vector_bits // 32
            counts = [n for n in (4, 2) if not isinstance(s.extent, int) or s.extent % (n * lanes) == 0 or s.extent >= 8 * n * lanes]
            out += [f'!{{!"llvm.loop.interleave.count", i32 {n}}}' for n in counts[:1]]
        if any(isinstance(inner, For) and _becomes_vectors(inner) and _gathers(inner) for inner in s.body):
            # what is left of the inner loop may be a few gathers; some thirty copies of these take the code generator seconds
            out.append('!{!"llvm.loop.unroll.disable"}')
        elif _becomes_vectors(s):
            # else LLVM unrolls it whole before it comes to vectors, and makes vectors of the loop around, with gathers
            out += ['!{!"llvm.loop.unroll.disable"}', '!{!"llvm.loop.vectorize.followup_vectorized", !{!"llvm.loop.mustprogress"}}']
        return out

    def counted(
        self, index: str, start: Value, stop: Value, body: Callable[[], None], step: int = 1, metadata: list[str] | None = None
    ) -> None:
        """A loop with `index` from `start` below `stop`; `body` writes what it does."""
        out = self.out
        head, inside, end = (out.fresh(f"{index}.{h}") for h in ("head", "body", "end"))
        before = out.block
        out.jump(head)
        out.label(head)
        at, following = "%" + out.fresh(index), "%" + out.fresh(index + ".next")
        position = len(out.lines)
        more = out.let(f"icmp slt i64 {at}, {stop.text}", "more")
        out.branch(more, inside, end)
        out.label(inside)
        env, counting = dict(self.env), set(self.counting)
        self.env[index] = Value(at, INDEX)
        self.counting.add(index)
        body()
        self.env, self.counting = env, counting
        out.do(f"{following} = add nuw nsw i64 {at}, {step}")
        out.lines.insert(position, f"  {at} = phi i64 [ {start.text}, %{before} ], [ {following}, %{out.block} ]")
        notes = [self.module.node(m) for m in metadata or ()]
        loop = f", !llvm.loop {self.module.node('distinct !{!self, ' + ', '.join(notes) + '}')}" if notes else ""
        out.jump(head, loop)
        out.label(end)


def _becomes_vectors(s: For) -> bool:
    """Whether LLVM is to make vectors of a loop, which it must not unroll whole."""
    return s.kind == "vector" and isinstance(s.extent, int) and s.extent >= SHORTEST_VECTOR


def _gathers(s: For) -> bool:
    """Whether a loop reads a buffer along an axis that is not its last."""

    def moves(i: Expr) -> bool:
        return any(isinstance(x, Var) and x.name == s.index for x in expr.walk(i))

    loads = (x for e in expressions(s.body) for x in expr.walk(e) if isinstance(x, Load) and x.index)
    return any(not moves(x.index[-1]) and any(map(moves, x.index[:-1])) for x in loads)


def _mangled(vector: str) -> str:
    """How an intrinsic names a storage vector: <8 x half> is v8f16."""
    count, scalar_type = vector.strip("<>").split(" x ")
    return f"v{count}" + {"float": "f32", "double": "f64", "half": "f16"}.get(scalar_type, scalar_type)


def weight(e: Expr) -> int:
    """About how many instructions an expression takes."""
    own = 0
    if isinstance(e, Call):
        own = 20 if (e.fn, "f32") in DEFINITIONS or scalar.FUNCTIONS[e.fn].routine else 1
    elif isinstance(e, Load):
        return 1
    return own + sum(map(weight, e.args)) if isinstance(e, Call) else own

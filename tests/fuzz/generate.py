"""Random well-typed graphs, drawn from every row of the table of ops, with arrays on which they run.

An op is drawn with one of its own samples. Its operands are values that the graph already has where one of the type is at hand or can
be made, and otherwise new: a parameter, a cell, a constant, a literal. Every line is carried out as it is added (under real tapes,
see `meaning.Eager`), so what fails on its operands never becomes part of a graph. The same seed gives the same graph.
"""

from __future__ import annotations

import functools
import inspect
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tapejit as tf
from tapejit import host, output
from tapejit.core import dtypes, sizes
from tapejit.core.dtypes import DType
from tapejit.core.places import Place
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.builder import Builder, nested_tuple, number
from tapejit.ir.graph import Graph, Operand, Value
from tapejit.ir.names import Names
from tapejit.ir.op import OPS, Op
from tapejit.ops.samples import Draw
from tapejit.tensor import EagerTensor
from tests.fuzz.meaning import Eager, Setting

LARGEST = 300  # elements of a value
COMMON = (
    "add", "sub", "mul", "div", "maximum", "neg", "square", "tanh", "exp", "sigmoid", "relu", "sqrt", "abs", "sum", "mean", "max", "matmul", "transpose",
    "reshape", "broadcast_to", "select", "greater", "less_equal", "cast", "gather", "concat", "slice", "embed", "conv", "cumsum", "pick", "softplus",
)  # fmt: skip
DTYPES = (
    *(dtypes.float32,) * 8,
    dtypes.float64,
    dtypes.float64,
    dtypes.bfloat16,
    dtypes.float16,
    dtypes.int32,
    dtypes.int64,
    dtypes.uint8,
    dtypes.bool_,
    dtypes.complex64,
)
GIVEN = (structure.read, structure.const, structure.constant)
CHECKED_BEFORE = {  # ops whose indices another line has checked, or that take sorted operands only
    "pick": lambda x, index, attrs: ((index >= 0) & (index < x.shape[-1])).all(),
    "gather": lambda x, index, attrs: ((index >= 0) & (index < x.shape[attrs.get("axis", 0)])).all(),
    "pool_put": lambda g, where, attrs: where.shape == g.shape,
    "place": lambda x, index, attrs: ((index >= 0) & (index < 3)).all(),
    "search_sorted": lambda sequence, values, attrs: (sequence[..., 1:] >= sequence[..., :-1]).all(),
}
for _k in range(1, 5):  # Python functions that graphs call back; a graph uses each at most once
    host._functions[f"fuzz_half_{_k}"] = host._Function(lambda x: x * 0.5, True)
    host._functions[f"fuzz_sign_{_k}"] = host._Function(lambda x: np.sign(x), False)


class Finding(AssertionError):
    """Something wrong that came up while a graph was made."""


def of(array: np.ndarray) -> Type:
    return Type(dtypes.as_dtype(array.dtype), array.shape)


@functools.cache
def samples(name: str, dtype: DType) -> list[tuple[tuple[np.ndarray, ...], dict[str, Any]]]:
    """The samples of an op that are small and of which some operand (or without operands any) has `dtype`."""
    found = []
    for seed in (0, 1):
        for given, attrs in OPS[name].samples(Draw(dtype, seed)):
            xs = tuple(map(np.asarray, given))
            if (any(x.dtype == dtype.np for x in xs) or not xs) and sum(x.size for x in xs) <= LARGEST:
                try:
                    with sizes.assuming():
                        OPS[name].infer(*map(of, xs), **attrs)
                except TypeError:
                    continue
                found.append((xs, attrs))
    return found


@functools.cache
def speaks_of_sizes(op: Op) -> frozenset[str]:
    """Attributes that are dims or tuples of dims."""
    return frozenset(p.name for p in inspect.signature(op.infer).parameters.values() if "Dim" in str(p.annotation))


@dataclass
class Scope:
    """A function while it is made: its graph, the values it has, and what it takes from the function around it."""

    graph: Graph
    builder: Builder
    eager: Eager
    outer: Scope | None = None
    free: bool = False  # values from outside are used as they are; otherwise they become operands
    captured: dict[int, tuple[Value, Value]] = field(default_factory=dict)  # by id of the outer value: it, and what it is here
    pool: list[Value] = field(default_factory=list)
    tapes: tuple[str, ...] = ()
    known_tapes: list[str] = field(default_factory=list)

    def array(self, v: Operand) -> np.ndarray:
        return np.asarray(self.eager[v].numpy_view())


class Generator:
    """Makes one graph; `make()` returns it with its setting. `force` names ops that are drawn for certain, if they can be."""

    def __init__(self, seed: int, force: tuple[str, ...] = (), drawn: Counter | None = None, lines: tuple[int, int] = (4, 16)) -> None:
        self.rng = random.Random(f"{seed}-{','.join(force)}")
        self.force, self.lines = force, lines
        self.drawn = Counter() if drawn is None else drawn
        self.sizes = {"B": self.rng.choice([2, 3, 3, 4, 0, 1]), "N": self.rng.choice([2, 3, 4, 5, 6])} if self.rng.random() < 0.6 else {}
        self.dims = _expressions(self.sizes)
        self.setting = Setting()
        self.variables: dict[str, Any] = {}
        self.consts: dict[str, Any] = {}
        self.names = Names()
        graph = Graph(self.rng.choice(["step", "f", "loss_of"]), place=Place("fuzz.py", 1))
        self.root = Scope(graph, Builder(graph, self.names), Eager(self.variables, self.consts, dict(self.sizes)))
        for name in self.sizes:
            self.names.take(name)
        self.hosts = [f"fuzz_{what}_{k}" for k in range(1, 5) for what in ("half", "sign")]

    def make(self) -> tuple[Graph, Setting]:
        root = self.root
        if self.sizes:
            B, N = sizes.named("B"), sizes.named("N")
            self.parameter(Type(dtypes.float32, (B,)), self.floats(self.sizes["B"]), "batch")
            self.parameter(Type(dtypes.float32, (N, B)), self.floats((self.sizes["N"], self.sizes["B"])), "rows")
        for _ in range(self.rng.randint(1, 2)):
            shape = self.rng.choice([(), (3,), (2, 3), (3, 4), (4, 4), (5, 1)])
            self.parameter(Type(dtypes.float32, shape), self.floats(shape), self.rng.choice("xyz"))
        queue = list(self.force)
        for _ in range(self.rng.randint(*self.lines)):
            self.step(root, queue.pop() if queue and self.rng.random() < 0.5 else None)
        for name in queue:
            self.step(root, name)
        while root.tapes:
            self.leave(root)
        self.finish()
        return root.graph, self.setting

    def finish(self) -> None:
        """Results: what no line uses, and some others."""
        graph, rng = self.root.graph, self.rng
        used = {id(v) for v in graph.uses()}
        made = [o for n in graph.body for o in n.outs if not n.op.binds_size and n.op.name not in ("calls_begin", "host_call")]
        results = [v for v in made if id(v) not in used][-8:]
        results += rng.sample(made, min(len(made), rng.randint(0, 2)))
        if rng.random() < 0.1:
            results.append(rng.choice(graph.params))
        graph.results = results or [graph.params[0]]
        used = {id(v) for v in graph.uses()}
        graph.params = [p for p in graph.params if id(p) in used or p.name in ("batch", "rows")] or graph.params[:1]
        self.setting.args = {p.name: self.setting.args[p.name] for p in graph.params}

    # ------------------------------------------------------------------------------------------ values
    def floats(self, shape: Any) -> np.ndarray:
        return np.random.default_rng(self.rng.getrandbits(32)).uniform(-2, 2, shape).astype(np.float32)

    def parameter(self, t: Type, array: np.ndarray, name: str) -> Value:
        v = self.root.builder.parameter(name, t)
        array = np.array(array)
        self.setting.args[v.name] = array
        self.root.eager.tensors[id(v)] = EagerTensor(array)
        self.root.pool.append(v)
        return v

    def new_input(self, scope: Scope, x: np.ndarray, t: Type) -> Operand:
        """An operand with the value `x`: a parameter, cell, constant or literal."""
        rng = self.rng
        if x.ndim == 0 and rng.random() < 0.3:
            return number(x, t.dtype)
        if scope.outer is not None:
            return self.inside(scope, self.new_input(scope.outer, x, t))
        closed = sizes.is_known(t.shape)
        kind = rng.random()
        if closed and kind < 0.12 and x.size <= 8:
            return self.emit(scope, structure.constant, (), {"value": nested_tuple(x, t.dtype), "dtype": t.dtype})[0]
        if closed and kind < 0.22:
            name = self.names.fresh("c")
            scope.graph.consts[name], self.setting.consts[name], self.consts[name] = t, np.array(x), EagerTensor(np.array(x))
            return self.emit(scope, structure.const, (), {"const": name, "type": t})[0]
        if closed and kind < 0.4:
            return self.emit(scope, structure.read, (), {"cell": self.cell(x, t), "type": t})[0]
        return self.parameter(t, x, rng.choice("xyzab"))

    def cell(self, x: np.ndarray, t: Type) -> str:
        name = self.names.fresh(self.rng.choice("wvk"))
        self.root.graph.cells[name], self.setting.cells[name], self.variables[name] = (
            t,
            np.array(x),
            tf.Variable(np.array(x), dtype=t.dtype),
        )
        return name

    def inside(self, scope: Scope, v: Operand) -> Operand:
        """A value of the function around `scope`, as `scope` uses it."""
        if scope.free or not isinstance(v, Value):
            return v
        if id(v) not in scope.captured:
            inner = Value(self.names.fresh(v.name), v.type)
            scope.captured[id(v)] = (v, inner)
            scope.eager.tensors[id(inner)] = scope.eager[v]
        return scope.captured[id(v)][1]

    def pick(self, scope: Scope, fits: Any) -> Value | None:
        """A value for which `fits` holds, now and then one from the function around; None if there is none."""
        if scope.outer is not None and self.rng.random() < 0.3:
            v = self.pick(scope.outer, fits)
            return None if v is None else self.inside(scope, v)  # type: ignore[return-value]
        found = [v for v in scope.pool if fits(v)]
        return self.rng.choice(found[-6:] if self.rng.random() < 0.6 else found) if found else None

    def operand(self, scope: Scope, x: np.ndarray, t: Type, reuse: bool) -> Operand:
        if reuse and self.rng.random() < 0.75:
            v = self.pick(scope, lambda v: v.type == t) or self.adapted(scope, t)
            if v is not None:
                return v
        return self.new_input(scope, x, t)

    def adapted(self, scope: Scope, t: Type) -> Value | None:
        """A value of the graph brought to type `t`, by a cast, a reshape or broadcasting."""
        v = (
            self.pick(scope, lambda v: v.type.dtype is t.dtype)
            if self.rng.random() < 0.8
            else self.pick(scope, lambda v: v.type.dtype.kind not in "c")
        )
        if v is None or self.rng.random() < 0.4:
            return None
        if v.type.dtype is not t.dtype:
            if t.dtype.kind not in "fib":
                return None
            v = self.one(scope, OPS["cast"], (v,), {"dtype": t.dtype})
        if v is not None and v.type.shape != t.shape:
            same = sizes.product(v.type.shape) == sizes.product(t.shape)
            v = self.one(scope, OPS["reshape" if same else "broadcast_to"], (v,), {"shape": t.shape})
        return v

    def one(self, scope: Scope, op: Op, args: tuple[Operand, ...], attrs: dict[str, Any] | None = None) -> Value | None:
        outs = self.emit(scope, op, args, attrs or {})
        return outs[0] if outs else None

    # ------------------------------------------------------------------------------------------- lines
    def emit(self, scope: Scope, op: Op, args: tuple[Operand, ...], attrs: dict[str, Any], name: Any = None) -> tuple[Value, ...] | None:
        """Add a line and carry it out; None if the op does not take these operands or fails on them."""
        graph, rng = scope.graph, self.rng
        guards = len(graph.guards)
        place = Place("fuzz.py", rng.randint(2, 99)) if rng.random() < 0.8 else None
        name = rng.choice(["", "", "h", "loss", "x"]) if name is None else name
        try:
            outs = scope.builder.emit(op, args, attrs, place=place, tapes=scope.tapes, name=name)
        except (ValueError, TypeError, NotImplementedError, LookupError):
            return None
        node = graph.body[-1]

        def undo() -> None:
            graph.body.pop()
            del graph.guards[guards:]

        if any(scope.outer is not None or _valued(a, scope) != _valued(b, scope) for a, b in graph.guards[guards:]):
            undo()
            return None
        try:
            tensors = scope.eager.line(node)
        except Exception:  # it fails on these operands: out of range, singular, no gradient
            undo()
            return None
        for v, x in zip(outs, tensors, strict=True):
            wanted = Type(v.type.dtype, tuple(_valued(d, scope) for d in v.type.shape))
            if of(x.numpy_view()) != wanted:
                raise Finding(
                    f"{op.name} infers {v.type}, which is {wanted}, and computes {of(x.numpy_view())}: {[a.type for a in args]}, {attrs}"
                )
        if op not in GIVEN and any(not self.bearable(x.numpy_view()) for x in tensors):
            undo()
            return None
        self.drawn[op.name] += 1
        scope.pool += [v for v in outs if not op.binds_size or rng.random() < 0.3]
        return outs

    def bearable(self, x: np.ndarray) -> bool:
        """Small enough, and mostly finite and not huge."""
        if x.size > LARGEST:
            return False
        if x.dtype.kind in "biu" or not x.size:
            return True
        wide = np.abs(x.astype(np.complex128 if x.dtype.kind == "c" else np.float64))
        calm = bool((wide < (100 if x.dtype.itemsize == 2 else 1e5)).all())
        return calm or self.rng.random() < 0.1

    def step(self, scope: Scope, name: str | None = None) -> None:
        """Add one op with what it needs, or open or close a tape."""
        rng = self.rng
        if name is None:
            if scope.tapes and rng.random() < 0.2:
                return self.leave(scope)
            chance = rng.random()
            if chance < 0.1:
                return self.enter(scope)
            if chance < 0.2 and scope.known_tapes:
                name = "gradient"
            elif chance < 0.25:
                name = rng.choice(["cond", "while_loop", "scan", "call", "custom_gradient"])
            else:
                name = rng.choice(COMMON) if chance < 0.65 else rng.choice(sorted(OPS))
        own = getattr(self, f"draw_{name}", None)
        if scope.outer is not None and name in ("assign", "read", "const", "size_of", "host_result", "print"):
            return None
        if own is not None:
            own(scope)
        else:
            self.draw(scope, name)
        return None

    def draw(self, scope: Scope, name: str) -> tuple[Value, ...] | None:
        """A line with op `name` by one of its samples."""
        rng, op = self.rng, OPS[name]
        for attempt in range(4):
            known = [d for d in DTYPES if samples(name, d)]
            if not known:
                return None
            xs, attrs = rng.choice(samples(name, rng.choice(known)))
            renamed = self.renaming() if attempt < 2 else {}
            types = [Type(dtypes.as_dtype(x.dtype), tuple(renamed.get(d, d) for d in x.shape)) for x in xs]
            if renamed:
                attrs = {k: _renamed(v, renamed, rng) if k in speaks_of_sizes(op) else v for k, v in attrs.items()}
            args = tuple(
                self.operand(scope, x, t, reuse=attempt < 3 and not (name in CHECKED_BEFORE and scope.outer))
                for x, t in zip(xs, types, strict=True)
            )
            if name in CHECKED_BEFORE and not CHECKED_BEFORE[name](*(scope.array(a) for a in args), attrs):
                continue
            outs = self.emit(scope, op, args, attrs)
            if outs is not None:
                return outs
        return None

    def renaming(self) -> dict[int, Any]:
        """Names or expressions for some sizes of at least 2, or none."""
        if not self.dims or self.rng.random() < 0.4:
            return {}
        return {value: self.rng.choice(found) for value, found in self.dims.items() if self.rng.random() < 0.7}

    # ------------------------------------------------------------------------------------------- cells, sizes, effects
    def draw_read(self, scope: Scope) -> None:
        cells = self.root.graph.cells
        if cells and self.rng.random() < 0.7:
            name = self.rng.choice(sorted(cells))
        else:
            x = self.floats(self.rng.choice([(), (3,), (2, 3)]))
            name = self.cell(x, of(x))
        self.emit(scope, structure.read, (), {"cell": name, "type": cells[name]})

    def draw_assign(self, scope: Scope) -> None:
        cells = self.root.graph.cells
        v = self.pick(scope, lambda v: any(v.type == t for t in cells.values()))
        if v is None or self.rng.random() < 0.3:
            v = self.pick(scope, lambda v: sizes.is_known(v.type.shape))
            if v is None:
                return
            self.cell(scope.array(v), v.type)
        fits = [c for c, t in cells.items() if t == v.type]
        self.emit(scope, structure.assign, (v,), {"cell": self.rng.choice(fits)})

    def draw_const(self, scope: Scope) -> None:
        consts = self.root.graph.consts
        if not consts:
            consts["c"], self.setting.consts["c"] = Type(dtypes.float32, (2, 3)), self.floats((2, 3))
            self.names.take("c")
            self.consts["c"] = EagerTensor(self.setting.consts["c"])
        name = self.rng.choice(sorted(consts))
        self.emit(scope, structure.const, (), {"const": name, "type": consts[name]})

    def draw_constant(self, scope: Scope) -> None:
        dtype = self.rng.choice(DTYPES)
        x = Draw(dtype, self.rng.getrandbits(16))(self.rng.choice([(), (2,), (0,), (2, 2)]), kinds="fiubc")
        self.emit(scope, structure.constant, (), {"value": nested_tuple(x, dtype), "dtype": dtype})

    def draw_dim(self, scope: Scope) -> None:
        size = self.rng.choice([d for found in self.dims.values() for d in found] or [7])
        self.emit(scope, structure.dim, (), {"size": size, "dtype": self.rng.choice([dtypes.int32, dtypes.int64, dtypes.float32])})

    def draw_size_of(self, scope: Scope) -> None:
        """A count that the graph computes, and something of that size."""
        rng = self.rng
        mask = self.pick(scope, lambda v: v.type.dtype is dtypes.bool_ and v.type.rank)
        if mask is None:
            v = self.pick(scope, lambda v: v.type.dtype is dtypes.float32 and v.type.rank)
            mask = None if v is None else self.one(scope, OPS["greater"], (v, number(0.2, dtypes.float32)))
        whole = None if mask is None else self.one(scope, OPS["cast"], (mask,), {"dtype": dtypes.int64})
        count = None if whole is None else self.one(scope, OPS["sum"], (whole,), {"axis": tuple(range(whole.type.rank))})
        bound = None if count is None else self.emit(scope, OPS["size_of"], (count,), {}, "K")
        if mask is None or bound is None:
            return
        K = sizes.named(bound[0].name)
        at = self.one(scope, OPS["nonzero"], (mask,), {"size": K})
        if at is not None and rng.random() < 0.7:
            column = self.one(scope, OPS["slice"], (at,), {"begin": (0, 0), "size": (K, 1), "stride": (1, 1), "drop": (1,)})
            rows = self.pick(scope, lambda v: v.type.rank and v.type.shape[0] == mask.type.shape[0] and v.type.dtype is dtypes.float32)
            if column is not None and rows is not None:
                self.emit(scope, OPS["gather"], (rows, column), {"axis": 0})
        if rng.random() < 0.5:
            self.emit(scope, OPS["iota"], (), {"size": K + rng.randint(0, 2), "dtype": rng.choice([dtypes.int32, dtypes.float32])})
        if rng.random() < 0.5:
            self.emit(scope, OPS["full"], (), {"shape": (2, K), "value": 0.5, "dtype": dtypes.float32})

    def draw_held(self, scope: Scope) -> None:
        v = self.pick(scope, lambda v: v.type.dtype.kind == "f")
        if v is not None:
            self.emit(scope, OPS["held"], (v,), {"cell": "elsewhere"})

    def draw_overwritten(self, scope: Scope) -> None:
        v = self.pick(scope, lambda v: v.type.dtype.kind == "f")
        w = None if v is None else self.pick(scope, lambda w: w.type == v.type)
        if v is not None and w is not None:
            self.emit(scope, OPS["overwritten"], (v, w), {})

    def draw_print(self, scope: Scope) -> None:
        v = self.pick(scope, lambda v: v.type.rank < 3)
        if v is not None:
            self.emit(scope, OPS["print"], (v,), {"template": output._MARK, "stream": "file:///dev/null"})

    def draw_assert_true(self, scope: Scope) -> None:
        x = self.pick(scope, lambda v: v.type.dtype is dtypes.bool_ and bool(scope.array(v).all()))
        data = self.pick(scope, lambda v: True)
        condition = self.new_input(scope, np.ones(2, bool), Type(dtypes.bool_, (2,))) if x is None else x
        self.emit(scope, OPS["assert_true"], (condition, *([data] if data is not None else [])), {"message": "fuzz"})

    def _called_back(self, scope: Scope, function: str, differentiable: bool) -> None:
        v = self.pick(scope, lambda v: v.type.dtype in (dtypes.float32, dtypes.float64))
        left = [f for f in self.hosts if f.startswith(function)]
        if v is not None and left:
            self.hosts.remove(left[0])
            first = self.one(scope, OPS["calls_begin"], (number(0, dtypes.int64),), {})
            at = None if first is None else self.one(scope, OPS["host_call"], (first, v), {"function": left[0], "dtypes": (v.type.dtype,)})
            if at is not None:
                scope.pool = [x for x in scope.pool if x not in (first, at)]  # numbers count on from run to run
                attrs = {"of": left[0], "which": 0, "dtype": v.type.dtype, "shape": v.type.shape}
                self.emit(scope, OPS["host_result"], (at, *([v] if differentiable else [])), attrs)

    def draw_host_result(self, scope: Scope) -> None:
        self._called_back(scope, *self.rng.choice([("fuzz_half", True), ("fuzz_sign", False)]))

    def draw_host_call(self, scope: Scope) -> None:
        """Drawn with what takes its result, as are its sizes and gradients."""

    draw_host_shape = draw_host_gradient = draw_calls_begin = draw_host_call

    # ------------------------------------------------------------------------------------------- tapes
    def enter(self, scope: Scope) -> None:
        """Open a tape, or an earlier one again, and watch something."""
        again = [t for t in scope.known_tapes if t not in scope.tapes]
        if again and self.rng.random() < 0.3:
            tape = self.rng.choice(again)
        else:
            tape = self.names.fresh(self.rng.choice(["tape", "outer_tape"]))
            scope.known_tapes.append(tape)
        scope.tapes = (*scope.tapes, tape)
        for _ in range(self.rng.randint(1, 2)):
            self.draw_watch(scope)

    def leave(self, scope: Scope) -> None:
        scope.tapes = scope.tapes[:-1]

    def draw_watch(self, scope: Scope) -> None:
        if not scope.known_tapes:
            return self.enter(scope)
        tape = scope.tapes[-1] if scope.tapes else self.rng.choice(scope.known_tapes)
        cells = [c for c, t in self.root.graph.cells.items() if t.dtype.kind == "f"] if scope.outer is None else []
        if cells and self.rng.random() < 0.4:
            self.emit(scope, structure.watch, (), {"tape": tape, "cell": self.rng.choice(cells)})
        else:
            v = self.pick(scope, lambda v: v.type.dtype.differentiable)
            if v is not None:
                self.emit(scope, structure.watch, (v,), {"tape": tape, "cell": ""})
        return None

    def draw_gradient(self, scope: Scope) -> None:
        """A gradient line of some tape, for sources that it reaches."""
        rng = self.rng
        if not scope.known_tapes:
            self.enter(scope)
            for _ in range(rng.randint(1, 4)):
                self.draw(scope, rng.choice(COMMON))
        if scope.tapes and rng.random() < 0.85:
            self.leave(scope)
        name = rng.choice(scope.known_tapes)
        tape = scope.eager.tape(name)
        active = [v for v in scope.pool if id(scope.eager[v]) in tape._active and v.type.dtype.differentiable]
        if not active:
            return
        targets = rng.sample(active[-4:], min(len(active[-4:]), rng.choice([1, 1, 2])))
        sources: list[Any] = rng.sample(active, min(len(active), rng.randint(1, 3)))
        cells = [c for c in self.variables if id(self.variables[c]) in tape._reads] if scope.outer is None else []
        if cells and rng.random() < 0.7:
            sources.append(rng.choice(cells))
        try:
            held, tf_sources = scope.eager, [self.variables[s] if isinstance(s, str) else scope.eager[s] for s in sources]
            found = tape.gradient([held[t] for t in targets], tf_sources)
        except (LookupError, NotImplementedError, ValueError):
            return
        sources = [s for s, g in zip(sources, found, strict=True) if g is not None]
        if not sources:
            return
        operands: list[Operand] = list(targets)
        listed: list[int | str] = []
        for s in sources:
            listed.append(f"state.{s}" if isinstance(s, str) else len(operands))
            if not isinstance(s, str):
                operands.append(s)
        seeds: list[int | None] = []
        for t in targets:
            seed = self.pick(scope, lambda v: v.type == t.type) if rng.random() < 0.3 else None
            seeds.append(None if seed is None else len(operands))
            if seed is not None:
                operands.append(seed)
        attrs = {
            "tape": name, "targets": len(targets), "sources": tuple(listed), "seeds": tuple(seeds),
            "cells": tuple(self.root.graph.cells[s] for s in sources if isinstance(s, str)),
        }  # fmt: skip
        self.emit(scope, structure.gradient, tuple(operands), attrs, tuple(f"d_{s if isinstance(s, str) else s.name}" for s in sources))

    # ------------------------------------------------------------------------------------------- branches and loops
    def nested(
        self, scope: Scope, name: str, params: list[tuple[str, Type, Any]], captured: Scope | None = None, free: bool = False
    ) -> Scope:
        """A function within `scope`, whose parameters have the types and values given."""
        root = self.root.graph
        graph = Graph(self.names.fresh(name), cells=root.cells, consts=root.consts)
        inner = Scope(graph, Builder(graph, self.names), Eager(self.variables, self.consts, scope.eager.sizes, scope.eager), scope, free)
        for base, t, tensor in params:
            v = inner.builder.parameter(base, t)
            inner.eager.tensors[id(v)] = tensor
            inner.pool.append(v)
        return inner

    def lines_in(self, scope: Scope) -> None:
        for _ in range(self.rng.randint(1, 4)):
            name = None if self.rng.random() < 0.15 else self.rng.choice(COMMON)
            self.step(scope, name)
        scope.tapes = ()

    def close(self, scopes: list[Scope]) -> list[Value]:
        """Give all of them parameters for what any of them captured; returns the captured values."""
        taken: dict[int, Value] = {}
        for s in scopes:
            taken.update((k, outer) for k, (outer, _) in s.captured.items())
        for s in scopes:
            for k, outer in taken.items():
                s.graph.params.append(s.captured[k][1] if k in s.captured else Value(self.names.fresh(outer.name), outer.type))
        return list(taken.values())

    def own(self, scope: Scope, t: Type) -> Value | None:
        """A value of `scope` itself of type `t`; made of nothing if there is none."""
        own = {id(o) for n in scope.graph.body for o in n.outs}
        found = [v for v in scope.pool if v.type == t and id(v) in own] or [
            v for v in scope.pool if v.type == t and v in scope.graph.params
        ]
        if found:
            return self.rng.choice(found[-3:])
        value: Any = {"b": True, "f": 0.5, "c": 0.5}.get(t.dtype.kind, 1)
        return self.one(scope, OPS["full"], (), {"shape": t.shape, "value": value, "dtype": t.dtype})

    def chosen(self, scope: Scope) -> list[Value]:
        """Values that a nested function may return: its own, of sizes known outside."""
        bound = {o.name for n in scope.graph.body for o in n.outs if n.op.binds_size}
        made = [o for n in scope.graph.body for o in n.outs if not bound & sizes.names(sizes.product(o.type.shape)) and not n.op.binds_size]
        return self.rng.sample(made[-4:], min(len(made[-4:]), self.rng.randint(1, 2))) if made else []

    def draw_cond(self, scope: Scope) -> None:
        rng = self.rng
        pred: Operand = self.pick(scope, lambda v: v.type == Type(dtypes.bool_)) or self.new_input(
            scope, np.asarray(rng.random() < 0.5), Type(dtypes.bool_)
        )
        free = rng.random() < 0.4
        then, otherwise = (self.nested(scope, n, [], free=free) for n in ("then", "otherwise"))
        self.lines_in(then)
        then.graph.results = self.chosen(then)
        if not then.graph.results:
            return
        self.lines_in(otherwise)
        results = [self.own(otherwise, r.type) for r in then.graph.results]
        if any(r is None for r in results):
            return
        otherwise.graph.results = results  # type: ignore[assignment]
        captured = self.close([then, otherwise])
        self.emit(scope, OPS["cond"], (pred, *captured), {"then": then.graph, "otherwise": otherwise.graph})

    def draw_call(self, scope: Scope) -> None:
        body = self.nested(scope, "inner", [], free=self.rng.random() < 0.3)
        self.lines_in(body)
        body.graph.results = self.chosen(body)
        if body.graph.results:
            self.emit(scope, OPS["call"], tuple(self.close([body])), {"body": body.graph})

    def carried(self, scope: Scope, most: int) -> list[Value]:
        out: list[Value] = []
        for _ in range(self.rng.randint(0, most)):
            v = self.pick(scope, lambda v: v.type.dtype.kind in "fi")
            if v is not None and all(v is not o for o in out):
                out.append(v)
        return out

    def draw_while_loop(self, scope: Scope) -> None:
        rng = self.rng
        state = [self.new_input(scope, np.asarray(rng.randint(0, 1), np.int32), Type(dtypes.int32)), *self.carried(scope, 2)]
        params = [("i" if k == 0 else "c", v.type, scope.eager[v]) for k, v in enumerate(state)]
        free = rng.random() < 0.4
        test, body = self.nested(scope, "test", params, free=free), self.nested(scope, "body", params, free=free)
        limit = self.new_input(test, np.asarray(rng.randint(0, 3), np.int32), Type(dtypes.int32))
        going = self.one(test, OPS["less"], (test.graph.params[0], limit))
        if going is None:
            return
        test.graph.results = [going]
        body.pool = body.pool[1:] or body.pool
        self.lines_in(body)
        following = self.one(body, OPS["add"], (body.graph.params[0], number(1, dtypes.int32)))
        rest = [self.own(body, v.type) for v in state[1:]]
        if following is None or any(r is None for r in rest):
            return
        body.graph.results = [following, *rest]  # type: ignore[list-item]
        captured = self.close([test, body])
        self.emit(scope, OPS["while_loop"], (*state, *captured), {"test": test.graph, "body": body.graph, "carried": len(state)})

    def draw_scan(self, scope: Scope) -> None:
        rng = self.rng
        rows = self.pick(scope, lambda v: v.type.rank and v.type.dtype.kind in "fi" and scope.array(v).shape[0] in (1, 2, 3, 4, 5, 6))
        scanned = [] if rows is None or rng.random() < 0.2 else [rows]
        if scanned and rng.random() < 0.4:
            other = self.pick(scope, lambda v: v.type.rank and v.type.shape[0] == scanned[0].type.shape[0])
            scanned += [other] if other is not None else []
        length = scanned[0].type.shape[0] if scanned else rng.choice([0, 1, 3, *(d for d in (sizes.named(n) for n in self.sizes))])
        state = self.carried(scope, 2)
        params = [("c", v.type, scope.eager[v]) for v in state]
        params += [("row", v.type.with_shape(v.type.shape[1:]), scope.eager[v][0]) for v in scanned]
        body = self.nested(scope, "body", params, free=rng.random() < 0.4)
        self.lines_in(body)
        following = [self.own(body, v.type) for v in state]
        if any(f is None for f in following):
            return
        yielded = self.chosen(body)
        if not following and not yielded:
            return
        body.graph.results = [*following, *yielded]  # type: ignore[list-item]
        attrs = {"body": body.graph, "carried": len(state), "scanned": len(scanned), "length": length, "reverse": rng.random() < 0.4}
        self.emit(scope, OPS["scan"], (*state, *scanned, *self.close([body])), attrs)

    def draw_custom_gradient(self, scope: Scope) -> None:
        y = self.pick(scope, lambda v: v.type.dtype.kind == "f")
        x = self.pick(scope, lambda v: v.type.dtype.kind == "f")
        if y is None or x is None:
            return
        one = EagerTensor(np.ones(scope.array(y).shape, y.type.dtype.np))
        backward = self.nested(scope, "backward", [("g", y.type, one)], free=False)
        self.lines_in(backward)
        found = self.own(backward, x.type)
        if found is not None:
            backward.graph.results = [found]
            self.emit(
                scope, OPS["custom_gradient"], (y, x, *self.close([backward])), {"backward": backward.graph, "results": 1, "inputs": 1}
            )


def _expressions(named: dict[str, int]) -> dict[int, list[Any]]:
    """Expressions in the named sizes, by their value (2 or more)."""
    if not named:
        return {}
    B, N = (sizes.named(n) for n in ("B", "N"))
    found: dict[int, list[Any]] = {}
    for e in (
        B,
        B,
        B,
        N,
        N,
        N,
        B + N,
        B * N,
        2 * B,
        N + 1,
        2 * N + 1,
        B * B,
        sizes.maximum(B, N),
        N // 2,
        6 // N if named["N"] else 1,
        B * N + 2,
    ):
        value = sizes.evaluate(e, named)
        if value > 1 and isinstance(e, sizes.Size):
            found.setdefault(value, []).append(e)
    return found


def _renamed(value: Any, renamed: dict[int, Any], rng: random.Random) -> Any:
    if isinstance(value, tuple):
        return tuple(_renamed(v, renamed, rng) for v in value)
    return renamed.get(value, value) if type(value) is int and rng.random() < 0.9 else value


def _valued(d: Any, scope: Scope) -> int:
    return sizes.evaluate(d, scope.eager.sizes)

"""What a graph means, found in four ways that share little: ops carried out eagerly under real tapes, the interpreter, the text run as
Python, and native code.

In: a graph and a `Setting` of arrays for its parameters, cells and constants. Out: an `Outcome`, results and cells afterwards.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tapejit as tf
from tapejit import compiler, host
from tapejit.core import sizes
from tapejit.core.types import Type
from tapejit.ir import interpreter, structure
from tapejit.ir.execute import run_text
from tapejit.ir.graph import Graph, Literal, Node, Operand, Value
from tapejit.ir.op import OPS, Op
from tapejit.ops import control
from tapejit.runtime.plan import Give
from tapejit.tensor import EagerTensor


@dataclass
class Setting:
    """Arrays by name: `args` for the parameters of a graph, `cells` and `consts` for what it holds."""

    args: dict[str, np.ndarray] = field(default_factory=dict)
    cells: dict[str, np.ndarray] = field(default_factory=dict)
    consts: dict[str, np.ndarray] = field(default_factory=dict)

    def of(self, graph: Graph) -> list[np.ndarray]:
        return [self.args[p.name] for p in graph.params]


@dataclass
class Outcome:
    """Results in order, and every cell after the run."""

    results: list[np.ndarray]
    cells: dict[str, np.ndarray]

    def arrays(self) -> list[np.ndarray]:
        return [*map(np.asarray, self.results), *(np.asarray(self.cells[c]) for c in sorted(self.cells))]


_MOST = 20  # iterations of a loop


# ------------------------------------------------------------------------------------------------ eagerly
class Eager:
    """Carries out a graph line by line with the ops themselves on eager tensors; tapes are real tapes, branches and loops Python's.

    Nested graphs run in an `Eager` of their own, which sees the values of those around it.
    """

    def __init__(self, variables: dict[str, Any], consts: dict[str, Any], named: dict[str, int], outer: Eager | None = None) -> None:
        self.variables, self.consts, self.sizes, self.outer = variables, consts, named, outer
        self.tensors: dict[int, Any] = {}
        self.nodes: list[Node] = []  # kept, so that ids stay unique
        self.tapes: dict[str, Any] = {}
        self.called: dict[int, Any] = {}  # what Python functions gave, by the numbers of the calls

    def __getitem__(self, x: Operand) -> Any:
        if isinstance(x, Literal):
            return EagerTensor(np.asarray(x.value, x.dtype.np))
        found = self.tensors.get(id(x))
        if found is None:
            if self.outer is None:
                raise KeyError(x.name)
            return self.outer[x]
        return found

    def tape(self, name: str) -> Any:
        if name not in self.tapes:
            self.tapes[name] = tf.GradientTape(persistent=True, watch_accessed_variables=False)
            self.tapes[name]._entered = True  # a watch line may stand before the first line that is recorded
        return self.tapes[name]

    def body(self, graph: Graph, args: list[Any]) -> list[Any]:
        inner = Eager(self.variables, self.consts, self.sizes, self)
        return inner.run(graph, args)

    def run(self, graph: Graph, args: list[Any]) -> list[Any]:
        for p, a in zip(graph.params, args, strict=True):
            self.tensors[id(p)] = a
        for node in graph.body:
            self.line(node)
        return [self[r] for r in graph.results]

    def line(self, node: Node) -> tuple[Any, ...]:
        """Carry out one line; returns what its results are."""
        self.nodes.append(node)
        with ExitStack() as stack:
            for name in node.tapes:
                stack.enter_context(self.tape(name))
            out = self._carry_out(node)
            if isinstance(node.op, control.Nesting):  # a parameter that a nested graph returns is another value outside
                out = [OPS["identity"](t) for t in out]
        outs = tuple(out) if isinstance(out, tuple | list) else () if out is None else (out,)
        for v, t in zip(node.outs, outs, strict=True):
            self.tensors[id(v)] = t
            if node.op.binds_size:
                self.sizes[v.name] = int(t)
        return outs

    def _carry_out(self, node: Node) -> Any:
        op, attrs = node.op, {k: structure.attribute_dims(v, self.sizes) for k, v in node.attrs.items()}
        args = [self[a] for a in node.args]
        if op is structure.read:
            return self.variables[attrs["cell"]].read_value()
        if op is structure.assign:
            self.variables[attrs["cell"]].assign(args[0])
            return None
        if op is structure.const:
            return EagerTensor(self.consts[attrs["const"]].numpy_view())  # each line is a value of its own
        if op is structure.watch:
            self.tape(attrs["tape"]).watch(self.variables[attrs["cell"]] if attrs["cell"] else args[0])
            return None
        if op is structure.gradient:
            return self._gradient(attrs, args)
        if op is control.cond:
            return self.body(attrs["then" if bool(args[0]) else "otherwise"], args[1:])
        if op is control.call:
            return self.body(attrs["body"], args)
        if op is control.while_loop:
            carried, count = attrs["carried"], 0
            while bool(self.body(attrs["test"], args)[0]):
                args = [*self.body(attrs["body"], args), *args[carried:]]
                count += 1
                if count > _MOST:
                    raise RuntimeError("a loop that does not end")
            return [*args[:carried], EagerTensor(np.asarray(count, np.int64))]
        if op is control.scan:
            return self._scan(node, args, **attrs)
        if op is control.custom_gradient:
            return _Given(self, **attrs)(*args)
        if op is host.host_call:  # eagerly the function simply runs, and the tapes see what it does
            entry = host._functions[attrs["function"]]
            number, *given = args
            self.called[int(number)] = (
                entry.call(*given) if entry.tensors else tf.convert_to_tensor(entry.call(*(x.numpy() for x in given)))
            )
            return [number]
        if op is host.host_result:
            return [self.called[int(args[0])]]
        return op(*args, **attrs)

    def _scan(self, node: Node, args: list[Any], body: Graph, carried: int, scanned: int, length: int, reverse: bool = False) -> Any:
        state, rows, captures = args[:carried], args[carried : carried + scanned], args[carried + scanned :]
        steps: dict[int, list[Any]] = {}
        for t in reversed(range(length)) if reverse else range(length):
            out = self.body(body, [*state, *(r[t] for r in rows), *captures])
            state, steps[t] = out[:carried], out[carried:]
        stacked = [tf.stack([steps[t][k] for t in range(length)]) for k in range(len(body.results) - carried)] if length else [
            tf.zeros(structure.attribute_dims(o.type.shape, self.sizes), o.type.dtype) for o in node.outs[carried:]
        ]  # fmt: skip
        return [*state, *stacked]

    def _gradient(self, attrs: dict[str, Any], args: list[Any]) -> list[Any]:
        sources = [args[s] if isinstance(s, int) else self.variables[s.removeprefix("state.")] for s in attrs["sources"]]
        seeds = [None if s is None else args[s] for s in attrs["seeds"]]
        found = self.tape(attrs["tape"]).gradient(args[: attrs["targets"]], sources, output_gradients=seeds)
        return [_zeros_like(s) if g is None else tf.convert_to_tensor(g) for g, s in zip(found, sources, strict=True)]


class _Given(Op):
    """The first operands, with the gradient that a graph gives for the next ones."""

    name = "given"
    tuple_result = True

    def __init__(self, at: Eager, backward: Graph, results: int, inputs: int, none: tuple[int, ...] = ()) -> None:
        self.at, self.backward, self.results, self.inputs, self.none = at, backward, results, inputs, none

    def infer(self, *types: Type) -> tuple[Type, ...]:
        return types[: self.results]

    def eager(self, *arrays: Any) -> Any:
        return tuple(np.array(a) for a in arrays[: self.results])

    def vjp(self, g: Any, z: Any, *operands: Any) -> tuple[Any, ...]:
        listed = g if isinstance(g, tuple) else (g,)
        gs = [_zeros_like(x) if d is None else d for d, x in zip(listed, operands, strict=False)]
        parts = iter(self.at.body(self.backward, [*gs, *operands[self.results + self.inputs :]]))
        of_inputs = [None if i in self.none else next(parts) for i in range(self.inputs)]
        return (
            *(None,) * self.results,
            *[None if d is None else (lambda d=d: d) for d in of_inputs],
            *(None,) * (len(operands) - self.results - self.inputs),
        )


def _zeros_like(source: Any) -> Any:
    return EagerTensor(np.zeros(source.shape.as_list(), source.dtype.np))


def eagerly(graph: Graph, setting: Setting) -> Outcome:
    """Carried out with ops on eager tensors, under the tapes that the lines name."""
    variables = {c: tf.Variable(a, dtype=graph.cells[c].dtype) for c, a in setting.cells.items()}
    consts = {c: EagerTensor(a) for c, a in setting.consts.items()}
    args = setting.of(graph)
    named = interpreter.bind_sizes(graph, [a.shape for a in args], {c: a.shape for c, a in setting.cells.items()})
    out = Eager(variables, consts, named).run(graph, [EagerTensor(a) for a in args])
    return Outcome([t.numpy() for t in out], {c: v.numpy() for c, v in variables.items()})


# -------------------------------------------------------------------------------------- the reference, and its noise
def interpreted(graph: Graph, setting: Setting) -> Outcome:
    """By the interpreter. The graph has no tape lines."""
    cells = dict(setting.cells)
    return Outcome(interpreter.run(graph, setting.of(graph), cells, setting.consts), cells)


def as_python(text: str, graph: Graph, setting: Setting) -> Outcome:
    """The text run as the Python that it is."""
    cells = dict(setting.cells)
    return Outcome(run_text(text, *setting.of(graph), state=cells, consts=setting.consts), cells)


_ROUNDING = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 5e-7, "float64": 1e-15, "complex64": 5e-7, "complex128": 1e-15}


class _Noise:
    """Changes floating numbers in their last places, as another order of rounding would."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def __call__(self, x: Any) -> Any:
        x = np.asarray(x)
        size = _ROUNDING.get(x.dtype.name)
        if size is None or not x.size:
            return x
        wide = x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)
        return (wide * (1 + size * self.random.uniform(-1, 1, x.shape))).astype(x.dtype)


def noisy(graph: Graph, setting: Setting, seed: int) -> Outcome:
    """By the interpreter, every intermediate value changed in its last places: what differs from `interpreted` is not determined."""
    noise = _Noise(seed)

    def run(graph: Graph, args: list[Any], env: Any) -> list[Any]:
        for p, a in zip(graph.params, args, strict=True):
            env[p] = noise(a)
        for node in graph.body:
            out = node.op.interpret(
                node, env, lambda g, xs, outer: run(g, xs, interpreter.Environment(outer.cells, outer.consts, outer.sizes, outer))
            )
            for v, a in zip(node.outs, out if isinstance(out, tuple) else (out,), strict=True):
                env[v] = noise(a)
                if node.op.binds_size:
                    env.sizes[v.name] = int(a)
        return [env[r] for r in graph.results]

    args, cells = setting.of(graph), dict(setting.cells)
    named = interpreter.bind_sizes(graph, [a.shape for a in args], {c: a.shape for c, a in cells.items()})
    with np.errstate(all="ignore"):
        return Outcome(run(graph, args, interpreter.Environment(cells, setting.consts, named)), cells)


class Bounds:
    """How far results may lie from the reference: `differences` lists those that lie further."""

    def __init__(self, graph: Graph, setting: Setting, runs: int = 4) -> None:
        self.reference = interpreted(graph, setting)
        # NumPy fuses a * b + c in products of complex arrays, and not in those of complex numbers: exact there means within rounding
        self.fused = any(v.type.dtype.kind == "c" for v in values(graph))
        self.shaken: list[Outcome] = []
        self.determined = True  # False where rounding decides about shapes or errors
        for seed in range(runs):
            try:
                self.shaken.append(noisy(graph, setting, seed))
            except Exception:
                self.determined = False

    def differences(self, found: Outcome, exact: bool = False) -> list[str]:
        """One line per result or cell that is not that of the reference; with `exact` to the last bit, where nothing is complex."""
        out = []
        names = [f"result {k}" for k in range(len(self.reference.results))] + [f"state.{c}" for c in sorted(self.reference.cells)]
        shaken = [s.arrays() for s in self.shaken]
        listed = found.arrays()
        if len(listed) != len(names):
            return [
                f"{len(found.results)} results and {len(found.cells)} cells, expected {len(self.reference.results)} and {len(self.reference.cells)}"
            ]
        for k, (name, wanted, got) in enumerate(zip(names, self.reference.arrays(), listed, strict=True)):
            if (wanted.dtype, wanted.shape) != (got.dtype, got.shape):
                if wanted.dtype == got.dtype and any(s[k].shape != wanted.shape for s in shaken):
                    continue
                out.append(f"{name}: {got.dtype}{list(got.shape)}, expected {wanted.dtype}{list(wanted.shape)}")
            elif exact and not self.fused:
                if wanted.tobytes() != got.tobytes() and not _same(wanted, got):
                    out.append(f"{name}: {got}, expected exactly {wanted}")
            else:
                wrong = _beyond(wanted, got, [s[k] for s in shaken if s[k].shape == wanted.shape])
                if wrong.any():
                    at = tuple(int(i) for i in np.argwhere(wrong)[0])
                    out.append(f"{name}{list(at)}: {got[at]!r}, expected {wanted[at]!r} ({int(wrong.sum())} of {wrong.size} differ)")
        return out


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal, NaN being NaN whatever its bits are."""
    return bool(np.array_equal(_wide(a), _wide(b), equal_nan=a.dtype.kind not in "biu"))


def _wide(x: np.ndarray) -> np.ndarray:
    return x if x.dtype.kind in "biu" else x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def _beyond(wanted: np.ndarray, got: np.ndarray, shaken: list[np.ndarray]) -> np.ndarray:
    """Where `got` is neither `wanted` nor within what rounding makes of it."""
    if wanted.dtype.kind in "biu":
        settled = np.ones(wanted.shape, bool)
        for s in shaken:
            settled &= s == wanted
        return np.asarray((got != wanted) & settled)
    rounding = _ROUNDING[wanted.dtype.name]
    largest = 65504.0 if wanted.dtype.itemsize == 2 else 3.4e38 if rounding > 1e-10 else 1.7e308
    smallest = {1e-3: 1e-6, 8e-3: 1e-36, 5e-7: 1e-36, 1e-15: 1e-300}[rounding]
    w, g = _wide(wanted), _wide(got)
    spread = np.zeros(w.shape)
    settled = np.ones(w.shape, bool)
    with np.errstate(all="ignore"):
        for s in map(_wide, shaken):
            settled &= np.isfinite(s) == np.isfinite(w)
            settled &= np.isnan(s) == np.isnan(w)
            spread = np.maximum(spread, np.where(np.isfinite(s) & np.isfinite(w), np.abs(s - w), 0))
        close = np.abs(g - w) <= 12 * spread + 8 * rounding * np.abs(w) + smallest
        same = np.where(np.isnan(w), np.isnan(g), np.where(np.isfinite(w), close, g == w))
        settled &= np.isfinite(g) | ~np.isfinite(w) | (spread <= 1e-3 * np.abs(w))  # a singular matrix may come out singular
        # at the edge of the range one rounding decides between the largest number and infinity
        edge = (np.abs(w) > largest / 4) | (np.isfinite(w) & (spread > largest / 64))
        if w.dtype.kind == "c":  # infinities of complex numbers have no agreed direction
            edge |= ~np.isfinite(w)
    return np.asarray(~same & settled & ~edge)


# ------------------------------------------------------------------------------------------------ natively
class Native:
    """A graph compiled: callable on settings."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.compiled = compiler.compile(graph)

    def __call__(self, setting: Setting) -> Outcome:
        variables = {c: tf.Variable(a, dtype=t.dtype, shape=[None] * t.rank if _open(t) else None) for (c, t), a in
                     zip(self.graph.cells.items(), (setting.cells[c] for c in self.graph.cells), strict=True)}  # fmt: skip
        consts = {c: np.array(a) for c, a in setting.consts.items()}
        run = self.compiled.launcher(EagerTensor, lambda own: own, (), variables, consts, [Give(k) for k in range(len(self.graph.results))])
        args = [EagerTensor(np.array(a, order="C")) for a in setting.of(self.graph)]
        before = [np.array(a.numpy_view()) for a in args]
        out = run(*args)
        if out is NotImplemented:
            raise AssertionError("the compiled step does not take its own arguments")
        again = run(*args) if not self.graph.cells else out  # a second call works in memory that the first one left
        found = Outcome([t.numpy() for t in out], {c: v.numpy() for c, v in variables.items()})
        for a, b in zip(args, before, strict=True):
            assert a.numpy_view().tobytes() == b.tobytes(), "an argument was written to"
        for a, b in zip(out, again, strict=True):
            assert _same(a.numpy(), b.numpy()), f"a second call gives {b.numpy()}, the first {a.numpy()}"
        return found


def _open(t: Type) -> bool:
    return any(isinstance(d, sizes.Size) for d in t.shape)


def values(graph: Graph) -> list[Value]:
    """Every value that the function itself defines, nested graphs aside."""
    return [*graph.params, *(o for n in graph.body for o in n.outs)]

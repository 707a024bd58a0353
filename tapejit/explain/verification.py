"""`f.verify(...)`: does the compiled step compute what the program says? Eagerly, interpreted and compiled, beside float64, node by node.

In: a trace, its arguments and variables. Out: a `Verification`: for every line of the optimized graph how far the interpreter and the compiled
step are from the same line in float64, and which line departs first. A line departs if its compiled value is further from float64 than rounding
in the working precision explains, as the interpreter shows it. What the step changes is put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.core.places import Place
from tapejit.explain.warned import VerificationError
from tapejit.ir import interpreter, structure
from tapejit.ir.graph import Graph, Literal, Node, Value
from tapejit.ir.interpreter import Environment, bind_sizes
from tapejit.record.recorder import recording
from tapejit.rewinding import rewinding
from tapejit.tensor import EagerTensor
from tapejit.variable import paused_tapes

_ROOM = 64.0  # how many times the interpreter's error, or the rounding of the largest element, a compiled value may be off


@dataclass(frozen=True)
class Check:
    """One value three ways. Errors are the largest distance of an element from float64, relative to the largest element there."""

    name: str
    op: str
    type: str
    place: Place | None
    interpreted: float
    compiled: float
    departs: bool


@dataclass(frozen=True)
class Verification:
    """What `verify` found. `lines` are the lines of the optimized graph in order, `results` the results and the new values of variables,
    where `interpreted` is the eager program's error."""

    name: str
    lines: tuple[Check, ...]
    results: tuple[Check, ...]

    @property
    def first(self) -> Check | None:
        """The first line that departs; without one, the first result that does."""
        return next((c for c in (*self.lines, *self.results) if c.departs), None)

    @property
    def ok(self) -> bool:
        return self.first is None

    def __str__(self) -> str:
        from rich.console import Console

        first = self.first
        if first is None:
            said = f"{self.name}: {len(self.lines)} lines and {len(self.results)} results agree, eagerly, interpreted and compiled"
        else:
            ways = "eagerly" if first.op in ("return", "assign") else "interpreted"
            said = f"{self.name}: {first.name} departs: its error is {first.interpreted:.3g} {ways}, {first.compiled:.3g} compiled"
            said += f"\n{first.place.quote()}" if first.place is not None else ""
        console = Console(width=110, no_color=True, highlight=False)
        with console.capture() as capture:
            console.print(self.table())
        return "\n".join([said, *(line.rstrip() for line in capture.get().splitlines())])

    __repr__ = __str__

    def table(self) -> Any:
        """The lines and results as a rich table: errors relative to the largest element, in float64."""
        from rich.table import Table

        table = Table(title=f"{self.name} beside float64")
        for heading, justify in (
            ("value", "left"),
            ("op", "left"),
            ("line", "left"),
            ("interpreted", "right"),
            ("compiled", "right"),
            ("", "left"),
        ):
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        for check in (*self.lines, *self.results):
            where = str(check.place) if check.place is not None else ""
            table.add_row(
                f"{check.name}: {check.type}",
                check.op,
                where,
                f"{check.interpreted:.2g}",
                f"{check.compiled:.2g}",
                "departs" if check.departs else "",
            )
        return table

    def expect(self) -> None:
        """VerificationError if a line or result departs."""
        if not self.ok:
            raise VerificationError(str(self), self)


def verify(name: str, concrete: Any, tensors: Sequence[Any], variables: Sequence[Any], eager: Callable[[], Any]) -> Verification:
    """Run one call of a trace in every way. `eager()` calls the Python function.

    What a run changes is put back before the next one and at the end: variables, random streams, and where iterators over datasets are.
    """
    from tapejit.passes import pipeline  # imports the rules, which programs found on disk do not need

    bound = concrete.bindings(list(variables))
    graph = pipeline.run(concrete.traced)
    values = [o for node in graph.body for o in node.outs if node.op not in (structure.read, structure.const)]
    arrays = [np.array(t.numpy_view()) for t in tensors]
    consts = {k: np.asarray(v) for k, v in concrete.captured.items()}
    state = {cell: np.array(v._value.numpy_view()) for cell, v in bound.items()}

    def now() -> dict[str, np.ndarray]:
        return {cell: np.array(v._value.numpy_view()) for cell, v in bound.items()}

    @contextmanager
    def put_back() -> Iterator[None]:
        with rewinding():
            try:
                yield
            finally:
                for cell, v in bound.items():
                    v._value = EagerTensor(state[cell].copy())

    def compiled_results(step: Any) -> list[np.ndarray]:
        return [np.array(t.numpy_view()) for t in step.run([EagerTensor(a.copy()) for a in arrays], bound)]  # it may be given them

    with put_back():
        results = compiled_results(concrete)
        compiled_cells = now()
    with rewinding():
        interpreted, own_cells = _run(graph, arrays, dict(state), consts, Environment)
    with rewinding():
        reference, cells = _run(graph, arrays, dict(state), consts, _Wide)
    with put_back():
        shown = compiled_results(concrete.showing(graph.with_body(_quiet(graph), [*graph.results, *values])))
    with put_back(), recording(None), paused_tapes():
        leaves = concrete.tree.flatten_up_to(eager())
        plain = {k: _array(x) for k, x in zip(concrete.outputs_plan, leaves, strict=True) if k is not None}
        eager_cells = now()
    compiled = dict(zip(map(id, [*graph.results, *values]), shown, strict=True))
    lines = [
        _check(o.name, node.op.name, o, node.place, reference[id(o)], interpreted[id(o)], compiled[id(o)])
        for node in graph.body
        for o in node.outs
        if id(o) in compiled
    ]
    made = {id(o): node.place for node in graph.body for o in node.outs}
    ends = [
        _check(f"result {k}", "return", r, made.get(id(r)), reference[id(r)], interpreted[id(r)], c, plain[k])
        for k, (r, c) in enumerate(zip(graph.results, results, strict=True))
    ]
    ends += [
        _check(f"state.{cell}", "assign", Value(cell, t), None, cells[cell], own_cells[cell], compiled_cells[cell], eager_cells[cell])
        for cell, t in graph.cells.items()
        if not np.array_equal(cells[cell], state[cell], equal_nan=cells[cell].dtype.kind in "fc")
    ]
    return Verification(name, tuple(lines), tuple(ends))


def _array(x: Any) -> np.ndarray:
    """A leaf of what the Python function returns as an array of its own."""
    return np.array(np.asarray(x.to_tensor() if hasattr(x, "to_tensor") else x))


def _check(
    name: str, op: str, value: Value, place: Place | None, reference: Any, interpreted: Any, compiled: Any, eager: Any = None
) -> Check:
    """A value beside float64. With `eager` its error stands for the interpreter's, and must be as small as the compiled one's."""
    a, b = _error(reference, interpreted), _error(reference, compiled)
    shown = a if eager is None else _error(reference, eager)
    dtype = value.type.dtype
    rounding = float(np.finfo(dtype.np if dtype.bits > 16 else np.float16).eps) if dtype.kind in "fc" else 0.0
    departs = not max(b, shown) <= _ROOM * max(a, rounding)
    return Check(name, op, str(value.type), place, shown, b, departs)


def _error(reference: Any, value: Any) -> float:
    """The largest distance of an element relative to the largest element of the reference; inf where one is NaN or infinite and the other not."""
    x, y = np.asarray(reference), np.asarray(value)
    if x.shape != y.shape:
        return float("inf")
    if not x.size:
        return 0.0
    if y.dtype.kind in "biu":
        return float(np.any(x != y))
    kind = np.complex128 if "c" in (x.dtype.kind, y.dtype.kind) else np.float64
    x, y = x.astype(kind), y.astype(kind)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    if not np.all(np.isfinite(x) & np.isfinite(y) | same):
        return float("inf")
    finite = np.isfinite(x)
    scale = max(float(np.abs(x[finite]).max(initial=0.0)), 1e-300)
    return float(np.abs(np.where(same, 0, x - y)).max()) / scale


def _quiet(graph: Graph) -> list[Node]:
    """The lines without those that have nothing but an effect, such as printing, except assignments."""
    return [n for n in graph.body if not n.op.effect or n.outs or n.op is structure.assign]


# ------------------------------------------------------------------------------------------------ interpreting
def _run(
    graph: Graph, arrays: list[np.ndarray], cells: dict[str, Any], consts: dict[str, np.ndarray], kind: type[Environment]
) -> tuple[dict[int, Any], dict[str, Any]]:
    """Every value of the graph by its id, and the cells afterwards. Effects are left out, but assignments."""
    env = kind(cells, consts, bind_sizes(graph, [a.shape for a in arrays], {c: np.shape(v) for c, v in cells.items()}))
    with np.errstate(all="ignore"):
        interpreter.run_in(graph.with_body(_quiet(graph)), arrays, env)
    return env.arrays, cells


class _Wide(Environment):
    """Computes in float64: what comes in is widened, and dtypes that lines ask for with it. Calls of Python get the program's own dtypes."""

    @property
    def _as_it_is(self) -> bool:
        return self.node is not None and self.node.op.effect

    def __getitem__(self, x: Any) -> Any:
        if isinstance(x, Literal):
            return np.asarray(x.value, x.dtype.np if self._as_it_is else _widened(x.dtype).np)
        found = super().__getitem__(x)
        return found.astype(x.type.dtype.np) if self._as_it_is and isinstance(found, np.ndarray) else found

    def __setitem__(self, x: Value, array: Any) -> None:
        wide = _widened(x.type.dtype)
        super().__setitem__(x, np.asarray(array) if wide is x.type.dtype else np.asarray(array).astype(wide.np))

    def attributes(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Only what is computed from numbers is computed in float64: draws and constants are the program's."""
        attrs = super().attributes(attrs)
        if (
            self.node is None
            or self._as_it_is
            or (self.node.op.name != "cast" and not any(a.type.dtype.kind in "fc" for a in self.node.args))
        ):
            return attrs
        return {k: _widened(v) if isinstance(v, DType) else v for k, v in attrs.items()}


def _widened(dtype: DType) -> DType:
    return dtypes.float64 if dtype.kind == "f" else dtypes.complex128 if dtype.kind == "c" else dtype

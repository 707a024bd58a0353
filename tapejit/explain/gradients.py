"""Why a gradient is None: the record of a tape followed from the source to where the path to the target breaks.

In: the lines that ran, in order, of an eager tape or of a graph being traced; the targets, the sources, and what the tape knows of them. Out:
an `Explanation` that names the line, or that there is none to name. Nothing is guessed: a cause is told only where its line was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tapejit.core.places import Place, place_of
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Node, Value
from tapejit.ir.names import Names
from tapejit.ir.op import Op
from tapejit.ops.control import custom_gradient, held
from tapejit.record.nesting import closed

CONNECTED = "connected"
NOT_WATCHED = "not watched"
LATE = "watched too late"
CAST = "cast"
NUMPY = "numpy"
STOPPED = "stop_gradient"
OUTSIDE = "outside the tape"
ASSIGNED = "assigned"
NO_GRADIENT = "no gradient"
INDEX = "constant operand"
INTEGER = "not floating point"
ANOTHER = "another tape"
UNUSED = "not connected"
RELEASED = "released"


@dataclass(frozen=True)
class Step:
    """An op on the way from a source to a target."""

    op: str
    place: Place | None

    def __str__(self) -> str:
        return f"{self.op} ({self.place})" if self.place is not None else self.op


@dataclass(frozen=True)
class Explanation:
    """Whether and how a source is connected to a target, or the `cause` why not with the line (`place`) where the path breaks.

    `path` lists the ops from the source on, as far as the gradient's path goes; `others` more lines where a path breaks.
    """

    cause: str
    message: str
    place: Place | None = None
    path: tuple[Step, ...] = ()
    others: tuple[Place, ...] = ()

    @property
    def connected(self) -> bool:
        return self.cause == CONNECTED

    def __str__(self) -> str:
        out = self.message
        if self.path:
            out += f"\n  path: {' -> '.join(map(str, self.path))}"
        for place in (self.place, *self.others):
            if place is not None:
                out += f"\n{place.quote()}"
        return out

    __repr__ = __str__


@dataclass(eq=False)
class Line:
    """One op that ran. `followed`: the tape recorded it. If not, `why` says what kept it; `at` is where, a place or (code, instruction)."""

    op: Op
    inputs: tuple[Any, ...]
    attrs: dict[str, Any]
    outputs: tuple[Any, ...]
    at: Any = None
    followed: bool = True
    why: str = ""
    before: Any = None  # where a value left that comes back here

    @property
    def place(self) -> Place | None:
        return resolved(self.at)

    def carriers(self, result: int) -> list[int]:
        """Positions of the operands that a gradient of one result goes to."""
        if not self.followed:
            return []
        reached = getattr(self.op, "reached", None)
        found = self.op.reached_operands(len(self.inputs), self.attrs, [result]) if reached is None else reached(result)
        return [i for i in found if flows(self.inputs[i])]


@dataclass
class Source:
    """What explanations know of a source: `values` stand for it in the lines, those in `active` from where the tape followed it."""

    name: str
    values: list[Any]
    active: set[int] = field(default_factory=set)
    watched_at: Any = None
    why_not: str = ""  # why the tape does not follow it of its own


def resolved(at: Any) -> Place | None:
    """A place from how a tape notes it down."""
    return place_of(*at) if isinstance(at, tuple) else at


def flows(x: Any) -> bool:
    """Whether a gradient can flow through a value."""
    dtype = getattr(x, "dtype", None) or getattr(getattr(x, "type", None), "dtype", None)
    return dtype is not None and bool(getattr(dtype, "differentiable", False))


def explain(
    lines: Sequence[Line],
    targets: Sequence[Any],
    source: Source,
    target_name: str,
    elsewhere: Callable[[], str] = lambda: "",
    made_at: Place | None = None,
) -> Explanation:
    """Why the gradient of `targets` with respect to `source` is None, or how they are connected.

    `elsewhere` says who saw the targets being computed if no line did, `made_at` is where the program assigns them.
    """
    ids = {id(v) for v in source.values}
    needed = _needed(lines, targets)
    alive = _alive(lines, {id(v) for v in source.values if id(v) in source.active and flows(v)})
    if any(id(t) in alive and flows(t) for t in targets):
        path = _path(lines, targets, alive, source)
        lost = [x for x in lines if x.why == NUMPY and any(id(i) in alive for i in x.inputs) and any(id(o) in needed for o in x.outputs)]
        also = "; but what came back from NumPy or Python as a constant has no part in the gradient" if lost else ""
        places = tuple(dict.fromkeys(p for x in lost if (p := x.place) is not None))
        return Explanation(CONNECTED, f"{target_name} is connected to {source.name}{also}", path=path, others=places)
    if source.values and not any(map(flows, source.values)):
        return Explanation(
            INTEGER,
            f"{source.name} is of dtype {_dtype(source.values[0])}: only floating-point and complex values have gradients; write tf.cast",
        )
    if not ids & needed and not any(id(t) in ids for t in targets):
        return _unconnected(lines, targets, source, target_name, needed, elsewhere, made_at)
    return _broken(lines, source, target_name, needed, alive)


# ------------------------------------------------------------------------------------------------ following
def _needed(lines: Sequence[Line], targets: Sequence[Any]) -> set[int]:
    """Ids of the values that the targets are computed from, by whatever way."""
    out = {id(t) for t in targets}
    for line in reversed(lines):
        if any(id(o) in out for o in line.outputs):
            out.update(map(id, line.inputs))
    return out


def _alive(lines: Sequence[Line], start: set[int]) -> set[int]:
    """Ids of the values through which a gradient reaches those in `start`."""
    out = set(start)
    for line in lines:
        if line.followed and any(id(x) in out for x in line.inputs):
            out.update(id(o) for k, o in enumerate(line.outputs) if flows(o) and any(id(line.inputs[i]) in out for i in line.carriers(k)))
    return out


def _path(lines: Sequence[Line], ends: Sequence[Any], alive: set[int], source: Source) -> tuple[Step, ...]:
    """The ops of one living path from the source to an end."""
    at = next((id(t) for t in ends if id(t) in alive), None)
    steps: list[Step] = []
    starts = {id(v) for v in source.values}
    for line in reversed(lines):
        if at is None or at in starts:
            break
        made = next((k for k, o in enumerate(line.outputs) if id(o) == at), None)
        if made is not None:
            if line.op is not held:  # a variable's value, handed into a branch or loop
                steps.append(Step(line.op.name, line.place))
            at = next((id(line.inputs[i]) for i in line.carriers(made) if id(line.inputs[i]) in alive), None)
    return tuple(reversed(steps))


# -------------------------------------------------------------------------------------------------- telling
def _broken(lines: Sequence[Line], source: Source, target: str, needed: set[int], alive: set[int]) -> Explanation:
    """The data reaches the target, the gradient does not."""
    starts = {id(v) for v in source.values} | alive
    breaks = [
        line
        for line in lines
        if any(id(x) in starts for x in line.inputs) and any(id(o) in needed and id(o) not in alive for o in line.outputs)
    ]
    if not breaks:  # the target is the source itself, unwatched
        return Explanation(NOT_WATCHED, f"{source.name} is not watched: {source.why_not or 'call tape.watch(x) inside the tape'}")
    first = breaks[0]
    inner = _inside(first, source, starts, needed, alive)
    if inner is not None:
        cause, message = inner.cause, f"inside {first.op.name.removeprefix('call_')}{_at(first.place)} {inner.message}"
        return Explanation(cause, message, inner.place, inner.path, inner.others)
    cause, message = _told(first, source, starts)
    path = _path(lines, [x for x in first.inputs if id(x) in alive], alive, source)
    message = f"the gradient of {target} with respect to {source.name} is None: {message}"
    others = dict.fromkeys(p for line in breaks[1:] if (p := line.place) is not None and p != first.place)
    place = first.place
    if cause in (LATE, NUMPY):
        also = resolved(source.watched_at if cause == LATE else first.before)
        others = {**({also: None} if also is not None and also != place else {}), **others}
    return Explanation(cause, message, place, path, tuple(others))


def _inside(line: Line, source: Source, starts: set[int], needed: set[int], alive: set[int]) -> Explanation | None:
    """For a call of a traced function, a branch or a loop: what breaks the path in its graph. None if that cannot be said."""
    if not line.followed:
        return None
    for body, params, results in _graphs(line):
        lines, carried = lines_of(body), line.attrs.get("carried", 0)
        values = [p for p, x in zip(params, line.inputs[len(line.inputs) - len(params) :], strict=True) if id(x) in starts]
        again: list[Value] | None = None
        while again is None or again:  # what one turn of a loop gives the next one
            living = _alive(lines, set(map(id, values)))
            again = [p for p, r in zip(params, results[:carried], strict=False) if id(r) in living and all(p is not v for v in values)]
            values += again
        within = Source(source.name, values, set(map(id, values)))
        dead = [r for r, o in zip(results, line.outputs, strict=False) if id(o) in needed and id(o) not in alive]
        for heads in (dead, results[:carried]):
            found = explain(lines, heads, within, "its result")
            if found.cause not in (CONNECTED, UNUSED, OUTSIDE):
                return found
    return None


def _graphs(line: Line) -> Iterator[tuple[Sequence[Node], Sequence[Value], Sequence[Value]]]:
    """The lines within a line whose results are its own, with what stands for its last operands there, and for its first results."""
    inside = getattr(line.op, "inside", None)
    if inside is not None:
        yield inside()
    for name in ("body", "then", "otherwise"):
        graph = line.attrs.get(name)
        if isinstance(graph, Graph):
            yield graph.body, graph.params, graph.results


# --------------------------------------------------------------------------------------------------- graphs
def lines_of(body: Sequence[Node], tape: str = "") -> list[Line]:
    """The lines of a graph as `tape` sees them; without one, all as followed."""
    names = Names()
    cells: set[str] = set()
    active: set[int] = set()
    out: list[Line] = []
    for node in body:
        if node.op is structure.watch:
            if node.attrs["tape"] == tape:
                cells.update([node.attrs["cell"]] if node.attrs.get("cell") else [])
                active.update(map(id, node.values()))
            continue
        node = closed(node, names)
        inputs = node.args
        seen = not tape or tape in node.tapes
        if seen and tape and (node.attrs.get("cell") in cells or any(id(x) in active for x in inputs)):
            active.update(map(id, node.outs))
        followed = not tape or (seen and any(id(x) in active for x in inputs))
        why = "" if followed or seen else OUTSIDE
        out.append(Line(node.op, inputs, node.attrs, node.outs, node.place, followed, why))
    return out


def source_in(body: Sequence[Node], tape: str, name: str, what: Any, why_not: str) -> Source:
    """What a graph knows of a source: a value, or a cell by its name."""
    if isinstance(what, str):
        watched = next((n for n in body if n.op is structure.watch and n.attrs["tape"] == tape and n.attrs.get("cell") == what), None)
        values = [o for n in body if n.attrs.get("cell") == what for o in n.outs]
        after = body.index(watched) if watched is not None else len(body)
        active = {id(o) for n in body[after:] if n.attrs.get("cell") == what and tape in n.tapes for o in n.outs}
        return Source(name, values, active, None if watched is None else watched.place, why_not)
    watched = next((n for n in body if n.op is structure.watch and n.attrs["tape"] == tape and any(v is what for v in n.args)), None)
    made = any(any(o is what for o in line.outputs) and line.followed for line in lines_of(body, tape))
    return Source(name, [what], {id(what)} if watched is not None or made else set(), None if watched is None else watched.place, why_not)


def _told(line: Line, source: Source, starts: set[int]) -> tuple[str, str]:
    """What kept the gradient from passing a line."""
    op, at = line.op.name, _at(line.place)
    if line.why == NUMPY:
        left = resolved(line.before)
        how = "left TensorFlow as a NumPy or Python value" + (f" ({left})" if left is not None else "")
        return NUMPY, f"it {how} and came back as a constant{at}; stay with the tensor, which a tape can follow"
    if line.op.name == "assign":
        return (
            ASSIGNED,
            f"it was assigned to a variable{at}, and an assignment is not differentiable: what is read from there is a new value",
        )
    if line.why == OUTSIDE:
        return OUTSIDE, f"{op} ran{at} while the tape was not recording: outside its `with` block, or inside stop_recording()"
    own = [x for x in line.inputs if any(x is v for v in source.values)]
    if own and not (line.followed and any(id(x) in source.active for x in own)):
        if source.watched_at is not None:
            late = resolved(source.watched_at)
            return LATE, f"{op} used it{at} before tape.watch was called{f' ({late})' if late is not None else ''}; watch it first"
        return NOT_WATCHED, f"{op} uses it{at}, but it is not watched: {source.why_not or 'call tape.watch(x) before it is used'}"
    if not line.followed:
        return NOT_WATCHED, f"{op} ran{at} on what the tape does not follow"
    if op == "stop_gradient":
        return STOPPED, f"tf.stop_gradient makes it a constant{at}"
    if op == "cast":
        return CAST, f"it is cast to {_dtype(line.outputs[0])}{at}, which carries no gradient"
    if line.op is custom_gradient:
        return NO_GRADIENT, f"the gradient function that tf.custom_gradient was given{at} gives it none"
    used = [i for i, x in enumerate(line.inputs) if id(x) in starts]
    carriers = line.op.gradient_operands(len(line.inputs), line.attrs)
    if line.op.no_gradient or not carriers:
        return NO_GRADIENT, f"{op} has no gradient{at}: its result is piecewise constant, or of integers"
    if not any(i in carriers for i in used):
        return INDEX, f"{op} takes it as a constant{at} (operand {used[0] + 1}: an index, a condition or the like)"
    if not all(map(flows, line.outputs)):
        return CAST, f"{op} gives {_dtype(line.outputs[0])}{at}, which carries no gradient"
    return NO_GRADIENT, f"{op} passes no gradient on to it{at}"


def _unconnected(
    lines: Sequence[Line],
    targets: Sequence[Any],
    source: Source,
    target: str,
    needed: set[int],
    elsewhere: Callable[[], str],
    made_at: Place | None,
) -> Explanation:
    """The tape saw no way from the source to the target at all."""
    made = [line for line in lines if any(o is t for o in line.outputs for t in targets)]
    head = f"the gradient of {target} with respect to {source.name} is None: "
    if not made:
        other = elsewhere()
        if other:
            return Explanation(ANOTHER, f"{head}{other}", made_at)
        return Explanation(
            OUTSIDE,
            f"{head}the tape did not see {target} being computed: that happened outside its `with` block, in another thread, or it is a constant",
            made_at,
        )
    last = made[-1]
    steps = tuple(Step(line.op.name, line.place) for line in lines if any(id(o) in needed for o in line.outputs))[-8:]
    born = next((line for line in lines for o in line.outputs if any(o is v for v in source.values)), None)
    if born is not None and lines.index(born) > lines.index(last):
        return Explanation(
            UNUSED,
            f"{head}{source.name} is a tensor that {born.op.name} made{_at(born.place)}, after {target} was computed. If a variable's name was bound to "
            "it, use v.assign or v.assign_add instead, which keep the variable",
            born.place,
            steps,
        )
    ids = {id(v) for v in source.values}
    followed = ids | _alive(lines, {k for k in ids if k in source.active})
    left = [x for x in lines[: lines.index(last)] if x.op.name == "export" and any(id(i) in followed for i in x.inputs)]
    if left:  # whether it is by this that the target depends on the source, only Python knows
        places = dict.fromkeys(p for x in left if (p := x.place) is not None)
        said = (
            f"no op leads from {source.name} to {target}, but a value left TensorFlow as a NumPy or Python value{_at(left[0].place)}: what is "
            "computed from that is constant; stay with the tensor, which a tape can follow"
        )
        return Explanation(NUMPY, head + said, next(iter(places), None), steps, tuple(places)[1:])
    unused = not any(id(x) in ids for line in lines for x in line.inputs)
    why = (
        f"{source.name} is not used at all while the tape records" if unused else f"nothing computed from {source.name} goes into {target}"
    )
    return Explanation(UNUSED, f"{head}{why}; {target} is computed as listed", last.place, steps)


def _at(place: Place | None) -> str:
    return f" ({place})" if place is not None else ""


def _dtype(x: Any) -> str:
    dtype = getattr(x, "dtype", None) or getattr(getattr(x, "type", None), "dtype", None)
    return getattr(dtype, "name", "no number")

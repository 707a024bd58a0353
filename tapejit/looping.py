"""A loop while it is recorded: `tf.while_loop`, `while` and `for` whose number of iterations only the run knows.

In: loop variables, and a condition and a body as Python functions or as what an interpreter of statements records into; out: one line of
the function that holds a graph for each. Variables read within are read before that line, those assigned within are loop variables too
and assigned after it, so program order is kept.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optree

from tapejit import nest
from tapejit.branching import condition
from tapejit.carried import (
    ArrayVariable,
    OpenVariable,
    TensorVariable,
    as_value,
    tensorlike,
)
from tapejit.core import dtypes, places
from tapejit.core.shape import TensorShape
from tapejit.core.types import Type
from tapejit.graph_tensor import GraphTensor
from tapejit.ir import structure
from tapejit.ir.builder import Builder
from tapejit.ir.graph import Graph, Node, Value, substituted
from tapejit.ir.names import Names
from tapejit.ir.op import OPS, thread
from tapejit.nest import leaves_of
from tapejit.ops import control
from tapejit.ops import elementwise as e
from tapejit.passes.copies import Copier
from tapejit.passes.prune import carried_on, live
from tapejit.record.nesting import assign_after, carried_cells, cells_touched, lift, read_before
from tapejit.record.recorder import Recorder, recording
from tapejit.record.sizes import size_of
from tapejit.tensor import constant, convert_to_tensor
from tapejit.tensor_array import TensorArray


def repacked(out: Any, like: Any) -> list[Any]:
    """What a body returned as a list with an entry for each loop variable."""
    listed = list(out) if isinstance(out, list | tuple) else [out]
    if len(like) == 1 and (not isinstance(out, list | tuple) or (isinstance(like[0], list | tuple) and len(listed) != 1)):
        listed = [out]
    if len(listed) != len(like):
        raise ValueError(
            places.with_place(
                f"The loop body must return as many values as there are loop variables: expected {len(like)}, got {len(listed)}"
            )
        )
    return listed


def same_structure(before: Any, after: Any) -> None:
    """TypeError or ValueError if what a body returned is not nested as what it was given."""
    try:
        nest.assert_same_structure(before, after, check_types=False, expand_composites=True)
    except (ValueError, TypeError) as error:
        raise type(error)(places.with_place(f"The loop body changed the structure of the loop variables: {error}")) from None


def packed(like: Any, values: Any) -> Any:
    """`values` as the list, tuple or namedtuple that the loop variables `like` are."""
    return type(like)(*values) if hasattr(like, "_fields") else type(like)(values)


def open_axes(x: Any, invariant: Any) -> list[int]:
    """The axes of a loop variable whose size its shape invariant (a TensorShape, a TensorSpec or None) leaves open and that it knows."""
    if invariant is None or isinstance(x, TensorArray) or not hasattr(x, "dims"):
        return []
    shape = TensorShape(getattr(invariant, "shape", invariant))
    if not shape.is_compatible_with(TensorShape(x.dims)):
        raise ValueError(
            places.with_place(f"The shape invariant specified for a loop variable is not compatible with its shape: {shape} and {x.shape}")
        )
    return [axis for axis, d in enumerate(shape) if d is None]


_INVARIANTS = "Use the `shape_invariants` argument of tf.while_loop to set shape invariants."


def _labels_of(function: Callable[..., Any], loop_vars: Sequence[Any]) -> list[str]:
    """What to call the leaves of loop variables: after the parameters of the function that takes them."""
    try:
        taken = [p.name for p in inspect.signature(function).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    except (TypeError, ValueError):
        taken = []
    out = []
    for k, x in enumerate(loop_vars):
        base = taken[k] if k < len(taken) else f"loop_var_{k}"
        count = len(leaves_of(x)[0])
        out += [base] if count == 1 else [f"{base}_{i}" for i in range(count)]
    return out


class Loop:
    """A loop while it is recorded: its body, and the condition it goes on by or the `rows` it goes along, in graphs of their own.

    `leaves` are the loop variables: tensors, numbers and TensorArrays; `labels` is what errors call them, `hint` how a shape may be left
    open. `open_axes` says of some by number which of their sizes change.
    """

    def __init__(
        self,
        leaves: Sequence[Any],
        labels: Sequence[str],
        hint: str = "",
        rows: Sequence[Any] = (),
        length: Any = None,
        open_axes: Mapping[int, Sequence[int]] | None = None,
    ) -> None:
        self.outer, self.hint = thread.recorder, hint
        self.rows, self.length = rows, length
        self.variables: list[Any] = []
        for k, (x, label) in enumerate(zip(leaves, labels, strict=True)):
            if isinstance(x, TensorArray):
                self.variables.append(ArrayVariable(label, x, self.outer))
            elif open_axes and k in open_axes:
                self.variables.append(OpenVariable(label, x, open_axes[k], self.outer))
            elif x is None or not tensorlike(x):
                raise TypeError(
                    places.with_place(f"'{label}' is {x!r} before the loop; loop variables are tensors, numbers or TensorArrays")
                )
            else:
                self.variables.append(TensorVariable(label, x))
        self.testing = self.outer.inner("test") if length is None else None
        self.running = self.outer.inner("body")
        self._seen: dict[int, list[Any]] = {}
        self._parts: list[list[Value]] = []
        self._slices: list[Value] = []
        self.count: Any = length
        self.kept: list[Value] = []  # of a loop along rows: values of the body that are stacked
        self.stacked: list[Any] = []

    def enter(self, inner: Recorder) -> list[Any]:
        """The loop variables as the graph of `inner`, which is `testing` or `running`, sees them."""
        self._seen[id(inner)] = [v.enter(inner) for v in self.variables]
        return self._seen[id(inner)]

    def slices(self, name: str) -> list[Any]:
        """What the body sees of `rows`."""
        types = [Type(x.dtype, tuple(x.dims[1:])) for x in self.rows]
        self._slices = [self.running.builder.parameter(name, t) for t in types]
        return [GraphTensor(p, self.running) for p in self._slices]

    def tested(self, goes_on: Any) -> None:
        """Whether the loop goes on, as the condition says."""
        assert self.testing is not None
        with recording(self.testing):
            self.testing.graph.results = [as_value(self.testing, condition(goes_on))]

    def ran(self, new: Sequence[Any]) -> None:
        """The loop variables after an iteration. TypeError or ValueError for one whose dtype or shape has changed."""
        seen = self._seen[id(self.running)]
        with recording(self.running):
            self._parts = [v.leave(self.running, s, x, self.hint) for v, s, x in zip(self.variables, seen, new, strict=True)]

    def late(self, label: str, new: Any) -> None:
        """A loop variable that has no value before the first iteration: zeros stand for it."""
        with recording(self.running):
            value = as_value(self.running, new)
        zeros = e.full(shape=value.type.shape, value=False if value.type.dtype.kind == "b" else 0, dtype=value.type.dtype)
        variable = TensorVariable(label, zeros)
        self.variables.append(variable)
        self._seen[id(self.running)].append(variable.enter(self.running))
        self._parts.append([value])

    def results(self) -> list[Any]:
        """Write the line; the loop variables after the loop."""
        recorder, variables = self.outer, self.variables
        inners = [inner for inner in (self.testing, self.running) if inner is not None]
        for inner in inners:
            views = self._seen.get(id(inner), [])
            views += [v.enter(inner) for v in variables[len(views) :]]
            slices = [*self._slices] if self.rows and inner is self.running else []
            inner.graph.params = [*(p for v, s in zip(variables, views, strict=True) for p in v.parameters(inner, s)), *slices]
            self._seen[id(inner)] = views
        # a TensorArray whose elements only the condition reads goes through the body as it is
        for v, p, s in zip(variables, self._parts, self._seen[id(self.running)], strict=True):
            stands = v.parameters(self.running, s)
            p[:0] = stands[: len(stands) - len(p)]
        body = self.running.graph
        body.results = [r for p in self._parts for r in p]
        read, written = cells_touched(inner.graph for inner in inners)
        holds = read_before(recorder, [*read, *written])
        starts = [GraphTensor(holds[c], recorder) for c in written]
        for inner in inners:
            inside = {c: inner.builder.parameter(c, recorder.cell_type(c)) for c in written}
            after = lift(inner.graph, recorder.builder.names, holds | inside)
            if inner is self.running:
                body.results += carried_cells(inside, after)
        if self.testing is not None:
            _make_room(recorder, variables, self.testing.graph, body, starts)
        inits = [s for v in variables for s in v.starts()]
        carried = len(inits) + len(starts)
        if self.testing is not None:
            *outs, self.count = control.while_loop(*inits, *starts, test=self.testing.graph, body=body, carried=carried)
        else:
            rows = body.params[len(inits) : len(inits) + len(self.rows)]  # cells come before the rows
            body.params = [*body.params[: len(inits)], *body.params[len(inits) + len(rows) :], *rows]
            body.results += self.kept
            attrs = {"body": body, "carried": carried, "scanned": len(rows), "length": self.length}
            outs = list(control.scan(*inits, *starts, *self.rows, **attrs) or ())
            outs, self.stacked = outs[:carried], outs[carried:]
        assign_after(recorder, written, (o.value for o in outs[len(inits) :]))
        made = outs[: len(inits)]
        return [v.wrap(made) for v in variables]


def loop(
    test: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    labels: Sequence[str] | None = None,
    invariants: Sequence[Any] = (),
    limit: Any = None,
) -> Any:
    """`while_loop` in a function being traced. `labels` is what errors call the leaves of the loop variables, `invariants` their shapes."""
    leaves, tree = leaves_of(list(loop_vars))
    labels = list(labels) if labels is not None else _labels_of(body, loop_vars)
    if limit is not None:
        return _limited(test, body, loop_vars, labels, invariants, limit)
    made = Loop(
        leaves,
        labels,
        _INVARIANTS,
        open_axes={k: a for k, (x, s) in enumerate(zip(leaves, invariants, strict=False)) if (a := open_axes(x, s))},
    )
    assert made.testing is not None
    with recording(made.testing):
        goes_on = test(*optree.tree_unflatten(tree, made.enter(made.testing)))
    made.tested(goes_on)
    if cells_touched([made.testing.graph])[1]:
        return _tested_in_body(test, body, loop_vars, labels, invariants)
    with recording(made.running):
        given = optree.tree_unflatten(tree, made.enter(made.running))
        new = repacked(body(*given), given)
        same_structure(given, new)
    made.ran(leaves_of(new)[0])
    return packed(loop_vars, optree.tree_unflatten(tree, made.results()))


def _limited(
    test: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, labels: list[str], invariants: Sequence[Any], limit: Any
) -> Any:
    """The loop with a counter of its own."""
    most = e.cast(convert_to_tensor(limit), dtype=dtypes.int32) if hasattr(limit, "dims") else int(limit)

    def tested(*args: Any) -> Any:
        *given, count = args
        return e.logical_and(e.less(count, most), condition(test(*given)))

    def counted(*args: Any) -> Any:
        *given, count = args
        return [*repacked(body(*given), given), e.add(count, 1)]

    *out, _ = loop(tested, counted, [*loop_vars, constant(0)], [*labels, "iteration"], invariants)
    return packed(loop_vars, out)


def _tested_in_body(
    test: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, labels: list[str], invariants: Sequence[Any]
) -> Any:
    """The loop for a condition that assigns variables: it is evaluated before the loop and at the end of the body."""

    def goes_on(*args: Any) -> Any:
        return args[-1]

    def both(*args: Any) -> Any:
        given = list(args[:-1])
        new = repacked(body(*given), given)
        return [*new, condition(test(*new))]

    *out, _ = loop(goes_on, both, [*loop_vars, condition(test(*loop_vars))], [*labels, "going"], invariants)
    return packed(loop_vars, out)


def _make_room(recorder: Recorder, variables: list[Any], test: Graph, body: Graph, starts: list[Any]) -> None:
    """Bind the sizes of what grows in the loop, by running first what its lengths depend on."""
    growing = [v for v in variables if getattr(v, "grows", False) and v.touched]
    if not growing:
        return
    names = recorder.builder.names
    dropped, rooms = set(), {}
    inits: list[Any] = []
    for v in variables:
        if v in growing:
            dropped.add(len(inits))
            rooms.update({len(inits) + k: name for k, name in v.room_at()})
        inits += v.room_starts() if v in growing else v.starts()
    inits += starts
    testing, running = Copier(names).graph(test), Copier(names).graph(body)
    once = _silence(running)
    unknown = _unforeseen(running, testing, once, len(inits))
    if id(testing.results[0]) in unknown:  # then there is room for as long as the loop goes on by what is known
        for v in growing:
            v.filled = False
        running = _going_on(running, testing, unknown, {id(n.out): n for at in recorder.around() for n in at.graph.body if n.outs})
        testing = _foreseen(testing, _unforeseen(running, testing, once, len(inits)), names)
    kept = carried_on(running, live(testing), len(inits), set(rooms))
    if kept & dropped:
        raise NotImplementedError(
            places.with_place(
                "a loop in which what a tensor or tf.TensorArray of changing size holds decides how large it becomes; give it a size"
            )
        )
    order = sorted(kept)
    graphs = []
    for graph, results in ((testing, range(1)), (running, order)):
        lean = live(graph, [graph.results[k] for k in results])
        lean.params = [graph.params[k] for k in order]
        if any(id(v) in once for v in lean.uses()):
            raise NotImplementedError(
                places.with_place(
                    "a loop in which what Python returns, or a dataset that each iteration begins, decides how large a tensor or "
                    "tf.TensorArray of changing size becomes; give it a size, or bound the loop: for _ in tf.range(most)"
                )
            )
        graphs.append(lean)
    attrs = {"test": graphs[0], "body": graphs[1], "carried": len(order)}
    args = tuple(recorder.operand(inits[k]) for k in order)
    outs = recorder.builder.emit(control.while_loop, args, attrs, name="room", place=places.here(2))
    for at, name in rooms.items():
        names.give_back(name)
        recorder.builder.emit(size_of, (outs[order.index(at)],), {}, name=name, place=places.here(2))


def _unforeseen(body: Graph, test: Graph, once: set[int], carried: int) -> set[int]:
    """Ids of the values in the graphs of a loop that depend on those of ids `once`, in later iterations too."""
    found, count = set(once), -1
    while len(found) > count:
        count = len(found)
        for graph in (body, test):
            for n in graph.body:
                if any(id(v) in found for v in (*n.values(), *(v for inner in n.graphs() for v in inner.uses()))):
                    found.update(id(o) for o in n.outs)
        for p, q, r in zip(body.params, test.params, body.results[:carried], strict=False):
            if id(r) in found:
                found |= {id(p), id(q)}
    return found


def _going_on(body: Graph, test: Graph, unknown: set[int], outside: Mapping[int, Node]) -> Graph:
    """The body of a loop as long as unknown flags that `test` asks for do not end it: of the branches that set them the sides that do not.

    `outside` are the lines around the loop by the ids of their results.
    """
    asked = {id(v) for v in test.uses()}
    ends = {id(v) for n in test.body if n.op is e.logical_not for v in n.values()}
    flags = {id(r): id(p) not in ends for p, r in zip(test.params, body.results, strict=False) if id(r) in unknown and id(p) in asked}

    def value(side: Graph, at: int) -> Any:
        made = next((n for n in side.body if side.results[at] in n.outs), outside.get(id(side.results[at])))
        return made.attrs["value"] if made is not None and made.op is structure.constant else None

    lines: list[Node] = []
    now: dict[int, Value] = {}
    for given in body.body:
        node = substituted(given, lambda v: now.get(id(v), v)) if now else given
        sides = list(node.graphs()) if node.op is control.cond else []
        going = [s for s in sides for k, o in enumerate(node.outs) if id(o) in flags and value(s, k) is flags[id(o)]]
        if len(going) == 1:
            lines += going[0].body
            now.update((id(o), r) for o, r in zip(node.outs, going[0].results, strict=True))
        else:
            lines.append(node)
    return body.with_body(lines, [now.get(id(r), r) for r in body.results])


def _foreseen(test: Graph, unknown: set[int], names: Names) -> Graph:
    """A condition that holds at least as long as `test`: the parts that it joins by `and`, without the unknown ones. Itself if that leaves none."""
    if id(test.results[0]) not in unknown:
        return test
    made = {id(o): n for n in test.body for o in n.outs}
    parts: list[Value] = []
    left = list(test.results)
    while left:
        v = left.pop()
        if id(v) not in unknown:
            parts.append(v)
        elif id(v) in made and made[id(v)].op is e.logical_and:
            left += made[id(v)].values()
    if not parts:
        return test
    out = test.with_body(list(test.body))
    builder = Builder(out, names)
    for part in parts[1:]:
        (parts[0],) = builder.emit(e.logical_and, (parts[0], part))
    return out.with_body(out.body, parts[:1])


def _silence(graph: Graph) -> set[int]:
    """Take the lines with effects out of a graph and those nested in it, but those that can be foretold; the ids of what they gave."""
    told: set[int] = set()
    for g in (graph, *(g for n in graph.walk() for g in n.graphs())):
        told.update(id(o) for n in g.body if n.op.effect and not n.op.ahead for o in n.outs)
        g.body = [replace(n, op=OPS[n.op.ahead]) if n.op.ahead else n for n in g.body if not n.op.effect or n.op.ahead]
    return told

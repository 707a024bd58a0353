"""`tf.cond`, `tf.case`, `tf.switch_case` and `tf.while_loop`.

In: Python functions that are branches, conditions and loop bodies. Outside traced functions Python branches and loops. While a function
is traced, each is recorded into a graph of its own, which one line of the function holds; Variables read within are read before that line,
those assigned within are results of it and assigned after it, so program order is kept.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optree

from tapejit import nest
from tapejit.carried import (
    ArrayVariable,
    OpenVariable,
    TensorVariable,
    agree,
    as_value,
    cut,
    filled,
    fits,
    leaves_of,
    shape_text,
    size_along,
    tensorlike,
)
from tapejit.core import dtypes, places, sizes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.debugging import Assert
from tapejit.ir.graph import Graph, Value
from tapejit.ir.op import thread
from tapejit.ops import control
from tapejit.ops import elementwise as e
from tapejit.ops.shapes import reshape
from tapejit.passes.copies import Copier
from tapejit.passes.prune import carried_on, live
from tapejit.record.nesting import assign_after, cell_type, cells_touched, lift, read_before
from tapejit.record.recorder import Recorder, recording
from tapejit.record.sizes import size_of
from tapejit.tensor import EagerTensor, GraphTensor, constant, convert_to_tensor
from tapejit.tensor_array import TensorArray, enlarged

__all__ = ["case", "cond", "switch_case", "while_loop"]


def known(x: Any) -> bool | None:
    """A condition's value where it is known while recording."""
    if isinstance(x, bool | int | float | np.generic | np.ndarray | EagerTensor):
        return bool(x)
    return bool(x) if thread.recorder is None else None


def condition(x: Any) -> Any:
    """A condition as a bool scalar. ValueError for several elements."""
    x = convert_to_tensor(x)
    if x.dtype is not dtypes.bool_:
        x = e.not_equal(x, 0)
    if x.dims and sizes.product(x.dims) != 1:
        raise ValueError(
            places.with_place(f"a condition must be a scalar, got shape {x.shape}; write tf.reduce_all(x) or tf.reduce_any(x)")
        )
    return reshape(x, shape=()) if x.dims else x


# -------------------------------------------------------------------------------------------------- branches
_SIDES = ("true_fn", "false_fn")


def cond(pred: Any, true_fn: Callable[[], Any] | None = None, false_fn: Callable[[], Any] | None = None, name: str | None = None) -> Any:
    """`true_fn()` if the scalar `pred` holds, else `false_fn()`.

    In a traced function with a `pred` known only at run time both are recorded, and must return tensors of the same structure, dtypes and
    shapes: TypeError or ValueError names the result that differs.
    """
    for what, fn in zip(_SIDES, (true_fn, false_fn), strict=True):
        if not callable(fn):
            raise TypeError(places.with_place(f"{what} must be callable, got {fn!r}"))
    assert true_fn is not None
    assert false_fn is not None
    holds = known(pred)
    if holds is not None:
        return true_fn() if holds else false_fn()
    return branch(pred, true_fn, false_fn)


class Branches:
    """A `cond` while it is recorded: two graphs that are filled one after the other, then results that are the one's or the other's.

    `ways` are the recorders of the graphs, `sides` is what errors call them.
    """

    def __init__(self, pred: Any, sides: tuple[str, str] = _SIDES) -> None:
        self.outer, self.sides = thread.recorder, sides
        self.chosen = condition(pred)
        self.ways: tuple[Recorder, Recorder] = (self.outer.inner("then"), self.outer.inner("otherwise"))
        self._again: list[Callable[[list[Any]], Any]] = []

    def add(self, x: Any, y: Any, label: str) -> None:
        """A result: `x`, a tensor, number or TensorArray of the first graph, or `y` of the other. TypeError or ValueError if they differ in kind."""
        self._again.append(self._joined(x, y, label))

    def results(self) -> list[Any]:
        """Write the line; the results in the order they were added."""
        recorder, ways = self.outer, self.ways
        read, written = cells_touched(w.graph for w in ways)
        holds = read_before(recorder, [*read, *written])
        for w in ways:
            after = lift(w.graph, recorder.builder.names, holds)
            w.graph.results.extend(after[c] for c in written)
        outs = list(control.cond(self.chosen, then=ways[0].graph, otherwise=ways[1].graph) or ())
        made = outs[: len(outs) - len(written)]
        assign_after(recorder, written, (o.value for o in outs[len(made) :]))
        return [again(made) for again in self._again]

    def _value(self, way: Recorder, x: Any, dtype: DType | None = None) -> Value:
        with recording(way):
            return as_value(way, x, dtype)

    def _joined(self, x: Any, y: Any, label: str) -> Callable[[list[Any]], Any]:
        """Make leaves `x` and `y` results of the two graphs; returns what takes the leaf of the whole out of the list of results."""
        if x is y and not hasattr(x, "dims"):
            return lambda made: x
        for z, side in zip((x, y), self.sides, strict=True):
            if z is None:
                raise ValueError(
                    places.with_place(f"{label} is None at the end of {side}. Both {self.sides[0]} and {self.sides[1]} must set it")
                )
            if not tensorlike(z):
                raise TypeError(
                    places.with_place(f"{label} is {z!r} at the end of {side}; branches that both may run give tensors or numbers")
                )
        if isinstance(x, TensorArray) or isinstance(y, TensorArray):
            return self._joined_arrays(x, y, label)
        wanted = next((z.dtype for z in (x, y) if isinstance(getattr(z, "dtype", None), DType)), None)
        given = [
            self._value(way, z, None if isinstance(getattr(z, "dtype", None), DType) or not fits(z, wanted) else wanted)
            for way, z in zip(self.ways, (x, y), strict=True)
        ]
        return self._same_results(given, label)

    def _same_results(self, given: list[Value], label: str) -> Callable[[list[Any]], Any]:
        (one, other), sides = (v.type for v in given), self.sides
        if one.dtype is not other.dtype:
            raise TypeError(
                places.with_place(
                    f"{label} has dtype {one.dtype.name} in {sides[0]}, but dtype {other.dtype.name} in {sides[1]}; write tf.cast in one of them"
                )
            )
        if not agree(one, other):
            if one.rank != other.rank or any(self._bound_inside(d) for t in (one, other) for d in t.shape):
                raise ValueError(
                    places.with_place(
                        f"{label} has shape {shape_text(one)} in {sides[0]}, but shape {shape_text(other)} in {sides[1]}; both branches must agree"
                    )
                )
            return self._open_results(given, one, other)
        at = len(self.ways[0].graph.results)
        for way, v in zip(self.ways, given, strict=True):
            way.graph.results.append(v)
        return lambda made: made[at]

    def _bound_inside(self, d: Dim) -> bool:
        """Whether a size is known only within one of the graphs."""
        bound = {n.out.name for way in self.ways for n in way.graph.walk() if n.op.binds_size}
        return not bound.isdisjoint(sizes.names(d))

    def _open_results(self, given: list[Value], one: Type, other: Type) -> Callable[[list[Any]], Any]:
        """Results whose sizes differ: both graphs give them with room for the larger, and their sizes, which are known when it runs."""
        axes = [k for k, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if a != b]
        room = [sizes.maximum(a, b) for a, b in zip(one.shape, other.shape, strict=True)]
        at = len(self.ways[0].graph.results)
        for way, v in zip(self.ways, given, strict=True):
            with recording(way):
                x = GraphTensor(v, way)
                way.graph.results += [as_value(way, y) for y in (filled(x, axes, room), *(size_along(x, axis) for axis in axes))]
        return lambda made: cut(made[at], axes, made[at + 1 :])

    def _joined_arrays(self, x: Any, y: Any, label: str) -> Callable[[list[Any]], Any]:
        if not (isinstance(x, TensorArray) and isinstance(y, TensorArray)) or x.dtype is not y.dtype:
            raise TypeError(places.with_place(f"{label} is {x!r} in {self.sides[0]}, but {y!r} in {self.sides[1]}"))
        element = x.element() or y.element()
        for way, z in zip(self.ways, (x, y), strict=True):  # the tensor of one that nobody has touched may show the shape of an element
            if element is None:
                with recording(way):
                    element = tuple(z.whole().dims[1:])
        dense, lengths = [], []
        partial = x.rows() != y.rows() or x._length is not None or y._length is not None
        room = sizes.maximum(x.rows(), y.rows())
        for way, z in zip(self.ways, (x, y), strict=True):
            with recording(way):
                dense.append(as_value(way, enlarged(z.whole(element), room)))
                lengths.append(as_value(way, z.size()))
        rows = self._same_results(dense, label)
        if not partial:
            return lambda made: x.of(rows(made), None, x._fixed)
        length = self._same_results(lengths, label)
        return lambda made: x.of(rows(made), length(made), x._fixed)


def branch(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any], sides: tuple[str, str] = _SIDES, label: str = "") -> Any:
    """`cond` in a function being traced. `sides` is what errors call the branches, `label` the result."""
    both = Branches(pred, sides)
    given = []
    for way, fn in zip(both.ways, (true_fn, false_fn), strict=True):
        with recording(way):
            given.append(fn())
    a, b = given
    try:
        nest.assert_same_structure(a, b, check_types=False)
    except (ValueError, TypeError) as error:
        raise TypeError(
            places.with_place(
                f"{sides[0]} and {sides[1]} must have the same nested structure of results: {sides[0]} returns {a!r}, "
                f"{sides[1]} returns {b!r} ({error})"
            )
        ) from None
    leaves, tree = leaves_of(a)
    for k, (x, y) in enumerate(zip(leaves, leaves_of(b)[0], strict=True)):
        both.add(x, y, label or _label(leaves, k))
    return optree.tree_unflatten(tree, both.results())


def _label(leaves: list[Any], k: int) -> str:
    return "the result" if len(leaves) == 1 else f"result {k}"


def case(
    pred_fn_pairs: Any, default: Callable[[], Any] | None = None, exclusive: bool = False, strict: bool = False, name: str = "case"
) -> Any:
    """The function of the first pair `(pred, fn)` whose `pred` holds, else `default`.

    Without a `default` one must hold, with `exclusive` no two may: InvalidArgumentError when run. TypeError for anything but pairs.
    """
    pairs = list(pred_fn_pairs.items()) if isinstance(pred_fn_pairs, dict) else list(pred_fn_pairs)
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not callable(pair[1]):
            raise TypeError(places.with_place(f"Each entry in pred_fn_pairs must be a (pred, callable) tuple, got {pair!r}"))
    if default is not None and not callable(default):
        raise TypeError(places.with_place(f"default must be callable, got {default!r}"))
    preds = [p.deref() if hasattr(p, "deref") else p for p, _ in pairs]
    fns = [f for _, f in pairs]
    if exclusive and len(pairs) > 1:
        holding = sum(e.cast(condition(p), dtype=dtypes.int32) for p in preds)
        Assert(e.less(holding, 2), ["Input error: More than one condition evaluated as True but exclusive=True."])
    last: Callable[[], Any]
    if default is not None:
        last = default
    else:
        if not pairs:
            raise ValueError(places.with_place("tf.case without a default needs at least one pair"))
        failing = "Input error: None of conditions evaluated as True."
        if thread.recorder is None or all(known(p) is not None for p in preds):
            if not any(known(p) for p in preds):
                raise InvalidArgumentError(places.with_place(failing))
        else:
            holding = sum(e.cast(condition(p), dtype=dtypes.int32) for p in preds)
            Assert(e.greater(holding, 0), [failing])
        preds, last = preds[:-1], fns[-1]

    def rest(k: int) -> Any:
        return last() if k == len(preds) else cond(preds[k], fns[k], lambda: rest(k + 1))

    return rest(0)


def switch_case(branch_index: Any, branch_fns: Any, default: Callable[[], Any] | None = None, name: str = "switch_case") -> Any:
    """The function at `branch_index`, an integer scalar; `default` (or the last one) for an index there is no function for.

    `branch_fns` is a list of functions, a dict of them by index, or a list of pairs. TypeError or ValueError for anything else.
    """
    fns = branch_fns.items() if isinstance(branch_fns, dict) else branch_fns
    listed = [(k, f) if callable(f) else tuple(f) for k, f in enumerate(fns)]
    if not listed:
        raise ValueError(places.with_place("branch_fns: Must provide at least one item in the branch_fns"))
    for entry in listed:
        if len(entry) != 2 or not isinstance(entry[0], int) or not callable(entry[1]):
            raise TypeError(places.with_place(f"branch_fns must be functions, or pairs of an int and a function, got {entry!r}"))
    table = dict(sorted(listed))
    last: Callable[[], Any] = default if default is not None else table[max(table)]
    if default is None:
        del table[max(table)]
    if thread.recorder is None or isinstance(branch_index, int | np.integer | EagerTensor):
        return table.get(int(branch_index), last)()
    index = convert_to_tensor(branch_index)
    entries = list(table.items())

    def rest(k: int) -> Any:
        return last() if k == len(entries) else cond(e.equal(index, entries[k][0]), entries[k][1], lambda: rest(k + 1))

    return rest(0)


# ------------------------------------------------------------------------------------------------------ loops
def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    maximum_iterations: Any = None,
    name: str | None = None,
) -> Any:
    """`loop_vars = body(*loop_vars)` as long as `cond(*loop_vars)`; returns them in the structure of `loop_vars`.

    At most `maximum_iterations` times. In a traced function loop variables keep their dtypes and shapes: TypeError or ValueError names
    the one that does not. TensorArrays may grow. `back_prop=False` makes the results constants for every tape.
    """
    for what, fn in (("cond", cond), ("body", body)):
        if not callable(fn):
            raise TypeError(places.with_place(f"'{what}' must be callable, got {fn!r}"))
    if not isinstance(loop_vars, list | tuple) or not loop_vars:
        raise ValueError(places.with_place(f"'loop_vars' must be a list or tuple of at least one variable, got {loop_vars!r}"))
    if thread.recorder is None:
        out = _eager_loop(cond, body, loop_vars, maximum_iterations)
    else:
        out = loop(cond, body, loop_vars, None, leaves_of(shape_invariants)[0] if shape_invariants is not None else (), maximum_iterations)
    if back_prop:
        return out
    return optree.tree_map(lambda x: e.stop_gradient(x) if hasattr(x, "dims") else x, out, none_is_leaf=True)


def _repacked(out: Any, like: Any) -> list[Any]:
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


def _eager_loop(test: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, limit: Any) -> Any:
    values = list(loop_vars)
    left = -1 if limit is None else int(limit)
    first = True
    while left != 0 and bool(test(*values)):
        new = _repacked(body(*values), values)
        if first:
            try:
                nest.assert_same_structure(values, new, check_types=False)
            except (ValueError, TypeError) as error:
                raise type(error)(places.with_place(f"The loop body changed the structure of the loop variables: {error}")) from None
            first = False
        values, left = new, left - 1
    whole = type(loop_vars)(*values) if hasattr(loop_vars, "_fields") else type(loop_vars)(values)
    return optree.tree_map(
        lambda x: x if x is None or isinstance(x, TensorArray | EagerTensor) else convert_to_tensor(x), whole, none_is_leaf=True
    )


def labels_of(function: Callable[..., Any], loop_vars: Sequence[Any]) -> list[str]:
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
            inside = {c: inner.builder.parameter(c, cell_type(recorder, c)) for c in written}
            after = lift(inner.graph, recorder.builder.names, holds | inside)
            if inner is self.running:
                body.results.extend(after[c] for c in written)
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
    labels = list(labels) if labels is not None else labels_of(body, loop_vars)
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
        new = _repacked(body(*given), given)
        try:
            nest.assert_same_structure(given, new, check_types=False)
        except (ValueError, TypeError) as error:
            raise type(error)(places.with_place(f"The loop body changed the structure of the loop variables: {error}")) from None
    made.ran(leaves_of(new)[0])
    results = optree.tree_unflatten(tree, made.results())
    if hasattr(loop_vars, "_fields"):
        return type(loop_vars)(*results)
    return results if isinstance(loop_vars, list) else tuple(results)


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
        return [*_repacked(body(*given), given), e.add(count, 1)]

    *out, _ = loop(tested, counted, [*loop_vars, constant(0)], [*labels, "iteration"], invariants)
    return type(loop_vars)(*out) if hasattr(loop_vars, "_fields") else type(loop_vars)(out)


def _tested_in_body(
    test: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, labels: list[str], invariants: Sequence[Any]
) -> Any:
    """The loop for a condition that assigns variables: it is evaluated before the loop and at the end of the body."""

    def goes_on(*args: Any) -> Any:
        return args[-1]

    def both(*args: Any) -> Any:
        given = list(args[:-1])
        new = _repacked(body(*given), given)
        return [*new, condition(test(*new))]

    *out, _ = loop(goes_on, both, [*loop_vars, condition(test(*loop_vars))], [*labels, "going"], invariants)
    return type(loop_vars)(*out) if hasattr(loop_vars, "_fields") else type(loop_vars)(out)


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
    quiet = body.with_body([n for n in body.body if not n.op.effect])
    kept = carried_on(quiet, live(test), len(inits), set(rooms))
    if kept & dropped:
        raise NotImplementedError(
            places.with_place(
                "a loop in which what a tensor or tf.TensorArray of changing size holds decides how large it becomes; give it a size"
            )
        )
    order = sorted(kept)
    graphs = []
    for graph, results in ((test, range(1)), (quiet, order)):
        copied = Copier(names).graph(graph)
        lean = live(copied, [copied.results[k] for k in results])
        lean.params = [copied.params[k] for k in order]
        graphs.append(lean)
    attrs = {"test": graphs[0], "body": graphs[1], "carried": len(order)}
    args = tuple(recorder.operand(inits[k]) for k in order)
    outs = recorder.builder.emit(control.while_loop, args, attrs, name="room", place=places.here(2))
    for at, name in rooms.items():
        names.give_back(name)
        recorder.builder.emit(size_of, (outs[order.index(at)],), {}, name=name, place=places.here(2))

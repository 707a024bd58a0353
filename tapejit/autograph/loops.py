"""`while` and `for` in converted functions.

In: what a loop goes on by or along. With Python conditions and iterables Python's loops run, unrolled while a function is traced. One that
depends on a tensor has its body run once, recorded, in the frame it stands in: its variables are then those of the nested graph, and after
the loop its results. A loop that runs in Python for a while, until its condition depends on a tensor, is recorded from there on.

What else `for` goes along in a traced function has a method `__tf_traced_iter__` that gives a `Source` (see `sources`): a dataset does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import optree

from tapejit import branching, control, looping
from tapejit.autograph.branches import both, clear
from tapejit.autograph.sources import Rows, Source, rows_of
from tapejit.autograph.values import UNDEFINED, State, symbolic
from tapejit.carried import as_value, tensorlike
from tapejit.core import dtypes, places, sizes
from tapejit.debugging import Assert
from tapejit.ir import structure
from tapejit.ir.op import thread
from tapejit.nest import leaves_of
from tapejit.ops import elementwise as e
from tapejit.ops.gathering import gather
from tapejit.ops.slicing import axis_slice, scalar_of
from tapejit.passes.prune import has_effect
from tapejit.record.nesting import cells_touched
from tapejit.record.recorder import Recorder, recording
from tapejit.selection import boolean_mask
from tapejit.tensor import constant, convert_to_tensor
from tapejit.tensor_array import TensorArray
from tapejit.variable import Variable

_HINT = "Use tf.autograph.experimental.set_loop_options to set shape invariants."


class _Carried:
    """One variable of a recorded loop: which of its parts are tensors, which the loop carries on, and which are Python's and stay.

    `given` are the parts before the loop: none for a variable that has no value there, for a flag that is not set, and for one that is None
    there and `unread` by the iterations, which may give it any value. The loop's body sees a flag as False, for it would not run were it set.
    """

    def __init__(self, label: str, flag: bool, unread: bool, value: Any) -> None:
        self.label, self.flag, self.before = label, flag, value
        leaves, self.tree = leaves_of(value)
        self.absent = value is UNDEFINED or (flag and value is False) or (unread and value is None)
        self.given = [] if self.absent else [convert_to_tensor(x) if isinstance(x, Variable) else x for x in leaves]
        self.at: list[int | None] = []  # the number of the loop variable that each part is

    def seen(self, views: Sequence[Any]) -> Any:
        """The value in an iteration, `views` being what stands for the loop variables there."""
        if self.absent:
            return self.before
        return optree.tree_unflatten(self.tree, [x if k is None else views[k] for k, x in zip(self.at, self.given, strict=True)])

    def after(self, value: Any) -> list[Any]:
        """The loop variables' values at the end of an iteration. TypeError or ValueError where it is not what it was."""
        if value is UNDEFINED:
            raise ValueError(places.with_place(f"'{self.label}' is deleted in the loop, but the next iteration or what follows uses it"))
        leaves, tree = leaves_of(value)
        if tree != self.tree:
            raise TypeError(
                places.with_place(
                    f"'{self.label}' does not have the same nested structure before the loop and after one iteration; a loop that depends on "
                    "a tensor collects in a tf.TensorArray"
                )
            )
        for x, given, k in zip(leaves, self.given, self.at, strict=True):
            if k is None and x is not given and (tensorlike(x) or type(x) is not type(given) or x != given):
                raise TypeError(
                    places.with_place(
                        f"'{self.label}' is {given!r} before the loop, but {x!r} after one iteration; it must be a tensor in both"
                    )
                )
        return [x for x, k in zip(leaves, self.at, strict=True) if k is not None]


class _Loop:
    """What both kinds of loops are. `values` are those that the frame's variables take, at the beginning of an iteration and after the loop."""

    def __init__(
        self,
        frame: FrameType,
        later: Sequence[str],
        local: Sequence[str],
        paths: Sequence[Any],
        flags: Sequence[str],
        unread: Sequence[str],
    ) -> None:
        self.flags, self.unread, self.recorder = flags, unread, thread.recorder
        self.staged, self.undefined = False, False
        self.values: list[Any] = []
        self._names = (later, local, paths)

    def native(self) -> bool:
        """Whether Python's own `break` and `continue` do what they should: nothing around them depends on a tensor."""
        return not self.staged and thread.recorder is self.recorder

    def leave(self) -> None:
        """An iteration is done."""
        if self.staged:
            self._ends = self._state.read(sys._getframe(1))
            thread.recorder = self.recorder
            self._after_body()

    def options(
        self, parallel_iterations: Any = None, swap_memory: Any = None, maximum_iterations: Any = None, shape_invariants: Any = None
    ) -> None:
        """What `tf.autograph.experimental.set_loop_options` says."""
        self._invariants = list(shape_invariants or ())
        self._limit = maximum_iterations

    _invariants: Sequence[tuple[Any, Any]] = ()
    _limit: Any = None

    def _raised(self, frame: FrameType) -> list[Any]:
        """The flags that end the loop, as they are now."""
        found = frame.f_locals
        return [found.get(f, False) for f in self.flags]

    def _stage(self, frame: FrameType, extra: Sequence[tuple[str, Any]] = (), rows: Sequence[Any] = (), length: Any = None) -> None:
        """Begin to record. `extra`: loop variables of our own."""
        self.staged = True
        state = self._state = State(frame, *self._names)
        self._carried: dict[int, _Carried] = {}
        leaves, labels = [x for _, x in extra], [label for label, _ in extra]
        axes: dict[int, list[int]] = {}
        for k, value in enumerate(state.before):
            if state.lives(k):
                name = state.names[k] if k < len(state.names) else ""
                one = self._carried[k] = _Carried(state.label(k), name in self.flags, name in self.unread, value)
                for x in one.given:
                    one.at.append(len(leaves) if tensorlike(x) else None)
                    if tensorlike(x):
                        axes[len(leaves)] = next((looping.open_axes(x, s) for v, s in self._invariants if v is value), [])
                        leaves.append(x)
                        labels.append(one.label)
        self.loop = looping.Loop(leaves, labels, _HINT, rows, length, {k: a for k, a in axes.items() if a})

    def _give(self, views: Sequence[Any], body: bool = False) -> None:
        """Let the frame's variables be those of a graph."""
        values = list(self._state.before)
        for k, one in self._carried.items():
            values[k] = False if one.flag and body else one.seen(views)
        self.values = self._state.put(values)
        self.undefined = any(v is UNDEFINED for v in self.values)

    def _begin_body(self) -> list[Any]:
        views = self.loop.enter(self.loop.running)
        self._give(views, body=True)
        thread.recorder = self.loop.running
        return views

    def _after_body(self) -> None:
        """The loop variables at the end of the body; what had no value before the loop becomes one."""
        new: list[Any] = self._own_after()
        for k, one in self._carried.items():
            if not one.absent:
                new += one.after(self._ends[k])
        self.loop.ran(new)
        for k, one in self._carried.items():
            value = self._ends[k]
            if not one.absent or value is UNDEFINED or value is one.before:
                continue
            one.given, one.tree = leaves_of(value)
            one.absent = False
            for x in one.given:
                one.at.append(len(self.loop.variables) if tensorlike(x) else None)
                if tensorlike(x):
                    self._late(one, x)

    def _late(self, one: _Carried, x: Any) -> None:
        if isinstance(x, TensorArray):
            raise ValueError(places.with_place(f"'{one.label}' must be defined before the loop"))
        self.loop.late(one.label, x)
        if not one.flag and one.label != "retval_":
            self._needs_an_iteration = one.label

    def _own_after(self) -> list[Any]:
        """What `extra` is after an iteration."""
        return []

    _needs_an_iteration = ""

    def _finish(self) -> None:
        made = self.loop.results()
        self._give(made)
        if self._needs_an_iteration and not (isinstance(self.loop.count, int) and self.loop.count > 0):
            count = self.loop.count
            count = count if hasattr(count, "dims") else scalar_of(count, dtypes.int64)
            Assert(e.greater(count, 0), [f"loop must iterate at least once to initialize '{self._needs_an_iteration}'"])


class While(_Loop):
    """A `while` statement; see `transform` for how it is used.

    The condition is recorded in a graph of its own; one that assigns variables, draws or prints is evaluated once before the loop and at
    the end of each iteration instead, and the loop carries what it gave.
    """

    def __init__(
        self, later: Sequence[str], local: Sequence[str], paths: Sequence[Any], flags: Sequence[str], unread: Sequence[str]
    ) -> None:
        super().__init__(sys._getframe(1), later, local, paths, flags, unread)
        self.running = False  # whether the body is to run without asking the condition
        self._over = self._depends = False
        self._done = 0  # iterations in Python
        self._going: Any = None  # the condition before the loop, where it is not recorded in a graph of its own
        self._testing: Recorder | None = None
        self._lazily: branching.Branches | None = None

    def more(self) -> bool:
        """Whether to go through the `while` once more: for an iteration, or to record the body or the condition."""
        frame = sys._getframe(1)
        if not self.staged:
            raised = self._raised(frame)
            if self._over or any(f is True for f in raised) or self._done == self._limit:
                return False
            if not (self._depends or any(symbolic(f) for f in raised)):
                self._mark = _Mark(self.recorder) if self.recorder is not None else None
                return True
            extra = [] if self._going is None else [("going", self._going)]
            self._stage(frame, extra if self._limit is None else [*extra, ("iteration", constant(0))])
            views = self._begin_body()
            self._count = views[len(extra)] if self._limit is not None else None
            self.running = True
        elif self.running:
            self.running = False
            self._begin_test()
        else:
            self._finish()
            return False
        return True

    def test(self, value: Any) -> bool:
        """Whether to run the body now, `value` being the condition."""
        if self.staged:
            self._end_test(value)
            return False
        if not symbolic(value):
            self._over = not value
            self._done += not self._over
            return not self._over
        self._depends = True
        assert self._mark is not None
        if self._mark.lasting():
            self._going = branching.condition(value)
        else:
            self._mark.undo()
        return False

    def _after_body(self) -> None:
        if self._going is None:
            super()._after_body()

    def _begin_test(self) -> None:
        if self._going is None:
            assert self.loop.testing is not None
            self._testing = self.loop.testing
            views = self._views = self.loop.enter(self._testing)
            self._give(views)
            raised = [self._carried[k].seen(views) for k, n in enumerate(self._state.names) if n in self.flags]
        else:
            self._testing = self.loop.running
            self.values = self._state.put(self._ends)
            self.undefined = any(v is UNDEFINED for v in self.values)
            raised = [self._ends[k] for k, n in enumerate(self._state.names) if n in self.flags]
        thread.recorder = self._testing
        still = clear(*raised)
        if symbolic(still):
            self._lazily = branching.Branches(still)
            thread.recorder = self._lazily.ways[0]

    def _end_test(self, value: Any) -> None:
        assert self._testing is not None
        value = branching.condition(value)
        with recording(self._testing):
            going = both(self._lazily, value, True) if self._lazily is not None else value
            if self._limit is not None:  # the first iterations may have been Python's
                going = e.logical_and(going, e.less(self._iterations(), e.sub(self._limit, self._done)))
        thread.recorder = self.recorder
        if self._going is None:
            self.loop.tested(going)
            if cells_touched([self._testing.graph])[1]:
                raise NotImplementedError(
                    places.with_place(
                        "a condition that assigns a variable or draws, in a loop that `break` or `return` may leave; begin the body with it"
                    )
                )
        else:
            self._went_on = going
            super()._after_body()
            assert self.loop.testing is not None
            self.loop.tested(self.loop.enter(self.loop.testing)[0])

    def _iterations(self) -> Any:
        """How many iterations there have been when the condition is asked."""
        if self._going is not None:
            return e.add(self._count, 1)
        assert self._testing is not None
        return self._views[0]

    def _own_after(self) -> list[Any]:
        own = [] if self._going is None else [self._went_on]
        if self._limit is not None:
            with recording(self.loop.running):
                own.append(e.add(self._count, 1))
        return own


class _Mark:
    """Where a recorder was before a condition was evaluated to see whether it depends on a tensor."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.length, self.fixed = len(recorder.graph.body), self._inserted()

    def _inserted(self) -> int:
        """How many constants stand at the top of the graph."""
        root = self.recorder
        return len(root._written) + len(root._const_values) if root.outer is None else 0

    def _made(self) -> list[Any]:
        return self.recorder.graph.body[self.length + self._inserted() - self.fixed :]

    def lasting(self) -> bool:
        """Whether what was evaluated since has effects."""
        return any(n.op is structure.assign or has_effect(n) for n in self._made())

    def undo(self) -> None:
        """Take back the lines written since."""
        made = self._made()
        del self.recorder.graph.body[len(self.recorder.graph.body) - len(made) :]
        for value in (o for n in made for o in n.outs):
            self.recorder.builder.names.give_back(value.name)


class For(_Loop):
    """A `for` statement; see `transform` for how it is used. `label` names the element."""

    def __init__(
        self,
        iterable: Any,
        later: Sequence[str],
        local: Sequence[str],
        paths: Sequence[Any],
        flags: Sequence[str],
        unread: Sequence[str],
        label: str,
    ) -> None:
        super().__init__(sys._getframe(1), later, local, paths, flags, unread)
        self._iterable, self._label = iterable, label
        self._rows = rows_of(iterable) if self.recorder is not None else None

    def __iter__(self) -> Iterator[Any]:
        if self._rows is not None:
            return self._along_rows(self._rows)
        if self.recorder is not None and hasattr(self._iterable, "__tf_traced_iter__"):
            return self._along_elements(self._iterable.__tf_traced_iter__())
        return self._until_raised() if self.flags else iter(self._iterable)

    def _until_raised(self) -> Iterator[Any]:
        """Python's elements until a flag is known to be set."""
        elements = iter(self._iterable)
        while True:
            raised = self._raised(sys._getframe(1))
            if any(f is True for f in raised):
                return
            if any(symbolic(f) for f in raised) and not hasattr(self._iterable, "__len__"):
                raise NotImplementedError(
                    places.with_place(
                        "break and return statements which depend on a TF condition are not supported in Python for loops over what has no len(). "
                        "Did you intend to make it a TF loop? Write tf.range(n)"
                    )
                )
            try:
                element = next(elements)
            except StopIteration:
                return
            yield element

    def _along_rows(self, rows: Rows) -> Iterator[Any]:
        frame = sys._getframe(1)
        tensors, length = rows.tensors, rows.length
        if self._limit is not None:
            tensors, length = self._cut(tensors, length)
        before = State(frame, *self._names).before
        grows = any(isinstance(x, TensorArray) and x.dynamic_size for value in before for x in leaves_of(value)[0])
        if self.flags or grows or self._invariants:
            self._stage(frame, [(f"{self._label}_index", constant(0))])
            index = self._begin_body()[0]
            self._next = [e.add(index, 1)]
            yield rows.element([gather(x, index) for x in tensors])
            self._test(lambda i: e.less(i, length if isinstance(length, int) else scalar_of(length, dtypes.int32)))
        else:
            self._stage(frame, (), tensors, length)
            self._begin_body()
            yield rows.element(self.loop.slices(self._label))
        self._finish()

    def _cut(self, tensors: list[Any], length: Any) -> tuple[list[Any], Any]:
        """At most `maximum_iterations` of the rows."""
        most = self._limit.as_dim("most") if hasattr(self._limit, "dims") else int(self._limit)
        length = sizes.minimum(length, most)
        return [axis_slice(x, 0, 0, length) for x in tensors], length

    def _along_elements(self, source: Source) -> Iterator[Any]:
        self._stage(sys._getframe(1), [("going", source.advance()), (f"{self._label}_number", constant(0, dtypes.int64))])
        self._source, number = source, self._begin_body()[1]
        self._next = [e.add(number, 1)]
        yield source.element(number)
        self._test(lambda going: going)
        self._finish()

    _next: Sequence[Any] = ()
    _source: Source | None = None

    def _own_after(self) -> list[Any]:
        if self._source is None:
            return list(self._next)
        with recording(self.loop.running):  # after a jump nobody asks for another element
            still = clear(*(self._ends[k] for k, n in enumerate(self._state.names) if n in self.flags))
            return [control.cond(still, self._source.advance, lambda: False), *self._next]

    def _test(self, more: Callable[[Any], Any]) -> None:
        """Record the condition: `more` of the loop variable that is ours, and no jump."""
        testing = self.loop.testing
        assert testing is not None
        views = self.loop.enter(testing)
        with recording(testing):
            still = clear(*(self._carried[k].seen(views) for k, n in enumerate(self._state.names) if n in self.flags))
            going = more(views[0])
            self.loop.tested(going if still is True else e.logical_and(going, still))


def comprehension(iterable: Any, native: Callable[[Any], Any], element: Callable[..., Any], *tests: Callable[..., Any]) -> Any:
    """`[element(x) for x in iterable if tests(x)]`, which `native` does.

    Of a tensor whose size is known only at run time, or where a test depends on the element, a tensor: the elements stacked.
    """
    rows = rows_of(iterable) if thread.recorder is not None else None
    if rows is None:
        return native(iterable)
    if isinstance(rows.length, int) and not tests:
        return native(rows)
    loop = looping.Loop([], [], rows=rows.tensors, length=rows.length)
    loop.enter(loop.running)
    with recording(loop.running):
        whole = rows.element(loop.slices("element"))
        given = whole if isinstance(whole, tuple) else (whole,)
        leaves, tree = leaves_of(element(*given))
        kept = [branching.condition(test(*given)) for test in tests]
        loop.kept = [as_value(loop.running, x) for x in (*leaves, *kept)]
    loop.ran([])
    loop.results()
    made, kept = loop.stacked[: len(leaves)], loop.stacked[len(leaves) :]
    if kept:
        mask = kept[0]
        for more in kept[1:]:
            mask = e.logical_and(mask, more)
        made = [boolean_mask(x, mask) for x in made]
    return optree.tree_unflatten(tree, made)

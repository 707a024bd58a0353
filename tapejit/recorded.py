"""An eager tape's record becomes a function: the lines are those that ran, with the user's names and places, and no Python is left.

In: what a tape recorded, the targets and sources of a gradient, and which of the tensors and variables on it shall be free. Out: a
`Function` with one trace. The lines that lead to the targets are written into a graph in the order they ran; variables become cells,
which are read when the function is called; any other tensor is held by reference.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from inspect import Parameter
from inspect import Signature as PythonSignature
from types import CodeType, FrameType
from typing import Any

import optree

from tapejit.concrete import ConcreteFunction
from tapejit.core import places
from tapejit.core.places import place_of
from tapejit.function import Function
from tapejit.graph_tensor import GraphTensor
from tapejit.indexed_slices import IndexedSlices
from tapejit.ir.builder import number
from tapejit.ir.graph import Value
from tapejit.ir.names import Names, identifier
from tapejit.ir.op import OPS, Op, thread
from tapejit.ops.elementwise import equal, logical_not
from tapejit.record.recorder import Recorder
from tapejit.record.source import name_at
from tapejit.record.sweep import Record
from tapejit.spec import TensorSpec
from tapejit.tensor import EagerTensor
from tapejit.tracing import Creation, record
from tapejit.variable import Variable


class Decision(Op):
    """Stands on a record for a tensor whose value, the attribute, became Python's: a branch, a bound, an index."""

    name = "decision"


DECISION = Decision()


class _At:
    """Stands for the frame of a line that ran."""

    def __init__(self, code: CodeType, instruction: int) -> None:
        self.f_code, self.f_lasti = code, instruction


def needed(records: Sequence[Record], targets: Sequence[Any]) -> list[Record]:
    """The records that lead to the targets or to something that Python decided, in order."""
    if any(getattr(r.op, "closes_over", False) for r in records):  # which tensors a gradient function of the user's uses, only it knows
        return list(records)
    wanted = {id(t) for t in targets}
    out = []
    for r in reversed(records):
        if any(id(o) in wanted for o in r.outputs) or r.op is DECISION:
            wanted.update(id(x) for x in r.inputs)
            out.append(r)
    return out[::-1]


def depending(records: Sequence[Record], roots: set[int]) -> list[Record]:
    """The records whose results depend on values with these ids; all others make constants."""
    reached = set(roots)
    out = []
    for r in records:
        if any(id(x) in reached for x in r.inputs):
            reached.update(id(o) for o in r.outputs)
            out.append(r)
    return out


def names_of(objects: Sequence[Any], frame: FrameType | None) -> dict[int, str]:
    """By id, what the innermost of the user's frames calls each of these objects."""
    wanted = {id(x) for x in objects}
    found: dict[int, str] = {}
    while frame is not None:
        if not places.is_ours(frame.f_code):
            for name, value in itertools.chain(frame.f_locals.items(), frame.f_globals.items()):
                if id(value) in wanted and not name.startswith("_"):
                    found.setdefault(id(value), name)
        frame = frame.f_back
    return found


class _Replay:
    """Writes recorded lines into the graph being traced."""

    def __init__(self, recorder: Recorder, variables: dict[int, tuple[Variable, Any]], followed: set[int]) -> None:
        self.recorder, self._variables, self._followed = recorder, variables, followed
        self._frames: dict[Any, _At] = {}
        self._read: dict[int, Any] = {}  # id of a variable -> the value it was read as

    def know(self, x: Any, value: Value) -> None:
        """From here on the tensor `x` is `value`, also where gradient functions of the user use it."""
        self.recorder.stands_for(x, value)

    def operand(self, x: Any, record: Record | None = None) -> Any:
        """What stands for a tensor of the record. ValueError for a variable that was read before and after a change."""
        if id(x) in self._variables and self.recorder.alias(x) is None:
            variable, value = self._variables[id(x)]
            if self._read.setdefault(id(variable), value) is not value:
                raise ValueError(
                    places.with_place(
                        f"{variable.name} was assigned between two reads on this tape, so there is no one value to read it as when the "
                        "function is called; read it once (`w = v + 0.0`), or record the update behind the tape"
                    )
                )
            self.know(x, variable.enter_graph(self.recorder))
            if record is not None:
                self.recorder.builder.graph.body[-1].place = record.where
        if isinstance(x, EagerTensor) and not x.dims and id(x) not in self._followed and self.recorder.alias(x) is None:
            return x.enter_graph(self.recorder) if x.dtype.is_complex else number(x.numpy_view(), x.dtype)
        return self.recorder.operand(x)

    def line(self, record: Record) -> None:
        """Write one recorded op."""
        args = [self.operand(x, record) for x in record.inputs]
        if record.op is DECISION:
            self._guard(args[0], record)
            return
        replayed: Callable[..., list[Any]] | None = getattr(record.op, "replayed", None)
        if replayed is not None:  # a call of a traced function, or of one with a gradient of the user's
            outs: Sequence[Any] = replayed(self.recorder, args)
        else:
            position = record.place if type(record.place) is tuple else None
            at: Any = None if position is None else self._frames.setdefault(position, _At(*position))
            outs = self.recorder.named_lines(record.op, tuple(args), record.attrs, at, place_of(*position) if position else None)
        for o, new in zip(record.outputs, outs, strict=True):
            self.know(o, self.recorder.builder.literal(new))

    def _guard(self, x: Any, record: Record) -> None:
        """A check that what Python decided by is as it was."""
        value = record.attrs["value"]
        builder, where = self.recorder.builder, record.where
        if type(value) is bool:
            same = x if value else builder.emit(logical_not, (x,), {}, place=where, tapes=self.recorder.tapes)[0]
        else:
            same = builder.emit(equal, (x, number(value, x.type.dtype)), {}, place=where, tapes=self.recorder.tapes)[0]
        said = f"Python went on with {value!r} here when this was recorded, so the recording is for that only; record it again, or trace a tf.function"
        builder.emit(OPS["assert_true"], (same,), {"message": said}, place=where, tapes=self.recorder.tapes)


def function_of(
    records: Sequence[Record],
    variables: dict[int, tuple[Variable, Any]],
    watched: Sequence[Any],
    target: Any,
    sources: Any,
    inputs: Sequence[Any],
    names: dict[int, str],
    name: str | None,
    tape: Any,
) -> Function:
    """The function of `inputs` that gives `target` and its gradient with respect to `sources`, in their structures.

    `variables` says what variable each read value on the record came from, `watched` lists the tensors the tape was told to follow,
    `names` what the user calls tensors. `tape` is a new tape, to record the lines as they are written. ValueError for an input that is
    not on the record.
    """
    code = next((r.place[0] for r in records if type(r.place) is tuple), None)
    name = name or (code.co_name if code is not None and code.co_name.isidentifier() else "recording")
    targets, wanted = _leaves(target), _leaves(sources)
    live = {k for k, (v, _) in variables.items() if v.dtype.differentiable or any(v is x for x in inputs)}
    lines = depending(needed(records, targets), live | {id(x) for x in (*inputs, *watched)})
    on_it = {id(x) for r in lines for x in (*r.inputs, *r.outputs)} | {id(t) for t in targets}
    read_as = {id(v): [x for x, (w, _) in variables.items() if w is v and x in on_it] for v in inputs if isinstance(v, Variable)}
    for x in inputs:
        if not (read_as[id(x)] if isinstance(x, Variable) else id(x) in on_it):
            raise ValueError(
                places.with_place(
                    f"to_function: {names.get(id(x), 'an input')} is not on the record that leads to the target: nothing was computed from it while the tape was active"
                )
            )
    cut, followed = {id(x) for x in inputs}, {id(x) for x in (*watched, *targets, *wanted)}
    lines = needed([r for r in lines if r.op is DECISION or not all(id(o) in cut for o in r.outputs)], targets)
    given = {id(x) for x in (*inputs, *watched)}
    follow = {id(s) for s in wanted}
    if any(not isinstance(s, Variable) and id(s) not in given for s in wanted):  # a source on the way depends on what is given
        follow |= given
    taken = Names()
    labels = [taken.fresh(_label(x, names)) for x in inputs]

    def replay(*args: Any) -> Any:
        recorder = thread.recorder
        writer = _Replay(recorder, {k: (v, x) for k, (v, x) in variables.items() if id(v) not in read_as}, followed)
        stands: dict[int, Any] = {}
        for x, a in zip(inputs, args, strict=True):
            stands[id(x)] = a
            for key in read_as.get(id(x), ()):
                writer.know(variables[key][1], a.value)
            if not isinstance(x, Variable):
                writer.know(x, a.value)

        def now(x: Any) -> Any:
            if id(x) in stands or isinstance(x, Variable):
                return stands.get(id(x), x)
            return GraphTensor(recorder.builder.literal(writer.operand(x)), recorder)

        with tape:
            for x in (*inputs, *(x for x in watched if id(x) in on_it and id(x) not in stands)):
                if id(x) in follow and x.dtype.differentiable:
                    tape.watch(now(x))
            tape.watch([v for v in wanted if isinstance(v, Variable) and id(v) not in stands])
            for r in lines:
                writer.line(r)
        heads = [now(t) for t in targets]
        asked = [now(x) for x in wanted]
        found = tape.gradient(heads, asked)
        for g, x in zip(found, asked, strict=True):  # named after their sources, not after what the function is called
            if g is not None:
                value = (g.values if isinstance(g, IndexedSlices) else g).value
                recorder.builder.names.give_back(value.name)
                value.name = recorder.builder.names.fresh(f"d_{x.label() if isinstance(x, Variable) else x.value.name}")
        return _packed(target, heads), _packed(sources, found)

    def body(*args: Any) -> Any:
        raise NotImplementedError(f"{name} is a recording and has no Python to run eagerly")

    for f in (replay, body):
        f.__name__ = name
        f.__signature__ = PythonSignature([Parameter(n, Parameter.POSITIONAL_OR_KEYWORD) for n in labels])  # type: ignore[attr-defined]
    specs = [TensorSpec(x.shape, x.dtype, n) for x, n in zip(inputs, labels, strict=True)]
    out = Function(body, specs, name=name)
    arguments = out.signature.of_specs()
    recording = record(replay, name, out.signature, arguments, Creation.LATE)
    recording.graph.place = next((r.where for r in lines if r.where is not None), None)
    out.adopt(ConcreteFunction(name, out.signature, arguments, recording))
    return out


def _label(x: Any, names: dict[int, str]) -> str:
    return identifier(x.label() if isinstance(x, Variable) else names.get(id(x), "x"))


def _leaves(structure: Any) -> list[Any]:
    return [structure] if hasattr(structure, "dims") else optree.tree_leaves(structure, none_is_leaf=True)


def _packed(like: Any, leaves: list[Any]) -> Any:
    return leaves[0] if hasattr(like, "dims") else optree.tree_unflatten(optree.tree_structure(like, none_is_leaf=True), leaves)


def names_on(records: Sequence[Record]) -> dict[int, str]:
    """By id of a result, the user's name for it where it is the whole right side of an assignment."""
    found = {}
    for r in records:
        if type(r.place) is tuple and len(r.outputs) == 1:
            named = name_at(*r.place)
            if named.whole:
                found[id(r.outputs[0])] = named.base
    return found

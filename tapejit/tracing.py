"""Tracing: a Python function is called once with symbolic arguments, and what it does to them becomes a graph.

In: the function, its signature and the arguments of a call. Out: a `Recording`: the graph, the variables and tensors it captured, and
how its results are put back together. An exception leaves nothing behind.
"""

from __future__ import annotations

import enum
import functools
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapejit.core import places, sizes
from tapejit.core.errors import InaccessibleTensorError, InternalError
from tapejit.core.shape import TensorShape
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.explain.frozen import Frozen
from tapejit.graph_tensor import GraphTensor
from tapejit.ir import structure
from tapejit.ir.graph import Graph, Node, Value
from tapejit.ir.interpreter import run
from tapejit.ir.names import identifier
from tapejit.ir.op import thread
from tapejit.nest import leaves_of, map_structure
from tapejit.ops.operand import Operand, Tensor
from tapejit.record.calls import begin
from tapejit.record.inline import inline
from tapejit.record.recorder import Recorder, SymbolicTensor, recording
from tapejit.record.source import name_at
from tapejit.signature import Arguments, ProtocolLeaf, Signature, TensorLeaf, VariableLeaf
from tapejit.spec import TensorSpec
from tapejit.tensor import EagerTensor, convert_to_tensor
from tapejit.tracebacks import told
from tapejit.variable import Variable, paused_tapes, variable_behind


@dataclass
class Recording:
    """What tracing a function gave."""

    graph: Graph
    cells: dict[str, Variable]  # the variables it captured, by cell
    captured: dict[str, Any]  # the tensors and arrays it captured, by const
    outputs: list[int | None]  # per leaf of the result: the number of a graph result, or None
    tree: Any  # the structure of the result
    variable_arguments: dict[str, int] = field(default_factory=dict)  # cell -> where it comes first among the variables passed as arguments
    created: list[Created] = field(default_factory=list)  # the variables it made
    seconds: float = 0.0
    written: list[tuple[Value, Any]] = field(default_factory=list)  # small tensors from outside, and the constants that stand for them
    frozen: Frozen | None = None  # the Python values from outside that it was traced with


@dataclass(frozen=True)
class Created:
    """A variable that was made while a function was traced, and what gives its initial value within another trace."""

    variable: weakref.ref[Variable]
    initial: Callable[[], Any]

    def initialize(self) -> None:
        """Give the variable its initial value, if it is still there."""
        variable = self.variable()
        if variable is not None:
            variable.assign(self.initial())


class Creation(enum.Enum):
    """Who may make variables while a function is traced."""

    ALLOWED = 0  # the first time
    AGAIN = 1  # they were made the first time
    LATE = 2  # the first time none was made


class TraceRecorder(Recorder):
    """The recorder of a whole function: it also says who may create variables."""

    def __init__(self, graph: Graph, creation: Creation) -> None:
        super().__init__(graph)
        self.creation = creation
        self.created: list[Created] = []
        self.given: list[Any] | None = None  # while the function runs, what its call has for each parameter: a tensor, or a spec

    def creating(self, variable: Any, name: str | None = None, initial_value: Any = None) -> None:
        """Called when a variable is made while tracing. ValueError where that is not allowed."""
        if self.creation is Creation.ALLOWED:
            if isinstance(initial_value, SymbolicTensor):
                initial: Callable[[], Any] = functools.partial(_again, self.lifted(initial_value), dict(self.cells), dict(self.captured))
            else:
                initial = initial_value if callable(initial_value) else lambda: initial_value
            self.created.append(Created(weakref.ref(variable), initial))
            return
        said = (
            "tf.function only supports singleton tf.Variables created on the first call. Make sure the tf.Variable is only created once or "
            "created outside tf.function. See https://www.tensorflow.org/guide/function#creating_tfvariables for more information."
            if self.creation is Creation.AGAIN
            else "Creating variables on a non-first call to a function decorated with tf.function."
        )
        raise ValueError(places.with_place(f"{said}\n{_described(name, self.graph.name)}"))

    def evaluate(self, tensor: SymbolicTensor) -> Any:
        """The value of a symbolic tensor in the call that is traced: the initial value of a variable made on the way.

        ValueError if it depends on what a loop changes, or on an argument of which only the spec is known. InaccessibleTensorError once the
        function has been traced: the tensor has left it.
        """
        if self.given is None:
            raise InaccessibleTensorError(places.with_place(tensor._out_of_scope()))
        graph = self.lifted(tensor)
        if graph.params and any(isinstance(x, TensorSpec) for x in self.given):
            raise _unlifted("an argument while only its spec is known; call the function once before get_concrete_function")
        cells = {name: v._value.numpy_view() for name, v in self.cells.items()}
        used = {n.attrs["const"] for n in graph.body if n.op is structure.const}

        def now(x: Any) -> np.ndarray:
            return view(x.recorder.root.evaluate(x) if isinstance(x, SymbolicTensor) else x)

        with recording(None), paused_tapes():
            consts = {name: now(self.captured[name]) for name in used}
            given = [now(x) for x in self.given] if graph.params else []
            (out,) = run(graph, given, cells, consts)
        return EagerTensor(np.asarray(out))

    def lifted(self, tensor: SymbolicTensor) -> Graph:
        """The lines that a tensor of this function depends on, as a graph that has its parameters where they count among them."""
        graphs = [r.graph for r in tensor.recorder.around()][::-1]  # with what is recorded so far of the loops and branches it stands in
        lines = [n for g in graphs for n in g.body]
        wanted = _cone(lines, tensor.value)
        graph, *inner = graphs
        if any(id(p) in wanted for g in inner for p in g.params):
            raise _unlifted("what a loop changes")
        body = [n for n in lines if any(id(o) in wanted for o in n.outs)]
        asked = any(id(p) in wanted for p in graph.params) or not sizes.is_known(d for n in body for d in _dims(n))
        params = list(graph.params) if asked else []
        return Graph("initial_value", params, cells=graph.cells, consts=graph.consts, body=body, results=[tensor.value])


def _unlifted(why: str) -> ValueError:
    return ValueError(places.with_place(f"the initial value of a variable made inside a traced function may not depend on {why}"))


def _again(graph: Graph, cells: dict[str, Variable], captured: dict[str, Any]) -> Any:
    """The result of a lifted graph as a tensor of the function being traced now. ValueError if it depends on arguments."""
    if graph.params:
        raise _unlifted("an argument where a function without any is to compute it")
    recorder = thread.recorder
    (out,) = inline(recorder, graph, [], lambda c: cells[c].enter_graph(recorder), _unassigned, lambda c: recorder.held(captured[c]))
    return GraphTensor(recorder.builder.literal(out), recorder)


def _unassigned(cell: str, value: Any) -> None:
    raise InternalError(f"an initial value that assigns state.{cell}")


def _described(name: str | None, function: str) -> str:
    """Which variable is being made, and for whom."""
    frame = places.user_frame(3)
    assigned = name_at(frame.f_code, frame.f_lasti) if frame is not None else None
    name = name or (assigned.base if assigned is not None and assigned.base else None)
    said = f"{function} makes the variable {name!r}" if name else f"{function} makes a variable"
    caller: Any = sys._getframe(3)
    owner = None
    while caller is not None and owner is None and caller.f_code is not record.__code__:
        owner = caller.f_locals.get("self")
        owner = None if isinstance(owner, Operand) else owner
        caller = caller.f_back
    if owner is not None:
        said += f" of a {type(owner).__name__}" + (f" ({owner.name})" if isinstance(getattr(owner, "name", None), str) else "")
    return f"{said} here; keep it from the first call on (`if self.v is None: self.v = tf.Variable(...)`), or make it before"


def _cone(lines: Sequence[Node], value: Value) -> set[int]:
    """Ids of the values that `value` is computed from, itself included."""
    wanted = {id(value)}
    for node in reversed(lines):
        if any(id(o) in wanted for o in node.outs):
            wanted.update(id(v) for v in node.values())
            for g in node.graphs():
                wanted.update(id(v) for v in g.free())
    return wanted


def _dims(node: Node) -> Iterator[Any]:
    """All that may be a size in a line: what its results and attributes have."""
    for o in node.outs:
        yield from o.type.shape
    for a in node.attrs.values():
        yield from a if isinstance(a, tuple) else (a,)


def view(held: Any) -> np.ndarray:
    """A tensor or array as an array. InaccessibleTensorError for a tensor of a traced function, which has no value."""
    if isinstance(held, SymbolicTensor):
        raise InaccessibleTensorError(places.with_place(held._out_of_scope()))
    return held if isinstance(held, np.ndarray) else held.numpy_view()


def record(function: Callable[..., Any], name: str, signature: Signature, arguments: Arguments, creation: Creation) -> Recording:
    """Run the Python function once with symbolic arguments. `creation` says whether variables may be made on the way."""
    started = time.perf_counter()
    code = getattr(function, "__code__", None)
    place = places.Place(code.co_filename, code.co_firstlineno) if code is not None else None
    recorder = TraceRecorder(Graph(identifier(name.strip("<>")), place=place), creation)
    named: dict[Any, str] = {}

    def size(d: Any) -> Dim:
        if d is None:
            return sizes.named(recorder.new_size())
        if d not in named:
            named[d] = recorder.new_size(str(d))
        return sizes.named(named[d])

    symbolic: list[Any] = []
    given: list[Any] = []
    passed: list[Variable] = []
    variables: dict[str, int] = {}
    for x, k, n in zip(arguments.leaves, arguments.keys, signature.leaf_names(arguments.structure), strict=True):
        if isinstance(k, TensorLeaf):
            type = Type(k.dtype, tuple(d if isinstance(d, int) else size(d) for d in k.shape))
            symbolic.append(k.seen(GraphTensor(recorder.builder.parameter(n, type), recorder)))
            given.append(x)
        elif isinstance(k, ProtocolLeaf):
            symbolic.append(k.type.placeholder_value())
        else:
            if isinstance(k, VariableLeaf):
                v = variable_behind(x)
                variables.setdefault(recorder.cell(v, identifier(n), v.cell_type()), len(passed))
                passed.append(v)
            symbolic.append(x)
    args, kwargs = signature.rebuild(arguments.structure, symbolic)
    recorder.given, recorder.within = given, thread.recorder
    with recording(recorder), paused_tapes():
        try:
            out = function(*args, **kwargs)
        except Exception as error:
            raise told(error)  # noqa: B904 (the same one)
        finally:
            recorder.given = None
        _check_unchanged(function, signature, arguments.structure, symbolic, (args, kwargs))
        leaves, tree = leaves_of(out)
        outputs = [_result(recorder, x, name) for x in leaves]
    begin(recorder)
    cells = {cell: v for cell, v in recorder.cells.items() if cell not in variables}
    seconds = time.perf_counter() - started
    written = recorder.tensors_written_out()
    return Recording(recorder.graph, cells, recorder.captured, outputs, tree, variables, recorder.created, seconds, written=written)


def _check_unchanged(function: Callable[..., Any], signature: Signature, structure: Any, leaves: list[Any], after: Any) -> None:
    """ValueError if the function has put something else into a list or dict that it was passed."""

    def parts(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        return [leaves_of(x) for x in (*args, *kwargs.values())]

    changed = [
        name
        for name, (was, tree), (now, new) in zip(
            signature.argument_names(structure), parts(*signature.rebuild(structure, leaves)), parts(*after), strict=True
        )
        if tree != new or any(a is not b for a, b in zip(was, now, strict=True))
    ]
    if changed:
        raise ValueError(
            places.with_place(
                f"{getattr(function, '__qualname__', function)}{signature.type} should not modify its Python input arguments. "
                f"Modifying a copy is allowed. The following parameter(s) were modified: {', '.join(changed)}",
                places.Place(function.__code__.co_filename, function.__code__.co_firstlineno) if hasattr(function, "__code__") else None,
            )
        )


def _result(recorder: Recorder, x: Any, name: str) -> int | None:
    """The number of the graph result that leaf `x` of the returned structure becomes. TypeError for what is no tensor."""
    if x is None:
        return None
    value = recorder.builder.literal(recorder.operand(_given_back(x, name)))
    recorder.graph.results.append(value)
    return len(recorder.graph.results) - 1


def returned(out: Any, name: str) -> Any:
    """What a traced function gives where an eager run of its Python function gave `out`: tensors. TypeError for what is none."""
    return map_structure(lambda x: None if x is None else convert_to_tensor(_given_back(x, name)), out, expand_composites=True)


def _given_back(x: Any, name: str) -> Any:
    """A leaf of what a function returns. TypeError for what is no tensor."""
    if not isinstance(x, Tensor | int | float | bool | complex | np.ndarray | np.generic | TensorShape) and not hasattr(x, "read_tensor"):
        raise TypeError(
            places.with_place(
                "To be compatible with tf.function, Python functions must return zero or more Tensors or ExtensionTypes or None values; "
                f"in compilation of {name}, found return value of type {type(x).__name__}, which is not a Tensor or ExtensionType."
            )
        )
    return x

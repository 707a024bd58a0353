"""One trace of a Python function as something to call: the `ConcreteFunction`.

It runs as one compiled step; inside another traced function it becomes part of that one; under a tape it is one recorded op, whose
gradient is a concrete function again.
"""

from __future__ import annotations

import copy
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, NoReturn, cast

import numpy as np
import optree

from tapejit import stages
from tapejit.calls import Call
from tapejit.core import places, sizes
from tapejit.core.dtypes import DType
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.donation import Donation
from tapejit.explain import numerics
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.graph import Graph, Operand, Value
from tapejit.ir.op import thread
from tapejit.ops.operand import Tensor
from tapejit.passes.differentiate import differentiate
from tapejit.passes.partition import pure
from tapejit.record.inline import inline
from tapejit.record.recorder import Recorder
from tapejit.runtime.launcher import matcher
from tapejit.runtime.locks import groups_of
from tapejit.runtime.plan import Argument, Give, Literal, Made, Owner, Same
from tapejit.sharing import Program, Programs
from tapejit.signature import Arguments, FunctionType, Signature, fitted
from tapejit.spec import TensorSpec
from tapejit.tensor import EagerTensor, convert_to_tensor
from tapejit.trace_type import HandleLeaf, Leaf, LiteralLeaf, ObjectLeaf, ProtocolLeaf, TensorLeaf, VariableLeaf, leaf_key
from tapejit.tracing import Creation, Recording, record, view
from tapejit.variable import Variable, paused_tapes, variable_behind


class Unfit(InvalidArgumentError):
    """Sizes that a trace took to be equal are not: the arguments want a trace of their own."""


class ConcreteFunction:
    """One trace: a graph, the variables and tensors it captured, and how its results are put back together."""

    def __init__(
        self,
        owner_name: str,
        signature: Signature,
        arguments: Arguments,
        recording: Recording,
        donated: frozenset[str] = frozenset(),
        programs: Programs | None = None,
    ) -> None:
        self.owner_name, self.signature = owner_name, signature
        self.number = next(_numbers)
        self._name = f"__inference_{owner_name}_{self.number}"
        self.structure, self.keys = arguments.structure, arguments.keys
        self.traced = recording.graph
        self.cells = dict(recording.cells)
        self.captured = dict(recording.captured)
        self.written = recording.written
        self.outputs_plan, self.tree = recording.outputs, recording.tree
        self.trace_seconds = recording.seconds
        self.timing: Any = None
        self.variable_arguments = recording.variable_arguments
        self._programs = programs if programs is not None else Programs()
        self._program: tuple[Program, dict[str, int]] | None = None
        self._differentiated: Graph | None = None
        self._flat: dict[tuple[type, ...], Callable[..., Any]] = {}
        self._direct: dict[tuple[int, tuple[str, ...], tuple[type, ...]], Callable[..., Any] | None] = {}
        self._called: dict[tuple[int, tuple[str, ...]], Callable[..., Any] | None] = {}  # the last of those above for `__call__`
        self._lock = threading.Lock()
        self._call_op: Call | None = None
        self._donation = self._donating(donated) if donated else None
        self.frozen = recording.frozen if recording.frozen is not None and recording.frozen.reads else None
        self._checks = False  # whether the step looks for NaN and infinities
        self._checked: ConcreteFunction | None = None
        self.before_first_call: Callable[[ConcreteFunction, list[Any], list[Variable]], None] | None = None

    # ------------------------------------------------------------------------------------ what it takes
    @property
    def key(self) -> Any:
        """What `Arguments.key` is for the calls it was made for."""
        return self.structure, self.keys

    @property
    def open_sizes(self) -> int:
        """How many sizes of its arguments are open."""
        return sum(not isinstance(d, int) for k in self.keys if isinstance(k, TensorLeaf) for d in k.shape)

    def accepts(self, arguments: Arguments) -> bool:
        """Whether it can be called with such arguments: tensors may have any size where it leaves one open."""
        if self.structure != arguments.structure:
            return False
        named: dict[str, Any] = {}
        for want, have in zip(self.keys, arguments.keys, strict=True):
            if isinstance(want, TensorLeaf):
                if not isinstance(have, TensorLeaf) or not want.accepts(have):
                    return False
                if any(isinstance(w, str) and named.setdefault(w, h) != h for w, h in zip(want.shape, have.shape, strict=True)):
                    return False
            elif not want.accepts(have):
                return False
        return True

    # ------------------------------------------------------------------------------------ what it is
    @property
    def name(self) -> str:
        return self._name

    @property
    def graph(self) -> Graph:
        """The traced graph."""
        return self.traced

    @property
    def captured_inputs(self) -> list[Any]:
        return [*self.cells.values(), *self.captured.values()]

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables it reads or assigns, without those passed as arguments and the states of the process's random numbers."""
        return tuple(v for v in self.cells.values() if not v.internal)

    @property
    def trainable_variables(self) -> tuple[Variable, ...]:
        return tuple(v for v in self.cells.values() if v.trainable)

    @property
    def inputs(self) -> list[TensorSpec]:
        return [TensorSpec([d if isinstance(d, int) else None for d in p.type.shape], p.type.dtype, p.name) for p in self.traced.params]

    @property
    def outputs(self) -> list[TensorSpec]:
        return [TensorSpec([d if isinstance(d, int) else None for d in r.type.shape], r.type.dtype, r.name) for r in self.traced.results]

    @property
    def structured_input_signature(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments as `TensorSpec`s that have their names; Python values as they are."""
        leaves = [
            TensorSpec([d if isinstance(d, int) else None for d in k.shape], k.dtype, n)
            if isinstance(k, TensorLeaf)
            else k.value
            if isinstance(k, LiteralLeaf)
            else k.object()
            if isinstance(k, ObjectLeaf)
            else k
            for k, n in zip(self.keys, self.signature.leaf_names(self.structure), strict=True)
        ]
        return self.signature.rebuild(self.structure, leaves)

    @property
    def structured_outputs(self) -> Any:
        """What it returns, with `TensorSpec`s for tensors."""
        return self._packed(self.outputs)

    @property
    def function_type(self) -> FunctionType:
        """Its signature: what it takes, returns and captures."""
        leaf = [TensorLeaf(r.type.dtype, r.type.shape) for r in self.traced.results]
        captures = {name: VariableLeaf(k, v.dtype, v.kept_shape(), v.trainable) for k, (name, v) in enumerate(self.cells.items())} | {
            name: TensorLeaf(t.dtype, t.shape) for name, t in self.traced.consts.items()
        }
        return self.signature.type_of(self.structure, self.keys, self._packed(leaf), captures)

    def pretty_printed_signature(self, verbose: bool = True) -> str:
        """The signature on several lines, or, if not `verbose`, on one."""
        return repr(self.function_type) if verbose else str(self.function_type)

    def __repr__(self) -> str:
        return f"<ConcreteFunction {self.pretty_printed_signature(verbose=False)} at {id(self):#x}>"

    def __str__(self) -> str:
        return f"ConcreteFunction {self.pretty_printed_signature(verbose=True)}"

    def seconds_spent(self) -> float:
        """What tracing and, as far as it has been done, compiling took."""
        t = self.timing
        return self.trace_seconds + (t.passes + t.schedule + t.codegen + t.compile + t.load if t is not None else 0.0)

    def show(self, stage: str = "traced") -> stages.Listing:
        """The trace as text, at one of `stages.STAGES`: up to "optimized" its own, from "kernels" on the step that runs, if that is
        one with open sizes, which it shares with other traces."""
        if self._program is None or stage in ("traced", "differentiated", "optimized"):
            return stages.show(self.traced, stage)
        return stages.show(self._program[0].graph, stage, self._program[0].likely)

    def arguments(self, tensors: list[Any], variables: list[Variable]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments of a call with such tensors and variables, both in the order of the signature."""
        given, passed = iter(tensors), iter(variables)
        return self.signature.rebuild(self.structure, [k.argument(given, passed) for k in self.keys])

    # -------------------------------------------------------------------------------------- calling
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call with the arguments of the signature, or with its tensors alone.

        Python arguments may be given again with the value they were traced with, or be left out. TypeError for others, and for arguments
        that are missing or too many; InvalidArgumentError for tensors of another dtype or shape.
        """
        form = len(args), tuple(kwargs)
        direct = thread.recorder is None and not thread.tapes
        if direct and (launch := self._called.get(form)) is not None and (out := launch(*args, **kwargs)) is not NotImplemented:
            return out
        try:
            given = self._structured(args, kwargs)
        except TypeError as e:
            given = self._flat_arguments(args, kwargs, str(e))
        variables = [x for x, k in zip(given, self.keys, strict=True) if isinstance(k, VariableLeaf)]
        if direct:
            self._called[form] = self.fast(*form, variables)
        return self.call([x for x, k in zip(given, self.keys, strict=True) if isinstance(k, TensorLeaf)], variables)

    def _structured(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The leaves of a call by the signature. TypeError if it does not fit."""
        wanted = self.function_type

        def refuse(why: str) -> NoReturn:
            raise TypeError(
                f"Binding inputs to tf.function failed due to `{why}`. Received args: {args} and kwargs: {kwargs} for signature: {wanted}."
            )

        try:
            bound = wanted.bind(*args, **kwargs)
            leaves = self.structure[1].flatten_up_to((*bound.args, *(bound.kwargs[name] for name in self.structure[0])))
        except (TypeError, ValueError) as e:
            refuse(str(e))
        return [self._fitted(x, k, refuse) for x, k in zip(leaves, self.keys, strict=True)]

    def _fitted(self, x: Any, key: Leaf, refuse: Callable[[str], NoReturn]) -> Any:
        if isinstance(key, HandleLeaf):
            return x.__tf_handle__()[0] if key.accepts(leaf_key(x, {})) else refuse(f"Can not cast {x!r} to {key!r}")
        if isinstance(key, TensorLeaf):
            return fitted(x, TensorSpec([d if isinstance(d, int | str) else None for d in key.shape], key.dtype), refuse)[0]
        given = leaf_key(x, {})
        if isinstance(key, VariableLeaf) and isinstance(given, VariableLeaf):
            return x if (given.dtype, given.shape) == (key.dtype, key.shape) else refuse(f"Can not cast {given} to {key}")
        return x if key.accepts(given) else refuse(f"Can not cast {x!r} to {key!r}")

    def _flat_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any], structured: str) -> list[Any]:
        """The leaves of a call with tensors and variables alone, by position or by their flat names."""
        names = self.signature.leaf_names(self.structure)
        open_ = [k for k, key in enumerate(self.keys) if isinstance(key, TensorLeaf | VariableLeaf)]

        def refuse(why: str) -> NoReturn:
            raise TypeError(places.with_place(f"{structured}\nFallback to flat signature also failed due to: {why}")) from None

        listed = ", ".join(names[k] for k in open_)
        if len(args) > len(open_):
            refuse(f"{self.name}({listed}) takes {len(open_)} positional arguments, got {len(args)}.")
        unknown = sorted(kwargs.keys() - {names[k] for k in open_[len(args) :]})
        if unknown:
            refuse(f"{self.name}({listed}) got unexpected keyword arguments: {', '.join(unknown)}.")
        missing = [names[k] for k in open_[len(args) :] if names[k] not in kwargs]
        if missing:
            refuse(f"{self.name}({listed}) missing required arguments: {', '.join(missing)}.")
        given = dict(zip(open_, (*args, *(kwargs[names[k]] for k in open_[len(args) :])), strict=True))
        for at, (k, x) in enumerate(given.items()):
            key = self.keys[k]
            if isinstance(key, TensorLeaf):
                if not isinstance(x, Tensor | Variable | np.ndarray | np.generic | int | float | complex | list):
                    refuse(f"all inputs must be Tensors; input {at}, {x!r}, is a {type(x).__name__}.")
                x = given[k] = x if isinstance(x, Tensor) else convert_to_tensor(x, key.dtype)
                if not key.accepts(TensorLeaf(x.dtype, tuple(x.dims))):
                    given_type = TensorLeaf(x.dtype, tuple(x.dims))
                    want, have = (key.dtype.name, x.dtype.name) if x.dtype is not key.dtype else (str(key), str(given_type))
                    raise InvalidArgumentError(
                        places.with_place(
                            f"cannot compute {self.name} as input #{at}(zero-based) was expected to be a {want} tensor but is a {have} tensor"
                        )
                    )
            else:
                self._fitted(x, key, refuse)
        return [given.get(k) for k in range(len(self.keys))]

    def bindings(self, variables: list[Variable]) -> dict[str, Variable]:
        """The variable behind each cell: captured ones, and those passed as arguments of this call."""
        if not self.variable_arguments:
            return self.cells
        return self.cells | {cell: variable_behind(variables[position]) for cell, position in self.variable_arguments.items()}

    def call(self, tensors: list[Any], variables: list[Variable]) -> Any:
        """Run on tensor arguments and variable arguments, both in the order of the signature."""
        bound = self.bindings(variables)
        recorder = thread.recorder
        if recorder is not None:
            return self._inlined(recorder, tensors, bound)
        if self.before_first_call is not None:
            self.before_first_call(self, tensors, variables)
            self.before_first_call = None
        if numerics.enabled() and not self._checks:
            return self.checked().call(tensors, variables)
        if thread.tapes:
            return self._recorded(tensors, bound)
        return self._packed(self.run(tensors, bound))

    def run(self, tensors: list[EagerTensor], bound: dict[str, Variable]) -> list[EagerTensor]:
        """Results of the compiled step; variables it assigns are updated once it has succeeded."""
        if self._donation is not None:
            return self._donation.run(self._launch, tensors, bound)
        return self._launch(tensors, bound)

    def _launch(self, tensors: list[EagerTensor], bound: Mapping[str, Any]) -> list[EagerTensor]:
        passed = [bound[cell] for cell in self.variable_arguments]
        key = tuple(map(type, passed))
        flat = self._flat.get(key)
        if flat is None:
            returns = [Give(k) for k in range(len(self._compiles().results))]
            owners = {cell: _owner(v.dtype, v.kept_shape(), type(v)) for cell, v in zip(self.variable_arguments, passed, strict=True)}
            flat = self._flat[key] = self.compiled().launcher(
                EagerTensor,
                lambda own: [*own, *owners.values()],
                (),
                {**bound, **owners},
                self._consts(),
                returns,
                pinned=self._pinned(),
            )
        out = flat(*tensors, *passed)
        if out is NotImplemented:  # an array that is not contiguous, or of a layout kernels do not read, or a variable without a lock
            groups_of(passed)
            out = flat(*(EagerTensor(np.asarray(view(convert_to_tensor(t)), order="C")) for t in tensors), *passed)
        if out is NotImplemented:
            raise Unfit(places.with_place(f"{self.owner_name}: the arguments do not fit {self.pretty_printed_signature()}"))
        return out

    def fast(self, count: int, keywords: tuple[str, ...], variables: list[Variable]) -> Callable[..., Any] | None:
        """A native callable for calls with `count` positional arguments and these keywords, with variables of these classes among them; it
        returns NotImplemented for calls that are not just like the one that was traced. None if only Python can take them apart."""
        if self.before_first_call is not None:
            return None
        if numerics.enabled() and not self._checks:
            return self.checked().fast(count, keywords, variables)
        key = count, keywords, tuple(map(type, variables))
        if key not in self._direct:
            self._direct[key] = self._launcher(*key)
        return self._direct[key]

    def _launcher(self, count: int, keywords: tuple[str, ...], classes: tuple[type, ...]) -> Callable[..., Any] | None:
        if any(isinstance(k, ProtocolLeaf) for k in self.keys):
            return None
        passed = [k for k in self.keys if isinstance(k, VariableLeaf)]
        owners = [_owner(k.dtype, k.shape, cls, k.alias, k.trainable) for k, cls in zip(passed, classes, strict=True)]
        try:
            if self._donation is not None:
                return self._giving_away(count, keywords, owners)
            return self.compiled().launcher(
                EagerTensor,
                lambda own: self._arranged(count, keywords, own, owners),
                keywords,
                {**self.cells, **{cell: owners[position] for cell, position in self.variable_arguments.items()}},
                self._consts(),
                _building(self.tree, iter([None if k is None else Give(k) for k in self.outputs_plan])),
                gate=numerics.gate(self._checks),
                frozen=self.frozen,
                pinned=self._pinned(),
            )
        except TypeError:  # a structure that only Python can take apart
            return None

    def _arranged(self, count: int, keywords: tuple[str, ...], tensors: list[Argument], owners: list[Owner]) -> list[Any]:
        """What native code is to find where in such a call. TypeError for what only Python can take apart."""
        own, variables = iter(tensors), iter(owners)
        leaves = [
            next(own) if isinstance(k, TensorLeaf) else next(variables) if isinstance(k, VariableLeaf) else _same(k) for k in self.keys
        ]
        values = optree.tree_unflatten(self.structure[1], cast(Any, leaves))
        given: list[Any] = [None] * (count + len(keywords))
        for place, value in zip(self.signature.order(count, keywords), values, strict=True):
            if place is not None:
                given[place] = value
            elif not isinstance(value, Literal | Same):
                raise TypeError("a default that is a tensor, a variable or a structure")
        return given

    def _giving_away(self, count: int, keywords: tuple[str, ...], owners: list[Owner]) -> Callable[..., Any] | None:
        """A callable for such calls whose arguments are taken apart natively, and given away in Python."""
        shapes = [(k.dtype, k.shape) for k in self.keys if isinstance(k, TensorLeaf)]
        if not all(isinstance(d, int) for _, shape in shapes for d in shape):
            return None
        tensors = [Argument(None, dtype.np, shape, raw=False) for dtype, shape in shapes]
        match = matcher(
            EagerTensor,
            self._arranged(count, keywords, tensors, owners),
            keywords,
            [*tensors, *owners],
            numerics.gate(self._checks),
            self.frozen,
        )

        def call(*args: Any, **kwargs: Any) -> Any:
            found = match(*args, **kwargs)
            if found is NotImplemented:
                return found
            return self._packed(self.run(found[: len(tensors)], self.bindings(found[len(tensors) :])))

        return call

    def _consts(self) -> dict[str, np.ndarray]:
        return {name: np.ascontiguousarray(view(held)) for name, held in self.captured.items()}

    def _compiles(self) -> Graph:
        """The graph of the step."""
        return self.traced if self._donation is None else self._donation.graph

    def _donating(self, donated: frozenset[str]) -> Donation:
        """With the tensors that come by parameters of these names given away."""
        leaves = zip(self.keys, self.signature.leaf_paths(self.structure), self.signature.leaf_names(self.structure), strict=True)
        tensors = [(base, name) for k, (base, _), name in leaves if isinstance(k, TensorLeaf)]
        return Donation(self.owner_name, self.traced, {p: name for p, (base, name) in enumerate(tensors) if base in donated})

    def program(self) -> tuple[Program, dict[str, int]]:
        """The native step, compiled at the first need or taken from an earlier trace; and what the sizes are that it leaves open."""
        if self._program is None:
            with self._lock:
                if self._program is None:
                    from tapejit import compiler

                    self.timing = compiler.Timing(trace=self.trace_seconds)
                    self._program = self._programs.program(self._compiles(), self.timing, self._checks)
        return self._program

    def compiled(self) -> Any:
        """The native step."""
        return self.program()[0].compiled

    def _pinned(self) -> dict[str, int]:
        """What the open sizes of the native step must be in calls of this trace."""
        return self.program()[1]

    def _packed(self, results: list[Any]) -> Any:
        if self.outputs_plan == [0] and self.tree.is_leaf():
            return results[0]
        return optree.tree_unflatten(self.tree, [None if k is None else results[k] for k in self.outputs_plan])

    def differentiated(self) -> Graph:
        """The graph with the lines of its own tapes opened out."""
        if self._differentiated is None:
            self._differentiated = differentiate(self.traced)
        return self._differentiated

    # --------------------------------------------------------------------- inside another traced function
    def _inlined(self, recorder: Recorder, tensors: list[Any], bound: dict[str, Variable]) -> Any:
        args = [recorder.builder.literal(recorder.operand(t)) for t in tensors]

        def read(cell: str) -> Operand:
            return bound[cell].enter_graph(recorder)

        def assign(cell: str, value: Operand) -> None:
            v = bound[cell]
            recorder.assign(v, v.label(), v.cell_type(), value)

        out = inline(recorder, self.differentiated(), list(args), read, assign, lambda name: recorder.held(self.captured[name]))
        return self._packed([GraphTensor(recorder.builder.literal(o), recorder) for o in out])

    # ------------------------------------------------------------------------------------ under a tape
    def _as_op(self) -> Call:
        """The step as an op that tapes record, made at the first need."""
        if self._call_op is None:
            cells = [*self.cells, *self.variable_arguments]  # in the order of `bindings`
            graph = pure(self.differentiated(), cells, list(self.captured), [v for v, _ in self.written])
            self._call_op = Call(self.owner_name, graph, self.also_giving, self._gradient)
        return self._call_op

    def _gradient(self, function: Callable[..., Any], graph: Graph, part: Any) -> ConcreteFunction:
        """The concrete function of what `function`, which takes the parameters of `graph`, records."""
        signature = Signature(function)
        specs = tuple(TensorSpec(_spec_shape(p.type.shape), p.type.dtype) for p in graph.params)
        arguments = signature.bind(specs, {})
        recording = record(function, graph.name, signature, arguments, Creation.LATE)
        return ConcreteFunction(graph.name, signature, arguments, recording, programs=self._programs.part(part))

    def _recorded(self, tensors: list[Any], bound: dict[str, Variable]) -> Any:
        """Run the step as an op that the tapes of the thread record."""
        cells = list(bound)
        read = [bound[c].read_tensor() for c in cells]  # the tapes see the reads
        consts = [h if isinstance(h, EagerTensor) else EagerTensor(view(h)) for h in self.captured.values()]
        inputs = [*tensors, *read, *consts, *(t for _, t in self.written)]
        if not any(tape.follows(inputs) for tape in thread.tapes):
            with paused_tapes():
                return self._packed(self.run(tensors, bound))
        op = self._as_op()
        with paused_tapes():
            outputs = op.forward.run(tensors, bound)
        records = op.records(inputs, outputs)
        for tape in thread.tapes:
            for record_ in records:
                tape.record(*record_)
        return self._packed(outputs[: len(self.traced.results)])

    def also_giving(self, values: list[Value]) -> ConcreteFunction:
        """A function like this one whose step has further results: values of its differentiated graph."""
        if not values and self._donation is None:
            return self
        graph = self.differentiated().with_body(self.differentiated().body, [*self.differentiated().results, *values])
        return self._variant(graph, "forward")

    def checked(self) -> ConcreteFunction:
        """The same trace, compiled into a step that fails at the first line that gives NaN or an infinity."""
        if self._checked is None:
            self._checked = self._variant(self.traced, "checked")
            self._checked._checks = True
        return self._checked

    def kept_under_tape(self) -> list[tuple[Value, Any]]:
        """The values on the way that a call under a tape gives it to keep, with their places."""
        return self._as_op().kept()

    def showing(self, graph: Graph) -> ConcreteFunction:
        """The same trace with another graph of the same arguments, such as one that gives values on the way as results."""
        return self._variant(graph, ("showing", self.number))

    def _variant(self, graph: Graph, part: Any) -> ConcreteFunction:
        """A function like this one with another graph, still to be compiled; `part` says in what."""
        out = copy.copy(self)
        out.traced = graph
        out._donation = None  # the tape holds the arguments; a checked step keeps them to show them
        out._programs, out._program = self._programs.part(part), None
        out._flat, out._direct, out._called, out._lock = {}, {}, {}, threading.Lock()
        out._call_op = out._checked = out.before_first_call = None
        return out


_numbers = itertools.count(1)


def _owner(dtype: DType, shape: tuple[int | None, ...], cls: type, alias: int | None = None, trainable: bool | None = None) -> Owner:
    """A variable among the arguments of native code. Sizes left open are bound where its cell is looked at."""
    dims = tuple(sizes.named(f"any {next(_numbers)}") if d is None else d for d in shape)
    return Owner(cls, "_value", dtype.np, dims, alias, None if trainable is None else ("_trainable", trainable))


def _same(key: Leaf) -> Literal | Same:
    """What native code compares a Python argument with. TypeError for an object that does not say by its identity which trace it wants."""
    if isinstance(key, LiteralLeaf):
        return Literal(key.value)
    assert isinstance(key, ObjectLeaf)
    found = key.object()
    if found is None or (type(found).__hash__ is not object.__hash__ and not isinstance(found, Enum | DType)):
        raise TypeError(f"{found!r} is compared by its value")
    try:
        return Same(weakref.ref(found))
    except TypeError:  # the key keeps it alive, too
        return Literal(found, equal=False)


def _building(tree: optree.PyTreeSpec, leaves: Iterator[Any]) -> Any:
    """How native code puts results together: `leaves` in containers that it makes itself, any other in `Made`."""
    if tree.is_leaf():
        return next(leaves)
    children = tuple(_building(child, leaves) for child in tree.children())
    level = tree.one_level()
    assert level is not None
    if tree.type in (tuple, list, dict):
        return level.unflatten(children)
    return Made(lambda *values: level.unflatten(values), children)


def _spec_shape(dims: tuple[Dim, ...]) -> list[int | str | None]:
    """Sizes that have a name keep it, so that equal ones stay so."""
    return [d if isinstance(d, int) else str(d) if str(d).isidentifier() else None for d in dims]

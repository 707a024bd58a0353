"""`@function`: a Python function on tensors, traced once per kind of call into a graph that runs as one native step.

A `Function` keeps the traces of one Python function. A call like one of the last goes straight to native code; any other looks up, or
makes, the trace that fits.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

from tapejit import stages
from tapejit.autograph.convert import converted
from tapejit.concrete import ConcreteFunction, Unfit
from tapejit.core import places
from tapejit.core.errors import InvalidArgumentError
from tapejit.donation import donated_parameters
from tapejit.explain import frozen, memory, retraces
from tapejit.explain.memory import MemoryReport
from tapejit.explain.retraces import Change, History, Retraces
from tapejit.explain.verification import Verification, verify
from tapejit.ir.graph import Graph
from tapejit.ir.op import thread
from tapejit.learned import Ranks, UnknownRank, at_work
from tapejit.sharing import Programs
from tapejit.signature import Arguments, FunctionType, Signature
from tapejit.traces import Traces
from tapejit.tracing import Created, Creation, Recording, record, returned
from tapejit.variable import paused_tapes

MAX_TRACES = 256  # per function, unless it says otherwise
_RECENT = 8  # how many kinds of calls are tried before one is taken apart
_run_eagerly = False


def run_functions_eagerly(run_eagerly: bool) -> None:
    """With True, traced functions call their Python function instead (`tf.config.run_functions_eagerly`)."""
    global _run_eagerly
    _run_eagerly = bool(run_eagerly)


def functions_run_eagerly() -> bool:
    """Whether `run_functions_eagerly(True)` is in force."""
    return _run_eagerly


class Function:
    """A Python function and its traces. Calling it runs the trace that fits the arguments, made if there is none."""

    def __init__(
        self,
        python_function: Callable[..., Any],
        input_signature: Any = None,
        reduce_retracing: bool = False,
        autograph: bool = True,
        name: str | None = None,
        max_traces: int = MAX_TRACES,
        on_retrace: str = "warn",
        guard: str = "warn",
        donate: Any = (),
        verify: str | None = None,
    ) -> None:
        if not callable(python_function):
            raise TypeError(places.with_place(f"{python_function!r} is not a callable object"))
        functools.update_wrapper(self, python_function, updated=())
        self.python_function = python_function
        self.name: str = name or str(getattr(python_function, "__name__", type(python_function).__name__))
        self.signature = Signature(python_function, input_signature)
        self.input_signature = self.signature.specs
        self.reduce_retracing, self.autograph = reduce_retracing, autograph
        self.donated = donated_parameters(donate, self.name, self.signature.parameters)
        self._traces = Traces(max_traces)
        self._programs = Programs()
        self._lock = threading.RLock()
        self._count = 0
        if guard not in frozen.POLICIES:
            raise ValueError(places.with_place(f"guard={guard!r}: write one of {', '.join(map(repr, frozen.POLICIES))}"))
        self.guard = guard
        if verify not in (None, "first"):
            raise ValueError(places.with_place(f'verify={verify!r}: write "first", or leave it out'))
        self._verifies = verify
        self._history = History(self.name, on_retrace, getattr(python_function, "__code__", None))
        self._under_way: list[Any] = []  # keys of the traces being made
        self._fast: Callable[..., Any] | None = None  # the first of those below
        self._recent: tuple[tuple[Callable[..., Any], ConcreteFunction], ...] = ()  # native callables for the latest kinds of calls
        self._creation = Creation.ALLOWED
        self._created: list[Created] | None = None  # the variables made on the first call, where somebody asks for them
        self._ranks: dict[Any, Ranks] = {}  # met in eager runs, by the kind of the arguments
        self._methods: dict[int, tuple[weakref.ref[Any], Function]] = {}  # by the id of a living instance

    # -------------------------------------------------------------------------------------- calling
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fast = self._fast
        if fast is not None and thread.recorder is None and not thread.tapes and not _run_eagerly:
            out = fast(*args, **kwargs)
            if out is not NotImplemented:
                return out
        return self._slow(args, kwargs)

    def _slow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that is not like the last one."""
        if _run_eagerly:
            return self.python_function(*args, **kwargs)
        direct = thread.recorder is None and not thread.tapes
        if direct:
            for launch, _ in self._recent[1:]:
                out = launch(*args, **kwargs)
                if out is not NotImplemented:
                    return out
        arguments = self.signature.bind(args, kwargs)
        asked: UnknownRank | None = None
        try:
            concrete = self._find(arguments)
        except UnknownRank as error:
            if thread.recorder is not None:  # the call that traces the function around runs eagerly
                raise
            asked = error
        if asked is not None:  # what goes wrong in the eager run has nothing to do with it
            return self._learn(arguments, asked)
        if direct:
            launcher = concrete.fast(len(args), tuple(kwargs), arguments.variables())
            if launcher is not None:
                self._prefer(launcher, concrete)
        try:
            return concrete.call(arguments.tensors(), arguments.variables())
        except Unfit:
            exact = arguments.exact()
            return self._unequal(exact).call(exact.tensors(), exact.variables())
        finally:
            self._history.settle()

    def _learn(self, arguments: Arguments, asked: UnknownRank) -> Any:
        """A call run eagerly, from which later traces know the ranks that one of it asked for."""
        ranks = self._known_ranks(arguments)
        found: dict[Any, Any] = {}
        args, kwargs = self.signature.rebuild(arguments.structure, arguments.given())
        with at_work(ranks, found):
            out = self.python_function(*args, **kwargs)
        ranks.learn(found, asked)
        return returned(out, self.name)

    def _known_ranks(self, arguments: Arguments) -> Ranks:
        if len(self._ranks) > self._traces.limit:
            self._ranks.clear()
        return self._ranks.setdefault(arguments.kind, Ranks())

    def _prefer(self, launch: Callable[..., Any], concrete: ConcreteFunction) -> None:
        """Try this kind of call first from now on."""
        self._recent = ((launch, concrete), *(item for item in self._recent if item[0] is not launch))[:_RECENT]
        self._fast = launch

    def _find(self, arguments: Arguments) -> ConcreteFunction:
        """The most specific trace that takes these arguments, or a new one."""
        with self._lock:
            found = self._traces.accepting(arguments)
            changed = found.frozen.changed() if found is not None and found.frozen is not None else []
            if found is not None and found.frozen is not None and changed:
                if self.guard == "retrace":
                    same = Arguments(found.structure, arguments.leaves, found.keys)
                    return self._trace(same, retraces.GUARDED, frozen.changes(changed))
                found.frozen.tell(self.name)
            if found is None:
                cause = retraces.GENERAL if self.reduce_retracing else retraces.INLINED if thread.recorder is not None else retraces.CALL
                found = self._trace(self._traces.generalised(arguments) if self.reduce_retracing else arguments, cause)
        frozen.merge(found.frozen)
        return found

    def _exactly(self, arguments: Arguments, cause: str = retraces.ASKED) -> ConcreteFunction:
        """The trace for just these arguments, made if there is none."""
        with self._lock:
            return self._traces.exact(arguments) or self._trace(arguments, cause)

    def _unequal(self, arguments: Arguments) -> ConcreteFunction:
        """The trace for sizes that differ where a more general one took them to be equal. InvalidArgumentError if they may not."""
        try:
            return self._exactly(arguments, retraces.UNEQUAL)
        except ValueError as error:
            if type(error) is not ValueError:
                raise
            raise InvalidArgumentError(*error.args) from error  # a call that does not fit, not a program that cannot be traced

    def _trace(self, arguments: Arguments, cause: str, changes: tuple[Change, ...] = ()) -> ConcreteFunction:
        """A new trace, entered among the others."""
        trace = self._history.expect(self.signature, arguments, cause, changes)
        recording = self._recorded(arguments)
        if recording.created:  # once more, to have a graph without the creation
            self._creation = Creation.AGAIN
            if self._created is not None:
                self._created = recording.created
            self._history.made(trace, arguments, recording.seconds)
            trace = self._history.expect(self.signature, arguments, retraces.CREATED)
            recording = self._recorded(arguments)
        elif self._creation is Creation.ALLOWED:
            self._creation = Creation.LATE
        concrete = ConcreteFunction(self.name, self.signature, arguments, recording, self.donated, self._programs)
        self._history.made(trace, arguments, concrete.seconds_spent)
        if self._verifies == "first":
            concrete.before_first_call = self._expect_verified
        self.adopt(concrete)
        return concrete

    def _recorded(self, arguments: Arguments) -> Recording:
        """Call the Python function with symbolic arguments. RecursionError if it comes back to such a call of itself."""
        if arguments.key in self._under_way:
            raise RecursionError(
                places.with_place(
                    f"{self.name} calls itself with arguments of the same kind while it is traced, which would never end. Make what ends the "
                    "recursion a Python value, which is known while tracing, or write tf.while_loop"
                )
            )
        ranks = self._known_ranks(arguments)
        if ranks.lacking is not None:
            raise UnknownRank(*ranks.lacking, ranks)
        self._under_way.append(arguments.key)
        try:
            collecting = contextlib.nullcontext() if self.guard == "off" else frozen.collecting(self.python_function)
            with at_work(ranks), collecting as collector:
                recording = record(self._traceable(), self.name, self.signature, arguments, self._creation)
            recording.frozen = None if collector is None else collector.result()
            self._count += 1
            return recording
        except UnknownRank:
            raise
        except Exception as error:
            at = places.here()
            error.add_note(
                f"while {self.name}({retraces.described(self.signature, arguments)}) was traced"
                + ("" if at is None else f", called at {at}")
            )
            raise
        finally:
            self._under_way.pop()

    def _traceable(self) -> Callable[..., Any]:
        """The Python function as it is traced: with control flow that tensors may decide, unless `autograph=False`."""
        return converted(self.python_function) if self.autograph else self.python_function

    def adopt(self, concrete: ConcreteFunction) -> None:
        """Enter a trace, for calls that it takes and no more specific one does."""
        with self._lock:
            for _, latest in reversed(self._recent):
                self._traces.used(latest)
            self._traces.add(concrete)
            self._recent, self._fast = (), None  # there may be a better trace now for what they took

    def clear(self) -> None:
        """Forget all traces, with their graphs and native code; the next call traces again."""
        with self._lock:
            self._traces.clear()
            self._history.clear()
            self._recent, self._fast = (), None

    # -------------------------------------------------------------------------------- TensorFlow's
    def get_concrete_function(self, *args: Any, **kwargs: Any) -> ConcreteFunction:
        """The trace for arguments or `TensorSpec`s (or, with an input signature, for none)."""
        if self.input_signature is not None and not args and not kwargs:
            return self._exactly(self.signature.of_specs())
        return self._exactly(self.signature.bind(args, kwargs))

    def get_initialization_function(self, *args: Any, **kwargs: Any) -> ConcreteFunction:
        """A function of no arguments that gives the variables made on the first call their initial values, random ones anew. The Python
        function is traced for these arguments, but not run. RuntimeError once it has been used; ValueError for initial values that depend on arguments.
        """
        with self._lock:
            if self._creation is not Creation.ALLOWED or self._count:
                raise RuntimeError(places.with_place("get_initialization_function cannot be called after the function has been used"))
            self._created = []
            try:
                self.get_concrete_function(*args, **kwargs)
            finally:
                created, self._created = self._created, None

        def initialize_variables() -> None:
            for each in created:
                each.initialize()

        return Function(initialize_variables, autograph=False).get_concrete_function()

    @property
    def function_type(self) -> FunctionType:
        """The parameters, with what the input signature wants of them."""
        return self.signature.type

    def experimental_get_tracing_count(self) -> int:
        """How often the Python function has been traced, without the times it raised an exception."""
        return self._count

    def check_numerics(self, *args: Any, **kwargs: Any) -> Any:
        """A call that raises InvalidArgumentError at the first line that gives NaN or an infinity: op, element, operands, and the user's
        line, for a line of a gradient the one it belongs to. Runs a variant of the compiled step; variables stay as they were if it fails.
        """
        arguments = self.signature.bind(args, kwargs)
        try:
            return self._find(arguments).checked().call(arguments.tensors(), arguments.variables())
        except Unfit:
            exact = arguments.exact()
            return self._unequal(exact).checked().call(exact.tensors(), exact.variables())
        finally:
            self._history.settle()

    def verify(self, *args: Any, **kwargs: Any) -> Verification:
        """One call eagerly, interpreted and compiled, in the working precision and beside float64: prints as a table, and says which line's
        compiled value departs first. Variables, random streams and iterators are put back; what the Python function itself does (it is called once eagerly) is not.
        """
        arguments = self.signature.bind(args, kwargs)
        tensors, variables = arguments.tensors(), arguments.variables()
        return self._verification(self._find(arguments), tensors, variables, args, kwargs)

    def _verification(self, concrete: ConcreteFunction, tensors: list[Any], variables: list[Any], args: Any, kwargs: Any) -> Verification:
        def eager() -> Any:
            before = functions_run_eagerly()
            run_functions_eagerly(True)
            try:
                return self.python_function(*args, **kwargs)
            finally:
                run_functions_eagerly(before)

        return verify(self.name, concrete, tensors, variables, eager)

    def _expect_verified(self, concrete: ConcreteFunction, tensors: list[Any], variables: list[Any]) -> None:
        """What a trace does before its first call, with `verify="first"`."""
        with paused_tapes():
            self._verification(concrete, tensors, variables, *concrete.arguments(tensors, variables)).expect()

    def memory_report(self, *args: Any, **kwargs: Any) -> MemoryReport:
        """What one call keeps from its forward lines for the backward ones, line by line in bytes, and the memory it works in. Nothing is run."""
        arguments = self.signature.bind(args, kwargs)
        return memory.report(self.name, self._find(arguments), arguments.tensors(), arguments.variables())

    def traces(self) -> Retraces:
        """What made each trace: its number, signature, line of the call and cost, and in what it differs from the nearest earlier one."""
        return self._history.traces()

    def why_retraced(self) -> Retraces:
        """Of `traces()` those that nobody asked for. Prints as one line each: the leaf that differs, where, what it cost, what to write."""
        return self._history.retraces()

    def pretty_printed_concrete_signatures(self, verbose: bool = True) -> str:
        """The signatures of all traces, a blank line between them."""
        return "\n\n".join(c.pretty_printed_signature(verbose) for c in self._traces)

    def show(self, stage: str = "traced") -> Any:
        """The latest trace as text: "traced", "differentiated", "optimized", "kernels", "source" or "llvm"."""
        return self.latest().show(stage)

    def graph(self, stage: str = "traced") -> Graph:
        """The latest trace as a graph: "traced", "differentiated" or "optimized"."""
        return stages.graph(self.latest().traced, stage)

    def latest(self) -> ConcreteFunction:
        """The trace made last. ValueError if there is none and no signature to make one from."""
        if len(self._traces):
            return list(self._traces)[-1]
        if self.input_signature is not None:
            return self.get_concrete_function()
        raise ValueError(
            places.with_place(
                f"{self.name} has not been traced yet; call it once, or {self.name}.get_concrete_function(...) with arguments or tf.TensorSpecs"
            )
        )

    def concrete_functions(self) -> list[ConcreteFunction]:
        """All traces, in the order they were made."""
        return list(self._traces)

    def __get__(self, instance: Any, owner: Any) -> Function:
        """A method: each instance has traces of its own, which go when it goes."""
        if instance is None:
            return self
        found = self._methods.get(id(instance))
        return self._bound(instance) if found is None else found[1]

    def _bound(self, instance: Any) -> Function:
        """The function that the method of one instance is. TypeError for an instance without weak references."""
        key, methods, function = id(instance), self._methods, self.python_function
        try:
            reference = weakref.ref(instance, lambda _: methods.pop(key, None))
        except TypeError:
            raise TypeError(
                f"the instances of {type(instance).__name__} cannot have traced methods of their own; add '__weakref__' to its __slots__"
            ) from None

        @functools.wraps(function)
        def method(*args: Any, **kwargs: Any) -> Any:
            owner = reference()
            if owner is None:
                raise ReferenceError(
                    f"the object whose method {self.name} was to be called is gone; keep it in a name of its own while its methods are in use"
                )
            return (function if thread.recorder is None else self._traceable())(owner, *args, **kwargs)

        del method.__wrapped__
        method.__signature__ = _without_first(function)  # type: ignore[attr-defined]
        bound = Function(method, *self._options())
        with self._lock:
            return methods.setdefault(key, (reference, bound))[1]

    def __reduce__(self) -> Any:
        """A function at the top of a module is pickled by its name, any other by its Python function; neither takes traces along."""
        found: Any = sys.modules.get(self.__module__)
        path = getattr(self, "__qualname__", "<none>")
        for part in path.split("."):
            found = getattr(found, part, None)
        if found is self:
            return path
        return Function, (self.python_function, *self._options())

    def _options(self) -> tuple[Any, ...]:
        """What the function was made with, besides the Python function."""
        return (
            self.input_signature, self.reduce_retracing, self.autograph, self.name, self._traces.limit, self._history.policy, self.guard,
            self.donated, self._verifies,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<tapejit.function {self.name} with {len(self._traces)} traces>"


def _without_first(function: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(function)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def function(
    func: Callable[..., Any] | None = None,
    input_signature: Any = None,
    autograph: bool = True,
    jit_compile: bool | None = None,
    reduce_retracing: bool = False,
    experimental_implements: str | None = None,
    experimental_autograph_options: Any = None,
    experimental_attributes: Any = None,
    experimental_relax_shapes: bool | None = None,
    experimental_compile: bool | None = None,
    experimental_follow_type_hints: bool | None = None,
    *,
    max_traces: int = MAX_TRACES,
    on_retrace: str = "warn",
    guard: str = "warn",
    donate: Any = (),
    verify: str | None = None,
) -> Any:
    """Compile a Python function on tensors (`tf.function`); works bare, with arguments, on methods and lambdas.

    `input_signature`: nested `TensorSpec`s that every call is converted to. `reduce_retracing`: sizes that differ between calls become
    symbolic. `max_traces`: how many traces are kept; beyond that the one not used for longest is forgotten. `on_retrace`: what
    becomes of a call that fits no trace: "warn" says in one line why it is traced again, "error" raises RetraceError instead of tracing,
    "ignore" is silent; `why_retraced()` lists them in any case. `guard`: what becomes of a call for which
    Python values from outside (globals, attributes, closure variables, small arrays) are not what they were when it was traced: "warn" says so
    once for each name, "retrace" traces again, "off" does not look. `donate`: names or positions of parameters whose tensors callers give away: a call
    writes results of their types into their buffers unless somebody else holds these too, and using such a tensor afterwards is a RuntimeError.
    (Within another traced function, or where a tape follows the arguments, nothing is given away.) `verify`: with "first", the first call of
    each trace is compared with the eager program before it is made, as `f.verify` does, and VerificationError names the first line that departs. `jit_compile` and the experimental options are accepted and need nothing: every function is compiled.
    """

    def decorate(f: Callable[..., Any]) -> Function:
        return Function(
            f,
            input_signature,
            reduce_retracing or bool(experimental_relax_shapes),
            autograph,
            max_traces=max_traces,
            on_retrace=on_retrace,
            guard=guard,
            donate=donate,
            verify=verify,
        )

    return decorate if func is None else decorate(func)

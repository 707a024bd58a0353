"""`@function`: a Python function on tensors, traced once per kind of call into a graph that runs as one native step.

A `Function` keeps the traces of one Python function. A call like the last one goes straight to native code; any other looks up, or
makes, the trace that fits. `from_text` makes a function of a graph's text.
"""

from __future__ import annotations

import functools
import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from inspect import Parameter
from inspect import Signature as PythonSignature
from typing import Any, cast

import optree

from tapejit import stages
from tapejit.concrete import ConcreteFunction, TraceRecorder, Unfit, trace
from tapejit.core import places, sizes
from tapejit.core.sizes import Dim
from tapejit.ir.graph import Graph
from tapejit.ir.op import thread
from tapejit.ir.parser import allows, parse
from tapejit.signature import Arguments, Signature, TensorLeaf
from tapejit.spec import TensorSpec
from tapejit.tensor import convert_to_tensor
from tapejit.variable import Variable

_log = logging.getLogger("tapejit")
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
    ) -> None:
        functools.update_wrapper(self, python_function, updated=())
        self.python_function = python_function
        self.name: str = name or str(getattr(python_function, "__name__", type(python_function).__name__))
        self.input_signature = None if input_signature is None else tuple(input_signature)
        self.signature = Signature(python_function, input_signature)
        self.reduce_retracing, self.autograph = reduce_retracing, autograph
        self._traces: dict[Any, ConcreteFunction] = {}
        self._general: list[tuple[Any, ConcreteFunction]] = []  # traces with open sizes
        self._lock = threading.RLock()
        self._count = 0
        self._fast: Callable[..., Any] | None = None
        self._launchers: dict[Any, Callable[..., Any] | None] = {}
        slow = weakref.WeakMethod(self._slow)
        self._slow_itself = lambda *args, **kwargs: slow()(*args, **kwargs)  # type: ignore[misc]
        self._created = False
        self._methods: weakref.WeakKeyDictionary[Any, Function] = weakref.WeakKeyDictionary()

    # -------------------------------------------------------------------------------------- calling
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        fast = self._fast
        if fast is not None and thread.recorder is None and not thread.tapes and not _run_eagerly:
            return fast(*args, **kwargs)
        return self._slow(*args, **kwargs)

    def _slow(self, *args: Any, **kwargs: Any) -> Any:
        """A call that is not like the last one."""
        if _run_eagerly:
            return self.python_function(*args, **kwargs)
        arguments = self.signature.bind(args, kwargs)
        concrete = self._traces.get(arguments.key)
        if concrete is None:
            concrete = self._find(arguments)
        if thread.recorder is None and not thread.tapes:
            key = (concrete._name, tuple(id(v) for v in arguments.variables()))
            if key not in self._launchers:
                # a call that does not fit the new launcher goes on to the one before it, and so on: shapes may alternate
                self._launchers[key] = self._fast = concrete.fast(arguments.variables(), self._fast or self._slow_itself) or self._fast
        try:
            return concrete.call(arguments.tensors(), arguments.variables())
        except Unfit:
            return self._exact(arguments).call(arguments.tensors(), arguments.variables())

    def _exact(self, arguments: Arguments) -> ConcreteFunction:
        """A trace for exactly these sizes, where one with open sizes took some to be equal that are not."""
        keys = tuple(
            TensorLeaf(k.dtype, tuple(x.dims)) if isinstance(k, TensorLeaf) else k
            for x, k in zip(arguments.leaves, arguments.keys, strict=True)
        )
        exact = Arguments(arguments.structure, arguments.leaves, keys)
        with self._lock:
            return self._traces.get(exact.key) or self._trace(exact)

    def _find(self, arguments: Arguments) -> ConcreteFunction:
        """The most specific trace that takes these arguments, or a new one."""
        with self._lock:
            found = self._traces.get(arguments.key)
            if found is not None:
                return found
            for general, concrete in self._general:
                if general.structure == arguments.structure and _accepts(general.keys, arguments.keys):
                    return concrete
            return self._trace(self._generalised(arguments) if self.reduce_retracing else arguments)

    def _generalised(self, arguments: Arguments) -> Arguments:
        """With `reduce_retracing`: sizes in which an earlier trace of this structure differs are left open."""
        keys = list(arguments.keys)
        for concrete in self._traces.values():
            if concrete.structure != arguments.structure:
                continue
            merged = []
            for have, k in zip(concrete.keys, keys, strict=True):
                if isinstance(have, TensorLeaf) and isinstance(k, TensorLeaf) and have.dtype is k.dtype and len(have.shape) == len(k.shape):
                    merged.append(TensorLeaf(k.dtype, tuple(b if a == b else None for a, b in zip(have.shape, k.shape, strict=True))))
                else:
                    merged.append(k)
            keys = merged
        return Arguments(arguments.structure, arguments.leaves, tuple(keys))

    def _trace(self, arguments: Arguments) -> ConcreteFunction:
        self._count += 1
        concrete, created = trace(self.python_function, self.name, self.signature, arguments, may_create=not self._created)
        if created:  # once more, to have a graph without the creation
            self._count += 1
            self._created = True
            concrete, _ = trace(self.python_function, self.name, self.signature, arguments, may_create=False)
        self._created = True
        self.adopt(concrete)
        return concrete

    def adopt(self, concrete: ConcreteFunction) -> None:
        """Enter a trace: calls that fit it use it, the exact ones before those with open sizes."""
        arguments = Arguments(concrete.structure, [], concrete.keys)
        self._traces[arguments.key] = concrete
        if any(not isinstance(d, int) for k in arguments.keys if isinstance(k, TensorLeaf) for d in k.shape):
            self._general.insert(0, (arguments, concrete))
            self._general.sort(
                key=lambda item: sum(not isinstance(d, int) for k in item[0].keys if isinstance(k, TensorLeaf) for d in k.shape)
            )

    def arguments_of_specs(self) -> Arguments:
        """The input signature as the arguments of a call."""
        leaves: list[Any]
        leaves, tree = optree.tree_flatten(cast(Any, self.input_signature or ()), none_is_leaf=True)
        return Arguments(((), tree), leaves, tuple(TensorLeaf(s.dtype, s.named_shape) for s in leaves))

    # -------------------------------------------------------------------------------- TensorFlow's
    def get_concrete_function(self, *args: Any, **kwargs: Any) -> ConcreteFunction:
        """The trace for arguments or `TensorSpec`s (or, with an input signature, for none)."""
        if self.input_signature is not None and not args and not kwargs:
            arguments = self.arguments_of_specs()
        else:
            arguments = self.signature.bind(args, kwargs)
        found = self._traces.get(arguments.key)
        if found is None:
            with self._lock:
                found = self._traces.get(arguments.key) or self._trace(arguments)
        return found

    def experimental_get_tracing_count(self) -> int:
        """How often the Python function has been traced."""
        return self._count

    def pretty_printed_concrete_signatures(self, verbose: bool = True) -> str:
        return "\n\n".join(c.pretty_printed_signature(verbose) for c in self._traces.values())

    def show(self, stage: str = "traced") -> Any:
        """The latest trace as text: "traced", "differentiated", "optimized", "kernels", "source" or "llvm"."""
        return stages.show(self.latest().traced, stage)

    def graph(self, stage: str = "traced") -> Graph:
        """The latest trace as a graph: "traced", "differentiated" or "optimized"."""
        return stages.graph(self.latest().traced, stage)

    def latest(self) -> ConcreteFunction:
        """The trace made last. ValueError if there is none and no signature to make one from."""
        if self._traces:
            return list(self._traces.values())[-1]
        if self.input_signature is not None:
            return self.get_concrete_function()
        raise ValueError(
            places.with_place(
                f"{self.name} has not been traced yet; call it once, or {self.name}.get_concrete_function(...) with arguments or tf.TensorSpecs"
            )
        )

    def concrete_functions(self) -> list[ConcreteFunction]:
        """All traces, in the order they were made."""
        return list(self._traces.values())

    def __get__(self, instance: Any, owner: Any) -> Function:
        """A method: each instance has traces of its own, which go when it goes."""
        if instance is None:
            return self
        try:
            bound = self._methods.get(instance)
        except TypeError:  # not hashable or without weak references
            bound = instance.__dict__.get(f"_tapejit_{self.name}")
        if bound is None:
            reference = weakref.ref(instance)
            function = self.python_function

            @functools.wraps(function)
            def method(*args: Any, **kwargs: Any) -> Any:
                return function(reference(), *args, **kwargs)

            del method.__wrapped__
            method.__signature__ = _without_first(function)  # type: ignore[attr-defined]
            bound = Function(method, self.input_signature, self.reduce_retracing, self.autograph, self.name)
            try:
                self._methods[instance] = bound
            except TypeError:
                instance.__dict__[f"_tapejit_{self.name}"] = bound
        return bound

    def __repr__(self) -> str:
        return f"<tapejit.function {self.name} with {len(self._traces)} traces>"


def _without_first(function: Callable[..., Any]) -> Any:
    import inspect

    signature = inspect.signature(function)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _accepts(general: tuple[Any, ...], keys: tuple[Any, ...]) -> bool:
    named: dict[str, Any] = {}
    for want, have in zip(general, keys, strict=True):
        if isinstance(want, TensorLeaf):
            if not isinstance(have, TensorLeaf) or not want.accepts(have):
                return False
            for w, h in zip(want.shape, have.shape, strict=True):
                if isinstance(w, str) and named.setdefault(w, h) != h:
                    return False
        elif want != have:
            return False
    return True


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
) -> Any:
    """Compile a Python function on tensors (`tf.function`); works bare, with arguments, on methods and lambdas.

    `input_signature`: nested `TensorSpec`s that every call is converted to. `reduce_retracing`: sizes that differ between calls become
    symbolic. `jit_compile` and the experimental options are accepted and need nothing: every function is compiled.
    """

    def decorate(f: Callable[..., Any]) -> Function:
        return Function(f, input_signature, reduce_retracing or bool(experimental_relax_shapes), autograph)

    return decorate if func is None else decorate(func)


def from_text(text: str, state: Mapping[str, Variable] | None = None, consts: Mapping[str, Any] | None = None) -> Function:
    """The function that a graph's text describes, as `print(f.show())` wrote it or as it was edited since.

    `state` gives the variable behind each `state.x`, `consts` the array behind each `const.x`. InvalidArgumentError names the line of a
    text that is no graph; ValueError a cell or constant that is not given.
    """
    graph = parse(text)
    state, consts = dict(state or {}), {k: convert_to_tensor(v) for k, v in (consts or {}).items()}
    for what, declared, given in (("state", graph.cells, state), ("const", graph.consts, consts)):
        for name in declared:
            if name not in given:
                raise ValueError(
                    places.with_place(
                        f"{graph.name} uses {what}.{name}; write from_text(text, {'state' if what == 'state' else 'consts'}={{{name!r}: ...}})"
                    )
                )

        for name, t in graph.cells.items() if what == "state" else ():
            have = state[name].cell_type()
            if not allows(t, have):
                raise ValueError(places.with_place(f"{graph.name} declares state.{name}: {t}, but the variable given for it is {have}"))

    def body(*args: Any) -> Any:
        raise NotImplementedError(f"{graph.name} was made from text and has no Python to run eagerly")

    body.__name__ = graph.name
    body.__signature__ = PythonSignature([Parameter(p.name, Parameter.POSITIONAL_ONLY) for p in graph.params])  # type: ignore[attr-defined]
    specs = [TensorSpec([d if isinstance(d, int) else _named(d) for d in p.type.shape], p.type.dtype, p.name) for p in graph.params]
    out = Function(body, specs, name=graph.name)
    recorder = TraceRecorder(graph, may_create=False)
    recorder.cells, recorder.captured = state, consts
    count = len(graph.results)
    tree = optree.tree_structure(cast(Any, 0 if count == 1 else (0,) * count if count else None), none_is_leaf=True)
    out.adopt(
        ConcreteFunction(graph.name, out.signature, out.arguments_of_specs(), recorder, list(range(count)) if count else [None], tree, 0.0)
    )
    return out


def _named(d: Dim) -> str | None:
    """The name of a size that is nothing but a name; None, an open size, for any other."""
    (name,) = found if len(found := sizes.names(d)) == 1 else ("",)
    return name if name and d == sizes.named(name) else None


function.from_text = from_text  # type: ignore[attr-defined]

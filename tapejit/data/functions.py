"""Functions that users give to a dataset: of the leaves of an element, traced once where they can be.

A traced function is first run by the interpreter, because most pipelines are short; one that has taken longer than it takes to
compile is compiled. A function that cannot be traced (it needs values, or returns datasets) runs eagerly on each element.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tapejit.autograph.convert import converted
from tapejit.concrete import ConcreteFunction
from tapejit.core import places, sizes
from tapejit.core.errors import InaccessibleTensorError, OperatorNotAllowedInGraphError
from tapejit.data.elements import Elements, Leaves, array_of, flattened, packing, tensors
from tapejit.data.pieces import Piece, Rows, Table
from tapejit.function import Function
from tapejit.functional import vectorized_map
from tapejit.generators import with_own_stream
from tapejit.ir import interpreter
from tapejit.record.recorder import recording
from tapejit.spec import TensorSpec
from tapejit.tensor import EagerTensor, convert_to_tensor
from tapejit.variable import paused_tapes

_PATIENCE = 0.1  # seconds that the interpreter may take for one function before it is compiled
_BLOCK_ROWS, _BLOCK_BYTES = 1024, 2**20  # at most so much is computed at once
_SHAPES = 8  # so many kinds of shapes are traced; a function that meets more runs eagerly


class ElementFunction:
    """`function` of elements of the structure that `tree()` gives: of several arguments where that is a tuple, else of one.

    `nested` makes a dataset, as users see it, of a pipeline, `inside` takes the pipeline out of one that the function returns.
    `traced=False` for functions that return datasets.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        tree: Callable[[], Any],
        nested: Callable[[Any], Any],
        inside: Callable[[Any], Any],
        traced: bool = True,
    ) -> None:
        if not callable(function):
            raise TypeError(places.with_place(f"expected a function of an element, got {function!r}"))
        self._function, self._nested, self._inside = function, nested, inside
        self._inputs = tree
        self._pack: Callable[[Sequence[Any]], Any] | None = None
        self._several = False
        self._traced = traced
        self._traces: dict[Any, _Trace] = {}
        self._fixed: _Trace | None = None  # the trace for all elements
        self._lock = threading.RLock()
        self.tree: Any = None  # the structure of the results, once there is one

    def trace(self, inputs: Elements) -> Elements | None:
        """Trace the function for elements that all fit `inputs`; what it returns, or None if it cannot be traced."""
        if not self._traced or not inputs.static:
            return None
        self._fixed = self._tracing(inputs.leaves)
        return None if self._fixed is None else Elements(self.tree, tuple(self._fixed.specs))

    @property
    def repeatable(self) -> bool:
        """Whether calls depend on nothing but the element, so that they may be made in any order. Unknown of what is not traced."""
        return self._fixed is not None and self._fixed.stateless

    def __call__(self, leaves: Leaves) -> Leaves:
        """The leaves of the result for the leaves of an element."""
        run = self._fixed
        if run is None and self._traced:
            run = self._trace_of(leaves)
        return self._eagerly(leaves) if run is None else run(leaves)

    def over(self, piece: Piece) -> Iterator[tuple[Piece, Piece]]:
        """Parts of `piece` and the results for them, in order: blocks as soon as that pays, until then single elements."""
        at = 0
        while at < len(piece):
            block = self._fixed.block if isinstance(piece, Rows) and self._fixed is not None else 0
            if block:
                part = piece[at : at + block]
                made = self._fixed.of_block(part.stacked())  # type: ignore[union-attr]
                if made is not None:
                    yield part, Rows(Table(made), range(len(part)))
                    at += len(part)
                continue
            for leaves in piece[at:]:
                yield piece[at : at + 1], [self(leaves)]
                at += 1
                if self._fixed is not None and self._fixed.block and isinstance(piece, Rows):
                    break

    @property
    def in_blocks(self) -> bool:
        """Whether blocks of rows may be computed at once."""
        return self._fixed is not None and self._fixed.in_blocks

    def _trace_of(self, leaves: Leaves) -> _Trace | None:
        """The trace for elements of these shapes, where there are not too many kinds of them."""
        if not all(isinstance(x, np.ndarray | np.generic) for x in leaves):
            return None
        kind = tuple((x.shape, x.dtype) for x in leaves)
        with self._lock:
            found = self._traces.get(kind)
            if found is None:
                found = self._tracing([TensorSpec(shape, dtype) for shape, dtype in kind])
                if found is not None:
                    self._traces[kind] = found
                self._traced = self._traced and len(self._traces) < _SHAPES
        return found

    def _tracing(self, specs: Sequence[TensorSpec]) -> _Trace | None:
        function = converted(self._function)

        def flat(*leaves: Any) -> list[Any]:
            out, self.tree = flattened(self._called(function, leaves))
            if any(self._inside(x) is not None for x in out):
                raise NotImplementedError("a function that returns datasets is not traced")
            return [convert_to_tensor(x) for x in out]

        name = getattr(self._function, "__name__", type(self._function).__name__)
        try:
            with recording(None), paused_tapes():
                return _Trace(Function(flat, name=name).get_concrete_function(*specs))
        except (AttributeError, TypeError, NotImplementedError, InaccessibleTensorError) as e:
            if isinstance(e, AttributeError | TypeError) and not _needs_values(e):
                raise
            self._traced = False
            return None

    def _called(self, function: Callable[..., Any], leaves: Sequence[Any]) -> Any:
        if self._pack is None:
            tree = self._inputs()
            self._pack, self._several = packing(tree), not tree.is_leaf() and tree.type is tuple
        value = self._pack(leaves)
        out = function(*value) if self._several else function(value)
        return tuple(out) if type(out) is list else out  # several tensors rather than one made of them

    def _eagerly(self, leaves: Leaves) -> Leaves:
        with recording(None), paused_tapes():
            out, self.tree = flattened(self._called(self._function, tensors(leaves, self._nested)))
            return tuple([self._leaf(x) for x in out])

    def _leaf(self, x: Any) -> Any:
        stage = self._inside(x)
        return array_of(x) if stage is None else stage


def _needs_values(error: Exception) -> bool:
    """Whether Python asked a symbolic tensor for its value."""
    return isinstance(error, OperatorNotAllowedInGraphError) or "while a function is traced" in str(error)


class _Trace:
    """One trace of a function, interpreted until it pays to compile it."""

    def __init__(self, concrete: ConcreteFunction) -> None:
        self._concrete, self._graph = concrete, concrete.differentiated()
        shared = concrete.cells
        concrete.cells = with_own_stream(shared)
        self._plan = [k for k in concrete.outputs_plan if k is not None]
        outputs = concrete.outputs
        self.specs = [TensorSpec(outputs[k].shape, outputs[k].dtype) for k in self._plan]
        quiet = not any(n.op.effect for n in self._graph.walk())
        self.stateless = quiet and not shared
        # what is computed ahead must not show: not by effects, and by no variable but a stream of random numbers of its own
        own = quiet and all(concrete.cells[name] is not v for name, v in shared.items())
        rows = min(_BLOCK_ROWS, _BLOCK_BYTES // max(1, self._bytes())) if own and self._sized() else 0
        self._rows = rows if rows > 3 else 0
        self._of_block: Function | None = None
        self._consts = {name: held if isinstance(held, np.ndarray) else held.numpy_view() for name, held in concrete.captured.items()}
        self._patience, self._calls, self._lock = _PATIENCE, 0, threading.Lock()

    def _sized(self) -> bool:
        """Whether all shapes are known."""
        graph = self._concrete.traced
        return all(sizes.is_known(v.type.shape) for v in (*graph.params, *graph.results))

    def _bytes(self) -> int:
        """The size of an element or of its result, whichever is larger."""
        graph = self._concrete.traced
        return max(sum(sizes.evaluate(v.type.size, {}) * v.type.dtype.size for v in side) for side in (graph.params, graph.results))

    @property
    def in_blocks(self) -> bool:
        """Whether blocks of elements may be computed at once."""
        return self._rows > 0

    @property
    def block(self) -> int:
        """How many elements to compute at once now; 0 while, or where, that does not pay.

        No more than the interpreter has managed, so that nobody waits longer for a block than the interpreter was given.
        """
        return min(self._rows, max(4, self._calls)) if self._patience < 0 else 0

    def of_block(self, columns: Leaves) -> Leaves | None:
        """The results for the elements whose leaves are stacked in `columns`, stacked. None if one of them fails; then there are no more blocks."""
        if self._of_block is None:
            params, concrete = self._concrete.traced.params, self._concrete

            def block(*columns: Any) -> Any:
                return vectorized_map(lambda leaves: tuple(concrete.call(list(leaves), [])), columns)

            specs = [TensorSpec([None, *p.type.shape], p.type.dtype) for p in params]
            self._of_block = Function(block, specs, name=f"{concrete.owner_name}_of_block")
        try:
            with self._lock, recording(None), paused_tapes():
                return tuple(x.numpy_view() for x in self._of_block(*map(EagerTensor, columns)))
        except Exception:
            self._rows = 0
            return None

    def __call__(self, leaves: Leaves) -> Leaves:
        if self.stateless:
            return self._run(leaves)
        with self._lock:
            return self._run(leaves)

    def _run(self, leaves: Leaves) -> Leaves:
        concrete = self._concrete
        if self._patience < 0:
            out = concrete.run([EagerTensor(x) for x in leaves], concrete.cells)
            return tuple([out[k].numpy_view() for k in self._plan])
        started = time.perf_counter()
        with recording(None), paused_tapes():
            before = {name: v.value().numpy_view() for name, v in concrete.cells.items()}
            after = dict(before)
            results = interpreter.run(self._graph, list(leaves), after, self._consts)
            for name, array in after.items():
                if array is not before[name]:
                    concrete.cells[name].assign(EagerTensor(array))
        self._patience -= time.perf_counter() - started
        self._calls += 1
        return tuple([np.asarray(results[k]) for k in self._plan])

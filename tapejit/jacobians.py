"""The rows of a Jacobian: the gradients of every element of a target, by one sweep for all of them, or one after the other.

In: a tape, a target, sources. Out: for each source the gradients stacked along a new axis in front, None where nothing connects them.
"""

from __future__ import annotations

from typing import Any

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.builder import number
from tapejit.ir.op import thread
from tapejit.ops import control
from tapejit.ops.batching import Ragged
from tapejit.ops.broadcasting import broadcast_like
from tapejit.ops.creation import iota
from tapejit.ops.elementwise import cast, equal, full, zeros_like
from tapejit.ops.joining import stack
from tapejit.ops.shapes import reshape
from tapejit.variable import Variable
from tapejit.vectorized import Assigns, over_slices

_UNROLLED = 16  # a traced loop over more elements is a loop in the graph


def rows_of(tape: Any, head: Any, sources: list[Any], dims: tuple[Dim, ...], at_once: bool) -> list[Any]:
    """The gradients of the elements along `dims`, the last axes of `head`: [elements, *source.dims] for each source, None where unconnected.

    What stands at the same place along the other axes counts together. One sweep for all elements, or else one after the other.
    """
    count = sizes.product(dims)
    eager = thread.recorder is None
    connected: list[bool] = []

    def row(seed: Any) -> list[Any]:
        found = (tape.swept if eager else tape.find)([head], [seed], sources)
        connected[:] = [g is not None for g in found]
        return [g for g in found if g is not None]

    if at_once and count != 0 and (eager or not isinstance(head, Variable)):
        try:
            made = iter(over_slices(row, [one_hots(head, dims)], count, "element"))
            return [next(made) if hit else None for hit in connected]
        except (Assigns, Ragged):
            pass
    if isinstance(count, int) and (eager or isinstance(head, Variable) or count <= _UNROLLED):
        rows = [tape.find([head], [_one_hot(k, head, dims)], sources) for k in range(count)]
        if not rows:
            hits = tape.find([head], [None], sources)
            return [None if hit is None else full(shape=(0, *s.dims), value=0, dtype=s.dtype) for hit, s in zip(hits, sources, strict=True)]
        columns = [[row[k] for row in rows] for k in range(len(sources))]
        filled = [[zeros_like(_value(s)) if p is None else p for p in parts] for parts, s in zip(columns, sources, strict=True)]
        return [None if all(p is None for p in parts) else stack(*f, axis=0) for parts, f in zip(columns, filled, strict=True)]
    recorder = thread.recorder
    start = GraphTensor(recorder.builder.literal(number(0, dtypes.int64)), recorder)
    with recorder.nested("element") as inside:
        k = GraphTensor(inside.builder.parameter("k", Type(dtypes.int64)), inside)
        results = [k + 1, *row(_one_hot(k, head, dims))]
        inside.graph.results = [inside.builder.literal(inside.operand(r)) for r in results]
    _, *stacked = control.scan(start, body=inside.graph, carried=1, scanned=0, length=count)
    made = iter(stacked)
    return [next(made) if hit else None for hit in connected]


def _value(x: Any) -> Any:
    return x.read_tensor() if isinstance(x, Variable) else x


def _one_hot(k: Any, target: Any, dims: tuple[Dim, ...]) -> Any:
    """The output gradient that picks element `k` of the last axes `dims`, along all others; `k` a number or a tensor."""
    index = iota(size=sizes.product(dims), dtype=dtypes.int64)
    row = reshape(cast(equal(index, k), dtype=target.dtype), shape=dims)
    return broadcast_like(row, target.dims)


def one_hots(target: Any, dims: tuple[Dim, ...]) -> Any:
    """Those of all elements along `dims`: [elements, *target.dims]."""
    count = sizes.product(dims)
    index = iota(size=count, dtype=dtypes.int64)
    rows = cast(equal(reshape(index, shape=(count, 1)), index), dtype=target.dtype)
    return broadcast_like(reshape(rows, shape=(count, *(1,) * (len(target.dims) - len(dims)), *dims)), (count, *target.dims))

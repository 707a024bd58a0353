"""`tf.map_fn`, `tf.scan`, `tf.foldl`, `tf.foldr` and `tf.vectorized_map`: a Python function along the first axis of tensors.

In: a function, and nested structures of tensors whose first sizes agree. Out: what the function returns for each of their slices, stacked, or
what it has made of them in the end. Outside traced functions the function is called for every slice; in one it is recorded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

from tapejit import nest
from tapejit.carried import TensorVariable, as_value
from tapejit.core import places
from tapejit.core.dtypes import DType, as_dtype
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.graph_tensor import GraphTensor
from tapejit.ir.op import thread
from tapejit.nest import leaves_of
from tapejit.ops import control
from tapejit.ops import elementwise as e
from tapejit.ops.batching import Ragged
from tapejit.ops.broadcasting import is_one
from tapejit.ops.joining import concat, stack
from tapejit.ops.slicing import axis_slice
from tapejit.record.nesting import assign_after, carried_cells, cells_touched, lift, read_before
from tapejit.tensor import convert_to_tensor
from tapejit.vectorized import Assigns, over_slices

__all__ = ["foldl", "foldr", "map_fn", "scan", "vectorized_map"]

Step = Callable[[list[Any], list[Any]], tuple[list[Any], list[Any]]]  # (state, slices) -> (state, results)


def _rows(elems: Any, what: str) -> tuple[list[Any], Any, Dim]:
    """The leaves of `elems` as tensors, what packs them, and their common first size."""
    leaves, tree = leaves_of(elems)
    if not leaves:
        raise ValueError(places.with_place(f"tf.{what}: elems must hold at least one tensor"))
    rows = [convert_to_tensor(x) for x in leaves]
    for x in rows:
        if not x.dims:
            raise ValueError(places.with_place(f"tf.{what}: elements in elems must be 1+ dimensional Tensors, not scalars"))
    if what == "vectorized_map":  # a first size of 1 goes with any other
        count = next((x.dims[0] for x in rows if not is_one(x.dims[0])), 1)
        others = [x for x in rows if not is_one(x.dims[0])]
    else:
        count, others = rows[0].dims[0], rows[1:]
    for x in others:
        if isinstance(x.dims[0], int) and isinstance(count, int) and x.dims[0] != count:
            raise ValueError(places.with_place(f"tf.{what}: the first sizes of elems differ: {count} and {x.dims[0]}"))
        count = x.dims[0] if isinstance(x.dims[0], int) else count
    return rows, tree, count


def along_slices(step: Step, state: list[Any], rows: list[Any], count: Dim, reverse: bool = False) -> tuple[list[Any], list[Any]]:
    """Carry `state` along the `count` slices of `rows`; the state at the end, and the results of every step stacked."""
    if thread.recorder is not None:
        return _traced(step, state, rows, count, reverse)
    assert isinstance(count, int)
    order = range(count - 1, -1, -1) if reverse else range(count)
    results: list[Any] = [None] * count
    for t in order:
        state, results[t] = step(state, [x[t] for x in rows])
    if not results:
        return state, []
    return state, [stack(*(convert_to_tensor(r[k]) for r in results), axis=0) for k in range(len(results[0]))]


def _traced(step: Step, state: list[Any], rows: list[Any], count: Dim, reverse: bool) -> tuple[list[Any], list[Any]]:
    recorder = thread.recorder
    carried = [TensorVariable(label, x) for label, x in zip(_labels(len(state), "carried"), state, strict=True)]
    with recorder.nested("body") as running:
        seen = [v.enter(running) for v in carried]
        given = [GraphTensor(running.builder.parameter("row", Type(x.dtype, tuple(x.dims[1:]))), running) for x in rows]
        new, out = step(seen, given)
        ends = [
            r
            for v, s, x in zip(carried, seen, new, strict=True)
            for r in v.leave(running, s, x, "The shape of what is carried may not change.")
        ]
        values = [as_value(running, x) for x in out]
    graph = running.graph
    read, written = cells_touched([graph])
    holds = read_before(recorder, [*read, *written])
    inside = {c: running.builder.parameter(c, recorder.cell_type(c)) for c in written}
    after = lift(graph, recorder.builder.names, holds | inside)
    first, last = graph.params[: len(seen)], graph.params[len(seen) + len(rows) :]
    graph.params = [*first, *last, *graph.params[len(seen) : len(seen) + len(rows)]]
    graph.results = [*ends, *carried_cells(inside, after), *values]
    total = len(seen) + len(written)
    operands = [*(v.given for v in carried), *(GraphTensor(holds[c], recorder) for c in written), *rows]
    outs = list(control.scan(*operands, body=graph, carried=total, scanned=len(rows), length=count, reverse=reverse) or ())
    assign_after(recorder, written, (o.value for o in outs[len(seen) : total]))
    return outs[: len(seen)], outs[total:]


# --------------------------------------------------------------------------------------------------- folding
def _packer(tree: Any) -> Callable[[list[Any]], Any]:
    return lambda leaves: optree.tree_unflatten(tree, leaves)


def _labels(count: int, base: str) -> list[str]:
    return [base] if count == 1 else [f"{base}_{k}" for k in range(count)]


def _same_structure(new: Any, like: Any, what: str) -> list[Any]:
    """The leaves of `new`. TypeError or ValueError unless it is nested as `like`."""
    try:
        nest.assert_same_structure(like, new, check_types=False)
    except (ValueError, TypeError) as error:
        raise type(error)(places.with_place(f"tf.{what}: fn must return the structure of its first argument: {error}")) from None
    return leaves_of(new)[0]


def _accumulated(
    fn: Callable[..., Any], elems: Any, initializer: Any, reverse: bool, keep: bool, what: str
) -> tuple[Any, list[Any], list[Any] | None, Callable[[list[Any]], Any], bool]:
    """What `foldl`, `foldr` and `scan` share: the state at the end, the states stacked, and the first element where it was the initial state."""
    if not callable(fn):
        raise TypeError(places.with_place(f"tf.{what}: fn must be callable, got {fn!r}"))
    rows, tree, count = _rows(elems, what)
    first = None
    if initializer is None:
        if isinstance(count, int) and count == 0:
            raise InvalidArgumentError(places.with_place(f"tf.{what} of no elements needs an initializer"))
        at = count - 1 if reverse else 0
        first = [_row(x, at) for x in rows]
        state, pack_state = first, _packer(tree)
        rows = [axis_slice(x, 0, 0 if reverse else 1, count - 1) for x in rows]
        count = count - 1
    else:
        leaves, state_tree = leaves_of(initializer)
        state, pack_state = [convert_to_tensor(x) for x in leaves], _packer(state_tree)
    pack = _packer(tree)

    def step(carried: list[Any], slices: list[Any]) -> tuple[list[Any], list[Any]]:
        packed = pack_state(carried)
        new = _same_structure(fn(packed, pack(slices)), packed, what)
        new = [x if hasattr(x, "dims") else convert_to_tensor(x, s.dtype) for x, s in zip(new, carried, strict=True)]
        return new, new if keep else []

    ends, stacked = along_slices(step, state, rows, count, reverse)
    return ends, stacked, first, pack_state, isinstance(count, int) and count == 0


def _row(x: Any, at: Dim) -> Any:
    """One slice along the first axis, whose place may be a size."""
    if isinstance(at, int):
        return x[at]
    return x[-1]


def foldl(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """`fn(... fn(fn(initializer, elems[0]), elems[1]) ..., elems[-1])`; without an `initializer` it begins with `elems[0]`.

    TypeError or ValueError if `fn` returns another structure, dtype or shape than it takes.
    """
    ends, _, _, pack, _ = _accumulated(fn, elems, initializer, False, False, "foldl")
    return _constant_unless(back_prop, pack(ends))


def foldr(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
) -> Any:
    """`foldl` from the last element to the first."""
    ends, _, _, pack, _ = _accumulated(fn, elems, initializer, True, False, "foldr")
    return _constant_unless(back_prop, pack(ends))


def scan(
    fn: Callable[..., Any],
    elems: Any,
    initializer: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    reverse: bool = False,
    name: str | None = None,
) -> Any:
    """What `foldl` has after every element, stacked; with `reverse` from the last element to the first.

    Without an `initializer` the first result is the first element itself. Errors as for `foldl`.
    """
    ends, stacked, first, pack, empty = _accumulated(fn, elems, initializer, reverse, True, "scan")
    if empty and not stacked:
        stacked = [e.full(shape=(0, *x.dims), value=False if x.dtype.is_bool else 0, dtype=x.dtype) for x in ends]
    if first is not None:
        heads = [stack(x, axis=0) for x in first]
        stacked = [concat(*((s, h) if reverse else (h, s)), axis=0) for s, h in zip(stacked, heads, strict=True)]
    return _constant_unless(back_prop, pack(stacked))


def _constant_unless(back_prop: bool, out: Any) -> Any:
    return out if back_prop else optree.tree_map(e.stop_gradient, out)


# --------------------------------------------------------------------------------------------------- mapping
def map_fn(
    fn: Callable[..., Any],
    elems: Any,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    back_prop: bool = True,
    swap_memory: bool = False,
    infer_shape: bool = True,
    name: str | None = None,
    fn_output_signature: Any = None,
) -> Any:
    """`fn` of every slice of `elems` along the first axis, stacked.

    `fn_output_signature` (or `dtype`) gives the dtypes or TensorSpecs of the results in their structure; those of `elems` by default.
    InvalidArgumentError for a result of another dtype, ValueError or TypeError for another structure.
    """
    wanted = dtype if fn_output_signature is None else fn_output_signature
    return _constant_unless(back_prop, _mapped(fn, elems, wanted, "map_fn", elems if wanted is None else wanted))


def vectorized_map(fn: Callable[..., Any], elems: Any, fallback_to_while_loop: bool = True, warn: bool = True) -> Any:
    """`fn` of every slice of `elems` along the first axis, stacked, whatever it returns: computed for all slices at once.

    `fn` is recorded once and may have tapes of its own (`tape.gradient` in it gives gradients per example). A first size of 1 goes with
    any other. What cannot be done at once (assignments to variables, random draws) goes slice by slice, or with
    `fallback_to_while_loop=False` is a ValueError. `warn` has no effect.
    """
    if not callable(fn):
        raise TypeError(places.with_place(f"tf.vectorized_map: fn must be callable, got {fn!r}"))
    rows, tree, count = _rows(elems, "vectorized_map")
    mapped = [x for x in rows if (isinstance(count, int) and count == 1) or not is_one(x.dims[0])]
    found: list[Any] = []

    def one(*slices: Any) -> list[Any]:
        left = iter(slices)
        leaves, structure = leaves_of(fn(optree.tree_unflatten(tree, [next(left) if any(x is m for m in mapped) else x[0] for x in rows])))
        found[:] = [structure, [y is None for y in leaves]]
        return [y for y in leaves if y is not None]

    try:
        stacked = iter(over_slices(one, mapped, count, "example"))
    except (Assigns, Ragged) as e:
        if not fallback_to_while_loop:
            raise ValueError(places.with_place(f"tf.vectorized_map: {e}, which goes slice by slice only; write tf.map_fn")) from None
        return _mapped(fn, elems, None, "vectorized_map", None)
    structure, absent = found
    return optree.tree_unflatten(structure, [None if a else next(stacked) for a in absent])


def _mapped(fn: Callable[..., Any], elems: Any, signature: Any, what: str, like: Any) -> Any:
    if not callable(fn):
        raise TypeError(places.with_place(f"tf.{what}: fn must be callable, got {fn!r}"))
    rows, tree, count = _rows(elems, what)
    pack = _packer(tree)
    specs = [x.dtype for x in rows] if signature is None else [_dtype_of(s) for s in leaves_of(signature)[0]]
    found: list[Any] = []

    def step(carried: list[Any], slices: list[Any]) -> tuple[list[Any], list[Any]]:
        out = fn(pack(slices))
        leaves, structure = leaves_of(out)
        found[:] = [structure]
        if like is None:
            return [], [convert_to_tensor(x) for x in leaves]
        if structure.num_leaves != len(specs):
            raise ValueError(
                places.with_place(
                    f"tf.{what}: fn returns {structure.num_leaves} tensors, but {len(specs)} are expected; write fn_output_signature=..."
                )
            )
        return [], [_checked(x, d, what) for x, d in zip(leaves, specs, strict=True)]

    _, stacked = along_slices(step, [], rows, count)
    if not found:  # no slice to call it on
        if like is None:
            raise ValueError(places.with_place(f"tf.{what} of no elements: what fn would return is not known"))
        stacked = [e.full(shape=(0,), value=False if d.is_bool else 0, dtype=d) for d in specs]
        return optree.tree_unflatten(leaves_of(like)[1], stacked)
    return optree.tree_unflatten(found[0], stacked)


def _dtype_of(spec: Any) -> DType:
    return as_dtype(getattr(spec, "dtype", spec))


def _checked(x: Any, dtype: DType, what: str) -> Any:
    x = convert_to_tensor(x) if hasattr(x, "dims") or hasattr(x, "to_tensor") else convert_to_tensor(x, dtype)
    if x.dtype is not dtype:
        raise InvalidArgumentError(
            places.with_place(
                f"tf.{what}: fn returns {x.dtype.name}, but {dtype.name} is expected; write fn_output_signature=tf.{x.dtype.name}"
            )
        )
    return x

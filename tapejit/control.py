"""`tf.cond`, `tf.case`, `tf.switch_case` and `tf.while_loop`.

In: Python functions that are branches, conditions and loop bodies. Outside traced functions Python branches and loops; while a function
is traced, `branching` and `looping` record them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapejit.branching import SIDES, branch, condition, known
from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.debugging import Assert
from tapejit.ir.op import thread
from tapejit.looping import loop, packed, repacked, same_structure
from tapejit.nest import leaves_of, map_structure
from tapejit.ops import elementwise as e
from tapejit.tensor import EagerTensor, convert_to_tensor
from tapejit.tensor_array import TensorArray

__all__ = ["case", "cond", "switch_case", "while_loop"]


def cond(pred: Any, true_fn: Callable[[], Any] | None = None, false_fn: Callable[[], Any] | None = None, name: str | None = None) -> Any:
    """`true_fn()` if the scalar `pred` holds, else `false_fn()`.

    In a traced function with a `pred` known only at run time both are recorded, and must return tensors of the same structure, dtypes and
    shapes: TypeError or ValueError names the result that differs.
    """
    for what, fn in zip(SIDES, (true_fn, false_fn), strict=True):
        if not callable(fn):
            raise TypeError(places.with_place(f"{what} must be callable, got {fn!r}"))
    assert true_fn is not None
    assert false_fn is not None
    holds = known(pred)
    if holds is not None:
        return true_fn() if holds else false_fn()
    return branch(pred, true_fn, false_fn)


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
    return map_structure(lambda x: e.stop_gradient(x) if hasattr(x, "dims") else x, out, expand_composites=True)


def _eager_loop(test: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, limit: Any) -> Any:
    values = list(loop_vars)
    left = -1 if limit is None else int(limit)
    first = True
    while left != 0 and bool(test(*values)):
        new = repacked(body(*values), values)
        if first:
            same_structure(values, new)
            first = False
        values, left = new, left - 1
    return map_structure(
        lambda x: x if x is None or isinstance(x, TensorArray | EagerTensor) else convert_to_tensor(x),
        packed(loop_vars, values),
        expand_composites=True,
    )

"""Constants: a line whose operands the text says is replaced by what it makes, where that is small enough to be written out as well.

In: a node, and what is known of its operands: arrays of numbers, or of sizes as objects. Out: a number or a line that writes the result out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tapejit.core import sizes
from tapejit.core.errors import InvalidArgumentError
from tapejit.ir import structure
from tapejit.ir.builder import nested_tuple, number
from tapejit.ir.graph import Literal, Node, Operand
from tapejit.ops.creation import shape_vector
from tapejit.record.recorder import SMALL


def contents(node: Node) -> np.ndarray | None:
    """What the only result of a line holds where its text says so; as objects where sizes are among it that only the run knows."""
    if node.op is structure.constant and node.attrs["dtype"].kind != "c":
        return np.asarray(node.op.eager(**node.attrs))
    if node.op is shape_vector and len(node.attrs["dims"]) <= SMALL:
        return np.asarray(node.op.eager(**node.attrs))
    return _object(node.attrs["size"]) if node.op is structure.dim else None


def folded(node: Node, known: Callable[[Operand], np.ndarray | None]) -> Literal | Node | None:
    """What stands for a line of known operands, or None: it is too large, fails, or does more than compute."""
    op, out = node.op, node.out
    if not node.args or op.effect or op.binds_size or any(node.graphs()) or out.type.dtype.kind == "c":
        return None
    if not sizes.is_known(out.type.shape) or not 0 < sizes.evaluate(out.type.size, {}) <= SMALL:
        return None
    arrays = [known(a) for a in node.args]
    given = [a for a in arrays if a is not None]
    if len(given) < len(arrays):
        return None
    on_sizes = any(a.dtype == object for a in given)
    if on_sizes and not (op.on_sizes and out.type.dtype.kind in "iu" and all(a.dtype.kind in "iuO" for a in given)):
        return None
    if any(isinstance(d, sizes.Size) for a in node.attrs.values() for d in _flat(a)):
        return None
    try:
        with np.errstate(all="ignore"):
            made = np.asarray(op.eager(*(a.astype(object) if on_sizes else a for a in given), **node.attrs))
        return _written_out(node, made)
    except (InvalidArgumentError, OverflowError):  # the line says so when it runs
        return None
    except TypeError:
        if on_sizes:  # it depends on the value of a size that only the run knows
            return None
        raise


def _written_out(node: Node, made: np.ndarray) -> Literal | Node | None:
    dtype = node.out.type.dtype
    if made.dtype == object and not sizes.is_known(made.ravel().tolist()):
        if made.ndim == 0:
            return replace(node, op=structure.dim, args=(), attrs={"size": made.item(), "dtype": dtype})
        if made.ndim == 1:
            return replace(node, op=shape_vector, args=(), attrs={"dims": tuple(made.tolist()), "dtype": dtype})
        return None
    made = made.astype(dtype.np)
    if made.ndim == 0:
        return number(made, dtype)
    return replace(node, op=structure.constant, args=(), attrs={"value": nested_tuple(made, dtype), "dtype": dtype})


def _object(size: sizes.Dim) -> np.ndarray:
    out = np.empty((), object)
    out[()] = size
    return out


def _flat(value: object) -> list[object]:
    return [x for v in value for x in _flat(v)] if isinstance(value, tuple) else [value]

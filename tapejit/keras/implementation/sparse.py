"""What functions of tensors do with sparse ones: keep the places of their elements, join or cut them, or have them dense.

Sparse tensors are `tf.SparseTensor`, with an element at each place, and `tf.IndexedSlices`, gradients with a row at each index. The
decorators here give a function of dense tensors, which is called with the elements or rows, its rule for sparse ones. A dense tensor
passes for the price of one `isinstance`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tapejit as tf
from tapejit.keras.implementation.core import dense_tensor
from tapejit.sparse import distinct, looked_up, union

Function = Callable[..., Any]
SPARSE = (tf.SparseTensor, tf.IndexedSlices)


def _with(x: Any, values: Any) -> Any:
    """Other elements or rows at the places of `x`."""
    return x.with_values(values) if isinstance(x, tf.SparseTensor) else tf.IndexedSlices(values, x.indices, x.dense_shape)


def _met(y: Any, x: Any) -> Any:
    """What of a dense `y` meets the elements or rows of `x`. ValueError if it has more axes than `x`, or is longer along one."""
    if not hasattr(y, "shape"):
        return y
    y = dense_tensor(y)
    if not y.dims:
        return y
    if isinstance(x, tf.IndexedSlices):
        return tf.gather(y, x.indices)
    along = range(len(x.dims) - len(y.dims), len(x.dims))
    ones = [isinstance(d, int) and d == 1 for d in y.dims]
    if len(y.dims) > len(x.dims) or any(not one and isinstance(x.dims[k], int) and x.dims[k] == 1 for k, one in zip(along, ones)):
        raise ValueError(f"A sparse tensor of shape {x.shape} with a dense one of shape {y.shape}: it cannot be broadcast")
    kept = [k for k, one in zip(along, ones, strict=True) if not one]
    y = tf.reshape(y, [d for d, one in zip(y.dims, ones, strict=True) if not one])
    return tf.gather_nd(y, tf.gather(x.indices, kept, axis=1)) if kept else y


def keeps_zeros(function: Function) -> Function:
    """A function of one tensor that gives 0 for 0: the places stay."""

    @functools.wraps(function)
    def of_values(x: Any, *args: Any, **kwargs: Any) -> Any:
        return _with(x, function(x.values, *args, **kwargs)) if isinstance(x, SPARSE) else function(x, *args, **kwargs)

    return of_values


def of_both(function: Function) -> Function:
    """A function of two tensors that gives 0 for two zeros: the places of two sparse operands are joined; with a dense one it is dense."""

    @functools.wraps(function)
    def joined(x1: Any, x2: Any) -> Any:
        if isinstance(x1, tf.SparseTensor) and isinstance(x2, tf.SparseTensor):
            return union(function, x1, x2)
        if isinstance(x1, tf.IndexedSlices) and isinstance(x2, tf.IndexedSlices):
            return _rows_of_both(function, x1, x2)
        return function(x1, x2)

    return joined


def _rows_of_both(function: Function, x1: Any, x2: Any) -> Any:
    """`function` of the rows that either has."""
    indices, at = distinct(tf.concat([tf.cast(x.indices, tf.int64) for x in (x1, x2)], 0))
    n, count = x1.indices.dims[0], indices.dims[:1]
    one, two = (tf.math.unsorted_segment_sum(x.values, ids, count) for x, ids in ((x1, at[:n]), (x2, at[n:])))
    return tf.IndexedSlices(function(one, two), indices, x1.dense_shape)


def of_either(function: Function) -> Function:
    """A function of two tensors that gives 0 if one is 0: it is sparse if one is, at the places of that or of the first."""

    @functools.wraps(function)
    def cut(x1: Any, x2: Any) -> Any:
        if isinstance(x1, SPARSE):
            return _with(x1, function(x1.values, _looked_up(x1, x2) if isinstance(x2, SPARSE) else _met(x2, x1)))
        if isinstance(x2, SPARSE):
            return _with(x2, function(_met(x1, x2), x2.values))
        return function(x1, x2)

    return cut


def _looked_up(x: Any, y: Any) -> Any:
    """What a sparse `y` has at the places of `x`."""
    if isinstance(x, tf.SparseTensor) and isinstance(y, tf.SparseTensor):
        return looked_up(x, y)
    return _met(dense_tensor(y), x)


def of_first(function: Function) -> Function:
    """Division: sparse if the first operand alone is. Where a dense divisor is 0 or NaN there is an element for the NaN.

    Rows of gradients stay as they are: those that are not there are not divided.
    """

    @functools.wraps(function)
    def divided(x1: Any, x2: Any) -> Any:
        if not isinstance(x1, SPARSE) or isinstance(x2, SPARSE):
            return function(x1, x2)
        if isinstance(x1, tf.SparseTensor) and getattr(x2, "shape", ()):
            x1 = _with_zeros_at(x1, _undefined(tf.broadcast_to(dense_tensor(x2), x1.dims)))
        return _with(x1, function(x1.values, _met(x2, x1)))

    return divided


def _undefined(divisor: Any) -> Any:
    """Where division of 0 gives NaN."""
    return tf.logical_or(divisor == 0, divisor != divisor)


def _with_zeros_at(x: Any, mask: Any) -> Any:
    """The sparse `x` with elements, if only zeros, at all places where a bool tensor of its shape is true."""
    indices = tf.where(mask)
    return tf.sparse.add(x, tf.SparseTensor(indices, tf.zeros(indices.dims[:1], x.dtype), x.dims))

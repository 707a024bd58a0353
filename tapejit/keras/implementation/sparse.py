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
from tapejit.keras.implementation.core import SPARSE, dense_tensor
from tapejit.sparse import distinct, looked_up, union

Function = Callable[..., Any]


def _met(y: Any, x: Any) -> Any:
    """What of a dense `y` meets the elements or rows of `x`. ValueError if it does not broadcast to the shape of `x`."""
    y = _given(y)
    if not getattr(y, "dims", None):
        return y
    return x.met_by(y) if isinstance(x, tf.SparseTensor) else tf.gather(y, x.indices)


def _given(y: Any) -> Any:
    """A Python number, which takes the dtype of what it meets, or a dense tensor."""
    return y if type(y) in (int, float) else dense_tensor(y)


def keeps_zeros(function: Function) -> Function:
    """A function of one tensor that gives 0 for 0: the places stay. Of rows of one index each is taken apart, as Keras on TensorFlow does."""

    @functools.wraps(function)
    def of_values(x: Any, *args: Any, **kwargs: Any) -> Any:
        return x.with_values(function(x.values, *args, **kwargs)) if isinstance(x, SPARSE) else function(x, *args, **kwargs)

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
            return x1.with_values(function(x1.values, _looked_up(x1, x2) if isinstance(x2, SPARSE) else _met(x2, x1)))
        if isinstance(x2, SPARSE):
            return x2.with_values(function(_met(x1, x2), x2.values))
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
        x2 = _given(x2)
        if isinstance(x1, tf.SparseTensor) and getattr(x2, "dims", None):
            divisor = tf.broadcast_to(x2, x1.dims)
            undefined = tf.where(tf.logical_or(divisor == 0, divisor != divisor))
            x1 = tf.sparse.add(x1, tf.SparseTensor(undefined, tf.zeros(undefined.dims[:1], x1.dtype), x1.dims))
        return x1.with_values(function(x1.values, _met(x2, x1)))

    return divided

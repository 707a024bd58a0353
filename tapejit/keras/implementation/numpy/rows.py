"""Sparse gradients in the arithmetic of optimizers: functions that keep zeros zero go to the rows of `IndexedSlices`, as TensorFlow has it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tapejit as tf
from tapejit.keras.implementation.core import convert_to_tensor


def by_rows(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(x, ...)`, for IndexedSlices of their rows; a second operand with axes gives its rows there."""

    @functools.wraps(function)
    def of_rows(x: Any, *others: Any, **options: Any) -> Any:
        if not isinstance(x, tf.IndexedSlices):
            if others and isinstance(others[0], tf.IndexedSlices) and not getattr(x, "shape", ()):
                return _with(others[0], function(x, others[0].values, **options))
            return function(x, *others, **options)
        return _with(x, function(x.values, *(_rows(y, x) for y in others), **options))

    return of_rows


def _rows(y: Any, x: Any) -> Any:
    """What of `y` meets the rows of `x`."""
    if not hasattr(y, "shape") and not hasattr(y, "dims"):
        return y
    y = convert_to_tensor(y)
    return tf.gather(y, x.indices) if y.dims else y


def _with(x: Any, values: Any) -> Any:
    return tf.IndexedSlices(values, x.indices, x.dense_shape)

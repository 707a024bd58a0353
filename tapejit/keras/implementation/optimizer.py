"""How optimizers change variables: Keras' or ours, in place, in their own dtype, and only the rows that a sparse gradient names.

Keras' NumPy backend has no such part, so `install` gives these methods to `keras.optimizers.Optimizer`.
"""

from __future__ import annotations

from typing import Any

from keras.src.backend.common.stateless_scope import in_stateless_scope

import tapejit as tf
from tapejit.variable import variable_behind


def install(optimizer: type) -> None:
    """Have a class of optimizers assign by the functions of this module."""
    for function in (assign, assign_add, assign_sub):
        setattr(optimizer, function.__name__, function)


def assign(self: Any, variable: Any, value: Any) -> None:
    """`variable.assign(value)`, or for IndexedSlices their rows of it."""
    _change(variable, value, "assign", "scatter_update")


def assign_add(self: Any, variable: Any, value: Any) -> None:
    """`variable.assign_add(value)`, or for IndexedSlices their rows of it."""
    _change(variable, value, "assign_add", "scatter_add")


def assign_sub(self: Any, variable: Any, value: Any) -> None:
    """`variable.assign_sub(value)`, or for IndexedSlices their rows of it."""
    _change(variable, value, "assign_sub", "scatter_sub")


def _change(variable: Any, value: Any, dense: str, sparse: str) -> None:
    held = variable_behind(variable)
    if in_stateless_scope() and held is not variable:
        getattr(variable, dense)(value)
    else:
        value = tf.cast(value, held.dtype)
        getattr(held, sparse if isinstance(value, tf.IndexedSlices) else dense)(value)

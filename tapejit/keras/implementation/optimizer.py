"""How optimizers change variables: Keras' or ours, in place, in their own dtype, and only the rows that a sparse gradient names.

Keras' NumPy backend has no such part, so `install` gives these methods to `keras.optimizers.Optimizer`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from keras.src.backend.common.stateless_scope import in_stateless_scope

import tapejit as tf
from tapejit.core import places
from tapejit.explain.warned import warn
from tapejit.tape import why_missing
from tapejit.variable import variable_behind


def install(optimizer: type) -> None:
    """Have a class of optimizers assign by the functions of this module."""
    for function in (assign, assign_add, assign_sub):
        setattr(optimizer, function.__name__, function)
    optimizer._filter_empty_gradients = _with_reasons(optimizer._filter_empty_gradients)  # type: ignore[attr-defined]


def _with_reasons(filtered: Callable[..., Any]) -> Callable[..., Any]:
    """Keras' method that leaves out variables without a gradient, whose warning or error then says why they have none."""

    @functools.wraps(filtered)
    def filter_empty_gradients(self: Any, grads: Any, vars: Any) -> Any:
        grads, vars = list(grads), list(vars)
        if all(g is not None for g in grads):
            return filtered(self, grads, vars)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                out = filtered(self, grads, vars)
            except ValueError as error:
                raise ValueError(f"{error}{_reasons(grads, vars)}") from None
        for warning in told:
            warn(warning.category, f"{warning.message}{_reasons(grads, vars)}", places.here())
        return out

    return filter_empty_gradients


def _reasons(grads: Sequence[Any], variables: Sequence[Any]) -> str:
    """Why variables have no gradient, a line or more for each that a tape knows of."""
    found = (why_missing(variable_behind(v)) for g, v in zip(grads, variables, strict=False) if g is None)
    return "".join(f"\n{reason}" for reason in found if reason is not None)


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

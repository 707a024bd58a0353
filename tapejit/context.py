"""Where the program is: eager or inside a function being traced, and the way out of the latter."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.ir.op import thread
from tapejit.record.recorder import recording
from tapejit.tensor import EagerTensor, convert_to_tensor
from tapejit.variable import paused_tapes

__all__ = [
    "control_dependencies", "executing_eagerly", "get_logger", "get_static_value", "group", "init_scope", "inside_function", "no_op", "tuple",
]  # fmt: skip


def executing_eagerly() -> bool:
    """Whether ops compute at once (True), or are recorded because a function is being traced (`tf.executing_eagerly`)."""
    return thread.recorder is None


def inside_function() -> bool:
    """Whether a function is being traced."""
    return thread.recorder is not None


@contextmanager
def init_scope() -> Iterator[None]:
    """Within, ops run eagerly and no tape sees them, also while a function is traced (`tf.init_scope`)."""
    with recording(None), paused_tapes():
        yield


@contextmanager
def control_dependencies(control_inputs: Any) -> Iterator[None]:
    """Within, ops come after `control_inputs`; they do so anyway, as effects keep the order of the program (`tf.control_dependencies`)."""
    yield


def group(*inputs: Any, **kwargs: Any) -> None:
    """Nothing that can be computed: `inputs` have their effects in the order of the program, whether grouped or not (`tf.group`)."""


def tuple(tensors: Any, control_inputs: Any = None, name: str | None = None) -> list[Any]:
    """The tensors, all computed before any is used: here they are in program order anyway. None stays. ValueError for none at all."""
    given = [None if t is None else convert_to_tensor(t) for t in tensors]
    if all(t is None for t in given):
        raise ValueError(places.with_place(f"Must have at least one Tensor. Received: {tensors}"))
    return given


def no_op(name: str | None = None) -> None:
    """Nothing (`tf.no_op`)."""


def get_static_value(tensor: Any, partial: bool = False) -> Any:
    """The value of a tensor as an array where it is known now, else None, as for most tensors of a function being traced.

    With `partial`, elements of a vector that are not known are None. (`tf.get_static_value`)
    """
    if isinstance(tensor, EagerTensor):
        return tensor.numpy()
    known = getattr(tensor, "elements", None)
    if known is None:
        return tensor if isinstance(tensor, np.ndarray | np.generic) else None
    if all(isinstance(x, int | np.integer) for x in known.flat):
        return np.array(known, tensor.dtype.np)[()]
    return np.array([x if isinstance(x, int | np.integer) else None for x in known], object) if partial and known.ndim == 1 else None


def get_logger() -> logging.Logger:
    """The logger that warnings go to (`tf.get_logger`)."""
    return logging.getLogger("tapejit")

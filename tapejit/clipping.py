"""Limits on values and norms: `tf.clip_by_value`, `tf.clip_by_norm`, `tf.clip_by_global_norm` and `tf.linalg.global_norm`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tapejit.core import places
from tapejit.core.errors import InvalidArgumentError
from tapejit.indexed_slices import IndexedSlices
from tapejit.math import reduce_sum
from tapejit.ops import elementwise as e
from tapejit.tensor import convert_to_tensor

__all__ = ["clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm"]


def _on_values(x: Any, f: Callable[[Any], Any]) -> Any:
    """`f` of a tensor, or of the rows that `IndexedSlices` hold."""
    if isinstance(x, IndexedSlices):
        return x.with_values(f(x.values))
    return f(convert_to_tensor(x))


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """`t` with elements below `clip_value_min` or above `clip_value_max` replaced by these; the gradient is 1 at the limits.

    The limits are numbers or tensors that broadcast to the shape of `t`; InvalidArgumentError where `t` would have to broadcast to theirs.
    """

    def clip(x: Any) -> Any:
        out = e.maximum(e.minimum(x, clip_value_max), clip_value_min)
        if len(out.dims) != len(x.dims) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(out.dims, x.dims)):
            raise InvalidArgumentError(
                places.with_place(f"clip_by_value: limits must broadcast to shape {x.shape}, the result would have {out.shape}")
            )
        return out

    return _on_values(t, clip)


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """`t` scaled so that its Euclidean norm over `axes` (None: all) is at most `clip_norm`; a smaller one stays as it is."""

    def clip(x: Any) -> Any:
        squares = reduce_sum(x * x, axes, keepdims=True)
        positive = squares > 0
        norm = e.select(positive, e.sqrt(e.select(positive, squares, e.ones_like(squares))), squares)
        return x * clip_norm / e.maximum(norm, clip_norm)

    return _on_values(t, clip)


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Any:
    """The Euclidean norm of all elements of all tensors of a list; None entries do not count. TypeError for what is no list or tuple."""
    if not isinstance(t_list, list | tuple):
        raise TypeError(places.with_place(f"`t_list` should be a sequence of tensors. Received {type(t_list)}."))
    values = [t.values if isinstance(t, IndexedSlices) else convert_to_tensor(t) for t in t_list if t is not None]
    if not values:
        raise ValueError(places.with_place("global_norm of a list without tensors"))
    total = reduce_sum(e.square(values[0]))
    for v in values[1:]:
        total = total + reduce_sum(e.square(v))
    return e.sqrt(total)


def clip_by_global_norm(t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None) -> tuple[list[Any], Any]:
    """The tensors of `t_list` scaled by min(1, clip_norm / norm), and the norm, which is that of all together unless `use_norm` is given.

    None entries stay None. Everything is NaN where the norm is not finite.
    """
    if not isinstance(t_list, list | tuple):
        raise TypeError(places.with_place(f"`t_list` should be a sequence of tensors. Received {type(t_list)}."))
    norm = global_norm(t_list) if use_norm is None else convert_to_tensor(use_norm)
    one = e.ones_like(norm)
    scale = clip_norm * e.minimum(one / norm, one / clip_norm)
    scale = e.select(e.is_finite(norm), scale, float("nan") * one)
    return [None if t is None else _on_values(t, lambda x: x * scale) for t in t_list], norm

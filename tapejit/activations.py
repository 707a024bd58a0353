"""Activations: functions of one tensor that networks put between layers, softmax among them.

In: a tensor or what converts to one; out: a tensor of its shape. They are `tf.nn`'s; `tf.math` has softmax, log_softmax and softsign too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapejit.core import dtypes, places
from tapejit.core.errors import InvalidArgumentError
from tapejit.ops import activations as _a
from tapejit.ops import elementwise as _e
from tapejit.ops.joining import concat as _concat
from tapejit.ops.reductions import max_, normal_axes, sum_
from tapejit.ops.special import erf
from tapejit.tensor import convert_to_tensor

__all__ = ["crelu", "elu", "gelu", "leaky_relu", "log_softmax", "relu", "relu6", "selu", "silu", "softmax", "softsign", "swish"]


def floating(x: Any, what: str) -> Any:
    """`x` as a floating-point tensor. InvalidArgumentError names `what` takes no other."""
    x = convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise InvalidArgumentError(
            places.with_place(f"{what} takes a floating-point tensor, got {x.dtype.name}; write tf.cast(x, tf.float32)")
        )
    return x


def wide(x: Any) -> Any:
    """16-bit floats as float32, in which sums over many elements are made."""
    return _e.cast(x, dtype=dtypes.float32) if x.dtype.bits == 16 else x


def narrowed(x: Any, dtype: Any) -> Any:
    """`x` back in the dtype it came in."""
    return x if x.dtype is dtype else _e.cast(x, dtype=dtype)


# ------------------------------------------------------------------------------------------------ activations
def relu(features: Any, name: str | None = None) -> Any:
    """max(x, 0); the gradient at 0 is 0."""
    return _a.relu(convert_to_tensor(features))


def relu6(features: Any, name: str | None = None) -> Any:
    """min(max(x, 0), 6)."""
    return _a.relu6(convert_to_tensor(features))


def elu(features: Any, name: str | None = None) -> Any:
    """exp(x) - 1 below 0, x above (Clevert et al., 2015)."""
    return _a.elu(convert_to_tensor(features))


def selu(features: Any, name: str | None = None) -> Any:
    """Scaled `elu` that keeps mean and variance (Klambauer et al., 2017)."""
    return _a.selu(convert_to_tensor(features))


def softsign(features: Any, name: str | None = None) -> Any:
    """x / (1 + |x|)."""
    return _a.softsign(convert_to_tensor(features))


def leaky_relu(features: Any, alpha: Any = 0.2, name: str | None = None) -> Any:
    """x above 0, alpha * x below; the gradient at 0 is `alpha`, which is rounded to float32 whatever x is, as in TensorFlow."""
    x = convert_to_tensor(features)
    if isinstance(alpha, float):
        alpha = float(np.float32(alpha))
    if x.dtype.kind in "iu":
        x = _e.cast(x, dtype=dtypes.float32)
    return _e.select(x > 0, x, x * alpha)


def crelu(features: Any, axis: int = -1, name: str | None = None) -> Any:
    """relu(x) and relu(-x) one after the other along `axis` (Shang et al., 2016)."""
    x = convert_to_tensor(features)
    return _concat(relu(x), relu(-x), axis=int(axis) % len(x.dims))


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
    """x times the normal distribution function of x, or its approximation by tanh (Hendrycks & Gimpel, 2016).

    The constants 0.044715 and sqrt(1/2) are rounded to float32 whatever x is, as in TensorFlow.
    """
    x = floating(features, "gelu")
    if approximate:
        return 0.5 * x * (1.0 + _e.tanh(0.7978845608028654 * (x + _CUBIC * (x * x * x))))
    return 0.5 * x * (1.0 + erf(x * _HALF_ROOT))


_CUBIC, _HALF_ROOT = float(np.float32(0.044715)), float(np.float32(0.7071067811865476))


def silu(features: Any, beta: Any = 1.0, name: str | None = None) -> Any:
    """x * sigmoid(beta * x)."""
    x = floating(features, "silu")
    if isinstance(beta, float | int) and beta == 1:
        return x * _e.sigmoid(x)
    return x * _e.sigmoid(x * beta)


swish = silu


def shifted(logits: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """The logits less their largest along `axis`, which is a constant for gradients: it cancels out of everything made of it."""
    axes = normal_axes(axis, len(logits.dims))
    return logits - _e.stop_gradient(max_(logits, axis=axes, keepdims=True)), axes


def softmax(logits: Any, axis: Any = None, name: str | None = None) -> Any:
    """exp(x) / sum(exp(x)) along `axis` (the last)."""
    x = floating(logits, "softmax")
    less, axes = shifted(wide(x), -1 if axis is None else axis)
    e = _e.exp(less)
    return narrowed(e / sum_(e, axis=axes, keepdims=True), x.dtype)


def log_softmax(logits: Any, axis: Any = None, name: str | None = None) -> Any:
    """x - log(sum(exp(x))) along `axis` (the last)."""
    x = floating(logits, "log_softmax")
    less, axes = shifted(wide(x), -1 if axis is None else axis)
    return narrowed(less - _e.log(sum_(_e.exp(less), axis=axes, keepdims=True)), x.dtype)

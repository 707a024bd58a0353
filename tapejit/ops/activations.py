"""Activation functions with kinks, and the logistic loss, as rows: at a kink the gradient is TensorFlow's (relu 0, elu 1, leaky_relu its slope).

Gradients ask the result rather than the operand where both say the same, so that the operand need not be kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapejit.ops.elementwise import select, sigmoid, square, zeros_like
from tapejit.ops.families import binary, unary

# Klambauer et al., "Self-Normalizing Neural Networks" (2017)
SELU_SCALE = 1.0507009873554804934193349852946
SELU_SCALE_ALPHA = 1.7580993408473768599402175208123


def _elu(x: Any) -> Any:
    return np.where(x < 0, np.expm1(x), x)


def _selu(x: Any) -> Any:
    return np.where(x < 0, x.dtype.type(SELU_SCALE_ALPHA) * np.expm1(x), x.dtype.type(SELU_SCALE) * x)


relu = unary(
    "relu",
    lambda x: np.maximum(x, x.dtype.type(0)),
    "max(x, 0)",
    lambda g, z, x: select(z > 0, g, zeros_like(g)),
    kinds="iuf",
    kinks=(0.0,),
)
relu6 = unary(
    "relu6", lambda x: np.clip(x, x.dtype.type(0), x.dtype.type(6)), "min(max(x, 0), 6)",
    lambda g, z, x: select((z > 0) & (z < 6), g, zeros_like(g)), kinds="iuf", domain=(-2, 8), kinks=(0.0, 6.0), wide=True,
)  # fmt: skip
elu = unary("elu", _elu, "expm1(x) if x < 0 else x", lambda g, z, x: select(z < 0, g * (z + 1), g), wide=True, kinks=(0.0,))
selu = unary(
    "selu", _selu, f"{SELU_SCALE_ALPHA} * expm1(x) if x < 0 else {SELU_SCALE} * x",
    lambda g, z, x: select(z < 0, g * (z + SELU_SCALE_ALPHA), g * SELU_SCALE), wide=True, kinks=(0.0,),
)  # fmt: skip
softsign = unary(
    "softsign", lambda x: x / (np.abs(x) + 1), "x / (abs(x) + 1)", lambda g, z, x: g / square(abs(x) + 1), wide=True, kinks=(0.0,)
)

# written so that small losses of confident predictions are not lost, which softplus(x) - x * y would
sigmoid_cross_entropy = binary(
    "sigmoid_cross_entropy", lambda x, y: np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x))), "max(x, 0) - x * y + log1p(exp(-abs(x)))",
    (lambda g, z, x, y: g * (sigmoid(x) - y), lambda g, z, x, y: -g * x), wide=True, doc="Cross entropy of probabilities y and logits x, one by one.",
)  # fmt: skip

"""Complex numbers: made from two real tensors, and taken apart. (`conj` and `abs` are rows of `elementwise`.)

Gradient rules are written without conjugation: the gradient `g` of a result z stands for dL = Re(g dz). The sweep conjugates
what enters and leaves it, which gives TensorFlow's convention.
"""

# mypy: disable-error-code="has-type"
# gradients name rows further down

from __future__ import annotations

from typing import Any

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.ops.elementwise import cast, neg, real_part_dtype, reciprocal, zeros_like
from tapejit.ops.families import binary, unary


def complex_dtype(part: DType) -> DType:
    """The dtype of complex numbers with parts of dtype `part`. TypeError for parts other than float32 and float64."""
    made = {dtypes.float32: dtypes.complex64, dtypes.float64: dtypes.complex128}.get(part)
    if made is None:
        raise TypeError(f"complex numbers have parts of float32 or float64, got {part.name}; write tf.cast(x, tf.float32)")
    return made


def _complex(x: Any, y: Any) -> Any:
    out = np.empty(np.broadcast_shapes(x.shape, y.shape), complex_dtype(dtypes.as_dtype(x.dtype)).np)
    out.real, out.imag = x, y  # x + 1j * y would make nan of an infinite part
    return out


def _angle(x: Any) -> Any:
    return np.arctan2(x.imag, x.real)


def _times_minus_i(g: Any) -> Any:
    """-i g as a complex number."""
    return complex_(zeros_like(g), neg(g))


# fmt: off
complex_ = binary(
    "complex", _complex, "", (lambda g, z, x, y: real(g), lambda g, z, x, y: -imag(g)), result=complex_dtype, doc="x + iy from two real tensors (`tf.complex`)."
)
real = unary("real", lambda x: x.real.copy(), "", lambda g, z, x: cast(g, dtype=x.dtype), kinds="c", result=real_part_dtype, doc="The real part.")
imag = unary("imag", lambda x: x.imag.copy(), "", lambda g, z, x: _times_minus_i(g), kinds="c", result=real_part_dtype, doc="The imaginary part.")
angle = unary(
    "angle", _angle, "", lambda g, z, x: _times_minus_i(g) * reciprocal(x), kinds="c", result=real_part_dtype, domain=(0.3, 3), doc="The angle atan2(imag, real)."
)

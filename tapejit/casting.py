"""Conversions between dtypes, `tf.cast`, `tf.saturate_cast` and `tf.bitcast`, and `tf.stop_gradient`."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from tapejit.core import places
from tapejit.core.dtypes import DType, as_dtype
from tapejit.core.errors import InvalidArgumentError
from tapejit.ops import bitcast as _bitcast
from tapejit.ops import complex as _complex
from tapejit.ops import elementwise as e
from tapejit.tensor import Tensor, convert_to_tensor

_log = logging.getLogger("tapejit")

__all__ = ["bitcast", "cast", "saturate_cast", "stop_gradient"]


def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    """`x` with its elements converted to `dtype`; itself where it has it. Floats are cut off to integers, integers wrap around.

    Gradients pass between floating and complex dtypes and end at others. A complex number that becomes a real one is warned of. TypeError for
    something that names no dtype.
    """
    wanted = as_dtype(dtype)
    if not isinstance(x, Tensor):
        if hasattr(x, "with_values"):  # a sparse one
            return x.with_values(cast(x.values, wanted))
        x = convert_to_tensor(x)
    if x.dtype.is_complex and not wanted.is_complex and not wanted.is_bool:
        _log.warning(
            "You are casting an input of type %s to an incompatible dtype %s.  This will discard the imaginary part and may not be what you intended.",
            x.dtype.name,
            wanted.name,
        )
    return x if x.dtype is wanted else e.cast(x, dtype=wanted)


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Any:
    """`cast`, but values beyond the range of `dtype` become its limits. Complex numbers lose their imaginary part to real dtypes."""
    x, wanted = convert_to_tensor(value), as_dtype(dtype)
    if x.dtype.is_complex:
        if wanted.is_complex:
            part = wanted.real_dtype
            return _complex.complex_(saturate_cast(_complex.real(x), part), saturate_cast(_complex.imag(x), part))
        x = _complex.real(x)
    if not x.dtype.is_bool and not wanted.is_bool:
        least, most = _limits(x.dtype, wanted.real_dtype)
        if least is not None:
            x = e.maximum(x, least)
        if most is not None:
            x = e.minimum(x, most)
    return cast(x, wanted)


def bitcast(input: Any, type: Any, name: str | None = None) -> Any:
    """The bytes of `input` read as numbers of `type`; of smaller ones a last axis holds the parts, of larger ones there was one.

    InvalidArgumentError if the last axis does not fit, TypeError for bools and complex numbers.
    """
    x, wanted = convert_to_tensor(input), as_dtype(type)
    try:
        return x if x.dtype is wanted else _bitcast.bitcast(x, dtype=wanted)
    except ValueError as error:
        raise InvalidArgumentError(places.with_place(str(error))) from None


def _limits(given: DType, wanted: DType) -> tuple[Any, Any]:
    """The limits of `wanted` as numbers of `given` inside them, None where `given` does not reach beyond."""

    def number(x: Any, dtype: DType) -> Any:
        return int(x) if dtype.is_integer else float(x)

    def limit(other: Any) -> Any:
        if given.is_integer:
            return int(other)
        nearest = given.np.type(other)
        if wanted.is_integer and abs(int(nearest)) > abs(other):  # 2**31 is no int32, but the float32 nearest to the largest one
            nearest = np.nextafter(nearest, given.np.type(0))
        return float(nearest)

    low, high = number(given.min, given), number(given.max, given)
    least, most = number(wanted.min, wanted), number(wanted.max, wanted)
    return (limit(least) if low < least else None), (limit(most) if high > most else None)


def stop_gradient(input: Any, name: str | None = None) -> Any:
    """`input` as a constant for every tape: the gradient ends here."""
    return e.stop_gradient(convert_to_tensor(input))

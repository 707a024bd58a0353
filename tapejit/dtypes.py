"""`tf.dtypes`: the dtypes, and conversions between them."""

from __future__ import annotations

from tapejit.casting import cast, saturate_cast
from tapejit.core.dtypes import (
    DType,
    as_dtype,
    bfloat16,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from tapejit.core.dtypes import bool_ as bool
from tapejit.math import complex

half, double = float16, float64

__all__ = [
    "DType", "as_dtype", "bfloat16", "bool", "cast", "complex", "complex64", "complex128", "double", "float16", "float32", "float64", "half",
    "int8", "int16", "int32", "int64", "saturate_cast", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip

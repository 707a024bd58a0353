"""Element types: one `DType` object per kind of number, with TensorFlow's attributes and the short name the IR prints.

In: a name, a NumPy dtype, a Python type or a `DType`; out: the one `DType` object that stands for it (compare with `is`).
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from tapejit.core import places


class DType:
    """An element type. `name` is TensorFlow's ("float32"), `short` the IR's ("f32"), `kind` one of "biufc"."""

    __slots__ = ("bits", "kind", "name", "np", "short")

    def __init__(self, name: str, short: str, numpy_type: Any, kind: str, bits: int) -> None:
        self.name, self.short, self.kind, self.bits = name, short, kind, bits
        self.np: np.dtype = np.dtype(numpy_type)

    # TensorFlow's vocabulary ---------------------------------------------------------------------
    @property
    def as_numpy_dtype(self) -> type:
        """The NumPy scalar class, as `tf.DType.as_numpy_dtype`."""
        return self.np.type

    @property
    def as_datatype_enum(self) -> int:
        """The number of the type in TensorFlow's files."""
        return _ENUM[self.name]

    @property
    def is_floating(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    @property
    def is_unsigned(self) -> bool:
        return self.kind == "u"

    @property
    def is_complex(self) -> bool:
        return self.kind == "c"

    @property
    def is_bool(self) -> bool:
        return self.kind == "b"

    @property
    def is_quantized(self) -> bool:
        """False: there are no quantized types."""
        return False

    @property
    def is_numpy_compatible(self) -> bool:
        """True: every type is NumPy's, or one that extends NumPy."""
        return True

    @property
    def is_numeric(self) -> bool:
        return self.kind != "b"

    @property
    def differentiable(self) -> bool:
        """Whether a tape carries gradients of this type (floating and complex ones)."""
        return self.kind in "fc"

    @property
    def narrow(self) -> bool:
        """Whether it is a float of 16 bits: a type to store, computed with as float32."""
        return self.kind == "f" and self.bits == 16

    @property
    def wide(self) -> DType:
        """The type it is computed with: float32 for floats of 16 bits, itself otherwise."""
        return float32 if self.narrow else self

    @property
    def size(self) -> int:
        """Bytes per element."""
        return self.np.itemsize

    @property
    def real_dtype(self) -> DType:
        """The type of the parts of a complex number; any other type itself."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)

    @property
    def base_dtype(self) -> DType:
        return self

    @property
    def min(self) -> Any:
        """The smallest (most negative) finite value."""
        return self._limit("min")

    @property
    def max(self) -> Any:
        """The largest finite value."""
        return self._limit("max")

    @property
    def limits(self) -> tuple[Any, Any]:
        """What images of this type hold: 0 and 1 for floats, the least and the greatest number else."""
        return (0, 1) if self.kind == "f" else (self.min, self.max)

    def _limit(self, which: str) -> Any:
        if self.kind == "b":
            return which == "max"
        if self.kind == "c":
            raise TypeError(f"Cannot find {which}imum value of {self!r}.")
        info: Any = np.iinfo(self.np) if self.kind in "iu" else ml_dtypes.finfo(self.np)
        value = getattr(info, which)
        return value if self.kind in "iu" else self.np.type(value)

    def is_compatible_with(self, other: Any) -> bool:
        return self is as_dtype(other)

    def __eq__(self, other: object) -> bool:
        if other is self:
            return True
        if other is None or isinstance(other, DType):
            return False
        try:
            return as_dtype(other) is self
        except TypeError:
            return False

    def __hash__(self) -> int:
        return id(self) >> 4  # one object per type; must not meet the hash of a name in a dict

    def __repr__(self) -> str:
        return f"tf.{self.name}"

    def __str__(self) -> str:
        return f"<dtype: '{self.name}'>"

    def __reduce__(self) -> tuple:
        return as_dtype, (self.name,)


bool_ = DType("bool", "bool", np.bool_, "b", 8)
int8 = DType("int8", "i8", np.int8, "i", 8)
int16 = DType("int16", "i16", np.int16, "i", 16)
int32 = DType("int32", "i32", np.int32, "i", 32)
int64 = DType("int64", "i64", np.int64, "i", 64)
uint8 = DType("uint8", "u8", np.uint8, "u", 8)
uint16 = DType("uint16", "u16", np.uint16, "u", 16)
uint32 = DType("uint32", "u32", np.uint32, "u", 32)
uint64 = DType("uint64", "u64", np.uint64, "u", 64)
float16 = DType("float16", "f16", np.float16, "f", 16)
bfloat16 = DType("bfloat16", "bf16", ml_dtypes.bfloat16, "f", 16)
float32 = DType("float32", "f32", np.float32, "f", 32)
float64 = DType("float64", "f64", np.float64, "f", 64)
complex64 = DType("complex64", "c64", np.complex64, "c", 64)
complex128 = DType("complex128", "c128", np.complex128, "c", 128)

ALL: tuple[DType, ...] = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64,
    float16, bfloat16, float32, float64, complex64, complex128,
)  # fmt: skip
_ENUM = {  # DataType of tensorflow/core/framework/types.proto
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "complex64": 8, "int64": 9, "bool": 10, "bfloat16": 14,
    "uint16": 17, "complex128": 18, "float16": 19, "uint32": 22, "uint64": 23,
}  # fmt: skip
BY_SHORT: dict[str, DType] = {d.short: d for d in ALL}

_known: dict[Any, DType] = {}
for _d in ALL:
    for _key in (_d, _d.name, _d.short, _d.np, _d.np.type):
        _known[_key] = _d
_known.update({float: float32, int: int32, bool: bool_, complex: complex128, "half": float16, "float": float32, "double": float64})


def as_dtype(x: Any) -> DType:
    """The `DType` that `x` names: a `DType`, a name, a NumPy dtype or scalar class, or `float`, `int`, `bool`, `complex`.

    Raises TypeError for anything else.
    """
    try:
        return _known[x]
    except (KeyError, TypeError):
        pass
    try:
        if x is not None:  # NumPy reads None as float64
            return _known[np.dtype(x)]
    except (KeyError, TypeError):
        pass
    raise TypeError(
        places.with_place(f"Cannot convert the argument `type_value`: {x!r} to a tapejit DType; write for example tf.float32 or 'float32'")
    )

"""Python and NumPy values as arrays, by TensorFlow's rules for dtypes.

Python floats are float32, ints int32 (int64 where they do not fit), lists what their elements are together; arrays keep their
dtype. In a list NumPy's ints count as Python's, and a first number that is NumPy's float says which float all are. With a wanted
dtype arrays are cast to it, whatever is lost, and Python values where nothing but precision is lost; otherwise TypeError.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapejit.core import dtypes, places
from tapejit.core.dtypes import DType


def as_array(x: Any, dtype: DType | None = None) -> np.ndarray:
    """`x` (number, bool, nested list, ndarray, NumPy scalar) as an array of `dtype`, by default of the dtype it stands for.

    TypeError for a value that does not fit the dtype, ValueError for a ragged list or something that is no number.
    """
    typed = isinstance(x, np.ndarray | np.generic)
    try:
        array = x if isinstance(x, np.ndarray) else np.asarray(x)
    except ValueError as e:
        raise ValueError(places.with_place(f"Can't convert non-rectangular Python sequence to Tensor: {_short(x)}")) from e
    if array.dtype.kind == "O" or array.dtype.kind in "SU":
        raise ValueError(
            places.with_place(
                f"Attempt to convert a value ({_short(x)}) with an unsupported type ({type(x)}) to a Tensor. Write a number, a bool, an array, or "
                "a nested list of them"
            )
        )
    if dtype is not None:
        if array.dtype == dtype.np:
            return _of(array, dtype)
        if not typed and not _fits(array, dtype):
            raise TypeError(places.with_place(f"Cannot convert {_short(x)} to EagerTensor of dtype {dtype.name}; {_instead(array, dtype)}"))
        with np.errstate(all="ignore"):
            return array.astype(dtype.np)
    if not typed:
        if array.dtype.kind == "f":
            first = _first(x)
            return array.astype(first.dtype if isinstance(first, np.ndarray | np.generic) and first.dtype.kind == "f" else np.float32)
        if array.dtype.kind in "iu":
            small = array.astype(np.int32)
            return small if np.array_equal(small, array) else array
    return _of(array, dtypes.as_dtype(array.dtype))  # TypeError for dates, strings and the like


def _of(array: np.ndarray, dtype: DType) -> np.ndarray:
    """The array with NumPy's one dtype object for its dtype, by which compiled code knows it; unpickled arrays have a copy."""
    return array if array.dtype is dtype.np else array.view(dtype.np)


def _first(x: Any) -> Any:
    """The first number or array of a nested list."""
    while isinstance(x, list | tuple) and x:
        x = x[0]
    return x


def _fits(array: np.ndarray, dtype: DType) -> bool:
    """Whether Python numbers may become `dtype`: bools may be ints and ints floats, not the other way round."""
    if array.size == 0:
        return True
    kind = array.dtype.kind
    if kind == "b" or dtype.kind == "b":
        return kind == "b"
    if kind in "iu":
        if dtype.kind in "iu":
            info = np.iinfo(dtype.np)
            return bool(info.min <= array.min() and array.max() <= info.max)
        return True
    return dtype.kind == "c" or (kind == "f" and dtype.kind == "f")


def _instead(array: np.ndarray, dtype: DType) -> str:
    """What to write instead of a Python value that `dtype` does not hold."""
    if dtype.kind == "b":
        return "write True or False, or tf.cast(value, tf.bool)"
    if array.dtype.kind in "iu":
        return f"it holds {np.iinfo(dtype.np).min} to {np.iinfo(dtype.np).max}"
    wider = "complex64" if array.dtype.kind == "c" else "float32"
    return f"where it meets a tensor, write tf.cast(tensor, tf.{wider}); as a value of its own, tf.cast(value, tf.{dtype.name})"


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 60 else text[:57] + "..."

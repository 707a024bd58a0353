"""Python and NumPy values as arrays, by TensorFlow's rules for dtypes.

Python floats are float32, ints int32 (int64 where they do not fit), lists what their elements are together; arrays keep their
dtype. With a wanted dtype the value is converted where nothing but precision is lost, otherwise TypeError.
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
        if typed and not _fits_typed(array, dtype):
            raise TypeError(
                places.with_place(
                    f"Cannot convert an array of dtype {array.dtype.name} to dtype {dtype.name}; write tf.cast(x, tf.{dtype.name})"
                )
            )
        return array.astype(dtype.np)
    if not typed:
        if array.dtype == np.float64 and not _holds_numpy(x):
            return array.astype(np.float32)
        if array.dtype == np.int64 and not _holds_numpy(x):
            small = array.astype(np.int32)
            return small if np.array_equal(small, array) else array
    return _of(array, dtypes.as_dtype(array.dtype))  # TypeError for dates, strings and the like


def _of(array: np.ndarray, dtype: DType) -> np.ndarray:
    """The array with NumPy's one dtype object for its dtype, by which compiled code knows it; unpickled arrays have a copy."""
    return array if array.dtype is dtype.np else array.view(dtype.np)


def _holds_numpy(x: Any) -> bool:
    """Whether a nested list's first number is NumPy's, whose dtype counts."""
    while isinstance(x, list | tuple) and x:
        x = x[0]
    return isinstance(x, np.ndarray | np.generic)


def _fits(array: np.ndarray, dtype: DType) -> bool:
    """Whether Python numbers may become `dtype`: ints may be floats, not the other way round; bools only bools."""
    if array.size == 0:
        return True
    kind = array.dtype.kind
    if kind == "b" or dtype.kind == "b":
        return kind == "b" and dtype.kind == "b"
    if kind in "iu":
        if dtype.kind in "iu":
            info = np.iinfo(dtype.np)
            return bool(info.min <= array.min() and array.max() <= info.max)
        return True
    return dtype.kind == "c" or (kind == "f" and dtype.kind == "f")


def _fits_typed(array: np.ndarray, dtype: DType) -> bool:
    if array.dtype.kind == "b" or dtype.kind == "b":
        return False
    order = {"u": 0, "i": 0, "f": 1, "V": 1, "c": 2}
    return order[array.dtype.kind] <= order[dtype.kind]


def _instead(array: np.ndarray, dtype: DType) -> str:
    """What to write instead of a Python value that `dtype` does not hold."""
    if array.dtype.kind == "b" or dtype.kind == "b":
        return f"write {'True or False' if dtype.kind == 'b' else 'a number'}, or tf.cast(value, tf.{dtype.name})"
    if array.dtype.kind in "iu":
        return f"it holds {np.iinfo(dtype.np).min} to {np.iinfo(dtype.np).max}"
    wider = "complex64" if array.dtype.kind == "c" else "float32"
    return f"where it meets a tensor, write tf.cast(tensor, tf.{wider}); as a value of its own, tf.cast(value, tf.{dtype.name})"


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 60 else text[:57] + "..."

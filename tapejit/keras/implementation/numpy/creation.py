"""Functions that make tensors: constants, ranges, matrices of a pattern, windows."""

from __future__ import annotations

import math
from typing import Any

from keras.src.backend.common import standardize_dtype
from keras.src.backend.common.dtypes import result_type
from keras.src.backend.config import floatx

import tapejit as tf
from tapejit.core.sizes import Dim
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import all_floating, is_number, wide
from tapejit.ops import elementwise
from tapejit.ops.creation import iota
from tapejit.ops.slicing import scalar_of
from tapejit.tensor import dims_of

__all__ = [
    "arange", "array", "bartlett", "blackman", "empty", "empty_like", "eye", "full", "full_like", "geomspace", "hamming", "hanning",
    "identity", "kaiser", "linspace", "logspace", "meshgrid", "ones", "ones_like", "tri", "vander", "zeros", "zeros_like",
]  # fmt: skip


def _dtype(dtype: Any) -> Any:
    return tf.as_dtype(standardize_dtype(dtype or floatx()))


def array(x: Any, dtype: Any = None) -> Any:
    return convert_to_tensor(x, dtype)


# ------------------------------------------------------------------------------------------------ one value
def zeros(shape: Any, dtype: Any = None) -> Any:
    return tf.zeros(shape, _dtype(dtype))


def ones(shape: Any, dtype: Any = None) -> Any:
    return tf.ones(shape, _dtype(dtype))


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    return _filled(dims_of(shape), fill_value, _dtype(dtype))


def _filled(dims: tuple[Dim, ...], value: Any, dtype: Any) -> Any:
    """A number, or a tensor that broadcasts, at all places of this shape."""
    if isinstance(value, bool | int | float):
        return elementwise.full(shape=dims, value=dtype.np.type(value).item(), dtype=dtype)
    return tf.broadcast_to(convert_to_tensor(value, dtype), dims)


def zeros_like(x: Any, dtype: Any = None) -> Any:
    return tf.zeros_like(convert_to_tensor(x), dtype and _dtype(dtype))


def ones_like(x: Any, dtype: Any = None) -> Any:
    return tf.ones_like(convert_to_tensor(x), dtype and _dtype(dtype))


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    x = convert_to_tensor(x)
    return _filled(x.dims, fill_value, x.dtype if dtype is None else _dtype(dtype))


empty, empty_like = zeros, zeros_like


# ------------------------------------------------------------------------------------------------ ranges
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """Numbers from `start` (or 0) up to `stop`, which is not among them, in the common dtype of the arguments or in `dtype`."""
    given = [x if is_number(x) or hasattr(x, "dtype") else convert_to_tensor(x) for x in (start, stop, step) if x is not None]
    dtype = _dtype(dtype or result_type(*(type(x) if is_number(x) else standardize_dtype(x.dtype) for x in given)))
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    if all(is_number(x) for x in (start, stop, step)) and (stop - start) * step <= 0:
        return tf.zeros([0], dtype)
    if dtype.is_bool:
        return cast(tf.range(start, stop, step), dtype)
    return tf.range(start, stop, step, dtype)


def linspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0) -> Any:
    """`num` evenly spaced numbers from `start` to `stop`, which is the last of them unless `endpoint` is False, along a new `axis`."""
    start, stop = all_floating(start, stop)
    (num,) = dims_of(num)
    steps = num - 1 if endpoint else num
    share = tf.cast(iota(size=num, dtype=tf.int32), wide(start).dtype) / max(steps, 1)
    low, high = (tf.expand_dims(wide(x), -1) for x in (start, stop))
    out = low * (1 - share) + high * share
    out = out if axis in (-1, len(out.dims) - 1) else _last_to(out, axis)
    if dtype is None:
        out = cast(out, start.dtype)
    else:
        out = cast(tf.floor(out) if tf.as_dtype(standardize_dtype(dtype)).is_integer else out, dtype)
    return (out, (stop - start) / steps if steps > 0 else tf.fill([], cast(math.nan, start.dtype))) if retstep else out


def _last_to(x: Any, axis: int) -> Any:
    """`x` with its last axis at `axis`."""
    order = list(range(len(x.dims) - 1))
    order.insert(axis % len(x.dims), len(x.dims) - 1)
    return tf.transpose(x, order)


def logspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10, dtype: Any = None, axis: int = 0) -> Any:
    """`base` to the powers that `linspace` gives."""
    powers = linspace(start, stop, num, endpoint, axis=axis)
    out = cast(tf.pow(cast(base, wide(powers).dtype), wide(powers)), powers.dtype)
    return out if dtype is None else cast(out, dtype)


def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """`num` numbers from `start` to `stop`, of one sign, each the same multiple of the one before."""
    start, stop = all_floating(start, stop)
    first, last = (tf.math.log(tf.abs(wide(x))) for x in (start, stop))
    exponents = linspace(first, last, num, endpoint, axis=axis)
    sign = tf.sign(wide(start))
    out = cast(tf.exp(exponents) * (tf.expand_dims(sign, axis) if sign.dims else sign), start.dtype)
    return out if dtype is None else cast(out, dtype)


def meshgrid(*x: Any, indexing: str = "xy") -> list[Any]:
    """Vectors (or tensors, flattened) repeated to the grid of all their combinations; "xy" puts the second on the first axis."""
    return list(tf.meshgrid(*(tf.reshape(convert_to_tensor(v), [-1]) for v in x), indexing=indexing))


# ------------------------------------------------------------------------------------------------ matrices
def eye(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> Any:
    """Ones on the `k`-th diagonal of `N` rows and `M` (or `N`) columns."""
    return tf.cast(_columns_ahead(N, M) == k, _dtype(dtype))


def identity(n: Any, dtype: Any = None) -> Any:
    return eye(n, dtype=dtype)


def tri(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> Any:
    """Ones on and below the `k`-th diagonal of `N` rows and `M` (or `N`) columns."""
    return tf.cast(_columns_ahead(N, M) <= k, _dtype(dtype))


def _columns_ahead(rows: Any, columns: Any) -> Any:
    """Column less row for each element of a matrix."""
    (rows,), (columns,) = dims_of(rows), dims_of(rows if columns is None else columns)
    return iota(size=columns, dtype=tf.int32) - tf.expand_dims(iota(size=rows, dtype=tf.int32), 1)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The powers 0 to N - 1 of each element of a vector in a row, the highest first unless `increasing`."""
    x = convert_to_tensor(x)
    count = x.dims[0] if N is None else N
    first = tf.expand_dims(tf.ones_like(x), 1)
    powers = tf.math.cumprod(tf.concat([first, tf.broadcast_to(tf.expand_dims(x, 1), [x.dims[0], count])], 1), 1, exclusive=True)[:, 1:]
    return powers if increasing else tf.reverse(powers, [1])


# ------------------------------------------------------------------------------------------------ windows
def _window(x: Any, weight: Any) -> Any:
    """`weight` at the places 0 to 1 of a window of `x` elements; a window of one is 1."""
    (size,) = dims_of(cast(x, "int32"))
    if isinstance(size, int) and size <= 1:
        return tf.ones([size], floatx())
    place = tf.cast(iota(size=size, dtype=tf.int32), floatx())
    return weight(place / (size - 1.0 if isinstance(size, int) else tf.cast(scalar_of(size - 1, tf.int32), floatx())))


def _cosines(*weights: float) -> Any:
    """The window that is a sum of cosines with these weights."""

    def function(x: Any) -> Any:
        return _window(x, lambda t: sum(w * tf.cos(2 * math.pi * k * t) if k else w for k, w in enumerate(weights)))

    return function


hamming = _cosines(0.54, -0.46)
hanning = _cosines(0.5, -0.5)
blackman = _cosines(0.42, -0.5, 0.08)


def bartlett(x: Any) -> Any:
    """The triangular window of `x` elements."""
    return _window(x, lambda t: 1 - tf.abs(2 * t - 1))


def kaiser(x: Any, beta: Any) -> Any:
    """Kaiser's window of `x` elements and the shape `beta`."""
    beta = cast(beta, floatx())
    bessel = tf.math.bessel_i0
    return _window(x, lambda t: bessel(beta * tf.sqrt(tf.maximum(1 - tf.square(2 * t - 1), 0))) / bessel(beta))

"""The functions of `keras.ops` on segments, sequences and spectra, on tapejit, with the arguments that `keras.src.backend.*.math` have.

Complex numbers come and go as pairs of real and imaginary parts.
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable
from typing import Any

import numpy as np

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.numpy.promotion import alike, all_floating, floating, unary_floating

__all__ = [
    "cdist", "erf", "erfc", "erfinv", "extract_sequences", "fft", "fft2", "ifft2", "in_top_k", "irfft", "istft", "logdet", "logsumexp", "rfft",
    "rsqrt", "segment_max", "segment_min", "segment_prod", "segment_sum", "stft", "top_k",
]  # fmt: skip

rsqrt = unary_floating(tf.math.rsqrt)
erf = unary_floating(tf.math.erf)
erfc = unary_floating(tf.math.erfc)
erfinv = unary_floating(tf.math.erfinv)


# ---------------------------------------------------------------------------------------------------- segments
def _segments(reduce: Callable[..., Any], data: Any, segment_ids: Any, num_segments: Any, empty: float | None = None) -> Any:
    """Rows with the same id joined; ids out of range are left out. Without `num_segments` there are as many as the largest id wants.

    `empty` is what floating-point segments without rows have, unless `reduce` says that already.
    """
    data, ids = convert_to_tensor(data), convert_to_tensor(segment_ids, "int32")
    count = tf.reduce_max(ids) + 1 if num_segments is None else num_segments
    ids = tf.where(ids < count, ids, -1)
    out = reduce(data, ids, count)
    if empty is None or not data.dtype.is_floating:
        return out
    rows = tf.math.unsorted_segment_sum(tf.ones_like(ids), ids, count)
    nothing = tf.reshape(rows == 0, [*rows.dims, *[1] * (len(out.dims) - 1)])
    return tf.where(nothing, cast(empty, out.dtype), out)


def segment_sum(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Any:
    return _segments(tf.math.unsorted_segment_sum, data, segment_ids, num_segments)


def segment_max(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Any:
    return _segments(tf.math.unsorted_segment_max, data, segment_ids, num_segments, -_math.inf)


def segment_min(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Any:
    return _segments(tf.math.unsorted_segment_min, data, segment_ids, num_segments, _math.inf)


def segment_prod(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False) -> Any:
    return _segments(tf.math.unsorted_segment_prod, data, segment_ids, num_segments)


# ---------------------------------------------------------------------------------------------------- order and distance
def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """The `k` largest along the last axis, largest first, and their int32 places."""
    return tf.math.top_k(convert_to_tensor(x), k)


def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether fewer than `k` elements of each row exceed the one at its target; NaN and what is out of range count as least."""
    targets, predictions = convert_to_tensor(targets, "int32"), convert_to_tensor(predictions)
    classes = predictions.dims[-1]
    own = tf.gather(predictions, tf.clip_by_value(targets, 0, classes - 1), axis=-1, batch_dims=len(targets.dims))
    inside = tf.logical_and(tf.logical_and(targets >= 0, targets < classes), tf.logical_not(tf.math.is_nan(own)))
    own = tf.where(inside, own, cast(-_math.inf, own.dtype))
    return tf.reduce_sum(cast(predictions > own[..., None], "int32"), -1) < k


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return tf.reduce_logsumexp(floating(x), list(axis) if isinstance(axis, tuple) else axis, keepdims)


def cdist(x: Any, y: Any) -> Any:
    """Distances of every row of `x` from every row of `y`: [..., n, d] and [..., m, d] give [..., n, m]. ValueError where they do not fit."""
    x, y = all_floating(x, y)
    if len(x.dims) < 2 or len(y.dims) < 2:
        raise ValueError("`cdist` inputs must have rank >= 2")
    if x.dims[-1] != y.dims[-1]:
        raise ValueError("Last dimension of inputs to `cdist` must match")
    return tf.sqrt(tf.reduce_sum(tf.square(tf.expand_dims(x, -2) - tf.expand_dims(y, -3)), -1))


def logdet(x: Any) -> Any:
    """The logarithm of the absolute value of the determinant."""
    return tf.linalg.slogdet(floating(x))[1]


# ---------------------------------------------------------------------------------------------------- spectra
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Any:
    """[..., n] as [..., sequences, sequence_length], each `sequence_stride` after the one before."""
    return tf.signal.frame(convert_to_tensor(x), sequence_length, sequence_stride)


def _get_complex_tensor_from_tuple(x: Any) -> Any:
    """A complex tensor of its two parts. ValueError unless they are two, floating-point and of one shape."""
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise ValueError(f"Input `x` should be a tuple of two tensors - real and imaginary.Received: x={x}")
    real, imag = (convert_to_tensor(part) for part in x)
    if real.shape.as_list() != imag.shape.as_list():
        raise ValueError(
            "Input `x` should be a tuple of two tensors - real and imaginary.Both the real and imaginary parts should have the same shape. "
            f"Received: x[0].shape = {real.shape}, x[1].shape = {imag.shape}"
        )
    if not (real.dtype.is_floating and imag.dtype.is_floating):
        raise ValueError(f"At least one tensor in input `x` is not of type float.Received: x={x}.")
    real, imag = alike(real, imag)
    return tf.complex(*(cast(part, "float32") if part.dtype.bits == 16 else part for part in (real, imag)))


def _parts(z: Any) -> tuple[Any, Any]:
    return tf.math.real(z), tf.math.imag(z)


def _transform(function: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, Any]]:
    """A transform of complex numbers, which come and go as pairs."""
    return lambda x: _parts(function(_get_complex_tensor_from_tuple(x)))


fft = _transform(tf.signal.fft)
fft2 = _transform(tf.signal.fft2d)
ifft2 = _transform(tf.signal.ifft2d)


def rfft(x: Any, fft_length: int | None = None) -> tuple[Any, Any]:
    """The first half of the Fourier transform of real numbers, cut off or filled up to `fft_length`."""
    x = floating(x)
    return _parts(tf.signal.rfft(cast(x, "float32") if x.dtype.bits == 16 else x, None if fft_length is None else [fft_length]))


def irfft(x: Any, fft_length: int | None = None) -> Any:
    """The `fft_length` real numbers whose `rfft` is given."""
    return tf.signal.irfft(_get_complex_tensor_from_tuple(x), None if fft_length is None else [fft_length])


_COSINES = {"hann": 0.5, "hamming": 0.54}


def _window(window: Any, sequence_length: int, fft_length: int, dtype: Any) -> Any:
    """The window, in the middle of `fft_length` elements. ValueError for one of another length or name."""
    if window is None:
        return tf.ones([fft_length], dtype)
    if isinstance(window, str):
        if window not in _COSINES:
            raise ValueError(f'If a string is passed to `window`, it must be one of `"hann"`, `"hamming"`. Received: window={window}')
        a, turns = _COSINES[window], np.arange(sequence_length) / sequence_length
        window = a - (1 - a) * np.cos(2 * np.pi * turns) if sequence_length > 1 else np.ones(1)
    window = convert_to_tensor(window, dtype)
    if tuple(window.dims) != (sequence_length,):
        raise ValueError(f"The shape of `window` must be equal to [sequence_length].Received: window shape={window.shape}")
    before = (fft_length - sequence_length) // 2
    return tf.pad(window, [[before, fft_length - sequence_length - before]])


def stft(x: Any, sequence_length: int, sequence_stride: int, fft_length: int, window: Any = "hann", center: bool = True) -> tuple[Any, Any]:
    """[..., n] as the spectra of windowed pieces: two of [..., pieces, fft_length // 2 + 1].

    TypeError unless `x` is float32 or float64, ValueError for lengths or a window that do not fit.
    """
    x = convert_to_tensor(x)
    if x.dtype.name not in ("float32", "float64"):
        raise TypeError(f"Invalid input type. Expected `float32` or `float64`. Received: input type={x.dtype}")
    if fft_length < sequence_length:
        raise ValueError(
            "`fft_length` must equal or larger than `sequence_length`. "
            f"Received: sequence_length={sequence_length}, fft_length={fft_length}"
        )
    taper = _window(window, sequence_length, fft_length, x.dtype)
    if center:
        x = tf.pad(x, [[0, 0]] * (len(x.dims) - 1) + [[fft_length // 2, fft_length // 2]], "REFLECT")
    return _parts(tf.signal.rfft(tf.signal.frame(x, fft_length, sequence_stride) * taper))


def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """The signal [..., n] whose `stft` is given: windowed pieces overlapped and added, divided by the sum of the squared windows that overlap."""
    z = _get_complex_tensor_from_tuple(x)
    if len(z.dims) < 2:
        raise ValueError(f"Input `x` must have at least 2 dimensions. Received shape: {z.shape}")
    pieces = tf.signal.irfft(z, [fft_length])
    if window is not None:
        pieces = pieces * _synthesis_window(_window(window, sequence_length, fft_length, pieces.dtype), sequence_stride)
    out = tf.signal.overlap_and_add(pieces, sequence_stride)
    start = fft_length // 2 if center else 0
    end = out.dims[-1] - fft_length // 2 if center else out.dims[-1]
    return out[..., start : end if length is None else start + length]


def _synthesis_window(taper: Any, stride: int) -> Any:
    """The window divided by the sum of its squares at all places that are strides apart (Griffin and Lim 1984)."""
    n = taper.dims[0]
    turns = -(-n // stride)
    total = tf.reduce_sum(tf.reshape(tf.pad(tf.square(taper), [[0, turns * stride - n]]), [turns, stride]), 0)
    return tf.math.divide_no_nan(taper, tf.tile(total, [turns])[:n])

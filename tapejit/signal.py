"""`tf.signal`: Fourier transforms, windows, frames and short-time transforms.

In: real or complex tensors whose last axes are transformed; out: tensors.
"""

from __future__ import annotations

import math as _math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapejit.core import dtypes, places, sizes
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.sizes import Dim
from tapejit.ops import elementwise as _e
from tapejit.ops import fourier as _f
from tapejit.ops.creation import iota
from tapejit.ops.matmul import matmul as _matmul
from tapejit.ops.reductions import sum_
from tapejit.ops.shapes import reshape as _reshape
from tapejit.ops.slicing import axis_slice, embed, roll
from tapejit.ops.windows import fold, patches
from tapejit.tensor import convert_to_tensor, dims_of

__all__ = [
    "dct", "fft", "fft2d", "fft3d", "fftshift", "frame", "hamming_window", "hann_window", "idct", "ifft", "ifft2d", "ifft3d", "ifftshift", "inverse_stft", "inverse_stft_window_fn",
    "irfft", "irfft2d", "irfft3d", "kaiser_window", "linear_to_mel_weight_matrix", "mfccs_from_log_mel_spectrograms", "overlap_and_add", "rfft", "rfft2d", "rfft3d", "stft", "vorbis_window",
]  # fmt: skip


# ------------------------------------------------------------------------------------------------ transforms
def _transform(count: int, inverse: bool) -> Callable[..., Any]:
    def function(input: Any, name: str | None = None) -> Any:
        x = convert_to_tensor(input)
        rank = len(x.dims)
        return _f.fft(x, axes=tuple(range(rank - count, rank)), inverse=inverse)

    which = f"{'i' if inverse else ''}fft{'' if count == 1 else f'{count}d'}"
    function.__name__ = function.__qualname__ = which
    function.__doc__ = f"The {'inverse ' if inverse else ''}Fourier transform of complex numbers over the last {count} axes. InvalidArgumentError for real ones."
    return function


fft, fft2d, fft3d = (_transform(n, False) for n in (1, 2, 3))
ifft, ifft2d, ifft3d = (_transform(n, True) for n in (1, 2, 3))


def _fitted(x: Any, axis: int, n: Dim) -> Any:
    """`x` cut off or filled up with zeros to `n` along an axis."""
    have = x.dims[axis]
    if have == n:
        return x
    if isinstance(have, int) and isinstance(n, int) and have < n:
        shape = tuple(n if k == axis else d for k, d in enumerate(x.dims))
        return embed(x, begin=(0,) * len(shape), shape=shape, stride=(1,) * len(shape))
    return axis_slice(x, axis, 0, n)


def _lengths(fft_length: Any, count: int, default: tuple[Dim, ...]) -> tuple[Dim, ...]:
    if fft_length is None:
        return default
    given = dims_of(fft_length)
    if len(given) != count:
        raise InvalidArgumentError(places.with_place(f"fft_length must have shape [{count}], got {list(given)}"))
    return given


def _real_transform(count: int) -> Callable[..., Any]:
    def function(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Any:
        x = convert_to_tensor(input_tensor)
        rank = len(x.dims)
        if rank < count:
            raise InvalidArgumentError(places.with_place(f"Input must have rank of at least {count} but got: {rank}"))
        lengths = _lengths(fft_length, count, x.dims[rank - count :])
        for k, n in enumerate(lengths):
            x = _fitted(x, rank - count + k, n)
        z = _f.rfft(x)
        return z if count == 1 else _f.fft(z, axes=tuple(range(rank - count, rank - 1)))

    function.__name__ = function.__qualname__ = f"rfft{'' if count == 1 else f'{count}d'}"
    function.__doc__ = (
        f"The Fourier transform of real numbers over the last {count} axes, the last one up to the middle (n // 2 + 1 entries).\n\n"
        "    `fft_length` cuts off or fills up with zeros first."
    )
    return function


def _inverse_real_transform(count: int) -> Callable[..., Any]:
    def function(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Any:
        z = convert_to_tensor(input_tensor)
        rank = len(z.dims)
        if rank < count:
            raise InvalidArgumentError(places.with_place(f"Input must have rank of at least {count} but got: {rank}"))
        lengths = _lengths(fft_length, count, (*z.dims[rank - count : -1], 2 * (z.dims[-1] - 1)))
        for k, n in enumerate(lengths):
            z = _fitted(z, rank - count + k, n // 2 + 1 if k == count - 1 else n)
        if count > 1:
            z = _f.fft(z, axes=tuple(range(rank - count, rank - 1)), inverse=True)
        return _f.irfft(z, size=lengths[-1])

    function.__name__ = function.__qualname__ = f"irfft{'' if count == 1 else f'{count}d'}"
    function.__doc__ = f"The real numbers whose `rfft` over the last {count} axes is given.\n\n    `fft_length` is how many, by default 2 * (n - 1) along the last axis."
    return function


rfft, rfft2d, rfft3d = (_real_transform(n) for n in (1, 2, 3))
irfft, irfft2d, irfft3d = (_inverse_real_transform(n) for n in (1, 2, 3))


def _moved(x: Any, axes: Any, half: Callable[[Dim], Dim]) -> Any:
    x = convert_to_tensor(x)
    rank = len(x.dims)
    along = range(rank) if axes is None else [int(a) % rank for a in np.atleast_1d(np.asarray(axes))]
    shift: list[Dim] = [0] * rank
    for a in along:
        shift[a] = half(x.dims[a])
    return roll(x, shift=tuple(shift))


def fftshift(x: Any, axes: Any = None, name: str | None = None) -> Any:
    """The zero frequency moved to the middle of each axis."""
    return _moved(x, axes, lambda n: n // 2)


def ifftshift(x: Any, axes: Any = None, name: str | None = None) -> Any:
    """Undoes `fftshift`."""
    return _moved(x, axes, lambda n: -(n // 2))


# ------------------------------------------------------------------------------------------------ cosine transforms
def _cosines(kind: int, n: int, norm: str | None) -> np.ndarray:
    """[n, n]: the matrix that `dct` multiplies rows by (Makhoul 1980; types and scales as in scipy.fft)."""
    k, j = np.arange(n)[:, None], np.arange(n)[None, :]  # row: sample, column: frequency
    if kind == 1:
        out = 2.0 * np.cos(np.pi * k * j / (n - 1))
        out[[0, -1]] /= 2
    elif kind == 2:
        out = 2.0 * np.cos(np.pi * (2 * k + 1) * j / (2 * n))
    elif kind == 3:
        out = 2.0 * np.cos(np.pi * k * (2 * j + 1) / (2 * n))
        out[0] /= 2
    else:
        out = 2.0 * np.cos(np.pi * (2 * k + 1) * (2 * j + 1) / (4 * n))
    if norm == "ortho":
        out *= _math.sqrt(0.5 / n)
        if kind == 2:
            out[:, 0] *= _math.sqrt(0.5)
        elif kind == 3:
            out[0] *= _math.sqrt(2.0)
    return out


def _cosine_transform(x: Any, kind: int, n: int | None, axis: int, norm: str | None, what: str) -> Any:
    if kind not in (1, 2, 3, 4):
        raise ValueError(places.with_place(f"Types I, II, III and IV (I)DCT are supported, got type={kind}."))
    if axis != -1:
        raise NotImplementedError(places.with_place(f"axis must be -1. Received: {axis}"))
    if norm not in (None, "ortho"):
        raise ValueError(places.with_place(f"Unknown normalization. Expected None or 'ortho', got: {norm}"))
    if kind == 1 and norm == "ortho":
        raise ValueError(places.with_place("Normalization is not supported for the Type-I DCT."))
    if n is not None and n < 1:
        raise ValueError(places.with_place("n should be a positive integer or None"))
    x = convert_to_tensor(x)
    if n is not None:
        x = _fitted(x, len(x.dims) - 1, int(n))
    length = x.dims[-1]
    if not isinstance(length, int):
        raise NotImplementedError(places.with_place(f"{what} of an axis whose length is known only at run time"))
    if kind == 1 and length < 2:
        raise ValueError(places.with_place("Type-I DCT requires the dimension to be greater than one."))
    return _matmul(x, convert_to_tensor(_cosines(kind, length, norm).astype(x.dtype.np)))


def dct(input: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None, name: str | None = None) -> Any:
    """The discrete cosine transform of `type` 1 to 4 over the last axis, cut off or filled up with zeros to `n`; `norm` is None or "ortho".

    A product with a matrix of cosines.
    """
    return _cosine_transform(input, type, n, axis, norm, "dct")


def idct(input: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None, name: str | None = None) -> Any:
    """The inverse of `dct` of the same `type`; with `norm=None` up to a factor 2n, or 2(n - 1) for type 1, as in TensorFlow."""
    if n is not None:
        raise NotImplementedError(places.with_place("n of idct; cut the input off, or fill it up, before"))
    return _cosine_transform(input, {2: 3, 3: 2}.get(type, type), n, axis, norm, "idct")


# ------------------------------------------------------------------------------------------------ windows and frames
def _cosine_window(window_length: Any, periodic: bool, dtype: Any, a: float, b: float) -> Any:
    n, wanted = _length(window_length), dtypes.as_dtype(dtype)
    if n == 1:
        return _e.full(shape=(1,), value=1, dtype=wanted)
    steps = n if periodic and n % 2 == 0 else n - 1
    k = iota(size=n, dtype=wanted)
    return a - b * _e.cos(k * (2 * _math.pi / steps))


def hann_window(window_length: Any, periodic: bool = True, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """0.5 - 0.5 cos(2 pi k / n), n the length, or one less where that is odd or the window not `periodic`."""
    return _cosine_window(window_length, periodic, dtype, 0.5, 0.5)


def hamming_window(window_length: Any, periodic: bool = True, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """0.54 - 0.46 cos(2 pi k / n), n the length, or one less where that is odd or the window not `periodic`."""
    return _cosine_window(window_length, periodic, dtype, 0.54, 0.46)


def _length(window_length: Any) -> int:
    (n,) = dims_of([window_length])
    if not isinstance(n, int):
        raise NotImplementedError(places.with_place("a window whose length is known only at run time"))
    return n


def kaiser_window(window_length: Any, beta: float = 12.0, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """I0(beta sqrt(1 - x^2)) / I0(beta), x from -1 to 1 along the window."""
    return convert_to_tensor(np.kaiser(_length(window_length), float(beta)).astype(dtypes.as_dtype(dtype).np))


def vorbis_window(window_length: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Any:
    """sin(pi/2 sin(pi (k + 1/2) / n)^2)."""
    n = _length(window_length)
    line = np.sin(np.pi / 2 * np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2)
    return convert_to_tensor(line.astype(dtypes.as_dtype(dtype).np))


def frame(
    signal: Any, frame_length: int, frame_step: int, pad_end: bool = False, pad_value: Any = 0, axis: int = -1, name: str | None = None
) -> Any:
    """Overlapping pieces of `frame_length` elements, `frame_step` apart: [..., n, ...] becomes [..., frames, frame_length, ...].

    With `pad_end` the last elements begin frames too, which are filled up with `pad_value`.
    """
    x = convert_to_tensor(signal)
    rank = len(x.dims)
    at = axis % rank
    length, step = int(frame_length), int(frame_step)
    outer, n, inner = sizes.product(x.dims[:at]), x.dims[at], sizes.product(x.dims[at + 1 :])
    flat = _reshape(x, shape=(outer, n, inner))
    if pad_end:
        frames = (n + (step - 1)) // step
        to = (frames - 1) * step + length
        flat = embed(flat, begin=(0, 0, 0), shape=(outer, sizes.maximum(to, n), inner), stride=(1, 1, 1), value=pad_value)
    elif isinstance(n, int) and n < length:
        return _e.full(shape=(*x.dims[:at], 0, length, *x.dims[at + 1 :]), value=0, dtype=x.dtype)
    out = patches(flat, kernel=(length,), strides=(step,), dilations=(1,), padding="VALID")
    count = out.dims[1] if not pad_end else frames
    out = axis_slice(out, 1, 0, count) if out.dims[1] != count else out
    return _reshape(out, shape=(*x.dims[:at], count, length, *x.dims[at + 1 :]))


def overlap_and_add(signal: Any, frame_step: int, name: str | None = None) -> Any:
    """Frames [..., frames, length] laid `frame_step` apart and added up: the transpose of `frame`."""
    x = convert_to_tensor(signal)
    *lead, frames, length = x.dims
    step = int(frame_step)
    if not isinstance(length, int):
        raise NotImplementedError(places.with_place("overlap_and_add of frames whose length is known only at run time"))
    n = (frames - 1) * step + length
    flat = _reshape(x, shape=(sizes.product(lead), frames, length, 1))
    out = fold(flat, size=(n,), kernel=(length,), strides=(step,), dilations=(1,), padding="VALID")
    return _reshape(out, shape=(*lead, n))


def stft(
    signals: Any,
    frame_length: int,
    frame_step: int,
    fft_length: int | None = None,
    window_fn: Any = hann_window,
    pad_end: bool = False,
    name: str | None = None,
) -> Any:
    """`rfft` of windowed frames: [..., samples] becomes [..., frames, fft_length // 2 + 1]; `fft_length` is by default the next power of two."""
    frames = frame(signals, frame_length, frame_step, pad_end)
    if window_fn is not None:
        frames = frames * window_fn(frame_length, dtype=frames.dtype)
    return rfft(frames, [fft_length or 1 << (int(frame_length) - 1).bit_length()])


def inverse_stft(
    stfts: Any, frame_length: int, frame_step: int, fft_length: int | None = None, window_fn: Any = hann_window, name: str | None = None
) -> Any:
    """Windowed frames from their transforms, overlapped and added; with the right window that undoes `stft`."""
    frames = irfft(stfts, [fft_length or 1 << (int(frame_length) - 1).bit_length()])
    frames = _fitted(frames, len(frames.dims) - 1, int(frame_length))
    if window_fn is not None:
        frames = frames * window_fn(frame_length, dtype=frames.dtype)
    return overlap_and_add(frames, frame_step)


def inverse_stft_window_fn(frame_step: int, forward_window_fn: Any = hann_window, name: str | None = None) -> Callable[..., Any]:
    """The window function with which `inverse_stft` undoes an `stft` of this step and window (Griffin & Lim 1984)."""

    def inverse(frame_length: int, dtype: Any = dtypes.float32) -> Any:
        window = forward_window_fn(frame_length, dtype=dtype)
        overlaps = -(-int(frame_length) // int(frame_step))
        padded = _fitted(_e.square(window), 0, overlaps * int(frame_step))
        total = sum_(_reshape(padded, shape=(overlaps, int(frame_step))), axis=(0,), keepdims=True)
        every = _reshape(_e.ones_like(_reshape(padded, shape=(overlaps, int(frame_step)))) * total, shape=padded.dims)
        return window / axis_slice(every, 0, 0, int(frame_length))

    return inverse


# ------------------------------------------------------------------------------------------------ mel scale
def linear_to_mel_weight_matrix(
    num_mel_bins: int = 20,
    num_spectrogram_bins: int = 129,
    sample_rate: Any = 8000,
    lower_edge_hertz: Any = 125.0,
    upper_edge_hertz: Any = 3800.0,
    dtype: Any = dtypes.float32,
    name: str | None = None,
) -> Any:
    """[num_spectrogram_bins, num_mel_bins]: triangles evenly spaced on the mel scale of HTK, which a spectrogram is multiplied by."""
    if not 0 <= lower_edge_hertz < upper_edge_hertz <= sample_rate / 2 or num_mel_bins < 1:
        raise ValueError(
            places.with_place(
                f"wanted num_mel_bins > 0 and 0 <= lower_edge_hertz < upper_edge_hertz <= sample_rate / 2, got {num_mel_bins}, "
                f"{lower_edge_hertz}, {upper_edge_hertz} and {sample_rate}"
            )
        )

    def mel(hertz: Any) -> Any:
        return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)

    bins = mel(np.linspace(0.0, sample_rate / 2, int(num_spectrogram_bins))[1:])[:, None]  # the lowest, constant one has no weight
    edges = np.linspace(mel(lower_edge_hertz), mel(upper_edge_hertz), int(num_mel_bins) + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    return convert_to_tensor(np.pad(weights, [[1, 0], [0, 0]]).astype(dtypes.as_dtype(dtype).np))


def mfccs_from_log_mel_spectrograms(log_mel_spectrograms: Any, name: str | None = None) -> Any:
    """The mel-frequency cepstral coefficients: `dct` of the last axis, divided by sqrt(2 times its length)."""
    x = convert_to_tensor(log_mel_spectrograms)
    if x.dims[-1] == 0:
        raise ValueError(places.with_place("num_mel_bins must be positive. Received: 0"))
    return dct(x) * (1.0 / _math.sqrt(2.0 * x.dims[-1]))

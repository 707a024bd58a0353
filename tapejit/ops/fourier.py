"""Discrete Fourier transforms: NumPy's in eager mode, in a compiled step those of `ops.fft`.

A transform of an even number of real numbers is one of half as many complex numbers, and a step that takes them apart.

Gradients are transposes without conjugation (see `ops.complex`): the matrix of the transform is symmetric, so `fft` is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.types import Type
from tapejit.ir.op import Op, register
from tapejit.ops.batching import along, leading
from tapejit.ops.complex import complex_dtype
from tapejit.ops.creation import iota
from tapejit.ops.elementwise import cast, conjugate, equal, logical_or, ones_like, select, zeros_like
from tapejit.ops.fft import fft_axis, fft_table, roots
from tapejit.ops.fft_open import fft_open
from tapejit.ops.joining import concat
from tapejit.ops.parted import times
from tapejit.ops.parts import Parts
from tapejit.ops.shapes import reshape
from tapejit.ops.slicing import axis_slice, embed, reversed_along, scalar_of
from tapejit.ops.tangents import multilinear


def transformed(x: Parts, axes: tuple[int, ...], inverse: bool) -> Parts:
    """The transform of parts along axes."""
    for axis in axes:
        n = x.dims[axis]
        if not isinstance(n, int):
            x = Parts(pairs=fft_open(x.pairs, axis=axis, inverse=inverse))
        elif n:
            table = fft_table(n=n, dtype=x.dtype.real_dtype)
            x = Parts(pairs=fft_axis(x.pairs, table, axis=axis, inverse=inverse, scale=1 / n if inverse else 1.0))
    return x


class FFT(Op):
    """z[.., k, ..] = sum over n of x[.., n, ..] * exp(-2 pi i k n / N) along each of `axes`; with `inverse` exp(+...) and divided by N."""

    name = "fft"
    jvp = multilinear
    batch = along("axes")

    def infer(self, x: Type, *, axes: tuple[int, ...], inverse: bool = False) -> Type:
        if x.dtype.kind != "c":
            raise TypeError(f"fft takes complex numbers, got {x.dtype.name}; write tf.cast(x, tf.complex64) or tf.signal.rfft")
        if not all(0 <= a < x.rank for a in axes):
            raise ValueError(f"fft over {len(axes)} axes takes rank {len(axes)} or more, got {x}")
        return x

    def eager(self, x: Any, *, axes: tuple[int, ...], inverse: bool = False) -> Any:
        if x.dtype.kind != "c" or not all(0 <= a < x.ndim for a in axes):
            self.infer(Type(dtypes.as_dtype(x.dtype), x.shape), axes=axes)  # raises
        if not x.size:
            return x.copy()
        return (np.fft.ifftn if inverse else np.fft.fftn)(x, axes=axes).astype(x.dtype, copy=False)

    def vjp(self, g: Any, z: Any, x: Any, **attrs: Any) -> tuple[Any, ...]:
        return (lambda: fft(g, **attrs),)

    def made_for(self, x: Type, *, axes: tuple[int, ...], inverse: bool = False) -> tuple[Dim, ...]:
        return tuple(x.shape[a] for a in axes)

    def parted(self, x: Parts, *, axes: tuple[int, ...], inverse: bool = False) -> Parts:
        return transformed(x, axes, inverse)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, axes in (((5,), (0,)), ((2, 4), (1,)), ((3, 4), (0, 1)), ((2, 3, 2, 2), (1, 2, 3)), ((1,), (0,)), ((0, 2), (1,))):
            for inverse in (False, True):
                yield (draw(shape, kinds="c"),), {"axes": axes, "inverse": inverse}


class RealFFT(Op):
    """The first n // 2 + 1 entries of the transform of n real numbers along the last axis; the others are their conjugates."""

    name = "rfft"
    jvp = multilinear
    batch = leading

    def infer(self, x: Type) -> Type:
        if x.rank < 1:
            raise ValueError("rfft takes rank 1 or more, got a scalar")
        return Type(complex_dtype(x.dtype), (*x.shape[:-1], x.shape[-1] // 2 + 1))

    def eager(self, x: Any) -> Any:
        out = complex_dtype(dtypes.as_dtype(x.dtype)).np
        if not x.size:
            return np.zeros((*x.shape[:-1], x.shape[-1] // 2 + 1), out)
        return np.fft.rfft(x).astype(out, copy=False)

    def vjp(self, g: Any, z: Any, x: Any) -> tuple[Any, ...]:
        n = x.dims[-1]
        return (lambda: irfft(conjugate(g) * _weights(z, n, inverse=True), size=n),)

    def made_for(self, x: Type) -> tuple[Dim, ...]:
        return x.shape[-1:]

    def parted(self, x: Any) -> Parts:
        n, last = x.dims[-1], len(x.dims) - 1
        if not isinstance(n, int) or n % 2 or n == 0:
            if not isinstance(n, int) or n == 0:  # no numbers have one entry, 0, as one zero has
                rank = len(x.dims)
                x = embed(x, begin=(0,) * rank, shape=(*x.dims[:-1], sizes.maximum(n, 1)), stride=(1,) * rank)
            whole = transformed(Parts(x, zeros_like(x)), (last,), False)
            return whole.each(lambda v: axis_slice(v, last, 0, n // 2 + 1))
        half = n // 2
        z = transformed(Parts(pairs=reshape(x, shape=(*x.dims[:-1], half, 2))), (last,), False)
        z = z.each(lambda v: concat(v, axis_slice(v, last, 0, 1), axis=last))
        y = z.each(lambda v: reversed_along(v, (last,)))
        even = Parts(0.5 * (z.re + y.re), 0.5 * (z.im - y.im))
        odd = Parts(0.5 * (z.im + y.im), 0.5 * (y.re - z.re))
        turned = times(odd, Parts(pairs=roots(n=n, size=half + 1, dtype=x.dtype)))
        return Parts(even.re + turned.re, even.im + turned.im)

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape in ((5,), (4,), (2, 6), (3, 1), (0, 4), (2, 0)):
            yield (draw(shape),), {}


class InverseRealFFT(Op):
    """The `size` real numbers whose `rfft` is x, which has size // 2 + 1 entries along the last axis."""

    name = "irfft"
    jvp = multilinear
    batch = leading

    def infer(self, x: Type, *, size: Dim) -> Type:
        if x.dtype.kind != "c" or x.rank < 1:
            raise TypeError(f"irfft takes complex numbers of rank 1 or more, got {x}")
        sizes.unify(x.shape[-1], size // 2 + 1)
        return Type(x.dtype.real_dtype, (*x.shape[:-1], size))

    def eager(self, x: Any, *, size: int) -> Any:
        out = np.dtype(np.float32 if x.dtype == np.complex64 else np.float64)
        if not (x.size and size):
            return np.zeros((*x.shape[:-1], size), out)
        return np.fft.irfft(x, size).astype(out, copy=False)

    def vjp(self, g: Any, z: Any, x: Any, *, size: Dim) -> tuple[Any, ...]:
        return (lambda: conjugate(rfft(g)) * _weights(x, size, inverse=False),)

    def made_for(self, x: Type, *, size: Dim) -> tuple[Dim, ...]:
        return (size,)

    def parted(self, x: Parts, *, size: Dim) -> Any:
        last, half = len(x.dims) - 1, size // 2
        if size == 0:
            return axis_slice(x.re, last, 0, 0)
        k = iota(size=x.dims[-1], dtype=dtypes.int64)
        ends = logical_or(equal(k, 0), equal(2 * k, scalar_of(size, dtypes.int64)))  # their imaginary parts do not count
        x = Parts(x.re, select(ends, zeros_like(x.im), x.im))
        if not isinstance(size, int) or size % 2:
            rest = x.each(lambda v: reversed_along(axis_slice(v, last, 1, size - half - 1), (last,)))
            whole = Parts(concat(x.re, rest.re, axis=last), concat(x.im, -rest.im, axis=last))
            z = transformed(whole, (last,), True)
            return z.re
        y = x.each(lambda v: reversed_along(axis_slice(v, last, 1, half), (last,)))
        x = x.each(lambda v: axis_slice(v, last, 0, half))
        even, odd = Parts(x.re + y.re, x.im - y.im), Parts(x.re - y.re, x.im + y.im)
        w = Parts(pairs=roots(n=size, size=half, dtype=x.re.dtype))
        turned = times(odd, Parts(w.re, -w.im))
        z = transformed(Parts(0.5 * (even.re - turned.im), 0.5 * (even.im + turned.re)), (last,), True)
        return reshape(z.pairs, shape=(*z.dims[:-1], size))

    def samples(self, draw: Any) -> Iterator[Any]:
        for shape, size in (((3,), 5), ((3,), 4), ((2, 4), 6), ((3, 1), 1), ((0, 3), 4)):
            yield (draw(shape, kinds="c"),), {"size": size}


def _weights(half: Any, n: Dim, inverse: bool) -> Any:
    """How often each entry of a half spectrum stands in the whole one (1 or 2), divided by `n`; or `inverse` of that."""
    k = iota(size=half.dims[-1], dtype=dtypes.int64)
    one = ones_like(cast(k, dtype=half.dtype.real_dtype))
    length = scalar_of(n, dtypes.int64)
    count = select(logical_or(equal(k, 0), equal(2 * k, length)), one, 2 * one)
    length = cast(length, dtype=one.dtype)
    return cast(length / count if inverse else count / length, dtype=half.dtype)


fft, rfft, irfft = register(FFT()), register(RealFFT()), register(InverseRealFFT())

"""Inputs for the laws that every op is tested by.

`Op.samples(draw)` asks a `Draw` for arrays; out come arrays of the dtype that the `Draw` stands for wherever the op takes it, so the
same samples serve every dtype: float64 for gradients, the small ones for rounding, integers and bools for the rest.
"""

from __future__ import annotations

import math

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType

_DEFAULT = {"f": dtypes.float32, "i": dtypes.int32, "u": dtypes.uint8, "b": dtypes.bool_, "c": dtypes.complex64}
_CLEARANCE = 0.06  # how far samples stay from kinks; finite differences step much less


class Draw:
    """Makes arrays of `dtype`; the same `seed` makes the same ones."""

    def __init__(self, dtype: DType = dtypes.float32, seed: int = 0) -> None:
        self.dtype = dtype
        self.random = np.random.default_rng(seed)

    def __call__(
        self, shape: tuple[int, ...], low: float = -3.0, high: float = 3.0, kinds: str = "f", kinks: tuple[float, ...] = ()
    ) -> np.ndarray:
        """An array of `shape` between `low` and `high` of this drawer's dtype, or of the first of `kinds` where it is of none of them.

        Floats keep clear of `kinks`. Integers are whole numbers of the range (the nearest to `low` where there is none); complex
        numbers have both parts in it.
        """
        dtype = self.dtype if self.dtype.kind in kinds else _DEFAULT[kinds[0]]
        if dtype.kind == "b":
            return np.asarray(self.random.integers(0, 2, shape)).astype(bool)
        if dtype.kind in "iu":
            least = max(math.ceil(low), 0) if dtype.kind == "u" else math.ceil(low)
            return np.asarray(self.random.integers(least, max(math.floor(high), least) + 1, shape)).astype(dtype.np)
        if dtype.kind == "c":
            return (self._floats(shape, low, high, ()) + 1j * self._floats(shape, low, high, ())).astype(dtype.np)
        return self._floats(shape, low, high, kinks).astype(dtype.np)

    def _floats(self, shape: tuple[int, ...], low: float, high: float, kinks: tuple[float, ...]) -> np.ndarray:
        x = np.asarray(self.random.uniform(low, high, shape))
        for k in kinks:
            x = np.where(np.abs(x - k) < _CLEARANCE, k + np.copysign(_CLEARANCE, x - k), x)
        return x

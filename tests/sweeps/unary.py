"""Checks float32 functions of one operand on all 2^32 bit patterns, as kernels compile them, and times them.

    python -m tests.sweeps.unary [function ...]        from the root of the repository

Prints for each function the largest error in ulps of the float64 truth, where it is, and nanoseconds per element over 4096 elements
in the first-level cache. A function takes two to ten minutes.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.loops.scalar import FUNCTIONS
from tapejit.loops.scalar_math import DEFINITIONS
from tests.loops.math_accuracy import Compiled, aligned, truth, ulps

CHUNK = 1 << 22


def ordered(x: np.ndarray) -> np.ndarray:
    """The place of each float32 among all of them, so that neighbours differ by one; every NaN alike."""
    i = x.view(np.int32).astype(np.int64)
    return np.where(np.isnan(x), 1 << 40, np.where(i < 0, -(i & 0x7FFFFFFF), i))


def sweep(fn: str) -> tuple[float, np.float32]:
    """The largest error over all float32 and where it is."""
    run = Compiled(fn, dtypes.float32, CHUNK)
    worst, where = 0.0, np.float32(0)
    x = aligned(np.zeros(CHUNK, np.float32))
    for start in range(0, 1 << 32, CHUNK):
        x.view(np.uint32)[:] = np.arange(start, start + CHUNK, dtype=np.uint64)
        got = run(x)
        exact = truth(fn, x)
        with np.errstate(over="ignore"):
            want = exact.astype(np.float32)
        apart = np.abs(ordered(got) - ordered(want))
        suspects = (apart + 1.5 > worst) | ((got == 0) & (want == 0) & (np.signbit(got) != np.signbit(want)))
        if suspects.any():
            error = ulps(got[suspects], exact[suspects])
            k = int(np.argmax(error))
            if error[k] > worst:
                worst, where = float(error[k]), x[suspects][k]
    return worst, where


def speed(fn: str, dtype: DType, low: float = -3.0, high: float = 3.0) -> float:
    """Nanoseconds per element over 4096 elements in the first-level cache, the best of many tries."""
    r = np.random.default_rng(1)
    n = 4096
    run = Compiled(fn, dtype, n)
    arrays = [aligned(r.uniform(low, high, n).astype(dtype.np)) for _ in range(run.arity + 1)]
    table = run.table(*arrays)
    address = table.ctypes.data
    best = np.inf
    for _ in range(30):
        start = time.perf_counter()
        for _ in range(50):
            run.step(address)
        best = min(best, (time.perf_counter() - start) / 50 / n * 1e9)
    return best


def main(names: list[str]) -> None:
    for fn in names or [fn for fn, short in DEFINITIONS if short == "f32" and FUNCTIONS[fn].arity == 1]:
        start = time.perf_counter()
        worst, where = sweep(fn)
        took = time.perf_counter() - start
        print(f"{fn:9s} {worst:6.3f} ulp at {where!r:32s} {speed(fn, dtypes.float32):6.3f} ns/element   ({took:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

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

CHUNK = 1 << 16  # its temporaries stay in the caches


def sweep(fn: str) -> tuple[float, np.float32]:
    """The largest error over all float32 and where it is."""
    run = Compiled(fn, dtypes.float32, CHUNK)
    worst, where = 0.0, np.float32(0)
    x, got = aligned(np.zeros(CHUNK, np.float32)), aligned(np.zeros(CHUNK, np.float32))
    bits, table = x.view(np.uint32), run.table(x, got)
    bits[:] = np.arange(CHUNK, dtype=np.uint32)
    for _ in range(0, 1 << 32, CHUNK):
        run.step(table.ctypes.data)
        exact = truth(fn, x)
        with np.errstate(over="ignore"):
            want = exact.astype(np.float32)
        apart = got.view(np.int32) - want.view(np.int32)  # places between the two, if their signs agree
        suspects = (apart > worst - 0.5) | (apart < 0.5 - worst)
        if suspects.any():
            error = ulps(got[suspects], exact[suspects])
            k = int(np.argmax(error))
            if error[k] > worst:
                worst, where = float(error[k]), x[suspects][k]
        bits += np.uint32(CHUNK)
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

"""Checks float32 functions of one operand on all 2^32 bit patterns, as kernels compile them, and times them.

    python -m tests.sweeps.unary [--part K/N] [--threads T] [function ...]        from the root of the repository

Prints for each function the largest error in ulps of the float64 truth, where it is, and nanoseconds per element over 4096 elements
in the first-level cache; how far it has come and the largest error so far go to standard error, every half a minute. A function takes
two to ten minutes on two idle cores. `--part 3/8` checks every eighth pattern from the third on, so that parts are samples of
the whole range by themselves, and all parts together every pattern.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tapejit.core import dtypes
from tapejit.core.dtypes import DType
from tapejit.loops.scalar import FUNCTIONS
from tapejit.loops.scalar_math import DEFINITIONS
from tests.loops.math_accuracy import Compiled, aligned, truth, ulps

CHUNK = 1 << 15  # its temporaries stay in the second-level cache
BLOCK = 64  # chunks that a thread checks before it reports
EVERY = 30.0  # seconds between two lines of progress


class Sweep:
    """One function on the patterns k - 1, k - 1 + n, k - 1 + 2 n, ... for the part k of n."""

    def __init__(self, fn: str, part: tuple[int, int] = (1, 1)) -> None:
        self.fn, (k, self.step) = fn, part
        self.first, self.count = k - 1, len(range(k - 1, 1 << 32, self.step))
        self.worst, self.where = 0.0, np.float32(0)
        self.run = Compiled(fn, dtypes.float32, CHUNK)
        self.lock = threading.Lock()

    def block(self, start: int) -> int:
        """Check the patterns from number `start` on; how many they are. NumPy, SciPy and the kernel let other threads run."""
        x, got = aligned(np.zeros(CHUNK, np.float32)), aligned(np.zeros(CHUNK, np.float32))
        bits, table = x.view(np.uint32), self.run.table(x, got)
        stop = min(start + BLOCK * CHUNK, self.count)
        for at in range(start, stop, CHUNK):
            numbers = np.minimum(np.arange(at, at + CHUNK, dtype=np.int64), self.count - 1)
            bits[:] = self.first + self.step * numbers
            self.run.step(table.ctypes.data)
            self.compare(x, got)
        return stop - start

    def compare(self, x: np.ndarray, got: np.ndarray) -> None:
        """Take note of the largest error among these."""
        exact = truth(self.fn, x)
        with np.errstate(over="ignore", invalid="ignore"):
            want = exact.astype(np.float32)
        apart = got.view(np.int32) - want.view(np.int32)  # places between the two, if their signs agree
        suspects = (apart > self.worst - 0.5) | (apart < 0.5 - self.worst)
        if suspects.any():
            error = ulps(got[suspects], exact[suspects])
            k = int(np.argmax(error))
            with self.lock:
                if error[k] > self.worst:
                    self.worst, self.where = float(error[k]), x[suspects][k]

    def __call__(self, threads: int) -> tuple[float, np.float32]:
        """The largest error over all patterns and where it is."""
        done, began = 0, time.perf_counter()
        told = began
        starts = iter(range(0, self.count, BLOCK * CHUNK))
        with ThreadPoolExecutor(threads) as pool:
            while some := list(itertools.islice(starts, threads)):
                done += sum(pool.map(self.block, some))
                if (now := time.perf_counter()) - told > EVERY:
                    told, share = now, done / self.count
                    left = (now - began) * (1 / share - 1)
                    print(
                        f"{self.fn}: {share:.1%}, {left:.0f} s to go, {self.worst:.3f} ulp at {self.where!r}", file=sys.stderr, flush=True
                    )
        return self.worst, self.where


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


def parted(text: str) -> tuple[int, int]:
    """`3/8` as (3, 8). ValueError for no such part."""
    k, n = map(int, text.split("/"))
    if not 1 <= k <= n:
        raise ValueError(f"there is no part {k} of {n}; write one of 1/{n} to {n}/{n}")
    return k, n


def main(arguments: list[str]) -> None:
    unary = [fn for fn, short in DEFINITIONS if short == "f32" and FUNCTIONS[fn].arity == 1]
    parser = argparse.ArgumentParser(
        "python -m tests.sweeps.unary", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("functions", nargs="*", default=unary, metavar="function", help=", ".join(unary))
    parser.add_argument("--part", type=parted, default=(1, 1), metavar="K/N", help="only every N-th pattern, from the K-th on")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="how many check (default: %(default)s)")
    options = parser.parse_args(arguments)
    for fn in options.functions:
        start = time.perf_counter()
        worst, where = Sweep(fn, options.part)(options.threads)
        took = time.perf_counter() - start
        print(f"{fn:9s} {worst:6.3f} ulp at {where!r:32s} {speed(fn, dtypes.float32):6.3f} ns/element   ({took:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""What a pipeline costs per element: batches of arrays by tf.data, and the same by hand with NumPy.

python examples/bench_data.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import tapejit as tf


def rate(make: Callable[[], Iterable[Any]], rounds: int) -> tuple[int, float]:
    """The number of elements of an iteration, and the seconds each takes in the fastest of several."""
    count, best = 0, float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        count = sum(1 for _ in make())
        best = min(best, time.perf_counter() - started)
    return count, best / count


def by_hand(x: np.ndarray, y: np.ndarray, size: int) -> Iterable[Any]:
    """Shuffled batches as NumPy makes them."""
    order = np.random.default_rng(0).permutation(len(x))
    return ((tf.constant(x[part]), tf.constant(y[part])) for part in (order[k : k + size] for k in range(0, len(x), size)))


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Run the command line; returns microseconds per element."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60000)
    parser.add_argument("--columns", type=int, default=784)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    n, size = options.rows, options.batch
    x = np.random.default_rng(0).random((n, options.columns), np.float32)
    y = np.arange(n) % 10
    rows = tf.data.Dataset.from_tensor_slices((x, y))

    def scaled(a: Any, b: Any) -> Any:
        return a / 255.0, tf.cast(b, tf.int32)

    mapped_first, mapped_after = rows.map(scaled).batch(size), rows.shuffle(n).batch(size).map(scaled)
    pipelines: dict[str, Callable[[], Iterable[Any]]] = {
        "by hand: x[order[k:k+n]]": lambda: by_hand(x, y, size),
        "batch": lambda: rows.batch(size),
        "shuffle(all).batch": lambda: rows.shuffle(n).batch(size),
        "shuffle(1000).batch": lambda: rows.shuffle(1000).batch(size),
        "shuffle(all).batch.prefetch": lambda: rows.shuffle(n).batch(size).prefetch(tf.data.AUTOTUNE),
        "map.batch": lambda: mapped_first,
        "shuffle(all).batch.map": lambda: mapped_after,
        "single elements": lambda: rows.take(n // 6),
    }
    print(f"{n} rows of {options.columns} float32, batches of {size}, the fastest of {options.rounds}")
    out = {}
    for name, make in pipelines.items():
        count, seconds = rate(make, options.rounds)
        out[name] = seconds * 1e6
        print(f"{name:30} {count:6} elements  {seconds * 1e6:8.1f} µs each  {1 / seconds:10.0f} per second")
    return out


if __name__ == "__main__":
    main()

"""A step that trains a table by the few rows it looks up: with the gradient of these rows, and with that of the whole table.

The loss is the squared distance of 32 rows of a table of 100,000 by 64 from others, the step plain gradient descent. `tape.gradient` gives
`tf.IndexedSlices`, so the table is changed where it lies; with the gradient made dense, it is read and written from end to end. Reported is
the median over rounds that alternate, in microseconds a step.

    python examples/bench_lookup.py --rounds 15
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tapejit as tf

ROWS, COLUMNS, LOOKED_UP, RATE, STEPS = 100_000, 64, 32, 0.1, 10


def step_of(table: tf.Variable, ids: np.ndarray, wanted: np.ndarray, dense: bool) -> Callable[[], Any]:
    """The step that moves the rows of `table` at `ids` towards `wanted`."""
    at, target = tf.constant(ids), tf.constant(wanted)

    @tf.function
    def step(at):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((tf.gather(table, at) - target) ** 2)
        g = tape.gradient(loss, table)
        table.assign_sub(RATE * (tf.convert_to_tensor(g) if dense else g))
        return loss

    return lambda: step(at)


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Time the steps; microseconds a step, by name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    start = rng.normal(size=(ROWS, COLUMNS)).astype("float32")
    ids = rng.integers(0, ROWS, LOOKED_UP).astype("int32")
    wanted = rng.normal(size=(LOOKED_UP, COLUMNS)).astype("float32")
    tables = {"rows (IndexedSlices)": tf.Variable(start), "whole table (dense)": tf.Variable(start)}
    steps = {name: step_of(table, ids, wanted, dense="dense" in name) for name, table in tables.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(options.rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            for _ in range(STEPS):
                step()
            times[name].append((time.perf_counter() - began) / STEPS * 1e6)
    one, other = (table.numpy() for table in tables.values())
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    found = {name: statistics.median(t) for name, t in times.items()}
    shown = Table("gradient", "µs a step", title=f"{LOOKED_UP} rows of {ROWS:,} by {COLUMNS}")
    for name, t in found.items():
        shown.add_row(name, f"{t:,.1f}")
    Console().print(shown)
    return found


if __name__ == "__main__":
    main()

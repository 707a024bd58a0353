"""What eager execution costs: an op, an op that a tape records, and a whole train step, beside what they aim at.

python examples/bench_eager.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

import tapejit as tf


def best(call: Callable[[], object], calls: int, repetitions: int) -> float:
    """Microseconds that one of `calls` calls of `call` takes in the best of `repetitions` runs."""
    call()
    runs = []
    for _ in range(repetitions):
        started = time.perf_counter()
        for _ in range(calls):
            call()
        runs.append((time.perf_counter() - started) / calls)
    return min(runs) * 1e6


def addition(repetitions: int) -> float:
    """`x + y` of four numbers each."""
    x, y = tf.constant([1.0, 2.0, 3.0, 4.0]), tf.constant([4.0, 3.0, 2.0, 1.0])
    return best(lambda: x + y, 10_000, repetitions)


def recorded_addition(repetitions: int) -> float:
    """The same while a tape records it; a new tape every thousand."""
    x, y = tf.constant([1.0, 2.0, 3.0, 4.0]), tf.constant([4.0, 3.0, 2.0, 1.0])

    def thousand() -> None:
        with tf.GradientTape() as tape:
            tape.watch(x)
            for _ in range(1000):
                x + y

    return best(thousand, 10, repetitions) / 1000


def train_step(repetitions: int) -> float:
    """Tape, gradient and Adam of the network 5-10-1 on 100 samples."""
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(100, 5)).astype("float32"))
    y = tf.constant(rng.normal(size=(100, 1)).astype("float32"))
    w1, b1 = tf.Variable(rng.normal(size=(5, 10)).astype("float32")), tf.Variable(tf.zeros(10))
    w2, b2 = tf.Variable(rng.normal(size=(10, 1)).astype("float32")), tf.Variable(tf.zeros(1))
    weights = [w1, b1, w2, b2]
    means = [tf.Variable(tf.zeros_like(w), trainable=False) for w in weights]
    squares = [tf.Variable(tf.zeros_like(w), trainable=False) for w in weights]
    count = tf.Variable(0.0, trainable=False)

    def step() -> None:
        with tf.GradientTape() as tape:
            hidden = tf.sigmoid(x @ w1 + b1)
            loss = tf.reduce_mean(tf.square(hidden @ w2 + b2 - y))
        gradients = tape.gradient(loss, weights)
        count.assign_add(1.0)
        rate = 0.001 * tf.sqrt(1.0 - 0.999**count) / (1.0 - 0.9**count)
        for w, d, m, s in zip(weights, gradients, means, squares, strict=True):
            m.assign_add(0.1 * (d - m))
            s.assign_add(0.001 * (tf.square(d) - s))
            w.assign_sub(rate * m / (tf.sqrt(s) + 1e-7))

    return best(step, 100, repetitions)


ROWS: tuple[tuple[str, Callable[[int], float], float], ...] = (
    ("x + y, four numbers", addition, 3.0),
    ("x + y while a tape records", recorded_addition, 4.0),
    ("step of 5-10-1, 100 samples, Adam", train_step, 400.0),
)


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Run the command line; returns the microseconds of each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    options = parser.parse_args(argv)
    table = Table(title="eager execution, microseconds", caption=f"tapejit {tf.__version__}, numpy {np.__version__}")
    for heading in ("", "best", "aim, at most"):
        table.add_column(heading, justify="right" if heading else "left")
    found = {}
    for name, measure, aim in ROWS:
        found[name] = measure(options.repetitions)
        table.add_row(name, f"{found[name]:.2f}", f"{aim:g}")
    Console(width=100).print(table)
    return found


if __name__ == "__main__":
    main()

"""Handwritten digits: a two-layer network trained with raw variables and Adam written out, eagerly and traced from the same seed.

python examples/digits.py                       # train both ways, compare them, draw digits.png beside this file
python examples/digits.py --show differentiated # print the step with its gradients opened out
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from sklearn.datasets import load_digits

import tapejit as tf
from tapejit.stages import STAGES

RATE, BETA1, BETA2, EPSILON = 2e-3, 0.9, 0.999, 1e-7
HIDDEN, BATCH = 64, 32


@dataclass(frozen=True)
class Digits:
    """Images as rows of 64 grey values between 0 and 1, and the digit each shows."""

    x: np.ndarray
    y: np.ndarray
    held_out_x: np.ndarray
    held_out_y: np.ndarray


def load(seed: int) -> Digits:
    """The 1,797 digits in an order drawn from `seed`; the last fifth is held out."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    x, y = (images[order] / 16).astype("float32"), labels[order].astype("int32")
    kept = len(x) * 4 // 5
    return Digits(x[:kept], y[:kept], x[kept:], y[kept:])


def batches(digits: Digits, steps: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`steps` batches, the training images shuffled anew for each pass over them."""
    rng = np.random.default_rng(seed)
    order = np.empty(0, int)
    for _ in range(steps):
        if len(order) < BATCH:
            order = rng.permutation(len(digits.x))
        chosen, order = order[:BATCH], order[BATCH:]
        yield digits.x[chosen], digits.y[chosen]


def network(seed: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A fresh network: its training step `(x, y) -> loss` and its `classify(x) -> digits`, both traced functions."""
    rng = np.random.default_rng(seed)
    w1 = tf.Variable(rng.normal(0, np.sqrt(2 / 64), (64, HIDDEN)).astype("float32"))
    b1 = tf.Variable(tf.zeros(HIDDEN))
    w2 = tf.Variable(rng.normal(0, np.sqrt(1 / HIDDEN), (HIDDEN, 10)).astype("float32"))
    b2 = tf.Variable(tf.zeros(10))
    weights = {"w1": w1, "b1": b1, "w2": w2, "b2": b2}
    means = [tf.Variable(tf.zeros_like(w), trainable=False, name=f"mean_{n}") for n, w in weights.items()]
    squares = [tf.Variable(tf.zeros_like(w), trainable=False, name=f"square_{n}") for n, w in weights.items()]
    step = tf.Variable(0.0, trainable=False)

    def forward(x):
        hidden = tf.nn.relu(x @ w1 + b1)
        logits = hidden @ w2 + b2
        return logits

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=forward(x))
            loss = tf.reduce_mean(losses)
        dw1, db1, dw2, db2 = tape.gradient(loss, [w1, b1, w2, b2])
        step.assign_add(1.0)
        rate = RATE * tf.sqrt(1.0 - BETA2**step) / (1.0 - BETA1**step)
        for w, d, m, s in zip([w1, b1, w2, b2], [dw1, db1, dw2, db2], means, squares, strict=True):
            m.assign_add((1 - BETA1) * (d - m))
            s.assign_add((1 - BETA2) * (tf.square(d) - s))
            w.assign_sub(rate * m / (tf.sqrt(s) + EPSILON))
        return loss

    @tf.function
    def classify(x):
        return tf.argmax(forward(x), axis=-1)

    return train_step, classify


@dataclass(frozen=True)
class Run:
    """A finished training: how it went, and what became of it. `first` are the seconds of the first step, which may compile, `rest` of all others."""

    losses: np.ndarray
    first: float
    rest: float
    read: np.ndarray
    accuracy: float
    train_step: Any


def train(digits: Digits, steps: int, seed: int, eager: bool) -> Run:
    """Train a network for `steps` batches and let it read the held-out images."""
    tf.config.run_functions_eagerly(eager)
    try:
        train_step, classify = network(seed)
        losses, times = [], [time.perf_counter()]
        for x, y in track(batches(digits, steps, seed), "eager " if eager else "traced", total=steps):
            losses.append(train_step(x, y))
            times.append(time.perf_counter())
        read = classify(digits.held_out_x).numpy()
    finally:
        tf.config.run_functions_eagerly(False)
    accuracy = float(np.mean(read == digits.held_out_y))
    return Run(np.array([float(loss) for loss in losses]), times[1] - times[0], times[-1] - times[1], read, accuracy, train_step)


def draw(digits: Digits, traced: Run, eager: Run, path: Path) -> None:
    """The loss of both runs beside the held-out digits that the traced one misread."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
    axes = left.subplots()
    window = np.ones(min(25, len(traced.losses))) / min(25, len(traced.losses))
    axes.semilogy(np.convolve(eager.losses, window, "valid"), lw=4, alpha=0.35, label=f"eager, {eager.first + eager.rest:.2f} s")
    axes.semilogy(np.convolve(traced.losses, window, "valid"), lw=1, label=f"traced, {traced.rest:.2f} s after compiling")
    axes.set(xlabel="step", ylabel="cross-entropy, mean of 25 steps")
    axes.legend()
    wrong = np.flatnonzero(traced.read != digits.held_out_y)
    right.suptitle(f"{len(wrong)} of {len(digits.held_out_y)} held-out digits misread")
    for place, k in zip(np.ravel(right.subplots(3, 3)), [*wrong[:9], *[None] * 9], strict=False):
        place.axis("off")
        if k is not None:
            place.imshow(digits.held_out_x[k].reshape(8, 8), cmap="gray_r")
            place.set_title(f"{digits.held_out_y[k]} read as {traced.read[k]}", fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv: list[str] | None = None) -> tuple[Run, Run]:
    """Run the command line; returns the traced and the eager run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", choices=STAGES, metavar="STAGE", help=f"print the training step at a stage: {', '.join(STAGES)}")
    parser.add_argument("--picture", type=Path, default=Path(__file__).with_suffix(".png"))
    options = parser.parse_args(argv)

    digits = load(options.seed)
    traced = train(digits, options.steps, options.seed, eager=False)
    eager = train(digits, options.steps, options.seed, eager=True)
    if options.show:
        print(traced.train_step.show(options.show))
    for way, run in ("traced", traced), ("eager", eager):
        print(f"{way:>6}: first step {run.first:.3f} s, {options.steps - 1} more {run.rest:.3f} s, last loss {run.losses[-1]:.4f}")
        print(f"        {run.accuracy:.1%} of {len(run.read)} held-out digits read right")
    print(f"largest difference between the losses of the two: {np.abs(traced.losses - eager.losses).max():.1e}")
    tf.compare(traced.train_step, *next(batches(digits, 1, options.seed)))
    draw(digits, traced, eager, options.picture)
    print(f"drawn: {options.picture}")
    return traced, eager


if __name__ == "__main__":
    main()

"""Linear regression: a line through 1,000 noisy points by gradient descent, checked against least squares.

python examples/linear_regression.py --show optimized
"""

from __future__ import annotations

import argparse

import numpy as np

import tapejit as tf
from tapejit.stages import STAGES

SLOPE, OFFSET, NOISE, RATE = 3.0, 2.0, 0.5, 0.1


def main(argv: list[str] | None = None) -> tuple[float, float]:
    """Run the command line; returns the slope and the offset found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", choices=STAGES, metavar="STAGE", help=f"print the training step at a stage: {', '.join(STAGES)}")
    options = parser.parse_args(argv)

    rng = np.random.default_rng(options.seed)
    x = rng.normal(size=1000).astype("float32")
    y = (SLOPE * x + OFFSET + rng.normal(0, NOISE, 1000)).astype("float32")

    w = tf.Variable(0.0)
    b = tf.Variable(0.0)

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            error = w * x + b - y
            loss = tf.reduce_mean(tf.square(error))
        dw, db = tape.gradient(loss, [w, b])
        w.assign_sub(RATE * dw)
        b.assign_sub(RATE * db)
        return loss

    for step in range(options.steps):
        loss = train_step(x, y)
        if step % max(1, options.steps // 5) == 0:
            print(f"step {step:4d}   loss {float(loss):.4f}")
    if options.show:
        print(train_step.show(options.show))

    slope, offset = np.polyfit(x, y, 1)
    print(f"found          y = {float(w):.4f} x + {float(b):.4f}")
    print(f"least squares  y = {slope:.4f} x + {offset:.4f}")
    print(f"drawn from     y = {SLOPE:.4f} x + {OFFSET:.4f}, noise {NOISE}")
    tf.compare(train_step, x, y)
    return float(w), float(b)


if __name__ == "__main__":
    main()

"""A physics-informed network: a network that solves a differential equation because its second derivatives are told to.

The damped oscillator u'' + 2 d u' + k u = 0 with u(0) = 1, u'(0) = 0, solved on [0, T] without a single point of the solution: the loss
is the equation itself, with u' and u'' from two tapes, one inside the other, and a third around both for the weights. The trial function
1 + t² N(t) meets the initial conditions whatever the network N says. The exact solution is known and is what the result is checked against.

    python examples/physics_informed.py --steps 4000
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.progress import track

import tapejit as tf
from tapejit.stages import STAGES

DAMPING, STIFFNESS, END = 0.4, 16.0, 2.0
POINTS, HIDDEN = 64, 32


def exact(t: np.ndarray) -> np.ndarray:
    """The solution for t in [0, END]: exp(-d t) (cos w t + d/w sin w t) with w² = k - d²."""
    w = np.sqrt(STIFFNESS - DAMPING**2)
    return np.exp(-DAMPING * t) * (np.cos(w * t) + DAMPING / w * np.sin(w * t))


def main(argv: list[str] | None = None) -> float:
    """Run the command line; returns the largest distance from the exact solution."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", choices=STAGES, metavar="STAGE", help=f"print the training step at a stage: {', '.join(STAGES)}")
    options = parser.parse_args(argv)

    rng = np.random.default_rng(options.seed)

    def layer(n: int, m: int) -> tuple[tf.Variable, tf.Variable]:
        return tf.Variable(rng.normal(0, np.sqrt(1 / n), (n, m)).astype("float32")), tf.Variable(tf.zeros(m))

    (w1, b1), (w2, b2), (w3, b3) = layer(1, HIDDEN), layer(HIDDEN, HIDDEN), layer(HIDDEN, 1)
    weights = [w1, b1, w2, b2, w3, b3]
    means = [tf.Variable(tf.zeros_like(w), trainable=False) for w in weights]
    squares = [tf.Variable(tf.zeros_like(w), trainable=False) for w in weights]
    step = tf.Variable(0.0, trainable=False)

    def solution(t):
        hidden = tf.tanh(t @ w1 + b1)
        hidden = tf.tanh(hidden @ w2 + b2)
        return 1.0 + tf.square(t) * (hidden @ w3 + b3)

    @tf.function
    def train_step(t):
        with tf.GradientTape() as weights_tape:
            with tf.GradientTape() as second_tape:
                second_tape.watch(t)
                with tf.GradientTape() as first_tape:
                    first_tape.watch(t)
                    u = solution(t)
                velocity = first_tape.gradient(u, t)
            acceleration = second_tape.gradient(velocity, t)
            residual = acceleration + 2 * DAMPING * velocity + STIFFNESS * u
            loss = tf.reduce_mean(tf.square(residual))
        gradients = weights_tape.gradient(loss, weights)
        step.assign_add(1.0)
        rate = 3e-3 * 0.5 ** (6 * step / options.steps) * tf.sqrt(1.0 - 0.999**step) / (1.0 - 0.9**step)
        for w, d, m, s in zip(weights, gradients, means, squares, strict=True):
            m.assign_add(0.1 * (d - m))
            s.assign_add(0.001 * (tf.square(d) - s))
            w.assign_sub(rate * m / (tf.sqrt(s) + 1e-7))
        return loss

    points = tf.constant(np.linspace(0, END, POINTS, dtype="float32")[:, None])
    started = time.perf_counter()
    for _ in track(range(options.steps), "training"):
        loss = train_step(points)
    print(f"{options.steps} steps in {time.perf_counter() - started:.2f} s, mean squared residual {float(loss):.2e}")
    if options.show:
        print(train_step.show(options.show))

    t = np.linspace(0, END, 401, dtype="float32")[:, None]
    found, known = solution(t).numpy(), exact(t.astype("float64"))
    for k in range(0, len(t), 50):
        print(f"u({t[k, 0]:.2f}) = {found[k, 0]:+.5f}   exact {known[k, 0]:+.5f}")
    error = float(np.abs(found - known).max())
    print(f"largest distance from the exact solution: {error:.1e}")
    tf.compare(train_step, points)
    return error


if __name__ == "__main__":
    main()

"""Fitting a differential equation: the four rates of Lotka and Volterra's predators and prey, from a noisy record of both.

The equations are integrated by Runge and Kutta's fourth-order steps in a `tf.scan`; the tape differentiates through all of them, and Adam
follows the gradient to rates that explain the record. Eagerly a step takes half a second, traced some fifty microseconds.

    python examples/ode_fit.py --steps 1500
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from rich.progress import track

import tapejit as tf
from tapejit.stages import STAGES

RATES = {"birth": 1.1, "hunting": 0.4, "growth": 0.1, "death": 0.4}
GUESS = 0.5
START = (10.0, 5.0)
SECONDS, DT, NOISE = 12.0, 0.05, 0.2


def integrate(rates: Any, start: Any, count: int) -> Any:
    """Prey and predators after each of `count` steps of length DT, shape [count, 2]; `rates` has the four of RATES, `start` both numbers."""
    birth, hunting, growth, death = tf.unstack(rates)

    def slope(state: Any) -> Any:
        prey, predators = state[0], state[1]
        return tf.stack([birth * prey - hunting * prey * predators, growth * prey * predators - death * predators])

    def runge_kutta(state: Any, _: Any) -> Any:
        k1 = slope(state)
        k2 = slope(state + DT / 2 * k1)
        k3 = slope(state + DT / 2 * k2)
        k4 = slope(state + DT * k3)
        return state + DT / 6 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)

    return tf.scan(runge_kutta, tf.range(count), initializer=start)


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Run the command line; returns the rates found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", choices=STAGES, metavar="STAGE", help=f"print the training step at a stage: {', '.join(STAGES)}")
    options = parser.parse_args(argv)

    count = round(SECONDS / DT)
    start = tf.constant(START)
    truth = tf.function(integrate)(tf.constant(list(RATES.values())), start, count).numpy()
    record = tf.constant((truth + np.random.default_rng(options.seed).normal(0, NOISE, truth.shape)).astype("float32"))

    logs = tf.Variable(np.log(np.full(4, GUESS, "float32")))  # rates are positive
    first_moment = tf.Variable(tf.zeros(4), trainable=False)
    second_moment = tf.Variable(tf.zeros(4), trainable=False)
    step = tf.Variable(0.0, trainable=False)

    @tf.function
    def train_step(record, start):
        with tf.GradientTape() as tape:
            path = integrate(tf.exp(logs), start, count)
            loss = tf.reduce_mean(tf.abs(path - record))
        d = tape.gradient(loss, logs)
        step.assign_add(1.0)
        rate = 0.02 * 0.5 ** (5 * step / options.steps) * tf.sqrt(1.0 - 0.999**step) / (1.0 - 0.9**step)
        first_moment.assign_add(0.1 * (d - first_moment))
        second_moment.assign_add(0.001 * (tf.square(d) - second_moment))
        logs.assign_sub(rate * first_moment / (tf.sqrt(second_moment) + 1e-7))
        return loss

    started = time.perf_counter()
    for _ in track(range(options.steps), "fitting"):
        loss = train_step(record, start)
    print(
        f"{options.steps} steps through {count} Runge-Kutta steps in {time.perf_counter() - started:.2f} s, mean distance {float(loss):.3f}"
    )
    if options.show:
        print(train_step.show(options.show))
    found = dict(zip(RATES, np.exp(logs.numpy()).tolist(), strict=True))
    for name, rate in RATES.items():
        print(f"{name:>8}: found {found[name]:.4f}, true {rate:.4f}")
    tf.compare(train_step, record, start)
    return found


if __name__ == "__main__":
    main()

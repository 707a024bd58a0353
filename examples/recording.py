"""A tape becomes a function: a simulation written in plain Python is run once, and what the tape recorded is compiled and fitted.

A damped pendulum, 40 steps in a Python loop, speed before angle. The recording of one run takes the parameters anew, gives the misfit and its
gradient, and runs none of that Python; SciPy's L-BFGS calls it.

    python examples/recording.py
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

import tapejit as tf

STEPS, DT = 40, 0.15
TRUTH = np.array([1.3, 0.15])  # length over gravity, damping


class Found(NamedTuple):
    """What the fit gives."""

    parameters: np.ndarray
    eager_seconds: float
    recorded_seconds: float


def simulate(parameters):
    """The angle after every step."""
    length, damping = parameters[0], parameters[1]
    angle, speed = tf.constant(1.0, tf.float64), tf.constant(0.0, tf.float64)
    angles = []
    for _ in range(STEPS):
        force = -tf.sin(angle) / length - damping * speed
        speed = speed + DT * force
        angle = angle + DT * speed
        angles.append(angle)
    return tf.stack(angles)


def main(arguments: list[str] | None = None) -> Found:
    """Record one run, compile the recording, and fit with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=14, help="how many lines of the recording to print")
    options = parser.parse_args(arguments)
    observed = simulate(tf.constant(TRUTH)) + tf.constant(np.random.default_rng(0).normal(size=STEPS) * 0.01)

    parameters = tf.constant([1.0, 0.0], tf.float64)
    began = time.perf_counter()
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        misfit = tf.reduce_sum(tf.square(simulate(parameters) - observed))
    forward = time.perf_counter() - began
    misfit_and_gradient = tape.to_function(misfit, parameters, inputs=parameters, name="misfit")
    began = time.perf_counter()
    tape.gradient(misfit, parameters)
    eager = forward + time.perf_counter() - began
    print("\n".join(line[:140] for line in misfit_and_gradient.show().splitlines()[: options.lines]), "\n    ...")

    def objective(p):
        value, gradient = misfit_and_gradient(p)
        return float(value), gradient.numpy()

    objective(np.array([1.0, 0.0]))  # compiles
    found = minimize(objective, [1.0, 0.0], jac=True, method="L-BFGS-B")
    began = time.perf_counter()
    for _ in range(100):
        misfit_and_gradient(parameters)
    recorded = (time.perf_counter() - began) / 100
    print(f"parameters {found.x.round(3)}, truth {TRUTH}, {found.nfev} evaluations")
    print(f"one run with its gradient: {eager * 1e3:.1f} ms eagerly, {recorded * 1e6:.1f} us by the recording")
    return Found(found.x, eager, recorded)


if __name__ == "__main__":
    main()

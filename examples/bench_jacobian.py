"""Jacobians, per-example gradients and Hessian-vector products: tapejit eager and traced, beside JAX's, in rounds that alternate.

Both start from the same arrays, and what they compute is compared before anything is timed. Reported is the median over the rounds, in
microseconds per call, and the ratio of neighbouring rounds. Without JAX (`pip install jax`) only tapejit is timed.

    python examples/bench_jacobian.py --rounds 15
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tapejit as tf

Calls = dict[str, Callable[[], Any]]


def layer() -> Calls:
    """The Jacobian of tanh(x w + b), 64 -> 64, for one example, with respect to x: 64 by 64."""
    rng = np.random.default_rng(0)
    w, b, x = rng.normal(size=(64, 64)) / 8, rng.normal(size=64), rng.normal(size=(1, 64))
    w, b, x = (a.astype("float32") for a in (w, b, x))
    weights, bias, point = tf.constant(w), tf.constant(b), tf.constant(x)

    def jacobian(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.tanh(x @ weights + bias)
        return tape.jacobian(y, x)

    traced = tf.function(jacobian)
    calls: Calls = {"eager": lambda: jacobian(point), "traced": lambda: traced(point)}
    if find_spec("jax"):
        import jax
        import jax.numpy as jnp

        theirs, there = jax.jit(jax.jacrev(lambda x: jnp.tanh(x @ w + b))), jax.device_put(x)
        calls["jax"] = lambda: theirs(there).block_until_ready()
    return calls


def examples() -> Calls:
    """The gradient of each of 128 examples with respect to all weights of a 16-32-1 network: [128, 16, 32], [128, 32], [128, 32, 1]."""
    rng = np.random.default_rng(1)
    shapes = ((16, 32), (32,), (32, 1))
    start = [rng.normal(size=s).astype("float32") / 4 for s in shapes]
    x, y = rng.normal(size=(128, 16)).astype("float32"), rng.normal(size=(128, 1)).astype("float32")
    variables = [tf.Variable(v) for v in start]
    rows = (tf.constant(x), tf.constant(y))

    def example(pair):
        x, y = pair
        w1, b1, w2 = variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(tf.tanh(x[None] @ w1 + b1) @ w2 - y))
        return tape.gradient(loss, variables)

    def gradients(rows):
        return tf.vectorized_map(example, rows)

    traced = tf.function(gradients)
    calls: Calls = {"eager": lambda: gradients(rows), "traced": lambda: traced(rows)}
    if find_spec("jax"):
        import jax
        import jax.numpy as jnp

        def loss(state, x, y):
            w1, b1, w2 = state
            return jnp.sum(jnp.square(jnp.tanh(x[None] @ w1 + b1) @ w2 - y))

        theirs = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0, 0)))
        there = jax.device_put((start, x, y))
        calls["jax"] = lambda: jax.block_until_ready(theirs(*there))
    return calls


def curvature() -> Calls:
    """A Hessian-vector product of the same network's mean loss, forward over reverse."""
    rng = np.random.default_rng(2)
    shapes = ((16, 32), (32,), (32, 1))
    start = [rng.normal(size=s).astype("float32") / 4 for s in shapes]
    along = [rng.normal(size=s).astype("float32") for s in shapes]
    x, y = rng.normal(size=(128, 16)).astype("float32"), rng.normal(size=(128, 1)).astype("float32")
    variables, tangents = [tf.Variable(v) for v in start], [tf.constant(t) for t in along]
    tx, ty = tf.constant(x), tf.constant(y)

    def product(x, y, tangents):
        w1, b1, w2 = variables
        with tf.autodiff.ForwardAccumulator(variables, tangents) as accumulator:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(tf.tanh(x @ w1 + b1) @ w2 - y))
            gradients = tape.gradient(loss, variables)
        return accumulator.jvp(gradients)

    traced = tf.function(product)
    calls: Calls = {"eager": lambda: product(tx, ty, tangents), "traced": lambda: traced(tx, ty, tangents)}
    if find_spec("jax"):
        import jax
        import jax.numpy as jnp

        def loss(state, x, y):
            w1, b1, w2 = state
            return jnp.mean(jnp.square(jnp.tanh(x @ w1 + b1) @ w2 - y))

        theirs = jax.jit(lambda s, t, x, y: jax.jvp(lambda s: jax.grad(loss)(s, x, y), (s,), (t,))[1])
        there = jax.device_put((start, along, x, y))
        calls["jax"] = lambda: jax.block_until_ready(theirs(*there))
    return calls


CASES = {"jacobian of a layer, 64 x 64": layer, "gradients of 128 examples": examples, "Hessian times a vector": curvature}


def arrays(out: Any) -> list[np.ndarray]:
    """The arrays in what a call returns."""
    return [np.asarray(a) for a in (out if isinstance(out, list | tuple) else [out])]


def timed(call: Callable[[], Any], seconds: float = 0.05) -> float:
    """Microseconds per call."""
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        call()
        count += 1
    return spent / count * 1e6


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Compare and time every case; the medians in microseconds by case and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    table = Table("case", "way", "us per call", "times JAX")
    found: dict[str, dict[str, float]] = {}
    for name, make in CASES.items():
        calls = make()
        wanted = arrays(calls["eager"]())
        for call in calls.values():
            for got, want in zip(arrays(call()), wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
        rounds = [{way: timed(call) for way, call in calls.items()} for _ in range(options.rounds)]
        found[name] = {way: statistics.median(r[way] for r in rounds) for way in calls}
        for way, value in found[name].items():
            ratio = f"{statistics.median(r[way] / r['jax'] for r in rounds):.2f}" if "jax" in calls else ""
            table.add_row(name, way, f"{value:.0f}", ratio)
    Console().print(table)
    return found


if __name__ == "__main__":
    main()

"""tapejit beside JAX: the same train steps and calls, in one process, in rounds that alternate.

JAX's steps are jitted with their state donated. Both start from the same NumPy arrays, and what they compute is compared before anything is
timed. A ratio is of two rounds next to each other, so what else the machine does bears on both; reported is the median over the rounds, and
its quarter and three-quarter points. Without JAX (`pip install jax`) only tapejit is timed.

    python examples/bench_peers.py --rounds 15
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import tapejit as tf

RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-7


@dataclass(frozen=True)
class Case:
    """One thing to time: `ours()` and `theirs()` make a callable that takes one step and returns what both must agree on."""

    name: str
    ours: Callable[[], Callable[[], Any]]
    theirs: Callable[[], Callable[[], Any]]


def linear_regression() -> Case:
    """1,000 samples, one feature, gradient descent."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 1)).astype("float32")
    y = (3 * x + 2 + 0.1 * rng.normal(size=(1000, 1))).astype("float32")

    def ours() -> Callable[[], Any]:
        w, b = tf.Variable(tf.zeros([1, 1])), tf.Variable(tf.zeros(1))

        @tf.function
        def step(x, y):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(x @ w + b - y))
            dw, db = tape.gradient(loss, [w, b])
            w.assign_sub(RATE * dw)
            b.assign_sub(RATE * db)
            return loss

        tx, ty = tf.constant(x), tf.constant(y)
        return lambda: step(tx, ty)

    def theirs() -> Callable[[], Any]:
        import jax
        import jax.numpy as jnp

        def loss_of(state, x, y):
            w, b = state
            return jnp.mean(jnp.square(x @ w + b - y))

        def step(state, x, y):
            loss, gradients = jax.value_and_grad(loss_of)(state, x, y)
            return [v - RATE * d for v, d in zip(state, gradients, strict=True)], loss

        return _donating(step, [np.zeros((1, 1), "float32"), np.zeros(1, "float32")], x, y)

    return Case("linear regression, 1000 samples, SGD", ours, theirs)


def network() -> Case:
    """16-32-32-1 with tanh, batch 32, Adam."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 16)).astype("float32"), rng.normal(size=(32, 1)).astype("float32")
    initial = []
    for n, m in (16, 32), (32, 32), (32, 1):
        initial += [(rng.normal(size=(n, m)) / np.sqrt(n)).astype("float32"), np.zeros(m, "float32")]

    def ours() -> Callable[[], Any]:
        weights = [tf.Variable(w) for w in initial]
        means = [tf.Variable(tf.zeros_like(w), trainable=False) for w in weights]
        squares = [tf.Variable(tf.zeros_like(w), trainable=False) for w in weights]
        count = tf.Variable(0.0, trainable=False)

        @tf.function
        def step(x, y):
            w1, b1, w2, b2, w3, b3 = weights
            with tf.GradientTape() as tape:
                hidden = tf.tanh(tf.tanh(x @ w1 + b1) @ w2 + b2)
                loss = tf.reduce_mean(tf.square(hidden @ w3 + b3 - y))
            gradients = tape.gradient(loss, weights)
            count.assign_add(1.0)
            rate = RATE * tf.sqrt(1.0 - BETA2**count) / (1.0 - BETA1**count)
            for w, d, m, s in zip(weights, gradients, means, squares, strict=True):
                m.assign_add((1 - BETA1) * (d - m))
                s.assign_add((1 - BETA2) * (tf.square(d) - s))
                w.assign_sub(rate * m / (tf.sqrt(s) + EPSILON))
            return loss

        tx, ty = tf.constant(x), tf.constant(y)
        return lambda: step(tx, ty)

    def theirs() -> Callable[[], Any]:
        import jax
        import jax.numpy as jnp

        def loss_of(weights, x, y):
            w1, b1, w2, b2, w3, b3 = weights
            hidden = jnp.tanh(jnp.tanh(x @ w1 + b1) @ w2 + b2)
            return jnp.mean(jnp.square(hidden @ w3 + b3 - y))

        def step(state, x, y):
            weights, means, squares, count = state
            loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
            count = count + 1.0
            rate = RATE * jnp.sqrt(1.0 - BETA2**count) / (1.0 - BETA1**count)
            means = [m + (1 - BETA1) * (d - m) for m, d in zip(means, gradients, strict=True)]
            squares = [s + (1 - BETA2) * (jnp.square(d) - s) for s, d in zip(squares, gradients, strict=True)]
            weights = [w - rate * m / (jnp.sqrt(s) + EPSILON) for w, m, s in zip(weights, means, squares, strict=True)]
            return (weights, means, squares, count), loss

        zeros = [np.zeros_like(w) for w in initial]
        return _donating(step, (initial, zeros, zeros, np.float32(0)), x, y)

    return Case("network 16-32-32-1, batch 32, Adam", ours, theirs)


def scalar() -> Case:
    """One number in, one out: what a call costs."""

    def ours() -> Callable[[], Any]:
        step, x = tf.function(lambda x: x * x + 1.0), tf.constant(1.5)
        return lambda: step(x)

    def theirs() -> Callable[[], Any]:
        import jax

        step, x = jax.jit(lambda x: x * x + 1.0), jax.device_put(np.float32(1.5))
        return lambda: step(x)

    return Case("scalar function x * x + 1", ours, theirs)


def many_arrays() -> Case:
    """Twenty arrays of four numbers in, twenty out."""
    arrays = [np.random.default_rng(k).normal(size=4).astype("float32") for k in range(20)]

    def ours() -> Callable[[], Any]:
        step, xs = tf.function(lambda *xs: [x + 1.0 for x in xs]), [tf.constant(a) for a in arrays]
        return lambda: step(*xs)

    def theirs() -> Callable[[], Any]:
        import jax

        step, xs = jax.jit(lambda *xs: [x + 1.0 for x in xs]), [jax.device_put(a) for a in arrays]
        return lambda: step(*xs)

    return Case("20 small arrays in, 20 out", ours, theirs)


def _donating(step: Callable[..., Any], state: Any, *arrays: np.ndarray) -> Callable[[], Any]:
    """JAX's `step(state, *arrays) -> (state, loss)`, jitted with the state donated, as a callable that keeps the state."""
    import jax

    jitted = jax.jit(step, donate_argnums=0)
    state, placed = jax.tree.map(jax.numpy.array, state), [jax.device_put(a) for a in arrays]

    def call() -> Any:
        nonlocal state
        state, loss = jitted(state, *placed)
        return loss

    return call


CASES = (linear_regression, network, scalar, many_arrays)


def agree(case: Case) -> None:
    """AssertionError unless both return the same from the same start, at each of the first steps."""
    ours, theirs = case.ours(), case.theirs()
    for _ in range(5):
        np.testing.assert_allclose(np.stack([np.asarray(a) for a in _listed(ours())]), np.stack(_listed(theirs())), rtol=1e-4, atol=1e-6)


def _listed(out: Any) -> list[Any]:
    return list(out) if isinstance(out, list | tuple) else [out]


def seconds_per_call(call: Callable[[], Any], count: int) -> float:
    """The time of one of `count` calls, the last result waited for."""
    started = time.perf_counter()
    for _ in range(count):
        out = call()
    for x in _listed(out):
        getattr(x, "block_until_ready", lambda: None)()
    return (time.perf_counter() - started) / count


def rounds(calls: list[Callable[[], Any]], count: int, seconds: float) -> Iterator[list[float]]:
    """`count` rounds of about `seconds` for each of `calls`, in turns; the seconds per call of each."""
    sizes = []
    for call in calls:
        seconds_per_call(call, 100)
        sizes.append(max(10, int(seconds / seconds_per_call(call, 100))))
    for _ in range(count):
        yield [seconds_per_call(call, size) for call, size in zip(calls, sizes, strict=True)]


def main(argv: list[str] | None = None) -> dict[str, tuple[float, float | None]]:
    """Run the command line; returns, for each case, our microseconds and the ratio JAX / tapejit (None without JAX)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a round of one candidate")
    options = parser.parse_args(argv)

    with_jax = find_spec("jax") is not None
    versions = ", ".join(f"{p} {version(p)}" for p in ["numpy", *(["jax"] if with_jax else [])])
    table = Table(title=f"microseconds a call, {options.rounds} rounds", caption=f"tapejit {tf.__version__}, {versions}, {_machine()}")
    for heading in ("", "tapejit", "JAX", "JAX / tapejit", "quarters"):
        table.add_column(heading, justify="right" if heading else "left")
    found: dict[str, tuple[float, float | None]] = {}
    for make in CASES:
        case = make()
        if with_jax:
            agree(case)
        timed = list(rounds([case.ours(), *([case.theirs()] if with_jax else [])], options.rounds, options.seconds))
        ours = statistics.median(t[0] for t in timed) * 1e6
        if not with_jax:
            found[case.name] = ours, None
            table.add_row(case.name, f"{ours:.2f}", "not installed", "", "")
            continue
        low, ratio, high = statistics.quantiles([t[1] / t[0] for t in timed], n=4) if len(timed) > 1 else [timed[0][1] / timed[0][0]] * 3
        found[case.name] = ours, ratio
        table.add_row(
            case.name, f"{ours:.2f}", f"{statistics.median(t[1] for t in timed) * 1e6:.2f}", f"{ratio:.2f}", f"{low:.2f} to {high:.2f}"
        )
    Console(width=120).print(table)
    return found


def _machine() -> str:
    """The processor's name and how many cores this process may use."""
    try:
        with open("/proc/cpuinfo") as f:
            name = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {name}"


if __name__ == "__main__":
    main()

"""A loop of many small steps and its gradient, beside JAX: Lotka and Volterra's equations by Runge and Kutta's fourth-order steps.

The gradient is that of the squared distance of the last state from a target, by the four rates and the two initial values. tapejit's loop is
Python's `for` over `tf.range`, in one traced function, once with the number of steps known and once with it as an argument; JAX's is
`lax.scan`. JAX runs in a process of its own, as it may live in another environment (`--jax python`); both are timed in rounds that alternate.

    python examples/bench_loops.py --rounds 21
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

RATES, START, TARGET = (1.1, 0.4, 0.1, 0.4), (10.0, 5.0), (5.0, 3.0)
DT, STEPS, CALLS = 0.01, 1000, 50


def with_tapejit() -> dict[str, Callable[[], Any]]:
    """The calls to time, each giving the loss and the two gradients."""
    import tapejit as tf

    def slope(prey, predators, rates):
        birth, hunting, growth, death = rates
        return birth * prey - hunting * prey * predators, growth * prey * predators - death * predators

    def loss_and_gradients(rates, start, count):
        with tf.GradientTape() as tape:
            tape.watch([rates, start])
            four = tf.unstack(rates)
            x, y = tf.unstack(start)
            for _ in tf.range(count):
                a1, b1 = slope(x, y, four)
                a2, b2 = slope(x + DT / 2 * a1, y + DT / 2 * b1, four)
                a3, b3 = slope(x + DT / 2 * a2, y + DT / 2 * b2, four)
                a4, b4 = slope(x + DT * a3, y + DT * b3, four)
                x = x + DT / 6 * (a1 + 2.0 * a2 + 2.0 * a3 + a4)
                y = y + DT / 6 * (b1 + 2.0 * b2 + 2.0 * b3 + b4)
            loss = (x - TARGET[0]) ** 2 + (y - TARGET[1]) ** 2
        return loss, tape.gradient(loss, [rates, start])

    known, open_length = tf.function(loss_and_gradients), tf.function(loss_and_gradients)
    rates, start, count = tf.constant(RATES), tf.constant(START), tf.constant(STEPS)
    for other in (10, 500):
        open_length(rates, start, tf.constant(other))
    calls = {
        "tapejit, number of steps known": lambda: known(rates, start, STEPS),
        "tapejit, number of steps an argument": lambda: open_length(rates, start, count),
    }
    for call in calls.values():
        call()
    if open_length.experimental_get_tracing_count() != 1:
        raise AssertionError("the number of steps is an argument, so there is one trace")
    return calls


def with_jax() -> dict[str, Callable[[], Any]]:
    """The same in JAX."""
    import jax
    import jax.numpy as jnp

    def slope(prey, predators, rates):
        birth, hunting, growth, death = rates
        return birth * prey - hunting * prey * predators, growth * prey * predators - death * predators

    def loss(rates, start):
        four = tuple(rates)

        def step(state, _):
            x, y = state
            a1, b1 = slope(x, y, four)
            a2, b2 = slope(x + DT / 2 * a1, y + DT / 2 * b1, four)
            a3, b3 = slope(x + DT / 2 * a2, y + DT / 2 * b2, four)
            a4, b4 = slope(x + DT * a3, y + DT * b3, four)
            return (x + DT / 6 * (a1 + 2.0 * a2 + 2.0 * a3 + a4), y + DT / 6 * (b1 + 2.0 * b2 + 2.0 * b3 + b4)), None

        (x, y), _ = jax.lax.scan(step, (start[0], start[1]), None, length=STEPS)
        return (x - TARGET[0]) ** 2 + (y - TARGET[1]) ** 2

    both = jax.jit(jax.value_and_grad(loss, (0, 1)))
    rates, start = jnp.array(RATES), jnp.array(START)
    return {"JAX, lax.scan": lambda: jax.block_until_ready(both(rates, start))}


def seconds(call: Callable[[], Any]) -> float:
    """The time of a call, the mean of many."""
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS


def flat(result: Any) -> list[float]:
    loss, (rates, start) = result
    return [float(loss), *np.asarray(rates).tolist(), *np.asarray(start).tolist()]


def serve() -> None:
    """Answer each line of standard input with JAX's results, then with its times."""
    ((name, call),) = with_jax().items()
    print(json.dumps([name, flat(call())]), flush=True)
    for _ in sys.stdin:
        print(json.dumps(seconds(call)), flush=True)


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Run the command line; the median time of each in microseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--jax", metavar="PYTHON", help="a Python that has JAX (this one by default; without JAX only tapejit is timed)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        serve()
        return {}

    calls = with_tapejit()
    times: dict[str, list[float]] = {name: [] for name in calls}
    peer = subprocess.Popen(
        [options.jax or sys.executable, __file__, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert peer.stdin is not None
    assert peer.stdout is not None
    first = peer.stdout.readline()
    theirs = ""
    if first:
        theirs, expected = json.loads(first)
        times[theirs] = []
        for call in calls.values():
            np.testing.assert_allclose(flat(call()), expected, rtol=1e-2)
    for _ in range(options.rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
        if theirs:
            peer.stdin.write("\n")
            peer.stdin.flush()
            times[theirs].append(json.loads(peer.stdout.readline()))
    peer.stdin.close()
    peer.wait()
    print(f"{STEPS} steps forward and back, {options.rounds} rounds of {CALLS} calls, microseconds per call (median, least)")
    for name, each in times.items():
        print(f"{name:>40}: {1e6 * statistics.median(each):8.1f} {1e6 * min(each):8.1f}")
    return {name: 1e6 * statistics.median(each) for name, each in times.items()}


if __name__ == "__main__":
    main()

"""Factorizations, the matrix exponential, systems and Bessel functions: a compiled step beside NumPy and SciPy, and JAX.

One matrix of 100 by 100 and a thousand of 4 by 4, float64. Each candidate has a process of its own and LAPACK one thread, because the threads
of several BLAS libraries on few cores wait for one another. What it computes is compared with NumPy's (up to signs) before it is timed; reported is the
median over the rounds of the least time in a round. Without JAX (`pip install jax`) there is no third column.

    python examples/bench_linalg.py --rounds 15
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special
from rich.console import Console
from rich.table import Table

import tapejit as tf

SHAPES = ((100, 100), (1000, 4, 4))


def _numpy_svd(a: np.ndarray, s: np.ndarray) -> Any:
    """In tapejit's order, as TensorFlow's."""
    u, values, vh = np.linalg.svd(a, full_matrices=False)
    return values, u, np.swapaxes(vh, -1, -2)


# name -> NumPy, tapejit; `a` is any matrix, `s` a symmetric one
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "svd": (_numpy_svd, lambda a, s: tf.linalg.svd(a)),
    "singular values": (lambda a, s: np.linalg.svd(a, compute_uv=False), lambda a, s: tf.linalg.svd(a, compute_uv=False)),
    "eigh": (lambda a, s: np.linalg.eigh(s), lambda a, s: tf.linalg.eigh(s)),
    "qr": (lambda a, s: np.linalg.qr(a), lambda a, s: tf.linalg.qr(a)),
    "expm": (lambda a, s: scipy.linalg.expm(a), lambda a, s: tf.linalg.expm(a)),
    "solve": (lambda a, s: np.linalg.solve(a, s), lambda a, s: tf.linalg.solve(a, s)),
    "inv": (lambda a, s: np.linalg.inv(a), lambda a, s: tf.linalg.inv(a)),
    "bessel_i0": (lambda a, s: scipy.special.i0(a), lambda a, s: tf.math.bessel_i0(a)),
}


def jax_cases() -> dict[str, Callable[..., Any]]:
    """The same in JAX."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def svd(a: Any, s: Any) -> Any:
        u, values, vh = jnp.linalg.svd(a, full_matrices=False)
        return values, u, jnp.swapaxes(vh, -1, -2)

    return {
        "svd": svd,
        "singular values": lambda a, s: jnp.linalg.svd(a, compute_uv=False),
        "eigh": lambda a, s: jnp.linalg.eigh(s),
        "qr": lambda a, s: jnp.linalg.qr(a),
        "expm": lambda a, s: jax.scipy.linalg.expm(a),
        "solve": lambda a, s: jnp.linalg.solve(a, s),
        "inv": lambda a, s: jnp.linalg.inv(a),
        "bessel_i0": lambda a, s: jax.scipy.special.i0(a),
    }


def candidate(who: str, name: str, a: np.ndarray, s: np.ndarray) -> Callable[[], Any]:
    """`name` of `a` and `s`, computed when the call returns."""
    if who == "jax":
        import jax

        theirs, arrays = jax.jit(jax_cases()[name]), (jax.device_put(a), jax.device_put(s))
        return lambda: jax.block_until_ready(theirs(*arrays))
    numpy, ours = CASES[name]
    if who == "numpy":
        return lambda: numpy(a, s)
    step, tensors = tf.function(ours), (tf.constant(a), tf.constant(s))
    return lambda: step(*tensors)


def milliseconds(call: Callable[[], Any], rounds: int, seconds: float) -> float:
    """The median over `rounds` rounds of the least time of a call in a round of about `seconds`."""
    best = []
    for _ in range(rounds):
        times, end = [], time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        best.append(min(times))
    return statistics.median(best) * 1e3


def check(out: Any, wanted: Any) -> None:
    """AssertionError unless both are the same up to signs."""
    pairs = zip(out, wanted, strict=True) if isinstance(wanted, list | tuple) else [(out, wanted)]
    for x, y in pairs:
        np.testing.assert_allclose(np.abs(np.asarray(x)), np.abs(y), rtol=1e-6, atol=1e-6 * np.abs(y).max())


def time_all(who: str, rounds: int, seconds: float) -> dict[str, float]:
    """The milliseconds of each case, after comparing it with NumPy."""
    rng = np.random.default_rng(0)
    found = {}
    for shape in SHAPES:
        a = rng.normal(size=shape)
        s = a + np.swapaxes(a, -1, -2)
        for name in CASES:
            call = candidate(who, name, a, s)
            check(call(), CASES[name][0](a, s))
            found[f"{name}, {' x '.join(map(str, shape))}"] = milliseconds(call, rounds, seconds)
    return found


def main(argv: list[str] | None = None) -> dict[str, list[float]]:
    """Run the command line; returns the milliseconds of each case: NumPy's, ours, and JAX's if it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05, help="length of a round")
    parser.add_argument("--only", choices=["numpy", "tapejit", "jax"], help="time one candidate in this process and print JSON")
    options = parser.parse_args(argv)
    if options.only:
        print(json.dumps(time_all(options.only, options.rounds, options.seconds)))
        return {}

    who = ["numpy", "tapejit", *(["jax"] if find_spec("jax") is not None else [])]
    table = Table(title="milliseconds a call, float64")
    for heading in ("", *who):
        table.add_column(heading, justify="right" if heading else "left")
    found: dict[str, list[float]] = {}
    for w in who:
        command = [sys.executable, __file__, "--only", w, "--rounds", str(options.rounds), "--seconds", str(options.seconds)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
        for case, t in json.loads(done.stdout.splitlines()[-1]).items():
            found.setdefault(case, []).append(t)
    for case, times in found.items():
        table.add_row(case, *(f"{t:.3f}" for t in times))
    Console(width=120).print(table)
    return found


if __name__ == "__main__":
    main()

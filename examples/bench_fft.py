"""Fourier transforms beside NumPy's and JAX's: microseconds per call of one transform of complex64, the least of many rounds.

    python examples/bench_fft.py
    python examples/bench_fft.py --jax      JAX alone, for an interpreter that has it and not tapejit

Every call waits for its result. Candidates alternate, so what else the machine does bears on all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SHAPES = ((256,), (1024,), (1000,), (1009,), (32, 1024), (512, 512))


def seconds(candidates: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The least time of a call of each candidate."""
    least = dict.fromkeys(candidates, float("inf"))
    repeats = {}
    for name, call in candidates.items():
        call()
        start = time.perf_counter()
        call()
        repeats[name] = max(1, int(2e-3 / (time.perf_counter() - start)))
    for _ in range(rounds):
        for name, call in candidates.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            least[name] = min(least[name], (time.perf_counter() - start) / repeats[name])
    return least


def ours(z: np.ndarray) -> dict[str, Callable[[], Any]]:
    """tapejit and NumPy, after a look at whether they agree."""
    import tapejit as tf

    x, fft = tf.constant(z), tf.function(lambda x: tf.signal.fft(x))
    np.testing.assert_allclose(fft(x).numpy(), np.fft.fft(z), rtol=1e-4, atol=1e-3)
    return {"tapejit": lambda: fft(x), "numpy": lambda: np.fft.fft(z)}


def jax(z: np.ndarray) -> dict[str, Callable[[], Any]]:
    """JAX's jitted transform."""
    import jax
    import jax.numpy as jnp

    x, fft = jnp.asarray(z), jax.jit(jnp.fft.fft)
    return {"jax": lambda: fft(x).block_until_ready()}


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jax", action="store_true", help="time JAX instead")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args(arguments)
    candidates = jax if options.jax else ours
    random = np.random.default_rng(0)
    for shape in SHAPES:
        z = (random.normal(size=shape) + 1j * random.normal(size=shape)).astype("complex64")
        found = seconds(candidates(z), options.rounds)
        print(f"{'x'.join(map(str, shape)):>10}  " + "   ".join(f"{name} {1e6 * t:8.1f} µs" for name, t in found.items()))


if __name__ == "__main__":
    main()

"""How a program is run for its test: once with its steps eager, once with them traced, from the same seed; the results are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tapejit as tf


def both(build: Callable[[Callable], Any], rtol: float = 2e-4, atol: float = 2e-5) -> Any:
    """The eager results of `build(wrap)`, `wrap` being what decorates its steps; the traced ones have to have their structure and values."""
    runs = []
    for wrap in (_eager, tf.function):
        tf.random.set_seed(7)
        runs.append(build(wrap))
    eager, traced = runs
    tf.nest.assert_same_structure(eager, traced)
    for a, b in zip(tf.nest.flatten(eager), tf.nest.flatten(traced), strict=True):
        if a is None:
            assert b is None
            continue
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(b, a, rtol=rtol, atol=atol)
    return eager


def _eager(function: Callable | None = None, **options: Any) -> Callable:
    return function if function is not None else lambda given: given

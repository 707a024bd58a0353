"""`import tapejit` loads NumPy and little else; `python examples/bench_import.py` says what it takes."""

import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def loaded():
    """The modules that `import tapejit` loads."""
    done = subprocess.run([sys.executable, "-c", "import tapejit, sys; print(*sys.modules)"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_it_loads_numpy(loaded):
    assert {"tapejit", "numpy"} <= loaded


@pytest.mark.parametrize("heavy", ["numba", "scipy", "llvmlite", "networkx", "rich", "matplotlib", "sklearn", "keras", "jax", "torch"])
def test_it_does_not_load(heavy, loaded):
    assert heavy not in loaded

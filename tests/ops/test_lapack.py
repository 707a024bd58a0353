"""Factorizations in compiled steps: batches, shapes and dtypes beyond the samples of the laws, and what happens where LAPACK gives up."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import tapejit as tf
from tapejit import linalg

SQUARE = [(30, 30), (40, 4, 4), (3, 7, 5, 5), (2, 0, 3, 3), (5, 0, 0), (17, 1, 1)]
SHAPES = [*SQUARE, (3, 7, 4, 6), (50, 6, 4), (17, 30, 3), (2, 3, 0), (2, 0, 3), (130, 70)]
DTYPES = ["float32", "float64", "complex64", "complex128"]
EVERY = {
    "svd": lambda x: tuple(linalg.svd(x)),
    "full svd": lambda x: tuple(linalg.svd(x, full_matrices=True)),
    "singular values": lambda x: (linalg.svd(x, compute_uv=False),),
    "qr": lambda x: tuple(linalg.qr(x)),
    "full qr": lambda x: tuple(linalg.qr(x, full_matrices=True)),
}
HERMITIAN = {"eigh": lambda x: tuple(linalg.eigh(x)), "eigvalsh": lambda x: (linalg.eigvalsh(x),)}


def numbers(shape, dtype="float64"):
    r = np.random.default_rng(3)
    x = r.normal(size=shape)
    return (x + 1j * r.normal(size=shape) if dtype.startswith("c") else x).astype(dtype)


def hermitian(shape, dtype="float64"):
    a = numbers(shape, dtype)
    return a + np.conj(np.swapaxes(a, -1, -2))


def compare(f, compiled, x):
    """Equal results; in single precision up to signs, which hang on the last digit."""
    single = x.dtype in ("float32", "complex64")
    tolerance = 2e-3 if single else 1e-9
    for got, wanted in zip(compiled(tf.constant(x)), f(tf.constant(x)), strict=True):
        assert got.shape == wanted.shape
        a, b = (np.abs(v.numpy()) if single else v.numpy() for v in (got, wanted))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EVERY)
def test_compiled_factors_are_those_of_numpy(name, dtype):
    compiled = tf.function(EVERY[name])
    for shape in SHAPES if dtype == "float64" else SHAPES[1:3]:
        compare(EVERY[name], compiled, numbers(shape, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HERMITIAN)
def test_compiled_eigenvalues_are_those_of_numpy(name, dtype):
    compiled = tf.function(HERMITIAN[name])
    for shape in SQUARE if dtype == "float64" else SQUARE[1:3]:
        compare(HERMITIAN[name], compiled, hermitian(shape, dtype))


def test_one_program_serves_all_sizes():
    @tf.function(input_signature=[tf.TensorSpec([None, None, None], tf.float64)])
    def factors(x):
        return *linalg.svd(x), *linalg.qr(x, full_matrices=True), *linalg.svd(x, full_matrices=True), linalg.svd(x, compute_uv=False)

    for shape in ((3, 4, 5), (33, 2, 2), (0, 2, 2), (2, 0, 3), (2, 3, 0), (1, 5, 4)):
        compare(lambda x: factors.python_function(x), factors, numbers(shape))
    assert factors.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_the_exponential_is_as_exact_as_scipys(dtype, scale):
    a = (numbers((20, 6, 6), dtype) * scale / 3).astype(dtype)
    wanted = scipy.linalg.expm(a.astype("complex128"))
    got = tf.function(linalg.expm)(tf.constant(a)).numpy()
    assert got.dtype == a.dtype
    error = np.abs(got - wanted).max((1, 2)) / np.abs(wanted).max((1, 2))
    assert error.max() < 50 * np.finfo(a.dtype).eps * max(1, scale)


def test_the_exponential_of_what_is_not_finite_is_nan():
    f = tf.function(linalg.expm)
    assert np.isnan(f(np.diag([1.0, np.nan, 2.0])).numpy()).all()
    assert np.isnan(f(np.full((2, 2), np.inf)).numpy()).all()


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: linalg.svd(x)[0], "svd: SVD did not converge"),
        (lambda x: linalg.svd(x, compute_uv=False), "singular_values: SVD did not converge"),
        (lambda x: linalg.eigh(x)[0], "eigh: Eigenvalues did not converge"),
        (linalg.eigvalsh, "eigvalsh: Eigenvalues did not converge"),
    ],
)
def test_an_iteration_without_end_fails_at_the_users_line(f, message):
    state = tf.Variable(1.0)

    def step(x):
        state.assign(2.0)
        return f(x)

    bad = np.zeros((20, 3, 3))
    bad[13] = np.nan
    for run in (f, tf.function(step)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message) as e:
            run(tf.constant(bad))
        assert "test_lapack.py" in str(e.value)
    assert state.numpy() == 1.0

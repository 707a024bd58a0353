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


# ------------------------------------------------------------------------------------------------ systems
def positive(shape, dtype):
    a = numbers(shape, dtype)
    return (a @ np.conj(np.swapaxes(a, -1, -2)) + shape[-1] * np.eye(shape[-1])).astype(dtype)


SYSTEMS = {
    "cholesky": lambda a, b: (linalg.cholesky(a),),
    "lower": lambda a, b: (linalg.triangular_solve(a, b),),
    "upper, adjoint": lambda a, b: (linalg.triangular_solve(a, b, lower=False, adjoint=True),),
    "solve": lambda a, b: (linalg.solve(a, b),),
    "solve, adjoint": lambda a, b: (linalg.solve(a, b, adjoint=True),),
    "inv": lambda a, b: (linalg.inv(a),),
    "det": lambda a, b: (linalg.det(a / np.asarray(a.dims[-1], a.dtype.as_numpy_dtype)),),
    "slogdet": lambda a, b: tuple(linalg.slogdet(a)),
}


def check_system(f, compiled, a, b):
    tolerance = 2e-3 if a.dtype in ("float32", "complex64") else 1e-9
    for got, wanted in zip(compiled(tf.constant(a), tf.constant(b)), f(tf.constant(a), tf.constant(b)), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_small_and_large(name, dtype):
    f = SYSTEMS[name]
    for n, lead in ((3, ()), (40, ()), (3, (20,)), (40, (3,)), (0, (2,))) if dtype == "float64" else ((4, (2,)), (30, ())):
        compiled = tf.function(f)
        check_system(f, compiled, positive((*lead, n, n), dtype), numbers((*lead, n, 5), dtype))


@pytest.mark.parametrize("name", [n for n in SYSTEMS if n != "det"])
def test_systems_of_open_size(name):
    compiled = tf.function(SYSTEMS[name], input_signature=[tf.TensorSpec([None, None], tf.float64)] * 2)
    for n in (3, 70, 0):
        check_system(SYSTEMS[name], compiled, positive((n, n), "float64"), numbers((n, 2)))
    assert compiled.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("n", [3, 70])
def test_singular_systems_fail_large_ones_too(n, dtype):
    a, b = np.ones((n, n), dtype), np.ones((n, 1), dtype)
    for f, message in (
        (lambda a, b: linalg.solve(a, b), "Input matrix is not invertible"),
        (lambda a, b: linalg.inv(a), "Input is not invertible"),
        (lambda a, b: linalg.triangular_solve(a * 0.0, b), "Input matrix is not invertible"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message) as e:
            tf.function(f)(a, b)
        assert "test_lapack.py" in str(e.value)
    sign, log = tf.function(linalg.slogdet)(a)
    assert sign.numpy() == 0
    assert log.numpy() == -np.inf
    assert tf.function(linalg.det)(a).numpy() == 0
    factor = tf.function(linalg.cholesky)(-np.eye(n, dtype=dtype)).numpy()
    assert np.isnan(factor.real[np.tril_indices(n)]).all()
    assert (factor[np.triu_indices(n, 1)] == 0).all()


# ---------------------------------------------------------------------------------------------- gradients
SMOOTH = {
    "svd": lambda x: [linalg.svd(x)[0], tf.linalg.matmul(linalg.svd(x)[1], linalg.svd(x)[2], transpose_b=True)],
    "eigh": lambda x: [linalg.eigh(x + tf.linalg.matrix_transpose(x))[0]],
    "qr": lambda x: list(linalg.qr(x)),
    "expm": lambda x: [linalg.expm(x)],
    "solve": lambda x: [linalg.solve(x, x[..., :1])],
    "bessel_j1": lambda x: [tf.math.special.bessel_j1(x)],
    "igamma": lambda x: [tf.math.igamma(tf.constant(1.5, tf.float64), tf.abs(x))],
    "polygamma": lambda x: [tf.math.polygamma(tf.ones_like(x), 1.5 + tf.abs(x))],
    "zeta": lambda x: [tf.math.zeta(tf.fill(x.shape, tf.constant(2.5, tf.float64)), 1.5 + tf.abs(x))],
}


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives_in_compiled_steps(name):
    def twice(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tf.add_n([tf.reduce_sum(tf.sin(z)) for z in SMOOTH[name](x)])
            g = tape.gradient(y, x)
        return g, outer.gradient(g, x)

    x = tf.constant(numbers((2, 3, 3)))
    for got, wanted in zip(tf.function(twice)(x), twice(x), strict=True):
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-7, atol=1e-7)

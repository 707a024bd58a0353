"""tf.linalg: identities that factorizations keep, gradients that the laws' samples miss, norms, and refusals."""

import numpy as np
import pytest
import scipy.linalg

import tapejit as tf

random = np.random.default_rng(0)
A = random.normal(size=(3, 4, 4))
S = A @ A.transpose(0, 2, 1) + 2 * np.eye(4)
B = random.normal(size=(3, 4, 2))
C = A + 1j * random.normal(size=(3, 4, 4))


def test_products():
    np.testing.assert_allclose(tf.linalg.matmul(C, C, adjoint_a=True), C.conj().transpose(0, 2, 1) @ C)
    np.testing.assert_allclose(tf.linalg.matvec(A, B[..., 0], transpose_a=True), np.einsum("bji,bj->bi", A, B[..., 0]))
    np.testing.assert_allclose(tf.linalg.adjoint(C), C.conj().transpose(0, 2, 1))
    np.testing.assert_allclose(tf.linalg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]), [0, 0, 1])
    with pytest.raises(ValueError, match="Only one of"):
        tf.linalg.matmul(A, A, transpose_a=True, adjoint_a=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="3-element"):
        tf.linalg.cross([1.0, 2.0], [1.0, 2.0])


@pytest.mark.parametrize("a", [A, C, S.astype("f4")], ids=["f64", "c128", "f32"])
@pytest.mark.parametrize("adjoint", [False, True])
def test_solutions_solve(a, adjoint):
    b = B.astype(a.dtype)
    tolerance = 1e-4 if a.dtype == np.float32 else 1e-10
    h = a.conj().swapaxes(-1, -2) if adjoint else a
    np.testing.assert_allclose(h @ tf.linalg.solve(a, b, adjoint=adjoint), b, atol=tolerance)
    np.testing.assert_allclose(h @ tf.linalg.inv(a, adjoint=adjoint), np.broadcast_to(np.eye(4), a.shape), atol=tolerance)
    for lower in (True, False):
        t = np.tril(a) if lower else np.triu(a)
        t = t.conj().swapaxes(-1, -2) if adjoint else t
        np.testing.assert_allclose(t @ tf.linalg.triangular_solve(a, b, lower=lower, adjoint=adjoint), b, atol=tolerance)


def test_large_triangular_systems_and_one_matrix_for_a_batch():
    a = np.tril(random.normal(size=(40, 40))) + 40 * np.eye(40)
    b = random.normal(size=(3, 40, 2))
    x = tf.linalg.triangular_solve(a, b, adjoint=True)
    np.testing.assert_allclose(a.T @ x.numpy(), b, atol=1e-10)


def test_factorizations_put_together_again():
    q, r = tf.linalg.qr(A)
    np.testing.assert_allclose(q.numpy() @ r.numpy(), A, atol=1e-12)
    s, u, v = tf.linalg.svd(C)
    np.testing.assert_allclose((u.numpy() * s.numpy()[:, None]) @ v.numpy().conj().transpose(0, 2, 1), C, atol=1e-12)
    e, w = tf.linalg.eigh(S)
    np.testing.assert_allclose(S @ w.numpy(), w.numpy() * e.numpy()[:, None], atol=1e-11)
    np.testing.assert_allclose(tf.linalg.eigvalsh(S), e)
    chol = tf.linalg.cholesky(S).numpy()
    np.testing.assert_allclose(chol @ chol.transpose(0, 2, 1), S, atol=1e-12)
    np.testing.assert_allclose(tf.linalg.expm(A), scipy.linalg.expm(A))


def test_results_have_names():
    assert tf.linalg.svd(A).s.shape == (3, 4)
    assert tf.linalg.qr(A[:, :, :2], full_matrices=True).q.shape == (3, 4, 4)
    assert tf.linalg.slogdet(A).log_abs_determinant.shape == (3,)


def test_determinants():
    np.testing.assert_allclose(tf.linalg.det(A), np.linalg.det(A))
    np.testing.assert_allclose(tf.linalg.logdet(S), np.log(np.linalg.det(S)))
    sign, log = tf.linalg.slogdet(np.array([[0.0, 0.0], [0.0, 1.0]]))
    assert (float(sign), float(log)) == (0.0, -np.inf)


def test_only_the_bad_matrix_of_a_batch_is_nan():
    both = np.stack([S[0], -S[0]])
    out = tf.linalg.cholesky(both).numpy()
    np.testing.assert_allclose(out[0], np.linalg.cholesky(S[0]))
    assert np.isnan(out[1][np.tril_indices(4)]).all()


def test_singular_and_misshapen_matrices_are_refused():
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    for f in (
        tf.linalg.inv,
        lambda m: tf.linalg.solve(m, np.ones((2, 1))),
        lambda m: tf.linalg.triangular_solve(m * [[0], [1]], np.ones((2, 1))),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match="not invertible"):
            f(singular)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be square"):
        tf.linalg.det(np.ones((2, 3)))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"write rhs\[\.\.\., tf.newaxis\]"):
        tf.linalg.solve(np.eye(3), np.ones((2, 1)))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"write tf\.cast"):
        tf.linalg.inv(tf.constant(np.eye(2), tf.float16))


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (2, 5, 3)])
@pytest.mark.parametrize("fast", [True, False])
def test_least_squares(shape, fast):
    a, b = random.normal(size=shape), random.normal(size=(*shape[:-1], 2))
    np.testing.assert_allclose(tf.linalg.lstsq(a, b, fast=fast), np.linalg.pinv(a) @ b, atol=1e-10)


def test_least_squares_with_a_regularizer():
    a, b = random.normal(size=(6, 3)), random.normal(size=(6, 1))
    np.testing.assert_allclose(tf.linalg.lstsq(a, b, l2_regularizer=0.5), np.linalg.solve(a.T @ a + 0.5 * np.eye(3), a.T @ b))


def test_pseudo_inverse_and_rank_of_a_deficient_matrix():
    a = np.outer([1.0, 2.0, 3.0], [1.0, -1.0])
    np.testing.assert_allclose(tf.linalg.pinv(a), np.linalg.pinv(a), atol=1e-14)
    assert int(tf.linalg.matrix_rank(a)) == 1
    np.testing.assert_array_equal(tf.linalg.matrix_rank(A), [4, 4, 4])


@pytest.mark.parametrize(
    ("ord", "axis"),
    [("euclidean", None), (1, 0), (2, -1), (3, 1), (np.inf, 0), ("fro", (0, 1)), (1, (0, 1)), (np.inf, (1, 0)), (2, (0, 1))],
)
@pytest.mark.parametrize("keepdims", [False, True])
def test_norms_are_numpys(ord, axis, keepdims):
    x = A[0]
    wanted = np.linalg.norm(
        x.ravel() if axis is None else x, None if ord == "euclidean" else ord, axis, keepdims=keepdims and axis is not None
    )
    got = tf.norm(x, ord, axis, keepdims).numpy()
    np.testing.assert_allclose(got.reshape(np.shape(wanted)), wanted)
    assert got.shape == ((1, 1) if keepdims and axis is None else np.shape(wanted))


def test_norms_refuse():
    with pytest.raises(ValueError, match="supported vector norm"):
        tf.norm(A, ord="fro2")
    with pytest.raises(ValueError, match="supported matrix norm"):
        tf.norm(A, ord=3, axis=(1, 2))
    with pytest.raises(ValueError, match="tuple of 2 unique integers"):
        tf.norm(A, axis=(1, 1))


def test_gradient_of_equal_eigenvalues_is_finite():
    x = tf.constant(np.eye(3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        e, v = tf.linalg.eigh(x)
        y = tf.reduce_sum(e) + tf.reduce_sum(v * v)
    np.testing.assert_allclose(tape.gradient(y, x), np.eye(3))


@pytest.mark.parametrize("f", [tf.linalg.qr, tf.linalg.svd])
def test_gradients_that_are_not_there_say_so(f):
    x = tf.constant(random.normal(size=(4, 2)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = f(x, full_matrices=True)[1]
    with pytest.raises(NotImplementedError, match="write full_matrices=False"):
        tape.gradient(out, x)

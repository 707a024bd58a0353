"""`tf.SparseTensor` and `tf.sparse`: NumPy's results, gradients, and travel through traced functions."""

import numpy as np
import pytest

import tapejit as tf


def matrix(seed, *shape):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * (rng.random(shape) < 0.4)).astype(np.float32)


A, B = matrix(0, 5, 4), matrix(1, 5, 4)


def dense(x):
    return tf.sparse.to_dense(x).numpy()


def test_parts_are_what_they_were_given_as():
    x = tf.SparseTensor([[0, 1], [2, 0]], [3.0, 4.0], [3, 2])
    assert (x.indices.dtype, x.values.dtype, x.dtype) == (tf.int64, tf.float32, tf.float32)
    assert all(map(tf.is_tensor, (x, tf.IndexedSlices([1.0], [0]))))
    assert (x.shape, x.dense_shape.numpy().tolist()) == ([3, 2], [3, 2])
    np.testing.assert_array_equal(dense(x), [[0, 3], [0, 0], [4, 0]])


@pytest.mark.parametrize(
    ("indices", "values", "shape"),
    [([[0, 1]], [1.0, 2.0], [2, 2]), ([0, 1], [1.0, 2.0], [2]), ([[0, 1]], [1.0], [2, 2, 2]), ([[0]], [[1.0]], [2])],
)
def test_parts_have_to_fit(indices, values, shape):
    with pytest.raises(ValueError, match=r"expected indices of shape \[n, \d\] and values of shape \[n\]"):
        tf.SparseTensor(indices, values, shape)


def test_equal_places_are_summed():
    np.testing.assert_array_equal(dense(tf.SparseTensor([[1], [1]], [3.0, 4.0], [2])), [0, 7])


def test_bools_and_integers():
    np.testing.assert_array_equal(dense(tf.sparse.from_dense(A > 0)), A > 0)
    either = tf.sparse.maximum(*(tf.cast(tf.sparse.from_dense(x > 0), tf.int32) for x in (A, B)))
    np.testing.assert_array_equal(dense(either), (A > 0) | (B > 0))
    np.testing.assert_array_equal(dense(tf.sparse.from_dense((A * 10).astype(np.int32))), (A * 10).astype(np.int32))


def test_functions_give_what_numpy_gives():
    a, b = tf.sparse.from_dense(A), tf.sparse.from_dense(B)
    np.testing.assert_allclose(dense(tf.sparse.add(a, b)), A + B)
    np.testing.assert_allclose(dense(tf.sparse.maximum(a, b)), np.maximum(A, B))
    np.testing.assert_allclose(dense(tf.sparse.minimum(a, b)), np.minimum(A, B))
    np.testing.assert_allclose(dense(a * B[:1]), A * B[:1])
    np.testing.assert_allclose(dense(2.0 * a / np.float32(4)), A / 2)
    np.testing.assert_allclose(dense(tf.sparse.reshape(a, [2, -1])), A.reshape(2, -1))
    np.testing.assert_allclose(dense(tf.sparse.transpose(a)), A.T)
    np.testing.assert_allclose(dense(tf.sparse.expand_dims(a, 0)), A[None])
    for axis in (0, 1):
        np.testing.assert_allclose(dense(tf.sparse.concat(axis, [a, b])), np.concatenate([A, B], axis))
        np.testing.assert_allclose(tf.sparse.reduce_sum(a, axis), A.sum(axis), rtol=1e-6)
    np.testing.assert_allclose(tf.sparse.sparse_dense_matmul(a, B, adjoint_b=True), A @ B.T, rtol=1e-5, atol=1e-6)


def test_nothing_at_all():
    none = tf.sparse.from_dense(np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(dense(tf.sparse.add(none, none)), np.zeros((2, 3)))
    assert tf.sparse.reduce_sum(none) == 0
    np.testing.assert_array_equal(tf.sparse.sparse_dense_matmul(none, np.ones((3, 2), np.float32)), np.zeros((2, 2)))


def test_shapes_have_to_agree():
    a = tf.sparse.from_dense(A)
    with pytest.raises(ValueError, match="have to be of one shape"):
        tf.sparse.add(a, tf.sparse.transpose(a))
    with pytest.raises(tf.errors.InvalidArgumentError, match="has 20 places"):
        tf.sparse.reshape(a, [3, 7])
    with pytest.raises(ValueError, match="does not broadcast"):
        a * np.ones((2, 5, 4), np.float32)


def test_gradients_go_to_the_values_and_to_the_rows_that_were_used():
    a, w = tf.SparseTensor([[0, 1], [1, 1]], [2.0, 3.0], [2, 4]), tf.Variable(np.ones((4, 2), np.float32))
    with tf.GradientTape() as tape:
        tape.watch(a.values)
        y = tf.reduce_sum(tf.sparse.sparse_dense_matmul(a, w) ** 2)
    of_values, of_w = tape.gradient(y, [a.values, w])
    np.testing.assert_allclose(of_values, [8, 12])
    assert isinstance(of_w, tf.IndexedSlices)
    np.testing.assert_allclose(tf.convert_to_tensor(of_w), [[0, 0], [26, 26], [0, 0], [0, 0]])


def test_traced_functions_take_and_give_them():
    @tf.function(reduce_retracing=True)
    def doubled(pair):
        x, k = pair["x"], pair["k"]
        return {"sum": tf.sparse.add(x, x), "total": tf.sparse.reduce_sum(x) * k}

    for given in (A, B, A * 0):
        out = doubled({"x": tf.sparse.from_dense(given), "k": 2.0})
        assert isinstance(out["sum"], tf.SparseTensor)
        np.testing.assert_allclose(dense(out["sum"]), 2 * given)
        np.testing.assert_allclose(out["total"], 2 * given.sum(), rtol=1e-5)
    assert doubled.experimental_get_tracing_count() == 2  # the number of elements is open from the second call on


def test_what_a_traced_function_gives_may_have_open_sizes():
    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def kept(x):
        return tf.sparse.from_dense(tf.nn.relu(x))

    for given in (A, A[:2]):
        out = kept(given)
        assert out.shape == given.shape
        np.testing.assert_allclose(dense(out), np.maximum(given, 0))
        np.testing.assert_allclose(tf.function(dense_of)(out), np.maximum(given, 0))


def dense_of(x):
    return tf.sparse.to_dense(x)


def test_loops_and_branches_carry_them():
    @tf.function
    def powers(x, n):
        for _ in tf.range(n):
            x = tf.sparse.map_values(tf.square, x)
        return tf.cond(n > 1, lambda: x, lambda: tf.sparse.map_values(tf.negative, x))

    x = tf.SparseTensor([[1]], [3.0], [2])
    np.testing.assert_allclose(dense(powers(x, tf.constant(2))), [0, 81])
    np.testing.assert_allclose(dense(powers(x, tf.constant(1))), [0, -9])


def test_functions_of_dense_tensors_take_none():
    with pytest.raises(ValueError, match=r"unsupported type .*SparseTensor"):
        tf.add(tf.sparse.from_dense(A), 1.0)

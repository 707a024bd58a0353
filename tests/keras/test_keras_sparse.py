"""Sparse tensors in Keras: results against dense ones, gradients, traced against eager, and what `fit` takes."""

import numpy as np
import pytest

import tapejit as tf


@pytest.fixture(scope="module")
def ops():
    return tf.keras.ops


def matrix(seed, *shape):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * (rng.random(shape) < 0.4)).astype(np.float32)


A, B = matrix(0, 6, 4), matrix(1, 6, 4)
DENSE = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
SPARSE = {
    "abs": lambda k, a, b: k.abs(a),
    "tanh": lambda k, a, b: k.tanh(a),
    "round": lambda k, a, b: k.round(a, 1),
    "add": lambda k, a, b: k.add(a, b),
    "maximum": lambda k, a, b: k.maximum(a, b),
    "multiply": lambda k, a, b: k.multiply(a, b),
    "multiply_row": lambda k, a, b: k.multiply(DENSE[:1], a),
    "divide": lambda k, a, b: k.divide(a, DENSE),
    "reshape": lambda k, a, b: k.reshape(a, [-1, 2, 4]),
    "squeeze": lambda k, a, b: k.squeeze(k.expand_dims(a, [0, 2])),
    "transpose": lambda k, a, b: k.transpose(a),
    "concatenate": lambda k, a, b: k.concatenate([a, b], 1),
    "sum": lambda k, a, b: k.sum(a, 1, keepdims=True),
    "mean": lambda k, a, b: k.mean(a, 0),
    "matmul": lambda k, a, b: k.matmul(a, k.transpose(b)),
}
TO_DENSE = {
    "exp": lambda k, a, b: k.exp(a),
    "relu": lambda k, a, b: k.relu(a),
    "add_dense": lambda k, a, b: k.add(a, DENSE),
    "max": lambda k, a, b: k.max(a, 1),
    "by_sparse": lambda k, a, b: k.divide(DENSE, k.add(k.abs(b), 1.0)),
    "matmul_dense": lambda k, a, b: k.matmul(a, DENSE.T),
    "dense_matmul": lambda k, a, b: k.matmul(DENSE.T, a),
    "concatenate_dense": lambda k, a, b: k.concatenate([a, DENSE]),
    "vector": lambda k, a, b: k.matmul(a, DENSE[0]),
    "logical_not": lambda k, a, b: k.logical_not(k.convert_to_tensor(a, sparse=False)),
}


@pytest.mark.parametrize("name", [*SPARSE, *TO_DENSE])
def test_functions_give_what_they_give_for_dense_tensors(ops, name):
    f = {**SPARSE, **TO_DENSE}[name]
    wanted = f(ops, tf.constant(A), tf.constant(B)).numpy()
    given = tf.sparse.from_dense(A), tf.sparse.from_dense(B)
    for call in (f, tf.function(f)):
        out = call(ops, *given)
        assert isinstance(out, tf.SparseTensor) == (name in SPARSE)
        np.testing.assert_allclose(ops.convert_to_numpy(out), wanted, rtol=1e-5, atol=1e-6)


def test_bools_and_lists(ops):
    either = ops.add(*(tf.sparse.from_dense(x > 0) for x in (A, B)))
    assert either.dtype == tf.bool
    np.testing.assert_array_equal(ops.convert_to_numpy(either), (A > 0) | (B > 0))
    np.testing.assert_allclose(
        ops.matmul(tf.sparse.from_dense(A), [[1.0], [2.0], [0.0], [1.0]]), A @ [[1.0], [2.0], [0.0], [1.0]], rtol=1e-6
    )


@pytest.mark.parametrize("name", SPARSE)
def test_symbolic_results_are_sparse_too(ops, name):
    a, b = (tf.keras.KerasTensor((6, 4), sparse=True) for _ in range(2))
    out = SPARSE[name](ops, a, b)
    assert (out.sparse, out.shape) == (True, tuple(SPARSE[name](ops, tf.constant(A), tf.constant(B)).shape))


@pytest.mark.parametrize("name", ["tanh", "add", "multiply", "concatenate", "matmul", "matmul_dense", "exp"])
def test_gradients_are_those_of_dense_tensors(ops, name):
    f = {**SPARSE, **TO_DENSE}[name]
    places = np.argwhere(A)

    def slopes(a):
        with tf.GradientTape() as tape:
            tape.watch(a)
            x = tf.SparseTensor(places, a, A.shape)
            y = tf.reduce_sum(ops.convert_to_tensor(f(ops, x, tf.sparse.from_dense(B)), sparse=False) ** 2)
        return tape.gradient(y, a)

    with tf.GradientTape() as tape:
        x = tf.constant(A)
        tape.watch(x)
        y = tf.reduce_sum(f(ops, x, tf.constant(B)) ** 2)
    wanted = tape.gradient(y, x).numpy()[tuple(places.T)]
    for way in (slopes, tf.function(slopes)):
        np.testing.assert_allclose(way(tf.constant(A[tuple(places.T)])), wanted, rtol=1e-4, atol=1e-5)


def test_division_of_nothing_by_zero_is_nan(ops):
    zeros = np.array([[0, 1], [np.nan, 2]], np.float32)
    out = ops.divide(tf.SparseTensor([[1, 1]], [4.0], [2, 2]), zeros)
    np.testing.assert_array_equal(ops.convert_to_numpy(out), [[np.nan, 0], [np.nan, 2]])


def test_hot_rows_and_counts(ops):
    x = np.array([[0, 2, -1], [1, 1, 3]])
    for f in (ops.one_hot, ops.multi_hot):
        np.testing.assert_array_equal(ops.convert_to_numpy(f(x, 3, sparse=True)), f(x, 3))
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.one_hot(x, 3, axis=1, sparse=True)), ops.one_hot(x, 3, axis=1))
    x = np.array([[0, 2, 2], [1, 1, 3]])
    weights = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    for options in ({}, {"weights": weights}, {"minlength": 6}):
        found = ops.bincount(x, sparse=True, **options)
        assert isinstance(found, tf.SparseTensor)
        np.testing.assert_array_equal(ops.convert_to_numpy(found), ops.bincount(x, **options))


def test_rows_of_gradients_stay_rows(ops):
    rows = tf.IndexedSlices([[1.0, 4.0], [9.0, 16.0]], [0, 2], [4, 2])
    for out in (ops.sqrt(rows), ops.multiply(rows, 2.0), ops.maximum(rows, tf.IndexedSlices([[5.0, 5.0]], [2], [4, 2]))):
        assert isinstance(out, tf.IndexedSlices)
    np.testing.assert_allclose(out, [[1, 4], [0, 0], [9, 16], [0, 0]])


OPTIMIZERS = ["SGD", "Adagrad", "RMSprop", "Adam", "Adadelta", "Adafactor"]


def updated(name, indices, form=lambda rows: rows, call=lambda step: step):
    """A table of ones after two steps of an optimizer on rows, and the optimizer."""
    v = tf.keras.Variable(np.ones((4, 2), np.float32))
    optimizer = getattr(tf.keras.optimizers, name)(0.1)
    optimizer.build([v])

    def step(values, indices):
        optimizer.apply([form(tf.IndexedSlices(values, indices, [4, 2]))], [v])

    for _ in range(2):
        call(step)(tf.constant([[1.0, 2.0], [3.0, 4.0], [1.0, 1.0]]), tf.constant(indices))
    return v.numpy(), optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_take_rows_as_the_table_they_are_of(name):
    wanted, _ = updated(name, [1, 0, 2], form=tf.convert_to_tensor)
    for call in (lambda step: step, tf.function):
        np.testing.assert_allclose(updated(name, [1, 0, 2], call=call)[0], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_of_one_index_are_squared_apart_as_on_tensorflow(name):
    eager, optimizer = updated(name, [1, 1, 2])
    np.testing.assert_allclose(updated(name, [1, 1, 2], call=tf.function)[0], eager, rtol=1e-5, atol=1e-6)
    if name == "Adagrad":
        sums = optimizer._accumulators[0].numpy() - optimizer.initial_accumulator_value
        np.testing.assert_allclose(sums, 2 * np.array([[0, 0], [1 + 9, 4 + 16], [1, 1], [0, 0]]), rtol=1e-6)


@pytest.fixture(scope="module")
def model():
    x = tf.keras.Input((4,), sparse=True)
    built = tf.keras.Model(x, tf.keras.layers.Dense(3)(x))
    built.compile(optimizer=tf.keras.optimizers.SGD(0.1), loss="mse")
    return built


def of_scipy(x):
    return pytest.importorskip("scipy.sparse").csr_matrix(x)


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("form", [tf.sparse.from_dense, of_scipy])
def test_fit_takes_sparse_arrays(model, form, eagerly):
    x, y = matrix(3, 21, 4), DENSE[:1, :3] * np.ones((21, 1), np.float32)
    start = model.get_weights()
    histories = []
    for given in (x, form(x)):
        model.set_weights(start)
        model.compile(optimizer=tf.keras.optimizers.SGD(0.1), loss="mse", run_eagerly=eagerly)
        tf.keras.utils.set_random_seed(1)
        history = model.fit(given, y, batch_size=4, epochs=2, validation_split=0.3, verbose=0)
        histories.append([history.history["loss"], history.history["val_loss"]])
        np.testing.assert_allclose(
            model.predict(given, verbose=0), x @ model.get_weights()[0] + model.get_weights()[1], rtol=1e-4, atol=1e-5
        )
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-4)


def test_generators_give_sparse_batches(model):
    def batches():
        for n in (4, 4, 3):
            yield of_scipy(matrix(n, n, 4)), np.ones((n, 3), np.float32)

    model.compile(optimizer=tf.keras.optimizers.SGD(0.1), loss="mse")
    assert np.isfinite(model.fit(batches(), verbose=0).history["loss"][0])
    assert model.predict(batches(), verbose=0).shape == (11, 3)


def test_batches_of_every_size_run_one_trace(model):
    traces = []

    class Counted(tf.keras.Model):
        def call(self, x):
            traces.append(x)
            return tf.reduce_sum(tf.sparse.to_dense(x), 1, keepdims=True)

    counted = Counted()
    counted.compile(loss="mse")
    counted.evaluate(of_scipy(matrix(4, 11, 4)), np.zeros((11, 1)), batch_size=4, verbose=0)
    assert all(isinstance(x, tf.SparseTensor) for x in traces)
    assert len(traces) <= 2  # one to see what variables there are, one for the step

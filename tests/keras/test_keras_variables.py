"""Keras' variables as ours: tapes, traced functions, assignment, checkpoints."""

import numpy as np
import pytest

import tapejit as tf


def test_the_backend_is_ours():
    assert tf.keras.backend.backend() == "tapejit"
    assert tf.optimizers.SGD is tf.keras.optimizers.SGD
    assert tf.losses.MeanSquaredError is tf.keras.losses.MeanSquaredError


def test_a_tape_sees_variables_of_layers():
    layer = tf.keras.layers.Dense(2)
    x = tf.constant([[1.0, 2.0, 3.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x))
    kernel, bias = tape.gradient(loss, layer.trainable_variables)
    np.testing.assert_allclose(kernel, [[1, 1], [2, 2], [3, 3]])
    np.testing.assert_allclose(bias, [1, 1])
    assert [v is w.handle for v, w in zip(tape.watched_variables(), layer.trainable_variables)] == [True, True]


def test_a_tape_watches_a_frozen_variable_when_told():
    v = tf.keras.Variable([2.0, 3.0], trainable=False)
    with tf.GradientTape() as tape:
        tape.watch(v)
        y = v * v
    np.testing.assert_allclose(tape.gradient(y, v), [4, 6])
    with tf.GradientTape() as tape:
        tape.watch(v)
        y = v * v
    np.testing.assert_allclose(tape.jacobian(y, v), np.diag([4, 6]))


def test_variables_meet_our_functions():
    v = tf.keras.Variable(np.eye(2, dtype="float32") * 3)
    x = tf.constant([[1.0, 2.0]])
    np.testing.assert_allclose(tf.matmul(x, v), [[3, 6]])
    np.testing.assert_allclose(x + v, [[4, 2], [1, 5]])
    np.testing.assert_allclose(tf.convert_to_tensor(v), np.eye(2) * 3)

    @tf.function
    def product(x):
        v.assign_add(tf.ones([2, 2]))
        return tf.matmul(x, v), v

    y, w = product(x)
    np.testing.assert_allclose(y, [[6, 9]])
    np.testing.assert_allclose(w, np.eye(2) * 3 + 1)


def test_a_traced_function_takes_variables_as_arguments():
    v, w = tf.keras.Variable(1.0), tf.keras.Variable(5.0)

    @tf.function
    def add(u, x):
        u.assign_add(x)
        return u * 2.0

    assert float(add(v, tf.constant(2.0))) == 6
    assert float(add(w, tf.constant(2.0))) == 14
    assert float(v) == 3
    assert add.experimental_get_tracing_count() == 1


def test_optimizers_take_variables_of_ours():
    w = tf.Variable([1.0, 2.0])
    optimizer = tf.keras.optimizers.Adam(0.1)
    optimizer.apply_gradients([(tf.constant([1.0, -1.0]), w)])
    np.testing.assert_allclose(w, [0.9, 2.1], rtol=1e-5)


def test_variables_made_in_a_traced_step_are_made_once():
    layer, optimizer = tf.keras.layers.Dense(1), tf.keras.optimizers.SGD(0.1, momentum=0.9)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer(x) - 1.0))
        weights = layer.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss

    losses = [float(step(tf.ones([4, 3]))) for _ in range(5)]
    assert losses[-1] < losses[0]
    assert int(optimizer.iterations) == 5
    assert len(optimizer.variables) == 4
    assert step.experimental_get_tracing_count() == 2


def test_a_checkpoint_holds_models_and_optimizers(tmp_path):
    def made():
        model = tf.keras.Sequential([tf.keras.layers.Input((2,)), tf.keras.layers.Dense(2)])
        optimizer = tf.keras.optimizers.Adam(0.1)
        optimizer.build(model.trainable_variables)
        return model, optimizer

    model, optimizer = made()
    optimizer.apply_gradients(zip([tf.ones([2, 2]), tf.ones([2])], model.trainable_variables))
    path = tf.train.Checkpoint(model=model, optimizer=optimizer).save(str(tmp_path / "at"))
    other, fresh = made()
    tf.train.Checkpoint(model=other, optimizer=fresh).restore(path).assert_consumed()
    for v, w in zip(model.weights + optimizer.variables, other.weights + fresh.variables):
        np.testing.assert_array_equal(v.numpy(), w.numpy())


@pytest.mark.parametrize("policy", ["float16", "mixed_float16"])
def test_layers_compute_in_the_dtype_of_their_policy(policy):
    layer = tf.keras.layers.Dense(2, dtype=policy)
    assert layer(tf.ones([1, 3])).dtype is tf.float16
    assert layer.kernel.handle.dtype is (tf.float16 if policy == "float16" else tf.float32)


def test_functions_of_the_backend_of_old():
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    K = tf.keras.backend
    np.testing.assert_allclose(K.mean(K.square(x)), 7.5)
    np.testing.assert_allclose(K.dot(x, x), [[7, 10], [15, 22]])
    assert K.concatenate([x, K.flatten(x)[:2][None]], axis=0).shape == (3, 2)
    assert tf.keras.losses.mse(x, x).shape == tf.keras.losses.mean_squared_error(x, x).shape == (2,)


def test_what_keras_gives_and_takes_of_64_bits():
    x = tf.constant([1.0, 2.0], tf.float64)
    assert tf.keras.ops.add(x, x).dtype is tf.float64
    assert tf.keras.ops.multiply(tf.constant([3], tf.int64), 2).dtype is tf.int64


def test_optimizers_keep_sparse_gradients_sparse():
    table = tf.Variable(tf.ones([4, 2]))
    optimizer = tf.keras.optimizers.SGD(0.5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table, [1, 1, 3]))
    optimizer.apply_gradients([(tape.gradient(loss, table), table)])
    np.testing.assert_allclose(table[:, 0], [1, 0, 1, 0.5])


@pytest.mark.parametrize("name", ["SGD", "Adam", "Adagrad"])
def test_sparse_gradients_move_variables_alike_in_traced_steps(name):
    ids = ([1, 1, 3], [2, 2, 0])

    def trained(trace):
        table = tf.Variable(tf.reshape(tf.range(1.0, 9.0), [4, 2]))
        optimizer = getattr(tf.keras.optimizers, name)(0.5, global_clipnorm=0.5)

        def step(i):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(table, i) ** 2)
            g = tape.gradient(loss, table)
            assert isinstance(g, tf.IndexedSlices)
            optimizer.apply_gradients([(g, table)])

        for i in ids:
            (tf.function(step) if trace else step)(tf.constant(i))
        return table.numpy()

    np.testing.assert_allclose(trained(True), trained(False), rtol=1e-6)


def test_the_version_is_that_of_the_library():
    from importlib.metadata import version

    assert tf.keras.__version__ == version("keras")


@pytest.mark.parametrize("ask", [lambda d: d.list_devices(), lambda d: d.DataParallel(), lambda d: d.initialize("a:1", 2, 0)])
def test_distribution_is_refused_by_name(ask):
    with pytest.raises(NotImplementedError, match=r"keras\.distribution is not there with tapejit"):
        ask(tf.keras.distribution)


def test_shapes_dtypes_and_specs_in_configurations():
    saving = tf.keras.saving
    for said in (tf.ones([2, 3]).shape, tf.TensorShape([None, 4]), tf.float16, {"shape": tf.TensorShape(None)}):
        written = saving.serialize_keras_object(said)
        assert written == saving.deserialize_keras_object(written)
    assert written == {"shape": None}
    assert saving.serialize_keras_object(tf.TensorSpec([None, 2], tf.int32, "ids"))["config"] == [[None, 2], "int32", "ids"]

"""Parts of variables, sparse gradients, host functions and nested structures."""

import numpy as np
import pytest

import tapejit as tf


def table():
    return tf.Variable(np.arange(12, dtype="float32").reshape(6, 2))


def test_slices_of_a_variable_can_be_assigned():
    v = table()
    v[0].assign([9.0, 8.0])
    v[::2, 1].assign_add(tf.ones([3]))
    v[-1].assign_sub([1.0, 2.0])
    np.testing.assert_array_equal(v, [[9, 9], [2, 3], [4, 6], [6, 7], [8, 10], [9, 9]])
    with pytest.raises(AttributeError, match="immutable"):
        tf.zeros([2]).assign(1.0)


@pytest.mark.parametrize(
    ("update", "row"),
    [
        ("scatter_update", [5, 7]),
        ("scatter_add", [7, 10]),
        ("scatter_sub", [-3, -4]),
        ("scatter_max", [5, 7]),
        ("scatter_min", [2, 3]),
        ("scatter_mul", [10, 21]),
    ],
)
def test_scatter_of_indexed_slices(update, row):
    v = table()
    getattr(v, update)(tf.IndexedSlices(tf.constant([[5.0, 7.0]]), tf.constant([1])))
    np.testing.assert_array_equal(v[1], row)
    np.testing.assert_array_equal(v[2], [4, 5])


def test_scatter_nd_into_a_variable():
    v = table()
    v.scatter_nd_update([[0], [1]], [[1.0, 1.0], [2.0, 2.0]])
    v.scatter_nd_add([[1], [1]], [[0.5, 0.5], [1.0, 1.0]])
    v.scatter_nd_sub([[0, 1]], [3.0])
    np.testing.assert_array_equal(v[:2], [[1, -2], [3.5, 3.5]])
    with pytest.raises(tf.errors.InvalidArgumentError):
        v.scatter_nd_add([[6]], [[0.0, 0.0]])


def test_gradient_of_a_gathered_variable_is_sparse_and_keeps_duplicates():
    v = table()
    with tf.GradientTape(persistent=True) as tape:
        rows = tf.gather(v, [1, 3, 1])
        loss = tf.reduce_sum(rows * rows)
        mixed = loss + tf.reduce_sum(v)
        sliced = tf.reduce_sum(v[1:3])
    g = tape.gradient(loss, v)
    assert isinstance(g, tf.IndexedSlices)
    np.testing.assert_array_equal(g.indices, [1, 3, 1])
    np.testing.assert_array_equal(g.values, [[4, 6], [12, 14], [4, 6]])
    np.testing.assert_array_equal(g.dense_shape, [6, 2])
    np.testing.assert_array_equal(tf.convert_to_tensor(g), [[0, 0], [8, 12], [0, 0], [12, 14], [0, 0], [0, 0]])
    np.testing.assert_array_equal(tf.convert_to_tensor(g + g * 2), 3 * tf.convert_to_tensor(g))
    np.testing.assert_array_equal(tape.gradient(mixed, v), tf.convert_to_tensor(g) + 1)
    assert isinstance(tape.gradient(mixed, v), tf.Tensor)
    assert isinstance(tape.gradient(sliced, v), tf.Tensor)


def test_sparse_gradients_can_be_differentiated():
    v = table()
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            loss = tf.reduce_sum(tf.gather(v, [1, 1]) ** 3)
        g = inner.gradient(loss, v)
    np.testing.assert_array_equal(tf.convert_to_tensor(outer.gradient(g, v))[1], 2 * 6 * np.array([2.0, 3.0]))


def test_host_functions():
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.py_function(lambda q: q * q, [x], tf.float32)
    np.testing.assert_array_equal(tape.gradient(y, x), [2, 4])
    np.testing.assert_array_equal(tf.numpy_function(lambda q: q + 1, [x], tf.float32), [2, 3])
    with pytest.raises(tf.errors.InvalidArgumentError, match="Tout"):
        tf.py_function(lambda q: (q, q), [x], tf.float32)


def test_host_functions_in_a_step(capfd):
    seen = []

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.py_function(lambda q: q * q, [x], tf.float32)
            y.set_shape(x.shape)
            z = tf.reduce_sum(3.0 * y)
        tf.py_function(lambda q: seen.append(float(q)), [z], [])
        tf.print("z is", z, [x])
        tf.debugging.assert_positive(x)
        return tape.gradient(z, x)

    for scale in (1.0, 2.0):
        np.testing.assert_array_equal(step(tf.constant([scale, 2.0])), [6 * scale, 12])
    assert seen == [15.0, 24.0]
    assert capfd.readouterr().err.splitlines() == ["z is 15 [[1 2]]", "z is 24 [[2 2]]"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="x > 0"):
        step(tf.constant([-1.0, 2.0]))
    with pytest.raises(NotImplementedError, match="set_shape"):
        tf.function(lambda x: tf.py_function(lambda q: q, [x], tf.float32) + 1).get_concrete_function(tf.constant(1.0))


def test_bad_indices_in_a_step_name_index_and_line():
    gather = tf.function(lambda x, i: tf.gather(x, i))
    np.testing.assert_array_equal(gather(tf.constant([1.0, 2.0]), tf.constant([1, 0])), [2, 1])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"2 is not in \[0, 2\)[\s\S]*test_parts\.py"):
        gather(tf.constant([1.0, 2.0]), tf.constant([2, 0]))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([1.0, 0.1, 1 / 3], "[1 0.1 0.333333343]"),
        (np.arange(10), "[0 1 2 ... 7 8 9]"),
        ([[1, 2], [3, 4]], "[[1 2]\n [3 4]]"),
        ([True, False], "[1 0]"),
        ([np.nan, np.inf, -np.inf], "[nan inf -inf]"),
    ],
)
def test_print_writes_as_tensorflow_does(tmp_path, value, shown):
    file = tmp_path / "out"
    tf.print("v:", tf.constant(value), output_stream=f"file://{file}", end=";")
    assert file.read_text() == f"v: {shown};"


def test_nest():
    assert tf.nest.flatten({"b": (2, None), "a": [1]}) == [1, 2, None]
    assert tf.nest.map_structure(lambda a, b: a + b, {"x": (1, 2)}, {"x": (3, 4)}) == {"x": (4, 6)}
    assert tf.nest.pack_sequence_as([1, (2,)], "ab") == ["a", ("b",)]
    with pytest.raises(ValueError, match="number of elements"):
        tf.nest.assert_same_structure([1, 2], [1])
    with pytest.raises(TypeError, match="sequence type"):
        tf.nest.assert_same_structure([1], (1,))


def test_assertions():
    tf.debugging.assert_near([1.0], [1.0 + 1e-7])
    tf.debugging.assert_shapes([(tf.zeros([2, 3]), ("N", 3)), (tf.zeros([2]), ("N",))])
    with pytest.raises(ValueError, match="size 3"):
        tf.debugging.assert_shapes([(tf.zeros([2]), ("N",)), (tf.zeros([3]), ("N",))])
    with pytest.raises(tf.errors.InvalidArgumentError, match="x == y"):
        tf.debugging.assert_equal([1, 2], [1, 3])
    with pytest.raises(tf.errors.InvalidArgumentError, match="loss : Tensor had NaN values"):
        tf.debugging.check_numerics([np.nan], "loss")

"""Functions given to datasets: when they are traced, run in blocks, or eagerly; their errors and random numbers."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.data import functions

D = tf.data.Dataset


def listed(ds):
    return [tf.nest.map_structure(lambda x: x.tolist(), e) for e in ds.as_numpy_iterator()]


@pytest.fixture(params=["interpreted", "compiled"])
def tier(request, monkeypatch):
    """How traced functions run: in the interpreter, or compiled from the second element on."""
    if request.param == "compiled":
        monkeypatch.setattr(functions, "_PATIENCE", 1e-9)
    return request.param


def test_a_function_is_traced_once_and_at_once():
    traces = []
    ds = D.range(3).map(lambda x: traces.append(x.shape) or x * 2)
    assert len(traces) == 1
    assert listed(ds) == [0, 2, 4]
    assert listed(ds) == [0, 2, 4]
    assert len(traces) == 1


def test_the_last_batch_is_no_other_trace(tier):
    traces = []

    def total(batch):
        traces.append(batch.shape[0])
        return tf.reduce_sum(batch, axis=0), tf.shape(batch)[0]

    assert listed(D.range(10).batch(4).map(total)) == [(6, 4), (22, 4), (17, 2)]
    assert traces == [None]


@pytest.mark.parametrize("source", ["rows", "elements"])
def test_maps_of_structures(tier, source):
    x = np.arange(40.0, dtype=np.float32).reshape(20, 2)
    ds = D.from_tensor_slices({"x": x, "n": np.arange(20)})
    if source == "elements":
        ds = ds.batch(1).map(lambda e: {k: v[0] for k, v in e.items()})
    ds = ds.map(lambda e: (e["x"] / 2.0, {"square": e["n"] ** 2, "list": [e["n"], e["n"]], "number": 1.5}))
    halves, rest = zip(*ds.as_numpy_iterator(), strict=True)
    np.testing.assert_array_equal(halves, x / 2)
    assert [r["square"] for r in rest] == [n * n for n in range(20)]
    assert rest[3]["list"].tolist() == [3, 3]
    assert rest[3]["number"] == np.float32(1.5)
    assert ds.element_spec[1]["list"] == tf.TensorSpec([2], tf.int64)


def test_filters(tier):
    ds = D.range(100)
    assert listed(ds.filter(lambda x: x % 7 == 0)) == list(range(0, 100, 7))
    assert listed(ds.take_while(lambda x: x < 50)) == list(range(50))
    assert listed(ds.shuffle(100).filter(lambda x: x < 3).batch(10).map(tf.sort)) == [[0, 1, 2]]
    with pytest.raises(ValueError, match="scalar boolean"):
        ds.filter(lambda x: x)


def test_python_values_decide_eagerly():
    ds = D.range(4).map(lambda x: float(np.sqrt(x.numpy())))
    assert [round(v, 3) for v in listed(ds)] == [0.0, 1.0, 1.414, 1.732]
    assert ds.element_spec.dtype is tf.float32
    assert listed(ds.map(lambda x: x * 0.0).batch(2)) == [[0.0, 0.0], [0.0, 0.0]]


def test_python_control_flow_on_tensors_is_traced(tier):
    traces = []

    def collatz(x):
        traces.append(1)
        steps = tf.constant(0)
        while x != 1:
            if x % 2 == 0:
                x = x // 2
            else:
                x = 3 * x + 1
            steps += 1
        return steps

    assert listed(D.range(1, 8).map(collatz)) == [0, 1, 7, 2, 5, 8, 16]
    assert traces == [1]
    assert listed(D.range(6).filter(lambda x: x > 1 and x < 4)) == [2, 3]


def test_py_function():
    ds = D.range(3).map(lambda x: tf.py_function(lambda v: v * 10, [x], tf.int64))
    assert listed(ds) == [0, 10, 20]

    def shaped(x):
        y = tf.numpy_function(lambda v: np.full(2, v, np.float32), [x], tf.float32)
        y.set_shape([2])
        return y

    ds = D.range(3).map(shaped)
    assert ds.element_spec == tf.TensorSpec([2], tf.float32)
    assert listed(ds.batch(3)) == [[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]]


def test_errors_name_the_users_line(tier):
    with pytest.raises(ValueError, match=r"test_dataset_functions\.py"):
        D.from_tensor_slices(np.ones([2, 3])).map(lambda x: x + tf.ones([2], tf.float64))
    bad = D.range(10).map(lambda i: tf.gather([1, 2, 3], i))
    got = []
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"test_dataset_functions\.py"):
        got.extend(int(x) for x in bad)
    assert got == [1, 2, 3]
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        list(D.range(5).map(lambda x: tf.debugging.assert_less(x, tf.constant(3, tf.int64), "too large") or x))


def test_elements_before_a_failing_one_come(tier):
    """Blocks are computed ahead, but what fails in one shows at its element."""
    it = iter(D.range(1000).map(lambda i: tf.gather(tf.range(500), i)))
    assert [int(next(it)) for _ in range(500)] == list(range(500))
    with pytest.raises(tf.errors.InvalidArgumentError):
        next(it)


def test_random_numbers_of_a_map(tier):
    def draws():
        tf.random.set_seed(3)
        ds = D.range(50).map(lambda x: tf.random.uniform([2]), num_parallel_calls=4).prefetch(2)
        first = listed(ds)
        return first, tf.random.uniform([]).numpy()

    (a, after), (b, again) = draws(), draws()
    assert a == b
    assert after == again
    assert len({tuple(v) for v in a}) == 50


def test_the_same_numbers_interpreted_and_compiled(monkeypatch):
    def draws():
        tf.random.set_seed(3)
        return listed(D.range(20).map(lambda x: tf.random.normal([3])))

    interpreted = draws()
    monkeypatch.setattr(functions, "_PATIENCE", 1e-9)
    np.testing.assert_allclose(draws(), interpreted, rtol=1e-6)


def test_a_variable_that_a_map_changes(tier):
    count = tf.Variable(0)

    def numbered(x):
        count.assign_add(1)
        return count.read_value()

    ds = D.range(5).map(numbered)
    assert listed(ds.take(2)) == [1, 2]
    assert int(count) == 2


def test_flat_map_and_interleave():
    assert listed(D.range(4).flat_map(lambda n: D.range(n).map(lambda k: k + 10 * n))) == [10, 20, 21, 30, 31, 32]
    ds = D.range(1, 4).interleave(lambda x: D.from_tensors(x).repeat(4), cycle_length=2, block_length=3)
    assert listed(ds) == [1, 1, 1, 2, 2, 2, 1, 2, 3, 3, 3, 3]
    ds = D.range(1, 6).interleave(
        lambda x: D.from_tensors(x).repeat(6), cycle_length=2, block_length=4, num_parallel_calls=tf.data.AUTOTUNE
    )
    assert listed(ds) == [1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 3, 3, 4, 4, 5, 5, 5, 5, 5, 5]
    with pytest.raises(TypeError, match="must return a `Dataset`"):
        list(D.range(2).flat_map(lambda x: x))


def test_scan_and_reduce(tier):
    ds = D.range(5).scan(np.int64(0), lambda s, x: (s + x, (s, x)))
    assert listed(ds) == [(0, 0), (0, 1), (1, 2), (3, 3), (6, 4)]
    assert ds.element_spec == (tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int64))
    total, count = D.range(5).reduce((np.int64(0), 0), lambda s, x: (s[0] + x, s[1] + 1))
    assert (int(total), int(count)) == (10, 5)
    joined = D.range(4).reduce(tf.zeros([0], tf.int64), lambda s, x: tf.concat([s, [x]], 0))
    assert joined.numpy().tolist() == [0, 1, 2, 3]
    with pytest.raises(TypeError, match="match the initial state"):
        D.range(3).reduce(0.0, lambda s, x: x)


def test_tapes_do_not_see_pipelines():
    v = tf.Variable(2.0)
    ds = D.from_tensor_slices([1.0, 2.0]).map(lambda x: x * v)
    with tf.GradientTape() as tape:
        total = sum(x * v for x in ds)
    assert float(tape.gradient(total, v)) == 6.0  # d(2 v + 4 v): the map's products are constants


def test_a_function_that_calls_traced_ones():
    @tf.function
    def half(x):
        return x / 2

    assert listed(D.range(3, output_type=tf.float32).map(half)) == [0.0, 0.5, 1.0]

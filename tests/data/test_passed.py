"""Datasets and iterators as arguments of traced functions: one trace serves all of one element spec."""

import gc
import weakref

import pytest

import tapejit as tf

D = tf.data.Dataset


def summing():
    @tf.function
    def total(ds):
        t = tf.constant(0, tf.int64)
        for x in ds:
            t += x
        return t

    return total


def test_one_trace_for_one_element_spec():
    total = summing()
    assert [int(total(D.range(n))) for n in (10, 5, 0)] == [45, 10, 0]
    assert int(total(D.from_tensor_slices([1, 2]).map(lambda x: tf.cast(x, tf.int64)))) == 3
    assert total.experimental_get_tracing_count() == 1
    with pytest.raises(ValueError, match=r"shape|before the loop"):
        total(D.range(4).batch(2, drop_remainder=True))
    assert "DatasetSpec" in total.pretty_printed_concrete_signatures()


def test_iterators_go_on_where_they_are():
    @tf.function
    def three(it):
        return next(it) + next(it) + it.get_next()

    it = iter(D.range(100))
    assert int(three(it)) == 3
    assert int(next(it)) == 3
    assert int(three(it)) == 15
    assert int(three(iter(D.range(50, 60)))) == 153
    assert three.experimental_get_tracing_count() == 1
    with pytest.raises(tf.errors.OutOfRangeError, match="End of sequence"):
        three(iter(D.range(2)))
    saved = it.saved_state()
    assert saved[0] == 7


def test_iterators_in_loops():
    @tf.function
    def steps(it, n):
        t = tf.constant(0, tf.int64)
        for _ in tf.range(n):
            t += next(it)
        return t

    it = iter(D.range(10))
    assert int(steps(it, tf.constant(4))) == 6
    assert [int(x) for x in it] == [4, 5, 6, 7, 8, 9]


def test_arguments_are_transformed_in_the_function():
    @tf.function
    def products(ds, other):
        t = tf.constant(0, tf.int64)
        for a, b in D.zip((ds.take(3).map(lambda x: x * 2), other.skip(1))):
            t += a * b
        return t

    assert int(products(D.range(10), D.range(10))) == sum(2 * k * (k + 1) for k in range(3))
    assert int(products(D.range(5, 9), D.range(2))) == 10
    assert products.experimental_get_tracing_count() == 1


def test_a_shuffle_in_the_function_goes_on():
    @tf.function
    def order(ds):
        rows = tf.TensorArray(tf.int64, 20)
        for k, x in enumerate(ds.shuffle(20)):
            rows = rows.write(k, x)
        return rows.stack()

    ds = D.range(20)
    first, second = order(ds).numpy().tolist(), order(ds).numpy().tolist()
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_python_zip_and_next():
    @tf.function
    def dot(a, b):
        t = tf.constant(0, tf.int64)
        for x, y in zip(a, b):
            t += x * y
        return t

    assert int(dot(D.range(4), D.range(1, 9))) == 20
    captured = iter(D.range(5))

    @tf.function
    def one():
        return next(captured)

    assert [int(one()), int(one()), int(next(captured))] == [0, 1, 2]


def test_datasets_are_passed_on():
    total = summing()

    @tf.function
    def twice(ds):
        return total(ds) + total(ds.take(2)) + total(D.range(3))

    assert int(twice(D.range(5))) == 10 + 1 + 3
    gc.collect()
    assert int(twice(D.range(3, 6))) == 12 + 7 + 3
    assert total.experimental_get_tracing_count() == 1


def test_a_step_with_an_iterator_trains():
    w = tf.Variable(0.0)

    @tf.function
    def step(it):
        x = tf.cast(it.get_next(), tf.float32)
        with tf.GradientTape() as tape:
            loss = (w - x) ** 2
        w.assign_sub(0.1 * tape.gradient(loss, w))
        return loss

    it = iter(D.from_tensors(3.0).repeat())
    for _ in range(40):
        loss = step(it)
    assert float(loss) < 1e-4
    assert step.experimental_get_tracing_count() == 1


def test_a_captured_dataset_goes_with_the_function_and_no_earlier():
    def make():
        ds = D.range(4)

        @tf.function
        def total():
            t = tf.constant(0, tf.int64)
            for x in ds:
                t += x
            return t

        @tf.function
        def outer():
            return total() + 1

        return outer, weakref.ref(ds._stage)

    outer, stage = make()
    gc.collect()
    assert [int(outer()), int(outer())] == [7, 7]
    gc.collect()
    assert int(outer()) == 7
    assert stage() is not None
    del outer
    gc.collect()
    assert stage() is None


def test_concrete_functions_take_datasets():
    total = summing().get_concrete_function(D.range(3))
    assert int(total(D.range(4))) == 6
    with pytest.raises(TypeError, match="Can not cast"):
        total(D.from_tensor_slices([1.0]))

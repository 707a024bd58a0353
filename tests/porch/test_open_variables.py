"""Variables of open shape in traced functions: each call finds them at the size they have, and may leave them another."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tapejit as tf


def rows(n, m=3):
    return tf.constant(np.arange(n * m, dtype=np.float32).reshape(n, m))


def both(step, calls, start=2):
    """The calls of `step(variable, *arguments)` give eagerly and traced the same results and values; how often it was traced."""
    ones = [tf.Variable(rows(start), shape=[None, 3]) for _ in range(2)]
    traced = tf.function(step)
    for arguments in calls:
        wanted, got = step(ones[0], *arguments), traced(ones[1], *arguments)
        for a, b in zip(tf.nest.flatten(wanted), tf.nest.flatten(got), strict=True):
            assert a.dtype is b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-6)
        np.testing.assert_allclose(ones[0], ones[1], rtol=1e-6)
        assert ones[1].shape.as_list() == [None, 3]
    return traced.experimental_get_tracing_count()


def read(v):
    return tf.reduce_sum(v * 2.0, axis=0), tf.shape(v), tf.size(v), v[-1]


def grown(v, x):
    v.assign(tf.concat([v, x], axis=0))
    return tf.reduce_sum(v), tf.shape(v)[0]


def grown_twice(v, x):
    a = v + 0.0
    v.assign(tf.concat([v, x], axis=0))
    b = tf.reduce_sum(v)
    v.assign(tf.concat([x, v], axis=0))
    return a, b, v + 0.0


def filtered(v, x):
    v.assign(tf.boolean_mask(tf.concat([v, x], axis=0), tf.concat([v, x], axis=0)[:, 1] > 3.5))
    return tf.shape(v)


def replaced(v, x):
    v.assign(x)
    return v.read_value()


def in_place(v, x):
    v.assign_add(tf.ones_like(v) * x[0])
    v[0].assign(x[1])
    v.scatter_nd_update([[1]], [x[0]])
    return tf.reduce_sum(v)


def in_branches(v, x):
    if tf.reduce_sum(v) > 20.0:
        v.assign(v[:1])
    else:
        v.assign(tf.concat([v, x], axis=0))
    return tf.shape(v), tf.reduce_sum(v)


def in_one_branch(v, x):
    if tf.shape(v)[0] < 4:
        v.assign(tf.boolean_mask(tf.concat([v, x], axis=0), tf.concat([v, x], axis=0)[:, 0] > -1.0))
    return tf.shape(v), tf.reduce_sum(v)


def kept_in_a_loop(v, x):
    for k in tf.range(3):
        v.assign_add(tf.ones_like(v) * x[0, 0] * tf.cast(k, tf.float32))
    return tf.reduce_sum(v)


def after_a_loop(v, x):
    many = tf.TensorArray(tf.float32, 0, dynamic_size=True)
    for k in tf.range(tf.shape(x)[0]):
        many = many.write(k, x[k] * 2.0)
    v.assign(tf.concat([v, many.stack()], axis=0))
    return tf.reduce_sum(v)


def with_gradient(v, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(v * v) * tf.reduce_sum(x)
    g = tape.gradient(loss, v)
    v.assign(tf.concat([v - 0.01 * g, x], axis=0))
    return loss, g


@pytest.mark.parametrize(
    "step",
    [grown, grown_twice, filtered, replaced, in_place, in_branches, in_one_branch, kept_in_a_loop, after_a_loop, with_gradient],
    ids=lambda f: f.__name__,
)
def test_a_step_that_assigns(step):
    assert both(step, [(rows(2),)] * 5) == 1
    assert both(step, [(rows(2),), (rows(4),), (rows(3),)], start=5) == 3


def test_a_step_that_reads():
    v = tf.Variable(rows(2), shape=[None, 3])
    traced = tf.function(lambda: read(v))
    for n in (2, 5, 1, 5):
        v.assign(rows(n))
        for a, b in zip(traced(), read(v), strict=True):
            np.testing.assert_array_equal(a, b)
    assert traced.experimental_get_tracing_count() == 1
    assert traced.get_concrete_function().variables == (v,)


def test_a_failing_step_leaves_it_as_it_was():
    v = tf.Variable(rows(2), shape=[None, 3])

    @tf.function
    def step(x):
        v.assign(tf.concat([v, x], axis=0))
        tf.debugging.assert_non_negative(x)

    for x, size in ((rows(1), 3), (-rows(1) - 1.0, 3), (rows(1), 4)):
        if size == v.numpy().shape[0]:
            with pytest.raises(tf.errors.InvalidArgumentError, match=r"test_open_variables\.py"):
                step(x)
        else:
            step(x)
        assert v.numpy().shape[0] == size


def test_what_was_read_before_stays():
    v = tf.Variable(rows(2), shape=[None, 3])
    step = tf.function(lambda x: v.assign(tf.concat([v, x], axis=0)).read_value())
    held = [v.read_value()]
    held += [step(rows(1)) for _ in range(3)]
    assert [x.shape[0] for x in held] == [2, 3, 4, 5]
    np.testing.assert_array_equal(held[0], rows(2))
    v.assign_add(tf.ones_like(v))
    np.testing.assert_array_equal(held[-1][:2], rows(2))


def test_functions_within_functions():
    v = tf.Variable(rows(2), shape=[None, 3])
    inner = tf.function(lambda x: tf.reduce_sum(v.assign(tf.concat([v, x], axis=0))))

    @tf.function
    def outer(x):
        a = inner(x)
        b = inner(x)
        return a, b, tf.shape(v)

    for n in (4, 6):
        a, b, shape = outer(rows(1))
        assert shape.numpy().tolist() == [n, 3]
        assert float(b - a) == 3.0


def test_several_variables_as_arguments():
    @tf.function
    def step(a, b, x):
        a.assign(tf.concat([a, x], axis=0))
        b.assign(b[1:])
        return tf.shape(a)[0] - tf.shape(b)[0]

    a, b = (tf.Variable(rows(3), shape=[None, 3]) for _ in range(2))
    assert [int(step(a, b, rows(1))) for _ in range(2)] == [2, 4]
    assert int(step(b, a, rows(1))) == -2
    assert step.experimental_get_tracing_count() == 1
    same = tf.Variable(rows(3), shape=[None, 3])
    assert int(step(same, same, rows(1))) == 0
    assert "shape=(None, 3)" in step.pretty_printed_concrete_signatures()


def test_under_a_tape():
    v, w = tf.Variable(rows(2), shape=[None, 3]), tf.Variable(2.0)

    @tf.function
    def loss(x):
        return tf.reduce_sum(v * v) * w * x

    @tf.function
    def growing(x):
        v.assign(tf.concat([v, x], axis=0))
        return tf.reduce_sum(v) * w

    for n in (2, 4, 3):
        v.assign(rows(n))
        with tf.GradientTape() as tape:
            y = loss(3.0)
        gv, gw = tape.gradient(y, [v, w])
        np.testing.assert_allclose(gv, 12.0 * rows(n))
        np.testing.assert_allclose(gw, 3.0 * tf.reduce_sum(v * v))
    for _ in range(2):
        with tf.GradientTape() as tape:
            y = growing(rows(1))
        np.testing.assert_allclose(tape.gradient(y, w), tf.reduce_sum(v))


def test_of_any_shape():
    v = tf.Variable([1.0, 2.0], shape=tf.TensorShape(None))
    step = tf.function(lambda x: tf.reduce_sum(v.assign(tf.concat([v, x], axis=0))))
    assert [float(step(tf.ones([1]))) for _ in range(2)] == [4.0, 5.0]
    with pytest.raises(NotImplementedError, match=r"its rank stays[\s\S]*test_open_variables\.py"):
        tf.function(lambda: v.assign([[1.0]]))()


def test_errors_name_the_line():
    v = tf.Variable(rows(2), shape=[None, 3])

    @tf.function
    def loop():
        for _ in tf.range(2):
            v.assign(tf.concat([v, v], axis=0))

    with pytest.raises(NotImplementedError, match=r"assign that after the loop[\s\S]*test_open_variables\.py"):
        loop()
    with pytest.raises(ValueError, match=r"Shape mismatch[\s\S]*test_open_variables\.py"):
        tf.function(lambda: v.assign(tf.ones([2, 4])))()
    fixed = tf.Variable([1.0, 2.0, 3.0])
    assign = tf.function(lambda x: tf.reduce_sum(fixed.assign(tf.boolean_mask(x, x > 0))))
    assert float(assign(tf.constant([1.0, 2.0, 4.0]))) == 7.0
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"2 and 3[\s\S]*test_open_variables\.py"):
        assign(tf.constant([1.0, -2.0, 4.0]))
    np.testing.assert_array_equal(fixed, [1.0, 2.0, 4.0])


def test_checkpoints_and_threads(tmp_path):
    v = tf.Variable(rows(1), shape=[None, 3])
    step = tf.function(lambda x: tf.shape(v.assign(tf.concat([v, x], axis=0))))
    checkpoint = tf.train.Checkpoint(v=v)
    step(rows(2))
    saved = checkpoint.save(str(tmp_path / "c"))
    threads = [threading.Thread(target=lambda: [step(rows(1)) for _ in range(20)]) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert v.numpy().shape[0] == 63
    checkpoint.restore(saved)
    np.testing.assert_array_equal(v, np.concatenate([rows(1), rows(2)]))
    step(rows(1))
    assert v.numpy().shape == (4, 3)


def test_its_explanations():
    v = tf.Variable(rows(2), shape=[None, 3])
    step = tf.function(lambda x: tf.reduce_sum(v.assign(tf.concat([v, x], axis=0))))
    step(rows(2))
    assert "state.v: f32[N, 3]" in str(step.show())
    assert step.verify(rows(2)).ok
    assert "v" in str(step.memory_report(rows(2)))
    assert float(step.check_numerics(rows(1))) > 0

"""`get_initialization_function`: the initial values of the variables that a traced function makes, without running it."""

from __future__ import annotations

import numpy as np
import pytest

import tapejit as tf


class Model(tf.Module):
    def __init__(self):
        self.w = self.b = self.n = None
        self.scale = tf.Variable(3.0)

    @tf.function
    def __call__(self, x):
        if self.w is None:
            self.w = tf.Variable(tf.random.normal([2, 2]) * 0.0 + self.scale * 2.0)
            self.b = tf.Variable(lambda: tf.random.normal([2]))
            self.n = tf.Variable(np.array([1, 2], np.int32))
        self.b.assign_add([1.0, 1.0])
        return x @ self.w + self.b


def test_gives_initial_values_again_without_running_the_function():
    model = Model()
    initialize = model.__call__.get_initialization_function(tf.TensorSpec([1, 2], tf.float32))
    assert model.__call__.experimental_get_tracing_count() == 2
    first = model.b.numpy()
    initialize()
    assert not np.array_equal(model.b, first)  # drawn anew
    drawn = model.b.numpy()
    model(tf.ones([1, 2]))
    np.testing.assert_array_equal(model.b, drawn + 1.0)
    model.n.assign([7, 7])
    model.w.assign(tf.zeros([2, 2]))
    model.scale.assign(5.0)
    assert initialize() is None
    np.testing.assert_array_equal(model.n, [1, 2])
    np.testing.assert_array_equal(model.w, np.full([2, 2], 10.0, np.float32))
    assert tf.is_tensor(model(tf.ones([1, 2])))


def test_of_a_function_without_variables():
    f = tf.function(lambda x: x + 1.0)
    assert f.get_initialization_function(tf.ones([2]))() is None
    np.testing.assert_array_equal(f(tf.ones([2])), [2.0, 2.0])


def test_refuses_after_use_and_what_depends_on_arguments():
    made = []

    @tf.function
    def f(x):
        if not made:
            made.append(tf.Variable(tf.reduce_sum(x)))
        return made[0] + x

    with pytest.raises(ValueError, match=r"may not depend on an argument[\s\S]*test_initialization_function\.py"):
        f.get_initialization_function(tf.TensorSpec([2], tf.float32))
    f(tf.ones([2]))
    with pytest.raises(RuntimeError, match=r"after the function has been used[\s\S]*test_initialization_function\.py"):
        f.get_initialization_function(tf.ones([2]))

    @tf.function
    def g(x):
        if len(made) == 1:
            made.append(tf.Variable(tf.reduce_sum(x)))
        return made[1] + x

    with pytest.raises(ValueError, match="without any is to compute it"):
        g.get_initialization_function(tf.ones([2]))


def test_of_the_variables_themselves():
    v = tf.Variable([1.0])
    assert v.is_initialized().dtype is tf.bool
    assert bool(tf.function(lambda: v.is_initialized())())
    with pytest.raises(RuntimeError, match=r"not supported when eager[\s\S]*test_initialization_function\.py"):
        v.initial_value  # noqa: B018
    assert (v.constraint, v.synchronization.name, v.aggregation.name) == (None, "AUTO", "NONE")

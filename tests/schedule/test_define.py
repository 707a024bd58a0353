"""What is computed twice in the same way is computed once."""

import numpy as np

import tapejit as tf


def kernels(f, *args):
    traced = tf.function(f)
    traced(*args)
    return str(traced.show("kernels"))


X = tf.constant(np.linspace(-2.0, 2.0, 12, dtype=np.float32).reshape(3, 4))


def test_equal_values_are_one():
    text = kernels(
        lambda x: tf.exp(x) * tf.reduce_sum(tf.exp(x), axis=1, keepdims=True) + tf.reduce_sum(tf.exp(x), axis=1, keepdims=True), X
    )
    assert text.count("exp(x[") == 1
    assert text.count("+= ") == 1


def test_zeros_of_both_signs_differ():
    f = tf.function(lambda x: (tf.maximum(x, 0.0) * -1.0 + 0.0, tf.maximum(x, 0.0) * -1.0 + -0.0))
    plus, minus = f(tf.constant([-1.0]))
    assert not np.signbit(plus.numpy()[0])
    assert np.signbit(minus.numpy()[0])


def test_equal_results_are_two_arrays():
    f = tf.function(lambda x: (tf.exp(x), tf.exp(x), tf.reshape(tf.exp(x), [4, 3])))
    a, b, c = f(X)
    for found in (a, b, tf.reshape(c, [3, 4])):
        np.testing.assert_allclose(found.numpy(), np.exp(X.numpy()), rtol=1e-6)
    assert a.numpy() is not b.numpy()
    assert not np.shares_memory(a.numpy(), b.numpy())


def test_windows_of_the_forward_pass_serve_the_gradient():
    def step(x, w):
        with tf.GradientTape() as tape:
            tape.watch(w)
            y = tf.reduce_sum(tf.nn.relu(tf.nn.conv2d(x, w, 1, "SAME")))
        return tape.gradient(y, w)

    x = tf.constant(np.ones((2, 8, 8, 3), np.float32))
    w = tf.constant(np.ones((3, 3, 3, 4), np.float32))
    assert kernels(step, x, w).count("guarded(") == 1

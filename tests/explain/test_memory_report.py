"""What a step keeps for its gradients: by value and line, in bytes; and what it computes again instead."""

import numpy as np

import tapejit as tf


def test_a_train_step_keeps_what_its_products_need():
    w = tf.Variable(np.ones((64, 128), "float32"))

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            hidden = tf.tanh(x @ w)
            loss = tf.reduce_mean(tf.square(hidden @ tf.transpose(w)))
        w.assign_sub(0.1 * tape.gradient(loss, w))
        return loss

    start = w.numpy()
    report = step.memory_report(tf.ones([32, 64]))
    kept = {r.name: r for r in report.residuals if r.kept}
    assert kept["hidden"].bytes == 32 * 128 * 4
    assert kept["hidden"].place.text == "hidden = tf.tanh(x @ w)"
    assert not report.under_tape
    assert report.arena >= kept["hidden"].bytes
    first = step.python_function.__code__.co_firstlineno
    assert {p.line - first for p in report.by_line()} <= {3, 4}
    assert sum(report.by_line().values()) == report.kept
    assert "hidden = tf.tanh(x @ w)" in str(report)
    np.testing.assert_array_equal(w.numpy(), start, err_msg="nothing has run")


def test_what_stays_within_a_kernel_is_computed_again():
    v = tf.Variable(np.linspace(0, 1, 1000).astype("float32"))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.exp(tf.sin(v) * 2.0))
        return tape.gradient(loss, v)

    report = step.memory_report()
    assert report.residuals
    assert report.kept == 0
    assert report.recomputed >= 4000
    assert "computed again" in str(report)


def test_a_function_without_gradients_says_what_a_tape_keeps_and_open_sizes_are_those_of_the_call():
    w = tf.Variable(np.ones((8, 4), "float32"))

    @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32)])
    def f(x):
        hidden = tf.tanh(x @ w)
        return tf.reduce_sum(hidden * hidden)

    report = f.memory_report(tf.ones([16, 8]))
    assert report.under_tape
    assert {r.bytes for r in report.residuals} == {16 * 4 * 4}
    assert f.memory_report(tf.ones([32, 8])).kept == 2 * report.kept

"""Decompose: convolutions become windows and products, keep their names and places, and compute the same."""

import numpy as np

import tapejit as tf
from tapejit.ir.op import OPS
from tapejit.passes import pipeline
from tapejit.passes.decompose import decompose

X = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("f4")
W = np.random.default_rng(1).normal(size=(3, 3, 3, 3)).astype("f4")


def traced(f, *args):
    return tf.function(f).get_concrete_function(*map(tf.constant, args)).traced


def ops_of(graph):
    return [n.op.name for n in graph.walk()]


def test_a_convolution_becomes_windows_and_a_product_under_its_name():
    def f(x, w):
        hidden = tf.nn.conv2d(x, w, 1, "SAME")
        return hidden * 2.0

    before = pipeline.run(traced(f, X, W), until="prune")
    after = decompose(before)
    assert "conv" in ops_of(before)
    assert ops_of(after) == ["patches", "reshape", "reshape", "matmul", "reshape", "mul"]
    last = after.body[4]
    assert last.out.name == "hidden"
    assert last.place == next(n.place for n in before.body if n.op.name == "conv")
    assert [n.out.name for n in after.body[:4]] == ["hidden_1", "hidden_2", "hidden_3", "hidden_4"]


def test_convolutions_of_one_image_share_their_windows():
    def f(x, w):
        first = tf.nn.conv2d(x, w, 1, "SAME")
        return first, tf.nn.conv2d(x, w * 2.0, 1, "SAME"), tf.nn.conv2d(x, w, 2, "SAME")

    after = pipeline.run(traced(f, X, W))
    assert ops_of(after).count("patches") == 2  # one of each stride
    assert after.results[0].name == "first"


def test_gradients_are_taken_of_the_whole_op_first():
    def f(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = tf.nn.conv2d(x, w, 1, "SAME")
        return tape.gradient(y, [x, w])

    graph = pipeline.run(traced(f, X, W))
    assert {"fold", "matmul", "patches"} <= set(ops_of(graph))
    assert not {"conv", "conv_input", "conv_filter"} & set(ops_of(graph))
    for got, wanted in zip(tf.function(f)(X, W), f(tf.constant(X), tf.constant(W)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_depthwise_convolutions_stay():
    graph = pipeline.run(traced(lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"), X, np.ones((3, 3, 3, 1), "f4")))
    assert "conv" in ops_of(graph)


def test_nothing_to_do_leaves_the_graph():
    graph = traced(lambda x: x + 1.0, X)
    assert decompose(graph) is graph


def test_only_ops_with_another_form_declare_one():
    assert {n for n, op in OPS.items() if op.decomposed is not None} == {"conv", "conv_filter", "conv_input", "polygamma"}

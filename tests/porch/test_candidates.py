"""Candidate samplers and the losses on what they draw."""

import numpy as np
import pytest
from scipy.special import logsumexp

import tapejit as tf

RNG = np.random.default_rng(0)
SAMPLERS = {
    tf.random.uniform_candidate_sampler: np.full(9, 1 / 9),
    tf.random.log_uniform_candidate_sampler: np.log1p(1 / np.arange(1, 10)) / np.log(10),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_classes_come_as_often_as_expected(sampler):
    classes, true, drawn = sampler([[2], [0]], 1, 20000, False, 9, seed=1)
    assert (classes.dtype, classes.shape) == (tf.int64, (20000,))
    np.testing.assert_allclose(np.bincount(classes, minlength=9) / 20000, SAMPLERS[sampler], atol=0.015)
    np.testing.assert_allclose(true, 20000 * SAMPLERS[sampler][[[2], [0]]], rtol=1e-5)
    np.testing.assert_allclose(drawn, 20000 * SAMPLERS[sampler][classes], rtol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "traced"])
def test_unique_classes_differ(sampler, wrap):
    classes, true, drawn = wrap(lambda labels: sampler(labels, 2, 8, True, 9))(tf.constant([[2, 5]]))
    assert len(set(classes.numpy().tolist())) == 8
    assert set(classes.numpy().tolist()) <= set(range(9))
    p = SAMPLERS[sampler]
    tries = np.log1p(-np.asarray(drawn, float)) / np.log1p(-p[classes])
    assert round(tries[0]) >= 8
    np.testing.assert_allclose(true[0], -np.expm1(round(tries[0]) * np.log1p(-p[[2, 5]])), rtol=1e-4)
    with pytest.raises(ValueError, match="different classes"):
        sampler([[1]], 1, 10, True, 9)
    with pytest.raises(ValueError, match="num_true"):
        sampler([1, 2], 1, 3, True, 9)


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "traced"])
def test_losses_on_drawn_classes(wrap):
    weights, biases, inputs = (RNG.normal(size=s).astype(np.float32) for s in ((9, 4), 9, (3, 4)))
    labels, classes = np.array([[1], [4], [8]]), np.array([4, 0, 7])
    true, drawn = np.array([[0.5], [0.2], [0.1]], np.float32), np.array([0.3, 0.9, 0.15], np.float32)
    w = tf.Variable(weights)

    @wrap
    def losses(inputs):
        given = (tf.constant(classes), tf.constant(true), tf.constant(drawn))
        with tf.GradientTape() as tape:
            nce = tf.nn.nce_loss(w, biases, labels, inputs, 3, 9, sampled_values=given)
        softmax = tf.nn.sampled_softmax_loss(w, biases, labels, inputs, 3, 9, sampled_values=given)
        return nce, softmax, tf.convert_to_tensor(tape.gradient(nce, w))

    nce, softmax, slope = losses(tf.constant(inputs))
    logits = np.concatenate(
        [
            (inputs * weights[labels[:, 0]]).sum(1, keepdims=True) + biases[labels] - np.log(true),
            inputs @ weights[classes].T + biases[classes] - np.log(drawn),
        ],
        axis=1,
    )
    targets = np.eye(4)[[0, 0, 0]]
    np.testing.assert_allclose(nce, (np.logaddexp(0, logits) - targets * logits).sum(1), rtol=1e-5)
    off = 1 / (1 + np.exp(-logits)) - targets
    want = np.zeros((9, 4))
    np.add.at(want, labels[:, 0], off[:, :1] * inputs)
    np.add.at(want, classes, off[:, 1:].T @ inputs)
    np.testing.assert_allclose(slope, want, rtol=1e-4, atol=1e-6)
    logits[1, 1] = -np.inf  # a class drawn that is the true one
    np.testing.assert_allclose(softmax, logsumexp(logits, axis=1) - logits[:, 0], rtol=1e-5, atol=1e-6)
    assert tf.nn.nce_loss(w, biases, labels, inputs, 5, 9).shape == (3,)

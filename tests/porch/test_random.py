"""Random numbers: one stream eagerly and traced, distributions as they should be, seeds and generators as TensorFlow has them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import tapejit as tf
from tapejit.ops.random import philox_words

MANY = 20000
DRAWS = {
    "normal": (lambda: tf.random.normal([MANY]), stats.norm()),
    "normal f64": (lambda: tf.random.normal([MANY], 2.0, 3.0, tf.float64), stats.norm(2, 3)),
    "uniform": (lambda: tf.random.uniform([MANY]), stats.uniform()),
    "uniform f64": (lambda: tf.random.uniform([MANY], -2, 5, tf.float64), stats.uniform(-2, 7)),
    "truncated normal": (lambda: tf.random.truncated_normal([MANY]), stats.truncnorm(-2, 2)),
    "gamma": (lambda: tf.random.gamma([MANY], 2.0, 3.0), stats.gamma(2, scale=1 / 3)),
    "gamma below 1": (lambda: tf.random.gamma([MANY], 0.4), stats.gamma(0.4)),
    "stateless normal": (lambda: tf.random.stateless_normal([MANY], [3, 4]), stats.norm()),
    "stateless gamma": (lambda: tf.random.stateless_gamma([MANY], [3, 4], 1.5), stats.gamma(1.5)),
    "generator": (lambda: tf.random.Generator.from_seed(5).normal([MANY]), stats.norm()),
}


def test_published_vectors() -> None:
    """Known answers of Random123 for Philox4x32-10."""
    ones = 0xFFFFFFFF
    assert philox_words((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert philox_words((ones,) * 4, (ones, ones)) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    pi = ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))
    assert philox_words(*pi) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
def test_distribution(name: str, traced: bool) -> None:
    draw, expected = DRAWS[name]
    tf.random.set_seed(7)
    x = (tf.function(draw) if traced else draw)().numpy()
    assert stats.kstest(x.astype(np.float64), expected.cdf).pvalue > 1e-3


@pytest.mark.parametrize("rate", [0.3, 4.0, 60.0])
def test_poisson(rate: float) -> None:
    tf.random.set_seed(3)
    x = tf.random.poisson([MANY], rate).numpy()
    assert x.dtype == np.float32
    values, counts = np.unique(x, return_counts=True)
    expected = stats.poisson(rate).pmf(values) * MANY
    kept = expected > 5
    assert ((counts[kept] - expected[kept]) ** 2 / expected[kept]).sum() < stats.chi2(kept.sum()).ppf(0.9999)


def test_categorical_and_integers() -> None:
    tf.random.set_seed(11)
    share = np.array([0.1, 0.2, 0.7])
    k = tf.random.categorical(np.log([share, share[::-1]]), MANY)
    assert k.dtype is tf.int64
    for row, p in zip(k.numpy(), (share, share[::-1]), strict=True):
        assert stats.chisquare(np.bincount(row, minlength=3), p * MANY).pvalue > 1e-3
    i = tf.random.uniform([MANY], -3, 4, tf.int32).numpy()
    assert (i.min(), i.max()) == (-3, 3)
    assert stats.chisquare(np.bincount(i + 3)).pvalue > 1e-3
    with pytest.raises(ValueError, match="Must specify maxval for integer dtype"):
        tf.random.uniform([2], dtype=tf.int32)


def test_one_stream_in_program_order() -> None:
    """Any interleaving of eager draws and traced calls gives the numbers of drawing eagerly throughout."""

    def pair() -> tuple:
        return tf.random.normal([5]), tf.random.uniform([3], 0, 100, tf.int64)

    traced = tf.function(pair)
    tf.random.set_seed(1)
    eager = [tf.random.normal([2]), *pair(), tf.random.uniform([2]), *pair()]
    tf.random.set_seed(1)
    mixed = [tf.random.normal([2]), *traced(), tf.random.uniform([2]), *traced()]
    for a, b in zip(eager, mixed, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=3e-7)


def test_unused_draws_count() -> None:
    @tf.function
    def wasteful() -> object:
        tf.random.normal([100])
        return tf.random.normal([2])

    tf.random.set_seed(9)
    tf.random.normal([100])
    expected = tf.random.normal([2])
    tf.random.set_seed(9)
    np.testing.assert_allclose(wasteful().numpy(), expected.numpy(), rtol=3e-7)


def test_seeds() -> None:
    tf.random.set_seed(4)
    first = [tf.random.normal([2], seed=1).numpy(), tf.random.normal([2], seed=1).numpy(), tf.random.normal([2], seed=2).numpy()]
    tf.random.set_seed(4)
    tf.random.normal([3])  # another stream
    again = [tf.random.normal([2], seed=1).numpy(), tf.random.normal([2], seed=1).numpy(), tf.random.normal([2], seed=2).numpy()]
    np.testing.assert_array_equal(first, again)
    assert len({x.tobytes() for x in first}) == 3
    np.testing.assert_array_equal(tf.random.stateless_normal([4], [1, 2]), tf.random.stateless_normal([4], [1, 2]))
    assert not np.array_equal(tf.random.stateless_normal([4], [1, 2]), tf.random.stateless_normal([4], [2, 1]))


def test_generator() -> None:
    a, b = tf.random.Generator.from_seed(3), tf.random.Generator.from_seed(3)
    np.testing.assert_array_equal(a.normal([4]), b.normal([4]))
    b.reset_from_seed(3)
    a.reset_from_seed(3)
    a.skip(1)
    b.normal([4])
    np.testing.assert_array_equal(a.uniform([2]), b.uniform([2]))
    left, right = a.split(2)
    assert not np.array_equal(left.normal([4]), right.normal([4]))
    assert a.make_seeds(3).shape == (2, 3)

    @tf.function
    def draw() -> object:
        return a.normal([2])

    assert not np.array_equal(draw(), draw())


def test_shuffle_and_open_sizes() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def f(x: object) -> object:
        return tf.random.shuffle(x), x + tf.random.normal(tf.shape(x)), tf.random.categorical(x, 3)

    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    rows, noisy, classes = f(x)
    np.testing.assert_array_equal(np.sort(rows.numpy(), axis=0), x)
    assert noisy.shape == (6, 2)
    assert classes.shape == (6, 3)


def test_gradients_flow_to_the_parameters_of_a_draw() -> None:
    mean, stddev = tf.Variable(1.0), tf.Variable(2.0)
    tf.random.set_seed(0)
    with tf.GradientTape() as tape:
        x = tf.reduce_sum(tf.random.normal([10], mean, stddev))
    d_mean, d_stddev = tape.gradient(x, [mean, stddev])
    assert float(d_mean) == 10.0
    np.testing.assert_allclose(float(d_stddev), (float(x) - 10) / 2, rtol=1e-5)
    with pytest.raises(NotImplementedError, match="gamma"), tf.GradientTape() as tape:
        tape.gradient(tf.random.gamma([3], mean), mean)

"""Loops on several threads: cut into blocks, reduced part by part, combined in order; the same values as on one thread."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.schedule import split


@pytest.fixture(autouse=True)
def two_threads(monkeypatch, tmp_path):
    monkeypatch.setenv("TAPEJIT_NUM_THREADS", "2")
    monkeypatch.setenv("TAPEJIT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(split, "WORK", 1)


def draw(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def mean(x):
    return tf.reduce_mean(x)


def extremes(x):
    return tf.reduce_max(x), tf.reduce_min(x), tf.reduce_prod(x[:3]), tf.reduce_all(x > -9.0), tf.reduce_any(x > 9.0)


def columns(x):
    return tf.reduce_sum(x, axis=0), tf.reduce_max(x, axis=0)


def normalized(x):
    c = x - tf.reduce_mean(x, axis=1, keepdims=True)
    return tf.reduce_sum(tf.nn.softmax(c / tf.sqrt(tf.reduce_mean(c * c, axis=1, keepdims=True) + 1e-5)) * x)


def centred(x):
    return tf.exp(x - tf.reduce_mean(x)), tf.reduce_sum(x * x, axis=1)


def with_gradients(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = normalized(x)
    return y, tape.gradient(y, x)


def logistic(x):
    w, b = tf.ones([x.shape[1], 1]), tf.zeros([1])
    with tf.GradientTape() as tape:
        tape.watch([w, b])
        z = x @ w + b
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.ones_like(z), logits=z))
    return [loss, *tape.gradient(loss, [w, b])]


def three_deep(x):
    y = tf.tanh(tf.reshape(x, [-1, 1, 5]) * tf.reshape(x, [1, -1, 5]))
    return tf.reduce_sum(y, axis=[0, 2]), tf.reduce_max(y, axis=1)


FUNCTIONS = [mean, extremes, columns, normalized, centred, with_gradients, logistic, three_deep]


@pytest.mark.parametrize("shape", [(40, 5), (3, 5), (1, 5), (33, 40), (8, 20)], ids=str)
@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_same_as_eager(f, shape):
    x = draw(*shape)
    wanted, found = tf.nest.flatten(f(tf.constant(x))), tf.nest.flatten(tf.function(f)(tf.constant(x)))
    for w, got in zip(wanted, found, strict=True):
        np.testing.assert_allclose(got.numpy(), w.numpy(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("f", [mean, columns, normalized, centred, with_gradients], ids=lambda f: f.__name__)
def test_sizes_that_leave_blocks_empty(f):
    step = tf.function(f, input_signature=[tf.TensorSpec([None, 5], tf.float32)])
    for rows in (1, 2, 7, 9, 100):
        x = tf.constant(draw(rows, 5))
        for w, got in zip(tf.nest.flatten(f(x)), tf.nest.flatten(step(x)), strict=True):
            np.testing.assert_allclose(got.numpy(), w.numpy(), rtol=2e-5, atol=2e-5)
    assert step.experimental_get_tracing_count() == 1


def test_no_rows_at_all():
    step = tf.function(lambda x: (tf.reduce_sum(x, axis=0), tf.reduce_max(x)), input_signature=[tf.TensorSpec([None, 5], tf.float32)])
    total, largest = step(tf.zeros([0, 5]))
    np.testing.assert_array_equal(total.numpy(), np.zeros(5, np.float32))
    assert largest.numpy() == -np.inf


def test_nan_and_infinity_pass_through_the_parts():
    x = draw(200)
    x[150] = np.nan
    step = tf.function(lambda x: (tf.reduce_max(x), tf.reduce_sum(x)))
    assert all(np.isnan(r.numpy()) for r in step(tf.constant(x)))
    x[150] = np.inf
    assert [r.numpy() for r in step(tf.constant(x))] == [np.inf, np.inf]


def test_every_call_adds_up_in_the_same_order():
    x = tf.constant(draw(100_000))
    step = tf.function(lambda x: tf.reduce_sum(tf.sin(x)))
    assert len({step(x).numpy().tobytes() for _ in range(20)}) == 1


def test_updates_in_place_beside_a_sum():
    v = tf.Variable(draw(50, 4))
    before = v.numpy()

    @tf.function
    def step(x):
        total = tf.reduce_sum(v * x)
        v.assign_sub(0.5 * x)
        return total, total * v[0, 0]

    x = draw(50, 4)
    total, product = step(tf.constant(x))
    np.testing.assert_allclose(total.numpy(), (before * x).sum(), rtol=1e-5)
    np.testing.assert_allclose(v.numpy(), before - 0.5 * x, rtol=1e-6)
    np.testing.assert_allclose(product.numpy(), total.numpy() * v.numpy()[0, 0], rtol=1e-5)


def kernels(f, *args):
    """The text of the kernels of `f`, without the program."""
    traced = tf.function(f)
    traced(*args)
    return str(traced.show("kernels")).split("\ndef step(")[0].split(f"\ndef {f.__name__}(")[0]


def test_one_pass_for_loss_and_gradients():
    text = kernels(logistic, tf.constant(draw(4000, 8)))
    heads = [line for line in text.splitlines() if line.startswith("def ")]
    assert sum("x: f32[4000, 8]" in head for head in heads) == 1
    assert text.count("in parallel(8)") == 1


def test_costly_scalars_beside_short_loops_run_in_strips():
    text = kernels(logistic, tf.constant(draw(4000, 8)))
    assert "_strip in serial(" in text
    (line,) = [line for line in text.splitlines() if "log1p" in line]
    above = text[: text.index(line)].splitlines()
    nearest = next(x for x in reversed(above) if "for " in x)
    assert "in vector(" in nearest
    assert "512" in nearest  # rows of a strip: as many as have 4096 elements in the loops inside


def test_rows_much_longer_than_their_scalars_are_not_stripped():
    assert "_strip" not in kernels(with_gradients, tf.constant(draw(64, 1024)))


def test_scratch_of_a_block_has_one_row():
    text = kernels(with_gradients, tf.constant(draw(512, 1024)))
    heads = [line for line in text.splitlines() if line.startswith("def ")]
    assert "in parallel(8)" in text
    assert "inout[f32[8, 1024]]" in heads[0]
    assert "inout[f32[512, 1024]]" not in heads[0]


def test_elementwise_loops_are_not_cut():
    text = kernels(lambda x: tf.exp(x) * 2.0, tf.constant(draw(64, 64)))
    assert "in parallel(64)" in text
    assert "_block" not in text


def test_large_results_of_short_loops_stay_on_one_thread():
    text = kernels(lambda x: tf.reduce_sum(x, axis=0), tf.constant(draw(4, 1000)))
    assert "parallel" not in text

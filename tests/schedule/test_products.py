"""Products on several threads: panels of rows, or the outermost batch axis; epilogues with them."""

import math

import numpy as np
import pytest

import tapejit as tf
from tapejit.schedule import tile


@pytest.fixture(autouse=True)
def two_threads(monkeypatch, tmp_path):
    monkeypatch.setenv("TAPEJIT_NUM_THREADS", "2")
    monkeypatch.setenv("TAPEJIT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tile, "PRODUCT", 1)


def draw(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def check(f, *arrays, text=""):
    traced = tf.function(f)
    for w, got in zip(tf.nest.flatten(f(*map(tf.constant, arrays))), tf.nest.flatten(traced(*map(tf.constant, arrays))), strict=True):
        np.testing.assert_allclose(got.numpy(), w.numpy(), rtol=1e-4, atol=1e-4)
    assert text in str(traced.show("kernels"))


@pytest.mark.parametrize("rows", [33, 64, 65, 100, 129, 200, 784])
def test_rows_of_panels(rows):
    check(lambda x, w, b: tf.nn.relu(x @ w + b), draw(rows, 20), draw(20, 18), draw(18), text="in parallel(")


@pytest.mark.parametrize("shape", [(3, 5, 7, 9), (2, 40, 30, 20), (1, 70, 8, 40)], ids=str)
def test_batches(shape):
    b, m, k, n = shape
    check(lambda x, w: tf.tanh(x @ w), draw(b, m, k), draw(b, k, n))
    check(lambda x, w: tf.matmul(x, w, transpose_b=True), draw(b, m, k), draw(b, n, k))


def test_threads_share_the_batch():
    check(lambda x, w: x @ w, draw(6, 16, 16), draw(6, 16, 16), text="in parallel(6)")


def test_open_rows():
    step = tf.function(
        lambda x, w: tf.nn.relu(x @ w), input_signature=[tf.TensorSpec([None, 12], tf.float32), tf.TensorSpec([12, 20], tf.float32)]
    )
    for rows in (0, 1, 63, 64, 65, 300):
        x, w = draw(rows, 12), draw(12, 20)
        np.testing.assert_allclose(step(tf.constant(x), tf.constant(w)).numpy(), np.maximum(x @ w, 0.0), rtol=1e-4, atol=1e-5)


def test_panels_give_every_thread_about_as_many_rows():
    from tapejit.core.target import Target
    from tapejit.schedule.fuse import Product

    for threads in (2, 3, 8):
        for rows in (128, 784, 1000, 6272):
            product = Product(None, [], ("i", rows), ("j", 64), ("k", 64), None, None)
            panel = tile.panel_rows(product, Target(threads=threads))
            most = math.ceil(math.ceil(rows / panel) / threads) * panel
            assert most <= 1.1 * rows / threads

"""Transpositions run in tiles, and say what the plain copy says."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.schedule import split


@pytest.fixture(autouse=True)
def two_threads(monkeypatch, tmp_path):
    monkeypatch.setenv("TAPEJIT_NUM_THREADS", "2")
    monkeypatch.setenv("TAPEJIT_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(split, "WORK", 1)


CASES = [
    ((64, 64), (1, 0), True),
    ((100, 70), (1, 0), True),
    ((2, 100, 70), (0, 2, 1), True),
    ((70, 3, 65), (2, 1, 0), True),
    ((64, 3, 64), (1, 2, 0), True),
    ((1, 80, 1, 90), (3, 0, 1, 2), True),
    ((8, 1000), (1, 0), False),  # the rows are short
    ((70, 3, 65), (1, 0, 2), False),  # reads along what it writes along
    ((20, 20), (1, 0), False),  # small
]


@pytest.mark.parametrize(("shape", "perm", "tiled"), CASES, ids=str)
def test_transpose(shape, perm, tiled):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    traced = tf.function(lambda x: tf.transpose(x, perm))
    np.testing.assert_array_equal(traced(tf.constant(x)).numpy(), x.transpose(perm))
    assert ("_tile in" in str(traced.show("kernels"))) == tiled


def test_open_sizes():
    step = tf.function(lambda x: tf.transpose(x), input_signature=[tf.TensorSpec([None, None], tf.float32)])
    for shape in ((0, 5), (1, 1), (16, 33), (100, 70)):
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        np.testing.assert_array_equal(step(tf.constant(x)).numpy(), x.T)


def test_right_operands_of_products_are_turned_in_tiles():
    f = tf.function(lambda x, w: tf.matmul(x, w, transpose_b=True))
    x, w = (np.random.default_rng(k).normal(size=(70, 90)).astype(np.float32) for k in range(2))
    np.testing.assert_allclose(f(tf.constant(x), tf.constant(w)).numpy(), x @ w.T, rtol=1e-4, atol=1e-4)
    assert "_tile in parallel(" in str(f.show("kernels"))

"""Names of buffers and kernels: what users call their values never collides with what the texts of a program mean by a word."""

import sys
import types

import numpy as np
import pytest

import tapejit as tf
from tapejit.core import dtypes
from tapejit.schedule.define import Definitions


def error(error, arena, callback):
    status = error * arena
    return status + callback


def squares(x):
    squares = x * x
    return squares


def chain(x, y):
    product = x @ y
    again = product @ x
    return again


def words(x):
    np = x + 1.0
    math = np * 2.0
    f32 = tf.exp(-math)
    njit = tf.reduce_sum(f32, axis=1, keepdims=True)
    prange = njit * f32
    return prange


A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def plain_numba(monkeypatch):
    """What the text imports, as plain Python."""
    fake = types.ModuleType("numba")
    fake.njit = lambda *args, **options: lambda f: f
    fake.prange = range
    monkeypatch.setitem(sys.modules, "numba", fake)


@pytest.mark.parametrize(
    ("f", "args"), [(error, (A, A, A)), (squares, (A,)), (chain, (A, B)), (words, (A,))], ids=lambda x: getattr(x, "__name__", "")
)
def test_words_of_the_texts_as_names(f, args, plain_numba):
    traced = tf.function(f)
    wanted = f(*map(tf.constant, args)).numpy()
    np.testing.assert_allclose(traced(*args), wanted, rtol=1e-6)
    space = {}
    exec(str(traced.show("source")), space)
    out = np.zeros_like(wanted)
    assert space[f.__name__](*args, out, np.zeros(64), None) == 0
    np.testing.assert_allclose(out, wanted, rtol=1e-6)


def test_loop_variables_keep_clear_of_dtypes():
    definitions = Definitions()
    made = [definitions.variable() for _ in range(70)]
    assert len(set(made)) == 70
    assert not set(made) & set(dtypes.BY_SHORT)

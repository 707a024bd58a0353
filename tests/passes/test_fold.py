"""Constants are computed where the graph is optimised: ops of constants and of sizes, needless casts, reductions of one element."""

from __future__ import annotations

import numpy as np
import pytest

import tapejit as tf
from tapejit.core import dtypes
from tapejit.passes.simplify import _needless

DTYPES = [dtypes.as_dtype(n) for n in ("bool", "int8", "uint8", "int32", "uint32", "int64", "float16", "bfloat16", "float32", "float64")]


def lines(function, *args):
    """The names of the ops that the optimised graph of a call has."""
    traced = tf.function(function)
    traced.get_concrete_function(*args)
    return [n.op.name for n in traced.graph("optimized").body]


def test_ops_of_constants_are_constants():
    x = tf.TensorSpec([3])
    assert lines(lambda x: x * tf.cast(tf.reduce_prod(tf.constant([2, 3])), tf.float32), x) == ["mul"]
    assert lines(lambda x: x + tf.concat([tf.constant([1.0]), tf.sqrt(tf.constant([4.0, 9.0]))], 0), x) == ["constant", "add"]
    f = tf.function(lambda x: x + tf.concat([tf.constant([1.0]), tf.sqrt(tf.constant([4.0, 9.0]))], 0))
    np.testing.assert_array_equal(f(tf.zeros([3])), [1, 2, 3])


def test_large_constants_and_failing_lines_are_left():
    x = tf.TensorSpec([4, 8])
    assert "matmul" in lines(lambda x: x + tf.constant([[1.0]] * 4) @ tf.constant([[1.0] * 8]), x)
    assert "in_range" in lines(lambda x: x[0] + tf.gather(tf.constant([1.0, 2.0]), tf.constant([2, 3]))[0], x)


def test_arithmetic_of_open_sizes_leaves_the_size():
    x = tf.TensorSpec([None, 5])
    assert lines(lambda x: tf.reduce_prod(tf.shape(x)[:1]), x) == ["dim"]
    assert lines(lambda x: tf.reduce_prod(tf.shape(x)), x) == ["dim"]
    f = tf.function(lambda x: (tf.reduce_prod(tf.shape(x)), tf.shape(x)[::-1] + 1), input_signature=[x])
    for rows in (0, 3):
        count, sizes = f(tf.zeros([rows, 5]))
        assert int(count) == 5 * rows
        np.testing.assert_array_equal(sizes, [6, rows + 1])


def test_a_divisor_that_is_not_zero_is_not_watched():
    x = tf.TensorSpec([3])
    assert lines(lambda x: tf.math.divide_no_nan(x, 32.0), x) == ["div"]
    assert lines(lambda x: tf.math.divide_no_nan(x, 0.0), x) == ["div_no_nan"]


def test_reductions_and_concatenations_of_one():
    x = tf.TensorSpec([3, 1])
    for reduce in (tf.reduce_sum, tf.reduce_prod, tf.reduce_max, tf.reduce_min, tf.reduce_mean):
        assert lines(lambda x, reduce=reduce: reduce(x, 1), x) == ["reshape"]
    assert lines(lambda x: tf.exp(tf.stack([x])), x) == ["reshape", "exp"]


@pytest.mark.parametrize("first", DTYPES, ids=str)
def test_a_cast_is_only_dropped_where_it_loses_nothing(first):
    """For all pairs of dtypes that follow, on the extremes of the first: the cast in between changes no value."""
    special = [0, 1] if first.kind == "b" else [first.min, first.max, 0, 1, 7, -0.0 if first.kind == "f" else 3]
    x = np.array(special + ([np.nan, np.inf, -np.inf, 1e-40, 0.1] if first.kind == "f" else [])).astype(first.np)
    for middle in DTYPES:
        for last in DTYPES:
            if not _needless(first, middle, last):
                continue
            with np.errstate(all="ignore"):
                direct, around = x.astype(last.np), x.astype(middle.np).astype(last.np)
            np.testing.assert_array_equal(direct.view(np.uint8), around.view(np.uint8), err_msg=f"{first.name} {middle.name} {last.name}")


def test_which_casts_are_needless():
    def needless(*names):
        return _needless(*(dtypes.as_dtype(n) for n in names))

    assert needless("uint8", "float32", "int32")
    assert needless("float32", "float64", "float32")
    assert not needless("int32", "float32", "int32")
    assert not needless("int64", "float64", "int64")
    assert not needless("int8", "float32", "uint8")  # what is negative does not wrap
    assert needless("int8", "int64", "uint8")
    assert not needless("float32", "float64", "int32")  # what is out of range may differ

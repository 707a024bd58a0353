"""Python control flow on tensors: what a program gives eagerly, it gives traced, in one compiled step."""

from __future__ import annotations

import numpy as np
import optree
import pytest
from control_flow import PROGRAMS

import tapejit as tf


def arrays(result):
    return [np.asarray(tf.convert_to_tensor(x)) for x in optree.tree_leaves(result)]


@pytest.mark.parametrize(("program", "calls"), PROGRAMS, ids=[f.__name__ for f, _ in PROGRAMS])
def test_traced_is_eager(program, calls):
    traced = tf.function(program)
    for arguments in calls:
        expected, found = arrays(program(*arguments)), arrays(traced(*arguments))
        assert [x.shape for x in found] == [x.shape for x in expected]
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6)


def test_both_sides_and_one_iteration_are_traced():
    log = []

    @tf.function
    def f(x):
        if x > 0:
            log.append("above")
        else:
            log.append("below")
        for _ in tf.range(5):
            log.append("iteration")
        while x > 100.0:
            log.append("above still")
            x = x / 2.0
        return x

    f(tf.constant(1.0)), f(tf.constant(-1.0))
    assert log == ["above", "below", "iteration", "above still"]


def test_what_depends_on_no_tensor_stays_python():
    @tf.function
    def f(x):
        k, powers = 0, []
        while k < 3:
            powers.append(x**k)
            k += 1
        for _ in (1, 2):
            k += 1
        if k == 5:
            powers.append(x)
        assert type(k) is int
        return powers

    assert [float(x) for x in f(tf.constant(2.0))] == [1.0, 2.0, 4.0, 2.0]


def test_python_values_that_a_tensor_decides_become_tensors():
    @tf.function
    def f(n):
        chosen, counted, limited = 1, 0, 0.5
        if n > 0:
            chosen = 2
        for _ in tf.range(n):
            counted += 1
        while limited < tf.cast(n, tf.float32):
            limited = limited * 2
        assert all(tf.is_tensor(x) for x in (chosen, counted, limited))
        return chosen, counted, limited

    assert [x.numpy() for x in f(tf.constant(3))] == [2, 3, 4.0]
    assert [x.dtype for x in f(tf.constant(-3))] == [tf.int32, tf.int32, tf.float32]


def test_a_loop_without_iterations_gives_nothing_where_there_was_none():
    @tf.function
    def last_of(n):
        last = None
        for i in tf.range(n):
            last = i
        return last

    assert int(last_of(tf.constant(3))) == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least once to initialize 'last'"):
        last_of(tf.constant(0))


def test_effects_within_a_growing_loop_happen_once(capfd):
    @tf.function
    def squares(n):
        out, k = tf.TensorArray(tf.int32, 0, dynamic_size=True), 0
        for i in tf.range(n):
            if i > 1:
                tf.print("at", i)
                out, k = out.write(k, i * i), k + 1
        return out.stack()

    np.testing.assert_array_equal(squares(tf.constant(4)), [4, 9])
    assert capfd.readouterr().err == "at 2\nat 3\n"


def test_what_happens_once_decides_no_sizes():
    def until_told(n):
        out = tf.TensorArray(tf.int32, 0, dynamic_size=True)
        for i in tf.range(n):
            if tf.ensure_shape(tf.py_function(lambda k: k.numpy() > 2, [i], tf.bool), []):
                break
            out = out.write(i, i)
        return out.stack()

    def picked(n):
        out = tf.TensorArray(tf.int32, 0, dynamic_size=True)
        for i in tf.range(n):
            out = out.write(tf.ensure_shape(tf.py_function(lambda k: k * 2, [i], tf.int32), []), i)
        return out.stack()

    np.testing.assert_array_equal(tf.function(until_told)(tf.constant(5)), [0, 1, 2])  # there is room for all five
    with pytest.raises(NotImplementedError, match=r"what Python returns, or .* decides how large .* give it a size"):
        tf.function(picked)(tf.constant(5))


def test_elements_of_an_array_have_one_size():
    def growing(n, deeper):
        out = tf.TensorArray(tf.int32, 0, dynamic_size=True, infer_shape=False)
        for i in tf.range(n):
            if deeper:
                if i > 0:
                    out = out.write(i - 1, tf.range(i))
            else:
                out = out.write(i, tf.range(i + 1))
        return out.concat()

    assert growing(3, False).numpy().tolist() == [0, 0, 1, 0, 1, 2]
    for deeper in (False, True):
        with pytest.raises(NotImplementedError, match=r"'out' gets elements whose size each iteration decides; pad them .* tf.concat"):
            tf.function(growing)(tf.constant(3), deeper)

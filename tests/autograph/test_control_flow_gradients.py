"""Gradients through Python control flow: against finite differences in float64, against the eager tape, to second order."""

from __future__ import annotations

import numpy as np
import pytest

import tapejit as tf


def newton(a):
    x = a
    while tf.abs(x * x - a) > 1e-12 * a:
        x = 0.5 * (x + a / x)
    return x


def many_steps(a):
    x = a
    for _ in tf.range(1000):
        x = x + 0.001 * tf.sin(3.0 * x)
    return x


def nested(a):
    total = a * 0.0
    for i in tf.range(4):
        y = a
        j = tf.constant(0)
        while j <= i:
            y = y * tf.cos(y) if y > 0.3 else y + a
            j += 1
        total += y * tf.cast(i + 1, a.dtype)
    return total


def jumps(a):
    x = a
    for i in tf.range(20):
        if i % 3 == 1:
            continue
        x = x * 1.3
        if x > 4.0:
            return x * x
    return x


def breaks(a):
    x, n = a, tf.constant(0)
    while True:
        x = x * a
        n += 1
        if x > 9.0 or n > 6:
            break
    return x * a


def over_rows(a):
    rows = tf.stack([a, a * a, tf.sin(a)])
    out = a
    for row in rows:
        out = out * row if row > 0.5 else out + row
    return out


def arrays(a):
    ta = tf.TensorArray(a.dtype, size=5)
    x = a
    for i in tf.range(5):
        x = tf.sin(x) + a
        ta = ta.write(i, x * x)
    return tf.reduce_sum(ta.stack())


PROGRAMS = [newton, many_steps, nested, jumps, breaks, over_rows, arrays]
POINTS = [0.7, 2.3]


def gradient(f, a):
    a = tf.constant(a, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(a)
        y = f(a)
    return float(tape.gradient(y, a))


@pytest.mark.parametrize("a", POINTS)
@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_first_order(f, a):
    traced, h = tf.function(f), 1e-6
    difference = (float(traced(tf.constant(a + h, tf.float64))) - float(traced(tf.constant(a - h, tf.float64)))) / (2 * h)
    found = gradient(traced, a)
    assert found == pytest.approx(difference, rel=1e-6, abs=1e-8)
    assert found == pytest.approx(gradient(f, a), rel=1e-12)


@pytest.mark.parametrize("f", [g for g in PROGRAMS if g is not newton], ids=lambda f: f.__name__)
def test_second_order(f):
    a = tf.constant(1.1, tf.float64)

    @tf.function
    def first(a):
        with tf.GradientTape() as tape:
            tape.watch(a)
            y = f(a)
        return tape.gradient(y, a)

    h = 1e-5
    difference = (float(first(a + h)) - float(first(a - h))) / (2 * h)
    with tf.GradientTape() as tape:
        tape.watch(a)
        d = first(a)
    assert float(tape.gradient(d, a)) == pytest.approx(difference, rel=1e-5, abs=1e-6)


def test_the_number_of_steps_is_an_argument():
    @tf.function
    def f(a, n):
        with tf.GradientTape() as tape:
            tape.watch(a)
            x = a
            for _ in tf.range(n):
                x = x * a
        return x, tape.gradient(x, a)

    for n in (0, 1, 5):
        x, d = f(tf.constant(1.5, tf.float64), tf.constant(n))
        assert float(x) == pytest.approx(1.5 ** (n + 1))
        assert float(d) == pytest.approx((n + 1) * 1.5**n)
    assert f.experimental_get_tracing_count() == 1
    assert "callback(" not in f.show("source").replace("error, callback)", "")


def test_effects_happen_once(capfd):
    @tf.function
    def f(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for i in tf.range(2):
                tf.print("step", i)
                y = y * tf.sin(y)
        return tape.gradient(y, x)

    f(tf.constant(2.0))
    assert capfd.readouterr().err.split("\n")[:-1] == ["step 0", "step 1"]


def test_forward_values_are_kept_by_the_forward_loop():
    @tf.function
    def f(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for _ in tf.range(10):
                y = tf.sin(y) * x
        return y, tape.gradient(y, x)

    f(tf.constant(2.0))
    assert f.show("differentiated").count("= scan(") == 3
    assert f.show("optimized").count("= scan(") == 2


def test_datasets():
    w = tf.Variable(2.0)
    dataset = tf.data.Dataset.from_tensor_slices((np.arange(10.0, dtype="float32"), np.arange(10))).batch(4)

    @tf.function
    def loss(stop):
        with tf.GradientTape() as tape:
            total, count = 0.0, 0
            for x, k in dataset:
                if tf.reduce_sum(x) > stop:
                    break
                total += tf.reduce_sum(x) * w * w
                count += tf.shape(k)[0]
        return total, count, tape.gradient(total, w)

    assert [float(x) for x in loss(tf.constant(100.0))] == [180.0, 10.0, 180.0]
    assert [float(x) for x in loss(tf.constant(10.0))] == [24.0, 4.0, 24.0]
    assert loss.experimental_get_tracing_count() == 1

    @tf.function
    def first_above(limit):
        for i, (x, _) in enumerate(dataset):
            if tf.reduce_max(x) > limit:
                return i, tf.reduce_max(x)
        return tf.constant(-1, tf.int64), limit

    assert [float(x) for x in first_above(tf.constant(5.0))] == [1.0, 7.0]
    assert [float(x) for x in first_above(tf.constant(50.0))] == [-1.0, 50.0]

    iterator = iter(dataset.unbatch())

    @tf.function
    def following():
        x, _ = next(iterator)
        return x

    assert [float(following()) for _ in range(10)] == list(range(10))
    with pytest.raises(tf.errors.OutOfRangeError, match="End of sequence"):
        following()

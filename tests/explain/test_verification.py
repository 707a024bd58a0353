"""`f.verify`: programs that are compiled rightly agree; a planted wrong kernel, and an eager program that does something else, are named."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.ir.op import OPS
from tapejit.ops.families import unary

FACTOR = 2.0


@pytest.fixture(scope="module")
def broken():
    """An op whose kernel adds a thousandth to what NumPy gives."""
    op = OPS.get("broken_square") or unary(
        "broken_square", lambda x: x * x, "x * x + 0.001", lambda g, z, x: (g * 2.0 * x,), doc="The square, wrongly compiled."
    )
    yield op
    OPS.pop("broken_square", None)


def test_a_train_step_agrees_and_is_put_back():
    w, count = tf.Variable(np.linspace(-1, 1, 12).reshape(4, 3).astype("float32")), tf.Variable(0)
    start = w.numpy()

    @tf.function
    def step(x, scale=1.0):
        count.assign_add(1)
        with tf.GradientTape() as tape:
            noisy = tf.tanh(x @ w) + 0.01 * tf.random.normal([2, 3])
            loss = tf.reduce_mean(tf.square(noisy)) * scale
        gradient = tape.gradient(loss, w)
        w.assign_sub(0.5 * gradient)
        return {"loss": loss, "none": None, "gradient": gradient}

    x = tf.constant(np.linspace(0, 1, 8).reshape(2, 4).astype("float32"))
    report = step.verify(x)
    assert report.ok, report
    assert {c.name for c in report.results} == {"result 0", "result 1", "state.count", "state.w", "state.rng"}
    assert any(c.op == "tanh" and c.place.text.startswith("noisy") and 0 <= c.compiled < 1e-6 for c in report.lines)
    np.testing.assert_array_equal(w.numpy(), start)
    assert int(count) == 0
    assert "agree" in str(report)
    assert "noisy" in str(report)


def test_the_line_that_departs_is_named(broken):
    @tf.function
    def f(x):
        first = x * 2.0
        area = broken(first)
        return tf.reduce_sum(area + 1.0)

    report = f.verify(tf.constant([1.0, 2.0, 3.0]))
    assert not report.ok
    assert (report.first.name, report.first.op) == ("area", "broken_square")
    assert report.first.place.text == "area = broken(first)"
    assert report.first.compiled > 1e-5 > report.first.interpreted
    assert [c.departs for c in report.lines if c.name == "first"] == [False]
    assert "area departs" in str(report)
    assert "^^^" in str(report)


def test_an_eager_program_that_does_something_else(monkeypatch):
    @tf.function(guard="off")
    def f(x):
        return x * FACTOR

    x = tf.constant([1.0, 2.0])
    f(x)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    report = f.verify(x)
    assert not any(c.departs for c in report.lines)
    assert report.first.name == "result 0"
    assert report.first.interpreted == pytest.approx(0.5)


def test_loops_integers_and_branches():
    @tf.function
    def f(x, n):
        total = tf.zeros_like(x)
        for i in tf.range(n):
            if tf.reduce_sum(total) < 3.0:
                total += x * tf.cast(i, tf.float32)
        return total, tf.argmax(x), x > 0.5

    assert f.verify(tf.constant([0.25, 1.5]), tf.constant(6)).ok


def test_cancellation_is_no_departure():
    @tf.function
    def f(x):
        return tf.reduce_sum((x + 1e4) - 1e4 - x) + tf.reduce_sum(tf.constant([1e8, 1.0, -1e8]))

    assert f.verify(tf.constant(np.linspace(0, 1, 100).astype("float32"))).ok


def test_calls_of_python_get_the_program_s_own_dtypes():
    @tf.function
    def f(x):
        tf.debugging.assert_greater(x, 0.0)
        y = tf.ensure_shape(tf.py_function(lambda a: a.numpy() * 2, [x], tf.float32), [2])
        return y + tf.cast(tf.cast(x, tf.float16), tf.float32)

    assert f.verify(tf.constant([1.0, 2.0])).ok

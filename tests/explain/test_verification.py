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


# ------------------------------------------------------------------------------------------------ verify="first"
def test_the_first_call_of_each_trace_is_verified(broken):
    state = tf.Variable(0.0)

    @tf.function(verify="first", on_retrace="ignore")
    def step(x, wrong):
        state.assign_add(1.0)
        area = broken(x) if wrong else x * x
        return tf.reduce_sum(area) + state

    x = tf.constant([1.0, 2.0])
    assert [float(step(x, False)) for _ in range(3)] == [6.0, 7.0, 8.0]
    for _ in range(2):  # it does not pass by being tried once
        with pytest.raises(tf.explain.VerificationError, match="area_1 departs") as caught:
            step(x, True)
        assert caught.value.verification.first.place.text == "area = broken(x) if wrong else x * x"
        assert isinstance(caught.value, tf.errors.InternalError)
        assert float(state) == 3.0
    assert float(step(x, False)) == 9.0


def test_each_trace_is_verified_once_however_it_is_called(broken):
    calls = []

    def f(x):
        calls.append(tf.executing_eagerly())
        return x * 2.0

    double = tf.function(f, verify="first")
    concrete = double.get_concrete_function(tf.TensorSpec([None], tf.float32))
    assert calls == [False]
    assert [concrete(tf.ones([n])).shape[0] for n in (1, 2, 3)] == [1, 2, 3]
    assert calls == [False, True]
    double(tf.ones([4]))
    assert calls == [False, True]
    with tf.GradientTape() as tape:
        v = tf.Variable(3.0)
        y = double(v + 0.0)
    assert float(tape.gradient(y, v)) == 2.0
    assert calls == [False, True, False, True]
    with pytest.raises(tf.explain.VerificationError, match="broken"):
        tf.function(lambda x: broken(x), verify="first").get_concrete_function(tf.TensorSpec([2]))(tf.ones([2]))


def test_inside_another_function_the_outer_one_is_verified(broken):
    inner = tf.function(lambda x: broken(x), verify="first")

    @tf.function(verify="first")
    def outer(x):
        return inner(x) + 1.0

    with pytest.raises(tf.explain.VerificationError, match="outer: inner_1 departs"):
        outer(tf.ones([2]))
    np.testing.assert_allclose(tf.function(lambda x: inner(x) + 1.0)(tf.ones([2])), 2.001)


def test_a_verified_step_takes_one_element_and_one_draw():
    def step(elements, total, scale=2):
        total.assign_add(tf.cast(next(elements), tf.float32) * scale)
        return total + tf.random.uniform([])

    def run(f):
        tf.random.set_seed(3)
        elements, total = iter(tf.data.Dataset.range(9).shuffle(9, seed=1).prefetch(2)), tf.Variable(0.0)
        return [float(f(elements, total)) for _ in range(4)]

    assert run(tf.function(step, verify="first")) == run(tf.function(step))


def test_a_verified_step_along_a_dataset_leaves_its_order():
    def step(numbers):
        out = tf.constant(0, tf.int64)
        for x in numbers:
            out = out * 10 + x
        return out

    def run(f):
        numbers = tf.data.Dataset.range(6).shuffle(6, seed=2)
        return [int(f(numbers)) for _ in range(3)]

    plain = run(tf.function(step))
    assert len(set(plain)) == 3
    assert run(tf.function(step, verify="first")) == plain


def test_a_verified_step_prints_once_compiled_and_once_eagerly(capsys):
    import sys

    @tf.function(verify="first")
    def f(x):
        tf.print("here", output_stream=sys.stdout)
        return x

    f(tf.constant(1.0))
    first = capsys.readouterr().out.count("here")
    f(tf.constant(1.0))
    assert (first, capsys.readouterr().out.count("here")) == (3, 1)


def test_a_verified_step_may_be_given_its_arguments():
    step = tf.function(lambda x: x + 1.0, verify="first", donate="x")
    assert float(step(tf.constant(1.0))) == 2.0
    x = tf.constant(1.0)
    assert step.verify(x).ok
    assert float(x) == 1.0


def test_verify_takes_first_only():
    with pytest.raises(ValueError, match='write "first"'):
        tf.function(lambda x: x, verify="always")

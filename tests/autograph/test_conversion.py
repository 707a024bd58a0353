"""What conversion keeps of a function, and which functions it leaves alone."""

from __future__ import annotations

import functools
import logging
import sys
import traceback

import numpy as np
import pytest

import tapejit as tf
from tapejit.autograph import convert, converted


def run(f, *arguments, **options):
    return tf.function(f, **options)(*arguments)


# ------------------------------------------------------------------------------------------- what stays the user's
def test_lines_names_and_frames_stay():
    seen = []

    def f(x):
        if x > 0:
            seen.append((sys._getframe().f_lineno, sys._getframe().f_code.co_name, sorted(n for n in locals() if n[0] != ".")))
            y = x
        else:
            y = -x
        return y

    run(f, tf.constant(1.0))
    first = f.__code__.co_firstlineno
    assert seen == [(first + 2, "f", ["seen", "x"])]


def test_a_debugger_stops_at_every_line():
    def f(n):
        s = tf.constant(0)
        for i in tf.range(n):
            if i % 2 == 0:
                s += i
        return s

    lines = set()

    def watch(frame, event, arg):
        if frame.f_code.co_filename == __file__:
            if event == "line":
                lines.add(frame.f_lineno - f.__code__.co_firstlineno)
            return watch
        return None

    traced, before = tf.function(f), sys.gettrace()
    sys.settrace(watch)
    try:
        traced(tf.constant(4))
    finally:
        sys.settrace(before)
    assert {1, 2, 3, 4, 5} <= lines


def test_values_are_named_by_the_source():
    @tf.function
    def f(x):
        hidden = tf.tanh(x)
        if x > 0:
            hidden = hidden + 1.0
        total = hidden * 2.0
        return total

    f(tf.constant(1.0))
    text = f.show()
    assert "hidden: f32 = tanh(x)" in text
    assert "total: f32 =" in text


def test_tracebacks_show_the_users_lines_only():
    def inner(x):
        if x > 0:
            return tf.reshape(x, [5])
        return x

    def outer(x):
        for _ in tf.range(2):
            x = inner(x)
        return x

    with pytest.raises(ValueError, match="reshape") as caught:
        run(outer, tf.constant(1.0))
    frames = traceback.extract_tb(caught.value.__traceback__)
    names = [f.name for f in frames if f.filename == __file__]
    assert names[-2:] == ["outer", "inner"]
    (note,) = [n for n in caught.value.__notes__ if n.startswith("in user code:")]
    assert "in outer  *\n        x = inner(x)" in note
    assert "return tf.reshape(x, [5])" in note


def test_closures_globals_defaults_and_nonlocals_are_shared():
    count, scale = 0, tf.constant(2.0)

    def f(x, by=3.0, *, plus=1.0):
        nonlocal count
        count += 1
        if x > 0:
            x = x * scale * by
        return x + plus

    assert float(run(f, tf.constant(1.0))) == 7.0
    assert count == 1
    assert converted(f).__globals__ is f.__globals__
    assert converted(f).__closure__[0].cell_contents is not None
    scale = tf.constant(10.0)
    assert float(tf.function(f)(tf.constant(1.0), plus=0.0)) == 30.0


def test_two_lambdas_on_one_line():
    f, g = (lambda x: x if x > 0 else -x), (lambda x: x if x < 0 else -x)
    assert [float(run(h, tf.constant(v))) for h in (f, g) for v in (2.0, -2.0)] == [2.0, 2.0, -2.0, -2.0]


def test_python_control_flow_runs_once_per_trace():
    calls = []

    @tf.function
    def f(x, flag):
        calls.append("traced")
        if flag:
            calls.append("yes")
        else:
            calls.append("no")
        for k in range(2):
            calls.append(k)
        return x

    f(tf.constant(1.0), True)
    f(tf.constant(2.0), True)
    assert calls == ["traced", "yes", 0, 1]


# -------------------------------------------------------------------------------------------- what is converted
def branching(x):
    if x > 0:
        return x + 1.0
    return x - 1.0


def decorated(f):
    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return f(*args, **kwargs) * 2.0

    return wrapper


class Callable:
    def __call__(self, x):
        return self.method(x)

    def method(self, x):
        return branching(x)

    @staticmethod
    def static(x):
        return branching(x)

    @classmethod
    def of_class(cls, x):
        return cls.static(x)

    @tf.function
    def traced(self, x):
        return branching(x) if x < 10.0 else x


@pytest.mark.parametrize(
    "f",
    [
        decorated(branching), Callable(), Callable().method, Callable.static, Callable.of_class, functools.partial(branching),
        lambda x: functools.reduce(lambda a, b: a + b if a > 0 else b, [branching(x)]), lambda x: tf.custom_gradient(decorator_free)(x),
    ],
    ids=["decorated", "object", "method", "static", "class", "partial", "reduce", "custom gradient"],
)  # fmt: skip
def test_what_is_called_is_converted(f):
    for v in (2.0, -2.0):
        assert float(run(lambda x: f(x), tf.constant(v))) == pytest.approx(float(f(tf.constant(v))))


def decorator_free(x):
    return branching(x), lambda d: d


@tf.custom_gradient
def with_own_gradient(x):
    def gradient(d):
        if tf.abs(d) > 1.0:
            return tf.sign(d)
        return d

    return x * 5.0, gradient


def test_gradients_of_the_users_own():
    @tf.function
    def f(x, scale):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = with_own_gradient(x) * scale
        return tape.gradient(y, x)

    assert [float(f(tf.constant(2.0), tf.constant(s))) for s in (3.0, -3.0, 0.5)] == [1.0, -1.0, 0.5]


def test_python_functions_in_branches():
    @tf.function
    def f(x):
        if x > 0:
            y = tf.py_function(lambda v: v * 2, [x], tf.float32)
            y.set_shape([])
        else:
            y = x
        return y

    assert [float(f(tf.constant(v))) for v in (3.0, -3.0)] == [6.0, -3.0]


def test_methods_of_instances():
    keep = Callable()
    assert [float(keep.traced(tf.constant(v))) for v in (1.0, -1.0, 11.0)] == [2.0, -2.0, 11.0]


def test_autograph_off():
    with pytest.raises(TypeError, match="bool"):
        run(branching, tf.constant(1.0), autograph=False)
    with pytest.raises(TypeError, match="bool"):
        run(tf.autograph.experimental.do_not_convert(branching), tf.constant(1.0))

    @tf.function
    def f(x):
        return tf.autograph.experimental.do_not_convert(lambda v: v * 2.0)(x)

    assert float(f(tf.constant(1.0))) == 2.0


def test_functions_without_source_run_as_they_are(caplog):
    scope = {"tf": tf}
    exec("def f(x):\n    return x * 2.0\ndef g(x):\n    return x if x > 0 else -x", scope)
    with caplog.at_level(logging.WARNING):
        assert float(run(scope["f"], tf.constant(1.5))) == 3.0
    assert "AutoGraph could not transform" in caplog.text
    with pytest.raises(TypeError, match="bool"):
        run(scope["g"], tf.constant(1.0))


def test_to_code_and_to_graph():
    text = tf.autograph.to_code(branching)
    assert "def branching(x):" in text
    assert "If(x > 0" in text
    assert tf.autograph.to_graph(branching).__code__.co_filename == __file__
    assert tf.autograph.to_code(tf.function(branching)) == text


def test_conditions_with_effects_have_them_once():
    v = tf.Variable(0)

    @tf.function
    def f():
        n = tf.constant(0)
        while v.assign_add(1) < 5:
            n += 1
        return n

    assert int(f()) == 4
    assert int(v) == 5


def test_random_conditions_draw_as_eager_ones():
    def f():
        n = 0
        while tf.random.uniform([]) < 0.8:
            n += 1
        return tf.convert_to_tensor(n), tf.random.uniform([])

    tf.random.set_seed(3)
    expected = [x.numpy() for x in f()]
    tf.random.set_seed(3)
    assert [x.numpy() for x in run(f)] == expected


def test_variables_in_branches_and_loops():
    v = tf.Variable(1.0)

    @tf.function
    def f(x, n):
        if x > 0:
            v.assign_add(x)
        else:
            v.assign(0.0)
        for _ in tf.range(n):
            v.assign(v * 2.0)
        return v.read_value()

    assert float(f(tf.constant(2.0), tf.constant(2))) == 12.0
    assert float(f(tf.constant(-2.0), tf.constant(2))) == 0.0
    assert float(v) == 0.0


# ---------------------------------------------------------------------------------------------- changing shapes
def test_loop_variables_that_grow():
    @tf.function
    def f(n, w):
        x = tf.reshape(w, [1])
        i = 0
        while i < n:
            tf.autograph.experimental.set_loop_options(shape_invariants=[(x, tf.TensorShape([None]))])
            x = tf.concat([x, x * w], 0)
            i += 1
        return x

    np.testing.assert_array_equal(f(tf.constant(2), tf.constant(2.0)).numpy(), [2, 4, 4, 8])
    assert f(tf.constant(0), tf.constant(2.0)).shape == (1,)
    w = tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch(w)
        y = tf.reduce_sum(f(tf.constant(3), w))
    assert float(y) == 54.0
    assert float(tape.gradient(y, w)) == 81.0


def test_branches_of_different_sizes():
    @tf.function
    def f(x):
        if x[0] > 0:
            y = x[1:]
        else:
            y = tf.concat([x, x], 0)
        return y * 2.0

    np.testing.assert_array_equal(f(tf.constant([1.0, 2.0])).numpy(), [4])
    np.testing.assert_array_equal(f(tf.constant([-1.0, 2.0])).numpy(), [-2, 4, -2, 4])


def test_maximum_iterations():
    @tf.function
    def f(n):
        i = tf.constant(0)
        while i < n:
            tf.autograph.experimental.set_loop_options(maximum_iterations=5)
            i += 1
        return i

    assert [int(f(tf.constant(n))) for n in (3, 50)] == [3, 5]


def doubled_or_negated(row):
    if tf.reduce_sum(row) > 3.0:
        row = row * 2.0
    else:
        row = -row
    return row


def test_functions_given_to_tensorflows_are_converted():
    x = tf.constant([[1.0, 1.0], [2.0, 3.0]])
    for each in (tf.map_fn, tf.vectorized_map):
        np.testing.assert_array_equal(run(lambda x, each=each: each(doubled_or_negated, x), x), [[-1, -1], [4, 6]])
    for name in (n for n in convert._CALLERS if n.startswith("tapejit")):
        module, _, function = name.rpartition(".")
        assert getattr(sys.modules[module], function).__module__ == module


def test_comprehensions_over_what_is_known_only_at_run_time():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def f(xs):
        doubled = tf.stack([x * 2.0 for x in xs])
        chosen = [x for x in xs if x > 0.0 if x < 3.0]
        return doubled, chosen, sum(x * y for x, y in zip(xs, doubled)), max(x * x for x in xs), tf.stack([i for i in tf.range(len(xs))])

    for values in ([1.0, 2.0, 3.0, -1.0], [0.5]):
        x = np.array(values, "float32")
        expected = x * 2, x[(x > 0) & (x < 3)], np.sum(x * x * 2), np.max(x * x), np.arange(len(x))
        for found, wanted in zip(f(tf.constant(values)), expected, strict=True):
            np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)


def test_stacking_a_tensor_stacks_its_slices():
    x = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    np.testing.assert_array_equal(tf.stack(x, axis=1).numpy(), x.numpy().T)
    np.testing.assert_array_equal(tf.stack(x).numpy(), x.numpy())


def test_equal_functions_of_two_files_keep_their_files(tmp_path):
    text = "def f(x):\n    if x > 0:\n        raise KeyError(x)\n    return x\n"
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(text)
        space = {}
        exec(compile(text, str(tmp_path / name), "exec"), space)
        assert converted(space["f"]).__code__.co_filename == str(tmp_path / name)

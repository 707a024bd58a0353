"""Each cause of a retrace, planted: the record names the leaf, the line of the call, and text that prevents it when pasted."""

import inspect
import warnings

import numpy as np
import pytest

import tapejit as tf
from tapejit.explain.warned import RetraceError, RetraceWarning


def line_of(mark):
    """The line of the calling test that ends in the comment `# mark`."""
    frame = inspect.currentframe().f_back
    lines, first = inspect.getsourcelines(frame.f_code)
    return next(first + k for k, text in enumerate(lines) if text.rstrip().endswith(f"# {mark}"))


@pytest.fixture
def said():
    """The retrace warnings given during the test."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: [w for w in caught if w.category is RetraceWarning]


def only(f):
    (trace,) = f.why_retraced()
    return trace


def test_a_size_that_differs_is_named_with_its_axis_and_a_signature_that_serves_both(said):
    @tf.function
    def f(x):
        return x * 2.0

    f(tf.ones([32, 3]))
    f(tf.ones([7, 3]))  # here
    trace = only(f)
    assert (trace.path, trace.before, trace.after, trace.changes[0].axes) == ("argument x", "(32, 3)", "(7, 3)", (0,))
    assert (trace.place.file, trace.place.line) == (__file__, line_of("here"))
    assert trace.paste == "input_signature=[tf.TensorSpec([None, 3], tf.float32)]"
    assert trace.milliseconds > 0
    (warning,) = said()
    assert (warning.filename, warning.lineno) == (__file__, line_of("here"))
    assert "argument x: shape (32, 3) -> (7, 3), axis 0" in str(warning.message)
    assert "\n" not in str(warning.message)
    assert str(f.why_retraced()) == f"test_retraces.py:{line_of('here')}: {warning.message}"

    pasted = eval(f"tf.function(f.python_function, {trace.paste})")
    for n in (32, 7, 5):
        pasted(tf.ones([n, 3]))
    assert pasted.experimental_get_tracing_count() == 1


def test_expected_traces_are_recorded_and_not_told(said):
    made = []

    @tf.function
    def f(x):
        if not made:
            made.append(tf.Variable(1.0))
        return x * made[0]

    f(tf.ones([2]))
    assert [t.cause for t in f.traces()] == ["first call", "variables were created"]
    f.get_concrete_function(tf.TensorSpec([None], tf.float32))
    f(tf.ones([3]))
    assert [t.expected for t in f.traces()] == [True] * 3

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def g(x):
        return x + 1.0

    for n in (1, 2, 3):
        g(tf.ones([n]))

    @tf.function(reduce_retracing=True)
    def h(x):
        return x + 1.0

    for n in (1, 2, 3):
        h(tf.ones([n]))
    assert h.experimental_get_tracing_count() == 2
    assert (list(f.why_retraced()), list(g.why_retraced()), list(h.why_retraced()), said()) == ([], [], [], [])


def test_a_call_from_a_function_being_traced_is_expected(said):
    @tf.function
    def inner(x):
        return x * x

    @tf.function
    def outer(x, y):
        return tf.reduce_sum(inner(x)) + tf.reduce_sum(inner(y))

    outer(tf.ones([2]), tf.ones([3]))
    assert [t.expected for t in inner.traces()] == [True, True]
    assert said() == []


@pytest.mark.parametrize(
    ("first", "second", "what", "before", "after", "paste"),
    [
        ((1,), (2,), "value", "1", "2", "tf.constant(2)"),
        ((1,), (1.5,), "type", "1", "1.5", "tf.constant(1.5)"),
        ((True,), (False,), "value", "True", "False", ""),
        (("a",), ("b",), "value", "'a'", "'b'", ""),
        ((np.float32(1),), (np.float64(1),), "dtype", "float32", "float64", "tf.cast(x, tf.float32)"),
        ((np.zeros(2),), (np.zeros((2, 1)),), "shape", "(2,)", "(2, 1)", ""),
        (([1.0],), ([1.0, 2.0],), "structure", "[.]", "[., .]", ""),
        ((np.zeros(2),), (3,), "type", "f64[2]", "3", "tf.constant(3)"),
    ],
)
def test_the_kinds_of_change(said, first, second, what, before, after, paste):
    @tf.function
    def f(x):
        return tf.constant(0.0)

    f(*first)
    f(*second)
    trace = only(f)
    (change,) = trace.changes
    assert (change.path, change.what, change.before, change.after, trace.paste) == ("argument x", what, before, after, paste)
    assert len(said()) == (0 if isinstance(first[0], bool | str) else 1)  # modes, as `training=`, are listed and not told


def test_other_objects_and_variables_are_told_apart():
    class Config:
        pass

    @tf.function(on_retrace="ignore")
    def f(a, b):
        return tf.constant(0.0)

    one, other = Config(), Config()
    f(one, 1)
    f(other, 1)
    assert str(f.why_retraced()[-1].changes[0]) == "argument a: object <Config> -> another <Config>"
    v, w = tf.Variable(1.0), tf.Variable(2.0)
    f(v, v)
    f(v, w)
    assert str(f.why_retraced()[-1].changes[0]) == "argument b: identity variable 1 -> variable 2"


def test_leaves_of_structures_have_paths_and_the_signature_their_structure(said):
    @tf.function
    def f(batch, *rest, scale=1.0):
        return batch["x"][1] * scale

    f({"x": [tf.ones([2]), tf.ones([2])]}, tf.ones([1]))
    f({"x": [tf.ones([2]), tf.ones([5])]}, tf.ones([1]))
    trace = only(f)
    assert trace.path == "argument batch['x'][1]"
    assert trace.paste == "reduce_retracing=True", "a keyword argument has no place in a signature"

    @tf.function
    def g(batch, training=False):
        return batch["x"][1]

    g({"x": [tf.ones([2]), tf.ones([2])]})
    g({"x": [tf.ones([2]), tf.ones([5])]})
    paste = "input_signature=[{'x': [tf.TensorSpec([2], tf.float32), tf.TensorSpec([None], tf.float32)]}]"
    assert only(g).paste == paste
    pasted = eval(f"tf.function(g.python_function, {paste})")
    assert pasted({"x": [tf.ones([2]), tf.ones([9])]}).shape == (9,)


def test_a_call_is_compared_with_the_nearest_trace():
    @tf.function(on_retrace="ignore")
    def f(x, y, mode):
        return x + y

    f(tf.ones([2]), tf.ones([2]), "a")
    f(tf.ones([9]), tf.ones([9]), "b")
    f(tf.ones([2]), tf.ones([2]), "b")
    assert f.traces()[-1].against == 1
    assert [str(c) for c in f.traces()[-1].changes] == ["argument mode: value 'a' -> 'b'"]


def test_policies(said):
    @tf.function(on_retrace="error")
    def f(x):
        return x

    f(tf.ones([2]))
    with pytest.raises(RetraceError, match=r"argument x: shape \(2,\) -> \(3,\)[\s\S]*test_retraces.py"):
        f(tf.ones([3]))
    assert f.experimental_get_tracing_count() == 1
    assert f(tf.ones([2])).shape == (2,)
    f.get_concrete_function(tf.TensorSpec([3], tf.float32))
    assert f(tf.ones([3])).shape == (3,)

    @tf.function(on_retrace="ignore")
    def g(x):
        return x

    g(tf.ones([2]))
    g(tf.ones([3]))
    assert len(g.why_retraced()) == 1
    assert said() == []
    with pytest.raises(ValueError, match="on_retrace='loud'"):
        tf.function(lambda x: x, on_retrace="loud")


def test_methods_have_the_policy_and_a_history_each(said):
    class Model:
        @tf.function(on_retrace="ignore")
        def call(self, x):
            return x

    a, b = Model(), Model()
    a.call(tf.ones([1]))
    b.call(tf.ones([2]))
    a.call(tf.ones([3]))
    assert (len(a.call.why_retraced()), len(b.call.why_retraced()), said()) == (1, 0, [])


def test_a_storm_is_told_less_and_less(said):
    @tf.function
    def f(n):
        return tf.constant(0.0)

    for n in range(41):
        f(n)
    assert len(said()) == 10 + 2, "the first ten, the sixteenth, the thirty-second"
    assert "retrace 32 of f" in str(said()[-1].message)
    assert len(f.why_retraced()) == 40


def test_functions_made_in_a_loop_are_told_once(said):
    for _ in range(8):
        f = tf.function(lambda x: x + 1.0)
        f(tf.ones([1]))  # here
    (warning,) = said()
    assert "made 5 times of the same `def`" in str(warning.message)
    assert warning.lineno == line_of("here")


def test_a_failed_trace_leaves_no_record(said):
    @tf.function
    def f(x, broken):
        if broken:
            raise KeyError("broken")
        return x

    f(tf.ones([1]), False)
    with pytest.raises(KeyError):
        f(tf.ones([1]), True)
    assert len(f.traces()) == 1
    assert said() == []


def test_a_forgotten_trace_is_said_to_be_one():
    @tf.function(max_traces=1, on_retrace="ignore")
    def f(x):
        return x

    f(tf.ones([1]))
    f(tf.ones([2]))
    f(tf.ones([1]))
    assert "its trace has been forgotten for newer ones. Raise max_traces" in str(f.why_retraced()[-1].line())
    f.clear()
    f(tf.ones([1]))
    assert len(f.traces()) == 1
    assert f.traces()[0].cause == "first call"

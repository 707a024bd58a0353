"""Calls of traced functions in all the ways one may write them: what they give, that native code takes them apart, and what it keeps alive."""

import collections
import enum
import functools
import gc
import sys
import threading
import weakref

import numpy as np
import pytest

import tapejit as tf
from tapejit.runtime import launcher

Pair = collections.namedtuple("Pair", "a b")
Mode = enum.Enum("Mode", "TRAIN TEST")
X, Y = tf.constant(2.0), tf.constant(3.0)


def function(f, **options):
    return tf.function(f, on_retrace="ignore", **options)


class Model:
    def __init__(self):
        self.w = tf.Variable(5.0)

    def __call__(self, x):
        return self.w * x

    @tf.function
    def step(self, x, training=False, *, name=None):
        return self.w * x if training else x


@function
def defaults(x, training=False, name=None, *, scale=1.0):
    return (x * 10.0 if training else x) * scale


@function
def variadic(*args, **kwargs):
    return sum(args) + sum(kwargs[k] * (n + 1.0) for n, k in enumerate(sorted(kwargs)))


first = function(lambda m, x: x + 1.0)
nested = function(lambda d: d["p"].a + d["p"].b * d["l"][0])
pair = function(lambda p: p.a - p.b)
apply = function(lambda f, x: f(x))
assign = function(lambda v, x: v.assign_add(x) * 1.0)
partial = tf.function(functools.partial(lambda a, b, c=None: a - b, X))
MODEL, OTHER = Model(), function(lambda x: x * 7.0)
BOUND = MODEL.step
CONCRETE = defaults.get_concrete_function(X, True)
SPECIFIED = tf.function(lambda x, scale=2.0: x * scale, input_signature=[tf.TensorSpec([], tf.float32)])

FORMS = {
    "default left out": (lambda: defaults(X), 2.0),
    "default given": (lambda: defaults(X, False, None), 2.0),
    "default by keyword": (lambda: defaults(X, name=None), 2.0),
    "other value": (lambda: defaults(X, training=True), 20.0),
    "keyword only": (lambda: defaults(X, scale=3.0), 6.0),
    "keywords in another order": (lambda: defaults(scale=3.0, training=True, x=X), 60.0),
    "variadic": (lambda: variadic(X, Y), 5.0),
    "variadic keywords": (lambda: variadic(X, b=Y, a=X), 10.0),
    "an integer": (lambda: first(3, X), 3.0),
    "a string": (lambda: first("mode", X), 3.0),
    "an array": (lambda: first(1, np.float32(2)), 3.0),
    "named tuple": (lambda: pair(Pair(X, Y)), -1.0),
    "nested": (lambda: nested({"l": [X, 1], "p": Pair(X, Y)}), 8.0),
    "an object": (lambda: apply(MODEL, X), 10.0),
    "a traced function": (lambda: apply(OTHER, X), 14.0),
    "a function of ours": (lambda: apply(tf.square, X), 4.0),
    "a member of an enumeration": (lambda: first(Mode.TEST, X), 3.0),
    "a dtype": (lambda: first(tf.float32, X), 3.0),
    "a class": (lambda: first(Model, X), 3.0),
    "a method": (lambda: MODEL.step(X), 2.0),
    "a method with a keyword": (lambda: MODEL.step(X, training=True), 10.0),
    "a bound method": (lambda: BOUND(X, True, name=None), 10.0),
    "functools.partial": (lambda: partial(Y), -1.0),
    "a concrete function": (lambda: CONCRETE(X), 20.0),
    "input_signature": (lambda: SPECIFIED(X), 4.0),
}


def python_functions(call):
    """The names of the functions of ours that run during a call."""
    seen = []
    sys.setprofile(lambda frame, event, arg: seen.append(frame.f_code.co_name) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(None)
    return [name for name in seen if name not in ("<lambda>", "__call__", "__get__")]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_taken_apart_by_native_code(form):
    call, expected = FORMS[form]
    assert [float(call()) for _ in range(3)] == [expected] * 3
    if launcher.supported() is None:
        assert python_functions(call) == []


def test_a_default_that_changes_the_trace_is_not_mixed_up():
    assert [float(defaults(X, training=t)) for t in (True, False, True, False)] == [20.0, 2.0, 20.0, 2.0]
    assert [float(defaults(X, scale=s)) for s in (1.0, 2.0, 1.0)] == [2.0, 4.0, 2.0]


def test_wrong_calls_are_refused_as_before():
    float(defaults(X))
    for call in (lambda: defaults(), lambda: defaults(X, x=X), lambda: defaults(X, nothing=1)):
        with pytest.raises(TypeError, match="Binding inputs to"):
            call()


@pytest.mark.parametrize(
    "make", [Pair, lambda a, b: collections.OrderedDict(b=b, a=a), lambda a, b: collections.defaultdict(list, b=b, a=a)]
)
def test_containers_that_are_returned(make):
    f = tf.function(lambda x: [make(x, x * 2.0), {"k": make(x, None)}])
    for _ in range(3):
        (got, inner), expected = f(X), make(2.0, 4.0)
        assert type(got) is type(expected)
        assert tf.nest.map_structure(float, got) == expected
        assert type(inner["k"]) is type(expected)


def test_returned_containers_are_new_ones():
    f = tf.function(lambda x: (collections.OrderedDict(), [], x))
    a, b = f(X), f(X)
    assert a[0] is not b[0]
    assert a[1] is not b[1]


def test_one_native_callable_serves_all_variables():
    variables = [tf.Variable(float(k)) for k in range(20)]
    for v in variables:
        assign(v, X)
    if launcher.supported() is None:
        assert all(python_functions(lambda v=v: assign(v, X)) == [] for v in variables)
        assert [float(v) for v in variables] == [k + 4.0 for k in range(20)]
    assert assign.experimental_get_tracing_count() == 1


def test_variables_of_another_kind_are_told_apart():
    kind = function(lambda v: (tf.size(v), v.trainable, v.dtype == tf.float32))
    made = [tf.Variable([1.0]), tf.Variable([1.0, 2.0]), tf.Variable([1.0], trainable=False), tf.Variable([1])]
    for _ in range(3):
        assert [tuple(map(int, kind(v))) for v in made] == [(1, 1, 1), (2, 1, 1), (1, 0, 1), (1, 1, 0)]


def test_which_variables_are_the_same_is_told_apart():
    both = function(lambda v, w: (v.assign_add(1.0), w.assign_add(1.0))[1] * 1.0)
    v, w = tf.Variable(0.0), tf.Variable(10.0)
    assert [float(both(v, w)), float(both(v, v)), float(both(w, v)), float(both(w, w)), float(both(v, w))] == [11.0, 3.0, 4.0, 14.0, 15.0]


def test_variables_and_objects_that_were_passed_are_not_kept_alive():
    assign_all = function(lambda m, vs, x: [v.assign_add(x) for v in vs][-1] * 1.0)

    def run():
        m, vs = Model(), [tf.Variable(1.0), tf.Variable(2.0)]
        for _ in range(3):
            assign_all(m, vs, X)
        with tf.GradientTape() as tape:
            assign_all(m, vs, tape.watch(X) or X)
        return [weakref.ref(x) for x in (m, *vs)]

    gone = run()
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3
    float(assign_all(Model(), [tf.Variable(1.0), tf.Variable(2.0)], X))
    with pytest.raises((TypeError, AttributeError)):
        assign_all(None, None, X)


def test_threads_that_pass_the_same_variables_wait_for_each_other():
    """The step is long enough to let other threads run; locks are taken in one order, whatever the order of the arguments."""
    captured = tf.Variable(tf.zeros([400, 400]))

    @function
    def add(v, w, x):
        captured.assign_add(x)
        v.assign(v + tf.tanh(x) * 0.0 + x)
        w.assign_add(x)

    v, w, x = tf.Variable(tf.zeros([400, 400])), tf.Variable(tf.zeros([400, 400])), tf.ones([400, 400])
    add(v, w, x)
    assert add.latest().compiled().record.long
    threads = [threading.Thread(target=lambda k=k: [add(*((v, w) if k % 2 else (w, v)), x) for _ in range(25)]) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for variable in (v, w, captured):
        assert set(np.unique(variable.numpy())) == {101.0}


def test_calls_that_give_arguments_away_are_taken_apart_natively():
    advance = tf.function(lambda state, v, x, scale=2.0: {k: t + x * scale + v for k, t in state.items()}, donate=["state"])
    v, state = tf.Variable(1.0), {"a": X * 1.0, "b": Y * 1.0}
    for _ in range(3):
        before, state = state, advance(state, v, x=X)
    assert {k: float(t) for k, t in state.items()} == {"a": 17.0, "b": 18.0}
    if launcher.supported() is None:
        assert "bind" not in python_functions(lambda: advance({"a": X * 1.0, "b": Y * 1.0}, v, x=X))
    with pytest.raises(RuntimeError, match="was given away"):
        before["a"].numpy()
    with pytest.raises(RuntimeError, match="was given away"):
        advance(before, v, x=X)

"""Python values that a trace has frozen are watched: a change is told with the line of the read and of the call, or traced again."""

import bdb
import gc
import inspect
import linecache
import sys
import threading
import warnings
import weakref

import numpy as np
import pytest

import tapejit as tf
from tapejit.explain.warned import FrozenValueWarning, LeakedTensorWarning

RATE = 0.5
SWITCH = False
NEVER_READ = 1
SETTINGS = {"decay": 0.1, "deep": {"er": 2}}
OFFSETS = np.array([1.0, 2.0], np.float32)
LOG = []
COUNT = 0
LATEST = None


def line_of(mark, function):
    lines, first = inspect.getsourcelines(function)
    return next(first + k for k, text in enumerate(lines) if text.rstrip().endswith(f"# {mark}"))


@pytest.fixture
def said():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda category=FrozenValueWarning: [w for w in caught if w.category is category]


@pytest.fixture
def change(monkeypatch):
    """Changes a global of this file."""
    return lambda name, value: monkeypatch.setitem(globals(), name, value)


def scaled(x):
    if SWITCH:
        x = x * NEVER_READ
    return x * RATE  # rate


def watched(f):
    return {r.name: r.value for r in f.latest().frozen.reads} if f.latest().frozen is not None else {}


def test_a_global_read_in_a_function_that_is_called(said, change):
    f = tf.function(lambda x: scaled(x) + 1.0)
    x = tf.constant([2.0])
    f(x)
    assert watched(f) == {"RATE": 0.5, "SWITCH": False}
    f(x)
    assert said() == []
    change("NEVER_READ", 5)
    change("RATE", float("0.5"))
    assert float(f(x)[0]) == 2
    assert said() == [], "an equal value is the same; a line that did not run reads nothing"
    change("RATE", 3.0)
    assert float(f(x)[0]) == 2, "as in TensorFlow the trace keeps its value"  # call
    (warning,) = said()
    assert (warning.filename, warning.lineno) == (__file__, line_of("call", test_a_global_read_in_a_function_that_is_called))
    assert "RATE is 3.0 now, but <lambda> was traced with 0.5" in str(warning.message)
    assert f"test_frozen.py:{line_of('rate', scaled)}" in str(warning.message)
    change("RATE", 4.0)
    f(x)
    assert len(said()) == 1, "once for each name"


def test_every_way_to_a_value(said, change):
    class Base:
        slope = 2.0

    class Model(Base):
        def __init__(self):
            self.scale, self.inner = 3.0, Base()

        @tf.function
        def call(self, x):
            return x * self.scale * self.slope * self.inner.slope + SETTINGS["decay"] * SETTINGS["deep"]["er"]

    offset = 1.0

    @tf.function
    def f(x):
        return x + offset + OFFSETS

    model, x = Model(), tf.constant([1.0, 1.0])
    first, second = model.call(x), f(x)
    assert watched(model.call) == {
        "self.scale": 3.0, "self.slope": 2.0, "self.inner.slope": 2.0, "SETTINGS['decay']": 0.1, "SETTINGS['deep']['er']": 2,
    }  # fmt: skip
    assert list(watched(f)) == ["offset", "OFFSETS"]
    model.scale = 4.0
    model.call(x)
    model.inner = Base()
    model.call(x)
    Model.slope = 5.0
    np.testing.assert_array_equal(model.call(x), first)
    offset = 7.0
    f(x)
    OFFSETS[1] = 9.0
    np.testing.assert_array_equal(f(x), second)
    OFFSETS[1] = 2.0
    told = [str(w.message).partition(" now,")[0] for w in said()]
    assert told[0] == "self.scale is 4.0"
    assert "self.slope is 5.0" in told
    assert told[-2:] == ["offset is 7.0", "OFFSETS is array([1., 9.], dtype=float32)"]


def test_retracing(said, change):
    @tf.function(guard="retrace")
    def f(x):
        return x * RATE

    x = tf.constant(2.0)
    assert float(f(x)) == 1
    change("RATE", 3.0)
    assert [float(f(x)) for _ in range(3)] == [6, 6, 6]
    assert f.experimental_get_tracing_count() == 2
    assert said() == []
    (trace,) = f.why_retraced()
    assert (trace.before, trace.after) == ("0.5", "3.0")
    assert trace.path.startswith("RATE (read at test_frozen.py:")


def test_off(said, change):
    @tf.function(guard="off")
    def f(x):
        return x * RATE

    x = tf.constant(2.0)
    f(x)
    change("RATE", 3.0)
    assert float(f(x)) == 1
    assert said() == []
    with pytest.raises(ValueError, match="guard='maybe'"):
        tf.function(lambda x: x, guard="maybe")


def test_what_the_function_writes_itself_is_not_watched(said):
    class Counter:
        def __init__(self):
            self.calls = 0

        @tf.function
        def call(self, x):
            global COUNT
            COUNT += 1
            self.calls += 1
            return x * COUNT * self.calls

    counter, x = Counter(), tf.constant(1.0)
    counter.call(x)
    counter.calls += 1
    counter.call(x)
    assert said() == []
    assert watched(counter.call) == {}


def test_functions_inside_others(said, change):
    @tf.function
    def inner(x):
        return x * RATE

    @tf.function
    def outer(x):
        return inner(x) + 1.0

    x = tf.constant(2.0)
    inner(x)
    outer(x)
    assert "RATE" in watched(outer)
    change("RATE", 7.0)
    assert float(outer(x)) == 2
    assert [str(w.message).partition(" was traced")[0] for w in said()] == ["RATE is 7.0 now, but outer"]


def test_nothing_is_kept_alive(said):
    class Settings:
        pass

    class Model:
        def __init__(self):
            self.settings = Settings()
            self.settings.owner, self.settings.rate = self, 2.0

        @tf.function
        def call(self, x):
            return x * self.settings.rate

    model, x = Model(), tf.constant(1.0)
    model.call(x)
    assert watched(model.call) == {"self.settings.rate": 2.0}
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None

    settings = Settings()
    settings.rate = 2.0
    holder = {"settings": settings}

    @tf.function
    def f(x):
        return x * holder["settings"].rate

    f(x)
    del holder["settings"], settings
    gc.collect()
    assert float(f(x)) == 2


def test_a_tracer_of_others_is_left_alone(said, change):
    seen = []

    def tracer(frame, event, arg):
        seen.append(event)

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        f = tf.function(lambda x: x * RATE)
        f(tf.constant(2.0))
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
    assert seen
    assert sys.gettrace() is before


def test_a_debugger_may_take_over():
    class Debugger(bdb.Bdb):
        lines = []

        def user_line(self, frame):
            self.lines.append(linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip())
            self.set_next(frame) if len(self.lines) < 3 else self.set_continue()

    debugger, before = Debugger(), sys.gettrace()

    @tf.function(autograph=False)
    def f(x):
        y = x * RATE
        debugger.set_trace()
        z = y + 1.0
        return z * 2.0

    try:
        f(tf.constant(2.0))
    finally:
        sys.settrace(before)
    assert debugger.lines[:2] == ["z = y + 1.0", "return z * 2.0"]


def test_long_loops_in_python_are_not_looked_at_to_the_end():
    @tf.function(autograph=False)
    def f(x):
        total = 0.0
        for k in range(100_000):
            total += k * RATE
        return x * total

    f(tf.constant(1.0))
    assert watched(f) == {"RATE": 0.5}


# ------------------------------------------------------------------------------------------------------------ leaks
def test_symbolic_tensors_put_where_they_outlive_the_trace(said):
    global LATEST

    class Model:
        def __init__(self):
            self.seen, self.last = [], None

        @tf.function
        def call(self, x):
            self.seen.append(x * 2.0)  # seen
            self.last = x + 1.0  # last
            return x

    @tf.function
    def f(x):
        global LATEST
        own = [x]
        own.append(x)
        LATEST = x * 3.0  # latest
        LOG.append(x)  # log
        return own[0]

    model, x = Model(), tf.constant(1.0)
    model.call(x)
    f(x)
    f(x)
    told = {str(w.message).partition(" has been")[0]: w.lineno for w in said(LeakedTensorWarning)}
    assert told == {
        "self.seen": line_of("seen", Model), "self.last": line_of("last", Model), "LATEST": line_of("latest", f.python_function),
        "LOG": line_of("log", f.python_function),
    }  # fmt: skip
    LOG.clear()
    LATEST = None


def test_numbers_put_into_lists_are_nobody_s_business(said):
    traces = []

    @tf.function
    def f(x):
        traces.append(1)
        return x

    f(tf.constant(1.0))
    assert said(LeakedTensorWarning) == []


class Sum:
    def __init__(self, start):
        self.value = start

    def add(self, x):
        self.value = self.value + x


def push(items, x):
    items.append(x)  # pushed


def test_what_goes_with_the_traced_functions_locals_is_no_leak(said):
    @tf.function
    def f(x):
        sums = [Sum(x) for _ in range(2)]
        for each in sums:
            each.add(x)
        kept, named = [], {"deep": []}
        push(kept, x)
        push(named["deep"], x)
        return sums[0].value + kept[0] + named["deep"][0]

    assert float(f(tf.constant(1.0))) == 4.0
    assert said(LeakedTensorWarning) == []


def test_what_is_pushed_into_a_list_from_outside_is_a_leak(said):
    outside = []

    @tf.function
    def f(x):
        push(outside, x)
        return x

    f(tf.constant(1.0))
    assert [w.lineno for w in said(LeakedTensorWarning)] == [line_of("pushed", push)]


def test_threads_that_trace_at_once_note_their_own():
    def make(k):
        slope = float(k)

        @tf.function
        def f(x):
            for _ in range(30):
                x = tf.tanh(x * slope)
            return x

        return f

    functions = [make(k) for k in range(4)]
    threads = [threading.Thread(target=f, args=(tf.constant([1.0]),)) for f in functions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [watched(f) for f in functions] == [{"slope": float(k)} for k in range(4)]


def test_what_a_cell_of_a_notebook_reads_is_noted_too():
    """Its file has a name like `<ipython-input-1-...>` and lines that `linecache` knows; generated code has none."""
    name = "<ipython-input-1-frozen>"
    source = "@tf.function\ndef f(x):\n    return x * scale\n"
    linecache.cache[name] = len(source), None, source.splitlines(True), name
    space = {"tf": tf, "scale": 2.0}
    exec(compile(source, name, "exec"), space)
    x = tf.ones([2])
    space["f"](x)
    space["scale"] = 3.0
    with pytest.warns(tf.explain.FrozenValueWarning, match=r"scale is 3\.0 now.*<ipython-input-1-frozen>:3"):
        space["f"](x)

"""What traced functions do with what is around them, rule by rule: variables, objects, other functions, captures, effects."""

import copy
import functools
import gc
import pickle
import re
import threading
import weakref

import numpy as np
import pytest
from traces import Checks, counted, one

import tapejit as tf

rule = Checks()


# ------------------------------------------------------------------------------------------------ variables
@rule("variables made on the first call: a second trace, effects twice")
def _():
    class Layer:
        w = None

    layer, log = Layer(), []

    @tf.function
    def f(x):
        log.append(1)
        if layer.w is None:
            layer.w = tf.Variable(tf.ones([2]) * 3.0)
        return layer.w * x

    np.testing.assert_array_equal(f(one([1, 2])), [3, 6])
    assert (f.experimental_get_tracing_count(), len(log)) == (2, 2)
    np.testing.assert_array_equal(f(one([2, 2])), [6, 6])
    f(one(1))
    assert f.experimental_get_tracing_count() == 3
    assert [id(v) for v in f.concrete_functions()[0].variables] == [id(layer.w)]


@rule("variables made each time: ValueError that names variable, line and owner")
def _():
    class Model:
        name = "model_1"

        def grow(self):
            weights = tf.Variable(1.0)
            return weights + 1.0

    model = Model()
    f = tf.function(lambda: model.grow())
    said = (
        "tf.function only supports singleton tf.Variables created on the first call. Make sure the tf.Variable is only created once or "
        "created outside tf.function. See "
    )
    with pytest.raises(ValueError, match=re.escape(said)) as e:
        f()
    assert "the variable 'weights' of a Model (model_1)" in str(e.value)
    assert "weights = tf.Variable(1.0)" in str(e.value)
    with pytest.raises(ValueError, match="the variable 'given'"):
        tf.function(lambda: tf.Variable(1.0, name="given") + 1.0)()


@rule("variables first made on a later call: ValueError")
def _():
    kept = []

    @tf.function
    def f(x, make):
        if make:
            kept.append(tf.Variable(1.0))
        return x

    f(one(1), False)
    with pytest.raises(ValueError, match=re.escape("Creating variables on a non-first call to a function decorated with tf.function.")):
        f(one(1), True)


@rule("initial values are made once, outside the trace")
def _():
    state = {}

    @tf.function
    def f():
        if not state:
            state["v"] = tf.Variable(lambda: tf.random.normal([3]))
        return state["v"] * 1.0

    a, b = f(), f()
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, state["v"])


@rule("an initial value may depend on arguments and their sizes, of an outer function too, where they are known")
def _():
    state = {}

    def centred(x):
        if not state:
            state["mean"] = tf.Variable(tf.reduce_mean(x, 0) * tf.cast(tf.shape(x)[0], tf.float32))
            state["seen"] = tf.Variable(tf.zeros(tf.shape(x)[:1]))
        return x - state["mean"]

    rows = one([[1, 2], [3, 4]])
    f = tf.function(centred)
    np.testing.assert_array_equal(f(rows), [[-3, -4], [-1, -2]])
    assert (state["mean"].numpy().tolist(), state["seen"].shape) == ([4, 6], [2])
    assert f.experimental_get_tracing_count() == 2
    np.testing.assert_array_equal(f(rows + 1.0), [[-2, -3], [0, -1]])

    def inner():
        state.clear()
        return tf.function(centred, input_signature=[tf.TensorSpec([None, 2])])

    f = inner()
    np.testing.assert_array_equal(tf.function(lambda x: f(x * 2.0))(rows), [[-6, -8], [-2, -4]])
    for spec in (tf.TensorSpec([None, 2]), tf.TensorSpec([2, 2])):
        with pytest.raises(ValueError, match="call the function once before get_concrete_function"):
            tf.function(inner().python_function).get_concrete_function(spec)


@rule("an initial value may not depend on what a loop changes")
def _():
    state = {}

    @tf.function
    def f(x):
        for _ in tf.range(3):
            x = x * 2.0
            state.setdefault("v", tf.Variable(x))
        return x

    with pytest.raises(ValueError, match="initial value"):
        f(one(1))


# ------------------------------------------------------------------------------------------------ methods and kinds of callables
class Scale:
    def __init__(self, k):
        self.k = k

    @tf.function
    def times(self, x):
        """Scaled."""
        return x * self.k

    @tf.function(input_signature=[tf.TensorSpec([None])])
    def signed(self, x):
        return x * self.k

    @tf.function
    def __call__(self, x):
        return x * self.k


@rule("methods: one function per object; the class gives the function itself")
def _():
    a, b = Scale(2.0), Scale(3.0)
    assert a.times is a.times
    assert a.times is not b.times
    assert (float(a.times(one(1))), float(b.times(one(1)))) == (2, 3)
    assert a.times.experimental_get_tracing_count() == 1
    assert isinstance(Scale.times, type(a.times))
    assert Scale.times is Scale.times is not a.times
    assert float(Scale.times(a, one(5))) == 10
    assert a.times.__doc__ == "Scaled."


@rule("methods: objects go, with their traces")
def _():
    a = Scale(2.0)
    a.times(one(1)), a(one(1))
    gone, traces = weakref.ref(a), weakref.ref(a.times.concrete_functions()[0])
    del a
    gc.collect()
    assert gone() is None
    assert traces() is None


@rule("methods: objects that are equal, and unhashable ones, are still two")
def _():
    class Same:
        __hash__ = None

        def __init__(self, k):
            self.k = k

        def __eq__(self, other):
            return isinstance(other, Same)

        @tf.function
        def times(self, x):
            return x * self.k

    a, b = Same(2.0), Same(3.0)
    assert (float(a.times(one(1))), float(b.times(one(1)))) == (2, 3)


@rule("methods: input_signature leaves self out")
def _():
    s = Scale(2.0)
    np.testing.assert_array_equal(s.signed([1, 2]), [2, 4])
    assert s.signed.get_concrete_function().inputs[0].shape.as_list() == [None]


@rule("methods of an object that is gone: ReferenceError")
def _():
    with pytest.raises(ReferenceError, match="is gone"):
        Scale(2.0).times(one(1))


@rule("lambdas, partials, callable objects, methods given to function()")
def _():
    class Callable:
        def __call__(self, x, k=1.0):
            return x + k

    def add(x, y, z=0.0):
        return x + y + z

    s = Scale(4.0)
    for f, want in (
        (tf.function(lambda x: x + 1.0), 2),
        (tf.function(functools.partial(add, one(2), z=3.0)), 6),
        (tf.function(functools.partial(add, y=2.0)), 3),
        (tf.function(Callable()), 2),
        (tf.function(autograph=False)(lambda x: x - 1.0), 0),
        (tf.function(s.__call__.python_function), 4),
    ):
        assert float(f(one(1))) == want


@rule("what cannot be called is a TypeError")
def _():
    with pytest.raises(TypeError, match="3 is not a callable object"):
        tf.function(3)


@rule("the decorator keeps name, doc and the Python function")
def _():
    @tf.function
    def documented(x):
        """Doc."""
        return x

    assert (documented.__name__, documented.__doc__, documented.name) == ("documented", "Doc.", "documented")
    assert documented.python_function(3) == 3


@tf.function
def squared(x):
    return x * x


@rule("copying: by reference at the top of a module, otherwise without traces; pickled by name")
def _():
    assert pickle.loads(pickle.dumps(squared)) is squared
    assert copy.deepcopy(squared) is squared
    k = tf.Variable(2.0)
    f = tf.function(lambda x: x * k)
    f(one(1))
    for g in (copy.copy(f), copy.deepcopy(f)):
        assert g is not f
        assert g.experimental_get_tracing_count() == 0
        assert float(g(one(3))) == 6
    s = Scale(2.0)
    s.times(one(1))
    t = copy.deepcopy(s)
    t.k = 5.0
    assert float(t.times(one(1))) == 5
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(f)


@rule("what was pickled, tensor, array or the initial value of a variable, is taken like any other")
def _():
    array, tensor = pickle.loads(pickle.dumps((np.ones(3, np.float32), tf.ones(3))))
    total = tf.Variable(array)
    f = tf.function(lambda x: total.assign_add(2.0 * x))
    for x in (array, tensor, tf.constant(array)):
        f(x)
    np.testing.assert_array_equal(total, [7, 7, 7])
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        y = tf.function(lambda x: x * x)(tensor)
    np.testing.assert_array_equal(tape.gradient(y, tensor), [2, 2, 2])


# ------------------------------------------------------------------------------------------------ nesting
@rule("an inner function is traced once for all who call it")
def _():
    inner, traces = counted(lambda x: x * x)
    outer, other = tf.function(lambda x: inner(x) + inner(x + 1.0)), tf.function(lambda x: inner(x))
    assert (float(outer(one(2))), float(other(one(3))), float(inner(one(4)))) == (13, 9, 16)
    assert len(traces) == 1


@rule("functions called by one function keep their captures and variables apart, in loops too")
def _():
    def looping(array, v):
        @tf.function
        def f(x):
            for _ in tf.range(2):
                x = x + tf.reduce_sum(array) * tf.reduce_sum(v)
            return x

        return f

    f = looping(tf.ones([100]), tf.Variable(tf.ones([3]), name="v"))
    g = looping(tf.ones([200], tf.float64), tf.Variable(tf.ones([4], tf.float64), name="v"))
    one_, other = tf.function(lambda x: (f(x), g(tf.cast(x, tf.float64))))(one(1))
    assert (float(one_), float(other)) == (601, 1601)


@rule("a function made within a traced one captures its tensors")
def _():
    w = tf.Variable(3.0)

    @tf.function
    def outer(x):
        doubled = x * 2.0

        @tf.function
        def inner(y):
            @tf.function
            def innermost(z):
                return z * x + w

            return innermost(y) + tf.reduce_sum(tf.map_fn(lambda e: e * doubled, tf.stack([y, y])))

        if x > 0.0:
            return inner(x) + inner(doubled)
        return inner(-x)

    for x in (2.0, -1.0, 3.0):
        d, y = 2 * x, x
        want = sum(z * x + 3.0 + 2 * z * d for z in ((y, d) if x > 0 else (-y,)))
        assert float(outer(one(x))) == want
    assert outer.experimental_get_tracing_count() == 1


@rule("a gradient with respect to a tensor of the function around")
def _():
    @tf.function
    def outer(x):
        @tf.function
        def slope(y):
            with tf.GradientTape() as tape:
                tape.watch(x)
                z = y * x * x
            return tape.gradient(z, x)

        with tf.GradientTape() as tape:
            tape.watch(x)
            z = tf.function(lambda y: y * x * x)(x)
        return slope(x), tape.gradient(z, x)

    assert [float(g) for g in outer(one(2))] == [8, 12]


@rule("a function with captured tensors is of no use outside of the call that made it")
def _():
    kept = []

    @tf.function
    def outer(x):
        kept.append(tf.function(lambda y: y + x))
        return kept[-1](x)

    assert float(outer(one(2))) == 4
    for again in (lambda: kept[0](one(1)), lambda: tf.function(lambda: kept[0](one(1)))()):
        with pytest.raises(TypeError, match="out of scope"):
            again()


@rule("an exception while tracing leaves no trace, the next call tries again")
def _():
    fails = [True]

    @tf.function
    def inner(x):
        if fails[0]:
            raise KeyError("mine")
        return x

    outer = tf.function(lambda x: inner(x) + 1.0)
    with pytest.raises(KeyError, match="mine"):
        outer(one(1))
    assert (len(outer.concrete_functions()), len(inner.concrete_functions())) == (0, 0)
    assert (outer.experimental_get_tracing_count(), inner.experimental_get_tracing_count()) == (0, 0)
    fails.clear(), fails.append(False)
    assert float(outer(one(1))) == 2


@rule("a variable made by a first call that then fails has its initial value; the next call does not make it again")
def _():
    made, fails = [], [True]

    @tf.function
    def f(x):
        if not made:
            made.append(tf.Variable(x * 2.0))
        if fails.pop():
            raise KeyError("mine")
        return made[0] + x

    with pytest.raises(KeyError, match="mine"):
        f(one(1))
    fails.append(False)
    assert float(f(one(5))) == 7
    assert f.experimental_get_tracing_count() == 1


@rule("recursion on Python values ends, on the same kind of call it is an error")
def _():
    @tf.function
    def down(x, n):
        return x if n == 0 else down(x * 2.0, n - 1)

    assert float(down(one(1), 3)) == 8

    @tf.function
    def forever(x):
        return forever(x + 1.0)

    @tf.function
    def until(x):
        if x > 0.0:
            return until(x - 1.0)
        return x

    for f in (forever, until):
        with pytest.raises(RecursionError, match="calls itself"):
            f(one(1))


@rule("two threads that call first trace once")
def _():
    f, traces = counted(lambda x: tf.tanh(x) * 3.0)
    gate, out = threading.Barrier(4), []

    def work():
        gate.wait()
        out.append(float(f(one(0))))

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert out == [0.0] * 4
    assert len(traces) == 1


@rule("a thread does not record what another one traces")
def _():
    seen = []

    @tf.function
    def f(x):
        t = threading.Thread(target=lambda: seen.append(type(tf.constant(1.0) + 1.0)))
        t.start(), t.join()
        return x

    f(one(1))
    assert seen == [tf.EagerTensor]


# ------------------------------------------------------------------------------------------------ captures and effects
@rule("captures: tensors and variables by reference, Python values and arrays frozen")
def _():
    v, t, k, array, scalar, scale = tf.Variable(1.0), one(10), [100.0], np.array([1000.0] * 20, "float32"), 10000.0, Scale(20000.0)
    f = tf.function(lambda: v + t + k[0] + array[0] + tf.constant(array)[1] + scalar + scale.k)
    assert float(f()) == 32111
    v.assign(2.0)
    t, k[0], array[:], scalar, scale.k = one(0), 0.0, 0.0, 0.0, 0.0
    assert float(f()) == 32112


@rule("Python effects at tracing only")
def _():
    log = []
    f = tf.function(lambda x: (log.append("traced"), x)[1])
    f(one(1)), f(one(2)), f(one([1]))
    assert log == ["traced"] * 2
    count = 0

    @tf.function
    def counts(x):
        nonlocal count
        count += 1
        return x + count

    assert [float(counts(one(x))) for x in (1, 2, 3)] == [2, 3, 4]
    assert count == 1


@rule("reads and writes of variables in program order, also where nothing uses them")
def _():
    v = tf.Variable(1.0)

    def body(x):
        a = v * 10.0
        v.assign(x)
        b = v * 10.0
        v.assign_add(1.0)
        _ = v * 100.0
        return a, b

    for f in (body, tf.function(body)):
        v.assign(1.0)
        assert [float(q) for q in f(one(5))] == [10, 50]
        assert float(v) == 6


@rule("print, assertions, check_numerics and assign are never pruned")
def _():
    v, printed = tf.Variable(0.0), []

    @tf.function
    def f(x):
        v.assign_add(x)
        tf.debugging.check_numerics(x, "bad x")
        tf.debugging.assert_positive(x)
        tf.print(x)
        tf.py_function(lambda y: printed.append(float(y)), [x], [])

    f(one(2))
    assert (float(v), printed) == (2, [2])
    assert "print(x" in f.show("optimized")
    with pytest.raises(tf.errors.InvalidArgumentError):
        f(one(-1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="bad x"):
        f(one(np.nan))


@rule("pure ops without use are pruned")
def _():
    f = tf.function(lambda x: (tf.tanh(x), x + 1.0)[1])
    f(one(1))
    assert "tanh" in f.show("traced")
    assert "tanh" not in f.show("optimized")


@rule("control_dependencies and group keep program order")
def _():
    v = tf.Variable(1.0)

    @tf.function
    def f(x):
        with tf.control_dependencies([v.assign(x)]):
            y = v * 2.0
        tf.group(v.assign_add(1.0))
        return y + v

    assert float(f(one(5))) == 16


@pytest.mark.parametrize("text", rule)
def test_rule(text):
    rule[text]()

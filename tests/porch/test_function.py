"""When a function is traced, what of its arguments makes a trace, and what a traced function may be: method, closure, part of another."""

import gc
import weakref

import numpy as np
import pytest

import tapejit as tf


def counted(**options):
    """A traced function and the list that gets an entry per trace."""
    traces = []

    @tf.function(autograph=False, **options)
    def f(x, *rest, scale=1.0, mode=None):
        traces.append((x, rest, scale, mode))
        y = x["a"] if isinstance(x, dict) else x[0] if isinstance(x, (list, tuple)) else x
        return y if scale == 1.0 else y * scale

    return f, traces


# ------------------------------------------------------------------------------------------------ retracing
def test_one_trace_per_dtype_and_shape():
    f, traces = counted()
    for x in ([1.0, 2.0], [3.0, 4.0], [1.0, 2.0, 3.0], [[1.0]], 1.0, [1, 2], [5.0, 6.0]):
        np.testing.assert_array_equal(f(tf.constant(x)), x)
    assert len(traces) == 5
    assert f.experimental_get_tracing_count() == 5
    f(np.array([7.0, 8.0], np.float32))
    assert len(traces) == 5, "an array is a tensor of its dtype and shape"
    f(tf.Variable([1.0, 2.0]))
    assert len(traces) == 6, "a variable is no tensor"


def test_python_values_are_part_of_the_key():
    f, traces = counted()
    x = tf.constant([1.0])
    for options in ({}, {"scale": 1.0}, {"scale": 2.0}, {"scale": 2.0}, {"mode": "neg"}, {"mode": None}, {"scale": 2}, {"scale": True}):
        f(x, **options)
    assert len(traces) == 5, [t[2:] for t in traces]


def test_numbers_are_told_apart_by_value_and_type():
    f, traces = counted()
    for x in (2, 2, 3, 2.0, True):
        assert float(f(x)) == float(x)
    assert len(traces) == 4


def test_defaults_and_keywords_make_the_same_call():
    calls = []

    @tf.function
    def f(x, training=False, scale=1.0):
        calls.append((training, scale))
        return x * scale

    a = tf.constant([1.0])
    f(a), f(a, training=False), f(a, False, 1.0), f(x=a), f(scale=1.0, x=a)
    assert len(calls) == 1
    f(a, training=True), f(a, True, 1.0)
    assert len(calls) == 2


def test_structures_are_part_of_the_key_and_dict_order_is_not():
    f, traces = counted()
    one, two = tf.constant(1.0), tf.constant(2.0)
    assert float(f({"a": one, "b": [two]})) == 1.0
    assert float(f({"b": [two], "a": two})) == 2.0
    assert len(traces) == 1
    f({"a": one, "b": [two, two]})
    f([one, two])
    f((one, two))
    assert len(traces) == 4


def test_two_names_for_one_variable_are_another_trace():
    traces = []

    @tf.function
    def f(v, w):
        traces.append(1)
        v.assign_add(1.0)
        return v + w

    a, b = tf.Variable(1.0), tf.Variable(10.0)
    assert float(f(a, b)) == 12.0
    assert float(f(b, a)) == 13.0
    assert len(traces) == 1
    assert float(f(a, a)) == 6.0
    assert len(traces) == 2
    assert (float(a), float(b)) == (3.0, 11.0)


def test_objects_are_compared_by_identity_and_not_kept_alive():
    class Config:
        k = 3.0

    traces = []

    @tf.function
    def f(x, config):
        traces.append(1)
        return x * config.k

    c = Config()
    f(tf.constant(1.0), c), f(tf.constant(2.0), c)
    assert len(traces) == 1
    f(tf.constant(1.0), Config())
    assert len(traces) == 2
    gone = weakref.ref(c)
    del c
    gc.collect()
    assert gone() is None


def test_python_globals_are_frozen_at_tracing_and_variables_are_not():
    held, v = {"k": 2.0}, tf.Variable(1.0)
    f = tf.function(lambda x: x * held["k"] + v)
    assert float(f(tf.constant(1.0))) == 3.0
    held["k"] = 10.0
    v.assign(5.0)
    assert float(f(tf.constant(1.0))) == 7.0
    np.testing.assert_array_equal(f(tf.constant([1.0])), [15.0])


def test_reduce_retracing_leaves_sizes_open_that_changed():
    traces = []

    @tf.function(reduce_retracing=True)
    def f(x):
        traces.append(x.shape)
        return tf.reduce_sum(x)

    for n in range(2, 10):
        assert float(f(tf.ones([n, 2]))) == 2 * n
    assert len(traces) == 2
    assert traces[1].as_list() == [None, 2]


def test_a_trace_that_fails_leaves_nothing_behind():
    fails = [True]

    @tf.function
    def f(x):
        if fails[0]:
            raise KeyError("at tracing")
        return x + 1.0

    with pytest.raises(KeyError, match="at tracing"):
        f(tf.constant(1.0))
    fails[0] = False
    assert float(f(tf.constant(1.0))) == 2.0
    assert isinstance(tf.constant(1.0) + 1.0, tf.EagerTensor), "nobody is recording any more"


# ------------------------------------------------------------------------------------------------ signatures
def test_input_signature_with_open_sizes():
    shapes = []

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def mean(x):
        shapes.append(x.shape.as_list())
        return tf.reduce_sum(x, axis=0) / tf.cast(tf.shape(x)[0], tf.float32)

    for x in (np.ones((1, 2), "float32"), tf.ones([5, 2]), [[1.0, 2.0], [3.0, 4.0]], tf.zeros([0, 2])):
        np.testing.assert_allclose(mean(x), np.sum(np.asarray(x), 0) / np.float32(len(x)) if len(x) else [np.nan, np.nan])
    assert shapes == [[None, 2]]
    for wrong in (tf.ones([2, 3]), tf.ones([2]), tf.ones([2, 2], tf.float64)):
        with pytest.raises((TypeError, ValueError)):
            mean(wrong)


def test_named_sizes_have_to_agree():
    @tf.function(input_signature=[tf.TensorSpec(["B", 3], tf.float32), tf.TensorSpec(["B"], tf.float32)])
    def f(x, y):
        return tf.reduce_sum(x, 1) + y

    np.testing.assert_array_equal(f(tf.ones([4, 3]), tf.ones([4])), [4, 4, 4, 4])
    np.testing.assert_array_equal(f(tf.ones([2, 3]), tf.ones([2])), [4, 4])
    with pytest.raises((TypeError, ValueError)):
        f(tf.ones([4, 3]), tf.ones([2]))


def test_nested_signature_and_keywords():
    @tf.function(input_signature=[{"x": tf.TensorSpec([None]), "y": [tf.TensorSpec([])]}])
    def f(batch):
        return batch["x"] * batch["y"][0]

    np.testing.assert_array_equal(f({"x": tf.constant([1.0, 2.0]), "y": [tf.constant(3.0)]}), [3, 6])
    np.testing.assert_array_equal(f(batch={"x": tf.constant([1.0]), "y": [tf.constant(3.0)]}), [3])
    assert f.experimental_get_tracing_count() == 1


def test_concrete_functions():
    @tf.function
    def f(x, y, training=False):
        return {"sum": x + y, "pair": (x, [y, None]), "training": tf.constant(training)}

    c = f.get_concrete_function(tf.TensorSpec([None]), tf.TensorSpec([]), training=True)
    out = c(tf.constant([1.0, 2.0]), tf.constant(3.0))
    np.testing.assert_array_equal(out["sum"], [4, 5])
    assert out["pair"][1][1] is None
    assert bool(out["training"])
    assert f.get_concrete_function(tf.TensorSpec([None]), tf.TensorSpec([]), training=True) is c
    assert [list(s.shape) for s in c.inputs] == [[None], []]
    assert c.structured_outputs["sum"].shape.as_list() == [None]
    with pytest.raises((TypeError, ValueError)):
        c(tf.constant([[1.0]]), tf.constant(3.0))
    assert f.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("n", [0, 1, 3, 7, 2])
def test_a_concrete_function_serves_every_size(n):
    x = np.arange(2 * n, dtype="float32").reshape(n, 2)
    np.testing.assert_allclose(_open(x), np.exp(x).sum(0) + n, rtol=1e-6)


_open = tf.function(lambda x: tf.reduce_sum(tf.exp(x), 0) + tf.cast(tf.shape(x)[0], tf.float32)).get_concrete_function(
    tf.TensorSpec([None, 2])
)


# ------------------------------------------------------------------------------------------------ results
def test_results_keep_their_structure():
    @tf.function
    def f(x):
        return {"b": x, "a": [x + 1.0, (x * 2.0, None)]}, 3, np.float32(2.5), True

    out, three, number, true = f(tf.constant(1.0))
    assert list(out) == ["b", "a"]
    assert isinstance(out["a"][1], tuple)
    assert out["a"][1][1] is None
    assert (int(three), float(number), bool(true)) == (3, 2.5, True)
    assert tf.function(lambda: None)() is None


def test_a_result_that_is_no_tensor_is_an_error():
    with pytest.raises(TypeError, match=r"must return zero or more Tensors[\s\S]*object"):
        tf.function(lambda x: object())(tf.constant(1.0))


def test_results_share_no_memory():
    v = tf.Variable([1.0, 2.0])

    @tf.function
    def f(x):
        return x, v, v.read_value(), x

    x = np.array([3.0, 4.0], "float32")
    a, b, c, d = f(tf.constant(x))
    v.assign([9.0, 9.0])
    a.numpy()[:] = 0
    np.testing.assert_array_equal(b, [1, 2])
    np.testing.assert_array_equal(c, [1, 2])
    np.testing.assert_array_equal(d, [3, 4])


# ------------------------------------------------------------------------------------------------ kinds of functions
def test_methods_trace_for_each_instance():
    class Counter:
        def __init__(self, k):
            self.k, self.n, self.traces = k, tf.Variable(0), 0

        @tf.function
        def step(self, x):
            self.traces += 1
            self.n.assign_add(1)
            return x * self.k + tf.cast(self.n, tf.float32)

        @tf.function
        def __call__(self, x, *more, **named):
            for m in more:
                x = x + m
            return x - named.get("sub", 0.0)

    a, b = Counter(2.0), Counter(5.0)
    assert [float(a.step(tf.constant(1.0))), float(a.step(tf.constant(1.0))), float(b.step(tf.constant(1.0)))] == [3.0, 4.0, 6.0]
    assert (a.traces, b.traces, int(a.n), int(b.n)) == (1, 1, 2, 1)
    assert float(a(tf.constant(2.0), 1.0, tf.constant(4.0), sub=tf.constant(5.0))) == 2.0
    gone = weakref.ref(b)
    del b
    gc.collect()
    assert gone() is None


def test_closures_have_traces_of_their_own():
    def scaler(k):
        return tf.function(lambda x: x * k)

    assert float(scaler(2.0)(tf.constant(3.0))) == 6.0
    assert float(scaler(tf.Variable(5.0))(tf.constant(3.0))) == 15.0
    big = tf.constant(np.arange(100.0))
    np.testing.assert_array_equal(tf.function(lambda x: x + big)(tf.constant(1.0, tf.float64)), np.arange(100.0) + 1)


def test_functions_calling_functions():
    v = tf.Variable(1.0)

    @tf.function
    def inner(x):
        v.assign_add(x)
        return x * v

    @tf.function
    def outer(x):
        return inner(x) + inner(x + 1.0) + v

    assert float(outer(tf.constant(2.0))) == 2 * 3 + 3 * 6 + 6
    assert float(v) == 6.0
    assert float(inner(tf.constant(1.0))) == 7.0


def test_python_recursion():
    @tf.function
    def power(x, n):
        return x if n == 0 else power(x * 2.0, n - 1)

    assert float(power(tf.constant(1.0), 4)) == 16.0


def test_variables_created_on_the_first_call():
    state = {}

    @tf.function
    def f(x):
        if "v" not in state:
            state["v"] = tf.Variable(tf.ones([2]) * 10.0)
        state["v"].assign_add(x)
        return state["v"].read_value()

    np.testing.assert_array_equal(f(tf.constant([1.0, 1.0])), [11, 11])
    np.testing.assert_array_equal(f(tf.constant([2.0, 2.0])), [13, 13])
    np.testing.assert_array_equal(f(tf.constant(1.0)), [14, 14])
    assert f.experimental_get_tracing_count() == 3  # twice for the first call


def test_a_variable_on_every_call_is_an_error():
    @tf.function
    def f():
        return tf.Variable(1.0) + 1.0

    with pytest.raises(ValueError, match="only supports singleton"):
        f()


def test_run_functions_eagerly():
    traces = []

    @tf.function
    def f(x):
        traces.append(1)
        return x + 1.0

    tf.config.run_functions_eagerly(True)
    try:
        assert [float(f(tf.constant(1.0))), float(f(tf.constant(2.0)))] == [2.0, 3.0]
        assert len(traces) == 2
    finally:
        tf.config.run_functions_eagerly(False)
    f(tf.constant(1.0)), f(tf.constant(1.0))
    assert len(traces) == 3


# ------------------------------------------------------------------------------------------------ under tapes
W = np.random.default_rng(3).normal(size=(3, 2)).astype("float32")
X = np.random.default_rng(5).normal(size=(4, 3)).astype("float32")


def dense():
    w, b = tf.Variable(W), tf.Variable(np.zeros(2, "float32"))
    plain = lambda x: tf.nn.softplus(x @ w + b)
    return w, b, plain, tf.function(plain)


def agree(found, wanted):
    for f, w in zip(found, wanted, strict=True):
        assert (f is None) == (w is None)
        if w is not None:
            np.testing.assert_allclose(f, w, rtol=2e-5, atol=1e-6)


def test_gradient_through_a_call():
    w, b, plain, traced = dense()
    found = []
    for model in (plain, traced):
        x = tf.constant(X)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = model(x)
            loss = tf.reduce_sum(y * y) * tf.reduce_sum(w)
        found.append([loss, *tape.gradient(loss, [w, b, x]), *tape.gradient(y, [w, b])])
        assert {id(v) for v in tape.watched_variables()} == {id(w), id(b)}
    agree(found[1], found[0])


def test_second_order_through_a_call():
    w, b, plain, traced = dense()
    found = []
    for model in (plain, traced):
        x = tf.constant(X)
        with tf.GradientTape() as t2:
            with tf.GradientTape() as t1:
                t1.watch(x)
                y = tf.reduce_sum(model(x))
            g = t1.gradient(y, x)
            s = tf.reduce_sum(g**2)
        found.append([g, *t2.gradient(s, [w, b])])
    agree(found[1], found[0])


def test_tape_inside_a_call_under_a_tape_outside():
    def inner(u):
        with tf.GradientTape() as t:
            t.watch(u)
            y = tf.reduce_sum(tf.sin(u) * u * u)
        return t.gradient(y, u)

    found = []
    for f in (inner, tf.function(inner)):
        u = tf.constant([0.3, 1.2, -2.0])
        with tf.GradientTape() as t:
            t.watch(u)
            d = f(u)
        found.append([d, t.gradient(d, u)])
    agree(found[1], found[0])


def test_gradients_of_some_of_several_results():
    f = tf.function(lambda u: (u * 2.0, tf.exp(u), {"k": tf.reduce_sum(u)}, tf.floor(u)))
    u = tf.constant([0.3, 1.2])
    with tf.GradientTape(persistent=True) as t:
        t.watch(u)
        p, q, r, s = f(u)
        z = tf.reduce_sum(q) + r["k"]
    agree([t.gradient(z, u), t.gradient(p, u), t.gradient(s, u), t.gradient([p, q], u)], [np.exp(u) + 1, [2, 2], None, 2 + np.exp(u)])


def test_gradient_with_open_sizes_and_assignments():
    v = tf.Variable([1.0, 2.0])

    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def f(x):
        y = tf.reduce_sum(x * v, 0)
        v.assign(v * 2.0)
        return y + v

    for n in (1, 3):
        before = v.numpy()
        with tf.GradientTape() as t:
            y = f(tf.ones([n, 2]) * 3.0)
        np.testing.assert_allclose(y, 3.0 * n * before + 2 * before)
        np.testing.assert_allclose(t.gradient(y, v), [3.0 * n + 1] * 2)  # both reads, with the values they had


def test_gradients_of_variables_passed_as_arguments():
    big = tf.constant(np.linspace(0.0, 1.0, 30, dtype="float32").reshape(10, 3))
    u = tf.Variable(2.0)

    @tf.function
    def f(v, w, x):
        return tf.reduce_sum(v * w * x + big[:1] * v) * u

    a, b = tf.Variable([1.0, 2.0, 3.0]), tf.Variable([4.0, 5.0, 6.0])
    for v, w in ((a, b), (b, a)):
        with tf.GradientTape() as t:
            y = f(v, w, tf.constant([1.0, 2.0, 3.0]))
        dv, dw, du = t.gradient(y, [v, w, u])
        np.testing.assert_allclose(dv, 2 * (w.numpy() * [1, 2, 3] + big.numpy()[0]), rtol=1e-6)
        np.testing.assert_allclose(dw, 2 * v.numpy() * [1, 2, 3], rtol=1e-6)
        np.testing.assert_allclose(du, y / 2, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 3])
def test_second_order_with_open_sizes(n):
    w = tf.Variable(W)
    f = tf.function(lambda x: tf.reduce_sum(tf.tanh(x @ w) ** 2), input_signature=[tf.TensorSpec([None, 3])])
    g = lambda x: tf.reduce_sum(tf.tanh(x @ w) ** 2)
    found = []
    for model in (f, g):
        for k in (n, n + 1):
            x = tf.constant(X[:1]) * tf.ones([k, 1])
            with tf.GradientTape() as t2:
                with tf.GradientTape() as t1:
                    t1.watch(x)
                    y = model(x)
                s = tf.reduce_sum(t1.gradient(y, x) ** 2)
            found.append(t2.gradient(s, w))
    agree(found[:2], found[2:])


def test_jacobian_of_a_call():
    f = tf.function(lambda x: tf.tanh(x[:2] * x[1]))
    x = tf.constant([0.5, -0.25, 2.0])
    with tf.GradientTape(persistent=True) as t:
        t.watch(x)
        y, z = f(x), tf.tanh(x[:2] * x[1])
    np.testing.assert_allclose(t.jacobian(y, x), t.jacobian(z, x), rtol=1e-5)


def test_stopped_tapes_see_nothing_of_a_call():
    w, _, _, traced = dense()
    with tf.GradientTape() as t:
        with t.stop_recording():
            y = traced(tf.constant(X))
        z = tf.reduce_sum(y)
    assert t.gradient(z, w) is None


# ------------------------------------------------------------------------------------------------ state
def test_a_failing_step_leaves_every_variable_as_it_was():
    a, b = tf.Variable([1.0, 2.0]), tf.Variable(5.0)

    @tf.function
    def step(i):
        a.assign(a * 2.0)
        b.assign_add(1.0)
        y = tf.gather(a, i)
        a.assign(a + 1.0)
        tf.debugging.assert_less(y, 100.0)
        return y

    assert float(step(tf.constant(1))) == 4.0
    state = a.numpy(), b.numpy()
    with pytest.raises(tf.errors.InvalidArgumentError):
        step(tf.constant(7))
    a.assign(state[0] * 100)
    with pytest.raises(tf.errors.InvalidArgumentError):
        step(tf.constant(1))
    np.testing.assert_array_equal(a, state[0] * 100)
    np.testing.assert_array_equal(b, state[1])
    a.assign(state[0])
    assert float(step(tf.constant(0))) == 2 * state[0][0]


def test_a_failing_callback_leaves_every_variable_as_it_was():
    a = tf.Variable(1.0)

    def refuse(x):
        raise OSError("the disk is full")

    @tf.function
    def step(x):
        a.assign_add(1.0)
        tf.py_function(refuse, [x], [])
        a.assign_add(1.0)

    with pytest.raises(OSError, match="the disk is full"):
        step(tf.constant(1.0))
    assert float(a) == 1.0


def test_arguments_are_not_written_to():
    v = tf.Variable([1.0, 2.0])
    f = tf.function(lambda x: v.assign(x * 2.0 + v))
    x = np.array([1.0, 1.0], "float32")
    t = tf.constant(x)
    f(t), f(t)
    np.testing.assert_array_equal(t, [1, 1])
    held = v.read_value()
    f(t)
    np.testing.assert_array_equal(held, [5, 6])


# ------------------------------------------------------------------------------------------------ other libraries
def test_interoperation():
    f = tf.function(lambda x: x * 2.0)
    x = np.arange(6, dtype="float32").reshape(2, 3)
    out = f(x.T)  # not contiguous
    np.testing.assert_array_equal(np.asarray(out), x.T * 2)
    np.testing.assert_array_equal(np.from_dlpack(out), x.T * 2)
    np.testing.assert_array_equal(f(tf.constant(x)[::-1]), x[::-1] * 2)
    assert np.asarray(out, dtype="float64").dtype == np.float64
    np.testing.assert_array_equal(np.add(out, 1), x.T * 2 + 1)
    assert isinstance(memoryview(out.numpy()), memoryview)


def test_a_transposed_argument_beside_a_scalar():
    f = tf.function(lambda x, s: x * s)
    x = tf.constant(np.arange(6, dtype="float32").reshape(2, 3))
    t = tf.transpose(x)
    np.testing.assert_array_equal(f(t, tf.constant(2.0)), x.numpy().T * 2)
    c = f.get_concrete_function(tf.TensorSpec([3, 2]), tf.TensorSpec([]))
    np.testing.assert_array_equal(c(tf.constant(x.numpy().T), tf.constant(2.0)), x.numpy().T * 2)


def test_reentry_from_a_callback():
    inner = tf.function(lambda x: x + 1.0)
    depth = []

    def again(x):
        depth.append(float(x))
        return outer(x - 1.0) if float(x) > 0 else inner(x)

    @tf.function
    def outer(x):
        y = tf.py_function(again, [x], tf.float32)
        y.set_shape([])
        return y * 2.0

    assert float(outer(tf.constant(2.0))) == 8.0
    assert depth == [2.0, 1.0, 0.0]


def test_gradients_of_a_python_function_called_from_two_lines():
    @tf.function
    def square(x):
        y = tf.py_function(lambda q: q * q, [x], tf.float32)
        y.set_shape([])
        return y

    @tf.function
    def f(a, b):
        with tf.GradientTape(persistent=True) as t:
            t.watch([a, b])
            y, z = square(a), square(b)
            s = y * a + tf.stop_gradient(z)
        return t.gradient(y, a), t.gradient(z, b), t.gradient(s, a)

    for _ in range(2):
        assert [float(g) for g in f(tf.constant(3.0), tf.constant(5.0))] == [6.0, 10.0, 27.0]

"""What traced functions give, rule by rule: results, tensors that leave, seeds and gradients, and how many traces are kept."""

import collections
import gc
import re
import weakref

import numpy as np
import pytest
from traces import Checks, counted, one

import tapejit as tf

rule = Checks()


# ------------------------------------------------------------------------------------------------ results
@rule("results: structure, numbers become tensors, None stays, variables become tensors")
def _():
    Pair = collections.namedtuple("Pair", "a b")
    v = tf.Variable(3.0)
    out = tf.function(lambda x: Pair({"x": x, "l": [1, 2.5, True]}, (None, v)))(one(1))
    assert isinstance(out, Pair)
    assert [y.dtype for y in out.a["l"]] == [tf.int32, tf.float32, tf.bool]
    assert out.b[0] is None
    assert isinstance(out.b[1], tf.Tensor)
    assert not isinstance(out.b[1], tf.Variable)
    v.assign(9.0)
    assert float(out.b[1]) == 3


@rule("results: shapes become int32 tensors")
def _():
    for shape in (lambda x: x.shape, lambda x: tf.TensorShape([2, 3])):
        out = tf.function(shape)(tf.ones([2, 3]))
        assert (out.dtype, out.numpy().tolist()) == (tf.int32, [2, 3])


@rule("results: an argument returned is a new object")
def _():
    x = one([1, 2])
    y = tf.function(lambda x: x)(x)
    assert y is not x
    np.testing.assert_array_equal(y, x)


@rule("results: other objects are a TypeError")
def _():
    for bad in (object(), {1}, len, tf.GradientTape()):
        held = [bad]
        with pytest.raises(
            TypeError, match=re.escape("To be compatible with tf.function, Python functions must return zero or more Tensors")
        ):
            tf.function(lambda x: held[0])(one(1))


@rule("results: text is a TypeError, as there are no tensors of text (TensorFlow: a tensor)")
def _():
    for text in ("a", b"a"):
        with pytest.raises(TypeError, match=f"found return value of type {type(text).__name__}"):
            tf.function(lambda x: (x, text))(one(1))


@rule("results: a tape made inside may not be returned")
def _():
    def f(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
        return tape

    with pytest.raises(TypeError, match="found return value of type GradientTape"):
        tf.function(f)(one(1))


@rule("argument containers may not be changed: ValueError that names the parameter")
def _():
    @tf.function
    def f(d, x, items):
        d["new"] = x
        return x

    d = {"old": one(1)}
    with pytest.raises(ValueError, match=r"should not modify its Python input arguments\. Modifying a copy is allowed\. .* modified: d"):
        f(d, one(2), [])
    assert list(d) == ["old"]

    @tf.function
    def g(items):
        items = list(items)
        items.append(one(1))
        return tf.add_n(items)

    assert float(g([one(1), one(2)])) == 4


@rule("argument containers: whatever changes them, at any depth, in further keywords too")
def _():
    for body in (
        lambda items, **more: items.append(one(2)),
        lambda items, **more: items.pop(),
        lambda items, **more: items.__setitem__(0, items[0] * 2.0),
        lambda items, **more: items[1].update(b=one(2)),
        lambda items, **more: items[1].pop("a"),
    ):
        items = [one(1), {"a": one(1)}]
        with pytest.raises(ValueError, match="modified: items"):
            tf.function(body)(items)
        assert (len(items), list(items[1]), float(items[0])) == (2, ["a"], 1)
    with pytest.raises(ValueError, match="modified: more"):
        tf.function(lambda items, **more: more["more"].append(3))([], more=[1])


# ------------------------------------------------------------------------------------------------ leaks
@rule("leaks: a tensor used outside is a TypeError that says where it was made")
def _():
    kept = []

    @tf.function
    def f(x):
        y = x * 2.0
        kept.append(y)
        return y

    f(one(1))
    with pytest.raises(
        TypeError,
        match=re.escape(
            "is out of scope and cannot be used here. Use return values, explicit Python locals or TensorFlow collections to access it"
        ),
    ) as e:
        kept[0] + 1.0
    assert "y = x * 2.0" in str(e.value)
    with pytest.raises(TypeError, match="out of scope"):
        tf.function(lambda x: x + kept[0])(one(1))


@rule("leaks: as argument, initial value, assigned value or element, a tensor used outside is the same TypeError")
def _():
    kept, v, made = [], tf.Variable([0.0, 0.0]), []
    tf.function(lambda x: kept.append(x * 2.0))(one([1, 2]))
    (x,) = kept
    f = tf.function(lambda y: y * 1.0)
    concrete = f.get_concrete_function(tf.TensorSpec([2]))

    @tf.function
    def makes():
        if not made:
            made.append(tf.Variable(x))
        return made[0] + 1.0

    def taped():
        with tf.GradientTape():
            return f(x)

    for use in (
        lambda: f(x),
        lambda: tf.function(lambda d: d["x"])({"x": x}),
        lambda: concrete(x),
        taped,
        makes,
        lambda: tf.Variable(x),
        lambda: tf.Variable(lambda: x),
        lambda: v.assign(x),
        lambda: tf.data.Dataset.from_tensors(x),
    ):
        with pytest.raises(tf.errors.InaccessibleTensorError, match=r"out of scope[\s\S]*defined here[\s\S]*x \* 2\.0"):
            use()
    np.testing.assert_array_equal(f(one([1, 2])), [1, 2])


@rule("leaks: a tensor of a branch or of a loop's body, used behind it")
def _():
    kept = []

    @tf.function
    def branches(x):
        if x > 0.0:
            kept.append(x * 2.0)
        return x + kept.pop()

    @tf.function
    def loops(x):
        for _ in tf.range(3):
            kept.append(x * 2.0)
            x = x + 1.0
        return x + kept.pop()

    for f in (branches, loops):
        with pytest.raises(TypeError, match=r"out of scope[\s\S]*defined here[\s\S]*x \* 2\.0[\s\S]*used here[\s\S]*kept\.pop\(\)"):
            f(one(1))


@rule("leaks: .numpy() is an AttributeError, np.sin a NotImplementedError, bool a TypeError")
def _():
    for body, error, said in (
        (lambda x: x.numpy(), AttributeError, "numpy"),
        (lambda x: np.sin(x), NotImplementedError, "Cannot convert a symbolic tf.Tensor"),
        (lambda x: np.asarray(x), NotImplementedError, "Cannot convert a symbolic tf.Tensor"),
        (lambda x: bool(x), TypeError, "bool"),
        (lambda x: float(x), TypeError, "float"),
        (lambda x: list(tf.range(tf.cast(x, tf.int32))), TypeError, "Iterating"),
    ):
        with pytest.raises(error, match=said):
            tf.function(body, autograph=False)(one(1))
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
        tf.function(lambda x: bool(x), autograph=False)(one(1))


# ------------------------------------------------------------------------------------------------ eager switch, shapes, seeds, gradients
@rule("run_functions_eagerly: the Python function each time, no traces")
def _():
    f, calls = counted(lambda x: x + 1.0)
    tf.config.run_functions_eagerly(True)
    try:
        assert tf.config.functions_run_eagerly()
        assert float(f(one(1))) == float(f(one(1))) == 2
        assert isinstance(calls[0][0][0], tf.EagerTensor)
    finally:
        tf.config.run_functions_eagerly(False)
    assert (len(calls), f.experimental_get_tracing_count()) == (2, 0)


@rule("run_functions_eagerly: arguments as they are, whatever the signature; concrete functions are traced still")
def _():
    f = tf.function(lambda x: x, input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.config.run_functions_eagerly(True)
    try:
        assert f([1, 2]) == [1, 2]
        np.testing.assert_array_equal(f.get_concrete_function()(one([3])), [3])
    finally:
        tf.config.run_functions_eagerly(False)
    assert f.experimental_get_tracing_count() == 1


@rule("run_functions_eagerly: functions within functions too, and variables may be made each time")
def _():
    inner = tf.function(lambda x: tf.Variable(float(x.numpy())) + 1.0)
    outer = tf.function(lambda x: inner(x) * 2.0)
    tf.config.run_functions_eagerly(True)
    try:
        assert [float(outer(one(x))) for x in (1, 2)] == [4, 6]
    finally:
        tf.config.run_functions_eagerly(False)
    assert (inner.experimental_get_tracing_count(), outer.experimental_get_tracing_count()) == (0, 0)


@rule("executing_eagerly and inside_function")
def _():
    seen = []
    tf.function(lambda: seen.append((tf.executing_eagerly(), tf.inside_function())))()
    assert seen == [(False, True)]
    assert (tf.executing_eagerly(), tf.inside_function()) == (True, False)


@rule("init_scope leaves the trace")
def _():
    seen = []

    @tf.function
    def f(x):
        with tf.init_scope():
            seen.append(tf.constant(2.0) * 3.0)
        return x * seen[0]

    assert float(f(one(1))) == 6
    assert isinstance(seen[0], tf.EagerTensor)


@rule("shapes: static with None, dynamic by tf.shape")
def _():
    seen = []

    def body(x):
        seen.append((x.shape.as_list(), x.shape[0], x.shape[1]))
        return tf.shape(x)

    f = tf.function(body, input_signature=[tf.TensorSpec([None, 3])])
    np.testing.assert_array_equal(f(tf.ones([2, 3])), [2, 3])
    np.testing.assert_array_equal(f(tf.ones([5, 3])), [5, 3])
    assert seen == [([None, 3], None, 3)]


@rule("shapes that cannot fit raise at tracing with the user's line, others when they run")
def _():
    def product(x):
        return tf.matmul(x, x)

    for f in (product, tf.function(product)):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"tf\.matmul\(x, x\)"):
            f(tf.ones([2, 3]))
    g = tf.function(product, input_signature=[tf.TensorSpec([None, None])])
    assert float(g(tf.ones([2, 2]))[0, 0]) == 2
    for call in (g, g.check_numerics):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"tf\.matmul\(x, x\)"):
            call(tf.ones([2, 3]))


@rule("set_seed: the same numbers eagerly and traced, and again")
def _():
    def draw():
        return tf.random.uniform([2]), tf.random.normal([])

    found = []
    for f in (draw, tf.function(draw)):
        for _ in range(2):
            tf.random.set_seed(7)
            found.append([np.concatenate([a.numpy(), [b.numpy()]]) for a, b in (f(), f())])
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    assert (found[0][0] != found[0][1]).all()


@rule("a call under a tape is watched through, variables included")
def _():
    w = tf.Variable(3.0)

    def body(x):
        return x * x * w, tf.constant(5.0)

    for f in (body, tf.function(body)):
        x = one(2)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y, c = f(x)
        assert [float(g) for g in tape.gradient(y, [x, w])] == [12, 4]
        assert tape.gradient(c, [x, w]) == [None, None]
        assert [id(v) for v in tape.watched_variables()] == [id(w)]


@rule("custom_gradient, stop_gradient, recompute_grad and py_function inside")
def _():
    @tf.custom_gradient
    def clipped(x):
        return x * 1.0, lambda dy: tf.clip_by_value(dy, -1.0, 1.0)

    again = tf.recompute_grad(lambda x: tf.sin(x) * x)

    def body(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            a, b, c = clipped(x) * 5.0, tf.stop_gradient(x) * x, again(x)
        return tape.gradient(a, x), tape.gradient(b, x), tape.gradient(c, x)

    found = [[float(g) for g in f(one(2))] for f in (body, tf.function(body))]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    np.testing.assert_allclose(found[0], [1, 2, np.sin(2) + 2 * np.cos(2)], rtol=1e-6)


@rule("tf.gradients works in a function only")
def _():
    with pytest.raises(RuntimeError, match=r"tf\.gradients is not supported when eager execution is enabled"):
        tf.gradients(one(3), one(3))
    (g,) = tf.function(lambda x: tf.gradients(x * x, x))(one(3))
    assert float(g) == 6


# ------------------------------------------------------------------------------------------------ how many traces are kept
@rule("max_traces: the one not used for longest goes, with its graph and code")
def _():
    f, traces = counted(lambda x: tf.reduce_sum(x), max_traces=3)
    for n in (1, 2, 3):
        f(tf.ones(n))
    first, second = (weakref.ref(c) for c in f.concrete_functions()[:2])
    graph = weakref.ref(first().compiled())
    f(tf.ones(1)), f(tf.ones(4))
    gc.collect()
    assert (first() is None, second() is None, graph() is None) == (False, True, False)
    assert float(f(tf.ones(2))) == 2
    assert len(traces) == 5
    assert len(f.concrete_functions()) == 3


@rule("clear forgets all traces; a dropped function goes")
def _():
    f, traces = counted(lambda x: x + 1.0)
    f(one(1))
    concrete, compiled = weakref.ref(f.latest()), weakref.ref(f.latest().compiled())
    f.clear()
    gc.collect()
    assert concrete() is compiled() is None
    assert float(f(one(1))) == 2
    assert len(traces) == 2
    function, concrete = weakref.ref(f), weakref.ref(f.latest())
    del f
    gc.collect()
    assert function() is concrete() is None


@pytest.mark.parametrize("text", rule)
def test_rule(text):
    rule[text]()

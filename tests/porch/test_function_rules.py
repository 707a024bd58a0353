"""What TensorFlow does with traced functions, rule by rule: one check a rule, named by it."""

import collections
import copy
import functools
import gc
import pickle
import re
import threading
import weakref

import numpy as np
import pytest

import tapejit as tf

RULES = {}


def rule(text):
    """Enter a check under the rule it proves."""

    def enter(check):
        assert text not in RULES, text
        RULES[text] = check
        return check

    return enter


def counted(body=lambda *args, **kwargs: None, **options):
    """A traced function, and the list that gets the arguments of each trace."""
    traces = []

    @tf.function(**options)
    def f(*args, **kwargs):
        traces.append((args, kwargs))
        return body(*args, **kwargs)

    return f, traces


def traces_of(f, *calls):
    """How many traces each call adds."""
    out = []
    for args in calls:
        before = f.experimental_get_tracing_count()
        f(*args) if isinstance(args, tuple) else f(**args)
        out.append(f.experimental_get_tracing_count() - before)
    return out


def one(x):
    return tf.constant(x, tf.float32)


# ------------------------------------------------------------------------------------------------ the cache key
@rule("tensors: dtype and shape, not value")
def _():
    f, _ = counted()
    assert traces_of(f, (one([1, 2]),), (one([3, 4]),), (one([1, 2, 3]),), (tf.constant([1, 2]),), (one([[1, 2]]),), (one(1),)) == [
        1,
        0,
        1,
        1,
        1,
        1,
    ]


@rule("arrays and NumPy scalars are tensors, so their value does not count")
def _():
    f, _ = counted()
    assert traces_of(f, (np.float32(1),), (np.float32(2),), (one(3),), (np.float64(1),), (np.array(5.0, "float32"),)) == [1, 0, 0, 1, 0]


@rule("Python numbers, strings and None count by value")
def _():
    f, _ = counted()
    assert traces_of(f, (1,), (1,), (2,), (2.5,), ("a",), ("a",), ("b",), (None,), (None,)) == [1, 0, 1, 1, 1, 0, 1, 1, 0]


@rule("1, 1.0 and True are three (TensorFlow: one)")
def _():
    f, _ = counted(lambda x: x)
    assert traces_of(f, (1,), (1.0,), (True,), (1,)) == [1, 1, 1, 0]
    assert [f(x).dtype for x in (1, 1.0, True)] == [tf.int32, tf.float32, tf.bool]


@rule("0.0 and -0.0 are two, nan is one")
def _():
    f, _ = counted(lambda x: 1.0 / tf.constant(x))
    assert traces_of(f, (0.0,), (-0.0,), (float("nan"),), (float("nan"),)) == [1, 1, 1, 0]
    assert (float(f(0.0)), float(f(-0.0))) == (np.inf, -np.inf)


@rule("list and tuple differ, their leaves are literals")
def _():
    f, _ = counted()
    assert traces_of(f, ([1, 2],), ((1, 2),), ([1, 2],), ([1, 3],), ([1, [2]],)) == [1, 1, 0, 1, 1]


@rule("the order of a dict does not count, its keys do")
def _():
    f, _ = counted()
    assert traces_of(f, ({"a": 1, "b": 2},), ({"b": 2, "a": 1},), ({"a": 1, "c": 2},)) == [1, 0, 1]


@rule("named tuples")
def _():
    Point = collections.namedtuple("Point", "x y")
    f, _ = counted(lambda p: p.x + p.y)
    assert traces_of(f, (Point(one(1), one(2)),), (Point(one(3), one(4)),), (Point(one(3), 4.0),)) == [1, 0, 1]
    assert float(f(Point(one(3), one(4)))) == 7


@rule("positional, keyword and default forms are one call")
def _():
    traces = []

    @tf.function
    def f(x, training=False, *, scale=1.0):
        traces.append(1)
        return x * scale

    a = one(1)
    f(a), f(x=a), f(a, False), f(a, training=False), f(scale=1.0, x=a), f(a, False, scale=1.0)
    assert len(traces) == 1


@rule("the order of further keywords does not count")
def _():
    f, _ = counted(lambda a, b: a - b)
    assert traces_of(f, {"a": one(1), "b": one(2)}, {"b": one(1), "a": one(2)}) == [1, 0]
    assert float(f(b=one(1), a=one(5))) == 4


@rule("variables: dtype and shape, not which")
def _():
    f, _ = counted(lambda v: v + 1.0)
    v, w = tf.Variable(1.0), tf.Variable(2.0)
    assert traces_of(f, (v,), (w,), (tf.Variable([1.0]),)) == [1, 0, 1]
    assert (float(f(v)), float(f(w))) == (2, 3)


@rule("variables: which of them are the same one")
def _():
    f, _ = counted(lambda a, b, c: (a.assign_add(1.0), b + 10.0 * c)[1])
    u, v, w = tf.Variable(1.0), tf.Variable(2.0), tf.Variable(3.0)
    assert traces_of(f, (u, v, w), (w, v, u), (u, u, v), (v, v, w), (u, v, v), (u, u, u)) == [1, 0, 1, 0, 1, 1]
    assert float(f(v, v, w)) == float(v) + 10 * float(w)


@rule("a variable is no tensor")
def _():
    f, _ = counted()
    assert traces_of(f, (one(1),), (tf.Variable(1.0),)) == [1, 1]


@rule("objects: identity, then ==; not kept alive")
def _():
    class Config:
        pass

    class Equal:
        def __hash__(self):
            return 7

        def __eq__(self, other):
            return isinstance(other, Equal)

    f = tf.function(lambda _: None)
    c, first, second = Config(), Equal(), Equal()
    assert traces_of(f, (c,), (c,), (Config(),), (first,), (second,)) == [1, 0, 1, 1, 0]
    gone = weakref.ref(c)
    del c
    gc.collect()
    assert gone() is None


@rule("bound methods are told apart by object and function")
def _():
    class Loss:
        def __call__(self, x):
            return x * 2.0

        def value(self, x):
            return x * 3.0

    f, _ = counted(lambda g, x: g(x))
    a, b = Loss(), Loss()
    assert traces_of(f, (a.value, one(1)), (a.value, one(2)), (b.value, one(1)), (a, one(1))) == [1, 0, 1, 1]


@rule("traces for objects that are gone go when there is a new one")
def _():
    f = tf.function(lambda _: None)
    for _ in range(5):
        f(type("Config", (), {})())
    gc.collect()
    f(1)
    assert len(f.concrete_functions()) == 1


@rule("what cannot be hashed is a TypeError")
def _():
    f, _ = counted()
    with pytest.raises(TypeError, match="Could not generate a generic TraceType for"):
        f({1, 2})


@rule("__tf_tracing_type__ decides")
def _():
    class Kind(tf.types.experimental.TraceType):
        def __init__(self, name):
            self.name = name

        def is_subtype_of(self, other):
            return isinstance(other, Kind) and other.name in (self.name, "any")

        def most_specific_common_supertype(self, others):
            return self if all(self == o for o in others) else Kind("any")

        def placeholder_value(self, placeholder_context=None):
            return Fruit(self.name)

        def __eq__(self, other):
            return isinstance(other, Kind) and self.name == other.name

        def __hash__(self):
            return hash(self.name)

    class Fruit:
        def __init__(self, name):
            self.name = name

        def __tf_tracing_type__(self, context):
            return Kind(self.name)

    f, traces = counted()
    assert traces_of(f, (Fruit("apple"),), (Fruit("apple"),), (Fruit("mango"),)) == [1, 0, 1]
    assert [t[0][0].name for t in traces] == ["apple", "mango"]
    g, traces = counted(reduce_retracing=True)
    assert traces_of(g, (Fruit("apple"),), (Fruit("mango"),), (Fruit("plum"),)) == [1, 1, 0]
    assert traces[-1][0][0].name == "any"


# ------------------------------------------------------------------------------------------------ dispatch
@rule("a trace with open sizes serves all that fit it")
def _():
    f, _ = counted(lambda x: x * 2.0)
    f.get_concrete_function(tf.TensorSpec([None]))
    assert traces_of(f, (one([1, 2]),), (one([1, 2, 3]),), (one([[1]]),)) == [0, 0, 1]


@rule("the most specific trace wins")
def _():
    f, traces = counted(lambda x: tf.constant(float(x.shape[0] or -1)))
    f.get_concrete_function(tf.TensorSpec([None]))
    assert float(f(one([1, 2]))) == -1
    f.get_concrete_function(tf.TensorSpec([2]))
    assert (float(f(one([1, 2]))), float(f(one([1, 2, 3])))) == (2, -1)
    assert len(traces) == 2


@rule("reduce_retracing opens sizes that differ")
def _():
    f, traces = counted(lambda x: tf.reduce_sum(x), reduce_retracing=True)
    shapes = [(2, 3), (4, 3), (4, 5), (6, 7), (2, 2, 2), (3, 3, 3)]
    for s in shapes:
        assert float(f(tf.ones(s))) == np.prod(s)
    assert [t[0][0].shape.as_list() for t in traces] == [[2, 3], [None, 3], [None, None], [2, 2, 2], [None, None, None]]


@rule("reduce_retracing does nothing for Python numbers")
def _():
    f, _ = counted(reduce_retracing=True)
    assert traces_of(f, (1,), (2,), (3,)) == [1, 1, 1]


@rule("experimental_relax_shapes is reduce_retracing")
def _():
    f, _ = counted(experimental_relax_shapes=True)
    assert traces_of(f, (tf.ones(2),), (tf.ones(3),), (tf.ones(4),)) == [1, 1, 0]


# ------------------------------------------------------------------------------------------------ input_signature
def signed(*specs, body=lambda x: x):
    return tf.function(body, input_signature=specs)


@rule("input_signature: Python and NumPy values are cast")
def _():
    f = signed(tf.TensorSpec([None], tf.float32))
    for x in ([1, 2], np.array([1.0, 2.0]), np.array([1, 2]), (1.0, 2.0), tf.Variable([1.0, 2.0])):
        y = f(x) if not isinstance(x, tuple) else f(list(x))
        assert y.dtype is tf.float32
        np.testing.assert_array_equal(y, [1, 2])
    assert f.experimental_get_tracing_count() == 1


BINDING = "Binding inputs to tf.function failed due to `"


@rule("input_signature: a tensor of another dtype or shape is a TypeError with both specs")
def _():
    f = signed(tf.TensorSpec([None, 2], tf.float32))
    for x in (tf.ones([3, 3]), tf.ones([2]), tf.ones([2, 2], tf.float64)):
        said = f"{BINDING}Can not cast {tf.TensorSpec.from_tensor(x)} to TensorSpec(shape=(None, 2), dtype=tf.float32, name=None)`. Received args: ("
        with pytest.raises(TypeError, match=re.escape(said)) as e:
            f(x)
        assert "and kwargs: {} for signature: (x: TensorSpec(shape=(None, 2), dtype=tf.float32, name=None))." in str(e.value)


@rule("input_signature: too many, too few and unknown arguments")
def _():
    f = signed(tf.TensorSpec([], tf.float32))
    for args, kwargs, why in (
        ((1.0, 2.0), {}, "too many positional arguments"),
        ((), {}, "missing a required argument: 'x'"),
        ((1.0,), {"z": 1}, "got an unexpected keyword argument 'z'"),
    ):
        with pytest.raises(TypeError, match=re.escape(f"{BINDING}{why}`")):
            f(*args, **kwargs)


@rule("without input_signature, wrong arguments say so with the same words")
def _():
    f = tf.function(lambda x, y=2: x)
    with pytest.raises(
        TypeError,
        match=re.escape(f"{BINDING}too many positional arguments`. Received args: (1, 2, 3) and kwargs: {{}} for signature: (x, y=2)."),
    ):
        f(1, 2, 3)


@rule("input_signature: what cannot be converted")
def _():
    with pytest.raises(TypeError, match=re.escape(BINDING)):
        signed(tf.TensorSpec([], tf.int32))(2.5)


@rule("input_signature: parameters beyond it keep their default")
def _():
    f = signed(tf.TensorSpec([], tf.float32), body=lambda x, n=2: x * n)
    assert (float(f(3.0)), float(f(3.0, 2)), float(f(3.0, n=2))) == (6, 6, 6)
    with pytest.raises(TypeError, match=re.escape(f"{BINDING}Can not cast 3 to Literal[2]`")):
        f(3.0, 3)
    assert f.experimental_get_tracing_count() == 1


@rule("input_signature: too short, too long, no specs")
def _():
    spec = tf.TensorSpec([])
    for specs, body, said in (
        ([spec], lambda x, y: x, "input_signature missing type constraint for y"),
        ([spec, spec], lambda x: x, "input_signature contains 1 extra type constraints."),
        ([3], lambda x: x, "input_signature must be a possibly nested sequence of TensorSpec objects"),
        ({"x": spec}, lambda x: x, "input_signature must be either a tuple or a list"),
    ):
        with pytest.raises(TypeError, match=re.escape(said)):
            tf.function(body, input_signature=specs)


@rule("input_signature: nested structures, of *args too")
def _():
    f = signed({"x": tf.TensorSpec([None]), "y": [tf.TensorSpec([])]}, body=lambda d: d["x"] * d["y"][0])
    np.testing.assert_array_equal(f({"y": [2], "x": [1, 2]}), [2, 4])
    with pytest.raises(TypeError, match=re.escape(BINDING)):
        f({"x": [1.0]})
    g = signed(tf.TensorSpec([]), tf.TensorSpec([]), body=lambda *xs: xs[0] - xs[1])
    assert float(g(3, 1)) == 2
    assert "xs_0: TensorSpec" in str(g.function_type)


@rule("input_signature: of unknown rank, one trace per rank")
def _():
    f = signed(tf.TensorSpec(None, tf.float32), body=lambda x: tf.reduce_sum(x) + tf.cast(tf.rank(x), tf.float32))
    for shape in ([2], [3], [2, 2], [4, 5], []):
        assert float(f(tf.ones(shape))) == np.prod(shape) + len(shape)
    assert f.experimental_get_tracing_count() == 3
    with pytest.raises(TypeError, match="Can not cast"):
        f(tf.ones([2], tf.int32))


@rule("input_signature: an attribute, None without")
def _():
    spec = tf.TensorSpec([2])
    assert signed(spec).input_signature == (spec,)
    assert tf.function(lambda x: x).input_signature is None


# ------------------------------------------------------------------------------------------------ concrete functions
@tf.function
def power(a, b):
    return a**b


SQUARE = power.get_concrete_function(tf.TensorSpec([], tf.float32), 2)


@rule("concrete: Python arguments may be given again or left out")
def _():
    assert [float(SQUARE(one(3))), float(SQUARE(one(3), 2)), float(SQUARE(a=one(3), b=2)), float(SQUARE(a=one(3)))] == [9] * 4


@rule("concrete: another Python value is a TypeError")
def _():
    for call in (lambda: SQUARE(one(3), 3), lambda: SQUARE(one(3), b=3)):
        with pytest.raises(TypeError, match=re.escape(f"{BINDING}Can not cast 3 to Literal[2]`")):
            call()


@rule("concrete: a tensor of another dtype is an InvalidArgumentError")
def _():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"was expected to be a"):
        SQUARE(tf.constant(3.0, tf.float64))


@rule("concrete: missing and surplus arguments name the flat signature")
def _():
    for args in ((), (one(1), one(2), one(3))):
        with pytest.raises(TypeError, match="Fallback to flat signature also failed due to"):
            SQUARE(*args)


@rule("concrete: nested arguments, by structure or flat")
def _():
    c = tf.function(lambda d, k: d["x"] * k + d["y"][0]).get_concrete_function({"x": tf.TensorSpec([]), "y": [tf.TensorSpec([])]}, 10.0)
    assert float(c({"x": one(2), "y": [one(3)]}, 10.0)) == 23
    assert float(c(one(2), one(3))) == 23
    assert float(c(d_x=one(2), d_y_0=one(3))) == 23


@rule("concrete: variables are arguments")
def _():
    c = tf.function(lambda v, x: v.assign_add(x)).get_concrete_function(tf.Variable(1.0), tf.TensorSpec([]))
    v = tf.Variable(5.0)
    assert float(c(v, one(2))) == 7
    assert float(v) == 7
    with pytest.raises(TypeError, match="Can not cast"):
        c(tf.Variable([1.0]), one(2))


@rule("concrete: attributes")
def _():
    v, u, k = tf.Variable(2.0), tf.Variable(1, trainable=False), tf.constant(np.ones(50, "float32"))
    c = tf.function(lambda x, n=3: {"y": x * v + tf.cast(u, tf.float32), "k": (k, None)}).get_concrete_function(tf.TensorSpec([50]))
    assert c.name.startswith("__inference_")
    assert {id(x) for x in c.variables} == {id(v), id(u)}
    assert [id(x) for x in c.trainable_variables] == [id(v)]
    assert any(x is k for x in c.captured_inputs)
    assert [(x.name, x.shape.as_list(), x.dtype) for x in c.inputs] == [("x", [50], tf.float32)]
    assert [x.shape.as_list() for x in c.outputs] == [[50], [50]]
    assert c.structured_input_signature == ((tf.TensorSpec([50], tf.float32, "x"), 3), {})
    assert c.structured_outputs["k"][1] is None
    assert c.structured_outputs["y"].shape.as_list() == [50]
    assert list(c.function_type.parameters) == ["x", "n"]
    assert c.graph is not None


@rule("concrete: repr and signatures")
def _():
    one_line = "(a: TensorSpec(shape=(), dtype=tf.float32, name=None), b: Literal[2]) -> TensorSpec(shape=(), dtype=tf.float32, name=None)"
    assert re.fullmatch(rf"<ConcreteFunction {re.escape(one_line)} at 0x[0-9a-f]+>", repr(SQUARE))
    assert SQUARE.pretty_printed_signature(verbose=False) == one_line
    assert SQUARE.pretty_printed_signature() == (
        "Input Parameters:\n"
        "  a (POSITIONAL_OR_KEYWORD): TensorSpec(shape=(), dtype=tf.float32, name=None)\n"
        "  b (POSITIONAL_OR_KEYWORD): Literal[2]\n"
        "Output Type:\n"
        "  TensorSpec(shape=(), dtype=tf.float32, name=None)\n"
        "Captures:\n"
        "  None"
    )


@rule("concrete: signatures of structures, *args and **kwargs")
def _():
    c = tf.function(lambda *args, **kwargs: (args, kwargs)).get_concrete_function([tf.TensorSpec([2])], (1,), k={"a": None})
    assert str(c.function_type).startswith(
        "(args_0: List[TensorSpec(shape=(2,), dtype=tf.float32, name=None)], args_1: Tuple[Literal[1]], /, *, k: Dict[['a', Literal[None]]])"
    )


@rule("pretty_printed_concrete_signatures lists all traces")
def _():
    f, _ = counted(lambda x: x)
    f(1), f(one([1, 2]))
    text = f.pretty_printed_concrete_signatures()
    assert text.count("Input Parameters:") == 2
    assert text.index("Literal[1]") < text.index("TensorSpec(shape=(2,)")


@rule("get_concrete_function: the same trace as a call's; with an input signature, no arguments")
def _():
    f, _ = counted(lambda x: x)
    f(one([1, 2]))
    c = f.get_concrete_function(tf.TensorSpec([2]))
    assert f.experimental_get_tracing_count() == 1
    assert c is f.concrete_functions()[0]
    g = signed(tf.TensorSpec([None], tf.float32))
    assert g.get_concrete_function() is g.get_concrete_function(tf.TensorSpec([None], tf.float32)) is g.get_concrete_function(one([1]))


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
    with pytest.raises(ValueError, match=re.escape("tf.function only supports singleton tf.Variables created on the first call")) as e:
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


@rule("copying: by reference at the top of a module, otherwise without traces; pickled by name")
def _():
    assert pickle.loads(pickle.dumps(power)) is power
    assert copy.deepcopy(power) is power
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


@rule("recursion on Python values ends, on the same kind of call it is an error")
def _():
    @tf.function
    def down(x, n):
        return x if n == 0 else down(x * 2.0, n - 1)

    assert float(down(one(1), 3)) == 8

    @tf.function
    def forever(x):
        return forever(x + 1.0)

    with pytest.raises(RecursionError, match="calls itself"):
        forever(one(1))


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
    v, t, k, array = tf.Variable(1.0), one(10), [100.0], np.array([1000.0] * 20, "float32")
    f = tf.function(lambda: v + t + k[0] + array[0] + tf.constant(array)[1])
    assert float(f()) == 2111
    v.assign(2.0)
    k[0], array[:] = 0.0, 0.0
    assert float(f()) == 2112


@rule("Python effects at tracing only")
def _():
    log = []
    f = tf.function(lambda x: (log.append("traced"), x)[1])
    f(one(1)), f(one(2)), f(one([1]))
    assert log == ["traced"] * 2


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
        tf.py_function(lambda y: printed.append(float(y)), [x], [])

    f(one(2))
    assert (float(v), printed) == (2, [2])
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


@pytest.mark.parametrize("text", RULES)
def test_rule(text):
    RULES[text]()


def test_there_is_a_row_for_every_rule():
    assert len(RULES) >= 70

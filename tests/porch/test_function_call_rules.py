"""What TensorFlow does with calls of traced functions, rule by rule: which trace serves them, and what signatures take."""

import collections
import gc
import re
import weakref

import numpy as np
import pytest
from traces import Checks, counted, one, traces_of

import tapejit as tf

rule = Checks()


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


@rule("of several traces with open sizes, the most specific serves")
def _():
    f, traces = counted(lambda x: tf.constant(float(x.shape[0] or -1)))
    for spec in ([None, None], [2, None], [None, 3]):
        f.get_concrete_function(tf.TensorSpec(spec))
    assert (float(f(tf.ones([2, 5]))), float(f(tf.ones([4, 5])))) == (2, -1)
    assert len(traces) == 3


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


@rule("every option of TensorFlow's is taken, by position too; others are a TypeError")
def _():
    for f in (
        tf.function(lambda x: x + 1.0, None, True, None, False, "name", None, {"key": "value"}, None, None, None),
        tf.function(
            lambda x: x + 1.0,
            input_signature=[tf.TensorSpec([], tf.float32)],
            autograph=False,
            jit_compile=True,
            reduce_retracing=True,
            experimental_implements="name",
            experimental_autograph_options=tf.autograph.experimental.Feature.ALL,
            experimental_attributes={"key": "value"},
            experimental_compile=True,
            experimental_follow_type_hints=True,
        ),
        tf.function()(lambda x: x + 1.0),
    ):
        assert float(f(one(1))) == 2
    with pytest.raises(TypeError, match="unexpected keyword argument 'unknown'"):
        tf.function(lambda x: x, unknown=True)


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


@rule("a spec is for get_concrete_function: a call with it is a ValueError")
def _():
    f, _ = counted(lambda x: x + 1.0)
    for call in (f, f.get_concrete_function(tf.TensorSpec([2]))):
        with pytest.raises(ValueError, match=r"Attempt to convert a value \(TensorSpec\(shape=\(2,\)"):
            call(tf.TensorSpec([2]))


@rule("get_concrete_function: the same trace as a call's; with an input signature, no arguments")
def _():
    f, _ = counted(lambda x: x)
    f(one([1, 2]))
    c = f.get_concrete_function(tf.TensorSpec([2]))
    assert f.experimental_get_tracing_count() == 1
    assert c is f.concrete_functions()[0]
    g = signed(tf.TensorSpec([None], tf.float32))
    assert g.get_concrete_function() is g.get_concrete_function(tf.TensorSpec([None], tf.float32)) is g.get_concrete_function(one([1]))


@pytest.mark.parametrize("text", rule)
def test_rule(text):
    rule[text]()

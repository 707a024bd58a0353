"""What tensors and variables do in expressions, rule by rule: dtypes, Python and NumPy operands, `==`, text, and what is refused."""

import numpy as np
import pytest
from rules import Table, check, eager_only, raises

import tapejit as tf

rule = Table()
TRACED = ("traced",)


# ------------------------------------------------------------------------------------------------ dtypes
@rule("tensors of two dtypes do not meet")
def _(e):
    error = tf.errors.InvalidArgumentError if tf.executing_eagerly() else TypeError
    raises(error, "float32", lambda: tf.constant(1.0, tf.float64) * tf.cast(e.c, tf.float32))
    return []


@rule("a Python number takes the dtype of the tensor it meets", 4.0, 6)
def _(e):
    doubled = tf.cast(e.c, tf.float64) * 2
    assert doubled.dtype is tf.float64
    return [doubled, 3 * tf.cast(e.c, tf.int32)]


@rule("a Python fraction does not become an integer")
def _(e):
    raises(TypeError, "Cannot convert 2.5 to EagerTensor of dtype int32", lambda: tf.cast(e.c, tf.int32) * 2.5)
    return []


@rule("Python bools are numbers where they meet numbers", 3.0, [1.0, 0.0], 3)
def _(e):
    return [e.c + True, tf.constant([True, False], tf.float32), tf.cast(e.c, tf.int32) + True]


@rule("arrays are cast to the dtype of the tensor they meet", [3.0, 5.0], [2, 4], [1, 0], [True, False])
def _(e):
    of_doubles = np.array([1.5, 2.5]) * e.c
    assert of_doubles.dtype is tf.float32
    return [of_doubles, tf.cast(e.c, tf.int32) * np.array([1.9, 2.9]), tf.constant(np.array([True, False]), tf.int32),
            tf.cast([1, 1], tf.bool) == np.array([7, 0])]  # fmt: skip


@rule("an array becomes whatever dtype is asked for", [1, -2], [1.0, 0.0], [True, False])
def _(e):
    bools = tf.convert_to_tensor(np.array([True, False]), tf.float32)
    return [tf.constant(np.array([1.7, -2.2]), tf.int32), bools, tf.constant(np.array([3, 0]), tf.bool)]


@rule("a Python int that the dtype does not hold is refused")
def _(e):
    raises(TypeError, "it holds 0 to 255", lambda: tf.constant(300, tf.uint8))
    return []


@rule("integers divide as float64, 8 and 16 bits as float32", 1.5, 1.5)
def _(e):
    wide, narrow = tf.cast(e.c + 1.0, tf.int32) / 2, tf.cast(e.c + 1.0, tf.int8) / tf.constant(2, tf.int8)
    assert (wide.dtype, narrow.dtype) == (tf.float64, tf.float32)
    return [wide, narrow]


@rule("* of bools is `and`", [True, False, False], [True, False, True])
def _(e):
    some = e.w < 2.0
    return [some * [True, True, False], np.array([True, False, True]) * (e.w > 0.0)]


@rule("complex numbers that become real ones are warned of", 3.0, modes=eager_only)
def _(e):
    with pytest.MonkeyPatch.context() as patch:
        told = []
        patch.setattr("tapejit.casting._log.warning", lambda text, *args: told.append(text % args))
        out = tf.cast(tf.complex(e.c + 1.0, e.c), tf.float32)
        tf.cast(e.c, tf.complex64)
    assert told == [
        "You are casting an input of type complex64 to an incompatible dtype float32.  This will discard the imaginary part and may not be "
        "what you intended."
    ]
    return [out]


# ------------------------------------------------------------------------------------------------ == and its kin
@rule("== is elementwise", [False, True, False], [True, False, True])
def _(e):
    return [e.w == 2.0, e.w != 2.0]


@rule("what has shapes that do not broadcast is not equal", False, True, False, False, [True, True])
def _(e):
    unequal = [tf.ones([2]) == e.w, tf.ones([2]) != e.w, e.w == np.ones([3, 2], "float32"), e.w == [1.0, 2.0]]
    return [*unequal, tf.shape(e.table) == e.table.shape]


@rule("tf.equal wants shapes that broadcast")
def _(e):
    raises(ValueError, "equal", lambda: tf.equal(tf.ones([2]), e.w))
    return []


@rule("nothing equals None")
def _(e):
    assert (e.c == None, e.c != None, e.v == None) == (False, True, False)  # noqa: E711
    return []


@rule("a variable is found among others of other shapes", modes=eager_only)
def _(e):
    assert e.w in [tf.Variable([1.0, 2.0]), e.w]
    return []


@rule("tensors and variables have no hash, their refs have")
def _(e):
    raises(TypeError, "Tensor is unhashable. Instead, use tensor.ref\\(\\) as the key", lambda: {e.c * 1.0: 1})
    raises(TypeError, "Variable is unhashable. Instead, use variable.ref\\(\\) as the key", lambda: {e.v: 1})
    x = e.c * 1.0
    assert {x.ref(): 1}[x.ref()] == 1
    assert x.ref().deref() is x
    return []


# ------------------------------------------------------------------------------------------------ what is refused
def _in_place(e, statement):
    exec(statement, {"v": e.v})


@rule("in-place operators of variables are refused, with what to write")
def _(e):
    for sign, instead in (
        ("+", r"variable.assign_add\(value\)"), ("-", r"variable.assign_sub\(value\)"), ("*", r"var.assign\(var \* value\)"),
        ("/", r"var.assign\(var / value\)"), ("**", r"var.assign\(var \*\* value\)"),
    ):  # fmt: skip
        raises(
            RuntimeError,
            f"= value` with `tf.Variable`s is not supported. Use `{instead}` to modify",
            lambda s=sign: _in_place(e, f"v {s}= 2.0"),
        )
    return []


@rule("v = v + 1 makes a tensor of the name", 4.0, 3.0)
def _(e):
    v = e.v
    v = v + 1.0
    assert not isinstance(v, tf.Variable)
    return [v, e.v]


@rule("tensors have no item assignment")
def _(e):
    def assign(x):
        x[0] = 1.0

    raises(TypeError, "does not support item assignment", lambda: assign(e.w * 1.0))
    return []


@rule("a tensor is true if it has one element that is not 0", modes=eager_only)
def _(e):
    assert [bool(x) for x in (tf.constant(0.0), tf.constant([2]), e.v > 1.0)] == [False, True, True]
    raises(ValueError, "ambiguous", lambda: bool(e.w > 1.0))
    return []


@rule("a symbolic tensor has no truth value, no number and no array", modes=TRACED)
def _(e):
    raises(tf.errors.OperatorNotAllowedInGraphError, "Python `bool`", lambda: bool(e.v > 1.0))
    raises(TypeError, "int\\(\\) of", lambda: int(e.v * 1.0))
    raises(NotImplementedError, "Cannot convert a symbolic tf.Tensor", lambda: np.sin(e.v * 1.0))
    raises(AttributeError, "numpy", lambda: (e.v * 1.0).numpy())
    return []


@rule("paddings are pairs")
def _(e):
    raises(tf.errors.InvalidArgumentError, "paddings must be a matrix with 2 columns", lambda: tf.pad(e.w, [[1]]))
    return []


@rule("sizes that only the call has are found wrong when the function runs", modes=eager_only)
def _(e):
    f = tf.function(lambda a, b: a + b, input_signature=[tf.TensorSpec([None])] * 2)
    raises(tf.errors.InvalidArgumentError, "sizes 2 and 3 differ", lambda: f(tf.ones([2]), tf.ones([3])))
    return []


# ------------------------------------------------------------------------------------------------ as text
@rule("text of several lines begins on a line of its own", modes=eager_only)
def _(e):
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    assert str(x) == "tf.Tensor(\n[[1. 2.]\n [3. 4.]], shape=(2, 2), dtype=float32)"
    assert repr(x) == "<tf.Tensor: shape=(2, 2), dtype=float32, numpy=\narray([[1., 2.],\n       [3., 4.]], dtype=float32)>"
    assert (
        repr(tf.Variable(x, name="m"))
        == "<tf.Variable 'm:0' shape=(2, 2) dtype=float32, numpy=\narray([[1., 2.],\n       [3., 4.]], dtype=float32)>"
    )
    return []


@rule("text of one line", modes=eager_only)
def _(e):
    assert (str(e.c), repr(e.c)) == ("tf.Tensor(2.0, shape=(), dtype=float32)", "<tf.Tensor: shape=(), dtype=float32, numpy=2.0>")
    assert str(tf.range(3)) == "tf.Tensor([0 1 2], shape=(3,), dtype=int32)"
    assert repr(e.n) == "<tf.Variable 'n:0' shape=() dtype=int32, numpy=2>"
    return []


@rule("a formatted tensor is its value", modes=eager_only)
def _(e):
    assert f"{e.c} {tf.constant([1.5, 2.0])} {tf.constant(3)} {e.c:.3f} {tf.constant(7):03d}" == "2.0 [1.5 2. ] 3 2.000 007"
    raises(TypeError, "format", lambda: f"{tf.ones([2]):.2f}")
    return []


@rule("a symbolic tensor shows its name, shape and dtype", modes=TRACED)
def _(e):
    doubled = e.w * 2.0
    assert str(doubled) == f"{doubled}" == 'Tensor("doubled:0", shape=(3,), dtype=float32)'
    assert repr(doubled) == "<tf.Tensor 'doubled:0' shape=(3,) dtype=float32>"
    return []


@pytest.mark.parametrize("traced", [False, True])
def test_print_shows_the_ends_of_what_is_long(capfd, traced):
    def program(x):
        tf.print(x)
        tf.print(x, summarize=-1)
        tf.print(x, summarize=2)
        tf.print("x", {"k": [x[:2], (x[1], 2.5)]}, sep="|", end="!\n")
        tf.print(tf.reshape(x[:4], [2, 2]), tf.cast(x[:1], tf.float32) / 3.0, x > 8)
        return x

    (tf.function(program) if traced else program)(tf.range(10))
    assert capfd.readouterr().err.splitlines() == [
        "[0 1 2 ... 7 8 9]",
        "[0 1 2 3 4 5 6 7 8 9]",
        "[0 1 ... 8 9]",
        "x|{'k': [[0 1], (1, 2.5)]}!",
        "[[0 1]",
        " [2 3]] [0] [0 0 0 ... 0 0 1]",
    ]


@pytest.mark.parametrize(("f", "expected", "mode"), rule.rows)
def test_rule(f, expected, mode):
    check(f, expected, mode)

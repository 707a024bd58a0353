"""What errors and prints in traced functions say of where they are."""

import traceback
import warnings

import pytest

import tapejit as tf
from tapejit.explain.warned import LeakedTensorWarning


def test_an_error_while_tracing_says_which_call_was_traced():
    @tf.function
    def inner(x):
        return x + tf.ones([3])

    @tf.function
    def outer(x, mode):
        return inner(x * 2.0)

    with pytest.raises(ValueError, match="sizes 2 and 3 differ") as e:
        outer(tf.ones([2]), "train")
    assert "return x + tf.ones([3])" in str(e.value)
    assert "^^^" in str(e.value)
    said = "".join(traceback.format_exception(e.value))
    assert "while inner(x: f32[2]) was traced, called at test_context.py:" in said
    assert "while outer(x: f32[2], mode: 'train') was traced, called at test_context.py:" in said


def test_print_of_a_symbolic_tensor_hints_at_tf_print_once(capsys):
    @tf.function
    def f(x):
        y = x * 2.0
        print("y is", y)
        print(f"{y} again", x.shape)
        text = str(y)
        return y if text else x

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        f(tf.ones([2]))
        f(tf.ones([2]))
        f(tf.ones([3]))
    told = [w for w in caught if w.category is LeakedTensorWarning]
    assert [w.lineno - f.python_function.__code__.co_firstlineno for w in told] == [3, 4]
    assert "tf.print" in str(told[0].message)
    assert 'y is Tensor("y:0", shape=(2,), dtype=float32)' in capsys.readouterr().out

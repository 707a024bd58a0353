"""What goes wrong inside a traced function is raised with the user's line, what was expected and what was found."""

import inspect
import re

import numpy as np
import pytest

import tapejit as tf


def here(back=1):
    """The number of the line that calls, less `back`."""
    return inspect.currentframe().f_back.f_lineno - back


def fails(f, *args, kind=Exception, says=()):
    """Call `f`, which must raise `kind`, naming the line of this file that ends in `# <- here`; each of `says` must match."""
    with pytest.raises(kind) as caught:
        f(*args)
    said = str(caught.value)
    source = inspect.getsourcelines(getattr(f, "python_function", f))
    lines = [source[1] + k for k, text in enumerate(source[0]) if text.rstrip().endswith("# <- here")]
    shown = said + "".join(f"\n{entry.path}:{entry.lineno + 1}" for entry in caught.traceback) if not lines else said
    for line in lines:
        assert f"{__file__}:{line}" in shown, f"line {line} is not named:\n{said}"
    for pattern in says:
        assert re.search(pattern, said), f"{pattern!r} is not in:\n{said}"
    return said


# ------------------------------------------------------------------------------------------------ while tracing
def test_shapes_that_do_not_fit():
    @tf.function
    def f(x, w):
        h = tf.tanh(x)
        y = h @ w  # <- here
        return y

    fails(f, tf.ones([2, 3]), tf.ones([4, 5]), kind=(ValueError, tf.errors.InvalidArgumentError), says=[r"3", r"4"])


def test_shapes_that_do_not_broadcast():
    @tf.function
    def f(x, y):
        return x + y  # <- here

    fails(f, tf.ones([2, 3]), tf.ones([4]), kind=(ValueError, tf.errors.InvalidArgumentError), says=[r"3", r"4"])


def test_dtypes_that_do_not_fit():
    @tf.function
    def f(x, y):
        return x * y  # <- here

    fails(
        f,
        tf.ones([2]),
        tf.ones([2], tf.float64),
        kind=(TypeError, ValueError, tf.errors.InvalidArgumentError),
        says=[r"float32|f32", r"float64|f64"],
    )


def test_an_unknown_name():
    @tf.function
    def f(x):
        return tf.reduce_summ(x)

    with pytest.raises(AttributeError, match="reduce_sum"):
        f(tf.ones([2]))


def test_a_gradient_without_a_rule():
    @tf.function
    def f(x):
        with tf.GradientTape() as t:
            t.watch(x)
            y = tf.math.igamma(x, 2.0 * x)  # <- here
        return t.gradient(y, x)

    said = fails(f, tf.constant(0.5), kind=Exception)
    assert "igamma" in said


def test_a_tape_used_twice():
    @tf.function
    def f(x):
        with tf.GradientTape() as t:
            t.watch(x)
            y = x * x
        t.gradient(y, x)
        return t.gradient(y, x)  # <- here

    fails(f, tf.constant(2.0), kind=RuntimeError, says=["persistent"])


def test_output_gradients_of_a_wrong_shape():
    @tf.function
    def f(x):
        with tf.GradientTape() as t:
            t.watch(x)
            y = x * x
        return t.gradient(y, x, output_gradients=tf.ones([3]))  # <- here

    fails(f, tf.ones([2]), kind=(ValueError, tf.errors.InvalidArgumentError), says=[r"3", r"2"])


def test_a_target_that_is_no_tensor():
    @tf.function
    def f(x):
        with tf.GradientTape() as t:
            t.watch(x)
        return t.gradient("loss", x)  # <- here

    fails(f, tf.ones([2]), kind=(TypeError, ValueError), says=["loss"])


def test_an_assignment_that_does_not_fit():
    v = tf.Variable([1.0, 2.0])

    @tf.function
    def shape(x):
        v.assign(x)  # <- here

    @tf.function
    def dtype(x):
        v.assign(tf.cast(x, tf.float64))  # <- here

    fails(shape, tf.ones([3]), kind=(ValueError, tf.errors.InvalidArgumentError), says=[r"3", r"2"])
    fails(dtype, tf.ones([2]), kind=(TypeError, ValueError, tf.errors.InvalidArgumentError), says=["float64|f64"])
    np.testing.assert_array_equal(v, [1, 2])


def test_a_symbolic_tensor_has_no_value():
    @tf.function(autograph=False)
    def numpy(x):
        return x.numpy()  # <- here

    @tf.function(autograph=False)
    def number(x):
        return float(x)  # <- here

    @tf.function(autograph=False)
    def truth(x):
        return 1.0 if x > 0 else 2.0  # <- here

    @tf.function(autograph=False)
    def array(x):
        return np.asarray(x)  # <- here

    for f in (numpy, number, truth, array):
        fails(f, tf.constant(1.0), kind=(TypeError, AttributeError, NotImplementedError, ValueError))


def test_a_symbolic_tensor_that_leaks():
    leaked = []

    @tf.function
    def f(x):
        y = x * 2.0
        leaked.append(y)
        return y

    f(tf.constant(1.0))
    with pytest.raises(TypeError, match=r"out of scope|leak|traced function"):
        leaked[0] + 1.0
    with pytest.raises(TypeError, match=r"out of scope|leak|traced function"):
        tf.function(lambda x: x + leaked[0])(tf.constant(1.0))
    with pytest.raises((TypeError, AttributeError, NotImplementedError)):
        leaked[0].numpy()
    v = tf.Variable(1.0)
    with pytest.raises(TypeError):
        v.assign(leaked[0])
    assert float(v) == 1.0


def test_a_user_error_is_raised_as_it_is():
    class Own(Exception):
        pass

    @tf.function
    def f(x):
        raise Own("mine")

    with pytest.raises(Own, match="mine"):
        f(tf.constant(1.0))


# ------------------------------------------------------------------------------------------------ while running
@pytest.mark.parametrize("open_", [False, True])
def test_an_index_out_of_range(open_):
    def gather(x, i):
        y = x * 2.0
        return tf.gather(y, i)  # <- here

    f = tf.function(gather, input_signature=[tf.TensorSpec([None if open_ else 3]), tf.TensorSpec([None if open_ else 2], tf.int32)])
    np.testing.assert_array_equal(f(tf.constant([1.0, 2.0, 3.0]), tf.constant([2, 0])), [6, 2])
    fails(f, tf.constant([1.0, 2.0, 3.0]), tf.constant([0, 7]), kind=tf.errors.InvalidArgumentError, says=["7", "3"])


def test_an_assertion():
    @tf.function
    def f(x):
        tf.debugging.assert_positive(x, message="must be positive")  # <- here
        return tf.math.log(x)

    assert float(f(tf.constant(1.0))) == 0.0
    fails(f, tf.constant(-1.0), kind=tf.errors.InvalidArgumentError, says=["must be positive"])


def test_check_numerics():
    @tf.function
    def f(x):
        return tf.debugging.check_numerics(1.0 / x, "the inverse")  # <- here

    assert float(f(tf.constant(2.0))) == 0.5
    fails(f, tf.constant(0.0), kind=tf.errors.InvalidArgumentError, says=["the inverse"])


def test_a_singular_matrix():
    @tf.function
    def f(x):
        return tf.linalg.inv(x)  # <- here

    fails(f, tf.ones([2, 2]), kind=tf.errors.InvalidArgumentError)


def test_a_size_that_ensure_shape_refuses():
    @tf.function(input_signature=[tf.TensorSpec([None])])
    def f(x):
        return tf.ensure_shape(x, [3]) + 1.0

    np.testing.assert_array_equal(f(tf.ones([3])), [2, 2, 2])
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        f(tf.ones([4]))


def test_a_gradient_inside_fails_at_the_forward_line():
    @tf.function
    def f(x, i):
        with tf.GradientTape() as t:
            t.watch(x)
            y = tf.gather(x, i)  # <- here
        return t.gradient(y, x)

    fails(f, tf.ones([3]), tf.constant([5]), kind=tf.errors.InvalidArgumentError)

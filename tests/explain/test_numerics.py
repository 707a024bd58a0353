"""NaN and infinities, planted forward, backward, in loops and in products: the op, the element, its operands and the line are named."""

import inspect

import numpy as np
import pytest

import tapejit as tf


@pytest.fixture
def checking():
    tf.debugging.enable_check_numerics()
    yield
    tf.debugging.disable_check_numerics()


def line_of(mark, function):
    """The line of `function` that ends in the comment `# mark`."""
    lines, first = inspect.getsourcelines(function)
    return next(first + k for k, text in enumerate(lines) if text.rstrip().endswith(f"# {mark}"))


@tf.function
def forward(x):
    shifted = x - 1.0
    y = tf.math.log(shifted)  # log
    return tf.reduce_sum(y * 2.0)


def test_a_forward_line():
    with pytest.raises(tf.errors.InvalidArgumentError) as e:
        forward.check_numerics(tf.constant([[2.0, 3.0], [4.0, 1.0]]))
    assert "log: Tensor had Inf values: y[1, 1] = -inf, computed from shifted[1, 1] = 0\n" in str(e.value)
    assert f"test_numerics.py:{line_of('log', forward.python_function)}\n" in str(e.value)
    assert "^^^" in str(e.value)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"NaN values: y\[0, 0\] = nan, computed from shifted\[0, 0\] = -1"):
        forward.check_numerics(tf.constant([[0.0, 3.0], [4.0, 1.0]]))


def test_a_finite_call_gives_what_the_plain_step_gives():
    x = tf.constant([[2.0, 3.0], [4.0, 5.0]])
    assert float(forward.check_numerics(x)) == pytest.approx(float(forward(x)), rel=1e-6)


def test_a_backward_line_names_its_forward_line_and_leaves_variables_alone():
    w = tf.Variable([1.0, 0.0, 4.0])
    slot = tf.Variable(0.0)

    @tf.function
    def step(x):
        slot.assign_add(1.0)
        with tf.GradientTape() as tape:
            root = tf.sqrt(w)  # root
            loss = tf.reduce_sum(root * x)
        grad = tape.gradient(loss, w)
        w.assign_sub(0.5 * grad)
        return loss

    with pytest.raises(tf.errors.InvalidArgumentError) as e:
        step.check_numerics(tf.ones([3]))
    assert f"test_numerics.py:{line_of('root', step.python_function)}, in the gradient of this line\n" in str(e.value)
    assert "[1] = inf" in str(e.value)
    np.testing.assert_array_equal(w.numpy(), [1, 0, 4])
    assert float(slot) == 0
    w.assign([1.0, 4.0, 16.0])
    step.check_numerics(tf.ones([3]))
    np.testing.assert_allclose(w.numpy(), [0.75, 3.875, 15.9375])


def test_products_and_reductions_name_their_operands_types():
    @tf.function
    def f(x):
        return x @ x

    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"matmul: Tensor had Inf values: \w+\[0, 0\] = inf, computed from x: f32\[2, 2\] and x"
    ):
        f.check_numerics(tf.fill([2, 2], 1e30))

    @tf.function
    def g(x):
        return tf.reduce_sum(x)

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"sum: Tensor had Inf values: \w+ = inf, computed from x: f32\[4\]"):
        g.check_numerics(tf.fill([4], 2e38))


def test_inside_a_loop():
    @tf.function
    def f(x, n):
        def body(i, a):
            return i + 1, a * a  # square

        return tf.while_loop(lambda i, a: i < n, body, (tf.constant(0), x))[1]

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"mul: Tensor had Inf values") as e:
        f.check_numerics(tf.constant([2.0, 1e10]), tf.constant(5))
    assert f"test_numerics.py:{line_of('square', f.python_function)}\n" in str(e.value)
    f.check_numerics(tf.constant([2.0, 1e10]), tf.constant(1))


def test_moving_numbers_and_wanted_infinities_are_no_offence():
    @tf.function
    def f(x, mask):
        hidden = tf.where(mask, x, -float("inf"))
        padded = tf.concat([hidden, tf.fill([1], -float("inf"))], 0)
        return tf.reduce_max(tf.reverse(tf.reshape(padded, [2, 2]), [0]), axis=0)

    np.testing.assert_array_equal(f.check_numerics(tf.constant([1.0, 2.0, 3.0]), tf.constant([True, False, True])), [3, -np.inf])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_float(dtype):
    @tf.function
    def f(x):
        return 1.0 / x

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[1\] = inf"):
        f.check_numerics(tf.constant([1.0, 0.0], dtype))


def test_switched_on_it_holds_for_steps_compiled_before_and_off_again(checking):
    tf.debugging.disable_check_numerics()

    @tf.function
    def f(x):
        return tf.math.log(x)

    zero, one = tf.constant([0.0]), tf.constant([1.0])
    for _ in range(3):
        assert np.isinf(f(zero)).all()
    tf.debugging.enable_check_numerics()
    for _ in range(3):
        with pytest.raises(tf.errors.InvalidArgumentError, match="log: Tensor had Inf values"):
            f(zero)
        assert float(f(one)[0]) == 0
    tf.debugging.disable_check_numerics()
    for _ in range(3):
        assert np.isinf(f(zero)).all()
    assert f.experimental_get_tracing_count() == 1


def test_eager_ops(checking):
    x = tf.constant([[1.0, 0.0]])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"log: Tensor had Inf values: y\[0, 1\] = -inf, computed from x\[0, 1\] = 0[\s\S]*\^\^\^"
    ):
        y = tf.math.log(x)
    assert np.isinf(tf.reshape(tf.constant([np.inf]), [1, 1])).all(), "numbers that are only moved are let through"
    y = tf.constant([1.0, 2.0]) * 3.0
    np.testing.assert_array_equal(y, [3, 6])


def test_a_call_under_a_tape(checking):
    @tf.function
    def f(x):
        return tf.sqrt(x)  # root

    x = tf.constant([0.0, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Inf values") as e:
        tape.gradient(y, x)
    assert f"test_numerics.py:{line_of('root', f.python_function)}, in the gradient of this line\n" in str(e.value)

"""Donated arguments: whose buffer a result is in, what is copied, and what becomes of the tensor that was given away."""

import inspect

import numpy as np
import pytest

import tapejit as tf

SIZE = 2048  # large enough for buffers of their own


def ramp(scale=1.0):
    return tf.constant(np.arange(SIZE, dtype="f4") * np.float32(scale))


def address(x):
    return x.numpy_view().ctypes.data


def here():
    return inspect.currentframe().f_back.f_lineno


@tf.function(donate="state")
def advance(state, x):
    return tf.tanh(state) + x, tf.reduce_sum(x)


def test_a_result_of_the_same_type_is_written_over_the_argument():
    state, x = ramp(), ramp(2.0)
    for _ in range(3):
        wanted, before = np.tanh(state.numpy()) + x.numpy(), address(state)
        state, total = advance(state, x)
        assert address(state) == before
        np.testing.assert_allclose(state, wanted, rtol=1e-6)
        np.testing.assert_allclose(total, x.numpy().sum(), rtol=1e-5)
    np.testing.assert_array_equal(x, np.arange(SIZE, dtype="f4") * 2), "x was not given away"


def test_the_tensor_that_was_given_away_is_dead_and_says_where_it_went():
    state = ramp()
    line = here() + 1
    advance(state, ramp())
    uses = (lambda: state + 1.0, lambda: state.numpy(), lambda: state.shape, lambda: np.asarray(state), lambda: repr(state), lambda: state[0],
            lambda: tf.reduce_sum(state), lambda: advance(state, ramp()), lambda: np.add(state, 1.0), lambda: tf.Variable(state))  # fmt: skip
    for use in uses:
        with pytest.raises(RuntimeError, match=r"argument state of advance") as caught:
            use()
        said = str(caught.value)
        assert "f32[2048]" in said
        assert f"{__file__}:{line}\n      advance(state, ramp())" in said
        assert said.count("\n  at ") == 2  # where it was donated, and where it was used


def test_a_buffer_that_somebody_else_holds_is_copied():
    owner = tf.Variable(np.arange(SIZE, dtype="f4"))
    for given in (owner.value(), tf.convert_to_tensor(owner)):
        before = address(given)
        out, _ = advance(given, tf.zeros([SIZE]))
        assert address(out) != before
        np.testing.assert_array_equal(owner, np.arange(SIZE, dtype="f4"))
        np.testing.assert_allclose(out, np.tanh(np.arange(SIZE, dtype="f4")), rtol=1e-6)
    array = np.arange(SIZE, dtype="f4")
    advance(array, ramp())
    np.testing.assert_array_equal(array, np.arange(SIZE, dtype="f4")), "an ndarray is not a tensor to give away"


def test_one_tensor_as_two_arguments():
    x = ramp()
    out, total = advance(x, x)
    np.testing.assert_allclose(out, np.tanh(np.arange(SIZE, dtype="f4")) + np.arange(SIZE, dtype="f4"), rtol=1e-6)
    np.testing.assert_allclose(total, np.arange(SIZE, dtype="f4").sum(), rtol=1e-5)

    @tf.function(donate=(0, 1))
    def both(a, b):
        return a - b, a + b

    y = ramp()
    low, high = both(y, y)
    np.testing.assert_array_equal(low, np.zeros(SIZE))
    np.testing.assert_array_equal(high, 2 * np.arange(SIZE, dtype="f4"))


def test_structures_positions_and_open_sizes():
    @tf.function(donate=[1], input_signature=None)
    def step(x, slots):
        return {k: 0.9 * v + x for k, v in slots.items()}

    slots = {"m": ramp(), "v": ramp(3.0)}
    where = {k: address(v) for k, v in slots.items()}
    out = step(ramp(), slots)
    assert {k: address(v) for k, v in out.items()} == where
    np.testing.assert_allclose(out["v"], 3.7 * np.arange(SIZE, dtype="f4"), rtol=1e-6)
    with pytest.raises(RuntimeError, match="slots_m"):
        slots["m"].numpy()

    @tf.function(donate="x", input_signature=[tf.TensorSpec([None], tf.float32)])
    def doubled(x):
        return x + x

    for n in (3000, 4000):
        x = tf.ones([n])
        before = address(x)
        out = doubled(x)
        assert address(out) == before
        np.testing.assert_array_equal(out, np.full(n, 2.0))


def test_results_that_trade_places_and_results_returned_as_they_came():
    @tf.function(donate=("a", "b"))
    def swapped(a, b):
        return b, a, a + b

    a, b = ramp(), ramp(5.0)
    x, y, total = swapped(a, b)
    np.testing.assert_array_equal(x, 5 * np.arange(SIZE, dtype="f4"))
    np.testing.assert_array_equal(y, np.arange(SIZE, dtype="f4"))
    np.testing.assert_array_equal(total, 6 * np.arange(SIZE, dtype="f4"))


def test_an_argument_that_no_result_fits_is_dead_all_the_same():
    @tf.function(donate="x")
    def total(x):
        return tf.reduce_sum(x)

    x = tf.ones([SIZE])
    assert total(x) == SIZE
    with pytest.raises(RuntimeError, match="argument x of total"):
        x.numpy()


def test_a_call_that_fails_leaves_its_arguments_as_they_were():
    @tf.function(donate="x")
    def checked(x):
        y = x * 2.0
        tf.debugging.assert_less(tf.reduce_max(x), 10.0)
        return y

    x = ramp()
    with pytest.raises(tf.errors.InvalidArgumentError):
        checked(x)
    np.testing.assert_array_equal(x, np.arange(SIZE, dtype="f4"))
    np.testing.assert_array_equal(checked(tf.ones([4])), np.full(4, 2.0))


def test_nothing_is_given_away_under_a_tape_that_follows_it_or_within_another_function():
    x = ramp()
    with tf.GradientTape() as tape:
        tape.watch(x)
        out, _ = advance(x, tf.zeros([SIZE]))
    np.testing.assert_allclose(tape.gradient(out, x), 1 - np.tanh(x.numpy()) ** 2, rtol=1e-4, atol=1e-6)

    @tf.function
    def outer(x):
        return advance(x, x)[0]

    outer(x)
    np.testing.assert_array_equal(x, np.arange(SIZE, dtype="f4"))


def test_methods_and_variables_assigned_beside():
    class Model:
        def __init__(self):
            self.count = tf.Variable(0)

        @tf.function(donate="h")
        def step(self, h):
            self.count.assign_add(1)
            return h + tf.cast(self.count, tf.float32)

    model, h = Model(), tf.zeros([SIZE])
    for _ in range(3):
        before = address(h)
        h = model.step(h)
        assert address(h) == before
    np.testing.assert_array_equal(h, np.full(SIZE, 6.0))


def test_names_that_there_are_not():
    for wrong in ("y", 2, ("x", "z"), True):
        with pytest.raises(ValueError, match=r"has no parameter .*; write names or positions of x") as caught:
            tf.function(lambda x: x, donate=wrong)
        assert __file__ in str(caught.value)

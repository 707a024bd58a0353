"""Gradients given by users: eagerly, traced, to second order, with variables, structures and errors."""

from __future__ import annotations

import numpy as np
import pytest
from orders import check, orders

import tapejit as tf

X = np.array([0.4, -0.9, 1.3])


@tf.custom_gradient
def cube(x):
    square = x * x  # the gradient uses a value from inside

    def grad(up):
        return up * 3.0 * square

    return x * square, grad


@tf.custom_gradient
def product_and_sum(a, b):
    def grad(of_product, of_sum):
        return of_product * b + of_sum, of_product * a + of_sum

    return {"product": a * b, "sum": a + b}, grad


@tf.custom_gradient
def doubled(x):
    return tf.identity(x), lambda up: 2.0 * up


def in_a_loop(x):
    return tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, cube(tf.sin(a)) + x), [0, x])[1]


def in_a_branch(x):
    return tf.cond(x[0] > 0.0, lambda: cube(x), lambda: x)


def of_a_loop(x):
    @tf.custom_gradient
    def power(x):
        y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * x), [0, tf.ones_like(x)])[1]

        def grad(up):
            slope = tf.while_loop(lambda i, a: i < 2, lambda i, a: (i + 1, a * x), [0, tf.ones_like(x)])[1]
            return up * 3.0 * slope

        return y, grad

    return power(x)


def one_output_unused(x):
    return product_and_sum(x, tf.sin(x))["product"]


def nested(x):
    @tf.custom_gradient
    def outer(x):
        return cube(x) * 2.0, lambda up: up * 6.0 * x * x

    return outer(x)


def recomputed(x):
    return tf.recompute_grad(lambda a: tf.sin(a) * tf.exp(a))(x * 2.0)


TRUE = {
    "cube": cube,
    "loop": in_a_loop,
    "branch": in_a_branch,
    "of a loop": of_a_loop,
    "unused": one_output_unused,
    "nested": nested,
    "recompute": recomputed,
}


@pytest.mark.parametrize("name", TRUE)
def test_a_true_gradient_agrees_with_finite_differences(name):
    check(TRUE[name], X)


def test_two_arguments():
    check(lambda a, b: product_and_sum(a, tf.cos(b)), X, X + 1.0)


def ways(f, *arrays):
    """The gradients of `f`, traced and eager ones of which must agree."""
    xs = [tf.constant(a) for a in arrays]
    ds = [tf.ones_like(x) for x in xs]
    eager = [np.asarray(v) for v in orders(f, xs, ds)]
    for got in (tf.function(lambda *a: orders(f, list(a), ds))(*xs), orders(tf.function(f), xs, ds)):
        for g, e in zip(got, eager, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-12)
    return eager[1 : 1 + len(xs)]


def test_the_users_gradient_counts_not_the_true_one():
    (g,) = ways(lambda x: tf.reduce_sum(doubled(x)), X)
    np.testing.assert_allclose(g, 2.0 * np.cos(1.0))


def test_a_gradient_of_none_and_arguments_that_are_no_tensors():
    @tf.custom_gradient
    def scaled(x, factor, y, mode):
        assert mode == "fast"
        return x * factor * y, lambda up: (up * factor, None, None, None)

    def f(x, y):
        with tf.GradientTape() as tape:
            tape.watch([x, y])
            z = scaled(x, 3.0, y, "fast")
        return tape.gradient(z, [x, y])

    x, y = tf.constant([1.0, 2.0]), tf.constant([5.0, 6.0])
    for g in (f, tf.function(f)):
        dx, dy = g(x, y)
        assert dx.numpy().tolist() == [3.0, 3.0]
        assert dy is None


def test_what_the_gradient_closes_over_gets_none():
    w = tf.constant([2.0, 3.0])

    def f(x, w):
        @tf.custom_gradient
        def inner(x):
            return x * w, lambda up: up * w * w

        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = inner(x)
        return tape.gradient(y, [x, w])

    for g in (f, tf.function(f)):
        dx, dw = g(tf.constant([1.0, 1.0]), w)
        assert dx.numpy().tolist() == [4.0, 9.0]
        assert dw is None


def test_variables():
    v = tf.Variable([2.0, 3.0])

    @tf.custom_gradient
    def layer(x):
        def grad(up, variables=None):
            assert [u.ref() for u in variables] == [v.ref()]
            return up * v * 10.0, [up * x * 100.0]

        return x * v, grad

    def f(x):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
            dx, dv = tape.gradient(y, [x, v])
        return dx, dv, outer.gradient(dx, v), outer.gradient(dv, x)

    for g in (f, tf.function(f)):
        got = [t.numpy().tolist() for t in g(tf.constant([1.0, 4.0]))]
        assert got == [[20.0, 30.0], [100.0, 400.0], [10.0, 10.0], [100.0, 100.0]]


def test_a_variable_as_argument():
    v = tf.Variable([2.0, 3.0])

    def f():
        with tf.GradientTape() as tape:
            y = doubled(v)
        return tape.gradient(y, v)

    for g in (f, tf.function(f)):
        assert g().numpy().tolist() == [2.0, 2.0]


def test_errors():
    v = tf.Variable(1.0)

    @tf.custom_gradient
    def no_variables(x):
        return x * v, lambda up: up

    @tf.custom_gradient
    def too_few(x, y):
        return x * y, lambda up: up

    @tf.custom_gradient
    def wrong_shape(x):
        return tf.reduce_sum(x), lambda up: tf.zeros([7])

    def gradient(f, *xs):
        def run(*xs):
            with tf.GradientTape() as tape:
                tape.watch(list(xs))
                y = f(*xs)
            return tape.gradient(y, list(xs))

        return run

    x = tf.constant([1.0, 2.0])
    for wrap in (lambda f: f, tf.function):
        with pytest.raises(TypeError, match="grad_fn must accept keyword argument 'variables', since function uses variables"):
            wrap(gradient(no_variables))(x)
        with pytest.raises(ValueError, match="custom_gradient function expected to return 2 gradients, but returned 1 instead"):
            wrap(gradient(too_few))(x, x)
        with pytest.raises(ValueError, match=r"gradient 0 has shape \(7,\), its argument has shape \(2,\)"):
            wrap(gradient(wrong_shape))(x)
    assert too_few.__name__ == "too_few"


def test_keyword_arguments_are_eager_only():
    @tf.custom_gradient
    def scaled(x, by):
        return x * by, lambda up: up * by

    x = tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = scaled(x, by=3.0)
    assert float(tape.gradient(y, x)) == 3.0
    with pytest.raises(ValueError, match="keywords arguments only when eager"):
        tf.function(lambda x: scaled(x, by=3.0))(x)


def test_as_a_method():
    class Layer:
        scale = 4.0

        @tf.custom_gradient
        def call(self, x):
            if tf.reduce_sum(x) > 0.0:  # converted like any other code of a traced function
                x = x * 1.0
            return x, lambda up: up * self.scale

    layer, x = Layer(), tf.constant(2.0)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer.call(x)
        return tape.gradient(y, x)

    assert float(gradient(x)) == float(tf.function(gradient)(x)) == 4.0
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = Layer.call(layer, x)  # of the class, it takes the instance as well
    with pytest.raises(ValueError, match="expected to return 2 gradients, but returned 1"):
        tape.gradient(y, x)


def test_recompute_runs_the_function_again():
    runs = []
    v = tf.Variable([2.0, 3.0])

    def f(x, scale=1.0):
        runs.append(1)
        return tf.sin(x * v) * scale

    again = tf.recompute_grad(f)
    assert again.__wrapped__ is f
    x = tf.constant([1.0, 4.0])
    found = []
    for g in (f, again, tf.function(again)):
        runs.clear()
        with tf.GradientTape() as outer:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = g(x, scale=3.0)
            dx, dv = tape.gradient(y, [x, v])
            s = tf.reduce_sum(dx * dx)
        found.append([dx.numpy(), dv.numpy(), outer.gradient(s, v).numpy()])
        if g is again:
            assert len(runs) == 2
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_pass_through():
    v = tf.Variable(3.0)
    rounded = tf.grad_pass_through(lambda x: tf.round(x) * v)

    def f(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = rounded(x * 2.0)
        return [y, *tape.gradient(y, [x, v])]

    for g in (f, tf.function(f)):
        y, dx, dv = g(tf.constant(1.3))
        assert (float(y), float(dx), dv) == (9.0, 2.0, None)


def test_an_assignment_in_the_gradient_runs_with_it():
    calls = tf.Variable(0.0)

    @tf.custom_gradient
    def counted(x):
        def grad(g):
            calls.assign_add(1.0)
            return g * 2.0 * x

        return x * x, grad

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = counted(x) + counted(x * 2.0)
        before = calls + 0.0
        g = tape.gradient(y, x)
        return before, g, calls + 0.0

    for f, start in ((step, 0.0), (tf.function(step), 2.0)):
        assert [float(v) for v in f(tf.constant(3.0))] == [start, 30.0, start + 2.0]
    with pytest.raises(NotImplementedError, match=r"an assignment to state.calls within counted_gradient in a loop or branch"):
        tf.function(lambda x: tf.cond(x > 0, lambda: counted(x), lambda: x))(tf.constant(1.0))

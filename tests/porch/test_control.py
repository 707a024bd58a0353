"""Branches and loops on tensors: values and gradients eagerly, traced and compiled; variables in them; errors."""

from __future__ import annotations

import numpy as np
import pytest

import tapejit as tf
from orders import check

X = np.array([0.3, -0.7, 1.1])
M = np.array([[0.2, -0.4, 0.1], [0.5, 0.3, -0.2], [-0.1, 0.6, 0.4]])
ROWS = np.array([[0.1, 0.4, -0.3], [0.7, -0.2, 0.5], [-0.6, 0.3, 0.2], [0.9, 0.8, -0.5]])


def same(f, *args):
    """The result of `f` eagerly, which must be that of its trace."""
    want = f(*args)
    got = tf.function(f)(*args)
    for w, g in zip(tf.nest.flatten(want), tf.nest.flatten(got), strict=True):
        w, g = tf.convert_to_tensor(w), tf.convert_to_tensor(g)
        assert (w.dtype, tuple(w.shape)) == (g.dtype, tuple(g.shape))
        np.testing.assert_allclose(g.numpy(), w.numpy(), rtol=1e-6, atol=1e-6)
    return want


# ------------------------------------------------------------------------------------------------ gradients
def power(x, n=4):
    return tf.while_loop(lambda i, r: i < n, lambda i, r: (i + 1, r * x), (0, tf.ones_like(x)))[1]


def counted_by_data(x):
    return tf.while_loop(lambda v: tf.reduce_sum(v * v) < 30.0, lambda v: [v * 1.5 + x], [x])[0]


def loop_in_loop(x):
    def outer(i, s):
        _, s2 = tf.while_loop(lambda j, q: j < i, lambda j, q: (j + 1, tf.sin(q) + x * tf.cast(j + 1, tf.float64)), [0, s])
        return i + 1, s2

    return tf.while_loop(lambda i, s: i < 4, outer, [0, tf.zeros_like(x)])[1]


def branch_in_loop(x):
    def body(i, s):
        return i + 1, tf.cond(tf.equal(i % 2, 0), lambda: s + x * x, lambda: tf.tanh(s) * x)

    return tf.while_loop(lambda i, s: i < 5, body, [0, x])[1]


def loop_in_branch(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: power(x), lambda: -x)


def scan_in_loop(x, rows):
    def body(i, s):
        return i + 1, tf.scan(lambda a, r: tf.tanh(a * r), rows, initializer=s)[-1] + x

    return tf.while_loop(lambda i, s: i < 3, body, [0, x])[1]


def branch_in_map(rows):
    return tf.map_fn(lambda r: tf.cond(tf.reduce_sum(r) > 0.5, lambda: r * r, lambda: tf.sin(r)), rows)


def two_results(x, m):
    a, b = tf.cond(x[0] < 0.5, lambda: (tf.linalg.matvec(m, x), tf.reduce_sum(x)), lambda: (x, tf.reduce_max(m)))
    return a * b


def rnn(rows, m):
    h = tf.scan(lambda h, r: tf.tanh(tf.linalg.matvec(m, h) + r), rows, initializer=tf.zeros([3], tf.float64))
    return h


def array_loop(rows, m):
    given = tf.TensorArray(tf.float64, size=4).unstack(rows)
    made = tf.TensorArray(tf.float64, size=4)

    def body(i, h, a):
        h = tf.tanh(tf.linalg.matvec(m, h) + given.read(i))
        return i + 1, h, a.write(i, h * 2.0)

    return tf.while_loop(lambda i, h, a: i < 4, body, [0, tf.ones([3], tf.float64), made])[2].stack()


def growing_array(x):
    made = tf.TensorArray(tf.float64, size=0, dynamic_size=True)

    def body(i, v, a):
        return i + 1, tf.sin(v) + x, a.write(i, v)

    return tf.while_loop(lambda i, v, a: i < 5, body, [0, x, made])[2].stack()


GRADIENTS = {
    "power": (power, X),
    "counted by data": (counted_by_data, X),
    "loop in loop": (loop_in_loop, X),
    "branch in loop": (branch_in_loop, X),
    "loop in branch": (loop_in_branch, X),
    "loop in other branch": (loop_in_branch, -X),
    "scan in loop": (scan_in_loop, X, ROWS),
    "branch in map": (branch_in_map, ROWS),
    "two results": (two_results, X, M),
    "no iterations": (lambda x: power(x, 0) + x, X),
    "limited": (lambda x: tf.while_loop(lambda s: True, lambda s: [tf.sin(s) * x], [x], maximum_iterations=3)[0], X),
    "recurrent": (rnn, ROWS, M),
    "scan of the rows themselves": (lambda r: tf.scan(lambda a, b: a * b + tf.sin(a), r), ROWS),
    "scan backwards": (lambda r: tf.scan(lambda a, b: a * b + 1.0, r, reverse=True), ROWS),
    "scan of a pair": (lambda r: tf.scan(lambda a, b: (a[0] * b, a[1] + tf.reduce_sum(a[0])), r, initializer=(tf.ones([3], tf.float64), tf.zeros([], tf.float64))), ROWS),
    "foldl": (lambda r: tf.foldl(lambda a, b: a * 0.5 + b * b * a, r), ROWS),
    "foldr": (lambda r: tf.foldr(lambda a, b: tf.sin(a) + b, r, initializer=tf.ones([3], tf.float64)), ROWS),
    "map": (lambda r, m: tf.map_fn(lambda x: tf.linalg.matvec(m, tf.tanh(x)), r), ROWS, M),
    "map of a pair": (lambda r, s: tf.map_fn(lambda p: p[0] * tf.sin(p[1]), (r, s), fn_output_signature=tf.float64), ROWS, ROWS + 1),
    "vectorized map": (lambda r: tf.vectorized_map(lambda x: tf.reduce_sum(tf.exp(x)) * x, r), ROWS),
    "array": (array_loop, ROWS, M),
    "growing array": (growing_array, X),
    "switch": (lambda x: tf.switch_case(tf.cast(tf.reduce_sum(x) * 2.0, tf.int32), [lambda: x, lambda: x * x, lambda: tf.sin(x)]), X),
    "case": (lambda x: tf.case([(x[0] > 1.0, lambda: -x), (x[2] > 1.0, lambda: x**3)], default=lambda: tf.sqrt(x)), X),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_to_second_order(name):
    f, *arrays = GRADIENTS[name]
    check(f, *arrays)


# ------------------------------------------------------------------------------------------------ variables
class State:
    """Variables that traced and eager runs begin with alike."""

    def __init__(self, **values):
        self.start = values
        self.__dict__.update({k: tf.Variable(v, dtype=tf.float64) for k, v in values.items()})

    def run(self, f, *args):
        for k, v in self.start.items():
            getattr(self, k).assign(tf.constant(v, tf.float64))
        out = [np.asarray(x) for x in tf.nest.flatten(f(*args))]
        return [*out, *(getattr(self, k).numpy() for k in self.start)]

    def same(self, f, *args):
        """The results of `f` and what the variables hold after it, eagerly; a trace must give the same."""
        want = self.run(f, *args)
        got = self.run(tf.function(f), *args)
        for w, g in zip(want, got, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-9)
        return want


def test_a_variable_read_in_a_loop_gets_the_gradient_of_every_read():
    s = State(v=2.0)

    def f(n):
        with tf.GradientTape() as tape:
            y = tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a * s.v + 1.0), [0, tf.constant(1.0, tf.float64)])[1]
        return y, tape.gradient(y, s.v)

    y, g, _ = s.same(f, tf.constant(4))
    assert (y, g) == (31.0, 8 * 4 + 3 * 4 + 2 * 2 + 1)


def test_assignments_in_a_loop_are_seen_by_later_reads_and_stay():
    s = State(v=1.0, w=3.0)

    def f(n):
        def body(i, a):
            s.v.assign_add(a)
            s.w.assign(s.v * 2.0)
            return i + 1, s.w - s.v

        before = s.v + 0.0
        a = tf.while_loop(lambda i, a: i < n, body, [0, tf.constant(1.0, tf.float64)])[1]
        return before, a, s.v + s.w

    assert s.same(f, tf.constant(3)) == [1.0, 8.0, 24.0, 8.0, 16.0]
    assert s.same(f, tf.constant(0)) == [1.0, 1.0, 4.0, 1.0, 3.0]


def test_gradients_end_at_assignments_and_count_the_reads_after_them():
    s = State(v=2.0)

    def f(x):
        with tf.GradientTape() as tape:
            tape.watch(x)

            def body(i, a):
                a = a * s.v
                s.v.assign(s.v + x)
                return i + 1, a * s.v

            y = tf.while_loop(lambda i, a: i < 3, body, [0, x])[1]
        return [y, *tape.gradient(y, [x, s.v])]

    s.same(f, tf.constant(1.5, tf.float64))


def test_assignments_in_one_branch():
    s = State(v=1.0, w=2.0)

    def f(p, x):
        with tf.GradientTape() as tape:
            tape.watch(x)

            def then():
                s.v.assign(x * 10.0)
                return s.v * x

            y = tf.cond(p, then, lambda: s.w * x * x)
            z = y * s.v
        return [z, *(tape.gradient(z, [x, s.v, s.w], unconnected_gradients="zero"))]

    x = tf.constant(3.0, tf.float64)
    assert s.same(f, tf.constant(True), x)[:2] == [2700.0, 900.0]
    assert s.same(f, tf.constant(False), x)[:2] == [18.0, 12.0]


def test_branches_for_their_effects_alone():
    s = State(v=1.0)

    def f(x):
        tf.cond(x > 0.0, lambda: (s.v.assign_add(x), None)[1], lambda: None)
        return s.v + 0.0

    assert s.same(f, tf.constant(2.0, tf.float64)) == [3.0, 3.0]
    assert s.same(f, tf.constant(-2.0, tf.float64)) == [1.0, 1.0]


def test_a_condition_that_assigns():
    s = State(v=0.0)

    def f(x):
        def test(a):
            s.v.assign_add(1.0)
            return a < 10.0

        return tf.while_loop(test, lambda a: [a * 2.0], [x])[0]

    assert s.same(f, tf.constant(1.0, tf.float64)) == [16.0, 5.0]


def test_training_in_a_loop():
    s = State(w=[0.5, -0.3], b=0.1)
    xs = tf.constant([[1.0, 2.0], [0.5, -1.0], [-1.5, 0.3]], tf.float64)
    ys = tf.constant([1.0, -1.0, 0.5], tf.float64)

    def f(steps):
        def body(i, last):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((tf.linalg.matvec(xs, s.w) + s.b - ys) ** 2)
            for v, g in zip((s.w, s.b), tape.gradient(loss, (s.w, s.b)), strict=True):
                v.assign_sub(0.1 * g)
            return i + 1, loss

        return tf.while_loop(lambda i, _: i < steps, body, [0, tf.constant(0.0, tf.float64)])[1]

    first = s.same(f, tf.constant(1))[0]
    assert s.same(f, tf.constant(30))[0] < first


def test_variables_in_scan_and_map():
    s = State(v=1.0)

    def f(rows):
        def step(a, r):
            s.v.assign(s.v * 1.5)
            return a * s.v + r

        return tf.scan(step, rows, initializer=tf.zeros([3], tf.float64)), tf.map_fn(lambda r: r * s.v, rows), s.v + 0.0

    s.same(f, tf.constant(ROWS))


def test_a_traced_function_in_a_body():
    s = State(v=2.0)

    @tf.function
    def inner(a):
        s.v.assign_add(1.0)
        return tf.sin(a) * s.v

    def f(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, inner(a)), [0, x])[1]
        return y, tape.gradient(y, x)

    s.same(f, tf.constant(0.7, tf.float64))


def test_an_eager_tape_around_a_trace_ends_at_assignments_too():
    v = tf.Variable(2.0)
    x = tf.constant(3.0)

    def f(x):
        y = v * v
        v.assign(x * 5.0)
        return y * v * x

    found = []
    for g in (f, tf.function(f)):
        v.assign(2.0)
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = g(x)
        found.append([float(t) for t in tape.gradient(z, [x, v])])
    assert found[0] == found[1]


def test_a_tape_from_outside_asked_in_a_body():
    s = State(v=3.0)

    def f(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = s.v * s.v * x

            def body(i, a):
                z = y * s.v
                dv, dx = tape.gradient(z, [s.v, x])
                return i + 1, a + dv + dx

            return tf.while_loop(lambda i, a: i < 2, body, [0, tf.zeros([], tf.float64)])[1]

    s.same(f, tf.constant(2.0, tf.float64))

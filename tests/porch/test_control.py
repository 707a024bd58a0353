"""Branches and loops on tensors: values and gradients eagerly, traced and compiled; variables in them; errors."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from orders import check

import tapejit as tf
from tapejit.ir.parser import parse
from tapejit.ir.printer import text

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


def indexed(rows, m):
    def body(i, h, seen):
        r = rows[i]
        return i + 1, tf.tanh(tf.linalg.matvec(m, h) + r * rows[3 - i, 0]), seen + tf.gather(rows, [0, i], axis=0) * r

    _, h, seen = tf.while_loop(lambda i, h, s: i < 4, body, [0, tf.ones([3], tf.float64), tf.zeros([2, 3], tf.float64)])
    return h, seen


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
    "scan of a pair": (
        lambda r: tf.scan(
            lambda a, b: (a[0] * b, a[1] + tf.reduce_sum(a[0])), r, initializer=(tf.ones([3], tf.float64), tf.zeros([], tf.float64))
        ),
        ROWS,
    ),
    "foldl": (lambda r: tf.foldl(lambda a, b: a * 0.5 + b * b * a, r), ROWS),
    "foldr": (lambda r: tf.foldr(lambda a, b: tf.sin(a) + b, r, initializer=tf.ones([3], tf.float64)), ROWS),
    "map": (lambda r, m: tf.map_fn(lambda x: tf.linalg.matvec(m, tf.tanh(x)), r), ROWS, M),
    "map of a pair": (lambda r, s: tf.map_fn(lambda p: p[0] * tf.sin(p[1]), (r, s), fn_output_signature=tf.float64), ROWS, ROWS + 1),
    "vectorized map": (lambda r: tf.vectorized_map(lambda x: tf.reduce_sum(tf.exp(x)) * x, r), ROWS),
    "array": (array_loop, ROWS, M),
    "indexed": (indexed, ROWS, M),
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


# --------------------------------------------------------------------------------------------------- values
def test_structures_and_numbers():
    x = tf.constant([1.0, 2.0])
    for p in (True, False):
        a, (b, c) = same(lambda p, x: tf.cond(p, lambda: (1, [x, x[0]]), lambda: (2, [-x, 0.0])), tf.constant(p), x)
        assert int(a) == (1 if p else 2)
        assert tuple(b.shape) == (2,)
        assert float(c) == float(p)


def test_loop_variables_keep_their_structure():
    Pair = namedtuple("Pair", "i x")
    out = tf.function(lambda x: tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2.0), Pair(0, x)))(tf.constant(1.5))
    assert type(out) is Pair
    assert (int(out.i), float(out.x)) == (3, 12.0)
    out = tf.function(
        lambda x: tf.while_loop(lambda s: s["i"] < 3, lambda s: {"i": s["i"] + 1, "x": [s["x"][0] * 2.0]}, [{"i": 0, "x": [x]}])
    )(tf.constant(1.5))
    assert (int(out[0]["i"]), float(out[0]["x"][0])) == (3, 12.0)


def test_a_known_condition_runs_one_branch():
    ran = []

    def note(k):
        return lambda: ran.append(k) or tf.constant(k)

    assert int(tf.function(lambda: tf.cond(True, note(1), note(2)))()) == 1
    assert int(tf.cond(tf.constant(False), note(1), note(2))) == 2
    assert ran == [1, 2]


def test_eager_loops_run_the_python_functions_each_time():
    calls = []
    out = tf.while_loop(lambda i: i < 4, lambda i: [calls.append(i) or i + 1], [0])
    assert calls == [0, 1, 2, 3]
    assert int(out[0]) == 4
    calls.clear()
    tf.scan(lambda a, r: calls.append(1) or a + r, tf.range(5))
    assert len(calls) == 4


@pytest.mark.parametrize("index", [-1, 0, 1, 2, 9])
def test_switch_case_falls_back(index):
    fns = {0: lambda: tf.constant(10), 2: lambda: tf.constant(12)}
    assert int(same(lambda i: tf.switch_case(i, fns), tf.constant(index))) == (10 if index == 0 else 12)
    assert int(same(lambda i: tf.switch_case(i, fns, default=lambda: tf.constant(-1)), tf.constant(index))) == {0: 10, 2: 12}.get(index, -1)


def test_limits_and_conditions_that_are_numbers():
    assert (
        int(
            same(
                lambda x, n: tf.while_loop(lambda i: True, lambda i: [i + 1], [x], maximum_iterations=n)[0], tf.constant(5), tf.constant(3)
            )
        )
        == 8
    )
    assert int(same(lambda x: tf.while_loop(lambda i: i, lambda i: [i - 1], [x])[0], tf.constant(5))) == 0
    assert int(same(lambda x: tf.cond(x, lambda: tf.constant(1), lambda: tf.constant(2)), tf.constant([3]))) == 1


def test_captures_that_are_one_memory_under_two_shapes():
    def f(x, w, p):
        x = x * 2.0
        y = tf.reshape(x, [6])
        once = tf.cond(p, lambda: tf.reduce_sum(y * w) + tf.reduce_sum(tf.sin(x) * x), lambda: tf.reduce_sum(y))
        return once, tf.scan(lambda a, r: a + r * tf.reduce_sum(y[:3] * x[0]), tf.reshape(x, [3, 2]))

    same(f, tf.constant(np.arange(6.0).reshape(2, 3)), tf.constant(np.arange(6.0)), tf.constant(True))


def test_sizes_known_only_within_a_loop():
    same(lambda n: tf.while_loop(lambda i, s: i < n, lambda i, s: (i + 1, s + tf.reduce_sum(tf.range(i) * i)), [0, 0])[1], tf.constant(6))

    def masked(x):
        def body(i, s):
            return i + 1, s + tf.reduce_sum(tf.boolean_mask(x, x > tf.cast(i, tf.float32)) ** 2)

        return tf.while_loop(lambda i, s: i < 3, body, [0, 0.0])[1]

    same(masked, tf.constant([0.5, 3.5, 1.5, 2.5]))


def test_open_sizes():
    def f(x):
        n = tf.shape(x)[0]
        made = tf.TensorArray(tf.float32, size=n)
        made = tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a.write(i, x[i] * 2.0)), [0, made])[1]
        return (
            made.stack(),
            tf.scan(lambda a, r: a * 0.5 + r, x),
            tf.scan(lambda a, r: a * 0.5 + r, x, reverse=True, initializer=tf.ones([2])),
            tf.map_fn(lambda r: tf.reduce_sum(r), x),
            tf.foldr(lambda a, r: a * 0.5 + r, x),
        )

    g = tf.function(f, input_signature=[tf.TensorSpec([None, 2])])
    for n in (4, 1, 7):
        x = tf.constant(np.arange(2.0 * n).reshape(n, 2), tf.float32)
        for a, b in zip(f(x), g(x), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    assert g.experimental_get_tracing_count() == 1


def test_nothing_to_map():
    assert tf.function(lambda x: tf.map_fn(lambda r: r[0] * 2.0, x))(tf.zeros([0, 3])).shape == (0,)
    assert same(lambda x: tf.scan(lambda a, r: a + r, x, initializer=tf.zeros([3])), tf.zeros([0, 3])).shape == (0, 3)
    assert same(lambda x: tf.foldl(lambda a, r: a + r, x, initializer=tf.ones([3])), tf.zeros([0, 3])).numpy().tolist() == [1.0] * 3


def test_prints_in_a_loop(capsys):
    def body(i, a):
        tf.print("step", i)
        return i + 1, a * 2.0

    tf.function(lambda x: tf.while_loop(lambda i, a: i < 2, body, [0, x]))(tf.constant(1.0))
    assert capsys.readouterr().err == "step 0\nstep 1\n"


UPDATES = {
    "swapped": lambda a, b: (b, a),
    "swapped and scaled": lambda a, b: (b * 2.0, a * 0.5),
    "shifted": lambda a, b: (b, a + b),
    "both of both": lambda a, b: (a * b, a + b),
    "turned round": lambda a, b: (a[::-1], b[::-1] + a),
    "rolled": lambda a, b: (tf.roll(a, 1, 0) + b, tf.roll(b, 1, 1)),
    "transposed": lambda a, b: (tf.transpose(a), tf.transpose(b) + a),
    "normed": lambda a, b: (a / tf.reduce_sum(a * a), b - tf.reduce_mean(b, 0)),
    "multiplied": lambda a, b: (tf.matmul(a, b) * 0.1, a),
    "multiplied by itself": lambda a, b: (tf.matmul(a, a) * 0.1, b),
    "summed up": lambda a, b: (tf.cumsum(a) * 0.3, tf.cumsum(b, reverse=True) * 0.3),
    "rows of each other": lambda a, b: (tf.concat([b[1:], a[:1]], 0), tf.concat([a[2:], b[:2]], 0)),
    "scattered": lambda a, b: (tf.tensor_scatter_nd_update(a, [[1]], b[:1]), tf.tensor_scatter_nd_add(b, [[0], [2]], a[:2])),
    "scattered rows of its own": lambda a, b: (tf.tensor_scatter_nd_update(a, [[1]], a[2:] + b[:1]), b * a),
    "gathered": lambda a, b: (tf.gather(a, [2, 0, 1]) + b, tf.gather(b, [1, 1, 0])),
    "unchanged": lambda a, b: (a, a - b),
}


@pytest.mark.parametrize("name", UPDATES)
def test_what_is_carried_is_not_overwritten_too_early(name):
    random = np.random.default_rng(3)
    a, b = (tf.constant(random.normal(size=(3, 3))) for _ in range(2))
    step = UPDATES[name]
    same(lambda a, b: tf.while_loop(lambda i, a, b: i < 5, lambda i, a, b: (i + 1, *step(a, b)), (0, a, b)), a, b)

    def scanned(a, b):
        return tf.scan(lambda s, r: step(s[0] + r, s[1]), a, initializer=(a, b)), tf.foldl(
            lambda s, r: step(s[0], s[1] * r), b, initializer=(b, a)
        )

    same(scanned, a, b)


# ---------------------------------------------------------------------------------------------- TensorArrays
def fibonacci(n):
    made = tf.TensorArray(tf.int32, size=0, dynamic_size=True, clear_after_read=False).write(0, 1).write(1, 1)
    return tf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a.write(i, a.read(i - 1) + a.read(i - 2))), [2, made])[1].stack()


def written_in_a_branch(x):
    def body(i, k, a):
        k, a = tf.cond(i % 2 == 0, lambda: (k + 1, a.write(k, x * tf.cast(i, tf.float32))), lambda: (k, a))
        return i + 1, k, a

    return tf.while_loop(lambda i, k, a: i < 7, body, [0, 0, tf.TensorArray(tf.float32, size=0, dynamic_size=True)])[2].stack()


def written_in_an_inner_loop(x):
    def outer(i, a):
        def inner(j, a):
            return j + 1, a.write(a.size(), x * tf.cast(j + 10 * i, tf.float32))

        return i + 1, tf.while_loop(lambda j, a: j < i, inner, [0, a])[1]

    return tf.while_loop(lambda i, a: i < 4, outer, [0, tf.TensorArray(tf.float32, size=0, dynamic_size=True)])[1].stack()


def grown_outside(x, i):
    a = tf.TensorArray(tf.float32, size=1, dynamic_size=True, clear_after_read=False)
    a = a.write(0, x).write(i, x * 2.0).write(1, -x)
    return a.stack(), a.size(), a.gather([0, 1]), a.read(i), a.concat()


def scattered_and_split(x):
    a = tf.TensorArray(tf.float32, size=4, element_shape=[2], clear_after_read=False).scatter([2, 0], tf.stack([x, x * 2.0]))
    b = tf.TensorArray(tf.float32, size=2, infer_shape=False, clear_after_read=False).split(tf.concat([x, x], 0), [1, 3])
    return a.stack(), b.read(1), b.concat()


ARRAYS = {
    "fibonacci": (fibonacci, tf.constant(10)),
    "branch": (written_in_a_branch, tf.constant([1.0, 2.0])),
    "inner loop": (written_in_an_inner_loop, tf.constant([1.0, 2.0])),
    "outside": (grown_outside, tf.constant([1.0, 2.0]), tf.constant(3)),
    "scatter and split": (scattered_and_split, tf.constant([1.0, 2.0])),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name):
    f, *args = ARRAYS[name]
    same(f, *args)


def test_array_errors():
    a = tf.TensorArray(tf.float32, size=2)
    with pytest.raises(tf.errors.OutOfRangeError, match="Tried to write to index 2 but array is not resizeable and size is: 2"):
        a.write(2, 1.0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="TensorArray dtype is float32 but Op is trying to write dtype int32"):
        a.write(0, tf.constant(1))
    a = a.write(0, 1.0)
    assert float(a.read(0)) == 1.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="Could not read index 0 twice"):
        a.read(0)
    with pytest.raises(ValueError, match="shape of the elements"):
        tf.TensorArray(tf.float32, size=2).stack()

    def beyond(x):
        a = tf.TensorArray(tf.float32, size=2)
        return tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a.write(i, x)), [0, a])[1].stack()

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"2 is not in \[0, 2\)"):
        tf.function(beyond)(tf.constant(1.0))


# --------------------------------------------------------------------------------------------------- errors
V = tf.constant([1.0, 2.0])
ERRORS = {
    "dtypes of branches": (
        lambda x: tf.cond(x[0] > 0, lambda: x, lambda: tf.cast(x, tf.int32)),
        TypeError,
        "dtype float32 in true_fn, but dtype int32 in false_fn",
    ),
    "ranks of branches": (
        lambda x: tf.cond(x[0] > 0, lambda: x, lambda: tf.zeros([3, 1])),
        ValueError,
        r"shape \(2,\) in true_fn, but shape \(3, 1\) in false_fn",
    ),
    "None in a branch": (lambda x: tf.cond(x[0] > 0, lambda: x, lambda: None), ValueError, "None at the end of false_fn"),
    "structures of branches": (lambda x: tf.cond(x[0] > 0, lambda: (x, x), lambda: x), TypeError, "same nested structure"),
    "no function": (lambda x: tf.cond(x[0] > 0, x, lambda: x), TypeError, "true_fn must be callable"),
    "a condition of several": (
        lambda x: tf.cond(x > 0, lambda: x, lambda: x),
        ValueError,
        r"a condition must be a scalar, got shape \(2,\)",
    ),
    "shape in a loop": (
        lambda x: tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, tf.concat([a, a], 0)), [0, x]),
        ValueError,
        r"'a' has shape \(2,\) before the loop, but shape \(4,\) after one iteration",
    ),
    "dtype in a loop": (
        lambda x: tf.while_loop(lambda i, a: i < 3, lambda i, a: (tf.cast(i, tf.float32), a), [0, x]),
        TypeError,
        "'i' has dtype int32 before the loop, but dtype float32 after one iteration",
    ),
    "count in a loop": (lambda x: tf.while_loop(lambda i, a: i < 3, lambda i, a: i, [0, x]), ValueError, "expected 2, got 1"),
    "map dtype": (lambda x: tf.map_fn(lambda r: tf.cast(r, tf.int32), x), ValueError, "fn returns int32, but float32 is expected"),
    "scan structure": (lambda x: tf.scan(lambda a, r: (a, r), x), ValueError, "structure of its first argument"),
    "scan scalar": (lambda x: tf.scan(lambda a, r: a, x[0]), ValueError, "not scalars"),
    "no case": (lambda x: tf.case([(x[0] > 5, lambda: x), (x[0] > 7, lambda: -x)]), ValueError, "None of conditions evaluated as True"),
    "two cases": (
        lambda x: tf.case([(x[0] > 0, lambda: x), (x[0] > -7, lambda: -x)], exclusive=True),
        ValueError,
        "More than one condition evaluated as True",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    f, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        tf.function(f)(V)


def test_a_tensor_of_a_body_does_not_leave_it():
    kept = []

    def f(x):
        def body(i, a):
            kept.append(a * 2.0)
            return i + 1, a

        tf.while_loop(lambda i, a: i < 3, body, [0, x])
        return kept[0] + 1.0

    with pytest.raises(TypeError, match="out of scope"):
        tf.function(f)(V)


def test_the_text_of_nested_graphs_reads_back():
    v = tf.Variable(2.0, name="v")

    def f(x):
        with tf.GradientTape() as tape:
            y = tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, tf.cond(a > 0.0, lambda: a * v, lambda: x)), [0, x])[1]
        return tape.gradient(y, v)

    g = tf.function(f)
    want = g(tf.constant(1.5))
    for stage in ("traced", "differentiated", "optimized"):
        shown = str(g.show(stage))
        assert text(parse(shown)) == shown
    assert float(want) == 3 * 4 * 1.5

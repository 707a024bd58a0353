"""The same Python function eagerly and as a differentiated graph: values, None, effects."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.ir import structure
from tapejit.ir.printer import text
from tapejit.passes import pipeline
from tests.passes.programs import agree, constant, traced

W = tf.Variable(np.array([[0.3, -0.2], [0.5, 0.7], [-0.4, 0.1]], "float32"), name="w")
B = tf.Variable(np.array([0.1, -0.3], "float32"), name="b")
S = tf.Variable(1.5, name="s")
N = tf.Variable(2, name="n")
FIXED = tf.Variable(3.0, trainable=False, name="fixed")
SMALL = tf.constant([2.0, 3.0])
LARGE = tf.constant(np.linspace(-1, 1, 30, dtype="float32").reshape(10, 3))
PROGRAMS = {}


def program(*args):
    def add(f):
        PROGRAMS[f.__name__] = (f, args)
        return f

    return add


X = tf.constant(np.array([[1.0, 2.0, -1.0], [0.5, -0.5, 2.0]], "float32"))
V = constant(0.5, -1.0, 2.0)


@program(X)
def dense(x):
    with tf.GradientTape() as tape:
        y = tf.tanh(x @ W + B) * S
        loss = tf.reduce_mean(y * y)
    return tape.gradient(loss, [W, B, S])


@program(V)
def watch_late(c):
    with tf.GradientTape() as tape:
        y = c * c
        tape.watch(c)
        z = c * y
    return tape.gradient(z, [c, y])


@program(V)
def intermediates(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        z = y * y * x
    return tape.gradient(z, [y, x])


@program(V)
def nested_structure(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, z = x * 2.0, tf.sin(x) * S
    return tape.gradient({"a": y, "b": [z, z]}, {"x": x, "l": (S, [B])})


@program(V)
def unconnected_zero(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * S
    return tape.gradient(y, [x, B, N, FIXED], unconnected_gradients="zero")


@program(V)
def unconnected_none(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.floor(x) * S + tf.cast(tf.cast(x, tf.int32), tf.float32)
    return tape.gradient(y, [x, B, S, N, FIXED])


@program(V)
def output_gradients(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, z = x * x, tf.exp(x)
    return tape.gradient([y, z], x, output_gradients=[x, None])


@program(V)
def persistent(x):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x
        z = y * y
    return tape.gradient(z, x), tape.gradient(y, x), tape.gradient([y, z], [x, y])


@program(V)
def second_order(x):
    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            y = x * x * x * S
        g = t1.gradient(y, x)
    return g, t2.gradient(g, [x, S])


@program(V)
def inner_result_is_constant(x):
    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            y = x * 3.0
        g = t1.gradient(y, x)
    return g, t2.gradient(g, x)


@program(V)
def third_order(x):
    with tf.GradientTape() as t3:
        t3.watch(x)
        with tf.GradientTape() as t2:
            t2.watch(x)
            with tf.GradientTape() as t1:
                t1.watch(x)
                y = tf.sin(x) * tf.exp(x * 0.5)
            g = t1.gradient(y, x)
        h = t2.gradient(g, x)
    return t3.gradient(h, x)


@program(V)
def gradient_outside_outer(x):
    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            y = x * x
    g = t1.gradient(y, x)
    return t2.gradient(g, x)


@program(V)
def persistent_inside_itself(x):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x * x
        g = tape.gradient(y, x)
    return g, tape.gradient(g, x)


@program(V)
def inside_stops_recording(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        g = tape.gradient(y, x)
        z = g * x
    return z


@program(V)
def several_tapes(x):
    with tf.GradientTape() as a, tf.GradientTape() as b:
        a.watch(x)
        b.watch(x)
        y = x * S
        z = y * y
    return a.gradient(y, [x, S]), b.gradient(z, [x, S, y])


@program(V)
def stopped(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        with tape.stop_recording():
            c = y * x
        z = y * c
    return tape.gradient(z, x)


@program(V)
def reset(x):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x * S
        tape.reset()
        z = y * x * S
    return tape.gradient(z, [x, S, y])


@program(V)
def reentered(x):
    tape = tf.GradientTape(persistent=True)
    with tape:
        tape.watch(x)
        y = x * x
    u = y * 3.0
    with tape:
        z = y * u
    return tape.gradient(z, [x, u])


@program()
def reads_keep_their_value():
    with tf.GradientTape() as tape:
        y = S * S
        S.assign(10.0)
        z = y * S
    g = tape.gradient(z, S)
    S.assign(1.5)
    return g


@program()
def through_assign():
    with tf.GradientTape() as tape:
        S.assign(B[0] * 4.0)
        y = S * 2.0
    return tape.gradient(y, [B, S])


@program()
def variable_target():
    with tf.GradientTape() as tape:
        y = S * 2.0
    return tape.gradient([y, S], [S, B])


@program()
def not_watched_variable():
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(B)
        y = tf.reduce_sum(B * S * FIXED)
    return tape.gradient(y, [B, S, FIXED])


@program()
def watched_fixed_variable():
    with tf.GradientTape() as tape:
        tape.watch(FIXED)
        y = FIXED * FIXED * S
    return tape.gradient(y, [FIXED, S])


@program()
def captured_tensors():
    with tf.GradientTape() as tape:
        tape.watch([SMALL, LARGE])
        y = tf.reduce_sum(SMALL * SMALL) * tf.reduce_sum(LARGE * LARGE)
    return tape.gradient(y, [SMALL, LARGE])


@program(V)
def duplicates(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    return tape.gradient([y, y], [x, x])


@program(V)
def source_is_target(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x + 0.0
    return tape.gradient([x], [x, y])


@program(X)
def gradient_penalty(x):
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(tf.tanh(x @ W + B))
        g = inner.gradient(y, x)
        penalty = tf.reduce_sum(g * g)
    return outer.gradient(penalty, [W, B])


@program(X)
def train_step(x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((x @ W + B) ** 2)
    dw, db = tape.gradient(loss, [W, B])
    W.assign_sub(0.1 * dw)
    B.assign(B - 0.1 * db)
    return loss


@program(V)
def empty_sources(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    return tape.gradient(y, [])


@program(V)
def jacobian(x):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x[:2] * x[1:] * S
    return tape.jacobian(y, [x, S, B])


@program(X)
def batch_jacobian(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.tanh(x @ W)
    return tape.batch_jacobian(y, x)


@program(X)
def hessian(x):
    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            y = tf.reduce_sum(tf.sin(x) * x)
        g = t1.gradient(y, x)
    return t2.jacobian(g, x)


@program(LARGE)
def jacobian_in_a_loop(x):
    with tf.GradientTape() as tape:
        y = tf.tanh(x @ W) * S
    return tape.jacobian(y, {"w": W, "s": S, "none": N})


@program(LARGE)
def penalty_on_a_jacobian(x):
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.tanh(x @ W) * S
        j = inner.jacobian(y, x)
        penalty = tf.reduce_sum(j * j)
    return penalty, outer.gradient(penalty, [W, S, B])


@program(V)
def gradient_within_a_branch(x):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x * S
        picked = tf.cond(tf.reduce_sum(x) > 0.0, lambda: tape.gradient(y, [x, S]), lambda: [x, S * 2.0])
    return picked, tape.gradient(picked[0], [x, S])


@program(V)
def gradient_within_a_loop(x):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = tf.sin(x)
    _, at = tf.while_loop(lambda i, at: i < 4, lambda i, at: (i + 1, at - 0.1 * tape.gradient(y, x)), (0, x))
    return at


@program(V)
def tape_within_a_loop(x):
    def body(i, at):
        with tf.GradientTape() as tape:
            tape.watch(at)
            y = tf.reduce_sum(at * at * S)
        d, ds = tape.gradient(y, [at, S])
        return i + 1, at - 0.1 * d * ds

    return tf.while_loop(lambda i, at: i < 4, body, (0, x))[1]


@program(V)
def through_a_loop_with_a_tape_in_it(x):
    def body(i, at):
        with tf.GradientTape() as tape:
            tape.watch(at)
            y = tf.reduce_sum(at * at * S)
        return i + 1, at - 0.1 * tape.gradient(y, at)

    with tf.GradientTape() as outer:
        outer.watch(x)
        z = tf.while_loop(lambda i, at: i < 3, body, (0, x))[1]
    return outer.gradient(z, [x, S, B])


@program(V)
def second_order_through_loops(x):
    def body(i, at):
        return i + 1, tf.sin(at) * S + x

    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            z = tf.while_loop(lambda i, at: i < 3, body, (0, x * x))[1]
        g = t1.gradient(z, x)
    return z, g, t2.gradient(g, [x, S])


@program(X)
def second_order_through_a_scan(x):
    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            z = tf.scan(lambda a, row: tf.tanh(a * row) * S + row, x, initializer=tf.ones(3))
        g = t1.gradient(z, x)
    return g, t2.gradient(g, [x, S])


@program(V)
def second_order_through_a_branch(x):
    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            z = tf.cond(tf.reduce_sum(x) > 0.0, lambda: x * x * x * S, lambda: x)
        g = t1.gradient(z, x)
    return g, t2.gradient(g, [x, S])


@program(V)
def variable_changed_in_a_loop(x):
    def body(i, y):
        S.assign(S * 2.0)
        return i + 1, y + S * x

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.while_loop(lambda i, y: i < 3, body, (0, x * S))[1]
    g = tape.gradient(y, [x, S])
    S.assign(1.5)
    return g


@pytest.mark.parametrize("name", PROGRAMS)
def test_traced_and_differentiated_gives_what_the_eager_tape_gives(name):
    f, args = PROGRAMS[name]
    graph = agree(f, *args, variables=(W, B, S))
    assert not any(n.tapes or n.op in (structure.watch, structure.gradient) for n in graph.walk())


def test_names_and_places_are_the_users():
    concrete = traced(dense, X)
    assert "with tape:" in text(concrete.traced)
    shown = text(pipeline.run(concrete.traced, until="differentiate"))
    for name in ("d_loss_1", "d_y", "d_y_3", "d_y_2"):
        assert f"    {name}: f32" in shown, shown
    forward = next(line for line in shown.splitlines() if "y_1: " in line and "@" in line)
    backward = next(line for line in shown.splitlines() if "x.T @" in line)
    assert forward.split("#")[1] == backward.split("#")[1]


def test_results_keep_the_users_names():
    def step(x):
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(x @ W)
        dw = tape.gradient(y, W)
        return dw

    graph = pipeline.run(traced(step, X).traced, until="differentiate")
    assert [r.name for r in graph.results] == ["dw"]


def test_tapes_get_names_of_their_own():
    def f(x):
        with tf.GradientTape() as gen, tf.GradientTape() as disc:
            gen.watch(x)
            disc.watch(x)
            y = x * x
        return gen.gradient(y, x), disc.gradient(y, x)

    assert "with gen, disc:" in text(traced(f, V).traced)


def test_an_op_without_a_gradient_is_an_error_with_its_name():
    from tapejit.ir.op import OPS, Op

    class Odd(Op):
        name = "odd_op"

        def infer(self, x):
            return x

        def eager(self, x):
            return x

    odd = Odd()
    assert odd.name not in OPS

    def f(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = odd(x)
        return tape.gradient(y, x)

    with pytest.raises(LookupError, match="odd_op"):
        f(V)
    with pytest.raises(LookupError, match="odd_op"):
        pipeline.run(traced(f, V).traced)

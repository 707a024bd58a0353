"""Programs with variables and tapes, called twice eagerly and twice traced: the same results, None where None, and the same state left.

Each takes a list of fresh variables and a batch; the batch size is known in one variant and open in the other.
"""

from __future__ import annotations

import numpy as np
import optree
import pytest

import tapejit as tf

PROGRAMS = {}
_random = np.random.default_rng(4)
X = _random.normal(size=(5, 3)).astype("float32")
W = _random.normal(size=(3, 2)).astype("float32")


def program(*initial, x=X):
    def enter(f):
        PROGRAMS[f.__name__] = (f, initial, x)
        return f

    return enter


@program(W, np.zeros(2, "float32"))
def sgd_step(v, x):
    w, b = v
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(tf.tanh(x @ w + b) - 0.5))
    dw, db = tape.gradient(loss, [w, b])
    w.assign_sub(0.1 * dw)
    b.assign_sub(0.1 * db)
    return loss


@program(W, np.zeros((3, 2), "float32"), np.zeros((3, 2), "float32"), np.int64(0))
def adam_step(v, x):
    w, m, s, step = v
    step.assign_add(1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.softmax(x @ w)[:, 0])
    g = tape.gradient(loss, w)
    m.assign(0.9 * m + 0.1 * g)
    s.assign(0.99 * s + 0.01 * g * g)
    t = tf.cast(step, tf.float32)
    w.assign_sub(0.01 * (m / (1 - 0.9**t)) / (tf.sqrt(s / (1 - 0.99**t)) + 1e-7))
    return {"loss": loss, "norm": tf.norm(g)}


@program(W, np.float32(2.0))
def single_list_tuple_dict(v, x):
    w, s = v
    with tf.GradientTape(persistent=True) as t:
        z = tf.reduce_sum((x @ w) ** 2) * s
        q = tf.reduce_sum(tf.exp(-w))
    return (
        t.gradient(z, w),
        t.gradient(z, [w, s]),
        t.gradient(z, (w, s)),
        t.gradient(z, {"a": [w], "b": s}),
        t.gradient(q, s),
        t.gradient(q, s, unconnected_gradients="zero"),
    )


@program(W)
def unconnected(v, x):
    (w,) = v
    with tf.GradientTape() as t:
        y = tf.floor(w) + tf.cast(tf.cast(w, tf.int32), tf.float32) + tf.reduce_sum(x)
    return t.gradient(y, w)


@program(W, np.float32(3.0))
def stop_reset(v, x):
    w, s = v
    with tf.GradientTape() as t:
        a = s * s
        with t.stop_recording():
            b = s * tf.reduce_sum(w)
        c = a + b
    with tf.GradientTape() as u:
        d = s * s * tf.reduce_sum(w)
        u.reset()
        e = d * s
    return t.gradient(c, [s, w]), u.gradient(e, [s, w])


@program(W, np.float32(3.0))
def manual_watch(v, x):
    w, s = v
    with tf.GradientTape(watch_accessed_variables=False) as t:
        t.watch(w)
        z = tf.reduce_sum(w * w) * s
    return t.gradient(z, [w, s])


@program(np.float32(3.0))
def assign_between_reads(v, x):
    (a,) = v
    with tf.GradientTape() as t:
        m = a * a
        a.assign(10.0)
        total = m + a * 4.0
    return total, t.gradient(total, a)


@program(np.float32(3.0), np.float32(1.0))
def through_assign(v, x):
    a, k = v
    with tf.GradientTape() as t:
        k.assign(a * a)
        y = k * 2.0
    return t.gradient(y, [a, k])


@program(np.float32(0.7))
def third_order(v, x):
    (a,) = v
    with tf.GradientTape() as t3:
        with tf.GradientTape() as t2:
            with tf.GradientTape() as t1:
                y = tf.sin(a) * tf.exp(a) + a**5
            d1 = t1.gradient(y, a)
        d2 = t2.gradient(d1, a)
    return y, d1, d2, t3.gradient(d2, a)


@program(W, _random.normal(size=(2, 1)).astype("float32"))
def gradient_penalty(v, x):
    w, u = v
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(x)
            p = tf.tanh(x @ w) @ u
        penalty = tf.reduce_mean((tf.norm(inner.gradient(p, x), axis=1) - 1.0) ** 2)
    gw, gu = outer.gradient(penalty, [w, u])
    w.assign_sub(gw)
    u.assign_sub(gu)
    return penalty


@program(W, np.float32(1.5))
def output_gradients(v, x):
    w, s = v
    with tf.GradientTape(persistent=True) as t:
        h = tf.tanh(x @ w)
        y = h * s
    return (
        t.gradient(y, [w, s], output_gradients=h),
        t.gradient([y, h], w, output_gradients=[h, 2.0 * y]),
        t.gradient({"a": y, "b": [h, s]}, s),
    )


@program(W)
def intermediate_sources(v, x):
    (w,) = v
    with tf.GradientTape() as t:
        p = x @ w
        q = tf.sin(p) * p
    return t.gradient(q, [p, w])


@program(np.float32(2.0))
def variable_as_target(v, x):
    (a,) = v
    with tf.GradientTape(persistent=True) as t:
        y = a * 3.0
    return t.gradient(a, a), t.gradient([y, a], a)


@program(W, np.float32(2.0))
def nested_recording(v, x):
    w, s = v
    with tf.GradientTape() as outer:
        p = tf.reduce_sum(w * w)
        with tf.GradientTape() as inner:
            q = p * s
        gi = inner.gradient(q, [w, s, p])
        r = q + gi[1]
    return gi, outer.gradient(r, [w, s])


@program(W)
def reentered_tape(v, x):
    (w,) = v
    with tf.GradientTape(persistent=True) as t:
        u = x @ w
    with t:
        z = u * u
    return t.gradient(z, w)


@program(_random.normal(size=(6, 2)).astype("float32"))
def embedding(v, x):
    (table,) = v
    ids = tf.cast(tf.abs(x[:, 0]) * 2.0, tf.int32) % 6
    with tf.GradientTape() as t:
        e = tf.nn.embedding_lookup(table, ids)
        loss = tf.reduce_sum(e * e * e) + tf.reduce_sum(table[1:4]) + table[0, 0] ** 2
    g = tf.convert_to_tensor(t.gradient(loss, table))
    table.assign_sub(0.1 * g)
    return loss


@program(_random.normal(size=(6, 2)).astype("float32"))
def sparse_update(v, x):
    (table,) = v
    with tf.GradientTape() as t:
        loss = tf.reduce_sum(tf.gather(table, [1, 3, 1]) ** 2)
    g = t.gradient(loss, table)
    table.scatter_sub(
        tf.IndexedSlices(0.1 * g.values, g.indices) if isinstance(g, tf.IndexedSlices) else tf.IndexedSlices(0.1 * g, tf.range(6))
    )
    return loss


@program(np.ones((3, 2), "float32"))
def parts(v, x):
    (w,) = v
    w[0].assign([9.0, 8.0])
    w[:, 1].assign_add(x[:3, 0])
    w.scatter_nd_update([[0], [2]], [[1.0, 1.0], [2.0, 2.0]])
    w.scatter_nd_add([[1]], [[0.5, 0.5]])
    return w[1], w.read_value(), tf.reduce_sum(w)


@program(W)
def operators(v, x):
    (w,) = v
    return [
        w + 1,
        2 * w,
        -w,
        w / 2,
        w**2,
        w[0, 1],
        w[1],
        tf.transpose(w),
        w > 0.5,
        1 - w,
        1 / w,
        abs(w),
        w @ tf.transpose(w),
        tf.identity(w),
        w.value(),
        w // 0.3,
        w % 0.3,
    ]


@program(W, np.int64(0))
def assign_results(v, x):
    w, i = v
    a = w.assign_add(tf.ones_like(w))
    b = i.assign_add(2)
    c = w.assign(w * 2.0)
    return tf.identity(a), b + 1, c * 1.0, w.assign_sub(x[:3, :2]) + 0.0


@program(np.float32(1.0))
def reads_keep_their_value(v, x):
    (a,) = v
    before = a.read_value()
    a.assign_add(tf.reduce_mean(x))
    between = tf.identity(a)
    a.assign(a * 3.0)
    return before, between, a.read_value()


@program(np.float32(1.0), np.float32(5.0))
def swap(v, x):
    a, b = v
    old = a.read_value()
    a.assign(b)
    b.assign(old)
    return a + 0.0, b + 0.0


@program(W, np.float32(0.0), np.float32(0.0))
def running_statistics(v, x):
    w, mean, var = v
    y = x @ w
    m, s = tf.nn.moments(y, axes=[0, 1])
    mean.assign(0.9 * mean + 0.1 * m)
    var.assign(0.9 * var + 0.1 * s)
    return (y - m) / tf.sqrt(s + 1e-3)


@program(W)
def clipped(v, x):
    (w,) = v
    with tf.GradientTape() as t:
        loss = 100.0 * tf.reduce_sum((x @ w) ** 2)
    (g,), norm = tf.clip_by_global_norm([t.gradient(loss, w)], 1.0)
    w.assign_sub(tf.clip_by_value(g, -0.2, 0.2))
    return norm


@program(W)
def branch_on_loss(v, x):
    (w,) = v
    with tf.GradientTape() as t:
        loss = tf.reduce_sum((x @ w) ** 2)
        loss = tf.cond(loss > 1.0, lambda: tf.math.log(loss), lambda: loss)
    g = t.gradient(loss, w)
    w.assign_sub(0.05 * g)
    return loss, g


@program(np.float32(0.0))
def cells_in_a_loop(v, x):
    (total,) = v

    def body(i):
        total.assign_add(tf.reduce_sum(x) * tf.cast(i, tf.float32))
        return i + 1

    tf.while_loop(lambda i: i < 3, body, [tf.constant(0)])
    return total + 0.0


@program(np.float32(0.0), np.float32(1.0))
def cells_in_branches(v, x):
    a, b = v
    tf.cond(tf.reduce_sum(x) > 0, lambda: a.assign_add(1.0), lambda: a.assign_sub(b))
    return a + b


@program(W)
def rnn(v, x):
    (w,) = v
    with tf.GradientTape() as t:
        h = tf.zeros([2])
        h = tf.foldl(lambda h, row: tf.tanh(tf.linalg.matvec(tf.transpose(w), row) + 0.5 * h), x, initializer=h)
        loss = tf.reduce_sum(h * h)
    return loss, t.gradient(loss, w)


@program(W)
def jacobian_of_a_layer(v, x):
    (w,) = v
    with tf.GradientTape() as t:
        y = tf.nn.softmax(tf.ensure_shape(x[:2], [2, 3]) @ w)
    return t.jacobian(y, w)


@program(W)
def watched(v, x):
    (w,) = v
    with tf.GradientTape() as t:
        y = tf.reduce_sum(x @ w)
        names = t.watched_variables()
    return tf.constant(len(names)), t.gradient(y, names)


@program(W)
def custom(v, x):
    (w,) = v

    @tf.custom_gradient
    def clip_back(z):
        return tf.identity(z), lambda up: tf.clip_by_value(up, -0.5, 0.5)

    with tf.GradientTape() as t:
        y = tf.reduce_sum(clip_back(x @ w) * 3.0)
    return t.gradient(y, w)


@program(W)
def recomputed(v, x):
    (w,) = v
    block = tf.recompute_grad(lambda z: tf.tanh(z @ w))
    with tf.GradientTape() as t:
        y = tf.reduce_sum(block(x) ** 2)
    return t.gradient(y, w)


@program(np.float16(1.5), np.float64(2.5))
def dtypes(v, x):
    h, d = v
    with tf.GradientTape() as t:
        y = tf.cast(h, tf.float64) * d * d
    gh, gd = t.gradient(y, [h, d])
    h.assign_sub(gh * 0.5)
    return y, gh, gd


@program(np.zeros((0, 2), "float32"))
def empty_variable(v, x):
    (w,) = v
    with tf.GradientTape() as t:
        y = tf.reduce_sum(w) + tf.reduce_sum(x)
    return y, t.gradient(y, w)


# ------------------------------------------------------------------------------------------------ running them
def run(f, initial, x):
    """Two calls of `f` on fresh variables; returns the leaves of what they return, and the variables' values."""
    variables = [tf.Variable(a) for a in initial]
    outs = [f(variables, tf.constant(x)), f(variables, tf.constant(x * 0.5))]
    return [None if y is None else tf.convert_to_tensor(y).numpy() for y in optree.tree_leaves(outs, none_is_leaf=True)], [
        v.numpy() for v in variables
    ]


def same(found, wanted):
    assert [g is None for g in found] == [w is None for w in wanted]
    for g, w in zip(found, wanted, strict=True):
        if w is not None:
            assert (g.dtype, g.shape) == (w.dtype, w.shape)
            np.testing.assert_allclose(g, w, rtol=3e-3 if w.dtype == np.float16 else 3e-5, atol=1e-5)


@pytest.mark.parametrize("open_", [False, True], ids=["known", "open"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_traced_is_eager(name, open_):
    f, initial, x = PROGRAMS[name]
    wanted, state = run(f, initial, x)
    traced = {}

    def step(variables, x):
        if "step" not in traced:
            signature = [tf.TensorSpec([None, *x.shape[1:]] if open_ else x.shape, x.dtype)]
            traced["step"] = tf.function(lambda batch: f(variables, batch), input_signature=signature)
        return traced["step"](x)

    found, after = run(step, initial, x)
    same(found, wanted)
    same(after, state)
    assert traced["step"].experimental_get_tracing_count() == 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_variables_as_arguments(name):
    f, initial, x = PROGRAMS[name]
    wanted, state = run(f, initial, x)
    found, after = run(tf.function(f), initial, x)
    same(found, wanted)
    same(after, state)


def test_the_states_of_random_numbers_are_no_variables_of_a_function():
    v = tf.Variable(1.0)
    generator = tf.random.Generator.from_seed(1)

    @tf.function
    def f():
        return v + tf.random.normal([]) + tf.random.uniform([], seed=3) + generator.normal([])

    concrete = f.get_concrete_function()
    assert [x is v or x is generator.state for x in concrete.variables] == [True, True]
    assert concrete.trainable_variables == (v,)
    assert concrete() != concrete()


def test_variables_set_to_transposed_tensors_are_read_and_updated_by_steps():
    x = tf.transpose(tf.reshape(tf.range(6.0), [2, 3]))
    v = tf.Variable(x)
    double = tf.function(lambda: v.assign_add(v) * 1.0)
    np.testing.assert_array_equal(double(), 2 * x.numpy())
    v.assign(x)
    np.testing.assert_array_equal(double(), 2 * x.numpy())
    v.assign(tf.zeros([3, 2]))
    v.assign_add(x)
    v.assign_sub(tf.zeros([3, 2]))
    np.testing.assert_array_equal(double(), 2 * x.numpy())
    v.assign(np.asfortranarray(x.numpy()))
    np.testing.assert_array_equal(double(), 2 * x.numpy())


def test_complex_rows_are_multiplied_in_place_natively():
    rows = (np.arange(12).reshape(6, 2) - 4 + 1j * np.arange(12).reshape(6, 2)).astype(np.complex128)
    v, w = tf.Variable(rows[:4]), tf.Variable(rows[:4])
    delta = tf.IndexedSlices(tf.constant(rows[3:]), tf.constant([3, 0, 3]))

    @tf.function
    def multiply():
        w.scatter_mul(delta)

    for _ in range(2):
        v.scatter_mul(delta)
        multiply()
    np.testing.assert_allclose(w.numpy(), v.numpy(), rtol=1e-14)
    assert "a * c - b * d" in str(multiply.show("kernels"))

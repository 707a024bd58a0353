"""One compiled program for all sizes: when traces share it, when they do not, and that results are those of a program of their own."""

import gc
import weakref

import numpy as np
import pytest

import tapejit as tf

RNG = np.random.default_rng(0)


def normal(*shape):
    return tf.constant(RNG.normal(size=shape).astype("float32"))


def agree(found, wanted):
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


def programs(f):
    """The number of programs, and which trace uses which."""
    held = [c.program()[0] for c in f.concrete_functions()]
    distinct = list({id(p): p for p in held}.values())
    return len(distinct), [next(k for k, d in enumerate(distinct) if d is p) for p in held]


W = tf.Variable(RNG.normal(size=(5, 3)).astype("float32"))
K = tf.Variable(RNG.normal(size=(3, 3, 2, 4)).astype("float32"))


def step(x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, tf.tanh(x @ W)))
    return loss, tape.gradient(loss, W)


def batch(n):
    return normal(n, 5), tf.constant(RNG.integers(0, 3, n))


BODIES = {
    "train step": (step, batch),
    "sizes as numbers": (lambda x: tf.reduce_sum(x) / x.shape[0] + tf.cast(tf.shape(x)[0], tf.float32) * 2.0, lambda n: (normal(n, 3),)),
    "shapes made of sizes": (
        lambda x: (tf.zeros([x.shape[0], 2]), tf.reshape(x, [-1]), tf.range(x.shape[0]), tf.concat([x, x], 0), tf.eye(x.shape[0])),
        lambda n: (normal(n, 3),),
    ),
    "parts": (lambda x: (x[1:], x[: x.shape[0] // 2], x[::2], tf.pad(x, [[1, 2], [0, 0]])), lambda n: (normal(n + 1, 3),)),
    "convolution": (lambda x: tf.nn.max_pool2d(tf.nn.conv2d(x, K, 1, "SAME"), 2, 2, "VALID"), lambda n: (normal(n, 6, 6, 2),)),
    "images of any size": (lambda x: tf.nn.conv2d(x, K, 2, "SAME"), lambda n: (normal(2, n + 3, n + 3, 2),)),
    "rows": (lambda x: (tf.nn.softmax(x), tf.argmax(x, 1), tf.reduce_max(x, 0), tf.transpose(x) @ x), lambda n: (normal(n, 4),)),
    "loop": (
        lambda x: tf.while_loop(lambda i, s: i < tf.shape(x)[0], lambda i, s: (i + 1, s * 0.5 + x[i]), [tf.constant(0), tf.zeros([3])]),
        lambda n: (normal(n, 3),),
    ),
    "scan": (lambda x: tf.scan(lambda a, b: a * 0.5 + b, x), lambda n: (normal(n, 3),)),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_third_size_is_served_by_the_program_of_the_second(name):
    body, make = BODIES[name]
    f = tf.function(body, on_retrace="ignore")
    for n in (6, 4, 9, 5, 2):
        x = make(n)
        for _ in range(2):
            agree(f(*x), body(*x))
    assert programs(f) == (2, [0, 1, 1, 1, 1])
    assert f.experimental_get_tracing_count() == 5


def test_python_sees_every_size_and_what_it_does_with_it_pins_the_size():
    seen = []

    @tf.function(on_retrace="ignore")
    def f(x):
        n = x.shape[0]
        seen.append(n)
        return tf.reduce_sum(x) * (1.0 if n < 5 else 10.0) + sum(float(i) for i in range(n))

    for n in (2, 3, 4, 6, 7):
        agree(f(tf.ones([n])), n * (1.0 if n < 5 else 10.0) + sum(range(n)))
    assert seen == [2, 3, 4, 6, 7]
    assert programs(f)[0] == 5


def test_several_sizes_open_one_after_the_other():
    f = tf.function(lambda x: tf.reduce_sum(tf.reshape(x * x, [-1])) + tf.reduce_sum(x, 0)[0], on_retrace="ignore")
    for shape in ((4, 3), (6, 3), (5, 3), (4, 7), (4, 2), (9, 8), (3, 5)):
        x = normal(*shape)
        agree(f(x), f.python_function(x))
    assert programs(f) == (4, [0, 1, 1, 2, 2, 3, 3])


def test_sizes_that_were_equal_and_no_longer_are():
    f = tf.function(lambda x, y: tf.reduce_sum(x, 1) + y, on_retrace="ignore")
    for n, m in ((4, 4), (6, 6), (5, 1), (3, 3), (2, 1), (7, 1)):
        x, y = normal(n, 2), normal(m)
        agree(f(x, y), tf.reduce_sum(x, 1) + y)


def test_a_call_of_another_size_is_traced_even_if_a_program_would_take_it():
    f = tf.function(lambda x: x + 1.0, on_retrace="ignore")
    for n in (2, 3, 4):
        f(normal(n))
    before = f.experimental_get_tracing_count()
    f(normal(5))
    assert f.experimental_get_tracing_count() == before + 1
    c = f.get_concrete_function(tf.TensorSpec([3]))
    with pytest.raises(tf.errors.InvalidArgumentError):
        c(normal(4))


def test_gradients_of_calls_share_too():
    f = tf.function(lambda x: tf.reduce_mean(tf.tanh(x @ W) ** 2), on_retrace="ignore")
    used = []
    for n in (6, 4, 9, 5):
        x = normal(n, 5)
        found = []
        for model in (f, f.python_function):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = model(x)
            found.append((y, *tape.gradient(y, [x, W])))
        agree(*found)
        call = f.latest()._call_op
        used.append([id(c.compiled()) for c in (call.forward, *(c for c, _ in call._backward.values()))])
    assert len(used[0]) == 2
    assert used[1] == used[2] == used[3]
    assert set(used[0]).isdisjoint(used[1])


def test_variables_and_tensors_from_outside_stay_those_of_each_trace():
    held = {"v": tf.Variable(1.0), "t": normal(30)}

    @tf.function(on_retrace="ignore")
    def f(x):
        held["v"].assign_add(1.0)
        return tf.reduce_sum(x) * held["v"] + held["t"][0]

    for n in (2, 3, 4):
        held["v"], held["t"] = tf.Variable(float(n)), normal(30)
        agree(f(tf.ones([n])), n * (n + 1) + held["t"][0])
        assert float(held["v"]) == n + 1
    assert programs(f)[0] == 2


def test_a_program_goes_with_the_last_trace_that_uses_it():
    f = tf.function(lambda x: x * 2.0, on_retrace="ignore", max_traces=2)
    for n in (2, 3, 4):
        f(normal(n))
    shared = weakref.ref(f.latest().program()[0])
    exact = [p for p in f._programs.held if p() is not None]
    assert len(exact) == 1, "the trace of the first size is gone, and its program with it"
    f.clear()
    gc.collect()
    assert shared() is None
    agree(f(tf.ones([3])), 2 * np.ones(3))


def test_sizes_far_beyond_those_of_a_program_get_one_whose_loops_are_cut_up_for_them():
    f = tf.function(lambda x: tf.reduce_sum(tf.tanh(x), 1), on_retrace="ignore")
    for n in (4, 6, 40, 4000, 5000):
        x = normal(n, 3)
        agree(f(x), f.python_function(x))
    assert programs(f) == (3, [0, 1, 1, 2, 2])
    small, large = (c.program()[0].likely for c in (f.concrete_functions()[1], f.concrete_functions()[3]))
    assert (small, large) == ({"B": 6}, {"B": 4000})


def test_show_tells_the_trace_and_the_program_that_runs():
    f = tf.function(lambda x: tf.tanh(x) + 1.0, on_retrace="ignore")
    f(normal(4)), f(normal(6))
    assert "x: f32[6]" in f.show("traced")
    assert "x: f32[6]" in f.show("optimized")
    assert "x: f32[B]" in f.show("kernels")

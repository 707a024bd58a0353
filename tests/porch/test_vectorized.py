"""`tf.vectorized_map` and vectorised jacobians: what comes out is what a Python loop over the slices gives, eagerly and traced."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.ops import control

X = np.random.default_rng(3).normal(size=(5, 3)).astype("float32")
W = np.random.default_rng(4).normal(size=(3, 2)).astype("float32")


def traced(fn, elems, **options):
    return tf.function(lambda e: tf.vectorized_map(fn, e, **options))(elems)


@pytest.fixture(params=[tf.vectorized_map, traced], ids=["eager", "traced"])
def mapped(request):
    return request.param


def norm(x):
    return tf.reduce_sum(x * x)


def halved(x):
    return tf.while_loop(lambda n, z: norm(z) > 0.1, lambda n, z: (n + 1, z * 0.5), (0, x))


def own_gradient(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(tf.sin(x)) * x[0]
    return tape.gradient(y, x)


def picked(x):  # the index is in range for the branch that is taken only
    k = tf.cast(tf.reduce_sum(x) > 0, tf.int32) * 7
    return tf.cond(k < 3, lambda: x[k], lambda: x[0] - 1.0)


def running(x):
    return tf.scan(lambda s, r: s * 0.9 + r, x, initializer=tf.reduce_sum(x))


def looped(x):  # how many rounds there are is the same for all
    return tf.while_loop(lambda n, z: n < 3, lambda n, z: (n + 1, z * z + x), (0, x))[1]


@tf.custom_gradient
def clipped(x):
    return x * 3.0, lambda g: tf.clip_by_value(g, -0.5, 0.5)


def halving_gradient(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = norm(halved(x)[1])
    return tape.gradient(y, x)


PROGRAMS = {
    "elementwise": lambda x: tf.exp(x) + tf.reduce_max(x),
    "matrix": lambda x: tf.linalg.matvec(W, x, transpose_a=True),
    "several": lambda x: {"a": x[::-1], "b": (norm(x), None)},
    "constant": lambda x: (x, tf.constant([1, 2])),
    "own_gradient": own_gradient,
    "cond_of_each": lambda x: tf.cond(norm(x) > 2.0, lambda: tf.sin(x), lambda: x * 2.0),
    "cond_of_all": lambda x: tf.cond(tf.reduce_sum(tf.constant(W)) > 0, lambda: x * 2.0, lambda: tf.zeros(3)),
    "cond_that_may_fail": picked,
    "while_of_each": halved,
    "while_of_all": looped,
    "scan": running,
    "gradient_of_while": halving_gradient,
    "nested": lambda x: tf.vectorized_map(lambda y: y * tf.reduce_sum(x), x),
    "sort": lambda x: (tf.sort(x), tf.argsort(x, direction="DESCENDING")),
    "top": lambda x: tf.math.top_k(x, 2),
    "masked": lambda x: tf.reduce_sum(tf.boolean_mask(x, x > 0)),
    "called": lambda x: tf.function(lambda y: tf.cond(norm(y) > 2, lambda: y, lambda: -y))(x),
    "gathered": lambda x: tf.gather(tf.constant(W), tf.argmax(x)),
    "one_hot": lambda x: tf.one_hot(tf.argmin(x), 4),
    "einsum": lambda x: tf.einsum("i,ij->j", x, W),
    "map_fn": lambda x: tf.map_fn(lambda y: y * y, x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_the_loop_over_the_slices(name, mapped):
    one = PROGRAMS[name]
    got = mapped(one, tf.constant(X))
    wanted = [one(tf.constant(x)) for x in X]
    tf.nest.assert_same_structure(got, wanted[0], check_types=False)
    for g, *parts in zip(tf.nest.flatten(got), *map(tf.nest.flatten, wanted), strict=True):
        assert (g is None) == (parts[0] is None)
        if g is not None:
            np.testing.assert_allclose(g, np.stack(parts), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["elementwise", "cond_of_each", "while_of_all", "scan", "own_gradient", "einsum", "called"])
def test_gradients_go_through_it(name, mapped):
    one = PROGRAMS[name]
    x = tf.constant(np.concatenate([X, X]))  # too large to be written out
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = sum(map(norm, tf.nest.flatten(mapped(one, x))))
    got = tape.gradient(y, x)
    for row, g in zip(x, got, strict=True):
        with tf.GradientTape() as tape:
            tape.watch(row)
            y = sum(map(norm, tf.nest.flatten(one(row))))
        np.testing.assert_allclose(g, tape.gradient(y, row), rtol=1e-4, atol=1e-6)


def test_a_gradient_of_the_users_own_counts(mapped):
    x = tf.constant(np.concatenate([X, X]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(mapped(clipped, x) * 2.0)
    np.testing.assert_allclose(tape.gradient(y, x), np.full(x.shape, 0.5))


def test_gradients_of_each_example_with_respect_to_a_variable(mapped):
    w = tf.Variable(W)

    def example(pair):
        x, y = pair
        with tf.GradientTape() as tape:
            loss = norm(tf.linalg.matvec(w, x, transpose_a=True) - y)
        return tape.gradient(loss, w)

    y = X[:, :2] * 2
    got = mapped(example, (tf.constant(X), tf.constant(y)))
    np.testing.assert_allclose(got, [2 * np.outer(a, a @ W - b) for a, b in zip(X, y)], rtol=1e-4)


def test_a_first_size_of_one_goes_with_any(mapped):
    got = mapped(lambda pair: pair[0] * pair[1], (tf.constant(X), tf.constant(X[:1])))
    np.testing.assert_allclose(got, X * X[:1])


def test_first_sizes_that_differ(mapped):
    with pytest.raises(ValueError, match="first sizes of elems differ"):
        mapped(lambda pair: pair[0], (tf.constant(X), tf.constant(X[:2])))


def test_assignments_go_slice_by_slice(mapped):
    v = tf.Variable(0.0)
    got = mapped(lambda x: v.assign_add(tf.reduce_sum(x)) + 0.0, tf.constant(X))
    np.testing.assert_allclose(got, np.cumsum(X.sum(1)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"slice by slice only; write tf.map_fn"):
        mapped(lambda x: v.assign_add(tf.reduce_sum(x)) + 0.0, tf.constant(X), fallback_to_while_loop=False)


def test_every_slice_has_random_numbers_of_its_own(mapped):
    got = mapped(lambda x: x * 0 + tf.random.normal([3]), tf.constant(X)).numpy()
    assert len(np.unique(got)) == 15


def test_effects_happen_for_every_slice(mapped, capfd):
    def checked(x):
        tf.debugging.assert_less(tf.reduce_max(x), 100.0, message="too much")
        tf.print("row", tf.cast(x[0] * 0.0, tf.int32))
        return x * 2.0

    np.testing.assert_allclose(mapped(checked, tf.constant(X)), X * 2)
    assert capfd.readouterr().err.count("row 0") == 5
    with pytest.raises(tf.errors.InvalidArgumentError, match="too much"):
        mapped(checked, tf.constant(X * 1000.0))


def test_no_slices(mapped):
    got = mapped(lambda x: tf.exp(x) @ tf.constant(W), tf.zeros([0, 4, 3]))
    assert got.shape == (0, 4, 2)


def test_open_number_of_slices():
    every = tf.function(lambda x: tf.vectorized_map(halved, x)[1], input_signature=[tf.TensorSpec([None, 3])])
    for n in (5, 2):
        np.testing.assert_allclose(every(X[:n]), [halved(tf.constant(x))[1] for x in X[:n]], rtol=1e-5)


def test_a_loop_is_one_for_all_slices():
    f = tf.function(lambda x: tf.vectorized_map(halved, x)[1])
    lines = f.get_concrete_function(tf.TensorSpec([5, 3])).graph
    assert [n.op for n in lines.body].count(control.vmap) == 1
    f(tf.constant(X))
    assert f.show("optimized").count("while_loop(") == 1
    assert "scan(" not in f.show("optimized")


# ---------------------------------------------------------------------------------------------- jacobians
def layer(x, w):
    return tf.tanh(x @ w) * tf.reduce_sum(w)


@pytest.mark.parametrize("how", ["eager", "traced", "persistent_loop"])
def test_jacobian_of_a_layer(how):
    x, w = tf.constant(X), tf.Variable(W)

    def jacobian():
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = layer(x, w)
        return tape.jacobian(y, [x, w], experimental_use_pfor=how != "persistent_loop")

    got = (tf.function(jacobian) if how == "traced" else jacobian)()
    for k, g in enumerate(got):
        base = [X.astype("float64"), W.astype("float64")]
        wanted = np.empty(g.shape)
        for i in np.ndindex(base[k].shape):
            d = np.zeros(base[k].shape)
            d[i] = 1e-5
            ends = [layer(*(tf.constant(b + s * d if j == k else b) for j, b in enumerate(base))).numpy() for s in (1, -1)]
            wanted[(..., *i)] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(g, wanted, rtol=1e-3, atol=1e-4)


def test_jacobian_of_a_jacobian(mapped):
    x = tf.constant(X[0])

    def second():
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.stack([x[0] * x[1] ** 2, tf.sin(x[2])])
            j = inner.jacobian(y, x)
        return outer.jacobian(j, x)

    got = (tf.function(second) if mapped is traced else second)()
    a, b, c = X[0]
    wanted = np.zeros((2, 3, 3))
    wanted[0, 0, 1] = wanted[0, 1, 0] = 2 * b
    wanted[0, 1, 1], wanted[1, 2, 2] = 2 * a, -np.sin(c)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_batch_jacobian_of_open_size():
    @tf.function(input_signature=[tf.TensorSpec([None, 3])])
    def jacobian(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.tanh(x @ tf.constant(W)) * x[:, :2]
        return tape.batch_jacobian(y, x)

    for n in (5, 2):
        t = np.tanh(X[:n] @ W)
        wanted = np.einsum("bo,io->boi", (1 - t * t) * X[:n, :2], W)
        wanted[:, [0, 1], [0, 1]] += t
        np.testing.assert_allclose(jacobian(X[:n]), wanted, rtol=1e-5, atol=1e-6)


def test_jacobian_of_open_size():
    @tf.function(input_signature=[tf.TensorSpec([None])])
    def jacobian(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x[1:] * x[:-1]
        return tape.jacobian(y, x)

    for n in (4, 6):
        x = np.arange(1.0, n + 1).astype("float32")
        wanted = np.zeros((n - 1, n))
        wanted[range(n - 1), range(n - 1)], wanted[range(n - 1), range(1, n)] = x[1:], x[:-1]
        np.testing.assert_allclose(jacobian(x), wanted)


def test_jacobian_through_a_traced_function_with_a_loop():
    power = tf.function(lambda x, n: tf.while_loop(lambda k, z: k < n, lambda k, z: (k + 1, z * x), (0, tf.ones_like(x)))[1])
    x = tf.constant(np.arange(1.0, 20.0, dtype="float32"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = power(x, tf.constant(3))
    np.testing.assert_allclose(tape.jacobian(y, x), np.diag(3 * x.numpy() ** 2), rtol=1e-5)

"""Complex numbers in compiled steps: by parts, without a call of the host, also within nested graphs and in variables."""

import itertools

import numpy as np
import pytest

import tapejit as tf
from tapejit.core.target import Target
from tapejit.ir.op import OPS
from tapejit.passes import pipeline
from tapejit.passes.separate import separate
from tapejit.schedule import plan

Z = (np.random.default_rng(0).normal(size=(4, 6)) + 1j * np.random.default_rng(1).normal(size=(4, 6))).astype(np.complex64)
EDGES = np.array([0.0, -0.0, 1.0, -2.0, np.inf, -np.inf, np.nan])


def host_ops(f, *arguments):
    """Names of the ops for which the compiled step of `f` calls the host."""
    f(*arguments)
    return sorted({w.op.name for w in plan.plan(pipeline.run(f.graph()), Target()).host})


def check(f, *arrays, tolerance=2e-6):
    """`f` gives compiled, without the host, what it gives eagerly."""
    arguments = [tf.constant(a) for a in arrays]
    traced = tf.function(f)
    wanted, got = (tf.nest.flatten(g(*arguments)) for g in (f, traced))
    assert host_ops(traced, *arguments) == []
    for a, b in zip(got, wanted, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=tolerance, atol=tolerance)
    return traced


def test_arithmetic_is_native():
    check(lambda x, y: (x * y + tf.exp(x) / y, tf.abs(x), tf.math.conj(y), x @ tf.linalg.adjoint(y)), Z, Z[::-1].copy())


def test_gradients_are_native():
    def f(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = tf.reduce_sum(tf.abs(tf.exp(x) * x) ** 2)
            g = tape.gradient(y, x)
        return g, outer.gradient(g, x)

    check(f, Z[:2], tolerance=1e-4)


def test_variables_are_updated_in_place():
    v = tf.Variable(Z, name="v")

    @tf.function
    def rotate(c):
        v.assign(v * c)
        return tf.abs(v)

    for _ in range(2):
        size = rotate(tf.constant(np.complex64(1j)))
    np.testing.assert_allclose(v.numpy(), -Z, rtol=1e-6)
    np.testing.assert_allclose(size.numpy(), abs(Z), rtol=1e-6)
    assert "inout[f32[4, 6, 2]]" in str(rotate.show("kernels"))


def test_the_host_sees_what_is_in_a_variable_now():
    v = tf.Variable(Z, name="v")

    @tf.function
    def step():
        v.assign(v * 2.0)
        return tf.ensure_shape(tf.numpy_function(np.conj, [v], tf.complex64), Z.shape)

    np.testing.assert_allclose(step().numpy(), 2 * Z.conj(), rtol=1e-6)


def test_a_variable_read_after_it_is_assigned():
    v = tf.Variable(Z, name="v")

    @tf.function
    def step():
        v.assign(v * 2.0)
        v.assign(v + 1.0)
        return tf.abs(v)

    np.testing.assert_allclose(step().numpy(), abs(2 * Z + 1), rtol=1e-6)
    assert len(str(step.show("kernels")).split("\n\n\n")) == 2  # one kernel and what runs it


def test_a_swap_of_parts_in_a_variable_reads_before_it_writes():
    v = tf.Variable(Z)
    f = tf.function(lambda: v.assign(tf.complex(tf.math.imag(v), tf.math.real(v))))
    f()
    np.testing.assert_array_equal(v.numpy(), Z.imag + 1j * Z.real)


def test_loops_and_branches_carry_complex_numbers():
    def f(z):
        def escape(k, w):
            return k < 3, w * w + z

        _, w = tf.while_loop(lambda k, w: k < 3, lambda k, w: (k + 1, w * w * 0.1 + z), (tf.constant(0), z))
        branch = tf.cond(tf.abs(z[0, 0]) > 0.0, lambda: w * 2.0, lambda: tf.math.conj(w))
        return w, branch, tf.scan(lambda a, x: a * 0.5 + x, z)

    check(f, Z)


def test_rearranged_results_and_arguments():
    check(
        lambda x: (
            x,
            tf.transpose(x),
            tf.reshape(x * 2.0, [-1]),
            x[1:, ::2],
            tf.concat([x, x], 0),
            tf.gather(x, [2, 0]),
            tf.pad(x, [[1, 0], [0, 2]]),
        ),
        Z,
    )


def test_constants_and_literals():
    table = np.array([1 + 2j, -0.5j, 3, 4, 5, 6], np.complex64)
    check(lambda x: (x * (2 - 1j), x**3, x**-2, 2.0**x, tf.zeros_like(x) + table, tf.constant([1j, 2.0], tf.complex64)), Z, tolerance=2e-5)


def test_open_sizes():
    f = tf.function(lambda x: (x * x, tf.reduce_sum(x), tf.math.real(x)), input_signature=[tf.TensorSpec([None, None], tf.complex64)])
    for z in (Z, Z[:1], Z[:0]):
        square, total, part = f(tf.constant(z))
        np.testing.assert_allclose(square.numpy(), z * z, rtol=1e-5)
        np.testing.assert_allclose(total.numpy(), z.sum(), rtol=1e-5)
        np.testing.assert_array_equal(part.numpy(), z.real)


def test_real_graphs_stay_as_they_are():
    f = tf.function(lambda x: x + 1.0)
    f(tf.constant(2.0))
    assert separate(f.graph()) is f.graph()


def same(got, wanted):
    """Equal infinities, NaN and zeros with their signs; finite numbers close."""
    for part in ("real", "imag"):
        a, b = getattr(got, part), getattr(wanted, part)
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["abs", "div", "sqrt"])
def test_edges(name):
    """Where a part is zero, infinite or NaN: what NumPy gives."""
    parts = np.array(list(itertools.product(EDGES, EDGES)), np.float32)
    x = parts.view(np.complex64)[:, 0]
    op = OPS[name]
    finite = np.isfinite(parts).all(axis=1) | (name == "abs")
    x = x[finite]
    operands = (x,) if name != "div" else (np.repeat(x, len(x)), np.tile(x, len(x)))
    with np.errstate(all="ignore"):
        wanted = op.eager(*operands)
    same(tf.function(op)(*map(tf.constant, operands)).numpy(), wanted)


def test_nothing_overflows_on_the_way():
    large = np.array([3e38 + 1e38j, 1e-38 + 1e-38j], np.complex64)
    f = tf.function(lambda x: (tf.abs(x), x / x, tf.sqrt(x), tf.math.reciprocal(x * 1e-8)))
    size, one, root, _ = f(tf.constant(large))
    np.testing.assert_allclose(size.numpy(), np.abs(large.astype(np.complex128)), rtol=1e-6)
    np.testing.assert_allclose(one.numpy(), [1, 1], rtol=1e-6)
    np.testing.assert_allclose(root.numpy(), np.sqrt(large.astype(np.complex128)), rtol=1e-6)

"""`tf.autodiff.ForwardAccumulator`: derivatives along a direction, eager and traced, nested with itself and with tapes."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.core import dtypes
from tapejit.ir.op import OPS

X = np.array([0.5, -1.5, 2.0])
D = np.array([1.0, 0.5, -2.0])


def run(how, f, *args):
    args = [tf.constant(a) for a in args]
    return f(*args) if how == "eager" else tf.function(f)(*args)


@pytest.fixture(params=["eager", "traced"])
def how(request):
    return request.param


def pushed(f, x, d, **options):
    with tf.autodiff.ForwardAccumulator(x, d) as acc:
        y = f(x)
    return acc.jvp(y, **options)


FUNCTIONS = {
    "elementwise": lambda x: tf.sin(x) * tf.exp(-x) / (1.0 + x * x),
    "broadcast": lambda x: x[:, None] * x[None, :] + x,
    "reduce": lambda x: tf.reduce_mean(x * x) + tf.reduce_max(x) + tf.reduce_prod(x),
    "matrix": lambda x: tf.linalg.inv(tf.eye(3, dtype=x.dtype) * 4.0 + x[:, None] * x[None, :]) @ x[:, None],
    "structure": lambda x: tf.concat([tf.reverse(x, [0]), tf.gather(x, [2, 0])], 0) ** 2,
    "norm": lambda x: tf.norm(x),
    "softmax": lambda x: tf.nn.log_softmax(x),
    "cumulative": lambda x: tf.cumsum(x) + tf.math.cumprod(x),
    "where": lambda x: tf.where(x > 0, x * x, 3.0 * x),
    "cond": lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x * x, lambda: x),
    "while": lambda x: tf.while_loop(lambda k, z: k < 4, lambda k, z: (k + 1, tf.sin(z) * x), (0, x))[1],
    "called": lambda x: tf.function(lambda y: tf.tanh(y) * y)(x),
    "several": lambda x: sum(tf.linalg.eigh(tf.linalg.diag(x) + tf.ones([3, 3], x.dtype))[:1]),
    "segment": lambda x: tf.math.unsorted_segment_sum(x * x, [0, 1, 0], 2),
    "sort": lambda x: tf.sort(x) * tf.constant([1.0, 2.0, 3.0], x.dtype),
    "conv": lambda x: tf.nn.conv1d(x[None, :, None], tf.reshape(x[:2], [2, 1, 1]), 1, "SAME"),
}


def difference(f, x, d, h=1e-6):
    return (np.asarray(f(tf.constant(x + h * d))) - np.asarray(f(tf.constant(x - h * d)))) / (2 * h)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jvp_is_the_finite_difference(name, how):
    f = FUNCTIONS[name]
    np.testing.assert_allclose(run(how, lambda x, d: pushed(f, x, d), X, D), difference(f, X, D), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_over_reverse_is_reverse_over_reverse(name, how):
    f = FUNCTIONS[name]

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.sin(f(x)))
        return tape.gradient(y, x)

    def twice(x, d):
        with tf.GradientTape() as tape:
            tape.watch(x)
            g = gradient(x)
        return tape.gradient(g, x, output_gradients=d)

    wanted = twice(tf.constant(X), tf.constant(D))
    np.testing.assert_allclose(run(how, lambda x, d: pushed(gradient, x, d), X, D), wanted, rtol=1e-6, atol=1e-8)


def test_reverse_over_forward(how):
    def f(x, d):
        with tf.GradientTape() as tape:
            tape.watch(x)
            with tf.autodiff.ForwardAccumulator(x, d) as acc:
                y = tf.sin(x)
        return tape.gradient(acc.jvp(y), x)  # also behind both contexts

    np.testing.assert_allclose(run(how, f, X, D), -np.sin(X) * D)


def test_forward_over_forward(how):
    def f(x, d):
        with tf.autodiff.ForwardAccumulator(x, d) as outer, tf.autodiff.ForwardAccumulator(x, d) as inner:
            y = x**3
        return inner.jvp(y), outer.jvp(y), outer.jvp(inner.jvp(y))

    once, other, twice = run(how, f, X, D)
    np.testing.assert_allclose(once, 3 * X**2 * D)
    np.testing.assert_allclose(other, 3 * X**2 * D)
    np.testing.assert_allclose(twice, 6 * X * D * D)


def test_third_order(how):
    def g(x):
        one = tf.ones_like(x)
        with tf.autodiff.ForwardAccumulator(x, one) as outer, tf.autodiff.ForwardAccumulator(x, one) as inner:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = x**4
            d = tape.gradient(y, x)
        return inner.jvp(d), outer.jvp(inner.jvp(d))

    second, third = run(how, g, X)
    np.testing.assert_allclose(second, 12 * X**2)
    np.testing.assert_allclose(third, 24 * X)


def test_variables_and_structures(how):
    v, w = tf.Variable(3.0), tf.Variable([1.0, 2.0])

    def f():
        with tf.autodiff.ForwardAccumulator({"v": v, "w": [w]}, {"v": tf.constant(1.0), "w": [tf.constant([0.0, 1.0])]}) as acc:
            y = v * w
            z = tf.reduce_sum(w) ** 2
        return acc.jvp({"y": y, "z": (z,)})

    got = f() if how == "eager" else tf.function(f)()
    np.testing.assert_allclose(got["y"], [1.0, 5.0])
    np.testing.assert_allclose(got["z"][0], 6.0)


def test_what_does_not_depend_is_none_or_zeros(how):
    def f(x, d):
        with tf.autodiff.ForwardAccumulator(x, d) as acc:
            y = tf.constant([1.0, 2.0]) * 2.0
            z = tf.stop_gradient(x)
            n = tf.cast(x, tf.int32)
            k = tf.floor(x)
        assert acc.jvp([y, z, n, k]) == [None] * 4
        return acc.jvp([y, z], unconnected_gradients="zero")

    a, b = run(how, f, X, D)
    assert a.numpy().tolist() == [0, 0]
    assert b.numpy().tolist() == [0, 0, 0]


def test_the_primal_itself_has_its_tangent(how):
    np.testing.assert_allclose(run(how, lambda x, d: pushed(lambda x: x, x, d), X, D), D)


def test_ops_behind_the_context_have_none():
    x = tf.constant(X)
    with tf.autodiff.ForwardAccumulator(x, tf.constant(D)) as acc:
        y = x * x
    assert acc.jvp(y * 2.0) is None


def test_a_custom_gradient_is_transposed(how):
    @tf.custom_gradient
    def tripled(x):
        return x * x, lambda g: g * 3.0 * x

    np.testing.assert_allclose(run(how, lambda x, d: pushed(tripled, x, d), X, D), 3 * X * D)


def test_an_accumulator_around_a_traced_function():
    w = tf.Variable([1.0, 2.0])
    f = tf.function(lambda x: tf.reduce_sum(tf.sin(w * x)))
    x = tf.constant([0.3, 0.7])
    with tf.autodiff.ForwardAccumulator([w, x], [tf.constant([1.0, 0.0]), tf.constant([0.0, 1.0])]) as acc:
        y = f(x)
    np.testing.assert_allclose(acc.jvp(y), np.cos(0.3) * 0.3 + np.cos(1.4) * 2.0, rtol=1e-6)


def test_complex_numbers_move_holomorphically(how):
    x, d = np.array([1 + 2j, -0.5j]), np.array([0.5 - 1j, 2.0 + 0j])
    np.testing.assert_allclose(run(how, lambda x, d: pushed(lambda z: z * z * z, x, d), x, d), 3 * x * x * d)
    np.testing.assert_allclose(run(how, lambda x, d: pushed(tf.math.real, x, d), x, d), d.real)


def test_wrong_use():
    x = tf.constant(X)
    with pytest.raises(ValueError, match="specified as a primal multiple times"):
        tf.autodiff.ForwardAccumulator([x, x], [x, x])
    with pytest.raises(ValueError, match=r"a tangent has the shape and dtype of its primal, \(3,\) and float64, got \(2,\) and float64"):
        tf.autodiff.ForwardAccumulator(x, x[:2])
    acc = tf.autodiff.ForwardAccumulator(x, x)
    with pytest.raises(ValueError, match="without first tracing anything"):
        acc.jvp(x)
    with acc, pytest.raises(ValueError, match="already recording"):
        acc.__enter__()
    with pytest.raises(ValueError, match="not recording"):
        acc.__exit__(None, None, None)
    with acc, pytest.raises(ValueError, match="Unknown value for unconnected_gradients"):
        acc.jvp(x, unconnected_gradients="none at all")


def test_every_direct_rule_is_the_transpose_of_the_gradient():
    """Rules of families against the general way, on the samples of every op that has one."""
    from tapejit import forward
    from tapejit.ir.op import Op
    from tapejit.ops.samples import Draw

    random, tried = np.random.default_rng(5), 0
    for op in OPS.values():
        if type(op).jvp is Op.jvp or type(op).samples is Op.samples or op.no_gradient:
            continue
        for xs, attrs in op.samples(Draw(dtypes.float64)):
            xs = tuple(map(np.asarray, xs))
            flows = [k for k in op.gradient_operands(len(xs), attrs) if xs[k].dtype == np.float64]
            if not flows or sum(x.size for x in xs) > 500:
                continue
            operands = tuple(map(tf.constant, xs))
            out = op(*operands, **attrs)
            outs = out if isinstance(out, tuple) else (out,)
            if not all(y.dtype is tf.float64 for y in outs):
                continue
            given = tuple(tf.constant(random.normal(size=x.shape)) if k in flows else None for k, x in enumerate(xs))
            try:
                direct = op.jvp(given, out, *operands, **attrs)
            except NotImplementedError:  # nor has it a gradient
                continue
            if direct is NotImplemented:
                continue
            general = type("General", (), {"jvp": lambda *a, **k: NotImplemented, "vjp": op.vjp})()
            (wanted,) = forward._tangents(general, operands, attrs, outs, given)
            wanted = tf.zeros_like(outs[0]) if wanted is None else wanted  # the gradient of `sign` is 0, whatever it is given
            assert tuple(direct.dims) == outs[0].dims
            np.testing.assert_allclose(direct, wanted, rtol=1e-9, atol=1e-11, err_msg=f"{op.name} {attrs}")
            tried += 1
    assert tried > 200

"""What gradients are, rule by rule: values at reading, nesting, ties and edges, rows of tables, jacobians."""

import numpy as np
import pytest
from rules import NONE, Table, check, eager_only, raises

import tapejit as tf

rule = Table()


# ---------------------------------------------------------------------------------------------- values
@rule("adjoints use the values that were read", 69.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
        e.v.assign(10.0)
        z = y * e.v
    return [tape.gradient(z, e.v)]


@rule("an assignment is not differentiated", NONE)
def _(e):
    with tf.GradientTape() as tape:
        tape.watch(e.c)
        e.fixed.assign(e.c * 2.0)
        y = e.fixed * 3.0
    return [tape.gradient(y, e.c)]


@rule("a read after an assignment is a read of the variable", 20.0)
def _(e):
    with tf.GradientTape() as tape:
        e.v.assign(10.0)
        y = e.v * e.v
    return [tape.gradient(y, e.v)]


@rule("what assign returns behaves as the variable", 1.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v.assign(e.v * 2.0) + 0.0
    return [tape.gradient(y, e.v)]


@rule("assign_add within the block keeps earlier reads", 6.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
        e.v.assign_add(1.0)
    return [tape.gradient(y, e.v)]


@rule("a variable made of another one starts anew", NONE, modes=eager_only)
def _(e):
    with tf.GradientTape() as tape:
        y = tf.Variable(e.v * 3.0) * 2.0
    return [tape.gradient(y, e.v)]


# ---------------------------------------------------------------------------------------------- nesting
@rule("tapes nest", 6.0, 2.0)
def _(e):
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            y = e.v * e.v
        g = inner.gradient(y, e.v)
    return [g, outer.gradient(g, e.v)]


@rule("an inner gradient taken outside the outer block is constant", NONE)
def _(e):
    with tf.GradientTape() as outer, tf.GradientTape() as inner:
        y = e.v * e.v
    g = inner.gradient(y, e.v)
    return [outer.gradient(g, e.v)]


@rule("a Hessian times a vector by output_gradients", [6.0, 24.0, 54.0])
def _(e):
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            y = tf.reduce_sum(e.w**3)
        g = inner.gradient(y, e.w)
    return [outer.gradient(g, e.w, output_gradients=tf.constant([1.0, 2.0, 3.0]))]


@rule("third order", 6.0)
def _(e):
    with tf.GradientTape() as t3:
        with tf.GradientTape() as t2:
            with tf.GradientTape() as t1:
                y = e.v**3
            a = t1.gradient(y, e.v)
        b = t2.gradient(a, e.v)
    return [t3.gradient(b, e.v)]


@rule("two tapes side by side do not mix", 6.0, NONE)
def _(e):
    with tf.GradientTape() as one:
        y = e.v * e.v
    with tf.GradientTape() as other:
        _ = e.v * 2.0
    return [one.gradient(y, e.v), other.gradient(y, e.v)]


@rule("a tape around a call of a traced function", 12.0)
def _(e):
    f = tf.function(lambda x: x * e.v)
    with tf.GradientTape() as tape:
        tape.watch(e.c)
        y = f(e.c) * e.c
    return [tape.gradient(y, e.c)]


@rule("captured variables of a call are watched", 2.0)
def _(e):
    f = tf.function(lambda x: x * e.v)
    with tf.GradientTape() as tape:
        y = f(e.c)
        assert [x.name for x in tape.watched_variables()] == ["v:0"]
    return [tape.gradient(y, e.v)]


@rule("tensors that a traced function captured are followed, small ones too", 3.0, [3.0] * 20, modes=eager_only)
def _(e):
    f = tf.function(lambda: tf.reduce_sum(e.x * 3.0) + e.c * 3.0)
    with tf.GradientTape() as tape:
        tape.watch([e.c, e.x])
        y = f()
    return tape.gradient(y, [e.c, e.x])


@rule("None is exact through a call with several results", 4.0, NONE)
def _(e):
    f = tf.function(lambda a, b: (a * a, b * b))
    other = e.c + 1.0
    with tf.GradientTape() as tape:
        tape.watch([e.c, other])
        a, _ = f(e.c, other)
    return tape.gradient(a, [e.c, other])


@rule("None is exact through loops", 12.0, NONE)
def _(e):
    a, b = e.c + 0.0, e.c + 1.0
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        _, y, _ = tf.while_loop(lambda k, y, z: k < 2, lambda k, y, z: (k + 1, y * a, z * b), (0, a, b))
    return tape.gradient(y, [a, b])


@rule("None is exact through branches", 4.0, NONE)
def _(e):
    a, b = e.c + 0.0, e.c + 1.0
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        y, _ = tf.cond(a > 0, lambda: (a * a, b), lambda: (a, b * b))
    return tape.gradient(y, [a, b])


# ---------------------------------------------------------------------------------------------- ties and edges
EDGES = [
    ("relu", lambda x: tf.nn.relu(x), 0.0),
    ("relu6", lambda x: tf.nn.relu6(x), 0.0),
    ("leaky_relu", lambda x: tf.nn.leaky_relu(x, 0.25), 0.25),
    ("elu", lambda x: tf.nn.elu(x), 1.0),
    ("abs", lambda x: tf.abs(x), 0.0),
    ("maximum(x, 0)", lambda x: tf.maximum(x, 0.0), 1.0),
    ("maximum(0, x)", lambda x: tf.maximum(0.0, x), 0.0),
    ("minimum(x, 0)", lambda x: tf.minimum(x, 0.0), 1.0),
    ("minimum(0, x)", lambda x: tf.minimum(0.0, x), 0.0),
    ("clip at its edge", lambda x: tf.clip_by_value(x, 0.0, 1.0), 1.0),
    ("where by its condition", lambda x: tf.where(x >= 0, x * 2.0, x * 3.0), 2.0),
    ("sqrt", tf.sqrt, np.inf),
    ("log", tf.math.log, np.inf),
    ("rsqrt", tf.math.rsqrt, -np.inf),
    ("square", lambda x: x**2, 0.0),
    ("divide_no_nan", lambda x: tf.math.divide_no_nan(1.0, x), 0.0),
    ("xlogy", lambda x: tf.math.xlogy(x, x), 0.0),
    ("norm", lambda x: tf.norm(tf.stack([x, x])), np.nan),
    ("standard deviation", lambda x: tf.math.reduce_std(tf.stack([x, x])), np.nan),
    ("x to the 0", lambda x: tf.pow(x, 0.0), np.nan),
    ("multiply_no_nan of a logarithm", lambda x: tf.math.multiply_no_nan(tf.math.log(x), x), np.nan),
]
for _name, _f, _wanted in EDGES:

    @rule(f"at 0, {_name}", _wanted)
    def _(e, f=_f):
        zero = e.c * 0.0
        with tf.GradientTape() as tape:
            tape.watch(zero)
            y = f(zero)
        return [tape.gradient(y, zero)]


@rule("max_pool gives a tie to the first", [1.0, 0.0, 0.0, 0.0])
def _(e):
    x = tf.constant([2.0, 2.0, 1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.nn.max_pool2d(tf.reshape(x, (1, 2, 2, 1)), 2, 2, "VALID")
    return [tape.gradient(y, x)]


@rule("reduce_min shares among ties", [0.0, 0.5, 0.5])
def _(e):
    x = tf.constant([1.0, 0.0, 0.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_min(x)
    return [tape.gradient(y, x)]


@rule("roots and reciprocals that nothing is asked of have the gradient 0, however steep", [0.0, 0.25], [0.0, -0.0625], [0.0, -0.0625], 0.0)
def _(e):
    x = tf.constant([0.0, 4.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        masked = [tf.where(x > 0.0, f(x), 0.0) for f in (tf.sqrt, tf.math.rsqrt, tf.math.reciprocal)]
        norm = tf.where(False, tf.norm(x[:1]), 0.0)
    return [*(tape.gradient(y, x) for y in masked), tape.gradient(norm, x)[0]]


@rule("where masks no gradients: what a logarithm, a quotient or a power has at 0 is NaN, taken or not", *[[np.nan, 0.25]] * 3)
def _(e):
    x = tf.constant([0.0, 4.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        chosen = [tf.where(x > 0.0, f(x), 0.0) for f in (tf.math.log, lambda x: -4.0 / x, lambda x: x**0.5)]
    return [tape.gradient(y, x) for y in chosen]


@rule("the weight of a root that is 0 still has a second derivative", [0.25, 0.25, 0.25], [0.0, 0.0, 0.0])
def _(e):
    x, weight = tf.constant([4.0, 4.0, 4.0]), tf.constant([0.0, 0.0, 0.0])
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([x, weight])
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(weight * tf.sqrt(x))
        g = inner.gradient(y, x)
    return [outer.gradient(g, weight), outer.gradient(g, x)]


@rule("reduce_max shares among ties", [0.5, 0.5, 0.0])
def _(e):
    x = e.w * tf.constant([2.0, 1.0, 0.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_max(x)
    return [tape.gradient(y, x)]


@rule("a product with zeros in it", [6.0, 0.0, 0.0])
def _(e):
    x = e.w * tf.constant([0.0, 1.0, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_prod(x)
    return [tape.gradient(y, x)]


@rule("a running product at zeros is right", [10.0, 0.0, 0.0])
def _(e):
    x = e.w * 0.0 + tf.constant([0.0, 3.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.math.cumprod(x)
    return [tape.gradient(y, x)]


@rule("a complex gradient is the conjugate of the derivative", 4 - 2j)
def _(e):
    z = tf.complex(e.c, e.c * 0.5)
    with tf.GradientTape() as tape:
        tape.watch(z)
        y = z * z
    return [tape.gradient(y, z)]


# ---------------------------------------------------------------------------------------------- rows of tables
def rows(e, ids=(1, 3, 1)):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.gather(e.table, list(ids)) * 2.0)
    return tape.gradient(y, e.table)


ROWS_OF_TABLE = [[0.0, 0.0], [4.0, 4.0], [0.0, 0.0], [2.0, 2.0]]


@rule("a gathered variable has IndexedSlices, equal indices apart", [1, 3, 1], [[2.0, 2.0]] * 3)
def _(e):
    g = rows(e)
    assert isinstance(g, tf.IndexedSlices)
    return [g.indices, g.values]


@rule("IndexedSlices become dense where a tensor is wanted", ROWS_OF_TABLE, ROWS_OF_TABLE)
def _(e):
    return [tf.convert_to_tensor(rows(e)), rows(e) + tf.zeros([4, 2])]


@rule("optimizing with IndexedSlices", [[0.0, 1.0], [-2.0, -1.0], [4.0, 5.0], [4.0, 5.0]])
def _(e):
    e.table.assign_sub(rows(e))
    return [e.table + 0.0]


@rule("clipping IndexedSlices by norm, and scaling them, leaves them sparse", 1.0, [[2.0, 2.0]] * 3)
def _(e):
    (g,), _ = tf.clip_by_global_norm([rows(e)], 1.0)
    doubled = tf.math.scalar_mul(0.5, rows(e) * 2.0)
    assert isinstance(g, tf.IndexedSlices)
    assert isinstance(doubled, tf.IndexedSlices)
    return [tf.norm(g.values), doubled.values]


@rule("the text of IndexedSlices", modes=eager_only)
def _(e):
    text = str(tf.IndexedSlices(tf.constant([[1.0, 2.0]]), tf.constant([2]), tf.constant([3, 2])))
    assert text == (
        "IndexedSlices(indices=tf.Tensor([2], shape=(1,), dtype=int32), values=tf.Tensor([[1. 2.]], shape=(1, 2), dtype=float32), "
        "dense_shape=tf.Tensor([3 2], shape=(2,), dtype=int32))"
    )
    return []


@rule("dense and sparse gradients add up to a dense one", [[1.0, 1.0], [5.0, 5.0], [1.0, 1.0], [3.0, 3.0]])
def _(e):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.gather(e.table, [1, 3, 1]) * 2.0) + tf.reduce_sum(e.table)
    return [tf.convert_to_tensor(tape.gradient(y, e.table))]


@rule("slices of a variable have a dense gradient", [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
def _(e):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(e.table[1])
    return [tape.gradient(y, e.table)]


# ---------------------------------------------------------------------------------------------- jacobians
@rule("jacobian: the shape of the target, then that of the source", [[2.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 6.0]], NONE)
def _(e):
    with tf.GradientTape() as tape:
        y = e.w * e.w
    return tape.jacobian(y, [e.w, e.v])


@rule("jacobian: zeros where asked", [[0.0], [0.0], [0.0]])
def _(e):
    with tf.GradientTape() as tape:
        y = e.w * e.w
    return [tf.reshape(tape.jacobian(y, e.v, unconnected_gradients="zero"), [3, 1])]


@rule("jacobian: of a scalar", [2.0, 4.0, 6.0])
def _(e):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(e.w * e.w)
    return [tape.jacobian(y, e.w)]


@rule("jacobian: one after the other is the same", [[2.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 6.0]])
def _(e):
    with tf.GradientTape(persistent=True) as tape:
        y = e.w * e.w
    return [tape.jacobian(y, e.w, experimental_use_pfor=False)]


@rule("jacobian: one after the other needs a persistent tape", modes=eager_only)
def _(e):
    with tf.GradientTape() as tape:
        y = e.w * e.w
    said = "GradientTape must be created with persistent=True to compute the jacobian with eager execution enabled and with  experimental_use_pfor set to False."
    raises(RuntimeError, said, lambda: tape.jacobian(y, e.w, experimental_use_pfor=False))
    return []


@rule("batch_jacobian: [b, y..., x...]", [[[2.0, 0.0], [0.0, 4.0]], [[6.0, 0.0], [0.0, 8.0]]])
def _(e):
    x = tf.reshape(e.x[:4] * 0.0 + tf.constant([1.0, 2.0, 3.0, 4.0]), [2, 2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    return [tape.batch_jacobian(y, x)]


@rule("batch_jacobian: unconnected gives zeros", [[[0.0, 0.0]], [[0.0, 0.0]]])
def _(e):
    x = tf.reshape(e.x[:4], [2, 2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.ones([2, 1]) * e.v
    return [tape.batch_jacobian(y, x)]


@rule("batch_jacobian: rank and first size are checked")
def _(e):
    x = tf.reshape(e.x[:4], [2, 2])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        flat, three = tf.reduce_sum(x, 1), tf.concat([x, x[:1]], 0)
    raises(ValueError, r"Shape \(2,\) must have rank at least 2", lambda: tape.batch_jacobian(flat, x))
    raises(ValueError, "Need first dimension of target shape", lambda: tape.batch_jacobian(three, x))
    return []


@rule("jacobian within an outer tape", [[[2.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]])
def _(e):
    x = e.x[:2] + 0.0
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = x * x
        j = inner.jacobian(y, x)
    return [outer.jacobian(j, x)]


# ---------------------------------------------------------------------------------------------- outside
@rule("a tape cannot leave the function it was made in", modes=eager_only)
def _(e):
    def f(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
        return tape

    raises(TypeError, "found return value of type GradientTape", lambda: tf.function(f)(e.c))
    return []


@rule("an op without a gradient is a LookupError with the line", modes=eager_only)
def _(e):
    with tf.GradientTape() as tape:
        tape.watch(e.x)
        y = tf.math.igamma(e.x, e.x)
    with pytest.raises((LookupError, NotImplementedError)) as caught:
        tape.gradient(y, e.x)
    assert "igamma" in str(caught.value)
    return []


@rule("bytes held are told, and given back with the gradient", modes=eager_only)
def _(e):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.sin(e.w) * 2.0)
    assert tape.nbytes > 0
    tape.gradient(y, e.w)
    assert tape.nbytes == 0
    return []


@pytest.mark.parametrize(("f", "expected", "mode"), rule.rows)
def test_rule(f, expected, mode):
    check(f, expected, mode)


def test_there_are_many():
    assert len(rule) >= 50

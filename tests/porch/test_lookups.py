"""Gradients of tables that are looked up: rows and indices, eagerly and in traced functions alike, and what becomes of them."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.ir.parser import parse
from tapejit.ir.printer import text

TABLE = np.random.default_rng(0).normal(size=(6, 3))
ROWS, DENSE = True, False
CASES = []


def case(kind):
    """Enter a function of a table that gives a gradient: `IndexedSlices` for ROWS."""

    def enter(f):
        CASES.append(pytest.param(f, kind, id=f.__name__))
        return f

    return enter


def gradient(table, loss, **options):
    with tf.GradientTape() as tape:
        y = loss(table)
    return tape.gradient(y, table, **options)


def cubes(x):
    return tf.reduce_sum(x**3)


@case(ROWS)
def equal_indices(v):
    return gradient(v, lambda v: cubes(tf.gather(v, [1, 3, 1])))


@case(ROWS)
def one_index(v):
    return gradient(v, lambda v: cubes(tf.gather(v, 2)))


@case(ROWS)
def indices_of_rank_two(v):
    return gradient(v, lambda v: cubes(tf.gather(v, [[1, 2], [0, 0]])))


@case(ROWS)
def no_index(v):
    return gradient(v, lambda v: cubes(tf.gather(v, tf.zeros([0], tf.int32))))


@case(ROWS)
def several_lookups(v):
    return gradient(v, lambda v: cubes(tf.gather(v, [1])) + 2 * cubes(tf.gather(v, [[2], [1]])))


@case(ROWS)
def indices_of_several_dtypes(v):
    return gradient(v, lambda v: cubes(tf.gather(v, [1])) + cubes(tf.gather(v, tf.constant([2, 1], tf.int64))))


@case(ROWS)
def rows_of_rows(v):
    return gradient(v, lambda v: cubes(tf.gather(tf.gather(v, [1, 2, 3]), [0, 0])))


@case(ROWS)
def rows_on_the_way(v):
    with tf.GradientTape() as tape:
        rows = tf.gather(v, [1, 2, 3])
        y = cubes(tf.gather(rows, [0, 0]))
    return tape.gradient(y, rows)


@case(ROWS)
def embedding_lookup(v):
    return gradient(v, lambda v: cubes(tf.nn.embedding_lookup(v, [1, 2, 2])))


@case(ROWS)
def sparse_read(v):
    return gradient(v, lambda v: cubes(v.sparse_read([1, 2, 2])))


@case(ROWS)
def index_vectors_of_one_element(v):
    return gradient(v, lambda v: cubes(tf.gather_nd(v, [[1], [2]])))


@case(ROWS)
def a_tensor_that_is_watched(v):
    x = v * 1.0
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = cubes(tf.gather(x, [1, 1]))
    return tape.gradient(y, x)


@case(ROWS)
def rows_as_target(v):
    with tf.GradientTape() as tape:
        rows = tf.gather(v, [1, 1])
    return tape.gradient(rows, v, output_gradients=tf.fill([2, 3], tf.constant(3.0, v.dtype)))


@case(ROWS)
def a_use_that_leads_nowhere(v):
    def loss(v):
        cubes(v)
        return cubes(tf.gather(v, [1])) + tf.reduce_sum(tf.stop_gradient(v))

    return gradient(v, loss)


@case(ROWS)
def in_a_function_that_is_called(v):
    inner = tf.function(lambda i: cubes(tf.gather(v, i)))
    return tf.function(lambda: gradient(v, lambda v: inner(tf.constant([1, 1]))))()


@case(ROWS)
def of_two_values_of_a_variable(v):
    def loss(v):
        y = cubes(tf.gather(v, [1, 1]))
        v.assign(v * 2.0)
        return y + cubes(tf.gather(v, [0]))

    return gradient(v, loss)


@case(ROWS)
def of_the_gradient_s_rows(v):
    with tf.GradientTape() as outer:
        g = equal_indices(v)
        y = tf.reduce_sum(g.values**2)
    return outer.gradient(y, v)


@case(ROWS)
def of_the_dense_gradient(v):
    with tf.GradientTape() as outer:
        y = tf.reduce_sum(tf.convert_to_tensor(equal_indices(v)) ** 2)
    return outer.gradient(y, v)


@case(ROWS)
def chosen_by_a_branch(v):
    a, b = equal_indices(v), embedding_lookup(v)
    return tf.cond(tf.reduce_sum(tf.math.real(v)) > 100.0, lambda: a, lambda: b * 2.0)


@case(ROWS)
def carried_through_a_loop(v):
    return tf.while_loop(lambda i, g: i < 3, lambda i, g: (i + 1, g * 2.0), (0, equal_indices(v)))[1]


@case(DENSE)
def another_axis(v):
    return gradient(v, lambda v: cubes(tf.gather(v, [1, 1], axis=1)))


@case(DENSE)
def rows_that_belong_together(v):
    return gradient(v, lambda v: cubes(tf.gather(v, [[0], [1], [2], [0], [0], [1]], batch_dims=1)))


@case(DENSE)
def index_vectors(v):
    return gradient(v, lambda v: cubes(tf.gather_nd(v, [[1, 0], [2, 1], [1, 0]])))


@case(DENSE)
def another_use(v):
    return gradient(v, lambda v: cubes(tf.gather(v, [1])) + cubes(v))


@case(DENSE)
def a_target_itself(v):
    with tf.GradientTape() as tape:
        y = cubes(tf.gather(v, [1, 1]))
        x = v * 1.0
    return tape.gradient([y, x], v)


@case(DENSE)
def an_element(v):
    return gradient(v, lambda v: cubes(v[tf.constant(-2)]))


@case(DENSE)
def a_mask(v):
    return gradient(v, lambda v: cubes(tf.boolean_mask(v, [True, False, True, False, False, True])))


@case(DENSE)
def sorted_and_repeated(v):
    x = tf.gather(v, 0) * 1.0
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = cubes(tf.sort(x)[:2]) + cubes(tf.math.top_k(x, 2)[0]) + cubes(tf.repeat(x, [2, 0, 1]))
    return tape.gradient(y, x)


@case(DENSE)
def jacobian(v):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.gather(v, [1, 1, 2]) ** 3, axis=1)
    return tape.jacobian(y, v)


def parts(g):
    return [g.values, g.indices, g.dense_shape] if isinstance(g, tf.IndexedSlices) else [g]


def alike(found, wanted, rtol=1e-6):
    assert type(found) is type(wanted)
    for a, b in zip(parts(found), parts(wanted), strict=True):
        assert a.dtype is b.dtype
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=rtol)


@pytest.mark.parametrize(("f", "kind"), CASES)
def test_a_traced_function_gives_what_eager_code_gives(f, kind):
    traced = tf.function(f, autograph=False)
    wanted, found = f(tf.Variable(TABLE)), traced(tf.Variable(TABLE))
    assert isinstance(wanted, tf.IndexedSlices) is kind
    alike(found, wanted)
    assert text(parse(traced.show())) == traced.show()


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64"])
def test_other_dtypes(dtype):
    table = (TABLE * (1 + 1j)).astype(dtype) if dtype == "complex64" else TABLE.astype(dtype)
    for f in (equal_indices, several_lookups):
        alike(tf.function(f)(tf.Variable(table)), f(tf.Variable(table)), 1e-2 if dtype == "float16" else 1e-5)


@pytest.mark.parametrize("f", [equal_indices, several_lookups, rows_of_rows, of_the_dense_gradient])
def test_rows_are_derivatives(f):
    """The dense form against differences, for the loss whose gradient `f` takes: that of the lookups alone is the one without another use."""
    losses = {
        equal_indices: lambda t: (t[[1, 3, 1]] ** 3).sum(),
        several_lookups: lambda t: (t[1] ** 3).sum() + 2 * (t[[2, 1]] ** 3).sum(),
        rows_of_rows: lambda t: 2 * (t[1] ** 3).sum(),
        of_the_dense_gradient: lambda t: ((6 * t[1] ** 2) ** 2).sum() + ((3 * t[3] ** 2) ** 2).sum(),
    }
    direction = np.random.default_rng(1).normal(size=TABLE.shape)
    h = 1e-6
    slope = (losses[f](TABLE + h * direction) - losses[f](TABLE - h * direction)) / (2 * h)
    dense = tf.convert_to_tensor(tf.function(f)(tf.Variable(TABLE))).numpy()
    np.testing.assert_allclose((dense * direction).sum(), slope, rtol=1e-7)


def test_several_sources_at_once():
    v, b = tf.Variable(TABLE), tf.Variable([1.0, 2.0, 3.0], dtype=tf.float64)

    def gradients():
        with tf.GradientTape() as tape:
            rows = tf.gather(v, [1, 1])
            y = cubes(rows * b + tf.gather(b, [0, 0, 2]))
        return tape.gradient(y, {"table": v, "rows": rows, "bias": b})

    wanted, found = gradients(), tf.function(gradients)()
    assert [type(found[k]).__name__ for k in ("bias", "rows", "table")] == ["EagerTensor", "EagerTensor", "IndexedSlices"]
    for key, g in wanted.items():
        alike(found[key], g)


def test_a_gradient_by_rows_may_be_weighted_as_the_table_is():
    d = tf.constant(np.random.default_rng(2).normal(size=TABLE.shape))

    def curvature(v):
        with tf.GradientTape() as outer:
            g = equal_indices(v)
        return outer.gradient(g, v, output_gradients=d)

    for f in (curvature, tf.function(curvature)):
        found = f(tf.Variable(TABLE))
        np.testing.assert_allclose(found.values, 6 * TABLE[[1, 3, 1]] * d.numpy()[[1, 3, 1]])
    v = tf.Variable(TABLE)
    with tf.GradientTape() as outer:
        g = equal_indices(v)
    with pytest.raises(ValueError, match="output gradient 0 has shape"):
        outer.gradient(g, v, output_gradients=g.values)


def lookups_in_a_call(trace):
    """A loss of indices whose function looks rows up twice, and the variables it reads."""
    v, b = tf.Variable(TABLE, name="v"), tf.Variable([1.0, 2.0, 3.0], dtype=tf.float64, name="b")

    def loss(ids, w):
        return cubes(tf.gather(v, ids) * b + tf.gather(v, ids + 1)) * w

    return (tf.function(loss) if trace else loss), [v, b]


def test_a_tape_around_a_call_sees_what_it_looks_up():
    ids, w = tf.constant([1, 3, 1]), tf.constant(2.0, tf.float64)
    found = []
    for trace in (False, True):
        loss, sources = lookups_in_a_call(trace)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as tape:
                tape.watch(w)
                y = loss(ids, w)
            assert tape.explain(y, sources[0]).connected
            first = tape.gradient(y, [*sources, w])
            z = tf.reduce_sum(first[0].values ** 2) + tf.reduce_sum(first[1] ** 2)
        with tf.autodiff.ForwardAccumulator(sources[0], tf.ones_like(sources[0])) as forward:
            moved = loss(ids, w)
        found.append([*first, *outer.gradient(z, sources), forward.jvp(moved)])
    assert isinstance(found[1][0], tf.IndexedSlices)
    for a, b in zip(*found, strict=True):
        if type(a) is type(b):
            alike(a, b, 1e-12)
        else:  # the second order of several uses
            np.testing.assert_allclose(tf.convert_to_tensor(a), tf.convert_to_tensor(b), rtol=1e-12)


def test_a_recorded_call_is_written_again_with_other_indices():
    w = tf.constant(2.0, tf.float64)
    loss, sources = lookups_in_a_call(True)
    ids = tf.constant([1, 3, 1])
    with tf.GradientTape() as tape:
        y = loss(ids, w)
    again = tape.to_function(y, sources, inputs=[ids])
    other = tf.constant([0, 2, 2])
    with tf.GradientTape() as tape:
        y = loss(other, w)
    value, (rows, bias) = again(other)
    np.testing.assert_allclose(value, y)
    for a, b in zip((rows, bias), tape.gradient(y, sources), strict=True):
        alike(a, b, 1e-12)


@pytest.mark.parametrize(
    "use",
    [
        lambda v, ids: cubes(tf.gather(v, ids)) + tf.reduce_sum(v),  # another use
        lambda v, ids: cubes(tf.gather(v, tf.boolean_mask(ids, ids > 1))),  # a number of rows that only the run knows
        lambda v, ids: cubes(tf.gather(v, ids, axis=1)[0]) + tf.cond(ids[0] > 0, lambda: cubes(tf.gather(v, ids)), lambda: cubes(v)),
    ],
)
def test_calls_with_tables_that_stay_whole(use):
    v, ids = tf.Variable(TABLE), tf.constant([1, 2, 1])
    found = []
    for f in (use, tf.function(use)):
        with tf.GradientTape() as tape:
            y = f(v, ids)
        found.append(tape.gradient(y, v))
    assert isinstance(found[1], tf.Tensor)
    np.testing.assert_allclose(found[1], tf.convert_to_tensor(found[0]), rtol=1e-12)


def test_gradients_of_the_function_itself():
    v = tf.Variable(TABLE)
    (g,) = tf.function(lambda: tf.gradients(cubes(tf.gather(v, [1, 3, 1])), v))()
    alike(g, equal_indices(v))
    (h,) = tf.function(lambda x: tf.hessians(cubes(tf.gather(x, [0, 0])), x))(tf.constant([2.0, 3.0]))
    np.testing.assert_allclose(h, [[24.0, 0.0], [0.0, 0.0]])


def test_slices_are_taken_and_given_by_traced_functions():
    v = tf.Variable(TABLE)
    traces = []

    @tf.function
    def doubled(g, options):
        traces.append(1)
        assert isinstance(g, tf.IndexedSlices)
        assert g.shape == [6, 3]
        return {"twice": g * 2.0, "listed": [tf.convert_to_tensor(g), g.indices]}, options["k"]

    for f in (equal_indices, equal_indices, chosen_by_a_branch):
        g = f(v)
        out, k = doubled(g, {"k": tf.constant(3)})
        alike(out["twice"], g * 2.0)
        np.testing.assert_array_equal(out["listed"][0], tf.convert_to_tensor(g))
        assert k == 3
    assert len(traces) == 1
    without = tf.function(lambda: tf.IndexedSlices([[1.0]], [2]))()
    assert without.dense_shape is None


def test_a_table_of_open_size():
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float64), tf.TensorSpec([None], tf.int32)])
    def rows(x, ids):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = cubes(tf.gather(x, ids))
        return tape.gradient(y, x)

    for n, ids in ((6, [1, 3, 1]), (4, [0])):
        g = rows(tf.constant(TABLE[:n]), tf.constant(ids))
        np.testing.assert_array_equal(g.indices, ids)
        np.testing.assert_array_equal(g.dense_shape, [n, 3])
        np.testing.assert_allclose(g.values, 3 * TABLE[ids] ** 2)


def test_branches_give_slices_both_or_neither():
    v = tf.Variable(TABLE)
    with pytest.raises(TypeError, match="same nested structure"):
        tf.function(lambda p: tf.cond(p, lambda: equal_indices(v), lambda: another_use(v)))(tf.constant(True))


@pytest.mark.parametrize("name", ["scatter_sub", "scatter_add", "assign_sub", "assign_add"])
def test_an_update_by_rows_leaves_the_rest_of_the_table_alone(name):
    v, w = tf.Variable(TABLE), tf.Variable(TABLE)

    def step(v):
        getattr(v, name)(0.1 * equal_indices(v))

    traced = tf.function(step)
    for _ in range(2):
        step(v)
        traced(w)
    np.testing.assert_allclose(w.numpy(), v.numpy(), rtol=1e-12)
    sign = 1 if name.endswith("add") else -1
    once = TABLE[1] + sign * 0.1 * 6 * TABLE[1] ** 2
    np.testing.assert_allclose(v[1], once + sign * 0.1 * 6 * once**2)
    kernels = str(traced.show("kernels"))
    assert "(6)" not in kernels  # no loop over the rows of the table
    assert "inout[f64[6, 3]]" in kernels


@pytest.mark.parametrize("index", [6, -1])
def test_a_bad_index_leaves_the_table_as_it_was(index):
    v = tf.Variable(TABLE)

    @tf.function
    def step(ids):
        v.scatter_sub(tf.IndexedSlices(tf.ones([2, 3], tf.float64), ids))

    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{index} is not in \[0, 6\)"):
        step(tf.constant([1, index]))
    np.testing.assert_array_equal(v, TABLE)


def test_values_read_before_an_update_in_place_stay():
    v = tf.Variable(TABLE)
    before = v.read_value()

    @tf.function
    def step(ids):
        old, rows = v.read_value(), tf.gather(v, ids)
        v.scatter_add(tf.IndexedSlices(rows, ids))
        return old, rows, tf.gather(v, ids)

    old, rows, new = step(tf.constant([1, 2]))
    for found in (before, old):
        np.testing.assert_array_equal(found, TABLE)
    np.testing.assert_array_equal(rows, TABLE[1:3])
    np.testing.assert_array_equal(new, 2 * TABLE[1:3])


def test_an_update_of_another_shape_is_refused():
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        tf.Variable(TABLE).assign_sub(tf.IndexedSlices(tf.zeros([1, 3], tf.float64), [0], [5, 3]))


def test_nested_structures_with_slices():
    g = equal_indices(tf.Variable(TABLE))
    assert tf.nest.flatten({"a": [g]}) == [g]
    values, indices = tf.nest.flatten({"a": [g]}, expand_composites=True)
    assert values is g.values
    assert indices is g.indices
    alike(tf.nest.pack_sequence_as([g], [values, indices], expand_composites=True)[0], g)
    twice = tf.nest.map_structure(lambda x: x * 2, [g], expand_composites=True)[0]
    np.testing.assert_array_equal(twice.indices, 2 * g.indices)
    with pytest.raises(TypeError, match="composites"):
        tf.nest.assert_same_structure([g], [g.values], expand_composites=True)

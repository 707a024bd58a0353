"""Datasets made, reduced and begun within traced functions: of the values and from the beginning of each call, as eagerly."""

import numpy as np
import pytest

import tapejit as tf

Dataset = tf.data.Dataset
ROWS, NAMES = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), tf.constant([1, 2, 3])
factor = tf.Variable(2.0)
tf_range = tf.constant(5, tf.int64)


def batches(x, y):
    total = tf.constant(0.0)
    for e in Dataset.from_tensor_slices({"x": x, "y": (y, x)}).shuffle(8, seed=1).batch(2).prefetch(1):
        total += tf.reduce_sum(e["x"]) * 10.0 + tf.reduce_sum(e["y"][1] * tf.cast(e["y"][0], tf.float32)[:, None])
    return total


def of_a_variable():
    total = tf.constant(0.0)
    for x in Dataset.from_tensors(factor).repeat(3):
        total += x
    return total


def ranges(n):
    total = tf.constant(0, tf.int64)
    for i in Dataset.range(1, n, 2):
        total = total * 10 + i
    for k, i in Dataset.range(n).enumerate():
        total += k * i
    return total


def zipped(x, y):
    out = tf.constant(0.0)
    for a, b in Dataset.zip((Dataset.from_tensor_slices(x), Dataset.from_tensor_slices(y))):
        out += tf.reduce_sum(a) * tf.cast(b, tf.float32)
    return out


def reduced(x, y):
    def step(state, e):
        if e[1] > 1:
            state["sum"] += tf.reduce_sum(e[0]) * factor
        return {"sum": state["sum"], "count": state["count"] + 1}

    return Dataset.from_tensor_slices((x, y)).reduce({"sum": 0.0, "count": 0}, step)


def reduced_to_several(x):
    return Dataset.from_tensor_slices(x).reduce((0.0, 1.0), lambda s, e: [s[0] + tf.reduce_sum(e), s[1] * e[0]])


def begun(x):
    each = iter(Dataset.from_tensor_slices(x).map(lambda row: row * 2.0).repeat())
    first = next(each)
    for _ in tf.range(3):
        first += next(each)
    return first, each.get_next()


def begun_and_gone_along(x):
    each = iter(Dataset.from_tensor_slices(x))
    total = next(each) * 100.0
    for row in each:
        total += row
    return total


def collected(x):
    out, i = tf.TensorArray(tf.float32, 0, dynamic_size=True), 0
    for row in Dataset.from_tensor_slices(x).repeat(2).shuffle(6, seed=3):
        out, i = out.write(i, row[0] * factor), i + 1
    return tf.sort(out.stack())


def filtered(x):
    out, last = tf.TensorArray(tf.float32, 0, dynamic_size=True), 0.0
    for row in Dataset.from_tensor_slices(x).repeat():
        if row[0] > 2.0:
            out = out.write(out.size(), row[1])
        last += row[0]
        if last > 20.0:
            break
    return out.stack(), last


def concatenated(x):
    out = tf.zeros([0, 2])
    for rows in Dataset.from_tensor_slices(x).batch(2):
        tf.autograph.experimental.set_loop_options(shape_invariants=[(out, tf.TensorShape([None, 2]))])
        out = tf.concat([out, rows], 0)
    return out


def slope_of_collected(x):
    out, i = tf.TensorArray(tf.float32, 0, dynamic_size=True), 0
    with tf.GradientTape() as tape:
        for row in Dataset.from_tensor_slices(x):
            out, i = out.write(i, row * factor * factor), i + 1
        total = tf.reduce_sum(out.stack())
    return tape.gradient(total, factor)


PROGRAMS = [
    (collected, [(ROWS,), (ROWS + 1.0,)]),
    (filtered, [(ROWS,), (ROWS + 1.0,)]),
    (concatenated, [(ROWS,)]),
    (slope_of_collected, [(ROWS,)]),
    (batches, [(ROWS, NAMES), (ROWS * 2.0, NAMES)]),
    (of_a_variable, [()]),
    (ranges, [(tf_range,), (tf_range + 2,)]),
    (zipped, [(ROWS, NAMES)]),
    (reduced, [(ROWS, NAMES), (ROWS + 1.0, NAMES + 1)]),
    (reduced_to_several, [(ROWS,)]),
    (begun, [(ROWS,), (ROWS + 1.0,)]),
    (begun_and_gone_along, [(ROWS,), (ROWS,)]),
]


@pytest.mark.parametrize(("program", "calls"), PROGRAMS, ids=[f.__name__ for f, _ in PROGRAMS])
def test_traced_is_eager(program, calls):
    traced = tf.function(program)
    for change in (1.0, 3.0):
        factor.assign(change)  # what is read when the function runs, not when it is traced
        for arguments in calls:
            tf.nest.map_structure(np.testing.assert_allclose, traced(*arguments), program(*arguments))
    assert traced.experimental_get_tracing_count() == 1


def test_open_sizes_are_those_of_the_call():
    f = tf.function(batches, input_signature=[tf.TensorSpec([None, 2]), tf.TensorSpec([None], tf.int32)])
    for n in (1, 3):
        assert float(f(ROWS[:n], NAMES[:n])) == float(batches(ROWS[:n], NAMES[:n]))
    assert f.experimental_get_tracing_count() == 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="3 and 2 are not compatible"):
        f(ROWS, NAMES[:2])


def test_a_gradient_goes_through_the_loop_and_not_into_the_elements():
    v = tf.Variable(3.0)

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = Dataset.from_tensor_slices(x).reduce(0.0, lambda s, e: s + tf.reduce_sum(e) * v * v)
        return tape.gradient(total, [v, x])

    by_v, by_x = tf.function(slope)(ROWS)
    assert float(by_v) == 6 * 21
    assert by_x is None


def test_python_s_loops_go_along_no_dataset_while_a_function_is_traced():
    @tf.function(autograph=False)
    def first(numbers):
        for x in numbers:
            return x

    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError, match="leave autograph on"):
        first(Dataset.range(3))


def test_no_optionals_in_functions():
    for function in (lambda each: each.get_next_as_optional(), lambda _: outside.get_next_as_optional()):
        outside = iter(Dataset.range(3))
        with pytest.raises(NotImplementedError, match="get_next_as_optional"):
            tf.function(function)(iter(Dataset.range(3)))


def test_a_list_that_a_function_returns_is_several_components():
    pairs = Dataset.range(2).map(lambda x: [x, tf.cast(x, tf.float32)])
    assert [s.dtype for s in pairs.element_spec] == [tf.int64, tf.float32]
    assert Dataset.range(2).map(lambda x: (x, [x, x])).element_spec[1].shape == [2]
    assert Dataset.range(3).scan(tf.constant(0, tf.int64), lambda s, x: [s + x, s]).element_spec.shape == []

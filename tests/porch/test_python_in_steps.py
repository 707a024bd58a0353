"""`py_function` and `numpy_function` in traced functions whose shapes nobody says: the first call runs eagerly, later ones know the ranks."""

from __future__ import annotations

import numpy as np
import pytest

import tapejit as tf

X = np.array([1.0, 2.0, 3.0], np.float32)


def same(a, b):
    """Equal tensors in equal structures; `b` may be a list of numbers."""
    if tf.is_tensor(a):
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-6)
        return
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)
        assert x.dtype is tf.convert_to_tensor(y).dtype


def as_eagerly(function, *args, calls=3):
    """Calls of a traced function give what its Python function gives; how often that was traced."""
    traced = tf.function(function)
    for _ in range(calls):
        same(traced(*args), function(*args))
    return traced.experimental_get_tracing_count()


# --------------------------------------------------------------------------------------------------- results
def doubled(x):
    return tf.py_function(lambda q: q * 2, [x], tf.float32) + 1.0


def several(x):
    y, s, n = tf.py_function(lambda q: (q * q, tf.reduce_sum(q), tf.size(q)), [x], [tf.float32, tf.float32, tf.int32])
    return {"y": y * x, "s": s * 2.0, "n": n + 1}


def chosen(x):
    return tf.numpy_function(lambda a: a[a > 1.5], [x], tf.float32) * 2.0


def in_a_loop(x):
    total, seen = 0.0, tf.TensorArray(tf.float32, 4)
    for i in tf.range(4):
        reward, done = tf.numpy_function(lambda a, i: (np.float32(a.sum() * i), np.int32(i > 2)), [x, i], [tf.float32, tf.int32])
        total += reward
        seen = seen.write(i, reward)
        if tf.cast(done, tf.bool):
            break
    return total, seen.stack()


def in_a_branch(x):
    if tf.reduce_sum(x) > 0:
        y = tf.reduce_sum(tf.py_function(lambda q: q * 2, [x], tf.float32))
    else:
        y = 0.0
    return y


def out_of_a_branch(x):
    y = tf.py_function(lambda q: q[1:], [x], tf.float32) if tf.reduce_sum(x) > 0 else x
    return y * 3.0


def in_while_and_cond(x):
    def body(i, a):
        return i + 1, a + tf.cond(a > 3.0, lambda: tf.py_function(tf.reduce_sum, [x], tf.float32) + 0.0, lambda: 1.0)

    return tf.while_loop(lambda i, a: i < 6, body, (0, 0.0))


def carried(x):
    for _ in tf.range(3):
        x = tf.py_function(lambda q: q * 2, [x], tf.float32)
    return x


def mapped(x):
    return tf.map_fn(lambda v: tf.py_function(lambda q: q * 2, [v], tf.float32) + 1.0, x)


def twice(x):
    def helper(v):
        return tf.py_function(lambda q: q * 2, [v], tf.float32)

    return helper(x) + 1.0, helper(x[0]) + 1.0, helper(tf.ones([2, 2])) + 1.0


def kept_apart(x):
    y = x
    for k in range(3):  # one line, of which every turn gives another rank
        y = tf.py_function(lambda q: q[tf.newaxis], [y], tf.float32) * float(k + 1)
    return y


def with_gradient(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, s = tf.py_function(lambda q: (q * q, tf.reduce_sum(q)), [x], [tf.float32, tf.float32])
        z = tf.reduce_sum(y * x) * s
    return z, tape.gradient(z, x)


PROGRAMS = [
    doubled, several, chosen, in_a_loop, in_a_branch, out_of_a_branch, in_while_and_cond, carried, mapped, twice, kept_apart, with_gradient,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_a_result_is_used_before_its_shape_is_said(program):
    assert as_eagerly(program, tf.constant(X)) == 1


def test_shapes_may_have_open_sizes():
    @tf.function
    def f(x):
        y = tf.numpy_function(lambda a: a[a > 1.5], [x], tf.float32)
        y.set_shape([None])
        z = tf.ensure_shape(tf.numpy_function(lambda a: np.outer(a, a)[:2], [x], tf.float32), [None, 3])
        assert y.shape.as_list() == [None]
        assert z.shape.as_list() == [None, 3]
        return y, z @ tf.ones([3, 1])

    for _ in range(2):
        y, z = f(tf.constant(X))
        same(y, [2.0, 3.0])
        same(z, [[6.0], [12.0]])
    assert f.experimental_get_tracing_count() == 1
    wrong = tf.function(lambda x: tf.ensure_shape(tf.numpy_function(np.sort, [x], tf.float32), [None, 2]) + 1.0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"of rank 1, where[\s\S]*test_python_in_steps\.py"):
        wrong(tf.constant(X))


def test_the_python_function_runs_once_per_call():
    calls = []

    @tf.function
    def f(x):
        return tf.py_function(lambda q: calls.append(float(tf.reshape(q, [-1])[0])) or q * 2, [x], tf.float32) + 1.0

    for k in range(4):
        f(tf.constant([float(k), 0.0]))
    assert calls == [0.0, 1.0, 2.0, 3.0]
    f(tf.zeros([7]))  # another size is another trace, but no other rank
    assert (len(calls), f.experimental_get_tracing_count()) == (5, 2)
    f(tf.zeros([2, 2]))
    f(tf.zeros([2, 2]))
    assert (len(calls), f.experimental_get_tracing_count()) == (7, 3)


def test_variables_are_assigned_once_per_call():
    class Counter(tf.Module):
        def __init__(self):
            self.count = None

        @tf.function
        def __call__(self, x):
            if self.count is None:
                self.count = tf.Variable(0.0)
            self.count.assign_add(1.0)
            return tf.numpy_function(np.sort, [x], tf.float32) * self.count

    counter = Counter()
    for k in range(1, 4):
        same(counter(tf.constant([2.0, 1.0])), [float(k), 2.0 * k])
        assert counter.count.numpy() == k


def test_under_a_tape():
    calls = []

    @tf.function
    def f(x):
        y = tf.py_function(lambda q: calls.append(1) or q * q, [x], tf.float32)
        return tf.reduce_sum(y * x)

    x = tf.constant(X)
    for k in range(3):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        np.testing.assert_allclose(tape.gradient(y, x), 3 * X * X)
        assert len(calls) == k + 1


def counting():
    """A function of which every call gives something else, and how often it was called."""
    calls = []

    def function(q):
        calls.append(1)
        return q * q * float(len(calls))

    return function, calls


def test_in_a_loop_that_a_gradient_runs_again():
    def program(function):
        def f(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = tf.constant(0.0)
                for _ in tf.range(5):
                    y = tf.py_function(function, [x], tf.float32)
                    if tf.reduce_sum(x) > 0:
                        y += tf.py_function(function, [x * 2.0], tf.float32)
                    total += tf.reduce_sum(y * x)
                    if total > 2000.0:
                        break
            return total, tape.gradient(total, x)

        return f

    traced_calls, eager_calls = counting(), counting()
    traced, eager = tf.function(program(traced_calls[0])), program(eager_calls[0])
    for _ in range(3):
        traced_calls[1].clear()
        eager_calls[1].clear()
        same(traced(tf.constant(X)), eager(tf.constant(X)))
        assert len(traced_calls[1]) == len(eager_calls[1]) > 2


@pytest.mark.parametrize("nested", [False, True])
def test_in_a_loop_of_a_call_that_is_differentiated(nested):
    function, calls = counting()

    def part(x):
        return tf.reduce_sum(tf.py_function(function, [x], tf.float32) * x)

    inner = tf.function(part) if nested else part

    def f(x):
        total = 0.0
        for k in tf.range(3):
            total += inner(x) + tf.cast(k, tf.float32) * inner(x * 2.0)
        return total

    def derivative(call):
        calls.clear()
        x = tf.constant(X)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = call(x)
        found = y, tape.gradient(y, x)
        assert len(calls) == 6
        return found

    traced = tf.function(f)
    wanted = derivative(f)
    for _ in range(3):
        same(derivative(traced), wanted)


def test_a_gradient_long_after_the_call():
    function, calls = counting()
    f = tf.function(lambda x: tf.reduce_sum(tf.py_function(function, [x], tf.float32)))
    f(tf.constant(X))
    calls.clear()
    tapes = []
    for _ in range(3):
        x = tf.constant(X)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        tapes.append((tape, y, x))
    for k in (1, 0, 2):
        tape, y, x = tapes[k]
        np.testing.assert_allclose(tape.gradient(y, x), 2 * X * (k + 1))
    assert len(calls) == 3


class Environment:
    """Something that acts on each step, and says when the episode is over."""

    def __init__(self):
        self.steps = 0

    def act(self, state, action):
        self.steps += 1
        return (0.9 * state + 0.2 * action - 0.1).astype(np.float32), np.float32(self.steps), np.int32(self.steps % 5 == 0)


def test_an_episode_whose_length_python_decides():
    def program(environment):
        weights = tf.Variable(np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2))

        def step(state):
            with tf.GradientTape() as tape:
                probabilities = tf.TensorArray(tf.float32, 0, dynamic_size=True)
                rewards = tf.TensorArray(tf.float32, 0, dynamic_size=True)
                for t in tf.range(20):
                    logits = tf.nn.softmax(tf.expand_dims(state, 0) @ weights)
                    action = tf.argmax(logits[0])
                    shape = state.shape
                    state, reward, done = tf.numpy_function(environment.act, [state, action], [tf.float32, tf.float32, tf.int32])
                    state.set_shape(shape)
                    probabilities = probabilities.write(t, logits[0, action])
                    rewards = rewards.write(t, reward)
                    if tf.cast(done, tf.bool):
                        break
                rewards = rewards.stack()
                loss = tf.reduce_sum(tf.math.log(probabilities.stack()) * rewards)
            gradient = tape.gradient(loss, weights)
            weights.assign_sub(0.1 * gradient)
            return rewards, loss, gradient

        return step

    eager_world, traced_world = Environment(), Environment()
    eager, traced = program(eager_world), tf.function(program(traced_world))
    for k in range(1, 4):
        state = tf.constant([0.1, -0.2, 0.3, 0.4])
        for a, b in zip(traced(state), eager(state), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
        assert eager_world.steps == traced_world.steps == 5 * k
    assert traced.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("order", ["last", "first", "nested"])
def test_arrays_grow_until_python_ends_the_loop(order):
    def f(x):
        rows = tf.TensorArray(tf.float32, 0, dynamic_size=True)
        for k in tf.range(10):
            y, done = tf.numpy_function(lambda a, k: (np.float32(a.sum() * k), k > 2), [x, k], [tf.float32, tf.bool])
            if order == "last":
                rows = rows.write(k, y)
            if done:
                if order == "nested":
                    rows = rows.write(k, -y)
                break
            if order != "last":
                rows = rows.write(k, y)
        return rows.stack() * 2.0, rows.size()

    assert as_eagerly(f, tf.constant(X)) == 1


def test_a_growing_array_needs_a_bound():
    @tf.function
    def forever(x):
        rows, k, going = tf.TensorArray(tf.float32, 0, dynamic_size=True), 0, True
        while going:
            rows = rows.write(k, x)
            k += 1
            going = tf.ensure_shape(tf.numpy_function(lambda n: n < 3, [k], tf.bool), [])
        return rows.stack()

    with pytest.raises(NotImplementedError, match=r"bound the loop[\s\S]*test_python_in_steps\.py"):
        forever(tf.constant(1.0))


def test_a_function_within_a_traced_one():
    inner = tf.function(lambda x: tf.py_function(lambda q: q * 2, [x], tf.float32) + 1.0)

    @tf.function
    def outer(x):
        return inner(x) + inner(x * 2)

    for _ in range(3):
        same(outer(tf.constant(X)), 6 * X + 2)
    assert (inner.experimental_get_tracing_count(), outer.experimental_get_tracing_count()) == (1, 1)


def test_a_line_that_no_call_has_met_yet():
    @tf.function
    def f(x, flag):
        y = 0.0
        if flag > 0:
            y = tf.py_function(tf.reduce_sum, [x], tf.float32) + 1.0
        return y

    got = [float(f(tf.constant(X), tf.constant(flag))) for flag in (0, 0, 1, 1, 0)]
    assert got == [0.0, 0.0, 7.0, 7.0, 0.0]
    assert f.experimental_get_tracing_count() == 1


def test_what_the_eager_call_is_given_and_gives():
    kinds = []

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def f(x):
        kinds.append(x.dtype)
        y = tf.py_function(lambda q: q + 1, [x], tf.float32)
        return {"y": y * 2.0, "n": 3, "none": None}

    for _ in range(2):
        out = f(np.array([1, 2]))
        assert out["none"] is None
        assert tf.is_tensor(out["n"])
        same(out["y"], [4.0, 6.0])
    assert set(kinds) == {tf.float32}

    @tf.function
    def along(dataset, scale):
        total = 0.0
        for x in dataset:
            total += tf.py_function(lambda q: q * 2, [x], tf.float32) * scale
        return total

    for _ in range(2):
        assert float(along(tf.data.Dataset.from_tensor_slices(X), 2.0)) == 24.0


def test_another_rank_later_is_an_error_with_the_line():
    shape = [3]

    @tf.function
    def f(x):
        return tf.py_function(lambda q: tf.reshape(q, shape), [x], tf.float32) * 2.0

    for _ in range(2):
        f(tf.constant(X))
    shape[:] = [1, 3]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"returned shape \[1, 3\] here[\s\S]*test_python_in_steps\.py"):
        f(tf.constant(X))
    shape[:] = [3]
    same(f(tf.constant(X)), 2 * X)


def test_without_values_nothing_can_be_met():
    f = tf.function(doubled)
    with pytest.raises(NotImplementedError, match=r"set_shape[\s\S]*test_python_in_steps\.py"):
        f.get_concrete_function(tf.TensorSpec([3], tf.float32))
    f(tf.constant(X))
    same(f.get_concrete_function(tf.TensorSpec([3], tf.float32))(tf.constant(X)), 2 * X + 1)


def test_what_python_raises_comes_out():
    def fail(x):
        raise ValueError("mine")

    f = tf.function(lambda x: tf.py_function(fail, [x], tf.float32) + 1.0)
    for _ in range(2):
        with pytest.raises(ValueError, match="mine"):
            f(tf.constant(X))


def test_decorators():
    @tf.numpy_function(Tout=[tf.float32, tf.int32])
    def step(a):
        assert isinstance(a, np.ndarray)
        return np.cumsum(a).astype(np.float32), np.int32(len(a))

    @tf.py_function(Tout=tf.float32)
    def squared(x):
        return x * x

    def f(x):
        y, n = step(x)
        return y + squared(x), n

    assert as_eagerly(f, tf.constant(X)) == 1
    assert squared.__name__ == "squared"


def test_a_dataset_maps_with_it():
    ds = tf.data.Dataset.range(4).map(lambda i: tf.numpy_function(lambda v: np.arange(v), [i], tf.int64) + 1)
    assert [x.tolist() for x in ds.as_numpy_iterator()] == [[], [1], [1, 2], [1, 2, 3]]


# ------------------------------------------------------------------------------------- sizes that only a branch knows
@pytest.mark.parametrize("high", [True, False])
def test_sizes_that_only_a_branch_knows(high):
    def f(x, flag):
        with tf.GradientTape() as tape:
            tape.watch(x)
            if flag:
                y = tf.boolean_mask(x * x, x > 1.5)
            else:
                y = x * 3.0
            loss = tf.reduce_sum(y * y)
        return y, tape.gradient(loss, x)

    assert as_eagerly(f, tf.constant(X), tf.constant(high)) == 1


def test_second_derivatives_through_such_branches():
    def f(x):
        return tf.boolean_mask(x**3, x > 1.5) if tf.reduce_sum(x) > 0 else tf.boolean_mask(x, x < 0)

    def derivatives(call):
        x = tf.constant(X)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(call(x))
            g = inner.gradient(y, x)
        return g, outer.gradient(g, x)

    same(derivatives(tf.function(f)), derivatives(f))


def test_nested_branches_in_a_loop():
    def f(x):
        total = 0.0
        for i in tf.range(4):
            if i % 2 == 0:
                y = tf.boolean_mask(x, x > tf.cast(i, tf.float32)) if i > 1 else x[:1]
            else:
                y = x
            total += tf.reduce_sum(y) * tf.cast(i + 1, tf.float32)
        return total

    assert as_eagerly(f, tf.constant(X)) == 1


def test_branches_must_agree_in_rank():
    f = tf.function(lambda x: tf.cond(x[0] > 0, lambda: tf.boolean_mask(x, x > 1), lambda: tf.ones([2, 2])))
    with pytest.raises(ValueError, match=r"both branches must agree[\s\S]*test_python_in_steps\.py"):
        f(tf.constant(X))

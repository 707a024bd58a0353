"""`tape.to_function`: a recording as a compiled function, with new inputs, live variables, the user's names, and guards."""

import numpy as np
import pytest

import tapejit as tf

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
Y = np.array([0, 1, 1, 0, 1, 0], "int32")


def network():
    rng = np.random.default_rng(1)
    return (
        tf.Variable(rng.normal(size=(3, 4)).astype("float32")),
        tf.Variable(tf.zeros(4)),
        tf.Variable(rng.normal(size=(4, 2)).astype("float32")),
    )


def loss_of(x, y, w, b, v):
    hidden = tf.tanh(x @ w + b)
    logits = hidden @ v
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
    return loss


def gradients(x, y, variables):
    with tf.GradientTape() as tape:
        loss = loss_of(x, y, *variables)
    return loss, tape.gradient(loss, variables)


@pytest.fixture
def recorded():
    x, y, variables = tf.constant(X), tf.constant(Y), list(network())
    with tf.GradientTape() as tape:
        loss = loss_of(x, y, *variables)
    return tape.to_function(loss, variables, inputs=[x, y]), variables


def same(got, wanted):
    for g, w in zip(tf.nest.flatten(got), tf.nest.flatten(wanted), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-6)


def test_it_computes_what_was_recorded_for_new_inputs(recorded):
    step, variables = recorded
    for x, y in [(X, Y), (X[::-1].copy(), 1 - Y)]:
        same(step(tf.constant(x), tf.constant(y)), gradients(tf.constant(x), tf.constant(y), variables))


def test_variables_are_read_when_it_is_called(recorded):
    step, variables = recorded
    first = float(step(X, Y)[0])
    for _ in range(30):
        _, grads = step(X, Y)
        for v, g in zip(variables, grads, strict=True):
            v.assign_sub(0.5 * g)
    same(step(X, Y), gradients(tf.constant(X), tf.constant(Y), variables))
    assert float(step(X, Y)[0]) < first * 0.8


def test_its_text_has_the_names_and_lines_of_the_user(recorded):
    text = recorded[0].show()
    assert text.startswith("def loss_of(x: f32[6, 3], y: i32[6]) -> (f32, f32[3, 4], f32[4], f32[4, 2]):")
    assert "hidden: f32[6, 4] = tanh(hidden_2)" in text
    assert "logits: f32[6, 2] = hidden @ " in text
    assert "with tape:" in text
    (line,) = [t for t in text.splitlines() if "logits: " in t]
    assert "# test_recorded.py:" in line


def test_it_runs_without_the_python_that_was_recorded():
    calls = []

    def f(x):
        calls.append(1)
        return tf.reduce_sum(x * x)

    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    g = tape.to_function(y, x)
    assert float(g(tf.constant([3.0, 4.0]))[0]) == 25
    assert len(calls) == 1
    assert tape.gradient(y, x).numpy().tolist() == [2, 4]  # the tape is as it was


def test_structures_of_target_and_sources():
    v, x = tf.Variable(2.0), tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        a, b = v * x, x * x
    values, grads = tape.to_function({"a": a, "b": [b]}, {"v": v, "x": (x,)})(tf.constant(5.0))
    assert {k: np.asarray(u).tolist() for k, u in values.items()} == {"a": 10.0, "b": [25.0]}
    assert float(grads["v"]) == 5
    assert float(grads["x"][0]) == 12


def test_a_variable_as_an_input():
    v = tf.Variable([1.0, 2.0])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(v**3)
    f = tape.to_function(y, v, inputs=[v])
    v.assign([100.0, 100.0])
    value, grad = f([2.0, 3.0])
    assert float(value) == 35
    assert grad.numpy().tolist() == [12, 27]


def test_a_value_on_the_way_as_an_input():
    x = tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
        z = y * x
    value, grads = tape.to_function(z, [x, y], inputs=[y])(10.0)
    assert float(value) == 30
    assert [float(g) for g in grads] == [10.0, 3.0]  # what made y is not there any more


def test_sources_that_nothing_connects_are_none():
    x, z = tf.constant(3.0), tf.Variable(1.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    assert tape.to_function(y, [x, z])(2.0)[1][1] is None


def test_tensors_that_are_no_inputs_keep_their_values():
    x, scale = tf.constant(3.0), tf.constant(np.full((20,), 2.0, "float32"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        noise = tf.random.normal([20])
        y = tf.reduce_sum(scale * x + noise)
    f = tape.to_function(y, x)
    assert float(f(3.0)[0]) == pytest.approx(float(y), rel=1e-5)
    assert float(f(4.0)[0]) == pytest.approx(float(y) + 40, rel=1e-5)


def test_what_python_decided_by_is_checked():
    def decide(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(x)
            if total > 0:
                y = total * 2.0
            else:
                y = total * 3.0
            for _ in range(int(tf.size(x))):
                y = y + total
        return tape.to_function(y, x)

    f = decide(tf.constant([1.0, 2.0]))
    assert float(f([2.0, 3.0])[0]) == 20
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Python went on with True here when this was recorded") as e:
        f([-2.0, 1.0])
    assert "if total > 0" in str(e.value)
    assert float(decide(tf.constant([-1.0, 0.0]))([-2.0, 1.0])[0]) == -5


def test_an_index_that_was_a_tensor_is_checked():
    x, k = tf.constant([1.0, 2.0, 3.0]), tf.constant(1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x[k] * 2.0
    f = tape.to_function(y, x, inputs=[x, k])
    assert f([5.0, 6.0, 7.0], 1)[1].numpy().tolist() == [0, 2, 0]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Python went on with 1 here"):
        f([5.0, 6.0, 7.0], 2)


def test_other_shapes_and_dtypes_are_refused(recorded):
    with pytest.raises(TypeError, match=r"Can not cast TensorSpec\(shape=\(2, 3\)"):
        recorded[0](tf.constant(X[:2]), tf.constant(Y[:2]))
    with pytest.raises(TypeError, match="Can not cast"):
        recorded[0](tf.constant(X, tf.float64), tf.constant(Y))


def test_traced_functions_and_own_gradients_on_the_record():
    w = tf.Variable([1.0, 2.0])
    layer = tf.function(lambda x: tf.while_loop(lambda k, z: k < 3, lambda k, z: (k + 1, z * w), (0, x))[1])

    @tf.custom_gradient
    def clipped(x):
        e = tf.exp(x)
        return e * 2.0, lambda g: g * e * 10.0

    x = tf.constant([0.1, 0.2])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = tf.reduce_sum(clipped(layer(x)))
    f = tape.to_function(y, [x, w])
    same(f(x), (y, tape.gradient(y, [x, w])))
    other = tf.constant([0.3, -0.1])
    with tf.GradientTape() as again:
        again.watch(other)
        z = tf.reduce_sum(clipped(layer(other)))
    same(f(other), (z, again.gradient(z, [other, w])))


def test_it_can_be_differentiated_and_called_in_a_traced_function():
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(x**3)
    f = tape.to_function(y, x)
    with tf.GradientTape() as outer:
        outer.watch(x)
        _, g = f(x)
    np.testing.assert_allclose(outer.gradient(g, x), [6, 12])
    np.testing.assert_allclose(tf.function(lambda z: f(z * 2.0)[1])(x), [12, 48])


def test_complex_numbers():
    x = tf.constant([1 + 1j, 2 - 1j])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = tf.reduce_sum(x * x * (2 + 0j))
    same(tape.to_function(y, x)(x), (y, tape.gradient(y, x)))


def test_a_variable_that_changed_between_two_reads():
    v = tf.Variable(3.0)
    with tf.GradientTape() as tape:
        y = v * v
        v.assign(10.0)
        z = y * v
    with pytest.raises(ValueError, match="was assigned between two reads on this tape"):
        tape.to_function(z, v)


def test_inputs_that_are_not_on_the_record():
    x, other = tf.constant(3.0), tf.constant(4.0)
    before = other * 2.0
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * before
    with pytest.raises(ValueError, match="to_function: other is not on the record that leads to the target"):
        tape.to_function(y, x, inputs=[x, other])
    assert float(tape.to_function(y, x, inputs=[before])(1.0)[0]) == 3


def test_a_record_that_is_gone():
    x = tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * x
    tape.gradient(y, x)
    with pytest.raises(ValueError, match="the record of this tape is gone with its gradient"):
        tape.to_function(y, x)


def test_within_a_traced_function():
    @tf.function
    def f(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x * x
        with pytest.raises(RuntimeError, match=r"tape.to_function is for tapes outside traced functions"):
            tape.to_function(y, x)
        return y

    f(tf.constant(2.0))


def test_bytes_held():
    x = tf.constant(np.zeros(1000, "float32"))
    with tf.GradientTape() as tape:
        assert tape.nbytes == 0
        tape.watch(x)
        y = tf.reduce_sum(tf.sin(x) * 2.0)
    assert 2 * 4000 <= tape.nbytes <= 3 * 4000 + 100
    tape.gradient(y, x)
    assert tape.nbytes == 0

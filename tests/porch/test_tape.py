"""`GradientTape` point by point: what is recorded, what `gradient` gives, and what it says about wrong calls."""

import logging
import threading

import numpy as np
import pytest

import tapejit as tf


@pytest.fixture
def v():
    return tf.Variable(3.0, name="v")


def numbers(structure):
    return [None if g is None else np.asarray(g).tolist() for g in structure]


# ---------------------------------------------------------------------------------------------- recording
def test_entering_an_active_tape_is_an_error(v):
    with tf.GradientTape() as tape:
        with pytest.raises(ValueError, match="Tape is still recording"):
            tape.__enter__()
        y = v * v
    assert tape.gradient(y, v).numpy() == 6


def test_an_exception_in_the_block_leaves_a_usable_tape(v):
    tape, made = tf.GradientTape(), []

    def failing():
        with tape:
            made.append(v * v)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert tape.gradient(made[0], v).numpy() == 6
    with tape:
        assert v.numpy() == 3


def test_the_stack_of_tapes_belongs_to_the_thread(v):
    made = []
    with tf.GradientTape() as tape:
        other = threading.Thread(target=lambda: made.append(v * v))
        other.start()
        other.join()
    assert tape.gradient(made[0], v) is None
    assert tape.watched_variables() == ()


def test_watched_variables_are_the_trainable_ones_in_the_order_of_making(v):
    count, fixed, late = tf.Variable(2), tf.Variable(1.0, trainable=False), tf.Variable(1.0)
    with tf.GradientTape() as tape:
        _ = count + 1
        _ = v * fixed
        tape.watch(late)
    assert [w is x for w, x in zip(tape.watched_variables(), (v, count, late), strict=True)] == [True] * 3
    assert tape.gradient(v * 1.0, v) is None  # behind the block
    assert len(tape.watched_variables()) == 3


def test_an_integer_variable_is_listed_but_has_no_gradient(v):
    count = tf.Variable(2)
    with tf.GradientTape() as tape:
        y = v * tf.cast(count, tf.float32)
    dv, dn = tape.gradient(y, [v, count])
    assert dv.numpy() == 2
    assert dn is None


def test_watching_what_is_no_tensor(v):
    with tf.GradientTape() as tape, pytest.raises(ValueError, match=r"Passed in object abc of type 'str', not tf.Tensor or tf.Variable"):
        tape.watch("abc")


def test_watching_integers_warns(caplog):
    import tapejit.tape as module

    module._integers_watched = 0
    with caplog.at_level(logging.WARNING, "tapejit"), tf.GradientTape() as tape:
        for _ in range(7):
            tape.watch(tf.constant([1, 2]))
    assert [r.message for r in caplog.records] == ["The dtype of the watched tensor must be floating (e.g. tf.float32), got tf.int32"] * 5


def test_watching_before_entering_says_so():
    with pytest.raises(AttributeError, match="before the tape is entered"):
        tf.GradientTape().watch(tf.constant(1.0))


def test_watching_a_structure():
    a, b = tf.constant(2.0), tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch({"a": a, "b": [b]})
        y = a * b
    assert numbers(tape.gradient(y, [a, b])) == [3, 2]


def test_only_ops_after_watch_count():
    c = tf.constant(3.0)
    with tf.GradientTape() as tape:
        y = c * c
        tape.watch(c)
        z = c * y
    assert tape.gradient(z, c).numpy() == 9


def test_stop_recording(v):
    with tf.GradientTape() as tape:
        y = v * v
        with tape.stop_recording():
            c = y * v
        z = y * c
    assert tape.gradient(z, v).numpy() == 6 * 27
    with pytest.raises(ValueError, match="Tape is not recording"), tape.stop_recording():
        pass
    with pytest.raises(RuntimeError, match="Trying to stop recording a tape which is not recording"), tf.GradientTape().stop_recording():
        pass


def test_reset_forgets_the_record_and_what_was_watched(v):
    x = tf.constant(2.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * v
        tape.reset()
        assert tape.watched_variables() == ()
        z = y * x * v
    assert tape.gradient(z, x) is None
    assert tape.gradient(z, v).numpy() == 12
    with pytest.raises(ValueError, match="Tape is not recording"):
        tape.reset()


def test_a_tape_entered_again_continues_its_record(v):
    with tf.GradientTape() as tape:
        y = v * v
    u = y * 2.0
    with tape:
        z = y * y * u
    assert tape.gradient(z, [v, y])[0].numpy() == pytest.approx(2 * 9 * 18 * 6)


# ------------------------------------------------------------------------------------------------ gradient
def test_a_tape_that_is_not_persistent_is_used_once(v):
    with tf.GradientTape() as tape:
        y = v * v
    tape.gradient(y, v)
    with pytest.raises(RuntimeError, match="A non-persistent GradientTape can only be used to compute one set of gradients"):
        tape.gradient(y, v)
    with pytest.raises(RuntimeError, match="non-persistent"):
        tape.jacobian(y, v)


def test_gradient_inside_the_block_ends_the_recording(v):
    with tf.GradientTape() as tape:
        y = v * v
        g = tape.gradient(y, v)
        with pytest.raises(ValueError, match="Tape is not recording"):
            tape.reset()
    assert g.numpy() == 6


def test_a_persistent_tape_records_its_own_gradient_and_warns_once(v, caplog):
    import tapejit.tape as module

    module._warned.clear()
    with caplog.at_level(logging.WARNING, "tapejit"), tf.GradientTape(persistent=True) as tape:
        y = v**3
        g = tape.gradient(y, v)
        tape.gradient(y, v)
    assert tape.gradient(g, v).numpy() == 18
    assert len([r for r in caplog.records if "significantly less efficient" in r.message]) == 1


def test_targets_and_sources_that_are_no_tensors(v):
    with tf.GradientTape(persistent=True) as tape:
        y = v * v
    with pytest.raises(TypeError, match=r"Argument `target` should be a list or nested structure of Tensors.*received None"):
        tape.gradient(None, v)
    for bad in ([y, None], 1.0, [y, 2.0]):
        with pytest.raises(TypeError, match=r"every element of `target` must be a tf.Tensor or tf.Variable"):
            tape.gradient(bad, v)
    with pytest.raises(TypeError, match="every element of `sources`"):
        tape.gradient(y, 1.0)


def test_targets_are_summed(v):
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * v
        z = y * y
    assert tape.gradient(y, v).numpy() == 3
    assert tape.gradient([y, y], v).numpy() == 6
    assert tape.gradient([z, y], v).numpy() == 2 * 3 * 5 + 3
    assert tape.gradient(v, v).numpy() == 1
    assert tape.gradient([], v) is None
    assert tape.gradient(y, []) == []


def test_results_have_the_structure_of_the_sources(v):
    c = tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch(c)
        y = c * v
    g = tape.gradient(y, {"c": c, "v": (v,), "twice": [v, v]})
    assert g["c"].numpy() == 3
    assert isinstance(g["v"], tuple)
    assert numbers(g["twice"]) == [2, 2]


def test_intermediate_sources_cut_nothing(v):
    with tf.GradientTape() as tape:
        y = v * v
        z = y * y
    assert numbers(tape.gradient(z, [v, y])) == [108, 18]


def test_what_is_unconnected(v):
    count, other = tf.Variable([1, 2]), tf.Variable([1.0, 2.0])
    with tf.GradientTape(persistent=True) as tape:
        y = v * v
        z = tf.floor(v) + tf.round(v)
    assert numbers(tape.gradient(y, [count, other])) == [None, None]
    zeros = tape.gradient(y, [count, other], unconnected_gradients=tf.UnconnectedGradients.ZERO)
    assert [g.dtype for g in zeros] == [tf.int32, tf.float32]
    assert [g.numpy().tolist() for g in zeros] == [[0, 0], [0, 0]]
    assert tape.gradient(z, v) is None
    assert tape.gradient(z, v, unconnected_gradients="zero").numpy() == 0
    with pytest.raises(ValueError, match="Unknown value for unconnected_gradients: 'bogus'"):
        tape.gradient(y, v, unconnected_gradients="bogus")


def test_output_gradients(v):
    x = tf.constant([1.0, 2.0, 3.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y, z = x * v, x * x
    assert tape.gradient(y, x, output_gradients=[1.0, 0.0, 2.0]).numpy().tolist() == [3, 0, 6]
    assert tape.gradient([y, z], x, output_gradients=[None, np.ones(3, "float32")]).numpy().tolist() == [5, 7, 9]
    with pytest.raises(ValueError, match=r"output gradient 0 has shape \(2,\), its target \(3,\)"):
        tape.gradient(y, x, output_gradients=tf.ones(2))
    with pytest.raises(ValueError, match="2 targets need 2 output_gradients, got 1"):
        tape.gradient([y, z], x, output_gradients=[tf.ones(3)])


def test_adjoints_use_the_values_that_were_read(v):
    with tf.GradientTape() as tape:
        y = v * v
        v.assign(10.0)
        z = y * v
    assert tape.gradient(z, v).numpy() == 69


def test_an_assignment_is_the_end_of_a_path(v):
    w = tf.Variable(2.0)
    with tf.GradientTape(persistent=True) as tape:
        y = v.assign(w * w) * 3.0
    assert numbers(tape.gradient(y, [v, w])) == [3, None]


def test_a_variable_made_on_the_tape_starts_anew(v):
    with tf.GradientTape() as tape:
        made = tf.Variable(v * 3.0)
        y = made * made
    assert numbers(tape.gradient(y, [v, made])) == [None, 18]


def test_tapes_nest_and_forget_what_happens_outside(v):
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            y = v**3
        g = inner.gradient(y, v)
    assert (g.numpy(), outer.gradient(g, v).numpy()) == (27, 18)
    with tf.GradientTape() as outer, tf.GradientTape() as inner:
        y = v**3
    g = inner.gradient(y, v)
    assert outer.gradient(g, v) is None


def test_a_hessian_times_a_vector():
    x, d = tf.constant([1.0, 2.0, 3.0]), tf.constant([1.0, -1.0, 0.5])
    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            y = tf.reduce_sum(x**3)
        g = t1.gradient(y, x)
    np.testing.assert_allclose(t2.gradient(g, x, output_gradients=d), 6 * x.numpy() * d.numpy(), rtol=1e-6)


def test_complex_gradients_are_conjugated():
    c = tf.Variable(2 + 1j, dtype=tf.complex128)
    with tf.GradientTape() as tape:
        y = c * c
    assert tape.gradient(y, c).numpy() == 4 - 2j


def test_a_tape_outside_sees_a_traced_call_as_one_op(v):
    @tf.function
    def f(x, unused):
        return x * x * v, x + 1.0

    x, u = tf.constant(2.0), tf.constant(1.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, u])
        a, b = f(x, u)
    assert tape.watched_variables()[0] is v
    assert numbers(tape.gradient(a, [x, u, v])) == [12, None, 4]
    assert numbers(tape.gradient([a, b], [x, v])) == [13, 4]


def test_second_order_through_a_traced_call(v):
    @tf.function
    def cube(x):
        return x * x * x * v

    x = tf.constant(2.0)
    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            y = cube(x)
        g = t1.gradient(y, x)
    assert numbers([g, *t2.gradient(g, [x, v])]) == [36, 36, 12]


def test_orders_through_a_traced_call_with_an_open_size():
    w = tf.Variable(np.array([[0.5, -1.0], [2.0, 0.3], [0.1, 0.7]], "float32"))

    def f(x):
        return tf.reduce_sum(tf.tanh(x @ w) ** 2, axis=1)

    x = tf.constant(np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3))
    found = []
    for g in (f, tf.function(f, input_signature=[tf.TensorSpec([None, 3])])):
        with tf.GradientTape() as t3:
            t3.watch(x)
            with tf.GradientTape() as t2:
                t2.watch(x)
                with tf.GradientTape() as t1:
                    t1.watch(x)
                    y = g(x)
                first = t1.gradient(y, [x, w])
                penalty = sum(tf.reduce_sum(d * d) for d in first)
            second = t2.gradient(penalty, [x, w])
            penalty = tf.reduce_sum(second[0] * second[0])
        found.append([y, *first, *second, *t3.gradient(penalty, [x, w])])
    for eager, traced in zip(*found, strict=True):
        np.testing.assert_allclose(traced, eager, rtol=2e-5, atol=1e-5)


def test_a_complex_function_called_under_a_tape():
    def f(z):
        return tf.cond(
            tf.math.real(z)[0] > 0.0, lambda: tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, y * y * z), (0, z))[1], lambda: z
        )

    z = tf.Variable(np.array([2 + 1j, 1 - 1j]), dtype=tf.complex128)
    found = []
    for g in (f, tf.function(f)):
        with tf.GradientTape() as tape:
            y = g(z)
        found.append(tape.gradient(y, z))
    np.testing.assert_allclose(found[1], found[0])


def test_an_op_without_a_gradient_may_be_called_under_a_tape(v):
    from tapejit.ir.op import Op

    class Odd(Op):
        name = "odd"

        def infer(self, x):
            return x

        def eager(self, x):
            return x

        def at(self, index, x):
            return x[index]

    odd = Odd()

    @tf.function
    def f(x):
        return odd(x * x)

    x = tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    assert y.numpy() == 9
    with pytest.raises(LookupError, match="gradient registry has no entry for: odd"):
        tape.gradient(y, x)


# ------------------------------------------------------------------------------------------------- traced
def test_errors_inside_a_traced_function_are_the_same(v):
    @tf.function
    def twice():
        with tf.GradientTape() as tape:
            y = v * v
        tape.gradient(y, v)
        return tape.gradient(y, v)

    with pytest.raises(RuntimeError, match="non-persistent"):
        twice()

    @tf.function
    def returned():
        with tf.GradientTape() as tape:
            _ = v * v
        return tape

    with pytest.raises(TypeError, match="found return value of type GradientTape"):
        returned()


def test_watched_variables_of_a_traced_tape(v):
    seen = []

    @tf.function
    def f():
        with tf.GradientTape() as tape:
            y = v * v
        seen.append(tape.watched_variables())
        return tape.gradient(y, v)

    assert f().numpy() == 6
    assert seen[0][0] is v


def test_none_inside_a_traced_function(v):
    seen = []

    @tf.function
    def f(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.stop_gradient(x * v) + tf.floor(x) + v * 0.0
        seen.append([g is None for g in tape.gradient(y, [x, v])])
        return y

    f(tf.constant(1.5))
    assert seen == [[True, False]]


# ---------------------------------------------------------------------------------------------- jacobians
def test_jacobian_has_the_shape_of_the_target_and_then_of_the_source(v):
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = tf.matmul(x, x)[0] * v
    j, jv, none = tape.jacobian(y, [x, v, tf.Variable(1.0)])
    assert (j.shape, jv.shape, none) == ((2, 2, 2), (2,), None)
    np.testing.assert_allclose(jv, (x.numpy() @ x.numpy())[0])
    expected = np.zeros((2, 2, 2))
    for k in range(2):
        for a in range(2):
            for b in range(2):
                expected[k, a, b] = 3 * ((a == 0) * x.numpy()[b, k] + (b == k) * x.numpy()[0, a])
    np.testing.assert_allclose(j, expected)
    zeros = tape.jacobian(y, tf.Variable([1, 2]), unconnected_gradients="zero")
    assert (zeros.shape, zeros.dtype) == ((2, 2), tf.int32)


def test_jacobian_without_pfor_needs_a_persistent_tape(v):
    with tf.GradientTape() as tape:
        y = v * v
    with pytest.raises(RuntimeError, match="must be created with persistent=True to compute the jacobian with eager execution"):
        tape.jacobian(y, v, experimental_use_pfor=False)
    assert tape.jacobian(y, v).numpy() == 6


def test_jacobian_takes_one_target(v):
    with tf.GradientTape() as tape:
        y = v * v
    with pytest.raises(TypeError, match=r"tape.jacobian takes one tf.Tensor or tf.Variable, got \["):
        tape.jacobian([y], v)


def test_jacobian_of_a_gathered_table_is_dense():
    table = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.gather(table, [2, 2, 0]), axis=1)
    np.testing.assert_array_equal(tape.jacobian(y, table)[0], [[0, 0], [0, 0], [1, 1]])


def test_batch_jacobian():
    x, w = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), tf.constant([[1.0, -1.0, 2.0], [0.5, 0.0, 1.0]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = (x * x) @ w
        short = tf.reduce_sum(x, axis=1)
        other = tf.ones((3, 2))
    np.testing.assert_allclose(tape.batch_jacobian(y, x), 2 * x.numpy()[:, None, :] * w.numpy().T[None])
    zeros = tape.batch_jacobian(other, x)
    assert zeros.shape == (3, 2, 2)
    assert not zeros.numpy().any()
    with pytest.raises(ValueError, match=r"Shape \(3,\) must have rank at least 2"):
        tape.batch_jacobian(short, x)
    with pytest.raises(ValueError, match="Need first dimension of target shape"):
        tape.batch_jacobian(y[:2], x)


def test_jacobians_of_targets_whose_batch_is_open():
    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def f(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = tf.sin(x) * tf.reduce_sum(x, axis=1, keepdims=True)
        return tape.batch_jacobian(y, x), tape.jacobian(y, x)

    x = np.array([[0.1, 0.2], [0.3, -0.4], [1.0, 2.0]], "float32")
    batch, full = f(x)
    expected = np.cos(x)[:, :, None] * np.eye(2) * x.sum(1)[:, None, None] + np.sin(x)[:, :, None]
    np.testing.assert_allclose(batch, expected, rtol=1e-5, atol=1e-6)
    for i in range(3):
        for j in range(3):
            np.testing.assert_allclose(full[i, :, j], expected[i] if i == j else np.zeros((2, 2)), rtol=1e-5, atol=1e-6)

"""What optimizers say of variables without a gradient: Keras' warning or error, with the reason that the tape knows and its line."""

import warnings

import pytest

import tapejit as tf

pytest.importorskip("keras")


def step(optimizer, v, w):
    with tf.GradientTape() as tape:
        loss = tf.floor(v) * w  # the reason
    optimizer.apply_gradients(zip(tape.gradient(loss, [v, w]), [v, w], strict=True))
    return loss


@pytest.mark.parametrize("traced", [False, True])
def test_the_warning_names_the_line(traced):
    v, w = tf.Variable(3.0, name="v"), tf.Variable(2.0, name="w")
    optimizer = tf.keras.optimizers.SGD(0.5)
    run = tf.function(lambda: step(optimizer, v, w)) if traced else lambda: step(optimizer, v, w)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run()
    texts = [str(x.message) for x in told if "Gradients do not exist for variables" in str(x.message)]
    assert texts
    assert "floor has no gradient" in texts[0]
    assert "the reason" in texts[0]
    assert (v.numpy(), w.numpy()) == (3.0, 0.5)


def test_the_error_names_the_line():
    v = tf.Variable(3.0, name="v")
    with tf.GradientTape() as tape:
        loss = tf.stop_gradient(v) * 2.0  # the reason
    with pytest.raises(ValueError, match=r"(?s)No gradients provided for any variable.*stop_gradient makes it a constant.*the reason"):
        tf.keras.optimizers.SGD(0.5).apply_gradients([(tape.gradient(loss, v), v)])

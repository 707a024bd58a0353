"""What `GradientTape` does, rule by rule: what is recorded, what `gradient` takes and gives."""

import logging
import threading

import pytest
from rules import NONE, Table, check, eager_only, raises

import tapejit as tf
from tapejit import tape as tapes

rule = Table()


# ---------------------------------------------------------------------------------------------- recording
@rule("ops of watched tensors are recorded", 4.0)
def _(e):
    with tf.GradientTape() as tape:
        tape.watch(e.c)
        y = e.c * e.c
    return [tape.gradient(y, e.c)]


@rule("trainable variables are watched when they are read", 6.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
    return [tape.gradient(y, e.v)]


@rule("variables that are not trainable are not watched", NONE)
def _(e):
    with tf.GradientTape() as tape:
        y = e.fixed * e.v
    return [tape.gradient(y, e.fixed)]


@rule("a variable that is not trainable is followed once it is watched", 3.0)
def _(e):
    with tf.GradientTape() as tape:
        tape.watch(e.fixed)
        y = e.fixed * e.v
        assert any(x is e.fixed for x in tape.watched_variables())
    return [tape.gradient(y, e.fixed)]


@rule("watch_accessed_variables=False leaves variables alone", NONE)
def _(e):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        y = e.v * e.v
        assert tape.watched_variables() == ()
    return [tape.gradient(y, e.v)]


@rule("watch_accessed_variables=False with watch", 6.0)
def _(e):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(e.v)
        y = e.v * e.v
    return [tape.gradient(y, e.v)]


@rule("ops behind the block are not recorded", NONE)
def _(e):
    with tf.GradientTape() as tape:
        tape.watch(e.c)
    return [tape.gradient(e.c * e.c, e.c)]


@rule("only ops after watch count", 4.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.c * e.c
        tape.watch(e.c)
        z = e.c * y
    return [tape.gradient(z, e.c)]


@rule("a tape entered again continues its record", 27.0)
def _(e):
    tape = tf.GradientTape()
    with tape:
        y = e.v * e.v
    with tape:
        z = y * e.v
    return [tape.gradient(z, e.v)]


@rule("entering an active tape is an error", 6.0)
def _(e):
    with tf.GradientTape() as tape:
        raises(ValueError, "Tape is still recording, This can happen if you try to re-enter an already-active tape.", tape.__enter__)
        y = e.v * e.v
    return [tape.gradient(y, e.v)]


@rule("an exception in the block leaves a usable tape", 6.0)
def _(e):
    made, tape = [], tf.GradientTape()

    def failing():
        with tape:
            made.append(e.v * e.v)
            raise KeyError("x")

    raises(KeyError, "x", failing)
    return [tape.gradient(made[0], e.v)]


@rule("the stack of tapes belongs to the thread", NONE, modes=eager_only)
def _(e):
    made = []
    with tf.GradientTape() as tape:
        other = threading.Thread(target=lambda: made.append(e.v * e.v))
        other.start()
        other.join()
    return [tape.gradient(made[0], e.v)]


@rule("what happens while recording is stopped is constant", 9.0)
def _(e):
    with tf.GradientTape() as tape:
        with tape.stop_recording():
            y = e.v * e.v
        z = y * e.v
    return [tape.gradient(z, e.v)]


@rule("stop_recording of a tape that was never entered")
def _(e):
    raises(RuntimeError, "Trying to stop recording a tape which is not recording.", lambda: tf.GradientTape().stop_recording().__enter__())
    return []


@rule("stop_recording of a tape that was left")
def _(e):
    with tf.GradientTape() as tape:
        pass
    with pytest.raises(ValueError, match=r"Tape is not recording\.") as caught, tape.stop_recording():  # the line that is named
        pass
    assert "the line that is named" in str(caught.value)
    return []


@rule("reset drops the record", NONE)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
        tape.reset()
    return [tape.gradient(y, e.v)]


@rule("reset forgets what was watched", NONE)
def _(e):
    with tf.GradientTape() as tape:
        tape.watch(e.c)
        tape.reset()
        y = e.c * e.c
    return [tape.gradient(y, e.c)]


@rule("variables are watched anew when read after reset", 6.0)
def _(e):
    with tf.GradientTape() as tape:
        _ = e.v * 2.0
        tape.reset()
        y = e.v * e.v
    return [tape.gradient(y, e.v)]


@rule("reset outside of the context")
def _(e):
    with tf.GradientTape() as tape:
        pass
    raises(ValueError, "Tape is not recording.", tape.reset)
    return []


@rule("watch takes nested structures", 1.0, 2.0)
def _(e):
    a, b = e.c + 0.0, e.c + 1.0
    with tf.GradientTape() as tape:
        tape.watch({"a": a, "b": [b]})
        y = a + 2.0 * b
    return tape.gradient(y, [a, b])


@rule("watch of what is no tensor")
def _(e):
    with tf.GradientTape() as tape:
        raises(ValueError, "Passed in object abc of type 'str', not tf.Tensor or tf.Variable or ExtensionType.", lambda: tape.watch("abc"))
    return []


@rule("watch of integers warns and changes nothing", NONE)
def _(e):
    k = tf.cast(e.c, tf.int32)
    with tf.GradientTape() as tape:
        tape.watch(k)
        y = tf.cast(k, tf.float32) * 2.0
    return [tape.gradient(y, k)]


@rule("watch before the tape is entered says what to do")
def _(e):
    raises(AttributeError, "call it inside `with tf.GradientTape", lambda: tf.GradientTape().watch(e.c))
    return []


@rule("watch after the block is without effect", NONE)
def _(e):
    with tf.GradientTape() as tape:
        y = e.c * e.c
    tape.watch(e.c)
    return [tape.gradient(y, e.c)]


@rule("watched_variables come in the order of making, integers among them")
def _(e):
    with tf.GradientTape() as tape:
        _ = e.w * 1.0
        _ = e.n + 1
        _ = e.v * e.w
    assert [x.name for x in tape.watched_variables()] == ["v:0", "w:0", "n:0"]
    return []


@rule("watched_variables survive the gradient", 6.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
    g = tape.gradient(y, e.v)
    assert [x.name for x in tape.watched_variables()] == ["v:0"]
    return [g]


# ---------------------------------------------------------------------------------------------- gradient
@rule("a tape that is not persistent is used once")
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
    tape.gradient(y, e.v)
    said = r"A non-persistent GradientTape can only be used to compute one set of gradients \(or jacobians\)"
    raises(RuntimeError, said, lambda: tape.gradient(y, e.v))
    raises(RuntimeError, said, lambda: tape.jacobian(y, e.v))
    return []


@rule("a persistent tape is used often", 6.0, 27.0)
def _(e):
    with tf.GradientTape(persistent=True) as tape:
        y = e.v * e.v
        z = y * e.v
    return [tape.gradient(y, e.v), tape.gradient(z, e.v)]


@rule("a gradient taken inside the block ends the recording", 6.0, NONE)
def _(e):
    outer = tf.GradientTape()
    with tf.GradientTape() as tape:
        y = e.v * e.v
        g = tape.gradient(y, e.v)
        with outer:
            pass
        z = e.v * y
    return [g, outer.gradient(z, e.v)]


@rule("a persistent tape records its own gradient inside the block", 2.0)
def _(e):
    with tf.GradientTape(persistent=True) as tape:
        y = e.v * e.v
        g = tape.gradient(y, e.v)
    return [tape.gradient(g, e.v)]


@rule("a tape that was never entered has nothing to give")
def _(e):
    raises(RuntimeError, "never entered", lambda: tf.GradientTape().gradient(e.c * e.c, e.c))
    return []


@rule("None as target")
def _(e):
    with tf.GradientTape() as tape:
        pass
    raises(TypeError, "Argument `target` should be a list or nested structure of Tensors", lambda: tape.gradient(None, e.v))
    return []


@rule("numbers and None within target or sources name the element")
def _(e):
    with tf.GradientTape(persistent=True) as tape:
        y = e.v * e.v
    for args in (([y, None], e.v), (1.0, e.v), (y, [e.v, 2.0])):
        raises(TypeError, "must be a tf.Tensor or tf.Variable, got", lambda args=args: tape.gradient(*args))
    return []


@rule("a target that is no scalar counts as its sum", [2.0, 4.0, 6.0])
def _(e):
    with tf.GradientTape() as tape:
        y = e.w * e.w
    return [tape.gradient(y, e.w)]


@rule("several targets are summed", 8.0)
def _(e):
    with tf.GradientTape() as tape:
        a, b = e.v * e.v, 2.0 * e.v
    return [tape.gradient([a, {"b": b}], e.v)]


@rule("a target listed twice counts twice", 12.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
    return [tape.gradient([y, y], e.v)]


@rule("a target that leads to another one counts on both paths", 33.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
        z = y * e.v
    return [tape.gradient([z, y], e.v)]


@rule("a variable as target", 1.0)
def _(e):
    with tf.GradientTape() as tape:
        _ = e.v * 1.0
    return [tape.gradient(e.v, e.v)]


@rule("no target", NONE)
def _(e):
    with tf.GradientTape() as tape:
        _ = e.v * 1.0
    return [tape.gradient([], e.v)]


@rule("no source")
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * 1.0
    assert tape.gradient(y, []) == []
    return []


@rule("results have the structure of the sources", 3.0, 2.0)
def _(e):
    with tf.GradientTape() as tape:
        tape.watch(e.c)
        y = e.c * e.v
    got = tape.gradient(y, {"c": e.c, "v": (e.v,)})
    assert set(got) == {"c", "v"}
    assert isinstance(got["v"], tuple)
    return [got["c"], got["v"][0]]


@rule("a source listed twice", 6.0, 6.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
    return tape.gradient(y, [e.v, e.v])


@rule("values on the way are sources and cut no path", 108.0, 18.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
        z = y * y
    return tape.gradient(z, [e.v, y])


@rule("the target itself as source", 1.0)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
    return [tape.gradient(y, y)]


@rule("an unconnected source is None", NONE)
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
    return [tape.gradient(y, e.w)]


@rule("an unconnected source is zeros where asked, in its dtype", [0.0, 0.0, 0.0], 0)
def _(e):
    with tf.GradientTape(persistent=True) as tape:
        y = e.v * e.v
    by_name = tape.gradient(y, e.w, unconnected_gradients="zero")
    k = tape.gradient(y, e.n, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    assert k.dtype is tf.int32
    return [by_name, k]


@rule("another word for unconnected_gradients")
def _(e):
    with tf.GradientTape() as tape:
        y = e.v * e.v
    raises(ValueError, "Unknown value for unconnected_gradients: 'bogus'", lambda: tape.gradient(y, e.v, unconnected_gradients="bogus"))
    return []


@rule("output_gradients weight the targets", [2.0, 0.0, 30.0])
def _(e):
    with tf.GradientTape() as tape:
        y = e.w * e.w
    return [tape.gradient(y, e.w, output_gradients=tf.constant([1.0, 0.0, 5.0]))]


@rule("output_gradients go with nested targets by position", 14.0)
def _(e):
    with tf.GradientTape() as tape:
        y = {"a": e.v * e.v, "b": [e.v * 2.0]}
    return [tape.gradient(y, e.v, output_gradients={"a": 2.0, "b": [1.0]})]


@rule("output_gradients of another number, shape or dtype")
def _(e):
    with tf.GradientTape(persistent=True) as tape:
        y, z = e.w * e.w, e.v * e.v
    for target, given in (([y, z], [z]), (y, tf.constant([1.0, 2.0])), (y, tf.zeros(3, tf.float64))):
        raises(ValueError, "output.gradient", lambda target=target, given=given: tape.gradient(target, e.w, output_gradients=given))
    return []


@rule("an op that declares no gradient gives None", NONE, NONE, NONE, NONE)
def _(e):
    with tf.GradientTape(persistent=True) as tape:
        results = [tf.floor(e.w), tf.round(e.w), tf.cast(tf.cast(e.w, tf.int32), tf.float32), tf.cast(tf.argmax(e.w), tf.float32)]
    return [tape.gradient(y, e.w) for y in results]


@rule("stop_gradient as the only path is None", NONE)
def _(e):
    with tf.GradientTape() as tape:
        y = tf.stop_gradient(e.v) * 2.0
    return [tape.gradient(y, e.v)]


@rule("stop_gradient on one of two paths", 3.0)
def _(e):
    with tf.GradientTape() as tape:
        y = tf.stop_gradient(e.v) * e.v
    return [tape.gradient(y, e.v)]


@rule("the gradient of sign is 0", [0.0, 0.0, 0.0])
def _(e):
    with tf.GradientTape() as tape:
        y = tf.sign(e.w)
    return [tape.gradient(y, e.w)]


@pytest.mark.parametrize(("f", "expected", "mode"), rule.rows)
def test_rule(f, expected, mode):
    check(f, expected, mode)


def test_there_are_many():
    assert len(rule) >= 50


def test_warnings_are_given_once_or_five_times(caplog, monkeypatch):
    monkeypatch.setattr(tapes, "_integers_watched", 0)
    monkeypatch.setattr(tapes, "_warned", set())
    v, k = tf.Variable(1.0), tf.constant(1)
    with caplog.at_level(logging.WARNING, "tapejit"):
        for _ in range(7):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(k)
                y = v * v
                tape.gradient(y, v)
    said = [r.getMessage() for r in caplog.records]
    assert sum("dtype of the watched tensor must be floating" in s for s in said) == 5
    assert sum("significantly less efficient" in s for s in said) == 1

"""Each way of losing a gradient, planted, eagerly and in a traced function: `tape.explain` names the cause and the line."""

import gc
import inspect
import warnings
import weakref

import numpy as np
import pytest

import tapejit as tf
from tapejit.explain.warned import LostGradientWarning


def line_of(mark):
    """The line of the test that ends in the comment `# mark`."""
    frame = inspect.currentframe().f_back
    while not frame.f_code.co_name.startswith("test_"):
        frame = frame.f_back
    lines, first = inspect.getsourcelines(frame.f_code)
    return next(first + k for k, text in enumerate(lines) if text.rstrip().endswith(f"# {mark}"))


def traced(function):
    """`function()` inside a traced function."""
    out = []

    @tf.function(autograph=False)
    def f():
        out.append(function())
        return tf.constant(0.0)

    f()
    return out[0]


def eagerly(function):
    return function()


both = pytest.mark.parametrize("how", [eagerly, traced])


def check(explanation, cause, mark, *words):
    assert explanation.cause == cause, explanation
    assert not explanation.connected
    if mark:
        assert (explanation.place.file, explanation.place.line) == (__file__, line_of(mark)), explanation
        assert explanation.place.quote() in str(explanation)
    for word in words:
        assert word in str(explanation)


@pytest.fixture
def lost():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lambda: [w for w in caught if w.category is LostGradientWarning]


@both
def test_cast_to_integers(how):
    v, w = tf.Variable(3.0), tf.Variable(2.0)

    def program():
        with tf.GradientTape(persistent=True) as tape:
            doubled = v * 2.0
            whole = tf.cast(doubled, tf.int32)  # cast
            y = tf.cast(whole, tf.float32) * w
        assert tape.gradient(y, v) is None
        return tape.explain(y, v)

    check(how(program), "cast", "cast", "cast to int32", "path: ")


@both
def test_stop_gradient_floor_argmax_and_indices(how):
    v, w = tf.Variable([3.0, 1.0]), tf.Variable([2.0, 5.0])

    def program():
        with tf.GradientTape(persistent=True) as tape:
            a = tf.stop_gradient(v * 2.0) * w  # stop
            b = tf.floor(v) * w  # floor
            c = tf.gather(w, tf.argmax(v))  # argmax
            d = tf.where(v > 2.0, w, 0.0)  # compare
        return [tape.explain(y, v) for y in (a, b, c, d)]

    a, b, c, d = how(program)
    check(a, "stop_gradient", "stop", "tf.stop_gradient")
    check(b, "no gradient", "floor", "floor has no gradient")
    check(c, "no gradient", "argmax", "argmax has no gradient")
    check(d, "no gradient", "compare")


@both
def test_not_watched_and_watched_too_late(how):
    w = tf.Variable(2.0)

    def program():
        c = tf.constant(3.0) * 1.0
        with tf.GradientTape(persistent=True) as tape:
            x = c * w  # use
            unwatched = tape.explain(x, c)
            y = c * c  # early
            tape.watch(c)  # watch
            z = y * c
        assert tape.gradient(y, c) is None
        return unwatched, tape.explain(y, c), tape.explain(z, c)

    unwatched, late, early = how(program)
    check(unwatched, "not watched", "use", "tape.watch")
    check(late, "watched too late", "early", f"test_missing_gradients.py:{line_of('watch')}", "^^^")
    assert early.connected


@both
def test_variables_that_are_not_watched(how):
    frozen = tf.Variable(1.0, trainable=False)
    v = tf.Variable(2.0)

    def program():
        with tf.GradientTape(persistent=True) as tape:
            y = frozen * v  # frozen
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as other:
            z = v * v  # other
        return tape.explain(y, frozen), tape.explain(y, v), other.explain(z, v)

    first, second, third = how(program)
    check(first, "not watched", "frozen", "trainable=False")
    assert second.connected
    check(third, "not watched", "other")


@both
def test_outside_and_stopped(how):
    v = tf.Variable(3.0)

    def program():
        before = v * 2.0
        with tf.GradientTape(persistent=True) as tape:
            with tape.stop_recording():
                inside = v * v  # stopped
            y = inside * v + before
            z = inside * 2.0
        after = v * 5.0  # after
        return tape.explain(y, v), tape.explain(z, v), tape.explain(after, v)

    y, z, after = how(program)
    assert y.connected
    check(z, "outside the tape", "stopped", "stop_recording()")
    check(after, "outside the tape", "after")


@both
def test_assignment(how):
    v, w = tf.Variable(3.0), tf.Variable(2.0)

    def program():
        with tf.GradientTape(persistent=True) as tape:
            new = w * 2.0
            v.assign(new)  # assign
            y = v * v
        return tape.explain(y, w), tape.explain(y, v)

    through, itself = how(program)
    check(through, "assigned", "assign", "not differentiable")
    assert itself.connected


def test_assign_add_and_a_new_variable():
    v, w = tf.Variable(3.0), tf.Variable(2.0)
    with tf.GradientTape(persistent=True) as tape:
        step = w * 2.0
        v.assign_add(step)  # add
        y = v * v
    check(tape.explain(y, w), "assigned", "add")


def test_a_name_bound_to_a_tensor():
    v = tf.Variable(3.0)
    with tf.GradientTape(persistent=True) as tape:
        y = v * 2.0
        v = v + 1.0  # rebound
    assert tape.gradient(y, v) is None
    check(tape.explain(y, v), "not connected", "rebound", "v.assign_add")


@both
def test_not_connected_at_all(how):
    v, w, u = tf.Variable(3.0), tf.Variable(2.0), tf.Variable(1.0)

    def program():
        with tf.GradientTape(persistent=True) as tape:
            a = v * 2.0
            y = w * 3.0  # y
        return tape.explain(y, v), tape.explain(y, u), a

    with_other, unused, _ = how(program)
    check(with_other, "not connected", "y", "nothing computed from")
    check(unused, "not connected", "y", "not used")


def test_integers_have_no_gradient():
    n = tf.Variable(3)
    with tf.GradientTape(persistent=True) as tape:
        y = tf.cast(n, tf.float32) * 2.0
    check(tape.explain(y, n), "not floating point", "", "int32")


def test_another_tape():
    v = tf.Variable(3.0)
    with tf.GradientTape(persistent=True) as one:  # one
        y = v * 2.0
    with tf.GradientTape(persistent=True) as other:
        z = v * 3.0
    check(other.explain(y, v), "another tape", "", f"test_missing_gradients.py:{line_of('one')}")
    assert other.explain(z, v).connected
    assert one.explain(y, v).connected


@both
def test_what_is_connected_says_by_which_ops(how):
    v = tf.Variable([3.0])

    def program():
        with tf.GradientTape(persistent=True) as tape:
            hidden = tf.sin(v)  # sin
            y = tf.reduce_sum(hidden * 2.0)  # sum
        return tape.explain(y, v)

    explanation = how(program)
    assert explanation.connected
    assert [(s.op, s.place.line) for s in explanation.path] == [("sin", line_of("sin")), ("mul", line_of("sum")), ("sum", line_of("sum"))]


def test_several_sources_keep_their_structure():
    v, w = tf.Variable(1.0), tf.Variable(1.0)
    with tf.GradientTape(persistent=True) as tape:
        y = v * 2.0
    out = tape.explain(y, {"v": v, "w": (w,)})
    assert out["v"].connected
    assert out["w"][0].cause == "not connected"


# ------------------------------------------------------------------------------------------------- after the gradient
def test_after_gradient_has_given_up_the_record():
    v, w, u = tf.Variable(3.0), tf.Variable(2.0), tf.Variable(2.0)
    with tf.GradientTape() as tape:
        y = tf.floor(v) * w  # floor
        aside = u * 2.0
    assert tape.gradient(y, [v, w])[0] is None
    check(tape.explain(y, v), "no gradient", "floor")
    assert tape.explain(y, w).connected
    assert tape.explain(aside, u).cause == "released"

    with tf.GradientTape() as tape:
        y = v * w
    tape.gradient(y, [v, w])
    assert tape.explain(y, v).connected
    assert "persistent=True" in str(tape.explain(y, v))


def test_what_is_kept_for_later_keeps_no_tensor_alive():
    v, w = tf.Variable(3.0), tf.Variable(2.0)
    with tf.GradientTape() as tape:
        hidden = tf.floor(v)
        y = hidden * w
    tape.gradient(y, [v, w])
    alive = weakref.ref(hidden)
    del hidden
    gc.collect()
    assert alive() is None
    assert tape.explain(y, v).cause == "no gradient"


# ------------------------------------------------------------------------------------------------------ through NumPy
def test_a_value_that_leaves_and_comes_back(lost):
    v = tf.Variable([3.0, 4.0])
    with tf.GradientTape(persistent=True) as tape:
        array = v.numpy()  # left
        y = tf.constant(array[1:]) * 2.0  # back
    assert tape.gradient(y, v) is None
    check(tape.explain(y, v), "numpy", "back", f"test_missing_gradients.py:{line_of('left')}")
    (warning,) = lost()
    assert (warning.filename, warning.lineno) == (__file__, line_of("back"))
    assert f"test_missing_gradients.py:{line_of('left')}" in str(warning.message)


def test_a_gradient_that_is_lost_in_part_is_told_of(lost):
    v = tf.Variable(2.0)
    for _ in range(3):
        with tf.GradientTape(persistent=True) as tape:
            y = tf.constant(v) * v  # part
        assert float(tape.gradient(y, v)) == 2
    (warning,) = lost()
    assert warning.lineno == line_of("part")
    explanation = tape.explain(y, v)
    assert explanation.connected
    assert "no part in the gradient" in str(explanation)
    assert explanation.others[0].line == line_of("part")


@pytest.mark.parametrize(
    "away",
    [
        lambda x: x.numpy(),
        lambda x: np.asarray(x),
        lambda x: np.asarray(x).reshape(1, -1)[0],
        lambda x: float(x[0]),
        lambda x: [float(x[0]), 1.0],
    ],
    ids=["numpy", "asarray", "view", "float", "list"],
)
@pytest.mark.parametrize("back", [tf.constant, tf.convert_to_tensor, lambda x: tf.constant(1.0) * x], ids=["constant", "convert", "op"])
def test_the_ways_out_and_in(lost, away, back):
    x = tf.constant([2.0, 3.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        z = x * 1.5
        y = back(away(z)) * 2.0
    assert tape.explain(y, x).cause == "numpy"


def test_other_numbers_do_not_count(lost):
    x = tf.constant([2.0, 3.0])
    history = []
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * 2.0
        history.append(float(y[0]))
        z = y * 4.0 + tf.constant([4.0, 6.0]) + tf.constant(np.float32(4.0))
        n = int(tf.reduce_sum(y))
        z = z * n
    tf.constant(history[0])
    assert lost() == []
    assert tape.explain(z, x).connected


def test_no_tape_no_notes():
    x = tf.constant([2.0])
    x.numpy()
    with tf.GradientTape() as tape:
        y = tf.constant(x.numpy())
    assert tape._diary._exports == {}
    assert float(y) == 2


# --------------------------------------------------------------------------------------------------- calls of functions
def test_inside_a_traced_function_called_under_a_tape():
    w = tf.Variable(2.0)

    @tf.function
    def f(x):
        whole = tf.floor(x)  # floor
        return whole * w, x * w

    x = tf.constant(2.5)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        a, b = f(x)
        c = a + 1.0
    assert tape.gradient(c, x) is None
    check(tape.explain(c, x), "no gradient", "floor", "inside f")
    assert tape.explain(b, x).connected


def test_second_order_in_a_traced_function():
    v = tf.Variable(2.0)

    def program():
        with tf.GradientTape(persistent=True) as outer:
            with tf.GradientTape() as inner:
                y = v * 3.0
            slope = inner.gradient(y, v)
        return outer.explain(slope, v), outer.gradient(slope, v)

    explanation, gradient = traced(program)
    assert gradient is None
    assert not explanation.connected


@pytest.mark.parametrize("form", ["branch", "for", "while", "map", "vmap", "carried"])
def test_inside_branches_and_loops_of_a_traced_function(form):
    v, w = tf.Variable(3.0), tf.Variable(2.0)
    told = []

    @tf.function
    def f(n):
        with tf.GradientTape(persistent=True) as tape:
            y, away = w * 1.0, w * 1.0
            if form == "branch":
                if w > 1.0:
                    y = tf.stop_gradient(v) * w  # branch
                else:
                    y = w * 3.0
            elif form == "for":
                for _ in tf.range(n):
                    y = y * tf.cast(tf.cast(v, tf.int32), tf.float32)  # for
            elif form == "while":
                while y < 100.0:
                    y = (
                        y
                        + tf.floor(v)  # while
                        + 1.0
                    )
            elif form == "map":
                y = tf.map_fn(
                    lambda e: e * w * tf.stop_gradient(v),  # map
                    tf.constant([1.0, 2.0]),
                )
            elif form == "vmap":
                y = tf.vectorized_map(lambda e: e * tf.round(v), tf.constant([1.0, 2.0]))  # vmap
            else:
                for _ in tf.range(n):
                    y = tf.stop_gradient(away) * w  # carried
                    away = v * 2.0
        assert tape.gradient(y, v) is None
        told.append(tape.explain(y, v))
        return y

    f(tf.constant(3))
    cause = {"for": "cast", "while": "no gradient", "vmap": "no gradient"}.get(form, "stop_gradient")
    check(told[0], cause, form, "inside ")


@both
def test_a_gradient_function_that_gives_none(how):
    v, w = tf.Variable(3.0), tf.Variable(2.0)

    @tf.custom_gradient
    def product(x, y):
        return x * y, lambda up: (up * y, None)

    def program():
        with tf.GradientTape(persistent=True) as tape:
            y = product(w * 1.0, v * 1.0)  # product
        assert tape.gradient(y, v) is None
        return [tape.explain(y, x) for x in (v, w)]

    of_v, of_w = how(program)
    check(of_v, "no gradient", "product", "none" if how is traced else "product passes no gradient")
    assert of_w.connected


def test_a_value_that_left_and_was_computed_with_in_python():
    v, w = tf.Variable(3.0), tf.Variable([2.0, 1.0])
    with tf.GradientTape(persistent=True) as tape:
        total = 0.0
        for _ in range(2):
            total += float(v)  # total
        y = w * total
        parts = np.array(
            [float(x) for x in (v * 2.0, w[0])],  # parts
        )
        z = w[1] * parts[0]
        print(float(v))  # behind both
    check(tape.explain(y, v), "numpy", "total", "no op leads from v to y", "left TensorFlow as a NumPy or Python value")
    told = tape.explain(z, v)
    check(told, "numpy", "total")
    assert line_of("parts") in [p.line for p in told.others]
    assert line_of("behind both") not in [p.line for p in told.others]


def test_a_variable_made_of_what_the_tape_follows():
    v, w = tf.Variable(3.0), tf.Variable(2.0)
    with tf.GradientTape(persistent=True) as tape:
        fresh = tf.Variable(v * 3.0)  # fresh
        y = fresh * w
    assert tape.gradient(y, v) is None
    check(tape.explain(y, v), "assigned", "fresh")


def test_equal_code_of_two_files_and_of_cells_without_one(tmp_path):
    """Python holds code objects equal that differ in nothing but their file."""
    source = (
        "def program(tf, v, w):\n"
        "    with tf.GradientTape(persistent=True) as tape:\n"
        "        y = tf.stop_gradient(v) * w\n"
        "    return tape.explain(y, v)\n"
    )
    told = []
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(source)
    for name in (str(tmp_path / "one.py"), str(tmp_path / "two.py"), "<string>"):
        space = {}
        exec(compile(source, name, "exec"), space)
        told.append((name, space["program"](tf, tf.Variable(3.0), tf.Variable(2.0))))
    assert [(e.place.file, e.place.line) for _, e in told] == [(name, 3) for name, _ in told]

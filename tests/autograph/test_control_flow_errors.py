"""What is said of control flow that cannot be recorded, and of what only the run finds wrong."""

from __future__ import annotations

import traceback

import pytest

import tapejit as tf

NUMBERS = tf.data.Dataset.range(3)


def one_side(x):
    if x > 0:
        y = x
    return y


def main_side(x):
    if x > 0:
        pass
    else:
        y = x
    return y


def dtypes(x):
    if x > 0:
        y = x * 2.0
    else:
        y = 1
    return y


def returns_none(x):
    if x > 0:
        return x


def structures(x):
    if x > 0:
        y = (x, x)
    else:
        y = x
    return y


def changes_shape(x):
    v = tf.stack([x, x])
    for _ in tf.range(3):
        v = tf.concat([v, v], 0)
    return v


def changes_dtype(x):
    total = 0
    for _ in tf.range(3):
        total = x
    return total


def changes_structure(x):
    parts = []
    for _ in tf.range(3):
        parts = parts + [x]
    return parts


def appends(x):
    parts = []
    for _ in tf.range(3):
        parts.append(x * 2.0)
    return parts[0] + 1.0


def assigns_an_element(x):
    v = tf.stack([x, x])
    if x > 0:
        v[0] = 1.0
    return v


def not_a_scalar(x):
    if tf.stack([x, x]) > 0:
        x = x + 1.0
    return x


def over_a_scalar(x):
    for i in x:
        x = x + i
    return x


def changes_its_condition(x):
    go = x > 0
    while go:
        go = 0
    return x


def attribute_that_a_method_assigns(x):
    counter = Counter()
    for _ in tf.range(3):
        counter.increment()
    return counter.n + 0


class Counter:
    n = 0

    def increment(self):
        self.n = self.n + tf.constant(1)


def next_with_a_default(x):
    return next(iter(NUMBERS), x)


def any_of_numbers(x):
    return any(NUMBERS)


def enumerated_iterator(x):
    return [i for i, _ in enumerate(iter(NUMBERS))]


def dataset_beside_a_list(x):
    return [x * y for x, y in zip([x, x], NUMBERS)]


def sorted_matrix(x):
    return sorted(tf.stack([[x, x]]))


def reads_none_in_a_loop(x):
    best = None
    for _ in tf.range(3):
        best = x if best is None else best + x
    return best


ERRORS = {
    one_side: (ValueError, "'y' must also be initialized in the else branch"),
    main_side: (ValueError, "'y' must also be initialized in the main branch"),
    dtypes: (TypeError, "'y' has dtype float32 in the main branch, but dtype int32 in the else branch"),
    returns_none: (ValueError, "'retval_' is None at the end of the else branch."),
    structures: (TypeError, "must have the same nested structure in the main and else branches"),
    changes_shape: (
        ValueError,
        r"'v' has shape \(2,\) before the loop, but shape \(4,\) after one iteration. "
        "Use tf.autograph.experimental.set_loop_options to set shape invariants.",
    ),
    changes_dtype: (TypeError, "'total' has dtype int32 before the loop, but dtype float32 after one iteration"),
    changes_structure: (TypeError, "'parts' does not have the same nested structure .* tf.TensorArray"),
    appends: (TypeError, "out of scope"),
    assigns_an_element: (TypeError, "does not support item assignment"),
    not_a_scalar: (ValueError, r"a condition must be a scalar, got shape \(2,\)"),
    over_a_scalar: (TypeError, "Cannot iterate over a scalar tensor"),
    changes_its_condition: (TypeError, "'go' has dtype bool before the loop, but dtype int32 after one iteration"),
    attribute_that_a_method_assigns: (tf.errors.InaccessibleTensorError, "out of scope"),
    next_with_a_default: (NotImplementedError, r"next\(iterator, default\) of a dataset's iterator"),
    any_of_numbers: (ValueError, "any and all of a dataset want elements that are bool scalars, got TensorSpec"),
    enumerated_iterator: (NotImplementedError, "enumerate of a dataset's iterator"),
    dataset_beside_a_list: (NotImplementedError, "or of a dataset beside something else"),
    sorted_matrix: (ValueError, r"sorted wants one number for each element, got shape \(1, 2\)"),
    reads_none_in_a_loop: (TypeError, "'best' is None before the loop"),
}


@pytest.mark.parametrize("program", ERRORS, ids=lambda f: f.__name__)
def test_errors_name_the_variable(program):
    kind, message = ERRORS[program]
    with pytest.raises(kind, match=message) as caught:
        tf.function(program)(tf.constant(1.0))
    assert __file__ in "".join(traceback.format_exception(caught.value))


def test_errors_point_at_the_branch():
    with pytest.raises(TypeError) as caught:
        tf.function(dtypes)(tf.constant(1.0))
    assert f"{__file__}:{dtypes.__code__.co_firstlineno + 1}\n      if x > 0:" in str(caught.value)


def test_loop_without_iterations_does_not_initialize():
    @tf.function
    def f(n):
        for i in tf.range(n):
            last = i
        return last

    assert int(f(tf.constant(3))) == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="must iterate at least once to initialize 'last'"):
        f(tf.constant(0))


def test_assertions_are_checked_when_the_step_runs():
    @tf.function
    def f(x):
        assert x > 0, "must be positive"
        return x

    assert float(f(tf.constant(1.0))) == 1.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be positive"):
        f(tf.constant(-1.0))

    @tf.function
    def g(x):
        assert len("no") == 3, "never"
        return x

    with pytest.raises(AssertionError, match="never"):
        g(tf.constant(1.0))

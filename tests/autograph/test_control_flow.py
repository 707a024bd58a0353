"""Python control flow on tensors: what a program gives eagerly, it gives traced, in one compiled step."""

from __future__ import annotations

import numpy as np
import optree
import pytest
from control_flow import PROGRAMS

import tapejit as tf


def arrays(result):
    return [np.asarray(tf.convert_to_tensor(x)) for x in optree.tree_leaves(result)]


@pytest.mark.parametrize(("program", "calls"), PROGRAMS, ids=[f.__name__ for f, _ in PROGRAMS])
def test_traced_is_eager(program, calls):
    traced = tf.function(program)
    for arguments in calls:
        expected, found = arrays(program(*arguments)), arrays(traced(*arguments))
        assert [x.shape for x in found] == [x.shape for x in expected]
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6)


def test_a_loop_without_iterations_gives_nothing_where_there_was_none():
    @tf.function
    def last_of(n):
        last = None
        for i in tf.range(n):
            last = i
        return last

    assert int(last_of(tf.constant(3))) == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least once to initialize 'last'"):
        last_of(tf.constant(0))

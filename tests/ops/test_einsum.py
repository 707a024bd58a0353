"""einsum and tensordot against NumPy's, their gradients, and what they refuse."""

import numpy as np
import pytest

import tapejit as tf
from tapejit.ops.einsum import einsum, parse

EQUATIONS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,kj->ik", [(2, 3), (4, 3)]), ("ji,jk->ki", [(3, 2), (3, 4)]), ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
    ("ij->j", [(2, 3)]), ("ij->", [(2, 3)]), ("ji", [(2, 3)]), ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("ijij->ij", [(2, 3, 2, 3)]),
    ("i,j->ij", [(2,), (3,)]), ("i,i->", [(3,), (3,)]), ("ij,j", [(2, 3), (3,)]), ("ab,ab->a", [(2, 3), (2, 3)]),
    ("...ij,jk->...ik", [(5, 6, 2, 3), (3, 4)]), ("...ij,...jk->...ik", [(5, 1, 2, 3), (6, 3, 4)]), ("i...->...", [(2, 3, 4)]), ("...,...->...", [(3,), (2, 3)]),
    ("abc,cd,de->abe", [(2, 3, 4), (4, 5), (5, 6)]), ("a,ab,b->", [(2,), (2, 3), (3,)]), ("iij,jk->ki", [(2, 2, 3), (3, 4)]),
    ("bqhd,bkhd->bhqk", [(2, 4, 3, 5), (2, 6, 3, 5)]), ("bhqk,bkhd->bqhd", [(2, 3, 4, 6), (2, 6, 3, 5)]), ("ij,jk->ik", [(2, 0), (0, 3)]),
]  # fmt: skip


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum_is_numpys(equation, shapes):
    random = np.random.default_rng(0)
    xs = [random.normal(size=s) for s in shapes]
    np.testing.assert_allclose(tf.einsum(equation, *xs), np.einsum(equation, *xs), atol=1e-12)


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum_is_linear_with_the_right_gradient(equation, shapes):
    """The contraction is linear in each operand, so its change along a direction is the contraction with that direction."""
    random = np.random.default_rng(0)
    xs = [tf.constant(random.normal(size=s)) for s in shapes]
    with tf.GradientTape() as tape:
        tape.watch(xs)
        y = tf.einsum(equation, *xs)
    w = random.normal(size=y.shape)
    for k, g in enumerate(tape.gradient(y, xs, tf.constant(w))):
        d = random.normal(size=shapes[k])
        change = np.einsum(equation, *(d if i == k else x.numpy() for i, x in enumerate(xs)))
        np.testing.assert_allclose(np.sum(g * d), np.sum(w * change), atol=1e-10)


def test_many_operands_go_in_a_cheap_order():
    a, b, v = np.ones((50, 60), "f4"), np.ones((60, 70), "f4"), np.ones(70, "f4")
    np.testing.assert_allclose(tf.einsum("ij,jk,k->i", a, b, v), np.full(50, 60.0 * 70))


@pytest.mark.parametrize(
    ("a", "b", "axes"),
    [
        ((3, 4, 5), (4, 3, 2), ([1, 0], [0, 1])), ((3, 4), (4, 5), 1), ((3,), (4,), 0), ((3, 4, 5), (4, 5, 2), 2), ((3, 4, 5), (5, 3), (-1, 0)),
        ((2, 2), (2, 2), [[0], [1]]), ((3,), (3,), 1),
    ],
)  # fmt: skip
def test_tensordot_is_numpys(a, b, axes):
    random = np.random.default_rng(0)
    x, y = random.normal(size=a), random.normal(size=b)
    np.testing.assert_allclose(tf.tensordot(x, y, axes), np.tensordot(x, y, axes), atol=1e-12)


def test_parse_names_the_axes_of_an_ellipsis_from_the_last():
    assert parse("...i,i...->...", [3, 2]) == ([("...1", "...0", "i"), ("i", "...0")], ("...1", "...0"))
    assert parse("ba", [2])[1] == ("a", "b")


@pytest.mark.parametrize(
    ("equation", "shapes", "says"),
    [
        ("ij,jk->ik", [(2, 3)], "names 2 operands, got 1"),
        ("ij->i", [(2, 3, 4)], "names 2 axes, the operand has rank 3"),
        ("ij->k", [(2, 3)], "'k' of the result is in no operand"),
        ("ij,jk->ik", [(2, 3), (4, 5)], "axis 'j': sizes 3 and 4 differ"),
        ("ii->i", [(2, 3)], "axes 'i': sizes 2 and 3 differ"),
        ("...i->i", [(2, 3)], "missing from the result"),
        ("i->ii", [(2,)], "distinct letters"),
    ],
)
def test_refusals_name_the_equation_and_the_axis(equation, shapes, says):
    xs = [tf.constant(np.ones(s)) for s in shapes]
    with pytest.raises(ValueError, match=says):
        einsum(equation, *xs)
    with pytest.raises(tf.errors.InvalidArgumentError, match=says):
        tf.einsum(equation, *xs)


def test_tensordot_refusals():
    with pytest.raises(ValueError, match="different number of contraction axes"):
        tf.tensordot(np.ones((2, 3)), np.ones((2, 3)), [[0], [0, 1]])
    with pytest.raises(ValueError, match="axis 1 of"):
        tf.tensordot(np.ones((2, 3)), np.ones((2, 3)), 1)
    with pytest.raises(ValueError, match="out of range"):
        tf.tensordot(np.ones((2, 3)), np.ones((2, 3)), [[2], [0]])


def test_sizes_that_are_open_while_tracing():
    """Two batches are taken to be equal, which the traced function checks when it is called."""
    spec = [tf.TensorSpec([None, 4, 3, 5]), tf.TensorSpec([None, 6, 3, 5])]
    f = tf.function(lambda q, k: tf.einsum("bqhd,bkhd->bhqk", q, k), input_signature=spec)
    q, k = np.ones((2, 4, 3, 5), "f4"), np.ones((2, 6, 3, 5), "f4")
    np.testing.assert_array_equal(f(q, k), np.full((2, 3, 4, 6), 5))
    with pytest.raises((ValueError, TypeError)):
        f(q, k[:1].repeat(3, 0))

"""The interpreter: sizes from shapes, cells, nested graphs, and shapes that do not fit."""

import numpy as np
import pytest

import tapejit.ops  # noqa: F401
from tapejit.core.errors import InvalidArgumentError
from tapejit.ir.interpreter import bind_sizes, run
from tapejit.ir.parser import parse


def test_sizes_from_shapes():
    graph = parse("def f(x: f32[B * C], y: f32[2 * B + 1, C]) -> None:\n    state.w: f32[D]\n    return\n")
    assert bind_sizes(graph, [(6,), (5, 3)], {"w": (4,)}) == {"B": 2, "C": 3, "D": 4}
    assert bind_sizes(graph, [(0,), (1, 3)], {}) == {"B": 0, "C": 3}


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(7,), (5, 3)], "axis 0 of x must have size B \\* C, got 7"),
        ([(6, 1), (5, 3)], "x must have rank 1"),
        ([(6,), (4, 3)], "y of shape \\[4, 3\\] has an axis of size 4, which 2 \\* B \\+ 1 cannot be"),
        ([(6,), (5, 4)], "axis 0 of x must have size"),
    ],
)
def test_shapes_that_do_not_fit(shapes, expected):
    graph = parse("def f(x: f32[B * C], y: f32[2 * B + 1, C]) -> None:\n    return\n")
    with pytest.raises(InvalidArgumentError, match=expected):
        bind_sizes(graph, shapes, {})


def test_guards_are_checked():
    graph = parse("def f(x: f32[B], y: f32[C]) -> f32[C]:\n    z: f32[C] = x + y\n    return z\n")
    with pytest.raises(InvalidArgumentError, match="sizes B and C must be equal, got 2 and 3"):
        run(graph, [np.zeros(2, "f4"), np.zeros(3, "f4")])


def test_nested_graphs_see_what_is_around_them():
    graph = parse("""
        def power(x: f32[B], n: i32) -> (i32, f32[B]):
            state.steps: i32
            def until(i: i32, p: f32[B]) -> bool:
                done: bool = i >= n
                return done
            def step(i_1: i32, p_1: f32[B]) -> (i32, f32[B]):
                steps: i32 = state.steps
                steps_1: i32 = steps + 1
                state.steps = steps_1
                p_2: f32[B] = p_1 * x
                i_2: i32 = i_1 + 1
                return i_2, p_2
            zero: i32 = constant(0)
            ones: f32[B] = full(shape=(B,), value=1.0, dtype=f32)
            k, result = repeat(zero, ones, until=until, step=step)
            return k, result
    """)
    cells = {"steps": np.int32(10)}
    k, result = run(graph, [np.float32([1, 2, 3]), np.int32(4)], cells)
    assert k == 4
    assert cells["steps"] == 14
    np.testing.assert_array_equal(result, np.float32([1, 16, 81]))


def test_a_counted_size_shapes_later_lines():
    graph = parse("""
        def f(x: f32[B]) -> (f32[K], f32[2 * K]):
            mask: bool[B] = x > 0.0
            K: i32 = count(mask)
            y: f32[K] = kept(x, mask, size=K)
            z: f32[2 * K] = full(shape=(2 * K,), value=1.0, dtype=f32)
            return y, z
    """)
    y, z = run(graph, [np.float32([1, -1, 2])])
    assert y.tolist() == [1, 2]
    assert z.shape == (4,)


def test_operands_are_not_written_into():
    x = np.float32([1, 2])
    graph = parse("def f(x: f32[2]) -> f32[2]:\n    y: f32[2] = x + 1.0\n    return y\n")
    run(graph, [x])
    assert x.tolist() == [1, 2]


def test_guards_on_sizes_that_lines_bind_are_checked_there():
    graph = parse("""
        def f(n: i64, m: i64) -> f32[K]:
            K: i64 = size_of(n)
            L: i64 = size_of(m)
            assert K == L
            x: f32[K] = full(shape=(K,), value=1.0, dtype=f32)
            y: f32[L] = full(shape=(L,), value=2.0, dtype=f32)
            z: f32[K] = x + y
            return z
    """)
    (z,) = run(graph, [np.int64(3), np.int64(3)])
    assert z.tolist() == [3.0, 3.0, 3.0]
    with pytest.raises(InvalidArgumentError, match="f: sizes K and L must be equal, got 1 and 3"):
        run(graph, [np.int64(1), np.int64(3)])  # NumPy would stretch the one element

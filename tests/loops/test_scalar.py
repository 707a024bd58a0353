"""The expression syntax, and the reference's strictness."""

from __future__ import annotations

import numpy as np
import pytest

from tapejit.core import dtypes, sizes
from tapejit.loops import expr, parser, reference, scalar
from tapejit.loops.expr import Call, Const, Var
from tapejit.loops.walk import linear, nonnegative

F = dtypes.float32
X, N = Var(F, "x"), Var(dtypes.int32, "n")


def test_numbers_take_the_dtype_of_what_they_meet() -> None:
    assert scalar.parse("x + 1", x=X) == Call(F, "add", (X, Const(F, 1.0)))
    assert scalar.parse("2 * 3 - n", n=N) == Call(dtypes.int32, "sub", (Const(dtypes.int32, 6), N))
    assert scalar.parse("1.5", dtypes.float64) == Const(dtypes.float64, 1.5)
    assert scalar.parse("alpha * x", x=X, alpha=0.25) == Call(F, "mul", (Const(F, 0.25), X))
    assert scalar.parse("x * n", x=X, n=3) == Call(F, "mul", (X, Const(F, 3.0)))


def test_conditions() -> None:
    assert scalar.parse("x if x > 0 else 0", x=X) == expr.select(X > 0, X, 0)
    assert scalar.parse("0 < x < 1 and not isnan(x)", x=X).dtype is dtypes.bool_
    assert scalar.parse("max(x, 0, -x)", x=X) == Call(F, "max", (Call(F, "max", (X, Const(F, 0.0))), -X))
    assert scalar.parse("-inf", x=X) == Const(F, float("-inf"))
    assert scalar.parse("i32(x) % 3", x=X) == Call(dtypes.int32, "mod", (expr.cast(X, dtypes.int32), Const(dtypes.int32, 3)))


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("x + n", TypeError, "add of f32 and i32"),
        ("n / 2", TypeError, "div does not take i32"),
        ("n + 0.5", TypeError, "the number 0.5 is no i32"),
        ("exp(x, x)", TypeError, "exp takes 1 operands, found 2"),
        ("y + 1", NameError, "'y', which is not defined"),
        ("x[0]", SyntaxError, "not an expression of the loop language"),
        ("x if x else 0", TypeError, "select takes a bool condition"),
        ("bitcast(x, f64)", TypeError, "the widths differ"),
    ],
)
def test_bad_expressions(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        scalar.parse(text, x=X, n=N)


@pytest.mark.parametrize("combine", scalar.COMBINES)
@pytest.mark.parametrize("d", [dtypes.bool_, dtypes.int8, dtypes.uint32, dtypes.float32])
def test_neutral_elements_change_nothing(combine: str, d: dtypes.DType) -> None:
    if d.kind not in scalar.FUNCTIONS[combine].kinds:
        return
    for x in (0, 1, 5, 77):
        value = d.np.type(x)
        start = d.np.type(scalar.neutral(combine, d))
        assert scalar.FUNCTIONS[combine].reference(start, value) == value


def test_indices_of_reshapes_are_seen_through() -> None:
    x, n = Var(dtypes.int64, "x"), sizes.named("N")
    assert linear((x // 5, x % 5), (7, 5)) == x
    assert linear((x // expr.of_dim(n), x % expr.of_dim(n)), (3, n)) == x
    assert linear((x // 15, x // 5 % 3, x % 5), (4, 3, 5)) == x
    assert linear((Var(dtypes.int64, "b"), x // 5, x % 5), (2, 7, 5)) == Var(dtypes.int64, "b") * 35 + x
    assert linear((x // 5, x % 4), (7, 4)) == (x // 5) * 4 + x % 4


def test_what_is_never_negative() -> None:
    i = Var(dtypes.int64, "i")
    assert nonnegative(i * 2 + 1, {"i"})
    assert nonnegative((i - 5) % 3, {"i"})
    assert not nonnegative(i - 1, {"i"})
    assert not nonnegative(i, set())


def test_the_reference_refuses_an_index_outside_its_buffer() -> None:
    kernel = parser.kernel("def f(x: f32[3], y: out[f32[4]]):\n    for i in parallel(4):\n        y[i] = x[i]\n")
    with pytest.raises(IndexError, match=r"index \(3,\) outside x"):
        reference.run_kernel(kernel, {"x": np.ones(3, "f4"), "y": np.ones(4, "f4")})


def test_a_guard_keeps_the_reference_inside() -> None:
    text = "def f(x: f32[3], y: out[f32[4]]):\n    for i in parallel(4):\n        y[i] = guarded(i < 3, x[i], -1.0)\n"
    y = np.zeros(4, "f4")
    assert reference.run_kernel(parser.kernel(text), {"x": np.ones(3, "f4"), "y": y}) == 0
    assert y.tolist() == [1, 1, 1, -1]


def test_locals_of_a_loop_do_not_outlive_it() -> None:
    text = """\
def f(y: out[f32[3]]):
    acc: f32 = 0.0
    for i in serial(3):
        z: f32 = f32(i)
        acc += z
        y[i] = acc
"""
    y = np.zeros(3, "f4")
    reference.run_kernel(parser.kernel(text), {"y": y})
    assert y.tolist() == [0, 1, 3]


def test_reductions_inside_expressions() -> None:
    text = "def f(x: f32[2, 3], y: out[f32[2]]):\n    for i in parallel(2):\n        y[i] = sum(x[i, k] for k in serial(3)) - 1.0\n"
    y = np.zeros(2, "f4")
    reference.run_kernel(parser.kernel(text), {"x": np.arange(6, dtype="f4").reshape(2, 3), "y": y})
    assert y.tolist() == [2, 11]

"""The text of kernels and programs reads back as it was printed."""

from __future__ import annotations

import pytest
from kernel_cases import CASES

from tapejit.core import dtypes, sizes
from tapejit.loops import expr, parser, printer
from tapejit.loops.expr import Call, Const, Load, Reduce, Var
from tapejit.loops.nest import Kernel, Let, Param, Store
from tapejit.loops.program import Buffer, Copy, Program

F = dtypes.float32
INDEX = dtypes.int64


@pytest.mark.parametrize("name", CASES)
def test_kernels_print_as_they_were_read(name: str) -> None:
    text = CASES[name][0]
    kernel = parser.kernel(text)
    assert printer.kernel(kernel) == text
    assert parser.kernel(printer.kernel(kernel)) == kernel


X, Y, C = Var(F, "x"), Var(F, "y"), Var(dtypes.bool_, "c")


@pytest.mark.parametrize(
    ("e", "text"),
    [
        (X - (Y - 1.0), "x - (y - 1.0)"),
        ((X - Y) - 1.0, "x - y - 1.0"),
        (Const(F, 2.0) + Const(F, 3.0), "f32(2.0) + 3.0"),
        (-(X + Y), "-(x + y)"),
        (-X * Y, "-x * y"),
        (X * -1.0, "x * -1.0"),
        (Const(F, float("-inf")), "-inf"),
        (Const(F, 0.1), "0.1"),
        (expr.select(C, X, expr.select(C, Y, 1.0)), "x if c else y if c else 1.0"),
        (expr.select(C, expr.select(C, X, Y), Y), "(x if c else y) if c else y"),
        (Call(dtypes.bool_, "not", (Call(dtypes.bool_, "and", (C, X < 1.0)),)), "not (c and x < 1.0)"),
        (Call(dtypes.bool_, "eq", (X < Y, C)), "(x < y) == c"),
        (expr.cast(Call(F, "exp", (X,)), dtypes.int32), "i32(exp(x))"),
        (Call(dtypes.int32, "bitcast", (X,)), "bitcast(x, i32)"),
        (Load(F, "a", (Var(INDEX, "i") + 1, Var(INDEX, "j") // 2)), "a[i + 1, j // 2]"),
        (Load(F, "a", ()), "a[()]"),
        (Call(F, "guarded", (C, X, Const(F, 0.0))), "guarded(c, x, 0.0)"),
        (Reduce(F, "add", (("k", 3), ("l", sizes.named("N"))), X * Y), "sum(x * y for k in serial(3) for l in serial(N))"),
        (Reduce(F, "max", (("k", 3),), X), "max(x for k in serial(3))"),
    ],
)
def test_expressions(e: expr.Expr, text: str) -> None:
    assert printer.expression(e) == text
    kernel = Kernel("f", (Param("a", F, (4, 4)),), ("x", "y", "c"), (Let("z", e),))
    read = parser.kernel(printer.kernel(kernel).replace("x: size, y: size, c: size", "i: size, j: size").replace(
        "    z:", "    x: f32 = f32(0)\n    y: f32 = f32(0)\n    c: bool = True\n    z:"))  # fmt: skip
    last = read.body[-1]
    assert isinstance(last, Let)
    assert last.value == e


PROGRAM = """\
def double(x: f32[B, 4], y: out[f32[B, 4]], B: size):  # a.py:3
    for i in parallel(B):
        for j in vector(4):
            y[i, j] = x[i, j] * 2.0


def count(x: f32[B, 4], n: out[i64], B: size):
    total: i64 = 0
    for i in serial(B):
        total += i64(x[i, 0] > 0.0)
    n[()] = total


def step(x, r, arena, B, error, callback, kept__address, kept__size0):
    sizes(B)
    arena = 16 * B + 64
    x: argument[f32[B, 4]]
    r: result[f32[B, 4]]
    h: arena[f32[B, 4]] = 0
    n: arena[i64] = 16 * B
    c: arena[bool] = 16 * B + 8
    k: heap[f32[K]]
    double(x, h)
    copy(r, h)
    count(h, n)
    K = size(n)
    allocate(k)
    check_size(7, B, K)
    if c:
        double(h, r)
    else:
        copy(r, x)
    while True:
        count(h, n)
        if not c:
            break
        double(h, r)
    host_call(2, 5, [x, r], [B])
    deliver(k, kept__address)
    free(h)
"""


def test_programs_print_as_they_were_read() -> None:
    read = parser.program(PROGRAM)
    assert printer.program(read) == PROGRAM
    assert [k.name for k in read.kernels()] == ["double", "count"]
    assert read.table[-2:] == ("kept.address", "kept.size0")
    assert read.kernels()[0].places == ("a.py:3",)


def test_an_unused_arena_is_not_printed() -> None:
    program = Program("f", {"x": Buffer("x", F, (3,), "argument"), "y": Buffer("y", F, (3,), "result")}, (Copy("y", "x"),), ("x", "y"))
    assert parser.program(printer.program(program)) == program


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def f(x: f32[3]):\n    return x\n", "line 2: expected a statement of the loop language"),
        ("def f(x: f32[3]):\n    y[0] = 1.0\n", "line 2: expected an accumulator or an element of a buffer"),
        ("def f(x):\n    pass\n", "a parameter with a type"),
        ("def f(x: f32[3]):\n    y: i32 = x[0]\n", "a value of i32, not of f32"),
    ],
)
def test_bad_text_names_the_line_and_what_was_expected(text: str, error: str) -> None:
    with pytest.raises(SyntaxError, match=error):
        parser.kernel(text)


def test_stores_into_scalars_and_of_literals_keep_their_dtype() -> None:
    kernel = Kernel("f", (Param("y", dtypes.int8, (), "out"),), (), (Store("y", (), Const(dtypes.int8, 3)),))
    assert printer.kernel(kernel) == "def f(y: out[i8]):\n    y[()] = 3\n"
    assert parser.kernel(printer.kernel(kernel)) == kernel

"""What the parser says about text that is wrong: the line, what was found, what to write."""

import pytest

import tapejit.ops  # noqa: F401
from tapejit.core import dtypes
from tapejit.core.errors import InvalidArgumentError
from tapejit.core.places import Place
from tapejit.ir.graph import Literal
from tapejit.ir.parser import parse
from tapejit.ir.printer import text

HEAD = "def f(x: f32[B, 3], y: f32[3], i: i32[3]) -> f32[B, 3]:\n    state.w: f32[3]\n    const.c: f32[3]\n"


def rejected(lines: str, head: str = HEAD, end: str = "    return x\n") -> str:
    with pytest.raises(InvalidArgumentError) as e:
        parse(head + "".join(f"    {row}\n" for row in lines.split("\n") if row) + end)
    return str(e.value)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("z: f32[B, 4] = x + y", "line 4: z is f32[B, 3], but the text says f32[B, 4]"),
        ("z: i32[B, 3] = x + y", "line 4: z is f32[B, 3], but the text says i32[B, 3]"),
        ("z: f32[B, 3] = x + y\nw: f32[3] = maximun(y, y)", "line 5: unknown op maximun; did you mean maximum?"),
        ("z: f32[B, 3] = x + yy", "line 4: unknown name yy; did you mean y?"),
        ("z: f32[B, 3] = x + z", "line 4: unknown name z"),
        ("z: f32[B, 3] = x + y\nz: f32[B, 3] = x + y", "line 5: z is defined twice, first on line 4"),
        ("y: f32[B, 3] = x + y", "line 4: y is defined twice, first on line 1"),
        ("a, b = tanh(x)", "line 4: tanh has 1 results, but the line names 2"),
        ("tanh(x)", "line 4: tanh has 1 results, but the line names 0"),
        ("a: f32[B, 3] = both(x, y)", "line 4: both has 2 results, but the line names 1"),
        ("a, = tanh(x)", "line 4: a line with one result has its type"),
        ("z = tanh(x)", "line 4: z is no size that a parameter or cell of f has"),
        ("n: i32 = dim(B)\nz = tanh(x)", "line 5: declarations come first and lines have types"),
        ("B = size(y, 0)", "line 4: by the types above, B = size(x, 0)"),
        ("z: f32[3] = state.v", "line 4: unknown name state.v; did you mean state.w?"),
        ("z: f32[3] = const.d", "line 4: unknown name const.d; did you mean const.c?"),
        ("z: f32[4] = state.w", "line 4: state.w is declared as f32[3], but the text says f32[4]"),
        ("state.v = y", "line 4: unknown name state.v; did you mean state.w?"),
        ("state.w: f32[3]", "line 4: state.w is declared twice"),
        ("size_: f32[3] = tanh(y)\nsum: f32[3] = tanh(y)", "line 5: sum means something else in the text of a graph; write sum_"),
        ("B: f32[3] = tanh(y)", "line 4: B is the name of a size"),
        ("z: f32[4] = full(shape=(N,), value=1.0, dtype=f32)", "line 4: unknown size or function N"),
        ("z: f32[B, 3] = tanh(x + y)", "line 4: expected the name of a value, got `x + y`; one line is one op"),
        ("z: f32[3] = i * 0.5", "line 4: 0.5 is no i32, which is a whole number from -2147483648 to 2147483647"),
        ("z: i32[3] = i * 3000000000", "line 4: 3000000000 is no i32"),
        ("z: i32[3] = i * f32(True)", "line 4: True is no f32"),
        ("z: f32[3] = i @ i", "line 4: matmul takes operands of rank 2 or more"),
        ("z: f32[3] = i + y", "line 4: add takes operands of one dtype"),
        ("z: f32[3] = x.T + y", "line 4: `.T` may only be written on an operand of `@`"),
        ("z: f32[3] = y << 2", "line 4: there is no op for `<<`"),
        ("z: f32 = sum(y)", "line 4: "),
        ("z: f32 = sum(y, axes=(0,))", "line 4: "),
        ("z: f32[3] = cast(y, dtype=float32)", "line 4: unknown size or function float32"),
        ("z: f32[3] = y", "line 4: `y` is no right side of a line"),
        ("for k in x: pass", "line 4: For is no line of a graph"),
        ("z: f33[3] = tanh(y)", "line 4: not a type: f33[3]; write for example f32[B, 3]"),
        ("z: f32[B / 2] = tanh(y)", "line 4: not a size: B / 2"),
        ("with y:\n    z: f32[3] = tanh(y)", "line 4: y is the value of line 1 and no tape"),
        ("with t:\n    z: f32[3] = tanh(y)\nt: f32[3] = tanh(y)", "line 6: t is the tape of line 4"),
        ("z, = tape.gradient([], [y])", "line 4: tape.gradient needs at least one target and one source"),
        ("z, = tape.gradient([y], [y], output_gradients=[y, y])", "line 4: after the sources only output_gradients=[...] with 1 entries"),
        ("z: f32[3] = tape.gradient([y], [y])", "line 4: gradients are a list; write z, = ..."),
        ("z: f32[3] = read(cell='w')", "line 4: unknown op read"),
        ("z: f32[2] = constant([1, y])", "line 4: `y` is no number"),
        ("z: i8 = dim(B, dtype=int8)", "line 4: `int8` is no dtype; write one of bool, i8"),
        ("z: f32[3] = tanh(**y)", "line 4: attributes are written out one by one"),
        ("def g(a: f32) -> f32:\n    state.u: f32[3]\n    return a", "line 5: state.u has to be declared in the outermost function"),
        ("def g(a: f32) -> f32:\n    b: f32 = a + 1.0\n    return a\nz: f32 = g(y)", "line 7: unknown op g"),
        ("def g(a: f32) -> f32:\n    return a\nz: f32 = tanh(a)", "line 6: unknown name a"),
    ],
)
def test_wrong_lines(lines, expected):
    assert rejected(lines).startswith(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\n", "the text of a graph is one `def`, got 1 statements: Assign"),
        ("def f(x: f32) -> f32:\n    return x +\n", "line 2: this is no Python"),
        ("def f(x) -> f32:\n    return x\n", "line 1: parameter x has no type"),
        ("def f(x: f32):\n    return x\n", "line 1: f does not say what it returns"),
        ("def f(x: f32) -> f64:\n    return x\n", "line 2: x is f32, but the `def` line of f says it returns f64"),
        ("def f(x: f32) -> (f32, f32):\n    return x\n", "line 2: f returns 1 values, but its `def` line says 2"),
        ("def f(x: f32) -> f32:\n    y: f32 = tanh(x)\n", "line 2: f has to end with a `return` line"),
        ("def f(x: f32 = 1) -> f32:\n    return x\n", "line 1: a graph has plain parameters"),
        ("def f(x: f32[B], B: f32) -> f32:\n    return B\n", "line 1: B is the name of a size"),
        ("def f(x: f32, x: f32) -> f32:\n    return x\n", "line 1: "),
    ],
)
def test_wrong_functions(source, expected):
    with pytest.raises(InvalidArgumentError) as e:
        parse(source)
    assert str(e.value).startswith(expected)


def test_error_quotes_the_line():
    assert rejected("z: f32[B, 4] = x + y").endswith("\n    z: f32[B, 4] = x + y")


def test_hand_written_text():
    graph = parse("""
        def f(x: f32[B, 3],
              z: c64) -> f32[B, 3]:       # a file.py:7
            # a remark
            y: f32[B, 3] = maximum(
                x, 2)                     # a file.py:8

            w: c64 = z * (1 + 2j)
            return y
    """)
    assert graph.place == Place("a file.py", 7)
    assert graph.body[0].place == Place("a file.py", 8)
    assert graph.body[0].args[1] == Literal(2.0, dtypes.float32)
    assert graph.body[1].args[1] == Literal(1 + 2j, dtypes.complex64)
    assert text(parse(text(graph))) == text(graph)


def test_nested_graphs_share_cells():
    graph = parse(
        "def f(x: f32) -> f32:\n    state.w: f32\n    def g(a: f32) -> f32:\n        w: f32 = state.w\n        return w\n    y: f32 = choose(x, yes=g, no=g)\n    return y\n"
    )
    assert graph.body[0].attrs["yes"].cells is graph.cells
    assert graph.body[0].attrs["yes"] is graph.body[0].attrs["no"]

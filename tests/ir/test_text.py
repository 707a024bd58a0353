"""The text of a graph: what is printed, read back the same, and run."""

from pathlib import Path

import numpy as np
import pytest

import tapejit.ops  # noqa: F401  (fills the table of ops)
from tapejit.core import dtypes
from tapejit.core.errors import InternalError
from tapejit.core.places import Place
from tapejit.core.sizes import named
from tapejit.core.types import Type
from tapejit.ir import interpreter, structure
from tapejit.ir.builder import Builder, number
from tapejit.ir.execute import run_text
from tapejit.ir.graph import Graph, Literal
from tapejit.ir.op import OPS
from tapejit.ir.parser import parse
from tapejit.ir.printer import attribute, text
from tapejit.ir.verifier import verify

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.py"))
TRAIN_STEP = (Path(__file__).parent / "golden" / "train_step.py").read_text()


def arrays(graph: Graph, types, sizes, rng):
    """Random arrays of the given types, small whole numbers for integers."""
    made = []
    for t in types:
        shape = tuple(interpreter.sizes.evaluate(d, sizes) for d in t.shape)
        x = rng.normal(size=shape) if t.dtype.kind in "fc" else rng.integers(0, 2 if t.dtype.kind == "b" else 5, size=shape)
        made.append(np.asarray(x).astype(t.dtype.np))
    return made


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_reads_back_the_same(path):
    written = path.read_text()
    graph = parse(written)
    assert text(verify(graph)) == written
    assert text(verify(parse(text(graph)))) == written


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_runs_as_python(path):
    written = path.read_text()
    graph = parse(written)
    names = {n for t in [p.type for p in graph.params] + list(graph.cells.values()) for d in t.shape for n in interpreter.sizes.names(d)}
    rng = np.random.default_rng(0)
    env = {n: 3 + i for i, n in enumerate(sorted(names))}
    for a, b in graph.guards:  # sizes that have to be equal
        solved = interpreter.sizes.solve(a, interpreter.sizes.evaluate(b, env), {k: v for k, v in env.items() if k != str(a)})
        if solved is not None:
            env[solved[0]] = solved[1]
    args = arrays(graph, [p.type for p in graph.params], env, rng)
    cells = dict(zip(graph.cells, arrays(graph, graph.cells.values(), env, rng), strict=True))
    consts = dict(zip(graph.consts, arrays(graph, graph.consts.values(), env, rng), strict=True))
    if any(n.op is structure.gradient for n in graph.walk()):
        with pytest.raises(NotImplementedError, match="differentiate"):
            run_text(written, *args, state=dict(cells), consts=consts)
        with pytest.raises(NotImplementedError, match="differentiate"):
            interpreter.run(graph, args, dict(cells), consts)
        return
    by_text, by_graph = dict(cells), dict(cells)
    got, expected = run_text(written, *args, state=by_text, consts=consts), interpreter.run(graph, args, by_graph, consts)
    assert len(got) == len(expected) == len(graph.results)
    for a, b in zip(got + list(by_text.values()), expected + list(by_graph.values()), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)
    for a, r in zip(got, graph.results, strict=True):
        assert np.asarray(a).dtype == r.type.dtype.np
        assert np.ndim(a) == r.type.rank


def test_places_are_in_a_column():
    rows = [r for r in TRAIN_STEP.splitlines() if "# " in r]
    assert len(rows) > 5
    assert len({r.index("# ") for r in rows}) == 1
    assert parse(TRAIN_STEP).body[0].place == Place("mlp.py", 11)


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_numbers_of_every_dtype_read_back(dtype):
    rng = np.random.default_rng(1)
    if dtype.kind == "b":
        values = [True, False]
    elif dtype.kind in "iu":
        values = [0, 1, 7, dtype.min, dtype.max]
    else:
        with np.errstate(all="ignore"):
            bits = np.frombuffer(rng.bytes(60 * dtype.real_dtype.size), dtype.real_dtype.np).astype(np.float64)
        values = [0.0, -0.0, 0.1, 1.0, -2.5, 1e30, 1e-7, float("inf"), float("-inf"), float("nan"), *bits.tolist()]
        if dtype.kind == "c":
            values = [complex(a, b) for a, b in zip(values, values[::-1], strict=True)]
    for value in values:
        with np.errstate(all="ignore"):
            literal = number(value, dtype)
        for other in (dtype, dtypes.float32, dtypes.int64):  # bare beside its own dtype, named beside another
            graph = Graph("f")
            builder = Builder(graph)
            x = builder.parameter("x", Type(other))
            cond = builder.parameter("cond", Type(dtypes.bool_))
            graph.body.append(structure_node("select", (cond, literal, literal), builder))
            if other is dtype:
                graph.body.append(structure_node("select", (cond, x, literal), builder))
            graph.results = [n.out for n in graph.body]
            again = parse(text(graph))
            assert text(again) == text(graph)
            assert [n.args[2] for n in again.body] == [literal] * len(graph.body)
            got = run_text(text(graph), np.zeros((), other.np), np.False_)
            assert got[0].dtype == dtype.np
            wide = np.complex128 if dtype.kind == "c" else np.float64 if dtype.kind == "f" else dtype.np
            np.testing.assert_array_equal(got[0].astype(wide), np.asarray(literal.value, wide))


def structure_node(name, args, builder):
    outs = builder.emit(OPS[name], args)
    return builder.graph.body.pop() if outs else None


def test_float32_is_shortest():
    graph = parse("def f(x: f32) -> f32:\n    y: f32 = x * 0.1\n    return y\n")
    assert graph.body[0].args[1] == Literal(float(np.float32(0.1)), dtypes.float32)
    assert "x * 0.1\n" in text(graph)


def test_negative_base_of_a_power():
    graph = parse("def f(x: f32) -> f32:\n    y: f32 = (-2.0) ** x\n    return y\n")
    assert "(-2.0) ** x" in text(graph)
    np.testing.assert_array_equal(run_text(text(graph), np.float32(2)), [np.float32(4)])


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (None, "None"), (True, "True"), (-3, "-3"), (1e-5, "1e-05"), (float("inf"), "inf"), (float("-inf"), "-inf"), ("a b", "'a b'"), (dtypes.int32, "i32"),
        (Type(dtypes.float32), "f32[()]"), (Type(dtypes.float32, (named("B"), 3)), "f32[B, 3]"), (named("B") * 2 + 1, "2 * B + 1"), ((1,), "(1,)"), ((), "()"),
        ((1, (None, named("B"))), "(1, (None, B))"), ([1, 2.0], "[1, 2.0]"), (Literal(3, dtypes.int64), "i64(3)"),
        (Ellipsis, "..."), (2j, "complex(0.0, 2.0)"), ("  # x.py:3", "'  # x.py:3'"), (-named("B"), "-B"), (b"ab", "b'ab'"),
    ],
)  # fmt: skip
def test_attributes_read_back(value, printed, keep):
    graph = Graph("f")
    builder = Builder(graph)
    x = builder.parameter("x", Type(dtypes.float32, (named("B"),)))
    graph.results = list(builder.emit(keep, (x,), {"value": value}))
    assert f"keep(x, value={printed})" in text(graph)
    (node,) = parse(text(graph)).body
    assert type(node.attrs["value"]) is type(value)
    assert repr(node.attrs["value"]) == repr(value)
    assert text(parse(text(graph))) == text(graph)
    assert attribute(value) == printed


def test_an_attribute_without_text_is_our_bug():
    with pytest.raises(InternalError, match="has no text"):
        attribute(object())


@pytest.fixture
def keep():
    """An op that holds any attribute."""
    from tapejit.ir.op import Op

    class Keep(Op):
        name = "keep"

        def infer(self, x, *, value=0, other=False):
            return x

        def eager(self, x, *, value=0, other=False):
            return x

    OPS["keep"] = op = Keep()
    yield op
    del OPS["keep"]


def test_default_attributes_are_left_out_and_come_back(keep):
    graph = parse("def f(x: f32) -> f32:\n    y: f32 = keep(x)\n    return y\n")
    assert graph.body[0].attrs == {"value": 0, "other": False}
    assert "keep(x)\n" in text(graph)
    graph.body[0].attrs["value"] = 0.0  # equal to the default, and another thing
    assert "keep(x, value=0.0)\n" in text(graph)


def test_nested_function_keeps_out_of_the_way_of_values(keep):
    graph = parse("def f(x: f32) -> f32:\n    def g(y: f32) -> f32:\n        return y\n    z: f32 = keep(x, value=g)\n    return z\n")
    graph.body[0].attrs["value"].name = "z"
    assert "    def z_1(y: f32) -> f32:\n        return y\n    z: f32 = keep(x, value=z_1)\n" in text(graph)
    assert text(parse(text(graph))) == text(graph)


def test_graphs_shared_by_nodes_are_printed_once(keep):
    source = "def f(x: f32) -> f32:\n    def g(y: f32) -> f32:\n        return y\n    z: f32 = keep(x, value=g)\n    w: f32 = keep(z, value=g)\n    return w\n"
    assert text(verify(parse(source))) == source


def test_function_named_like_an_op():
    assert text(Graph("sum")) == "def sum_() -> None:\n    return\n"
    assert text(Graph("<lambda>")) == "def lambda_() -> None:\n    return\n"
    assert run_text(text(Graph("sum"))) == []


def test_guard_is_checked_when_the_text_runs():
    source = "def f(x: f32[B], y: f32[C]) -> f32[C]:\n    B = size(x, 0)\n    C = size(y, 0)\n    assert B == C\n    z: f32[C] = x + y\n    return z\n"
    assert text(verify(parse(source))) == source
    run_text(source, np.ones(3, "f4"), np.ones(3, "f4"))
    with pytest.raises(AssertionError):
        run_text(source, np.ones(3, "f4"), np.ones(4, "f4"))


def test_guard_that_is_needed_is_added():
    graph = parse("def f(x: f32[B], y: f32[C]) -> f32[C]:\n    z: f32[C] = x + y\n    return z\n")
    assert graph.guards == [(named("B"), named("C"))]
    assert "    assert B == C\n" in text(graph)


def test_sizes_solved_from_axes():
    source = "def f(x: f32[B * C + 1], y: f32[2 * B]) -> i32:\n    B = size(y, 0) // 2\n    C = (size(x, 0) - 1) // B\n    n: i32 = dim(B * C)\n    return n\n"
    assert text(verify(parse(source))) == source
    assert run_text(source, np.zeros(13), np.zeros(6)) == [12]


def test_state_is_updated_in_the_mapping():
    source = "def f() -> None:\n    state.n: i32\n    n: i32 = state.n\n    n_1: i32 = n + 1\n    state.n = n_1\n    return\n"
    state = {"n": np.int32(4)}
    assert text(verify(parse(source))) == source
    assert run_text(source, state=state) == []
    assert state["n"] == 5
    assert state["n"].dtype == np.int32

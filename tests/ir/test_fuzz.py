"""Random well-typed graphs: their text reads back, and running it as Python is running the graph."""

import random

import numpy as np
import pytest

import tapejit.ops  # noqa: F401
from tapejit.core import dtypes, places, sizes
from tapejit.core.sizes import named
from tapejit.core.types import Type
from tapejit.ir import interpreter, structure
from tapejit.ir.builder import Builder, number
from tapejit.ir.execute import run_text
from tapejit.ir.graph import Graph
from tapejit.ir.op import OPS
from tapejit.ir.parser import parse
from tapejit.ir.printer import text
from tapejit.ir.verifier import verify

BINARY = ["add", "sub", "mul", "maximum", "minimum", "less", "equal", "floordiv", "mod", "div", "matmul", "pow", "greater_equal"]
UNARY = ["neg", "abs", "square", "tanh", "exp", "sqrt"]
B = named("B")
SHAPES = [(), (3,), (B,), (B, 3), (3, 3), (3, B), (B, B), (1, 3), (2, B, 3)]
TYPES = [dtypes.float32, dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64, dtypes.bool_, dtypes.bfloat16, dtypes.complex64]


def random_graph(seed: int) -> Graph:
    rng = random.Random(seed)
    graph = Graph(rng.choice(["step", "sum", "x", "f"]), place=places.Place("fuzz.py", seed + 1))
    builder = Builder(graph)
    values = [builder.parameter(rng.choice("xyz"), Type(rng.choice(TYPES), rng.choice(SHAPES))) for _ in range(rng.randint(1, 4))]
    values.append(builder.parameter("batch", Type(dtypes.float32, (B,))))
    for k in range(rng.randint(0, 2)):
        graph.cells[f"w{k}"] = Type(rng.choice(TYPES), rng.choice(SHAPES))
    graph.consts = {"c": Type(rng.choice(TYPES), (3,))}

    def emit(op, args, attrs=None):
        place = places.Place("fuzz.py", rng.randint(1, 200)) if rng.random() < 0.7 else None
        tapes = rng.choice([(), (), ("tape",), ("tape", "outer_tape")])
        values.extend(builder.emit(op, args, attrs, place=place, tapes=tapes, name=rng.choice(["", "h", "loss", "x"])))

    def literal(beside):
        dtype = beside.type.dtype if rng.random() < 0.8 else rng.choice(TYPES)
        value = rng.choice([0, 1, -1, 2, rng.randint(-100, 100)])
        if dtype.kind in "fc":
            value = rng.choice([value, rng.gauss(0, 1), float("inf"), float("-inf"), float("nan"), -0.0, 10.0 ** rng.randint(-12, 12)])
        return number(value, dtype)

    for _ in range(rng.randint(1, 25)):
        kind = rng.random()
        a, b = rng.choice(values), rng.choice(values)
        try:
            if kind < 0.45:
                args = (a, b) if rng.random() < 0.6 else rng.choice([(a, literal(a)), (literal(a), a)])
                attrs = {}
                name = rng.choice(BINARY)
                if name == "matmul":
                    attrs = rng.choice([{}, {"transpose_a": rng.random() < 0.5, "transpose_b": rng.random() < 0.5}])
                emit(OPS[name], args, attrs)
            elif kind < 0.6:
                emit(OPS[rng.choice(UNARY)], (a,))
            elif kind < 0.7:
                axis = tuple(sorted(rng.sample(range(a.type.rank), rng.randint(0, a.type.rank))))
                emit(OPS[rng.choice(["sum", "max"])], (a,), {"axis": axis, "keepdims": rng.random() < 0.5})
            elif kind < 0.75:
                emit(OPS["cast"], (a,), {"dtype": rng.choice(TYPES)})
            elif kind < 0.8:
                emit(OPS["select"], (rng.choice([v for v in values if v.type.dtype is dtypes.bool_] or [a]), literal(a), literal(a)))
            elif kind < 0.85:
                emit(
                    structure.dim,
                    (),
                    {"size": rng.choice([B, 2 * B + 1, B * B // 3, 7]), "dtype": rng.choice([dtypes.int32, dtypes.float32])},
                )
            elif kind < 0.9:
                emit(structure.constant, (), {"value": (0.5, -1.0), "dtype": rng.choice([dtypes.float32, dtypes.float64])})
            elif kind < 0.93:
                emit(structure.const, (), {"const": "c", "type": graph.consts["c"]})
            elif graph.cells:
                cell = rng.choice(sorted(graph.cells))
                fits = [v for v in values if v.type == graph.cells[cell]]
                if fits and rng.random() < 0.5:
                    emit(structure.assign, (rng.choice(fits),), {"cell": cell})
                else:
                    emit(structure.read, (), {"cell": cell, "type": graph.cells[cell]})
            else:
                emit(structure.watch, (a,), {"tape": "tape", "cell": ""})
        except (ValueError, TypeError):  # operands that this op does not take
            continue
        if any(sizes.evaluate(x, {"B": 3}) != sizes.evaluate(y, {"B": 3}) for x, y in graph.guards):
            graph.guards.pop()
            del values[-len(graph.body.pop().outs) :]
    graph.results = rng.sample(values, rng.randint(0, min(3, len(values))))
    return graph


def check(seed: int) -> None:
    graph = verify(random_graph(seed))
    written = text(graph)
    again = verify(parse(written))
    assert text(again) == written
    rng = np.random.default_rng(seed)

    def array(t):
        shape = [3 if d == B else d for d in t.shape]
        return np.asarray(rng.integers(0, 2, shape) if t.dtype.kind == "b" else rng.normal(size=shape) * 3).astype(t.dtype.np)

    args = [array(p.type) for p in graph.params]
    cells = {c: array(t) for c, t in graph.cells.items()}
    consts = {c: array(t) for c, t in graph.consts.items()}
    runs = []
    with np.errstate(all="ignore"):
        for run in (
            lambda s: interpreter.run(graph, args, s, consts),
            lambda s: interpreter.run(again, args, s, consts),
            lambda s: run_text(written, *args, state=s, consts=consts),
        ):
            state = dict(cells)
            try:
                runs.append(run(state) + list(state.values()))
            except ValueError as e:  # a negative integer power: then all of them
                runs.append([str(e).partition("\n")[0]])  # a parsed line has no column
    for other in runs[1:]:
        for x, y in zip(runs[0], other, strict=True):
            x, y = np.asarray(x), np.asarray(y)
            assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())


@pytest.mark.parametrize("seed", range(60))
def test_random_graph(seed):
    check(seed)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(60, 2000))
def test_many_random_graphs(seed):
    check(seed)

"""The builder: names and guards as lines are added, and what merging may and may not make one."""

import warnings

import tapejit.ops  # noqa: F401
from tapejit.core import dtypes
from tapejit.core.sizes import named
from tapejit.core.types import Type
from tapejit.ir import structure
from tapejit.ir.builder import Builder, number
from tapejit.ir.grammar import float_text
from tapejit.ir.graph import Graph, Literal, Value
from tapejit.ir.op import OPS
from tapejit.ir.parser import parse
from tapejit.ir.printer import text
from tapejit.ir.verifier import verify

SCALAR = Type(dtypes.float32)


def start(merge=True):
    graph = Graph("f", cells={"w": SCALAR})
    builder = Builder(graph, merge=merge)
    return graph, builder, builder.parameter("x", SCALAR)


def test_equal_lines_are_one_only_where_merging():
    for merge in (False, True):
        graph, builder, x = start(merge)
        (a,), (b,) = (builder.emit(OPS["tanh"], (x,)) for _ in range(2))
        assert (a is b) == merge
        assert [v.name for n in graph.body for v in n.outs] == (["tanh_"] if merge else ["tanh_", "tanh__1"])
        assert text(verify(graph)) == text(parse(text(graph)))


def test_literals_that_differ_only_in_sign_or_type_are_told_apart():
    graph, builder, x = start()
    for literal in (0.0, -0.0, 1.0, float("nan"), float("nan")):
        builder.emit(OPS["mul"], (x, number(literal, dtypes.float32)))
    assert len(graph.body) == 4
    for value, dtype in (
        (1, dtypes.int32),
        (1, dtypes.float32),
        (True, dtypes.bool_),
        ((1, 0.0), dtypes.float32),
        ((1, -0.0), dtypes.float32),
    ):
        builder.emit(structure.constant, (), {"value": value, "dtype": dtype})
    assert len(graph.body) == 9
    builder.emit(structure.constant, (), {"value": 1.0, "dtype": dtypes.float32})
    assert len(graph.body) == 9


def test_a_read_is_the_value_that_the_cell_is_known_to_hold_and_the_last_assignment_is_written():
    graph, builder, x = start()
    read = {"cell": "w", "type": SCALAR}
    (a,), (b,) = builder.emit(structure.read, (), read), builder.emit(structure.read, (), read)
    builder.emit(structure.assign, (a,), {"cell": "w"})
    builder.emit(structure.assign, (x,), {"cell": "w"})
    (c,) = builder.emit(structure.read, (), read)
    builder.emit(OPS["note"], (c,))
    assert a is b
    assert c is x
    builder.finish()
    assert [n.op.name for n in graph.body] == ["read", "note", "assign"]  # the assignment comes after everything that may fail
    assert graph.body[-1].args == (x,)
    verify(graph)


def test_reads_are_not_merged_across_a_loop_that_assigns():
    graph, builder, x = start()
    read = {"cell": "w", "type": SCALAR}
    (a,) = builder.emit(structure.read, (), read)
    writes = Graph("writes", cells=graph.cells)
    inner = Builder(writes, builder.names)
    inner.emit(structure.assign, (x,), {"cell": "w"})
    writes.results = [x]
    flag = builder.parameter("flag", Type(dtypes.bool_))
    builder.emit(structure.assign, (x,), {"cell": "w"})
    builder.emit(OPS["choose"], (flag,), {"yes": writes, "no": writes})
    builder.emit(OPS["choose"], (flag,), {"yes": writes, "no": writes})
    (b,) = builder.emit(structure.read, (), read)
    assert b is not a
    assert b is not x
    assert [n.op.name for n in graph.body] == [
        "read",
        "assign",
        "choose",
        "choose",
        "read",
    ]  # what a nested graph may read is there by then
    assert sum(n.op is OPS["choose"] for n in graph.body) == 2  # the second writes once more
    verify(graph)


def test_effects_are_not_merged():
    graph, builder, x = start()
    builder.emit(OPS["note"], (x,))
    builder.emit(OPS["note"], (x,))
    assert len(graph.body) == 2


def test_operations_on_literals_are_carried_out():
    graph, builder, _ = start()
    (total,) = builder.emit(OPS["add"], (number(0.1, dtypes.float32), number(0.2, dtypes.float32)))
    (node,) = graph.body
    assert node.outs == (total,)
    assert node.op is structure.constant
    assert text(graph).splitlines()[2].endswith("= constant(0.3)")  # in float32; in float64 it is 0.30000000000000004


def test_sizes_that_must_be_equal_become_guards():
    graph, builder, _ = start()
    x, y = (builder.parameter("v", Type(dtypes.float32, (named(n),))) for n in "BC")
    builder.emit(OPS["add"], (x, y))
    builder.emit(OPS["sub"], (x, y))
    assert graph.guards == [(named("B"), named("C"))]
    verify(graph)


def test_a_literal_becomes_a_line():
    graph, builder, x = start()
    value = builder.literal(Literal(2.0, dtypes.float32))
    assert isinstance(value, Value)
    assert graph.body[0].out is value
    assert builder.literal(x) is x


def test_the_largest_numbers_are_written_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dtype in (dtypes.float32, dtypes.float16, dtypes.bfloat16):
            for value in (dtype.max, dtype.min):
                assert dtype.np.type(float(float_text(value, dtype))) == value

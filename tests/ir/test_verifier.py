"""Every promise about a graph, broken once."""

import dataclasses

import pytest

import tapejit.ops  # noqa: F401
from tapejit.core import dtypes, sizes
from tapejit.core.errors import InternalError
from tapejit.core.types import Type
from tapejit.ir.graph import Literal, Value
from tapejit.ir.parser import parse
from tapejit.ir.verifier import verify

SOURCE = """
def f(x: f32[B, 3], flag: bool) -> f32[B, 3]:
    state.w: f32[3]
    const.c: f32[3]
    c: f32[3] = const.c
    w: f32[3] = state.w
    y: f32[B, 3] = x + w
    def yes() -> f32[B, 3]:
        q: f32[B, 3] = y * 2.0
        return q
    def no() -> f32[B, 3]:
        return y
    z: f32[B, 3] = choose(flag, yes=yes, no=no)
    w_1: f32[3] = w * c
    state.w = w_1
    w_2: f32[3] = state.w
    note(w_2)
    note(z)
    return z
"""
C, W, Y, Z, W1, ASSIGN, W2, NOTE, NOTE2 = range(9)


@pytest.fixture
def graph():
    return verify(parse(SOURCE))


def broken(graph, message, before=None):
    with pytest.raises(InternalError, match=message):
        verify(graph, before)


def test_use_before_definition(graph):
    graph.body[Y], graph.body[W] = graph.body[W], graph.body[Y]
    broken(graph, r"w is used before it is defined\n    y: f32\[B, 3\] = x \+ w")


def test_result_that_is_not_defined(graph):
    graph.results = [Value("gone", graph.results[0].type)]
    broken(graph, "result gone is not defined")


def test_nested_graph_uses_what_comes_later(graph):
    z = graph.body.pop(Z)
    graph.body.insert(0, z)
    broken(graph, "y is used before it is defined")


def test_shared_nested_graph_is_checked_at_each_use():
    graph = parse(SOURCE.replace("no=no", "no=yes").replace("    def no() -> f32[B, 3]:\n        return y\n", ""))
    again = dataclasses.replace(graph.body[Z], outs=(Value("z_2", graph.body[Z].out.type),))
    verify(graph.with_body([*graph.body, again]))
    broken(graph.with_body([again, *graph.body]), "y is used before it is defined")


def test_value_of_a_nested_graph_stays_inside(graph):
    graph.results = [graph.body[Z].attrs["yes"].results[0]]
    broken(graph, "result q is not defined")


def test_two_definitions(graph):
    broken(graph.with_body([*graph.body, graph.body[Y]]), "y is defined twice")


def test_two_values_of_one_name(graph):
    graph.body[W1].out.name = "q"
    broken(graph, "two values are called q: the other is `q: f32")


@pytest.mark.parametrize("name", ["sum", "lambda", "a b", "state", "f32", ""])
def test_names_a_value_may_not_have(graph, name):
    graph.body[Y].out.name = name
    broken(graph, "is no name that a value may have")


def test_value_named_like_a_size(graph):
    graph.body[W1].out.name = "B"
    broken(graph, "B is the name of a size")


def test_value_named_like_a_tape(graph):
    graph.body[W].tapes = ("w_1",)
    broken(graph, "w_1 is the name of a tape")
    graph.body[W].tapes = ("x",)
    broken(graph, "the tape x has the name of a value")


def test_wrong_type(graph):
    graph.body[Y].out.type = Type(dtypes.float64, graph.body[Y].out.type.shape)
    broken(graph, r"y is f32\[B, 3\], but the line says f64\[B, 3\]")


def test_operands_an_op_does_not_take(graph):
    graph.body[W1].args = (graph.body[W].out, graph.params[1])
    broken(graph, "TypeError: mul takes operands of one dtype")


def test_wrong_number_of_results(graph):
    graph.body[W1].outs = (*graph.body[W1].outs, Value("more", Type(dtypes.float32)))
    broken(graph, "mul has 1 results, the line has 2")


def test_literals_hold_python_numbers_of_their_dtype(graph):
    graph.body[W1].args = (graph.body[W].out, Literal(2, dtypes.float32))
    broken(graph, "the literal 2 is no f32")
    graph.body[W1].args = (graph.body[W].out, 2.0)
    broken(graph, "neither a value nor a literal")


def test_cells_and_constants_are_declared(graph):
    broken(dataclasses.replace(graph, cells={}), "state.w is not declared")
    broken(dataclasses.replace(graph, consts={}), "const.c is not declared")


def test_cells_and_constants_have_their_types(graph):
    broken(dataclasses.replace(graph, cells={"w": Type(dtypes.float32, (4,))}), r"state.w is declared as f32\[4\], but read as f32\[3\]")
    broken(dataclasses.replace(graph, consts={"c": Type(dtypes.float32, (4,))}), r"const.c is declared as f32\[4\], but read as f32\[3\]")
    graph.body[ASSIGN].args = (graph.body[Y].out,)
    broken(graph, r"state.w is declared as f32\[3\], but assigned f32\[B, 3\]")


def test_cells_of_nested_graphs_are_those_of_the_function(graph):
    inner = graph.body[Z].attrs["yes"]
    graph.body[Z].attrs["yes"] = dataclasses.replace(inner, cells={"v": Type(dtypes.float32)})
    broken(graph, "state.v: f32 is not declared so in f")


def test_cell_with_a_symbolic_axis_takes_any_size():
    verify(
        parse(
            "def f(x: f32[N + 1]) -> None:\n    state.w: f32[N]\n    w: f32[N] = state.w\n    state.w = x\n    v: f32[N + 1] = state.w\n    return\n"
        )
    )


def test_sizes_are_bound(graph):
    source = "def f() -> None:\n    n: i32 = dim(3)\n    return\n"
    g = parse(source)
    g.body[0].attrs["size"] = sizes.named("N")
    broken(g, "size N is not bound")


def test_what_is_taken_to_be_equal_is_a_guard():
    g = parse("def f(x: f32[B], y: f32[C]) -> f32[C]:\n    z: f32[C] = x + y\n    return z\n")
    verify(g)
    broken(dataclasses.replace(g, guards=[]), "sizes B and C are taken to be equal, but no guard says so")
    g.guards = [(sizes.named("C"), sizes.named("B"))]
    verify(g)
    g.guards = [(2 * sizes.named("C") + 1, 2 * sizes.named("B") + 1)]
    broken(g, "no guard")
    g.guards = [(sizes.named("C") + 1, sizes.named("B") + 1)]
    verify(g)


def test_types_are_compared_up_to_guards():
    g = parse(
        "def f(x: f32[B], y: f32[C], d: f32[D]) -> f32[B]:\n    assert B == C\n    assert C == D\n    z: f32[B] = y + d\n    return z\n"
    )
    assert str(verify(g).results[0].type) == "f32[B]"


def test_order_of_reads_and_writes(graph):
    body = graph.body
    same = graph.with_body([*body[:W], body[W], *body[Y:]])
    assert verify(same, graph) is same
    moved = graph.with_body([*body[:ASSIGN], body[W2], body[ASSIGN], *body[NOTE:]])
    broken(moved, "w_2 was read from state.w after 1 of its assignments, now after 0", graph)
    late = graph.with_body([body[C], body[ASSIGN], *body[W:]])
    late.body[1] = dataclasses.replace(body[ASSIGN], args=(body[C].out,))
    broken(late, "w was read from state.w after 0 of its assignments, now after 1", graph)


def test_order_of_effects(graph):
    body = graph.body
    verify(graph.with_body(body[:NOTE2]), graph)
    broken(graph.with_body([*body[:NOTE], body[NOTE2], body[NOTE]]), r"`note\(w_2\)` came before `note\(z\)`, now it comes after", graph)

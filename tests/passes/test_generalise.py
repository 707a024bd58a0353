"""What two graphs have in common: sizes as names, numbers as expressions of them, and no graph at all where more differs."""

import pytest

from tapejit.ir.parser import parse
from tapejit.ir.printer import text
from tapejit.ir.verifier import verify
from tapejit.passes.generalise import generalise, outline

GRAPH = """
def f(x: f32[{n}, 3], y: f32[{m}]) -> (f32[{flat}], f32[{half}, 3], f32):
    flat: f32[{flat}] = reshape(x, shape=({flat},))
    half: f32[{half}, 3] = slice(x, begin=(0, 0), size=({half}, 3), stride=(1, 1))
    total: f32 = sum(y, axis=(0,))
    mean_: f32 = total / {n}.0
    return flat, half, mean_
"""


def graph(n, m, **given):
    return parse(GRAPH.format(n=n, m=m, **{"flat": 3 * n, "half": n // 2} | given))


def common(a, b):
    return generalise(a, outline(a), b, outline(b))


def test_sizes_become_names_and_numbers_expressions_of_them():
    found = common(graph(8, 5), graph(5, 5))
    verify(found.graph)
    lines = text(found.graph)
    for part in ("x: f32[B, 3]", "y: f32[5]", "shape=(3 * B,)", "size=(B // 2, 3)", "dim(B, dtype=f32)"):
        assert part in lines, lines
    assert found.sizes_of(outline(graph(20, 5))) == {"B": 20}
    assert found.sizes_of(outline(graph(8, 5))) == {"B": 8}


def test_equal_sizes_that_change_together_are_one_and_others_two():
    assert common(graph(8, 8), graph(7, 7)).sizes_of(outline(graph(9, 4))) is None
    found = common(graph(8, 8), graph(7, 6))
    assert found.sizes_of(outline(graph(9, 4))) == {"B": 9, "N": 4}


@pytest.mark.parametrize("given", [{"half": 2}, {"flat": 59}])
def test_a_third_graph_with_another_number_is_none_of_them(given):
    other = graph(20, 5)
    found = common(graph(8, 5), graph(5, 5))
    assert found.sizes_of(outline(other)) == {"B": 20}
    items = tuple(
        given.get("half", x) if x == 10 and "half" in given else given.get("flat", x) if x == 60 and "flat" in given else x
        for x in outline(other).items
    )
    assert found.sizes_of(outline(other).__class__(items, outline(other).head)) is None


def test_graphs_that_differ_in_more_than_sizes_have_nothing_in_common():
    a = graph(8, 5)
    assert common(a, graph(8, 5)) is None, "no size differs"
    assert common(a, parse("def f(x: f32[7, 3], y: f32[5]) -> f32:\n    a: f32 = sum(y, axis=(0,))\n    return a\n")) is None
    assert common(a, parse(text(graph(7, 5)).replace("total / 7.0", "total * 7.0"))) is None
    assert common(a, parse(text(graph(7, 5)).replace("total / 7.0", "total / 0.125"))) is None

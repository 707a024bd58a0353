"""Loops that do the same become one, and only those."""

from __future__ import annotations

import numpy as np

from tapejit.ir.interpreter import run
from tapejit.ir.parser import parse
from tapejit.ir.printer import text
from tapejit.ir.verifier import verify
from tapejit.passes.together import together

TWO = """
def f(x: f32, k: f32) -> (f32, f32[4], f32[4]):
    def step(y: f32, c: f32) -> (f32, f32):
        s: f32 = sin(y)
        z: f32 = s * c
        return z, s
    y_end, sines = scan(x, k, body=step, carried=1, scanned=0, length=4)
    def again(y_1: f32, c_1: f32) -> (f32, f32):
        s_1: f32 = sin(y_1)
        z_1: f32 = s_1 {op} c_1
        return z_1, y_1
    y_again, starts = scan(x, k, body=again, carried=1, scanned=0, length=4{reverse})
    total: f32 = y_end + y_again
    return total, sines, starts
"""


def loops(graph):
    return sum(n.op.name == "scan" for n in graph.body)


def check(source, expected):
    graph = parse(source)
    made = verify(together(graph), graph)
    assert loops(made) == expected
    assert text(parse(text(made))) == text(made)
    for a, b in zip(run(graph, [np.float32(0.5), np.float32(2.0)]), run(made, [np.float32(0.5), np.float32(2.0)]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_run_again_is_kept_the_first_time():
    check(TWO.format(op="*", reverse=""), 1)


def test_other_bodies_stay_apart():
    check(TWO.format(op="+", reverse=""), 2)


def test_other_directions_stay_apart():
    check(TWO.format(op="*", reverse=", reverse=True"), 2)

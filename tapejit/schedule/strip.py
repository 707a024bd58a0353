"""Strips: a loop whose body mixes short loops with costly scalars runs a strip of its range at a time, step by step.

The scalar function of a row, between a short reduction that gives its operand and a short loop that uses it, would be computed for one
row at a time; over the rows of a strip it is a loop that the compiler turns into vectors. What the steps hand on is in memory for
the rows of one strip.
"""

from __future__ import annotations

from tapejit.core import dtypes, sizes
from tapejit.loops import expr
from tapejit.loops.expr import Call, Expr, Var
from tapejit.schedule.fuse import Item, Leaf, Loop, Tree, leaves
from tapejit.schedule.tile import COSTLY

SHORT = 256  # elements of the loops inside; beyond that the scalars beside them do not count
STRIP = 4096  # elements of all rows of a strip
ROWS = 16  # strips are multiples of this, and a loop that has not so many passes is left alone


def costly(leaf: Leaf) -> bool:
    """Whether a leaf computes a function that takes many instructions."""
    return leaf.element.dtype.kind == "f" and any(isinstance(e, Call) and e.fn in COSTLY for e in expr.walk(leaf.element))


def _inside(loop: Loop) -> int | None:
    """The largest number of passes of a chain of loops inside; None where it is not known."""
    most = 1
    for item in loop.body:
        if isinstance(item, Loop):
            below = _inside(item)
            if below is None or not isinstance(item.extent, int):
                return None
            most = max(most, below * item.extent)
    return most


def wants_strips(loop: Loop) -> bool:
    """Whether a loop does costly scalar work beside short loops."""
    if not any(isinstance(item, Loop) for item in loop.body) or not any(isinstance(item, Leaf) and costly(item) for item in loop.body):
        return False
    inside = _inside(loop)
    return inside is not None and inside <= SHORT and not (isinstance(loop.extent, int) and loop.extent < ROWS)


def into_strips(tree: Tree, loop: Loop) -> Loop:
    """The loop over strips that takes the place of `loop`, with a loop over the rows of a strip for each step."""
    rows = max(ROWS, STRIP // (_inside(loop) or 1) // ROWS * ROWS)
    strip = f"{loop.variable}_strip"
    start: Expr = Var(dtypes.int64, strip) * rows
    if loop.part is not None:
        start = loop.part + start
    extent = sizes.minimum(rows, loop.extent - rows * sizes.named(strip))
    outer = Loop(strip, sizes.floordiv(loop.extent + (rows - 1), rows), over_parts=True)
    for body in _steps(loop.body):
        step = Loop(loop.variable, extent, body, start, rows)
        outer.body.append(step)
        for item in body:
            for leaf in leaves(item):
                made = tree.made[leaf.definition.name]
                at = made.path.index(loop)
                made.path[at : at + 1] = [outer, step]
                made.reduced.insert(at, made.reduced[at])
                made.axis.insert(at, None)
    return outer


def _steps(body: list[Item]) -> list[list[Item]]:
    """The body in steps that either have loops in them or costly scalars, not both."""
    steps: list[list[Item]] = [[]]
    looping = scalar = False
    for item in body:
        loops, costs = not isinstance(item, Leaf), isinstance(item, Leaf) and costly(item)
        if (loops and scalar) or (costs and looping):
            steps.append([])
            looping = scalar = False
        looping, scalar = looping or loops, scalar or costs
        steps[-1].append(item)
    return steps

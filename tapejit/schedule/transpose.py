"""Transpositions: copies that write along one axis and read along another, in tiles that fit the first-level cache.

In: the definition of a value that is a load with its axes in another order. Out: the loops of a tiled copy. A plain loop over such
a copy uses one element of every line of memory it touches, and for large matrices the lines are gone before their neighbours' turn.
"""

from __future__ import annotations

import itertools

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.loops.expr import Const, Load, Var
from tapejit.schedule.define import Definition
from tapejit.schedule.fuse import Leaf, Loop, Made, Tree

TILE = 16
LEAST = 4096  # elements from which tiles pay


def turned_axes(d: Definition) -> tuple[int, int] | None:
    """The axis along which the value `d` reads and the one along which it writes, if these differ and are long."""
    e = d.element
    if d.kind != "pointwise" or not isinstance(e, Load) or not e.index or not all(isinstance(i, Var | Const) for i in e.index):
        return None
    inner = [
        next((i for i in reversed(index) if isinstance(i, Var)), None) for index in (e.index, d.index)
    ]  # axes of size 1 have constants
    read, write = inner
    if read is None or write is None or read == write or write not in e.index or read not in d.index:
        return None
    axes = d.index.index(read), d.index.index(write)
    known = [n for n in (d.type.shape[a] for a in axes) if isinstance(n, int)]
    total = d.type.size
    short = any(n < TILE for n in known) or (isinstance(total, int) and total < LEAST)
    return None if short else axes


def tiled_copy(d: Definition) -> Tree | None:
    """The loops of a transposition; None for other values."""
    axes = turned_axes(d)
    if axes is None:
        return None
    assert d.element is not None
    path: list[Loop] = []
    axis: list[int | None] = []
    for a, i in enumerate(d.index):
        if isinstance(i, Var) and a not in axes:
            path.append(Loop(i.name, d.type.shape[a]))
            axis.append(a)
    tiles, inside = [], []
    for a in axes:
        i, extent = d.index[a], d.type.shape[a]
        assert isinstance(i, Var)
        tile = f"{i.name}_tile"
        rest: Dim = sizes.minimum(TILE, extent - TILE * sizes.named(tile))
        if isinstance(extent, int) and extent % TILE == 0:
            rest = TILE
        tiles.append(Loop(tile, sizes.floordiv(extent + (TILE - 1), TILE), over_parts=True))
        inside.append(Loop(i.name, rest, [], Var(dtypes.int64, tile) * TILE, TILE))
    path += [*tiles, *inside]
    axis += [None, None, *axes]
    leaf = Leaf(d, d.element, d.index)
    for outer, inner in itertools.pairwise(path):
        outer.body.append(inner)
    path[-1].body.append(leaf)
    return Tree([path[0]], {d.name: Made(d, path, [False] * len(path), axis, False, d.index)})

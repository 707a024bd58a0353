"""Tiles: what work is, and which products run in parallel, in panels of rows.

Small kernels stay on one thread: handing one over costs about half a microsecond.
"""

from __future__ import annotations

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.core.target import Target
from tapejit.loops import expr
from tapejit.loops.expr import Call
from tapejit.schedule.fuse import Leaf, Product, Tree

PRODUCT = 1 << 20  # multiplications below which a product is not
PANEL = 64  # rows of a product that one thread takes at a time
COSTLY = frozenset({"exp", "log", "tanh", "sigmoid", "erf", "sin", "cos", "pow", "log1p", "expm1", "softplus"})


def work_of(leaf: Leaf, tree: Tree) -> Dim:
    """About how many element operations a leaf stands for, over all its loops."""
    cost = 1 + sum(8 if e.fn in COSTLY else 1 for e in expr.walk(leaf.element) if isinstance(e, Call) and e.dtype.kind == "f")
    path = tree.made[leaf.definition.name].path
    return sizes.product(loop.extent for loop in path) * cost


def in_panels(p: Product, target: Target) -> bool:
    """Whether a product is worth cutting into panels of rows for several threads."""
    work = sizes.product([p.row[1], p.column[1], p.depth[1]])
    if target.threads == 1 or p.batch:
        return False
    if sizes.is_known([p.row[1]]) and sizes.evaluate(p.row[1], {}) <= PANEL:
        return False
    return not sizes.is_known([work]) or sizes.evaluate(work, {}) >= PRODUCT

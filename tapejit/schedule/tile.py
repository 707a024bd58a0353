"""Tiles: which loops run in parallel, and in what pieces.

A tree whose one outermost loop has independent iterations is parallel over it; a matrix product over panels of rows. Small kernels stay
on one thread: handing one over costs about half a microsecond.
"""

from __future__ import annotations

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.core.target import Target
from tapejit.loops import expr
from tapejit.loops.expr import Call
from tapejit.schedule.fuse import Leaf, Loop, Product, Tree, leaves

ELEMENTS = 32768  # element operations below which a tree is not worth a second thread
PRODUCT = 1 << 20  # multiplications below which a product is not
PANEL = 64  # rows of a product that one thread takes at a time
_COSTLY = frozenset({"exp", "log", "tanh", "sigmoid", "erf", "sin", "cos", "pow", "log1p", "expm1", "softplus"})


def parallel_loop(tree: Tree, target: Target) -> Loop | None:
    """The outermost loop of a tree if its iterations are independent and there is enough to do."""
    loops = [item for item in tree.body if isinstance(item, Loop)]
    if target.threads == 1 or len(loops) != 1 or tree.body[-1] is not loops[0]:
        return None
    (loop,) = loops
    if any(not isinstance(item, Leaf | Loop) for item in tree.body):
        return None  # something is reduced over the loop
    for made in tree.made.values():
        if not made.path or made.path[0] is not loop:
            if made.stored or made.definition.kind == "reduce":
                return None
        elif made.reduced[0] or made.axis[0] is None:
            return None
    work = sum(_work(leaf, tree) for leaf in leaves(loop))
    return loop if not sizes.is_known([work]) or sizes.evaluate(work, {}) >= ELEMENTS else None


def _work(leaf: Leaf, tree: Tree) -> Dim:
    calls = [e for e in expr.walk(leaf.element) if isinstance(e, Call)]
    cost = 1 + sum(8 if e.fn in _COSTLY else 1 for e in calls if e.dtype.kind == "f")
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

"""Tiles: what work is, and which products run in parallel, in panels of rows.

Small kernels stay on one thread: handing one over costs about half a microsecond.
"""

from __future__ import annotations

from tapejit.core import sizes
from tapejit.core.sizes import Dim
from tapejit.core.target import Target
from tapejit.loops import expr
from tapejit.loops.expr import Call, Load
from tapejit.loops.nest import CallLibrary, Contract, For, Stmt, While
from tapejit.loops.scalar import FUNCTIONS
from tapejit.loops.walk import inside
from tapejit.schedule.fuse import Leaf, Product, Tree

PRODUCT = 1 << 20  # multiplications below which a product is not
TYPICAL = 1024  # a size that is not known, where alternatives are weighed
PANEL = 64  # about how many rows of a product one thread takes at a time
LIBRARY = 100_000  # nanoseconds that a routine of a library may well take
ROUTINE = 64  # instructions that one call of a library is worth
COSTLY = frozenset({"exp", "log", "tanh", "sigmoid", "erf", "sin", "cos", "pow", "log1p", "expm1", "softplus"})


def work_of(leaf: Leaf, tree: Tree) -> Dim:
    """About how many element operations a leaf stands for, over all its loops; to read an element is one."""
    cost = 1 + sum(
        _instructions(e) if isinstance(e, Call) else 1
        for e in expr.walk(leaf.element)
        if isinstance(e, Load) or (isinstance(e, Call) and e.dtype.kind == "f")
    )
    path = tree.made[leaf.definition.name].path
    return sizes.product(loop.extent for loop in path) * cost


def _instructions(e: Call) -> int:
    return ROUTINE if FUNCTIONS[e.fn].routine else 8 if e.fn in COSTLY else 1


def panel_rows(p: Product, target: Target) -> int:
    """How many rows of a product one thread takes at a time; 0 if the product is to stay on one thread, or has other loops to share.

    Every thread gets equally many panels, of about `PANEL` rows.
    """
    rows = p.row[1]
    work = sizes.product([rows, p.column[1], p.depth[1]])
    if target.threads == 1 or p.batch or _small(work, target):
        return 0
    expected = target.expected(rows)
    if expected is not None and expected <= PANEL // 2:
        return 0
    if not isinstance(rows, int):
        return PANEL
    count = target.threads * max(1, round(rows / (target.threads * PANEL)))
    return -(-rows // count)


def shares_batch(p: Product, target: Target) -> bool:
    """Whether threads share the outermost batch axis of a product."""
    work = sizes.product([*(e for _, e in p.batch), p.row[1], p.column[1], p.depth[1]])
    return bool(p.batch) and target.threads > 1 and not _small(work, target)


def _small(work: Dim, target: Target) -> bool:
    """Whether a product is likely not worth a second thread."""
    expected = target.expected(work)
    return expected is not None and expected < PRODUCT


def effort(body: tuple[Stmt, ...]) -> int:
    """About how many nanoseconds the statements of a kernel take on one thread; sizes that are not known count as `TYPICAL`."""
    first: dict[str, Dim] = {}

    def known(d: Dim) -> int:
        d = sizes.substitute(d, first)
        return sizes.evaluate(d, dict.fromkeys(sizes.names(d), TYPICAL))

    def of(statements: tuple[Stmt, ...]) -> float:
        total = 0.0
        for s in statements:
            if isinstance(s, For):
                first[s.index] = 0
                total += known(s.extent) * of(s.body)
            elif isinstance(s, Contract):
                total += known(sizes.product([s.rows, s.columns])) * (known(s.depth) / 64 + of(s.epilogue))
            elif isinstance(s, CallLibrary):
                total += LIBRARY
            elif isinstance(s, While):
                total += TYPICAL * of(s.body)
            else:
                total += 0.3 + of(inside(s))
        return total

    return int(of(body))

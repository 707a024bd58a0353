"""Split: loops worth several threads become kernels of their own, cut into blocks where threads must not meet.

In: trees of loops as fusion leaves them. Out: trees of which each either runs on one thread or is one parallel loop. What is reduced
over a parallel loop is reduced block by block, each into a place of its own, and the blocks are combined afterwards in their order: the
result does not depend on which thread came first. The number of blocks follows from the number of threads alone.
"""

from __future__ import annotations

from dataclasses import replace

from tapejit.core import dtypes, sizes
from tapejit.core.sizes import Dim
from tapejit.core.target import Target
from tapejit.core.types import Type
from tapejit.loops.expr import Load, Var
from tapejit.schedule.define import Definition
from tapejit.schedule.fuse import Before, Fuser, Item, Loop, Made, Tree, Unit, leaves, members
from tapejit.schedule.lower import spilled
from tapejit.schedule.strip import into_strips, wants_strips
from tapejit.schedule.tile import TYPICAL, work_of

WORK = 1 << 18  # element operations below which a loop is not worth a second thread: some microseconds
BLOCKS_PER_THREAD = 4
LANES = 16  # blocks of an innermost loop are multiples of this


def split(fuser: Fuser, target: Target) -> None:
    """Replace the trees of `fuser` by split ones; everything else stays in its order."""
    units: list[Unit] = []
    for unit in fuser.units:
        units += _cut(fuser, unit, target) if isinstance(unit, Tree) and target.threads > 1 else [unit]
    for unit in units:
        if isinstance(unit, Tree):
            for k, item in enumerate(unit.body):
                if isinstance(item, Loop) and not item.over_parts and wants_strips(item):
                    unit.body[k] = into_strips(unit, item)
    fuser.units = units
    maker = {d.name: k for k, unit in enumerate(units) for d in members(unit)}
    for d in fuser.table.values():
        root = d
        while root.alias_of:
            root = fuser.table[root.alias_of]
        if root.name in maker:
            maker[d.name] = maker[root.name]
    fuser.unit_of = maker


def _cut(fuser: Fuser, tree: Tree, target: Target) -> list[Unit]:
    """A tree as trees that run one after the other: each loop worth it alone, what stands between such loops together."""
    first = tree.body[0]
    if isinstance(first, Loop) and first.over_parts:  # tiles, which are independent
        tree.parallel = first if _typical(_work(tree, first), target) >= WORK else None
        return [tree]
    blocks = {id(item): _blocks(tree, item, target) for item in tree.body if isinstance(item, Loop)}
    if not any(blocks.values()):
        return [tree]
    out: list[Unit] = []
    between = Tree()

    def flush() -> None:
        if between.body:
            out.append(replace(between))

    for item in tree.body:
        if isinstance(item, Before) and blocks[id(item.made.path[0])]:
            continue  # goes with its loop
        count = blocks.get(id(item), 0)
        if not isinstance(item, Loop) or not count:
            between.body.append(item)
            between.made.update({leaf.definition.name: tree.made[leaf.definition.name] for leaf in leaves(item)})
            continue
        flush()
        between = Tree()
        alone = _alone(tree, item)
        out.append(alone)
        over = [m for m in alone.made.values() if m.reduced[0]]
        strips = wants_strips(item)
        if over or strips or spilled(alone):
            outer = _into_blocks(fuser, alone, item, count)
            if strips:
                outer.body[-1] = into_strips(alone, item)
        for made in over:
            d = _combination(fuser, made, count)
            fuser.add(between, d)
    flush()
    return out


def _blocks(tree: Tree, loop: Loop, target: Target) -> int:
    """Into how many blocks to cut a loop at the top of a tree; 0 if it is to stay on one thread."""
    work = _work(tree, loop)
    expected = target.expected(work)
    if expected is not None and expected < WORK:
        return 0
    partial: Dim = 0
    for leaf in leaves(loop):
        made = tree.made[leaf.definition.name]
        if made.reduced[0]:
            partial = partial + sizes.product(made.definition.type.shape)
        elif made.axis[0] is None:
            return 0
    for count in (BLOCKS_PER_THREAD * target.threads, target.threads):
        if isinstance(loop.extent, int):
            count = min(count, loop.extent)
        if 8 * count * _typical(partial, target) <= _typical(work, target):
            return count if count > 1 else 0
    return 0


def _work(tree: Tree, loop: Loop) -> Dim:
    work: Dim = 0
    for leaf in leaves(loop):
        work = work + work_of(leaf, tree)
    return work


def _typical(d: Dim, target: Target) -> int:
    return sizes.evaluate(d, dict.fromkeys(sizes.names(d), TYPICAL) | dict(target.likely))


def _alone(tree: Tree, loop: Loop) -> Tree:
    """The loop, and what has to stand before it, as a tree."""
    before: list[Item] = [item for item in tree.body if isinstance(item, Before) and item.made.path[0] is loop]
    return Tree([*before, loop], {leaf.definition.name: tree.made[leaf.definition.name] for leaf in leaves(loop)}, loop)


def _into_blocks(fuser: Fuser, tree: Tree, loop: Loop, count: int) -> Loop:
    """Put the one loop of a tree into a parallel loop over `count` blocks; what is reduced over it becomes one part per block."""
    block = f"{loop.variable}_block"
    at = Var(dtypes.int64, block)
    innermost = not any(isinstance(item, Loop) for item in loop.body)
    unit = LANES if innermost else 1
    size = sizes.maximum(sizes.floordiv(loop.extent + (count * unit - 1), count * unit) * unit, 1)
    left = sizes.minimum(size, loop.extent - size * sizes.named(block))
    if not (isinstance(loop.extent, int) and isinstance(size, int) and (count - 1) * size < loop.extent):
        left = sizes.maximum(left, 0)  # the last blocks may be empty
    outer = Loop(block, count, list(tree.body), over_parts=True)
    loop.part, loop.capacity, loop.extent = at * size, size, left
    tree.body, tree.parallel = [outer], outer
    parts: dict[str, Definition] = {}
    for name, made in list(tree.made.items()):
        if made.reduced[0]:
            d = made.definition
            index = (at, *made.index)
            part = replace(d, name=f"{name}.parts", type=Type(d.type.dtype, (count, *d.type.shape)), index=index, extra={})
            parts[name] = part
            made.definition, made.index = part, index
            made.axis = [None if a is None else a + 1 for a in made.axis]
            made.axis.insert(0, 0)
            fuser.table[part.name] = part
            del tree.made[name]
            tree.made[part.name] = made
        else:
            made.axis.insert(0, None)
        made.path.insert(0, outer)
        made.reduced.insert(0, False)
    for leaf in leaves(loop):
        if leaf.definition.name in parts:
            leaf.definition = parts[leaf.definition.name]
            leaf.index = leaf.definition.index
    return outer


def _combination(fuser: Fuser, made: Made, count: int) -> Definition:
    """The whole of a reduction, from the parts of the blocks."""
    part = made.definition
    name = part.name.removesuffix(".parts")
    shape = part.type.shape[1:]
    index = fuser.index(shape)
    k = fuser.variable("k")
    element = Load(part.type.dtype, part.name, (Var(dtypes.int64, k), *index))
    d = replace(part, name=name, type=Type(part.type.dtype, shape), index=index, element=element, reduced=((k, count),))
    fuser.table[name] = d
    return d

"""The passes in their order, with one hook that sees every step.

In: a traced graph. Out: a graph of plain ops, verified after every step. `watch(name, before, after)` is called for each.
"""

from __future__ import annotations

from collections.abc import Callable

from tapejit.ir.graph import Graph
from tapejit.ir.verifier import verify
from tapejit.passes.batch import batch
from tapejit.passes.decompose import decompose
from tapejit.passes.differentiate import differentiate
from tapejit.passes.hoist import hoist
from tapejit.passes.inline import inline
from tapejit.passes.keep import keep
from tapejit.passes.prune import prune
from tapejit.passes.separate import separate
from tapejit.passes.simplify import simplify
from tapejit.passes.together import together

Pass = Callable[[Graph], Graph]
Watch = Callable[[str, Graph, Graph], None]

PIPELINE: tuple[Pass, ...] = (differentiate, batch, inline, separate, simplify, together, keep, prune, decompose, hoist)


def silent(name: str, before: Graph, after: Graph) -> None:
    """The hook that listens to nothing."""


def run(graph: Graph, watch: Watch = silent, until: str = "") -> Graph:
    """`graph` after all passes, or after the one called `until`. InternalError if a pass leaves a graph that is not well formed."""
    for step in PIPELINE:
        before = graph
        graph = verify(step(before), before)
        watch(step.__name__, before, graph)
        if step.__name__ == until:
            break
    return graph

"""The stages of the corridor as text or data: what a graph looks like on its way to native code.

In: a traced graph and the name of a stage. Out: the graph there, or a `Listing`, a string that knows how to be coloured.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace

from tapejit.ir.graph import Graph

STAGES = ("traced", "differentiated", "optimized", "kernels", "source", "llvm")


class Listing(str):
    """Text of a program. Prints plain; shows coloured at the prompt of a terminal and in a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        from tapejit.ir import colour

        return colour.for_stream(str(self), sys.stdout)

    def _repr_html_(self) -> str:
        from tapejit.ir import colour

        return colour.html(str(self))


def graph(traced: Graph, stage: str = "traced") -> Graph:
    """The graph after a stage: "traced", "differentiated" or "optimized". ValueError for another."""
    from tapejit.passes import pipeline

    if stage == "traced":
        return traced
    if stage == "differentiated":
        return pipeline.run(traced, until="differentiate")
    if stage == "optimized":
        return pipeline.run(traced)
    raise ValueError(f"there is no graph at stage {stage!r}; write one of 'traced', 'differentiated', 'optimized'")


def show(traced: Graph, stage: str = "traced", likely: Mapping[str, int] | None = None) -> Listing:
    """The text of a graph at any of `STAGES`: tensor IR, loop nests, Numba source, optimised LLVM IR. ValueError for another stage.

    `likely` are values that its open sizes are likely to have."""
    from tapejit.ir import printer

    if stage not in STAGES:
        raise ValueError(f"there is no stage {stage!r}; write one of {', '.join(map(repr, STAGES))}")
    if stage in ("traced", "differentiated", "optimized"):
        return Listing(printer.text(graph(traced, stage)))
    from tapejit.codegen import llvm
    from tapejit.loops import printer as loops_printer
    from tapejit.runtime import compile, host
    from tapejit.schedule.plan import plan

    target = replace(host.target(), likely=tuple(sorted((likely or {}).items())))
    planned = plan(graph(traced, "optimized"), target)
    if stage == "kernels":
        return Listing(loops_printer.program(planned.program))
    source = llvm.module(planned.program, target)
    return Listing(source.python if stage == "source" else compile.optimized(source.text))

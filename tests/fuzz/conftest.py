"""Options of the fuzzer, and its account of which ops were drawn at the end of a run."""

from __future__ import annotations

from collections import Counter

import pytest

from tapejit.ir.op import OPS

DRAWN = {"interpreted": Counter(), "compiled": Counter()}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz", "random graphs")
    group.addoption("--fuzz-graphs", type=int, default=1000, help="random graphs through parser, passes and interpreter")
    group.addoption("--fuzz-compiled", type=int, default=100, help="random graphs that are compiled too")
    group.addoption("--fuzz-seed", type=int, default=0, help="seed of the first graph")


@pytest.fixture(scope="session")
def drawn() -> dict[str, Counter]:
    """How often each op was drawn."""
    return DRAWN


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for what, counts in DRAWN.items():
        if not counts:
            continue
        never = sorted(set(OPS) - set(counts))
        terminalreporter.section(f"ops in {what} random graphs")
        rows = ", ".join(f"{name} {n}" for name, n in counts.most_common())
        terminalreporter.write_line(rows)
        terminalreporter.write_line(f"never: {', '.join(never) or 'none'}")

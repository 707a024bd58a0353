"""Random graphs drawn from every row of the table of ops, and the cases that they have brought to light.

    pytest tests/fuzz                                              1,000 graphs through parser, passes and interpreter, 100 compiled
    pytest tests/fuzz --fuzz-compiled=10000 --fuzz-seed=5000       a long run on other graphs

A failing graph is shrunk, printed, and saved to a temporary file; put that file into `cases/` and it is tried again in every run.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tapejit.ir.op import OPS
from tests.fuzz import properties
from tests.fuzz.generate import Finding, Generator
from tests.fuzz.properties import Failure, Undetermined

CHUNK = 25
CASES = sorted((Path(__file__).parent / "cases").glob("*.py"))
NAMES = sorted(OPS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, option in (("chunk", "--fuzz-graphs"), ("compiled_chunk", "--fuzz-compiled")):
        if fixture in metafunc.fixturenames:
            first, count = metafunc.config.getoption("--fuzz-seed"), metafunc.config.getoption(option)
            metafunc.parametrize(fixture, [range(k, min(k + CHUNK, first + count)) for k in range(first, first + count, CHUNK)], ids=str)


@pytest.fixture(autouse=True, scope="module")
def fresh_cache(tmp_path_factory):
    """Kept code is found by the text of its graph; a run must not be answered by an earlier one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAPEJIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def try_seeds(seeds: range, native: bool, drawn: Counter) -> None:
    """Check the graphs of the seeds; the first failure of each kind is shrunk and saved."""
    found: dict[str, str] = {}
    undetermined = 0
    for seed in seeds:
        force = tuple(NAMES[(3 * seed + k) % len(NAMES)] for k in range(3))
        try:
            graph, setting = Generator(seed, force, drawn).make()
        except Finding as e:
            found.setdefault(str(e)[:60], f"seed {seed}: {e}")
            continue
        try:
            properties.check(graph, setting, native)
        except Undetermined:
            undetermined += 1
        except Failure as e:
            if e.name not in found:
                found[e.name] = report(graph, setting, native, seed, e)
    if found:
        pytest.fail("\n\n".join(found.values()), pytrace=False)
    assert undetermined < len(seeds), "no graph of these had a determined outcome"


def report(graph, setting, native: bool, seed: int, failure: Failure) -> str:
    """What failed, and the smallest graph that still fails so, which is saved."""
    try:
        small = properties.shrunk(graph, setting, native, failure.name)
    except Exception:  # the failure matters more than a small graph
        small = graph, setting
    again = failure
    try:
        properties.check(*small, native)
    except Failure as e:
        again = e
    written = properties.case_text(*small, about=f"{again.name}\nseed {seed}")
    with tempfile.NamedTemporaryFile("w", prefix=f"fuzz_{seed}_", suffix=".py", delete=False) as file:
        file.write(written)
    return f"seed {seed}: {again}\n\nsaved as {file.name}:\n{written}"


def test_random_graphs(chunk, drawn):
    try_seeds(chunk, False, drawn["interpreted"])


def test_random_graphs_compiled(compiled_chunk, drawn):
    try_seeds(compiled_chunk, True, drawn["compiled"])


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_saved_case(path):
    graph, setting = properties.read_case(path.read_text())
    properties.check(graph, setting, native=True)


def test_a_case_reads_back():
    graph, setting = Generator(3).make()
    again, arrays = properties.read_case(properties.case_text(graph, setting, "about"))
    assert properties.text(again) == properties.text(graph)
    for ours, theirs in ((setting.args, arrays.args), (setting.cells, arrays.cells), (setting.consts, arrays.consts)):
        assert ours.keys() == theirs.keys()
        for name, x in ours.items():
            assert (x.dtype, x.shape, x.tobytes()) == (theirs[name].dtype, theirs[name].shape, theirs[name].tobytes())


def test_a_wrong_pass_is_found_and_shrunk(monkeypatch):
    """The fuzzer can fail: with a pass that turns tanh into sin it finds so, and is left with little more than the tanh."""
    from dataclasses import replace

    from tapejit.passes import pipeline

    def spoil(graph):
        return graph.with_body([replace(n, op=OPS["sin"]) if n.op is OPS["tanh"] else n for n in graph.body])

    monkeypatch.setattr(pipeline, "PIPELINE", (*pipeline.PIPELINE, spoil))
    for seed in range(40):
        graph, setting = Generator(seed, ("tanh",)).make()
        try:
            properties.check(graph, setting)
        except Failure as e:
            failure = e
            break
    else:
        pytest.fail("a pass that changes values was not noticed")
    assert failure.name == "spoil"
    small, _ = properties.shrunk(graph, setting, False, failure.name)
    assert len(small.body) <= 2
    assert any(n.op is OPS["tanh"] for n in small.body)

"""A pytest plugin for Keras' own tests, which lie beside its sources: gives them a backend, and writes down how each test came out.

In: `-p tests.keras.judged --judged-log FILE [--judged-sample N]`. With KERAS_BACKEND unset or `tapejit` Keras runs on tapejit, else on the
backend named there. Out: in FILE a line of JSON when a test begins and one when it has ended; tests that FILE has an end of are left out,
so that a run whose process died goes on after the test that killed it. It also stands for the `conftest` of Keras' repository, which is
not installed with Keras: two marks and `skip_if_backend`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.keras.peers import in_sample

if os.environ.get("KERAS_BACKEND", "") in ("", "tapejit"):
    import tapejit

    tapejit.keras.backend  # noqa: B018  Keras is imported when the first of its names is asked for
from keras.src.backend import backend, config

sys.modules["conftest"] = sys.modules[__name__]
CANNOT_TRAIN = ("numpy", "openvino")
KNOWS_BY_NAME = 'raise ImportError(f"Invalid backend: {backend.backend()}")'


def skip_if_backend(name: str, reason: str) -> Any:
    """The mark that Keras' tests import from their `conftest`."""
    return pytest.mark.skipif(backend() == name, reason=reason)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--judged-log", type=Path, required=True)
    parser.addoption("--judged-sample", type=int, default=1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires_trainable_backend: trains")
    config.addinivalue_line("markers", "multi_device: needs several devices")
    config.pluginmanager.register(_Log(config), "judged-log")


def pytest_collectstart(collector: pytest.Collector) -> None:
    """A file that knows all backends by name finds ours under the name of the seat it sits in, as long as it is imported."""
    if backend() != "tapejit" or not isinstance(collector, pytest.Module) or KNOWS_BY_NAME not in collector.path.read_text():
        return
    names = vars(config)
    names["_BACKEND"] = "numpy"
    try:
        with contextlib.suppress(collector.CollectError):  # which it tells again when its tests are asked for
            collector.obj  # noqa: B018  imports the file
    finally:
        names["_BACKEND"] = "tapejit"


class _Log:
    """How the tests come out, in a file."""

    def __init__(self, config: pytest.Config) -> None:
        path = config.getoption("--judged-log")
        self.ended = (
            {line["id"] for line in map(json.loads, path.read_text().splitlines()) if "outcome" in line} if path.exists() else set()
        )
        self.file = path.open("a", buffering=1)
        self.outcome, self.why, self.seconds = "passed", "", 0.0

    def write(self, **line: Any) -> None:
        self.file.write(json.dumps(line) + "\n")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        every = config.getoption("--judged-sample")
        for item in items:
            if "requires_trainable_backend" in item.keywords and backend() in CANNOT_TRAIN:
                item.add_marker(pytest.mark.skip(reason="this backend cannot train"))
            if "multi_device" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="one device"))
        items[:] = [item for item in items if item.nodeid not in self.ended and in_sample(item.nodeid, every)]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and report.nodeid not in self.ended:
            self.write(id=report.nodeid, outcome="failed", why=_last_line(report.longrepr), seconds=0.0)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.outcome, self.why, self.seconds = "passed", "", 0.0
        self.write(id=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds += report.duration
        if report.failed or (report.skipped and self.outcome == "passed"):
            self.outcome, self.why = report.outcome, _last_line(report.longrepr)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.write(id=nodeid, outcome=self.outcome, why=self.why, seconds=round(self.seconds, 3))


def _last_line(report: Any) -> str:
    """What went wrong, in a line."""
    if isinstance(report, tuple):  # of a skipped test: file, line, reason
        return str(report[2])
    crash = getattr(report, "reprcrash", None)
    text = crash.message if crash is not None else str(report)
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    return (lines[0] if crash is not None else lines[-1])[:300]

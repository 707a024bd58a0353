"""A pytest plugin for Keras' own tests, which lie beside its sources: gives them a backend, and writes down how each test came out.

In: `-p tests.keras.judged --judged-log FILE [--judged-sample N]`. With KERAS_BACKEND unset or `tapejit` Keras runs on tapejit, else on the
backend named there. Out: in FILE a line of JSON when a test begins and one when it has ended; tests that FILE has an end of are left out,
so that a run whose process died goes on after the test that killed it. It also stands for the `conftest` of Keras' repository, which is
not installed with Keras: two marks and `skip_if_backend`.

Keras' tests were written for the backends and in the environment of Keras' own developers. Four things are translated, none of which
touches what a test computes or expects:

- A file that knows all backends by name finds ours under the name of the seat it sits in, as long as it is imported (`KNOWS_BY_NAME`).
- A function that looks the name of the processor up by backend finds ours where it has PyTorch's, which has the same: "cpu" (`TABLES`).
- A file may import a library that is not installed, as most of its tests do not use it. For TensorFlow it gets tapejit, as tests do,
  for others a module that has nothing. Keras itself finds none installed. A test that then fails for want of one is "absent".
- A function that spells sparse tensors or gradients, once for TensorFlow and once for others, and asks which backend there is, is told
  TensorFlow, whose spelling is tapejit's too: its `import tensorflow` gives it tapejit, so that `tf.SparseTensor`, `tf.GradientTape` and
  all else it calls are tapejit's own.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import json
import os
import re
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest

from tests.keras.peers import ABSENT, in_sample

if os.environ.get("KERAS_BACKEND", "") in ("", "tapejit"):
    import tapejit

    tapejit.keras.backend  # noqa: B018  Keras is imported when the first of its names is asked for
from keras.src import backend as keras_backend
from keras.src.backend import backend, config
from keras.src.utils import module_utils

sys.modules["conftest"] = sys.modules[__name__]
CANNOT_TRAIN = ("numpy", "openvino")
KNOWS_BY_NAME = 'raise ImportError(f"Invalid backend: {backend.backend()}")'
TABLES = {"trainers/trainer_test.py": ("TestPyDataset", "__getitem__")}
LIBRARIES = ("tensorflow", "jax", "torch", "grain")
MISSING = tuple(name for name in LIBRARIES if find_spec(name) is None)
_ONE = f"({'|'.join(MISSING) or '(?!)'})"
NEEDS_MISSING = re.compile(
    rf"No module named '{_ONE}\b|module '{_ONE}' is not installed|[Rr]equires (installing )?(the )?{_ONE}\b|pip install {_ONE}", re.I
)
for _name in MISSING:
    getattr(getattr(module_utils, _name, None), "available", False)  # Keras finds out now, and remembers


def skip_if_backend(name: str, reason: str) -> Any:
    """The mark that Keras' tests import from their `conftest`."""
    return pytest.mark.skipif(backend() == name, reason=reason)


@functools.cache
def spells(code: CodeType) -> bool:
    """Whether a function, not a file, has a branch in which it imports the sparse tensors of JAX, or one with TensorFlow's tape."""
    names = {*code.co_names}.union(*(c.co_names for c in code.co_consts if isinstance(c, CodeType)))
    return code.co_name != "<module>" and not {"jax.experimental", "jax.experimental.sparse", "GradientTape"}.isdisjoint(names)


def spell_as_tensorflow() -> None:
    """Have functions that spell sparse tensors or gradients do so as for TensorFlow, with tapejit in its place."""
    importing = builtins.__import__

    def asked() -> str:
        return "tensorflow" if spells(sys._getframe(1).f_code) else backend()

    def imported(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "tensorflow" and spells(sys._getframe(1).f_code):
            return tapejit
        return importing(name, *args, **kwargs)

    keras_backend.backend = asked
    builtins.__import__ = imported


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--judged-log", type=Path, required=True)
    parser.addoption("--judged-sample", type=int, default=1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires_trainable_backend: trains")
    config.addinivalue_line("markers", "multi_device: needs several devices")
    config.pluginmanager.register(_Log(config), "judged-log")
    if backend() == "tapejit":
        spell_as_tensorflow()


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Import a test file, as the docstring above says."""
    if not isinstance(collector, pytest.Module):
        return
    by_name = backend() == "tapejit" and KNOWS_BY_NAME in collector.path.read_text()
    names = vars(config)
    with _stand_ins(_tapejit(), _Absent()), contextlib.suppress(Exception):  # which it tells again when its tests are asked for
        if by_name:
            names["_BACKEND"] = "numpy"
        try:
            module = collector.obj
        finally:
            if by_name:
                names["_BACKEND"] = "tapejit"
        for file, (owner, name) in TABLES.items():
            if backend() == "tapejit" and collector.path.as_posix().endswith(file):
                function = getattr(getattr(module, owner), name)
                function.__code__ = _with_our_row(function.__code__)


def _with_our_row(code: CodeType) -> CodeType:
    """A function's code in which the row of "torch" of a table is ours."""

    def ours(constant: Any) -> Any:
        if isinstance(constant, tuple):
            return tuple(map(ours, constant))
        return "tapejit" if constant == "torch" else constant

    return code.replace(co_consts=ours(code.co_consts))


class _Absent(MetaPathFinder, Loader):
    """Answers imports of libraries that are not installed with modules that have nothing."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in MISSING else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)

        def has_nothing(name: str) -> Any:
            raise AttributeError(f"module {spec.name.partition('.')[0]!r} is not installed, so it has no {name!r}")

        module.__getattr__ = has_nothing  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


def _tapejit() -> MetaPathFinder | None:
    """Answers imports of TensorFlow with tapejit where that is not installed."""
    if backend() != "tapejit" or "tensorflow" not in MISSING:
        return None
    from tapejit.keras.seat import Lender

    return Lender("tensorflow", "tapejit")


@contextlib.contextmanager
def _stand_ins(*finders: MetaPathFinder | None) -> Iterator[None]:
    """Imports of libraries that are not installed work, and leave no trace behind but in those who imported them."""
    asked = [finder for finder in finders if finder is not None]
    sys.meta_path.extend(asked)
    try:
        yield
    finally:
        for finder in asked:
            sys.meta_path.remove(finder)
        for name in [n for n in sys.modules if n.partition(".")[0] in MISSING]:
            del sys.modules[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """A test may import TensorFlow as well."""
    with _stand_ins(_tapejit()):
        return (yield)


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
            why = _last_line(report.longrepr)
            self.write(id=report.nodeid, outcome=ABSENT if NEEDS_MISSING.search(why) else "failed", why=why, seconds=0.0)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.outcome, self.why, self.seconds = "passed", "", 0.0
        self.write(id=nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """A test that failed for want of a library is skipped, to pytest: there may be thousands, which it would print one by one."""
        report: Any = yield
        if report.failed and NEEDS_MISSING.search(why := _last_line(report.longrepr)):
            report.outcome, report.longrepr, report.absent = "skipped", (str(item.path), 0, why), True
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds += report.duration
        if report.failed or (report.skipped and self.outcome == "passed"):
            self.outcome, self.why = ABSENT if hasattr(report, "absent") else report.outcome, _last_line(report.longrepr)

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

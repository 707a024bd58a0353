"""Runs Keras' own tests on tapejit, and says which share of those that its other backends pass we pass.

    python -m tests.keras.suite                      all groups, from the root of the repository; twenty minutes
    python -m tests.keras.suite ops layers/core      groups, folders or files of keras/src
    python -m tests.keras.suite --sample 8           one test in 8 of everything: some minutes
    python -m tests.keras.suite --keep DIR           how each test came out stays in DIR, and a run goes on where the last one there ended
    python -m tests.keras.suite --ids FILE           the ids of what others pass and we do not, to a file, with the reasons
    python -m tests.keras.suite --page docs/keras_tests.md     counts and reasons as a page of the documentation

Many of Keras' tests compare with TensorFlow or JAX, so the environment should have them beside Keras, pytest and what tapejit needs
(`--python` names another environment than this one); those that need them are left out otherwise. Tests that Keras skips for its NumPy
backend because that cannot train are run.

What the others pass is kept in tests/keras/peers. These make it anew, by running the tests or from files that pytest's --junitxml wrote:

    python -m tests.keras.suite --backend jax --record [groups ...]
    python -m tests.keras.suite --backend jax --record --junit DIR        DIR/ops.xml, DIR/layers.xml, ...
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.keras import peers
from tests.keras.page import page

ROOT = Path(__file__).parent.parent.parent
GROUPS = [
    "ops",
    "layers",
    "losses",
    "optimizers",
    "metrics",
    "models",
    "trainers",
    "callbacks",
    "saving",
    "initializers",
    "random",
    "regularizers",
    "activations",
    "constraints",
    "dtype_policies",
    "utils",
]
DIED = "the process died in this test"
HUNG = "took longer than --patience"


@dataclass
class Found:
    """How tests came out, why those that did not pass did not, and how long each took."""

    outcomes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def take(self, log: Path) -> str | None:
        """Read what the plugin wrote; the test that had begun and has not ended, if there is one."""
        begun = None
        for line in map(json.loads, log.read_text().splitlines()):
            begun = line["id"]
            if "outcome" in line:
                self.outcomes[begun], self.reasons[begun], self.seconds[begun] = line["outcome"], line["why"], line["seconds"]
                begun = None
        return begun


def source_of(python: str) -> Path:
    """The folder keras/src of an environment."""
    found = subprocess.run(
        [python, "-c", "from importlib.util import find_spec; print(find_spec('keras').origin)"], capture_output=True, text=True, check=True
    )
    return Path(found.stdout.strip()).parent / "src"


def version_of(source: Path) -> str:
    """The version of the Keras in a folder keras/src."""
    return re.search(r'__version__ = "(.*)"', (source / "version.py").read_text())[1]  # type: ignore[index]


def run(target: str, source: Path, log: Path, python: str, backend: str, sample: int, patience: float) -> Found:
    """The tests below `source / target`. A process that dies or hangs costs the test it was in; the next one goes on after that."""
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.keras.judged",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(source),
    ]
    command += [
        "--judged-log",
        str(log),
        "--judged-sample",
        str(sample),
        "--continue-on-collection-errors",
        "--tb",
        "native",
        str(source / target),
    ]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    while True:
        with log.with_suffix(".out").open("a") as out:
            process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            hung = _watch(process, log, patience)
        found = Found()
        begun = found.take(log) if log.exists() else None
        if begun is None:
            if process.returncode not in (0, 1, 5):  # passed, failed, nothing to run
                tail = "\n".join(log.with_suffix(".out").read_text().splitlines()[-15:])
                raise SystemExit(f"pytest ended with {process.returncode} before it ran {target}:\n{tail}")
            return found
        with log.open("a") as file:
            file.write(json.dumps({"id": begun, "outcome": "failed", "why": HUNG if hung else DIED, "seconds": 0.0}) + "\n")


def _watch(process: subprocess.Popen[bytes], log: Path, patience: float) -> bool:
    """Wait for a process; end it, and say True, if its log does not grow for `patience` seconds."""
    size, grown = -1, time.monotonic()
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
                return False
            now = log.stat().st_size if log.exists() else -1
            if now != size:
                size, grown = now, time.monotonic()
            elif time.monotonic() - grown > patience:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return True
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def run_all(
    targets: Sequence[str], source: Path, folder: Path, python: str, backend: str, sample: int, patience: float, jobs: int
) -> Found:
    """The tests of all targets, `jobs` of these at a time, with what came out kept in `folder`."""

    def one(target: str) -> Found:
        log = folder / f"{backend}.{target.replace('/', '.')}.jsonl"
        found = run(target, source, log.resolve(), python, backend, sample, patience)
        print(f"{target}: {dict(Counter(found.outcomes.values()))}", file=sys.stderr, flush=True)
        return found

    together = Found()
    with ThreadPoolExecutor(jobs) as pool:
        for part in pool.map(one, targets):
            together.outcomes |= part.outcomes
            together.reasons |= part.reasons
            together.seconds |= part.seconds
    return together


def chosen(test: str, targets: Sequence[str], sample: int) -> bool:
    """Is a test one of those asked for?"""
    return peers.within(test, targets) and peers.in_sample(test, sample)


def shares(ours: dict[str, str], others: Sequence[dict[str, str]], targets: Sequence[str], sample: int) -> dict[str, peers.Share]:
    """For each group, and for all under the name "all"; without what needs libraries that are not installed where ours ran."""
    absent = tuple(test for test, outcome in ours.items() if outcome == peers.ABSENT)
    passed = {test for found in others for test, outcome in found.items() if outcome == "passed" and chosen(test, targets, sample)}
    passed = {test for test in passed if not peers.within(test, absent)}
    missing = sorted(test for test in passed if ours.get(test) != "passed")
    names = list(dict.fromkeys(peers.group(t) for t in targets))
    by_group = {g: peers.Share(sum(peers.group(t) == g for t in passed), tuple(t for t in missing if peers.group(t) == g)) for g in names}
    return {**by_group, "all": peers.Share(len(passed), tuple(missing))}


def report(columns: dict[str, dict[str, str]], found: dict[str, peers.Share]) -> None:
    """Print the table of outcomes by backend, ours first, and shares by group."""
    print(f"{'passed/failed/skipped':24}" + "".join(f"{name:>18}" for name in columns) + f"{'share of theirs':>18}")
    for name, share in found.items():
        row = f"{name:24}"
        for outcomes in columns.values():
            counts = Counter(o for t, o in outcomes.items() if name in ("all", peers.group(t)))
            row += f"{'/'.join(str(counts[o]) for o in peers.OUTCOMES) if counts else '-':>18}"
        print(row + f"{share!s:>18}")
    absent = sum(outcome == peers.ABSENT for outcome in columns["tapejit"].values())
    if absent:
        print(f"left out: {absent} tests and files that need libraries which are not installed here")


def lines(missing: Sequence[str], ours: Found) -> list[str]:
    """The ids of tests that we do not pass, each with the reason."""
    return [
        f"{test}  # {ours.outcomes.get(test, 'not run')}: {ours.reasons.get(test, 'its file could not be imported')}" for test in missing
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 1 if the share is below `--at-least`."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.keras.suite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)}; or any folder or file of keras/src")
    parser.add_argument("--backend", default="tapejit", help="tapejit, jax or numpy")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environment to run the tests in")
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="one test in N, the same each time")
    parser.add_argument("--jobs", type=int, default=1, help="groups at a time")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds that a test may take")
    parser.add_argument("--keep", type=Path, help="folder for what came out")
    parser.add_argument("--ids", type=Path, help="file for the ids of what others pass and we do not")
    parser.add_argument("--page", type=Path, help="file for counts and reasons as Markdown")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT", help="exit with 1 if we pass less of what others pass")
    parser.add_argument("--record", action="store_true", help="keep what came out as what --backend passes")
    parser.add_argument("--junit", type=Path, metavar="DIR", help="with --record: read DIR/GROUP.xml instead of running the tests")
    options = parser.parse_args(argv)
    if options.record and options.backend not in peers.BACKENDS:
        parser.error(
            f"--record keeps what other backends pass, so --backend should be one of {', '.join(peers.BACKENDS)}, not {options.backend}"
        )
    if options.record and options.sample > 1:
        parser.error("--record keeps whole groups, so it goes without --sample")
    targets = [t.strip("/") for t in options.targets] or list(GROUPS)
    source = source_of(options.python)

    if options.junit:
        recorded: dict[str, str] = {}
        for path in sorted(options.junit.glob("*.xml")):
            if path.stem in targets or not options.targets:
                recorded |= peers.from_junit(path, source)
        groups = sorted({peers.group(test) for test in recorded})
        peers.record(options.backend, recorded, groups)
        print(f"{options.backend}: {Counter(recorded.values())} in {', '.join(groups)}")
        return 0

    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        together = run_all(targets, source, folder, options.python, options.backend, options.sample, options.patience, options.jobs)
    if options.backend != "tapejit":
        if options.record:
            peers.record(options.backend, together.outcomes, targets)
        print(Counter(together.outcomes.values()))
        return 0
    others = {b: {t: o for t, o in peers.read(b).items() if chosen(t, targets, options.sample)} for b in peers.BACKENDS}
    columns = {"tapejit": together.outcomes, **others}
    found = shares(together.outcomes, list(others.values()), targets, options.sample)
    report(columns, found)
    share = found["all"]
    for reason, count in Counter(together.reasons.get(test, "not run") for test in share.missing).most_common():
        print(f"{count:6}  {reason}")
    ids = lines(share.missing, together)
    print("\n".join(ids))
    if options.ids:
        options.ids.write_text("".join(line + "\n" for line in ids))
    if options.page:
        options.page.write_text(page(version_of(source), columns, found, together.reasons))
    return int(share.percent < options.at_least)


if __name__ == "__main__":
    sys.exit(main())

"""How Keras' own tests come out on the backends that Keras has, kept beside this file so that our share can be recomputed.

A list is a text of lines `outcome id`, sorted by id, in `peers/BACKEND.txt.xz` (`xz -dc` prints it); ids are paths relative to `keras/src`
followed by `::Class::test`.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

PEERS = Path(__file__).parent / "peers"
BACKENDS = ("jax", "numpy")
OUTCOMES = ("passed", "failed", "skipped")
ABSENT = "absent"  # of a test that failed because it needs a library that is not installed where it ran


def path_of(backend: str) -> Path:
    """Where the list of a backend is."""
    return PEERS / f"{backend}.txt.xz"


def read(backend: str, folder: Path = PEERS) -> dict[str, str]:
    """The outcome of each test on a backend; empty if none was recorded."""
    path = folder / path_of(backend).name
    lines = lzma.decompress(path.read_bytes()).decode().splitlines() if path.exists() else []
    return {test: outcome for outcome, test in (line.split(" ", 1) for line in lines)}


def record(backend: str, found: Mapping[str, str], targets: Sequence[str], folder: Path = PEERS) -> None:
    """Keep these outcomes, in place of all that was kept of the groups, folders and files `targets`. What was absent there failed."""
    found = {test: "failed" if outcome == ABSENT else outcome for test, outcome in found.items()}
    kept = {test: outcome for test, outcome in read(backend, folder).items() if not within(test, targets)}
    text = "".join(f"{outcome} {test}\n" for test, outcome in sorted({**kept, **found}.items()))
    folder.mkdir(exist_ok=True)
    (folder / path_of(backend).name).write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def group(test: str) -> str:
    """The folder of `keras/src` that a test is in."""
    return test.split("/", 1)[0]


def within(test: str, targets: Sequence[str]) -> bool:
    """Is a test in one of these groups, folders or files?"""
    return any(test == t or test.startswith((t + "/", t + "::")) for t in targets)


def in_sample(test: str, every: int) -> bool:
    """Is this one of the tests of a sample of one in `every`? By a checksum of its id, so that a sample is the same wherever it is drawn."""
    return zlib.crc32(test.encode()) % every == 0


def from_junit(path: Path, source: Path) -> dict[str, str]:
    """The outcomes in a JUnit file that is called like a folder of `source`, the folder `keras/src`, and made from it: `ops.xml`.

    pytest writes ids there with dots for everything; which of them are folders, the files say that there are.
    """
    found = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        names = case.get("classname", "").split(".") if case.get("classname") else []
        at = source / path.stem
        while names:
            name = names.pop(0)
            at = at / name
            if not at.is_dir():
                break
        else:  # a file that could not be collected
            at = at / case.get("name", "").replace(".", "/")
        collected = at.with_suffix(".py").relative_to(source).as_posix()
        name = case.get("name", "")
        if name.count("]") > name.count("["):  # pytest's writer closes the bracket of a name that has one inside twice
            name = name.removesuffix("]")
        test = "::".join([collected, *names, *([name] if case.get("classname") else [])])
        kinds = {child.tag for child in case}
        found[test] = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
    return found


@dataclass(frozen=True)
class Share:
    """Of the tests of a group that others pass: how many there are, and those that we do not pass."""

    wanted: int
    missing: tuple[str, ...]

    @property
    def percent(self) -> float:
        """How much of them we pass; 0 if there are none."""
        return 100 * (1 - len(self.missing) / self.wanted) if self.wanted else 0.0

    def __str__(self) -> str:
        return f"{self.percent:.2f} %" if self.wanted else "not recorded"

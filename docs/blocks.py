"""The code blocks of the pages: runs them, and compares what they print with what the page says.

In: Markdown pages. Out: a report of what differs and exit status 1, or with `--update` the pages with the output as it is now.

    python docs/blocks.py [--update] [PAGE...]      all pages and the README without PAGE

- All `python` blocks of a page share one namespace. Put together they are one file, called like the page (`tour.py`), so the lines that
  listings and errors name can be found. A block whose first line is a comment such as `# mlp.py` is a file of its own, with its own names.
- A `text` block right after a block is what that one prints, standard error included. If the block ends with an exception, its last lines
  are `Name: message`. A line `...` stands for any number of lines. Addresses, and the figures of tables, may differ.
- In an `sh` block each line is a command. `python -m tapejit` runs where the page's files are; any other command needs the marker.
- `<!-- not run: reason -->` before a block leaves it out.
- `<!-- needs: package -->` anywhere leaves the page out where the package is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import re
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_FENCE = re.compile(r"^```(\w*)[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_MARKER = re.compile(r"<!-- not run: .+? -->\s*\Z")
_NEEDS = re.compile(r"<!-- needs: (\w+) -->")
_FILE = re.compile(r"# ([\w.]+\.(?:py|txt))\n")
_COMMANDS = {"sh", "bash", "shell", "console"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and text, the file it stands in (from `line` on) and the output that follows it."""

    language: str
    text: str
    file: str
    line: int
    skipped: bool
    output: str | None
    span: tuple[int, int]  # of the output's text in the page; empty without one
    page_line: int
    own_file: bool


@dataclass(frozen=True)
class Difference:
    """A block that prints something else than the page says."""

    block: Block
    actual: str

    def report(self, page: Path) -> str:
        """The difference as text."""
        lines = difflib.unified_diff((self.block.output or "").splitlines(), self.actual.splitlines(), "page", "printed", lineterm="")
        return f"{page.relative_to(ROOT)}:{self.block.page_line}: the block prints something else\n" + "\n".join(lines)


def pages() -> list[Path]:
    """The README and every page of this folder."""
    return [p for p in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if p.exists()]


def missing(page: Path) -> list[str]:
    """The packages that a page needs and that are not installed."""
    return [package for package in _NEEDS.findall(page.read_text()) if find_spec(package) is None]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in order; `text` blocks are the output of the block before them."""
    text = page.read_text()
    found = list(_FENCE.finditer(text))
    own = re.sub(r"\W", "_", page.stem.lower()) + ".py"
    count = 0
    out = []
    for k, m in enumerate(found):
        language, body = m[1], m[2]
        if language == "text" or not language:
            continue
        after = found[k + 1] if k + 1 < len(found) else None
        follows = after is not None and after[1] == "text" and not text[m.end() : after.start()].strip()
        named = _FILE.match(body)
        file, line = (named[1], 1) if named else (own, count + 1)
        if language == "python" and not named:
            count += body.count("\n") + 1
        skipped = _MARKER.search(text[: m.start()]) is not None
        output = after[2] if follows and after else None
        span = (after.start(2), after.end(2)) if follows and after else (0, 0)
        out.append(Block(language, body, file, line, skipped, output, span, text[: m.start()].count("\n") + 1, named is not None))
    return out


def files(found: list[Block]) -> dict[str, str]:
    """The files that the blocks of a page make up."""
    out: dict[str, str] = {}
    for b in found:
        if b.language == "python" and not b.skipped:
            out[b.file] = b.text if b.line == 1 and b.file not in out else f"{out[b.file]}\n{b.text}"
    return out


def normal(text: str) -> list[str]:
    """What is compared of an output: lines without what differs from run to run."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", text)
    text = re.sub(r"^ +(\S.*)\n┏", r"\1\n┏", text, flags=re.MULTILINE)  # the title of a table is centred
    lines = [line.rstrip() for line in text.splitlines()]
    return [_table_row(line) if re.search(r"[┃│┏━└─]", line) else line for line in lines if line.strip()]


def _table_row(line: str) -> str:
    """A row of a table with its figures and widths taken out."""
    line = re.sub(r"[┏┓┗┛┡┩└┘┳┴╇━─]+", "-", line)
    line = re.sub(r"(\d[\d.,e+-]*|nan)( ?(ns|µs|ms|s|x|B|KiB|MiB|GiB)\b)?", "#", line)
    line = re.sub(r"cache (hit|miss)|from the cache|\((result|state)[^)]*\)", "#", line)
    return re.sub(r"(# ?)+", "#", re.sub(r"\s+", " ", line)).replace(" ", "")


def same(expected: str, actual: str) -> bool:
    """Whether an output is what a page says."""
    have = normal(actual)
    chunks: list[list[str]] = [[]]  # what stands between the lines that stand for any number of lines
    for line in normal(expected):
        chunks.append([]) if line.strip() == "..." else chunks[-1].append(line)
    if len(chunks) == 1:
        return have == chunks[0]
    first, *middle, last = chunks
    if len(first) + len(last) > len(have) or have[: len(first)] != first or have[len(have) - len(last) :] != last:
        return False
    at, end = len(first), len(have) - len(last)
    for chunk in middle:
        while at + len(chunk) <= end and have[at : at + len(chunk)] != chunk:
            at += 1
        at += len(chunk)
    return at <= end


def run(page: Path) -> Iterator[Difference]:
    """Run the blocks of a page in this process, in a folder of their own. RuntimeError for one that fails though the page does not say so."""
    found = blocks(page)
    module = types.ModuleType("page")
    sys.modules["page"] = module
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name, text in files(found).items():
            Path(name).write_text(text)
        for b in found:
            if b.skipped or (b.language != "python" and b.language not in _COMMANDS):
                continue
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                failed = _python(b, module) if b.language == "python" else _commands(b, page)
            if failed is not None:
                print(failed, file=printed)
                if b.output is None:
                    raise RuntimeError(f"{page.name}:{b.page_line}: {printed.getvalue()}")
            if b.output is not None and not same(b.output, printed.getvalue()):
                yield Difference(b, printed.getvalue())


def _python(b: Block, module: types.ModuleType) -> str | None:
    """Run a block; what it raises, as text."""
    try:
        exec(compile("\n" * (b.line - 1) + b.text, b.file, "exec"), {"__name__": Path(b.file).stem} if b.own_file else module.__dict__)
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return None


def _commands(b: Block, page: Path) -> str | None:
    """Run the commands of a block; where one fails, its exit status as text."""
    for command in b.text.splitlines():
        command = command.strip().removeprefix("$ ")
        if not command or command.startswith("#"):
            continue
        if not command.startswith("python -m tapejit"):
            raise RuntimeError(
                f"{page.name}:{b.page_line}: `{command}` is not run by the tests; write <!-- not run: reason --> before the block"
            )
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
        command = f"{sys.executable}{command.removeprefix('python')}"
        done = subprocess.run(command, shell=True, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(done.stdout, end="")
        if done.returncode:
            return f"exit status {done.returncode}"
    return None


def updated(page: Path, differences: list[Difference]) -> str:
    """The text of a page with the outputs as they are now."""
    text = page.read_text()
    for d in sorted(differences, key=lambda d: -d.block.span[0]):
        start, end = d.block.span
        new = d.actual.rstrip("\n")
        text = text[:start] + "\n".join(line.rstrip() for line in new.splitlines()) + "\n" + text[end:]
    return text


def main(argv: list[str] | None = None) -> int:
    """Check or update pages; returns the exit status."""
    parser = argparse.ArgumentParser(description="Run the code blocks of the pages.")
    parser.add_argument("--update", action="store_true", help="write the output into the pages")
    parser.add_argument("pages", nargs="*", type=Path)
    options = parser.parse_args(argv)
    sys.path.insert(0, str(ROOT))
    os.environ["COLUMNS"] = "100"
    listed = [p.resolve() for p in options.pages]
    if not listed:  # every page in a process of its own: a page may add an op
        arguments = [sys.executable, __file__, *(["--update"] if options.update else [])]
        return max(subprocess.run([*arguments, str(p)]).returncode for p in pages())
    differ = False
    for page in listed:
        if missing(page):
            print(f"{page.relative_to(ROOT)}: left out, as there is no {', '.join(missing(page))} here")
            continue
        found = list(run(page))
        if options.update and found:
            page.write_text(updated(page, found))
        for d in found:
            print(d.report(page))
        differ |= bool(found) and not options.update
    return int(differ)


if __name__ == "__main__":
    sys.exit(main())

"""The pages: their code blocks run and print what the pages say, the table of ops is up to date, and links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


blocks = load("blocks")
PAGES = blocks.pages()
ALL_MARKDOWN = [*PAGES, *(p for p in ROOT.glob("*.md") if p not in PAGES)]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks.blocks(p)], ids=lambda p: p.name)
def test_blocks_run_and_print_what_the_page_says(page):
    """In a process of its own: a page may add an op."""
    if blocks.missing(page):
        pytest.skip(f"not installed: {', '.join(blocks.missing(page))}")
    done = subprocess.run([sys.executable, str(DOCS / "blocks.py"), str(page)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def test_the_table_of_ops_is_up_to_date():
    """In a process of its own: other tests add ops. `python docs/generate_ops.py` writes the page."""
    done = subprocess.run([sys.executable, str(DOCS / "generate_ops.py"), "--check"])
    assert done.returncode == 0


def anchors(text):
    """The anchors that the headings of a page give."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", ALL_MARKDOWN, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(to.read_text()), f"{page.name} links to {target}"


def test_every_page_is_reached_from_the_index():
    index = (DOCS / "index.md").read_text()
    assert [p.name for p in DOCS.glob("*.md") if p.name != "index.md" and f"({p.name})" not in index] == []


def page_of(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def test_a_block_that_prints_something_else_is_found_and_updated(tmp_path):
    page = page_of(tmp_path, "```python\nprint(6 * 7)\n```\n\n```text\n41\n```\n")
    (found,) = blocks.run(page)
    assert found.actual == "42\n"
    page.write_text(blocks.updated(page, [found]))
    assert list(blocks.run(page)) == []


def test_a_page_names_what_it_needs(tmp_path):
    assert blocks.missing(page_of(tmp_path, "<!-- needs: no_such_package -->\n\n<!-- needs: numpy -->\n")) == ["no_such_package"]


def test_a_block_that_fails_unannounced_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(blocks.run(page_of(tmp_path, "```python\n1 / 0\n```\n")))


def test_a_command_of_another_kind_needs_the_marker(tmp_path):
    with pytest.raises(RuntimeError, match="not run"):
        list(blocks.run(page_of(tmp_path, "```sh\npip install x\n```\n")))
    assert list(blocks.run(page_of(tmp_path, "<!-- not run: installs -->\n```sh\npip install x\n```\n"))) == []


@pytest.mark.parametrize(
    ("expected", "actual", "equal"),
    [
        ("a\n...\nb", "a\nx\ny\nb", True),
        ("a\n...\nb", "a\nb", True),
        ("a\n...\nc", "a\nx\nb", False),
        ("│ time │ 39.7 ms │ 61.8 µs │", "│ time   │ 4 s │ 1.5e-3 µs │", True),
        ("│ time │ 39.7 ms │", "│ memory │ 39.7 ms │", False),
        ("  f\n┏━━━┓", "    f\n┏━━━━━━━┓", True),
        ("  f", "    f", False),
        ("1.5 s", "1.6 s", False),
        ("<f at 0x7f0000000000>", "<f at 0x7fff12345678>", True),
    ],
)
def test_what_outputs_may_differ_in(expected, actual, equal):
    assert blocks.same(expected, actual) is equal

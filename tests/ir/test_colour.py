"""Colour changes no character, and stays away where it is not wanted."""

import html as escape
import io
import re
from pathlib import Path

import pytest

from tapejit.ir import colour

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.py"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_characters_stay(path):
    text = path.read_text()
    assert re.sub("\x1b\\[[0-9;]*m", "", colour.ansi(text)) == text
    assert escape.unescape(re.sub("<[^>]*>", "", colour.html(text))) == text


def test_kinds():
    coloured = colour.ansi("    h: f32[B, 3] = maximum(x, 0.5)  # a.py:3\n    state.w = h\n")
    for piece in (
        "\x1b[36mf32[B, 3]\x1b[0m",
        "\x1b[34mmaximum\x1b[0m",
        "\x1b[32m0.5\x1b[0m",
        "\x1b[2m# a.py:3\x1b[0m",
        "\x1b[33mstate.w\x1b[0m",
    ):
        assert piece in coloured


def test_html_is_escaped():
    assert "x &lt; y" in colour.html("    b: bool = x < y\n")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_only_where_wanted(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    text = "def f() -> None:\n    return\n"
    assert colour.for_stream(text, io.StringIO()) == text
    assert colour.for_stream(text, Terminal()) == colour.ansi(text) != text
    monkeypatch.setenv("TERM", "dumb")
    assert colour.for_stream(text, Terminal()) == text
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert colour.for_stream(text, io.StringIO()) == colour.ansi(text)
    monkeypatch.setenv("NO_COLOR", "1")
    assert colour.for_stream(text, Terminal()) == text

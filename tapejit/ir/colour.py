"""The text of a graph in colour: escape codes for terminals, spans for notebooks.

In: text as `printer.text` writes it; out: the same characters with colour around them. Nothing is coloured for a stream that is
no terminal, where `NO_COLOR` is set, or where `TERM` is "dumb"; `FORCE_COLOR` colours regardless.
"""

from __future__ import annotations

import html as escape
import os
import re
from collections.abc import Iterator
from typing import TextIO

from tapejit.core import dtypes

# kind: (terminal code, CSS), chosen to be legible on dark and light grounds
_STYLES: dict[str, tuple[str, str]] = {
    "comment": ("2", "color:#888"),
    "keyword": ("35", "color:#a626a4"),
    "type": ("36", "color:#0184bc"),
    "cell": ("33", "color:#b76b01"),
    "call": ("34", "color:#4078f2"),
    "string": ("32", "color:#50a14f"),
    "number": ("32", "color:#50a14f"),
    "defined": ("1", "font-weight:bold"),
}
_TOKEN = re.compile(
    r"(?P<comment>(?<=\s)\#\ .*$)"
    r"|(?P<string>'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")"
    r"|(?P<keyword>\b(?:def|return|with|assert|None|True|False)\b)"
    r"|(?P<cell>\b(?:state|const)\.\w+)"
    rf"|(?P<type>\b(?:{'|'.join(dtypes.BY_SHORT)})\b(?:\[[^\]=]*\])?)"
    r"|(?P<defined>(?<=^)\s*\w+(?=:\s))"
    r"|(?P<call>\b[A-Za-z_][\w.]*(?=\())"
    r"|(?P<number>(?<![\w.])(?:\d+\.?\d*(?:e[+-]?\d+)?|inf|nan)(?![\w.]))",
    re.MULTILINE | re.VERBOSE,
)


def for_stream(text: str, stream: TextIO) -> str:
    """`text` as it should be written to `stream`: in colour if that is a terminal whose user has not said no."""
    return ansi(text) if wanted(stream) else text


def wanted(stream: TextIO) -> bool:
    """Whether colour belongs on `stream`."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and getattr(stream, "isatty", lambda: False)()


def ansi(text: str) -> str:
    """`text` with terminal escape codes."""
    return "".join(f"\x1b[{_STYLES[kind][0]}m{part}\x1b[0m" if kind else part for kind, part in _parts(text))


def html(text: str) -> str:
    """`text` as a `<pre>` element for a notebook."""
    quoted = ((kind, escape.escape(part, quote=False)) for kind, part in _parts(text))
    inside = "".join(f'<span style="{_STYLES[kind][1]}">{part}</span>' if kind else part for kind, part in quoted)
    return f'<pre style="line-height:1.3">{inside}</pre>'


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """(kind, piece), in order, all characters once; kind is "" for what has no colour."""
    at = 0
    for m in _TOKEN.finditer(text):
        yield "", text[at : m.start()]
        yield m.lastgroup or "", m.group()
        at = m.end()
    yield "", text[at:]

"""The native subset: what is printed and compiled computes what the same text computes as Python."""

import textwrap
import types

import pytest
import steps

from tapejit.runtime import native


@pytest.fixture(scope="module")
def library():
    return native.Library(steps)


@pytest.mark.parametrize("b", [0, 1, 3, 6, 40])
@pytest.mark.parametrize("a", [0, 1, 3, 10, 11, 12, 101])
def test_operators_and_control_flow(library, a, b):
    assert library["arithmetic"](a, b) == steps.arithmetic(a, b)


def test_recursion_and_statics(library):
    assert library["factorial"](10) == 3628800
    assert library["remember"](5) == 0
    assert library["remember"](6) == 5
    assert steps.remember(5) == 0
    assert steps.remember(6) == 5


@pytest.mark.parametrize(
    "line",
    [
        "x = 1.5",
        "x = 'a'",
        "import os",
        "x = [1]",
        "y = unknown",
        "x = unknown(1)",
        "with a: pass",
        "x = 1 < 2 < 3",
        "a.b = 1",
        "factorial(1, 2)",
        "break",
    ],
)
def test_what_is_not_in_the_subset_is_named_with_its_line(line, monkeypatch):
    source = f"def factorial(n):\n    return n\n\ndef f(a):\n    {line}\n    return a\n"
    module = types.ModuleType("broken")
    monkeypatch.setattr("inspect.getsource", lambda m: source)
    with pytest.raises(SyntaxError, match=r"broken, line [0-9]+"):
        native.text(module)


def test_printed_text_is_readable():
    text, externals = native.text(steps)
    assert "define i64 @increment(i64 %table)" in text
    assert externals == ("malloc",)
    assert textwrap.dedent(text) == text


def test_imported_functions_are_part_of_the_module():
    from tapejit.runtime import blocks, incoming, launch

    assert native.parts_of(launch) == [launch, blocks, incoming]
    text, _ = native.text(launch)
    assert text.count("define i64 @take(") == text.count("define i64 @launch(") == 1
    with pytest.raises(SyntaxError, match=r"take.*another part"):
        native._Module([blocks, blocks]).text()

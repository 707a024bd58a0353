"""Places: which line and columns a call came from, and how an error quotes them."""

import sys

from tapejit.core import places
from tapejit.core.places import LINE_END, Place, here, is_ours, place_of, user_frame, with_place


def test_here_is_the_call():
    place = here()
    assert place.file == __file__
    assert place.text == "place = here()"
    quoted = place.quote().splitlines()
    assert quoted[0] == f"  at {__file__}:{place.line}"
    caret = quoted[2]
    assert quoted[1][caret.index("^") : caret.rindex("^") + 1] == "here()"
    assert str(place) == f"test_places.py:{place.line}"


def test_here_from_further_out():
    def inner():
        return here(2)

    place = inner()
    assert place.text == "place = inner()"


def test_caret_counts_characters_not_bytes():
    ä = "ß"; place = here()  # noqa: E702  # fmt: skip
    _, row, caret = place.quote().splitlines()
    assert row[caret.index("^") : caret.rindex("^") + 1] == "here()"
    assert ä


def test_a_call_over_several_lines_is_underlined_to_the_end_of_the_first():
    place = (
        here  # it
        (
        )
    )  # fmt: skip
    assert (place.column, place.end_column) == (8, LINE_END)
    assert place.quote().splitlines()[1:] == ["      here  # it", "      ^^^^^^^^^^"]


def test_frames_of_ours_are_skipped(tmp_path, monkeypatch):
    source = "def call(f):\n    return f()\n"
    ours: dict = {}
    exec(compile(source, places._HERE + "somewhere.py", "exec"), ours)
    frame = ours["call"](user_frame)
    assert frame is sys._getframe()
    assert is_ours(ours["call"].__code__)
    assert not is_ours(test_frames_of_ours_are_skipped.__code__)
    keras: dict = {}
    exec(compile(source, "/x/keras/src/layers/core.py", "exec"), keras)
    assert is_ours(keras["call"].__code__)


def test_source_that_cannot_be_read():
    space: dict = {}
    exec(compile("def f(here):\n    return here()\n", "<nowhere>", "exec"), space)
    place = space["f"](here)
    assert (place.file, place.line, place.text) == ("<nowhere>", 2, "")
    assert place.quote() == "  at <nowhere>:2"


def test_place_of_is_kept():
    code = test_place_of_is_kept.__code__
    assert place_of(code, 0) is place_of(code, 0)
    assert place_of(code, 10**6).line == code.co_firstlineno


def test_with_place():
    message = with_place("it broke")
    assert message.startswith(f"it broke\n  at {__file__}:")
    assert 'message = with_place("it broke")' in message
    assert with_place("it broke", Place("/no/file.py", 3)) == "it broke\n  at /no/file.py:3"

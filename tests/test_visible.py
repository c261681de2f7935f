"""Text from data is shown, and nothing in it is obeyed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.errors import DataError
from kfdet.visible import visible, visible_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a cat, na\u00efve, \u65e5\u672c, \U0001f408", "a cat, na\u00efve, \u65e5\u672c, \U0001f408"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("photo\u202egnp.exe", "photo\\u202egnp.exe"),
        ("over\rwritten", "over\\rwritten"),
        ("a\u2028b\x85c", "a\\u2028b\\x85c"),
        # How a name that is no UTF-8 comes from the file system.
        ("train-\udcff\udcfe", "train-\\xff\\xfe"),
        ("half \ud83d", "half \\ud83d"),
        # Emoji and many scripts are made with joiners.
        ("\U0001f469\u200d\U0001f680 \u0646\u0645\u06cc\u200c", "\U0001f469\u200d\U0001f680 \u0646\u0645\u06cc\u200c"),
        ("unknown \ufffd", "unknown \ufffd"),
    ],
)  # fmt: skip
def test_what_would_be_obeyed_is_written_out(text: str, shown: str):
    assert visible(text) == shown == visible_line(text)


def test_lines_stay_lines_but_not_in_names():
    assert visible("a\n\tb") == "a\n\tb"
    assert visible_line("a\n\tb") == "a\\n\\tb"


@given(st.text(st.characters()))
def test_what_is_shown_can_be_written_and_is_shown_the_same_again(text: str):
    once = visible(text)
    once.encode()
    assert visible(once) == once
    assert len(visible_line(text).splitlines()) <= 1


def test_an_error_shows_what_it_is_about():
    failure = DataError("saw \x1b[2J", where="data/a\nb\udcff", expected="a\x00", remedy="Rename.")
    assert str(failure) == "data/a\\nb\\xff: saw \\x1b[2J; expected a\\x00. Rename."

"""Text from data as it may be shown: on a terminal, in a page, in a picture.

A name may hold what is not seen and yet does something: control characters that a terminal obeys,
marks that turn the reading order of what follows, and bytes that are no text at all.
"""

from __future__ import annotations

import re

# Controls but tab and line feed, line separators, what turns the reading order, halves of characters
# and what is none.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
_HIDDEN_IN_LINE = re.compile(f"[\t\n{_HIDDEN.pattern[1:]}")
_UNDECODED = range(0xDC80, 0xDD00)


def visible(text: str) -> str:
    r"""Returns text with escapes for what would be obeyed instead of shown: `\x1b`, `\u202e`."""
    return _HIDDEN.sub(_escape, text)


def visible_line(text: str) -> str:
    r"""Returns the same without line breaks and tabs, which become `\n` and `\t`: for names."""
    return _HIDDEN_IN_LINE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    letter = found[0]
    if ord(letter) in _UNDECODED:
        # How Python holds a byte of a file's name that is no UTF-8.
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()

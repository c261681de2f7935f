"""Words from data on a console of rich."""

from __future__ import annotations

from rich.text import Text

from kfdet.visible import visible


def plain(text: str, style: str = "") -> Text:
    """Returns words without markup of their own, and with nothing that a terminal would obey."""
    return Text(visible(text), style=style)

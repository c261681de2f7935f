"""Words and lists on a console of rich."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from kfdet.visible import visible


def plain(text: str, style: str = "") -> Text:
    """Returns words without markup of their own, and with nothing that a terminal would obey."""
    return Text(visible(text), style=style)


def open_table(*columns: str, header_style: str = "dim") -> Table:
    """Returns a table without a frame, whose columns break what is too long for them."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=header_style)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table

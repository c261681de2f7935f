"""The frame of every report: header, tiles, sections, tables and text."""

from __future__ import annotations

import importlib.resources
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from kfdet.report.markup import Html, join, tag
from kfdet.report.wording import EN_DASH, MINUS, number

__all__ = [
    "Cell", "Html", "Section", "Tile", "Tone", "anchor_of", "badge", "bounded", "bullets", "code", "code_block", "columns", "details",
    "heading", "link", "listing", "message", "page", "paragraph", "properties", "table",
]  # fmt: skip

Tone = Literal["neutral", "good", "bad", "warn"]
Cell = str | Html | float | int | None

_ROWS_WORTH_SORTING = 4
_NEVER_BROKEN = 16
_LONG_CODE = 40
_LONG_TEXT = 1_000
_LONG_MESSAGE = 5_000
_LONG_WORD = re.compile(r"\S{81}")
_QUANTITY = re.compile(rf"[{MINUS}+]?[\d.,]+ ?(%|px|ms|s|min( \d\d s)?|h( \d\d min)?|[kMGT]?B)?")
_LONG_VALUE = 11
_SECTIONS_WORTH_LINKS = 4


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One number at the top of a page.

    Attributes:
        value: The number in words: `0.912`, `1,204 images`.
        hint: A few words below it.
    """

    label: str
    value: str
    hint: str = ""
    tone: Tone = "neutral"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A titled part of a page.

    Attributes:
        intro: One or two sentences: what the reader sees and how to read it.
    """

    title: str
    body: tuple[Html, ...]
    intro: str = ""


def page(
    *,
    title: str,
    subtitle: str,
    sections: Sequence[Section],
    status: tuple[str, Tone] | None = None,
    tiles: Sequence[Tile] = (),
) -> str:
    """Returns a complete HTML document that loads nothing from anywhere.

    Args:
        title: What was done, to what.
        subtitle: The circumstances, in one line.
        sections: In the order of reading.
        status: Text and tone of the badge beside the title.
        tiles: The few numbers that matter most.
    """
    headline = tag(
        "div", tag("h1", bounded(title)), badge(*status) if status else "", class_="headline"
    )
    anchors = _anchors(sections)
    links = [tag("a", section.title, href=f"#{anchor}") for section, anchor in anchors]
    header = tag(
        "header",
        headline,
        tag("p", bounded(subtitle), class_="subtitle") if subtitle else "",
        tag("nav", *links) if len(links) >= _SECTIONS_WORTH_LINKS else "",
        tag("div", *map(_tile, tiles), class_="tiles") if tiles else "",
    )
    body = [_section(section, anchor) for section, anchor in anchors]
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", _own_file("page.css")),
    )
    foot = (tag("footer", "Written by kfdet"), tag("script", _own_file("page.js")))
    document = tag(
        "html", tag("head", *head), tag("body", header, tag("main", *body), *foot), lang="en"
    )
    return f"<!doctype html>\n{document}\n"


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    caption: str = "",
    marked: Sequence[int] = (),
    empty: str = "Nothing to show.",
) -> Html:
    """Returns a table: numbers right-aligned with equal decimals in a column, None as an en dash.

    Four rows or more can be sorted by a click where scripts run.

    Args:
        headers: One for each column.
        rows: Cells in the order of the headers; a str is text.
        caption: A line above it.
        marked: Indices of rows to set off, the best one for instance.
        empty: Said instead of a table without rows.

    Raises:
        ValueError: A row has another number of cells than there are headers.
    """
    if not rows:
        return tag("p", empty, class_="soft")
    for row in rows:
        if len(row) != len(headers):
            raise ValueError(f"a row has {len(row)} cells for {len(headers)} headers")
    by_column = list(zip(*rows, strict=True))
    numeric = [_stands_right(cells) for cells in by_column]
    decimals = [_decimals(cells) for cells in by_column]
    head = tag(
        "tr",
        *(
            tag("th", bounded(title), scope="col", class_="number" if right else None)
            for title, right in zip(headers, numeric, strict=True)
        ),
    )
    body = [
        tag(
            "tr",
            *(_cell(cell, right=numeric[i], decimals=decimals[i]) for i, cell in enumerate(row)),
            class_="marked" if index in marked else None,
        )
        for index, row in enumerate(rows)
    ]
    names = ["sortable"] if len(rows) >= _ROWS_WORTH_SORTING else []
    names += ["narrow"] if len(headers) <= 3 else []
    whole = tag(
        "table",
        tag("caption", bounded(caption)) if caption else "",
        tag("thead", head),
        tag("tbody", *body),
        class_=" ".join(names) or None,
    )
    return tag("div", whole, class_="scroll")


def bounded(text: str | Html, *, letters: int = _LONG_TEXT) -> str | Html:
    """Returns text as it is, very long text in a box of its own that scrolls and breaks anywhere.

    Args:
        text: A plain str may be a name, or hold one, of any length.
        letters: Beyond them text is very long; with a word that fits into no line it is in any case.
    """
    if isinstance(text, Markup) or not (len(text) > letters or _LONG_WORD.search(text)):
        return text
    return tag("span", text, class_="bounded")


def paragraph(text: str | Html) -> Html:
    """Returns running text."""
    return tag("p", bounded(text))


def heading(text: str) -> Html:
    """Returns a heading within a section."""
    return tag("h3", bounded(text))


def badge(text: str, tone: Tone = "neutral") -> Html:
    """Returns a status word whose tone is shown by colour and by a sign."""
    return tag("span", text, class_=f"badge {tone}")


def message(text: str | Html, tone: Tone = "neutral") -> Html:
    """Returns a sentence that is set off: a verdict, a warning, a remedy."""
    return tag("div", tag("p", bounded(text, letters=_LONG_MESSAGE)), class_=f"message {tone}")


def bullets(items: Sequence[str | Html]) -> Html:
    """Returns a list."""
    return tag("ul", *(tag("li", bounded(item)) for item in items))


def listing(items: Iterable[str | Html]) -> Html:
    """Returns words, codes or links one after another, with commas."""
    return join(items, separator=", ")


def columns(*blocks: Html) -> Html:
    """Returns blocks beside one another, below one another where the page is narrow."""
    return tag("div", *(tag("div", block) for block in blocks), class_="columns")


def details(summary: str, *blocks: Html) -> Html:
    """Returns blocks behind a line that opens them."""
    return tag("details", tag("summary", summary), *blocks)


def code(text: str) -> Html:
    """Returns a path, a name or a digest within a line."""
    names = ["long"] * (len(text) > _LONG_CODE) + ["bounded"] * (len(text) > _LONG_TEXT)
    return tag("code", text, class_=" ".join(names) or None)


def code_block(text: str) -> Html:
    """Returns lines of code or a command."""
    return tag("pre", tag("code", text))


def link(text: str | Html, href: str) -> Html:
    """Returns a link to a file beside the report or to a place in it.

    Raises:
        ValueError: The target is an address with a scheme.
    """
    if re.match(r"\s*(//|[a-z][a-z0-9+.-]*:)", href, re.IGNORECASE):
        raise ValueError(f"a report links to files beside it, not to {href}")
    return tag("a", bounded(text), href=href)


def properties(pairs: Mapping[str, str | Html | float | int | None]) -> Html:
    """Returns names with their values, one a line."""
    lines = []
    for name, value in pairs.items():
        lines.append(tag("dt", bounded(name)))
        lines.append(tag("dd", bounded(value if isinstance(value, str) else number(value))))
    return tag("dl", *lines)


def _section(section: Section, anchor: str) -> Html:
    intro = tag("p", section.intro, class_="intro") if section.intro else ""
    return tag("section", tag("h2", section.title), intro, *section.body, id=anchor)


def _tile(tile: Tile) -> Html:
    return tag(
        "div",
        tag("div", bounded(tile.label), class_="label"),
        tag(
            "div",
            bounded(tile.value),
            class_="value long" if len(tile.value) > _LONG_VALUE else "value",
        ),
        tag("div", bounded(tile.hint), class_="hint") if tile.hint else "",
        class_=f"tile {tile.tone}",
    )


def anchor_of(title: str) -> str:
    """Returns the anchor of the first section with that title."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"


def _anchors(sections: Sequence[Section]) -> list[tuple[Section, str]]:
    anchors: list[tuple[Section, str]] = []
    taken: set[str] = set()
    for index, section in enumerate(sections):
        anchor = anchor_of(section.title)
        anchor = f"{anchor}-{index}" if anchor in taken else anchor
        taken.add(anchor)
        anchors.append((section, anchor))
    return anchors


def _own_file(name: str) -> Html:
    text = importlib.resources.files("kfdet.report").joinpath(name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - a file of this package


def _is_plain_number(cell: Cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _stands_right(cells: Sequence[Cell]) -> bool:
    """Returns whether a column holds numbers or quantities in words, with gaps and markup among them."""
    if all(cell is None for cell in cells):
        return True
    texts = [cell for cell in cells if isinstance(cell, str) and not isinstance(cell, Markup)]
    quantities = all(_QUANTITY.fullmatch(text) or text == EN_DASH for text in texts)
    return quantities and (bool(texts) or any(map(_is_plain_number, cells)))


def _decimals(cells: Sequence[Cell]) -> int | None:
    """Returns the decimals that suit a column of floats; None where none can suit all of it."""
    sizes = [abs(cell) for cell in cells if isinstance(cell, float) and math.isfinite(cell)]
    largest = max(sizes, default=0.0)
    if largest == 0:
        return 3 if sizes else 0
    if largest >= 1e9 or largest < 1e-5:
        return None
    if 0.1 <= largest <= 10:
        return 3
    return max(0, min(7, 2 - math.floor(math.log10(largest))))


def _cell(cell: Cell, *, right: bool, decimals: int | None) -> Html:
    side = "number" if right else None
    if cell is None:
        return tag("td", EN_DASH, class_="number empty" if right else "empty")
    if isinstance(cell, float) and math.isfinite(cell):
        text = number(cell) if decimals is None else f"{cell:,.{decimals}f}".replace("-", MINUS)
        return tag("td", text, class_=side, data_value=repr(cell), title=repr(cell))
    if isinstance(cell, int) and not isinstance(cell, bool):
        return tag("td", number(cell), class_=side, data_value=str(cell))
    text = cell if isinstance(cell, str) else str(cell)
    if not side and not isinstance(text, Markup) and len(text) <= _NEVER_BROKEN:
        side = "short"
    return tag("td", bounded(text), class_=side)

"""What every report must be: well-formed, escaped, and free of anything that is fetched."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from run_cases import HOSTILE

from kfdet.visible import visible

_VOID = {"meta", "img", "br"}
# All that pages are made of: whatever else there is came in with a name.
_ELEMENTS = {
    "html", "head", "meta", "title", "style", "script", "body", "header", "footer", "main", "nav",
    "section", "h1", "h2", "h3", "p", "a", "div", "span", "ul", "li", "dl", "dt", "dd", "strong",
    "small", "code", "pre", "br", "details", "summary", "table", "caption", "thead", "tbody",
    "tr", "th", "td", "figure", "figcaption", "img", "svg", "g", "rect", "line", "circle", "path",
    "text",
}  # fmt: skip
_ATTRIBUTES = {
    "lang", "charset", "name", "content", "class", "id", "style", "title", "href", "src", "alt",
    "width", "height", "scope", "role", "data-value", "aria-label", "aria-hidden", "xmlns",
    "viewbox", "preserveaspectratio", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx",
    "d", "transform", "text-anchor", "textlength", "lengthadjust", "stroke-dasharray",
    "fill-opacity",
}  # fmt: skip


class _Structure(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.classes: list[str] = []
        self.flowing: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
            self.classes.append(dict(attrs).get("class") or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        self.classes.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)
            is_bounded = any("bounded" in own for own in self.classes)
            if self.open[-1:] != ["title"] and "pre" not in self.open and not is_bounded:
                self.flowing.append(data)


def parsed(html: str) -> _Structure:
    structure = _Structure()
    structure.feed(html)
    structure.close()
    assert structure.open == []
    return structure


def text_of(html: str) -> str:
    return " ".join(" ".join(parsed(html).text).split())


def check_page(html: str) -> None:
    """Raises when a page is not well-formed, fetches something, or lets text become markup."""
    structure = parsed(html)
    assert html.startswith("<!doctype html>")
    assert HOSTILE not in html
    assert sum(tag == "script" for tag, _ in structure.tags) == 1
    for tag, attributes in structure.tags:
        assert tag in _ELEMENTS
        for name, value in attributes.items():
            assert name in _ATTRIBUTES, f"{tag} has {name}"
            if name in {"src", "href", "xlink:href", "srcset", "action"}:
                assert value is not None
                assert not re.match(r"\s*(?!data:image/)([a-z][a-z0-9+.-]*:|//)", value), value
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", html)
    assert "localStorage" not in html
    assert visible(html) == html


def parse_xml(fragment: str) -> ElementTree.Element:
    """Parses a figure or a picture as XML: stricter than any browser."""
    return ElementTree.fromstring(fragment)

"""Elements of HTML and SVG whose text and attributes are always escaped.

Characters that would be obeyed and not shown, as those that turn the reading order, stand as visible
escapes: names come from anybody's data.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from kfdet.visible import visible

Html = Markup

# Elements without content: in HTML because they are void, in SVG because these have no children here.
_EMPTY = {"br", "img", "meta", "line", "rect", "circle", "path", "image"}


def tag(name: str, /, *children: str | Html, **attributes: str | float | int | None) -> Html:
    """Returns one element.

    Args:
        name: Element name.
        *children: Content; a plain str is text and is escaped, Html is kept.
        **attributes: `class_` gives `class`, `stroke_width` gives `stroke-width`; None leaves it out.
    """
    opening = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY and not children:
        return Markup(f"<{name}{opening}/>")  # noqa: S704 - the parts are escaped above
    return Markup(f"<{name}{opening}>{join(children)}</{name}>")  # noqa: S704 - join escapes


def join(parts: Iterable[str | Html], *, separator: str | Html = "") -> Html:
    """Returns the parts one after another, text escaped."""
    # Not the join of Markup, which would escape what is escaped.
    return Markup(str.join(_escaped(separator), [_escaped(part) for part in parts]))  # noqa: S704


def _escaped(text: str | Html) -> Html:
    return text if isinstance(text, Markup) else escape(visible(text))


def _attribute(value: str | float) -> str:
    """Returns an escaped text, or a number: coordinates need no more than a hundredth of a pixel."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return _escaped(value) if isinstance(value, str) else str(value)

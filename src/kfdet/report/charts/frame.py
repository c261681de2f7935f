"""What all charts share: the figure around them, axes, legend, colours and the readout under the pointer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kfdet.report.markup import Html, join, tag
from kfdet.report.scales import Scale
from kfdet.report.wording import brief

# Pixels of the drawing; as wide as half a page, so that letters keep their size there.
WIDTH = 560.0
HEIGHT = 240.0
TOP = 26.0
BOTTOM = 36.0
RIGHT = WIDTH - 12
FLOOR = HEIGHT - BOTTOM

_DASHES = (None, "7 4", "2 4", "10 4 2 4", "4 3", "12 4", "1 4", "6 3 1 3 1 3")
_CHARACTER_PX = 6.2


def colour(index: int) -> str:
    """Returns the class that colours the series of that index; they repeat after eight."""
    return f"c{index % len(_DASHES)}"


def dashes(index: int) -> str | None:
    """Returns the dash pattern of the series of that index, so that colour does not tell alone."""
    return _DASHES[index % len(_DASHES)]


def text_px(text: str) -> float:
    """Returns about how wide a label will be."""
    return len(text) * _CHARACTER_PX


def shorten(text: str, room_px: float) -> str:
    """Returns the text with an ellipsis in its middle where it is wider than the room.

    Names that begin alike are told apart by their ends.
    """
    letters = max(3, int(room_px / _CHARACTER_PX))
    if len(text) <= letters:
        return text
    end = (letters - 1) // 2
    return f"{text[: letters - 1 - end]}\N{HORIZONTAL ELLIPSIS}{text[-end:]}"


def figure(title: str, picture: Html, *, legend: Html | None = None) -> Html:
    """Returns a drawing with its title and legend."""
    parts = [tag("figcaption", title), *([legend] if legend else []), picture]
    return tag("figure", join(parts), class_="chart")


def drawing(title: str, height: float, *parts: str | Html) -> Html:
    """Returns the SVG element of a chart."""
    return tag(
        "svg", *parts, viewBox=f"0 0 {WIDTH:g} {height:g}", role="img", aria_label=title
    )  # fmt: skip


def nothing(title: str) -> Html:
    """Returns the figure that says that there is nothing to draw."""
    return figure(title, tag("div", "No data.", class_="none"))


def line_legend(names: Sequence[str]) -> Html:
    """Returns the names of lines beside a sample of each."""
    return _legend(
        names,
        [
            tag("line", x1=0, x2=26, y1=5, y2=5, class_=f"{colour(i)} line", stroke_dasharray=dashes(i))
            for i in range(len(names))
        ],
    )  # fmt: skip


def block_legend(names: Sequence[str]) -> Html:
    """Returns the names of bars beside a sample of each."""
    return _legend(
        names,
        [tag("rect", x=6, y=0, width=14, height=10, rx=2, class_=f"{colour(i)} bar") for i in range(len(names))],
    )  # fmt: skip


def left_margin(y: Scale) -> float:
    """Returns the room that the labels of an upright axis need."""
    return max((text_px(text) for _, text in y.ticks(5)), default=20.0) + 12


def y_axis(y: Scale, *, left: float, label: str) -> list[Html]:
    """Returns grid lines with their values, and the axis' label above them."""
    parts = [tag("text", label, x=0.0, y=12.0)] if label else []
    for tick, text in y.ticks(5):
        at = y(tick)
        parts.append(tag("line", x1=left, x2=RIGHT, y1=at, y2=at, class_="grid"))
        parts.append(tag("text", text, x=left - 8, y=at + 4, text_anchor="end"))
    return parts


def x_axis(x: Scale, *, label: str) -> list[Html]:
    """Returns the lower axis with as many values as fit, and its label below them."""
    parts = [tag("line", x1=x.start_px, x2=x.end_px, y1=FLOOR, y2=FLOOR, class_="axis")]
    taken = -math.inf
    for tick, text in x.ticks(6):
        half = text_px(text) / 2
        at = x(tick)
        middle = min(at, WIDTH - half)
        if middle - half < taken + 6:
            continue
        taken = middle + half
        parts.append(tag("line", x1=at, x2=at, y1=FLOOR, y2=FLOOR + 4, class_="axis"))
        parts.append(tag("text", text, x=middle, y=FLOOR + 16, text_anchor="middle"))
    middle = (x.start_px + x.end_px) / 2
    parts.append(tag("text", label, x=middle, y=HEIGHT - 3, text_anchor="middle"))
    return parts


def vertical_marks(marks: Sequence[tuple[float, str]], x: Scale) -> list[Html]:
    """Returns upright lines at values of x, each with its word above the plot."""
    parts = []
    for value, word in marks:
        if not x.low <= value <= x.high:
            continue
        at = x(value)
        after = at + text_px(word) + 6 < x.end_px
        parts.append(tag("line", x1=at, x2=at, y1=TOP, y2=FLOOR, class_="mark"))
        place, anchor = (at + 5, "start") if after else (at - 5, "end")
        parts.append(tag("text", word, x=place, y=TOP - 4, text_anchor=anchor))
    return parts


def readout(words: Sequence[str], *, start: float, end: float, marks: Sequence[Html] = ()) -> Html:
    """Returns an invisible strip from start to end that shows words and marks under the pointer."""
    line = "   ".join(words)
    text = tag("text", line, x=RIGHT, y=12.0, text_anchor="end", class_="strong")
    return tag(
        "g",
        tag("title", "\n".join(words)),
        tag("rect", x=start, y=TOP, width=max(0.0, end - start), height=FLOOR - TOP),
        *marks,
        # Too long a line would run over the axis' label; the title has it all.
        text if text_px(line) < WIDTH - 90 else "",
        class_="hover",
    )


def refuse_infinite(name: str, values: Sequence[float | None]) -> None:
    """Checks that every value can be drawn.

    Raises:
        ValueError: One is NaN or infinite.
    """
    for index, value in enumerate(values):
        if value is not None and not math.isfinite(value):
            raise ValueError(f'"{name}": value {index} is {value}; give None for a gap')


def _legend(names: Sequence[str], samples: Sequence[Html]) -> Html:
    keys = [
        tag("span", tag("svg", sample, viewBox="0 0 26 10", aria_hidden="true"), brief(name))
        for name, sample in zip(names, samples, strict=True)
    ]
    return tag("div", *keys, class_="legend")

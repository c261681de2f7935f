"""Bars: one value for each label, or several beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kfdet.report.charts.frame import (
    BOTTOM,
    FLOOR,
    HEIGHT,
    RIGHT,
    TOP,
    WIDTH,
    block_legend,
    colour,
    drawing,
    figure,
    left_margin,
    nothing,
    refuse_infinite,
    shorten,
    text_px,
    y_axis,
)
from kfdet.report.markup import Html, tag
from kfdet.report.scales import Scale, nice_range
from kfdet.report.wording import EN_DASH, brief, fixed, number

Name = TypeVar("Name", bound=str)

_WIDEST_BAR = 46.0


def bar_chart(
    labels: Sequence[str],
    groups: Mapping[Name, Sequence[float | None]],
    *,
    title: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    horizontal: bool = False,
) -> Html:
    """Returns bars, one for each label and group; a dash stands where there is no value.

    Args:
        labels: One for each place on the axis.
        groups: Name to one value a label; several groups stand beside one another.
        title: Above the chart.
        y_label: Unit or name of the values.
        y_range: Fixed ends of the values; from 0 when None.
        horizontal: Labels at the left and bars to the right. So it is drawn, too, where the labels are
            too long or too many to stand below upright bars.

    Raises:
        ValueError: A group has another length than the labels, or a value is not finite.
    """
    for name, values in groups.items():
        if len(values) != len(labels):
            raise ValueError(f'group "{name}": {len(values)} values for {len(labels)} labels')
        refuse_infinite(name, values)
    known = [value for values in groups.values() for value in values if value is not None]
    if not known:
        return nothing(title)
    bars = _Bars(
        labels,
        {str(name): values for name, values in groups.items()},
        *(y_range or nice_range(min(0.0, *known), max(0.0, *known), wanted=5)),
    )
    room = (WIDTH - 60) / len(labels)
    sideways = horizontal or max(map(text_px, labels)) > room * 2.2
    picture = _sideways(bars, title, y_label) if sideways else _upright(bars, title, y_label)
    return figure(title, picture, legend=block_legend(list(groups)) if len(groups) > 1 else None)


@dataclass(frozen=True)
class _Bars:
    labels: Sequence[str]
    groups: Mapping[str, Sequence[float | None]]
    low: float
    high: float

    def scale(self, start_px: float, end_px: float) -> Scale:
        return Scale(low=self.low, high=self.high, start_px=start_px, end_px=end_px)

    def clipped(self, value: float) -> float:
        return min(max(value, self.low), self.high)

    def number(self, value: float, *, digits: int) -> str:
        """Returns the number beside a bar; a chart of small values needs more than fixed decimals."""
        largest = max(abs(self.low), abs(self.high))
        return number(float(value)) if largest < 10.0**-digits * 10 else fixed(value, digits=digits)

    def words(self, label: str, group: str, value: float | None) -> Html:
        name = f"{brief(label)}, {brief(group)}" if len(self.groups) > 1 else brief(label)
        return tag("title", f"{name}: {'not defined' if value is None else number(value)}")


def _upright(bars: _Bars, title: str, y_label: str) -> Html:
    y = bars.scale(FLOOR, TOP)
    left = left_margin(y)
    slot = (RIGHT - left) / len(bars.labels)
    width = min(_WIDEST_BAR, slot * 0.76 / len(bars.groups))
    zero = y(bars.clipped(0.0))
    longest = max(map(text_px, bars.labels))
    slanted = longest > slot - 4
    parts = y_axis(y, left=left, label=y_label)
    for i, label in enumerate(bars.labels):
        middle = left + (i + 0.5) * slot
        for k, (group, values) in enumerate(bars.groups.items()):
            x, value = middle + (k - len(bars.groups) / 2) * width, values[i]
            words = bars.words(label, group, value)
            if value is None:
                parts.append(_written(EN_DASH, x + width / 2, zero - 4, words))
                continue
            end = y(bars.clipped(value))
            top, height = min(zero, end), max(0.75, abs(zero - end))
            parts.append(_bar(k, words, x + 0.75, top, width - 1.5, height))
            if width >= 25:
                parts.append(_written(bars.number(value, digits=2), x + width / 2, top - 4))
        parts.append(_label_below(label, middle, slanted=slanted))
    parts.append(tag("line", x1=left, x2=RIGHT, y1=zero, y2=zero, class_="axis"))
    return drawing(
        title, HEIGHT - BOTTOM + (min(80.0, longest * 0.62) + 16 if slanted else 22), *parts
    )


def _sideways(bars: _Bars, title: str, y_label: str) -> Html:
    left = min(200.0, max(map(text_px, bars.labels)) + 12)
    thickness = 15.0 if len(bars.groups) == 1 else 11.0
    slot = thickness * len(bars.groups) + 7
    top, bottom = 22.0, 22.0 + slot * len(bars.labels)
    x = bars.scale(left, WIDTH - 44)
    zero = x(bars.clipped(0.0))
    parts = [tag("text", y_label, x=left, y=10.0)]
    for tick, text in x.ticks(5):
        at = x(tick)
        parts.append(tag("line", x1=at, x2=at, y1=top - 4, y2=bottom, class_="grid"))
        parts.append(_written(text, at, bottom + 14))
    for i, label in enumerate(bars.labels):
        start = top + i * slot
        parts.append(_label_beside(label, left, start + (slot - 7) / 2 + 3.5))
        for k, (group, values) in enumerate(bars.groups.items()):
            y, value = start + k * thickness, values[i]
            words = bars.words(label, group, value)
            baseline = y + thickness / 2 + 3.5
            if value is None:
                parts.append(tag("text", words, EN_DASH, x=zero + 5, y=baseline))
                continue
            end = x(bars.clipped(value))
            length = max(0.75, abs(end - zero))
            parts.append(_bar(k, words, min(zero, end), y + 0.75, length, thickness - 1.5))
            parts.append(
                tag("text", bars.number(value, digits=3), x=max(zero, end) + 5, y=baseline)
            )
    parts.append(tag("line", x1=zero, x2=zero, y1=top - 4, y2=bottom, class_="axis"))
    return drawing(title, bottom + 20, *parts)


def _bar(index: int, words: Html, x: float, y: float, width: float, height: float) -> Html:
    size = {"x": x, "y": y, "width": max(0.5, width), "height": height}
    return tag("rect", words, **size, rx=1.5, class_=f"bar {colour(index)}")


def _written(text: str, x: float, y: float, *children: Html) -> Html:
    return tag("text", *children, text, x=x, y=y, text_anchor="middle")


def _label_below(label: str, x: float, *, slanted: bool) -> Html:
    if not slanted:
        return tag("text", label, x=x, y=FLOOR + 16, text_anchor="middle", class_="title")
    place = f"translate({x + 4:.1f} {FLOOR + 13:.1f}) rotate(-38)"
    return tag(
        "text", tag("title", label), shorten(label, 120),
        transform=place, text_anchor="end", class_="title",
    )  # fmt: skip


def _label_beside(label: str, left: float, baseline: float) -> Html:
    return tag(
        "text", tag("title", label), shorten(label, left - 10),
        x=left - 8, y=baseline, text_anchor="end", class_="title",
    )  # fmt: skip

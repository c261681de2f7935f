"""Charts as inline SVG: sharp on any screen, coloured by the page's theme, told by colour and by dashes.

Values under the pointer are shown without scripts; readers of the source find them in the titles.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kfdet.report.markup import Html, join, tag
from kfdet.report.scales import Scale, nice_range
from kfdet.report.wording import compact, number
from kfdet.schema.dataset import Histogram

__all__ = ["Series", "bar_chart", "heatmap", "histogram_chart", "line_chart"]

COLOURS = 8
_DASHES = (None, "7 4", "2 4", "10 4 2 4", "4 3", "12 4", "1 4", "6 3 1 3 1 3")
_WIDTH = 640.0
_HEIGHT = 260.0
_TOP = 26.0
_BOTTOM = 36.0
_MAX_POINTS = 500
_MAX_STOPS = 90
_CHARACTER_PX = 6.3


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: Shown in the legend.
        x: float[N], ascending, finite.
        y: float[N]; None is a gap. NaN and infinities are refused.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(f'series "{self.name}": {len(self.x)} x for {len(self.y)} y')
        if not all(math.isfinite(x) for x in self.x):
            raise ValueError(f'series "{self.name}": an x is not finite')
        _refuse_infinite(self.name, self.y)


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    markers: bool = False,
    vertical: Sequence[tuple[float, str]] = (),
    log_y: bool = False,
) -> Html:
    """Returns lines over a common axis.

    Args:
        series: In the order of the legend; empty ones are left out.
        title: Above the chart.
        x_label: Unit or name of x, below the axis.
        y_label: Unit or name of y, above the axis.
        y_range: Fixed ends of y; what lies outside is cut. The values' own range when None.
        x_range: Fixed ends of x.
        markers: Dots on the points.
        vertical: Places on x that are marked with a line and a word.
        log_y: Logarithmic y; values at or below zero become gaps.
    """
    shown = [_drawable(one, log=log_y) for one in series]
    shown = [one for one in shown if one.x]
    if not shown:
        return _figure(title, None, _nothing())
    xs = [x for one in shown for x in one.x] + ([] if x_range else [x for x, _ in vertical])
    ys = [y for one in shown for y in one.y if y is not None]
    y_low, y_high = y_range or (_log_range(ys) if log_y else nice_range(min(ys), max(ys), wanted=5))
    x_low, x_high = x_range or _data_range(min(xs), max(xs))
    y = Scale(low=y_low, high=y_high, start_px=_HEIGHT - _BOTTOM, end_px=_TOP, log=log_y)
    left = _left_margin(y)
    x = Scale(low=x_low, high=x_high, start_px=left, end_px=_WIDTH - 12)
    drawn = [_line(one, index, x, y, markers) for index, one in enumerate(shown)]
    clip = tag(
        "svg",
        *drawn,
        x=left - 5, y=_TOP - 5, width=_WIDTH - 12 - left + 10, height=_HEIGHT - _BOTTOM - _TOP + 10,
        viewBox=f"{left - 5:g} {_TOP - 5:g} {_WIDTH - 2 - left:g} {_HEIGHT - _BOTTOM - _TOP + 10:g}",
    )  # fmt: skip
    picture = _svg(
        title,
        _HEIGHT,
        *_y_axis(y, left, _WIDTH - 12, y_label),
        *_x_axis(x, _HEIGHT, x_label),
        *_vertical_marks(vertical, x),
        clip,
        *_stops(shown, x, y, x_label),
    )
    return _figure(title, _legend([one.name for one in shown], dashed=True), picture)


def bar_chart(
    labels: Sequence[str],
    groups: Mapping[str, Sequence[float | None]],
    *,
    title: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    horizontal: bool = False,
) -> Html:
    """Returns bars, one for each label and group; None is left out and said in the title.

    Args:
        labels: One for each place on the axis.
        groups: Name to one value a label; several groups stand beside one another.
        title: Above the chart.
        y_label: Unit or name of the values.
        y_range: Fixed ends of the values; from 0 when None.
        horizontal: Labels at the left and bars to the right: for long or many labels.

    Raises:
        ValueError: A group has another length than the labels, or a value is not finite.
    """
    for name, values in groups.items():
        if len(values) != len(labels):
            raise ValueError(f'group "{name}": {len(values)} values for {len(labels)} labels')
        _refuse_infinite(name, values)
    flat = [value for values in groups.values() for value in values if value is not None]
    if not flat:
        return _figure(title, None, _nothing())
    low, high = y_range or nice_range(min(0.0, *flat), max(0.0, *flat), wanted=5)
    legend = _legend(list(groups), dashed=False) if len(groups) > 1 else None
    # Upright labels get no room where there are many.
    room = (_WIDTH - 60) / max(1, len(labels))
    if horizontal or max(map(_text_px, labels)) > room * 2.4:
        return _figure(title, legend, _bars_right(labels, groups, title, y_label, low, high))
    return _figure(title, legend, _bars_up(labels, groups, title, y_label, low, high))


def histogram_chart(
    histograms: Mapping[str, Histogram],
    *,
    title: str,
    x_label: str,
    share: bool = True,
    log_x: bool = False,
) -> Html:
    """Returns histograms over one another as outlines, so that splits compare at a glance.

    Args:
        histograms: Name to histogram; the edges need not be equal. Empty ones are left out.
        title: Above the chart.
        x_label: Unit or name of the values.
        share: Show each bin's share of its histogram instead of its count.
        log_x: Logarithmic x; a first edge at or below zero is moved to half of the second.
    """
    shown = {name: h for name, h in histograms.items() if sum(h.counts)}
    if not shown:
        return _figure(title, None, _nothing())
    edges = {name: _edges(h, log=log_x) for name, h in shown.items()}
    heights = {
        name: [count / sum(h.counts) if share else float(count) for count in h.counts]
        for name, h in shown.items()
    }
    top = max(value for values in heights.values() for value in values)
    y_low, y_high = nice_range(0.0, top, wanted=4)
    y = Scale(low=y_low, high=y_high, start_px=_HEIGHT - _BOTTOM, end_px=_TOP)
    left = _left_margin(y)
    x_low, x_high = _data_range(
        min(e[0] for e in edges.values()), max(e[-1] for e in edges.values())
    )
    x = Scale(low=x_low, high=x_high, start_px=left, end_px=_WIDTH - 12, log=log_x)
    outlines = [
        tag(
            "path",
            d=_outline(edges[name], heights[name], x, y),
            class_=f"step c{index % COLOURS}",
            stroke_dasharray=_DASHES[index % COLOURS],
        )
        for index, name in enumerate(shown)
    ]
    picture = _svg(
        title,
        _HEIGHT,
        *_y_axis(y, left, _WIDTH - 12, "share" if share else "count"),
        *_x_axis(x, _HEIGHT, x_label),
        *outlines,
        *_bins(shown, edges, heights, x, y, share=share),
    )
    return _figure(title, _legend(list(shown), dashed=True), picture)


def heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    *,
    title: str,
    row_label: str,
    column_label: str,
    shares: Sequence[Sequence[float | None]] | None = None,
) -> Html:
    """Returns a matrix of shaded cells with their values, a confusion matrix for instance.

    Args:
        rows: Labels of the rows, from the top.
        columns: Labels of the columns.
        values: float[rows, columns]; shown in the cells. None is an empty cell.
        title: Above the matrix.
        row_label: What the rows are.
        column_label: What the columns are.
        shares: float[rows, columns] in [0, 1]: how dark the cells are. Values over the largest when None.

    Raises:
        ValueError: A value is not finite, or the matrix does not fit its labels.
    """
    if len(values) != len(rows) or any(len(line) != len(columns) for line in values):
        raise ValueError(f'"{title}" is not {len(rows)} by {len(columns)}')
    for name, line in zip(rows, values, strict=True):
        _refuse_infinite(name, line)
    if not rows or not columns:
        return _figure(title, None, _nothing())
    largest = max((abs(v) for line in values for v in line if v is not None), default=0.0) or 1.0
    left = min(170.0, max(map(_text_px, rows)) + 14)
    cell = min(72.0, (_WIDTH - left - 8) / len(columns))
    height = min(34.0, max(16.0, cell))
    top = 22 + (16.0 if cell >= 46 else min(90.0, max(map(_text_px, columns)) * 0.72 + 14))
    parts: list[str | Html] = [
        tag("text", f"{row_label} \N{DOWNWARDS ARROW}  {column_label} \N{RIGHTWARDS ARROW}", x=0.0, y=12.0),
    ]  # fmt: skip
    for j, name in enumerate(columns):
        parts.append(_column_label(name, left + (j + 0.5) * cell, top - 6, cell))
    for i, name in enumerate(rows):
        middle = top + (i + 0.5) * height
        parts.append(
            tag("text", _cut(name, left - 12), tag("title", name), x=left - 8, y=middle + 4,
                text_anchor="end", class_="title")
        )  # fmt: skip
        for j, value in enumerate(values[i]):
            share = shares[i][j] if shares else None if value is None else abs(value) / largest
            words = f"{row_label} {name}, {column_label} {columns[j]}: {number(value)}"
            parts.append(
                _heat_cell(left + j * cell, top + i * height, cell, height, value, share, words)
            )
    return _figure(title, None, _svg(title, top + len(rows) * height + 2, *parts))


def _heat_cell(
    x: float,
    y: float,
    width: float,
    height: float,
    value: float | None,
    share: float | None,
    words: str,
) -> Html:
    if value is None:
        return tag(
            "rect", tag("title", words), x=x, y=y, width=width, height=height, class_="cell void"
        )
    strength = min(1.0, max(0.0, share or 0.0)) ** 0.8
    text = compact(value)
    fits = _text_px(text) < width - 2
    return tag(
        "g",
        tag("title", words),
        tag("rect", x=x, y=y, width=width, height=height, class_="cell void"),
        tag("rect", x=x, y=y, width=width, height=height, class_="cell", fill_opacity=strength),
        tag(
            "text", text, x=x + width / 2, y=y + height / 2 + 4, text_anchor="middle",
            class_="on-dark" if strength > 0.55 else "on-light",
        ) if fits and value else "",
    )  # fmt: skip


def _column_label(name: str, x: float, y: float, cell: float) -> Html:
    if cell >= 46:
        return tag(
            "text",
            _cut(name, cell - 4),
            tag("title", name),
            x=x,
            y=y,
            text_anchor="middle",
            class_="title",
        )
    return tag(
        "text", _cut(name, 108), tag("title", name), class_="title",
        transform=f"translate({x + 3:.1f} {y:.1f}) rotate(-45)",
    )  # fmt: skip


def _bars_up(
    labels: Sequence[str],
    groups: Mapping[str, Sequence[float | None]],
    title: str,
    y_label: str,
    low: float,
    high: float,
) -> Html:
    room_needed = max(map(_text_px, labels))
    y = Scale(low=low, high=high, start_px=_HEIGHT - _BOTTOM, end_px=_TOP)
    left = _left_margin(y)
    slot = (_WIDTH - 12 - left) / len(labels)
    slanted = room_needed > slot - 4
    height = _HEIGHT + (min(70.0, room_needed * 0.6) if slanted else 0.0)
    bar = min(54.0, slot * 0.76 / len(groups))
    zero = y(min(max(0.0, low), high))
    parts: list[str | Html] = list(_y_axis(y, left, _WIDTH - 12, y_label))
    for i, label in enumerate(labels):
        middle = left + (i + 0.5) * slot
        for k, (name, values) in enumerate(groups.items()):
            x = middle + (k - len(groups) / 2) * bar
            value = values[i]
            words = _bar_words(label, name, value, several=len(groups) > 1)
            if value is None:
                parts.append(tag("text", tag("title", words), "\N{EN DASH}", x=x + bar / 2, y=zero - 4, text_anchor="middle"))  # fmt: skip
                continue
            end = y(min(max(value, low), high))
            parts.append(
                tag("rect", tag("title", words), x=x + 0.75, y=min(zero, end), width=max(1.0, bar - 1.5),
                    height=max(0.75, abs(zero - end)), class_=f"bar c{k % COLOURS}")
            )  # fmt: skip
            if bar >= 26:
                parts.append(tag("text", compact_value(value), x=x + bar / 2, y=min(zero, end) - 4, text_anchor="middle"))  # fmt: skip
        place = _HEIGHT - _BOTTOM + 16
        if slanted:
            parts.append(
                tag("text", _cut(label, 115), tag("title", label), text_anchor="end", class_="title",
                    transform=f"translate({middle + 4:.1f} {place - 2:.1f}) rotate(-38)")
            )  # fmt: skip
        else:
            parts.append(
                tag("text", label, x=middle, y=place, text_anchor="middle", class_="title")
            )
    parts.append(tag("line", x1=left, x2=_WIDTH - 12, y1=zero, y2=zero, class_="axis"))
    return _svg(title, height - 10, *parts)


def _bars_right(
    labels: Sequence[str],
    groups: Mapping[str, Sequence[float | None]],
    title: str,
    y_label: str,
    low: float,
    high: float,
) -> Html:
    left = min(210.0, max(map(_text_px, labels)) + 12)
    bar = 15.0 if len(groups) == 1 else 11.0
    slot = bar * len(groups) + 7
    top, right = 22.0, _WIDTH - 44
    bottom = top + slot * len(labels)
    x = Scale(low=low, high=high, start_px=left, end_px=right)
    parts: list[str | Html] = [tag("text", y_label, x=left, y=10.0)]
    for tick in x.ticks(5):
        at = x(tick)
        parts.append(tag("line", x1=at, x2=at, y1=top - 4, y2=bottom, class_="grid"))
        parts.append(tag("text", compact(tick), x=at, y=bottom + 14, text_anchor="middle"))
    zero = x(min(max(0.0, low), high))
    for i, label in enumerate(labels):
        start = top + i * slot
        parts.append(
            tag("text", _cut(label, left - 12), tag("title", label), x=left - 8, y=start + slot / 2 + 1,
                text_anchor="end", class_="title")
        )  # fmt: skip
        for k, (name, values) in enumerate(groups.items()):
            value, y = values[i], start + k * bar
            words = _bar_words(label, name, value, several=len(groups) > 1)
            if value is None:
                parts.append(
                    tag("text", tag("title", words), "\N{EN DASH}", x=zero + 5, y=y + bar - 3)
                )
                continue
            end = x(min(max(value, low), high))
            parts.append(
                tag("rect", tag("title", words), x=min(zero, end), y=y + 0.75, width=max(0.75, abs(end - zero)),
                    height=bar - 1.5, class_=f"bar c{k % COLOURS}")
            )  # fmt: skip
            parts.append(
                tag("text", compact_value(value), x=max(zero, end) + 5, y=y + bar / 2 + 3.5)
            )
    parts.append(tag("line", x1=zero, x2=zero, y1=top - 4, y2=bottom, class_="axis"))
    return _svg(title, bottom + 20, *parts)


def compact_value(value: float) -> str:
    """Returns the number beside a bar: three digits say enough there."""
    if value == int(value) or abs(value) >= 1000:
        return compact(value)
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _bar_words(label: str, group: str, value: float | None, *, several: bool) -> str:
    name = f"{label}, {group}" if several else label
    return f"{name}: {number(value) if value is not None else 'not defined'}"


def _refuse_infinite(name: str, values: Sequence[float | None]) -> None:
    for index, value in enumerate(values):
        if value is not None and not math.isfinite(value):
            raise ValueError(f'"{name}": value {index} is {value}; give None for a gap')


def _drawable(series: Series, *, log: bool) -> Series:
    """Returns the series without values that have no place, and with as many points as pixels show."""
    points = list(zip(series.x, series.y, strict=True))
    if log:
        points = [(x, y if y is not None and y > 0 else None) for x, y in points]
    if all(y is None for _, y in points):
        points = []
    if len(points) > _MAX_POINTS:
        points = _thinned(points)
    return Series(series.name, [x for x, _ in points], [y for _, y in points])


def _thinned(points: list[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Keeps the lowest and the highest point of each stretch, so that no spike is lost."""
    stretch = math.ceil(len(points) / (_MAX_POINTS // 2))
    kept: list[tuple[float, float | None]] = []
    for start in range(0, len(points), stretch):
        part = list(enumerate(points[start : start + stretch]))
        known = [(y, i) for i, (_, y) in part if y is not None]
        if len(known) < len(part):
            kept.extend(point for _, point in part)
        else:
            kept.extend(part[i][1] for i in sorted({min(known)[1], max(known)[1]}))
    return kept


def _data_range(low: float, high: float) -> tuple[float, float]:
    if low < high:
        return low, high
    reach = abs(low) * 0.5 or 1.0
    return low - reach, high + reach


def _log_range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low / 1.15, high * 1.15) if high / low > 1.5 else (low / 2, high * 2)


def _edges(histogram: Histogram, *, log: bool) -> list[float]:
    edges = list(histogram.edges)
    if log and edges[0] <= 0:
        following = next((edge for edge in edges if edge > 0), 1.0)
        edges = [edge if edge > 0 else following / 2 for edge in edges]
    return edges


def _line(series: Series, index: int, x: Scale, y: Scale, markers: bool) -> Html:  # noqa: FBT001
    pieces: list[list[tuple[float, float]]] = [[]]
    for value_x, value_y in zip(series.x, series.y, strict=True):
        if value_y is None:
            pieces.append([])
        else:
            pieces[-1].append((x(value_x), y(value_y)))
    path = " ".join(
        "M" + " L".join(f"{px:.1f} {py:.1f}" for px, py in piece)
        for piece in pieces
        if len(piece) > 1
    )
    lonely = [piece[0] for piece in pieces if len(piece) == 1]
    dots = [point for piece in pieces for point in piece] if markers else lonely
    colour = f"c{index % COLOURS}"
    parts: list[str | Html] = []
    if path:
        parts.append(
            tag("path", d=path, class_=f"{colour} line", stroke_dasharray=_DASHES[index % COLOURS])
        )
    parts.extend(tag("circle", cx=px, cy=py, r=3.2, class_=f"{colour} dot") for px, py in dots)
    return tag("g", *parts)


def _stops(series: Sequence[Series], x: Scale, y: Scale, x_label: str) -> list[Html]:
    """Returns invisible strips that show all the values at one x under the pointer."""
    places = sorted({value for one in series for value in one.x if x.low <= value <= x.high})
    if len(places) > _MAX_STOPS:
        places = [
            places[round(i * (len(places) - 1) / (_MAX_STOPS - 1))] for i in range(_MAX_STOPS)
        ]
    borders = [
        x.start_px, *((x(a) + x(b)) / 2 for a, b in itertools.pairwise(places)), x.end_px
    ]  # fmt: skip
    known = [dict(zip(one.x, one.y, strict=True)) for one in series]
    stops = []
    for place, start, end in zip(places, borders, borders[1:], strict=False):
        here = [(k, one.name, known[k].get(place)) for k, one in enumerate(series)]
        values = [(k, name, value) for k, name, value in here if value is not None]
        words = [f"{x_label} {number(float(place))}"] + [
            f"{n} {number(float(v))}" for _, n, v in values
        ]
        line = "   ".join(words)
        stops.append(
            tag(
                "g",
                tag("title", "\n".join(words)),
                tag("rect", x=start, y=_TOP, width=end - start, height=_HEIGHT - _BOTTOM - _TOP),
                tag("line", x1=x(place), x2=x(place), y1=_TOP, y2=_HEIGHT - _BOTTOM, class_="axis"),
                *(
                    tag("circle", cx=x(place), cy=y(v), r=3.4, class_=f"c{k % COLOURS} dot")
                    for k, _, v in values
                    if y.low <= v <= y.high
                ),
                tag("text", line, x=_WIDTH - 12, y=12.0, text_anchor="end", class_="strong")
                if _text_px(line) < _WIDTH - 100
                else "",
                class_="hover",
            )
        )
    return stops


def _bins(
    histograms: Mapping[str, Histogram],
    edges: Mapping[str, list[float]],
    heights: Mapping[str, list[float]],
    x: Scale,
    y: Scale,
    *,
    share: bool,
) -> list[Html]:
    """Returns invisible strips over the bins of the finest histogram that show every split's value."""
    finest = max(histograms, key=lambda name: len(histograms[name].counts))
    strips = []
    for low, high in zip(edges[finest], edges[finest][1:], strict=False):
        words = [f"{number(float(low))} to {number(float(high))}"]
        for name, histogram in histograms.items():
            index = next(
                (i for i, e in enumerate(edges[name][:-1]) if e <= low < edges[name][i + 1]), None
            )
            if index is None:
                continue
            part = f" ({heights[name][index]:.1%})" if share else ""
            words.append(f"{name} {histogram.counts[index]:,}{part}")
        line = "   ".join(words)
        strips.append(
            tag(
                "g",
                tag("title", "\n".join(words)),
                tag("rect", x=x(low), y=y.end_px, width=max(0.0, x(high) - x(low)), height=y.start_px - y.end_px),
                tag("text", line, x=_WIDTH - 12, y=12.0, text_anchor="end", class_="strong")
                if _text_px(line) < _WIDTH - 100
                else "",
                class_="hover",
            )
        )  # fmt: skip
    return strips


def _outline(edges: Sequence[float], heights: Sequence[float], x: Scale, y: Scale) -> str:
    steps = [f"M{x(edges[0]):.1f} {y(0.0):.1f}"]
    for low, high, value in zip(edges, edges[1:], heights, strict=False):
        steps.append(f"L{x(low):.1f} {y(value):.1f} L{x(high):.1f} {y(value):.1f}")
    return " ".join([*steps, f"L{x(edges[-1]):.1f} {y(0.0):.1f} Z"])


def _y_axis(y: Scale, left: float, right: float, label: str) -> list[Html]:
    parts = [tag("text", label, x=0.0, y=12.0)] if label else []
    for tick in y.ticks(5):
        at = y(tick)
        parts.append(tag("line", x1=left, x2=right, y1=at, y2=at, class_="grid"))
        parts.append(tag("text", compact(tick), x=left - 8, y=at + 4, text_anchor="end"))
    return parts


def _x_axis(x: Scale, height: float, label: str) -> list[Html]:
    bottom = height - _BOTTOM
    parts = [tag("line", x1=x.start_px, x2=x.end_px, y1=bottom, y2=bottom, class_="axis")]
    taken = -math.inf
    for tick in x.ticks(7):
        text = compact(tick)
        at, half = x(tick), _text_px(text) / 2
        if at - half < taken + 6:
            continue
        taken = at + half
        parts.append(tag("line", x1=at, x2=at, y1=bottom, y2=bottom + 4, class_="axis"))
        anchor = "end" if at + half > _WIDTH else "middle"
        parts.append(tag("text", text, x=min(at, _WIDTH) if anchor == "end" else at, y=bottom + 16, text_anchor=anchor))  # fmt: skip
    parts.append(
        tag("text", label, x=(x.start_px + x.end_px) / 2, y=height - 3, text_anchor="middle")
    )
    return parts


def _vertical_marks(marks: Sequence[tuple[float, str]], x: Scale) -> list[Html]:
    parts = []
    for value, word in marks:
        if not x.low <= value <= x.high:
            continue
        at = x(value)
        after = at + _text_px(word) + 6 < x.end_px
        parts.append(tag("line", x1=at, x2=at, y1=_TOP, y2=_HEIGHT - _BOTTOM, class_="mark"))
        parts.append(
            tag("text", word, x=at + 5 if after else at - 5, y=_TOP + 9, text_anchor="start" if after else "end")
        )  # fmt: skip
    return parts


def _left_margin(y: Scale) -> float:
    return max((_text_px(compact(tick)) for tick in y.ticks(5)), default=20.0) + 14


def _text_px(text: str) -> float:
    return len(text) * _CHARACTER_PX


def _cut(text: str, room_px: float) -> str:
    fitting = max(2, int(room_px / _CHARACTER_PX))
    return text if len(text) <= fitting else text[: fitting - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _legend(names: Sequence[str], *, dashed: bool) -> Html:
    keys = []
    for index, name in enumerate(names):
        colour = f"c{index % COLOURS}"
        sample = (
            tag("line", x1=0, x2=26, y1=5, y2=5, class_=f"{colour} line", stroke_dasharray=_DASHES[index % COLOURS])
            if dashed
            else tag("rect", x=6, y=0, width=14, height=10, class_=f"{colour} bar")
        )  # fmt: skip
        keys.append(tag("span", tag("svg", sample, viewBox="0 0 26 10", aria_hidden="true"), name))
    return tag("div", *keys, class_="legend")


def _svg(title: str, height: float, *parts: str | Html) -> Html:
    return tag("svg", *parts, viewBox=f"0 0 {_WIDTH:g} {height:g}", role="img", aria_label=title)


def _figure(title: str, legend: Html | None, picture: Html) -> Html:
    parts = [tag("figcaption", title), *([legend] if legend else []), picture]
    return tag("figure", join(parts), class_="chart")


def _nothing() -> Html:
    return tag("div", "No data.", class_="none")

"""Lines over a common axis: losses, rates, metrics by step, precision by recall."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from kfdet.report.charts.frame import (
    FLOOR,
    HEIGHT,
    RIGHT,
    TOP,
    colour,
    dashes,
    drawing,
    figure,
    left_margin,
    line_legend,
    nothing,
    readout,
    refuse_infinite,
    vertical_marks,
    x_axis,
    y_axis,
)
from kfdet.report.markup import Html, tag
from kfdet.report.scales import SMALLEST, Scale, data_range, log_range, nice_range
from kfdet.report.wording import brief, number

_MAX_POINTS = 500
_MAX_STOPS = 90
_MARGIN = 5.0


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: Shown in the legend.
        x: float[N], ascending, finite.
        y: float[N]; None is a gap.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(f'series "{self.name}": {len(self.x)} x for {len(self.y)} y')
        refuse_infinite(f"{self.name}, x", self.x)
        refuse_infinite(self.name, self.y)

    @property
    def known(self) -> list[float]:
        return [value for value in self.y if value is not None]


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
        series: In the order of the legend; one without values is named there and not drawn.
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
    ys = [y for one in shown for y in one.known]
    if not ys:
        return nothing(title)
    xs = [x for one in shown if one.known for x in one.x]
    if not x_range:
        x_range = data_range(*_ends([*xs, *(place for place, _ in vertical)]))
    if not y_range:
        y_range = log_range(*_ends(ys)) if log_y else nice_range(*_ends(ys), wanted=5)
    y = Scale(low=y_range[0], high=y_range[1], start_px=FLOOR, end_px=TOP, log=log_y)
    left = left_margin(y)
    x = Scale(low=x_range[0], high=x_range[1], start_px=left, end_px=RIGHT)
    picture = drawing(
        title,
        HEIGHT,
        *y_axis(y, left=left, label=y_label),
        *x_axis(x, label=x_label),
        *vertical_marks(vertical, x),
        _clipped([_line(one, i, x, y, markers=markers) for i, one in enumerate(shown)], left=left),
        *_stops(shown, x, y, x_label=x_label),
    )
    legend = line_legend([one.name for one in series]) if len(series) > 1 else None
    return figure(title, picture, legend=legend)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _drawable(series: Series, *, log: bool) -> Series:
    """Returns the series without values that have no place, and with as many points as pixels show."""
    points = list(zip(series.x, series.y, strict=True))
    if log:
        points = [(x, y if y is not None and y > SMALLEST else None) for x, y in points]
    if len(points) > _MAX_POINTS:
        points = _thinned(points)
    return Series(series.name, [x for x, _ in points], [y for _, y in points])


def _thinned(points: list[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Keeps the lowest, the highest and a gap of each stretch, so that no spike is lost."""
    stretch = math.ceil(len(points) / (_MAX_POINTS // 2))
    kept: list[tuple[float, float | None]] = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        known = [(y, i) for i, (_, y) in enumerate(part) if y is not None]
        gap = {i for i, (_, y) in enumerate(part) if y is None}
        chosen = ({min(known)[1], max(known)[1]} if known else set()) | set(sorted(gap)[:1])
        kept.extend(part[i] for i in sorted(chosen))
    return kept


def _clipped(parts: Sequence[Html], *, left: float) -> Html:
    """Returns the parts cut at the edges of the plot, with a margin for line ends."""
    x, y = left - _MARGIN, TOP - _MARGIN
    width, height = RIGHT - left + 2 * _MARGIN, FLOOR - TOP + 2 * _MARGIN
    view = f"{x:g} {y:g} {width:g} {height:g}"
    return tag("svg", *parts, x=x, y=y, width=width, height=height, viewBox=view, class_="clip")


def _line(series: Series, index: int, x: Scale, y: Scale, *, markers: bool) -> Html:
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
    # A point between two gaps would be a line without length: nothing to see.
    dots = [point for piece in pieces if markers or len(piece) == 1 for point in piece]
    parts = [tag("circle", cx=px, cy=py, r=3.2, class_=f"{colour(index)} dot") for px, py in dots]
    if path:
        parts.insert(
            0, tag("path", d=path, class_=f"{colour(index)} line", stroke_dasharray=dashes(index))
        )
    return tag("g", *parts)


def _stops(series: Sequence[Series], x: Scale, y: Scale, *, x_label: str) -> list[Html]:
    """Returns strips that show all the values at one x under the pointer."""
    places = sorted({value for one in series for value in one.x if x.low <= value <= x.high})
    if len(places) > _MAX_STOPS:
        last = len(places) - 1
        places = [places[round(i * last / (_MAX_STOPS - 1))] for i in range(_MAX_STOPS)]
    middles = [(x(a) + x(b)) / 2 for a, b in itertools.pairwise(places)]
    borders = itertools.pairwise([x.start_px, *middles, x.end_px])
    values = [dict(zip(one.x, one.y, strict=True)) for one in series]
    stops = []
    for place, (start, end) in zip(places, borders, strict=False):
        here = [(k, one.name, values[k].get(place)) for k, one in enumerate(series)]
        words = [f"{x_label} {number(float(place))}"]
        words += [f"{brief(name)} {number(float(v))}" for _, name, v in here if v is not None]
        line = tag("line", x1=x(place), x2=x(place), y1=TOP, y2=FLOOR, class_="axis")
        dots = [
            tag("circle", cx=x(place), cy=y(v), r=3.4, class_=f"{colour(k)} dot")
            for k, _, v in here
            if v is not None and y.low <= v <= y.high
        ]
        stops.append(readout(words, start=start, end=end, marks=[line, *dots]))
    return stops

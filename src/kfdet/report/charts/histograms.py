"""Histograms over one another, so that splits compare at a glance."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

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
    vertical_marks,
    x_axis,
    y_axis,
)
from kfdet.report.markup import Html, tag
from kfdet.report.scales import Scale, data_range, nice_range
from kfdet.report.wording import brief, number
from kfdet.schema.dataset import Histogram

Name = TypeVar("Name", bound=str)


def histogram_chart(
    histograms: Mapping[Name, Histogram],
    *,
    title: str,
    x_label: str,
    share: bool = True,
    log_x: bool = False,
    vertical: Sequence[tuple[float, str]] = (),
) -> Html:
    """Returns histograms over one another as outlines.

    Args:
        histograms: Name to histogram; the edges need not be equal. Empty ones are named only.
        title: Above the chart.
        x_label: Unit or name of the values.
        share: Show each bin's share of its histogram instead of its count.
        log_x: Logarithmic x; edges at or below zero are moved to half of the first one above.
        vertical: Values of x that get an upright line, each with its word above the plot.
    """
    steps = [_Steps.of(name, h, share=share, log=log_x) for name, h in histograms.items()]
    filled = [one for one in steps if sum(one.counts)]
    if not filled:
        return nothing(title)
    top = max(height for one in filled for height in one.heights)
    y_low, y_high = nice_range(0.0, top, wanted=4)
    y = Scale(low=y_low, high=y_high, start_px=FLOOR, end_px=TOP)
    left = left_margin(y)
    x_low, x_high = data_range(min(s.edges[0] for s in filled), max(s.edges[-1] for s in filled))
    x = Scale(low=x_low, high=x_high, start_px=left, end_px=RIGHT, log=log_x)
    outlines = [
        tag("path", d=one.outline(x, y), class_=f"step {colour(i)}", stroke_dasharray=dashes(i))
        for i, one in enumerate(steps)
        if sum(one.counts)
    ]
    picture = drawing(
        title,
        HEIGHT,
        *y_axis(y, left=left, label="share" if share else "count"),
        *x_axis(x, label=x_label),
        *outlines,
        *vertical_marks(vertical, x),
        *_bins(filled, x, share=share),
    )
    legend = line_legend(list(histograms)) if len(histograms) > 1 else None
    return figure(title, picture, legend=legend)


@dataclass(frozen=True)
class _Steps:
    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    heights: tuple[float, ...]

    @classmethod
    def of(cls, name: str, histogram: Histogram, *, share: bool, log: bool) -> _Steps:
        edges = histogram.edges
        if log:
            lowest = next((edge for edge in edges if edge > 0), 2.0) / 2
            edges = tuple(edge if edge > 0 else lowest for edge in edges)
        whole = sum(histogram.counts) or 1
        heights = tuple(count / whole if share else float(count) for count in histogram.counts)
        return cls(name, edges, histogram.counts, heights)

    def outline(self, x: Scale, y: Scale) -> str:
        corners = [(self.edges[0], 0.0)]
        for (low, high), height in zip(itertools.pairwise(self.edges), self.heights, strict=True):
            corners += [(low, height), (high, height)]
        corners.append((self.edges[-1], 0.0))
        return "M" + " L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in corners) + " Z"

    def bin_of(self, value: float) -> int | None:
        pairs = enumerate(itertools.pairwise(self.edges))
        return next((i for i, (low, high) in pairs if low <= value < high), None)


def _bins(steps: list[_Steps], x: Scale, *, share: bool) -> list[Html]:
    """Returns strips over the bins of the finest histogram that show every split's value."""
    finest = max(steps, key=lambda one: len(one.counts))
    strips = []
    for low, high in itertools.pairwise(finest.edges):
        words = [f"{number(float(low))} to {number(float(high))}"]
        for one in steps:
            index = one.bin_of((low + high) / 2)
            if index is not None:
                part = f" ({one.heights[index]:.1%})" if share else ""
                words.append(f"{brief(one.name)} {one.counts[index]:,}{part}")
        strips.append(readout(words, start=x(low), end=x(high)))
    return strips

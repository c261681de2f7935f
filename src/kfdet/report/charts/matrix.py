"""A matrix of shaded cells with their values: who was taken for whom."""

from __future__ import annotations

from collections.abc import Sequence

from kfdet.report.charts.frame import (
    WIDTH,
    drawing,
    figure,
    nothing,
    refuse_infinite,
    shorten,
    text_px,
)
from kfdet.report.markup import Html, tag
from kfdet.report.wording import brief, compact, number

_ROOM_FOR_UPRIGHT_LABEL = 46.0
_LIGHT_TEXT_FROM = 0.55


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
    """Returns a matrix of shaded cells.

    Args:
        rows: Labels of the rows, from the top.
        columns: Labels of the columns.
        values: float[rows, columns]; written into the cells. None is an empty cell.
        title: Above the matrix.
        row_label: What the rows are.
        column_label: What the columns are.
        shares: float[rows, columns] in [0, 1]: how dark the cells are, each row's share of its sum for
            instance. The values over the largest of them when None.

    Raises:
        ValueError: A value is not finite, or the matrix does not fit its labels.
    """
    for matrix in (values, shares or values):
        if len(matrix) != len(rows) or any(len(line) != len(columns) for line in matrix):
            raise ValueError(f'"{title}" is not {len(rows)} by {len(columns)}')
        for name, line in zip(rows, matrix, strict=True):
            refuse_infinite(name, line)
    if not rows or not columns:
        return nothing(title)
    if shares is None:
        largest = max((abs(v) for line in values for v in line if v is not None), default=0) or 1
        shares = [[None if v is None else abs(v) / largest for v in line] for line in values]
    left = min(160.0, max(map(text_px, rows)) + 14)
    width = min(72.0, (WIDTH - left - 4) / len(columns))
    slanted = max(map(text_px, columns)) > width - 4 or width < _ROOM_FOR_UPRIGHT_LABEL
    reach = min(86.0, max(map(text_px, columns)) * 0.72)
    if slanted:
        width = min(72.0, (WIDTH - left - reach) / len(columns))
    height = min(34.0, max(16.0, width))
    top = 24 + (reach + 10 if slanted else 16)
    arrows = f"{row_label} \N{DOWNWARDS ARROW}   {column_label} \N{RIGHTWARDS ARROW}"
    parts = [tag("text", arrows, x=0.0, y=12.0)]
    for j, name in enumerate(columns):
        parts.append(_column_name(name, left + (j + 0.5) * width, top - 6, slanted=slanted))
    for i, name in enumerate(rows):
        y = top + i * height
        parts.append(_row_name(name, left, y + height / 2 + 4))
        for j, value in enumerate(values[i]):
            words = (
                f"{row_label} {brief(name)}, {column_label} {brief(columns[j])}: {number(value)}"
            )
            box = (left + j * width, y, width, height)
            parts.append(_cell(box, value, shares[i][j], words))
    return figure(title, drawing(title, top + len(rows) * height + 2, *parts))


def _cell(
    box: tuple[float, float, float, float], value: float | None, share: float | None, words: str
) -> Html:
    x, y, width, height = box
    place = {"x": x, "y": y, "width": width, "height": height}
    ground = tag("rect", **place, class_="cell void")
    if value is None or share is None:
        return tag("g", tag("title", words), ground)
    # Small shares would all look empty on a straight scale.
    strength = min(1.0, max(0.0, share)) ** 0.8
    text = compact(value)
    ink = "on-dark" if strength > _LIGHT_TEXT_FROM else "on-light"
    written = tag(
        "text", text, x=x + width / 2, y=y + height / 2 + 4, text_anchor="middle", class_=ink
    )  # fmt: skip
    return tag(
        "g",
        tag("title", words),
        ground,
        tag("rect", **place, class_="cell", fill_opacity=strength),
        written if value and text_px(text) < width else "",
    )


def _column_name(name: str, x: float, y: float, *, slanted: bool) -> Html:
    whole = tag("title", name)
    if not slanted:
        return tag("text", whole, name, x=x, y=y, text_anchor="middle", class_="title")
    place = f"translate({x + 3:.1f} {y:.1f}) rotate(-45)"
    return tag("text", whole, shorten(name, 116), transform=place, class_="title")


def _row_name(name: str, left: float, baseline: float) -> Html:
    return tag(
        "text", tag("title", name), shorten(name, left - 12),
        x=left - 8, y=baseline, text_anchor="end", class_="title",
    )  # fmt: skip

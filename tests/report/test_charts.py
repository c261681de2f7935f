import math
import re
from xml.etree import ElementTree

import pytest
from checks import parse_xml
from hypothesis import given, settings
from hypothesis import strategies as st
from run_cases import HOSTILE

from kfdet.report.charts import Series, bar_chart, heatmap, histogram_chart, line_chart
from kfdet.report.charts.frame import shorten
from kfdet.schema.dataset import Histogram

finite = st.floats(allow_nan=False, allow_infinity=False)
gappy = st.lists(st.none() | finite, max_size=40)
LABELS = {"title": "t", "x_label": "step", "y_label": "loss"}


def lines(*series: Series, **options: object) -> ElementTree.Element:
    return parse_xml(line_chart(series, **(LABELS | options)))


def of_class(chart: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in chart.iter() if name in (element.get("class") or "").split()]


def drawn(chart: ElementTree.Element) -> list[ElementTree.Element]:
    """The lines of the plot, those of the legend left out."""
    return [element for element in of_class(chart, "line") if element.tag == "path"]


def check_finite(chart: ElementTree.Element) -> None:
    for element in chart.iter():
        for name in (
            "x",
            "y",
            "x1",
            "x2",
            "y1",
            "y2",
            "cx",
            "cy",
            "width",
            "height",
            "d",
            "viewBox",
        ):
            for value in re.findall(r"[-+\w.]+", element.get(name, "")):
                number = value.lstrip("MLZHV")
                assert not number or math.isfinite(float(number)), (element.tag, name, value)


@settings(deadline=None)
@given(gappy, st.booleans(), st.booleans())
def test_any_finite_line_gives_a_well_formed_finite_drawing(
    ys: list[float | None], markers: bool, log: bool
) -> None:
    chart = lines(Series("s", list(range(len(ys))), ys), markers=markers, log_y=log)
    check_finite(chart)


@pytest.mark.parametrize(
    "ys",
    [[5e-324, 5e-324], [1.7e308, 1.6e308], [5e-324, 1.7e308], [0.0, -1.0, 2.0], [1.0, 1.0 + 2e-16]],
)
@pytest.mark.parametrize("log", [False, True])
def test_the_ends_of_the_floats_can_be_drawn(ys: list[float], log: bool) -> None:
    check_finite(lines(Series("s", list(range(len(ys))), ys), log_y=log))


@settings(deadline=None)
@given(st.lists(st.none() | finite, min_size=1, max_size=12), st.booleans())
def test_any_finite_bars_give_a_well_formed_finite_drawing(
    values: list[float | None], horizontal: bool
) -> None:
    labels = [f"label {k}" for k in range(len(values))]
    chart = parse_xml(
        bar_chart(labels, {"g": values}, title="t", y_label="y", horizontal=horizontal)
    )
    check_finite(chart)
    known = [value for value in values if value is not None]
    assert len(of_class(chart, "bar")) == len(known)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20), st.booleans(), st.booleans())
def test_any_histogram_gives_a_well_formed_finite_drawing(
    counts: list[int], share: bool, log: bool
) -> None:
    histogram = Histogram(
        edges=tuple(float(k) for k in range(len(counts) + 1)), counts=tuple(counts)
    )
    chart = parse_xml(
        histogram_chart(
            {"a": histogram, "b": histogram}, title="t", x_label="x", share=share, log_x=log
        )
    )
    check_finite(chart)
    assert len(of_class(chart, "step")) == (2 if sum(counts) else 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused_with_its_name_and_place(value: float) -> None:
    with pytest.raises(ValueError, match='"val loss": value 1 is'):
        Series("val loss", [0, 1], [0.0, value])
    with pytest.raises(ValueError, match='"group": value 0 is'):
        bar_chart(["a"], {"group": [value]}, title="t", y_label="y")
    with pytest.raises(ValueError, match='"row": value 0 is'):
        heatmap(["row"], ["c"], [[value]], title="t", row_label="r", column_label="c")


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 x for 1 y"):
        Series("s", [0, 1], [0.0])
    with pytest.raises(ValueError, match="1 values for 2 labels"):
        bar_chart(["a", "b"], {"g": [1.0]}, title="t", y_label="y")
    with pytest.raises(ValueError, match="is not 1 by 2"):
        heatmap(["r"], ["a", "b"], [[1.0]], title="t", row_label="r", column_label="c")


def test_nothing_to_draw_is_said() -> None:
    empty = [
        line_chart([], **LABELS),
        line_chart([Series("s", [], [])], **LABELS),
        line_chart([Series("s", [1, 2], [None, None])], **LABELS),
        bar_chart([], {}, title="t", y_label="y"),
        bar_chart(["a"], {"g": [None]}, title="t", y_label="y"),
        histogram_chart({"a": Histogram(edges=(0, 1), counts=(0,))}, title="t", x_label="x"),
        heatmap([], [], [], title="t", row_label="r", column_label="c"),
    ]
    assert all("No data." in chart and "<svg" not in chart for chart in empty)


def test_a_gap_breaks_the_line_and_a_lonely_point_is_a_dot() -> None:
    chart = lines(Series("s", [0, 1, 2, 3, 4], [1.0, 2.0, None, 3.0, None]))
    (path,) = drawn(chart)
    assert path.get("d", "").count("M") == 1
    clip = next(iter(of_class(chart, "clip")))
    assert len(list(clip.iter("circle"))) == 1


def test_the_readout_under_the_pointer_names_every_series() -> None:
    chart = lines(Series("a", [0, 1], [0.5, 1.0]), Series("b", [0, 1], [2.0, None]))
    words = [group.find("title").text for group in of_class(chart, "hover")]  # type: ignore[union-attr]
    assert words == ["step 0\na 0.5\nb 2", "step 1\na 1"]


def test_series_differ_by_dashes_and_not_by_colour_alone() -> None:
    chart = lines(*(Series(str(k), [0, 1], [k, k + 1]) for k in range(4)))
    assert len({path.get("stroke-dasharray") for path in drawn(chart)}) == 4


def test_a_long_curve_is_thinned_and_keeps_its_spike() -> None:
    ys = [0.5] * 20_000
    ys[12_345] = 9.0
    chart = lines(Series("s", range(20_000), ys), y_range=(0.0, 10.0))
    (path,) = drawn(chart)
    points = re.findall(r"[ML]([\d.]+) ([\d.]+)", path.get("d", ""))
    assert len(points) < 600
    assert min(float(y) for _, y in points) < 60


def test_marks_outside_the_range_are_left_out() -> None:
    chart = lines(
        Series("s", [0, 10], [0.0, 1.0]),
        x_range=(0.0, 10.0),
        vertical=[(5.0, "best"), (11.0, "far")],
    )
    texts = [text.text for text in chart.iter("text")]
    assert "best" in texts
    assert "far" not in texts


def test_values_outside_a_fixed_range_stay_within_reach_of_the_plot() -> None:
    chart = lines(Series("s", [0, 1], [0.5, 1e9]), y_range=(0.0, 1.0))
    (path,) = drawn(chart)
    ys = [float(y) for _, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path.get("d", ""))]
    assert all(-400 < y < 600 for y in ys)


def test_a_missing_bar_is_a_dash_with_its_reason() -> None:
    chart = parse_xml(bar_chart(["circle"], {"a": [None], "b": [0.5]}, title="t", y_label="ap"))
    titles = [title.text for title in chart.iter("title")]
    assert "circle, a: not defined" in titles
    assert "circle, b: 0.5" in titles


def test_labels_too_long_to_stand_below_turn_the_chart() -> None:
    chart = parse_xml(
        bar_chart(
            [f"a rather long class name {k}" for k in range(9)],
            {"g": [1.0] * 9},
            title="t",
            y_label="y",
        )
    )
    widths = {bar.get("width") for bar in of_class(chart, "bar")}
    heights = {bar.get("height") for bar in of_class(chart, "bar")}
    assert heights == {"13.5"}
    assert len(widths) == 1


def test_a_histogram_of_shares_adds_up_to_one_in_each_split() -> None:
    chart = histogram_chart(
        {
            "train": Histogram(edges=(0, 1, 2), counts=(30, 10)),
            "val": Histogram(edges=(0, 2), counts=(5,)),
        },
        title="t",
        x_label="px",
    )
    titles = [title.text for title in parse_xml(chart).iter("title")]
    assert titles == [
        "0 to 1\ntrain 30 (75.0%)\nval 5 (100.0%)",
        "1 to 2\ntrain 10 (25.0%)\nval 5 (100.0%)",
    ]


def test_text_never_becomes_markup_in_any_chart() -> None:
    charts = [
        line_chart(
            [Series(HOSTILE, [0, 1], [0.0, 1.0]), Series("b", [0], [1.0])],
            title=HOSTILE, x_label=HOSTILE, y_label=HOSTILE, vertical=[(0.5, HOSTILE)],
        ),
        bar_chart([HOSTILE], {HOSTILE: [1.0], "b": [None]}, title=HOSTILE, y_label=HOSTILE),
        bar_chart([HOSTILE], {HOSTILE: [1.0]}, title=HOSTILE, y_label=HOSTILE, horizontal=True),
        histogram_chart({HOSTILE: Histogram(edges=(0, 1), counts=(1,))}, title=HOSTILE, x_label=HOSTILE),
        heatmap([HOSTILE], [HOSTILE], [[1.0]], title=HOSTILE, row_label=HOSTILE, column_label=HOSTILE),
    ]  # fmt: skip
    for chart in charts:
        assert "<script" not in chart
        tags = {element.tag for element in parse_xml(chart).iter()}
        assert tags <= {"figure", "figcaption", "div", "span", "svg", "g", "line", "rect", "circle", "path", "text", "title"}  # fmt: skip


def test_a_matrix_writes_its_values_and_leaves_zero_cells_empty() -> None:
    chart = parse_xml(
        heatmap(["a", "b"], ["a", "b"], [[9.0, 0.0], [None, 3.0]], title="t", row_label="true", column_label="seen")
    )  # fmt: skip
    texts = [text.text for text in chart.iter("text") if "on-" in (text.get("class") or "")]
    assert texts == ["9", "3"]
    assert "true a, seen b: 0" in [title.text for title in chart.iter("title")]


def test_numbers_beside_bars_suit_the_largest_of_them() -> None:
    def numbers(*values: float) -> list[str]:
        labels = [str(k) for k in range(len(values))]
        chart = parse_xml(bar_chart(labels, {"g": values}, title="t", y_label="y", horizontal=True))
        return [text.text or "" for text in chart.iter("text") if not text.get("class")][
            -len(values) :
        ]

    assert numbers(0.219, 1.5e-5) == ["0.219", "0.000"]
    assert numbers(2e-4, 1.5e-5) == ["0.0002", "1.5e-5"]
    assert numbers(1204, 3) == ["1,204", "3"]


def test_names_that_begin_alike_are_told_apart_by_their_ends():
    names = [f"traffic sign of the warning kind number {k}" for k in range(10)]
    shown = {shorten(name, 120) for name in names}
    assert len(shown) == len(names)
    assert all(len(name) <= 20 and "\N{HORIZONTAL ELLIPSIS}" in name for name in shown)
    assert shorten("short", 120) == "short"

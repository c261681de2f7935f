"""Runs side by side: what was changed and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kfdet.core.run_comparison import MetricRow, RunComparison, RunResults, SettingDifference
from kfdet.report.charts import Series, bar_chart, line_chart
from kfdet.report.index import run_status
from kfdet.report.markup import tag
from kfdet.report.page import (
    Cell,
    Html,
    Section,
    badge,
    code,
    columns,
    details,
    message,
    page,
    paragraph,
    table,
)
from kfdet.report.wording import EN_DASH, difference, duration
from kfdet.schema.run_record import STAGES
from kfdet.schema.training import CurvePoint
from kfdet.wording import plural

_HEADLINE = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
_RUNS_IN_HALF_A_PAGE = 4
_CLASSES_IN_CHART = 12


def build(comparison: RunComparison) -> str:
    """Returns the comparison as one HTML document.

    Args:
        comparison: The runs, the base first.
    """
    names = [run.label for run in comparison.runs]
    warnings = tuple(message(warning, "warn") for warning in comparison.warnings)
    sections = [
        Section(title="Runs", body=(*warnings, _overview(comparison.runs))),
        _settings(comparison, names),
        _metrics(comparison, names),
        _classes(comparison, names),
        _training(comparison.runs),
        _times(comparison.runs, names),
    ]
    return page(
        title=f"Comparison of {plural(len(names), 'run')}",
        subtitle=f"{', '.join(names[1:]) or 'nothing'} against {names[0]}",
        sections=sections,
    )


def _overview(runs: Sequence[RunResults]) -> Html:
    rows: list[list[Cell]] = [
        [
            run.label,
            badge(*run_status(run.record)),
            run.metrics.overall.ap if run.metrics else None,
            run.metrics.overall.ap50 if run.metrics else None,
            f"version {run.record.published_version}" if run.record.published_version else None,
            duration(run.record.time_s),
            run.record.started[:16].replace("T", " "),
            run.record.error or " ".join(run.record.reasons),
        ]
        for run in runs
    ]
    return table(["run", "verdict", "ap", "ap50", "published", "time", "started", "why"], rows)


def _settings(comparison: RunComparison, names: Sequence[str]) -> Section:
    rows: list[list[Cell]] = [
        [
            code(entry.key),
            *(_setting(entry, i) for i in range(len(names))),
        ]
        for entry in comparison.settings
    ]
    body = (
        table(["setting", *names], rows)
        if rows
        else paragraph("All settings are the same in all of the runs.")
    )
    return Section(
        title="Settings", intro="Only what is not the same in all of the runs.", body=(body,)
    )


def _setting(entry: SettingDifference, index: int) -> Html:
    """Returns the value of one run; set off where it is not that of the first."""
    value = entry.values[index]
    text = EN_DASH if value is None else str(value)
    return tag("span" if value == entry.values[0] else "strong", text)


def _metrics(comparison: RunComparison, names: Sequence[str]) -> Section:
    if not comparison.metrics:
        body: tuple[Html, ...] = (paragraph("No run was measured on the test split."),)
        return Section(title="Metrics", body=body)
    by_name = {row.name: row for row in comparison.metrics}
    chart = bar_chart(
        _HEADLINE,
        {name: [by_name[metric].values[i] for metric in _HEADLINE] for i, name in enumerate(names)},
        title="Average precision on the test split",
        y_label="average precision",
        y_range=(0.0, 1.0),
    )
    return Section(
        title="Metrics",
        intro=f"On the test split; differences are to {names[0]}. The best of each row is marked.",
        body=_beside(_metric_table("metric", comparison.metrics, names), chart, names),
    )


def _classes(comparison: RunComparison, names: Sequence[str]) -> Section:
    if not comparison.class_ap:
        return Section(title="Classes", body=(paragraph("No run has metrics by class."),))
    # Where the runs differ most comes first: that is what one looks for.
    rows = sorted(comparison.class_ap, key=lambda row: (-_largest_change(row), row.name))
    chart = bar_chart(
        [row.name for row in rows[:_CLASSES_IN_CHART]],
        {name: [row.values[i] for row in rows[:_CLASSES_IN_CHART]] for i, name in enumerate(names)},
        title="AP by class"
        if len(rows) <= _CLASSES_IN_CHART
        else "AP of the classes that differ most",
        y_label="average precision",
        y_range=(0.0, 1.0),
        horizontal=len(rows) > 6,
    )
    body = _beside(_metric_table("class", rows, names), chart, names)
    return Section(title="Classes", intro="The largest changes come first.", body=body)


def _beside(left: Html, right: Html, names: Sequence[str]) -> tuple[Html, ...]:
    """Returns two columns, or two rows where a table of many runs needs the whole width."""
    return (columns(left, right),) if len(names) <= _RUNS_IN_HALF_A_PAGE else (left, right)


def _largest_change(row: MetricRow) -> float:
    return max((abs(change) for change in row.differences if change is not None), default=0.0)


def _metric_table(head: str, rows: Sequence[MetricRow], names: Sequence[str]) -> Html:
    cells: list[list[Cell]] = [
        [row.name, *(_metric_cell(row, i) for i in range(len(names)))] for row in rows
    ]
    return table([head, *names], cells)


def _metric_cell(row: MetricRow, index: int) -> Html:
    value, change = row.values[index], row.differences[index]
    if value is None:
        return tag("span", EN_DASH, class_="soft")
    shown = tag("strong" if index in row.best else "span", f"{value:.3f}")
    mark = tag("span", " \N{BLACK STAR}", class_="best") if index in row.best else ""
    if change is None:
        return tag("span", shown, mark)
    tone = "up" if change > 0.0005 else "down" if change < -0.0005 else "soft"
    return tag("span", shown, " ", tag("small", difference(change), class_=tone), mark)


def _training(runs: Sequence[RunResults]) -> Section:
    metric = next((run.ledger.metric for run in runs if run.ledger), "ap")
    validation = [
        Series(
            run.label,
            [float(entry.checkpoint.step) for entry in run.ledger.entries],
            [entry.metrics.value(metric) for entry in run.ledger.entries],
        )
        for run in runs
        if run.ledger
    ]
    charts = columns(
        line_chart(
            _curves(runs, lambda point: point.loss),
            title="Total loss",
            x_label="step",
            y_label="loss",
        ),
        line_chart(
            validation,
            title=f"Val {metric} by checkpoint",
            x_label="step",
            y_label=metric,
            y_range=(0.0, 1.0),
            markers=True,
        ),
    )
    rates = _curves(runs, lambda point: point.learning_rate)
    rate = line_chart(rates, title="Learning rate", x_label="step", y_label="rate")
    rows: list[list[Cell]] = [
        [
            run.label,
            run.summary.steps,
            run.summary.images_per_step,
            run.summary.parameters,
            run.summary.curve[-1].loss if run.summary.curve else None,
            run.ledger.best_step if run.ledger else None,
            run.ledger.best.metrics.value(run.ledger.metric) if run.ledger else None,
            duration(run.summary.train_time_s),
            run.summary.device,
        ]
        for run in runs
        if run.summary
    ]
    heads = ["run", "steps", "batch", "parameters", "last loss", "selected step", "its val metric", "time", "device"]  # fmt: skip
    body = (
        charts,
        table(heads, rows, empty="No run got as far as training."),
        details("Learning rate", rate),
    )
    return Section(title="Training", body=body)


def _curves(runs: Sequence[RunResults], value: Callable[[CurvePoint], float]) -> list[Series]:
    """Returns a value of each run's training by its steps."""
    return [
        Series(
            run.label,
            [float(point.step) for point in run.summary.curve],
            [value(point) for point in run.summary.curve],
        )
        for run in runs
        if run.summary
    ]


def _times(runs: Sequence[RunResults], names: Sequence[str]) -> Section:
    rows: list[list[Cell]] = []
    for stage in STAGES:
        cells: list[Cell] = [stage]
        for run in runs:
            record = next((one for one in run.record.stages if one.stage == stage), None)
            cells.append(
                None
                if record is None or record.status == "skipped"
                else "from cache"
                if record.status == "cached"
                else duration(record.time_s) + (" (failed)" if record.status == "failed" else "")
            )
        rows.append(cells)
    rows.append(["all", *(duration(run.record.time_s) for run in runs)])
    return Section(title="Times", body=(table(["stage", *names], rows),))

"""`kfdet compare`: runs side by side, on the terminal, as a page or as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kfdet.cli.plain import open_table, plain
from kfdet.core.run_comparison import MetricRow, RunComparison, compare_runs
from kfdet.report import compare as report
from kfdet.report.index import run_status
from kfdet.report.page import Tone
from kfdet.report.wording import EN_DASH, difference, duration
from kfdet.storage.atomic import write_text
from kfdet.storage.runs import read_runs

_TONES: dict[Tone, str] = {"neutral": "", "good": "green", "bad": "red", "warn": "yellow"}


def compare_verb(arguments: argparse.Namespace) -> None:
    """Runs the verb with parsed arguments."""
    compare(
        [Path(run) for run in arguments.runs],
        html=Path(arguments.html) if arguments.html else None,
        as_json=arguments.json,
    )


def compare(runs: Sequence[Path], *, html: Path | None, as_json: bool) -> None:
    """Prints how runs differ in settings, metrics and times.

    Args:
        runs: Folders of runs, the one that the others are compared with first.
        html: Where a page with the same and the curves goes.
        as_json: One JSON object on stdout instead of tables.

    Raises:
        ArtifactError: A folder holds no run, or a document of it is damaged.
    """
    comparison = compare_runs(read_runs(runs))
    if html:
        write_text(html, report.build(comparison))
    if as_json:
        print(json.dumps(comparison_json(comparison), indent=2))
        return
    console = Console()
    for warning in comparison.warnings:
        console.print(plain(warning, "yellow"), soft_wrap=True)
    console.print(comparison_table(comparison))
    if html:
        console.print(plain(f"report  {html}"), soft_wrap=True)


def comparison_table(comparison: RunComparison) -> Table:
    """Returns one column for each run: verdict, settings that differ, metrics and times."""
    table = open_table(header_style="bold")
    table.add_column("", no_wrap=True)
    for run in comparison.runs:
        table.add_column(plain(run.label), overflow="fold")
    words = [run_status(run.record) for run in comparison.runs]
    table.add_row("verdict", *(Text(text, style=_TONES[tone]) for text, tone in words))
    versions = [run.record.published_version for run in comparison.runs]
    if any(versions):
        table.add_row("published", *(f"version {v}" if v else EN_DASH for v in versions))
    table.add_row(
        "time", *(duration(run.record.time_s) for run in comparison.runs), end_section=True
    )
    _add_head(table, "settings that differ")
    for setting in comparison.settings:
        values = [EN_DASH if value is None else str(value) for value in setting.values]
        table.add_row(plain(f"  {setting.key}"), *map(plain, values))
    if not comparison.settings:
        table.add_row(Text("  none", style="dim"))
    for head, rows in (("test metrics", comparison.metrics), ("ap by class", comparison.class_ap)):
        if rows:
            _add_head(table, head)
        for row in rows:
            table.add_row(
                plain(f"  {row.name}"), *(_metric(row, i) for i in range(len(row.values)))
            )
    return table


def comparison_json(comparison: RunComparison) -> dict[str, Any]:
    """Returns the comparison as plain values."""
    return {
        "runs": [
            {
                "label": run.label,
                "verdict": run.record.verdict,
                "reasons": list(run.record.reasons),
                "published_version": run.record.published_version,
                "time_s": run.record.time_s,
                "error": run.record.error,
            }
            for run in comparison.runs
        ],
        "settings": {entry.key: list(entry.values) for entry in comparison.settings},
        "metrics": {row.name: _row_json(row) for row in comparison.metrics},
        "class_ap": {row.name: _row_json(row) for row in comparison.class_ap},
        "warnings": list(comparison.warnings),
    }


def _row_json(row: MetricRow) -> dict[str, Any]:
    values = dataclasses.asdict(row)
    return {key: list(value) for key, value in values.items() if key != "name"}


def _add_head(table: Table, words: str) -> None:
    table.add_row()
    table.add_row(Text(words, style="dim"))


def _metric(row: MetricRow, index: int) -> Text:
    value, change = row.values[index], row.differences[index]
    if value is None:
        return Text(EN_DASH, style="dim")
    text = Text(f"{value:.3f}", style="bold green" if index in row.best else "")
    if change is not None:
        text.append(f"  {difference(change)}", style="dim")
    if index in row.best:
        text.append(" best", style="green")
    return text

"""What differs between runs: settings, metrics, and which run is the best in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kfdet.schema.metrics import METRIC_NAMES, Metrics
from kfdet.schema.run_record import RunRecord
from kfdet.schema.training import Ledger, TrainingSummary

Value = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """What is known of one run; a run that broke off has less.

    Attributes:
        label: Names the run beside others; unique among them.
        notes: What could not be read, in sentences.
    """

    label: str
    record: RunRecord
    summary: TrainingSummary | None = None
    ledger: Ledger | None = None
    metrics: Metrics | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Runs side by side, in the order given; the first is what the others are compared with.

    Attributes:
        settings: The settings that are not the same in all of them.
        metrics: The 12 COCO statistics on the test split; empty when no run got that far.
        class_ap: AP of every class that any of the runs knows.
        warnings: Why numbers may not be compared, in sentences.
    """

    runs: tuple[RunResults, ...]
    settings: tuple[SettingDifference, ...]
    metrics: tuple[MetricRow, ...]
    class_ap: tuple[MetricRow, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SettingDifference:
    """A setting that is not the same in all runs.

    Attributes:
        key: Dotted path: `training.learning_rate.peak`.
        values: One for each run; None where a run does not have the setting.
    """

    key: str
    values: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric over all runs.

    Attributes:
        values: One for each run; None where it is undefined or was not measured.
        differences: To the first run; None where either is missing. The first is None.
        best: Indices of the runs with the highest value, none where fewer than two are known or all
            are equal.
    """

    name: str
    values: tuple[float | None, ...]
    differences: tuple[float | None, ...]
    best: tuple[int, ...]


def compare_runs(runs: Sequence[RunResults]) -> RunComparison:
    """Returns what differs between runs.

    Args:
        runs: At least one, the base first.
    """
    measured = [run.metrics for run in runs]
    # The name is the column's head already.
    configs = [run.record.config.model_dump(mode="json", exclude={"name"}) for run in runs]
    names = dict.fromkeys(
        entry.name for metrics in measured if metrics for entry in metrics.classes
    )
    return RunComparison(
        runs=tuple(runs),
        settings=setting_differences(configs),
        metrics=tuple(
            metric_row(name, [m.overall.value(name) if m else None for m in measured])
            for name in METRIC_NAMES
            if any(measured)
        ),
        class_ap=tuple(
            metric_row(name, [_class_ap(metrics, name) for metrics in measured]) for name in names
        ),
        warnings=tuple(_warnings(runs)),
    )


def _class_ap(metrics: Metrics | None, name: str) -> float | None:
    found = metrics.of_class(name) if metrics else None
    return found.metrics.ap if found else None


def _warnings(runs: Sequence[RunResults]) -> list[str]:
    splits = {run.metrics.split_digest for run in runs if run.metrics}
    warnings = []
    if len(splits) > 1:
        warnings.append(
            "The test splits are not the same: the metrics were measured on different images and "
            "do not compare."
        )
    validation = {run.ledger.split_digest for run in runs if run.ledger}
    if len(validation) > 1:
        warnings.append("The validation splits are not the same: the val metrics do not compare.")
    warnings += [f"{run.label}: {note}" for run in runs for note in run.notes]
    return warnings


def flatten(tree: Mapping[str, Any]) -> dict[str, Value]:
    """Returns the leaves of nested mappings and lists by dotted path, in their order.

    A list of plain values is one leaf, written as text; a list of mappings has its position in the
    path.

    Args:
        tree: JSON-like: mappings, lists and plain values.
    """
    leaves: dict[str, Value] = {}
    for key, value in tree.items():
        for path, leaf in _leaves(value):
            leaves[f"{key}.{path}" if path else key] = leaf
    return leaves


def setting_differences(configs: Sequence[Mapping[str, Any]]) -> tuple[SettingDifference, ...]:
    """Returns the settings in which the configurations differ, in the order of their first appearance.

    Args:
        configs: One tree for each run.
    """
    flat = [flatten(config) for config in configs]
    keys = dict.fromkeys(key for leaves in flat for key in leaves)
    return tuple(
        SettingDifference(key=key, values=tuple(leaves.get(key) for leaves in flat))
        for key in keys
        # A key that is missing says no more than one that is null.
        if not all(_equal(leaves.get(key), flat[0].get(key)) for leaves in flat)
    )


def metric_row(name: str, values: Sequence[float | None]) -> MetricRow:
    """Returns a metric over all runs with differences to the first and the best marked.

    Args:
        name: Name of the metric, higher is better.
        values: One for each run, in [0, 1].
    """
    base = values[0] if values else None
    known = [value for value in values if value is not None]
    decided = len(known) > 1 and min(known) < max(known)
    return MetricRow(
        name=name,
        values=tuple(values),
        differences=tuple(
            None if index == 0 or value is None or base is None else value - base
            for index, value in enumerate(values)
        ),
        best=tuple(i for i, value in enumerate(values) if decided and value == max(known)),
    )


def _leaves(value: Any) -> list[tuple[str, Value]]:
    if isinstance(value, Mapping):
        found = [
            (f"{key}.{path}" if path else str(key), leaf)
            for key, part in value.items()
            for path, leaf in _leaves(part)
        ]
        return found or [("", "{}")]
    if isinstance(value, list | tuple):
        if any(isinstance(part, Mapping) for part in value):
            return [
                (f"{position}.{path}" if path else str(position), leaf)
                for position, part in enumerate(value)
                for path, leaf in _leaves(part)
            ]
        words = ", ".join(map(str, value))
        return [("", words if len(value) == 1 else f"[{words}]")]
    return [("", value)]


def _equal(a: Value, b: Value) -> bool:
    """1 and True, or 1 and "1", are not the same setting; 1 and 1.0 are."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return a == b

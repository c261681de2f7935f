"""Choosing the best of several checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kfdet.errors import DataError
from kfdet.schema.metrics import CocoSettings, MetricName
from kfdet.schema.training import Ledger, LedgerEntry


def best_entry(entries: Sequence[LedgerEntry], *, metric: MetricName) -> LedgerEntry:
    """Returns the entry with the highest value; the earliest of equals.

    Args:
        entries: At least one.
        metric: The metric that chooses.

    Raises:
        DataError: The metric is undefined for every entry: nothing could be chosen by it.
    """
    measured = [entry for entry in entries if entry.metrics.value(metric) is not None]
    if not measured:
        raise DataError(
            f"{metric} is undefined for every checkpoint: val has no box that it counts",
            where="evaluation.select_metric",
            expected="a metric with ground truth on val",
            remedy="Choose ap or ap50.",
        )
    return min(
        measured, key=lambda entry: (-(entry.metrics.value(metric) or 0.0), entry.checkpoint.step)
    )


def ledger_of(
    entries: Iterable[LedgerEntry], *, split_digest: str, settings: CocoSettings, metric: MetricName
) -> Ledger:
    """Returns the ledger of some checkpoints, with the best of them.

    Args:
        entries: At least one, in any order.
        split_digest: Of the split that they were measured on.
        settings: What they were measured with.
        metric: The metric that chooses.

    Raises:
        DataError: The metric is undefined for every entry.
    """
    ordered = sorted(entries, key=lambda entry: entry.checkpoint.step)
    return Ledger(
        split_digest=split_digest,
        settings=settings,
        metric=metric,
        entries=tuple(ordered),
        best_step=best_entry(ordered, metric=metric).checkpoint.step,
    )


def still_valid(
    kept: Ledger | None, *, split_digest: str, settings: CocoSettings
) -> dict[str, LedgerEntry]:
    """Returns checkpoint digest to entry, for those that would be measured alike again."""
    if kept is None or kept.split_digest != split_digest or kept.settings != settings:
        return {}
    return {entry.checkpoint.digest: entry for entry in kept.entries}

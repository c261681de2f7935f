"""Choosing the best of several checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from kfdet.errors import DataError
from kfdet.schema.metrics import MetricName
from kfdet.schema.training import LedgerEntry


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

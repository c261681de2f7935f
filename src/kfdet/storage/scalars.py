"""Scalars of a stage, for the cluster's UI and for the run's table."""

from __future__ import annotations

import json
from typing import Protocol

from kfdet.storage.atomic import write_text


class MetricsArtifact(Protocol):
    """What a `system.Metrics` output offers; kfp's own class is not needed."""

    path: str

    def log_metric(self, metric: str, value: float) -> None: ...


def write_scalars(artifact: MetricsArtifact, **values: float | None) -> None:
    """Logs the scalars that are defined and writes all of them as JSON at the artifact's path.

    The file matters: kfp takes a task whose metrics artifact has no file for one that never ran,
    and does not cache it.
    """
    for name, value in values.items():
        if value is not None:
            artifact.log_metric(name, value)
    write_text(artifact.path, json.dumps(values, indent=2) + "\n")

"""record: what the champion scored on other images, kept beside it in the registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kfdet.progress import Progress
from kfdet.schema.metrics import CocoStatistics, Metrics
from kfdet.storage.documents import read_document
from kfdet.storage.registry import ModelRegistry
from kfdet.wording import plural


@dataclass(frozen=True, kw_only=True)
class RecordResult:
    """Attributes:
    version: Of the model that was measured.
    overall: What it scored.
    """

    version: int
    overall: CocoStatistics


def run(
    *, registry: str, model: str, metrics: Path, evidence: Path, progress: Progress
) -> RecordResult:
    """Keeps metrics of the champion's export, so that gates on the same images need no others.

    Args:
        registry: Folder of the model registry.
        model: Name of the model in it.
        metrics: What merge made of the champion's evaluation.
        evidence: The folder beside them.
        progress: Told what was kept.

    Raises:
        ArtifactError: The registry is damaged, or the metrics are not those of the champion's export.
    """
    measured = read_document(Metrics, metrics)
    version = ModelRegistry(registry, model=model).record(measured, evidence)
    progress.note(
        f"version {version} on {plural(measured.images, 'image')}: ap {measured.overall.ap}"
    )
    return RecordResult(version=version, overall=measured.overall)

"""publish: a new version in the model registry, and the champion pointer moved to it."""

from __future__ import annotations

import datetime
import functools
from dataclasses import dataclass
from pathlib import Path

from kfdet.core.model_card import model_card
from kfdet.core.release import check_release
from kfdet.progress import Progress
from kfdet.schema.export import EXPORT_FILE, ExportManifest
from kfdet.schema.gate import Decision
from kfdet.schema.metrics import Metrics
from kfdet.storage.copies import local_folder
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.registry import ModelRegistry, Submission


@dataclass(frozen=True, kw_only=True)
class PublishResult:
    """Attributes:
    version: Number of the version that holds the export.
    already_published: It was there before; nothing was written.
    uri: Folder of the version.
    """

    version: int
    already_published: bool
    uri: str


def run(
    *,
    export_uri: str,
    decision: Path,
    metrics: Path,
    evidence: Path | None,
    registry: str,
    model: str,
    run_name: str,
    version: Path,
    progress: Progress,
    created: str | None = None,
) -> PublishResult:
    """Publishes an export that the gate let through.

    Args:
        export_uri: Folder of the export.
        decision: The gate's decision; anything but pass is refused.
        metrics: The metrics that the decision was made on.
        evidence: The folder that merge wrote beside them, kept for comparisons to come.
        registry: Folder of the model registry.
        model: Name of the model in it.
        run_name: Name of the run, for the version's record.
        version: Where the record of the version is written.
        progress: Told what was published.
        created: Date and time for the record, ISO 8601; now when None.

    Raises:
        ArtifactError: The decision is no pass or is of another model, the export is damaged or
            failed its parity check, or the champion changed since the gate.
        ConfigError: The registry or the model's name can't be.
    """
    folder = local_folder(export_uri)
    verdict = read_document(Decision, decision)
    measured = read_document(Metrics, metrics)
    export = read_document(ExportManifest, folder / EXPORT_FILE)
    check_release(verdict, measured, export, where=str(decision))
    moment = created or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    card = functools.partial(
        model_card, model=model, run=run_name, created=moment,
        export=export, metrics=measured, decision=verdict,
    )  # fmt: skip
    submission = Submission(
        folder=folder, export=export, metrics=measured, decision=verdict, evidence=evidence,
        run=run_name, created=moment, model_card=lambda number: card(version=number),
    )  # fmt: skip
    published = ModelRegistry(registry, model=model).publish(submission)
    write_document(version, published.version)
    number = published.version.version
    state = "is there already" if published.already_published else "is now the champion"
    progress.note(f"{model} version {number} {state}: {published.folder}")
    return PublishResult(
        version=number,
        already_published=published.already_published,
        uri=published.folder,
    )

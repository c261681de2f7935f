"""select: every checkpoint measured on val, the best one chosen."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfdet.core import coco
from kfdet.core.selection import ledger_of, still_valid
from kfdet.errors import ArtifactError, UsageError
from kfdet.progress import Progress
from kfdet.report import training as training_report
from kfdet.schema.dataset import Manifest
from kfdet.schema.metrics import CocoSettings, MeasurementConfig, MetricName
from kfdet.schema.training import (
    CheckpointRef,
    Ledger,
    LedgerEntry,
    ResolvedExperiment,
    TrainingSummary,
)
from kfdet.storage.atomic import write_text
from kfdet.storage.checkpoints import check_checkpoint
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.locations import join
from kfdet.storage.model_dir import ModelDir
from kfdet.storage.quarantine import note_excluded
from kfdet.storage.splits import read_split


@dataclass(frozen=True, kw_only=True)
class SelectResult:
    """Attributes:
    checkpoint: Prefix of the best checkpoint's files.
    value: Its value of the metric on val.
    """

    checkpoint: str
    checkpoint_digest: str
    checkpoint_step: int
    value: float


def run(
    *,
    experiment: Path,
    manifest: Path,
    summary: Path | None,
    metric: MetricName,
    batch_size: int,
    engine: coco.Engine,
    config: MeasurementConfig,
    ledger: Path,
    report: Path,
    progress: Progress,
    follow: str | None = None,
    timeout_s: float = 3600.0,
) -> SelectResult:
    """Measures every checkpoint on val; those in the model directory's ledger only once.

    Args:
        experiment: The rendered experiment.
        manifest: Manifest of the validated data.
        summary: Summary of a finished training; None when following one.
        metric: The metric that chooses; the earliest of equals wins.
        batch_size: Images a step of inference.
        engine: COCO engine.
        config: What is measured.
        ledger: Where the ledger is written.
        report: Where the HTML report is written.
        progress: Told of the images.
        follow: Model directory of a running training, whose checkpoints are measured as they
            appear, until its summary is there.
        timeout_s: How long a followed training may go without a new checkpoint.

    Raises:
        ArtifactError: A checkpoint or the data are not those that were trained and validated.
        DataError: The metric is undefined on val.
        TrainingError: The training that is followed gives no more checkpoints.
    """
    resolved = read_document(ResolvedExperiment, experiment)
    data = read_document(Manifest, manifest)
    note_excluded(progress, "val", data.val.excluded)
    if follow is not None:
        folder = ModelDir.at(follow)
        checkpoints = folder.appearing(
            experiment_digest=resolved.fingerprint(), timeout_s=timeout_s
        )
    elif summary is not None:
        trained = read_document(TrainingSummary, summary)
        folder = ModelDir.at(trained.model_dir)
        checkpoints = iter(trained.checkpoints)
    else:
        raise UsageError("give the summary of a training, or a model directory to follow")
    bench = _Bench(
        resolved,
        data,
        batch_size=batch_size,
        engine=engine,
        settings=config.settings(),
        metric=metric,
        progress=progress,
    )
    chosen = _measure_all(bench, folder, checkpoints)
    if follow is not None:
        trained = read_document(TrainingSummary, join(folder.location, "training.json"))
    write_document(ledger, chosen)
    write_text(report, training_report.build(trained, resolved, chosen, metric))
    progress.report(str(report))
    best = chosen.best
    return SelectResult(
        checkpoint=best.checkpoint.uri,
        checkpoint_digest=best.checkpoint.digest,
        checkpoint_step=best.checkpoint.step,
        value=best.metrics.value(metric) or 0.0,
    )


class _Bench:
    """Measures checkpoints with one built model, which is only built when there is one to measure."""

    def __init__(
        self,
        resolved: ResolvedExperiment,
        data: Manifest,
        *,
        batch_size: int,
        engine: coco.Engine,
        settings: CocoSettings,
        metric: MetricName,
        progress: Progress,
    ) -> None:
        self.split = data.val
        self._metric = metric
        self._resolved = resolved
        self._label_map = data.label_map
        self._batch_size = batch_size
        self._engine = engine
        self.settings = settings
        self._progress = progress
        self._detector: Any = None

    def measure(self, ref: CheckpointRef) -> LedgerEntry:
        from kfdet.models.detector import Detector
        from kfdet.models.inference import evaluate_records

        prefix = check_checkpoint(ref.uri, digest=ref.digest)
        began = time.monotonic()
        self._detector = self._detector or Detector(self._resolved)
        self._detector.restore(prefix)
        parts, done = [], 0
        records = read_split(self.split)
        for part in evaluate_records(self._detector, records, batch_size=self._batch_size):
            parts.append(part)
            done += len(part.images)
            self._progress.update(done, total=self.split.images, unit="images", step=ref.step)
        measured = coco.evaluate(
            coco.concatenate(parts),
            label_map=self._label_map,
            engine=self._engine,
            settings=self.settings,
        )
        took = round(time.monotonic() - began, 3)
        value = measured.overall.value(self._metric)
        words = "undefined" if value is None else f"{value:.3f}"
        self._progress.note(f"step {ref.step:,}: {self._metric} {words}")
        return LedgerEntry(checkpoint=ref, metrics=measured.overall, evaluation_time_s=took)

    def ledger(self, entries: Iterable[LedgerEntry]) -> Ledger:
        return ledger_of(
            entries, split_digest=self.split.digest, settings=self.settings, metric=self._metric
        )


def _measure_all(bench: _Bench, folder: ModelDir, checkpoints: Iterator[CheckpointRef]) -> Ledger:
    """Returns the ledger, which is also kept in the model directory after every checkpoint."""
    known = still_valid(folder.ledger(), split_digest=bench.split.digest, settings=bench.settings)
    entries: list[LedgerEntry] = []
    ledger = None
    for ref in checkpoints:
        entry = known.get(ref.digest)
        entry = entry.model_copy(update={"checkpoint": ref}) if entry else bench.measure(ref)
        known[ref.digest] = entry
        entries.append(entry)
        ledger = bench.ledger(entries)
        folder.write_ledger(bench.ledger(known.values()))
    if ledger is None:
        raise ArtifactError(
            "there is no checkpoint", where=folder.location, remedy="Run train again."
        )
    return ledger

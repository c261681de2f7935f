"""train: trains the detector, and goes on where a killed attempt stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kfdet.errors import ArtifactError
from kfdet.progress import Progress
from kfdet.report import training as training_report
from kfdet.schema.dataset import Manifest
from kfdet.schema.training import ResolvedExperiment, TrainingSummary
from kfdet.storage.atomic import write_text
from kfdet.storage.checkpoints import local_prefix
from kfdet.storage.documents import read_document, write_document
from kfdet.storage.locations import join
from kfdet.storage.model_dir import ModelDir
from kfdet.storage.quarantine import note_excluded
from kfdet.storage.splits import check_files, training_files


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """Attributes:
    model_dir: Folder with the checkpoints and the TensorBoard events.
    loss: Mean of the last steps; null where the curve was lost.
    steps_per_s: Of the last steps.
    """

    model_dir: str
    step: int
    loss: float | None
    steps_per_s: float | None


def run(
    *,
    experiment: Path,
    manifest: Path,
    model_root: str,
    summary: Path,
    report: Path,
    progress: Progress,
) -> TrainResult:
    """Trains to the last step; what is finished already is only reported.

    Args:
        experiment: The rendered experiment.
        manifest: Manifest of the validated data.
        model_root: Folder of model directories; equal experiments share one.
        summary: Where the summary is written.
        report: Where the HTML report is written.
        progress: Told of step, loss and speed.

    Raises:
        ArtifactError: The training data are not those of the experiment, or have changed.
        TrainingError: The loss is no longer a number, or the model directory is taken.
    """
    resolved = read_document(ResolvedExperiment, experiment)
    data = read_document(Manifest, manifest)
    _check_data(resolved, data, where=str(experiment))
    note_excluded(progress, "train", data.train.excluded)
    digest = resolved.fingerprint()
    folder = ModelDir.of(model_root, experiment_digest=digest)
    finished = folder.summary(experiment_digest=digest)
    if finished is not None:
        progress.note(f"trained already: {folder.location}")
    else:
        finished = _train(resolved, data, folder, progress)
    write_document(summary, finished)
    write_text(report, training_report.build(finished, resolved, None, "ap"))
    progress.report(str(report))
    last = finished.curve[-1] if finished.curve else None
    return TrainResult(
        model_dir=finished.model_dir,
        step=finished.steps,
        loss=last.loss if last else None,
        steps_per_s=last.steps_per_s if last else None,
    )


def _check_data(resolved: ResolvedExperiment, data: Manifest, *, where: str) -> None:
    if data.train.digest != resolved.train_digest:
        raise ArtifactError(
            f"was rendered for the training split {resolved.train_digest[:16]}",
            where=where,
            expected=f"{data.train.digest[:16]}, the split of the manifest given",
            remedy="Run render again.",
        )
    check_files(data.train)


def _train(
    resolved: ResolvedExperiment, data: Manifest, folder: ModelDir, progress: Progress
) -> TrainingSummary:
    from kfdet.models.training import train

    digest = resolved.fingerprint()
    start = resolved.training.init_checkpoint
    with folder.locked():
        write_document(join(folder.location, "experiment.json"), resolved)
        outcome = train(
            resolved,
            files=training_files(data.train),
            init_checkpoint=local_prefix(start) if start else None,
            store=folder,
            journal=folder.journal(experiment_digest=digest),
            progress=progress,
        )
        finished = TrainingSummary(
            model_dir=folder.location,
            experiment_digest=digest,
            steps=resolved.training.steps,
            images_per_step=resolved.training.batch_size,
            parameters=outcome.parameters,
            device=outcome.device,
            resumed_from=outcome.resumed_from,
            train_time_s=outcome.journal.train_time_s,
            curve=outcome.journal.curve,
            checkpoints=tuple(folder.checkpoint(step) for step in folder.steps()),
        )
        folder.write_summary(finished)
    return finished

"""Evaluates every checkpoint on the validation split and chooses the best."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components._component import tensorflow_component


@tensorflow_component
def select(
    metric: str,
    batch_size: int,
    engine: str,
    measurement: str,
    experiment: Input[Artifact],
    manifest: Input[Artifact],
    summary: Input[Artifact],
    selected: Output[Artifact],
    ledger: Output[Artifact],
    metrics: Output[Metrics],
    report: Output[HTML],
) -> NamedTuple(
    "Outputs", [("checkpoint", str), ("checkpoint_digest", str), ("checkpoint_step", int)]
):
    """Evaluates every checkpoint on val; the ledger has one entry for each.

    Args:
        metric: The val metric that chooses.
        batch_size: Images a step of inference.
        engine: COCO engine: hotcoco or pycocotools.
        measurement: IoU thresholds, areas, counts and slices, as JSON.
        experiment: The rendered experiment.
        manifest: Manifest of the validated data.
        summary: Summary of the training.
        selected: The best checkpoint: step, place and digest.
        ledger: Every checkpoint with its val metrics, and the best one.
        metrics: The best checkpoint's step and val metrics.
        report: Loss and learning-rate curves, checkpoints with their val metrics.

    Returns:
        checkpoint: Prefix of the best checkpoint's files.
        checkpoint_digest: Digest of its bytes.
        checkpoint_step: Its step.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.metrics import MeasurementConfig
    from kfdet.schema.training import CheckpointRef, SelectedCheckpoint
    from kfdet.stages import select as stage
    from kfdet.storage.documents import write_document
    from kfdet.storage.scalars import write_scalars

    with Progress.from_environment("select") as progress:
        result = stage.run(
            experiment=Path(experiment.path),
            manifest=Path(manifest.path),
            summary=Path(summary.path),
            metric=metric,
            batch_size=batch_size,
            engine=engine,
            config=parse_json(MeasurementConfig, measurement, where="measurement"),
            ledger=Path(ledger.path),
            report=Path(report.path),
            progress=progress,
        )
        best = CheckpointRef(
            step=result.checkpoint_step, uri=result.checkpoint, digest=result.checkpoint_digest
        )
        write_document(Path(selected.path), SelectedCheckpoint(checkpoint=best))
        write_scalars(metrics, checkpoint_step=result.checkpoint_step, value=result.value)
    return (result.checkpoint, result.checkpoint_digest, result.checkpoint_step)

"""Merges the shards' detections into one exact evaluation."""

from typing import List

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Input, Metrics, Output

from components._component import light_component


@light_component
def merge(
    split: str,
    engine: str,
    measurement: str,
    diagnosis: str,
    shards: Input[List[Artifact]],
    manifest: Input[Artifact],
    metrics_json: Output[Artifact],
    evidence: Output[Artifact],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    report: Output[HTML],
    feasibility_json: Input[Artifact] = None,
):
    """Puts all detections into canonical image order and runs one COCO engine.

    Args:
        split: train, val or test.
        engine: COCO engine: hotcoco or pycocotools.
        measurement: IoU thresholds, areas, counts and slices, as JSON.
        diagnosis: The section `diagnosis` of the run configuration, as JSON.
        shards: The folders of all the evaluation tasks, in any order.
        manifest: Manifest of the validated data.
        metrics_json: The 12 COCO statistics, per class too, with curves, errors, calibration and slices.
        evidence: Which detection hits at which overlap: what intervals are computed from.
        metrics: The 12 COCO statistics.
        confusion: What objects of each class were taken for; beyond 20 classes, of those mixed up most.
        feasibility_json: What check found before training on the same split, for advice on ceilings.
        report: Precision-recall curves, per-class AP, misses and false alarms.
    """
    from pathlib import Path

    from kfdet.progress import Progress
    from kfdet.schema.base import parse_json
    from kfdet.schema.metrics import MeasurementConfig
    from kfdet.schema.run_config import DiagnosisConfig
    from kfdet.stages import merge as stage
    from kfdet.storage.scalars import write_scalars
    from kfdet.storage.ui import write_confusion

    with Progress.from_environment("merge") as progress:
        result = stage.run(
            shards=[Path(artifact.path) for artifact in shards],
            manifest=Path(manifest.path),
            split=split,
            engine=engine,
            config=parse_json(MeasurementConfig, measurement, where="measurement"),
            diagnosis=parse_json(DiagnosisConfig, diagnosis, where="diagnosis"),
            feasibility=Path(feasibility_json.path) if feasibility_json else None,
            metrics=Path(metrics_json.path),
            evidence=Path(evidence.path),
            report=Path(report.path),
            progress=progress,
        )
        write_scalars(
            metrics,
            images=result.images,
            detections=result.detections,
            **result.overall.named(),
        )
        write_confusion(confusion, metrics_json=Path(metrics_json.path))

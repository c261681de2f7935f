"""Everything that is measured on a set of images, in one go."""

from __future__ import annotations

from dataclasses import dataclass

from kfdet.core.coco import Engine, Evaluation, EvaluationData, canonical, evaluate
from kfdet.core.diagnosis import Diagnosis, diagnose
from kfdet.core.evidence import Evidence, evidence_of
from kfdet.core.matching import match_everywhere
from kfdet.core.metric_details import metric_details
from kfdet.core.slices import image_parts
from kfdet.schema.dataset import LabelMap
from kfdet.schema.metrics import CocoStatistics, Details, MeasurementConfig, Metrics


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Attributes:
    evaluation: The engine's answer.
    evidence: The matches, as they are kept.
    diagnosis: What is behind the numbers.
    details: The diagnosis as numbers.
    """

    evaluation: Evaluation
    evidence: Evidence
    diagnosis: Diagnosis
    details: Details


def measure(
    data: EvaluationData,
    *,
    label_map: LabelMap,
    engine: Engine,
    config: MeasurementConfig,
) -> Measurement:
    """Measures a detector on a set of images.

    Args:
        data: Images, ground truth and detections, in any order.
        label_map: The classes.
        engine: The COCO engine.
        config: What is measured.

    Raises:
        ArtifactError: An image is listed twice, or a box belongs to no image or to no class.
        DataError: A score or a box is NaN or infinite.
        ConfigError: The engine is not installed, or a feature to cut by is in no record.
    """
    data = canonical(data)
    settings = config.settings()
    parts = image_parts(data, keys=config.slices)
    evaluation = evaluate(data, label_map=label_map, engine=engine, settings=settings)
    matches = match_everywhere(data, label_map=label_map, settings=settings)
    evidence = evidence_of(matches, image_parts=parts)
    diagnosis = diagnose(matches, evaluation, evidence)
    return Measurement(
        evaluation=evaluation,
        evidence=evidence,
        diagnosis=diagnosis,
        details=metric_details(diagnosis, evaluation, evidence),
    )


@dataclass(frozen=True, kw_only=True)
class MeasurementResult:
    """What a stage that measures says of it.

    Attributes:
        overall: The 12 COCO statistics, and what the settings add to them.
        images: Images evaluated, also those without detections.
        detections: Detections evaluated.
    """

    overall: CocoStatistics
    images: int
    detections: int


def measurement_result(document: Metrics) -> MeasurementResult:
    """Returns what stands first in the metrics."""
    return MeasurementResult(
        overall=document.overall,
        images=document.images,
        detections=document.detections,
    )

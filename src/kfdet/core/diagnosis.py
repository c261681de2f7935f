"""Where a detector loses its points: what is behind the numbers of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import (
    Evaluation,
    EvaluationData,
    Int64,
)
from kfdet.core.error_analysis import (
    Matching,
    Outcomes,
    Reliability,
    ScoreCurve,
    confusion_matrix,
    grouped_score_curves,
    matching_at,
    outcomes,
    reliability,
    score_curve,
)
from kfdet.core.error_costs import ErrorCosts, error_costs
from kfdet.core.evidence import Evidence
from kfdet.core.matching import Matches
from kfdet.core.uncertainty import StandardErrors, standard_errors
from kfdet.schema.dataset import LabelMap

# Beyond it the bootstrap would take longer than all the rest, and tell of an error that is small.
_BOOTSTRAP_DETECTIONS = 30_000


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Attributes:
    matches: At every overlap; rows below are rows of its data.
    curve: Over all classes together.
    class_curves: One for each class of the label map.
    operating_score: The score of the highest F1 over all classes; None without any hit.
    outcomes: At the operating score, or of all detections where there is none.
    confusion: int64[K + 1, K + 1], at the same score.
    error_costs: What AP would gain if one kind of error were mended.
    ap_by_iou: IoU threshold to mean AP over the classes; None where undefined.
    standard_errors: Of AP; None for a set so large that they are not worth the time.
    """

    matches: Matches
    matching: Matching
    curve: ScoreCurve
    class_curves: tuple[ScoreCurve, ...]
    operating_score: float | None
    outcomes: Outcomes
    confusion: Int64
    reliability: Reliability
    error_costs: ErrorCosts
    ap_by_iou: Mapping[float, float | None]
    standard_errors: StandardErrors | None

    @property
    def data(self) -> EvaluationData:
        """In canonical order."""
        return self.matches.data

    @property
    def label_map(self) -> LabelMap:
        return self.matches.label_map


def diagnose(matches: Matches, evaluation: Evaluation, evidence: Evidence) -> Diagnosis:
    """Takes an evaluation apart.

    Args:
        matches: Of all shards.
        evaluation: The metrics of the same data.
        evidence: What is kept of the matches.
    """
    data, label_map = matches.data, matches.label_map
    matching = matching_at(matches)
    curve = score_curve(matching, data)
    best = curve.best()
    score = float(curve.score[best]) if best is not None else None
    at_score = outcomes(matching, data, score=score or 0.0)
    objects = np.bincount(
        matches.truth_label[~data.ground_truth.is_crowd], minlength=len(label_map.classes)
    )
    matrix = confusion_matrix(data, label_map=label_map, score=score or 0.0)
    return Diagnosis(
        matches=matches,
        matching=matching,
        curve=curve,
        class_curves=grouped_score_curves(
            matching, data, group=matches.detection_label, objects=objects
        ),
        operating_score=score,
        outcomes=at_score,
        confusion=matrix,
        reliability=reliability(matching, data),
        error_costs=error_costs(matches),
        ap_by_iou=_ap_by_iou(evaluation),
        standard_errors=(
            standard_errors(evidence, label_map=label_map)
            if len(data.detections) <= _BOOTSTRAP_DETECTIONS
            else None
        ),
    )


def images_with_misses(diagnosis: Diagnosis, *, count: int) -> Int64:
    """Returns the rows of the images with the most misses, int64[<= count]."""
    missed = diagnosis.data.ground_truth.image_id[diagnosis.outcomes.miss]
    ids, misses = np.unique(missed, return_counts=True)
    return _rows(diagnosis, ids[np.argsort(-misses, kind="stable")][:count])


def images_with_false_alarms(diagnosis: Diagnosis, *, count: int) -> Int64:
    """Returns the rows of the images with the surest false alarms, int64[<= count]."""
    seen = diagnosis.data.detections
    alarms = np.flatnonzero(diagnosis.outcomes.false_alarm)
    surest = alarms[np.argsort(-seen.score[alarms], kind="stable")]
    ids = list(dict.fromkeys(seen.image_id[surest].tolist()))[:count]
    return _rows(diagnosis, np.array(ids, np.int64))


def typical_images(diagnosis: Diagnosis, *, count: int) -> Int64:
    """Returns rows of images spread evenly over the set, int64[<= count]."""
    total = len(diagnosis.data.images)
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))


def _rows(diagnosis: Diagnosis, image_ids: Int64) -> Int64:
    return np.searchsorted(diagnosis.data.images.image_id, image_ids).astype(np.int64)


def _ap_by_iou(evaluation: Evaluation) -> dict[float, float | None]:
    answer: dict[float, float | None] = {}
    for t, iou in enumerate(evaluation.settings.iou_thresholds):
        precision = evaluation.precision[t, :, :, 0, -1]
        defined = precision[~np.isnan(precision)]
        answer[round(iou, 2)] = float(defined.mean()) if defined.size else None
    return answer

"""What metrics.json says beyond the COCO statistics: the diagnosis as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kfdet.core.coco import Evaluation, Float64
from kfdet.core.diagnosis import Diagnosis
from kfdet.core.error_analysis import FALSE_ALARM_CAUSES, MISS_CAUSES, Reliability, ScoreCurve
from kfdet.core.evidence import Evidence
from kfdet.core.slices import slices
from kfdet.schema.metrics import (
    ApAtIou,
    Calibration,
    CalibrationBin,
    ClassDetails,
    Confusion,
    Details,
    ErrorDetails,
    OperatingPoint,
    ScoreDetails,
)

_SCORES = tuple(i / 20 for i in range(21))


def metric_details(diagnosis: Diagnosis, evaluation: Evaluation, evidence: Evidence) -> Details:
    """Returns the diagnosis as numbers.

    Args:
        diagnosis: Of the same data.
        evaluation: Of the same data.
        evidence: Of the same data.
    """
    by_class = evaluation.precision[:, :, :, 0, -1]
    truth, ious = diagnosis.data.ground_truth, evaluation.settings.iou_thresholds
    return Details(
        operating_score=diagnosis.operating_score,
        ap_by_iou=_ap_by_iou(by_class, ious),
        score=_score_details(diagnosis.curve, objects=int((~truth.is_crowd).sum())),
        classes=tuple(
            ClassDetails(
                id=label.id,
                name=label.name,
                ap_by_iou=_ap_by_iou(by_class[:, :, k : k + 1], ious),
                score=_score_details(
                    diagnosis.class_curves[k],
                    objects=int(((truth.class_id == label.id) & ~truth.is_crowd).sum()),
                ),
            )
            for k, label in enumerate(diagnosis.label_map.classes)
        ),
        confusion=Confusion(
            score=diagnosis.outcomes.score,
            labels=(*(label.name for label in diagnosis.label_map.classes), "background"),
            matrix=tuple(tuple(row) for row in diagnosis.confusion.tolist()),
        ),
        errors=_errors(diagnosis),
        calibration=_calibration(diagnosis.reliability),
        slices=tuple(
            slices(diagnosis.matches, diagnosis.matching, diagnosis.outcomes, evidence.image_parts)
        ),
    )


def _ap_by_iou(precision: Float64, ious: Sequence[float]) -> tuple[ApAtIou, ...]:
    """Args:
    precision: float64[T, R, K], NaN where there is no ground truth.
    ious: T thresholds.
    """
    answer = []
    for t, iou in enumerate(ious):
        defined = precision[t][~np.isnan(precision[t])]
        answer.append(
            ApAtIou(iou=round(iou, 4), ap=float(defined.mean()) if defined.size else None)
        )
    return tuple(answer)


def _score_details(curve: ScoreCurve, *, objects: int) -> ScoreDetails:
    best = curve.best()
    kept = np.searchsorted(-curve.score, -np.array(_SCORES), side="right") - 1
    return ScoreDetails(
        best=_point(curve, best) if best is not None else None,
        points=tuple(
            _point(curve, int(at), score=score)
            for at, score in zip(kept, _SCORES, strict=True)
            if at >= 0
        ),
        **dict(curve.trade_off(objects=objects)),
    )


def _point(curve: ScoreCurve, at: int, *, score: float | None = None) -> OperatingPoint:
    return OperatingPoint(
        score=float(curve.score[at]) if score is None else score,
        precision=float(curve.precision[at]),
        recall=float(curve.recall[at]),
        f1=float(curve.f1[at]),
    )


def _errors(diagnosis: Diagnosis) -> ErrorDetails:
    at, costs = diagnosis.outcomes, diagnosis.error_costs
    return ErrorDetails(
        score=at.score,
        hits=int(at.hit.sum()),
        false_alarms={
            cause: int(np.count_nonzero(at.false_alarm_cause == i))
            for i, cause in enumerate(FALSE_ALARM_CAUSES)
        },
        misses={
            cause: int(np.count_nonzero(at.miss_cause == i)) for i, cause in enumerate(MISS_CAUSES)
        },
        ap50_gains=None if costs.ap50 is None else dict(costs.ap50),
        ap_gains=dict(costs.ap),
    )


def _calibration(found: Reliability) -> Calibration:
    filled = found.detections > 0
    distance = np.abs(found.mean_score - found.hit_share)[filled]
    weight = found.detections[filled]
    return Calibration(
        bins=tuple(
            CalibrationBin(
                low=float(found.edges[i]),
                high=float(found.edges[i + 1]),
                detections=int(found.detections[i]),
                mean_score=float(found.mean_score[i]) if filled[i] else None,
                hit_share=float(found.hit_share[i]) if filled[i] else None,
            )
            for i in range(len(found.detections))
        ),
        expected_error=float(np.average(distance, weights=weight)) if weight.size else None,
    )

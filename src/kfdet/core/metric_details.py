"""What metrics.json says beyond the COCO statistics: the diagnosis as numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kfdet.core.coco import IOU_THRESHOLDS, RECALL_POINTS, Bool, Evaluation, Float64, Int64
from kfdet.core.diagnosis import Diagnosis
from kfdet.core.error_analysis import FALSE_ALARM_CAUSES, MISS_CAUSES, Reliability, ScoreCurve
from kfdet.core.evidence import Evidence
from kfdet.core.weighted import mean_over_classes, weighted_metric
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
    Slice,
)

_SCORES = tuple(i / 20 for i in range(21))
_SIZES_PX2 = (0.0, 16.0**2, 32.0**2, 96.0**2, 256.0**2, np.inf)
_SIZE_NAMES = (
    "below 16 px", "16 to 32 px", "32 to 96 px", "96 to 256 px", "256 px and more",
)  # fmt: skip
_RATIOS = (0.0, 1 / 3, 2 / 3, 1.5, 3.0, np.inf)
_RATIO_NAMES = (
    "below 1:3", "1:3 to 2:3", "2:3 to 3:2", "3:2 to 3:1", "3:1 and wider",
)  # fmt: skip
_CROWDING = (1.0, 2.0, 5.0, 10.0, 20.0, np.inf)
_CROWDING_NAMES = ("1", "2 to 4", "5 to 9", "10 to 19", "20 and more")


def metric_details(diagnosis: Diagnosis, evaluation: Evaluation, evidence: Evidence) -> Details:
    """Returns the diagnosis as numbers.

    Args:
        diagnosis: Of the same data.
        evaluation: Of the same data.
        evidence: Of the same data.
    """
    by_class = evaluation.precision[:, :, :, 0, -1]
    truth = diagnosis.data.ground_truth
    return Details(
        operating_score=diagnosis.operating_score,
        ap_by_iou=_ap_by_iou(by_class),
        score=_score_details(diagnosis.curve, objects=int((~truth.is_crowd).sum())),
        classes=tuple(
            ClassDetails(
                id=label.id,
                name=label.name,
                ap_by_iou=_ap_by_iou(by_class[:, :, k : k + 1]),
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
        slices=(*_box_slices(diagnosis), *_image_slices(diagnosis, evidence)),
    )


def _ap_by_iou(precision: Float64) -> tuple[ApAtIou, ...]:
    """Args:
    precision: float64[T, R, K], NaN where there is no ground truth.
    """
    answer = []
    for t, iou in enumerate(IOU_THRESHOLDS):
        defined = precision[t][~np.isnan(precision[t])]
        answer.append(
            ApAtIou(iou=round(iou, 2), ap=float(defined.mean()) if defined.size else None)
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
        precision_at_recall=_envelope(curve.precision, curve.recall) if objects else None,
        recall_at_precision=_envelope(curve.recall, curve.precision) if objects else None,
    )


def _envelope(values: Float64, over: Float64) -> tuple[float, ...]:
    """Returns the largest value that goes with at least 0, 0.01 ... 1 of the other, 0 where none does."""
    order = np.argsort(over, kind="stable")
    best = np.append(np.maximum.accumulate(values[order][::-1])[::-1], 0.0)
    places = np.searchsorted(over[order], RECALL_POINTS, side="left")
    return tuple(best[places].tolist())


def _point(curve: ScoreCurve, at: int, *, score: float | None = None) -> OperatingPoint:
    return OperatingPoint(
        score=float(curve.score[at]) if score is None else score,
        precision=float(curve.precision[at]),
        recall=float(curve.recall[at]),
        f1=float(curve.f1[at]),
    )


def _errors(diagnosis: Diagnosis) -> ErrorDetails:
    at = diagnosis.outcomes
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
        ap50_gains=dict(diagnosis.error_gains),
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


def _box_slices(diagnosis: Diagnosis) -> Iterator[Slice]:
    truth = diagnosis.data.ground_truth
    sides = truth.boxes_xyxy_px[:, 2:] - truth.boxes_xyxy_px[:, :2]
    ratio = np.divide(sides[:, 0], sides[:, 1], out=np.ones(len(truth)), where=sides[:, 1] > 0)
    parts = (
        ("box_size", _SIZE_NAMES, _bins(truth.area, _SIZES_PX2)),
        ("box_aspect_ratio", _RATIO_NAMES, _bins(ratio, _RATIOS)),
    )
    for by, names, place in parts:
        for i, name in enumerate(names):
            mine = (place == i) & ~truth.is_crowd
            yield _slice(
                diagnosis, mine, by=by, name=name, images=len(np.unique(truth.image_id[mine]))
            )


def _image_slices(diagnosis: Diagnosis, evidence: Evidence) -> Iterator[Slice]:
    truth = diagnosis.data.ground_truth
    objects = np.bincount(evidence.object_image, minlength=evidence.images)
    place = _bins(objects.astype(np.float64), _CROWDING)
    weights = (place[:, None] == np.arange(len(_CROWDING_NAMES))).astype(np.float64)
    class_ids = [label.id for label in diagnosis.label_map.classes]
    ap, ap50 = (
        mean_over_classes(weighted_metric(evidence, weights, metric=metric, class_ids=class_ids))
        for metric in ("ap", "ap50")
    )
    row = np.searchsorted(diagnosis.data.images.image_id, truth.image_id)
    for i, name in enumerate(_CROWDING_NAMES):
        mine = (place[row] == i) & ~truth.is_crowd
        part = _slice(
            diagnosis, mine, by="objects_in_image", name=name, images=int(weights[:, i].sum())
        )
        yield part.model_copy(update={"ap": _or_none(ap[i]), "ap50": _or_none(ap50[i])})


def _slice(diagnosis: Diagnosis, mine: Bool, *, by: str, name: str, images: int) -> Slice:
    boxes = int(np.count_nonzero(mine))
    found = boxes - int(np.count_nonzero(diagnosis.outcomes.miss & mine))
    return Slice.model_validate(
        {"by": by, "name": name, "images": images, "boxes": boxes,
         "recall": found / boxes if boxes else None}
    )  # fmt: skip


def _bins(values: Float64, edges: tuple[float, ...]) -> Int64:
    """Returns the bin of each value, -1 below the first edge."""
    place: Int64 = np.searchsorted(np.array(edges), values, side="right") - 1
    return place


def _or_none(value: float) -> float | None:
    # A sum of shares may pass 1 by its last bit.
    return None if np.isnan(value) else min(1.0, float(value))

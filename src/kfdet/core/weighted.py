"""Metrics of images that count more than once, or not at all: what a resample of a set comes to.

A resample changes no match and no order of scores, only how often each image counts; so matching and
sorting are done once, and a metric is a weighted cumulative sum. Each column of weights is answered by
itself, to the bit, whatever others are asked for beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kfdet.core.coco import RECALL_POINTS, Bool, Float64, Int64, Measure, iou_index, measure_of
from kfdet.core.evidence import Evidence, bit
from kfdet.core.ordering import descending
from kfdet.schema.gate_policy import PolicyMetric
from kfdet.schema.metrics import MetricName, is_statistic

_POINTS = np.array(RECALL_POINTS)
_FEW_COLUMNS = 16
_HIT_IOU = 0.5
_COLUMNS_AT_ONCE = 128
_CALIBRATION_BINS = 10


def mean_over_classes(by_class: Float64) -> Float64:
    """Returns the mean over the classes that are defined, float64[S], of float64[K, S]."""
    defined = ~np.isnan(by_class)
    count = defined.sum(axis=0)
    total = np.where(defined, by_class, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def weighted_metric(
    evidence: Evidence, weights: Float64, *, metric: MetricName, class_ids: Sequence[int]
) -> Float64:
    """Returns a metric of each class with images counted more than once, or not at all.

    Args:
        evidence: The matched detections.
        weights: float64[I, S], how often each image counts, whole numbers.
        metric: One of the COCO statistics.
        class_ids: K classes.

    Returns:
        float64[K, S]; NaN where the weights leave a class without objects. With weights of one it
        is COCO's number. Each column depends on its own weights alone, to the bit.
    """
    measure = measure_of(metric, evidence.settings)
    if measure is None:
        return np.full((len(class_ids), weights.shape[1]), np.nan)
    return _each_class(
        evidence, weights, class_ids=class_ids, area=measure.area, ious=_places(measure, evidence),
        most=measure.count if measure.is_recall else None,
    )  # fmt: skip


def _places(measure: Measure, evidence: Evidence) -> range:
    """Returns the places of the IoU thresholds that a statistic looks at."""
    return range(len(evidence.settings.iou_thresholds))[measure.ious]


def _each_class(
    evidence: Evidence,
    weights: Float64,
    *,
    class_ids: Sequence[int],
    area: int,
    ious: Sequence[int],
    most: int | None,
) -> Float64:
    """Returns AP, or the mean recall with at most so many detections, of each class."""
    answer = np.full((len(class_ids), weights.shape[1]), np.nan)
    in_area = bit(evidence.object_areas, area)
    order = np.argsort(-evidence.score, kind="stable")
    order = order[np.argsort(evidence.class_id[order], kind="stable")]
    classes = evidence.class_id[order]
    for k, class_id in enumerate(class_ids):
        objects = evidence.object_image[in_area & (evidence.object_class == class_id)]
        total = _counted(objects, weights)
        begin, end = np.searchsorted(classes, [class_id, class_id + 1])
        mine = order[begin:end]
        if most is not None:
            values = _mean_recall(evidence, mine, weights, total, area=area, most=most)
        else:
            values = _mean_area(evidence, mine, weights, total, area=area, ious=ious)
        answer[k] = np.where(total > 0, values, np.nan)
    return answer


def curve_ends(
    evidence: Evidence,
    inside: Bool,
    *,
    metric: PolicyMetric,
    at: float | None,
    class_ids: Sequence[int],
) -> tuple[Int64, Float64]:
    """Returns where the curves end whose areas an AP is the mean of: N classes times IoUs.

    Args:
        evidence: The matched detections.
        inside: bool[I], the images that count.
        metric: Any; what is no AP has no curves.
        at: The IoU that `ap_at_iou` is read at.
        class_ids: The classes; those without objects are left out.

    Returns:
        int64[N], hits in all, and float64[N], the precision at the last of them.
    """
    ious: Sequence[int] = ()
    area = 0
    if metric == "ap_at_iou" and at is not None:
        t = iou_index(evidence.settings, at)
        ious = () if t is None else (t,)
    elif is_statistic(metric) and (measure := measure_of(metric, evidence.settings)):
        area, ious = measure.area, () if measure.is_recall else _places(measure, evidence)
    present = bit(evidence.object_areas, area) & inside[evidence.object_image]
    order = np.argsort(-evidence.score, kind="stable")
    order = order[inside[evidence.image[order]]]
    ends = []
    for class_id in sorted(set(class_ids) & set(evidence.object_class[present].tolist())):
        mine = order[evidence.class_id[order] == class_id]
        for t in ious:
            hit = np.flatnonzero(bit(evidence.hits[mine, area], t))
            kept = ~bit(evidence.left_out[mine[: hit[-1] + 1 if hit.size else 0], area], t)
            ends.append((hit.size, hit.size / max(int(kept.sum()), 1)))
    hits, precision = zip(*ends, strict=True) if ends else ((), ())
    return np.array(hits, np.int64), np.array(precision, np.float64)


def _counted(rows: Int64, weights: Float64) -> Float64:
    """Returns how often boxes count in each resample, given the rows of their images."""
    boxes = np.bincount(rows, minlength=len(weights)).astype(np.float64)
    held = np.flatnonzero(boxes)
    counted: Float64 = boxes[held] @ weights[held]
    return counted


def _mean_recall(
    evidence: Evidence, rows: Int64, weights: Float64, total: Float64, *, area: int, most: int
) -> Float64:
    kept = rows[evidence.rank[rows] < most]
    found = np.zeros(weights.shape[1])
    ious = len(evidence.settings.iou_thresholds)
    for t in range(ious):
        found += _counted(evidence.image[kept[bit(evidence.hits[kept, area], t)]], weights)
    recall: Float64 = found / np.maximum(total, 1) / ious
    return recall


def _mean_area(
    evidence: Evidence,
    rows: Int64,
    weights: Float64,
    total: Float64,
    *,
    area: int,
    ious: Sequence[int],
) -> Float64:
    """Returns the area below the interpolated curve, mean over IoUs, float64[S].

    Precision is looked at where a detection hits: between two hits it only falls, so that the
    envelope is found there. What lies between is one cumulative sum that all IoUs share; what one
    of them leaves out, on crowds, is taken off again.

    Args:
        evidence: The matched detections.
        rows: int64[N], the detections of a class, the highest score first.
        weights: float64[I, S].
        total: float64[S], weight of the class' objects.
        area: Index into the area names of the settings.
        ious: Indices into the IoU thresholds of the settings.
    """
    hits, out = evidence.hits[rows, area], evidence.left_out[rows, area]
    everywhere = np.uint16(sum(1 << t for t in ious))
    kept = np.flatnonzero((out & everywhere) != everywhere)
    images, hits, out = evidence.image[rows[kept]], hits[kept], out[kept]
    stops = np.flatnonzero(hits & everywhere)
    kept_so_far = _running(images, stops, weights)
    summed = np.zeros(weights.shape[1])
    for t in ious:
        hit = np.flatnonzero(bit(hits, t))
        if hit.size == 0:
            continue
        kept_at = kept_so_far[np.searchsorted(stops, hit)]
        dropped = np.flatnonzero(bit(out, t))
        if dropped.size:
            before = np.searchsorted(dropped, hit) - 1
            later = before >= 0
            kept_at[later] -= np.cumsum(weights[images[dropped]], axis=0)[before[later]]
        summed += _area(_running(images[hit], np.arange(hit.size), weights), kept_at, total)
    return summed / len(ious)


def _running(images: Int64, stops: Int64, weights: Float64) -> Float64:
    """Returns the cumulative weight of detections at some of them, float64[len(stops), S]."""
    if weights.shape[1] <= _FEW_COLUMNS:
        summed: Float64 = np.cumsum(weights[images], axis=0)[stops]
        return summed
    # Row by row: the sums of many resamples would fill the memory many times over.
    answer = np.empty((stops.size, weights.shape[1]))
    total = np.zeros(weights.shape[1])
    begin = 0
    for i, stop in enumerate(stops.tolist()):
        for image in images[begin : stop + 1].tolist():
            total += weights[image]
        answer[i] = total
        begin = stop + 1
    return answer


def _area(hits: Float64, kept: Float64, total: Float64) -> Float64:
    """Args:
    hits, kept: float64[N, S], cumulative weights at each hit.
    total: float64[S], weight of all objects.
    """
    precision = np.divide(hits, kept, out=np.zeros_like(hits), where=kept > 0)
    for i in range(len(precision) - 2, -1, -1):
        np.maximum(precision[i], precision[i + 1], out=precision[i])
    recall = hits / np.maximum(total, 1)
    # The recall points up to each hit: the nearest one is guessed, then held against the table.
    reached = (recall * 100 + 1e-9).astype(np.int64)
    reached += _POINTS[reached] <= recall
    reached[1:] -= reached[:-1].copy()
    area: Float64 = (precision * reached).sum(axis=0) / _POINTS.size
    return area


def weighted_ap_at_iou(
    evidence: Evidence, weights: Float64, *, iou: float, class_ids: Sequence[int]
) -> Float64:
    """Returns AP at one overlap, as `weighted_metric` does; NaN where it is not measured there."""
    t = iou_index(evidence.settings, iou)
    if t is None:
        return np.full((len(class_ids), weights.shape[1]), np.nan)
    return _each_class(evidence, weights, class_ids=class_ids, area=0, ious=(t,), most=None)


def weighted_at_score(
    evidence: Evidence,
    weights: Float64,
    *,
    metric: PolicyMetric,
    at: float | None,
    score: float | None = None,
    class_ids: Sequence[int],
) -> Float64:
    """Returns a metric of the curve along the score, at IoU 0.5, float64[S].

    Args:
        evidence: The matched detections.
        weights: float64[I, S], how often each image counts, whole numbers.
        metric: precision, recall or f1, at the score of the highest F1; precision_at_recall,
            recall_at_precision, or calibration_error.
        at: The recall or the precision that it is read at.
        score: That precision, recall and f1 are taken at in place of that of the highest F1.
        class_ids: The classes, taken together.

    Returns:
        NaN where the weights leave no object; for calibration_error, no detection.
    """
    rows = np.flatnonzero(np.isin(evidence.class_id, class_ids))
    half = iou_index(evidence.settings, _HIT_IOU)
    if half is None:
        return np.full(weights.shape[1], np.nan)
    rows = rows[~bit(evidence.left_out[rows, 0], half)]
    hit = bit(evidence.hits[rows, 0], half)
    if metric == "calibration_error":
        return _calibration_error(evidence, rows, hit, weights)
    order = descending(evidence.score[rows])
    rows, hit = rows[order], hit[order]
    objects = bit(evidence.object_areas, 0) & np.isin(evidence.object_class, class_ids)
    total = _counted(evidence.object_image[objects], weights)
    if score is not None:
        kept_rows = evidence.score[rows] >= score
        kept = _counted(evidence.image[rows[kept_rows]], weights)
        hits = _counted(evidence.image[rows[kept_rows & hit]], weights)
        return _at_one_score(hits, kept, total, metric=metric)
    answer = np.full(weights.shape[1], np.nan)
    for begin in range(0, weights.shape[1], _COLUMNS_AT_ONCE):
        block = slice(begin, begin + _COLUMNS_AT_ONCE)
        hits, kept = _along_the_score(evidence, rows, hit, np.ascontiguousarray(weights[:, block]))
        answer[block] = _read_off(hits, kept, total[block], metric=metric, at=at)
    return np.where(total > 0, answer, np.nan)


def _at_one_score(hits: Float64, kept: Float64, total: Float64, *, metric: PolicyMetric) -> Float64:
    """Args:
    hits, kept, total: float64[S], weights of hits, of detections and of objects.
    """
    part, whole = {
        "precision": (hits, kept), "recall": (hits, total), "f1": (2 * hits, kept + total),
    }[metric]  # fmt: skip
    answer: Float64 = np.divide(part, whole, out=np.full(total.size, np.nan), where=whole > 0)
    return np.where(total > 0, answer, np.nan)


def _along_the_score(
    evidence: Evidence, rows: Int64, hit: Bool, weights: Float64
) -> tuple[Float64, Float64]:
    """Returns the weights of hits and of detections at or above each score that some hit has."""
    score, images = evidence.score[rows], evidence.image[rows]
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True)[: score.size])
    hits_so_far = np.cumsum(hit)[ends] if ends.size else np.zeros(0, np.int64)
    # A score without a hit only lowers precision.
    useful = np.diff(hits_so_far, prepend=0) > 0
    hits = _running(images[hit], hits_so_far[useful] - 1, weights)
    return hits, _running(images, ends[useful], weights)


def _read_off(
    hits: Float64, kept: Float64, total: Float64, *, metric: PolicyMetric, at: float | None
) -> Float64:
    """Args:
    hits, kept: float64[N, S], along the score.
    total: float64[S], weight of the objects.
    """
    if hits.shape[0] == 0:
        return np.zeros(total.size)
    precision = np.divide(hits, kept, out=np.zeros_like(hits), where=kept > 0)
    recall = hits / np.maximum(total, 1)
    found: Float64
    if metric == "precision_at_recall":
        found = np.where(recall >= at, precision, 0.0).max(axis=0)
    elif metric == "recall_at_precision":
        found = np.where(precision >= at, recall, 0.0).max(axis=0)
    else:
        f1 = 2 * hits / np.maximum(kept + total, 1)
        best = np.argmax(f1, axis=0)
        values = {"precision": precision, "recall": recall, "f1": f1}[metric]
        found = values[best, np.arange(best.size)]
    return found


def _calibration_error(evidence: Evidence, rows: Int64, hit: Bool, weights: Float64) -> Float64:
    """Source: expected calibration error, Guo et al., ICML 2017; ten ranges of equal width."""
    score = evidence.score[rows].astype(np.float64)
    place = np.minimum((score * _CALIBRATION_BINS).astype(np.int64), _CALIBRATION_BINS - 1)
    gaps, count = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    for b in range(_CALIBRATION_BINS):
        mine = place == b
        images = evidence.image[rows[mine]]
        gap = np.bincount(images, weights=score[mine] - hit[mine], minlength=evidence.images)
        held = np.flatnonzero(np.bincount(images, minlength=evidence.images))
        # Row by row: a matrix product of fractions would depend on how many columns there are.
        summed = np.zeros(weights.shape[1])
        for image in held.tolist():
            summed += gap[image] * weights[image]
        gaps += np.abs(summed)
        count += _counted(images, weights)
    error: Float64 = np.divide(gaps, count, out=np.full(count.size, np.nan), where=count > 0)
    return error

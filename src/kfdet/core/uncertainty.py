"""How far a metric would move on other images of the same kind: a bootstrap over images.

A resample draws as many images as there are, with replacement. It changes no match and no order of
scores, only how often each image counts; so matching and sorting are done once, and a resample is a
weighted cumulative sum. Of two models on the same images both are resampled alike, and only the
difference is looked at: most of what makes one image harder than another cancels.

Intervals are centred at the measured value and take their width from the spread of the resamples. An
image that is drawn twice ties with itself, which lifts AP: the middle of the resamples lies above the
measured value, and percentiles of them would be too high. `benchmarks/bootstrap_coverage.py` shows
how often the intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import AREAS, IOU_THRESHOLDS, MAX_DETECTIONS, RECALL_POINTS, Float64, Int64
from kfdet.core.evidence import Evidence, bit
from kfdet.schema.dataset import LabelMap
from kfdet.schema.metrics import MetricName

_POINTS = np.array(RECALL_POINTS)
_FEW_COLUMNS = 16
_ALL_IOUS = tuple(range(len(IOU_THRESHOLDS)))


@dataclass(frozen=True, kw_only=True)
class StandardErrors:
    """Standard errors of AP, in [0, 1]; None where AP is undefined.

    An interval of two standard errors to either side covers about 95 %.

    Attributes:
        overall: Of the mean over the classes.
        per_class: In the order of the label map.
        resamples: How many draws they rest on.
    """

    overall: float | None
    per_class: tuple[float | None, ...]
    resamples: int


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a number is about.

    Attributes:
        metric: One of the COCO statistics.
        class_id: Of this class alone; the mean over the classes when None.
    """

    metric: MetricName
    class_id: int | None = None


def standard_errors(
    evidence: Evidence, *, label_map: LabelMap, resamples: int = 100, seed: int = 0
) -> StandardErrors:
    """Estimates the standard errors of AP.

    Args:
        evidence: The matched detections.
        label_map: The classes.
        resamples: Draws, at least 2.
        seed: Of the draws.
    """
    class_ids = [label.id for label in label_map.classes]
    weights = draw_weights(evidence.images, resamples=resamples, seed=seed)
    by_class = weighted_metric(evidence, weights, metric="ap", class_ids=class_ids)
    return StandardErrors(
        overall=_spread(mean_over_classes(by_class)),
        per_class=tuple(_spread(of_class) for of_class in by_class),
        resamples=resamples,
    )


def spreads(
    subjects: Sequence[Subject],
    evidence: Evidence,
    rival: Evidence | None = None,
    *,
    class_ids: Sequence[int],
    resamples: int,
    seed: int,
) -> dict[Subject, float | None]:
    """Returns the standard error of each number, or of its difference from a rival's.

    Args:
        subjects: The numbers.
        evidence: The model's matched detections.
        rival: Another model's, on the same images in the same order.
        class_ids: The classes that means are taken over.
        resamples: Draws, at least 2.
        seed: Of the draws: equal seeds give equal bits.

    Returns:
        None where the number is undefined in all resamples but one.
    """
    weights = draw_weights(evidence.images, resamples=resamples, seed=seed)
    answer: dict[Subject, float | None] = {}
    for metric in dict.fromkeys(subject.metric for subject in subjects):
        mine = [subject for subject in subjects if subject.metric == metric]
        wanted = (
            class_ids
            if any(subject.class_id is None for subject in mine)
            else [subject.class_id for subject in mine if subject.class_id is not None]
        )
        values = weighted_metric(evidence, weights, metric=metric, class_ids=wanted)
        theirs = None
        if rival is not None:
            theirs = weighted_metric(rival, weights, metric=metric, class_ids=wanted)
        for subject in mine:
            drawn = _of(subject, values, wanted)
            if theirs is not None:
                drawn = drawn - _of(subject, theirs, wanted)
            answer[subject] = _spread(drawn)
    return answer


def draw_weights(images: int, *, resamples: int, seed: int) -> Float64:
    """Returns how often each image is drawn, float64[I, S]; each column adds up to I."""
    if images == 0:
        return np.zeros((0, resamples))
    draws = np.random.default_rng(seed).multinomial(
        images, np.full(images, 1 / images), size=resamples
    )
    return np.ascontiguousarray(draws.T, np.float64)


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
    area, ious, most = _definition(metric)
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
        if metric.startswith("ar"):
            values = _mean_recall(evidence, mine, weights, total, area=area, most=most)
        else:
            values = _mean_area(evidence, mine, weights, total, area=area, ious=ious)
        answer[k] = np.where(total > 0, values, np.nan)
    return answer


def _definition(metric: MetricName) -> tuple[int, tuple[int, ...], int]:
    """Returns the area, the IoU thresholds and the most detections that a metric looks at."""
    suffix = metric.rpartition("_")[2]
    area = AREAS.index(suffix) if suffix in AREAS else 0
    if metric in ("ap50", "ap75"):
        return area, (0 if metric == "ap50" else 5,), MAX_DETECTIONS[-1]
    return area, _ALL_IOUS, int(suffix) if suffix.isdigit() else MAX_DETECTIONS[-1]


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
    for t in _ALL_IOUS:
        found += _counted(evidence.image[kept[bit(evidence.hits[kept, area], t)]], weights)
    recall: Float64 = found / np.maximum(total, 1) / len(_ALL_IOUS)
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
        area: Index into AREAS.
        ious: Indices into IOU_THRESHOLDS.
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


def _of(subject: Subject, values: Float64, class_ids: Sequence[int]) -> Float64:
    if subject.class_id is None:
        return mean_over_classes(values)
    row: Float64 = values[list(class_ids).index(subject.class_id)]
    return row


def mean_over_classes(by_class: Float64) -> Float64:
    """Returns the mean over the classes that are defined, float64[S], of float64[K, S]."""
    defined = ~np.isnan(by_class)
    count = defined.sum(axis=0)
    total = np.where(defined, by_class, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _spread(values: Float64) -> float | None:
    defined = values[~np.isnan(values)]
    return float(np.std(defined, ddof=1)) if defined.size > 1 else None

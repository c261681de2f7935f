"""How far AP would move on other images of the same kind: a bootstrap over images.

A resample draws as many images as there are, with replacement. It changes no match and no order of
scores, only how often each image counts; so matching and sorting are done once, and a resample is a
weighted cumulative sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import IOU_THRESHOLDS, RECALL_POINTS, EvaluationData, Float64, canonical
from kfdet.core.error_analysis import match
from kfdet.schema.dataset import LabelMap


@dataclass(frozen=True, kw_only=True)
class StandardErrors:
    """Standard errors of AP, in [0, 1]; None where AP is undefined.

    An interval of two standard errors to either side covers about 95 %. The spread is used and not
    the percentiles: on AP these are biased upwards.

    Attributes:
        overall: Of the mean over the classes.
        per_class: In the order of the label map.
        resamples: How many draws they rest on.
    """

    overall: float | None
    per_class: tuple[float | None, ...]
    resamples: int


def standard_errors(
    data: EvaluationData, *, label_map: LabelMap, resamples: int = 100, seed: int = 0
) -> StandardErrors:
    """Estimates the standard errors of AP.

    Args:
        data: Images, ground truth and detections.
        label_map: The classes.
        resamples: Draws, at least 2.
        seed: Of the draws.
    """
    data = canonical(data)
    images = len(data.images)
    if images == 0:
        return StandardErrors(
            overall=None, per_class=(None,) * len(label_map.classes), resamples=resamples
        )
    draws = np.random.default_rng(seed).multinomial(
        images, np.full(images, 1 / images), size=resamples
    )
    by_class = weighted_ap(data, draws.astype(np.float64), label_map=label_map)
    return StandardErrors(
        overall=_spread(_mean_over_classes(by_class)),
        per_class=tuple(_spread(of_class) for of_class in by_class.T),
        resamples=resamples,
    )


def weighted_ap(data: EvaluationData, weights: Float64, *, label_map: LabelMap) -> Float64:
    """Returns the AP of each class with images counted more than once, or not at all.

    Args:
        data: Images, ground truth and detections, in canonical order.
        weights: float64[S, I], how often each image counts.
        label_map: The K classes.

    Returns:
        float64[S, K]; NaN where the weights leave a class without objects. With weights of one it
        is COCO's AP.
    """
    truth, seen = data.ground_truth, data.detections
    truth_row = np.searchsorted(data.images.image_id, truth.image_id)
    seen_row = np.searchsorted(data.images.image_id, seen.image_id)
    matchings = [match(data, label_map=label_map, iou=iou) for iou in IOU_THRESHOLDS]
    answer = np.full((len(weights), len(label_map.classes)), np.nan)
    for k, label in enumerate(label_map.classes):
        objects = truth_row[(truth.class_id == label.id) & ~truth.is_crowd]
        total = weights @ np.bincount(objects, minlength=len(data.images)).astype(np.float64)
        mine = np.flatnonzero(seen.class_id == label.id)
        ranked = mine[np.argsort(-seen.score[mine], kind="stable")]
        counts = weights[:, seen_row[ranked]]
        by_iou = [
            _areas(counts * one.counted[ranked], one.truth_of[ranked] >= 0, total)
            for one in matchings
        ]
        answer[:, k] = np.where(total > 0, np.mean(by_iou, axis=0), np.nan)
    return answer


def _areas(counts: Float64, hit: np.ndarray, total: Float64) -> Float64:
    """Returns the area below the interpolated curve, float64[S].

    Args:
        counts: float64[S, N], weight of each detection, the highest score first.
        hit: bool[N].
        total: float64[S], weight of all objects.
    """
    if hit.size == 0:
        return np.zeros(len(counts))
    hits, kept = np.cumsum(counts * hit, axis=1), np.cumsum(counts, axis=1)
    precision = np.divide(hits, kept, out=np.zeros_like(hits), where=kept > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = hits / np.maximum(total, 1)[:, None]
    points = np.array(RECALL_POINTS)
    areas = np.zeros(len(counts))
    for i in range(len(counts)):
        at = np.searchsorted(recall[i], points, side="left")
        areas[i] = envelope[i, at[at < hit.size]].sum() / points.size
    return areas


def _mean_over_classes(by_class: Float64) -> Float64:
    defined = ~np.isnan(by_class)
    count = defined.sum(axis=1)
    total = np.where(defined, by_class, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _spread(values: Float64) -> float | None:
    defined = values[~np.isnan(values)]
    return float(np.std(defined, ddof=1)) if defined.size > 1 else None

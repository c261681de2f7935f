"""Anchors that fit the boxes better, among those that the configuration can say."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from kfdet.core.coco import Float32, Float64
from kfdet.core.experiment import anchor_shapes_px
from kfdet.core.feasibility.anchors import MATCH_IOU, anchors_total, best_overlaps
from kfdet.core.feasibility.objects import sides_wh
from kfdet.schema.detector_config import AnchorConfig, DetectorConfig
from kfdet.schema.feasibility import AnchorSuggestion

_SAMPLE = 1500
_FINE = 12
_SIZES = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_SCALES = (1, 2, 3)
_LOWEST_LEVEL, _HIGHEST_LEVEL = 2, 7
# What twice as many anchors must gain, in `matched` or in twice the mean overlap: they cost time.
_PRICE = 0.004
_WORTH_SAYING = 0.01
_RATIO_STEP = 0.05


def suggest(
    boxes_yxyx: Float32, detector: DetectorConfig, *, seed: int = 0
) -> AnchorSuggestion | None:
    """Searches ratios, scales, size and levels for the share of boxes with an anchor.

    A coarse search by shape alone, as if an anchor lay on each box's centre, leaves a few; these are
    measured with their anchors in place.

    Args:
        boxes_yxyx: float32[N, 4], training boxes in pixels of the input.
        detector: What is configured.
        seed: Of the sample, where there are many boxes.

    Returns:
        None where the configured anchors come within 0.01 of the best ones found.
    """
    boxes = boxes_yxyx[(sides_wh(boxes_yxyx) > 0).all(axis=1)]
    if not len(boxes):
        return None
    if len(boxes) > _SAMPLE:
        boxes = boxes[np.random.default_rng(seed).choice(len(boxes), _SAMPLE, replace=False)]
    shapes = sides_wh(boxes)
    candidates = list(_candidates(shapes, detector))
    coarse = [_value(_by_shape(shapes, one), one) for one in candidates]
    order = np.argsort(-np.array(coarse), kind="stable")[:_FINE]
    fine = [(candidates[i], best_overlaps(boxes, candidates[i])) for i in order.tolist()]
    present = best_overlaps(boxes, detector)
    best, overlaps = max(fine, key=lambda one: _value(one[1], one[0]))
    gain = _matched(overlaps) - _matched(present)
    if gain < _WORTH_SAYING or _value(overlaps, best) <= _value(present, detector):
        return None
    return AnchorSuggestion(
        anchors=best.anchors,
        min_level=best.min_level,
        max_level=best.max_level,
        anchors_total=anchors_total(best),
        matched=_matched(overlaps),
        mean_best_iou=float(overlaps.mean()),
        gain=gain,
    )


def typical_ratios(shapes_wh: Float64, *, count: int) -> tuple[float, ...]:
    """Returns the ratios width / height around which the boxes gather.

    Args:
        shapes_wh: float64[N, 2].
        count: Of ratios; fewer are returned where the boxes have fewer.

    Source: Lloyd's k-means on the logarithms, begun at their quantiles.
    """
    logs = np.log(shapes_wh[:, 0] / shapes_wh[:, 1])
    centres = np.quantile(logs, (np.arange(count) + 0.5) / count)
    for _ in range(20):
        nearest = np.abs(logs[:, None] - centres).argmin(axis=1)
        centres = np.array(
            [
                logs[nearest == k].mean() if (nearest == k).any() else c
                for k, c in enumerate(centres)
            ]
        )
    ratios = {max(_RATIO_STEP, round(math.exp(c) / _RATIO_STEP) * _RATIO_STEP) for c in centres}
    return tuple(round(ratio, 2) for ratio in sorted(ratios))


def _candidates(shapes: Float64, detector: DetectorConfig) -> Iterator[DetectorConfig]:
    ratio_sets = {
        detector.anchors.aspect_ratios, (1.0,), (0.5, 1.0, 2.0),
        *(typical_ratios(shapes, count=count) for count in (1, 2, 3)),
    }  # fmt: skip
    divides = [
        level
        for level in range(_LOWEST_LEVEL, _HIGHEST_LEVEL + 1)
        if all(side % 2**level == 0 for side in detector.input_size)
    ]
    lowest = [detector.min_level] + [
        level for level in (detector.min_level - 1,) if level >= _LOWEST_LEVEL
    ]
    highest = [
        level for level in divides if abs(level - detector.max_level) <= 1 and level >= lowest[0]
    ]
    levels = list(itertools.product(lowest, highest))
    for ratios, scales, size, (low, high) in itertools.product(
        sorted(ratio_sets), _SCALES, _SIZES, levels
    ):
        yield detector.model_copy(
            update={
                "anchors": AnchorConfig(aspect_ratios=ratios, num_scales=scales, size=size),
                "min_level": low,
                "max_level": high,
            }
        )


def _by_shape(shapes_wh: Float64, detector: DetectorConfig) -> Float64:
    """Returns the overlap of each box with its best anchor if that lay on its centre, float64[N]."""
    anchors = anchor_shapes_px(detector)
    inside = np.minimum(shapes_wh[:, None, 0], anchors[:, 0])
    inside *= np.minimum(shapes_wh[:, None, 1], anchors[:, 1])
    whole = shapes_wh.prod(axis=1)[:, None] + anchors.prod(axis=1) - inside
    answer: Float64 = (inside / whole).max(axis=1)
    return answer


def _matched(overlaps: Float64) -> float:
    return float((overlaps >= MATCH_IOU).mean())


def _value(overlaps: Float64, detector: DetectorConfig) -> float:
    """Returns what anchors are worth: boxes that have one, how closely, and the price of many."""
    close = float(overlaps.mean())
    return _matched(overlaps) + close / 2 - _PRICE * math.log2(anchors_total(detector))

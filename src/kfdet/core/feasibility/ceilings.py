"""Bounds of the COCO statistics that no detector exceeds, whatever it learns.

Three things bound recall before there is a model:

- a box without area, or beyond the border of its image, overlaps no box that a detector can answer;
- suppression lets no two answers of a class overlap by more than its threshold n. One minus IoU is a
  metric, so that answers which overlap their objects by t or more must overlap one another by more
  than n where the objects' own overlap is above n + 2 (1 - t): of such a pair one is lost;
- no more detections are kept of an image than `nms.max_detections`, and COCO counts 100 of a class.

With recall r at a threshold, average precision is at most the share of the 101 recall points that r
reaches: what is found may be found without a false alarm.

Source of the metric: Kosub, A note on the triangle inequality for the Jaccard distance, 2019.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import (
    RECALL_POINTS,
    Bool,
    Float64,
    Int64,
    Measure,
    coco_statistics,
)
from kfdet.core.feasibility.independent import components, least_removed
from kfdet.core.feasibility.objects import SplitObjects, in_areas
from kfdet.core.feasibility.overlaps import Overlaps, paired_iou
from kfdet.schema.dataset import LabelMap
from kfdet.schema.detector_config import NmsConfig
from kfdet.schema.metrics import COCO, CocoSettings, CocoStatistics

_SLACK = 1e-6
_ROUNDING = 1e-12
_F1_IOU = 0.5


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """K classes in the order of the label map, T thresholds of IoU.

    Attributes:
        overall: Of the means over the classes.
        per_class: Of each class.
        ap: float64[T, K + 1], average precision at each IoU, all classes together last; NaN where
            there is no ground truth.
        recall_50: float64[K + 1], share of the objects that can be found at IoU 0.5, of all
            classes together last; NaN where there are none.
    """

    overall: CocoStatistics
    per_class: tuple[CocoStatistics, ...]
    ap: Float64
    recall_50: Float64


@dataclass(frozen=True, kw_only=True)
class _Findable:
    """How many boxes of an image and a class can be found at once.

    Attributes:
        image: int64[N], of each group of boxes of one image and class.
        kind: int64[N], place of its class in the label map.
        boxes: int64[A, N], that count in each range of areas.
        found: int64[T, A, N], the most that can be found.
    """

    image: Int64
    kind: Int64
    boxes: Int64
    found: Int64


def bounds(
    objects: SplitObjects,
    overlaps: Overlaps,
    nms: NmsConfig,
    *,
    label_map: LabelMap,
    settings: CocoSettings = COCO,
) -> Bounds:
    """Returns what no detector exceeds on these images.

    Args:
        objects: Images and ground truth of the split.
        overlaps: Of the same objects.
        nms: Suppression, and the detections kept of an image.
        label_map: The K classes.
        settings: What the statistics are taken over.
    """
    look = functools.partial(_findable, objects, overlaps, nms, label_map=label_map)
    findable = look(ious=settings.iou_thresholds, settings=settings)
    classes, most = len(label_map.classes), nms.max_detections
    total = np.zeros((classes, len(settings.area_names)))
    np.add.at(total, findable.kind, findable.boxes.T.astype(np.float64))
    kept = [np.minimum(findable.found, min(limit, most)) for limit in settings.max_detections]
    recall = np.stack([_recall(one, findable, total) for one in kept])
    shared = np.stack([_mean_of_shared(one, findable, total, most=most) for one in kept])
    defined = total.T > 0
    by_class = np.where(defined[0], _precision(recall[-1, :, 0]), np.nan)
    together = _mean_precision(recall[-1, :, 0], shared[-1, :, 0], defined=defined[0])
    at_50 = look(ious=(_F1_IOU,), settings=settings)
    summarised = functools.partial(_statistics, settings=settings)
    return Bounds(
        ap=np.concatenate([by_class, together[:, None]], axis=1),
        recall_50=_recall_50(at_50, total, limit=settings.max_detections[-1], most=most),
        overall=summarised(recall, shared, defined=defined),
        per_class=tuple(
            summarised(recall[..., k : k + 1], recall[..., k], defined=defined[:, k : k + 1])
            for k in range(classes)
        ),
    )


def overlap_with_image(objects: SplitObjects) -> Float64:
    """Returns the IoU of each box with its part inside the image: the best that an answer can do."""
    boxes = objects.truth.boxes_xyxy_px
    size = np.stack([objects.images.width_px, objects.images.height_px], axis=1)
    inside = np.clip(boxes, 0.0, np.tile(size.astype(np.float64), (1, 2))[objects.row])
    return paired_iou(boxes, inside)


def _findable(
    objects: SplitObjects,
    overlaps: Overlaps,
    nms: NmsConfig,
    *,
    label_map: LabelMap,
    ious: Sequence[float],
    settings: CocoSettings,
) -> _Findable:
    ids = np.array([label.id for label in label_map.classes])
    kind = np.searchsorted(ids, objects.truth.class_id)
    groups, group = np.unique(objects.row * len(ids) + kind, return_inverse=True)
    group = group.reshape(-1)
    areas = in_areas(objects.truth, settings)
    reach = overlap_with_image(objects)
    boxes = np.stack([np.bincount(group[inside], minlength=groups.size) for inside in areas])
    found = np.empty((len(ious), len(areas), groups.size), np.int64)
    for t, iou in enumerate(ious):
        able = areas & (reach >= iou - _SLACK)
        for a in range(len(areas)):
            count = np.bincount(group[able[a]], minlength=groups.size)
            clashes = overlaps.above(nms.iou_threshold + 2 * (1 - iou) + _SLACK, among=able[a])
            found[t, a] = count - _removed(clashes, group, groups=groups.size)
    return _Findable(image=groups // len(ids), kind=groups % len(ids), boxes=boxes, found=found)


def _removed(clashes: Int64, group: Int64, *, groups: int) -> Int64:
    removed = np.zeros(groups, np.int64)
    for edges in components(clashes):
        removed[group[edges[0][0]]] += least_removed(edges)
    return removed


def _recall(kept: Int64, findable: _Findable, total: Float64) -> Float64:
    """Returns float64[T, A, K] of int64[T, A, N]; zero where there is no box."""
    classes = total.shape[0]
    summed = np.zeros((classes, *kept.shape[:2]))
    np.add.at(summed, findable.kind, np.moveaxis(kept, 2, 0).astype(np.float64))
    recall: Float64 = np.moveaxis(summed, 0, 2) / np.maximum(total.T, 1)
    return recall


def _mean_of_shared(kept: Int64, findable: _Findable, total: Float64, *, most: int) -> Float64:
    """Returns the largest mean recall over the classes when they share an image's detections.

    The mean is linear in what is kept, so that the rarest classes are kept first.

    Returns:
        float64[T, A]; zero where no class has a box.
    """
    answer = np.zeros(kept.shape[:2])
    for a in range(kept.shape[1]):
        defined = max(1, int(np.count_nonzero(total[:, a])))
        rarest_first = np.argsort(total[:, a], kind="stable")
        rank = np.argsort(rarest_first)
        order = np.lexsort((rank[findable.kind], findable.image))
        image = findable.image[order]
        starts = np.flatnonzero(np.append(True, image[1:] != image[:-1])) if image.size else image
        worth = 1 / np.maximum(total[findable.kind[order], a], 1)
        for t in range(kept.shape[0]):
            mine = kept[t, a, order]
            before = np.cumsum(mine) - mine
            if starts.size:
                lengths = np.diff(np.append(starts, image.size))
                before = before - np.repeat(before[starts], lengths)
            answer[t, a] = (np.clip(most - before, 0, mine) * worth).sum() / defined
    return answer


def _precision(recall: Float64) -> Float64:
    """Returns the average precision that a recall allows: the share of recall points it reaches."""
    points = np.array(RECALL_POINTS)
    reached = np.searchsorted(points, recall + _ROUNDING, side="right") / points.size
    return np.where(recall > 0, reached, 0.0)


def _mean_precision(recall: Float64, shared: Float64, *, defined: Bool) -> Float64:
    """Returns the bound of the mean average precision over the classes, float64[T].

    Args:
        recall: float64[T, K].
        shared: float64[T], bound of the mean recall.
        defined: bool[K].
    """
    if not defined.any():
        return np.full(shared.shape, np.nan)
    by_class = _precision(recall)[:, defined].mean(axis=1)
    points = len(RECALL_POINTS)
    bound: Float64 = np.minimum(by_class, (100 * shared + 1) / points + _ROUNDING)
    return bound


def _recall_50(findable: _Findable, total: Float64, *, limit: int, most: int) -> Float64:
    """Returns float64[K + 1], the last for all objects together."""
    kept = np.minimum(findable.found, min(limit, most))
    of_image = np.zeros(findable.image.max(initial=-1) + 1)
    np.add.at(of_image, findable.image, kept[0, 0].astype(np.float64))
    boxes = total[:, 0]
    every = np.minimum(of_image, most).sum() / boxes.sum() if boxes.sum() else np.nan
    by_class = _recall(kept, findable, total)[0, 0]
    return np.append(np.where(boxes > 0, by_class, np.nan), every)


def _statistics(
    recall: Float64, shared: Float64, *, defined: Bool, settings: CocoSettings
) -> CocoStatistics:
    """Args:
    recall: float64[M, T, A, K].
    shared: float64[M, T, A], bound of the mean recall.
    defined: bool[A, K]: the class has boxes in the range.
    settings: What M, T and A are.
    """

    def value(one: Measure) -> float | None:
        a = one.area
        if not defined[a].any():
            return None
        if not one.is_recall:
            bound = _mean_precision(
                recall[-1, one.ious, a], shared[-1, one.ious, a], defined=defined[a]
            )
            return float(bound.mean())
        m = settings.max_detections.index(one.count)
        by_class = recall[m, :, a][:, defined[a]].mean(axis=1)
        return float(np.minimum(by_class, shared[m, :, a] + _ROUNDING).mean())

    return coco_statistics(settings, value)

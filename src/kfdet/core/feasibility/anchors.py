"""How well anchors fit boxes: the best overlap of each, and which of them training ever learns from.

Source: official/vision/ops/anchor.py and box_matcher.py; an anchor is trained on the box that it
overlaps most where that is 0.5 or more, and each box's best anchor in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import AREAS, Bool, Float32, Float64, Int64
from kfdet.core.experiment import anchor_shapes_px
from kfdet.core.feasibility.objects import SplitObjects, in_areas, input_boxes, sides_wh
from kfdet.schema.dataset import LabelMap
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.feasibility import AnchorRecall, SizeRange

MATCH_IOU = 0.5
_ROWS_AT_A_TIME = 20_000
_SIZES: tuple[SizeRange, ...] = ("all", "small", "medium", "large")
assert _SIZES == AREAS


@dataclass(frozen=True, kw_only=True)
class BoxFit:
    """G boxes of the training split.

    Attributes:
        looked_at: bool[G], trained on: no crowd, with an area after the resize, and within
            `max_instances` of its image.
        best_iou: float64[G], overlap with the best anchor; zero for the others.
        examined: bool[G], of the images that `trained` was found out for.
        trained: bool[G], has at least one anchor that learns it.
    """

    looked_at: Bool
    best_iou: Float64
    examined: Bool
    trained: Bool


def anchor_boxes(detector: DetectorConfig) -> Float32:
    """Returns every anchor of an image in Model Garden's order, float32[A, 4].

    Returns:
        [ymin, xmin, ymax, xmax] in pixels of the input; they may reach beyond it.
    """
    levels = []
    height, width = detector.input_size
    for level, shapes in _levels(detector):
        stride = 2**level
        y = np.arange(stride / 2, height, stride, np.float32)
        x = np.arange(stride / 2, width, stride, np.float32)
        centres = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)[:, :, None, :]
        half = (shapes[:, ::-1] / 2).astype(np.float32)
        levels.append(np.concatenate([centres - half, centres + half], axis=-1).reshape(-1, 4))
    return np.concatenate(levels)


def best_overlaps(boxes_yxyx: Float32, detector: DetectorConfig) -> Float64:
    """Returns the IoU of each box with the anchor that it overlaps most, float64[N].

    Of the anchors of one shape, the one with the nearest centre overlaps most, in each direction
    by itself: one candidate a shape is enough.

    Args:
        boxes_yxyx: float32[N, 4], in pixels of the input.
        detector: Its anchors and input.
    """
    answer = np.zeros(len(boxes_yxyx))
    for begin in range(0, len(boxes_yxyx), _ROWS_AT_A_TIME):
        part = slice(begin, begin + _ROWS_AT_A_TIME)
        boxes = boxes_yxyx[part].astype(np.float64)
        for level, shapes in _levels(detector):
            inside = _overlap_with_nearest(boxes, shapes, detector, stride=2**level)
            whole = sides_wh(boxes).prod(axis=1)[:, None] + shapes.prod(axis=1) - inside
            np.maximum(answer[part], (inside / whole).max(axis=1), out=answer[part])
    return answer


def fit(objects: SplitObjects, detector: DetectorConfig, *, budget: float = 2e8) -> BoxFit:
    """Holds training boxes against anchors.

    Args:
        objects: Of the training split.
        detector: Its anchors, resize and `max_instances`.
        budget: Pairs of a box and an anchor that may be looked at to find out which boxes are
            trained; images beyond it are left out, evenly over the split.
    """
    boxes = input_boxes(objects, detector)
    looked_at = _looked_at(objects, boxes, most=detector.max_instances)
    best = np.where(looked_at, best_overlaps(boxes, detector), 0.0)
    anchors = anchor_boxes(detector)
    examined = np.zeros_like(looked_at)
    trained = np.zeros_like(looked_at)
    rows = np.flatnonzero(looked_at)
    images, starts = np.unique(objects.row[rows], return_index=True)
    groups = np.split(rows, starts[1:]) if images.size else []
    every = max(1, int(np.ceil(rows.size * len(anchors) / budget)))
    for group in groups[::every]:
        examined[group] = True
        trained[group] = learnt(boxes[group], anchors)
    return BoxFit(looked_at=looked_at, best_iou=best, examined=examined, trained=trained)


def learnt(boxes_yxyx: Float32, anchors_yxyx: Float32) -> Bool:
    """Returns bool[N]: which boxes of one image have an anchor that learns them.

    Args:
        boxes_yxyx: float32[N, 4], of one image.
        anchors_yxyx: float32[A, 4].
    """
    near = _near(boxes_yxyx, anchors_yxyx)
    if not near.any():
        return np.zeros(len(boxes_yxyx), np.bool_)
    iou = _iou_matrix(anchors_yxyx[near], boxes_yxyx)
    owner = np.where(iou.max(axis=1) >= MATCH_IOU, iou.argmax(axis=1), -1)
    best = iou.argmax(axis=0)
    # Of boxes that share their best anchor the first one gets it.
    for box in range(len(boxes_yxyx) - 1, -1, -1):
        if iou[best[box], box] > 0:
            owner[best[box]] = box
    answer = np.zeros(len(boxes_yxyx), np.bool_)
    answer[owner[owner >= 0]] = True
    return answer


def recall_rows(
    found: BoxFit, objects: SplitObjects, *, label_map: LabelMap
) -> Iterator[AnchorRecall]:
    """Yields how many boxes have their anchors: all together, then by class; by range of sizes."""
    areas = in_areas(objects.truth)
    kinds: list[tuple[str | None, Bool]] = [(None, found.looked_at)]
    kinds += [
        (label.name, found.looked_at & (objects.truth.class_id == label.id))
        for label in label_map.classes
    ]
    for name, mine in kinds:
        for size, inside in zip(_SIZES, areas, strict=True):
            chosen = mine & inside
            boxes = int(np.count_nonzero(chosen))
            seen = chosen & found.examined
            yield AnchorRecall(
                class_name=name,
                size=size,
                boxes=boxes,
                mean_best_iou=float(found.best_iou[chosen].mean()) if boxes else None,
                matched=float((found.best_iou[chosen] >= MATCH_IOU).mean()) if boxes else None,
                trained=float(found.trained[seen].mean()) if seen.any() else None,
            )


def anchors_total(detector: DetectorConfig) -> int:
    """Returns the number of anchors of an image."""
    height, width = detector.input_size
    return sum(
        (height // 2**level) * (width // 2**level) * len(shapes)
        for level, shapes in _levels(detector)
    )


def _levels(detector: DetectorConfig) -> Iterator[tuple[int, Float64]]:
    """Yields each level with its anchors' shapes, float64[S, 2], [width, height]."""
    count = detector.max_level - detector.min_level + 1
    shapes = anchor_shapes_px(detector).reshape(count, -1, 2)
    for index in range(count):
        yield detector.min_level + index, shapes[index]


def _overlap_with_nearest(
    boxes: Float64, shapes_wh: Float64, detector: DetectorConfig, *, stride: int
) -> Float64:
    """Returns the area shared with the nearest anchor of each shape, float64[N, S]."""
    shared = np.ones((len(boxes), len(shapes_wh)))
    for axis in (0, 1):
        low, high = boxes[:, axis], boxes[:, axis + 2]
        last = detector.input_size[axis] // stride - 1
        cell = np.clip(np.floor((low + high) / 2 / stride), 0, last)
        centre = ((cell + 0.5) * stride)[:, None]
        half = shapes_wh[:, 1 - axis] / 2
        ends = np.minimum(high[:, None], centre + half) - np.maximum(low[:, None], centre - half)
        shared *= np.maximum(ends, 0.0)
    return shared


def _looked_at(objects: SplitObjects, boxes: Float32, *, most: int) -> Bool:
    """Returns bool[G]: the boxes that training keeps of each image."""
    single = objects.counted
    before: Int64 = np.cumsum(single) - single
    first = np.searchsorted(objects.row, objects.row)
    place: Int64 = before - before[first] if len(single) else before
    kept: Bool = single & (place < most) & (sides_wh(boxes) > 0).all(axis=1)
    return kept


def _near(boxes: Float32, anchors: Float32) -> Bool:
    """Returns bool[A]: anchors that touch the rectangle around the boxes."""
    if not len(boxes):
        return np.zeros(len(anchors), np.bool_)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    near: Bool = (anchors[:, :2] < high).all(axis=1) & (anchors[:, 2:] > low).all(axis=1)
    return near


def _iou_matrix(anchors: Float32, boxes: Float32) -> Float32:
    """Returns float32[A, N], computed as the matcher does."""
    sides = [
        np.maximum(
            np.minimum(anchors[:, None, axis + 2], boxes[None, :, axis + 2])
            - np.maximum(anchors[:, None, axis], boxes[None, :, axis]),
            np.float32(0),
        )
        for axis in (0, 1)
    ]
    inside = sides[0] * sides[1]
    area_a = (anchors[:, 2] - anchors[:, 0]) * (anchors[:, 3] - anchors[:, 1])
    area_b = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    whole = area_a[:, None] + area_b - inside
    answer: Float32 = np.divide(inside, whole, out=np.zeros_like(inside), where=inside > 0)
    return answer

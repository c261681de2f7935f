"""The ground truth as a detector's answer: through decoding, resize and evaluation, and through suppression.

If the truth itself does not score 1, something before or behind the model is at fault; what it scores
after suppression and the limit of detections is what a perfect detector would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import (
    Bool,
    Detections,
    Engine,
    Evaluation,
    EvaluationData,
    Float32,
    Int64,
    evaluate,
)
from kfdet.core.feasibility.ceilings import overlap_with_image
from kfdet.core.feasibility.independent import keepable
from kfdet.core.feasibility.objects import SplitObjects, input_boxes, scales_yx
from kfdet.core.feasibility.overlaps import Overlaps
from kfdet.schema.dataset import LabelMap
from kfdet.schema.detector_config import DetectorConfig, NmsConfig
from kfdet.schema.metrics import COCO, CocoSettings
from kfdet.wording import plural

_FOUND_IOU = 0.5
_PERFECT = 1 - 1e-9


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What becomes of each box, G of them; a crowd box is none of these.

    Attributes:
        unfindable: bool[G], overlaps what lies inside the image by less than 0.5.
        suppressed: bool[G], a kept box of the class overlaps it.
        over_limit: bool[G], beyond the detections kept of its image.
        kept: bool[G].
    """

    unfindable: Bool
    suppressed: Bool
    over_limit: Bool
    kept: Bool


def oracle(
    objects: SplitObjects,
    detector: DetectorConfig,
    *,
    label_map: LabelMap,
    engine: Engine = "hotcoco",
    rows: Int64 | None = None,
    settings: CocoSettings = COCO,
) -> Evaluation:
    """Evaluates ground truth boxes as detections.

    They go to pixels of the model's input and back in float32, as a detector's answers do.

    Args:
        objects: Images and ground truth.
        detector: Its resize.
        label_map: The classes.
        engine: The COCO engine.
        rows: int64[N], the boxes that are answered; all that are no crowd when None.
        settings: What the statistics are taken over.
    """
    chosen = np.flatnonzero(objects.counted) if rows is None else rows
    truth = objects.truth
    detections = Detections(
        image_id=truth.image_id[chosen],
        class_id=truth.class_id[chosen],
        score=np.ones(chosen.size, np.float32),
        boxes_xyxy_px=answered_boxes(objects, detector)[chosen],
    )
    data = EvaluationData(images=objects.images, ground_truth=truth, detections=detections)
    return evaluate(data, label_map=label_map, engine=engine, settings=settings)


def answered_boxes(objects: SplitObjects, detector: DetectorConfig) -> Float32:
    """Returns the boxes after the way to the input's pixels and back.

    Returns:
        float32[G, 4], [xmin, ymin, xmax, ymax] in pixels of the image, inside it.
    """
    scale = np.tile(scales_yx(objects.images, detector), (1, 2))[objects.row]
    size = np.stack([objects.images.height_px, objects.images.width_px], axis=1)
    border = np.tile(size.astype(np.float32), (1, 2))[objects.row]
    back = np.clip(input_boxes(objects, detector) / scale, np.float32(0), border)
    answer: Float32 = back[:, [1, 0, 3, 2]]
    return answer


def kept_by_settings(objects: SplitObjects, overlaps: Overlaps, nms: NmsConfig) -> Kept:
    """Tells which boxes a detector keeps that answers the ground truth.

    Suppression is given the order of scores that loses the fewest boxes, and where there are too
    many for the limit the rarest classes are kept: no order of scores does notably better.

    Args:
        objects: Images and ground truth.
        overlaps: Of the same objects.
        nms: Suppression, which looks at each class by itself in every version, and the limit.
    """
    counted = objects.counted
    unfindable = counted & (overlap_with_image(objects) < _FOUND_IOU)
    # Version v2 suppresses at the threshold itself, the others above it.
    above = np.nextafter(nms.iou_threshold, 0) if nms.version == "v2" else nms.iou_threshold
    able = counted & ~unfindable
    standing = able & keepable(len(objects.truth), overlaps.above(float(above), among=able))
    kept = standing & _within_limit(objects, standing, most=nms.max_detections)
    return Kept(
        unfindable=unfindable, suppressed=able & ~standing, over_limit=standing & ~kept, kept=kept
    )


def reasons_below_one(
    evaluation: Evaluation,
    objects: SplitObjects,
    *,
    label_map: LabelMap,
    settings: CocoSettings = COCO,
) -> Iterator[str]:
    """Yields why the ground truth as detections does not score 1; nothing where it does."""
    if not objects.counted.any():
        yield "There is no ground truth box: every metric is undefined."
        return
    if evaluation.overall.ap is not None and evaluation.overall.ap >= _PERFECT:
        return
    reach = overlap_with_image(objects)
    none = int(np.count_nonzero(objects.counted & (reach == 0)))
    some = int(np.count_nonzero(objects.counted & (reach > 0) & (reach < 1 - 1e-6)))
    if none:
        yield f"{plural(none, 'box')} without area inside the image: no answer overlaps such a box."
    if some:
        yield f"{plural(some, 'box')} beyond the border of the image, where a detector's answers end."
    most = settings.max_detections[-1]
    crowded = _crowded(objects, most=most)
    if crowded:
        yield (
            f"{plural(crowded, 'box')} beyond the {most:,} of a class in an image that "
            "the evaluation counts."
        )
    if not (none or some or crowded):
        low = [
            f"{label.name} {statistics.ap:.4f}"
            for label, statistics in zip(label_map.classes, evaluation.per_class, strict=True)
            if statistics.ap is not None and statistics.ap < _PERFECT
        ]
        yield (
            f"Boxes of {', '.join(low)} do not survive the resize and float32: they are too small "
            "for their image."
        )


def _crowded(objects: SplitObjects, *, most: int) -> int:
    key = np.stack([objects.row, objects.truth.class_id], axis=1)[objects.counted]
    counts = np.unique(key, axis=0, return_counts=True)[1] if len(key) else np.zeros(0, np.int64)
    return int(np.maximum(counts - most, 0).sum())


def _within_limit(objects: SplitObjects, standing: Bool, *, most: int) -> Bool:
    """Returns bool[G]: the first `most` boxes of each image, the rarest classes first."""
    rows = np.flatnonzero(standing)
    label = objects.truth.class_id[rows]
    names, kind, count = np.unique(label, return_inverse=True, return_counts=True)
    rarity = count[kind.reshape(-1)] if names.size else kind
    order = rows[np.lexsort((label, rarity, objects.row[rows]))]
    image = objects.row[order]
    place = np.arange(order.size) - np.searchsorted(image, image)
    inside = np.zeros(standing.size, np.bool_)
    inside[order[place < most]] = True
    return inside

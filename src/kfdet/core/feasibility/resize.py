"""What the resize makes of images and boxes: padding, sizes, shapes, and boxes that all but vanish."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kfdet.core.coco import Bool, Float64, Int64
from kfdet.core.feasibility.objects import SplitObjects, input_boxes, scales_yx, sides_wh
from kfdet.schema.dataset import Histogram, LabelMap
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.feasibility import ClassSizes, ResizeFit

TINY_SIDE_PX = 4.0
_SIDE_EDGES = np.concatenate([[0.0], 2.0 ** np.arange(0, 11.01, 0.25)])
_RATIO_EDGES = np.concatenate([[0.0], 2.0 ** np.arange(-3, 3.01, 0.125), [64.0]])
# Shares of a pixel are no enlargement.
_SAME_SIZE = 0.01


def resize_fit(objects: SplitObjects, detector: DetectorConfig) -> ResizeFit:
    """Measures a split after the resize.

    Args:
        objects: Images and ground truth.
        detector: Its resize, and the limits on boxes an image.
    """
    scale = scales_yx(objects.images, detector).astype(np.float64)
    size = np.stack([objects.images.height_px, objects.images.width_px], axis=1)
    used = (size * scale).prod(axis=1) / (detector.input_size[0] * detector.input_size[1])
    factor = np.sqrt(scale.prod(axis=1))
    sides = sides_wh(input_boxes(objects, detector))[objects.counted]
    shaped = sides[(sides > 0).all(axis=1)]
    per_image = boxes_per_image(objects)
    return ResizeFit(
        split=objects.split,
        images=len(objects.images),
        boxes=len(sides),
        padding_share=float(np.clip(1 - used, 0, 1).mean()),
        enlarged=int(np.count_nonzero(factor > 1 + _SAME_SIZE)),
        reduced=int(np.count_nonzero(factor < 1 - _SAME_SIZE)),
        mean_scale=float(factor.mean()),
        tiny_side_px=TINY_SIDE_PX,
        tiny_boxes=int(np.count_nonzero(tiny(objects, detector))),
        box_side_px=histogram(np.sqrt(sides.prod(axis=1)), _SIDE_EDGES),
        width_by_height=histogram(shaped[:, 0] / shaped[:, 1], _RATIO_EDGES),
        height_by_width=histogram(shaped[:, 1] / shaped[:, 0], _RATIO_EDGES),
        most_boxes=int(per_image.max(initial=0)),
        crowded_images=int(np.count_nonzero(per_image > limit_of(objects, detector))),
    )


def class_sizes(
    objects: SplitObjects, detector: DetectorConfig, *, label_map: LabelMap
) -> Iterator[ClassSizes]:
    """Yields the sides of each class's boxes after the resize."""
    sides = np.sqrt(sides_wh(input_boxes(objects, detector)).prod(axis=1))
    for label in label_map.classes:
        mine = objects.counted & (objects.truth.class_id == label.id)
        yield ClassSizes(
            name=label.name,
            boxes=int(np.count_nonzero(mine)),
            box_side_px=histogram(sides[mine], _SIDE_EDGES),
        )


def tiny(objects: SplitObjects, detector: DetectorConfig) -> Bool:
    """Returns bool[G]: boxes that are no crowd with a side below TINY_SIDE_PX after the resize."""
    sides = sides_wh(input_boxes(objects, detector))
    answer: Bool = objects.counted & (sides < TINY_SIDE_PX).any(axis=1)
    return answer


def boxes_per_image(objects: SplitObjects) -> Int64:
    """Returns int64[I], boxes that are no crowd."""
    return np.bincount(objects.row[objects.counted], minlength=len(objects.images))


def limit_of(objects: SplitObjects, detector: DetectorConfig) -> int:
    """Returns the boxes of an image that the split's use takes in: training, or detections."""
    return detector.max_instances if objects.split == "train" else detector.nms.max_detections


def histogram(values: Float64, edges: Float64) -> Histogram:
    """Counts values; those beyond the last edge are counted in the last bin, empty ends are cut."""
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    filled = np.flatnonzero(counts)
    begin, end = (filled[0], filled[-1] + 1) if filled.size else (0, 1)
    return Histogram(
        edges=tuple(edges[begin : end + 1].tolist()), counts=tuple(counts[begin:end].tolist())
    )

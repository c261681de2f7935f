"""Splits made by hand, for what is told before any training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kfdet.core.coco import EvaluationData, GroundTruth, Images
from kfdet.core.feasibility.objects import SplitObjects, of_columns
from kfdet.schema.dataset import Split
from kfdet.schema.detector_config import DetectorConfig

DETECTOR = DetectorConfig.model_validate(
    {
        "input_size": [128, 128],
        "min_level": 3,
        "max_level": 5,
        "anchors": {"aspect_ratios": [1.0], "num_scales": 3, "size": 2.0},
        "nms": {"version": "batched"},
    }
)

Box = tuple[float, float, float, float]


def objects_of(
    boxes: Sequence[Sequence[Box]],
    *,
    classes: Sequence[Sequence[int]] | None = None,
    crowd: Sequence[Sequence[bool]] | None = None,
    size: tuple[int, int] = (300, 300),
    split: Split = "test",
) -> SplitObjects:
    """Returns a split with these boxes, [xmin, ymin, xmax, ymax] in pixels, image by image.

    Args:
        boxes: Of each image.
        classes: Of each box; 1 when None.
        crowd: Of each box; none when None.
        size: (width, height) of every image.
        split: Which.
    """
    images = len(boxes)
    counts = [len(own) for own in boxes]
    flat = np.array([box for own in boxes for box in own], np.float64).reshape(-1, 4)
    labels = [k for own in classes for k in own] if classes else [1] * len(flat)
    flags = [k for own in crowd for k in own] if crowd else [False] * len(flat)
    return of_columns(
        Images(
            image_id=np.arange(images),
            source_id=tuple(f"photo {i}.jpg" for i in range(images)),
            file=(f"{split}-00000-of-00001.tfrecord",) * images,
            record=np.arange(images),
            width_px=np.full(images, size[0]),
            height_px=np.full(images, size[1]),
        ),
        GroundTruth(
            image_id=np.repeat(np.arange(images), counts),
            class_id=np.array(labels, np.int64),
            is_crowd=np.array(flags, np.bool_),
            area=(flat[:, 2:] - flat[:, :2]).prod(axis=1),
            boxes_xyxy_px=flat,
        ),
        split=split,
    )


def objects_in(data: EvaluationData, *, split: Split = "test") -> SplitObjects:
    return of_columns(data.images, data.ground_truth, split=split)


def scattered(
    seed: int, *, images: int = 40, classes: int = 2, side: tuple[float, float] = (20.0, 60.0),
    most: int = 6, split: Split = "test",
) -> SplitObjects:  # fmt: skip
    """Returns boxes of these sides at random places of images of 300 x 300 pixels."""
    rng = np.random.default_rng(seed)
    boxes, labels = [], []
    for _ in range(images):
        count = int(rng.integers(1, most + 1))
        sides = rng.uniform(*side, (count, 2))
        corner = rng.uniform(0, 300 - sides)
        boxes.append([tuple(row) for row in np.concatenate([corner, corner + sides], axis=1)])
        labels.append(rng.integers(1, classes + 1, count).tolist())
    return objects_of(boxes, classes=labels, split=split)  # type: ignore[arg-type]

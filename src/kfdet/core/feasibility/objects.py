"""The objects of a split, in pixels of their images and in pixels of the model's input."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import (
    Bool,
    Detections,
    EvaluationData,
    Float32,
    Float64,
    GroundTruth,
    Images,
    Int64,
    concatenate,
)
from kfdet.core.placed_record import PlacedRecord, ground_truth_of, images_of
from kfdet.core.preprocessing import resize_scale
from kfdet.errors import ArtifactError
from kfdet.schema.dataset import Split
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.metrics import COCO, CocoSettings

_RECORDS_AT_A_TIME = 256


@dataclass(frozen=True, kw_only=True)
class SplitObjects:
    """I images with G boxes, in ascending order of image id.

    Attributes:
        truth: Of the records; images' pixels.
        row: int64[G], the place of a box's image among the images.
    """

    split: Split
    images: Images
    truth: GroundTruth
    row: Int64

    @property
    def counted(self) -> Bool:
        """bool[G]: boxes that are no crowd."""
        return ~self.truth.is_crowd

    @property
    def data(self) -> EvaluationData:
        """The same, with nothing detected."""
        return EvaluationData(
            images=self.images, ground_truth=self.truth, detections=_no_detections()
        )


def gather_objects(records: Iterable[PlacedRecord], *, split: Split) -> SplitObjects:
    """Keeps of records what is needed here: a few numbers for each box, and no image.

    Args:
        records: Of a split, in ascending order of image id; read once.
        split: Which.

    Raises:
        ArtifactError: There is no record.
    """
    remaining = iter(records)
    parts = []
    while batch := list(itertools.islice(remaining, _RECORDS_AT_A_TIME)):
        parts.append(
            EvaluationData(
                images=images_of(batch),
                ground_truth=ground_truth_of(batch),
                detections=_no_detections(),
            )
        )
    if not parts:
        raise ArtifactError(f"the {split} split holds no image", expected="at least one")
    whole = concatenate(parts)
    return of_columns(whole.images, whole.ground_truth, split=split)


def of_columns(images: Images, truth: GroundTruth, *, split: Split) -> SplitObjects:
    """Returns the objects of columns in ascending order of image id."""
    return SplitObjects(
        split=split,
        images=images,
        truth=truth,
        row=np.searchsorted(images.image_id, truth.image_id),
    )


def scales_yx(images: Images, detector: DetectorConfig) -> Float32:
    """Returns the factors from each image's pixels to the input's, float32[I, 2], (y, x).

    An image without pixels keeps its size.
    """
    sizes = np.stack([images.height_px, images.width_px], axis=1).reshape(-1, 2)
    unique, place = np.unique(sizes, axis=0, return_inverse=True)
    factors = [
        resize_scale(
            height_px=height,
            width_px=width,
            input_size=detector.input_size,
            keep_aspect_ratio=detector.keep_aspect_ratio,
        )
        if height and width
        else (1.0, 1.0)
        for height, width in unique.tolist()
    ]
    answer: Float32 = np.array(factors, np.float32).reshape(-1, 2)[place.reshape(-1)]
    return answer


def input_boxes(objects: SplitObjects, detector: DetectorConfig) -> Float32:
    """Returns the boxes in the model's input, clipped to their image.

    Returns:
        float32[G, 4], [ymin, xmin, ymax, xmax] in pixels of the input.

    Source: official/vision/ops/preprocess_ops.py, resize_and_crop_boxes.
    """
    scale = scales_yx(objects.images, detector)
    size = np.stack([objects.images.height_px, objects.images.width_px], axis=1)
    scaled = np.rint(size * scale).astype(np.float32)[objects.row]
    boxes = objects.truth.boxes_xyxy_px[:, [1, 0, 3, 2]].astype(np.float32)
    boxes *= np.tile(scale, (1, 2))[objects.row]
    clipped: Float32 = np.clip(boxes, np.float32(0), np.tile(scaled, (1, 2)))
    return clipped


def sides_wh(boxes_yxyx: Float32 | Float64) -> Float64:
    """Returns float64[N, 2], width and height of [ymin, xmin, ymax, xmax], none below zero."""
    sides = boxes_yxyx[:, [3, 2]].astype(np.float64) - boxes_yxyx[:, [1, 0]]
    answer: Float64 = np.maximum(sides, 0.0)
    return answer


def in_areas(truth: GroundTruth, settings: CocoSettings = COCO) -> Bool:
    """Returns bool[A, G]: whether a box that is no crowd counts in each range of `area_names`."""
    ranges = settings.area_ranges_px2
    inside = [(truth.area >= low) & (truth.area <= high) for low, high in ranges]
    answer: Bool = np.stack(inside) & ~truth.is_crowd
    return answer


def _no_detections() -> Detections:
    return Detections(
        image_id=np.zeros(0, np.int64),
        class_id=np.zeros(0, np.int64),
        score=np.zeros(0, np.float32),
        boxes_xyxy_px=np.zeros((0, 4), np.float32),
    )

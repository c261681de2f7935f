"""A detection record with its place in the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import GroundTruth, Images
from kfdet.core.detection_record import DetectionRecord


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedRecord:
    """Attributes:
    image_id: Position in the split.
    file: Location of the shard.
    index: Index of the record within its file.
    payload: The serialised tf.train.Example.
    record: What it holds.
    """

    image_id: int
    file: str
    index: int
    payload: bytes
    record: DetectionRecord

    @property
    def where(self) -> str:
        return f"{self.file} record {self.index}"


def images_of(records: Sequence[PlacedRecord]) -> Images:
    """Returns the images of records, in their order."""
    return Images(
        image_id=np.array([placed.image_id for placed in records], np.int64),
        source_id=tuple(placed.record.source_id for placed in records),
        file=tuple(placed.file for placed in records),
        record=np.array([placed.index for placed in records], np.int64),
        width_px=np.array([placed.record.width_px for placed in records], np.int64),
        height_px=np.array([placed.record.height_px for placed in records], np.int64),
        features=tuple(placed.record.extra for placed in records),
    )


def ground_truth_of(records: Sequence[PlacedRecord]) -> GroundTruth:
    """Returns the boxes of one record or more, in their order."""
    counts = [placed.record.num_boxes for placed in records]
    return GroundTruth(
        image_id=np.repeat(np.array([placed.image_id for placed in records], np.int64), counts),
        class_id=np.concatenate([placed.record.class_ids for placed in records]),
        is_crowd=np.concatenate([placed.record.is_crowd for placed in records]),
        area=np.concatenate([placed.record.coco_area_px() for placed in records]),
        boxes_xyxy_px=np.concatenate([placed.record.boxes_xyxy_px() for placed in records]),
    )

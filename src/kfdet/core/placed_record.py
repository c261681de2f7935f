"""A detection record with its place in the data set."""

from __future__ import annotations

from dataclasses import dataclass

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

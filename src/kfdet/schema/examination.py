"""What one `examine` task gives: the findings and sums of its shards, each shard by itself.

The folder holds `group.json` (ExaminedGroup) and `images.parquet` with a row for every image, shard
by shard in the order of `group.json`:

| column | type | what it is |
|---|---|---|
| content | fixed_size_binary[16] | first bytes of the SHA-256 of the encoded image |
| id_key | fixed_size_binary[16] | digest of the source id; zeros for an empty one |
| hash | fixed_size_binary[32] | perceptual hash; zeros for none |
| source_id | string | cut to 200 characters |
| record | uint64 | index within the shard |
| byte_offset | uint64 | where the record begins |
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kfdet.schema.base import Document, Schema, Sha256
from kfdet.schema.dataset import Compression, Count, Split

GROUP_FILE = "group.json"
IMAGES_FILE = "images.parquet"


class FaultPlace(Schema):
    """Where a fault is; `kfdet.schema.dataset.Finding` says what the fields mean."""

    file: str
    split: Split | None
    record: int | None
    byte_offset: int | None
    source_id: str | None


class FaultSeen(Schema):
    """One fault of a shard.

    Attributes:
        boxes: Positions of the boxes concerned within their record.
        like: The other record, where two are compared.
    """

    code: str
    place: FaultPlace
    seen: str
    expected: str
    boxes: tuple[int, ...]
    like: FaultPlace | None


class Tally(Schema):
    """What the records of a shard add up to.

    Attributes:
        text_offsets: (k, boxes whose text names the class of their id + k).
        placements: (EXIF rotates the image, where its boxes fit best, images).
        class_boxes, class_images: (class id, number of boxes or of images).
        image_sizes: (width_px, height_px, images).
        box_side_px, box_aspect_ratio, brightness: Counts between the fixed edges of
            `kfdet.core.validation.tally`.
        boxes_per_image: (boxes, images).
    """

    images: Count
    images_without_boxes: Count
    boxes: Count
    crowd_boxes: Count
    texts: Count
    text_offsets: tuple[tuple[int, Count], ...]
    placements: tuple[tuple[bool, str, Count], ...]
    class_boxes: tuple[tuple[int, Count], ...]
    class_images: tuple[tuple[int, Count], ...]
    image_sizes: tuple[tuple[int, int, Count], ...]
    formats: dict[str, Count]
    box_side_px: tuple[Count, ...]
    box_aspect_ratio: tuple[Count, ...]
    boxes_per_image: tuple[tuple[Count, Count], ...]
    brightness: tuple[Count, ...]


class ExaminedShard(Schema):
    """Attributes:
    sha256: Of the file; empty when it can't be read.
    excluded: Records that are in quarantine, and were left out.
    records: Records found, damaged ones included.
    images: Rows of `images.parquet`.
    counts: Code to number of faults.
    first: The first faults of each code, in the order of their records.
    faulty_records: Code to the records that have the fault.
    """

    split: Split
    file: str
    size_bytes: Count
    sha256: str
    compression: Compression
    excluded: tuple[Count, ...]
    records: Count
    images: Count
    counts: dict[str, Count]
    first: tuple[FaultSeen, ...]
    faulty_records: dict[str, tuple[Count, ...]]
    tally: Tally


class ExaminedGroup(Document):
    """Attributes:
    group, num_groups: This is group k of n; it holds the files [k::n] of all the splits together.
    label_map_sha256: Digest of the label map that classes were checked with; null where it could
        not be read.
    data_digest: Digest that all the data had when the run began; null where none was given.
    """

    group: Count
    num_groups: Annotated[int, Field(ge=1)]
    label_map_sha256: Sha256 | None
    data_digest: str | None
    shards: tuple[ExaminedShard, ...]

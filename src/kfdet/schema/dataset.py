"""What `validate` gives: label map, manifest, statistics and findings."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from kfdet.schema.base import Document, Schema, Sha256

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Severity = Literal["error", "warning", "info"]
Compression = Literal["none", "gzip", "zlib"]
Count = Annotated[int, Field(ge=0)]


class ClassLabel(Schema):
    id: Annotated[int, Field(ge=1)]
    name: Annotated[str, Field(min_length=1)]


class LabelMap(Schema):
    """Classes in ascending order of id; id 0 is the background and never appears."""

    classes: tuple[ClassLabel, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique_and_sorted(self) -> LabelMap:
        ids = [label.id for label in self.classes]
        names = [label.name for label in self.classes]
        if len(set(ids)) != len(ids) or len(set(names)) != len(names):
            raise ValueError("class ids and names must each be unique")
        if ids != sorted(ids):
            raise ValueError("classes must be in ascending order of id")
        return self

    @property
    def num_classes(self) -> int:
        """Classes of the detector's head: the highest id and the background."""
        return self.classes[-1].id + 1

    def name_of(self, class_id: int) -> str | None:
        return next((label.name for label in self.classes if label.id == class_id), None)


class ShardFile(Schema):
    """One TFRecord file. Order in the manifest is canonical: sorted by name.

    Attributes:
        records: How many are used; those in `excluded` are not among them.
        size_bytes: Of the file as it lies there, compressed or not.
        excluded: Indices within the file of the records in quarantine, ascending: nothing reads them.
    """

    uri: str
    records: Count
    size_bytes: Count
    sha256: Sha256
    compression: Compression = "none"
    excluded: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _ascending(self) -> ShardFile:
        if any(later <= earlier for earlier, later in pairwise(self.excluded)):
            raise ValueError("excluded records must be in ascending order, each once")
        return self


class SplitManifest(Schema):
    """One split. The image id of a record is its position among those that are used: records of the
    shards before, plus the used ones before it in its own.

    Attributes:
        digest: SHA-256 over the shards' digests and exclusions in order; equal digests mean the same
            images.
    """

    shards: tuple[ShardFile, ...]
    images: Count
    boxes: Count
    digest: Sha256

    @model_validator(mode="after")
    def _adds_up(self) -> SplitManifest:
        if sum(shard.records for shard in self.shards) != self.images:
            raise ValueError("images is not the sum of the shards' records")
        return self

    @property
    def excluded(self) -> int:
        """Records that quarantine leaves out."""
        return sum(len(shard.excluded) for shard in self.shards)


class Manifest(Document):
    label_map: LabelMap
    train: SplitManifest
    val: SplitManifest
    test: SplitManifest

    def split(self, name: Split) -> SplitManifest:
        splits: dict[str, SplitManifest] = {
            "train": self.train,
            "val": self.val,
            "test": self.test,
        }
        return splits[name]


class Histogram(Schema):
    """Counts between edges: counts[i] holds edges[i] <= x < edges[i + 1]; the last bin is closed."""

    edges: tuple[float, ...] = Field(min_length=2)
    counts: tuple[Count, ...]

    @model_validator(mode="after")
    def _fits(self) -> Histogram:
        if len(self.edges) != len(self.counts) + 1:
            raise ValueError("a histogram has one edge more than counts")
        return self


class ClassStatistics(Schema):
    id: int
    name: str
    boxes: Count
    images: Count


class ImageSize(Schema):
    width_px: Count
    height_px: Count
    images: Count


class SplitStatistics(Schema):
    """Attributes:
    box_side_px: Histogram of sqrt(box area) in image pixels.
    box_aspect_ratio: Histogram of box width / height in pixels.
    boxes_per_image: Histogram of the number of boxes.
    brightness: Histogram of mean grey level of the decoded image, 0 to 255.
    formats: Image format to number of images.
    """

    images: Count
    images_without_boxes: Count
    boxes: Count
    crowd_boxes: Count
    classes: tuple[ClassStatistics, ...]
    image_sizes: tuple[ImageSize, ...]
    formats: dict[str, Count]
    box_side_px: Histogram
    box_aspect_ratio: Histogram
    boxes_per_image: Histogram
    brightness: Histogram


class Statistics(Document):
    train: SplitStatistics
    val: SplitStatistics
    test: SplitStatistics


class Finding(Schema):
    """One fault, at one place.

    Attributes:
        code: Stable name of the check.
        file: Shard, label map or pattern.
        record: Index of the record within its file, from zero.
        byte_offset: Offset of the record within its file.
        source_id: The record's own id.
    """

    code: str
    severity: Severity
    split: Split | None = None
    file: str
    record: int | None = None
    byte_offset: int | None = None
    source_id: str | None = None
    seen: str
    expected: str
    remedy: str


class Findings(Document):
    """Attributes:
    counts: Code to number of all findings, also those beyond the cap.
    findings: The first of each code, worst severity first.
    """

    counts: dict[str, Count]
    errors: Count
    warnings: Count
    infos: Count
    findings: tuple[Finding, ...]


class QuarantinedRecord(Schema):
    """Attributes:
    record: Index of the record within its file, from zero.
    codes: The errors that it has.
    """

    split: Split
    file: str
    record: Count
    codes: tuple[str, ...]


class Quarantine(Document):
    """Every record with an error, and those that an earlier list left out already.

    `dataset.quarantine` makes a run leave them out; `kfdet data exclude` writes a set without them.

    Attributes:
        files: Each file that a record is of to its SHA-256: the list holds for these bytes alone.
        records: By split, file and record.
    """

    files: dict[str, Sha256]
    records: tuple[QuarantinedRecord, ...]

    @model_validator(mode="after")
    def _files_known(self) -> Quarantine:
        unknown = sorted({record.file for record in self.records} - set(self.files))
        if unknown:
            raise ValueError(f"files has no digest of {unknown[0]}")
        return self

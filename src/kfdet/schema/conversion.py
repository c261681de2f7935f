"""`conversion.json`: what a conversion to TFRecord made of the annotations it was given."""

from __future__ import annotations

from typing import Literal

from kfdet.schema.base import Document, Schema
from kfdet.schema.dataset import Count, Split

CONVERSION_FILE = "conversion.json"
BoxChange = Literal["dropped", "clipped"]
BoxReason = Literal["no_area", "inverted", "outside_image", "beyond_border"]


class ConvertedClass(Schema):
    """Attributes:
    id: Id in the label map that was written.
    source_id: Category id in a COCO file; null where the source has names only.
    """

    id: int
    name: str
    source_id: int | None
    boxes: Count


class ConvertedSplit(Schema):
    images: Count
    images_without_boxes: Count
    boxes: Count
    shards: Count


class ChangedBox(Schema):
    """One box that is not in the records as it was annotated.

    Attributes:
        annotation: Its place in the annotations: `object 3`, `annotation 1768`.
        box_xyxy_px: [xmin, ymin, xmax, ymax] as annotated.
    """

    change: BoxChange
    reason: BoxReason
    split: Split
    source_id: str
    file: str
    annotation: str
    class_name: str
    box_xyxy_px: tuple[float, float, float, float]


class Conversion(Document):
    """Attributes:
    source: Folder or files that were converted.
    options: How it was done: pixel convention, seed, what became of faulty boxes.
    changed: Every box that was dropped or clipped.
    unused: Images that no split names, or annotations without an image in any split.
    """

    source_format: Literal["voc", "coco"]
    source: tuple[str, ...]
    options: dict[str, str]
    classes: tuple[ConvertedClass, ...]
    splits: dict[Split, ConvertedSplit]
    changed: tuple[ChangedBox, ...]
    unused: tuple[str, ...]

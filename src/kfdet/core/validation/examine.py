"""Looking at one record: its faults, and the facts that sums over the data set are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kfdet.core.detection_record import (
    ENCODED,
    FORMAT,
    HEIGHT,
    SOURCE_ID,
    WIDTH,
    DetectionRecord,
    bytes_of,
    numbers_of,
    record_of,
    schema_faults,
)
from kfdet.core.example import ExampleError, Feature, parse_example
from kfdet.core.validation.boxes import Names, Objects, box_faults, class_faults, flag_faults
from kfdet.core.validation.findings import Fault
from kfdet.core.validation.images import ImageFacts, image_faults, look_at_image
from kfdet.core.validation.placement import Placement, best_placement

CONTENT_BYTES = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordFacts:
    """What one record adds to the sums.

    Attributes:
        content: First bytes of the SHA-256 of the encoded image; equal images have equal ones.
        perceptual_hash: As `ImageFacts` has it.
        size_px: (width, height), decoded where possible, else declared.
        format: Of the decoded image; empty when it is none.
        boxes_xyxy_px: float64[M, 4], only the sound ones.
        num_boxes: All of them.
        class_ids: int64[num_boxes].
        placement: Where the boxes fit the image best; None where that is not clear.
        is_exif_rotated: The image asks viewers to rotate it.
        text_offsets: Offset k in -1, 0, 1 to the boxes whose text names the class of id + k.
    """

    source_id: str
    content: bytes
    perceptual_hash: bytes
    size_px: tuple[int, int]
    format: str
    brightness: float | None
    boxes_xyxy_px: NDArray[np.float64]
    num_boxes: int
    crowd_boxes: int
    class_ids: NDArray[np.int64]
    texts: int
    placement: Placement | None
    is_exif_rotated: bool
    text_offsets: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Attributes:
    source_id: None when the record has none.
    facts: None when the record holds no image with its boxes.
    """

    source_id: str | None
    faults: tuple[Fault, ...]
    facts: RecordFacts | None


def examine_record(payload: bytes, *, names: Names | None) -> Examination:
    """Applies every check that one record can answer.

    Args:
        payload: The record.
        names: The label map's; None when it can't be read, and then classes are not checked.
    """
    try:
        features = parse_example(payload)
    except ExampleError as failure:
        fault = Fault(
            code="record-not-example",
            seen=f"{len(payload):,} bytes: {failure}",
            expected="a serialised tf.train.Example",
        )
        return Examination(source_id=None, faults=(fault,), facts=None)
    ids = bytes_of(features, SOURCE_ID)
    source_id = ids[0].decode("utf-8", errors="replace") if ids else None
    schema = schema_faults(features)
    faults = [
        Fault(code=f"field-{f.kind}", seen=f"{f.feature}: {f.seen}", expected=f.expected)
        for f in schema
    ]
    if source_id is not None and not source_id.strip():
        faults.append(
            Fault(code="source-id-empty", seen=f'"{source_id}"', expected="a name or number")
        )
    encoded = bytes_of(features, ENCODED)
    if len(encoded) != 1:
        return Examination(source_id=source_id, faults=tuple(faults), facts=None)
    image = look_at_image(encoded[0])
    declared = _declared_size(features)
    formats = bytes_of(features, FORMAT)
    declared_format = formats[0].decode("utf-8", errors="replace") if formats else ""
    faults.extend(image_faults(image, declared_format=declared_format, declared_size_px=declared))
    missing = [name for name in (HEIGHT, WIDTH) if name not in features]
    if missing:
        faults.append(
            Fault(
                code="image-size-missing",
                seen=f"no {' and no '.join(missing)}",
                expected="the size of the image in pixels",
            )
        )
    size = (image.width_px, image.height_px) if image.width_px else declared or (0, 0)
    objects = None
    if not schema and min(size) > 0:
        objects = _objects(record_of(features, where="the record"), size_px=size)
        faults.extend(box_faults(objects))
        faults.extend(flag_faults(features))
        if names is not None:
            faults.extend(class_faults(objects, names))
    facts = _facts(
        image, objects, source_id=source_id or "", encoded=encoded[0], size_px=size, names=names
    )
    return Examination(source_id=source_id, faults=tuple(faults), facts=facts)


def _declared_size(features: Mapping[str, Feature]) -> tuple[int, int] | None:
    width, height = numbers_of(features, WIDTH), numbers_of(features, HEIGHT)
    return (int(width[0]), int(height[0])) if len(width) == len(height) == 1 else None


def _objects(record: DetectionRecord, *, size_px: tuple[int, int]) -> Objects:
    return Objects(
        boxes_yxyx_norm=record.boxes_yxyx_norm,
        class_ids=record.class_ids,
        texts=record.class_texts,
        area_px=record.area_px,
        is_crowd=record.is_crowd,
        size_px=size_px,
    )


def _facts(
    image: ImageFacts,
    objects: Objects | None,
    *,
    source_id: str,
    encoded: bytes,
    size_px: tuple[int, int],
    names: Names | None,
) -> RecordFacts:
    none = np.zeros(0, dtype=np.int64)
    return RecordFacts(
        source_id=source_id,
        content=hashlib.sha256(encoded).digest()[:CONTENT_BYTES],
        perceptual_hash=image.perceptual_hash,
        size_px=size_px,
        format=image.format or "none",
        brightness=image.brightness,
        boxes_xyxy_px=(
            objects.boxes_xyxy_px()[objects.is_sound()] if objects else np.zeros((0, 4))
        ),
        num_boxes=len(objects.class_ids) if objects else 0,
        crowd_boxes=int(objects.is_crowd.sum()) if objects else 0,
        class_ids=objects.class_ids if objects else none,
        texts=len(objects.texts) if objects else 0,
        placement=_placement(image, objects),
        is_exif_rotated=image.orientation != 1,
        text_offsets=_text_offsets(objects, names) if objects and names else {},
    )


def _placement(image: ImageFacts, objects: Objects | None) -> Placement | None:
    if image.thumbnail is None or objects is None or not len(objects.class_ids):
        return None
    return best_placement(image.thumbnail, objects.boxes_yxyx_norm[objects.is_sound()])


def _text_offsets(objects: Objects, names: Names) -> dict[int, int]:
    offsets = dict.fromkeys((-1, 0, 1), 0)
    for class_id, text in zip(objects.class_ids.tolist(), objects.texts, strict=False):
        for offset in offsets:
            offsets[offset] += text in names.aliases.get(class_id + offset, ())
    return offsets

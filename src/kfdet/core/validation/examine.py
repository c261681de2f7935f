"""Looking at one record: its faults, and the facts that sums over the data set are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kfdet.core.detection_record import (
    ENCODED,
    FORMAT,
    HEIGHT,
    SOURCE_ID,
    WIDTH,
    bytes_of,
    numbers_of,
    schema_faults,
)
from kfdet.core.example import ExampleError, Feature, parse_example
from kfdet.core.validation.boxes import Names, box_faults, class_faults, flag_faults
from kfdet.core.validation.findings import Fault
from kfdet.core.validation.images import ImageFacts, image_faults, look_at_image
from kfdet.core.validation.placement import Placement, best_placement, edge_thumbnail
from kfdet.core.validation.screen import Sheet, box_screen, class_screen, sheet_of

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
        placement: Where the boxes fit the image best; None where that is not clear, or not asked.
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


@dataclass(slots=True)
class _Record:
    """One record while it is looked at.

    Attributes:
        features: None where they hold no image, or not what a detection record has.
        size_px: (width, height), decoded where possible, else declared.
    """

    source_id: str | None
    faults: list[Fault]
    features: Mapping[str, Feature] | None = None
    encoded: bytes | None = None
    image: ImageFacts | None = None
    size_px: tuple[int, int] = (0, 0)


def examine_records(
    payloads: Sequence[bytes], *, names: Names | None, placed: Sequence[bool]
) -> list[Examination]:
    """Applies every check that a record by itself can answer to several records.

    What comes out for a record does not depend on the others.

    Args:
        payloads: The records.
        names: The label map's; None when it can't be read, and then classes are not checked.
        placed: For each record whether to look where its boxes fit its image best; it is looked
            where EXIF rotates the image in any case.
    """
    records = [
        _read(payload, detailed=is_placed)
        for payload, is_placed in zip(payloads, placed, strict=True)
    ]
    with_objects = [record for record in records if record.features is not None]
    sheet = sheet_of(
        [record.features for record in with_objects if record.features is not None],
        sizes_px=[record.size_px for record in with_objects],
    )
    classes = class_screen(sheet, names)
    suspicious = box_screen(sheet) | classes.suspicious
    row = 0
    examinations = []
    for record, is_placed in zip(records, placed, strict=True):
        found: _Found | None = None
        if record.features is not None:
            if suspicious[row]:
                objects = sheet.objects(row)
                record.faults.extend(box_faults(objects))
                record.faults.extend(flag_faults(record.features))
                if names is not None:
                    record.faults.extend(class_faults(objects, names))
            found = _Found(sheet=sheet, row=row, text_offsets=classes.text_offsets[row])
            row += 1
        examinations.append(
            Examination(
                source_id=record.source_id,
                faults=tuple(record.faults),
                facts=_facts(record, found, is_placed=is_placed),
            )
        )
    return examinations


def _read(payload: bytes, *, detailed: bool) -> _Record:
    """Returns a record with every fault that its boxes and classes do not decide."""
    try:
        features = parse_example(payload)
    except ExampleError as failure:
        fault = Fault(
            code="record-not-example",
            seen=f"{len(payload):,} bytes: {failure}",
            expected="a serialised tf.train.Example",
        )
        return _Record(source_id=None, faults=[fault])
    ids = bytes_of(features, SOURCE_ID)
    record = _Record(source_id=ids[0].decode("utf-8", errors="replace") if ids else None, faults=[])
    schema = schema_faults(features)
    record.faults.extend(
        Fault(code=f"field-{f.kind}", seen=f"{f.feature}: {f.seen}", expected=f.expected)
        for f in schema
    )
    if record.source_id is not None and not record.source_id.strip():
        record.faults.append(
            Fault(code="source-id-empty", seen=f'"{record.source_id}"', expected="a name or number")
        )
    encoded = bytes_of(features, ENCODED)
    if len(encoded) != 1:
        return record
    image = look_at_image(encoded[0], detailed=detailed)
    declared = _declared_size(features)
    formats = bytes_of(features, FORMAT)
    declared_format = formats[0].decode("utf-8", errors="replace") if formats else ""
    record.faults.extend(
        image_faults(image, declared_format=declared_format, declared_size_px=declared)
    )
    missing = [name for name in (HEIGHT, WIDTH) if name not in features]
    if missing:
        record.faults.append(
            Fault(
                code="image-size-missing",
                seen=f"no {' and no '.join(missing)}",
                expected="the size of the image in pixels",
            )
        )
    record.encoded, record.image = encoded[0], image
    record.size_px = (image.width_px, image.height_px) if image.width_px else declared or (0, 0)
    if not schema and min(record.size_px) > 0:
        record.features = features
    return record


def _declared_size(features: Mapping[str, Feature]) -> tuple[int, int] | None:
    width, height = numbers_of(features, WIDTH), numbers_of(features, HEIGHT)
    return (int(width[0]), int(height[0])) if len(width) == len(height) == 1 else None


@dataclass(slots=True)
class _Found:
    """Where the objects of a record are, and what their texts say."""

    sheet: Sheet
    row: int
    text_offsets: Mapping[int, int]


def _facts(record: _Record, found: _Found | None, *, is_placed: bool) -> RecordFacts | None:
    image = record.image
    if image is None or record.encoded is None:
        return None
    own = found.sheet.rows(found.row) if found else slice(0, 0)
    sheet = found.sheet if found else _EMPTY
    is_sound = sheet.is_sound[own]
    is_rotated = image.orientation != 1
    return RecordFacts(
        source_id=record.source_id or "",
        content=hashlib.sha256(record.encoded).digest()[:CONTENT_BYTES],
        perceptual_hash=image.perceptual_hash,
        size_px=record.size_px,
        format=image.format or "none",
        brightness=image.brightness,
        boxes_xyxy_px=sheet.boxes_xyxy_px[own][is_sound],
        num_boxes=own.stop - own.start,
        crowd_boxes=int(np.count_nonzero(sheet.is_crowd[own])),
        class_ids=sheet.class_ids[own],
        texts=len(sheet.texts[found.row]) if found else 0,
        placement=(
            _placement(image, sheet.boxes_yxyx_norm[own][is_sound])
            if is_placed or is_rotated
            else None
        ),
        is_exif_rotated=is_rotated,
        text_offsets=found.text_offsets if found else {},
    )


def _placement(image: ImageFacts, boxes_yxyx_norm: NDArray[np.float32]) -> Placement | None:
    if image.grey is None or not len(boxes_yxyx_norm):
        return None
    return best_placement(edge_thumbnail(image.grey), boxes_yxyx_norm)


_EMPTY = sheet_of([], sizes_px=[])

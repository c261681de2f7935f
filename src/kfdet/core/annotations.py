"""Annotated images as VOC and COCO describe them, and the detection record each becomes."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from kfdet.core.detection_record import DetectionRecord
from kfdet.schema.conversion import BoxChange, BoxReason

FaultyBoxes = Literal["drop", "keep"]
BoxXyxy = tuple[float, float, float, float]

_FORMATS = {"JPEG": "jpeg", "PNG": "png", "BMP": "bmp"}
_SHOWN_FAULTS = 50


@dataclass(frozen=True, kw_only=True)
class ObjectAnnotation:
    """One annotated object.

    Attributes:
        place: Where it stands in the annotations: `object 3`, `annotation 1768`.
        box_xyxy_px: [xmin, ymin, xmax, ymax], origin at the top left, maxima exclusive.
        area_px: Area of the object's outline; None when only the box is known.
    """

    place: str
    class_name: str
    box_xyxy_px: BoxXyxy
    is_crowd: bool = False
    is_difficult: bool = False
    area_px: float | None = None


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """One image with its objects.

    Attributes:
        file_name: Of the image, relative to the folder of images.
        source_id: Unique within the annotations.
        size_px: (width, height) as declared; None when it is not.
    """

    file_name: str
    source_id: str
    size_px: tuple[int, int] | None
    objects: tuple[ObjectAnnotation, ...]


@dataclass(frozen=True, kw_only=True)
class AnnotationFault:
    """Something in the annotations that no record can represent."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class BoxNote:
    """A box that is not in the record as it was annotated."""

    change: BoxChange
    reason: BoxReason
    annotated: ObjectAnnotation


@dataclass(frozen=True, kw_only=True)
class ConvertedImage:
    """What became of one image: its record, or the faults that keep it from having one."""

    record: DetectionRecord | None
    notes: tuple[BoxNote, ...]
    faults: tuple[AnnotationFault, ...]


def convert_image(
    image: AnnotatedImage,
    *,
    encoded: bytes,
    class_ids: Mapping[str, int],
    faulty: FaultyBoxes,
    where: str,
) -> ConvertedImage:
    """Makes the detection record of an annotated image.

    Boxes are clipped to the image; those that have no area then are left out, each with a note.

    Args:
        image: The annotations.
        encoded: The image's file.
        class_ids: Class name to id.
        faulty: `keep` writes every finite box as it was annotated, for a validator to find.
        where: The image's file, for faults.
    """
    faults: list[AnnotationFault] = []
    looked = _look_at(encoded, image, where=where, faults=faults)
    for item in image.objects:
        if item.class_name not in class_ids:
            faults.append(
                AnnotationFault(
                    where=where,
                    what=f'{item.place}: class "{item.class_name}" is not in the label map',
                )
            )
        if not all(math.isfinite(side) for side in item.box_xyxy_px):
            faults.append(
                AnnotationFault(where=where, what=f"{item.place}: box {_shown(item)} is not finite")
            )
    if faults or looked is None:
        return ConvertedImage(record=None, notes=(), faults=tuple(faults))
    image_format, width, height = looked
    kept: list[tuple[ObjectAnnotation, BoxXyxy]] = []
    notes: list[BoxNote] = []
    for item in image.objects:
        box, note = _clip(item, width=width, height=height)
        if faulty == "keep":
            kept.append((item, item.box_xyxy_px))
            continue
        if note is not None:
            notes.append(note)
        if note is None or note.change == "clipped":
            kept.append((item, box))
    return ConvertedImage(
        record=_record(
            image,
            kept,
            encoded=encoded,
            image_format=image_format,
            size_px=(width, height),
            class_ids=class_ids,
        ),
        notes=tuple(notes),
        faults=(),
    )


def listing(faults: Sequence[AnnotationFault]) -> str:
    """Returns the faults as lines of one message, the first ones when they are many."""
    lines = [f"  - {fault}" for fault in faults[:_SHOWN_FAULTS]]
    if len(faults) > _SHOWN_FAULTS:
        lines.append(f"  ... and {len(faults) - _SHOWN_FAULTS:,} more")
    return "\n".join(lines)


def _look_at(
    encoded: bytes, image: AnnotatedImage, *, where: str, faults: list[AnnotationFault]
) -> tuple[str, int, int] | None:
    """Returns (format, width, height) of the encoded image; adds to `faults` where it can't serve."""
    try:
        with Image.open(io.BytesIO(encoded)) as opened:
            image_format, (width, height) = opened.format or "", opened.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        faults.append(AnnotationFault(where=where, what="is no image that can be read"))
        return None
    if image_format not in _FORMATS:
        faults.append(
            AnnotationFault(
                where=where,
                what=f"is {image_format}, expected JPEG, PNG or BMP, which TensorFlow decodes",
            )
        )
        return None
    if image.size_px not in (None, (0, 0), (width, height)):
        declared = f"{image.size_px[0]} x {image.size_px[1]}" if image.size_px else ""
        turned = image.size_px == (height, width)
        hint = "; was it rotated after it was annotated?" if turned else ""
        faults.append(
            AnnotationFault(
                where=where,
                what=f"the annotations say {declared} pixels, the image has {width} x {height}{hint}",
            )
        )
        return None
    return _FORMATS[image_format], width, height


def _clip(item: ObjectAnnotation, *, width: int, height: int) -> tuple[BoxXyxy, BoxNote | None]:
    xmin, ymin, xmax, ymax = item.box_xyxy_px
    box = (
        min(max(xmin, 0.0), width),
        min(max(ymin, 0.0), height),
        min(max(xmax, 0.0), width),
        min(max(ymax, 0.0), height),
    )
    if xmax < xmin or ymax < ymin:
        return box, BoxNote(change="dropped", reason="inverted", annotated=item)
    if xmax == xmin or ymax == ymin:
        return box, BoxNote(change="dropped", reason="no_area", annotated=item)
    if box[2] <= box[0] or box[3] <= box[1]:
        return box, BoxNote(change="dropped", reason="outside_image", annotated=item)
    if box != item.box_xyxy_px:
        return box, BoxNote(change="clipped", reason="beyond_border", annotated=item)
    return box, None


def _record(
    image: AnnotatedImage,
    kept: Sequence[tuple[ObjectAnnotation, BoxXyxy]],
    *,
    encoded: bytes,
    image_format: str,
    size_px: tuple[int, int],
    class_ids: Mapping[str, int],
) -> DetectionRecord:
    width, height = size_px
    boxes = np.array([box for _, box in kept], dtype=np.float64).reshape(-1, 4)
    scaled = boxes[:, [1, 0, 3, 2]] / np.array([height, width, height, width], dtype=np.float64)
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    areas = [
        item.area_px if item.area_px is not None else box_area
        for (item, _), box_area in zip(kept, box_areas, strict=True)
    ]
    return DetectionRecord(
        encoded=encoded,
        format=image_format,
        height_px=height,
        width_px=width,
        source_id=image.source_id,
        boxes_yxyx_norm=scaled.astype(np.float32),
        class_ids=np.array([class_ids[item.class_name] for item, _ in kept], dtype=np.int64),
        class_texts=tuple(item.class_name for item, _ in kept),
        is_crowd=np.array([item.is_crowd for item, _ in kept], dtype=np.bool_),
        is_difficult=np.array([item.is_difficult for item, _ in kept], dtype=np.bool_),
        area_px=np.array(areas, dtype=np.float32),
        filename=image.file_name,
    )


def _shown(item: ObjectAnnotation) -> str:
    return "[" + ", ".join(f"{side:g}" for side in item.box_xyxy_px) + "]"

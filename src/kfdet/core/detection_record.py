"""The standard detection example: one image with its boxes, as the TensorFlow OD API writes it.

Source: object_detection/core/standard_fields.py (TfExampleFields) and
official/vision/dataloaders/tf_example_decoder.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kfdet.core.example import ExampleError, Feature, parse_example, serialise_example
from kfdet.errors import DataError

FeatureKind = Literal["bytes", "int64", "float32"]

ENCODED = "image/encoded"
FORMAT = "image/format"
HEIGHT = "image/height"
WIDTH = "image/width"
FILENAME = "image/filename"
SOURCE_ID = "image/source_id"
SHA256 = "image/key/sha256"
YMIN = "image/object/bbox/ymin"
XMIN = "image/object/bbox/xmin"
YMAX = "image/object/bbox/ymax"
XMAX = "image/object/bbox/xmax"
LABEL = "image/object/class/label"
TEXT = "image/object/class/text"
AREA = "image/object/area"
IS_CROWD = "image/object/is_crowd"
DIFFICULT = "image/object/difficult"
GROUP_OF = "image/object/group_of"

BOX_SIDES = (YMIN, XMIN, YMAX, XMAX)
IMAGE_KINDS: Mapping[str, FeatureKind] = {
    ENCODED: "bytes",
    FORMAT: "bytes",
    HEIGHT: "int64",
    WIDTH: "int64",
    SOURCE_ID: "bytes",
    FILENAME: "bytes",
    SHA256: "bytes",
}
OBJECT_KINDS: Mapping[str, FeatureKind] = {
    **dict.fromkeys(BOX_SIDES, "float32"),
    LABEL: "int64",
    TEXT: "bytes",
    AREA: "float32",
    IS_CROWD: "int64",
    DIFFICULT: "int64",
    GROUP_OF: "int64",
}
_STANDARD = IMAGE_KINDS.keys() | OBJECT_KINDS.keys()
# What is longer names no kind of image.
_LONGEST_TEXT = 100
REQUIRED_OF_IMAGE = (ENCODED, SOURCE_ID)
# TensorFlow's parser takes one value or no such feature, and no empty list.
_NEVER_EMPTY = (ENCODED, HEIGHT, WIDTH, SOURCE_ID)
REQUIRED_OF_OBJECTS = (*BOX_SIDES, LABEL)
_REQUIRED = frozenset((*REQUIRED_OF_IMAGE, *REQUIRED_OF_OBJECTS))
# Name to kind, and whether it is of the image, not of each object.
_PLAIN = {
    **{name: (kind, True) for name, kind in IMAGE_KINDS.items()},
    **{name: (kind, False) for name, kind in OBJECT_KINDS.items()},
}


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionRecord:
    """One image with its ground truth.

    Attributes:
        encoded: The image's file.
        format: `jpeg` or `png`, in lower case; empty when the record does not say.
        height_px, width_px: Size that the record declares; where it does not, that of the image.
        source_id: Unique name of the image.
        boxes_yxyx_norm: float32[N, 4], [ymin, xmin, ymax, xmax] in [0, 1].
        class_ids: int64[N], ids of the label map.
        class_texts: N names, or none at all.
        is_crowd: bool[N].
        is_difficult: bool[N].
        area_px: float32[N], area of the objects in square pixels; None when not recorded.
        filename: Name of the file that the image came from; empty when not recorded.
        extra: Every other feature with one value of text or whole number, its value as text.
    """

    encoded: bytes
    format: str
    height_px: int
    width_px: int
    source_id: str
    boxes_yxyx_norm: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    class_texts: tuple[str, ...]
    is_crowd: NDArray[np.bool_]
    is_difficult: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    area_px: NDArray[np.float32] | None = None
    filename: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_boxes(self) -> int:
        return len(self.class_ids)

    def boxes_xyxy_px(self) -> NDArray[np.float64]:
        """Returns float64[N, 4], [xmin, ymin, xmax, ymax] in pixels of the image."""
        scale = np.array(
            [self.width_px, self.height_px, self.width_px, self.height_px], dtype=np.float64
        )
        return self.boxes_yxyx_norm[:, [1, 0, 3, 2]].astype(np.float64) * scale

    def coco_area_px(self) -> NDArray[np.float64]:
        """Returns float64[N], the areas that COCO sorts objects by: as recorded, else of the box."""
        if self.area_px is not None and bool(np.any(self.area_px != 0)):
            return self.area_px.astype(np.float64)
        boxes = self.boxes_xyxy_px()
        return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def kind_of(feature: Feature) -> FeatureKind:
    """Returns the type that a parsed feature has."""
    if isinstance(feature, list):
        return "bytes"
    return "float32" if feature.dtype.kind == "f" else "int64"


def bytes_of(features: Mapping[str, Feature], name: str) -> list[bytes]:
    """Returns the values of a feature of bytes; none when it is missing or of another type."""
    values = features.get(name)
    return values if isinstance(values, list) else []


def numbers_of(
    features: Mapping[str, Feature], name: str
) -> NDArray[np.int64] | NDArray[np.float32]:
    """Returns the values of a numeric feature; none when it is missing or of bytes."""
    values = features.get(name)
    if values is None or isinstance(values, list):
        return np.zeros(0, dtype=np.int64)
    return values


@dataclass(frozen=True, kw_only=True)
class SchemaFault:
    """One feature that is not as a detection record has it."""

    kind: Literal["missing", "type", "length"]
    feature: str
    seen: str
    expected: str


def schema_faults(features: Mapping[str, Feature]) -> tuple[SchemaFault, ...]:
    """Returns what keeps features from being a detection record.

    A record without any box may leave out all the features of objects, or write them as empty lists
    of the right type: TensorFlow refuses an empty list of another.
    """
    count = max((len(features.get(name, ())) for name in REQUIRED_OF_OBJECTS), default=0)
    if _is_plain(features, count=count):
        return ()
    image = (_image_fault(name, kind, features.get(name)) for name, kind in IMAGE_KINDS.items())
    objects = (
        _object_fault(name, kind, features.get(name), count=count)
        for name, kind in OBJECT_KINDS.items()
    )
    return tuple(fault for fault in (*image, *objects) if fault is not None)


def _is_plain(features: Mapping[str, Feature], *, count: int) -> bool:
    """Tells quickly of most records that they have no schema fault; of others it says nothing."""
    if not features.keys() >= _REQUIRED:
        return False
    for name, values in features.items():
        expected = _PLAIN.get(name)
        if expected is None:
            continue
        kind, is_of_image = expected
        if kind_of(values) != kind or len(values) != (1 if is_of_image else count):
            return False
    return True


def _image_fault(name: str, kind: FeatureKind, values: Feature | None) -> SchemaFault | None:
    expected = f"one {kind} value"
    if values is None:
        if name not in REQUIRED_OF_IMAGE:
            return None
        return SchemaFault(kind="missing", feature=name, seen="missing", expected=expected)
    if kind_of(values) != kind:
        seen = f"a list of {kind_of(values)}"
        return SchemaFault(kind="type", feature=name, seen=seen, expected=expected)
    if len(values) == 1 or (len(values) == 0 and name not in _NEVER_EMPTY):
        return None
    seen = f"{len(values)} values"
    return SchemaFault(kind="length", feature=name, seen=seen, expected=expected)


def _object_fault(
    name: str, kind: FeatureKind, values: Feature | None, *, count: int
) -> SchemaFault | None:
    expected = f"{count} {kind} values, one for each box"
    if values is not None and kind_of(values) != kind:
        seen = f"a list of {kind_of(values)}"
        return SchemaFault(kind="type", feature=name, seen=seen, expected=expected)
    if values is None or len(values) == 0:
        if name not in REQUIRED_OF_OBJECTS or not count:
            return None
        return SchemaFault(kind="missing", feature=name, seen="missing", expected=expected)
    if len(values) == count:
        return None
    seen = f"{len(values)} values"
    return SchemaFault(kind="length", feature=name, seen=seen, expected=expected)


def record_of(features: Mapping[str, Feature], *, where: str) -> DetectionRecord:
    """Returns the detection record that features hold.

    Args:
        features: As `parse_example` returns them.
        where: Shard and record, for the error.

    Raises:
        DataError: A required feature is missing, of another type, or of another length; or neither
            record nor image say how large the image is.
    """
    faults = schema_faults(features)
    if faults:
        listing = "; ".join(f"{f.feature}: {f.seen}, expected {f.expected}" for f in faults)
        raise DataError(
            f"is no detection record: {listing}",
            where=where,
            remedy="Run kfdet validate to see every such record.",
        )
    encoded = bytes_of(features, ENCODED)[0]
    if HEIGHT in features and WIDTH in features:
        height, width = (int(numbers_of(features, name)[0]) for name in (HEIGHT, WIDTH))
    else:
        height, width = _size_of(encoded, where=where)
    sides = [numbers_of(features, name).astype(np.float32) for name in BOX_SIDES]
    count = len(sides[0])
    area = numbers_of(features, AREA)
    return DetectionRecord(
        encoded=encoded,
        format=_text(features, FORMAT).lower(),
        height_px=height,
        width_px=width,
        source_id=_text(features, SOURCE_ID),
        boxes_yxyx_norm=np.stack(sides, axis=1).reshape(count, 4),
        class_ids=numbers_of(features, LABEL).astype(np.int64),
        class_texts=tuple(
            text.decode("utf-8", errors="replace") for text in bytes_of(features, TEXT)
        ),
        is_crowd=_flags(features, IS_CROWD, count=count),
        is_difficult=_flags(features, DIFFICULT, count=count),
        area_px=area.astype(np.float32) if len(area) and count else None,
        filename=_text(features, FILENAME),
        extra=_extra(features),
    )


def _extra(features: Mapping[str, Feature]) -> dict[str, str]:
    found = {}
    for name in sorted(features.keys() - _STANDARD):
        values = features[name]
        if len(values) != 1 or kind_of(values) == "float32":
            continue
        value = values[0]
        if not isinstance(value, bytes):
            found[name] = str(int(value))
        elif len(value) <= _LONGEST_TEXT:
            with contextlib.suppress(UnicodeDecodeError):
                found[name] = value.decode()
    return found


def _size_of(encoded: bytes, *, where: str) -> tuple[int, int]:
    """Returns (height, width) of an image by its header, in pixels as stored."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return image.height, image.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as failure:
        raise DataError(
            f"declares no size, and its image tells none: {failure}",
            where=where,
            expected=f"{HEIGHT} and {WIDTH}, or an image that can be decoded",
        ) from failure


def parse_record(payload: bytes, *, where: str) -> DetectionRecord:
    """Parses one serialised detection example.

    Args:
        payload: The record.
        where: Shard and record, for the error.

    Raises:
        DataError: The bytes are no tf.train.Example, or no detection record.
    """
    try:
        return record_of(parse_example(payload), where=where)
    except ExampleError as failure:
        raise DataError(
            str(failure), where=where, expected="a serialised tf.train.Example"
        ) from failure


def serialise_record(record: DetectionRecord) -> bytes:
    """Serialises a detection record with every standard feature; equal records give equal bytes."""
    count = record.num_boxes
    boxes = np.asarray(record.boxes_yxyx_norm, dtype=np.float32).reshape(count, 4)
    flags = np.zeros(count, dtype=np.int64)
    difficult = record.is_difficult.astype(np.int64) if len(record.is_difficult) else flags
    area = record.area_px if record.area_px is not None else record.coco_area_px()
    return serialise_example(
        {
            ENCODED: [record.encoded],
            FORMAT: [record.format.encode()],
            HEIGHT: np.array([record.height_px], dtype=np.int64),
            WIDTH: np.array([record.width_px], dtype=np.int64),
            FILENAME: [record.filename.encode()],
            SOURCE_ID: [record.source_id.encode()],
            SHA256: [hashlib.sha256(record.encoded).hexdigest().encode()],
            **{name: boxes[:, side] for side, name in enumerate(BOX_SIDES)},
            LABEL: np.asarray(record.class_ids, dtype=np.int64),
            TEXT: [text.encode() for text in record.class_texts],
            AREA: np.asarray(area, dtype=np.float32),
            IS_CROWD: np.asarray(record.is_crowd, dtype=np.int64),
            DIFFICULT: difficult,
        }
    )


def _text(features: Mapping[str, Feature], name: str) -> str:
    values = bytes_of(features, name)
    return values[0].decode("utf-8", errors="replace") if values else ""


def _flags(features: Mapping[str, Feature], name: str, *, count: int) -> NDArray[np.bool_]:
    values = numbers_of(features, name)
    return values.astype(np.bool_) if len(values) else np.zeros(count, dtype=np.bool_)

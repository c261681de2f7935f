"""Which records can have a fault in their boxes or classes, told for many records at once.

Almost all records are sound, and numpy costs as much for the thirteen boxes of one image as for the
boxes of thirty. So the objects of several records are laid side by side, and only records that the
screen does not clear are looked at one by one. It may suspect a sound record; it never clears one of
which `box_faults`, `flag_faults` or `class_faults` in `boxes` would say anything.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kfdet.core.detection_record import (
    AREA,
    BOX_SIDES,
    IS_CROWD,
    LABEL,
    TEXT,
    bytes_of,
    numbers_of,
)
from kfdet.core.example import Feature
from kfdet.core.validation.boxes import (
    IGNORED_FLAGS,
    NEAR_DUPLICATE_IOU,
    TINY_SIDE_PX,
    WHOLE_SHARE,
    Names,
    Objects,
    is_implausible_area,
    side_faults,
)

_FEW = 256
_OFFSETS = (-1, 0, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """The objects of several records, one record after another.

    Attributes:
        ends: int64[K + 1], where the objects of each record begin, and the last end.
        boxes_yxyx_norm: float32[M, 4], as recorded.
        boxes_xyxy_px: float64[M, 4], [xmin, ymin, xmax, ymax] in pixels.
        is_sound: bool[M], as `Objects.is_sound`.
        sizes_px: (width, height) of each image.
        class_ids: int64[M].
        texts: Class texts of each record; none where it has none.
        areas_px: Recorded areas of each record, float32[N]; None where it has none.
        is_crowd: bool[M].
        is_flagged: bool[K], whether a record marks a box in a way that nothing heeds.
    """

    ends: NDArray[np.int64]
    boxes_yxyx_norm: NDArray[np.float32]
    boxes_xyxy_px: NDArray[np.float64]
    is_sound: NDArray[np.bool_]
    sizes_px: Sequence[tuple[int, int]]
    class_ids: NDArray[np.int64]
    texts: Sequence[Sequence[bytes]]
    areas_px: Sequence[NDArray[np.float32] | None]
    is_crowd: NDArray[np.bool_]
    is_flagged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.sizes_px)

    def rows(self, record: int) -> slice:
        return slice(int(self.ends[record]), int(self.ends[record + 1]))

    def objects(self, record: int) -> Objects:
        """Returns the objects of one record."""
        own = self.rows(record)
        return Objects(
            boxes_yxyx_norm=self.boxes_yxyx_norm[own],
            class_ids=self.class_ids[own],
            texts=tuple(text.decode("utf-8", errors="replace") for text in self.texts[record]),
            area_px=self.areas_px[record],
            is_crowd=self.is_crowd[own],
            size_px=self.sizes_px[record],
        )


def sheet_of(
    features: Sequence[Mapping[str, Feature]], *, sizes_px: Sequence[tuple[int, int]]
) -> Sheet:
    """Lays the objects of records side by side.

    Args:
        features: Of records without a schema fault.
        sizes_px: (width, height) of each image, at least 1 each.
    """
    columns = [[numbers_of(one, side) for one in features] for side in BOX_SIDES]
    counts = np.array([len(column) for column in columns[0]], dtype=np.int64)
    boxes = np.stack([_joined(column, np.float32) for column in columns], axis=1)
    width, height = np.repeat(np.array(sizes_px, dtype=np.float64).reshape(-1, 2), counts, axis=0).T
    scale = np.stack([width, height, width, height], axis=1)
    faulty = side_faults(boxes, width_px=width, height_px=height)
    none = np.zeros(0, dtype=np.bool_)
    crowds = [numbers_of(one, IS_CROWD) for one in features]
    return Sheet(
        ends=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes_yxyx_norm=boxes,
        boxes_xyxy_px=boxes[:, [1, 0, 3, 2]].astype(np.float64) * scale,
        is_sound=~np.any([sides.any(axis=1) for sides in faulty.values()], axis=0),
        sizes_px=sizes_px,
        class_ids=_joined([numbers_of(one, LABEL) for one in features], np.int64),
        texts=[bytes_of(one, TEXT) for one in features],
        areas_px=[
            area.astype(np.float32, copy=False) if len(area := numbers_of(one, AREA)) else None
            for one in features
        ],
        is_crowd=np.concatenate(
            [
                crowd.astype(np.bool_) if len(crowd) else np.zeros(count, dtype=np.bool_)
                for crowd, count in zip(crowds, counts, strict=True)
            ]
            or [none]
        ),
        is_flagged=np.array(
            [
                any(np.count_nonzero(numbers_of(one, flag)) for flag in IGNORED_FLAGS)
                for one in features
            ],
            dtype=np.bool_,
        ),
    )


def _joined(columns: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.asarray(np.concatenate(columns or [np.zeros(0)]), dtype=dtype)


def box_screen(sheet: Sheet) -> NDArray[np.bool_]:
    """Returns bool[K], whether the boxes or areas of a record may have a fault."""
    boxes, sound = sheet.boxes_xyxy_px, sheet.is_sound
    counts = np.diff(sheet.ends)
    record = np.repeat(np.arange(len(sheet)), counts)
    suspicious = (counts > _FEW) | sheet.is_flagged
    suspicious[record[~sound]] = True
    with np.errstate(invalid="ignore", over="ignore"):
        sides = boxes[:, 2:] - boxes[:, :2]
        suspicious[record[(sides < TINY_SIDE_PX).any(axis=1)]] = True
        sizes = np.array(sheet.sizes_px, dtype=np.float64).reshape(-1, 2)[record]
        inside = np.minimum(boxes[:, 2:], sizes) - np.maximum(boxes[:, :2], 0)
        whole = np.prod(np.maximum(inside, 0), axis=1) >= WHOLE_SHARE * np.prod(sizes, axis=1)
        suspicious[record[whole]] = True
        # No area at all is as plausible as areas of zero alone.
        areas = [
            np.zeros(count, dtype=np.float32) if own is None else own
            for own, count in zip(sheet.areas_px, counts, strict=True)
        ]
        recorded = _joined(areas, np.float32)
        odd = is_implausible_area(recorded, box_areas=np.prod(sides, axis=1))
        suspicious[record[odd]] = True
        with_areas = np.zeros(len(sheet), dtype=np.bool_)
        with_areas[record[recorded != 0]] = True
        suspicious[record[(recorded == 0) & with_areas[record]]] = True
        suspicious[record[_overlapping(boxes, counts)]] = True
    return suspicious


def _overlapping(boxes: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Returns positions of boxes that overlap almost wholly with another of their record."""
    first, second = _pairs(np.where(counts > _FEW, 0, counts), counts)
    low = np.maximum(boxes[first, :2], boxes[second, :2])
    high = np.minimum(boxes[first, 2:], boxes[second, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    is_alike = shared >= NEAR_DUPLICATE_IOU * (areas[first] + areas[second] - shared)
    return np.asarray(first[is_alike])


def _pairs(
    compared: NDArray[np.int64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Returns the positions of every two objects of one record.

    Args:
        compared: Of each record, the objects to pair: all or none.
        counts: Of each record, all its objects.
    """
    begins = np.cumsum(counts) - counts
    within = np.arange(compared.sum()) - np.repeat(np.cumsum(compared) - compared, compared)
    position = np.repeat(begins, compared) + within
    later = np.repeat(compared, compared) - within - 1
    first = np.repeat(position, later)
    steps = np.arange(later.sum()) - np.repeat(np.cumsum(later) - later, later)
    return first, first + 1 + steps


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassScreen:
    """Attributes:
    suspicious: bool[K], whether the ids or texts of a record may have a fault.
    text_offsets: Of each record, offset k in -1, 0, 1 to the boxes whose text names the class of
        id + k; empty where there are no names.
    """

    suspicious: NDArray[np.bool_]
    text_offsets: Sequence[Mapping[int, int]]


def class_screen(sheet: Sheet, names: Names | None) -> ClassScreen:
    """Looks at the class ids and texts of records.

    Args:
        sheet: The records.
        names: The label map's; None when it can't be read.
    """
    suspicious = np.zeros(len(sheet), dtype=np.bool_)
    if names is None:
        return ClassScreen(suspicious=suspicious, text_offsets=[{}] * len(sheet))
    ids = sheet.class_ids.tolist()
    known: dict[tuple[int, bytes | None], tuple[bool, tuple[int, ...]]] = {}
    offsets: list[dict[int, int]] = []
    for number, texts in enumerate(sheet.texts):
        own = sheet.rows(number)
        total = dict.fromkeys(_OFFSETS, 0)
        pairs = zip(ids[own], texts or itertools.repeat(None), strict=False)
        for pair, times in Counter(pairs).items():
            if pair not in known:
                known[pair] = _meaning(*pair, names)
            is_right, named = known[pair]
            suspicious[number] |= not is_right
            for offset in named:
                total[offset] += times
        offsets.append(total)
    return ClassScreen(suspicious=suspicious, text_offsets=offsets)


def _meaning(class_id: int, text: bytes | None, names: Names) -> tuple[bool, tuple[int, ...]]:
    """Returns whether id and text are as the label map has them, and whose name the text is."""
    if text is None:
        return class_id != 0 and class_id in names.aliases, ()
    word = text.decode("utf-8", errors="replace")
    named = tuple(k for k in _OFFSETS if word in names.aliases.get(class_id + k, ()))
    return class_id != 0 and 0 in named, named

"""Checks of one record's boxes and classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kfdet.core.detection_record import DIFFICULT, GROUP_OF, numbers_of
from kfdet.core.example import Feature
from kfdet.core.validation.findings import Fault

PIXEL_COORDINATE = 2.0
TINY_SIDE_PX = 2.0
NEAR_DUPLICATE_IOU = 0.9
MOST_BOXES = 10_000
_MOST_COMPARED = 2000
_ROWS_AT_ONCE = 256
WHOLE_SHARE = 0.99
_AREA_EXCESS = 1.1
_AREA_EXCESS_PX = 4.0
IGNORED_FLAGS: Mapping[str, str] = {GROUP_OF: "group-of-ignored", DIFFICULT: "difficult-ignored"}
# Gravest first: what is expected instead.
_UNSOUND: Mapping[str, str] = {
    "box-not-finite": "four finite sides",
    "box-pixel-coordinates": "sides in [0, 1]",
    "box-inverted": "ymin < ymax and xmin < xmax",
    "box-no-area": "ymin < ymax and xmin < xmax",
    "box-beyond-border": "sides in [0, 1]",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Objects:
    """The objects of one record, in lists of equal length.

    Attributes:
        boxes_yxyx_norm: float32[N, 4], as recorded.
        class_ids: int64[N].
        texts: N class texts, or none.
        area_px: float32[N], or None when not recorded.
        is_crowd: bool[N].
        size_px: (width, height) of the image, at least 1 each.
    """

    boxes_yxyx_norm: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    texts: tuple[str, ...]
    area_px: NDArray[np.float32] | None
    is_crowd: NDArray[np.bool_]
    size_px: tuple[int, int]

    def boxes_xyxy_px(self) -> NDArray[np.float64]:
        """Returns float64[N, 4], [xmin, ymin, xmax, ymax] in pixels."""
        scale = np.array(self.size_px * 2, dtype=np.float64)
        return self.boxes_yxyx_norm[:, [1, 0, 3, 2]].astype(np.float64) * scale

    def is_sound(self) -> NDArray[np.bool_]:
        """Returns bool[N]: finite, with an area, and no further than a pixel outside the image."""
        return np.logical_not(self.hits.any(axis=0))

    @cached_property
    def hits(self) -> NDArray[np.bool_]:
        """bool[K, N], whether each kind of fault keeps each box from being a box of the image."""
        return _hits(self)

    def first(self, count: int) -> Objects:
        """Returns the first of these objects."""
        return Objects(
            boxes_yxyx_norm=self.boxes_yxyx_norm[:count],
            class_ids=self.class_ids[:count],
            texts=self.texts[:count],
            area_px=None if self.area_px is None else self.area_px[:count],
            is_crowd=self.is_crowd[:count],
            size_px=self.size_px,
        )


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names of classes, as records may write them.

    Attributes:
        aliases: Class id to its names, that of the label map first.
    """

    aliases: Mapping[int, tuple[str, ...]]

    def is_spelling_of(self, text: str, class_id: int) -> bool:
        """Returns whether text differs from a name of the class in case and spacing only."""
        return plain(text) in {plain(name) for name in self.aliases.get(class_id, ())}


def plain(text: str) -> str:
    """Returns a name without case, white space, hyphens and underscores."""
    return "".join(letter for letter in text.casefold() if letter not in " \t\n-_")


def box_faults(objects: Objects) -> Iterator[Fault]:
    """Yields what is wrong with boxes and areas, box by box; of absurdly many, only of the first."""
    if len(objects.class_ids) > MOST_BOXES:
        yield Fault(
            code="boxes-too-many",
            seen=f"{len(objects.class_ids):,} boxes",
            expected=f"at most {MOST_BOXES:,}",
        )
        objects = objects.first(MOST_BOXES)
    boxes, sound = objects.boxes_xyxy_px(), objects.is_sound()
    yield from _worst_faults(objects)
    width, height = objects.size_px
    for index in np.flatnonzero(sound):
        xmin, ymin, xmax, ymax = boxes[index]
        if min(xmax - xmin, ymax - ymin) < TINY_SIDE_PX:
            yield Fault(
                code="box-tiny",
                seen=f"{_named(objects, index)}: {xmax - xmin:.2f} x {ymax - ymin:.2f} pixels",
                expected=f"at least {TINY_SIDE_PX:g} pixels a side",
                boxes=(int(index),),
            )
        covered = max(0.0, min(xmax, width) - max(xmin, 0.0)) * max(
            0.0, min(ymax, height) - max(ymin, 0.0)
        )
        if covered >= WHOLE_SHARE * width * height:
            yield Fault(
                code="box-whole-image",
                seen=f"{_named(objects, index)}: {covered / (width * height):.0%} of the image",
                expected="an object with something around it",
                boxes=(int(index),),
            )
    yield from _duplicates(objects, sound)
    yield from _areas(objects, boxes, sound)


def flag_faults(features: Mapping[str, Feature]) -> Iterator[Fault]:
    """Yields the marks of boxes that nothing here heeds."""
    for name, code in IGNORED_FLAGS.items():
        marked = np.flatnonzero(numbers_of(features, name)) if name in features else ()
        if len(marked):
            yield Fault(
                code=code,
                seen=f"{len(marked):,} of {len(numbers_of(features, name)):,} boxes",
                expected="none",
                boxes=tuple(int(index) for index in marked[:MOST_BOXES]),
            )


def class_faults(objects: Objects, names: Names) -> Iterator[Fault]:
    """Yields what is wrong with class ids and texts, box by box; of absurdly many, of the first."""
    known = ", ".join(str(number) for number in list(names.aliases)[:10])
    known += " ..." if len(names.aliases) > 10 else ""
    for index, class_id in enumerate(objects.class_ids[:MOST_BOXES].tolist()):
        if class_id == 0:
            yield Fault(
                code="class-id-zero",
                seen=f"box {index}: class id 0",
                expected=f"one of {known}",
                boxes=(index,),
            )
        elif class_id not in names.aliases:
            yield Fault(
                code="class-id-unknown",
                seen=f"box {index}: class id {class_id}",
                expected=f"one of {known}",
                boxes=(index,),
            )
        elif objects.texts and objects.texts[index] not in names.aliases[class_id]:
            text = objects.texts[index]
            spelling = names.is_spelling_of(text, class_id)
            yield Fault(
                code="class-text-spelling" if spelling else "class-text-disagrees",
                seen=f'box {index}: id {class_id} with text "{text}"',
                expected=" or ".join(f'"{name}"' for name in names.aliases[class_id]),
                boxes=(index,),
            )


def _hits(objects: Objects) -> NDArray[np.bool_]:
    boxes = objects.boxes_yxyx_norm
    width, height = (np.full(len(boxes), side, dtype=np.float64) for side in objects.size_px)
    sides = side_faults(boxes, width_px=width, height_px=height)
    return np.stack([sides[code].any(axis=1) for code in _UNSOUND])


def _worst_faults(objects: Objects) -> Iterator[Fault]:
    """Yields, for each box that is no box of the image, the gravest reason."""
    hits = objects.hits
    for index in np.flatnonzero(hits.any(axis=0)).tolist():
        code = list(_UNSOUND)[int(np.argmax(hits[:, index]))]
        sides = zip(
            ("ymin", "xmin", "ymax", "xmax"), objects.boxes_yxyx_norm[index].tolist(), strict=True
        )
        seen = ", ".join(f"{side} {value:.6g}" for side, value in sides)
        named = f"{_named(objects, index)}: {seen}"
        yield Fault(code=code, seen=named, expected=_UNSOUND[code], boxes=(index,))


def side_faults(
    boxes_yxyx_norm: NDArray[np.float32],
    *,
    width_px: NDArray[np.float64],
    height_px: NDArray[np.float64],
) -> dict[str, NDArray[np.bool_]]:
    """Returns what keeps boxes from being boxes of their images.

    Args:
        boxes_yxyx_norm: float32[N, 4], as recorded.
        width_px: float64[N], of each box's image.
        height_px: float64[N].

    Returns:
        Code to bool[N, 2 or 4], the directions or sides that have the fault.
    """
    boxes = boxes_yxyx_norm
    # One pixel, and the rounding of float32 beside it.
    slack = 1 / np.stack([height_px, width_px, height_px, width_px], axis=1) + 1e-6
    with np.errstate(invalid="ignore"):
        extent = boxes[:, 2:] - boxes[:, :2]
        return {
            "box-not-finite": ~np.isfinite(boxes),
            "box-pixel-coordinates": np.abs(boxes) > PIXEL_COORDINATE,
            "box-inverted": extent < 0,
            "box-no-area": extent == 0,
            "box-beyond-border": (boxes < -slack) | (boxes > 1 + slack),
        }


def is_implausible_area(
    areas_px: NDArray[np.float32], *, box_areas: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Returns bool[N], whether recorded areas can't be those of objects in their boxes.

    An area of 0 may say that there is none: it counts here as plausible.
    """
    areas = areas_px.astype(np.float64)
    looks_normalised = (areas > 0) & (areas <= 1) & (box_areas > 25)
    most = _AREA_EXCESS * box_areas + _AREA_EXCESS_PX
    return ~((areas >= 0) & (areas <= most)) | looks_normalised


def _duplicates(objects: Objects, sound: NDArray[np.bool_]) -> Iterator[Fault]:
    """Yields, for each box, the earlier one that it repeats, or nearly."""
    # Every pair is compared: a record of absurdly many boxes must not use up time and memory.
    chosen = np.flatnonzero(sound & ~objects.is_crowd)[:_MOST_COMPARED]
    if len(chosen) < 2:
        return
    boxes, ids = objects.boxes_xyxy_px()[chosen], objects.class_ids[chosen]
    for begin in range(0, len(boxes), _ROWS_AT_ONCE):
        ious = _ious(boxes[begin : begin + _ROWS_AT_ONCE], boxes)
        near = np.tril(ious >= NEAR_DUPLICATE_IOU, k=begin - 1)
        for row in np.flatnonzero(near.any(axis=1)).tolist():
            later = begin + row
            equal = near[row] & (boxes == boxes[later]).all(axis=1)
            same_class = near[row] & (ids == ids[later])
            kinds = {
                "box-duplicate": equal & same_class,
                "box-near-duplicate": same_class,
                "box-two-classes": equal,
            }
            code = next((code for code, pairs in kinds.items() if pairs.any()), None)
            if code is None:
                continue
            earlier = int(np.argmax(np.where(kinds[code], ious[row], -1)))
            one, other = int(chosen[earlier]), int(chosen[later])
            shared = (
                "have the same sides"
                if equal[earlier]
                else f"overlap with IoU {ious[row, earlier]:.3f}"
            )
            yield Fault(
                code=code,
                seen=f"{_named(objects, other)} and {_named(objects, one)} {shared}",
                expected="each object once",
                boxes=(one, other),
            )


def _ious(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns float64[N, M], intersection over union of [xmin, ymin, xmax, ymax] with each other."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas, other_areas = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, others))
    return np.asarray(shared / (areas[:, None] + other_areas[None, :] - shared))


def _areas(
    objects: Objects, boxes: NDArray[np.float64], sound: NDArray[np.bool_]
) -> Iterator[Fault]:
    areas = objects.area_px
    # All zeros is how some writers say that they have no areas.
    if areas is None or not bool(np.any(areas != 0)):
        return
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    finite = np.isfinite(areas)
    for index in np.flatnonzero(~finite).tolist():
        yield Fault(
            code="area-not-finite",
            seen=f"{_named(objects, index)}: area {areas[index]:.6g}",
            expected="a number of square pixels",
            boxes=(index,),
        )
    odd = (areas == 0) | is_implausible_area(areas, box_areas=box_areas)
    for index in np.flatnonzero(sound & finite & odd).tolist():
        yield Fault(
            code="area-implausible",
            seen=f"{_named(objects, index)}: area {areas[index]:.6g}",
            expected=f"above 0, up to the {box_areas[index]:.6g} square pixels of its box",
            boxes=(index,),
        )


def _named(objects: Objects, index: int) -> str:
    name = objects.texts[index] if objects.texts else f"class {objects.class_ids[index]}"
    return f"box {index} ({name})"

"""Checks of one record's boxes and classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kfdet.core.validation.findings import Fault

PIXEL_COORDINATE = 2.0
TINY_SIDE_PX = 2.0
NEAR_DUPLICATE_IOU = 0.9
_MOST_COMPARED = 2000
_WHOLE_SHARE = 0.99
_AREA_EXCESS = 1.1
_AREA_EXCESS_PX = 4.0


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
        return np.array([fault is None for fault in self.worst_faults], dtype=np.bool_)

    @cached_property
    def worst_faults(self) -> Sequence[Fault | None]:
        """For each box the fault that keeps it from being a box of the image, if any."""
        return _worst_faults(self)


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
    """Yields what is wrong with boxes and areas, box by box."""
    boxes, sound = objects.boxes_xyxy_px(), objects.is_sound()
    yield from (fault for fault in objects.worst_faults if fault is not None)
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
        if covered >= _WHOLE_SHARE * width * height:
            yield Fault(
                code="box-whole-image",
                seen=f"{_named(objects, index)}: {covered / (width * height):.0%} of the image",
                expected="an object with something around it",
                boxes=(int(index),),
            )
    yield from _duplicates(objects, sound)
    yield from _areas(objects, boxes, sound)


def class_faults(objects: Objects, names: Names) -> Iterator[Fault]:
    """Yields what is wrong with class ids and texts, box by box."""
    known = ", ".join(str(number) for number in list(names.aliases)[:10])
    known += " ..." if len(names.aliases) > 10 else ""
    for index, class_id in enumerate(objects.class_ids.tolist()):
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


def _worst_faults(objects: Objects) -> Sequence[Fault | None]:
    boxes = objects.boxes_yxyx_norm
    if len(boxes) == 0:
        return ()
    width, height = objects.size_px
    with np.errstate(invalid="ignore"):
        extent = boxes[:, 2:] - boxes[:, :2]
        # One pixel, and the rounding of float32 beside it.
        slack = np.array([1 / height, 1 / width, 1 / height, 1 / width]) + 1e-6
        kinds: tuple[tuple[str, str, NDArray[np.bool_]], ...] = (
            ("box-not-finite", "four finite sides", ~np.isfinite(boxes)),
            ("box-pixel-coordinates", "sides in [0, 1]", np.abs(boxes) > PIXEL_COORDINATE),
            ("box-inverted", "ymin < ymax and xmin < xmax", extent < 0),
            ("box-no-area", "ymin < ymax and xmin < xmax", extent == 0),
            ("box-beyond-border", "sides in [0, 1]", (boxes < -slack) | (boxes > 1 + slack)),
        )
    hits = np.stack([np.any(sides, axis=1) for _, _, sides in kinds])
    faults: list[Fault | None] = []
    for index in range(len(boxes)):
        if not hits[:, index].any():
            faults.append(None)
            continue
        code, expected, _ = kinds[int(np.argmax(hits[:, index]))]
        sides = zip(("ymin", "xmin", "ymax", "xmax"), boxes[index].tolist(), strict=True)
        seen = ", ".join(f"{side} {value:.6g}" for side, value in sides)
        named = f"{_named(objects, index)}: {seen}"
        faults.append(Fault(code=code, seen=named, expected=expected, boxes=(index,)))
    return faults


def _duplicates(objects: Objects, sound: NDArray[np.bool_]) -> Iterator[Fault]:
    """Yields, for each box, the earlier one that it repeats, or nearly."""
    # Every pair is compared: a record of absurdly many boxes must not use up time and memory.
    chosen = np.flatnonzero(sound & ~objects.is_crowd)[:_MOST_COMPARED]
    if len(chosen) < 2:
        return
    boxes = objects.boxes_xyxy_px()[chosen]
    ious = _ious(boxes)
    for later, earlier in zip(*np.nonzero(np.tril(ious >= NEAR_DUPLICATE_IOU, k=-1)), strict=True):
        one, other = int(chosen[earlier]), int(chosen[later])
        same_class = objects.class_ids[one] == objects.class_ids[other]
        equal = bool((boxes[earlier] == boxes[later]).all())
        if not (same_class or equal):
            continue
        code = (
            ("box-duplicate" if equal else "box-near-duplicate")
            if same_class
            else "box-two-classes"
        )
        yield Fault(
            code=code,
            seen=f"{_named(objects, other)} and {_named(objects, one)} "
            + ("have the same sides" if equal else f"overlap with IoU {ious[later, earlier]:.3f}"),
            expected="each object once",
            boxes=(one, other),
        )


def _ious(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns float64[N, N], intersection over union of every pair of [xmin, ymin, xmax, ymax]."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return np.asarray(shared / (areas[:, None] + areas[None, :] - shared))


def _areas(
    objects: Objects, boxes: NDArray[np.float64], sound: NDArray[np.bool_]
) -> Iterator[Fault]:
    areas = objects.area_px
    # All zeros is how some writers say that they have no areas.
    if areas is None or not bool(np.any(areas != 0)):
        return
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for index in np.flatnonzero(sound).tolist():
        area, box_area = float(areas[index]), float(box_areas[index])
        looks_normalised = 0 < area <= 1 and box_area > 25
        most = _AREA_EXCESS * box_area + _AREA_EXCESS_PX
        if not 0 <= area <= most or looks_normalised:
            yield Fault(
                code="area-implausible",
                seen=f"{_named(objects, index)}: area {area:.6g}",
                expected=f"up to {box_area:.6g} square pixels, the area of its box",
                boxes=(index,),
            )


def _named(objects: Objects, index: int) -> str:
    name = objects.texts[index] if objects.texts else f"class {objects.class_ids[index]}"
    return f"box {index} ({name})"

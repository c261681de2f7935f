"""COCO instance annotations: one JSON file with images, annotations and categories."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from kfdet.core.annotations import AnnotatedImage, AnnotationFault, BoxXyxy, ObjectAnnotation


@dataclass(frozen=True, kw_only=True)
class CocoSet:
    """One annotation file.

    Attributes:
        images: In the order of the file; source_id is the image's id.
        categories: Category id to name.
        faults: What no record can represent.
    """

    images: tuple[AnnotatedImage, ...]
    categories: Mapping[int, str]
    faults: tuple[AnnotationFault, ...]


def parse_coco(text: str | bytes, *, where: str) -> CocoSet:
    """Parses a COCO instances file and collects every fault in it.

    Args:
        text: The JSON file.
        where: The file, for faults.

    Source: cocodataset.org/#format-data, section 1 (object detection).
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as failure:
        return _nothing(f"is no JSON: {failure}", where=where)
    if not isinstance(data, dict):
        return _nothing(f"is a {type(data).__name__}, expected an object", where=where)
    missing = [key for key in _SECTIONS if not isinstance(data.get(key), list)]
    if missing:
        return _nothing(
            f"has no list {' and no list '.join(missing)}; expected a COCO instances file",
            where=where,
        )
    return _Parser(where).parse(data)


_SECTIONS = ("images", "annotations", "categories")


def _nothing(what: str, *, where: str) -> CocoSet:
    return CocoSet(images=(), categories={}, faults=(AnnotationFault(where=where, what=what),))


class _Parser:
    """Collects the faults of one file while its three lists are read."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._faults: list[AnnotationFault] = []

    def parse(self, data: Mapping[str, list[Any]]) -> CocoSet:
        categories = self._categories(data["categories"])
        images = self._images(data["images"])
        objects = self._annotations(data["annotations"], images=images, categories=categories)
        annotated = tuple(
            AnnotatedImage(
                file_name=image["file_name"],
                source_id=str(number),
                size_px=_size(image),
                objects=tuple(objects[number]),
            )
            for number, image in images.items()
        )
        return CocoSet(images=annotated, categories=categories, faults=tuple(self._faults))

    def _fault(self, what: str) -> None:
        self._faults.append(AnnotationFault(where=self._where, what=what))

    def _identified(self, entries: list[Any], *, kind: str) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for position, entry in enumerate(entries):
            number = entry.get("id") if isinstance(entry, dict) else None
            if not is_int(number):
                self._fault(f"{kind} at position {position}: id is {number!r}, expected an integer")
            elif number in found:
                self._fault(f"{kind} {number}: the id is given more than once")
            else:
                found[number] = entry
        return found

    def _categories(self, entries: list[Any]) -> dict[int, str]:
        names: dict[int, str] = {}
        for number, entry in self._identified(entries, kind="category").items():
            name = entry.get("name")
            if not _is_text(name) or not name.strip():
                self._fault(f"category {number}: name is {name!r}, expected text")
            elif name in names.values():
                self._fault(f'category {number}: name "{name}" is given more than once')
            else:
                names[number] = name
        return names

    def _images(self, entries: list[Any]) -> dict[int, dict[str, Any]]:
        images: dict[int, dict[str, Any]] = {}
        by_name: dict[str, int] = {}
        for number, entry in self._identified(entries, kind="image").items():
            name = entry.get("file_name")
            if not _is_text(name):
                self._fault(f"image {number}: file_name is {name!r}, expected text")
            elif name in by_name:
                self._fault(
                    f"image {number}: file_name {name} is that of image {by_name[name]} too"
                )
            else:
                by_name[name] = number
                images[number] = entry
        return images

    def _annotations(
        self,
        entries: list[Any],
        *,
        images: Mapping[int, Any],
        categories: Mapping[int, str],
    ) -> dict[int, list[ObjectAnnotation]]:
        objects: dict[int, list[ObjectAnnotation]] = defaultdict(list)
        for number, entry in self._identified(entries, kind="annotation").items():
            place = f"annotation {number}"
            image, category = entry.get("image_id"), entry.get("category_id")
            if not is_int(image) or image not in images:
                self._fault(f"{place}: image_id {image!r} is no image of the file")
            elif not is_int(category) or category not in categories:
                self._fault(f"{place}: category_id {category!r} is no category of the file")
            elif (box := self._box(entry, place=place)) is not None:
                area = entry.get("area")
                objects[image].append(
                    ObjectAnnotation(
                        place=place,
                        class_name=categories[category],
                        box_xyxy_px=box,
                        is_crowd=bool(entry.get("iscrowd", 0)),
                        area_px=float(area) if is_number(area) and area >= 0 else None,
                    )
                )
        return objects

    def _box(self, entry: Mapping[str, Any], *, place: str) -> BoxXyxy | None:
        box = entry.get("bbox")
        if box is None or box == []:
            has_mask = bool(entry.get("segmentation"))
            self._fault(
                f"{place}: has {'a segmentation but ' if has_mask else ''}no bbox, "
                "expected [x, y, width, height]"
            )
            return None
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(side) for side in box):
            self._fault(f"{place}: bbox is {box!r}, expected [x, y, width, height], all finite")
            return None
        x, y, width, height = (float(side) for side in box)
        return x, y, x + width, y + height


def is_int(value: Any) -> TypeGuard[int]:
    """Tells whether a JSON value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> TypeGuard[str]:
    """Tells whether a JSON value is text that can be written down: JSON may escape half a character."""
    try:
        return isinstance(value, str) and bool(value.encode()) and "\0" not in value
    except UnicodeEncodeError:
        return False


def is_number(value: Any) -> TypeGuard[float]:
    """Tells whether a JSON value is a finite number; true and false are none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # An integer may be too large for a float.
    return abs(value) <= sys.float_info.max


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if isinstance(width, int) and isinstance(height, int):
        return width, height
    return None

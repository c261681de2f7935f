"""Ground truth and results in COCO's JSON, as columns: what any detector's evaluation can start from.

Numbers stay as they are in the files, in float64, so that the metrics are pycocotools' on the same
files, to the bit.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from kfdet.core.coco import Detections, Float64, GroundTruth, Images, Int64
from kfdet.core.coco_json import is_int, is_number
from kfdet.errors import DataError, did_you_mean
from kfdet.schema.dataset import ClassLabel, LabelMap

_LARGEST_CLASS_ID = 2**31 - 1
_SHOWN = 10
# Sides and areas of larger boxes could not be multiplied and added without an infinity.
_LARGEST_PX = 1e15
_LONGEST_SIDE_PX = 2**31 - 1
_OF_IMAGES = ("id", "file_name", "width", "height")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A COCO instances file.

    Images are numbered by their place in ascending order of COCO id, which is the order in which
    pycocotools looks at them; ids may be text. Class ids are the category ids, moved up together where the lowest is
    below 1.

    Attributes:
        images: source_id is the COCO id, file the file_name, empty where there is none.
        ground_truth: In the order of the file.
        label_map: The categories in ascending order of id.
        image_ids: COCO id to image id.
        class_ids: Category id to class id.
    """

    images: Images
    ground_truth: GroundTruth
    label_map: LabelMap
    image_ids: Mapping[int | str, int]
    class_ids: Mapping[int, int]


def parse_reference(text: str | bytes, *, where: str) -> Reference:
    """Parses a COCO instances file.

    Args:
        text: The JSON file. `area` may be missing, and is then width times height; `iscrowd` too.
        where: The file, for errors.

    Raises:
        DataError: Names every entry that is wrong, up to a cap.

    Source: cocodataset.org/#format-data, section 1 (object detection).
    """
    data = _json(text, where=where)
    lists = ("images", "annotations", "categories")
    if not isinstance(data, dict) or any(not isinstance(data.get(key), list) for key in lists):
        hint = "This is a results file: give it as --detections." if isinstance(data, list) else ""
        raise DataError(
            "is no COCO instances file",
            where=where,
            expected="an object with the lists images, annotations and categories",
            remedy=hint or None,
        )
    faults = _Faults(where)
    names = _categories(data["categories"], faults)
    images: dict[int | str, dict[str, Any]] = _identified(
        data["images"], "image", faults, is_id=_is_image_id
    )
    if len({isinstance(number, str) for number in images}) > 1:
        faults.add("some ids of images are text and some are numbers")
    for number, entry in images.items():
        for key in ("width", "height"):
            if is_number(entry.get(key)) and not 0 <= entry[key] <= _LONGEST_SIDE_PX:
                faults.add(f"image {number}: {key} is {_short(entry[key])}, expected pixels")
    if not names:
        faults.add("it has no categories")
    if not images:
        faults.add("it has no images")
    faults.raise_if_any()
    in_order: list[int | str] = sorted(images)
    image_ids = {number: position for position, number in enumerate(in_order)}
    class_ids = _class_ids(sorted(names))
    rows = [
        row
        for _, entry in _identified(data["annotations"], "annotation", faults).items()
        for row in _object(entry, image_ids, class_ids, faults)
    ]
    faults.raise_if_any()
    table = np.array(rows, np.float64).reshape(-1, 8)
    ordered = [images[number] for number in in_order]
    return Reference(
        images=Images(
            image_id=np.arange(len(ordered)),
            source_id=tuple(str(number) for number in in_order),
            file=tuple(str(entry.get("file_name") or "") for entry in ordered),
            record=np.zeros(len(ordered), np.int64),
            width_px=_lengths(ordered, "width"),
            height_px=_lengths(ordered, "height"),
            features=tuple(_features(entry) for entry in ordered),
        ),
        ground_truth=GroundTruth(
            image_id=table[:, 0].astype(np.int64),
            class_id=table[:, 1].astype(np.int64),
            is_crowd=table[:, 2] > 0,
            area=table[:, 3],
            boxes_xyxy_px=np.concatenate([table[:, 4:6], table[:, 4:6] + table[:, 6:]], axis=1),
            sizes_wh_px=table[:, 6:],
        ),
        label_map=LabelMap(
            classes=tuple(
                ClassLabel(id=class_ids[number], name=names[number]) for number in sorted(names)
            )
        ),
        image_ids=image_ids,
        class_ids=class_ids,
    )


def parse_results(text: str | bytes, *, reference: Reference, where: str) -> Detections:
    """Parses a COCO results file: a list of `image_id, category_id, bbox, score`.

    Args:
        text: The JSON file.
        reference: What the detections must belong to.
        where: The file, for errors.

    Raises:
        DataError: Names every entry that is wrong, up to a cap.

    Source: cocodataset.org/#format-results, section 1 (object detection).
    """
    data = _json(text, where=where)
    if not isinstance(data, list):
        raise DataError(
            f"is a JSON {'object' if isinstance(data, dict) else type(data).__name__}",
            where=where,
            expected="a list of detections with image_id, category_id, bbox and score",
        )
    faults = _Faults(where)
    table = _sound_table(data, reference)
    rows = (
        []
        if table is not None
        else [
            row
            for position, entry in enumerate(data)
            for row in _detection(entry, position, reference, faults)
        ]
    )
    if faults.of_images == len(data) > 0:
        raise DataError(
            "none of its images are in the ground truth",
            where=where,
            expected="results on the images of the ground truth",
            remedy=f"It is of another data set: its first image_id is {data[0].get('image_id')!r}, "
            f"the ground truth's is {next(iter(reference.image_ids))!r}.",
        )
    faults.raise_if_any()
    if table is None:
        table = np.array(rows, np.float64).reshape(-1, 7)
    return Detections(
        image_id=table[:, 0].astype(np.int64),
        class_id=table[:, 1].astype(np.int64),
        score=table[:, 2],
        boxes_xyxy_px=np.concatenate([table[:, 3:5], table[:, 3:5] + table[:, 5:]], axis=1),
        sizes_wh_px=table[:, 5:],
    )


def _sound_table(data: list[Any], reference: Reference) -> Float64 | None:
    """Returns image, class, score and box of all entries, float64[N, 7]; None where any is faulty.

    Columns are several times as fast to look at as entries; which one is faulty, and why, is then for
    the slow way to say.
    """
    try:
        ids = [entry["image_id"] for entry in data]
        categories = [entry["category_id"] for entry in data]
        boxes = [entry["bbox"] for entry in data]
        scores = [entry["score"] for entry in data]
        if (
            not {type(one) for one in ids} <= {int, float, str}
            or not {type(one) for one in categories} <= {int, float}
            or not {type(one) for one in scores} <= {int, float}
            or not {type(one) for one in itertools.chain.from_iterable(boxes)} <= {int, float}
            or not {len(box) for box in boxes} <= {4}
        ):
            return None
        table = np.empty((len(data), 7))
        table[:, 0] = [reference.image_ids[one] for one in ids]
        table[:, 1] = [reference.class_ids[one] for one in categories]
        table[:, 2] = scores
        table[:, 3:] = np.array(boxes, np.float64).reshape(-1, 4)
    except (KeyError, TypeError, OverflowError):
        return None
    sound = (
        np.isfinite(table).all()
        and (table[:, 5:] >= 0).all()
        and (np.abs(table[:, 3:]) <= _LARGEST_PX).all()
    )
    return table if sound else None


class _Faults:
    """Collects what is wrong with one file."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._first: list[str] = []
        self._count = 0
        self.of_images = 0

    def add(self, what: str) -> None:
        self._count += 1
        if self._count <= _SHOWN:
            self._first.append(what)

    def raise_if_any(self) -> None:
        if self._count == 1:
            raise DataError(self._first[0], where=self._where)
        if self._count:
            more = f"\n  and {self._count - _SHOWN:,} more" if self._count > _SHOWN else ""
            listing = "\n".join(f"  - {line}" for line in self._first)
            raise DataError(f"{self._count:,} faults:\n{listing}{more}", where=self._where)


def _class_ids(numbers: Sequence[int]) -> dict[int, int]:
    """Returns ids from 1 on for the categories': the same where these are positive and of usual size."""
    shift = max(0, 1 - numbers[0])
    if numbers[-1] + shift <= _LARGEST_CLASS_ID:
        return {number: number + shift for number in numbers}
    # A float, as which columns of a file are read, does not tell larger ones apart.
    return {number: position for position, number in enumerate(numbers, 1)}


def _json(text: str | bytes, *, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as failure:
        raise DataError(f"is no JSON: {failure}", where=where) from failure


def _is_whole(value: Any) -> TypeGuard[int]:
    return is_number(value) and float(value).is_integer()


def _is_image_id(value: Any) -> TypeGuard[int | str]:
    return _is_whole(value) or (isinstance(value, str) and value != "")


def _identified(
    entries: list[Any], kind: str, faults: _Faults, *, is_id: Callable[[Any], bool] = _is_whole
) -> dict[Any, dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {}
    for position, entry in enumerate(entries):
        given = entry.get("id") if isinstance(entry, dict) else None
        if not is_id(given):
            faults.add(f"{kind} at position {position}: id is {given!r}, expected an integer")
            continue
        # 42.0, as some programs write whole numbers, is 42.
        number = int(given) if isinstance(given, float) else given
        if number in found:
            faults.add(f"{kind} {number}: the id is given more than once")
        else:
            found[number] = entry
    return found


def _categories(entries: list[Any], faults: _Faults) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, entry in _identified(entries, "category", faults).items():
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            faults.add(f"category {number}: name is {name!r}, expected text")
        elif name in names.values():
            faults.add(f'category {number}: name "{name}" is given more than once')
        else:
            names[number] = name
    return names


def _object(
    entry: dict[str, Any],
    image_ids: Mapping[int | str, int],
    class_ids: Mapping[int, int],
    faults: _Faults,
) -> Iterator[tuple[float, ...]]:
    place = f"annotation {entry['id']}"
    image, category = entry.get("image_id"), entry.get("category_id")
    box: Any = entry.get("bbox")
    area, crowd = entry.get("area"), entry.get("iscrowd", 0)
    if not _is_image_id(image) or image not in image_ids:
        faults.add(f"{place}: image_id {image!r} is no image of the file")
    elif not _is_whole(category) or category not in class_ids:
        faults.add(f"{place}: category_id {category!r} is no category of the file")
    elif (problem := _box_problem(box)) is not None:
        faults.add(f"{place}: {problem}")
    elif area is not None and not (is_number(area) and area >= 0):
        faults.add(f"{place}: area is {area!r}, expected px^2, not negative")
    elif crowd not in (0, 1):
        faults.add(f"{place}: iscrowd is {crowd!r}, expected 0 or 1")
    else:
        size = box[2] * box[3] if area is None else area
        yield (image_ids[image], class_ids[category], crowd, size, *box)


def _detection(
    entry: Any, position: int, reference: Reference, faults: _Faults
) -> Iterator[tuple[float, ...]]:
    place = f"detection {position}"
    if not isinstance(entry, dict):
        faults.add(f"{place}: is {_short(entry)}, expected an object")
        return
    image, category = entry.get("image_id"), entry.get("category_id")
    box: Any = entry.get("bbox")
    score = entry.get("score")
    if not _is_image_id(image) or image not in reference.image_ids:
        faults.of_images += 1
        faults.add(
            f"{place}: image_id {image!r} is no image of the ground truth{_kind_hint(image, reference)}"
        )
    elif not _is_whole(category) or category not in reference.class_ids:
        known = ", ".join(str(number) for number in list(reference.class_ids)[:_SHOWN])
        faults.add(
            f"{place} (image {image}): category_id {category!r} is no category of the ground "
            f"truth, which has {known}{' ...' if len(reference.class_ids) > _SHOWN else ''}"
        )
    elif (problem := _box_problem(box)) is not None:
        hint = did_you_mean("bbox", entry) if "bbox" not in entry else ""
        if "bbox" not in entry and entry.get("segmentation"):
            hint = "It has a segmentation: masks are not measured, boxes are."
        faults.add(f"{place} (image {image}): {problem} {hint}".rstrip())
    elif not is_number(score):
        faults.add(f"{place} (image {image}): score is {score!r}, expected a finite number")
    else:
        yield (reference.image_ids[image], reference.class_ids[category], score, *box)


def _kind_hint(image: Any, reference: Reference) -> str:
    """Returns what is odd where numbers were written as text, or text as numbers."""
    first = next(iter(reference.image_ids))
    if isinstance(image, str) == isinstance(first, str):
        return ""
    return f", whose ids are {'text' if isinstance(first, str) else 'numbers'}"


def _box_problem(box: Any) -> str | None:
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return f"bbox is {_short(box)}, expected [x, y, width, height], all finite"
    if box[2] < 0 or box[3] < 0:
        return f"bbox is {_short(box)}, with a negative side; expected [x, y, width, height]"
    if max(map(abs, box)) > _LARGEST_PX:
        return (
            f"bbox is {_short(box)}, which no image holds; expected [x, y, width, height] in pixels"
        )
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _features(entry: dict[str, Any]) -> dict[str, str]:
    """Returns what else is said of an image in text or whole numbers: what slices can be cut by."""
    return {
        key: str(value)
        for key, value in sorted(entry.items())
        if key not in _OF_IMAGES and (is_int(value) or isinstance(value, str))
    }


def _lengths(entries: list[dict[str, Any]], key: str) -> Int64:
    return np.array([entry[key] if _is_whole(entry.get(key)) else 0 for entry in entries], np.int64)

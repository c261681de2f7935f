"""The parts that a set is cut into, and how well a detector does in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kfdet.core.coco import (
    EvaluationData,
    Float64,
    Int64,
    iou_index,
)
from kfdet.core.error_analysis import Matching, Outcomes, grouped_score_curves
from kfdet.core.evidence import ImageParts
from kfdet.core.matching import Matches
from kfdet.core.ranked import Ranking, average_precision, mean_of_defined, ranked
from kfdet.errors import ConfigError, did_you_mean
from kfdet.schema.metrics import ApAtIou, Slice

SliceKeys = Literal["auto"] | Sequence[str]

ABSENT = "not given"
_FEW_VALUES = 20
_MOST_VALUES = 50
_RANGES = 4
_MOST_DIGITS = 18
_SIZES_PX2 = (0.0, 16.0**2, 32.0**2, 96.0**2, 256.0**2, np.inf)
_SIZE_NAMES = (
    "below 16 px", "16 to 32 px", "32 to 96 px", "96 to 256 px", "256 px and more",
)  # fmt: skip
_RATIOS = (0.0, 1 / 3, 2 / 3, 1.5, 3.0, np.inf)
_RATIO_NAMES = (
    "below 1:3", "1:3 to 2:3", "2:3 to 3:2", "3:2 to 3:1", "3:1 and wider",
)  # fmt: skip
_CROWDING = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, np.inf)
_CROWDING_NAMES = ("0", "1", "2 to 4", "5 to 9", "10 to 19", "20 and more")


def image_parts(data: EvaluationData, *, keys: SliceKeys = "auto") -> tuple[ImageParts, ...]:
    """Cuts images by the number of their objects and by features of their records.

    Args:
        data: In canonical order.
        keys: The features; `auto` takes all that have 2 to 20 values.

    Raises:
        ConfigError: No image has a feature of that name.
    """
    real = data.ground_truth.image_id[~data.ground_truth.is_crowd]
    objects = np.bincount(data.images.rows_of(real), minlength=len(data.images)).astype(np.float64)
    crowding = ImageParts(
        by="objects_in_image", names=_CROWDING_NAMES, place=_bins(objects, _CROWDING)
    )
    return (crowding, *feature_parts(data.images.features or (), keys=keys))


def feature_parts(
    features: Sequence[Mapping[str, str]], *, keys: SliceKeys = "auto"
) -> tuple[ImageParts, ...]:
    """Cuts images by features of their records.

    Args:
        features: Of each image: name to value as text.
        keys: As for `image_parts`.

    Raises:
        ConfigError: No image has a feature of that name.
    """
    values = _values_by_feature(features)
    if keys == "auto":
        chosen = [key for key, found in values.items() if 2 <= len(set(found)) <= _FEW_VALUES]
    else:
        chosen = list(keys)
        for key in chosen:
            if key not in values:
                raise ConfigError(
                    f'no image has the feature "{key}"',
                    where="evaluation.slices",
                    expected=f"one of {', '.join(values)}" if values else "features of the records",
                    remedy=did_you_mean(key, list(values)) or None,
                )
    return tuple(_by_feature(key, values[key]) for key in chosen)


def _values_by_feature(features: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Returns each feature's value in every image, as text."""
    names = sorted({name for one in {id(one): one for one in features}.values() for name in one})
    return {name: [one.get(name, ABSENT) for one in features] for name in names}


def _by_feature(key: str, values: list[str]) -> ImageParts:
    counts = Counter(values)
    if len(counts) > _FEW_VALUES and (numbers := _numbers(counts)):
        return _by_range(key, values, numbers)
    names = sorted(counts, key=_natural)
    if len(names) > _MOST_VALUES:
        frequent = sorted(names, key=lambda name: -counts[name])[: _MOST_VALUES - 1]
        names = [*sorted(frequent, key=_natural), f"{len(names) - len(frequent)} other values"]
    place = {name: i for i, name in enumerate(names)}
    others = len(names) - 1
    return ImageParts(
        by=key,
        names=tuple(names),
        place=np.array([place.get(value, others) for value in values], np.int64),
    )


def _by_range(key: str, values: list[str], numbers: Sequence[int]) -> ImageParts:
    """Cuts a feature of many whole numbers into ranges with as many images each as can be."""
    column = np.array([int(value) if value != ABSENT else numbers[0] for value in values])
    given = np.array([value != ABSENT for value in values])
    edges = np.unique(np.quantile(column[given], np.arange(1, _RANGES) / _RANGES, method="lower"))
    place = np.searchsorted(edges, column, side="left")
    names = []
    for i in range(len(edges) + 1):
        mine = column[given & (place == i)]
        names.append(f"{mine.min()} to {mine.max()}" if mine.size else "none")
    if not given.all():
        names.append(ABSENT)
        place = np.where(given, place, len(names) - 1)
    return ImageParts(by=key, names=tuple(names), place=place.astype(np.int64))


def _numbers(values: Mapping[str, int]) -> list[int]:
    """Returns the values as whole numbers, ascending; none where any is no number."""
    given = [value for value in values if value != ABSENT]
    if all(_is_number(value) for value in given):
        return sorted(int(value) for value in given)
    return []


def _is_number(value: str) -> bool:
    """Tells whether a value is a whole number that 64 bits hold."""
    return len(value) <= _MOST_DIGITS and value.removeprefix("-").isdecimal()


def _natural(value: str) -> tuple[bool, int, str]:
    number = _is_number(value)
    return not number, int(value) if number else 0, value


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """A partition of objects and detections.

    Attributes:
        by, names: As for `ImageParts`.
        images: How many images each part has.
        objects: int64[G], index into the names.
        detections: int64[D], likewise.
    """

    by: str
    names: tuple[str, ...]
    images: tuple[int, ...]
    objects: Int64
    detections: Int64


# What cuts boxes, not images.
BOX_SLICES = ("box_size", "box_aspect_ratio")


def slices_of_every_set() -> dict[str, tuple[str, ...]]:
    """Returns what every set is cut by, whatever its records say, to the names of the parts."""
    return {
        "box_size": _SIZE_NAMES,
        "box_aspect_ratio": _RATIO_NAMES,
        "objects_in_image": _CROWDING_NAMES,
    }


def objects_by_part(
    data: EvaluationData, images: Sequence[ImageParts]
) -> dict[tuple[str, str], int]:
    """Returns what a set is cut by and the name of the part to the number of its objects.

    Args:
        data: In canonical order; crowds are no objects, and detections are not looked at.
        images: The partitions of the images.
    """
    truth = data.ground_truth
    row = data.images.rows_of(truth.image_id)
    cuts = [*_cuts_of_boxes(data), *((one.by, one.names, one.place[row]) for one in images)]
    return {
        (by, name): count
        for by, names, place in cuts
        for name, count in zip(
            names, np.bincount(place[~truth.is_crowd], minlength=len(names)).tolist(), strict=True
        )
    }


def slices(
    matches: Matches, matching: Matching, outcomes: Outcomes, images: Sequence[ImageParts]
) -> Iterator[Slice]:
    """Yields the numbers of every part of the images, and of every part of the boxes.

    Args:
        matches: Of all shards.
        matching: Of the same data, at IoU 0.5.
        outcomes: At the operating score.
        images: The partitions of the images.
    """
    for parts in (*_box_parts(matches), *(_of_images(matches.data, one) for one in images)):
        yield from _slices_of(matches, matching, outcomes, parts)


def _box_parts(matches: Matches) -> Iterator[_Parts]:
    truth = matches.data.ground_truth
    nearest = _nearest_objects(matches)
    seen = (
        _bins(matches.area_px2, _SIZES_PX2),
        _bins(_ratio(matches.data.seen_xywh[:, 2:]), _RATIOS),
    )
    for (by, names, mine), theirs in zip(_cuts_of_boxes(matches.data), seen, strict=True):
        detections = np.where(nearest >= 0, mine[nearest], theirs) if len(truth) else theirs
        real = ~truth.is_crowd
        yield _Parts(
            by=by,
            names=names,
            images=tuple(
                len(np.unique(truth.image_id[(mine == i) & real])) for i in range(len(names))
            ),
            objects=mine,
            detections=detections,
        )


def _cuts_of_boxes(
    data: EvaluationData,
) -> tuple[tuple[str, tuple[str, ...], Int64], ...]:
    """Returns each of `BOX_SLICES`, the names of its parts, and that of each object, int64[G]."""
    sizes = _bins(data.ground_truth.area, _SIZES_PX2)
    shapes = _bins(_ratio(data.truth_xywh[:, 2:]), _RATIOS)
    return ("box_size", _SIZE_NAMES, sizes), ("box_aspect_ratio", _RATIO_NAMES, shapes)


def _nearest_objects(matches: Matches) -> Int64:
    """Returns the object that each detection takes at the lowest IoU threshold, int64[D], -1 for none."""
    nearest = np.full(matches.counted.size, -1)
    nearest[matches.rows] = matches.found_in_all[0]
    return nearest


def _ratio(size: Float64) -> Float64:
    """Returns width over height, float64[N]; 1 without height."""
    return np.divide(size[:, 0], size[:, 1], out=np.ones(len(size)), where=size[:, 1] > 0)


def _of_images(data: EvaluationData, parts: ImageParts) -> _Parts:
    return _Parts(
        by=parts.by,
        names=parts.names,
        images=tuple(np.bincount(parts.place, minlength=len(parts.names)).tolist()),
        objects=parts.place[data.images.rows_of(data.ground_truth.image_id)],
        detections=parts.place[data.images.rows_of(data.detections.image_id)],
    )


def _slices_of(
    matches: Matches, matching: Matching, outcomes: Outcomes, parts: _Parts
) -> Iterator[Slice]:
    truth = matches.data.ground_truth
    count = len(parts.names)
    real = ~truth.is_crowd
    boxes = np.bincount(parts.objects[real], minlength=count)
    missed = np.bincount(parts.objects[outcomes.miss], minlength=count)
    alarms = np.bincount(parts.detections[outcomes.false_alarm], minlength=count)
    ap, recall = _by_threshold(matches, parts)
    curves = grouped_score_curves(
        matching, matches.data, group=_taken_by(matching, parts), objects=boxes
    )
    half, three_quarters = (iou_index(matches.settings, iou) for iou in (0.5, 0.75))
    hundred = matches.settings.max_detections[-1] == 100
    for i, name in enumerate(parts.names):
        hits = int(boxes[i] - missed[i])
        yield Slice(
            by=parts.by,
            name=name,
            images=parts.images[i],
            boxes=int(boxes[i]),
            precision=_share(hits, hits + int(alarms[i])),
            recall=_share(hits, int(boxes[i])),
            f1=_share(2 * hits, hits + int(alarms[i]) + int(boxes[i])) if boxes[i] else None,
            ap=_or_none(ap[:, i].mean()),
            ap50=_or_none(ap[half, i]) if half is not None else None,
            ap75=_or_none(ap[three_quarters, i]) if three_quarters is not None else None,
            ar_100=_or_none(recall[:, i].mean()) if hundred else None,
            ap_by_iou=tuple(
                ApAtIou(iou=round(iou, 4), ap=_or_none(ap[t, i]))
                for t, iou in enumerate(matches.settings.iou_thresholds)
            ),
            **dict(curves[i].trade_off(objects=int(boxes[i]))),
        )


def _taken_by(matching: Matching, parts: _Parts) -> Int64:
    """Returns the part that each detection belongs to at IoU 0.5, int64[D]: its object's, where it hits."""
    hits = np.flatnonzero(matching.truth_of >= 0)
    part = parts.detections.copy()
    part[hits] = parts.objects[matching.truth_of[hits]]
    return part


def _by_threshold(matches: Matches, parts: _Parts) -> tuple[Float64, Float64]:
    """Returns AP and recall of each part at each IoU threshold, float64[T, P], means over the classes."""
    truth = matches.data.ground_truth
    classes = len(matches.label_map.classes)
    groups = len(parts.names) * classes
    objects = np.bincount(
        (parts.objects * classes + matches.truth_label)[~truth.is_crowd], minlength=groups
    )
    group = parts.detections * classes + matches.detection_label
    ranking = ranked(matches.by_score, group[matches.by_score], groups=groups)
    place = np.full(group.size, -1)
    place[ranking.rows] = np.arange(ranking.rows.size)
    place, own = place[matches.rows], parts.detections[matches.rows]
    shape = (len(parts.names), classes)
    answer = np.empty((2, len(matches.settings.iou_thresholds), len(parts.names)))
    for t in range(answer.shape[1]):
        hit, objects_hit, out = matches.hits(t)
        elsewhere = parts.objects[objects_hit] != own[hit]
        dropped = np.sort(np.append(place[out], place[hit[elsewhere]]))
        hits = np.sort(place[hit[~elsewhere]])
        of_hit, kept = _kept(ranking, hits, dropped)
        recall = np.bincount(of_hit, minlength=groups) / np.maximum(objects, 1)
        recall = np.where(objects > 0, recall, np.nan)
        ap = average_precision(of_hit, kept, objects)
        answer[0, t] = mean_of_defined(ap.reshape(shape))
        answer[1, t] = mean_of_defined(recall.reshape(shape))
    return answer[0], answer[1]


def _kept(ranking: Ranking, hits: Int64, dropped: Int64) -> tuple[Int64, Int64]:
    """Returns the group of each hit, and how many detections of it are kept up to there.

    Args:
        ranking: All detections.
        hits: int64[H], ascending places in it.
        dropped: int64[L], ascending places of those that count neither way.
    """
    group = ranking.group[hits]
    begin = ranking.begin[group]
    kept = hits + 1 - begin
    if dropped.size:
        kept -= np.searchsorted(dropped, hits) - np.searchsorted(dropped, ranking.begin)[group]
    return group, kept


def _bins(values: Float64, edges: tuple[float, ...]) -> Int64:
    """Returns the bin of each value; those below the first edge are in the first."""
    place: Int64 = np.searchsorted(np.array(edges), values, side="right") - 1
    return np.clip(place, 0, len(edges) - 2)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _or_none(value: float) -> float | None:
    # A sum of shares may pass 1 by its last bit.
    return None if np.isnan(value) else min(1.0, max(0.0, float(value)))

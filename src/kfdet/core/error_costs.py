"""What each kind of error costs in AP: TIDE's decomposition, at every IoU threshold.

A false alarm is put down to the first that is true: badly placed (`Loc`: overlaps an object of its
class by 0.1 or more, but not enough), of the wrong class (`Cls`: overlaps an object of another class
enough), a second box (`Dupe`: overlaps an object of its class enough, which is taken), nothing there
(`Bkg`: overlaps no object by more than 0.1), or `Both`. An object is missed (`Miss`) when nothing found
it and no `Loc` or `Cls` error points at it.

An error is mended by what it should have been: `Loc` and `Cls` become hits of the object that they
point at, if it is free and they are the surest that do; all others vanish, and missed objects need not
be found. What AP gains by that is the cost of the error.

Source: Bolya et al., TIDE, ECCV 2020, and its tidecv 1.0.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from kfdet.core.coco import Bool, Float64, Int64, iou_index
from kfdet.core.matching import Matches
from kfdet.core.ordering import ascending
from kfdet.core.ranked import average_precision, mean_of_defined

ErrorKind = Literal["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
BACKGROUND_IOU = 0.1
_RIGHT, _LEFT_OUT = -1, -2
Kinds = npt.NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class ErrorCosts:
    """Kind of error to what AP would gain if it were mended, in [0, 1].

    Attributes:
        ap50: At IoU 0.5; None where that is no threshold of the settings.
        ap: Mean over the thresholds.
    """

    ap50: Mapping[ErrorKind, float] | None
    ap: Mapping[ErrorKind, float]


def error_costs(matches: Matches) -> ErrorCosts:
    """Returns the cost of each kind of error, over all detections that count.

    Args:
        matches: Of all shards.
    """
    scene = _scene(matches)
    ious = matches.settings.iou_thresholds
    gains = np.array([list(_gains(scene, matches, t)) for t in range(len(ious))])
    gains = np.clip(np.where(np.isnan(gains), 0.0, gains), 0.0, 1.0)
    half = iou_index(matches.settings, 0.5)
    return ErrorCosts(
        ap50=None if half is None else _named(gains[half]), ap=_named(gains.mean(axis=0))
    )


def _named(gains: Float64) -> dict[ErrorKind, float]:
    return dict(zip(ERROR_KINDS, gains.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """The N detections that count, by class and descending score; M of them are near an object.

    Most detections lie on nothing: they are false alarms at every threshold, and only counted.

    Attributes:
        objects: int64[K].
        begin: int64[K], where each class begins among the N.
        keys: int64[N], ascending: class, then place in the order of scores.
        place: int64[M], among the N.
        label: int64[M], index of the class.
        near_begin: int64[K], where each class begins among the M.
        far_before: int64[M], how many of its class that are near nothing score higher.
        order: int64[M], place in the order of scores.
        near_of: int64[C], place among the M of each detection that may hit anything.
        same, other: float64[M], largest overlap with an object of its class, and of another.
        same_truth, other_truth: int64[M], that object's row, -1 for none.
    """

    objects: Int64
    begin: Int64
    keys: Int64
    place: Int64
    label: Int64
    near_begin: Int64
    far_before: Int64
    order: Int64
    near_of: Int64
    same: Float64
    other: Float64
    same_truth: Int64
    other_truth: Int64


def _scene(matches: Matches) -> _Scene:
    data = matches.data
    classes = len(matches.label_map.classes)
    by_score = matches.by_score
    total = by_score.size
    labels = matches.detection_label[by_score]
    by_class = ascending(labels)
    keys = labels[by_class] * total + by_class
    rows = by_score[by_class]
    same, same_truth, other, other_truth = _largest_overlaps(matches)
    least = min(BACKGROUND_IOU, matches.settings.iou_thresholds[0])
    close = np.maximum(same, other) >= least
    # Those that may hit anything, a crowd too.
    close[matches.rows] = True
    near = np.flatnonzero(close[rows])
    label = labels[by_class[near]]
    begin = np.searchsorted(keys, np.arange(classes) * total)
    near_begin = np.searchsorted(label, np.arange(classes))
    near_of = np.full(close.size, -1)
    near_of[rows[near]] = np.arange(near.size)
    row = rows[near]
    return _Scene(
        objects=np.bincount(matches.truth_label[~data.ground_truth.is_crowd], minlength=classes),
        begin=begin,
        keys=keys,
        place=near,
        label=label,
        near_begin=near_begin,
        far_before=near - begin[label] - (np.arange(near.size) - near_begin[label]),
        order=by_class[near],
        near_of=near_of[matches.rows],
        same=same[row],
        other=other[row],
        same_truth=same_truth[row],
        other_truth=other_truth[row],
    )


def _largest_overlaps(matches: Matches) -> tuple[Float64, Int64, Float64, Int64]:
    """Returns the largest overlap with objects of the same class and its row, and of other classes."""
    data = matches.data
    truth, seen = data.ground_truth, data.detections
    pairs = data.overlaps
    real = ~truth.is_crowd[pairs.truth] & matches.counted[pairs.detection]
    equal = seen.class_id[pairs.detection] == truth.class_id[pairs.truth]
    answer: list[Float64 | Int64] = []
    for chosen in (real & equal, real & ~equal):
        mine = pairs.where(chosen)
        largest, which = np.zeros(len(seen)), np.full(len(seen), -1)
        starts = np.flatnonzero(np.diff(mine.detection, prepend=-1))
        if starts.size:
            detection = mine.detection[starts]
            largest[detection] = np.maximum.reduceat(mine.iou, starts)
            place = np.where(
                mine.iou == largest[mine.detection], np.arange(mine.iou.size), mine.iou.size
            )
            which[detection] = mine.truth[np.minimum.reduceat(place, starts)]
        answer += [largest, which]
    return answer[0], answer[1], answer[2], answer[3]  # type: ignore[return-value]


def _gains(scene: _Scene, matches: Matches, t: int) -> Iterator[float]:
    """Yields the gain of each kind of error at threshold t, in the order of ERROR_KINDS."""
    hit, truth, out = matches.hits(t)
    kind = _kinds(scene, iou=matches.settings.iou_thresholds[t])
    kind[scene.near_of[hit]] = _RIGHT
    kind[scene.near_of[out]] = _LEFT_OUT
    free = ~matches.ignored[0]
    free[truth] = False
    pointing, target = _targets(scene, kind)
    surest = _surest(scene.order[pointing], target, free=free)
    missed = free.copy()
    missed[target] = False
    left = scene.objects - np.bincount(matches.truth_label[missed], minlength=len(scene.objects))
    right = np.flatnonzero(kind == _RIGHT)
    plain = _ap(scene, kind, right)
    for name in ERROR_KINDS:
        if name == "Miss":
            mended = np.where(left > 0, _ap(scene, kind, right, objects=left), 1.0)
        elif name == "Loc":
            found = pointing[surest & (kind[pointing] == _number("Loc"))]
            mended = _ap(scene, kind, right, mended=_number("Loc"), found=found)
        elif name == "Cls":
            found = surest & (kind[pointing] == _number("Cls"))
            mended = _ap_moved(
                scene, kind, right, pointing[found], matches.truth_label[target[found]]
            )
        else:
            mended = _ap(scene, kind, right, mended=_number(name), with_far=name != "Bkg")
        yield float(mean_of_defined(mended - plain))


def _ap(
    scene: _Scene,
    kind: Kinds,
    right: Int64,
    *,
    mended: int | None = None,
    found: Int64 | None = None,
    objects: Int64 | None = None,
    with_far: bool = True,
) -> Float64:
    """Returns the AP of each class, float64[K].

    Args:
        scene: The detections.
        kind: int8[M], what each is.
        right: int64[H], places among the M of those that hit, ascending.
        mended: The kind that vanishes.
        found: int64[F], places of those of that kind that become hits, ascending.
        objects: int64[K], how many there are to find, if not all.
        with_far: Whether detections that are near no object count.
    """
    hits = right
    kept = (kind != _LEFT_OUT) & (kind != mended)
    if found is not None and found.size:
        kept[found] = True
        hits = np.sort(np.append(right, found))
    so_far = _running(kept)
    label = scene.label[hits]
    count = so_far[hits + 1] - so_far[scene.near_begin][label]
    if with_far:
        count += scene.far_before[hits]
    return average_precision(label, count, scene.objects if objects is None else objects)


def _ap_moved(scene: _Scene, kind: Kinds, right: Int64, moved: Int64, label: Int64) -> Float64:
    """Returns the AP of each class with detections of the wrong class in the right one, float64[K].

    Args:
        scene: The detections.
        kind: int8[M], what each is.
        right: int64[H], places among the M of those that hit, ascending.
        moved: int64[F], places of the wrong ones that enter another class, as hits; the others vanish.
        label: int64[F], the class that they enter.
    """
    total = max(len(scene.keys), 1)
    so_far = _running((kind != _LEFT_OUT) & (kind != _number("Cls")))
    base = so_far[scene.near_begin]
    keys = np.sort(label * total + scene.order[moved])
    own = keys // total
    starts = np.searchsorted(own, np.arange(len(scene.objects)))
    hit_keys, hit_label = scene.keys[scene.place[right]], scene.label[right]
    entered = np.searchsorted(keys, hit_keys) - starts[hit_label]
    kept = so_far[right + 1] - base[hit_label] + scene.far_before[right] + entered
    place = np.searchsorted(scene.keys, keys)
    near = np.searchsorted(scene.place, place)
    far = place - scene.begin[own] - (near - scene.near_begin[own])
    moved_kept = so_far[near] - base[own] + far + np.arange(1, keys.size + 1) - starts[own]
    keys = np.append(hit_keys, keys)
    order = np.argsort(keys, kind="stable")
    return average_precision(
        keys[order] // total, np.append(kept, moved_kept)[order], scene.objects
    )


def _running(kept: Bool) -> Int64:
    """Returns how many of the first 0 to M detections are kept, int64[M + 1]."""
    so_far = np.zeros(kept.size + 1, np.int64)
    np.cumsum(kept, out=so_far[1:])
    return so_far


def _number(kind: ErrorKind) -> int:
    return ERROR_KINDS.index(kind)


def _kinds(scene: _Scene, *, iou: float) -> Kinds:
    """Returns int8[M], index into ERROR_KINDS: what each would be if it hit nothing."""
    kind = np.full(scene.place.size, _number("Both"), np.int8)
    nowhere = (scene.same <= BACKGROUND_IOU) & (scene.other <= BACKGROUND_IOU)
    # The first that is true comes last.
    np.putmask(kind, nowhere, _number("Bkg"))
    np.putmask(kind, scene.same >= iou, _number("Dupe"))
    np.putmask(kind, scene.other >= iou, _number("Cls"))
    np.putmask(kind, (scene.same >= BACKGROUND_IOU) & (scene.same < iou), _number("Loc"))
    return kind


def _targets(scene: _Scene, kind: Kinds) -> tuple[Int64, Int64]:
    """Returns the detections that point at an object, int64[F] ascending, and the object's rows."""
    wrong = kind == _number("Cls")
    pointing = np.flatnonzero(wrong | (kind == _number("Loc")))
    target = np.where(wrong[pointing], scene.other_truth[pointing], scene.same_truth[pointing])
    return pointing, target


def _surest(order: Int64, target: Int64, *, free: Bool) -> Bool:
    """Returns which detections are the surest that point at a free object, bool[F].

    Args:
        order: int64[F], place in the order of scores.
        target: int64[F], rows of the objects.
        free: bool[G].
    """
    first = np.full(free.size, np.iinfo(np.int64).max)
    np.minimum.at(first, target, order)
    answer: Bool = (first[target] == order) & free[target]
    return answer

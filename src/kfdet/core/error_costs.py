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

from kfdet.core.coco import Bool, Float64, Int64, iou_index
from kfdet.core.matching import Matches
from kfdet.core.ordering import ascending, descending
from kfdet.core.ranked import average_precision, mean_of_defined

ErrorKind = Literal["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)
BACKGROUND_IOU = 0.1
_RIGHT, _LEFT_OUT = -1, -2


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
        row: int64[M].
        place: int64[M], among the N.
        label: int64[M], index of the class.
        near_begin: int64[K], where each class begins among the M.
        far_before: int64[M], how many of its class that are near nothing score higher.
        by_score: int64[M], the M by descending score.
        same, other: float64[M], largest overlap with an object of its class, and of another.
        same_truth, other_truth: int64[M], that object's row, -1 for none.
        truth_label: int64[G], index of the class.
    """

    objects: Int64
    begin: Int64
    keys: Int64
    row: Int64
    place: Int64
    label: Int64
    near_begin: Int64
    far_before: Int64
    by_score: Int64
    same: Float64
    other: Float64
    same_truth: Int64
    other_truth: Int64
    truth_label: Int64


def _scene(matches: Matches) -> _Scene:
    data = matches.data
    truth, seen = data.ground_truth, data.detections
    ids = np.array([label.id for label in matches.label_map.classes])
    truth_label = np.searchsorted(ids, truth.class_id)
    counted = np.flatnonzero(matches.counted)
    counted = counted[descending(seen.score[counted])]
    keys = np.searchsorted(ids, seen.class_id[counted]) * counted.size + np.arange(counted.size)
    order = ascending(keys // max(counted.size, 1))
    keys, rows = keys[order], counted[order]
    same, same_truth, other, other_truth = _largest_overlaps(matches)
    least = min(BACKGROUND_IOU, matches.settings.iou_thresholds[0])
    close = np.maximum(same, other) >= least
    # Those that may hit anything, a crowd too.
    close[matches.rows] = True
    near = np.flatnonzero(close[rows])
    row = rows[near]
    label = keys[near] // max(counted.size, 1)
    classes = np.arange(len(ids))
    begin = np.searchsorted(keys, classes * counted.size)
    near_begin = np.searchsorted(label, classes)
    return _Scene(
        objects=np.bincount(truth_label[~truth.is_crowd], minlength=len(ids)),
        begin=begin,
        keys=keys,
        row=row,
        place=near,
        label=label,
        near_begin=near_begin,
        far_before=near - begin[label] - (np.arange(near.size) - near_begin[label]),
        by_score=np.argsort(keys[near] % max(counted.size, 1)),
        same=same[row],
        other=other[row],
        same_truth=same_truth[row],
        other_truth=other_truth[row],
        truth_label=truth_label,
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
    found = np.full(len(matches.data.detections), -1)
    found[matches.rows] = matches.found[0, :, t]
    real = ~matches.ignored[0]
    kind = _kinds(scene, found, real, iou=matches.settings.iou_thresholds[t])
    used = np.zeros(len(real), np.bool_)
    used[found[found >= 0]] = True
    target = np.select(
        [kind == _number("Loc"), kind == _number("Cls")],
        [scene.same_truth, scene.other_truth],
        default=-1,
    )
    pointed_at = np.zeros(len(real), np.bool_)
    pointed_at[target[target >= 0]] = True
    surest = _surest(scene, target, free=~used)
    right = kind == _RIGHT
    plain = _ap(scene, kind, right)
    missed = np.bincount(
        scene.truth_label[real & ~used & ~pointed_at], minlength=len(scene.objects)
    )
    for name in ERROR_KINDS:
        this = kind == _number(name)
        if name == "Miss":
            left = scene.objects - missed
            mended = np.where(left > 0, _ap(scene, kind, right, objects=left), 1.0)
        elif name == "Loc":
            mended = _ap(scene, kind, right | (this & surest), dropped=this & ~surest)
        elif name == "Cls":
            mended = _ap_moved(scene, kind, this, this & surest, scene.truth_label[target])
        else:
            mended = _ap(scene, kind, right, dropped=this, with_far=name != "Bkg")
        yield float(mean_of_defined(mended - plain))


def _ap(
    scene: _Scene,
    kind: Int64,
    hit: Bool,
    *,
    dropped: Bool | None = None,
    objects: Int64 | None = None,
    with_far: bool = True,
) -> Float64:
    """Returns the AP of each class, float64[K].

    Args:
        scene: The detections.
        kind: int64[M], what each is.
        hit: bool[M].
        dropped: bool[M], those that vanish.
        objects: int64[K], how many there are to find, if not all.
        with_far: Whether detections that are near no object count.
    """
    so_far = _running(kind, dropped)
    hits = np.flatnonzero(hit)
    label = scene.label[hits]
    kept = so_far[hits + 1] - so_far[scene.near_begin[label]]
    if with_far:
        kept = kept + scene.far_before[hits]
    return average_precision(label, kept, scene.objects if objects is None else objects)


def _ap_moved(scene: _Scene, kind: Int64, wrong: Bool, surest: Bool, label: Int64) -> Float64:
    """Returns the AP of each class with detections of the wrong class in the right one, float64[K].

    Args:
        scene: The detections.
        kind: int64[M], what each is.
        wrong: bool[M], those that leave their class.
        surest: bool[M], those of them that enter another, as hits.
        label: int64[M], the class that they enter.
    """
    total = max(len(scene.keys), 1)
    so_far = _running(kind, wrong)
    hits = np.flatnonzero(kind == _RIGHT)
    moved = np.flatnonzero(surest)
    keys = np.sort(label[moved] * total + scene.keys[scene.place[moved]] % total)
    hit_keys = scene.keys[scene.place[hits]]
    entered = np.searchsorted(keys, hit_keys) - np.searchsorted(keys, hit_keys // total * total)
    own = scene.label[hits]
    kept = so_far[hits + 1] - so_far[scene.near_begin[own]] + scene.far_before[hits] + entered
    near = np.searchsorted(scene.keys[scene.place], keys)
    own = keys // total
    far = np.searchsorted(scene.keys, keys) - scene.begin[own] - (near - scene.near_begin[own])
    place = np.arange(1, keys.size + 1) - np.searchsorted(own, own, side="left")
    moved_kept = so_far[near] - so_far[scene.near_begin[own]] + far + place
    keys = np.append(hit_keys, keys)
    order = np.argsort(keys, kind="stable")
    return average_precision(
        keys[order] // total, np.append(kept, moved_kept)[order], scene.objects
    )


def _running(kind: Int64, dropped: Bool | None) -> Int64:
    """Returns how many of the first 0 to M detections are kept, int64[M + 1]."""
    kept = kind != _LEFT_OUT
    if dropped is not None:
        kept &= ~dropped
    return np.append(0, np.cumsum(kept))


def _number(kind: ErrorKind) -> int:
    return ERROR_KINDS.index(kind)


def _kinds(scene: _Scene, found: Int64, real: Bool, *, iou: float) -> Int64:
    """Returns int64[M], index into ERROR_KINDS, _RIGHT for a hit, _LEFT_OUT for one that lies on a crowd."""
    mine = found[scene.row]
    matched = mine >= 0
    right = matched & real[mine] if real.size else matched
    return np.select(
        [
            right,
            matched,
            (scene.same >= BACKGROUND_IOU) & (scene.same < iou),
            scene.other >= iou,
            scene.same >= iou,
            np.maximum(scene.same, scene.other) <= BACKGROUND_IOU,
        ],
        [_RIGHT, _LEFT_OUT, _number("Loc"), _number("Cls"), _number("Dupe"), _number("Bkg")],
        default=_number("Both"),
    )


def _surest(scene: _Scene, target: Int64, *, free: Bool) -> Bool:
    """Returns which detections are the surest that point at a free object, bool[M]."""
    rows = scene.by_score[target[scene.by_score] >= 0]
    rows = rows[free[target[rows]]]
    first = np.full(len(free), -1)
    # Of several values for one place the last stays: the surest comes last.
    first[target[rows[::-1]]] = rows[::-1]
    answer = np.zeros(target.size, np.bool_)
    answer[first[first >= 0]] = True
    return answer

"""What a detector gets right and wrong, object by object, and at which score it does best.

Matching is COCO's: within an image and a class, detections in descending order of score each take the
free object that they overlap most. A detection keeps its match when those of lower score are left
out, so that one matching serves every score threshold.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kfdet.core.coco import (
    MAX_DETECTIONS,
    Bool,
    Detections,
    EvaluationData,
    Float32,
    Float64,
    Int64,
    boxes_xywh,
)
from kfdet.schema.dataset import LabelMap

FalseAlarmCause = Literal["duplicate", "wrong_class", "badly_placed", "both", "background"]
FALSE_ALARM_CAUSES: tuple[FalseAlarmCause, ...] = get_args(FalseAlarmCause)
MissCause = Literal["low_score", "wrong_class", "badly_placed", "unseen"]
MISS_CAUSES: tuple[MissCause, ...] = get_args(MissCause)

MATCH_IOU = 0.5
TOUCH_IOU = 0.1


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Which detection found which object.

    D detections and G ground truth boxes, in the order of the data.

    Attributes:
        truth_of: int64[D], row of the object found; -1 for none.
        detection_of: int64[G], row of the detection that found it; -1 for none.
        counted: bool[D]; False where COCO leaves a detection out: it lies on a crowd, its class is
            not listed, or 100 of the same class in the image score higher.
    """

    truth_of: Int64
    detection_of: Int64
    counted: Bool


@dataclass(frozen=True, kw_only=True)
class ScoreCurve:
    """Precision, recall and F1 of the detections at or above each score.

    Attributes:
        score: float64[N], the distinct scores, descending.
        precision, recall, f1: float64[N].
    """

    score: Float64
    precision: Float64
    recall: Float64
    f1: Float64

    def best(self) -> int | None:
        """Returns the index of the highest F1, the highest score of equals; None without any hit."""
        return int(np.argmax(self.f1)) if self.f1.size and self.f1.max() > 0 else None


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What becomes of every box at one score threshold.

    Attributes:
        score: Detections at or above it are kept.
        hit, false_alarm: bool[D].
        miss: bool[G].
        false_alarm_cause: int64[D], index into FALSE_ALARM_CAUSES; -1 where there is none.
        miss_cause: int64[G], index into MISS_CAUSES; -1 where there is none.
    """

    score: float
    hit: Bool
    false_alarm: Bool
    miss: Bool
    false_alarm_cause: Int64
    miss_cause: Int64


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often detections of a score are right.

    Attributes:
        edges: float64[B + 1], bins of the score.
        detections: int64[B].
        mean_score, hit_share: float64[B]; NaN in an empty bin.
    """

    edges: Float64
    detections: Int64
    mean_score: Float64
    hit_share: Float64


def match(data: EvaluationData, *, label_map: LabelMap, iou: float = MATCH_IOU) -> Matching:
    """Matches detections to objects of the same class as COCO does.

    Args:
        data: Images, ground truth and detections.
        label_map: The classes; detections of others are not counted.
        iou: Overlap that a match needs, in [0, 1].

    Source: pycocotools 2.0.11, COCOeval.evaluateImg, area all, 100 detections.
    """
    truth, seen = data.ground_truth, data.detections
    listed = np.isin(seen.class_id, [label.id for label in label_map.classes])
    counted = listed & (rank_in_image(seen) < MAX_DETECTIONS[-1])
    truth_of, on_crowd = _greedy(data, np.flatnonzero(counted), iou=iou, same_class=True)
    counted = counted & ~on_crowd
    truth_of[on_crowd] = -1
    detection_of = np.full(len(truth), -1)
    found = np.flatnonzero(truth_of >= 0)
    detection_of[truth_of[found]] = found
    return Matching(truth_of=truth_of, detection_of=detection_of, counted=counted)


def score_curve(
    matching: Matching, data: EvaluationData, *, class_id: int | None = None
) -> ScoreCurve:
    """Returns how precision and recall trade off as the score threshold falls.

    Args:
        matching: Of the same data.
        data: Images, ground truth and detections.
        class_id: Only this class; all of them together when None.
    """
    truth, seen = data.ground_truth, data.detections
    kept = matching.counted
    objects = ~truth.is_crowd
    if class_id is not None:
        kept = kept & (seen.class_id == class_id)
        objects = objects & (truth.class_id == class_id)
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(-seen.score[rows], kind="stable")]
    scores = seen.score[rows].astype(np.float64)
    last_of_equals = np.append(scores[1:] != scores[:-1], True)[: scores.size]
    hits = np.cumsum(matching.truth_of[rows] >= 0)[last_of_equals]
    kept_so_far = np.arange(1, rows.size + 1)[last_of_equals]
    total = int(np.count_nonzero(objects))
    return ScoreCurve(
        score=scores[last_of_equals],
        precision=hits / np.maximum(kept_so_far, 1),
        recall=hits / max(total, 1),
        f1=2 * hits / np.maximum(kept_so_far + total, 1),
    )


def outcomes(matching: Matching, data: EvaluationData, *, score: float) -> Outcomes:
    """Tells hits, misses and false alarms apart at a score threshold, and what went wrong.

    A false alarm is a `duplicate` of an object found already, has the `wrong_class`, is
    `badly_placed` on an object of its class (IoU 0.1 to 0.5), is `both`, or lies on `background`.
    A miss has a `low_score` detection on it, is taken for the `wrong_class`, has only a
    `badly_placed` box of its class, or is `unseen`.

    Args:
        matching: Of the same data, at IoU 0.5.
        data: Images, ground truth and detections.
        score: Detections at or above it are kept.

    Source: the causes follow TIDE (Bolya et al., ECCV 2020), the first in the list that is true.
    """
    truth, seen = data.ground_truth, data.detections
    kept = matching.counted & (seen.score.astype(np.float64) >= score)
    hit = kept & (matching.truth_of >= 0)
    false_alarm = kept & (matching.truth_of < 0)
    found = np.zeros(len(truth), np.bool_)
    found[matching.truth_of[hit]] = True
    miss = ~truth.is_crowd & ~found
    same, other = _best_overlaps(data, np.flatnonzero(kept))
    alarm_cause = np.select(
        [
            ~false_alarm,
            same.of_detection >= MATCH_IOU,
            other.of_detection >= MATCH_IOU,
            same.of_detection >= TOUCH_IOU,
            other.of_detection >= TOUCH_IOU,
        ],
        [-1, 0, 1, 2, 3],
        default=4,
    )
    miss_cause = np.select(
        [
            ~miss,
            matching.detection_of >= 0,
            other.of_truth >= MATCH_IOU,
            same.of_truth >= TOUCH_IOU,
        ],
        [-1, 0, 1, 2],
        default=3,
    )
    return Outcomes(
        score=score,
        hit=hit,
        false_alarm=false_alarm,
        miss=miss,
        false_alarm_cause=alarm_cause,
        miss_cause=miss_cause,
    )


def confusion_matrix(
    data: EvaluationData, *, label_map: LabelMap, score: float, iou: float = MATCH_IOU
) -> Int64:
    """Returns what objects of each class were taken for.

    Detections and objects are matched without regard to class, the highest score first. Crowd boxes
    count neither as objects nor against a detection that lies on them.

    Args:
        data: Images, ground truth and detections.
        label_map: The K classes.
        score: Detections at or above it are kept.
        iou: Overlap that a match needs, in [0, 1].

    Returns:
        int64[K + 1, K + 1]: rows are the truth, columns the answer; the last row and column are
        the background, for false alarms and misses.
    """
    truth, seen = data.ground_truth, data.detections
    ids = np.array([label.id for label in label_map.classes])
    kept = np.isin(seen.class_id, ids) & (seen.score.astype(np.float64) >= score)
    truth_of, on_crowd = _greedy(data, np.flatnonzero(kept), iou=iou, same_class=False)
    background = len(ids)
    matrix = np.zeros((background + 1, background + 1), np.int64)
    answer = np.searchsorted(ids, seen.class_id)
    fact = np.searchsorted(ids, truth.class_id)
    matched = np.flatnonzero(kept & (truth_of >= 0) & ~on_crowd)
    np.add.at(matrix, (fact[truth_of[matched]], answer[matched]), 1)
    alarms = np.flatnonzero(kept & (truth_of < 0))
    matrix[background] += np.bincount(answer[alarms], minlength=background + 1)
    missed = ~truth.is_crowd
    missed[truth_of[matched]] = False
    matrix[:, background] += np.bincount(fact[missed], minlength=background + 1)
    return matrix


def reliability(matching: Matching, data: EvaluationData, *, bins: int = 10) -> Reliability:
    """Returns the share of hits among the detections of each range of scores.

    Args:
        matching: Of the same data.
        data: Images, ground truth and detections.
        bins: Number of ranges of equal width that [0, 1] is cut into.
    """
    scores = data.detections.score[matching.counted].astype(np.float64)
    hits = (matching.truth_of >= 0)[matching.counted]
    place = np.clip((scores * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges=np.linspace(0.0, 1.0, bins + 1),
            detections=count,
            mean_score=np.bincount(place, weights=scores, minlength=bins) / count,
            hit_share=np.bincount(place, weights=hits, minlength=bins) / count,
        )


@dataclass(frozen=True)
class _Pairs:
    """Detections and ground truth of the same image, each with its overlap."""

    detection: Int64
    truth: Int64
    iou: Float64


@dataclass(frozen=True)
class _Best:
    """The largest overlap of each box with any of the others."""

    of_detection: Float64
    of_truth: Float64


def rank_in_image(seen: Detections) -> Int64:
    """Returns each detection's place among those of its image and class, by score, from zero."""
    return _places(seen.image_id, seen.class_id, seen.score)


def _places(image_id: Int64, class_id: Int64, score: Float32 | Float64) -> Int64:
    group = image_id * (class_id.max(initial=0) + 1) + class_id
    order = np.argsort(-score, kind="stable")
    order = order[np.argsort(group[order], kind="stable")]
    group = group[order]
    starts = np.append(True, group[1:] != group[:-1])[: order.size]
    first = np.maximum.accumulate(np.where(starts, np.arange(order.size), 0))
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size) - first
    return rank


def _pairs(data: EvaluationData, rows: Int64, *, same_class: bool) -> _Pairs:
    """Joins detections with the ground truth of their images.

    Args:
        data: Images, ground truth and detections.
        rows: int64[N], the detections that matter.
        same_class: Only ground truth of the detection's class.
    """
    truth, seen = data.ground_truth, data.detections
    truth_key, seen_key = truth.image_id, seen.image_id[rows]
    if same_class:
        classes = 1 + max(truth.class_id.max(initial=0), seen.class_id.max(initial=0))
        truth_key = truth_key * classes + truth.class_id
        seen_key = seen_key * classes + seen.class_id[rows]
    by_key = np.argsort(truth_key, kind="stable")
    keys = truth_key[by_key]
    begin = np.searchsorted(keys, seen_key, side="left")
    count = np.searchsorted(keys, seen_key, side="right") - begin
    detection = np.repeat(rows, count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    found = by_key[np.repeat(begin, count) + within]
    return _Pairs(detection, found, _overlaps(data, detection, found))


def _overlaps(data: EvaluationData, detection: Int64, found: Int64) -> Float64:
    """Returns IoU to the bit as COCO does; for a crowd the share of the detection that lies in it."""
    a, b = boxes_xywh(data.detections, detection), boxes_xywh(data.ground_truth, found)
    size_a, size_b = a[:, 2:], b[:, 2:]
    ends = np.minimum(a[:, :2] + size_a, b[:, :2] + size_b)
    sides = ends - np.maximum(a[:, :2], b[:, :2])
    inside = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    area_a, area_b = size_a[:, 0] * size_a[:, 1], size_b[:, 0] * size_b[:, 1]
    crowd = data.ground_truth.is_crowd[found]
    whole = np.where(crowd, area_a, area_a + area_b - inside)
    share = np.zeros_like(inside)
    np.divide(inside, whole, out=share, where=inside > 0)
    return share


def _greedy(
    data: EvaluationData, rows: Int64, *, iou: float, same_class: bool
) -> tuple[Int64, Bool]:
    """Lets each detection take the free object that it overlaps most, the highest score first.

    Returns:
        int64[D] row of the object, -1 for none; bool[D] whether that object is a crowd, which any
        number of detections may share and which is taken only where there is no other.
    """
    crowd = data.ground_truth.is_crowd
    candidates = candidate_pairs(data, rows, least_iou=iou, same_class=same_class)
    truth_of = np.full(len(data.detections), -1)
    truth_of[candidates.rows] = assign(candidates, ious=(iou,), ignored=crowd, crowd=crowd)[:, 0]
    on_crowd = np.zeros(truth_of.size, np.bool_)
    found = truth_of >= 0
    on_crowd[found] = crowd[truth_of[found]]
    return truth_of, on_crowd


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Detections and objects that may match, P pairs.

    Attributes:
        rows: int64[C], detections that have any candidate, ascending.
        detection: int64[P], place among them.
        truth: int64[P], rows.
        iou: float64[P].
        turn: int64[P], place of the detection among those of its group with any candidate, by
            score: detections with the same turn never compete for an object.
    """

    rows: Int64
    detection: Int64
    truth: Int64
    iou: Float64
    turn: Int64


def candidate_pairs(
    data: EvaluationData, rows: Int64, *, least_iou: float, same_class: bool
) -> Candidates:
    """Returns the pairs that overlap enough to match.

    Args:
        data: Images, ground truth and detections.
        rows: int64[N], the detections that matter.
        least_iou: The lowest overlap of interest, in [0, 1].
        same_class: Only objects of the detection's class.
    """
    seen = data.detections
    pairs = _pairs(data, rows, same_class=same_class)
    near = pairs.iou >= min(least_iou, 1 - 1e-10)
    detection, truth, iou = pairs.detection[near], pairs.truth[near], pairs.iou[near]
    competing, place = np.unique(detection, return_inverse=True)
    label = seen.class_id[competing] if same_class else np.zeros(competing.size, np.int64)
    turn = _places(seen.image_id[competing], label, seen.score[competing])
    return Candidates(rows=competing, detection=place, truth=truth, iou=iou, turn=turn[place])


def assign(candidates: Candidates, *, ious: Sequence[float], ignored: Bool, crowd: Bool) -> Int64:
    """Lets each detection take the free object that it overlaps most, the highest score first.

    Detections of different groups do not compete, so that all those whose turn it is choose at once.

    Args:
        candidates: Pairs that overlap by the lowest of the IoUs, or more.
        ious: T thresholds.
        ignored: bool[G], objects that are taken only where there is no other.
        crowd: bool[G], objects that any number of detections may share.

    Returns:
        int64[C, T], row of the object for each of `candidates.rows`, -1 for none.

    Source: pycocotools 2.0.11, COCOeval.evaluateImg: of equal overlaps the last object wins.
    """
    thresholds = np.minimum(np.array(ious), 1 - 1e-10)
    answer = np.full((candidates.rows.size, thresholds.size), -1)
    # The best candidate of a detection comes last: then the choice is the last one that is free.
    order = np.lexsort(
        (candidates.truth, candidates.iou, ~ignored[candidates.truth],
         candidates.detection, candidates.turn)
    )  # fmt: skip
    detection, truth = candidates.detection[order], candidates.truth[order]
    near = candidates.iou[order][:, None] >= thresholds
    shared = crowd[truth]
    taken = np.zeros((ignored.size, thresholds.size), np.bool_)
    turns = candidates.turn[order]
    bounds = np.searchsorted(turns, np.arange(turns.max(initial=-1) + 2))
    for begin, end in itertools.pairwise(bounds.tolist()):
        mine, objects = detection[begin:end], truth[begin:end]
        free = near[begin:end] & (~taken[objects] | shared[begin:end, None])
        starts = np.flatnonzero(np.append(True, mine[1:] != mine[:-1]))
        place = np.where(free, np.arange(begin, end)[:, None], -1)
        best = np.maximum.reduceat(place, starts, axis=0)
        who, which = np.nonzero(best >= 0)
        found = truth[best[who, which]]
        answer[mine[starts[who]], which] = found
        taken[found, which] = True
    return answer


def _best_overlaps(data: EvaluationData, rows: Int64) -> tuple[_Best, _Best]:
    """Returns each box's largest overlap with boxes of the same class, and of another."""
    truth, seen = data.ground_truth, data.detections
    pairs = _pairs(data, rows, same_class=False)
    equal = seen.class_id[pairs.detection] == truth.class_id[pairs.truth]
    answers = []
    for chosen in (equal, ~equal):
        chosen = chosen & ~truth.is_crowd[pairs.truth]
        of_detection, of_truth = np.zeros(len(seen)), np.zeros(len(truth))
        np.maximum.at(of_detection, pairs.detection[chosen], pairs.iou[chosen])
        np.maximum.at(of_truth, pairs.truth[chosen], pairs.iou[chosen])
        answers.append(_Best(of_detection, of_truth))
    return answers[0], answers[1]

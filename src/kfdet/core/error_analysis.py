"""What a detector gets right and wrong, object by object, and at which score it does best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kfdet.core.coco import (
    Bool,
    EvaluationData,
    Float64,
    Int64,
    iou_index,
)
from kfdet.core.matching import (
    Matches,
    assign,
    candidate_pairs,
    match_everywhere,
)
from kfdet.core.ranked import ranked
from kfdet.schema.dataset import LabelMap
from kfdet.schema.metrics import RECALL_STEPS, CocoSettings, TradeOff

FalseAlarmCause = Literal["duplicate", "wrong_class", "badly_placed", "both", "background"]
FALSE_ALARM_CAUSES: tuple[FalseAlarmCause, ...] = get_args(FalseAlarmCause)
MissCause = Literal["low_score", "wrong_class", "badly_placed", "unseen"]
MISS_CAUSES: tuple[MissCause, ...] = get_args(MissCause)

MATCH_IOU = 0.5
TOUCH_IOU = 0.1

# Not COCO's points: of these, some lie a bit above the hundredth, where 19 of 20 is not 0.95.
_HUNDREDTHS = np.arange(RECALL_STEPS) / (RECALL_STEPS - 1)


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Which detection found which object.

    D detections and G ground truth boxes, in the order of the data.

    Attributes:
        truth_of: int64[D], row of the object found; -1 for none.
        detection_of: int64[G], row of the detection that found it; -1 for none.
        by_score: int64[N], those that count, in descending order of score.
        counted: bool[D]; False where COCO leaves a detection out: it lies on a crowd, its class is
            not listed, or 100 of the same class in the image score higher.
    """

    truth_of: Int64
    detection_of: Int64
    by_score: Int64
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

    def trade_off(self, *, objects: int) -> TradeOff:
        """Returns the best precision at each recall, and the best recall at each precision.

        Args:
            objects: How many there are to find.
        """
        if objects == 0:
            return TradeOff(precision_at_recall=None, recall_at_precision=None)
        # Between two hits precision only falls: from one hit to the next recall grows.
        hits = np.flatnonzero(np.diff(self.recall, prepend=0.0))
        recall = self.recall[hits]
        best = np.maximum.accumulate(self.precision[hits][::-1])[::-1]
        at_recall = np.append(best, 0.0)[np.searchsorted(recall, _HUNDREDTHS)]
        reached = np.searchsorted(-best, -_HUNDREDTHS, side="right")
        return TradeOff(
            precision_at_recall=tuple(at_recall.tolist()),
            recall_at_precision=tuple(np.append(0.0, recall)[reached].tolist()),
        )


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
    settings = CocoSettings(iou_thresholds=(iou,), areas={})
    return matching_at(match_everywhere(data, label_map=label_map, settings=settings), iou=iou)


def matching_at(matches: Matches, *, iou: float = MATCH_IOU) -> Matching:
    """Returns the matching of all areas at one IoU, matched anew where it is none of the settings'."""
    t = iou_index(matches.settings, iou)
    if t is None:
        return match(matches.data, label_map=matches.label_map, iou=iou)
    truth = matches.data.ground_truth
    truth_of = np.full(matches.counted.size, -1)
    truth_of[matches.rows] = matches.found_in_all[t]
    on_crowd = (truth_of >= 0) & (truth.is_crowd[truth_of] if len(truth) else False)
    truth_of[on_crowd] = -1
    detection_of = np.full(len(truth), -1)
    found = np.flatnonzero(truth_of >= 0)
    detection_of[truth_of[found]] = found
    return Matching(
        truth_of=truth_of,
        detection_of=detection_of,
        by_score=matches.by_score[~on_crowd[matches.by_score]],
        counted=matches.counted & ~on_crowd,
    )


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
    rows, objects = matching.by_score, ~truth.is_crowd
    if class_id is not None:
        rows = rows[seen.class_id[rows] == class_id]
        objects = objects & (truth.class_id == class_id)
    return _curve(matching, data, rows, objects=int(np.count_nonzero(objects)))


def grouped_score_curves(
    matching: Matching, data: EvaluationData, *, group: Int64, objects: Int64
) -> tuple[ScoreCurve, ...]:
    """Returns `score_curve` for each of P groups, as classes are.

    Args:
        matching: Of the same data.
        data: Images, ground truth and detections.
        group: int64[D], of each detection that counts, in [0, P).
        objects: int64[P], how many there are to find.
    """
    ranking = ranked(matching.by_score, group[matching.by_score], groups=len(objects))
    return tuple(
        _curve(matching, data, ranking.rows[begin:end], objects=int(count))
        for begin, end, count in zip(ranking.begin, ranking.begin[1:], objects, strict=False)
    )


def _curve(matching: Matching, data: EvaluationData, rows: Int64, *, objects: int) -> ScoreCurve:
    """Args:
    rows: int64[N], the detections, the highest score first.
    objects: How many there are to find.
    """
    scores = data.detections.score[rows].astype(np.float64)
    last_of_equals = np.append(scores[1:] != scores[:-1], True)[: scores.size]
    hits = np.cumsum(matching.truth_of[rows] >= 0)[last_of_equals]
    kept_so_far = np.arange(1, rows.size + 1)[last_of_equals]
    return ScoreCurve(
        score=scores[last_of_equals],
        precision=hits / np.maximum(kept_so_far, 1),
        recall=hits / max(objects, 1),
        f1=2 * hits / np.maximum(kept_so_far + objects, 1),
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
    same, other = _best_overlaps(data, kept)
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
    truth_of, on_crowd = _by_place(data, kept, iou=iou)
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

    Scores of which some lie outside [0, 1] promise no share of hits: then all ranges are empty.

    Args:
        matching: Of the same data.
        data: Images, ground truth and detections.
        bins: Number of ranges of equal width that [0, 1] is cut into.
    """
    scores = data.detections.score[matching.counted].astype(np.float64)
    hits = (matching.truth_of >= 0)[matching.counted]
    if ((scores < 0) | (scores > 1)).any():
        scores, hits = scores[:0], hits[:0]
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
class _Best:
    """The largest overlap of each box with any of the others."""

    of_detection: Float64
    of_truth: Float64


def _by_place(data: EvaluationData, kept: Bool, *, iou: float) -> tuple[Int64, Bool]:
    """Lets each detection take the free object of any class that it overlaps most.

    Returns:
        int64[D] row of the object, -1 for none; bool[D] whether that object is a crowd, which any
        number of detections may share and which is taken only where there is no other.
    """
    crowd = data.ground_truth.is_crowd
    candidates = candidate_pairs(data, kept, least_iou=iou, same_class=False)
    truth_of = np.full(len(data.detections), -1)
    truth_of[candidates.rows] = assign(candidates, ious=(iou,), ignored=crowd, crowd=crowd)[:, 0]
    on_crowd = np.zeros(truth_of.size, np.bool_)
    found = truth_of >= 0
    on_crowd[found] = crowd[truth_of[found]]
    return truth_of, on_crowd


def _best_overlaps(data: EvaluationData, kept: Bool) -> tuple[_Best, _Best]:
    """Returns each box's largest overlap with boxes of the same class, and of another."""
    truth, seen = data.ground_truth, data.detections
    pairs = data.overlaps.where(kept[data.overlaps.detection])
    equal = seen.class_id[pairs.detection] == truth.class_id[pairs.truth]
    answers = []
    for chosen in (equal, ~equal):
        chosen = chosen & ~truth.is_crowd[pairs.truth]
        of_detection, of_truth = np.zeros(len(seen)), np.zeros(len(truth))
        np.maximum.at(of_detection, pairs.detection[chosen], pairs.iou[chosen])
        np.maximum.at(of_truth, pairs.truth[chosen], pairs.iou[chosen])
        answers.append(_Best(of_detection, of_truth))
    return answers[0], answers[1]

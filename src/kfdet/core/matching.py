"""Which detection finds which object, as COCO says: the matching that every number follows from.

Within an image and a class, detections in descending order of score each take the free object that
they overlap most. A detection keeps its match when those of lower score are left out, so that one
matching serves every score threshold.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kfdet.core.coco import (
    Bool,
    EvaluationData,
    Float64,
    Int64,
    canonical,
    places,
)
from kfdet.core.ordering import ascending, descending
from kfdet.schema.dataset import LabelMap
from kfdet.schema.metrics import COCO, CocoSettings

Int32 = npt.NDArray[np.int32]
# A threshold of one would be missed by a box and itself, for their last bits.
_HIGHEST_IOU = 1 - 1e-10


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Detections and objects that may match, P pairs in the order in which they are looked at.

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
    data: EvaluationData, counted: Bool, *, least_iou: float, same_class: bool
) -> Candidates:
    """Returns the pairs that overlap enough to match.

    Args:
        data: Images, ground truth and detections, in canonical order.
        counted: bool[D], the detections that matter.
        least_iou: The lowest overlap of interest, in [0, 1].
        same_class: Only objects of the detection's class.
    """
    seen, truth = data.detections, data.ground_truth
    pairs = data.overlaps
    near = pairs.iou >= min(least_iou, _HIGHEST_IOU)
    near &= counted[pairs.detection]
    if same_class:
        near &= seen.class_id[pairs.detection] == truth.class_id[pairs.truth]
    pairs = pairs.where(near)
    new = np.append(True, pairs.detection[1:] != pairs.detection[:-1])[: len(pairs.detection)]
    competing = pairs.detection[new]
    label = seen.class_id[competing] if same_class else np.zeros(competing.size, np.int64)
    turn = places(seen.image_id[competing], label, seen.score[competing])
    place = np.cumsum(new) - 1
    return Candidates(
        rows=competing, detection=place, truth=pairs.truth, iou=pairs.iou, turn=turn[place]
    )


def assign(candidates: Candidates, *, ious: Sequence[float], ignored: Bool, crowd: Bool) -> Int32:
    """Lets each detection take the free object that it overlaps most, the highest score first.

    Detections of different groups do not compete, so that all those whose turn it is choose at once.

    Args:
        candidates: Pairs that overlap by the lowest of the IoUs, or more.
        ious: T thresholds.
        ignored: bool[G], objects that are taken only where there is no other.
        crowd: bool[G], objects that any number of detections may share.

    Returns:
        int32[C, T], row of the object for each of `candidates.rows`, -1 for none.

    Source: pycocotools 2.0.11, COCOeval.evaluateImg: of equal overlaps the last object wins.
    """
    thresholds = np.minimum(np.array(ious), _HIGHEST_IOU)
    answer = np.full((candidates.rows.size, thresholds.size), -1, np.int32)
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
    bounds = np.append(np.flatnonzero(np.diff(turns, prepend=-1)), turns.size)
    for begin, end in itertools.pairwise(bounds.tolist()):
        mine, objects = detection[begin:end], truth[begin:end]
        free = near[begin:end] & (~taken[objects] | shared[begin:end, None])
        starts = np.flatnonzero(np.append(True, mine[1:] != mine[:-1]))
        place = np.where(free, np.arange(begin, end, dtype=np.int32)[:, None], np.int32(-1))
        best = np.maximum.reduceat(place, starts, axis=0)
        who, which = np.nonzero(best >= 0)
        found = truth[best[who, which]]
        answer[mine[starts[who]], which] = found
        taken[found, which] = True
    return answer


@dataclass(frozen=True, kw_only=True)
class Matches:
    """The matches of D detections at T IoU thresholds in A ranges of areas.

    Attributes:
        data: In canonical order; rows below are rows of it.
        label_map: The classes.
        settings: The thresholds, areas and counts.
        counted: bool[D]; False where the class is not listed or too many of the same class in the
            image score higher.
        rows: int64[C], the detections that may hit anything, ascending.
        found: int32[A, C, T], row of the object that each of them takes, -1 for none.
        ignored: bool[A, G], objects that count neither way: crowds, and those of other areas.
    """

    data: EvaluationData
    label_map: LabelMap
    settings: CocoSettings
    counted: Bool
    rows: Int64
    found: Int32
    ignored: Bool

    @functools.cached_property
    def by_score(self) -> Int64:
        """int64[N], the detections that count, in descending order of score."""
        rows = np.flatnonzero(self.counted)
        return rows[descending(self.data.detections.score[rows])]

    @functools.cached_property
    def area_px2(self) -> Float64:
        """float64[D], the areas of the detections' boxes."""
        size = self.data.seen_xywh[:, 2:]
        area: Float64 = size[:, 0] * size[:, 1]
        return area

    @functools.cached_property
    def detection_label(self) -> Int64:
        """int64[D], index of the class in the label map; without meaning where not listed."""
        return _labels(self.data.detections.class_id, self.label_map)

    @functools.cached_property
    def truth_label(self) -> Int64:
        """int64[G], index of the class in the label map."""
        return _labels(self.data.ground_truth.class_id, self.label_map)

    @functools.cached_property
    def found_in_all(self) -> Int32:
        """int32[T, C], `found` where all areas count, threshold by threshold."""
        return np.ascontiguousarray(self.found[0].T)

    def hits(self, t: int) -> tuple[Int64, Int64, Int64]:
        """Returns what hits at a threshold, where all areas count.

        Args:
            t: Index of the threshold.

        Returns:
            int64[H] places among `rows`, int64[H] rows of the objects; int64[L] places among `rows`
            of those that take an object that counts neither way.
        """
        found = self.found_in_all[t]
        matched = np.flatnonzero(found >= 0)
        truth = found[matched].astype(np.int64)
        out = self.ignored[0][truth]
        return matched[~out], truth[~out], matched[out]


def _labels(class_id: Int64, label_map: LabelMap) -> Int64:
    labels: Int64 = np.searchsorted([label.id for label in label_map.classes], class_id)
    return labels


def match_everywhere(
    data: EvaluationData, *, label_map: LabelMap, settings: CocoSettings = COCO
) -> Matches:
    """Matches detections to objects at every overlap and in every range of areas.

    Args:
        data: Images, ground truth and detections, in any order.
        label_map: The classes.
        settings: The thresholds, areas and counts.

    Source: pycocotools 2.0.11, COCOeval.evaluateImg.
    """
    data = canonical(data)
    truth, seen = data.ground_truth, data.detections
    counted = np.isin(seen.class_id, [label.id for label in label_map.classes])
    counted &= data.rank < settings.max_detections[-1]
    ious = settings.iou_thresholds
    candidates = candidate_pairs(data, counted, least_iou=ious[0], same_class=True)
    ignored = np.stack(
        [
            truth.is_crowd | (truth.area < low) | (truth.area > high)
            for low, high in settings.area_ranges_px2
        ]
    )
    return Matches(
        data=data,
        label_map=label_map,
        settings=settings,
        counted=counted,
        rows=candidates.rows,
        found=_assign_in_areas(candidates, ious=ious, ignored=ignored, crowd=truth.is_crowd),
        ignored=ignored,
    )


def _assign_in_areas(
    candidates: Candidates, *, ious: Sequence[float], ignored: Bool, crowd: Bool
) -> Int32:
    """Assigns once where the area can't matter, and for every range of areas where it may.

    Which objects are ignored only matters to a detection that has a choice. An object whose
    candidates have none goes to the first of them, in every range of areas.
    """
    choices = np.bincount(candidates.detection, minlength=candidates.rows.size)
    contested = np.zeros(crowd.size, np.bool_)
    contested[candidates.truth[choices[candidates.detection] > 1]] = True
    hard = contested[candidates.truth]
    simple = _assign_single(_some(candidates, ~hard), ious=ious, crowd=crowd)
    rest = _some(candidates, hard)
    # A detection is in one of the two parts: its row is -1 in the other.
    return np.stack(
        [np.maximum(simple, assign(rest, ious=ious, ignored=one, crowd=crowd)) for one in ignored]
    )


def _some(candidates: Candidates, chosen: Bool) -> Candidates:
    return Candidates(
        rows=candidates.rows,
        detection=candidates.detection[chosen],
        truth=candidates.truth[chosen],
        iou=candidates.iou[chosen],
        turn=candidates.turn[chosen],
    )


def _assign_single(candidates: Candidates, *, ious: Sequence[float], crowd: Bool) -> Int32:
    """Assigns as `assign` does, where no detection has more than one candidate."""
    thresholds = np.minimum(np.array(ious), _HIGHEST_IOU)
    answer = np.full((candidates.rows.size, thresholds.size), -1, np.int32)
    order = ascending(candidates.turn)
    order = order[ascending(candidates.truth[order])]
    detection, truth = candidates.detection[order], candidates.truth[order]
    near = candidates.iou[order][:, None] >= thresholds
    starts = np.flatnonzero(np.append(True, truth[1:] != truth[:-1])[: truth.size])
    if starts.size == 0:
        return answer
    nobody = np.int32(truth.size)
    place = np.where(near, np.arange(truth.size, dtype=np.int32)[:, None], nobody)
    first = np.minimum.reduceat(place, starts, axis=0)
    group = np.repeat(np.arange(starts.size), np.diff(np.append(starts, truth.size)))
    winner = place == first[group]
    winner |= crowd[truth][:, None]
    answer[detection] = np.where(winner & near, truth[:, None], -1)
    return answer

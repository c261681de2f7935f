"""What the metrics of a set of images follow from: which detection hits, at which overlap, in which image.

Matching is the expensive part of AP, and it does not change when images are counted twice or not at
all. So it is done once, and kept: a bootstrap and a comparison with another model start from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kfdet.core.coco import (
    AREAS,
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    Bool,
    EvaluationData,
    Float32,
    Float64,
    Int64,
    boxes_xywh,
    canonical,
)
from kfdet.core.error_analysis import assign, candidate_pairs, rank_in_image
from kfdet.schema.dataset import LabelMap

Bits = npt.NDArray[np.uint16]

_EVERY_IOU = np.uint16((1 << len(IOU_THRESHOLDS)) - 1)
# Of AREAS, in their order: both bounds are inside.
AREA_BOUNDS_PX2 = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """I images, D detections that count, G objects that are no crowd.

    Attributes:
        images: I.
        object_image, object_class: int64[G]; an image is its row in canonical order.
        object_areas: uint16[G], bit a: the object counts in AREAS[a].
        image, class_id: int64[D], in the order in which COCO takes equal scores.
        score: [D].
        rank: int64[D], place among the detections of its image and class, by score.
        hits: uint16[D, A], bit t: hits an object at IOU_THRESHOLDS[t].
        left_out: uint16[D, A], bit t: counts neither way.
    """

    images: int
    object_image: Int64
    object_class: Int64
    object_areas: Bits
    image: Int64
    class_id: Int64
    score: Float32 | Float64
    rank: Int64
    hits: Bits
    left_out: Bits


def gather_evidence(data: EvaluationData, *, label_map: LabelMap) -> Evidence:
    """Matches detections to objects at every overlap and in every range of areas.

    Args:
        data: Images, ground truth and detections, in any order.
        label_map: The classes; detections of others are dropped.

    Source: pycocotools 2.0.11, COCOeval.evaluateImg.
    """
    data = canonical(data)
    truth, seen = data.ground_truth, data.detections
    rank = rank_in_image(seen)
    listed = np.isin(seen.class_id, [label.id for label in label_map.classes])
    rows = np.flatnonzero(listed & (rank < MAX_DETECTIONS[-1]))
    candidates = candidate_pairs(data, rows, least_iou=IOU_THRESHOLDS[0], same_class=True)
    competing = np.searchsorted(rows, candidates.rows)
    seen_area = boxes_xywh(seen, rows)[:, 2:].prod(axis=1)
    hits = np.zeros((rows.size, len(AREAS)), np.uint16)
    left_out = np.zeros_like(hits)
    areas = np.zeros(len(truth), np.uint16)
    for a, (low, high) in enumerate(AREA_BOUNDS_PX2):
        ignored = truth.is_crowd | (truth.area < low) | (truth.area > high)
        areas |= (~ignored).astype(np.uint16) << np.uint16(a)
        outside = (seen_area < low) | (seen_area > high)
        left_out[outside, a] = _EVERY_IOU
        found = assign(candidates, ious=IOU_THRESHOLDS, ignored=ignored, crowd=truth.is_crowd)
        on_ignored = np.zeros(found.shape, np.bool_)
        on_ignored[found >= 0] = ignored[found[found >= 0]]
        hits[competing, a] = _packed((found >= 0) & ~on_ignored)
        left_out[competing, a] = _packed(on_ignored | ((found < 0) & outside[competing][:, None]))
    objects = np.flatnonzero(~truth.is_crowd)
    row_of = data.images.image_id
    return Evidence(
        images=len(data.images),
        object_image=np.searchsorted(row_of, truth.image_id[objects]),
        object_class=truth.class_id[objects],
        object_areas=areas[objects],
        image=np.searchsorted(row_of, seen.image_id[rows]),
        class_id=seen.class_id[rows],
        score=seen.score[rows],
        rank=rank[rows],
        hits=hits,
        left_out=left_out,
    )


def bit(words: Bits, number: int) -> Bool:
    """Returns one bit of every word."""
    answer: Bool = (words >> np.uint16(number)) & np.uint16(1) > 0
    return answer


def _packed(flags: Bool) -> Bits:
    weights = np.uint16(1) << np.arange(flags.shape[1], dtype=np.uint16)
    words: Bits = (flags * weights).sum(axis=1, dtype=np.uint16)
    return words

"""What the metrics of a set of images follow from: which detection hits, at which overlap, in which image.

Matching is the expensive part of AP, and it does not change when images are counted twice or not at
all. So it is done once, and kept: a bootstrap and a comparison with another model start from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kfdet.core.coco import (
    Bool,
    EvaluationData,
    Float32,
    Float64,
    Int64,
)
from kfdet.core.matching import Matches, match_everywhere
from kfdet.schema.dataset import LabelMap
from kfdet.schema.metrics import COCO, CocoSettings

Bits = npt.NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class ImageParts:
    """A partition of the images: each is in one part.

    Attributes:
        by: What it is cut by, as `kfdet.schema.metrics.Slice` has it.
        names: Of the P parts.
        place: int64[I], index into the names, by the image's row in canonical order.
    """

    by: str
    names: tuple[str, ...]
    place: Int64


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """I images, D detections that count, G objects that are no crowd.

    Attributes:
        images: I.
        object_image, object_class: int64[G]; an image is its row in canonical order.
        object_areas: uint16[G], bit a: the object counts in `settings.area_names[a]`.
        image, class_id: int64[D], in the order in which COCO takes equal scores.
        score: [D].
        rank: int64[D], place among the detections of its image and class, by score.
        hits: uint16[D, A], bit t: hits an object at `settings.iou_thresholds[t]`.
        left_out: uint16[D, A], bit t: counts neither way.
        settings: The thresholds, areas and counts.
        image_parts: The slices of images.
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
    settings: CocoSettings = COCO
    image_parts: tuple[ImageParts, ...] = ()


def gather_evidence(
    data: EvaluationData, *, label_map: LabelMap, settings: CocoSettings = COCO
) -> Evidence:
    """Matches detections to objects at every overlap and in every range of areas.

    Args:
        data: Images, ground truth and detections, in any order.
        label_map: The classes; detections of others are dropped.
        settings: The thresholds, areas and counts.
    """
    return evidence_of(match_everywhere(data, label_map=label_map, settings=settings))


def evidence_of(matches: Matches, *, image_parts: tuple[ImageParts, ...] = ()) -> Evidence:
    """Returns what is kept of matches.

    Args:
        matches: Of all shards.
        image_parts: The slices of images.
    """
    data, settings = matches.data, matches.settings
    truth, seen = data.ground_truth, data.detections
    rows = np.flatnonzero(matches.counted)
    competing = np.searchsorted(rows, matches.rows)
    seen_area = matches.area_px2[rows]
    hits = np.zeros((rows.size, len(settings.area_names)), np.uint16)
    left_out = np.zeros_like(hits)
    areas = np.zeros(len(truth), np.uint16)
    every_iou = np.uint16((1 << len(settings.iou_thresholds)) - 1)
    for a, (low, high) in enumerate(settings.area_ranges_px2):
        areas |= (~matches.ignored[a]).astype(np.uint16) << np.uint16(a)
        outside = (seen_area < low) | (seen_area > high)
        left_out[outside, a] = every_iou
        found = matches.found[a]
        on_ignored = (found >= 0) & matches.ignored[a][found]
        hits[competing, a] = _packed((found >= 0) & ~on_ignored)
        left_out[competing, a] = _packed(on_ignored | ((found < 0) & outside[competing][:, None]))
    objects = np.flatnonzero(~truth.is_crowd)
    return Evidence(
        images=len(data.images),
        object_image=data.images.rows_of(truth.image_id[objects]),
        object_class=truth.class_id[objects],
        object_areas=areas[objects],
        image=data.images.rows_of(seen.image_id[rows]),
        class_id=seen.class_id[rows],
        score=seen.score[rows],
        rank=data.rank[rows],
        hits=hits,
        left_out=left_out,
        settings=settings,
        image_parts=image_parts,
    )


def bit(words: Bits, number: int) -> Bool:
    """Returns one bit of every word."""
    answer: Bool = (words >> np.uint16(number)) & np.uint16(1) > 0
    return answer


def _packed(flags: Bool) -> Bits:
    """Returns uint16[N] with bit t where flags[:, t], of bool[N, T], T up to 16."""
    packed = np.zeros((len(flags), 2), np.uint8)
    bits = np.packbits(flags, axis=1, bitorder="little")
    packed[:, : bits.shape[1]] = bits
    words: Bits = packed.view("<u2")[:, 0].astype(np.uint16)
    return words

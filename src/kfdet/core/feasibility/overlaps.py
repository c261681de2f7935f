"""Pairs of objects of one class that overlap, and what a detector may answer for both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import Bool, Float64, Int64
from kfdet.core.feasibility.objects import SplitObjects

# In a group with more boxes, pairs further apart in the order of their left edges are passed over.
_FURTHEST = 2000


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """P pairs of boxes of the same image and class that are no crowd.

    Attributes:
        pairs: int64[P, 2], rows of the ground truth.
        iou: float64[P], above zero.
    """

    pairs: Int64
    iou: Float64

    def above(self, iou: float, *, among: Bool | None = None) -> Int64:
        """Returns the pairs that overlap by more, int64[Q, 2].

        Args:
            iou: In [0, 1], or above it for none.
            among: bool[G], only pairs of these boxes.
        """
        chosen = self.iou > iou
        if among is not None:
            chosen &= among[self.pairs].all(axis=1)
        return self.pairs[chosen]


def same_class_overlaps(objects: SplitObjects) -> Overlaps:
    """Returns the pairs of boxes of a class that overlap at all.

    Boxes are swept from left to right, so that the work grows with the pairs that overlap.
    """
    truth = objects.truth
    rows = np.flatnonzero(objects.counted)
    boxes = truth.boxes_xyxy_px
    rows = rows[np.lexsort((boxes[rows, 0], truth.class_id[rows], objects.row[rows]))]
    group = objects.row[rows], truth.class_id[rows]
    ordered = boxes[rows]
    first = np.arange(rows.size)
    pairs: list[Int64] = [np.zeros((0, 2), np.int64)]
    ious: list[Float64] = [np.zeros(0)]
    for distance in range(1, min(rows.size, _FURTHEST)):
        first = first[first + distance < rows.size]
        other = first + distance
        near = (group[0][first] == group[0][other]) & (group[1][first] == group[1][other])
        near &= ordered[other, 0] < ordered[first, 2]
        # Further to the right there is nothing for those that end here.
        first = first[near]
        if not first.size:
            break
        iou = paired_iou(ordered[first], ordered[first + distance])
        overlapping = iou > 0
        pairs.append(rows[np.stack([first, first + distance], axis=1)][overlapping])
        ious.append(iou[overlapping])
    return Overlaps(pairs=np.concatenate(pairs), iou=np.concatenate(ious))


def paired_iou(a: Float64, b: Float64) -> Float64:
    """Returns the IoU of each box with its partner, float64[N]; zero where neither has an area.

    Args:
        a: float[N, 4], minima first; the order of the axes does not matter.
        b: float[N, 4], alike.
    """
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    inside = np.maximum(sides, 0).prod(axis=1)
    whole = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - inside
    answer: Float64 = np.divide(inside, whole, out=np.zeros_like(inside), where=inside > 0)
    return answer

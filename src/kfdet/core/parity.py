"""Do two models answer alike? Detections of the same images, compared one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kfdet.core.detected import Detected
from kfdet.errors import ParityError
from kfdet.schema.detector_config import NmsConfig
from kfdet.schema.export import ParityProof
from kfdet.schema.run_config import ParityConfig

_SAME_OBJECT_IOU = 0.5


@dataclass(kw_only=True)
class _Tally:
    detections: int = 0
    mismatches: int = 0
    score_difference: float = 0.0
    box_difference_px: float = 0.0

    def add(self, score_difference: float, box_difference_px: float) -> None:
        if not (math.isfinite(score_difference) and math.isfinite(box_difference_px)):
            self.mismatches += 1
            return
        self.detections += 1
        self.score_difference = max(self.score_difference, score_difference)
        self.box_difference_px = max(self.box_difference_px, box_difference_px)


def compare(
    reference: Sequence[Detected],
    candidate: Sequence[Detected],
    *,
    tolerance: ParityConfig,
    nms: NmsConfig,
) -> ParityProof:
    """Compares two models' detections of the same images.

    Detections are paired by class within the tolerances, so that near-equal scores may come in
    another order. One without a partner is forgiven only at the edge of what is kept at all: at the
    score threshold, or at the last place of a full list. What is left is paired by overlap to show
    how far off it is, and counts as a mismatch where even that finds no partner of its class.

    Args:
        reference: One model's detections, image by image.
        candidate: The other's, in the same order.
        tolerance: The largest differences allowed.
        nms: What both models keep.

    Returns:
        The proof. It fails where nothing was compared.
    """
    if len(reference) != len(candidate):
        raise ValueError(f"{len(reference)} images on one side, {len(candidate)} on the other")
    tally = _Tally()
    for left, right in zip(reference, candidate, strict=True):
        _compare_image(left, right, tolerance=tolerance, nms=nms, tally=tally)
    return ParityProof(
        images=len(reference),
        detections=tally.detections,
        mismatches=tally.mismatches,
        max_score_difference=tally.score_difference,
        max_box_difference_px=tally.box_difference_px,
        score_tolerance=tolerance.score_tolerance,
        box_tolerance_px=tolerance.box_tolerance_px,
        passed=bool(
            tally.detections
            and not tally.mismatches
            and tally.score_difference <= tolerance.score_tolerance
            and tally.box_difference_px <= tolerance.box_tolerance_px
        ),
    )


def refusal(proof: ParityProof, checkpoint: str) -> ParityError:
    """Returns what to say of a checkpoint whose export is not proven."""
    if not proof.detections and not proof.mismatches:
        return ParityError(
            f"neither the checkpoint nor the export finds anything on {proof.images} test images, "
            "so nothing is proven",
            where=checkpoint,
            remedy="Raise export.parity.images, or train longer. Nothing was exported.",
        )
    return ParityError(
        f"the reloaded export differs from the checkpoint: {proof.mismatches} of "
        f"{proof.detections + proof.mismatches} detections have no counterpart, scores differ by up "
        f"to {proof.max_score_difference:.3g}, boxes by up to {proof.max_box_difference_px:.3g} px",
        where=checkpoint,
        expected=f"at most {proof.score_tolerance:g} and {proof.box_tolerance_px:g} px",
        remedy="Nothing was exported. A difference this side of the tolerances is a fault of the "
        "exporter or of the device: export on the device that evaluated.",
    )


def _compare_image(
    left: Detected, right: Detected, *, tolerance: ParityConfig, nms: NmsConfig, tally: _Tally
) -> None:
    free = set(range(len(right)))
    alone = []
    for i in range(len(left)):
        near = []
        for j in free:
            score, box = _differences(left, i, right, j)
            alike = left.class_ids[i] == right.class_ids[j]
            if alike and score <= tolerance.score_tolerance and box <= tolerance.box_tolerance_px:
                near.append((box, score, j))
        if near:
            box, score, j = min(near)
            tally.add(score, box)
            free.discard(j)
        else:
            alone.append(i)
    slack = tolerance.score_tolerance
    alone = [i for i in alone if not left.scores[i] <= _edge(right, nms) + slack]
    strangers = [j for j in sorted(free) if not right.scores[j] <= _edge(left, nms) + slack]
    for i in alone:
        partner = _by_overlap(left, i, right, strangers)
        if partner is None:
            tally.mismatches += 1
        else:
            strangers.remove(partner)
            tally.add(*_differences(left, i, right, partner))
    tally.mismatches += len(strangers)


def _edge(side: Detected, nms: NmsConfig) -> float:
    """Returns the score up to which a detection may be missing on a side."""
    full = len(side) >= nms.max_detections
    return float(side.scores.min()) if full else nms.score_threshold


def _differences(left: Detected, i: int, right: Detected, j: int) -> tuple[float, float]:
    score = abs(float(left.scores[i]) - float(right.scores[j]))
    sides = left.boxes_yxyx_px[i].astype(np.float64) - right.boxes_yxyx_px[j]
    return score, float(np.abs(sides).max())


def _by_overlap(left: Detected, i: int, right: Detected, free: Sequence[int]) -> int | None:
    overlaps = [
        (_iou(left.boxes_yxyx_px[i], right.boxes_yxyx_px[j]), j)
        for j in free
        if left.class_ids[i] == right.class_ids[j]
    ]
    iou, partner = max(overlaps, default=(0.0, -1))
    return partner if iou >= _SAME_OBJECT_IOU else None


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    shared = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    intersection = float(np.prod(np.maximum(shared, 0)))
    union = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - intersection
    return intersection / union if union > 0 else 0.0

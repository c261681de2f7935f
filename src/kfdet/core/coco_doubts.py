"""What looks as if a COCO file meant something else than COCO's format says.

Only what proper files can't look like is told: sides of images are as they were given, and boxes of a
detector don't lie beyond them by the half.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kfdet.core.advice import Advice
from kfdet.core.coco import Bool, Detections, Float64, Int64
from kfdet.core.coco_results import Reference
from kfdet.wording import plural

_UNIT = 1.0 + 1e-6
_LEAST_SIDE_PX = 8
_MOST_BEYOND = 0.5
_ROUNDING = 1.02


def doubts(reference: Reference, detections: Detections) -> Iterator[Advice]:
    """Yields what is odd about the boxes of either file and about the scores.

    Args:
        reference: The ground truth.
        detections: The results on it.
    """
    yield from _of_scores(detections)
    truth, images = reference.ground_truth, reference.images
    for what, boxes_xyxy_px, image_id in (
        ("ground truth", truth.boxes_xyxy_px, truth.image_id),
        ("results", detections.boxes_xyxy_px, detections.image_id),
    ):
        # Images are numbered by their place.
        sides = np.stack([images.width_px, images.height_px], axis=1)[image_id]
        known = (sides > 0).all(axis=1)
        if known.any():
            yield from _of_boxes(what, boxes_xyxy_px[known].astype(np.float64), sides[known])


def _of_scores(detections: Detections) -> Iterator[Advice]:
    score = detections.score
    outside = score[(score < 0) | (score > 1)]
    if outside.size:
        yield Advice(
            topic="scores_outside",
            finding="Scores lie outside 0 to 1.",
            evidence=f"{plural(outside.size, 'score')} of {score.size:,} from {outside.min():g} to "
            f"{outside.max():g}. AP and AR rest on the order of the scores alone and are right; "
            "calibration is left out, and what is drawn along the score is of little use.",
            thresholds={},
            remedy="Write scores as shares: a percentage divided by 100, or a logit through its sigmoid.",
        )


def _of_boxes(what: str, boxes: Float64, sides: Int64) -> Iterator[Advice]:
    """Args:
    what: Which file they are of.
    boxes: float64[N, 4], [xmin, ymin, xmax, ymax] as COCO's format reads them.
    sides: int64[N, 2], width and height of the image of each.
    """
    count = plural(len(boxes), "box")
    if (boxes[:, 2:] <= _UNIT).all() and sides.min() >= _LEAST_SIDE_PX:
        yield Advice(
            topic="boxes_normalised",
            finding=f"The boxes of the {what} look normalised.",
            evidence=f"Of {count}, none reaches beyond 1 px, in images of "
            f"{sides[:, 0].max():,} x {sides[:, 1].max():,} px.",
            thresholds={},
            remedy="COCO's boxes are [x, y, width, height] in pixels: multiply by the image's sides.",
        )
    elif (beyond := _beyond(boxes, sides)).mean() >= _MOST_BEYOND and _are_corners(boxes, sides):
        yield Advice(
            topic="boxes_as_corners",
            finding=f"The boxes of the {what} look like [xmin, ymin, xmax, ymax].",
            evidence=f"Of {count}, {int(beyond.sum()):,} reach beyond their image when they are read "
            "as [x, y, width, height]; read as corners, all lie inside.",
            thresholds={},
            remedy="COCO's boxes are [x, y, width, height]: subtract the first two numbers from the "
            "others.",
        )


def _beyond(boxes: Float64, sides: Int64) -> Bool:
    beyond: Bool = np.any(boxes[:, 2:] > sides * _ROUNDING, axis=1)
    return beyond


def _are_corners(boxes: Float64, sides: Int64) -> bool:
    low, high = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    return bool(((high >= low) & (high <= sides * _ROUNDING)).all())

"""How far a metric would move on other images, before there is a model: evaluations made up, then resampled.

Made-up detectors of rising quality answer the real ground truth: they miss objects, place boxes
badly, and see things that are not there. Some images are harder than others for all of them, and some
objects, so that errors come in clusters and two models err alike. The standard error of a metric
comes from the same resampling of images that the gate uses, and is read off where the metric is near
the threshold in question.

The made-up detectors are no model of any real one. On the blood cells' test split their standard errors
are 0.7 to 1.6 times those of a trained detector's bootstrap: good enough to tell 0.02 from 0.10.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import Detections, EvaluationData, Float64, Int64, taken
from kfdet.core.evidence import gather_evidence
from kfdet.core.feasibility.objects import SplitObjects
from kfdet.core.uncertainty import Subject, measured_values, spreads
from kfdet.schema.dataset import LabelMap
from kfdet.schema.metrics import COCO, CocoSettings

QUALITIES = (-1.5, -0.75, 0.0, 0.5, 1.0, 1.5, 2.0, 2.75, 3.5)
_RESAMPLES = 200
_IMAGES = 2000
# Shares of the variance of difficulty: of the image, of the object, the rest is the model's own.
_OF_IMAGE, _OF_OBJECT = 0.25, 0.45
_ALARMS_AN_OBJECT = 0.8
_LOOSENESS, _TIGHTENING = 0.3, 0.6


@dataclass(frozen=True, kw_only=True)
class SpreadCurve:
    """Standard errors of one metric along its value, from made-up detectors.

    Attributes:
        value: float64[Q], ascending.
        alone: float64[Q], standard error of the metric.
        paired: float64[Q], of the difference of two models of equal quality on the same images.
    """

    value: Float64
    alone: Float64
    paired: Float64

    def at(self, value: float, *, paired: bool) -> float:
        """Returns the standard error where the metric has that value."""
        errors = self.paired if paired else self.alone
        return float(np.interp(value, self.value, errors))


def spread_curves(
    objects: SplitObjects,
    subjects: Sequence[Subject],
    *,
    label_map: LabelMap,
    seed: int = 0,
    images: int = _IMAGES,
    settings: CocoSettings = COCO,
) -> dict[Subject, SpreadCurve]:
    """Returns how the standard error of each metric goes along its value.

    Args:
        objects: Images and ground truth of the split that the gate looks at.
        subjects: The metrics.
        label_map: The classes.
        seed: Of the made-up detectors and the draws.
        images: More than these are sampled, and the errors scaled with the square root.
        settings: What the statistics are taken over.

    Returns:
        Nothing for a metric without ground truth, or with too little of it to tell.
    """
    part, factor = _part(objects, images=images, seed=seed)
    class_ids = [label.id for label in label_map.classes]
    spread = functools.partial(
        spreads, subjects, class_ids=class_ids, resamples=_RESAMPLES, seed=seed
    )
    points: dict[Subject, list[tuple[float, float, float]]] = {}
    for quality in QUALITIES:
        one, other = (
            gather_evidence(
                made_up(part, quality=quality, seed=seed, model=model),
                label_map=label_map,
                settings=settings,
            )
            for model in (0, 1)
        )
        values = measured_values(subjects, one, class_ids=class_ids)
        alone = spread(one)
        paired = spread(one, other)
        for subject, value in values.items():
            mine, difference = alone[subject], paired[subject]
            if not math.isnan(value) and mine is not None and difference is not None:
                errors = factor * mine.standard_error, factor * difference.standard_error
                points.setdefault(subject, []).append((value, *errors))
    return {subject: _curve(found) for subject, found in points.items()}


def made_up(objects: SplitObjects, *, quality: float, seed: int, model: int = 0) -> EvaluationData:
    """Returns what a made-up detector answers.

    Args:
        objects: Images and ground truth.
        quality: Higher is better; at 0 about half of the objects are found.
        seed: Equal seeds give the same hard images and objects.
        model: Models of different numbers err on their own where both could be right.
    """
    shared = np.random.default_rng(seed)
    own = np.random.default_rng((seed, model, round(quality * 100) + 1000))
    rows = np.flatnonzero(objects.counted)
    image = objects.row[rows]
    ease = (
        math.sqrt(_OF_IMAGE) * shared.standard_normal(len(objects.images))[image]
        + math.sqrt(_OF_OBJECT) * shared.standard_normal(rows.size)
        + math.sqrt(1 - _OF_IMAGE - _OF_OBJECT) * own.standard_normal(rows.size)
        + quality
    )
    found = ease > 0
    boxes = objects.truth.boxes_xyxy_px[rows]
    hits = _placed(boxes[found], looseness=_LOOSENESS * np.exp(-_TIGHTENING * ease[found]), rng=own)
    alarms = _alarms(rows, quality=quality, rng=own)
    chosen = np.concatenate([rows[found], alarms])
    beside = _beside(objects.truth.boxes_xyxy_px[alarms], rng=own)
    logit = np.concatenate(
        [ease[found] + 0.7 * own.standard_normal(hits.shape[0]), own.normal(-0.5, 1.0, alarms.size)]
    )
    truth = objects.truth
    return EvaluationData(
        images=objects.images,
        ground_truth=truth,
        detections=Detections(
            image_id=truth.image_id[chosen],
            class_id=truth.class_id[chosen],
            score=(1 / (1 + np.exp(-2 * logit))).astype(np.float32),
            boxes_xyxy_px=np.concatenate([hits, beside]).astype(np.float32),
        ),
    )


def _part(objects: SplitObjects, *, images: int, seed: int) -> tuple[SplitObjects, float]:
    total = len(objects.images)
    if total <= images:
        return objects, 1.0
    chosen = np.sort(np.random.default_rng(seed).choice(total, images, replace=False))
    kept = np.isin(objects.row, chosen)
    part = SplitObjects(
        split=objects.split,
        images=taken(objects.images, chosen),
        truth=taken(objects.truth, kept),
        row=np.searchsorted(chosen, objects.row[kept]),
    )
    return part, math.sqrt(images / total)


def _placed(boxes: Float64, *, looseness: Float64, rng: np.random.Generator) -> Float64:
    """Returns boxes whose sides are moved by about a share of the box's size."""
    size = boxes[:, 2:] - boxes[:, :2]
    moved = boxes + rng.standard_normal(boxes.shape) * (
        np.tile(size, (1, 2)) * looseness[:, None] / 2
    )
    answer: Float64 = np.concatenate(
        [np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])], axis=1
    )
    return answer


def _beside(boxes: Float64, *, rng: np.random.Generator) -> Float64:
    """Returns boxes moved by about their own size, in any direction."""
    size = boxes[:, 2:] - boxes[:, :2]
    angle = rng.uniform(0, 2 * math.pi, len(boxes))
    way = rng.uniform(0.6, 1.4, len(boxes))
    shift = size * np.stack([np.cos(angle) * way, np.sin(angle) * way], axis=1)
    answer: Float64 = boxes + np.tile(shift, (1, 2))
    return answer


def _alarms(rows: Int64, *, quality: float, rng: np.random.Generator) -> Int64:
    """Returns the objects near which something is seen that is not there."""
    rate = _ALARMS_AN_OBJECT * math.exp(-0.6 * quality)
    return np.repeat(rows, np.minimum(rng.poisson(rate, rows.size), 3))


def _curve(points: list[tuple[float, float, float]]) -> SpreadCurve:
    ordered = np.array(sorted(points))
    return SpreadCurve(value=ordered[:, 0], alone=ordered[:, 1], paired=ordered[:, 2])

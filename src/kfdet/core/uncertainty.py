"""How far a number would move on other images of the same kind.

Halves of the set are drawn, without replacement, each with its complement. The spread of a mean over
halves is that of the mean over all images, so that it needs no correction. Bootstrap resamples with
replacement would do less well: an image that is drawn twice ties with itself, which lifts AP, and
leaves the resamples above the measured value. Halves also say how much of a value is owed to the set
being small: as much as halves lie above the whole.

Of two models on the same images the same halves are taken, and only the difference is looked at: most
of what makes one image harder than another cancels, and what small sets add to both as well.

`benchmarks/bootstrap_coverage.py` shows how often intervals hold the truth.

Source: Politis, Romano and Wolf, Subsampling, 1999; Shao and Wu, A general theory for jackknife
variance estimation, 1989, for halves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kfdet.core.coco import RECALL_POINTS, Bool, Float64
from kfdet.core.evidence import Evidence
from kfdet.core.weighted import (
    curve_ends,
    mean_over_classes,
    weighted_ap_at_iou,
    weighted_at_score,
    weighted_metric,
)
from kfdet.schema.dataset import LabelMap
from kfdet.schema.gate_policy import PolicyMetric
from kfdet.schema.metrics import is_statistic

_RECALL_STEP = 1 / (len(RECALL_POINTS) - 1)


@dataclass(frozen=True, kw_only=True)
class StandardErrors:
    """Standard errors of AP, in [0, 1]; None where AP is undefined.

    An interval of two standard errors to either side covers about 95 %.

    Attributes:
        overall: Of the mean over the classes.
        per_class: In the order of the label map.
        resamples: How many halves they rest on.
    """

    overall: float | None
    per_class: tuple[float | None, ...]
    resamples: int


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a number is about.

    Attributes:
        metric: Any that a rule of the gate can read.
        at: The IoU, recall or precision that it is read at.
        class_id: Of this class alone; over all classes when None.
        part: Of this slice of images alone: what it is cut by, and its name.
        score: That precision, recall and f1 are taken at; that of the highest F1 when None.
        rival_score: The same of the model that it is compared with.
    """

    metric: PolicyMetric
    at: float | None = None
    class_id: int | None = None
    part: tuple[str, str] | None = None
    score: float | None = None
    rival_score: float | None = None

    def of_rival(self) -> Subject:
        """Returns the same of the model that it is compared with."""
        return replace(self, score=self.rival_score)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Attributes:
    standard_error: Of the number.
    excess: How much of it is owed to the set being small; 0 for differences.
    """

    standard_error: float
    excess: float


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number, or a difference, on the scale on which its interval is symmetric.

    That is the scale of log-odds for a number in [0, 1], since near its ends intervals are lopsided,
    and the difference itself for a difference.

    Attributes:
        value: The number without what is owed to the set being small.
        standard_error: Of it.
        place: The value on the scale.
        width: The standard error on the scale.
        log_odds: Which scale that is.
    """

    value: float
    standard_error: float
    place: float
    width: float
    log_odds: bool

    @staticmethod
    def of_value(measured: float, spread: Spread, *, boxes: int) -> Estimate:
        """Args:
        measured: In [0, 1].
        spread: Of it.
        boxes: That it rests on.
        """
        error = _at_least_one_box(spread, boxes)
        edge = min(0.25, 0.5 / max(boxes, 1))
        value = min(max(measured - spread.excess, edge), 1 - edge)
        return Estimate(
            value=value, standard_error=error, place=_log_odds(value),
            width=error / (value * (1 - value)), log_odds=True,
        )  # fmt: skip

    @staticmethod
    def of_difference(measured: float, spread: Spread, *, boxes: int) -> Estimate:
        """Args:
        measured: In [-1, 1].
        spread: Of it.
        boxes: That it rests on.
        """
        error = _at_least_one_box(spread, boxes)
        return Estimate(
            value=measured, standard_error=error, place=measured, width=error, log_odds=False
        )

    def steps_above(self, other: float) -> float:
        """Returns how many standard errors the value lies above another, on the scale."""
        place = _log_odds(other) if self.log_odds else other
        return (self.place - place) / self.width

    def interval(self, steps: float) -> tuple[float, float]:
        """Returns what lies within so many standard errors to either side."""
        low, high = self.place - steps * self.width, self.place + steps * self.width
        return (_share(low), _share(high)) if self.log_odds else (low, high)


def _at_least_one_box(spread: Spread, boxes: int) -> float:
    # Where every half answers alike, as when nothing was missed, there is still the chance of an
    # error that this many boxes have not shown.
    return max(spread.standard_error, 1 / max(boxes, 1))


def _log_odds(share: float) -> float:
    if share in (0.0, 1.0):
        return math.copysign(math.inf, share - 0.5)
    return math.log(share / (1 - share))


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def standard_errors(
    evidence: Evidence, *, label_map: LabelMap, resamples: int = 100, seed: int = 0
) -> StandardErrors:
    """Estimates the standard errors of AP.

    Args:
        evidence: The matched detections.
        label_map: The classes.
        resamples: Halves, at least 2.
        seed: Of the draws.
    """
    class_ids = [label.id for label in label_map.classes]
    halves = draw_halves(evidence.images, resamples=resamples, seed=seed)
    by_class = weighted_metric(evidence, halves, metric="ap", class_ids=class_ids)
    return StandardErrors(
        overall=_deviation(mean_over_classes(by_class)),
        per_class=tuple(_deviation(of_class) for of_class in by_class),
        resamples=resamples,
    )


def spreads(
    subjects: Sequence[Subject],
    evidence: Evidence,
    rival: Evidence | None = None,
    *,
    class_ids: Sequence[int],
    resamples: int,
    seed: int,
) -> dict[Subject, Spread | None]:
    """Returns the spread of each number, or of its difference from a rival's.

    Args:
        subjects: The numbers.
        evidence: The model's matched detections.
        rival: Another model's, on the same images in the same order.
        class_ids: The classes that means are taken over.
        resamples: Halves, at least 2.
        seed: Of the draws: equal seeds give equal bits.

    Returns:
        None where the number is undefined in all halves but one.
    """
    halves = draw_halves(evidence.images, resamples=resamples, seed=seed)
    # The first column is the set itself.
    weights = np.concatenate([np.ones((evidence.images, 1)), halves], axis=1)
    mine = _drawn(subjects, evidence, weights, class_ids=class_ids)
    rivals = [subject.of_rival() for subject in subjects]
    theirs = _drawn(rivals, rival, weights, class_ids=class_ids) if rival else {}
    answer: dict[Subject, Spread | None] = {}
    for subject in subjects:
        if rival is None:
            spread = _spread(mine[subject])
        else:
            apart = mean_over_classes(mine[subject]) - mean_over_classes(theirs[subject.of_rival()])
            error = _distance(apart[1:], apart[0])
            spread = None if error is None else Spread(standard_error=error, excess=0.0)
        step = _last_step(subject, evidence, rival, class_ids=class_ids)
        answer[subject] = spread and replace(
            spread, standard_error=math.hypot(spread.standard_error, step)
        )
    return answer


def _last_step(
    subject: Subject, evidence: Evidence, rival: Evidence | None, *, class_ids: Sequence[int]
) -> float:
    """Returns the standard deviation that the last steps of recall add to an AP or a difference.

    Uniform within a step; those of classes, overlaps and models have nothing to do with one another,
    but for curves that end at the same recall.
    """
    every = np.ones(evidence.images, np.bool_)
    inside = every if subject.part is None else _inside(evidence, subject.part)
    ids = class_ids if subject.class_id is None else [subject.class_id]
    options = {"metric": subject.metric, "at": subject.at, "class_ids": ids}
    hits, precision = curve_ends(evidence, inside, **options)  # type: ignore[arg-type]
    worth = precision**2
    if rival is not None:
        other_hits, other = curve_ends(rival, inside, **options)  # type: ignore[arg-type]
        together = hits == other_hits
        worth = np.where(together, (precision - other) ** 2, worth + other**2)
    return float(_RECALL_STEP * np.sqrt(worth.sum() / 12) / max(worth.size, 1))


def measured_values(
    subjects: Sequence[Subject], evidence: Evidence, *, class_ids: Sequence[int]
) -> dict[Subject, float]:
    """Returns each number as it was measured; NaN where it is undefined."""
    drawn = _drawn(subjects, evidence, np.ones((evidence.images, 1)), class_ids=class_ids)
    return {subject: float(mean_over_classes(values)[0]) for subject, values in drawn.items()}


def draw_halves(images: int, *, resamples: int, seed: int) -> Float64:
    """Returns which images are in each half of the set, float64[I, S] of 0 and 1.

    Columns come in pairs that have every image once. An odd image is in the first or in the second
    of a pair, by turns.
    """
    pairs = -(-resamples // 2)
    generator = np.random.default_rng(seed)
    inside = (
        np.arange(images) < np.where(np.arange(pairs) % 2, images // 2, -(-images // 2))[:, None]
    )
    first = generator.permuted(inside, axis=1).T.astype(np.float64)
    halves = np.empty((images, 2 * pairs))
    halves[:, ::2], halves[:, 1::2] = first, 1 - first
    return np.ascontiguousarray(halves[:, :resamples])


def _drawn(
    subjects: Sequence[Subject], evidence: Evidence, weights: Float64, *, class_ids: Sequence[int]
) -> dict[Subject, Float64]:
    """Returns float64[K, S] of each subject, whose value is the mean over the K rows."""
    answer: dict[Subject, Float64] = {}
    for part in dict.fromkeys(subject.part for subject in subjects):
        mine = [subject for subject in subjects if subject.part == part]
        counting = weights if part is None else weights * _inside(evidence, part)[:, None]
        answer |= _drawn_together(mine, evidence, counting, class_ids=class_ids)
    return answer


def _inside(evidence: Evidence, part: tuple[str, str]) -> Bool:
    """Tells which images are in a slice, bool[I]; none where there is no such slice."""
    by, name = part
    for parts in evidence.image_parts:
        if parts.by == by and name in parts.names:
            inside: Bool = parts.place == parts.names.index(name)
            return inside
    return np.zeros(evidence.images, np.bool_)


def _drawn_together(
    subjects: Sequence[Subject], evidence: Evidence, weights: Float64, *, class_ids: Sequence[int]
) -> dict[Subject, Float64]:
    answer: dict[Subject, Float64] = {}
    averaged = [s for s in subjects if is_statistic(s.metric) or s.metric == "ap_at_iou"]
    for metric, at in dict.fromkeys((subject.metric, subject.at) for subject in averaged):
        mine = [subject for subject in averaged if (subject.metric, subject.at) == (metric, at)]
        wanted: list[int] = (
            list(class_ids)
            if any(subject.class_id is None for subject in mine)
            else [subject.class_id for subject in mine if subject.class_id is not None]
        )
        values = _of_classes(evidence, weights, metric=metric, at=at, class_ids=wanted)
        for subject in mine:
            if subject.class_id is None:
                answer[subject] = values
            else:
                answer[subject] = values[wanted.index(subject.class_id)][None]
    for subject in subjects:
        if subject not in answer:
            together = list(class_ids) if subject.class_id is None else [subject.class_id]
            answer[subject] = weighted_at_score(
                evidence,
                weights,
                metric=subject.metric,
                at=subject.at,
                score=subject.score,
                class_ids=together,
            )[None]
    return answer


def _of_classes(
    evidence: Evidence,
    weights: Float64,
    *,
    metric: PolicyMetric,
    at: float | None,
    class_ids: Sequence[int],
) -> Float64:
    if metric == "ap_at_iou":
        return weighted_ap_at_iou(evidence, weights, iou=at or 0.0, class_ids=class_ids)
    return weighted_metric(evidence, weights, metric=metric, class_ids=class_ids)


def _spread(values: Float64) -> Spread | None:
    """Args:
    values: float64[K, 1 + S], of the whole set and of the halves.
    """
    error = _deviation(mean_over_classes(values)[1:])
    if error is None:
        return None
    # Class by class: a half may lack a class, and its mean would then be one of other classes.
    lifts = [_middle(of_class[1:]) - of_class[0] for of_class in values]
    defined = [lift for lift in lifts if not np.isnan(lift)]
    return Spread(standard_error=error, excess=float(np.mean(defined)) if defined else 0.0)


def _middle(values: Float64) -> float:
    defined = values[~np.isnan(values)]
    return float(np.mean(defined)) if defined.size else float("nan")


def _distance(values: Float64, whole: np.float64) -> float | None:
    """Returns how far halves lie from the whole: what small sets add to one model more than to the
    other counts as error, too.
    """
    defined = values[~np.isnan(values)]
    return float(np.sqrt(np.mean((defined - whole) ** 2))) if defined.size > 1 else None


def _deviation(values: Float64) -> float | None:
    defined = values[~np.isnan(values)]
    return float(np.std(defined, ddof=1)) if defined.size > 1 else None

"""Where a detector loses its points: the numbers behind the report, and advice that shows its evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import (
    Bool,
    Evaluation,
    EvaluationData,
    Int64,
)
from kfdet.core.error_analysis import (
    FALSE_ALARM_CAUSES,
    MISS_CAUSES,
    FalseAlarmCause,
    Matching,
    MissCause,
    Outcomes,
    Reliability,
    ScoreCurve,
    class_score_curves,
    confusion_matrix,
    matching_at,
    outcomes,
    reliability,
    score_curve,
)
from kfdet.core.error_costs import ErrorCosts, error_costs
from kfdet.core.evidence import Evidence
from kfdet.core.matching import Matches
from kfdet.core.uncertainty import StandardErrors, standard_errors
from kfdet.schema.dataset import LabelMap

SMALL_AREA_PX2 = 32.0**2
FEW_OBJECTS = 20
_ENOUGH = 5
# Beyond it the bootstrap would take longer than all the rest, and tell of an error that is small.
_BOOTSTRAP_DETECTIONS = 30_000


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Attributes:
    finding: What stands out, in one sentence.
    evidence: The numbers that show it.
    remedy: What is worth trying.
    """

    finding: str
    evidence: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Attributes:
    matches: At every overlap; rows below are rows of its data.
    curve: Over all classes together.
    class_curves: One for each class of the label map.
    operating_score: The score of the highest F1 over all classes; None without any hit.
    outcomes: At the operating score, or of all detections where there is none.
    confusion: int64[K + 1, K + 1], at the same score.
    error_costs: What AP would gain if one kind of error were mended.
    ap_by_iou: IoU threshold to mean AP over the classes; None where undefined.
    standard_errors: Of AP; None for a set so large that they are not worth the time.
    """

    matches: Matches
    matching: Matching
    curve: ScoreCurve
    class_curves: tuple[ScoreCurve, ...]
    operating_score: float | None
    outcomes: Outcomes
    confusion: Int64
    reliability: Reliability
    error_costs: ErrorCosts
    ap_by_iou: Mapping[float, float | None]
    standard_errors: StandardErrors | None
    advice: tuple[Advice, ...]

    @property
    def data(self) -> EvaluationData:
        """In canonical order."""
        return self.matches.data

    @property
    def label_map(self) -> LabelMap:
        return self.matches.label_map


def diagnose(matches: Matches, evaluation: Evaluation, evidence: Evidence) -> Diagnosis:
    """Takes an evaluation apart.

    Args:
        matches: Of all shards.
        evaluation: The metrics of the same data.
        evidence: What is kept of the matches.
    """
    data, label_map = matches.data, matches.label_map
    matching = matching_at(matches)
    curve = score_curve(matching, data)
    best = curve.best()
    score = float(curve.score[best]) if best is not None else None
    at_score = outcomes(matching, data, score=score or 0.0)
    matrix = confusion_matrix(data, label_map=label_map, score=score or 0.0)
    return Diagnosis(
        matches=matches,
        matching=matching,
        curve=curve,
        class_curves=class_score_curves(matching, data, label_map=label_map),
        operating_score=score,
        outcomes=at_score,
        confusion=matrix,
        reliability=reliability(matching, data),
        error_costs=error_costs(matches),
        ap_by_iou=_ap_by_iou(evaluation),
        standard_errors=(
            standard_errors(evidence, label_map=label_map)
            if len(data.detections) <= _BOOTSTRAP_DETECTIONS
            else None
        ),
        advice=tuple(
            advice
            for rule in _RULES
            for advice in rule(_Case(data, evaluation, label_map, at_score, matrix))
        ),
    )


def images_with_misses(diagnosis: Diagnosis, *, count: int) -> Int64:
    """Returns the rows of the images with the most misses, int64[<= count]."""
    missed = diagnosis.data.ground_truth.image_id[diagnosis.outcomes.miss]
    ids, misses = np.unique(missed, return_counts=True)
    return _rows(diagnosis, ids[np.argsort(-misses, kind="stable")][:count])


def images_with_false_alarms(diagnosis: Diagnosis, *, count: int) -> Int64:
    """Returns the rows of the images with the surest false alarms, int64[<= count]."""
    seen = diagnosis.data.detections
    alarms = np.flatnonzero(diagnosis.outcomes.false_alarm)
    surest = alarms[np.argsort(-seen.score[alarms], kind="stable")]
    ids = list(dict.fromkeys(seen.image_id[surest].tolist()))[:count]
    return _rows(diagnosis, np.array(ids, np.int64))


def typical_images(diagnosis: Diagnosis, *, count: int) -> Int64:
    """Returns rows of images spread evenly over the set, int64[<= count]."""
    total = len(diagnosis.data.images)
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))


def _rows(diagnosis: Diagnosis, image_ids: Int64) -> Int64:
    return np.searchsorted(diagnosis.data.images.image_id, image_ids).astype(np.int64)


def _ap_by_iou(evaluation: Evaluation) -> dict[float, float | None]:
    answer: dict[float, float | None] = {}
    for t, iou in enumerate(evaluation.settings.iou_thresholds):
        precision = evaluation.precision[t, :, :, 0, -1]
        defined = precision[~np.isnan(precision)]
        answer[round(iou, 2)] = float(defined.mean()) if defined.size else None
    return answer


@dataclass(frozen=True)
class _Case:
    """What the rules of advice look at."""

    data: EvaluationData
    evaluation: Evaluation
    label_map: LabelMap
    outcomes: Outcomes
    confusion: Int64

    @property
    def objects(self) -> Bool:
        real: Bool = ~self.data.ground_truth.is_crowd
        return real

    def false_alarms(self, cause: FalseAlarmCause | None = None) -> int:
        if cause is None:
            return int(np.count_nonzero(self.outcomes.false_alarm))
        wanted = FALSE_ALARM_CAUSES.index(cause)
        return int(np.count_nonzero(self.outcomes.false_alarm_cause == wanted))

    def misses(self, cause: MissCause | None = None) -> int:
        if cause is None:
            return int(np.count_nonzero(self.outcomes.miss))
        wanted = MISS_CAUSES.index(cause)
        return int(np.count_nonzero(self.outcomes.miss_cause == wanted))


def _duplicates(case: _Case) -> Iterator[Advice]:
    doubles, alarms = case.false_alarms("duplicate"), case.false_alarms()
    if doubles >= _ENOUGH and doubles >= 0.2 * alarms:
        yield Advice(
            finding="Objects are answered with more than one box.",
            evidence=f"{doubles:,} of {alarms:,} false alarms lie on an object that another box "
            "of the same class found.",
            remedy="Lower detector.nms.iou_threshold.",
        )


def _confusions(case: _Case) -> Iterator[Advice]:
    wrong, alarms = case.false_alarms("wrong_class"), case.false_alarms()
    if wrong < _ENOUGH or wrong < 0.2 * alarms:
        return
    between = case.confusion[:-1, :-1].copy()
    np.fill_diagonal(between, 0)
    truth, answer = np.unravel_index(int(np.argmax(between)), between.shape)
    names = [label.name for label in case.label_map.classes]
    yield Advice(
        finding=f'Classes are mixed up, most of all "{names[truth]}" taken for "{names[answer]}".',
        evidence=f"{wrong:,} of {alarms:,} false alarms lie on an object of another class; "
        f"{int(between[truth, answer]):,} are this pair.",
        remedy="Look at both classes' labels in the training set, then add examples of them.",
    )


def _small_objects(case: _Case) -> Iterator[Advice]:
    small = case.objects & (case.data.ground_truth.area < SMALL_AREA_PX2)
    rest = case.objects & ~small
    if np.count_nonzero(small) < FEW_OBJECTS or np.count_nonzero(rest) < FEW_OBJECTS:
        return
    small_recall = 1 - float(case.outcomes.miss[small].mean())
    rest_recall = 1 - float(case.outcomes.miss[rest].mean())
    if small_recall < rest_recall - 0.2:
        yield Advice(
            finding="Small objects are missed more than others.",
            evidence=f"{small_recall:.0%} of {np.count_nonzero(small):,} objects below 32 × 32 px "
            f"are found, {rest_recall:.0%} of {np.count_nonzero(rest):,} larger ones.",
            remedy="Raise detector.input_size, or lower detector.min_level or detector.anchors.size.",
        )


def _loose_boxes(case: _Case) -> Iterator[Advice]:
    overall = case.evaluation.overall
    if overall.ap50 is None or overall.ap75 is None:
        return
    if overall.ap50 >= 0.3 and overall.ap75 < 0.5 * overall.ap50:
        yield Advice(
            finding="Objects are found, but their boxes are loose.",
            evidence=f"ap50 is {overall.ap50:.3f}, ap75 only {overall.ap75:.3f}.",
            remedy="Train longer, add detector.anchors.num_scales, or check how tightly the "
            "ground truth was drawn.",
        )


def _timid(case: _Case) -> Iterator[Advice]:
    scores = case.data.detections.score[case.outcomes.hit]
    if scores.size >= FEW_OBJECTS and float(np.median(scores)) < 0.3:
        yield Advice(
            finding="The model is unsure even where it is right.",
            evidence=f"Half of its {scores.size:,} hits score below {np.median(scores):.2f}.",
            remedy="It is likely not trained to the end: raise training.steps.",
        )


def _low_scores(case: _Case) -> Iterator[Advice]:
    low, missed = case.misses("low_score"), case.misses()
    if low >= _ENOUGH and low >= 0.5 * missed:
        yield Advice(
            finding="Most of the missed objects are seen, with a low score.",
            evidence=f"{low:,} of {missed:,} misses have a matching box of the right class below "
            f"the score {case.outcomes.score:.2f}.",
            remedy="Where a miss costs more than a false alarm, work with a lower score.",
        )


def _weak_classes(case: _Case) -> Iterator[Advice]:
    truth = case.data.ground_truth
    values = {
        label.name: statistics.ap50
        for label, statistics in zip(case.label_map.classes, case.evaluation.per_class, strict=True)
        if statistics.ap50 is not None
    }
    if len(values) < 2:
        return
    middle = float(np.median(list(values.values())))
    name, worst = min(values.items(), key=lambda item: item[1])
    if worst < 0.6 * middle:
        class_id = next(label.id for label in case.label_map.classes if label.name == name)
        mine = case.objects & (truth.class_id == class_id)
        yield Advice(
            finding=f'"{name}" is far behind the other classes.',
            evidence=f"ap50 is {worst:.3f} on {np.count_nonzero(mine):,} objects; the median of "
            f"the {len(values)} classes is {middle:.3f}.",
            remedy="Compare its number of training boxes in the data report, and look at its "
            "misses below.",
        )


def _little_evidence(case: _Case) -> Iterator[Advice]:
    truth = case.data.ground_truth
    few = {}
    for label in case.label_map.classes:
        objects = int(np.count_nonzero(case.objects & (truth.class_id == label.id)))
        if objects < FEW_OBJECTS:
            few[label.name] = objects
    if few:
        listed = ", ".join(f'"{name}" {count}' for name, count in list(few.items())[:8])
        more = f" and {len(few) - 8} more" if len(few) > 8 else ""
        yield Advice(
            finding=f"The numbers of {len(few)} of {len(case.label_map.classes)} classes rest on "
            "few objects.",
            evidence=f"Objects in this set: {listed}{more}.",
            remedy="Take thresholds on these classes with care, or add images to the set.",
        )


_RULES: tuple[Callable[[_Case], Iterator[Advice]], ...] = (
    _timid, _weak_classes, _small_objects, _loose_boxes, _confusions, _duplicates, _low_scores,
    _little_evidence,
)  # fmt: skip

"""Advice on a detector, each piece with the evidence that calls for it.

A share of boxes calls for advice only when the whole of its interval lies on the wrong side of the
threshold, so that a handful of boxes says nothing. Numbers that are no shares of boxes need boxes
enough behind them. What the numbers don't show is not said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist, median

from kfdet.schema.feasibility import Ceilings, Feasibility
from kfdet.schema.metrics import ClassDetails, Details, Metrics
from kfdet.schema.run_config import DiagnosisConfig
from kfdet.wording import plural

MISSES, FALSE_ALARMS, CONFUSION, CLASSES, PARTS, ERRORS = (
    "Misses", "False alarms", "Confusion", "Classes", "Parts of the set", "Errors",
)  # fmt: skip
_SMALL = ("below 16 px", "16 to 32 px")
_NAMED = 8
_MISS_WORDS = {
    "low_score": "have a matching box below the score", "wrong_class": "are taken for another class",
    "badly_placed": "have only a badly placed box", "unseen": "have no box at all",
}  # fmt: skip
_MISS_KEYS = {
    "low_score": ("training.steps", "training.learning_rate.peak"),
    "wrong_class": ("dataset.train", "training.losses.focal_gamma"),
    "badly_placed": ("training.losses.box_weight", "detector.anchors.num_scales"),
    "unseen": (
        "training.steps", "detector.input_size", "detector.anchors.size", "detector.min_level",
    ),
}  # fmt: skip
_ALARM_WORDS = {
    "duplicate": "lie on an object that another box found", "wrong_class": "lie on another class",
    "badly_placed": "are badly placed on an object of their class",
    "both": "are badly placed on another class", "background": "lie on nothing",
}  # fmt: skip
_ALARM_KEYS = {
    "duplicate": ("detector.nms.iou_threshold",),
    "wrong_class": ("dataset.train", "training.losses.focal_gamma"),
    "badly_placed": ("training.losses.box_weight", "detector.anchors.num_scales"),
    "both": ("training.losses.box_weight", "dataset.train"),
    "background": ("training.steps", "training.losses.focal_alpha", "dataset.train"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of boxes: what it is of, how many, and its interval."""

    name: str
    part: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.part / self.total

    def in_words(self) -> str:
        return (
            f"{self.value:.0%} ({self.part:,} of {self.total:,}; between {self.low:.0%} and "
            f"{self.high:.0%})"
        )


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Attributes:
    topic: What it is about: `low_recall`.
    finding: What stands out, in one sentence.
    evidence: The numbers that show it, in sentences.
    shares: The shares of boxes among them, with their intervals.
    thresholds: Keys of `diagnosis` to the values that were used.
    remedy: What is worth trying.
    keys: Keys of the configuration to try, as docs/configuration.md has them.
    examples: Titles of the report's sections that show it.
    """

    topic: str
    finding: str
    evidence: str
    shares: tuple[Share, ...] = ()
    thresholds: dict[str, float]
    remedy: str
    keys: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


def advise(
    metrics: Metrics, *, config: DiagnosisConfig, feasibility: Feasibility | None = None
) -> tuple[Advice, ...]:
    """Says what stands out in an evaluation.

    Args:
        metrics: With its details; without them nothing can be said.
        config: The thresholds.
        feasibility: What was found before training on the same split; None when it was not looked at.

    Returns:
        The gravest first: what bounds every number, then what was found in these.
    """
    if metrics.details is None:
        return ()
    ceilings = feasibility.ceilings if feasibility else None
    if ceilings is not None and ceilings.split_digest != metrics.split_digest:
        ceilings = None
    case = _Case(metrics=metrics, details=metrics.details, config=config, ceilings=ceilings)
    return tuple(advice for rule in _RULES for advice in rule(case))


@dataclass(frozen=True, kw_only=True)
class _Case:
    metrics: Metrics
    details: Details
    config: DiagnosisConfig
    ceilings: Ceilings | None

    def share(self, name: str, part: int, total: int) -> Share | None:
        """Returns a share with its interval by Wilson, or None of nothing."""
        if total <= 0:
            return None
        z = NormalDist().inv_cdf((1 + self.config.confidence) / 2)
        p = part / total
        centre = (p + z * z / (2 * total)) / (1 + z * z / total)
        half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2))
        return Share(
            name=name, part=part, total=total, low=min(max(0.0, centre - half), p),
            high=max(min(1.0, centre + half), p),
        )  # fmt: skip

    def thresholds(self, *names: str) -> dict[str, float]:
        return {name: float(getattr(self.config, name)) for name in names}

    @property
    def score(self) -> str:
        return f"{self.details.errors.score:.2f}"


def _low_ceiling(case: _Case) -> Iterator[Advice]:
    if case.ceilings is None or case.metrics.overall.ap is None:
        return
    found = case.ceilings.perfect.ap
    if found is None or found >= case.config.low_ceiling:
        return
    lost = [entry.losses for entry in case.ceilings.classes]
    suppressed, over = sum(x.suppressed for x in lost), sum(x.over_limit for x in lost)
    unfindable = sum(x.unfindable for x in lost)
    keys = ["detector.nms.iou_threshold"] * bool(suppressed)
    keys += ["detector.nms.max_detections"] * bool(over)
    keys += ["dataset.test"] * bool(unfindable)
    yield Advice(
        topic="low_ceiling",
        finding="The settings bound what any detector can reach.",
        evidence=f"A detector that answered the ground truth itself would score ap {found:.3f}, this "
        f"one {case.metrics.overall.ap:.3f}. Of {case.ceilings.boxes:,} objects, suppression takes "
        f"{suppressed:,}, the limit of detections {over:,}, and {unfindable:,} have no area.",
        thresholds=case.thresholds("low_ceiling"),
        remedy="Raise the overlap that suppresses, or the number of detections kept; mend boxes "
        "without area.",
        keys=tuple(keys or ["detector.nms.iou_threshold"]),
    )


def _few_boxes(case: _Case) -> Iterator[Advice]:
    limit = case.config.few_boxes
    few = sorted((entry.boxes, entry.name) for entry in case.metrics.classes if entry.boxes < limit)
    if not few:
        return
    listed = ", ".join(f'"{name}" {boxes:,}' for boxes, name in few[:_NAMED])
    more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
    yield Advice(
        topic="few_boxes",
        finding=f"Of {len(few)} of {len(case.metrics.classes)} classes there are too few boxes to say "
        "anything.",
        evidence=f"Boxes in the {case.metrics.split} set: {listed}{more}.",
        thresholds=case.thresholds("few_boxes"),
        remedy=f"Add images of them to the {case.metrics.split} set, and have the gate's rules on "
        "them wait for boxes enough.",
        keys=(f"dataset.{case.metrics.split}", "gate.min_boxes"),
        examples=(CLASSES,),
    )


def _low_recall(case: _Case) -> Iterator[Advice]:
    errors = case.details.errors
    found = case.share("recall", errors.hits, errors.hits + sum(errors.misses.values()))
    if found is None or found.high >= case.config.low_recall:
        return
    cause, count = max(errors.misses.items(), key=lambda item: item[1])
    why = case.share(cause, count, found.total - found.part)
    assert why is not None
    yield Advice(
        topic="low_recall",
        finding="Many objects are not found.",
        evidence=f"At score {case.score} {found.in_words()} are found. Of the misses {why.in_words()} "
        f"{_MISS_WORDS[cause]}.",
        shares=(found, why),
        thresholds=case.thresholds("low_recall", "confidence"),
        remedy=_MISS_REMEDIES[cause],
        keys=_MISS_KEYS[cause],
        examples=(MISSES, ERRORS),
    )


_MISS_REMEDIES = {
    "low_score": "They are seen, so work with a lower score where a miss costs more than a false "
    "alarm, or train on: scores rise late.",
    "wrong_class": "Look at the labels of the classes that are mixed up, and add examples of them.",
    "badly_placed": "Weigh boxes more in the loss, or give the anchors more scales.",
    "unseen": "Train longer, enlarge the input, or fit the anchors to smaller objects.",
}


def _low_precision(case: _Case) -> Iterator[Advice]:
    errors = case.details.errors
    right = case.share("precision", errors.hits, errors.hits + sum(errors.false_alarms.values()))
    if right is None or right.high >= case.config.low_precision:
        return
    cause, count = max(errors.false_alarms.items(), key=lambda item: item[1])
    why = case.share(cause, count, right.total - right.part)
    assert why is not None
    yield Advice(
        topic="low_precision",
        finding="Many detections are wrong.",
        evidence=f"At score {case.score} {right.in_words()} are right. Of the false alarms "
        f"{why.in_words()} {_ALARM_WORDS[cause]}.",
        shares=(right, why),
        thresholds=case.thresholds("low_precision", "confidence"),
        remedy=_ALARM_REMEDIES[cause],
        keys=_ALARM_KEYS[cause],
        examples=(FALSE_ALARMS, ERRORS),
    )


_ALARM_REMEDIES = {
    "duplicate": "Lower the overlap that suppresses.",
    "wrong_class": "Look at the labels of the classes that are mixed up, and add examples of them.",
    "badly_placed": "Weigh boxes more in the loss, or give the anchors more scales.",
    "both": "Weigh boxes more in the loss, and add examples of the classes that are mixed up.",
    "background": "Train longer, or add images of what is taken for objects; look first whether "
    "these are objects that nobody has labelled.",
}


def _duplicates(case: _Case) -> Iterator[Advice]:
    alarms = case.details.errors.false_alarms
    found = case.share("duplicates", alarms.get("duplicate", 0), sum(alarms.values()))
    if found is None or found.low <= case.config.duplicates:
        return
    yield Advice(
        topic="duplicates",
        finding="Objects are answered with more than one box.",
        evidence=f"Of the false alarms {found.in_words()} lie on an object that another box of the "
        "same class found.",
        shares=(found,),
        thresholds=case.thresholds("duplicates", "confidence"),
        remedy="Lower the overlap that suppresses.",
        keys=("detector.nms.iou_threshold",),
        examples=(FALSE_ALARMS,),
    )


def _confusions(case: _Case) -> Iterator[Advice]:
    alarms = case.details.errors.false_alarms
    found = case.share("wrong class", alarms.get("wrong_class", 0), sum(alarms.values()))
    if found is None or found.low <= case.config.confusions:
        return
    table = case.details.confusion
    pairs = [
        (count, table.labels[truth], table.labels[answer])
        for truth, row in enumerate(table.matrix[:-1])
        for answer, count in enumerate(row[:-1])
        if truth != answer
    ]
    count, truth, answer = max(pairs, default=(0, "", ""))
    # Alarms on objects that were found all the same stand in no pair.
    pair = f'; the most frequent pair is "{truth}" taken for "{answer}", {count:,} times'
    most = pair if count > 1 else ""
    yield Advice(
        topic="confusions",
        finding="Classes are mixed up.",
        evidence=f"Of the false alarms {found.in_words()} lie on an object of another class{most}.",
        shares=(found,),
        thresholds=case.thresholds("confusions", "confidence"),
        remedy="Look at the labels of the classes that are mixed up, and add examples of them.",
        keys=("dataset.train", "training.losses.focal_gamma"),
        examples=(CONFUSION, FALSE_ALARMS),
    )


def _weak_classes(case: _Case) -> Iterator[Advice]:
    measured = [
        entry
        for entry in case.metrics.classes
        if entry.metrics.ap50 is not None and entry.boxes >= case.config.few_boxes
    ]
    if len(measured) < 2:
        return
    middle = median(entry.metrics.ap50 or 0.0 for entry in measured)
    worst = min(measured, key=lambda entry: entry.metrics.ap50 or 0.0)
    others = case.details.score.best
    own = _found_of(case, case.details.of_class(worst.name), worst.boxes)
    if own is None or others is None or own.high >= others.recall:
        return
    ap50 = worst.metrics.ap50 or 0.0
    if ap50 < case.config.class_behind * middle:
        yield Advice(
            topic="weak_class",
            finding=f'"{worst.name}" is far behind the other classes.',
            evidence=f"Its ap50 is {ap50:.3f}, the median of {len(measured)} classes {middle:.3f}. At "
            f"its best score {own.in_words()} of its objects are found, of all classes "
            f"{others.recall:.0%}.",
            shares=(own,),
            thresholds=case.thresholds("class_behind", "few_boxes", "confidence"),
            remedy="Compare its number of training boxes in the data report, look at its misses, and "
            "add examples of it.",
            keys=("dataset.train", "training.losses.focal_gamma"),
            examples=(CLASSES, MISSES),
        )


def _found_of(case: _Case, entry: ClassDetails | None, boxes: int) -> Share | None:
    if entry is None:
        return None
    recall = entry.score.best.recall if entry.score.best else 0.0
    return case.share(f"recall of {entry.name}", round(recall * boxes), boxes)


def _small_objects(case: _Case) -> Iterator[Advice]:
    parts = [part for part in case.details.slices if part.by == "box_size" and part.boxes]
    small, rest = (
        case.share(
            name,
            sum(round((part.recall or 0.0) * part.boxes) for part in chosen),
            sum(part.boxes for part in chosen),
        )
        for name, chosen in (
            ("recall of small objects", [part for part in parts if part.name in _SMALL]),
            ("recall of the others", [part for part in parts if part.name not in _SMALL]),
        )
    )
    if small is None or rest is None or small.high >= rest.low - case.config.small_behind:
        return
    yield Advice(
        topic="small_objects",
        finding="Small objects are missed more than others.",
        evidence=f"Of objects below 32 × 32 px {small.in_words()} are found, of larger ones "
        f"{rest.in_words()}.",
        shares=(small, rest),
        thresholds=case.thresholds("small_behind", "confidence"),
        remedy="Enlarge the input, so that they are larger, or start at a finer level with smaller "
        "anchors.",
        keys=("detector.input_size", "detector.min_level", "detector.anchors.size"),
        examples=(PARTS, MISSES),
    )


def _loose_boxes(case: _Case) -> Iterator[Advice]:
    """Whether it is the place of boxes or their class that costs more."""
    overall, boxes = case.metrics.overall, case.metrics.boxes
    if overall.ap50 is None or overall.ap75 is None or boxes < case.config.few_boxes:
        return
    loose = overall.ap75 < case.config.loose_boxes * overall.ap50
    if not loose or overall.ap50 < case.config.least_ap50:
        return
    # AP over all thresholds, since a box that is a hit at 0.5 costs nothing there however it lies.
    gains = case.details.errors.ap_gains
    place, kind = gains.get("Loc"), gains.get("Cls")
    finding, costs = "Objects are found, but their boxes are loose", ""
    if place is not None and kind is not None:
        finding += ": it is the place more than the class" if place > kind else ""
        costs = (
            f" Mending badly placed boxes would raise ap by {place:.3f}, mending classes by "
            f"{kind:.3f}."
        )
    yield Advice(
        topic="loose_boxes",
        finding=f"{finding}.",
        evidence=f"ap50 is {overall.ap50:.3f}, ap75 only {overall.ap75:.3f}, on {plural(boxes, 'box')}.{costs}",
        thresholds=case.thresholds("loose_boxes", "least_ap50", "few_boxes"),
        remedy="Weigh boxes more in the loss, give the anchors more scales or other shapes, train "
        "longer, or check how tightly the ground truth was drawn.",
        keys=(
            "training.losses.box_weight", "detector.anchors.num_scales",
            "detector.anchors.aspect_ratios", "training.steps",
        ),
        examples=(ERRORS, FALSE_ALARMS),
    )  # fmt: skip


_RULES: tuple[Callable[[_Case], Iterator[Advice]], ...] = (
    _low_ceiling, _low_recall, _low_precision, _weak_classes, _small_objects, _loose_boxes,
    _confusions, _duplicates, _few_boxes,
)  # fmt: skip


def with_examples(advice: Advice, *, shown: set[str]) -> Advice:
    """Returns advice that names only those sections that a report has."""
    return replace(advice, examples=tuple(name for name in advice.examples if name in shown))

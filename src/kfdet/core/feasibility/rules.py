"""The gate's rules before there is a model: which of them can hold, and what the test set can tell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from kfdet.core.feasibility.power import SpreadCurve
from kfdet.core.measures import read, subject_in_words
from kfdet.core.slices import BOX_SLICES
from kfdet.core.uncertainty import Estimate, Spread, Subject
from kfdet.schema.feasibility import Ceilings, ClassCeilings, Losses, RuleFeasibility
from kfdet.schema.gate_policy import LOW_IS_GOOD, ChampionRule, GatePolicy, GateRule
from kfdet.schema.metrics import ApAtIou, Metrics, is_statistic
from kfdet.wording import plural

Outcome = Literal["reachable", "at_risk", "out_of_reach"]

_SLACK = 1e-9
_NORMAL = NormalDist()
_POWER = 0.8
_USUAL_CONFIDENCE = 0.95
_FIRST_CHAMPION = "Publish a first champion, or set gate.no_champion to pass."


def subject_of(rule: GateRule, ceilings: Ceilings) -> Subject:
    """Returns what a rule is about."""
    entry = ceilings.of_class(rule.class_name) if rule.class_name is not None else None
    return Subject(metric=rule.metric, at=rule.at, class_id=entry.id if entry else None)


def judge_rules(
    policy: GatePolicy,
    ceilings: Ceilings,
    curves: Mapping[Subject, SpreadCurve],
    *,
    max_detections: int,
    boxes_by_part: Mapping[tuple[str, str], int],
    rival: Rival | None = None,
) -> Iterator[RuleFeasibility]:
    """Yields one entry for each threshold and each comparison of a policy.

    Args:
        policy: The gate's; every class that it names is in the label map.
        ceilings: Of the split that the gate looks at.
        curves: Standard errors of each rule's metric along its value.
        max_detections: Kept of an image, for the cause of a ceiling.
        boxes_by_part: What the split is cut by and the name of the part to its boxes.
        rival: The champion; None when the registry was not looked at.
    """
    for rule in policy.rules:
        view = _View(
            rule=rule,
            policy=policy,
            ceilings=ceilings,
            curve=None if rule.slice else curves.get(subject_of(rule, ceilings)),
            max_detections=max_detections,
            boxes_by_part=boxes_by_part,
            rival=rival,
        )
        if rule.slice is not None or rule.metric in LOW_IS_GOOD:
            yield from _unbounded(view)
            continue
        if rule.at_least is not None:
            yield _threshold(view, rule.at_least)
        if rule.champion is not None:
            yield _comparison(view, rule.champion)


@dataclass(frozen=True, kw_only=True)
class Rival:
    """What the registry says of the champion.

    Attributes:
        exists: Whether there is one.
        metrics: Of it on the images that the gate looks at, by the same settings; None where it was
            not measured so.
    """

    exists: bool
    metrics: Metrics | None = None


@dataclass(frozen=True, kw_only=True)
class _View:
    """One rule with what is known of its metric."""

    rule: GateRule
    policy: GatePolicy
    ceilings: Ceilings
    curve: SpreadCurve | None
    max_detections: int
    boxes_by_part: Mapping[tuple[str, str], int]
    rival: Rival | None

    @property
    def subject(self) -> str:
        return subject_in_words(self.rule)

    @property
    def own(self) -> Ceilings | ClassCeilings:
        name = self.rule.class_name
        entry = self.ceilings.of_class(name) if name is not None else None
        return entry or self.ceilings

    @property
    def boxes(self) -> int:
        """That the metric rests on: of ap_small the small ones alone, of a slice its own."""
        part = self.rule.slice
        if part is not None:
            return self.boxes_by_part.get((part.by, part.name), 0)
        area = self.rule.metric.partition("_")[2]
        return self.own.boxes_by_area.get(area, self.own.boxes)

    @property
    def ceiling(self) -> float | None:
        if self.rule.metric == "ap_at_iou":
            return _nearest(self.own.ap_by_iou, self.rule.at or 0.0)
        if is_statistic(self.rule.metric):
            return self.own.ceiling.value(self.rule.metric)
        return _at_recall(self.rule, self.own.recall_50)

    @property
    def perfect(self) -> float | None:
        if is_statistic(self.rule.metric):
            return self.own.perfect.value(self.rule.metric)
        if self.rule.metric == "ap_at_iou":
            # What is answered exactly is found at every threshold.
            found = self.own.perfect
            return found.ap if found.ap50 is None else found.ap50
        return _at_recall(self.rule, self.own.perfect_recall_50)

    @property
    def theirs(self) -> float | None:
        """The champion's value, where it was measured on the same images."""
        metrics = self.rival.metrics if self.rival else None
        return None if metrics is None else read(metrics, self.rule).value

    @property
    def by_interval(self) -> bool:
        return self.policy.confidence is not None and not self.rule.point_estimate

    @property
    def confidence(self) -> float:
        return self.policy.confidence or _USUAL_CONFIDENCE

    @property
    def quantile(self) -> float:
        return _NORMAL.inv_cdf((1 + self.confidence) / 2)

    def estimate(self, value: float) -> Estimate | None:
        """Returns what the gate would make of a measured value."""
        if self.curve is None:
            return None
        error = self.curve.at(value, paired=False)
        return Estimate.of_value(value, Spread(standard_error=error, excess=0.0), boxes=self.boxes)

    def error_at(self, value: float) -> float | None:
        """Returns the standard error there."""
        estimate = self.estimate(value)
        return None if estimate is None else estimate.standard_error

    def paired_error_at(self, value: float) -> float | None:
        """Returns the standard error of a difference there."""
        if self.curve is None:
            return None
        spread = Spread(standard_error=self.curve.at(value, paired=True), excess=0.0)
        return Estimate.of_difference(0.0, spread, boxes=self.boxes).standard_error

    def result(
        self,
        words: str,
        outcome: Outcome,
        reason: str,
        remedy: str = "",
        *,
        threshold: float | None = None,
        margin: float | None = None,
        error: float | None = None,
        needed: float | None = None,
        more_images: int | None = None,
        bounded: bool = True,
    ) -> RuleFeasibility:
        return RuleFeasibility(
            rule=words, metric=self.rule.metric, class_name=self.rule.class_name,
            threshold=threshold, margin=margin, outcome=outcome, reason=reason, remedy=remedy,
            ceiling=self.ceiling if bounded else None,
            perfect=self.perfect if bounded else None, boxes=self.boxes,
            confidence=self.confidence, by_interval=self.by_interval, standard_error=error,
            half_width=None if error is None else self.quantile * error,
            detectable=(
                None if error is None else (self.quantile + _NORMAL.inv_cdf(_POWER)) * error
            ),
            needed=needed, more_images=more_images,
        )  # fmt: skip


def _unfit(view: _View) -> tuple[str, str] | None:
    """Returns why a rule can't hold whatever the numbers, and what helps."""
    return _undefined(view) if view.ceiling is None else _too_few(view)


def _undefined(view: _View) -> tuple[str, str]:
    split = view.ceilings.split
    return (
        f"{view.subject} is undefined: the {split} set has no ground truth for it.",
        f"Add such objects to the {split} set, or drop the rule.",
    )


def _too_few(view: _View) -> tuple[str, str] | None:
    split = view.ceilings.split
    if view.boxes < view.policy.min_boxes:
        return (
            (
                f"{view.subject} rests on {plural(view.boxes, 'box')}, and gate.min_boxes counts a "
                f"value from {view.policy.min_boxes:,} on."
            ),
            (
                f"Add {plural(view.policy.min_boxes - view.boxes, 'box')} to the {split} set, or lower "
                "gate.min_boxes."
            ),
        )
    return None


def _threshold(view: _View, at_least: float) -> RuleFeasibility:
    words = f"{view.subject} at least {at_least:g}"
    unfit = _unfit(view)
    if unfit:
        return view.result(words, "out_of_reach", *unfit, threshold=at_least)
    ceiling, perfect = view.ceiling or 0.0, view.perfect or 0.0
    if at_least > ceiling + _SLACK:
        cause, remedy = _cause(view)
        return view.result(
            words, "out_of_reach",
            f"{view.subject} can't exceed {ceiling:.4f}, and {at_least:g} is asked for: {cause}.",
            f"{remedy} Or lower the threshold.", threshold=at_least,
        )  # fmt: skip
    error = view.error_at(at_least)
    needed = _needed(view, at_least) if view.by_interval else None
    if at_least > perfect + _SLACK:
        cause, remedy = _cause(view)
        return view.result(
            words, "at_risk",
            f"Even a detector that answers the ground truth scores {perfect:.4f} in {view.subject}, "
            f"below the {at_least:g} asked for: {cause}.",
            remedy, threshold=at_least, error=error, needed=needed,
        )  # fmt: skip
    if view.by_interval and (needed is None or needed > perfect + _SLACK):
        return _untellable(view, words, at_least, error=error, needed=needed, perfect=perfect)
    reason = f"{view.subject} can reach {perfect:.4f}, above the {at_least:g} asked for."
    if needed is not None:
        reason = f"{reason[:-1]}; it must be measured at {needed:.4f} for its interval to hold."
    return view.result(
        words, "reachable", reason, threshold=at_least, error=error, needed=needed
    )  # fmt: skip


def _untellable(
    view: _View,
    words: str,
    at_least: float,
    *,
    error: float | None,
    needed: float | None,
    perfect: float,
) -> RuleFeasibility:
    if error is None:
        return view.result(
            words, "at_risk",
            f"The {view.ceilings.split} set is too small to tell how far {view.subject} would move "
            "on other images, and the rule is judged by that.",
            f"Add images to the {view.ceilings.split} set.", threshold=at_least,
        )  # fmt: skip
    room = perfect - at_least
    more = _more(view, error, room)
    seen = "more than 1" if needed is None else f"{needed:.4f}"
    return view.result(
        words, "at_risk",
        f"{view.subject} would have to be measured at {seen} for its interval to stay above "
        f"{at_least:g}, and a perfect detector scores {perfect:.4f}.",
        f"Add about {plural(more, 'image')} to the {view.ceilings.split} set." if more else
        "Lower the threshold.", threshold=at_least, error=error, needed=needed, more_images=more,
    )  # fmt: skip


def _comparison(view: _View, champion: ChampionRule) -> RuleFeasibility:
    gain = champion.min_gain
    margin = -gain if gain is not None else champion.max_drop or 0.0
    sign = f" {'plus' if margin < 0 else 'minus'} {abs(margin):g}" if margin else ""
    words = f"{view.subject} at least the champion's{sign}"
    unfit = _unfit(view) or _without_champion(view) or _above_ceiling(view, margin)
    if unfit:
        return view.result(words, "out_of_reach", *unfit, margin=margin)
    if view.rival is None and view.policy.no_champion == "fail":
        reason = "The rule fails while there is no champion: gate.no_champion is fail."
        return view.result(words, "at_risk", reason, _FIRST_CHAMPION, margin=margin)
    error = view.paired_error_at(_level(view))
    if error is None:
        outcome: Outcome = "at_risk" if view.by_interval else "reachable"
        return view.result(
            words, outcome,
            f"The {view.ceilings.split} set is too small to tell how far {view.subject} would move "
            "on other images.",
            f"Add images to the {view.ceilings.split} set.", margin=margin,
        )  # fmt: skip
    return _told_apart(view, words, margin=margin, error=error)


def _told_apart(view: _View, words: str, *, margin: float, error: float) -> RuleFeasibility:
    """Returns the entry of a comparison that the test set can tell, more or less."""
    half, wanted = view.quantile * error, abs(margin)
    known = f"Of two models, a difference is known to within {half:.4f}"
    if half <= wanted:
        reason = f"{known}, and the rule asks for {wanted:g}."
        return view.result(words, "reachable", reason, margin=margin, error=error)
    if view.by_interval and margin < 0:
        reason = f"{known}: a gain of {wanted + half:.4f} must be measured for the rule to hold."
        return view.result(words, "reachable", reason, margin=margin, error=error)
    more = _more(view, error, wanted)
    remedy = (
        f"Add about {plural(more, 'image')} to the {view.ceilings.split} set, or allow for more."
        if more
        else "Allow for a drop that is at least as wide as the interval."
    )
    if view.by_interval:
        reason = (
            f"{known}, and the rule asks for {wanted:g}: a model as good as the champion could not "
            "be told from a worse one."
        )
        return view.result(
            words, "at_risk", reason, remedy, margin=margin, error=error, more_images=more
        )
    luck = _NORMAL.cdf(-wanted / error)
    reason = (
        f"{known}, and the rule asks for {wanted:g}: of models as good as the champion about "
        f"{luck:.0%} {'hold' if margin < 0 else 'fail'} by chance."
    )
    return view.result(
        words, "reachable", reason, remedy, margin=margin, error=error, more_images=more
    )


def _without_champion(view: _View) -> tuple[str, str] | None:
    if view.rival is None or view.rival.exists or view.policy.no_champion != "fail":
        return None
    return "There is no champion, and gate.no_champion is fail.", _FIRST_CHAMPION


def _above_ceiling(view: _View, margin: float) -> tuple[str, str] | None:
    """Returns why what the champion asks for can't be reached, where it was measured on these images."""
    theirs = view.theirs
    if theirs is None or theirs - margin <= (view.ceiling or 0.0) + _SLACK:
        return None
    cause, remedy = _cause(view)
    return (
        (
            f"{view.subject} can't exceed {view.ceiling:.4f}; the champion has {theirs:.4f}, and "
            f"{theirs - margin:.4f} is asked for: {cause}."
        ),
        f"{remedy} Or ask for less.",
    )


def _level(view: _View) -> float:
    """Returns where a comparison is likely to take place: at the champion's value, at a threshold
    for the same metric, or where the metric moves most.
    """
    same = [
        rule.at_least
        for rule in view.policy.rules
        if rule.at_least is not None
        and (rule.metric, rule.at, rule.class_name, rule.slice)
        == (view.rule.metric, view.rule.at, view.rule.class_name, view.rule.slice)
    ]
    if view.theirs is not None:
        return view.theirs
    if same:
        return max(same)
    if view.curve is None:
        return 0.0
    return float(view.curve.value[np.argmax(view.curve.paired)])


def _needed(view: _View, at_least: float) -> float | None:
    """Returns the lowest value whose interval lies above the threshold; None where there is none."""
    if view.curve is None:
        return None
    values: list[float] = np.linspace(at_least, 1.0, 501).tolist()
    for value in values:
        estimate = view.estimate(value)
        if estimate is not None and estimate.steps_above(at_least) >= view.quantile:
            return value
    return None


def _more(view: _View, error: float, wanted: float) -> int | None:
    """Returns how many more images narrow the interval to what is wanted: its square root falls."""
    if wanted <= 0:
        return None
    grown = view.ceilings.images * (view.quantile * error / wanted) ** 2
    return max(0, math.ceil(grown - view.ceilings.images)) or None


def _unbounded(view: _View) -> Iterator[RuleFeasibility]:
    """Yields the entries of a rule about what nothing is known of beforehand."""
    rule = view.rule
    bound = "at most" if rule.metric in LOW_IS_GOOD else "at least"
    unfit = _too_few(view) or (_undefined(view) if rule.slice and not view.boxes else None)
    if rule.threshold is not None:
        words = f"{view.subject} {bound} {rule.threshold:g}"
        yield _untold(view, words, unfit, threshold=rule.threshold)
    if rule.champion is not None:
        words = f"{view.subject} {bound} the champion's"
        yield _untold(view, words, unfit or _without_champion(view))


def _untold(
    view: _View, words: str, unfit: tuple[str, str] | None, *, threshold: float | None = None
) -> RuleFeasibility:
    if unfit:
        return view.result(words, "out_of_reach", *unfit, threshold=threshold, bounded=False)
    cut = view.rule.slice
    if view.by_interval and cut is not None and cut.by in BOX_SLICES:
        return view.result(
            words, "out_of_reach",
            "A slice of boxes has no interval, only one of images has, and gate.confidence asks for it: "
            "the gate could never tell.",
            "Give the rule point_estimate, or ask about a slice of images.",
            threshold=threshold, bounded=False,
        )  # fmt: skip
    return view.result(
        words, "reachable",
        "Nothing bounds it beforehand: it is judged when it is measured.",
        threshold=threshold, bounded=False,
    )  # fmt: skip


def _at_recall(rule: GateRule, recall: float | None) -> float | None:
    """Returns the bound of a metric at IoU 0.5 that a bound of recall implies."""
    if recall is None:
        return None
    if rule.metric in ("recall", "recall_at_precision"):
        return recall
    if rule.metric == "f1":
        return 2 * recall / (1 + recall)
    if rule.metric == "precision_at_recall":
        return 1.0 if recall >= (rule.at or 0.0) - _SLACK else 0.0
    return 1.0 if recall > 0 else 0.0


def _nearest(values: Sequence[ApAtIou], at: float) -> float | None:
    """Returns AP at an IoU: between two of them, that at the lower one bounds it."""
    below = [entry.ap for entry in values if entry.iou <= at + 1e-6]
    return below[-1] if below else 1.0


def _cause(view: _View) -> tuple[str, str]:
    """Returns what keeps a metric low, and what helps."""
    metric = view.rule.metric
    if metric in ("ar_1", "ar_10"):
        limit = metric.removeprefix("ar_")
        return (
            f"{limit} detections of a class in an image are counted, and images hold more objects",
            "Ask for ar_100 instead.",
        )
    losses = _lost(view)
    causes = {
        "suppressed": (
            f"{losses.suppressed:,} objects are taken by non-maximum suppression",
            "Raise detector.nms.iou_threshold.",
        ),
        "over_limit": (
            (
                f"{losses.over_limit:,} objects are beyond the {view.max_detections:,} detections kept "
                "of their image"
            ),
            "Raise detector.nms.max_detections.",
        ),
        "unfindable": (
            f"{plural(losses.unfindable, 'box')} without area inside the image",
            "Correct these boxes, or leave their records out.",
        ),
    }
    worst = max(causes, key=lambda name: getattr(losses, name))
    if getattr(losses, worst) == 0:
        return (
            "some objects lie too close together or beyond the border to be found exactly",
            "Raise detector.nms.iou_threshold.",
        )
    return causes[worst]


def _lost(view: _View) -> Losses:
    classes = [view.own] if isinstance(view.own, ClassCeilings) else view.ceilings.classes
    return Losses(
        unfindable=sum(entry.losses.unfindable for entry in classes),
        suppressed=sum(entry.losses.suppressed for entry in classes),
        over_limit=sum(entry.losses.over_limit for entry in classes),
    )

"""What a rule of the gate reads off metrics.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kfdet.errors import ConfigError, did_you_mean
from kfdet.schema.gate_policy import METRICS_AT, GatePolicy, GateRule, SliceName
from kfdet.schema.metrics import (
    METRIC_NAMES,
    ApAtIou,
    ClassDetails,
    CocoSettings,
    Details,
    Metrics,
    ScoreDetails,
    TradeOff,
    is_statistic,
)

_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Attributes:
    value: What was measured; None when it can't be told.
    missing: The sentence that says why; empty with a value.
    boxes: Ground truth boxes behind it; None where the metrics have nothing of the kind.
    """

    value: float | None
    missing: str = ""
    boxes: int | None = None


def subject_in_words(rule: GateRule) -> str:
    """Returns what a rule reads: `ap50 of "circle"`, `precision at recall 0.9`."""
    words: str = rule.metric
    if rule.at is not None:
        words = f"{rule.metric.split('_at_')[0]} at {METRICS_AT[rule.metric]} {rule.at:g}"
    if rule.class_name is not None:
        return f'{words} of "{rule.class_name}"'
    if rule.slice is not None:
        return f'{words} where {rule.slice.by} is "{rule.slice.name}"'
    return words


def read(metrics: Metrics, rule: GateRule) -> Reading:
    """Reads the number that a rule is about.

    Args:
        metrics: One model's metrics.
        rule: The rule.

    Returns:
        Its value and the boxes behind it, or the sentence that says why there is none.
    """
    try:
        value, boxes = _found(metrics, rule)
    except _MissingError as missing:
        return Reading(value=None, missing=str(missing))
    subject = subject_in_words(rule)
    if value is None:
        why = f"the {metrics.split} set has no ground truth for it"
        if not is_statistic(rule.metric):
            why += ", or no detection"
        if rule.metric == "calibration_error":
            why += " with a score from 0 to 1"
        return Reading(value=None, missing=f"{subject} is undefined: {why}.", boxes=boxes)
    if not math.isfinite(value):
        return Reading(value=None, missing=f"{subject} is {value}, which is no number.")
    return Reading(value=value, boxes=boxes)


def check_policy(
    policy: GatePolicy,
    *,
    classes: Sequence[str],
    slices: Mapping[str, Sequence[str]],
    features: Sequence[str] | None,
    settings: CocoSettings | None,
    where: str,
) -> None:
    """Refuses rules about what the evaluation will not have.

    Args:
        policy: The policy; its schema has seen to the names of metrics.
        classes: Names in the label map.
        slices: What every set is cut by, to the names of the parts.
        features: Features of the records that it is cut by, too; None while that is not known.
        settings: What the statistics are taken over; None while that is not known.
        where: Where the policy stands: `gate`.

    Raises:
        ConfigError: With one line for each rule that names a class, slice, IoU or metric that is not
            there.
    """
    faults = [
        (f"{where}.rules.{position}", fault)
        for position, rule in enumerate(policy.rules)
        for fault in _faults(
            rule, classes=classes, slices=slices, features=features, settings=settings
        )
    ]
    if len(faults) == 1:
        raise ConfigError(faults[0][1], where=faults[0][0])
    if faults:
        listing = "".join(f"\n  - {place}.{fault}" for place, fault in faults)
        raise ConfigError(f"{len(faults)} rules are about what there is not:{listing}", where=where)


def _faults(
    rule: GateRule,
    *,
    classes: Sequence[str],
    slices: Mapping[str, Sequence[str]],
    features: Sequence[str] | None,
    settings: CocoSettings | None,
) -> list[str]:
    faults = []
    if rule.class_name is not None and rule.class_name not in classes:
        hint = did_you_mean(rule.class_name, classes)
        faults.append(
            f'class_name: no class is called "{rule.class_name}"; expected one of '
            f"{_listed(classes)}. {hint}".rstrip()
        )
    if rule.slice is not None:
        cuts = [*slices, *(features or ())]
        if rule.slice.by in slices:
            unknown = rule.slice.name not in slices[rule.slice.by]
        else:
            unknown = features is not None and rule.slice.by not in features
        if unknown:
            faults.append(f"slice: {_no_slice(rule.slice, cuts, slices.get(rule.slice.by, ()))}")
    if settings is None:
        return faults
    ious = settings.iou_thresholds
    if rule.metric == "ap_at_iou" and _nearest(ious, rule.at) is None:
        listed = _listed([f"{iou:g}" for iou in ious])
        faults.append(f"at: AP is not measured at IoU {rule.at:g}; expected one of {listed}")
    if is_statistic(rule.metric) and (lacking := not_measured(rule.metric, settings)):
        faults.append(f"metric: {rule.metric} is not measured: {lacking}")
    return faults


def not_measured(metric: str, settings: CocoSettings) -> str:
    """Returns the sentence why settings don't define a statistic; empty where they do."""
    lacking = settings.lacks(metric)
    if not lacking:
        return ""
    hint = "" if metric in METRIC_NAMES else did_you_mean(metric, settings.metric_names)
    return f"{lacking}. {hint}".rstrip()


class _MissingError(Exception):
    """The metrics have no such number; the message is a sentence."""


def _found(metrics: Metrics, rule: GateRule) -> tuple[float | None, int]:
    if rule.slice is not None:
        return _of_slice(metrics, rule, rule.slice)
    boxes, by_area = metrics.boxes, metrics.boxes_by_area
    statistics = metrics.overall
    if rule.class_name is not None:
        entry = metrics.of_class(rule.class_name)
        if entry is None:
            names = [known.name for known in metrics.classes]
            hint = did_you_mean(rule.class_name, names) or f"Known classes: {_listed(names)}."
            raise _MissingError(f'The metrics have no class "{rule.class_name}". {hint}')
        statistics, boxes, by_area = entry.metrics, entry.boxes, entry.boxes_by_area
    if is_statistic(rule.metric):
        if lacking := not_measured(rule.metric, metrics.settings):
            raise _MissingError(f"{subject_in_words(rule)} is undefined: {lacking}")
        # Of the objects of one area alone: ap_small, ar_large.
        area = rule.metric.partition("_")[2]
        return statistics.value(rule.metric), by_area.get(area, boxes)
    details = _details(metrics, rule)
    if rule.metric == "calibration_error":
        return details.calibration.expected_error, boxes
    part: Details | ClassDetails | None = details
    if rule.class_name is not None:
        part = details.of_class(rule.class_name)
    if part is None:
        raise _MissingError(f'The details of the metrics have no class "{rule.class_name}".')
    return _detail(part.score, part.ap_by_iou, rule), boxes


def _detail(score: ScoreDetails, ap_by_iou: Sequence[ApAtIou], rule: GateRule) -> float | None:
    if rule.metric in METRICS_AT:
        return _read_at(score, ap_by_iou, rule)
    if score.best is None:
        # Nothing was hit: no score has an F1 above zero. Without objects it is undefined.
        return 0.0 if score.precision_at_recall is not None else None
    best: float = getattr(score.best, rule.metric)
    return best


def _read_at(trade_off: TradeOff, ap_by_iou: Sequence[ApAtIou], rule: GateRule) -> float | None:
    if rule.metric == "ap_at_iou":
        iou = _nearest([entry.iou for entry in ap_by_iou], rule.at)
        if iou is None:
            listed = _listed([f"{entry.iou:g}" for entry in ap_by_iou])
            raise _MissingError(f"AP was not measured at IoU {rule.at:g}, but at {listed}.")
        return next(entry.ap for entry in ap_by_iou if entry.iou == iou)
    if rule.metric == "precision_at_recall":
        return trade_off.precision_at(rule.at or 0.0)
    return trade_off.recall_at(rule.at or 0.0)


def _of_slice(metrics: Metrics, rule: GateRule, named: SliceName) -> tuple[float | None, int]:
    details = _details(metrics, rule)
    part = details.of_slice(named.by, named.name)
    if part is None:
        cuts = list(dict.fromkeys(entry.by for entry in details.slices))
        names = [entry.name for entry in details.slices if entry.by == named.by]
        raise _MissingError(f"The metrics have no such slice: {_no_slice(named, cuts, names)}")
    if rule.metric in METRICS_AT:
        return _read_at(part, part.ap_by_iou, rule), part.boxes
    return part.value(rule.metric), part.boxes


def _details(metrics: Metrics, rule: GateRule) -> Details:
    if metrics.details is None:
        raise _MissingError(
            f"The metrics have no {subject_in_words(rule)}: they were written by an older version. "
            "Run merge or metrics again."
        )
    return metrics.details


def _no_slice(named: SliceName, cuts: Sequence[str], names: Sequence[str]) -> str:
    if named.by not in cuts:
        hint = did_you_mean(named.by, cuts)
        return f'nothing is cut by "{named.by}"; expected one of {_listed(cuts)}. {hint}'.rstrip()
    hint = did_you_mean(named.name, names)
    return (
        f'{named.by} has no part "{named.name}"; expected one of {_listed(names)}. {hint}'.rstrip()
    )


def _nearest(ious: Sequence[float], at: float | None) -> float | None:
    return next((iou for iou in ious if at is not None and abs(iou - at) < 1e-6), None)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

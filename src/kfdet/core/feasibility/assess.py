"""The whole feasibility check: from objects and settings to the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kfdet.core.coco import Bool, Engine, Float64
from kfdet.core.experiment import anchor_shapes_px
from kfdet.core.feasibility.anchor_search import suggest
from kfdet.core.feasibility.anchors import anchors_total, fit, recall_rows
from kfdet.core.feasibility.ceilings import bounds
from kfdet.core.feasibility.findings import (
    Doubt,
    anchor_doubts,
    ceiling_doubts,
    resize_doubts,
    rule_doubts,
    training_doubts,
)
from kfdet.core.feasibility.objects import SplitObjects, in_areas, input_boxes
from kfdet.core.feasibility.oracle import Kept, kept_by_settings, oracle, reasons_below_one
from kfdet.core.feasibility.overlaps import same_class_overlaps
from kfdet.core.feasibility.power import spread_curves
from kfdet.core.feasibility.resize import class_sizes, resize_fit
from kfdet.core.feasibility.rules import Rival, judge_rules, subject_of
from kfdet.core.slices import SliceKeys, image_parts, objects_by_part
from kfdet.core.validation.catalogue import SeverityOrOff
from kfdet.core.validation.findings import PLACES_SHOWN, place_text
from kfdet.schema.dataset import Finding, LabelMap, Split
from kfdet.schema.detector_config import DetectorConfig
from kfdet.schema.feasibility import (
    AnchorFit,
    Ceilings,
    ClassCeilings,
    Estimates,
    Feasibility,
    FeasibilityVerdict,
    Losses,
    RuleFeasibility,
)
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.metrics import COCO, ApAtIou, CocoSettings
from kfdet.schema.training_config import TrainingConfig

_ORDER = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be trained and what it must show.

    Attributes:
        severities: Of every finding code, as configured.
        settings: What the evaluation's statistics are taken over.
        slices: The features of the records that its results are cut by.
        rival: The champion; None when the registry was not looked at.
        engine: COCO engine of the oracle pass.
        seed: Of everything that is drawn.
    """

    detector: DetectorConfig
    training: TrainingConfig
    policy: GatePolicy
    label_map: LabelMap
    severities: Mapping[str, SeverityOrOff]
    settings: CocoSettings = COCO
    slices: SliceKeys = "auto"
    rival: Rival | None = None
    engine: Engine = "hotcoco"
    seed: int = 0


def assess(
    question: Question,
    splits: Mapping[Split, SplitObjects],
    *,
    test_digest: str,
    estimates: Estimates | None = None,
) -> Feasibility:
    """Answers whether the gate can be reached.

    Args:
        question: Settings and rules.
        splits: Objects of train, val and test.
        test_digest: Of the test split's manifest.
        estimates: What was measured of time and memory.
    """
    test, train = splits["test"], splits["train"]
    ceilings, kept = _ceilings(question, test, digest=test_digest)
    subjects = list(
        dict.fromkeys(
            subject_of(rule, ceilings) for rule in question.policy.rules if rule.slice is None
        )
    )
    curves = spread_curves(
        test, subjects, label_map=question.label_map, seed=question.seed, settings=question.settings
    )
    rules = tuple(
        judge_rules(
            question.policy, ceilings, curves,
            max_detections=question.detector.nms.max_detections, rival=question.rival,
            boxes_by_part=objects_by_part(test.data, image_parts(test.data, keys=question.slices)),
        )
    )  # fmt: skip
    resized = tuple(resize_fit(objects, question.detector) for objects in splits.values())
    anchors = _anchors(question, train)
    doubts = [
        *rule_doubts(rules),
        *ceiling_doubts(ceilings, kept, test, question.detector),
        *(
            doubt
            for objects, measured in zip(splits.values(), resized, strict=True)
            for doubt in resize_doubts(
                objects, measured, question.detector, label_map=question.label_map
            )
        ),
        *anchor_doubts(anchors),
        *training_doubts(question.training, estimates, images=len(train.images)),
    ]
    counts, findings = _listed(doubts, question.severities)
    verdict, reasons = _verdict(rules, doubts, question.severities)
    return Feasibility(
        verdict=verdict,
        reasons=reasons,
        ceilings=ceilings,
        rules=rules,
        resize=resized,
        class_sizes=tuple(class_sizes(train, question.detector, label_map=question.label_map)),
        anchors=anchors,
        counts=counts,
        findings=findings,
        estimates=estimates,
    )


def _ceilings(question: Question, test: SplitObjects, *, digest: str) -> tuple[Ceilings, Kept]:
    detector, label_map, settings = question.detector, question.label_map, question.settings
    overlaps = same_class_overlaps(test)
    bound = bounds(test, overlaps, detector.nms, label_map=label_map, settings=settings)
    plain = oracle(test, detector, label_map=label_map, engine=question.engine, settings=settings)
    kept = kept_by_settings(test, overlaps, detector.nms)
    perfect = oracle(
        test, detector, label_map=label_map, engine=question.engine,
        rows=np.flatnonzero(kept.kept), settings=settings,
    )  # fmt: skip
    truth = test.truth
    by_area = dict(zip(settings.area_names, in_areas(truth, settings), strict=True))
    del by_area["all"]
    classes = []
    for k, label in enumerate(label_map.classes):
        mine = test.counted & (truth.class_id == label.id)
        classes.append(
            ClassCeilings(
                id=label.id, name=label.name, boxes=int(np.count_nonzero(mine)),
                images=len(np.unique(test.row[mine])),
                losses=Losses(
                    unfindable=int(np.count_nonzero(kept.unfindable & mine)),
                    suppressed=int(np.count_nonzero(kept.suppressed & mine)),
                    over_limit=int(np.count_nonzero(kept.over_limit & mine)),
                ),
                ceiling=bound.per_class[k], perfect=perfect.per_class[k],
                oracle=plain.per_class[k], recall_50=_number(bound.recall_50[k]),
                perfect_recall_50=_share(kept.kept & mine, mine),
                ap_by_iou=_by_iou(bound.ap[:, k], settings),
                boxes_by_area=_counts(by_area, among=mine),
            )
        )  # fmt: skip
    return Ceilings(
        split=test.split, split_digest=digest, images=len(test.images),
        boxes=int(np.count_nonzero(test.counted)), ceiling=bound.overall,
        perfect=perfect.overall, oracle=plain.overall,
        oracle_reasons=tuple(reasons_below_one(plain, test, label_map=label_map, settings=settings)),
        recall_50=_number(bound.recall_50[-1]),
        perfect_recall_50=_share(kept.kept, test.counted),
        ap_by_iou=_by_iou(bound.ap[:, -1], settings),
        classes=tuple(classes), boxes_by_area=_counts(by_area, among=test.counted),
    ), kept  # fmt: skip


def _counts(parts: Mapping[str, Bool], *, among: Bool) -> dict[str, int]:
    return {name: int(np.count_nonzero(part & among)) for name, part in parts.items()}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _share(part: Bool, whole: Bool) -> float | None:
    return float(np.count_nonzero(part) / np.count_nonzero(whole)) if whole.any() else None


def _by_iou(values: Float64, settings: CocoSettings) -> tuple[ApAtIou, ...]:
    return tuple(
        ApAtIou(iou=iou, ap=_number(value))
        for iou, value in zip(settings.iou_thresholds, values, strict=True)
    )


def _anchors(question: Question, train: SplitObjects) -> AnchorFit:
    detector = question.detector
    found = fit(train, detector)
    boxes = input_boxes(train, detector)[found.looked_at]
    sides = np.sqrt(anchor_shapes_px(detector).prod(axis=1))
    return AnchorFit(
        sides_px=tuple(np.unique(np.round(sides, 6)).tolist()),
        anchors_total=anchors_total(detector),
        forced_images=len(np.unique(train.row[found.examined])),
        rows=tuple(recall_rows(found, train, label_map=question.label_map)),
        suggestion=suggest(boxes, detector, seed=question.seed),
    )


def _listed(
    doubts: Sequence[Doubt], severities: Mapping[str, SeverityOrOff]
) -> tuple[dict[str, int], tuple[Finding, ...]]:
    """Returns the number of each code and the findings, worst severity first."""
    counts: dict[str, int] = {}
    findings: list[Finding] = []
    for doubt in doubts:
        severity = severities[doubt.code]
        if severity == "off":
            continue
        counts[doubt.code] = counts.get(doubt.code, 0) + doubt.count
        findings += [one.model_copy(update={"severity": severity}) for one in doubt.first]
    findings.sort(key=lambda finding: _ORDER[finding.severity])
    return dict(sorted(counts.items())), tuple(findings)


def _verdict(
    rules: Sequence[RuleFeasibility],
    doubts: Sequence[Doubt],
    severities: Mapping[str, SeverityOrOff],
) -> tuple[FeasibilityVerdict, tuple[str, ...]]:
    beyond = [rule.reason for rule in rules if rule.outcome == "out_of_reach"]
    at_risk = [rule.reason for rule in rules if rule.outcome == "at_risk"]
    risks = [*at_risk, *_risks(doubts, severities)]
    if beyond:
        return "cannot_pass", (*beyond, *risks)
    if risks:
        return "at_risk", tuple(risks)
    return "can_pass", (
        "Every rule is within reach, and nothing in data and settings stands against it.",
    )


def _risks(doubts: Sequence[Doubt], severities: Mapping[str, SeverityOrOff]) -> Iterator[str]:
    """Yields what stands in the way beside the rules, gravest first."""
    grave = [doubt for doubt in doubts if severities[doubt.code] in ("error", "warning")]
    for doubt in sorted(grave, key=lambda doubt: _ORDER[severities[doubt.code]]):
        finding = doubt.first[0]
        words = f"{finding.seen}; expected {finding.expected}."
        if finding.record is not None:
            places = list(dict.fromkeys(map(place_text, doubt.first)))[:PLACES_SHOWN]
            yield f"{doubt.code} ({doubt.count:,} in {finding.split}): {words} First: {'; '.join(places)}."
        elif finding.file != "gate.rules":
            yield f"{doubt.code}: {words}"

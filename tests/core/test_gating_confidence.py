"""Rules judged by intervals."""

import dataclasses

import numpy as np
import pytest
from evaluation_cases import digest, label_map, metrics, random_data, shard_result, statistics
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core import gating
from kfdet.core.coco import EvaluationData, metrics_document
from kfdet.core.gating import Champion, decide
from kfdet.core.measurement import measure
from kfdet.core.uncertainty import Spread
from kfdet.schema.gate_policy import (
    LOW_IS_GOOD,
    METRICS_AT,
    POLICY_METRICS,
    SLICE_METRIC_NAMES,
    GatePolicy,
)
from kfdet.schema.metrics import MeasurementConfig

LABELS = label_map("circle", "square", "triangle")
RANK = {"fail": 0, "insufficient_evidence": 1, "pass": 2}


def measured(data: EvaluationData, *, name="candidate"):
    found = measure(data, label_map=LABELS, engine="hotcoco", config=MeasurementConfig())
    document = metrics_document(
        found.evaluation,
        data,
        shard_result(data, checkpoint_digest=digest(name)),
        label_map=LABELS,
        evidence_digest=digest("evidence"),
        details=found.details,
    )
    return document, found.evidence


def shaken(data: EvaluationData, share: float, *, seed=0) -> EvaluationData:
    """The same, some of its boxes moved far away."""
    rng = np.random.default_rng(seed)
    moved = np.where(rng.random((len(data.detections), 1)) < share, 500.0, 0.0)
    boxes = (data.detections.boxes_xyxy_px + moved).astype(np.float32)
    return dataclasses.replace(
        data, detections=dataclasses.replace(data.detections, boxes_xyxy_px=boxes)
    )


DATA = random_data(3, images=80)
CANDIDATE, EVIDENCE = measured(DATA)
AP = CANDIDATE.overall.ap
WORSE = measured(shaken(DATA, 0.3), name="worse")
CHAMPION = Champion(version=2, metrics=WORSE[0], evidence=WORSE[1])


def policy(*rules, confidence=0.95, **more):
    return GatePolicy.model_validate(
        {"rules": rules, "confidence": confidence, "no_champion": "fail", "resamples": 200} | more
    )


def judged(*rules, champion=None, evidence=EVIDENCE, metrics=CANDIDATE, **more):
    return decide(metrics, policy=policy(*rules, **more), champion=champion, evidence=evidence)


def test_far_from_the_threshold_it_passes_or_fails_and_near_it_can_not_be_told():
    found = {
        offset: judged({"metric": "ap", "at_least": AP + offset}) for offset in (-0.15, 0.005, 0.15)
    }
    assert [found[at].decision for at in (-0.15, 0.005, 0.15)] == [
        "pass", "insufficient_evidence", "fail",
    ]  # fmt: skip
    near = found[0.005].rules[0]
    assert near.margin_low < 0 < near.margin_high
    assert near.more_images > 80
    assert f"{near.more_images:,} more images" in near.reason


def test_so_many_more_images_settle_it():
    """With the error that so many images have, the interval ends at the threshold."""
    near = judged({"metric": "ap", "at_least": AP - 0.04}).rules[0]
    assert near.outcome == "unknown"
    shrunk = near.standard_error * np.sqrt(80 / (80 + near.more_images))
    p = near.estimate
    log_odds = np.log(p / (1 - p)) - 1.96 * shrunk / (p * (1 - p))
    assert 1 / (1 + np.exp(-log_odds)) == pytest.approx(AP - 0.04, abs=1e-3)


def test_an_interval_stays_within_what_a_metric_can_be():
    found = judged({"metric": "ap50", "at_least": 0.999}).rules[0]
    assert found.margin_high + 0.999 <= 1
    assert judged({"metric": "ap", "at_least": 0.0}).decision == "pass"
    assert judged({"metric": "ap", "at_least": 1.0}).decision == "fail"


def test_a_rule_may_ask_for_the_point_estimate():
    rule = {"metric": "ap", "at_least": AP - 0.001}
    assert judged(rule).decision == "insufficient_evidence"
    alone = judged(rule | {"point_estimate": True})
    assert alone.decision == "pass"
    assert alone.rules[0].standard_error is None


def test_a_paired_difference_is_told_where_separate_intervals_overlap():
    gain = judged({"metric": "ap", "champion": {"min_gain": 0.0}}, champion=CHAMPION)
    assert gain.decision == "pass"
    absolute = judged({"metric": "ap", "at_least": AP}).rules[0]
    assert gain.rules[0].standard_error < absolute.standard_error


def test_a_worse_candidate_fails_non_inferiority():
    better = Champion(version=2, metrics=CANDIDATE, evidence=EVIDENCE)
    metrics, evidence = WORSE
    found = judged(
        {"metric": "ap", "champion": {"max_drop": 0.01}},
        champion=better, metrics=metrics, evidence=evidence,
    )  # fmt: skip
    assert found.decision == "fail"


def test_without_evidence_nothing_passes_by_confidence():
    found = judged({"metric": "ap", "at_least": 0.0}, evidence=None)
    assert found.decision == "insufficient_evidence"
    assert "came without the folder evidence" in found.reasons[0]
    bare = dataclasses.replace(CHAMPION, evidence=None)
    found = judged({"metric": "ap", "champion": {"max_drop": 1.0}}, champion=bare)
    assert found.decision == "insufficient_evidence"
    assert "published without its evidence" in found.reasons[0]


def test_a_perfect_score_on_few_boxes_is_no_certainty():
    """Every resample of a set without errors answers 1; the interval must not be a point."""
    data = random_data(1, images=3, crowd=0.0)
    truth = data.ground_truth
    apart = np.arange(len(truth))[:, None] * 1000.0 + np.array([0, 0, 40.0, 50.0])
    perfect = dataclasses.replace(
        data,
        ground_truth=dataclasses.replace(truth, boxes_xyxy_px=apart),
        detections=type(data.detections)(
            image_id=truth.image_id,
            class_id=truth.class_id,
            score=np.full(len(truth), 0.9, np.float32),
            boxes_xyxy_px=apart.astype(np.float32),
        ),
    )
    metrics, evidence = measured(perfect)
    assert metrics.overall.ap == pytest.approx(1.0)
    found = judged({"metric": "ap", "at_least": 0.99}, metrics=metrics, evidence=evidence)
    assert found.decision == "insufficient_evidence"


def test_a_class_with_few_boxes_does_not_count():
    boxes = CANDIDATE.of_class("circle").boxes
    rule = {"metric": "ap", "class_name": "circle", "at_least": 0.0}
    assert judged(rule, min_boxes=boxes).decision == "pass"
    few = judged(rule, min_boxes=boxes + 1, confidence=None)
    assert few.decision == "insufficient_evidence"
    assert f"rests on {boxes} boxes" in few.reasons[0]


def test_chance_failures_among_many_rules_are_forgiven():
    """A rule that alone would just be refuted is not, among others that are not."""
    error = judged({"metric": "ap", "at_least": AP}).rules[0].standard_error
    just = {"metric": "ap", "at_least": AP + 2.05 * error}
    assert judged(just).decision == "fail"
    others = [{"metric": "ap", "class_name": c.name, "at_least": 0.0} for c in CANDIDATE.classes]
    assert judged(just, *others).decision == "insufficient_evidence"


def test_a_slice_of_images_has_an_interval_and_one_of_boxes_has_none():
    part = next(p for p in PARTS if p.by == "objects_in_image" and p.boxes > 20)
    where = {"by": part.by, "name": part.name}
    (found,) = judged({"metric": "ap", "at_least": 0.0, "slice": where}).rules
    assert found.outcome == "holds"
    whole = judged({"metric": "ap", "at_least": 0.0}).rules[0]
    assert found.standard_error > whole.standard_error
    part = next(p for p in PARTS if p.by == "box_size" and p.recall is not None)
    where = {"by": part.by, "name": part.name}
    (found,) = judged({"metric": "recall", "at_least": 0.0, "slice": where}).rules
    assert found.outcome == "unknown"
    assert "point_estimate" in found.reason


def test_a_champion_s_slice_is_drawn_at_its_own_operating_score():
    """What a score means is each model's own: halved scores leave the comparison as it is."""
    data = shaken(DATA, 0.3)
    detections = dataclasses.replace(data.detections, score=data.detections.score / 4)
    lower = measured(dataclasses.replace(data, detections=detections), name="worse")
    quiet = Champion(version=2, metrics=lower[0], evidence=lower[1])
    for metric in ("precision", "recall", "f1"):
        where = {"by": "objects_in_image", "name": "2 to 4"}
        rule = {"metric": metric, "slice": where, "champion": {"max_drop": 0.1}}
        assert judged(rule, champion=quiet).rules == judged(rule, champion=CHAMPION).rules


def test_equal_seeds_give_equal_decisions():
    rules = [{"metric": "ap", "at_least": AP}, {"metric": "ap50", "champion": {"min_gain": 0.1}}]
    assert judged(*rules, champion=CHAMPION) == judged(*rules, champion=CHAMPION)
    other = judged(*rules, champion=CHAMPION, seed=1)
    assert other.rules[0].standard_error != judged(*rules).rules[0].standard_error


PARTS = [part for part in CANDIDATE.details.slices if part.boxes]


@st.composite
def any_rules(draw):
    """A rule on any metric, of all classes, of one, or of a part of the set."""
    metric = draw(st.sampled_from(POLICY_METRICS))
    low = metric in LOW_IS_GOOD
    rule = {
        "metric": metric,
        ("at_most" if low else "at_least"): draw(st.floats(0, 1)),
        "champion": draw(st.sampled_from([None, {"max_drop": 0.1}, {"min_gain": 0.0}])),
        "point_estimate": draw(st.booleans()),
    }
    if metric in METRICS_AT:
        rule["at"] = draw(st.sampled_from([0.5, 0.75, 0.9]))
    if metric in SLICE_METRIC_NAMES and draw(st.booleans()):
        part = draw(st.sampled_from(PARTS))
        return rule | {"slice": {"by": part.by, "name": part.name}}
    if not low:
        rule["class_name"] = draw(st.sampled_from([None, "circle", "triangle"]))
    return rule


def stricter(rule, more):
    if "at_most" in rule:
        return rule | {"at_most": max(0.0, rule["at_most"] - more)}
    return rule | {"at_least": min(1.0, rule["at_least"] + more)}


@settings(max_examples=80, deadline=None)
@given(
    chosen=st.lists(any_rules(), min_size=1, max_size=4),
    raises=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    confidence=st.sampled_from([None, 0.5, 0.8, 0.95]),
)
def test_raising_a_threshold_never_betters_a_decision(chosen, raises, confidence):
    raised = [stricter(rule, more) for rule, more in zip(chosen, raises, strict=False)]
    options = {"champion": CHAMPION, "confidence": confidence, "resamples": 100}
    before, after = judged(*chosen, **options), judged(*raised, **options)
    assert RANK[after.decision] <= RANK[before.decision]


@settings(max_examples=80, deadline=None)
@given(
    chosen=st.lists(any_rules(), min_size=1, max_size=3),
    added=any_rules(),
    confidence=st.sampled_from([None, 0.5, 0.95]),
)
def test_another_rule_never_turns_a_fail_into_a_pass(chosen, added, confidence):
    """With intervals it may forgive what chance may have done; that is no pass either."""
    options = {"champion": CHAMPION, "confidence": confidence, "resamples": 100}
    before, after = judged(*chosen, **options), judged(*chosen, added, **options)
    if before.decision != "pass":
        assert after.decision != "pass"


@settings(max_examples=40, deadline=None)
@given(chosen=any_rules())
def test_every_rule_says_what_it_saw_and_wanted(chosen):
    for result in judged(chosen, champion=CHAMPION, resamples=100).rules:
        if result.outcome == "holds" or (result.outcome == "fails" and result.seen is not None):
            assert (result.seen is None, result.wanted is None) == (False, False)
        elif result.outcome == "fails":
            assert "is undefined" in result.reason
        if result.margin_low is not None:
            assert result.margin_low <= result.margin_high
        assert result.reason.endswith(".")


def test_a_false_fail_among_many_rules_is_as_rare_as_of_one(monkeypatch):
    """Ten true claims, each measured with chance errors: Holm keeps all of them together at 2.5 %."""
    error = 0.01
    monkeypatch.setattr(
        gating,
        "spreads",
        lambda subjects, *_, **__: dict.fromkeys(subjects, Spread(standard_error=error, excess=0)),
    )
    names = [f"class {k}" for k in range(10)]
    rules = [{"metric": "ap", "class_name": name, "at_least": 0.5} for name in names]
    chosen = policy(*rules)
    rng = np.random.default_rng(0)
    trials, failed, one_sided = 600, 0, 0
    for _ in range(trials):
        measured_ap = 0.5 + error * rng.normal(size=10)
        document = metrics(
            classes={name: statistics(ap) for name, ap in zip(names, measured_ap, strict=True)}
        )
        document = document.model_copy(
            update={"classes": tuple(c.model_copy(update={"boxes": 999}) for c in document.classes)}
        )
        failed += (
            decide(document, policy=chosen, champion=None, evidence=EVIDENCE).decision == "fail"
        )
        one_sided += bool((measured_ap < 0.5 - 1.96 * error).any())
    assert failed / trials < 0.05
    assert one_sided / trials > 0.15


def test_champion_rules_must_say_what_they_answer_without_one():
    with pytest.raises(ValueError, match="no_champion"):
        GatePolicy.model_validate({"rules": [{"metric": "ap", "champion": {"max_drop": 0.1}}]})

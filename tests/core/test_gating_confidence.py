"""Rules judged by intervals."""

import dataclasses

import numpy as np
import pytest
from evaluation_cases import digest, label_map, random_data, shard_result
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import EvaluationData, evaluate, metrics_document
from kfdet.core.evidence import gather_evidence
from kfdet.core.gating import Champion, decide
from kfdet.schema.metrics import METRIC_NAMES
from kfdet.schema.run_config import GatePolicy

LABELS = label_map("circle", "square", "triangle")
RANK = {"fail": 0, "insufficient_evidence": 1, "pass": 2}


def measured(data: EvaluationData, *, name="candidate"):
    evidence = gather_evidence(data, label_map=LABELS)
    document = metrics_document(
        evaluate(data, label_map=LABELS),
        data,
        shard_result(data, checkpoint_digest=digest(name)),
        label_map=LABELS,
        evidence_digest=digest("evidence"),
    )
    return document, evidence


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
    near = judged({"metric": "ap", "at_least": AP - 0.02}).rules[0]
    assert near.outcome == "unknown"
    total = 80 + near.more_images
    shrunk = near.standard_error * np.sqrt(80 / total)
    assert 0.02 - 1.96 * shrunk == pytest.approx(0.0, abs=1e-3)


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


def test_equal_seeds_give_equal_decisions():
    rules = [{"metric": "ap", "at_least": AP}, {"metric": "ap50", "champion": {"min_gain": 0.1}}]
    assert judged(*rules, champion=CHAMPION) == judged(*rules, champion=CHAMPION)
    other = judged(*rules, champion=CHAMPION, seed=1)
    assert other.rules[0].standard_error != judged(*rules).rules[0].standard_error


rules = st.builds(
    lambda metric, class_name, threshold, rule, point: {
        "metric": metric, "class_name": class_name, "at_least": threshold, "champion": rule,
        "point_estimate": point,
    },
    metric=st.sampled_from(METRIC_NAMES),
    class_name=st.sampled_from([None, "circle", "square"]),
    threshold=st.floats(0, 1),
    rule=st.sampled_from([None, {"max_drop": 0.1}, {"min_gain": 0.0}]),
    point=st.booleans(),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    chosen=st.lists(rules, min_size=1, max_size=3),
    raises=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    confidence=st.sampled_from([0.5, 0.8, 0.95]),
)
def test_raising_a_threshold_never_betters_a_decision_by_confidence(chosen, raises, confidence):
    stricter = [
        rule | {"at_least": min(1.0, rule["at_least"] + more)}
        for rule, more in zip(chosen, raises, strict=False)
    ]
    options = {"champion": CHAMPION, "confidence": confidence, "resamples": 100}
    before, after = judged(*chosen, **options), judged(*stricter, **options)
    assert RANK[after.decision] <= RANK[before.decision]


def test_champion_rules_must_say_what_they_answer_without_one():
    with pytest.raises(ValueError, match="no_champion"):
        GatePolicy.model_validate({"rules": [{"metric": "ap", "champion": {"max_drop": 0.1}}]})

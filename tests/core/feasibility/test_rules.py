"""The gate's rules before there is a model."""

import math

import numpy as np
import pytest
from evaluation_cases import digest, metrics, statistics
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.feasibility.power import SpreadCurve
from kfdet.core.feasibility.rules import Rival, judge_rules
from kfdet.core.slices import slices_of_every_set
from kfdet.core.uncertainty import Subject
from kfdet.schema.feasibility import Ceilings, ClassCeilings, Losses
from kfdet.schema.gate_policy import GatePolicy

AP = Subject(metric="ap")
PARTS = {(by, name): 100 for by, names in slices_of_every_set().items() for name in names}
NONE_LOST = Losses(unfindable=0, suppressed=0, over_limit=0)


def ceilings(ceiling=1.0, perfect=1.0, *, losses=NONE_LOST, boxes=100, images=100, **changes):
    stats = statistics(ceiling, **changes)
    at_50 = {"recall_50": ceiling, "perfect_recall_50": perfect}
    at_50 |= {"ap_by_iou": [{"iou": 0.5, "ap": ceiling}, {"iou": 0.75, "ap": ceiling / 2}]}
    low = statistics(perfect, **{k: v for k, v in changes.items() if v is None})
    return Ceilings(
        split="test", split_digest=digest("test"), images=images, boxes=boxes,
        ceiling=stats, perfect=low, oracle=statistics(1.0), oracle_reasons=(), **at_50,
        classes=(
            ClassCeilings(
                id=1, name="cat", boxes=boxes, images=images, losses=losses,
                ceiling=stats, perfect=low, oracle=statistics(1.0), **at_50,
            ),
        ),
    )  # fmt: skip


def curves(alone=0.02, paired=0.01):
    value = np.linspace(0, 1, 11)
    flat = np.ones(11)
    return {
        subject: SpreadCurve(value=value, alone=alone * flat, paired=paired * flat)
        for subject in (AP, Subject(metric="ap", class_id=1))
    }


def judge(rule, *, found=None, errors=None, rival=None, parts=(), **policy):
    document = GatePolicy.model_validate({"rules": [rule], "no_champion": "pass", **policy})
    return list(
        judge_rules(
            document,
            found or ceilings(),
            errors or curves(),
            max_detections=100,
            rival=rival,
            boxes_by_part=PARTS | dict(parts),
        )
    )


def threshold(at_least, **rest):
    return judge({"metric": "ap", "at_least": at_least}, **rest)[0]


def test_a_threshold_above_the_ceiling_is_out_of_reach_with_its_cause_and_remedy():
    losses = Losses(unfindable=1, suppressed=40, over_limit=3)
    (rule,) = judge({"metric": "ap", "at_least": 0.9}, found=ceilings(0.8, 0.6, losses=losses))
    assert rule.outcome == "out_of_reach"
    assert "can't exceed 0.8000" in rule.reason
    assert "40 objects are taken by non-maximum suppression" in rule.reason
    assert rule.remedy.startswith("Raise detector.nms.iou_threshold.")


@pytest.mark.parametrize(
    ("losses", "words", "remedy"),
    [
        ({"over_limit": 7}, "7 objects are beyond the 100 detections", "max_detections"),
        ({"unfindable": 7}, "7 boxes without area", "Correct these boxes"),
        ({}, "too close together", "iou_threshold"),
    ],
)
def test_the_gravest_loss_is_the_cause(losses, words, remedy):
    lost = NONE_LOST.model_copy(update=losses)
    rule = threshold(0.9, found=ceilings(0.8, 0.8, losses=lost))
    assert words in rule.reason
    assert remedy in rule.remedy


def test_what_only_a_perfect_detector_misses_is_a_risk_and_no_impossibility():
    rule = threshold(0.9, found=ceilings(0.95, 0.85))
    assert rule.outcome == "at_risk"
    assert "answers the ground truth scores 0.8500" in rule.reason


def test_the_ceiling_itself_is_within_reach():
    assert threshold(0.8, found=ceilings(0.8, 0.8)).outcome == "reachable"


def test_too_few_boxes_and_an_undefined_metric_can_not_hold():
    few = threshold(0.5, min_boxes=101)
    assert few.outcome == "out_of_reach"
    assert "rests on 100 boxes" in few.reason
    assert threshold(0.5, min_boxes=100).outcome == "reachable"
    absent = threshold(0.5, found=ceilings(ap=None))
    assert absent.outcome == "out_of_reach"
    assert "undefined" in absent.reason
    assert absent.ceiling is None


def test_a_rule_about_small_objects_rests_on_the_small_ones():
    found = ceilings().model_copy(update={"boxes_by_area": {"small": 4, "medium": 96}})
    rules = [
        judge({"metric": f"ap_{area}", "at_least": 0.5}, found=found, min_boxes=10)[0]
        for area in ("small", "medium")
    ]
    assert [(rule.outcome, rule.boxes) for rule in rules] == [("out_of_reach", 4), ("reachable", 96)]  # fmt: skip
    assert "rests on 4 boxes" in rules[0].reason


def test_a_rule_judged_by_its_interval_needs_room_above_the_threshold():
    rule = threshold(0.5, confidence=0.95)
    assert rule.outcome == "reachable"
    assert rule.half_width == pytest.approx(1.96 * 0.02, rel=1e-3)
    assert rule.needed == pytest.approx(0.5 + 1.96 * 0.02, abs=2e-3)
    tight = threshold(0.98, confidence=0.95)
    assert tight.outcome == "at_risk"
    # Half the room that the interval takes: four times the images, nearly.
    assert tight.more_images == math.ceil(100 * (1.96 * 0.02 / 0.02) ** 2 - 100)
    by_value = judge({"metric": "ap", "at_least": 0.98, "point_estimate": True}, confidence=0.95)[0]
    assert (by_value.outcome, by_value.by_interval) == ("reachable", False)


def test_a_comparison_is_held_against_what_the_test_set_can_tell():
    rule = {"metric": "ap", "champion": {"max_drop": 0.01}}
    (by_interval,) = judge(rule, confidence=0.95)
    assert by_interval.outcome == "at_risk"
    assert by_interval.more_images == math.ceil(100 * 1.959964**2 - 100)
    (by_value,) = judge(rule)
    assert by_value.outcome == "reachable"
    assert "16% fail by chance" in by_value.reason
    (wide,) = judge({"metric": "ap", "champion": {"max_drop": 0.05}}, confidence=0.95)
    assert (wide.outcome, wide.more_images) == ("reachable", None)
    (gain,) = judge({"metric": "ap", "champion": {"min_gain": 0.005}}, confidence=0.95)
    assert (gain.outcome, gain.margin) == ("reachable", -0.005)
    assert f"a gain of {0.005 + 1.959964 * 0.01:.4f} must be measured" in gain.reason


def test_one_rule_with_both_keys_gives_two_entries_in_the_gates_words():
    rule = {"metric": "ap", "class_name": "cat", "at_least": 0.5, "champion": {"max_drop": 0.1}}
    first, second = judge(rule)
    assert first.rule == 'ap of "cat" at least 0.5'
    assert second.rule == 'ap of "cat" at least the champion\'s minus 0.1'


GAIN = {"metric": "ap", "champion": {"min_gain": 0.1}}


def champion(value):
    return Rival(exists=True, metrics=metrics(statistics(value)))


def test_a_gain_over_the_champion_that_lies_above_the_ceiling_is_out_of_reach():
    (rule,) = judge(GAIN, found=ceilings(0.95, 0.9), rival=champion(0.9))
    assert rule.outcome == "out_of_reach"
    assert "the champion has 0.9000, and 1.0000 is asked for" in rule.reason
    (near,) = judge(GAIN, found=ceilings(0.95, 0.9), rival=champion(0.85))
    assert near.outcome == "reachable"
    (foreign,) = judge(GAIN, found=ceilings(0.95), rival=Rival(exists=True))
    assert foreign.outcome == "reachable"


def test_without_a_champion_a_rule_that_then_fails_can_not_hold():
    (known,) = judge(GAIN, rival=Rival(exists=False), no_champion="fail")
    assert known.outcome == "out_of_reach"
    (unknown,) = judge(GAIN, no_champion="fail")
    assert unknown.outcome == "at_risk"
    (fine,) = judge(GAIN, rival=Rival(exists=False), no_champion="pass")
    assert fine.outcome == "reachable"


def test_a_comparison_takes_place_at_the_threshold_of_its_own_iou():
    subject = Subject(metric="ap_at_iou", at=0.75)
    value = np.linspace(0, 1, 11)
    curve = SpreadCurve(value=value, alone=0.02 * np.ones(11), paired=0.1 * value)
    rules = [
        {"metric": "ap_at_iou", "at": 0.5, "at_least": 0.8},
        {"metric": "ap_at_iou", "at": 0.75, "at_least": 0.3, "champion": {"max_drop": 0.1}},
    ]
    policy = GatePolicy.model_validate({"rules": rules, "no_champion": "pass"})
    found = judge_rules(policy, ceilings(), {subject: curve}, max_detections=100, boxes_by_part={})
    assert list(found)[-1].standard_error == pytest.approx(0.03)


def test_without_a_curve_an_interval_can_not_be_told():
    rule = {"metric": "ap", "at_least": 0.5, "champion": {"max_drop": 0.1}}
    policy = GatePolicy.model_validate({"rules": [rule], "no_champion": "pass", "confidence": 0.9})
    entries = judge_rules(policy, ceilings(), {}, max_detections=100, boxes_by_part={})
    outcomes = [one.outcome for one in entries]
    assert outcomes == ["at_risk", "at_risk"]


@pytest.mark.parametrize(
    ("metric", "at", "ceiling"),
    [
        ("recall", None, 0.6),
        ("f1", None, 0.75),
        ("precision", None, 1.0),
        ("recall_at_precision", 0.9, 0.6),
        ("precision_at_recall", 0.6, 1.0),
        ("precision_at_recall", 0.7, 0.0),
        ("ap_at_iou", 0.75, 0.3),
        ("ap_at_iou", 0.6, 0.6),
    ],
)
def test_every_metric_that_a_rule_can_read_has_its_ceiling(metric, at, ceiling):
    (rule,) = judge({"metric": metric, "at": at, "at_least": 0.99}, found=ceilings(0.6, 0.6))
    assert rule.ceiling == pytest.approx(ceiling)
    assert rule.outcome == ("reachable" if ceiling == 1 else "out_of_reach")


@pytest.mark.parametrize(
    "rule",
    [
        {"metric": "calibration_error", "at_most": 0.1},
        {"metric": "recall", "at_least": 0.99, "slice": {"by": "box_size", "name": "below 16 px"}},
    ],
)
def test_what_nothing_bounds_is_left_to_the_gate(rule):
    (entry,) = judge(rule, found=ceilings(0.6, 0.6))
    assert (entry.outcome, entry.ceiling) == ("reachable", None)


def test_the_perfect_answer_has_an_ap_at_an_iou_also_where_ap50_is_not_measured():
    found = ceilings(0.9, 0.8)
    narrow = found.perfect.model_copy(update={"ap50": None})
    found = found.model_copy(update={"perfect": narrow})
    (entry,) = judge({"metric": "ap_at_iou", "at": 0.6, "at_least": 0.5}, found=found)
    assert (entry.outcome, entry.perfect) == ("reachable", 0.8)


@pytest.mark.parametrize(("by", "name"), PARTS)
def test_a_slice_of_which_the_test_set_has_no_object_can_not_hold(by, name):
    rule = {"metric": "recall", "at_least": 0.5, "slice": {"by": by, "name": name}}
    (entry,) = judge(rule, parts={(by, name): 0})
    assert (entry.outcome, entry.boxes) == ("out_of_reach", 0)
    assert f'recall where {by} is "{name}" is undefined' in entry.reason
    assert "Add such objects to the test set" in entry.remedy
    (entry,) = judge(rule, parts={(by, name): 1})
    assert (entry.outcome, entry.boxes) == ("reachable", 1)


def test_a_slice_rests_on_its_own_boxes():
    rule = {"metric": "recall", "at_least": 0.5}
    rule["slice"] = {"by": "objects_in_image", "name": "1"}
    (few,) = judge(rule, parts={("objects_in_image", "1"): 9}, min_boxes=10)
    assert few.outcome == "out_of_reach"
    assert "rests on 9 boxes, and gate.min_boxes counts a value from 10 on" in few.reason
    (enough,) = judge(rule, parts={("objects_in_image", "1"): 10}, min_boxes=10)
    assert enough.outcome == "reachable"


def test_a_threshold_and_a_comparison_of_a_slice_are_two_entries():
    """As the gate will have two results of them: a threshold holds without any champion."""
    where = {"by": "box_size", "name": "below 16 px"}
    rule = {"metric": "recall", "slice": where, "at_least": 0.5, "champion": {"max_drop": 0.1}}
    parts = {("box_size", "below 16 px"): 50}
    first, second = judge(rule, rival=Rival(exists=False), no_champion="fail", parts=parts)
    assert (first.outcome, first.threshold) == ("reachable", 0.5)
    assert second.rule == 'recall where box_size is "below 16 px" at least the champion\'s'
    assert (second.outcome, second.threshold) == ("out_of_reach", None)
    assert "There is no champion" in second.reason


def test_a_slice_is_compared_with_no_champion_that_there_is_not():
    rule = {"metric": "recall", "champion": {"max_drop": 0.1}}
    rule["slice"] = {"by": "box_size", "name": "below 16 px"}
    (none,) = judge(rule, rival=Rival(exists=False), no_champion="fail")
    assert none.outcome == "out_of_reach"
    assert "There is no champion" in none.reason
    (fine,) = judge(rule, rival=Rival(exists=True), no_champion="fail")
    assert fine.outcome == "reachable"


@pytest.mark.parametrize("by", slices_of_every_set())
def test_a_slice_without_an_interval_can_not_be_asked_for_one(by):
    rule = {
        "metric": "recall",
        "at_least": 0.5,
        "slice": {"by": by, "name": slices_of_every_set()[by][0]},
    }
    (entry,) = judge(rule, confidence=0.95)
    assert (entry.outcome == "out_of_reach") == by.startswith("box_")
    assert ("point_estimate" in entry.remedy) == by.startswith("box_")
    (entry,) = judge(rule | {"point_estimate": True}, confidence=0.95)
    assert entry.outcome == "reachable"


@given(
    st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1), st.floats(0, 1),
    st.one_of(st.none(), st.floats(0.5, 0.99)),
)  # fmt: skip
def test_asking_for_more_never_brings_a_rule_within_reach(low, high, ceiling, share, confidence):
    low, high = sorted((low, high))
    grave = ["reachable", "at_risk", "out_of_reach"]
    found = ceilings(ceiling, ceiling * share)
    one = threshold(low, found=found, confidence=confidence)
    other = threshold(high, found=found, confidence=confidence)
    assert grave.index(one.outcome) <= grave.index(other.outcome)

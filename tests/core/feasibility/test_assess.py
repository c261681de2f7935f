"""The verdict on data and settings that fit, and on such that can't."""

import pytest
from evaluation_cases import digest, label_map
from feasibility_cases import DETECTOR, objects_of, scattered

from kfdet.core.feasibility.assess import Question, assess
from kfdet.core.validation.catalogue import severities
from kfdet.schema.feasibility import Estimates, Feasibility
from kfdet.schema.gate_policy import GatePolicy
from kfdet.schema.training_config import TrainingConfig

LABELS = label_map("cat", "dog")
GOOD = {"max_level": 5, "anchors": {"aspect_ratios": [1.0], "num_scales": 3, "size": 2.0}}


def splits(**changes):
    side = {"side": (50.0, 100.0)}
    made = {
        split: scattered(seed, images=40, most=3, split=split, **side)
        for seed, split in enumerate(("train", "val", "test"))
    }
    return made | changes


def question(at_least=0.5, *, overrides=(), training=(), **detector):
    settings = {"input_size": [128, 128], "nms": {"version": "batched"}, **GOOD, **detector}
    return Question(
        detector=type(DETECTOR).model_validate(settings),
        training=TrainingConfig.model_validate(
            {"steps": 500, "batch_size": 16, "checkpoint_every": 100, **dict(training)}
        ),
        policy=GatePolicy.model_validate({"rules": [{"metric": "ap", "at_least": at_least}]}),
        label_map=LABELS,
        severities=severities(dict(overrides)),
    )


def check(asked, made=None, **rest) -> Feasibility:
    return assess(asked, made or splits(), test_digest=digest("test"), **rest)


def crowded(count: int, split: str):
    boxes = [
        (40.0 * (i % 7), 40.0 * (i // 7), 40.0 * (i % 7) + 35, 40.0 * (i // 7) + 35)
        for i in range(count)
    ]
    return objects_of([boxes] * 4, split=split)  # type: ignore[arg-type]


def test_data_and_settings_that_fit_can_pass():
    answer = check(question())
    assert answer.verdict == "can_pass"
    assert answer.counts == {}
    assert answer.ceilings.oracle.ap == 1.0
    assert [fit.split for fit in answer.resize] == ["train", "val", "test"]
    assert Feasibility.model_validate_json(answer.pretty_json()) == answer


def test_equal_questions_get_equal_answers():
    assert check(question()) == check(question())


def test_one_detection_an_image_can_not_reach_a_high_threshold():
    answer = check(question(0.9, nms={"max_detections": 1}))
    assert answer.verdict == "cannot_pass"
    assert "detections kept" in answer.reasons[0]
    assert answer.counts["rule-out-of-reach"] == 1
    assert answer.counts["too-many-objects"] > 2
    assert {"val", "test"} == {f.split for f in answer.findings if f.code == "too-many-objects"}


def test_strict_suppression_of_boxes_that_overlap_can_not_reach_it_either():
    pair = [(0.0, 0.0, 100.0, 100.0), (15.0, 0.0, 115.0, 100.0)]
    answer = check(question(0.9, nms={"iou_threshold": 0.05}), splits(test=objects_of([pair] * 30)))
    assert answer.verdict == "cannot_pass"
    assert answer.counts["objects-suppressed"] == 30
    assert answer.ceilings.classes[0].losses.suppressed == 30
    assert (answer.ceilings.perfect.ap or 0) < (answer.ceilings.ceiling.ap or 0) < 0.9
    low = check(question(0.45, nms={"iou_threshold": 0.05}), splits(test=objects_of([pair] * 30)))
    assert low.verdict == "at_risk"


def test_anchors_far_too_big_are_a_risk_and_better_ones_are_named():
    answer = check(question(anchors={"aspect_ratios": [1.0], "num_scales": 1, "size": 24.0}))
    assert answer.verdict == "at_risk"
    assert answer.anchors.suggestion is not None
    (finding, *_) = [f for f in answer.findings if f.code == "anchors-miss-boxes"]
    assert "Set detector.anchors to {aspect_ratios: [" in finding.remedy


def test_objects_too_small_after_the_resize_are_named_by_record_smallest_first():
    small = scattered(0, side=(3.0, 30.0), split="train")
    answer = check(question(), splits(train=small))
    found = [f for f in answer.findings if f.code == "small-objects"]
    assert answer.counts["small-objects"] > len(found) == 20
    assert found[0].file.startswith("train")
    assert found[0].record is not None
    assert "Raise detector.input_size" in found[0].remedy


def test_images_fuller_than_training_keeps_are_named():
    answer = check(question(max_instances=10), splits(train=crowded(12, "train")))
    assert answer.counts["too-many-objects"] == 4
    (finding, *_) = [f for f in answer.findings if f.code == "too-many-objects"]
    assert "Set detector.max_instances to 12 or more: 8 boxes" in finding.remedy
    near = check(question(max_instances=12), splits(train=crowded(12, "train")))
    assert "too-many-objects" not in near.counts


def test_boxes_that_share_their_best_anchor_are_told():
    twins = objects_of(
        [[(100.0, 100.0, 112.0, 112.0), (101.0, 100.0, 113.0, 112.0)]] * 12, split="train"
    )
    answer = check(question(), splits(train=twins))
    assert "boxes-without-anchor" in answer.counts


@pytest.mark.parametrize(
    ("code", "settings"),
    [
        ("score-threshold-high", {"nms": {"score_threshold": 0.3}}),
        ("less-than-an-epoch", {"training": {"steps": 60, "batch_size": 1, "checkpoint_every": 10}}),
        ("padding", {"input_size": [128, 512]}),
        ("images-enlarged", {"input_size": [512, 512]}),
    ],
)  # fmt: skip
def test_settings_that_do_not_suit_the_data_have_their_finding(code, settings):
    made = splits(train=scattered(0, images=70, side=(50.0, 100.0), split="train"))
    assert code in check(question(**settings), made).counts
    assert code not in check(question(), made).counts


def test_ground_truth_that_does_not_score_one_is_told():
    flat = objects_of([[(5.0, 5.0, 5.0, 50.0), (60.0, 60.0, 150.0, 150.0)]] * 5)
    answer = check(question(0.2), splits(test=flat))
    assert answer.counts["oracle-below-one"] == 1
    assert answer.verdict == "at_risk"
    assert answer.ceilings.classes[0].losses.unfindable == 5


def test_a_comparison_that_chance_decides_is_information_and_no_risk():
    asked = question()
    rules = [{"metric": "ap", "champion": {"max_drop": 0.0001}}]
    policy = GatePolicy.model_validate({"rules": rules, "no_champion": "pass"})
    answer = check(Question(**{**vars(asked), "policy": policy}))
    assert answer.counts == {"rule-decided-by-chance": 1}
    assert answer.verdict == "can_pass"
    strict = policy.model_copy(update={"confidence": 0.95})
    answer = check(Question(**{**vars(asked), "policy": strict}))
    assert answer.counts == {"rule-at-risk": 1}
    assert answer.verdict == "at_risk"


def estimates(**changes) -> Estimates:
    facts = dict.fromkeys(Estimates.model_fields, 1) | {
        "device": "cpu",
        "device_memory_bytes": None,
    }
    return Estimates.model_validate(facts | changes)


def test_checkpoints_must_fit_on_the_disk():
    full = check(question(), estimates=estimates(disk_bytes=10, free_disk_bytes=9))
    assert "disk-too-small" in full.counts
    assert check(question(), estimates=estimates(disk_bytes=9, free_disk_bytes=9)).counts == {}


def test_a_severity_can_be_changed_or_turned_off_but_not_the_verdict_on_a_rule():
    asked = question(0.9, nms={"max_detections": 1}, overrides={"too-many-objects": "off"})
    answer = check(asked)
    assert "too-many-objects" not in answer.counts
    assert answer.verdict == "cannot_pass"
    calm = question(nms={"score_threshold": 0.3}, overrides={"score-threshold-high": "info"})
    assert check(calm).verdict == "can_pass"


def test_every_finding_of_the_fit_has_its_remedy():
    answer = check(question(0.9, nms={"max_detections": 1, "score_threshold": 0.4}))
    assert all(finding.remedy and finding.expected for finding in answer.findings)

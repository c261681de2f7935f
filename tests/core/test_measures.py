"""What the gate reads off metrics.json, and what it refuses before training."""

import re

import numpy as np
import pytest
from evaluation_cases import digest, label_map, metrics, random_data, shard_result, statistics
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import COCO, canonical, metrics_document
from kfdet.core.measurement import measure
from kfdet.core.measures import check_policy, read, subject_in_words
from kfdet.core.slices import slices_of_every_set
from kfdet.core.uncertainty import Subject, _drawn, measured_values
from kfdet.core.weighted import mean_over_classes, weighted_ap_at_iou, weighted_at_score
from kfdet.errors import ConfigError
from kfdet.schema.base import parse
from kfdet.schema.gate_policy import (
    LOW_IS_GOOD,
    METRICS_AT,
    POLICY_METRICS,
    SLICE_METRIC_NAMES,
    GatePolicy,
    GateRule,
    SliceName,
)
from kfdet.schema.metrics import METRIC_NAMES, CocoSettings, MeasurementConfig
from kfdet.schema.run_config import EvaluationConfig

LABELS = label_map("circle", "square", "triangle")
PLAIN = MeasurementConfig()
SLICES = [
    SliceName(by="box_size", name="below 16 px"),
    SliceName(by="objects_in_image", name="2 to 4"),
    SliceName(by="weather", name="rain"),
]


def measured(seed, *, images=12, ties=True, config=PLAIN):
    data = canonical(random_data(seed, images=images, ties=ties))
    found = measure(data, label_map=LABELS, engine="hotcoco", config=config)
    document = metrics_document(
        found.evaluation, data, shard_result(data), label_map=LABELS, evidence_digest=digest("evidence"),
        details=found.details,
    )  # fmt: skip
    return document, found.evidence


def rule(metric="ap", **more):
    bound = "at_most" if metric in LOW_IS_GOOD else "at_least"
    at = {"at": 0.5} if metric in METRICS_AT else {}
    return GateRule.model_validate({"metric": metric, bound: 0.5} | at | more)


DOCUMENT, _ = measured(1, images=40)
WIDER = MeasurementConfig(
    areas={"tiny": (0, 900), "very_small": (900, 1600)}, max_detections=(1, 3, 200)
)
ADDED = ("ap_tiny", "ar_tiny", "ap_very_small", "ar_very_small", "ar_3", "ar_200")


@pytest.mark.parametrize("class_name", [None, "square"])
@pytest.mark.parametrize("metric", ADDED)
def test_what_the_settings_add_can_be_asked_for(metric, class_name):
    document, evidence = measured(2, images=60, config=WIDER)
    found = read(document, rule(metric, class_name=class_name))
    whole = document.of_class(class_name) if class_name else document
    statistics = whole.metrics if class_name else whole.overall
    assert found.value == statistics.value(metric)
    assert found.boxes == whole.boxes_by_area.get(metric.partition("_")[2], whole.boxes) > 0
    ids = [entry.id for entry in document.classes]
    subject = Subject(metric=metric, class_id=whole.id if class_name else None)
    again = measured_values([subject], evidence, class_ids=ids)[subject]
    assert again == pytest.approx(found.value, abs=1e-12)


def test_what_the_settings_do_not_have_is_refused_before_training_and_fails_after():
    asked = parse(GatePolicy, {"rules": [{"metric": "ap_tny", "at_least": 0.1}]}, where="gate")
    with pytest.raises(ConfigError, match=r'areas has no "tny"\. Did you mean "ap_tiny"'):
        check_policy(
            asked, classes=["circle"], slices={}, features=None, settings=WIDER.settings(),
            where="gate",
        )  # fmt: skip
    missing = read(DOCUMENT, rule("ap_tiny")).missing
    assert 'evaluation.areas has no "tiny"' in missing


@pytest.mark.parametrize("name", ["map50", "ap_", "ar_0", "AP", "ap_5", "ar_at_iou", ""])
def test_what_can_be_no_metric_is_refused_with_the_names_that_there_are(name):
    with pytest.raises(ConfigError, match="no metric is called") as failure:
        parse(GatePolicy, {"rules": [{"metric": name, "at_least": 0.1}]}, where="gate")
    assert "ap50, ap75" in str(failure.value)
    assert "calibration_error" in str(failure.value)


@pytest.mark.parametrize("metric", POLICY_METRICS)
def test_every_metric_of_a_policy_is_in_the_metrics(metric):
    found = read(DOCUMENT, rule(metric))
    assert found.missing == ""
    assert 0 <= found.value <= 1
    area = metric.partition("_")[2]
    assert found.boxes == DOCUMENT.boxes_by_area.get(area, DOCUMENT.boxes)
    if metric != "calibration_error":
        circle = read(DOCUMENT, rule(metric, class_name="circle"))
        assert circle.missing == ""
        own = DOCUMENT.of_class("circle")
        assert circle.boxes == own.boxes_by_area.get(area, own.boxes)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    ties=st.booleans(),
    at=st.integers(0, 100),
    metric=st.sampled_from(
        ["precision", "recall", "f1", "precision_at_recall", "recall_at_precision",
         "calibration_error"]
    ),
    name=st.sampled_from([None, "circle", "triangle"]),
)  # fmt: skip
def test_with_weights_of_one_the_evidence_gives_what_the_metrics_say(seed, ties, at, metric, name):
    document, evidence = measured(seed, images=8, ties=ties)
    more = {"at": at / 100} if metric in METRICS_AT else {}
    name = None if metric == "calibration_error" else name
    ids = [1, 2, 3] if name is None else [{"circle": 1, "triangle": 3}[name]]
    expected = read(document, rule(metric, class_name=name, **more)).value
    ones = np.ones((evidence.images, 1))
    found = weighted_at_score(evidence, ones, metric=metric, at=more.get("at"), class_ids=ids)
    np.testing.assert_allclose(found, [np.nan if expected is None else expected], atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), t=st.integers(0, 9))
def test_ap_at_an_iou_is_that_of_the_metrics(seed, t):
    document, evidence = measured(seed, images=8)
    iou = round(COCO.iou_thresholds[t], 2)
    found = weighted_ap_at_iou(
        evidence, np.ones((evidence.images, 1)), iou=iou, class_ids=[1, 2, 3]
    )[:, 0]
    for k, name in enumerate(("circle", "square", "triangle")):
        expected = read(document, rule("ap_at_iou", at=iou, class_name=name)).value
        np.testing.assert_allclose(found[k], np.nan if expected is None else expected, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), begin=st.integers(0, 190), length=st.integers(1, 60))
def test_columns_do_not_depend_on_their_company(seed, begin, length):
    _, evidence = measured(seed, images=8)
    weights = np.random.default_rng(seed).integers(0, 3, (8, 200)).astype(np.float64)
    for metric, at in (("f1", None), ("precision_at_recall", 0.4), ("calibration_error", None)):
        whole = weighted_at_score(evidence, weights, metric=metric, at=at, class_ids=[1, 2])
        part = weighted_at_score(
            evidence, weights[:, begin : begin + length], metric=metric, at=at, class_ids=[1, 2]
        )
        np.testing.assert_array_equal(part, whole[begin : begin + length])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    metric=st.sampled_from(SLICE_METRIC_NAMES),
    which=st.integers(0, 100),
)
def test_a_slice_of_images_has_the_numbers_that_its_images_alone_have(seed, metric, which):
    document, evidence = measured(seed, images=10)
    parts = [p for p in document.details.slices if p.by == "objects_in_image" and p.boxes]
    if not parts:
        return
    part = parts[which % len(parts)]
    chosen = rule(metric, slice={"by": part.by, "name": part.name})
    score = document.details.errors.score if metric in ("precision", "recall", "f1") else None
    subject = Subject(metric=metric, at=chosen.at, part=(part.by, part.name), score=score)
    values = _drawn([subject], evidence, np.ones((evidence.images, 1)), class_ids=[1, 2, 3])
    expected = read(document, chosen).value
    found = mean_over_classes(values[subject])
    np.testing.assert_allclose(found, [np.nan if expected is None else expected], atol=1e-9)


def test_a_slice_is_read_by_its_name():
    part = next(part for part in DOCUMENT.details.slices if part.boxes)
    where = {"by": part.by, "name": part.name}
    found = read(DOCUMENT, rule("recall", slice=where))
    assert (found.value, found.boxes) == (part.recall, part.boxes)
    lost = read(DOCUMENT, rule("recall", slice={"by": "box_siz", "name": "x"}))
    assert lost.value is None
    assert 'Did you mean "box_size"?' in lost.missing


@pytest.mark.parametrize(
    ("by", "name", "end"),
    [
        ("box_sise", "below 16 px", 'camera. Did you mean "box_size"?'),
        ("box_size", "bellow 16 px", '256 px and more. Did you mean "below 16 px"?'),
        (
            "zzz",
            "below 16 px",
            "expected one of box_size, box_aspect_ratio, objects_in_image, camera.",
        ),
    ],
)
def test_a_slice_that_is_not_there_is_told_in_whole_sentences(by, name, end):
    assert read(DOCUMENT, rule(slice={"by": by, "name": name})).missing.endswith(end)


def test_metrics_of_old_have_no_details_and_say_so():
    found = read(metrics(statistics(0.5)), rule("f1"))
    assert found.value is None
    assert "Run merge or metrics again" in found.missing


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (rule("ap50", class_name="circle"), 'ap50 of "circle"'),
        (rule("precision_at_recall", at=0.9), "precision at recall 0.9"),
        (rule("ap_at_iou", at=0.6, class_name="a"), 'ap at IoU 0.6 of "a"'),
        (rule("ap", slice=SLICES[2].model_dump()), 'ap where weather is "rain"'),
    ],
)
def test_what_a_rule_reads_is_said_in_words(entry, words):
    assert subject_in_words(entry) == words


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"metric": "ap_50", "at_least": 0.5}, 'Did you mean "ap50"?; got'),
        ({"metric": "precision_at_recall", "at_least": 0.5}, "needs `at`: the recall"),
        ({"metric": "precision_at_recall", "at": 0.905, "at_least": 0.5}, "no multiple of 0.01"),
        ({"metric": "ap", "at": 0.5, "at_least": 0.5}, "leave `at` out"),
        ({"metric": "ap", "at_most": 0.5}, "say at_least"),
        ({"metric": "calibration_error", "at_least": 0.5}, "say at_most"),
        ({"metric": "ap_small", "at_least": 0.5, "slice": SLICES[0].model_dump()}, "it has ap,"),
        (
            {"metric": "ap", "at_least": 0.5, "class_name": "a", "slice": SLICES[0].model_dump()},
            "class_name or slice",
        ),
        ({"metric": "ap"}, "needs at_least, champion, or both"),
    ],
)
def test_a_rule_that_no_metrics_could_answer_is_refused_when_it_is_read(entry, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as failure:
        parse(GatePolicy, {"rules": [entry]}, where="gate")
    assert "faults" not in failure.value.what


NARROW = CocoSettings(iou_thresholds=(0.5, 0.75), areas={"small": (0, 100)}, max_detections=(1, 50))


@pytest.mark.parametrize("of", [None, "square"])
@pytest.mark.parametrize("area", ["small", "medium", "large"])
def test_a_metric_of_one_area_rests_on_the_boxes_of_that_area(of, area):
    counts = (DOCUMENT if of is None else DOCUMENT.of_class(of)).boxes_by_area
    for kind in ("ap", "ar"):
        assert read(DOCUMENT, rule(f"{kind}_{area}", class_name=of)).boxes == counts[area]
    assert len(set(counts.values())) > 1


def test_a_metric_without_its_setting_says_so_and_not_that_objects_are_missing():
    narrow = DOCUMENT.model_copy(
        update={
            "settings": NARROW,
            "overall": statistics(**dict.fromkeys(METRIC_NAMES, None)),
        }
    )
    found = read(narrow, rule("ar_100"))
    assert found.missing == "ar_100 is undefined: evaluation.max_detections has no 100."
    assert "no ground truth" in read(narrow, rule("ap_small")).missing


def refuse(*entries, features=("weather",), settings=NARROW):
    check_policy(
        GatePolicy.model_validate({"rules": entries}), classes=["circle", "square"], slices=slices_of_every_set(),
        features=features, settings=settings, where="gate",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (rule(class_name="cirle"), 'no class is called "cirle"'),
        (rule(slice={"by": "whether", "name": "rain"}), 'Did you mean "weather"?'),
        (rule(slice={"by": "box_size", "name": "below 16px"}), 'Did you mean "below 16 px"?'),
        (rule("ap_at_iou", at=0.6), "expected one of 0.5, 0.75"),
        (rule("ap_large"), 'ap_large is not measured: evaluation.areas has no "large"'),
        (rule("ar_100"), "ar_100 is not measured: evaluation.max_detections has no 100"),
    ],
)
def test_a_policy_about_what_there_will_not_be_is_refused_beforehand(entry, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as failure:
        refuse(rule(), entry)
    assert failure.value.where == "gate.rules.1"
    with pytest.raises(ConfigError, match=r"2 rules"):
        refuse(entry, entry)


def test_a_policy_about_what_there_will_be_is_let_through():
    refuse(
        rule(class_name="square"),
        *(rule(slice=part.model_dump()) for part in SLICES),
        rule("ap_at_iou", at=0.75),
        rule("ap75"),
        rule("ar_small"),
        rule("ar_1"),
    )
    refuse(rule(slice={"by": "anything", "name": "at all"}), features=None)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"select_metric": "ar_100", "max_detections": [1, 10, 300]}, "max_detections has no 100"),
        ({"select_metric": "ap_small", "areas": {}}, 'areas has no "small"'),
        ({"select_metric": "ap75", "iou_thresholds": [0.5]}, "iou_thresholds has no 0.75"),
    ],
)
def test_a_checkpoint_can_t_be_selected_by_what_is_not_measured(section, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse(EvaluationConfig, section, where="evaluation")
    EvaluationConfig.model_validate(section | {"select_metric": "ap"})

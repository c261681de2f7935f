"""Advice: none without evidence, and each piece names thresholds and keys that exist."""

import re
from pathlib import Path

import pytest
from evaluation_cases import digest, label_map, random_data, shard_result, statistics
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.advice import advise, with_examples
from kfdet.core.coco import canonical, metrics_document
from kfdet.core.measurement import measure
from kfdet.schema.feasibility import Ceilings, ClassCeilings, Feasibility, Losses
from kfdet.schema.metrics import MeasurementConfig, OperatingPoint, ScoreDetails
from kfdet.schema.run_config import DiagnosisConfig

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
KEYS = set(re.findall(r"^\| `([^`]+)` \|", REFERENCE.read_text(), re.M))
LABELS = label_map("circle", "square", "triangle")
CONFIG = DiagnosisConfig()


def measured(seed, *, images=12):
    data = canonical(random_data(seed, images=images))
    found = measure(data, label_map=LABELS, engine="hotcoco", config=MeasurementConfig())
    return metrics_document(
        found.evaluation, data, shard_result(data), label_map=LABELS, evidence_digest=digest("evidence"),
        details=found.details,
    )  # fmt: skip


BASE = measured(1, images=40)


def changed(*, overall=None, entries=None, boxes=10_000, **details):
    """A faultless evaluation but for what is given."""
    errors = {"score": 0.5, "hits": 900, "false_alarms": {}, "misses": {}, "ap50_gains": {}}
    errors |= details.pop("errors", {})
    found = BASE.details.model_copy(
        update={
            "errors": BASE.details.errors.model_copy(update=errors),
            "slices": (),
            "confusion": BASE.details.confusion.model_copy(
                update={"labels": ("circle", "square", "background"), "matrix": ((9, 0, 0),) * 3}
            ),
        }
        | details
    )
    numbers = dict.fromkeys(("ap", "ap50", "ap75"), 0.9) | (overall or {})
    return BASE.model_copy(
        update={
            "details": found,
            "boxes": boxes,
            "overall": BASE.overall.model_copy(update=numbers),
            "classes": tuple(
                entry.model_copy(
                    update={
                        "boxes": 1000,
                        "metrics": entry.metrics.model_copy(update={"ap50": 0.9}),
                    }
                    | (entries or {}).get(entry.name, {})
                )
                for entry in BASE.classes
            ),
        }
    )


def topics(document, **config):
    return [advice.topic for advice in advise(document, config=DiagnosisConfig(**config))]


def best(recall):
    point = OperatingPoint(score=0.5, precision=0.9, recall=recall, f1=0.9)
    return ScoreDetails(best=point, points=(), precision_at_recall=None, recall_at_precision=None)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(0, 40),
    strict=st.floats(0.01, 0.99),
    confidence=st.sampled_from([0.5, 0.95, 0.99]),
)
def test_no_advice_without_evidence(seed, images, strict, confidence):
    config = DiagnosisConfig(
        confidence=confidence, few_boxes=1 + int(20 * strict), low_recall=strict,
        low_precision=strict, small_behind=strict / 2, duplicates=strict, confusions=strict,
    )  # fmt: skip
    document = measured(seed, images=images)
    for advice in advise(document, config=config):
        assert re.search(r"\d", advice.evidence)
        assert advice.keys
        assert set(advice.keys) <= KEYS
        assert advice.thresholds
        for name, value in advice.thresholds.items():
            assert value == getattr(config, name)
        for share in advice.shares:
            assert 0 <= share.low <= share.value <= share.high <= 1
            assert f"{share.part:,} of {share.total:,}" in advice.evidence
        whole = advice.shares[0] if advice.shares else None
        if advice.topic in ("low_recall", "low_precision"):
            assert whole.high < strict
        elif advice.topic in ("duplicates", "confusions"):
            assert whole.low > strict
        elif advice.topic == "small_objects":
            assert whole.high < advice.shares[1].low - strict / 2
        elif advice.topic == "few_boxes":
            few = [e.name for e in document.classes if e.boxes < config.few_boxes]
            assert few
            assert all(f'"{name}"' in advice.evidence for name in few)


def test_a_faultless_evaluation_gets_no_advice():
    assert topics(changed()) == []


def test_metrics_of_old_get_no_advice():
    assert advise(BASE.model_copy(update={"details": None}), config=CONFIG) == ()


@pytest.mark.parametrize(
    ("cause", "key"),
    [
        ("unseen", "detector.input_size"),
        ("low_score", "training.steps"),
        ("wrong_class", "dataset.train"),
        ("badly_placed", "training.losses.box_weight"),
    ],
)
def test_low_recall_is_put_down_to_its_main_cause(cause, key):
    document = changed(errors={"hits": 500, "misses": {"unseen": 1, "low_score": 1, cause: 400}})
    (advice,) = advise(document, config=CONFIG)
    assert advice.topic == "low_recall"
    assert key in advice.keys
    assert advice.examples[0] == "Misses"


def test_a_handful_of_misses_is_no_low_recall():
    assert topics(changed(errors={"hits": 3, "misses": {"unseen": 3}})) == []
    assert topics(changed(errors={"hits": 300, "misses": {"unseen": 300}})) == ["low_recall"]


def test_low_precision_and_duplicates_come_with_false_alarms():
    document = changed(errors={"hits": 500, "false_alarms": {"duplicate": 450, "background": 50}})
    found = advise(document, config=CONFIG)
    assert [advice.topic for advice in found] == ["low_precision", "duplicates"]
    assert all("detector.nms.iou_threshold" in advice.keys for advice in found)


@pytest.mark.parametrize(
    ("count", "said"),
    [(30, '; the most frequent pair is "circle" taken for "square", 30 times'), (1, "")],
)
def test_confusions_name_the_pair_that_is_more_than_one_object(count, said):
    table = BASE.details.confusion.model_copy(
        update={
            "labels": ("circle", "square", "background"),
            "matrix": ((90, count, 0), (1, 90, 0), (0, 0, 0)),
        }
    )
    alarms = {"wrong_class": 35, "background": 5}
    document = changed(errors={"hits": 900, "false_alarms": alarms}, confusion=table)
    (advice,) = advise(document, config=CONFIG)
    assert advice.topic == "confusions"
    assert advice.evidence.endswith(f"lie on an object of another class{said}.")


def test_a_class_behind_the_others_needs_boxes_enough_and_misses():
    behind = BASE.classes[0].metrics.model_copy(update={"ap50": 0.2})
    scores = {"circle": 0.3, "square": 0.9, "triangle": 0.9}
    classes = tuple(
        entry.model_copy(update={"score": best(scores[entry.name])})
        for entry in BASE.details.classes
    )
    details = {"classes": classes, "score": best(0.8)}
    assert topics(changed(entries={"circle": {"metrics": behind}}, **details)) == ["weak_class"]
    few = changed(entries={"circle": {"metrics": behind, "boxes": 5}}, **details)
    assert topics(few) == ["few_boxes"]


def test_small_objects_behind_large_ones():
    part = BASE.details.slices[0]
    slices = tuple(
        part.model_copy(update={"by": "box_size", "name": name, "boxes": 500, "recall": recall})
        for name, recall in (("below 16 px", 0.2), ("16 to 32 px", 0.4), ("32 to 96 px", 0.9))
    )
    (advice,) = advise(changed(slices=slices), config=CONFIG)
    assert advice.topic == "small_objects"
    assert "30% (300 of 1,000" in advice.evidence
    assert topics(changed(slices=slices), small_behind=0.7) == []


def test_loose_boxes_are_told_from_wrong_classes():
    document = changed(
        overall={"ap50": 0.8, "ap75": 0.2}, errors={"ap_gains": {"Loc": 0.1, "Cls": 0.01}}
    )
    (advice,) = advise(document, config=CONFIG)
    assert advice.topic == "loose_boxes"
    assert advice.finding.endswith("it is the place more than the class.")
    assert "raise ap by 0.100, mending classes by 0.010" in advice.evidence
    other = changed(
        overall={"ap50": 0.8, "ap75": 0.2}, errors={"ap_gains": {"Loc": 0.1, "Cls": 0.11}}
    )
    (advice,) = advise(other, config=CONFIG)
    assert advice.finding == "Objects are found, but their boxes are loose."
    assert topics(changed(overall={"ap50": 0.1, "ap75": 0.01})) == []


def test_only_sections_that_a_report_has_are_linked():
    (advice,) = advise(changed(errors={"hits": 5, "misses": {"unseen": 500}}), config=CONFIG)
    assert with_examples(advice, shown={"Errors"}).examples == ("Errors",)


def foreseen(perfect, *, split_digest=None, **losses):
    counts = {"unfindable": 0, "suppressed": 0, "over_limit": 0} | losses
    numbers = statistics(1.0)
    of_class = ClassCeilings.model_construct(
        id=1, name="circle", boxes=1000, images=100, losses=Losses(**counts), ceiling=numbers,
        perfect=numbers, oracle=numbers,
    )  # fmt: skip
    ceilings = Ceilings.model_construct(
        split="test", split_digest=split_digest or BASE.split_digest, images=100, boxes=1000,
        ceiling=numbers, perfect=statistics(perfect), oracle=numbers, oracle_reasons=(),
        classes=(of_class,),
    )  # fmt: skip
    return Feasibility.model_construct(ceilings=ceilings)


def test_a_ceiling_is_told_with_what_makes_it():
    found = foreseen(0.9, suppressed=80, over_limit=20)
    (advice,) = advise(changed(), config=CONFIG, feasibility=found)
    assert advice.topic == "low_ceiling"
    assert "suppression takes 80, the limit of detections 20" in advice.evidence
    assert advice.keys == ("detector.nms.iou_threshold", "detector.nms.max_detections")
    assert set(advice.keys) <= KEYS
    assert advise(changed(), config=CONFIG, feasibility=foreseen(0.99)) == ()


def test_a_ceiling_of_another_split_is_not_told():
    found = foreseen(0.5, split_digest="f" * 64, suppressed=80)
    assert advise(changed(), config=CONFIG, feasibility=found) == ()

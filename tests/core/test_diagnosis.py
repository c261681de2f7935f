import numpy as np
import pytest
from evaluation_cases import label_map, of_images, random_data
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import (
    Detections,
    EvaluationData,
    GroundTruth,
    Images,
)
from kfdet.core.diagnosis import (
    Diagnosis,
    images_with_false_alarms,
    images_with_misses,
    typical_images,
)
from kfdet.core.measurement import measure
from kfdet.schema.metrics import MeasurementConfig

LABELS = label_map("circle", "square")
OFF = {"none": (0, 0, 0, 0), "loose": (0, 0, 38, 0), "far": (500, 500, 500, 500)}


def scene(
    rows: list[tuple[int, int, float, str]],
    *,
    images: int = 40,
    side: float = 100.0,
    per_class: dict[int, float] | None = None,
) -> EvaluationData:
    """One object in each image; rows are (image, class answered, score, offset of the box)."""
    ids = np.arange(images)
    class_id = ids % 2 + 1
    sides = np.array([(per_class or {}).get(int(c), side) for c in class_id])
    boxes = np.stack([np.zeros(images), np.zeros(images), sides, sides], axis=1)
    seen = [(i, c, s, boxes[i] + np.array(OFF[o])) for i, c, s, o in rows]
    return EvaluationData(
        images=Images(
            image_id=ids,
            source_id=tuple(map(str, ids)),
            file=("f",) * images,
            record=ids,
            width_px=np.full(images, 1000),
            height_px=np.full(images, 1000),
        ),
        ground_truth=GroundTruth(
            image_id=ids,
            class_id=class_id,
            is_crowd=np.zeros(images, np.bool_),
            area=sides**2,
            boxes_xyxy_px=boxes,
        ),
        detections=Detections(
            image_id=np.array([row[0] for row in seen], np.int64),
            class_id=np.array([row[1] for row in seen], np.int64),
            score=np.array([row[2] for row in seen], np.float32),
            boxes_xyxy_px=np.array([row[3] for row in seen], np.float32).reshape(-1, 4),
        ),
    )


def own(image: int) -> int:
    return image % 2 + 1


def diagnosed(data: EvaluationData) -> Diagnosis:
    return measure(data, label_map=LABELS, engine="hotcoco", config=MeasurementConfig()).diagnosis


def findings(data: EvaluationData) -> str:
    return " ".join(advice.finding for advice in diagnosed(data).advice)


PERFECT = [(i, own(i), 0.9, "none") for i in range(40)]


def test_a_perfect_model_gets_no_advice():
    found = diagnosed(scene(PERFECT))
    assert found.advice == ()
    assert found.operating_score == pytest.approx(0.9)
    assert list(found.ap_by_iou.values()) == [pytest.approx(1.0)] * 10
    assert max(found.error_costs.ap50.values()) == 0.0


def test_second_boxes_are_found():
    doubled = PERFECT + [(i, own(i), 0.9, "none") for i in range(10)]
    assert "more than one box" in findings(scene(doubled))


def test_mixed_up_classes_are_named():
    mixed = [(i, 1 if i < 30 else own(i), 0.9, "none") for i in range(40)]
    assert 'most of all "square" taken for "circle"' in findings(scene(mixed))


def test_small_objects_that_are_missed_are_found():
    only_large = [(i, own(i), 0.9, "none") for i in range(40) if own(i) == 1]
    text = findings(scene(only_large, per_class={1: 100.0, 2: 20.0}))
    assert "Small objects are missed" in text


def test_loose_boxes_are_found():
    assert "boxes are loose" in findings(scene([(i, own(i), 0.9, "loose") for i in range(40)]))


def test_a_weak_class_is_named_with_its_evidence():
    weak = [(i, own(i), 0.9, "none") for i in range(40) if own(i) == 1]
    advice = diagnosed(scene(weak)).advice[0]
    assert advice.finding == '"square" is far behind the other classes.'
    assert "ap50 is 0.000 on 20 objects" in advice.evidence


def test_objects_seen_with_low_scores_are_found():
    rows = [(i, own(i), 0.9 if i < 24 else 0.1, "none") for i in range(40)]
    noise = [(i, own(i), 0.2, "far") for i in range(40)] * 2
    assert "seen, with a low score" in findings(scene(rows + noise))


def test_hits_with_low_scores_are_found():
    assert "unsure even where it is right" in findings(
        scene([(i, own(i), 0.1, "none") for i in range(40)])
    )


def test_standard_errors_are_left_out_of_a_set_too_large_for_them(monkeypatch):
    assert diagnosed(scene(PERFECT)).standard_errors is not None
    monkeypatch.setattr("kfdet.core.diagnosis._BOOTSTRAP_DETECTIONS", 39)
    assert diagnosed(scene(PERFECT)).standard_errors is None


def test_classes_with_few_objects_are_named():
    data = scene([(i, own(i), 0.9, "none") for i in range(10)], images=10)
    advice = diagnosed(data).advice
    assert advice[-1].evidence == 'Objects in this set: "circle" 5, "square" 5.'


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(0, 9), crowd=st.sampled_from([0.0, 0.5, 1.0]))
def test_any_evaluation_can_be_diagnosed(seed, images, crowd):
    labels = label_map("circle", "square", "triangle")
    data = random_data(seed, images=images, crowd=crowd)
    found = measure(data, label_map=labels, engine="hotcoco", config=MeasurementConfig()).diagnosis
    for pick in (images_with_misses, images_with_false_alarms, typical_images):
        rows = pick(found, count=4)
        assert len(rows) <= 4
        assert len(set(rows.tolist())) == len(rows)
        assert all(0 <= row < images for row in rows)
    for row in images_with_misses(found, count=4):
        image = found.data.images.image_id[row]
        assert found.outcomes.miss[found.data.ground_truth.image_id == image].any()
    for row in images_with_false_alarms(found, count=4):
        image = found.data.images.image_id[row]
        assert found.outcomes.false_alarm[found.data.detections.image_id == image].any()


def test_without_detections_there_is_no_operating_point():
    data = scene([])
    found = diagnosed(data)
    assert found.operating_score is None
    assert found.outcomes.miss.all()
    assert len(images_with_misses(found, count=3)) == 3
    nothing = diagnosed(of_images(data, []))
    assert nothing.operating_score is None

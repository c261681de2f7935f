import pytest
from evaluation_cases import label_map, of_images, own, random_data, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import (
    EvaluationData,
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


def diagnosed(data: EvaluationData) -> Diagnosis:
    return measure(data, label_map=LABELS, engine="hotcoco", config=MeasurementConfig()).diagnosis


PERFECT = [(i, own(i), 0.9, "none") for i in range(40)]


def test_a_perfect_model_has_no_errors():
    found = diagnosed(scene(PERFECT))
    assert found.operating_score == pytest.approx(0.9)
    assert list(found.ap_by_iou.values()) == [pytest.approx(1.0)] * 10
    assert max(found.error_costs.ap50.values()) == 0.0


def test_standard_errors_are_left_out_of_a_set_too_large_for_them(monkeypatch):
    assert diagnosed(scene(PERFECT)).standard_errors is not None
    monkeypatch.setattr("kfdet.core.diagnosis._BOOTSTRAP_DETECTIONS", 39)
    assert diagnosed(scene(PERFECT)).standard_errors is None


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

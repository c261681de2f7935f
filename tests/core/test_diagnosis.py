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
) -> EvaluationData:
    """One object in each image; rows are (image, class answered, score, offset of the box)."""
    ids = np.arange(images)
    class_id = ids % 2 + 1
    sides = np.full(images, side)
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

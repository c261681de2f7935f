"""No detector exceeds a ceiling: made-up detectors try, under the same suppression and limit."""

import dataclasses

import numpy as np
import pytest
from evaluation_cases import label_map, random_data
from feasibility_cases import DETECTOR, objects_in, objects_of, scattered
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import Detections, EvaluationData, GroundTruth, evaluate
from kfdet.core.feasibility.ceilings import bounds, overlap_with_image
from kfdet.core.feasibility.objects import SplitObjects
from kfdet.core.feasibility.overlaps import paired_iou, same_class_overlaps
from kfdet.core.feasibility.power import made_up
from kfdet.schema.detector_config import NmsConfig
from kfdet.schema.metrics import COCO, METRIC_NAMES, CocoSettings, CocoStatistics

LABELS = label_map("cat", "dog", "emu")
OTHER = CocoSettings(
    iou_thresholds=(0.3, 0.75, 0.9),
    areas={"small": (0.0, 400.0), "large": (400.0, 1e10)},
    max_detections=(1, 2),
)


def ceilings(objects: SplitObjects, labels=LABELS, settings=COCO, **nms: object):
    return bounds(
        objects,
        same_class_overlaps(objects),
        NmsConfig.model_validate(nms),
        label_map=labels,
        settings=settings,
    )


def after_suppression(seen: Detections, nms: NmsConfig, width: int, height: int) -> Detections:
    """Greedy suppression within image and class, then the limit; one box after the other."""
    border = np.array([width, height, width, height], np.float32)
    boxes = np.clip(seen.boxes_xyxy_px, 0, border)
    kept: list[int] = []
    for image in np.unique(seen.image_id):
        mine = np.flatnonzero(seen.image_id == image)
        mine = mine[np.argsort(-seen.score[mine], kind="stable")]
        standing: list[int] = []
        for row in mine.tolist():
            rivals = [k for k in standing if seen.class_id[k] == seen.class_id[row]]
            overlap = paired_iou(
                boxes[rivals].astype(np.float64),
                np.repeat(boxes[[row]], len(rivals), axis=0).astype(np.float64),
            )
            if not (overlap > nms.iou_threshold).any():
                standing.append(row)
        kept += standing[: nms.max_detections]
    rows = np.array(kept, np.int64)
    return Detections(
        image_id=seen.image_id[rows],
        class_id=seen.class_id[rows],
        score=seen.score[rows],
        boxes_xyxy_px=boxes[rows],
    )


def assert_not_above(measured: CocoStatistics, ceiling: CocoStatistics) -> None:
    for name in METRIC_NAMES:
        value, bound = measured.value(name), ceiling.value(name)
        assert (value is None) == (bound is None), name
        if value is not None and bound is not None:
            assert value <= bound + 1e-9, name


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.floats(0.05, 0.95),
    st.integers(1, 8),
    st.floats(0.0, 0.3),
    st.sampled_from([COCO, OTHER]),
)
def test_no_detector_under_these_settings_exceeds_its_ceiling(seed, iou, most, looseness, settings):
    data = random_data(seed, images=5, degenerate=True)
    objects = objects_in(data)
    nms = NmsConfig(iou_threshold=iou, max_detections=most)
    rng = np.random.default_rng(seed)
    truth = data.ground_truth
    # Answers many to an object, on it and beside it, so that suppression has a choice.
    rows = np.repeat(np.arange(len(truth)), 4)
    size = np.tile(truth.boxes_xyxy_px[rows, 2:] - truth.boxes_xyxy_px[rows, :2], (1, 2))
    moved = truth.boxes_xyxy_px[rows] + looseness * size * rng.standard_normal((rows.size, 4))
    order = np.argsort(truth.image_id[rows], kind="stable")
    rows, moved = rows[order], moved[order]
    seen = Detections(
        image_id=truth.image_id[rows],
        class_id=truth.class_id[rows],
        score=rng.random(rows.size).astype(np.float32),
        boxes_xyxy_px=moved.astype(np.float32),
    )
    answered = EvaluationData(
        images=data.images,
        ground_truth=truth,
        detections=after_suppression(seen, nms, 300, 300),
    )
    measured = evaluate(answered, label_map=LABELS, settings=settings)
    bound = ceilings(objects, settings=settings, iou_threshold=iou, max_detections=most)
    assert_not_above(measured.overall, bound.overall)
    for mine, ceiling in zip(measured.per_class, bound.per_class, strict=True):
        assert_not_above(mine, ceiling)


def test_a_detector_can_split_two_equal_objects_up_to_an_overlap_of_three_quarters():
    objects = objects_of([[(0.0, 0.0, 100.0, 100.0)] * 2])
    ceiling = ceilings(objects, label_map("cat"), iou_threshold=0.5).overall
    halves = np.array([[0, 0, 75, 100], [25, 0, 100, 100]], np.float32)
    seen = Detections(
        image_id=np.zeros(2, np.int64),
        class_id=np.ones(2, np.int64),
        score=np.ones(2, np.float32),
        boxes_xyxy_px=halves,
    )
    kept = after_suppression(seen, NmsConfig(iou_threshold=0.5), 300, 300)
    assert len(kept) == 2
    measured = evaluate(
        EvaluationData(images=objects.images, ground_truth=objects.truth, detections=kept),
        label_map=label_map("cat"),
    ).overall
    assert measured.ap75 == ceiling.ap75 == ceiling.ap50 == 1.0
    # Six thresholds with both, four with one of two: 51 of the 101 recall points.
    assert ceiling.ap == pytest.approx((6 + 4 * 51 / 101) / 10)


def test_an_evaluation_at_one_low_overlap_has_the_ceiling_of_that_overlap():
    objects = objects_of([[(0.0, 0.0, 100.0, 100.0)] * 2])
    low = CocoSettings(iou_thresholds=(0.5,))
    found = ceilings(objects, label_map("cat"), low, iou_threshold=0.5)
    assert (found.overall.ap, found.overall.ap75) == (1.0, None)
    high = CocoSettings(iou_thresholds=(0.9,))
    found = ceilings(objects, label_map("cat"), high, iou_threshold=0.5)
    assert found.overall.ap == pytest.approx(51 / 101)
    assert found.recall_50.tolist() == [1.0, 1.0]


def test_few_detections_kept_bound_recall_and_go_to_the_rarest_class_first():
    boxes = [(10.0 + 40 * i, 10.0, 40.0 + 40 * i, 40.0) for i in range(5)]
    objects = objects_of([boxes, boxes[:1]], classes=[[1, 1, 1, 1, 2], [1]])
    labels = label_map("cat", "dog")
    bound = ceilings(objects, labels, max_detections=1)
    assert bound.per_class[0].ar_100 == pytest.approx(2 / 5)
    assert bound.per_class[1].ar_100 == 1.0
    # The first image's one detection goes to the dog, or to a cat: not to both.
    assert bound.overall.ar_100 == pytest.approx((1 / 5 + 1) / 2)


def test_a_metric_without_ground_truth_has_no_ceiling():
    objects = objects_of([[(0.0, 0.0, 100.0, 100.0)]])
    bound = ceilings(objects, label_map("cat", "dog"))
    assert bound.overall.ap_small is None
    assert bound.overall.ap_large == 1.0
    assert bound.per_class[1].ap is None


def test_a_box_beyond_the_border_can_be_found_only_as_far_as_it_is_inside():
    objects = objects_of([[(250.0, 0.0, 350.0, 100.0), (0.0, 0.0, 50.0, 0.0)]])
    assert overlap_with_image(objects) == pytest.approx([0.5, 0.0])
    assert ceilings(objects, label_map("cat")).overall.ap50 == pytest.approx(51 / 101)


def test_more_settings_room_never_lowers_a_ceiling():
    objects = scattered(3, side=(60.0, 120.0), most=12, classes=3)
    earlier = 0.0
    for iou in (0.05, 0.2, 0.4, 0.6, 0.9):
        value = ceilings(objects, iou_threshold=iou).overall.ap or 0.0
        assert value >= earlier - 1e-12
        earlier = value


def test_a_made_up_detector_of_the_power_simulation_stays_below_too():
    objects = scattered(4, classes=3)
    data = made_up(objects, quality=3.5, seed=0)
    seen = after_suppression(data.detections, DETECTOR.nms, 300, 300)
    measured = evaluate(dataclasses.replace(data, detections=seen), label_map=LABELS)
    assert_not_above(measured.overall, ceilings(objects).overall)


def test_crowd_boxes_are_no_objects():
    truth = objects_of([[(0.0, 0.0, 100.0, 100.0)]], crowd=[[True]])
    assert isinstance(truth.truth, GroundTruth)
    assert ceilings(truth, label_map("cat")).overall.ap is None

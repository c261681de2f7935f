"""The ground truth as detections scores 1, or it is said why not."""

import numpy as np
import pytest
from evaluation_cases import label_map
from feasibility_cases import DETECTOR, objects_of, scattered
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.feasibility.oracle import (
    answered_boxes,
    kept_by_settings,
    oracle,
    reasons_below_one,
)
from kfdet.core.feasibility.overlaps import same_class_overlaps
from kfdet.schema.detector_config import NmsConfig

CAT = label_map("cat")


@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 10_000),
    st.sampled_from([(64, 128), (128, 128), (320, 64)]),
    st.booleans(),
)
def test_sound_ground_truth_scores_one(seed, input_size, keep):
    detector = DETECTOR.model_copy(update={"input_size": input_size, "keep_aspect_ratio": keep})
    objects = scattered(seed, images=6, classes=3, side=(2.0, 120.0))
    labels = label_map("cat", "dog", "emu")
    answer = oracle(objects, detector, label_map=labels)
    assert answer.overall.ap == 1.0
    assert list(reasons_below_one(answer, objects, label_map=labels)) == []
    assert np.abs(answered_boxes(objects, detector) - objects.truth.boxes_xyxy_px).max() < 1e-3


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([(5.0, 5.0, 5.0, 50.0), (60.0, 60.0, 90.0, 90.0)], "1 box without area"),
        ([(280.0, 10.0, 320.0, 50.0)], "1 box beyond the border"),
        ([(2.0 * k, 0.0, 2.0 * k + 20.0, 40.0) for k in range(110)], "10 boxes beyond the 100"),
    ],
)
def test_the_reason_is_named_where_it_does_not(boxes, words):
    objects = objects_of([boxes])
    answer = oracle(objects, DETECTOR, label_map=CAT)
    assert answer.overall.ap is not None
    assert answer.overall.ap < 1
    (reason,) = reasons_below_one(answer, objects, label_map=CAT)
    assert reason.startswith(words)


def test_a_box_that_float32_loses_is_named_by_its_class():
    objects = objects_of([[(2.9e6, 2.9e6, 2.9e6 + 0.1, 2.9e6 + 0.1)]], size=(3_000_000, 3_000_000))
    answer = oracle(objects, DETECTOR, label_map=CAT)
    (reason,) = reasons_below_one(answer, objects, label_map=CAT)
    assert "Boxes of cat 0.0000 do not survive the resize" in reason


def test_without_ground_truth_nothing_is_defined():
    objects = objects_of([[], []])
    answer = oracle(objects, DETECTOR, label_map=CAT)
    (reason,) = reasons_below_one(answer, objects, label_map=CAT)
    assert reason.startswith("There is no ground truth box")


def kept(objects, **nms):
    return kept_by_settings(objects, same_class_overlaps(objects), NmsConfig.model_validate(nms))


def test_suppression_takes_one_of_a_pair_of_a_class_and_none_of_two_classes():
    pair = [(0.0, 0.0, 100.0, 100.0), (10.0, 0.0, 110.0, 100.0)]
    objects = objects_of([pair, pair], classes=[[1, 1], [1, 2]])
    found = kept(objects, iou_threshold=0.5)
    assert found.suppressed.tolist().count(True) == 1
    assert found.suppressed[:2].any()
    assert not kept(objects, iou_threshold=0.9).suppressed.any()


def test_suppression_is_given_the_order_that_loses_the_fewest():
    # The middle one of three in a row goes, not its two neighbours.
    row = [(0.0, 0.0, 30.0, 30.0), (10.0, 0.0, 40.0, 30.0), (20.0, 0.0, 50.0, 30.0)]
    found = kept(objects_of([row]), iou_threshold=0.4)
    assert found.suppressed.tolist() == [False, True, False]


def test_only_version_v2_suppresses_at_the_threshold_itself():
    objects = objects_of([[(0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 20.0)]])
    assert not kept(objects, iou_threshold=0.5, version="batched").suppressed.any()
    assert kept(objects, iou_threshold=0.5, version="v2").suppressed.sum() == 1


def test_beyond_the_limit_the_rarest_classes_are_kept():
    boxes = [(10.0 + 40 * i, 10.0, 40.0 + 40 * i, 40.0) for i in range(4)]
    found = kept(objects_of([boxes], classes=[[1, 1, 1, 2]]), max_detections=2)
    assert found.over_limit.sum() == 2
    assert found.kept[3]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0), st.integers(1, 6))
def test_every_box_that_is_no_crowd_has_one_fate(seed, iou, most):
    objects = scattered(seed, images=5, side=(60.0, 150.0), most=8)
    found = kept(objects, iou_threshold=iou, max_detections=most)
    fates = np.stack([found.unfindable, found.suppressed, found.over_limit, found.kept])
    assert (fates.sum(axis=0) == objects.counted).all()
    overlaps = same_class_overlaps(objects)
    standing = overlaps.above(iou, among=found.kept)
    assert len(standing) == 0

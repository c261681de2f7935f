"""Anchors against boxes, with every anchor looked at as the oracle."""

import numpy as np
import pytest
from evaluation_cases import label_map
from feasibility_cases import DETECTOR, objects_of, scattered
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.feasibility.anchor_search import suggest, typical_ratios
from kfdet.core.feasibility.anchors import (
    anchor_boxes,
    anchors_total,
    best_overlaps,
    fit,
    learnt,
    recall_rows,
)
from kfdet.core.feasibility.objects import input_boxes
from kfdet.core.feasibility.overlaps import paired_iou
from kfdet.schema.detector_config import AnchorConfig

LABELS = label_map("cat", "dog")


def with_anchors(**changes: object):
    anchors = DETECTOR.anchors.model_copy(update=changes)
    return DETECTOR.model_copy(update={"anchors": anchors})


def random_boxes(rng, count: int) -> np.ndarray:
    sides = rng.uniform(1, 100, (count, 2))
    corner = rng.uniform(0, 128 - np.minimum(sides, 127))
    return np.clip(np.concatenate([corner, corner + sides], axis=1), 0, 128).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 10_000),
    st.lists(st.floats(0.25, 4.0), min_size=1, max_size=3),
    st.integers(1, 3),
    st.floats(0.5, 8.0),
)
def test_the_best_overlap_is_that_of_the_best_of_all_anchors(seed, ratios, scales, size):
    detector = with_anchors(aspect_ratios=tuple(ratios), num_scales=scales, size=size)
    boxes = random_boxes(np.random.default_rng(seed), 5)
    anchors = anchor_boxes(detector).astype(np.float64)
    assert len(anchors) == anchors_total(detector)
    for box, best in zip(boxes, best_overlaps(boxes, detector), strict=True):
        every = paired_iou(np.repeat(box[None].astype(np.float64), len(anchors), axis=0), anchors)
        assert best == pytest.approx(every.max(), abs=1e-5)


def test_every_box_is_learnt_where_anchors_are_not_shared():
    objects = scattered(0, side=(30.0, 60.0), most=2, split="train")
    found = fit(objects, DETECTOR)
    assert found.looked_at.all()
    assert found.examined.all()
    assert found.trained[found.best_iou >= 0.6].mean() > 0.95


def test_of_boxes_that_share_their_only_anchor_the_first_is_learnt():
    boxes = np.array([[50, 50, 52, 52], [50, 50, 52, 52.5]], np.float32)
    anchors = np.array([[40, 40, 60, 60], [0, 0, 10, 10]], np.float32)
    assert learnt(boxes, anchors).tolist() == [True, False]
    assert learnt(boxes[:1], anchors[1:]).tolist() == [False]
    assert learnt(np.zeros((0, 4), np.float32), anchors).tolist() == []


def test_crowds_boxes_beyond_the_limit_and_boxes_without_area_are_not_trained_on():
    box = (10.0, 10.0, 90.0, 90.0)
    objects = objects_of(
        [[box, (5.0, 5.0, 5.0, 9.0), box, box, box], [box]],
        crowd=[[True, False, False, False, False], [False]],
        split="train",
    )
    found = fit(objects, DETECTOR.model_copy(update={"max_instances": 3}))
    assert found.looked_at.tolist() == [False, False, True, True, False, True]


def test_images_beyond_the_budget_are_left_out_evenly():
    objects = scattered(1, images=40, split="train")
    found = fit(objects, DETECTOR, budget=1e5)
    share = len(np.unique(objects.row[found.examined])) / 40
    assert 0 < share < 1
    assert found.looked_at.all()


def test_rows_tell_classes_and_sizes_apart():
    objects = objects_of(
        [[(0.0, 0.0, 20.0, 20.0), (100.0, 100.0, 220.0, 220.0)]], classes=[[1, 2]], split="train"
    )
    rows = list(recall_rows(fit(objects, DETECTOR), objects, label_map=LABELS))
    assert len(rows) == 3 * 4
    counts = {(row.class_name, row.size): row.boxes for row in rows}
    assert counts[None, "all"] == 2
    assert counts["cat", "small"] == counts["dog", "large"] == 1
    assert counts["cat", "large"] == 0
    empty = next(row for row in rows if row.boxes == 0)
    assert empty.matched is empty.mean_best_iou is empty.trained is None


def boxes_of(objects):
    return input_boxes(objects, DETECTOR)


def test_anchors_far_too_big_get_a_better_suggestion_that_can_be_configured():
    boxes = boxes_of(scattered(2, side=(30.0, 60.0)))
    far = with_anchors(size=16.0)
    suggestion = suggest(boxes, far)
    assert suggestion is not None
    assert suggestion.gain > 0.5
    better = DETECTOR.model_copy(
        update={
            "anchors": AnchorConfig.model_validate(suggestion.anchors.model_dump()),
            "min_level": suggestion.min_level,
            "max_level": suggestion.max_level,
        }
    )
    assert type(better).model_validate(better.model_dump()) == better
    measured = best_overlaps(boxes, better)
    assert float((measured >= 0.5).mean()) == pytest.approx(suggestion.matched)
    assert anchors_total(better) == suggestion.anchors_total


def test_anchors_that_fit_are_left_alone():
    boxes = boxes_of(scattered(2, side=(38.0, 100.0)))
    first = suggest(boxes, with_anchors(size=16.0))
    assert first is not None
    chosen = DETECTOR.model_copy(
        update={
            "anchors": first.anchors, "min_level": first.min_level, "max_level": first.max_level
        }
    )  # fmt: skip
    assert suggest(boxes, chosen) is None


def test_long_boxes_ask_for_long_anchors():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 40, (200, 2))
    boxes = np.concatenate([corner, corner + np.array([16, 80])], axis=1).astype(np.float32)
    suggestion = suggest(boxes, DETECTOR)
    assert suggestion is not None
    assert max(suggestion.anchors.aspect_ratios) > 3
    assert suggestion.matched > 0.9


def test_typical_ratios_lie_where_the_boxes_gather():
    shapes = np.array([[10.0, 10.0]] * 50 + [[30.0, 10.0]] * 50)
    assert typical_ratios(shapes, count=2) == (1.0, 3.0)
    assert typical_ratios(shapes[:50], count=3) == (1.0,)
    assert suggest(np.zeros((0, 4), np.float32), DETECTOR) is None

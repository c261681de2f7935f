"""Overlapping pairs against looking at every pair."""

import itertools

import numpy as np
from evaluation_cases import random_data
from feasibility_cases import objects_in, objects_of
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.feasibility.overlaps import same_class_overlaps


def iou(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@given(st.integers(0, 10_000))
def test_every_overlapping_pair_of_a_class_is_found_once(seed):
    objects = objects_in(random_data(seed, images=4, degenerate=True))
    truth = objects.truth
    expected = {}
    for a, b in itertools.combinations(np.flatnonzero(objects.counted).tolist(), 2):
        same = objects.row[a] == objects.row[b] and truth.class_id[a] == truth.class_id[b]
        value = iou(truth.boxes_xyxy_px[a], truth.boxes_xyxy_px[b]) if same else 0.0
        if value > 0:
            expected[a, b] = value
    overlaps = same_class_overlaps(objects)
    pairs = [tuple(sorted(pair)) for pair in overlaps.pairs.tolist()]
    assert sorted(pairs) == sorted(expected)
    assert np.allclose(overlaps.iou, [expected[pair] for pair in pairs])


def test_crowds_and_other_classes_and_images_do_not_count():
    box = (10.0, 10.0, 50.0, 50.0)
    objects = objects_of(
        [[box, box, box], [box]],
        classes=[[1, 2, 1], [1]],
        crowd=[[False, False, True], [False]],
    )
    assert len(same_class_overlaps(objects).iou) == 0


def test_the_threshold_itself_is_not_above():
    objects = objects_of([[(0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 20.0)]])
    overlaps = same_class_overlaps(objects)
    assert len(overlaps.above(0.5)) == 0
    assert len(overlaps.above(0.49)) == 1
    assert len(overlaps.above(0.49, among=np.array([True, False]))) == 0

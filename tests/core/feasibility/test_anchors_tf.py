"""Our anchors and what they learn, against Model Garden's own."""

import numpy as np
import pytest
from feasibility_cases import DETECTOR
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.feasibility.anchors import anchor_boxes, learnt

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


def detector_of(ratios=(0.5, 1.0, 2.0), scales=3, size=3.0):
    anchors = DETECTOR.anchors.model_copy(
        update={"aspect_ratios": ratios, "num_scales": scales, "size": size}
    )
    return DETECTOR.model_copy(update={"anchors": anchors, "input_size": (96, 128)})


def theirs(detector):
    from official.vision.ops import anchor

    return anchor.build_anchor_generator(
        min_level=detector.min_level,
        max_level=detector.max_level,
        num_scales=detector.anchors.num_scales,
        aspect_ratios=list(detector.anchors.aspect_ratios),
        anchor_size=detector.anchors.size,
    )(image_size=detector.input_size)


@pytest.mark.parametrize("detector", [detector_of(), detector_of((1.0,), 2, 2.5)])
def test_anchors_are_those_of_model_garden_in_the_same_order(detector):
    flat = np.concatenate([level.numpy().reshape(-1, 4) for level in theirs(detector).values()])
    assert np.abs(anchor_boxes(detector) - flat).max() < 1e-4


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_the_boxes_that_anchors_learn_are_those_of_model_gardens_matcher(seed, count):
    import tensorflow as tf
    from official.vision.ops import anchor

    rng = np.random.default_rng(seed)
    detector = detector_of((1.0,), 1, 4.0)
    sides = rng.uniform(2, 40, (count, 2))
    corner = rng.uniform(0, [50, 80], (count, 2))
    boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
    boxes[count // 2 :: 3] = boxes[0]  # some share their best anchor
    numbers = np.arange(1, count + 1, dtype=np.float32)
    labels, *_ = anchor.AnchorLabeler(match_threshold=0.5, unmatched_threshold=0.5).label_anchors(
        theirs(detector), tf.constant(boxes), tf.constant(numbers[:, None])
    )
    seen = {int(n) for level in labels.values() for n in np.unique(level.numpy()) if n > 0}
    ours = learnt(boxes, anchor_boxes(detector))
    assert {i + 1 for i in np.flatnonzero(ours)} == seen

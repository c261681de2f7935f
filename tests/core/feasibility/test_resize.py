"""What the resize makes of images and boxes."""

import numpy as np
import pytest
from evaluation_cases import label_map
from feasibility_cases import DETECTOR, objects_of
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.feasibility.objects import input_boxes
from kfdet.core.feasibility.resize import class_sizes, histogram, resize_fit, tiny

BOX = (100.0, 100.0, 200.0, 300.0)


def test_padding_scale_and_shapes_of_a_wide_image():
    found = resize_fit(objects_of([[BOX]], size=(640, 320)), DETECTOR)
    assert found.padding_share == pytest.approx(0.5)
    assert found.mean_scale == pytest.approx(0.2)
    assert (found.reduced, found.enlarged) == (1, 0)
    assert found.most_boxes == 1
    (width_by_height,) = found.width_by_height.counts
    assert width_by_height == 1
    assert found.width_by_height.edges[0] <= 0.5 <= found.width_by_height.edges[1]
    assert found.height_by_width.edges[0] <= 2 <= found.height_by_width.edges[1]


def test_stretched_images_have_no_padding_and_other_shapes():
    stretched = DETECTOR.model_copy(update={"keep_aspect_ratio": False})
    objects = objects_of([[BOX]], size=(640, 320))
    assert resize_fit(objects, stretched).padding_share == 0
    assert np.allclose(input_boxes(objects, stretched)[0], [40, 20, 120, 40])


def test_boxes_that_all_but_vanish_are_counted_and_crowds_are_not():
    boxes = [(0.0, 0.0, 19.0, 100.0), (0.0, 0.0, 21.0, 100.0), (0.0, 0.0, 5.0, 5.0)]
    objects = objects_of([boxes], crowd=[[False, False, True]], size=(640, 640))
    assert tiny(objects, DETECTOR).tolist() == [True, False, False]
    assert resize_fit(objects, DETECTOR).tiny_boxes == 1


@pytest.mark.parametrize(("split", "crowded"), [("train", 1), ("test", 0)])
def test_each_split_has_the_limit_of_its_use(split, crowded):
    objects = objects_of([[BOX] * 3, [BOX]], split=split)
    detector = DETECTOR.model_copy(update={"max_instances": 2})
    assert resize_fit(objects, detector).crowded_images == crowded


def test_classes_have_their_own_sizes():
    objects = objects_of([[BOX, BOX]], classes=[[1, 2]])
    first, second, third = class_sizes(objects, DETECTOR, label_map=label_map("a", "b", "c"))
    assert (first.boxes, second.boxes, third.boxes) == (1, 1, 0)
    assert sum(first.box_side_px.counts) == 1
    assert sum(third.box_side_px.counts) == 0


@given(st.lists(st.floats(0, 1e5), max_size=30))
def test_a_histogram_loses_nothing(values):
    found = histogram(np.array(values), np.array([0.0, 1.0, 10.0, 100.0]))
    assert sum(found.counts) == len(values)

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kfdet.core.shapes import MAX_OBJECTS, shapes_image


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 2), st.integers(0, 10_000))
def test_boxes_lie_in_the_image_and_none_is_tiny(seed: int, split: int, index: int):
    drawn = shapes_image(seed=(seed, split, index))
    boxes = drawn.boxes_xyxy_px
    assert 1 <= len(boxes) <= MAX_OBJECTS
    assert len(boxes) == len(drawn.class_ids)
    assert boxes.min() >= 0
    assert boxes.max() <= 128
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 12


def test_equal_seeds_give_equal_bytes_and_others_do_not():
    one, again, other = (shapes_image(seed=s) for s in ((0, 0, 1), (0, 0, 1), (0, 0, 2)))
    assert one.jpeg == again.jpeg
    assert one.jpeg != other.jpeg


@pytest.mark.parametrize("size", [64, 128, 300])
def test_images_have_the_size_asked_for(size: int):
    drawn = shapes_image(seed=(1, 2, 3), size_px=size)
    with Image.open(io.BytesIO(drawn.jpeg)) as image:
        assert image.size == (size, size)
        assert image.format == "JPEG"


def test_a_box_holds_its_shape():
    """Within a box the image changes where the shape begins: the box is tight, to a pixel."""
    tight = 0
    for index in range(40):
        drawn = shapes_image(seed=(5, 0, index), size_px=256)
        pixels = np.asarray(Image.open(io.BytesIO(drawn.jpeg)).convert("RGB"), dtype=np.float64)
        for (xmin, ymin, xmax, _), kind in zip(drawn.boxes_xyxy_px, drawn.class_ids, strict=True):
            if kind != 1 or ymin < 6:
                continue
            # The top of a circle is in the middle of its box's upper side.
            column = int((xmin + xmax) / 2)
            above = pixels[int(ymin) - 4, column]
            below = pixels[int(ymin) + 4, column]
            tight += np.abs(above - below).sum() > 40
            tight -= np.abs(above - below).sum() <= 40
    assert tight > 20


def test_the_classes_are_balanced():
    counts = np.zeros(4, dtype=int)
    for index in range(150):
        np.add.at(counts, shapes_image(seed=(0, 0, index), size_px=64).class_ids, 1)
    assert counts[0] == 0
    assert counts[1:].min() > 0.7 * counts[1:].max()

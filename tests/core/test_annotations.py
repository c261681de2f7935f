from __future__ import annotations

import math

import numpy as np
import pytest
from dataset_cases import encoded, noise
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.annotations import AnnotatedImage, ObjectAnnotation, convert_image, listing

IMAGE = encoded(noise(64, 48))


def item(*box: float, name: str = "cat", **more: object) -> ObjectAnnotation:
    return ObjectAnnotation(place="object 1", class_name=name, box_xyxy_px=box, **more)


def convert(*objects: ObjectAnnotation, image: bytes = IMAGE, size=(64, 48), faulty: str = "drop"):
    annotated = AnnotatedImage(file_name="a.jpg", source_id="a", size_px=size, objects=objects)
    return convert_image(
        annotated, encoded=image, class_ids={"cat": 1, "dog": 2}, faulty=faulty, where="a.jpg"
    )


def test_a_box_becomes_shares_of_the_image():
    found = convert(item(16, 12, 32, 48, name="dog", is_difficult=True))
    record = found.record
    assert not found.notes
    assert record.boxes_yxyx_norm.tolist() == [[0.25, 0.25, 1.0, 0.5]]
    assert record.class_ids.tolist() == [2]
    assert record.class_texts == ("dog",)
    assert record.area_px.tolist() == [16 * 36]
    assert record.is_difficult.tolist() == [True]
    assert (record.format, record.width_px, record.height_px) == ("jpeg", 64, 48)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((5, 5, 5, 9), "no_area"),
        ((5, 5, 5, 5), "no_area"),
        ((9, 5, 6, 9), "inverted"),
        ((64, 5, 80, 9), "outside_image"),
        ((-9, 5, 0, 9), "outside_image"),
    ],
)
def test_a_box_without_area_in_the_image_is_dropped_and_named(box: tuple, reason: str):
    found = convert(item(*box), item(1, 1, 9, 9))
    assert found.record.num_boxes == 1
    (note,) = found.notes
    assert (note.change, note.reason, note.annotated.box_xyxy_px) == ("dropped", reason, box)


def test_a_box_beyond_the_border_is_clipped_and_named():
    found = convert(item(-2, 10, 70, 20))
    assert found.record.boxes_xyxy_px()[0, [0, 2]].tolist() == [0, 64]
    assert [(n.change, n.reason) for n in found.notes] == [("clipped", "beyond_border")]


def test_faulty_boxes_can_be_kept_for_a_validator_to_find():
    found = convert(item(5, 5, 5, 9), item(-2, 10, 70, 20), faulty="keep")
    assert not found.notes
    assert found.record.num_boxes == 2
    assert found.record.boxes_xyxy_px()[1, 2] == pytest.approx(70)


sides = st.integers(-20, 100)


@given(st.lists(st.tuples(sides, sides, sides, sides), max_size=6))
def test_every_box_is_in_the_record_or_named(boxes: list[tuple]):
    found = convert(*(item(*map(float, box)) for box in boxes))
    dropped = sum(note.change == "dropped" for note in found.notes)
    assert found.record.num_boxes + dropped == len(boxes)
    kept = found.record.boxes_yxyx_norm
    assert np.isfinite(kept).all()
    assert ((kept >= 0) & (kept <= 1)).all()
    assert (kept[:, 2:] > kept[:, :2]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": b"rubbish"}, "no image"),
        ({"image": encoded(noise(), "GIF")}, "is GIF, expected JPEG, PNG or BMP"),
        ({"size": (640, 480)}, "say 640 x 480 pixels, the image has 64 x 48"),
        ({"size": (48, 64)}, "rotated"),
    ],
)
def test_an_image_that_is_not_as_annotated_is_a_fault(arguments: dict, message: str):
    found = convert(item(1, 1, 9, 9), **arguments)
    assert found.record is None
    assert message in found.faults[0].what


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_an_undeclared_size_is_that_of_the_image(size: tuple | None):
    assert convert(item(1, 1, 9, 9), size=size).record.width_px == 64


def test_all_faults_of_an_image_are_collected():
    found = convert(item(1, 1, math.nan, 9), item(1, 1, 9, 9, name="cow"), item(1, 1, math.inf, 3))
    assert [fault.what for fault in found.faults] == [
        "object 1: box [1, 1, nan, 9] is not finite",
        'object 1: class "cow" is not in the label map',
        "object 1: box [1, 1, inf, 3] is not finite",
    ]


def test_long_lists_of_faults_are_cut_with_their_number():
    found = convert(*(item(1, 1, 9, 9, name="cow") for _ in range(60)))
    assert listing(found.faults).endswith("... and 10 more")

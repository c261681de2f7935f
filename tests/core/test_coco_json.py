from __future__ import annotations

import json

import pytest

from kfdet.core.coco_json import parse_coco


def coco(**changes: object) -> dict:
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 90,
                "bbox": [1, 2, 10, 20],
                "area": 150,
                "iscrowd": 1,
            }
        ],
        "categories": [{"id": 90, "name": "cat"}],
        **changes,
    }


def annotation(**changes: object) -> dict:
    return {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 10, 20], **changes}


def test_boxes_become_corners_and_keep_crowd_and_area():
    found = parse_coco(json.dumps(coco()), where="i.json")
    assert not found.faults
    assert found.categories == {90: "cat"}
    (image,) = found.images
    assert (image.source_id, image.file_name, image.size_px) == ("7", "a.jpg", (64, 48))
    (item,) = image.objects
    assert item.box_xyxy_px == (1, 2, 11, 22)
    assert (item.is_crowd, item.area_px, item.place) == (True, 150, "annotation 1")


def test_images_without_annotations_are_kept():
    found = parse_coco(json.dumps(coco(annotations=[])), where="")
    assert [image.objects for image in found.images] == [()]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "is a list"),
        ({"images": []}, "has no list annotations and no list categories"),
        (coco(annotations=[annotation(image_id=8)]), "image_id 8 is no image"),
        (coco(annotations=[annotation(category_id=1)]), "category_id 1 is no category"),
        (coco(annotations=[annotation(category_id="90")]), "category_id '90' is no category"),
        (
            coco(annotations=[annotation(), annotation()]),
            "annotation 1: the id is given more than once",
        ),
        (coco(annotations=[annotation(bbox=[1, 2, 3])]), "expected [x, y, width, height]"),
        (coco(annotations=[annotation(bbox=[1, 2, 3, float("nan")])]), "all finite"),
        (
            coco(annotations=[annotation(bbox=None, segmentation={"counts": "x"})]),
            "has a segmentation but no bbox",
        ),
        (coco(annotations=[{"id": None}]), "id is None"),
        (coco(images=[{"id": 7}]), "file_name is None"),
        (
            coco(images=[{"id": 7, "file_name": "a"}, {"id": 8, "file_name": "a"}]),
            "is that of image 7 too",
        ),
        (coco(categories=[{"id": 90, "name": ""}]), "name is ''"),
        (
            coco(categories=[{"id": 90, "name": "a"}, {"id": 91, "name": "a"}]),
            "given more than once",
        ),
    ],
)
def test_what_no_record_can_represent_is_a_fault(data: object, message: str):
    found = parse_coco(json.dumps(data), where="i.json")
    assert any(message in fault.what for fault in found.faults), found.faults
    assert {fault.where for fault in found.faults} == {"i.json"}


def test_text_that_is_no_json_is_a_fault():
    assert "no JSON" in parse_coco("{", where="").faults[0].what
    assert "no JSON" in parse_coco(b"\xff\xfe\xff", where="").faults[0].what

from __future__ import annotations

import pytest

from kfdet.core.annotations import ObjectAnnotation
from kfdet.core.voc import parse_image_set, parse_voc


def xml(objects: str = "", *, size: str = "<width>640</width><height>480</height>") -> bytes:
    return f"<annotation><filename>a/b\\c.jpg</filename><size>{size}</size>{objects}</annotation>".encode()


def obj(name: str = "cat", box: str = "1 2 30 40", more: str = "") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=False)
    inner = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{name}</name>{more}<bndbox>{inner}</bndbox></object>"


def read(text: bytes, pixels: str = "as_given"):
    return parse_voc(text, source_id="id", pixels=pixels, where="f.xml")


def test_objects_are_read_with_their_boxes_as_given():
    found = read(xml(obj(more="<difficult>1</difficult>") + obj("dog", "0 0 640 480.5")))
    assert not found.faults
    assert found.image.size_px == (640, 480)
    assert found.image.file_name == "c.jpg"
    assert found.image.objects == (
        ObjectAnnotation(
            place="object 1", class_name="cat", box_xyxy_px=(1, 2, 30, 40), is_difficult=True
        ),
        ObjectAnnotation(place="object 2", class_name="dog", box_xyxy_px=(0, 0, 640, 480.5)),
    )


def test_inclusive_pixels_counted_from_one_lose_one_at_the_low_sides():
    found = read(xml(obj(box="1 2 30 40")), "one_based_inclusive")
    assert found.image.objects[0].box_xyxy_px == (0, 1, 30, 40)


def test_boxes_of_parts_are_not_boxes_of_the_object():
    part = "<part><name>head</name><bndbox><xmin>5</xmin></bndbox></part>"
    found = read(xml(obj(more=part)))
    assert not found.faults
    assert len(found.image.objects) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no XML"),
        (b"<annotation>", "no XML"),
        (b"<html></html>", "begins with <html>"),
        (xml(obj(name=" ")), "object 1: has no <name>"),
        (xml(obj(box="1 2 x 40")), 'object 1: xmax is "x"'),
        (xml(obj(box="1 2 3")), "object 1: ymax is missing"),
        (xml(size="<width>a</width><height>2</height>"), "expected whole pixels"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "<!DOCTYPE>"),
        (
            '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY x "y">]><annotation/>'.encode(
                "utf-16"
            ),
            "<!DOCTYPE>",
        ),
        (
            b'<!DOCTYPE z [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>',
            "<!DOCTYPE>",
        ),
        (b"<annotation>&undefined;</annotation>", "no XML"),
    ],
)
def test_what_cannot_be_read_is_a_fault_that_names_the_file(text: bytes, message: str):
    found = read(text)
    assert found.faults
    assert found.faults[0].where == "f.xml"
    assert message in found.faults[0].what


def test_all_faults_of_a_file_are_collected():
    found = read(xml(obj(name="") + obj(box="a b 3 4") + obj()))
    assert len(found.faults) == 3
    assert len(found.image.objects) == 1


def test_a_missing_size_is_no_fault():
    assert read(b"<annotation/>").image.size_px is None


def test_an_image_set_is_its_first_column():
    assert parse_image_set("a\nb  -1\n\n c 1\r\n") == ("a", "b", "c")

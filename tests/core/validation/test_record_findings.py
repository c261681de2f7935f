"""Every finding that one record can cause: a record that triggers exactly it, and near misses that don't."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from dataset_cases import encoded, examine_record, features, noise, payload, with_image
from PIL import Image

from kfdet.core.example import serialise_example
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.catalogue import BY_CODE

NAMES = Names(aliases={1: ("cat",), 2: ("dog",)})
BOX = (0.1, 0.2, 0.6, 0.7)
F32 = np.float32


def codes(record: bytes, names: Names | None = NAMES) -> list[str]:
    return [fault.code for fault in examine_record(record, names=names).faults]


def one(*box: float, **changes: object) -> bytes:
    return payload(boxes=[box], **changes)


def labelled(ids: list[int], texts: list[str] | None) -> bytes:
    return payload(
        boxes=[BOX, (0.3, 0.1, 0.9, 0.4)][: len(ids)],
        object__class__label=np.array(ids, np.int64),
        object__class__text=None if texts is None else [t.encode() for t in texts],
    )


def areas(*values: float) -> bytes:
    return one(0.0, 0.0, 0.5, 0.5, object__area=np.array(values, F32))  # 32 x 24 = 768 pixels


def two_areas(*values: float) -> bytes:
    boxes = [(0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)]
    return payload(boxes=boxes, object__area=np.array(values, F32))


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[274] = orientation
    return with_image(noise(), exif=tags)


def cut(lost: int) -> bytes:
    whole = encoded(noise())
    return payload(encoded=[whole[: len(whole) - lost]])


def huge() -> bytes:
    header = bytearray(encoded(noise(), "PNG"))
    header[16:24] = (20_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    return payload(encoded=[bytes(header)], format=[b"png"])


def colours_of_16_bits() -> bytes:
    levels = np.asarray(noise(), dtype=">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    head = b"IHDR" + struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0)
    parts = (head, b"IDAT" + zlib.compress(rows), b"IEND")
    chunks = (struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts)
    return payload(encoded=[b"\x89PNG\r\n\x1a\n" + b"".join(chunks)], format=[b"png"])


def many(count: int) -> bytes:
    # A crowd, since every two single objects in one place are a finding of their own.
    return payload(boxes=[BOX] * count, object__is_crowd=np.ones(count, np.int64))


GREY_OF_16_BITS = Image.fromarray(np.asarray(noise().convert("L"), dtype=np.uint16) * 257)
BLANK = Image.new("RGB", (64, 48), (90, 120, 30))
NEARLY_BLANK = BLANK.copy()
NEARLY_BLANK.paste((255, 255, 255), (10, 10, 30, 30))
# Both of grey level 76.
EQUALLY_BRIGHT = Image.new("RGB", (64, 48), (255, 0, 0))
EQUALLY_BRIGHT.paste((0, 129, 0), (16, 16, 48, 48))

TRIGGERS = {
    "record-not-example": b"\xff\xff\xff",
    "field-missing": payload(object__bbox__ymax=None),
    "field-type": payload(height=np.array([48.0], F32)),
    "field-length": payload(object__is_crowd=np.zeros(3, np.int64)),
    "source-id-empty": payload(source_id=[b" "]),
    "area-not-finite": areas(float("nan")),
    "area-implausible": areas(900),
    "image-undecodable": payload(encoded=[b"\xff\xd8\xff rubbish"]),
    "image-truncated": cut(2),
    "image-format-unsupported": with_image(noise(), "WEBP"),
    "image-too-large": huge(),
    "image-size-mismatch": payload(height=np.array([64]), width=np.array([48])),
    "image-size-missing": payload(height=None),
    "image-extreme-shape": with_image(noise(1500, 20)),
    "image-format-mismatch": payload(format=[b"png"]),
    "image-exif-rotated": exif(6),
    "image-blank": with_image(BLANK),
    "image-small": with_image(noise(40, 12)),
    "image-mode-unusual": with_image(noise().convert("L")),
    "box-not-finite": one(0.1, 0.2, float("nan"), 0.7),
    "box-inverted": one(0.6, 0.2, 0.1, 0.7),
    "box-no-area": one(0.1, 0.2, 0.1, 0.7),
    "box-pixel-coordinates": one(10, 20, 30, 40),
    "box-beyond-border": one(0.1, 0.2, 0.6, 1.04),
    "box-duplicate": payload(boxes=[BOX, (0.3, 0.1, 0.9, 0.4), BOX]),
    "box-near-duplicate": payload(boxes=[BOX, (0.3, 0.1, 0.9, 0.4), (0.1, 0.2, 0.6, 0.72)]),
    "box-two-classes": payload(boxes=[BOX, BOX]),
    "box-tiny": one(0.1, 0.2, 0.6, 0.22),
    "box-whole-image": one(0.0, 0.0, 1.0, 1.0),
    "boxes-too-many": many(10_001),
    "group-of-ignored": one(*BOX, object__group_of=np.array([1])),
    "difficult-ignored": one(*BOX, object__difficult=np.array([1])),
    "class-id-zero": labelled([0], None),
    "class-id-unknown": labelled([3], None),
    "class-text-disagrees": labelled([1], ["dog"]),
    "class-text-spelling": labelled([1], ["Cat"]),
}  # fmt: skip


@pytest.mark.parametrize("code", TRIGGERS)
def test_a_record_with_one_fault_has_that_finding_alone(code: str):
    assert codes(TRIGGERS[code]) == [code]


def test_every_code_of_records_images_boxes_and_classes_has_its_trigger():
    over_the_set = {
        "source-id-doubled",
        "source-id-not-integer",
        "class-off-by-one",
        "class-absent",
        "class-imbalance",
        "boxes-misplaced",
    }
    groups = ("record", "image", "boxes", "classes")
    expected = {code for code, check in BY_CODE.items() if check.group in groups}
    assert set(TRIGGERS) == expected - over_the_set


NEAR_MISSES = {
    "record-not-example": [payload()],
    "field-missing": [
        payload(format=None, filename=None, object__is_crowd=None, object__class__text=None),
        payload(boxes=[]),
        serialise_example({k: v for k, v in features(boxes=[]).items() if "object" not in k}),
    ],
    "field-type": [payload(boxes=[], object__area=np.zeros(0, F32)), payload(surplus=np.ones(3, F32))],
    "field-length": [payload(object__area=np.zeros(0, F32)), labelled([1, 2], None)],
    "source-id-empty": [payload(source_id=[b"0"])],
    "area-not-finite": [areas(300), areas(0)],
    "area-implausible": [areas(300), areas(768), areas(0), two_areas(0, 0), two_areas(768, 2)],
    "image-undecodable": [with_image(noise(), "PNG"), with_image(noise(), "BMP")],
    "image-truncated": [payload(encoded=[encoded(noise()) + b"\0\0"])],
    "image-format-unsupported": [with_image(noise(), progressive=True)],
    "image-too-large": [with_image(noise(1200, 900))],
    "image-size-mismatch": [payload()],
    "image-size-missing": [payload()],
    "image-extreme-shape": [with_image(noise(1280, 20))],
    "image-format-mismatch": [payload(format=[b"JPG"]), payload(format=[b""])],
    "image-exif-rotated": [exif(1)],
    "image-blank": [
        with_image(NEARLY_BLANK),
        with_image(EQUALLY_BRIGHT, "PNG"),
        with_image(EQUALLY_BRIGHT, quality=95, subsampling=0),
    ],
    "image-small": [with_image(noise(40, 16))],
    "image-mode-unusual": [with_image(noise(), "PNG")],
    "box-not-finite": [one(0.0, 0.0, 0.5, 1.0)],
    "box-inverted": [one(0.1, 0.25, 0.6, 0.25 + 2 / 64)],
    "box-no-area": [one(0.1, 0.25, 0.1 + 3 / 48, 0.7)],
    "box-pixel-coordinates": [one(0.0, 0.0, 0.5, 1.0)],
    "box-beyond-border": [
        one(0.0, 0.0, 0.5, np.nextafter(F32(1), F32(2))),
        one(-0.4 / 48, 0.1, 0.5, 1 + 0.4 / 64),
    ],
    "box-duplicate": [payload(boxes=[BOX, BOX], object__is_crowd=np.array([0, 1]))],
    "box-near-duplicate": [payload(boxes=[BOX, (0, 0, 0.1, 0.1), (0.1, 0.2, 0.5, 0.7)])],
    "box-two-classes": [payload(boxes=[BOX, (0.1, 0.2, 0.6, 0.71)])],
    "box-tiny": [one(0.1, 0.25, 0.6, 0.25 + 2 / 64)],
    "box-whole-image": [one(0.0, 0.0, 0.97, 1.0)],
    "boxes-too-many": [many(10_000)],
    "group-of-ignored": [
        one(*BOX, object__group_of=np.array([0])),
        one(*BOX, object__group_of=np.zeros(0, np.int64)),
    ],
    "difficult-ignored": [one(*BOX, object__difficult=np.array([0]))],
    "class-id-zero": [labelled([1], None)],
    "class-id-unknown": [labelled([1, 2], None)],
    "class-text-disagrees": [labelled([2], ["dog"])],
    "class-text-spelling": [labelled([1], ["cat"]), labelled([1], None)],
}  # fmt: skip


@pytest.mark.parametrize("code", NEAR_MISSES)
def test_a_record_that_misses_a_finding_narrowly_has_none(code: str):
    assert [codes(record) for record in NEAR_MISSES[code]] == [[]] * len(NEAR_MISSES[code])


def test_every_trigger_has_its_near_miss():
    assert set(NEAR_MISSES) == set(TRIGGERS)


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (areas(0.19), "area-implausible"),
        (areas(-1), "area-implausible"),
        (two_areas(0, 700), "area-implausible"),
        (two_areas(768, 0), "area-implausible"),
        (areas(float("inf")), "area-not-finite"),
        (areas(float("-inf")), "area-not-finite"),
        (one(0.1, 0.2, 0.6, float("inf")), "box-not-finite"),
        (one(0.1, 0.2, 0.6, 0.2), "box-no-area"),
        (one(0.1, 0.7, 0.6, 0.2), "box-inverted"),
        (one(-0.1, 0.2, 0.6, 0.7), "box-beyond-border"),
        (one(1.2, 1.2, 1.5, 1.6), "box-beyond-border"),
        (cut(1), "image-truncated"),
        (with_image(noise(), "GIF"), "image-format-unsupported"),
        (with_image(noise(), "TIFF"), "image-format-unsupported"),
        (with_image(noise().convert("RGBA"), "PNG"), "image-mode-unusual"),
        (with_image(noise().convert("CMYK")), "image-mode-unusual"),
        (with_image(noise().convert("P"), "PNG"), "image-mode-unusual"),
        (with_image(GREY_OF_16_BITS, "PNG"), "image-mode-unusual"),
        (colours_of_16_bits(), "image-mode-unusual"),
        (with_image(BLANK, "PNG"), "image-blank"),
        (with_image(BLANK, quality=20), "image-blank"),
        (payload(encoded=[b""]), "image-undecodable"),
        (payload(encoded=None), "field-missing"),
        (payload(encoded=[b"a", b"b"]), "field-length"),
        (payload(source_id=None), "field-missing"),
        (payload(height=None, width=None), "image-size-missing"),
        (payload(height=np.zeros(0, np.int64)), "field-length"),
        (payload(source_id=np.array([7])), "field-type"),
        (payload(boxes=[], object__area=np.zeros(0, np.int64)), "field-type"),
        (labelled([-1], None), "class-id-unknown"),
        (labelled([2], ["cow"]), "class-text-disagrees"),
    ],
)
def test_other_forms_of_a_fault_are_found_too(record: bytes, code: str):
    assert codes(record) == [code]


def test_without_a_label_map_classes_are_not_checked():
    assert codes(labelled([9], ["cow"]), names=None) == []


def test_a_finding_says_which_box_what_was_seen_and_what_was_expected():
    record = payload(boxes=[BOX, (0.1, 0.2, 0.1, 0.7)])
    (fault,) = examine_record(record, names=NAMES).faults
    assert fault.seen == "box 1 (dog): ymin 0.1, xmin 0.2, ymax 0.1, xmax 0.7"
    assert fault.expected == "ymin < ymax and xmin < xmax"
    assert fault.boxes == (1,)


def test_swapped_sides_of_an_image_are_said_to_be_swapped():
    (fault,) = examine_record(TRIGGERS["image-size-mismatch"], names=NAMES).faults
    assert "the image's sides swapped" in fault.seen


def test_several_faults_are_all_found():
    record = payload(
        boxes=[(0.1, 0.2, 0.1, 0.7), (10, 20, 30, 40)], source_id=[b""], encoded=[encoded(BLANK)]
    )
    assert set(codes(record)) == {
        "source-id-empty",
        "image-blank",
        "box-no-area",
        "box-pixel-coordinates",
    }


def test_facts_count_all_boxes_and_measure_the_sound_ones():
    facts = examine_record(payload(boxes=[BOX, (0.1, 0.2, 0.1, 0.7)]), names=NAMES).facts
    assert facts.num_boxes == 2
    np.testing.assert_allclose(
        facts.boxes_xyxy_px, [[0.2 * 64, 0.1 * 48, 0.7 * 64, 0.6 * 48]], rtol=1e-6
    )

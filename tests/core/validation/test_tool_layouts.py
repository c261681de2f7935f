"""What other tools write is taken as it is, and read as TensorFlow's decoder reads it."""

from __future__ import annotations

import numpy as np
import pytest
from dataset_cases import encoded, examine_record, features, noise, with_image
from PIL import Image
from tool_layouts import LAYOUTS, TOLD

from kfdet.core.detection_record import parse_record
from kfdet.core.example import serialise_example
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.catalogue import BY_CODE

NAMES = Names(aliases={1: ("cat",), 2: ("dog",)})


def codes(record: bytes) -> list[str]:
    return [fault.code for fault in examine_record(record, names=NAMES).faults]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_another_tool_writes_has_no_error(layout: str):
    found = codes(LAYOUTS[layout])
    assert found == TOLD.get(layout, [])
    assert all(BY_CODE[code].severity != "error" for code in found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_another_tool_writes_is_read_whole(layout: str):
    record = parse_record(LAYOUTS[layout], where=layout)
    assert (record.height_px, record.width_px) == (48, 64)
    assert record.class_ids.tolist() == ([] if "image " in layout else [1, 2])


GREY_16 = Image.fromarray(np.asarray(noise().convert("L"), dtype=np.uint16) * 257)
IMAGES = {
    "JPEG": with_image(noise()),
    "JPEG, progressive": with_image(noise(), progressive=True),
    "JPEG, grey": with_image(noise().convert("L")),
    "JPEG, CMYK": with_image(noise().convert("CMYK")),
    "PNG": with_image(noise(), "PNG"),
    "PNG, grey": with_image(noise().convert("L"), "PNG"),
    "PNG, grey of 16 bits": with_image(GREY_16, "PNG"),
    "PNG, grey with alpha": with_image(noise().convert("LA"), "PNG"),
    "PNG, alpha": with_image(noise().convert("RGBA"), "PNG"),
    "PNG, palette": with_image(noise().convert("P"), "PNG"),
    "PNG, 1 bit": with_image(noise().convert("1"), "PNG"),
    "BMP": with_image(noise(), "BMP"),
    "BMP, grey": with_image(noise().convert("L"), "BMP"),
    "BMP, alpha": with_image(noise().convert("RGBA"), "BMP"),
    "BMP, palette": with_image(noise().convert("P"), "BMP"),
    "BMP, 1 bit": with_image(noise().convert("1"), "BMP"),
    "GIF": with_image(noise(), "GIF"),
    "WebP": with_image(noise(), "WEBP"),
    "TIFF": with_image(noise(), "TIFF"),
    "JPEG, cut": serialise_example({**features(), "image/encoded": [encoded(noise())[:-2]]}),
    "JPEG, empty": serialise_example({**features(), "image/encoded": [b""]}),
}
WITHOUT = {
    key: serialise_example({k: v for k, v in features().items() if k != key})
    for key in features()
    if key != "image/source_id"  # required here, since reports name images by it
}
EMPTY = {
    f"no {key}": serialise_example({**features(), key: np.zeros(0, np.int64)})
    for key in ("image/height", "image/width", "image/object/is_crowd")
}


def is_taken_by_tensorflow(record: bytes) -> bool:
    """Whether the trainer's decoder gives an image with as many classes as boxes."""
    import tensorflow as tf
    from official.vision.dataloaders.tf_example_decoder import TfExampleDecoder

    try:
        decoded = TfExampleDecoder(regenerate_source_id=True).decode(tf.constant(record))
    except (tf.errors.OpError, ValueError):
        return False
    image = tf.shape(decoded["image"])
    boxes = len(decoded["groundtruth_boxes"])
    counts = {boxes, len(decoded["groundtruth_classes"]), len(decoded["groundtruth_is_crowd"])}
    return len(image) == 3 and len(counts) == 1


@pytest.mark.tf
@pytest.mark.xdist_group("tf")
@pytest.mark.parametrize("record", [{**LAYOUTS, **IMAGES, **WITHOUT, **EMPTY}], ids=["all"])
def test_an_error_is_what_the_trainers_decoder_does_not_take(record: dict[str, bytes]):
    judged = {
        name: all(BY_CODE[code].severity != "error" for code in codes(payload))
        for name, payload in record.items()
    }
    taken = {name: is_taken_by_tensorflow(payload) for name, payload in record.items()}
    # TensorFlow decodes this one, and takes the numbers of colours for levels of grey.
    assert {n: j for n, j in judged.items() if j != taken[n]} == {"BMP, palette": False}
    assert judged["PNG, palette"]
    assert not judged["GIF"]


@pytest.mark.tf
@pytest.mark.xdist_group("tf")
def test_layouts_are_read_as_the_trainers_decoder_reads_them():
    import tensorflow as tf
    from official.vision.dataloaders.tf_example_decoder import TfExampleDecoder

    for layout, payload in LAYOUTS.items():
        ours = parse_record(payload, where=layout)
        theirs = TfExampleDecoder().decode(tf.constant(payload))
        assert np.array_equal(ours.boxes_yxyx_norm, theirs["groundtruth_boxes"].numpy())
        assert ours.class_ids.tolist() == theirs["groundtruth_classes"].numpy().tolist()
        assert ours.is_crowd.tolist() == theirs["groundtruth_is_crowd"].numpy().tolist()
        size = (int(theirs["height"]), int(theirs["width"]))
        assert (ours.height_px, ours.width_px) == size, layout

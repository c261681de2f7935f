from __future__ import annotations

import numpy as np
import pytest
from dataset_cases import features, payload
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kfdet.core.detection_record import (
    DetectionRecord,
    parse_record,
    schema_faults,
    serialise_record,
)
from kfdet.core.example import parse_example, serialise_example
from kfdet.core.placed_record import PlacedRecord, images_of
from kfdet.errors import DataError


@st.composite
def records(draw: st.DrawFn) -> DetectionRecord:
    count = draw(st.integers(0, 5))
    texts = draw(st.lists(st.text(max_size=5), min_size=count, max_size=count))
    return DetectionRecord(
        encoded=draw(st.binary(max_size=20)),
        format=draw(st.sampled_from(["jpeg", "png", ""])),
        height_px=draw(st.integers(1, 5000)),
        width_px=draw(st.integers(1, 5000)),
        source_id=draw(st.text(max_size=8)),
        boxes_yxyx_norm=draw(arrays(np.float32, (count, 4), elements=st.floats(0, 1, width=32))),
        class_ids=draw(arrays(np.int64, count, elements=st.integers(0, 100))),
        class_texts=tuple(texts),
        is_crowd=draw(arrays(np.bool_, count)),
        is_difficult=draw(arrays(np.bool_, count)),
        area_px=draw(arrays(np.float32, count, elements=st.floats(0, 1e6, width=32))),
        filename=draw(st.text(max_size=8)),
    )


@given(records())
def test_records_round_trip(record: DetectionRecord):
    again = parse_record(serialise_record(record), where="here")
    for name in (
        "encoded",
        "format",
        "height_px",
        "width_px",
        "source_id",
        "class_texts",
        "filename",
    ):
        assert getattr(again, name) == getattr(record, name)
    for name in ("boxes_yxyx_norm", "class_ids", "is_crowd", "is_difficult"):
        np.testing.assert_array_equal(getattr(again, name), getattr(record, name))
    if record.num_boxes:
        np.testing.assert_array_equal(again.area_px, record.area_px)


def test_boxes_in_pixels_are_in_double_precision_of_the_stored_values():
    record = parse_record(payload(boxes=[(0.1, 0.2, 0.6, 0.7)]), where="here")
    expected = [
        np.float64(np.float32(v)) * s for v, s in ((0.2, 64), (0.1, 48), (0.7, 64), (0.6, 48))
    ]
    assert record.boxes_xyxy_px().tolist() == [expected]


def test_areas_are_those_recorded_unless_there_are_none_or_only_zeros():
    box = [(0.0, 0.0, 0.5, 0.5)]
    of_the_box = 32 * 24
    recorded = parse_record(payload(boxes=box, object__area=np.array([7.5], np.float32)), where="")
    zeros = parse_record(payload(boxes=box, object__area=np.zeros(1, np.float32)), where="")
    absent = parse_record(payload(boxes=box), where="")
    assert [r.coco_area_px().tolist() for r in (recorded, zeros, absent)] == [
        [7.5],
        [of_the_box],
        [of_the_box],
    ]


def test_a_record_without_boxes_may_leave_out_all_features_of_objects():
    only = {k: v for k, v in features(boxes=[]).items() if "object" not in k}
    assert parse_record(serialise_example(only), where="").num_boxes == 0


@pytest.mark.parametrize(
    ("changes", "kind", "feature"),
    [
        ({"encoded": None}, "missing", "image/encoded"),
        ({"source_id": None}, "missing", "image/source_id"),
        ({"object__bbox__xmax": None}, "missing", "image/object/bbox/xmax"),
        ({"source_id": np.array([7])}, "type", "image/source_id"),
        ({"object__class__label": np.ones(1, np.float32)}, "type", "image/object/class/label"),
        ({"width": np.array([64, 64])}, "length", "image/width"),
        ({"object__is_crowd": np.zeros(2, np.int64)}, "length", "image/object/is_crowd"),
    ],
)
def test_what_is_no_detection_record_is_explained(changes: dict, kind: str, feature: str):
    (fault,) = schema_faults(parse_example(payload(**changes)))
    assert (fault.kind, fault.feature) == (kind, feature)
    with pytest.raises(DataError, match=f"shard 3 record 4: .*{feature}"):
        parse_record(payload(**changes), where="shard 3 record 4")


def test_a_size_that_is_not_declared_is_that_of_the_image():
    record = parse_record(payload(height=None), where="")
    assert (record.height_px, record.width_px) == (48, 64)
    with pytest.raises(DataError, match="shard 3 record 4: declares no size"):
        parse_record(payload(width=None, encoded=[b"rubbish"]), where="shard 3 record 4")


def test_an_empty_list_of_another_type_is_a_fault_because_tensorflow_refuses_it():
    changed = payload(boxes=[], object__area=np.zeros(0, np.int64))
    (fault,) = schema_faults(parse_example(changed))
    assert fault.kind == "type"


def test_bytes_that_are_no_example_are_named():
    with pytest.raises(DataError, match=r"x record 1: the record is no tf.train.Example"):
        parse_record(b"\xff", where="x record 1")


def test_other_features_with_one_value_are_kept_as_text():
    more = {
        "image/camera": [b"north"],
        "image/hour": np.array([7]),
        "image/night": np.array([-1]),
        "image/gps": np.array([1.5], np.float32),
        "image/tags": [b"a", b"b"],
        "image/thumbnail": [bytes(range(256))],
        "image/note": [b"x" * 101],
        "image/odd": [b"\xff"],
    }
    record = parse_record(serialise_example(features() | more), where="here")
    assert record.extra == {"image/camera": "north", "image/hour": "7", "image/night": "-1"}
    placed = PlacedRecord(image_id=3, file="f", index=0, payload=b"", record=record)
    assert images_of([placed]).features == (record.extra,)

"""Screening records in batches finds what looking at them one by one finds."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from dataset_cases import CLASSES, encoded, examine_record, noise, payload
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kfdet.core.detection_record import serialise_record
from kfdet.core.validation import examine
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.examine import Examination, examine_records
from kfdet.stages.data_synth import shapes_record

NAMES = Names(aliases={number: (name,) for number, name in enumerate(CLASSES, 1)})
IMAGES = (encoded(noise(64, 48)), encoded(noise(100, 10, seed=1)), encoded(noise(8, 9), "PNG"))
SIDES = st.sampled_from([0.0, 0.1, 0.11, 0.101, 0.5, 0.99, 0.999, 1.0, 1.02, -0.5, 3.0, np.nan])
BOXES = st.lists(st.tuples(SIDES, SIDES, SIDES, SIDES), max_size=6)
TEXTS = st.sampled_from([b"cat", b"dog", b"Cat", b"cow", b"\xff"])


@st.composite
def records(draw: st.DrawFn) -> bytes:
    boxes = draw(BOXES)
    count = len(boxes)

    def column(values: st.SearchStrategy) -> list:
        return draw(st.lists(values, min_size=count, max_size=count))

    areas = column(st.sampled_from([0.0, 0.5, 1.0, 30.0, 3072.0, -1.0, np.nan, 1e9]))
    return payload(
        boxes=boxes,
        encoded=[draw(st.sampled_from(IMAGES))],
        object__class__label=np.array(column(st.integers(-1, 3)), np.int64),
        object__class__text=draw(st.sampled_from([None, column(TEXTS)])) if count else [],
        object__area=np.array(areas if draw(st.booleans()) else [], np.float32),
        object__is_crowd=np.array(column(st.integers(0, 1)), np.int64),
        object__difficult=np.array(column(st.sampled_from([0, 0, 0, 1])), np.int64),
    )


def comparable(examination: Examination) -> tuple:
    facts = examination.facts and {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(examination.facts).items()
    }
    return examination.source_id, examination.faults, repr(facts)


@settings(max_examples=150, deadline=None)
@given(st.lists(records(), max_size=5), st.sampled_from([NAMES, None]))
def test_a_batch_gives_what_every_record_gives_when_none_is_cleared(batch, names):
    together = examine_records(batch, names=names, placed=[True] * len(batch))
    with pytest.MonkeyPatch.context() as patch:
        screen = examine.box_screen
        patch.setattr(examine, "box_screen", lambda sheet: np.ones_like(screen(sheet)))
        one_by_one = [examine_record(record, names=names) for record in batch]
    assert [comparable(seen) for seen in together] == [comparable(seen) for seen in one_by_one]


def test_a_sound_record_is_cleared_and_its_neighbours_are_not(monkeypatch: pytest.MonkeyPatch):
    looked_at = []
    box_faults = examine.box_faults
    monkeypatch.setattr(
        examine, "box_faults", lambda objects: looked_at.append(objects) or box_faults(objects)
    )
    sound, faulty = payload(seed=1), payload(seed=2, boxes=[(0.1, 0.1, 0.1, 0.5)])
    seen = examine_records([sound, faulty, sound], names=NAMES, placed=[False] * 3)
    assert [len(one.faults) for one in seen] == [0, 1, 0]
    assert len(looked_at) == 1


def test_a_record_of_very_many_boxes_is_looked_at_by_itself():
    boxes = [(0.1, 0.2, 0.6, 0.7)] * 300
    (seen,) = examine_records([payload(boxes=boxes)], names=NAMES, placed=[False])
    assert {fault.code for fault in seen.faults} == {"box-duplicate", "box-two-classes"}


def test_where_boxes_fit_is_asked_of_those_chosen_and_of_rotated_images():
    drawn = shapes_record(split="train", index=0, size_px=128, seed=0)
    record = serialise_record(drawn)
    tags = Image.Exif()
    tags[274] = 6
    pixels = Image.open(io.BytesIO(drawn.encoded))
    rotated = serialise_record(dataclasses.replace(drawn, encoded=encoded(pixels, exif=tags)))
    seen = examine_records([record, record, rotated], names=None, placed=[True, False, False])
    placements = [one.facts.placement for one in seen if one.facts is not None]
    assert placements == ["as recorded", None, "as recorded"]

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kfdet.core.validation.examine import RecordFacts
from kfdet.core.validation.tally import HistogramTally, Identities, SplitTally

NAMES = {1: "cat", 2: "dog"}


@st.composite
def facts(draw: st.DrawFn) -> RecordFacts:
    count = draw(st.integers(0, 4))
    corners = draw(arrays(np.float64, (count, 2), elements=st.floats(0, 50)))
    sides = draw(arrays(np.float64, (count, 2), elements=st.floats(0.5, 5000)))
    return RecordFacts(
        source_id=draw(st.text(max_size=3)),
        content=draw(st.binary(min_size=16, max_size=16)),
        perceptual_hash=draw(st.binary(min_size=32, max_size=32)),
        size_px=(draw(st.integers(1, 3)), 48),
        format=draw(st.sampled_from(["jpeg", "png"])),
        brightness=draw(st.none() | st.floats(0, 255)),
        boxes_xyxy_px=np.concatenate([corners, corners + sides], axis=1),
        num_boxes=count,
        crowd_boxes=0,
        class_ids=draw(arrays(np.int64, count, elements=st.integers(1, 3))),
        placement=draw(st.sampled_from([None, "as recorded", "mirrored"])),
        is_exif_rotated=draw(st.booleans()),
        texts=count,
        text_offsets={0: count},
    )


@settings(deadline=None)
@given(st.lists(facts(), max_size=12), st.integers(0, 12))
def test_merging_gives_the_statistics_of_the_whole(records: list[RecordFacts], cut: int):
    whole, left, right = SplitTally(), SplitTally(), SplitTally()
    for index, record in enumerate(records):
        whole.add(record)
        (left if index < cut else right).add(record)
    left.merge(right)
    assert left.statistics(NAMES) == whole.statistics(NAMES)


@settings(deadline=None)
@given(st.lists(facts(), max_size=12), st.integers(0, 12))
def test_merging_keeps_images_with_their_places(records: list[RecordFacts], cut: int):
    whole, left, right = Identities(), Identities(), Identities()
    for index, record in enumerate(records):
        file = "a" if index < cut else "b"
        for columns in (whole, left if index < cut else right):
            columns.add(record, file=file, record=index, byte_offset=10 * index)
    left.merge(right)
    assert left == whole
    assert [whole.file_of(i) for i in range(len(whole))] == [
        "a" if i < cut else "b" for i in range(len(records))
    ]
    assert [whole.content_of(i) for i in range(len(whole))] == [r.content for r in records]


@given(st.lists(st.floats(0, 300), max_size=30))
def test_histograms_count_as_their_schema_says(values: list[float]):
    tally = HistogramTally([0, 1, 10, 100])
    tally.add(np.array(values))
    found = tally.histogram()
    assert sum(found.counts) == len(values)
    inside = [v for v in values if v < 100]
    expected, _ = np.histogram(inside, bins=[0, 1, 10, 100])
    first = [0, 1, 10, 100].index(found.edges[0])
    counts = np.zeros(3, int)
    counts[first : first + len(found.counts)] = found.counts
    expected[2] += len(values) - len(inside)
    assert counts.tolist() == expected.tolist()


def test_an_empty_split_has_statistics():
    found = SplitTally().statistics(NAMES)
    assert found.images == 0
    assert [c.name for c in found.classes] == ["cat", "dog"]

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.shard_names import ShardName, parse_shard_name, shard_bounds, shard_names


def test_names_count_from_zero():
    assert shard_names("train", total=2) == (
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
    )


@given(
    st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True), st.integers(0, 10**6), st.integers(1, 10**6)
)
def test_names_are_read_back(stem: str, index: int, total: int):
    name = ShardName(stem=stem, index=index, total=total)
    assert parse_shard_name(str(name)) == name


@pytest.mark.parametrize("name", ["train.tfrecord", "train-1-of-2", "train-00001-of-2.tfrecord"])
def test_other_names_are_no_shards(name: str):
    assert parse_shard_name(name) is None


def test_the_names_of_other_writers_are_shards():
    name = parse_shard_name("coco_train.record-00003-of-00100")
    assert name == ShardName(stem="coco_train.record", index=3, total=100, suffix="")


@given(st.integers(0, 1000), st.integers(1, 40))
def test_shards_hold_every_record_once_and_evenly(count: int, total: int):
    bounds = shard_bounds(count, total=total)
    assert [i for begin, end in bounds for i in range(begin, end)] == list(range(count))
    sizes = [end - begin for begin, end in bounds]
    assert max(sizes) - min(sizes) <= 1

from __future__ import annotations

import pytest

from kfdet.core.validation.shards import FileFacts, file_faults


def facts(*names: str, split: str = "train", size: int = 1000) -> list[FileFacts]:
    return [FileFacts(split=split, name=name, size_bytes=size, sha256=name) for name in names]


def found(files: list[FileFacts], readers: dict | None = None) -> list[tuple[str, str]]:
    return [(fault.code, place.file) for place, fault in file_faults(files, readers=readers or {})]


WHOLE = ["a/t-00000-of-00003", "a/t-00001-of-00003", "a/t-00002-of-00003"]


@pytest.mark.parametrize(
    "names",
    [WHOLE, [], ["one.tfrecord", "two.tfrecord"], [*WHOLE, "a/u-00000-of-00001"]],
)
def test_whole_sets_have_no_finding(names: list[str]):
    assert found(facts(*names)) == []


def test_a_missing_shard_is_named_as_the_file_that_it_would_be():
    assert found(facts(WHOLE[0], WHOLE[2])) == [("shard-missing", "a/t-00001-of-00003")]


def test_a_shard_that_is_there_twice_is_named():
    names = [*WHOLE, "b/t-00001-of-00003"]
    assert found(facts(*names)) == [("shard-doubled", "b/t-00001-of-00003")]


def test_a_shard_beyond_the_total_is_named():
    assert found(facts(*WHOLE, "a/t-00003-of-00003")) == [("shard-doubled", "a/t-00003-of-00003")]


def test_two_sets_of_one_name_are_named():
    names = [*WHOLE, "a/t-00000-of-00002", "a/t-00001-of-00002"]
    assert found(facts(*names)) == [("shard-totals-differ", "a/t-00000-of-00003")]


def test_a_file_in_two_splits_is_found_by_its_bytes():
    first = FileFacts(split="train", name="a", size_bytes=9, sha256="same")
    copy = FileFacts(split="test", name="b", size_bytes=9, sha256="same")
    empty = [FileFacts(split="val", name=name, size_bytes=0, sha256="e") for name in "cd"]
    assert found([first, *empty, copy]) == [("file-in-two-splits", "b")]


def test_a_much_larger_shard_is_named():
    files = facts(*WHOLE, size=10**7)
    large = FileFacts(split="train", name="large", size_bytes=10**8, sha256="x")
    assert found([*files, large]) == [("shard-uneven", "large")]
    small = FileFacts(split="train", name="large", size_bytes=2 * 10**7, sha256="x")
    assert found([*files, small]) == []


def test_fewer_shards_than_tasks_are_told():
    files = facts(*WHOLE, split="test")
    assert found(files, {"test": 4}) == [("shards-few", "dataset.test")]
    assert found(files, {"test": 3}) == []
    assert found(files, {"train": 9}) == []


@pytest.mark.parametrize("total", ["99999999999", "9" * 200])
def test_a_name_that_says_it_is_one_of_a_billion_takes_no_time(total: str):
    names = found(facts(f"a/t-00001-of-{total}"))
    assert names[:2] == [
        ("shard-missing", f"a/t-00000-of-{total}"),
        ("shard-missing", f"a/t-00002-of-{total}"),
    ]
    assert len(names) == 10_000

from __future__ import annotations

from pathlib import Path

import pytest

from kfdet.core.validation.shards import FileFacts
from kfdet.errors import DataError
from kfdet.schema.dataset import Quarantine, QuarantinedRecord
from kfdet.storage.documents import write_document
from kfdet.storage.quarantine import check_exclusions, read_exclusions

DIGEST = "a" * 64


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    records = tuple(
        QuarantinedRecord(split="train", file="old/t.tfrecord", record=n, codes=("box-no-area",))
        for n in (2, 5)
    )
    path = tmp_path / "quarantine.json"
    write_document(path, Quarantine(files={"old/t.tfrecord": DIGEST}, records=records))
    return path


def files(*train: str) -> dict[str, list[str]]:
    return {"train": list(train), "val": ["v/t.tfrecord"], "test": []}


def facts(*, sha256: str = DIGEST, excluded: tuple[int, ...] = (2, 5)) -> list[FileFacts]:
    return [
        FileFacts(
            split="train", name="old/t.tfrecord", size_bytes=9, sha256=sha256, excluded=excluded
        )
    ]


def test_a_file_is_found_by_its_path_before_its_name(listed: Path):
    found = read_exclusions(listed, files("new/t.tfrecord", "old/t.tfrecord"))
    assert {key: e.records for key, e in found.items()} == {("train", "old/t.tfrecord"): {2, 5}}


def test_a_moved_file_is_found_by_its_name(listed: Path):
    found = read_exclusions(listed, files("new/t.tfrecord", "new/u.tfrecord"))
    assert list(found) == [("train", "new/t.tfrecord")]


def test_a_file_that_is_not_of_the_split_is_an_error(listed: Path):
    with pytest.raises(DataError, match=r"no file of dataset\.train"):
        read_exclusions(listed, files("new/u.tfrecord"))


def test_a_name_that_two_files_have_is_an_error(listed: Path):
    with pytest.raises(DataError, match=r"the name of 2 files of dataset\.train"):
        read_exclusions(listed, files("a/t.tfrecord", "b/t.tfrecord"))


def test_exactly_the_listed_records_must_have_been_left_out(listed: Path):
    exclusions = read_exclusions(listed, files("old/t.tfrecord"))
    check_exclusions(exclusions, facts(), where="q")
    with pytest.raises(DataError, match=r"old/t\.tfrecord has no record 5"):
        check_exclusions(exclusions, facts(excluded=(2,)), where="q")


def test_other_bytes_are_refused(listed: Path):
    exclusions = read_exclusions(listed, files("old/t.tfrecord"))
    with pytest.raises(DataError, match="other records") as caught:
        check_exclusions(exclusions, facts(sha256="b" * 64), where="q")
    assert caught.value.exit_code == 10


def test_a_list_without_the_digest_of_a_file_is_refused():
    record = QuarantinedRecord(split="train", file="t", record=0, codes=())
    with pytest.raises(ValueError, match="files has no digest of t"):
        Quarantine(files={}, records=(record,))

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest

from kfdet.core.tfrecord import Frame, FrameFault, encode_record
from kfdet.errors import DataError, StorageError
from kfdet.storage.records import (
    compression_of,
    read_record_at,
    read_records,
    scan_records,
    write_shards,
)

PAYLOADS = [b"one", b"", bytes(range(256)) * 40]
DATA = b"".join(map(encode_record, PAYLOADS))


@pytest.mark.parametrize(
    ("content", "compression"),
    [(DATA, "none"), (gzip.compress(DATA, mtime=0), "gzip"), (zlib.compress(DATA), "zlib")],
)
def test_records_are_read_however_they_are_compressed(
    tmp_path: Path, content: bytes, compression: str
):
    path = tmp_path / "x"
    path.write_bytes(content)
    assert compression_of(path) == compression
    assert [frame.payload for frame in read_records(path)] == PAYLOADS
    assert read_record_at(path, 2) == PAYLOADS[2]


def test_a_plain_file_whose_first_length_looks_like_a_compressed_one_is_plain(tmp_path: Path):
    for length in (0x8B1F, 0x9C78):
        path = tmp_path / "x"
        path.write_bytes(encode_record(bytes(length)))
        assert compression_of(path) == "none"


def test_an_empty_file_has_no_records(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"")
    assert list(read_records(tmp_path / "x")) == []


def test_strict_reading_names_file_record_and_byte(tmp_path: Path):
    path = tmp_path / "x"
    damaged = bytearray(DATA)
    damaged[30] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=rf"{path} record 1 \(byte 19\): the record is damaged"):
        list(read_records(path))


def test_scanning_goes_on_behind_a_damaged_record(tmp_path: Path):
    path = tmp_path / "x"
    damaged = bytearray(DATA)
    damaged[30] ^= 1
    path.write_bytes(damaged)
    assert [type(item) for item in scan_records(path)] == [Frame, FrameFault, Frame]


@pytest.mark.parametrize("index", [3, -1, 99])
def test_a_record_that_is_not_there_is_an_error(tmp_path: Path, index: int):
    (tmp_path / "x").write_bytes(DATA)
    with pytest.raises(DataError, match="has no whole record"):
        read_record_at(tmp_path / "x", index)


@pytest.mark.parametrize("content", [gzip.compress(DATA, mtime=0)[:-20], zlib.compress(DATA)[:-20]])
def test_damaged_compression_is_explained(tmp_path: Path, content: bytes):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match="compression is damaged"):
        list(scan_records(tmp_path / "x"))


def test_a_missing_file_is_explained(tmp_path: Path):
    with pytest.raises(DataError, match="can't read: No such file"):
        list(read_records(tmp_path / "x"))


def test_an_error_while_records_are_used_is_left_as_it_is(tmp_path: Path):
    (tmp_path / "x").write_bytes(DATA)

    def use() -> None:
        for _ in read_records(tmp_path / "x"):
            raise OSError("of the user of the records")

    with pytest.raises(OSError, match="of the user"):
        use()


def test_shards_hold_the_records_evenly_and_in_order(tmp_path: Path):
    payloads = [bytes([n]) for n in range(7)]
    paths = write_shards(tmp_path, stem="val", payloads=iter(payloads), count=7, shards=3)
    assert [path.name for path in paths] == [f"val-0000{n}-of-00003.tfrecord" for n in range(3)]
    found = [[frame.payload for frame in read_records(path)] for path in paths]
    assert [len(records) for records in found] == [3, 2, 2]
    assert [p for records in found for p in records] == payloads


def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path):
    with pytest.raises(StorageError, match="can't write"):
        write_shards(tmp_path / "none", stem="a", payloads=iter([b""]), count=1, shards=1)

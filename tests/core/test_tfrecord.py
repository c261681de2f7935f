from __future__ import annotations

import bz2
import lzma
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfdet.core.tfrecord import (
    Frame,
    FrameFault,
    _headers_in,
    encode_record,
    frame_spans,
    length_at,
    masked_crc32c,
    read_frames,
)

PAYLOADS = st.lists(st.binary(max_size=60), min_size=1, max_size=8)


def frames(data: bytes) -> list[bytes]:
    return [item.payload for item in read_frames(data) if isinstance(item, Frame)]


def faults(data: bytes) -> list[FrameFault]:
    return [item for item in read_frames(data) if isinstance(item, FrameFault)]


def test_the_checksum_is_that_of_the_tfrecord_format():
    # The record that tf.io.TFRecordWriter writes for b"abc".
    assert encode_record(b"abc").hex() == "0300000000000000b099490e6162636e57f121"
    assert masked_crc32c(b"") == 0xA282EAD8


@given(PAYLOADS)
def test_frames_round_trip(payloads: list[bytes]):
    data = b"".join(map(encode_record, payloads))
    assert frames(data) == payloads
    assert not faults(data)
    assert [length for _, length in frame_spans(data)] == list(map(len, payloads))


@given(PAYLOADS, st.data())
def test_a_changed_byte_costs_one_record_and_is_reported(
    payloads: list[bytes], data: st.DataObject
):
    whole = bytearray(b"".join(map(encode_record, payloads)))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    ends, end = [], 0
    for payload in payloads:
        end += len(payload) + 16
        ends.append(end)
    damaged = next(index for index, end in enumerate(ends) if position < end)
    (fault,) = faults(bytes(whole))
    assert fault.index == damaged
    assert fault.offset == (ends[damaged - 1] if damaged else 0)
    assert frames(bytes(whole)) == payloads[:damaged] + payloads[damaged + 1 :]


@given(PAYLOADS, st.data())
def test_a_cut_file_gives_its_whole_records_and_one_fault(
    payloads: list[bytes], data: st.DataObject
):
    whole = b"".join(map(encode_record, payloads))
    length = data.draw(st.integers(0, len(whole)))
    cut = whole[:length]
    kept = frames(cut)
    assert kept == payloads[: len(kept)]
    at_a_border = sum(len(payload) + 16 for payload in kept) == length
    assert [fault.kind for fault in faults(cut)] == ([] if at_a_border else ["truncated"])


@given(PAYLOADS, PAYLOADS, st.binary(min_size=1, max_size=40))
def test_reading_resumes_behind_bytes_that_are_no_record(
    before: list[bytes], after: list[bytes], rubbish: bytes
):
    data = b"".join(map(encode_record, before)) + rubbish + b"".join(map(encode_record, after))
    assert frames(data) == before + after
    assert len(faults(data)) == 1


@pytest.mark.parametrize(
    ("packed", "kind"),
    [
        (bz2.compress(bytes(100)), "bzip2"),
        (lzma.compress(bytes(100)), "xz"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "Zstandard"),
        (b"PK\x03\x04" + bytes(20), "zip"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "JPEG"),
    ],
)
def test_a_file_of_another_kind_is_said_to_be_one(packed: bytes, kind: str):
    (fault,) = read_frames(packed)
    assert isinstance(fault, FrameFault)
    assert fault.kind == "length"
    assert fault.seen.endswith(f"; it begins as a {kind} file does")
    _, later = read_frames(encode_record(b"first") + packed)
    assert isinstance(later, FrameFault)
    assert "begins as" not in later.seen


def test_lost_bytes_inside_a_record_cost_that_record_alone():
    whole = [encode_record(bytes([n]) * 500) for n in range(4)]
    data = whole[0] + whole[1][:100] + whole[1][300:] + whole[2] + whole[3]
    assert frames(data) == [bytes([n]) * 500 for n in (0, 2, 3)]
    (fault,) = faults(data)
    assert (fault.kind, fault.index, fault.offset) == ("data", 1, len(whole[0]))
    assert fault.resumes_at == len(whole[0]) + len(whole[1]) - 200


def test_a_length_beyond_the_end_does_not_hide_the_records_inside_it():
    long = encode_record(bytes(5000))[:700]
    data = long + encode_record(b"behind")
    assert frames(data) == [b"behind"]
    assert [fault.kind for fault in faults(data)] == ["truncated"]


def test_a_scan_finds_a_record_across_the_borders_of_its_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kfdet.core.tfrecord._FIRST_SCAN_BYTES", 3)
    monkeypatch.setattr("kfdet.core.tfrecord._MOST_SCAN_BYTES", 7)
    data = b"x" * 23 + encode_record(b"found") + encode_record(b"too")
    assert frames(data) == [b"found", b"too"]


def test_reading_begins_at_any_frame():
    data = encode_record(b"one") + encode_record(b"two")
    (item,) = read_frames(data, begin=19)
    assert isinstance(item, Frame)
    assert (item.payload, item.offset) == (b"two", 19)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=20), st.binary(max_size=30))
def test_the_search_knows_the_same_headers_as_the_reader(lengths: list[int], between: bytes):
    data, expected = b"", []
    for length in lengths:
        data += between
        expected.append(len(data))
        data += header(length)
    found = _headers_in(data, limit=2**41).tolist()
    assert set(expected) <= set(found)
    assert all(length_at(data, offset) is not None for offset in found)


def header(length: int) -> bytes:
    packed = struct.pack("<Q", length)
    return packed + struct.pack("<I", masked_crc32c(packed))


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**31, 10**6])
def test_an_absurd_length_is_a_cut_record(length: int):
    data = encode_record(b"one") + header(length) + encode_record(b"two")
    assert frames(data) == [b"one", b"two"]
    (fault,) = faults(data)
    assert fault.kind == "truncated"
    assert f"{length + 16}, as its length says" in fault.expected


# Every header says that its record reaches to the end; no record's checksum is right.
NESTED = b"".join(header(12 * below) for below in range(60_000, 0, -1)) + bytes(40)
# The same with a whole record after each, so that reading is always resumed.
LADDER = b"".join(header(28 * below + 12) + encode_record(b"") for below in range(20_000, 0, -1))
HOSTILE = {
    "zeros": bytes(3 << 20),
    "nested": NESTED,
    "ladder": LADDER,
    "one byte between records": (b"\7" + encode_record(b"x")) * 30_000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_bytes_made_to_be_searched_for_ever_cost_a_few_passes(
    case: str, monkeypatch: pytest.MonkeyPatch
):
    data, checksummed = HOSTILE[case], 0

    def counting(part: bytes) -> int:
        nonlocal checksummed
        checksummed += len(part)
        return masked_crc32c(part)

    monkeypatch.setattr("kfdet.core.tfrecord.masked_crc32c", counting)
    found = list(read_frames(data))
    assert 1 <= sum(isinstance(item, FrameFault) for item in found) <= 10_001
    assert checksummed <= 12 * len(data)
    assert isinstance(found[-1], FrameFault)
    assert found[-1].resumes_at is None

"""What is fuzzed: a function each, that takes any bytes and must hold what it promises."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from dataset_cases import examine_record, payload

from kfdet.core.example import ExampleError, parse_example, serialise_example
from kfdet.core.tfrecord import Frame, encode_record, frame_spans, read_frames
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.catalogue import BY_CODE, severities
from kfdet.core.validation.findings import FindingLog, Place
from kfdet.storage.records import scan_records

_NAMES = Names(aliases={1: ("cat",), 2: ("dog",)})
_LEVELS = severities({})


def frames(data: bytes) -> None:
    """Frames lie in order and are what the file holds; a file is fault-free only if all of it is frames."""
    end, whole = 0, True
    for index, item in enumerate(read_frames(data)):
        assert item.index == index
        assert item.offset >= end
        if isinstance(item, Frame):
            record = encode_record(item.payload)
            assert data[item.offset : item.offset + len(record)] == record
            end = item.offset + len(record)
        else:
            whole = False
            assert item.resumes_at is None or item.resumes_at > item.offset
    if whole:
        assert end == len(data)
        assert len(list(frame_spans(data))) == sum(1 for _ in read_frames(data))


def example(data: bytes) -> None:
    """Bytes are an Example or an ExampleError; what was parsed survives being written."""
    try:
        parsed = parse_example(data)
    except ExampleError:
        return
    again = parse_example(serialise_example(parsed))
    assert set(again) == set(parsed)
    for name, values in parsed.items():
        if isinstance(values, np.ndarray):
            assert np.array_equal(values, np.asarray(again[name]), equal_nan=True)
        else:
            assert list(again[name]) == values


def record(data: bytes) -> None:
    """A record gives findings of the catalogue, which can be written down."""
    found = examine_record(data, names=_NAMES)
    log = FindingLog()
    for fault in found.faults:
        assert fault.code in BY_CODE
        log.add(Place(file="f", split="train", record=0, source_id=found.source_id), fault)
    log.findings(_LEVELS).canonical_json()


def image(data: bytes) -> None:
    """Any bytes in the place of an image give a finding, or are one."""
    record(payload(encoded=[data]))


def shard(data: bytes) -> None:
    """A file, compressed or not, is read to some end."""
    with tempfile.NamedTemporaryFile() as stream:
        stream.write(data)
        stream.flush()
        faults: list[str] = []
        for _ in scan_records(Path(stream.name), on_fault=lambda kind, *_: faults.append(kind)):
            pass
        assert len(faults) <= 1


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "frames": frames,
    "example": example,
    "record": record,
    "image": image,
    "shard": shard,
}

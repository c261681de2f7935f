"""Examining one stretch of a TFRecord file: what a worker does, in this process or another."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from kfdet.core.tfrecord import Frame, FrameFault, frame_spans, read_frames
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.examine import examine_records
from kfdet.core.validation.findings import Fault, Place
from kfdet.core.validation.partial import Partial
from kfdet.errors import DataError
from kfdet.schema.dataset import Split
from kfdet.storage.records import CompressionFault, compression_of, open_frames

_BATCH_RECORDS = 64
_BATCH_BYTES = 4 << 20
_STRETCH_RECORDS = 128
_STRETCH_BYTES = 8 << 20
_FRAME_CODES = {
    "length": "record-length-corrupt",
    "data": "record-data-corrupt",
    "truncated": "record-truncated",
}
_COMPRESSION_CODES: dict[CompressionFault, str] = {
    "damaged": "file-compression-damaged",
    "bomb": "file-bomb",
}
_Item: TypeAlias = Frame | FrameFault


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Chooses records of a split at even distances through its bytes.

    Which they are follows from the files of the split alone, so that any group of them chooses the
    same. A split with few records has all of them chosen.

    Attributes:
        before_bytes: Of the split's files before this one.
        step_bytes: One record is chosen in so many bytes.
    """

    before_bytes: int
    step_bytes: int

    def chooses(self, frame: Frame) -> bool:
        begin = self.before_bytes + frame.offset
        end = begin + len(frame.payload)
        return begin // self.step_bytes != end // self.step_bytes


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Records of one file that lie one after another.

    Attributes:
        file: As the configuration has it: the name in findings.
        path: Where its bytes are on this machine.
        begin, end: Bytes between which the records lie; without an end, all that follow.
        first: Index of the first of them within the file.
        sampling: Decides whose boxes are looked at in their images.
        excluded: Indices of records in quarantine.
    """

    split: Split
    file: str
    path: Path
    begin: int = 0
    end: int | None = None
    first: int = 0
    sampling: Sampling
    excluded: Set[int] = frozenset()


@dataclass(kw_only=True)
class Examined:
    """What examining a stretch gives.

    Attributes:
        partial: The number of the stretch's records is the only entry of `records`.
        size_bytes: Of the records, those that were left out not counted.
        excluded: Indices of records that were left out.
        unreadable: Why reading stopped; None where it did not.
    """

    partial: Partial = field(default_factory=lambda: Partial(records=[0]))
    size_bytes: int = 0
    excluded: list[int] = field(default_factory=list)
    unreadable: Fault | None = None


def stretches_of(whole: Stretch) -> Iterator[Stretch]:
    """Yields a file in stretches that can be examined by themselves, in order.

    Only lengths are read. Where one is damaged the rest of the file is one stretch, as is a
    compressed file: neither can be entered in the middle.

    Args:
        whole: The file from its first byte, without an end.

    Raises:
        DataError, OSError: The file can't be read.
    """
    if compression_of(whole.path) != "none":
        yield whole
        return
    with open_frames(whole.path) as source:
        begin, first = 0, 0
        for index, (offset, _) in enumerate(frame_spans(source)):
            # A record without a readable length behind it may be damaged in its own: it stays with
            # what follows.
            if index - first >= _STRETCH_RECORDS or offset - begin >= _STRETCH_BYTES:
                yield replace(whole, begin=begin, end=offset, first=first)
                begin, first = offset, index
        if begin < len(source):
            yield replace(whole, begin=begin, first=first)


def unreadable(failure: DataError | OSError) -> Fault:
    """Returns the fault of a file that can't be read."""
    what = failure.what if isinstance(failure, DataError) else failure.strerror
    return Fault(code="file-unreadable", seen=what or str(failure), expected="a TFRecord file")


def examine_stretch(stretch: Stretch, *, names: Names | None) -> Examined:
    """Applies every check that a record by itself can answer to the records of a stretch.

    No more than a few megabytes of them are in memory.

    Args:
        stretch: Where they are.
        names: The label map's; None when it can't be read, and then classes are not checked.
    """
    found = Examined()
    try:
        for batch in _batches(stretch, found):
            found.partial.records[0] += len(batch)
            _examine(batch, stretch=stretch, names=names, into=found.partial)
    except (DataError, OSError) as failure:
        found.unreadable = unreadable(failure)
    return found


def _batches(stretch: Stretch, found: Examined) -> Iterator[list[_Item]]:
    """Yields the records but those in quarantine, some at a time."""

    def take_fault(kind: CompressionFault, seen: str, expected: str) -> None:
        place = Place(file=stretch.file, split=stretch.split)
        fault = Fault(code=_COMPRESSION_CODES[kind], seen=seen, expected=expected)
        found.partial.log.add(place, fault)

    batch: list[_Item] = []
    size_bytes = 0
    with open_frames(stretch.path, on_fault=take_fault) as source:
        for item in read_frames(source, begin=stretch.begin, end=stretch.end, first=stretch.first):
            if item.index in stretch.excluded:
                found.excluded.append(item.index)
                continue
            batch.append(item)
            size_bytes += len(item.payload) if isinstance(item, Frame) else 0
            if len(batch) >= _BATCH_RECORDS or size_bytes >= _BATCH_BYTES:
                found.size_bytes += size_bytes
                yield batch
                batch, size_bytes = [], 0
    found.size_bytes += size_bytes
    yield batch


def _examine(batch: list[_Item], *, stretch: Stretch, names: Names | None, into: Partial) -> None:
    frames = [item for item in batch if isinstance(item, Frame)]
    examinations = iter(
        examine_records(
            [frame.payload for frame in frames],
            names=names,
            placed=[stretch.sampling.chooses(frame) for frame in frames],
        )
    )
    facts = []
    for item in batch:
        seen = next(examinations) if isinstance(item, Frame) else None
        place = Place(
            file=stretch.file,
            split=stretch.split,
            record=item.index,
            byte_offset=item.offset,
            source_id=seen.source_id if seen else None,
        )
        if isinstance(item, FrameFault):
            into.log.add(place, _frame_fault(item))
        if seen is None:
            continue
        for fault in seen.faults:
            into.log.add(place, fault)
        if seen.facts is not None:
            facts.append(seen.facts)
            into.identities.add(
                seen.facts, file=place.file, record=item.index, byte_offset=item.offset
            )
    into.tally.add_all(facts)


def _frame_fault(item: FrameFault) -> Fault:
    resumes = (
        "" if item.resumes_at is None else f"; the next whole record is at {item.resumes_at:,}"
    )
    return Fault(code=_FRAME_CODES[item.kind], seen=item.seen + resumes, expected=item.expected)

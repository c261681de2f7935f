"""Reading again the few records that a report shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kfdet.core.detection_record import parse_record
from kfdet.core.tfrecord import Frame, read_frames
from kfdet.core.validation.samples import Pick, Sample
from kfdet.errors import DataError
from kfdet.storage.records import open_frames, read_record_at


def read_samples(picks: Iterable[Pick]) -> Iterator[Sample]:
    """Yields the picked records as they are asked for: one of them may be as large as a shard.

    Those that hold no image with its boxes are left out.
    """
    return (sample for pick in picks if (sample := _read(pick)) is not None)


def read_groups_of_samples(groups: Iterable[Sequence[Pick]]) -> Iterator[tuple[Sample, ...]]:
    """Yields the same for picks that belong together; groups of which nothing is left are left out."""
    return (samples for group in groups if (samples := tuple(read_samples(group))))


def _read(pick: Pick) -> Sample | None:
    try:
        payload = _payload(pick)
        content = None if payload is None else parse_record(payload, where=pick.file)
    except DataError:
        return None
    if content is None:
        return None
    return Sample(
        split=pick.split,
        file=pick.file,
        record=pick.record,
        content=content,
        about=pick.about,
        boxes=pick.boxes,
    )


def _payload(pick: Pick) -> bytes | None:
    if pick.byte_offset is None:
        return read_record_at(pick.file, pick.record)
    with open_frames(pick.file) as source:
        frame = next(read_frames(source, begin=pick.byte_offset), None)
    return frame.payload if isinstance(frame, Frame) else None

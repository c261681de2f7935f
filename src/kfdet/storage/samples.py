"""Reading again the few records that a report shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kfdet.core.detection_record import parse_record
from kfdet.core.tfrecord import Frame, read_frames
from kfdet.core.validation.samples import Pick, Sample
from kfdet.errors import DataError
from kfdet.storage.records import open_frames


def read_samples(picks: Iterable[Pick]) -> tuple[Sample, ...]:
    """Returns the picked records; those that hold no image with its boxes are left out."""
    return tuple(sample for pick in picks if (sample := _read(pick)) is not None)


def _read(pick: Pick) -> Sample | None:
    try:
        with open_frames(Path(pick.file)) as source:
            frame = next(read_frames(source, begin=pick.byte_offset), None)
        if not isinstance(frame, Frame):
            return None
        content = parse_record(frame.payload, where=pick.file)
    except DataError:
        return None
    return Sample(
        split=pick.split,
        file=pick.file,
        record=pick.record,
        content=content,
        about=pick.about,
        boxes=pick.boxes,
    )

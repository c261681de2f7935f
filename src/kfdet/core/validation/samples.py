"""Which images a report shows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from kfdet.core.detection_record import DetectionRecord
from kfdet.core.validation.catalogue import CATALOGUE, SeverityOrOff
from kfdet.core.validation.findings import Fault, FindingLog, Place
from kfdet.core.validation.partial import Partial
from kfdet.schema.dataset import Severity, Split

SAMPLES_A_SPLIT = 6
EXHIBITS_A_CODE = 2
EXHIBITS = 12
_VISIBLE = ("boxes", "classes", "image", "splits")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One image to show.

    Attributes:
        file, record: Where it is.
        about: What is wrong with it; empty for an ordinary sample.
        boxes: Positions of the boxes that are meant.
    """

    split: Split
    file: str
    record: int
    content: DetectionRecord
    about: str = ""
    boxes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pick:
    """A record that is worth reading again; `Sample` says what the fields mean."""

    split: Split
    file: str
    byte_offset: int
    record: int
    about: str = ""
    boxes: tuple[int, ...] = ()


def ordinary(partials: Mapping[Split, Partial]) -> Iterator[Pick]:
    """Yields images at even distances through each split."""
    for split, partial in partials.items():
        columns = partial.identities
        count = min(SAMPLES_A_SPLIT, len(columns))
        for number in range(count):
            position = number * len(columns) // count
            yield Pick(
                split=split,
                file=columns.file_of(position),
                byte_offset=columns.offsets[position],
                record=columns.records[position],
            )


def conspicuous(log: FindingLog, severities: Mapping[str, SeverityOrOff]) -> Iterator[Pick]:
    """Yields the first images of each finding that a picture can show, worst first."""
    rank = {severity: position for position, severity in enumerate(get_args(Severity))}
    codes = [
        check.code
        for check in CATALOGUE
        if check.group in _VISIBLE and severities[check.code] in rank
    ]
    codes.sort(key=lambda code: rank[severities[code]])
    picks = (
        pick
        for code in codes
        for place, fault in log.first.get(code, [])[:EXHIBITS_A_CODE]
        for pick in _both(place, fault)
    )
    yield from itertools.islice(picks, EXHIBITS)


def _both(place: Place, fault: Fault) -> Iterator[Pick]:
    """Yields the record of a finding, and the one that it is compared with."""
    abouts = (f"{fault.code}: {fault.seen}", f"{fault.code}: the one it is like")
    for where, about in zip((place, fault.like), abouts, strict=True):
        if where and where.split and where.record is not None and where.byte_offset is not None:
            yield Pick(
                split=where.split,
                file=where.file,
                byte_offset=where.byte_offset,
                record=where.record,
                about=about,
                boxes=fault.boxes,
            )

"""Which images a report shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from kfdet.core.detection_record import DetectionRecord
from kfdet.core.validation.catalogue import CATALOGUE, SeverityOrOff
from kfdet.core.validation.findings import Fault, FindingLog
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
        fault: What is wrong with it; None for an ordinary sample.
    """

    split: Split
    file: str
    record: int
    content: DetectionRecord
    fault: Fault | None = None


@dataclass(frozen=True, kw_only=True)
class Pick:
    """A record that is worth reading again."""

    split: Split
    file: str
    byte_offset: int
    record: int
    fault: Fault | None = None


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
    shown = 0
    for code in codes:
        for place, fault in log.first.get(code, [])[:EXHIBITS_A_CODE]:
            if place.split is None or place.record is None or place.byte_offset is None:
                continue
            if shown == EXHIBITS:
                return
            shown += 1
            yield Pick(
                split=place.split,
                file=place.file,
                byte_offset=place.byte_offset,
                record=place.record,
                fault=fault,
            )

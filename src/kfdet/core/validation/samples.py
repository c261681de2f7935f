"""Which images a report shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kfdet.core.detection_record import DetectionRecord
from kfdet.core.validation.catalogue import BY_CODE
from kfdet.core.validation.partial import Partial
from kfdet.schema.dataset import Finding, Findings, Split

SAMPLES_A_SPLIT = 6
EXHIBITS_A_CODE = 2
EXHIBITS = 12
_VISIBLE = ("boxes", "classes", "image", "splits")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One image to show.

    Attributes:
        file, record: Where it is.
        finding: What is wrong with it; None for an ordinary sample.
    """

    split: Split
    file: str
    record: int
    content: DetectionRecord
    finding: Finding | None = None


@dataclass(frozen=True, kw_only=True)
class Pick:
    """A record that is worth reading again."""

    split: Split
    file: str
    byte_offset: int
    record: int
    finding: Finding | None = None


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


def conspicuous(findings: Findings) -> Iterator[Pick]:
    """Yields the first images of each finding that a picture can show, worst first."""
    shown: dict[str, int] = {}
    for finding in findings.findings:
        if (
            BY_CODE[finding.code].group not in _VISIBLE
            or finding.split is None
            or finding.record is None
            or finding.byte_offset is None
            or shown.get(finding.code, 0) >= EXHIBITS_A_CODE
        ):
            continue
        shown[finding.code] = shown.get(finding.code, 0) + 1
        yield Pick(
            split=finding.split,
            file=finding.file,
            byte_offset=finding.byte_offset,
            record=finding.record,
            finding=finding,
        )
        if sum(shown.values()) >= EXHIBITS:
            return

"""Which images a report shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from kfdet.core.detection_record import DetectionRecord
from kfdet.core.validation.catalogue import CATALOGUE, SeverityOrOff
from kfdet.core.validation.findings import Fault, FindingLog, Place
from kfdet.core.validation.partial import Partial
from kfdet.schema.dataset import Severity, Split

SAMPLES_A_SPLIT = 6
EXHIBITS_A_CODE = 2
WORST = 6
_SHOWN_GROUPS = ("record", "boxes", "classes", "image", "splits")
_CODES_NAMED = 4


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
    """A record that is worth reading again; `Sample` says what the fields mean.

    Attributes:
        byte_offset: Where it begins in its file; None when only its number is known.
    """

    split: Split
    file: str
    record: int
    byte_offset: int | None = None
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


def conspicuous(
    log: FindingLog, severities: Mapping[str, SeverityOrOff]
) -> Iterator[tuple[Pick, ...]]:
    """Yields the first images of each finding that a picture can show, worst finding first.

    An image that is like another comes together with it.
    """
    rank = {severity: position for position, severity in enumerate(get_args(Severity))}
    codes = [
        check.code
        for check in CATALOGUE
        if check.group in _SHOWN_GROUPS and severities[check.code] in rank
    ]
    codes.sort(key=lambda code: rank[severities[code]])
    for code in codes:
        for place, fault in log.first.get(code, [])[:EXHIBITS_A_CODE]:
            if picks := tuple(_both(place, fault)):
                yield picks


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


def worst(log: FindingLog, severities: Mapping[str, SeverityOrOff]) -> Iterator[Pick]:
    """Yields the records with most errors, then those with most warnings; none with only one."""
    by_file: dict[tuple[Split, str], dict[str, NDArray[np.uint64]]] = defaultdict(dict)
    for (code, split, file), records in log.records.items():
        if severities[code] in ("error", "warning"):
            by_file[split, file][code] = np.array(records, dtype=np.uint64)
    worst_of_all: list[tuple[int, int, Split, str, int]] = []
    for (split, file), found in by_file.items():
        grave = {code for code in found if severities[code] == "error"}
        worst_of_all += [(*badness, split, file, n) for n, badness in _worst_in(found, grave)]
    worst_of_all.sort(key=lambda entry: (-entry[0], -entry[1]))
    for _, _, split, file, record in worst_of_all[:WORST]:
        times = {code: int((own == record).sum()) for code, own in by_file[split, file].items()}
        codes = sorted((code for code in times if times[code]), key=lambda code: -times[code])
        about = ", ".join(f"{code} ({times[code]:,})" for code in codes[:_CODES_NAMED])
        more = len(codes) - _CODES_NAMED
        if more > 0:
            about += f" and {more} more"
        yield Pick(split=split, file=file, record=record, about=about)


def _worst_in(
    found: Mapping[str, NDArray[np.uint64]], grave: Set[str]
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yields the worst records of one file, each with its numbers of errors and of warnings."""
    records = np.concatenate(list(found.values()))
    is_error = np.concatenate([np.full(len(own), code in grave) for code, own in found.items()])
    numbers, which = np.unique(records, return_inverse=True)
    errors = np.bincount(which, weights=is_error).astype(np.int64)
    warnings = np.bincount(which, weights=~is_error).astype(np.int64)
    for position in np.lexsort((numbers, -warnings, -errors))[:WORST].tolist():
        if errors[position] + warnings[position] > 1:
            yield int(numbers[position]), (int(errors[position]), int(warnings[position]))

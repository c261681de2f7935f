"""Collecting findings: the first of each code and the number of all."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import get_args

from kfdet.core.validation.catalogue import BY_CODE, CATALOGUE, SeverityOrOff
from kfdet.errors import DataError
from kfdet.schema.dataset import Finding, Findings, Severity, Split

CAP = 20
_LONGEST_SHOWN = 400
PLACES_SHOWN = 3
_SEVERITIES: tuple[Severity, ...] = get_args(Severity)
_ORDER = {check.code: position for position, check in enumerate(CATALOGUE)}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a check looked; `Finding` says what the fields mean."""

    file: str
    split: Split | None = None
    record: int | None = None
    byte_offset: int | None = None
    source_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What a check saw, apart from where.

    Attributes:
        code: Of the catalogue.
        boxes: Positions of the boxes concerned within their record.
        like: The other record, where two are compared.
    """

    code: str
    seen: str
    expected: str
    boxes: tuple[int, ...] = ()
    like: Place | None = None


@dataclass(kw_only=True)
class FindingLog:
    """The first `cap` faults of each code, and how many there were.

    Merging logs in the order of their shards gives what one log over all shards would hold, however
    the shards are grouped.

    Attributes:
        records: Code, split and file to the records that have the fault: 8 bytes each.
    """

    cap: int = CAP
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[tuple[Place, Fault]]] = field(default_factory=dict)
    records: dict[tuple[str, Split, str], array[int]] = field(default_factory=dict)

    def add(self, place: Place, fault: Fault) -> None:
        if fault.code not in BY_CODE:
            raise KeyError(fault.code)
        self.counts[fault.code] += 1
        kept = self.first.setdefault(fault.code, [])
        if len(kept) < self.cap:
            kept.append((_shown_place(place), _shown_fault(fault)))
        if place.split is not None and place.record is not None:
            key = (fault.code, place.split, place.file)
            self.records.setdefault(key, array("Q")).append(place.record)

    def merge(self, other: FindingLog) -> None:
        """Adds the faults of shards that come after those of this log."""
        self.counts.update(other.counts)
        for code, faults in other.first.items():
            kept = self.first.setdefault(code, [])
            kept.extend(faults[: self.cap - len(kept)])
        for key, records in other.records.items():
            self.records.setdefault(key, array("Q")).extend(records)

    def findings(self, severities: Mapping[str, SeverityOrOff]) -> Findings:
        """Returns the document, worst severity first, then in the catalogue's order."""
        rank = {severity: position for position, severity in enumerate(_SEVERITIES)}
        totals: Counter[str] = Counter()
        listed: list[Finding] = []
        shown = [code for code in self.counts if severities[code] != "off"]
        shown.sort(key=lambda code: (rank[_severity(severities, code)], _ORDER[code]))
        for code in shown:
            severity = _severity(severities, code)
            totals[severity] += self.counts[code]
            listed.extend(
                _finding(place, fault, severity) for place, fault in self.first.get(code, [])
            )
        return Findings(
            counts={code: self.counts[code] for code in shown},
            errors=totals["error"],
            warnings=totals["warning"],
            infos=totals["info"],
            findings=tuple(listed),
        )


def shown(text: str) -> str:
    """Returns text of a record as it may be printed: of bounded length, and nothing but printable."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text):,})"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def _shown_place(place: Place) -> Place:
    if place.source_id is None:
        return place
    return replace(place, source_id=shown(place.source_id))


def _shown_fault(fault: Fault) -> Fault:
    like = fault.like and _shown_place(fault.like)
    return replace(fault, seen=shown(fault.seen), expected=shown(fault.expected), like=like)


def _severity(severities: Mapping[str, SeverityOrOff], code: str) -> Severity:
    severity = severities[code]
    if severity == "off":
        raise ValueError(code)
    return severity


def _finding(place: Place, fault: Fault, severity: Severity) -> Finding:
    return Finding(
        code=fault.code,
        severity=severity,
        split=place.split,
        file=place.file,
        record=place.record,
        byte_offset=place.byte_offset,
        source_id=place.source_id,
        seen=fault.seen,
        expected=fault.expected,
        remedy=BY_CODE[fault.code].remedy,
    )


class FaultyDataError(DataError):
    """Data with errors among their findings.

    Args:
        findings: All of them.
        remedy: Where there is more to see.
    """

    def __init__(self, findings: Findings, *, remedy: str) -> None:
        self.findings = findings
        super().__init__(failure_text(findings), remedy=remedy)


def failure_text(findings: Findings) -> str:
    """Returns the errors in a few lines: number and first places of each code."""
    first = by_code(one for one in findings.findings if one.severity == "error")
    number = "1 error" if findings.errors == 1 else f"{findings.errors:,} errors"
    lines = [f"{number} in the data:"]
    for code, places in first.items():
        one, *others = places[:PLACES_SHOWN]
        lines.append(f"  {code} ({findings.counts[code]:,}): {place_text(one)}: {one.seen}")
        lines += [f"    {place_text(other)}: {other.seen}" for other in others]
        lines.append(f"    {one.remedy}")
    return "\n".join(lines)


def by_code(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Returns each code with its findings, both in the order in which they come."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.code, []).append(finding)
    return found


def place_text(finding: Finding) -> str:
    """Returns where a finding is: file, record, byte and source id."""
    text = finding.file
    if finding.record is not None:
        text += f" record {finding.record}"
    if finding.byte_offset is not None:
        text += f" (byte {finding.byte_offset:,})"
    return f"{text} {finding.source_id}" if finding.source_id else text

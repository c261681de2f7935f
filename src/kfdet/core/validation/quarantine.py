"""The list of bad records, which a later run can leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from kfdet.core.validation.catalogue import CATALOGUE, SeverityOrOff
from kfdet.core.validation.findings import FindingLog
from kfdet.core.validation.shards import FileFacts
from kfdet.schema.dataset import SPLITS, Quarantine, QuarantinedRecord, Split

_ORDER = {check.code: position for position, check in enumerate(CATALOGUE)}


def quarantine_of(
    log: FindingLog,
    severities: Mapping[str, SeverityOrOff],
    *,
    files: Sequence[FileFacts],
    earlier: Quarantine | None,
) -> Quarantine:
    """Returns every record that has a finding of severity error, and those that were left out already.

    Args:
        log: All findings.
        severities: Of every code.
        files: All that were read.
        earlier: The list that the run was given, None when it had none.
    """
    codes: dict[tuple[Split, str, int], set[str]] = {}
    for (code, split, name), records in log.records.items():
        if severities[code] == "error":
            for record in records:
                codes.setdefault((split, name, record), set()).add(code)
    if earlier is not None:
        # A data set may have been moved since: only the name of a file is the same.
        known = {
            (entry.split, PurePath(entry.file).name, entry.record): entry.codes
            for entry in earlier.records
        }
        for file in files:
            for record in file.excluded:
                reasons = known[file.split, PurePath(file.name).name, record]
                codes.setdefault((file.split, file.name, record), set()).update(reasons)
    digests = {file.name: file.sha256 for file in files}
    ordered = sorted(codes, key=lambda key: (SPLITS.index(key[0]), key[1:]))
    return Quarantine(
        files={name: digests[name] for _, name, _ in ordered},
        records=tuple(
            QuarantinedRecord(
                split=split,
                file=name,
                record=record,
                codes=tuple(sorted(codes[split, name, record], key=_rank)),
            )
            for split, name, record in ordered
        ),
    )


def _rank(code: str) -> tuple[int, str]:
    return _ORDER.get(code, len(_ORDER)), code

"""What a run on the cluster came to, held against what it must be; for test.sh.

python scripts/kind/outcome.py passed RECORD CHAMPION    every stage ran, and what it made is the champion
python scripts/kind/outcome.py failed RECORD             the gate said fail, and nothing came after it
python scripts/kind/outcome.py version CHAMPION          prints the folder of the champion's version

RECORD is what `kfdet submit --wait --json` prints, CHAMPION a registry's champion.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_AFTER_THE_GATE = ("export", "publish")


def faults_of_a_pass(record: dict[str, Any], champion: dict[str, Any]) -> list[str]:
    """Returns what is wrong with a run that must have passed and be published."""
    faults = [f"the verdict is {record['verdict']}"] if record["verdict"] != "pass" else []
    for stage, status in _statuses(record).items():
        if status not in ("done", "cached"):
            faults.append(f"{stage} is {status}")
    if record["published_version"] is None:
        faults.append("nothing was published")
    elif champion["version"] != record["published_version"]:
        faults.append(
            f"version {record['published_version']} was published, and the champion is "
            f"{champion['version']}"
        )
    return faults


def faults_of_a_fail(record: dict[str, Any]) -> list[str]:
    """Returns what is wrong with a run that the gate must have stopped."""
    faults = [f"the verdict is {record['verdict']}"] if record["verdict"] != "fail" else []
    if not record["reasons"]:
        faults.append("it gives no reason")
    for stage, status in _statuses(record).items():
        expected = ("skipped",) if stage in _AFTER_THE_GATE else ("done", "cached")
        if status not in expected:
            faults.append(f"{stage} is {status}")
    if record["published_version"] is not None:
        faults.append(f"version {record['published_version']} was published")
    return faults


def _statuses(record: dict[str, Any]) -> dict[str, str]:
    return {stage["stage"]: stage["status"] for stage in record["stages"]}


def _read(path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return document


def main(arguments: list[str]) -> None:
    match arguments:
        case ["passed", record, champion]:
            faults = faults_of_a_pass(_read(record), _read(champion))
        case ["failed", record]:
            faults = faults_of_a_fail(_read(record))
        case ["version", champion]:
            print(f"{_read(champion)['version']:06d}")
            return
        case _:
            raise SystemExit(__doc__)
    if faults:
        raise SystemExit("the run is not what it must be: " + "; ".join(faults))


if __name__ == "__main__":
    main(sys.argv[1:])

"""A whole `validate`, its report with it, over data made to use up memory or time."""

from __future__ import annotations

import contextlib
import gzip
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from dataset_cases import QUIET, sound_splits, write_dataset
from hostile_cases import CASES, limited

from kfdet.core.tfrecord import encode_record, masked_crc32c
from kfdet.errors import DataError
from kfdet.schema.dataset import Findings
from kfdet.schema.run_config import DatasetConfig
from kfdet.stages import validate
from kfdet.storage.documents import read_document

OUTPUTS = ("manifest", "statistics", "findings", "quarantine", "report")
# Each takes seconds wherever it is read, and no more than the others otherwise.
SLOW = {
    "PNG below the limit", "PNG that is a line", "JPEG of fill bytes", "a million boxes that are none",
}  # fmt: skip


def counts_of(config: DatasetConfig, out: Path, *, cpu_s: int = 20) -> Mapping[str, int]:
    """The findings of a run within limits."""

    def work() -> dict[str, int]:
        with contextlib.suppress(DataError):
            validate.run(dataset=config, progress=QUIET, **{name: out / name for name in OUTPUTS})
        return dict(read_document(Findings, out / "findings").counts)

    found: Mapping[str, int] = limited(work, cpu_s=cpu_s)
    return found


def test_hostile_records_together_are_findings_and_a_report_of_bounded_size(tmp_path: Path):
    splits = sound_splits(3)
    cases = {name: case for name, case in CASES.items() if name not in SLOW}
    splits["train"] += [build() for build, _ in cases.values()]
    config = write_dataset(tmp_path / "data", splits)
    found = counts_of(config, tmp_path / "out", cpu_s=60)
    assert found.keys() >= {code for _, code in cases.values()}
    assert (tmp_path / "out" / "report").stat().st_size < 2_000_000
    assert (tmp_path / "out" / "findings").stat().st_size < 500_000


def header(length: int) -> bytes:
    """The head of a frame that says its length, with the right checksum."""
    said = struct.pack("<Q", length)
    return said + struct.pack("<I", masked_crc32c(said))


SHARDS = {
    "length of 2^63": (header(2**63), "record-truncated"),
    "lengths of 2^63 all over": (header(2**63) * 200_000, "record-truncated"),
    "lengths of a terabyte all over": (header(1 << 40) * 200_000, "record-truncated"),
    "lengths that nest": (header(1 << 20) * 400_000, "record-data-corrupt"),
    "empty records": (encode_record(b"") * 100_000, "field-missing"),
    "records of rubbish": (encode_record(b"\xff" * 9) * 100_000, "record-not-example"),
    "damage all over": ((header(0) + b"\1\1\1\1") * 50_000, "record-data-corrupt"),
    "zeros": (bytes(8 << 20), "record-length-corrupt"),
    "gzip bomb": (gzip.compress(bytes(1 << 30), 9), "file-bomb"),
    "zlib bomb": (zlib.compress(bytes(1 << 30), 9), "file-bomb"),
    "bomb within a bomb": (gzip.compress(gzip.compress(bytes(1 << 30), 9), 9), "file-compressed"),
    "gzip members without end": (gzip.compress(b"") * 200_000, "file-compressed"),
}


@pytest.mark.parametrize("kind", SHARDS)
def test_a_hostile_shard_is_a_finding_within_limits(kind: str, tmp_path: Path):
    content, code = SHARDS[kind]
    config = write_dataset(tmp_path / "data", sound_splits(4))
    (tmp_path / "data" / "val-00001-of-00002.tfrecord").write_bytes(content)
    assert code in counts_of(config, tmp_path / "out")

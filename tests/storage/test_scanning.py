from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_cases import CLASSES, QUIET, config_of, payload, sound_splits, write_dataset

from kfdet.core.tfrecord import encode_record
from kfdet.core.validation.boxes import Names
from kfdet.core.validation.catalogue import severities
from kfdet.core.validation.partial import Partial, statistics_of, whole_log
from kfdet.schema.dataset import Findings
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.manifests import split_digest
from kfdet.storage.scanning import scan_splits, split_files

NAMES = Names(aliases={number: (name,) for number, name in enumerate(CLASSES, 1)})
NOBOX = payload(seed=77, boxes=[(0.1, 0.1, 0.1, 0.5)])


def scan(config: DatasetConfig, workers: int = 2) -> dict[str, Partial]:
    return scan_splits(split_files(config), names=NAMES, progress=QUIET, workers=workers)


def counts(config: DatasetConfig) -> dict[str, int]:
    return dict(whole_log(scan(config), names=NAMES, label_map="m", readers={}).counts)


def test_a_sound_set_has_no_finding(tmp_path: Path):
    assert counts(write_dataset(tmp_path)) == {}


def test_nothing_depends_on_the_number_of_workers(tmp_path: Path):
    splits = sound_splits(9)
    splits["train"][4] = NOBOX
    splits["val"][2] = b"\xff"
    config = write_dataset(tmp_path, splits, shards=3)
    one, many = scan(config, 1), scan(config, 7)
    found = [
        whole_log(scans, names=NAMES, label_map="m", readers={}).findings(severities({}))
        for scans in (one, many)
    ]
    assert found[0] == found[1]
    assert found[0].counts == {"record-not-example": 1, "box-no-area": 1}
    names = {1: "cat", 2: "dog"}
    assert statistics_of(one, names=names) == statistics_of(many, names=names)


_IN_PROCESSES = """
import sys
from pathlib import Path
from dataset_cases import config_of
from kfdet.core.validation.catalogue import severities
from kfdet.core.validation.partial import whole_log
from kfdet.storage import scanning, workers
from test_scanning import NAMES, scan
scanning._LITTLE_BYTES = 0
assert workers._can_fork()
found = scan(config_of(Path(sys.argv[1])), workers=3)
log = whole_log(found, names=NAMES, label_map="m", readers={})
print(log.findings(severities({})).model_dump_json())
"""


def test_processes_find_what_threads_find(tmp_path: Path):
    splits = sound_splits(9)
    splits["train"][4] = NOBOX
    splits["val"][2] = b"\xff"
    config = write_dataset(tmp_path, splits, shards=3)
    log = whole_log(scan(config), names=NAMES, label_map="m", readers={})
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", _IN_PROCESSES, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert Findings.model_validate_json(done.stdout) == log.findings(severities({}))


def test_a_finding_has_its_split_file_record_byte_and_source_id(tmp_path: Path):
    splits = sound_splits(4)
    splits["val"][3] = NOBOX
    config = write_dataset(tmp_path, splits)
    ((place, _),) = scan(config)["val"].log.first["box-no-area"]
    assert place.file == str(tmp_path / "val-00001-of-00002.tfrecord")
    assert (place.split, place.record, place.source_id) == ("val", 1, "77")
    assert place.byte_offset == len(encode_record(splits["val"][2]))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data[:-7], {"record-truncated": 1}),
        (lambda data: data[:3], {"record-truncated": 1}),
        (lambda data: b"\1" + data[1:], {"record-length-corrupt": 1}),
        (lambda data: data[:40] + b"\1" + data[41:], {"record-data-corrupt": 1}),
        (lambda data: b"", {"file-empty": 1}),
        (gzip.compress, {"file-compressed": 1}),
        (
            lambda data: gzip.compress(data)[:-4],
            {"file-compressed": 1, "file-compression-damaged": 1},
        ),
        (
            lambda data: gzip.compress(data)[:-40],
            {"file-compressed": 1, "file-compression-damaged": 1, "record-truncated": 1},
        ),
        (lambda data: gzip.compress(bytes(80 << 20)), {"file-compressed": 1, "file-bomb": 1}),
    ],
)
def test_a_damaged_file_has_its_finding(tmp_path: Path, damage, expected: dict):
    config = write_dataset(tmp_path, sound_splits(6))
    path = tmp_path / "val-00001-of-00002.tfrecord"
    path.write_bytes(damage(path.read_bytes()))
    assert counts(config) == expected


def upload(gcs, folder: Path, name: str = "data") -> DatasetConfig:
    """The data set of a folder, in the bucket."""
    for path in folder.iterdir():
        if path.is_file():
            gcs.put("bucket", f"{name}/{path.name}", path.read_bytes())
    return config_of(folder).model_copy(
        update={split: (f"gs://bucket/{name}/{split}-*",) for split in ("train", "val", "test")}
    )


def test_a_set_in_a_bucket_is_found_to_be_what_it_is_in_a_folder(tmp_path: Path, gcs, remote):
    splits = sound_splits(7)
    splits["val"][3] = NOBOX
    here = write_dataset(tmp_path / "here", splits)
    there = upload(gcs, tmp_path / "here")
    found, local = scan(there), scan(here)
    ((place, _),) = found["val"].log.first["box-no-area"]
    assert place.file == "gs://bucket/data/val-00000-of-00002.tfrecord"
    assert {s: split_digest(p) for s, p in found.items()} == {
        s: split_digest(p) for s, p in local.items()
    }
    names = {1: "cat", 2: "dog"}
    assert statistics_of(found, names=names) == statistics_of(local, names=names)


def test_patterns_without_files_are_named_one_by_one(tmp_path: Path, remote):
    config = write_dataset(tmp_path)
    config = config.model_copy(
        update={"train": (*config.train, str(tmp_path / "no-*")), "val": ("gs://bucket/val-*",)}
    )
    log = whole_log(scan(config), names=NAMES, label_map="m", readers={})
    assert log.counts == {"file-no-match": 2, "split-empty": 1}
    assert [place.file for place, _ in log.first["file-no-match"]] == [
        str(tmp_path / "no-*"),
        "gs://bucket/val-*",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_named(tmp_path: Path):
    config = write_dataset(tmp_path)
    (tmp_path / "val-00000-of-00002.tfrecord").chmod(0)
    assert counts(config)["file-unreadable"] == 1


def test_a_missing_shard_is_found(tmp_path: Path):
    config = write_dataset(tmp_path)
    (tmp_path / "val-00000-of-00002.tfrecord").unlink()
    assert counts(config) == {"shard-missing": 1}


def test_one_file_in_two_splits_is_found_with_its_images(tmp_path: Path):
    write_dataset(tmp_path)
    config = config_of(tmp_path).model_copy(update={"test": (str(tmp_path / "val-*"),)})
    found = counts(config)
    assert found["file-in-two-splits"] == 2
    assert found["image-in-two-splits"] == 3


def test_progress_counts_every_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = []
    monkeypatch.setattr(
        type(QUIET), "update", lambda self, done, *, total, unit: told.append((done, total, unit))
    )
    scan(write_dataset(tmp_path, sound_splits(5)))
    assert told[-1] == (15, 15, "images")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert all(done < total for done, total, _ in told[:-1])

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from dataset_cases import QUIET, config_of, damage, payload, sound_splits, write_dataset

from kfdet.errors import DataError
from kfdet.schema.dataset import Quarantine
from kfdet.schema.run_config import DatasetConfig
from kfdet.stages import data_exclude, validate
from kfdet.storage.documents import read_document
from kfdet.storage.records import read_records

NO_AREA = [(0.1, 0.1, 0.1, 0.5)]


def validated(config: DatasetConfig, out: Path) -> Path:
    out.mkdir(exist_ok=True)
    names = ("manifest", "statistics", "findings", "report", "quarantine")
    with contextlib.suppress(DataError):
        validate.run(dataset=config, progress=QUIET, **{n: out / f"{n}.json" for n in names})
    return out / "quarantine.json"


@pytest.fixture
def faulty(tmp_path: Path) -> DatasetConfig:
    """Three records of train are bad: one by two errors, one a copy of another split's, one damaged."""
    splits = sound_splits(4)
    twice = payload(seed=77, boxes=NO_AREA, encoded=[b"rubbish"])
    splits["train"][1] = twice
    splits["test"][2] = splits["val"][0]
    config = write_dataset(tmp_path / "data", splits)
    damage(tmp_path / "data" / "train-00001-of-00002.tfrecord", place=40)
    return config


def exclude(config: DatasetConfig, quarantine: Path, out: Path) -> data_exclude.ExcludeResult:
    return data_exclude.run(dataset=config, quarantine=quarantine, out=out, progress=QUIET)


def test_every_record_with_an_error_is_listed_once_with_its_codes(
    faulty: DatasetConfig, tmp_path: Path
):
    found = read_document(Quarantine, validated(faulty, tmp_path / "v")).records
    assert [(r.split, Path(r.file).name, r.record, r.codes) for r in found] == [
        ("train", "train-00000-of-00002.tfrecord", 1, ("image-undecodable", "box-no-area")),
        ("train", "train-00001-of-00002.tfrecord", 0, ("record-data-corrupt",)),
        ("test", "test-00001-of-00002.tfrecord", 0, ("image-in-two-splits",)),
    ]


def test_what_is_left_is_sound_and_the_old_set_unchanged(faulty: DatasetConfig, tmp_path: Path):
    before = {p.name: p.read_bytes() for p in (tmp_path / "data").iterdir()}
    result = exclude(faulty, validated(faulty, tmp_path / "v"), tmp_path / "sound")
    assert result.images == {"train": 2, "val": 4, "test": 3}
    assert result.excluded == {"train": 2, "val": 0, "test": 1}
    again = validated(config_of(tmp_path / "sound"), tmp_path / "w")
    assert read_document(Quarantine, again).records == ()
    assert (tmp_path / "w" / "manifest.json").exists()
    assert {p.name: p.read_bytes() for p in (tmp_path / "data").iterdir()} == before


def test_the_records_left_are_the_same_bytes_in_the_same_order(
    faulty: DatasetConfig, tmp_path: Path
):
    exclude(faulty, validated(faulty, tmp_path / "v"), tmp_path / "sound")

    def val(folder: str) -> list[bytes]:
        paths = sorted((tmp_path / folder).glob("val-*"))
        return [frame.payload for path in paths for frame in read_records(path)]

    assert val("sound") == val("data")


def test_findings_below_an_error_are_not_quarantined(tmp_path: Path):
    splits = sound_splits()
    splits["train"][0] = payload(seed=5, format=[b"png"])
    config = write_dataset(tmp_path / "data", splits)
    assert read_document(Quarantine, validated(config, tmp_path / "v")).records == ()


def test_a_list_of_another_set_is_refused(faulty: DatasetConfig, tmp_path: Path):
    other = write_dataset(tmp_path / "other")
    with pytest.raises(DataError, match="the file that the list was made for"):
        exclude(other, validated(faulty, tmp_path / "v"), tmp_path / "sound")
    assert not (tmp_path / "sound").exists()


def test_a_record_that_there_is_not_is_an_error(faulty: DatasetConfig, tmp_path: Path):
    quarantine = validated(faulty, tmp_path / "v")
    quarantine.write_text(quarantine.read_text().replace('"record": 1', '"record": 11'))
    with pytest.raises(DataError, match="has no record 11"):
        exclude(faulty, quarantine, tmp_path / "sound")


def test_a_damaged_record_that_the_list_does_not_name_is_an_error(
    faulty: DatasetConfig, tmp_path: Path
):
    (tmp_path / "none.json").write_text('{"schema_version": 1, "files": {}, "records": []}')
    with pytest.raises(DataError, match=r"train-00001-of-00002.tfrecord record 0 .*is damaged"):
        exclude(faulty, tmp_path / "none.json", tmp_path / "sound")


def test_a_split_is_never_left_empty(tmp_path: Path):
    splits = {**sound_splits(), "val": [payload(seed=50, boxes=NO_AREA)]}
    config = write_dataset(tmp_path / "data", splits, shards=1)
    with pytest.raises(DataError, match="split val would have no records left"):
        exclude(config, validated(config, tmp_path / "v"), tmp_path / "sound")
    assert json.loads((tmp_path / "v" / "quarantine.json").read_text())["records"]

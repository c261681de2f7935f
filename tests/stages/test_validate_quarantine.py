"""A run with `dataset.quarantine`: its records are nowhere, and everything says so."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import pytest
from dataset_cases import QUIET, damage, payload, sound_splits, write_dataset

from kfdet.core.completeness import image_ids_of_shard
from kfdet.errors import DataError
from kfdet.progress import Progress
from kfdet.schema.dataset import Manifest, Quarantine, Statistics
from kfdet.schema.run_config import DatasetConfig
from kfdet.stages import fingerprint, validate
from kfdet.storage.documents import read_document
from kfdet.storage.quarantine import note_excluded
from kfdet.storage.records import read_record_at
from kfdet.storage.splits import read_split, training_files

NO_AREA = [(0.1, 0.1, 0.1, 0.5)]
FILES = ("manifest", "statistics", "findings", "report", "quarantine")


def run(config: DatasetConfig, out: Path, **more: object) -> validate.ValidateResult:
    out.mkdir(exist_ok=True)
    paths = {name: out / f"{name}.json" for name in FILES}
    return validate.run(dataset=config, **{"progress": QUIET, **paths, **more})


def with_list(config: DatasetConfig, out: Path) -> DatasetConfig:
    with contextlib.suppress(DataError):
        run(config, out)
    return config.model_copy(update={"quarantine": str(out / "quarantine.json")})


@pytest.fixture
def faulty(tmp_path: Path) -> DatasetConfig:
    """Of 8 records of train the second has a box without area, and the fifth is damaged."""
    splits = sound_splits(8)
    splits["train"][1] = payload(seed=77, boxes=NO_AREA)
    splits["test"][7] = b"no example"
    config = write_dataset(tmp_path / "data", splits)
    damage(tmp_path / "data" / "train-00001-of-00002.tfrecord", place=40)
    return config


def test_a_run_without_the_bad_records_passes_and_counts_the_others(faulty, tmp_path):
    with pytest.raises(DataError):
        run(faulty, tmp_path / "before")
    result = run(with_list(faulty, tmp_path / "before"), tmp_path / "after")
    assert (result.train_images, result.val_images, result.test_images) == (6, 8, 7)
    assert (result.excluded, result.errors, result.boxes) == (3, 0, 42)
    manifest = read_document(Manifest, tmp_path / "after" / "manifest.json")
    assert [(s.records, s.excluded) for s in manifest.train.shards] == [(3, (1,)), (3, (0,))]
    assert manifest.test.shards[1].excluded == (3,)
    statistics = read_document(Statistics, tmp_path / "after" / "statistics.json")
    assert (statistics.train.images, statistics.test.boxes) == (6, 14)


def test_image_ids_are_positions_among_the_records_used(faulty, tmp_path):
    run(with_list(faulty, tmp_path / "before"), tmp_path / "after")
    test = read_document(Manifest, tmp_path / "after" / "manifest.json").test
    placed = list(read_split(test))
    assert [one.image_id for one in placed] == list(range(7))
    train = read_document(Manifest, tmp_path / "after" / "manifest.json").train
    placed = list(read_split(train))
    assert [(one.image_id, one.index) for one in placed] == [
        (0, 0), (1, 2), (2, 3), (3, 1), (4, 2), (5, 3),
    ]  # fmt: skip
    for one in placed:
        assert read_record_at(Path(one.file), one.index) == one.payload
    for number in range(2):
        ids = [one.image_id for one in read_split(train, shard=number, num_shards=2)]
        assert ids == image_ids_of_shard(train, shard=number, num_shards=2).tolist()


def test_training_gets_the_same_records_as_evaluation(faulty, tmp_path):
    run(with_list(faulty, tmp_path / "before"), tmp_path / "after")
    train = read_document(Manifest, tmp_path / "after" / "manifest.json").train
    read = [record for file in training_files(train) for record in file.payloads()]
    assert read == [placed.payload for placed in read_split(train)]


def test_digests_change_with_what_is_left_out(faulty, tmp_path):
    sound = with_list(faulty, tmp_path / "before")
    digests = [
        fingerprint.run(dataset=config, progress=QUIET).data_digest for config in (faulty, sound)
    ]
    assert digests[0] != digests[1]
    run(sound, tmp_path / "after", data_digest=digests[1])
    one = read_document(Manifest, tmp_path / "after" / "manifest.json")
    listed = read_document(Quarantine, tmp_path / "before" / "quarantine.json")
    more = listed.records[0].model_copy(update={"record": 3})
    (tmp_path / "more.json").write_text(
        listed.model_copy(update={"records": (*listed.records, more)}).pretty_json()
    )
    longer = sound.model_copy(update={"quarantine": str(tmp_path / "more.json")})
    run(longer, tmp_path / "longer")
    two = read_document(Manifest, tmp_path / "longer" / "manifest.json")
    assert one.train.digest != two.train.digest
    assert one.val.digest == two.val.digest


def test_the_next_list_holds_the_earlier_one_too(faulty, tmp_path):
    sound = with_list(faulty, tmp_path / "before")
    run(sound, tmp_path / "after")
    names = [tmp_path / folder / "quarantine.json" for folder in ("before", "after")]
    assert names[0].read_text() == names[1].read_text()


def test_report_and_log_say_what_is_left_out(faulty, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(Progress, "note", lambda self, text: said.append(text))
    run(with_list(faulty, tmp_path / "before"), tmp_path / "after")
    assert "3 more in quarantine" in (tmp_path / "after" / "report.json").read_text()
    manifest = read_document(Manifest, tmp_path / "after" / "manifest.json")
    for split in ("train", "val", "test"):
        note_excluded(QUIET, split, manifest.split(split).excluded)
    sentences = [
        "2 records of train left out, as quarantine says",
        "1 record of test left out, as quarantine says",
    ]
    assert said == sentences * 2


def test_compressed_shards_are_left_out_of_just_so(faulty, tmp_path):
    for path in (tmp_path / "data").glob("*.tfrecord"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    result = run(with_list(faulty, tmp_path / "before"), tmp_path / "after")
    assert (result.train_images, result.test_images, result.excluded) == (6, 7, 3)
    manifest = read_document(Manifest, tmp_path / "after" / "manifest.json")
    assert {shard.compression for shard in manifest.train.shards} == {"gzip"}
    assert len(list(read_split(manifest.train))) == 6


def test_a_list_of_other_bytes_is_an_error_and_nothing_is_written(faulty, tmp_path):
    sound = with_list(faulty, tmp_path / "before")
    path = tmp_path / "data" / "train-00000-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="the file that the list was made for") as caught:
        run(sound, tmp_path / "after")
    assert caught.value.exit_code == 10
    assert list((tmp_path / "after").iterdir()) == []


def test_a_record_that_there_is_not_is_an_error(faulty, tmp_path):
    sound = with_list(faulty, tmp_path / "before")
    text = Path(sound.quarantine).read_text()
    Path(sound.quarantine).write_text(text.replace('"record": 1', '"record": 11'))
    with pytest.raises(DataError, match="has no record 11"):
        run(sound, tmp_path / "after")


def test_a_list_that_is_not_there_is_an_error(faulty, tmp_path):
    config = faulty.model_copy(update={"quarantine": str(tmp_path / "none.json")})
    with pytest.raises(DataError, match=r"none\.json"):
        run(config, tmp_path / "after")
    with pytest.raises(DataError, match=r"dataset\.quarantine .*none\.json"):
        fingerprint.run(dataset=config, progress=QUIET)

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_cases import QUIET

from kfdet.core.detection_record import parse_record
from kfdet.errors import UsageError
from kfdet.schema.run_config import DatasetConfig
from kfdet.stages import data_synth, validate
from kfdet.storage.records import read_records

IMAGES = {"train": 12, "val": 5, "test": 6}
SHARDS = {"train": 3, "val": 2, "test": 1}


def make(out: Path, **changes: object) -> data_synth.SynthResult:
    arguments = {"images": IMAGES, "shards": SHARDS, "progress": QUIET, **changes}
    return data_synth.run(out=out, **arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def records(folder: Path, split: str) -> list:
    paths = sorted(folder.glob(f"{split}-*"))
    return [parse_record(f.payload, where="") for path in paths for f in read_records(path)]


def test_equal_seeds_give_equal_bytes_and_another_seed_does_not(tmp_path: Path):
    one, again, other = (
        contents(make(tmp_path / n, seed=s).folder) for n, s in (("a", 3), ("b", 3), ("c", 4))
    )
    assert one == again
    assert one.keys() == other.keys()
    assert one["train-00000-of-00003.tfrecord"] != other["train-00000-of-00003.tfrecord"]


def test_the_folder_holds_named_shards_and_a_label_map(tmp_path: Path):
    make(tmp_path / "a")
    names = [p.name for p in sorted((tmp_path / "a").iterdir())]
    assert names == [
        "label_map.pbtxt",
        "test-00000-of-00001.tfrecord",
        *(f"train-0000{n}-of-00003.tfrecord" for n in range(3)),
        *(f"val-0000{n}-of-00002.tfrecord" for n in range(2)),
    ]


def test_counts_are_those_asked_for_and_those_written(tmp_path: Path):
    result = make(tmp_path / "a")
    found = {split: records(tmp_path / "a", split) for split in IMAGES}
    assert {split: len(r) for split, r in found.items()} == IMAGES == result.images
    assert sum(r.num_boxes for split in found.values() for r in split) == result.boxes
    ids = [r.source_id for split in found.values() for r in split]
    assert len(set(ids)) == len(ids)
    assert all(name.isdigit() for name in ids)


def test_a_longer_split_begins_with_the_shorter_one(tmp_path: Path):
    make(tmp_path / "a")
    make(tmp_path / "b", images={**IMAGES, "train": 20})
    short, long = records(tmp_path / "a", "train"), records(tmp_path / "b", "train")
    assert [r.encoded for r in long[:12]] == [r.encoded for r in short]


def test_validate_finds_nothing_in_it(tmp_path: Path):
    data = make(tmp_path / "a", images={"train": 60, "val": 30, "test": 30}).folder
    config = DatasetConfig.model_validate(
        {"label_map": f"{data}/label_map.pbtxt", **{s: f"{data}/{s}-*" for s in IMAGES}}
    )
    names = ("manifest", "statistics", "findings", "report")
    result = validate.run(dataset=config, progress=QUIET, **{n: tmp_path / n for n in names})
    assert (result.errors, result.warnings) == (0, 0)
    assert '"counts": {}' in (tmp_path / "findings").read_text()


def test_progress_ends_with_all_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = []
    monkeypatch.setattr(
        type(QUIET), "update", lambda self, done, **more: told.append((done, more["total"]))
    )
    make(tmp_path / "a")
    assert told == [(n, 23) for n in range(1, 24)]


def test_a_failure_leaves_the_older_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = contents(make(tmp_path / "a").folder)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(data_synth, "write_shards", fail)
    with pytest.raises(RuntimeError):
        make(tmp_path / "a", seed=9)
    assert contents(tmp_path / "a") == before
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {"train": 3, "val": 2}}, "test has 0 images"),
        ({"images": {**IMAGES, "val": -1}}, "val has -1 images"),
        ({"shards": {**SHARDS, "test": 7}}, "1 to 6"),
        ({"size_px": 8}, "size_px is 8"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(UsageError, match=message):
        make(tmp_path / "a", **changes)
    assert not (tmp_path / "a").exists()

"""Shards whose names are made to break out of something: read and shown as text, or refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from checks import check_page, text_of
from dataset_cases import QUIET, config_of, sound_splits, write_dataset

from kfdet.errors import DataError
from kfdet.schema.dataset import Findings, Manifest
from kfdet.schema.run_config import DatasetConfig
from kfdet.stages import validate
from kfdet.storage.dataset import dataset_digests
from kfdet.storage.documents import read_document

OUTPUTS = ("manifest", "statistics", "findings", "quarantine", "report")


def dataset(folder: Path, name: bytes) -> DatasetConfig:
    """A sound data set whose second training shard has that name, in any folder below."""
    config = write_dataset(folder / "data", sound_splits(4))
    shards = sorted((folder / "data").glob("train-*"))
    os.rename(shards[0], folder / "data" / "train-a")
    os.rename(os.fsencode(shards[1]), os.fsencode(folder / "data") + b"/" + name)
    return config.model_copy(update={"train": (str(folder / "data" / "train-*"),)})


def run(config: DatasetConfig, out: Path) -> validate.ValidateResult:
    return validate.run(dataset=config, progress=QUIET, **{name: out / name for name in OUTPUTS})


def everything_below(folder: Path) -> set[bytes]:
    return {path for path, _, _ in os.walk(os.fsencode(folder))} | {
        os.path.join(path, name)
        for path, _, names in os.walk(os.fsencode(folder))
        for name in names
    }


@pytest.mark.parametrize(
    "name",
    [
        b"train-..-00000.tfrecord",
        b"train-..%2f..%2fetc%00",
        b"train-..",
        b"train-<script>alert(1)<img src=x onerror=alert(1)>",
        b"train-\"'`$(touch x); rm -rf *&",
        "train-\u65e5\u672c \U0001f408".encode(),
        b"train-" + b"x" * 240,
    ],
    ids=ascii,
)
def test_a_name_that_is_text_is_a_name_like_any_other(tmp_path: Path, name: bytes):
    config = dataset(tmp_path, name)
    before, out = everything_below(tmp_path), tmp_path / "out"
    result = run(config, out)
    assert (result.train_images, result.errors, result.warnings) == (4, 0, 0)
    manifest = read_document(Manifest, out / "manifest")
    assert [Path(shard.uri).name for shard in manifest.train.shards] == sorted(
        ["train-a", name.decode()]
    )
    assert dataset_digests(config)["train"] == manifest.train.digest
    html = (out / "report").read_text()
    check_page(html)
    assert name.decode() in text_of(html)
    written = {os.fsencode(out), *(os.fsencode(out / name) for name in OUTPUTS)}
    assert everything_below(tmp_path) - before == written


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"train-\xff\xfe", "train-\\xff\\xfe: its name is no UTF-8 text"),
        (b"train-\nsound", "train-\\nsound: its name holds characters that can't be shown"),
        (b"train-\x1b[2J", "train-\\x1b[2J: its name holds characters that can't be shown"),
        ("train-\u202egpj".encode(), "train-\\u202egpj: its name holds characters that"),
    ],
    ids=ascii,
)
def test_a_name_that_is_no_text_is_an_error_that_names_it(tmp_path: Path, name: bytes, shown: str):
    config, out = dataset(tmp_path, name), tmp_path / "out"
    with pytest.raises(DataError) as refused:
        run(config, out)
    assert "file-name-unusable (1)" in str(refused.value)
    assert shown in str(refused.value)
    assert read_document(Findings, out / "findings").counts == {"file-name-unusable": 1}
    html = (out / "report").read_text()
    check_page(html)
    assert "Rename the file." in text_of(html)
    with pytest.raises(DataError) as also_refused:
        dataset_digests(config)
    assert shown in str(also_refused.value)


def test_a_pattern_that_leads_up_and_down_again_finds_the_files_once(tmp_path: Path):
    config = write_dataset(tmp_path / "data", sound_splits(4))
    train = (f"{tmp_path}/data/../data/train-*", f"{tmp_path}/data/../data/train-00000*")
    assert run(config.model_copy(update={"train": train}), tmp_path / "out").train_images == 4


def test_links_to_shards_elsewhere_are_shards(tmp_path: Path):
    write_dataset(tmp_path / "far", sound_splits(4))
    (tmp_path / "data").mkdir()
    for path in (tmp_path / "far").iterdir():
        (tmp_path / "data" / path.name).symlink_to(f"../far/{path.name}")
    assert run(config_of(tmp_path / "data"), tmp_path / "out").errors == 0

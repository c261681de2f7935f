from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from dataset_cases import QUIET, payload, sound_splits, write_dataset

from kfdet.errors import ArtifactError, DataError, UsageError
from kfdet.schema.run_config import DatasetConfig
from kfdet.stages import examine, validate
from kfdet.storage.dataset import data_digest, dataset_digests

FILES = ("manifest.json", "statistics.json", "findings.json", "quarantine.json", "report.html")


def validated(config: DatasetConfig, out: Path, **more: object) -> dict[str, str]:
    """Returns every file that validate wrote, and the message that it ended with."""
    out.mkdir(parents=True)
    message = ""
    try:
        validate.run(
            dataset=config,
            manifest=out / "manifest.json",
            statistics=out / "statistics.json",
            findings=out / "findings.json",
            quarantine=out / "quarantine.json",
            report=out / "report.html",
            progress=QUIET,
            **more,  # type: ignore[arg-type]
        )
    except DataError as failure:
        message = str(failure).replace(str(out), "out")
    written = {name: (out / name).read_text() for name in FILES if (out / name).is_file()}
    return {**written, "message": message}


def examined(config: DatasetConfig, out: Path, *, groups: int, **more: object) -> list[Path]:
    folders = [out / f"group-{k}" for k in range(groups)]
    for k, folder in enumerate(folders):
        examine.run(
            dataset=config,
            group=k,
            num_groups=groups,
            out=folder,
            progress=QUIET,
            **more,  # type: ignore[arg-type]
        )
    return folders


def faulty() -> dict[str, list[bytes]]:
    """Returns splits with faults that show in a record, between shards and between splits."""
    splits = sound_splits(7)
    splits["train"][2] = payload(seed=77, boxes=[(0.1, 0.1, 0.1, 0.5)])
    splits["train"][6] = splits["train"][0]
    splits["val"][5] = splits["train"][1]
    splits["test"][3] = b"\xff"
    return splits


@pytest.mark.parametrize("groups", [1, 2, 3, 20])
@pytest.mark.parametrize("splits", [sound_splits(5), faulty()], ids=["sound", "faulty"])
def test_groups_in_any_order_give_the_files_of_a_single_run(tmp_path, splits, groups: int):
    config = write_dataset(tmp_path / "data", splits, shards=3)
    config = config.model_copy(update={"train": (*config.train, str(tmp_path / "no-*"))})
    single = validated(config, tmp_path / "single")
    folders = examined(config, tmp_path, groups=groups)
    assert validated(config, tmp_path / "merged", groups=folders[::-1]) == single
    assert "file-no-match (1)" in single["message"]


def test_an_error_in_any_group_is_named_with_its_place_and_ends_in_bad_data(tmp_path: Path):
    config = write_dataset(tmp_path / "data", faulty(), shards=3)
    folders = examined(config, tmp_path, groups=3)
    found = validated(config, tmp_path / "merged", groups=folders)
    assert "manifest.json" not in found
    for words in ("box-no-area (1)", "image-in-two-splits (1)", "source-id-doubled (1)"):
        assert words in found["message"]
    assert "test-00001-of-00003.tfrecord record 0 (byte 0)" in found["message"]


def test_a_label_map_that_cannot_be_read_is_found_in_groups_too(tmp_path: Path):
    config = write_dataset(tmp_path / "data")
    (tmp_path / "data" / "label_map.pbtxt").write_text("item {")
    folders = examined(config, tmp_path, groups=2)
    found = validated(config, tmp_path / "merged", groups=folders)
    assert "label-map-unreadable (1)" in found["message"]


def test_data_that_changed_after_a_group_was_examined_are_refused(tmp_path: Path):
    config = write_dataset(tmp_path / "data")
    before = data_digest(dataset_digests(config))
    folders = examined(config, tmp_path, groups=2, data_digest=before)
    shard = tmp_path / "data" / "val-00000-of-00002.tfrecord"
    shutil.copyfile(tmp_path / "data" / "val-00001-of-00002.tfrecord", shard)
    after = data_digest(dataset_digests(config))
    found = validated(config, tmp_path / "merged", groups=folders, data_digest=after)
    assert "was examined for data with the digest" in found["message"]


def test_groups_that_read_other_bytes_than_the_run_began_with_are_refused(tmp_path: Path):
    config = write_dataset(tmp_path / "data")
    before = data_digest(dataset_digests(config))
    write_dataset(tmp_path / "data", sound_splits(5))
    folders = examined(config, tmp_path, groups=2, data_digest=before)
    found = validated(config, tmp_path / "merged", groups=folders, data_digest=before)
    assert "start the run again" in found["message"]
    assert "manifest.json" not in found


@pytest.mark.parametrize("damage", ["group.json", "images.parquet"])
def test_a_damaged_group_is_named(tmp_path: Path, damage: str):
    config = write_dataset(tmp_path / "data")
    (folder,) = examined(config, tmp_path, groups=1)
    content = (folder / damage).read_bytes()
    (folder / damage).write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match=damage):
        validate.run(
            dataset=config, manifest=tmp_path / "m", statistics=tmp_path / "s",
            findings=tmp_path / "f", report=tmp_path / "r", progress=QUIET, groups=[folder],
        )  # fmt: skip


def test_rows_of_another_group_are_refused(tmp_path: Path):
    config = write_dataset(tmp_path / "data", sound_splits(3), shards=1)
    one, two = examined(config, tmp_path, groups=2)
    shutil.copyfile(one / "images.parquet", two / "images.parquet")
    found = validated(config, tmp_path / "merged", groups=[one, two])
    assert "has 6 rows" in found["message"]


def test_a_group_that_there_is_not_is_wrong_usage(tmp_path: Path):
    config = write_dataset(tmp_path / "data")
    for group, num_groups, words in (
        (2, 2, "no group 2 of 2; expected a number from 0 to 1. Groups are counted from zero."),
        (-1, 2, "no group -1 of 2; expected a number from 0 to 1."),
        (1, 1, "no group 1 of 1; expected 0."),
        (0, 0, "--num-groups: shards can't be shared out over 0 groups; expected 1 or more."),
        (0, -3, "over -3 groups; expected 1 or more. --num-groups 1 examines all of them in one."),
    ):
        with pytest.raises(UsageError, match=re.escape(words)):
            examine.run(
                dataset=config, group=group, num_groups=num_groups, out=tmp_path / "g",
                progress=QUIET,
            )  # fmt: skip
    assert not (tmp_path / "g").exists()


def test_the_result_counts_what_is_in_the_group(tmp_path: Path):
    config = write_dataset(tmp_path / "data", faulty(), shards=1)
    result = examine.run(dataset=config, group=0, num_groups=3, out=tmp_path / "g", progress=QUIET)
    assert (result.shards, result.images, result.boxes, result.faults) == (1, 7, 13, 1)

"""Patterns and digests: canonical order, and no pattern that silently matches nothing."""

import glob
import hashlib
from pathlib import Path

import pytest

from kfdet.errors import ConfigError, DataError
from kfdet.schema.run_config import DatasetConfig
from kfdet.storage.dataset import data_digest, dataset_digests, with_absolute_paths
from kfdet.storage.files import expand_patterns, file_sha256, files_digest


@pytest.fixture
def shards(tmp_path):
    for name in ("b-1.tfrecord", "b-0.tfrecord", "a-0.tfrecord"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_files_come_once_and_in_the_order_of_their_names(shards):
    found = expand_patterns([f"{shards}/b-*", f"{shards}/*.tfrecord"], where="train")
    assert [Path(path).name for path in found] == ["a-0.tfrecord", "b-0.tfrecord", "b-1.tfrecord"]


def test_each_pattern_must_match(shards):
    with pytest.raises(DataError, match='dataset.val: no file matches ".*none.*"'):
        expand_patterns([f"{shards}/*.tfrecord", f"{shards}/none*"], where="dataset.val")


def test_another_kind_of_place_is_refused_in_words():
    with pytest.raises(ConfigError, match='begins with "s3://" is not known'):
        expand_patterns(["s3://bucket/x"], where="dataset.val")


def test_objects_come_in_the_order_of_their_names_and_with_the_digest_of_files(gcs, remote, shards):
    for path in shards.iterdir():
        if path.is_file():
            gcs.put("bucket", f"data/{path.name}", path.read_bytes())
            gcs.put("bucket", f"data/deeper/{path.name}", b"")
    here = expand_patterns([f"{shards}/*.tfrecord"], where="train")
    there = expand_patterns(["gs://bucket/data/*.tfrecord"], where="train")
    assert [path.rpartition("/")[2] for path in there] == [Path(path).name for path in here]
    assert files_digest(there) == files_digest(here)
    with pytest.raises(DataError, match='no file matches "gs://bucket/data/none"'):
        expand_patterns(["gs://bucket/data/none"], where="train")


def test_the_digest_of_files_depends_on_bytes_names_and_order_and_not_on_the_folder(
    shards, tmp_path
):
    files = expand_patterns([f"{shards}/*.tfrecord"], where="train")
    other = tmp_path / "other"
    other.mkdir()
    copies = [other / Path(path).name for path in files]
    for path, copy in zip(files, copies, strict=True):
        copy.write_bytes(Path(path).read_bytes())
    assert files_digest(copies) == files_digest(files)
    assert files_digest(reversed(files)) != files_digest(files)
    copies[1].write_text("changed")
    assert files_digest(copies) != files_digest(files)


def test_sha256_is_that_of_the_bytes(shards):
    expected = hashlib.sha256(b"a-0.tfrecord").hexdigest()
    assert file_sha256(shards / "a-0.tfrecord") == expected


def test_a_changed_byte_changes_the_digest_of_its_split_alone(shards):
    dataset = DatasetConfig(
        label_map=str(shards / "a-0.tfrecord"),
        train=(str(shards / "b-*"),),
        val=(str(shards / "a-*"),),
        test=(str(shards / "a-*"),),
    )
    before = dataset_digests(dataset)
    (shards / "b-1.tfrecord").write_text("B-1.tfrecord")
    after = dataset_digests(dataset)
    assert {split for split in before if before[split] != after[split]} == {"train"}
    assert data_digest(before) != data_digest(after)


def test_paths_become_absolute(shards, monkeypatch):
    monkeypatch.chdir(shards)
    dataset = DatasetConfig(label_map="m", train=("b-*",), val=("/v",), test=("gs://b/t",))
    absolute = with_absolute_paths(dataset)
    assert absolute.label_map == str(shards / "m")
    assert absolute.train == (str(shards / "b-*"),)
    assert absolute.val == ("/v",)
    assert absolute.test == ("gs://b/t",)


@pytest.fixture
def tree(tmp_path):
    for name in (
        "train-0",
        "a/train-1",
        "a/b/train-2",
        "a/b/other",
        ".hidden/train-3",
        "a/.train-4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("a")
    return tmp_path


@pytest.mark.parametrize(
    "pattern", ["**", "**/train-*", "a/**/train-?", "**/b/*", "*/**/[to]*", "**/*"]
)
@pytest.mark.parametrize("absolute", [True, False])
def test_two_stars_find_what_glob_finds(tree, monkeypatch, pattern, absolute):
    monkeypatch.chdir(tree)
    asked = str(tree / pattern) if absolute else pattern
    expected = {name for name in glob.glob(asked, recursive=True) if Path(name).is_file()}
    assert set(expand_patterns([asked], where="train")) == expected


def test_links_in_a_circle_are_followed_once(tree):
    for folder in ("", "a", "a/b"):
        for name in ("up", "upward"):
            (tree / folder / name).symlink_to(tree)
    found = expand_patterns([f"{tree}/**/train-*"], where="train")
    assert sorted(found) == [
        f"{tree}/{name}"
        for name in ("a/b/train-2", "a/train-1", "link/b/train-2", "link/train-1", "train-0")
    ]


def test_a_link_to_nowhere_is_found_and_not_left_out(shards):
    (shards / "b-2.tfrecord").symlink_to("gone")
    assert f"{shards}/b-2.tfrecord" in expand_patterns([f"{shards}/b-*"], where="train")

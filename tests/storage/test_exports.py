import shutil

import pytest
from evaluation_cases import write_export

from kfdet.errors import ArtifactError
from kfdet.schema.export import EXPORT_FILE
from kfdet.storage.checkpoints import checkpoint_digest
from kfdet.storage.exports import (
    content_digest,
    describe_files,
    is_export,
    model_digest,
    read_export,
)


@pytest.fixture
def folder(tmp_path):
    write_export(tmp_path / "export")
    return tmp_path / "export"


def test_every_file_but_the_manifest_is_described_in_order(folder):
    files = describe_files(folder)
    paths = [file.path for file in files]
    assert paths == sorted(paths)
    assert EXPORT_FILE not in paths
    assert paths


def test_the_content_digest_is_that_of_paths_and_bytes(folder, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    assert content_digest(describe_files(folder)) == content_digest(describe_files(moved))
    first = moved / describe_files(moved)[0].path
    first.write_bytes(first.read_bytes() + b" ")
    assert content_digest(describe_files(folder)) != content_digest(describe_files(moved))


def test_a_whole_export_is_read(folder):
    assert read_export(folder).content_digest == content_digest(describe_files(folder))


def test_a_model_is_named_by_its_export_or_its_checkpoint(folder, tmp_path):
    assert is_export(str(folder))
    assert model_digest(str(folder)) == read_export(folder).content_digest
    for name in ("ckpt-5.index", "ckpt-5.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"weights")
    prefix = str(tmp_path / "ckpt-5")
    assert not is_export(prefix)
    assert model_digest(prefix) == checkpoint_digest(prefix)
    with pytest.raises(ArtifactError, match="no whole checkpoint"):
        model_digest(str(tmp_path / "nothing"))


def test_a_missing_or_changed_file_is_named(folder):
    first = folder / describe_files(folder)[0].path
    first.write_bytes(b"changed")
    with pytest.raises(ArtifactError, match=first.name):
        read_export(folder)
    first.unlink()
    with pytest.raises(ArtifactError, match=first.name):
        read_export(folder)


def test_a_folder_without_a_manifest_is_no_export(tmp_path):
    with pytest.raises(ArtifactError, match=EXPORT_FILE):
        read_export(tmp_path)

"""A checkpoint is its files: all of them, or an error."""

import pytest

from kfdet.errors import ArtifactError
from kfdet.storage.checkpoints import checkpoint_digest, checkpoint_files, checkpoint_step


@pytest.fixture
def prefix(tmp_path):
    for name in ("ckpt-5.index", "ckpt-5.data-00000-of-00002", "ckpt-5.data-00001-of-00002"):
        (tmp_path / name).write_text(name)
    (tmp_path / "ckpt-50.index").write_text("another")
    return str(tmp_path / "ckpt-5")


def test_the_files_of_a_checkpoint_are_its_own(prefix):
    assert [path.name for path in checkpoint_files(prefix)] == [
        "ckpt-5.data-00000-of-00002",
        "ckpt-5.data-00001-of-00002",
        "ckpt-5.index",
    ]
    assert checkpoint_step(prefix) == 5


@pytest.mark.parametrize("name", ["ckpt-5.index", "ckpt-5.data-00001-of-00002"])
def test_a_missing_part_is_an_error(prefix, tmp_path, name):
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match="ckpt-5: is no whole checkpoint"):
        checkpoint_files(prefix)


def test_the_digest_follows_the_bytes(prefix, tmp_path):
    before = checkpoint_digest(prefix)
    (tmp_path / "ckpt-5.index").write_text("changed")
    assert checkpoint_digest(prefix) != before


def test_a_name_without_a_step_is_refused():
    with pytest.raises(ArtifactError, match="does not end in a step"):
        checkpoint_step("model/ckpt")

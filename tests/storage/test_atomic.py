"""A write is there whole or not at all."""

import errno
import os

import pytest

from kfdet.errors import StorageError
from kfdet.storage.atomic import new_folder, write_bytes, write_text


def test_a_text_is_written_and_replaced(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "one")
    write_text(path, "two é")
    assert path.read_text(encoding="utf-8") == "two é"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device. Free some space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_real_full_device_is_explained():
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    from kfdet.storage.atomic import explain_os_errors

    with (
        pytest.raises(StorageError, match="No space left on device"),
        explain_os_errors("/dev/full"),
        open("/dev/full", "w") as stream,
    ):
        stream.write("x")
        stream.flush()


def test_a_path_through_a_file_is_explained(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="choose another folder"):
        write_bytes(tmp_path / "file" / "inner", b"x")


def test_a_folder_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "folder"
    with new_folder(target) as work:
        (work / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_folder(tmp_path, failure):
    target = tmp_path / "folder"
    with new_folder(target) as work:
        (work / "a").write_text("old")
    with pytest.raises(failure), new_folder(target) as work:
        (work / "a").write_text("new")
        raise failure
    assert (target / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["folder"]


def test_a_complete_folder_replaces_the_old_one(tmp_path):
    target = tmp_path / "folder"
    for text in ("old", "new"):
        with new_folder(target) as work:
            (work / text).write_text(text)
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["folder"]

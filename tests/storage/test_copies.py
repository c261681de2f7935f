"""A copy has the bytes of its object, or it is made again."""

import shutil
from pathlib import Path

import pytest

from kfdet.errors import ArtifactError, StorageError
from kfdet.storage.copies import copy_of, local_file, local_folder

pytestmark = pytest.mark.usefixtures("remote")


def downloads(gcs):
    return sum(line.startswith("GET /download") for line in gcs.log)


def test_an_object_is_copied_once(gcs):
    gcs.put("bucket", "a/b", b"content")
    for _ in range(3):
        assert local_file("gs://bucket/a/b").read_bytes() == b"content"
    assert downloads(gcs) == 1


def test_a_changed_object_and_a_damaged_copy_are_copied_anew(gcs):
    gcs.put("bucket", "a/b", b"content")
    path = local_file("gs://bucket/a/b")
    gcs.put("bucket", "a/b", b"another")
    assert local_file("gs://bucket/a/b").read_bytes() == b"another"
    path.write_bytes(b"anotheR")
    assert local_file("gs://bucket/a/b").read_bytes() == b"another"


def test_a_path_is_itself(tmp_path):
    assert local_file("x/y") == Path("x/y")
    assert local_folder(tmp_path) == tmp_path


def test_a_missing_object_is_a_missing_file():
    with pytest.raises(FileNotFoundError):
        local_file("gs://bucket/none")
    with pytest.raises(ArtifactError, match="gs://bucket/none: there is nothing"):
        local_folder("gs://bucket/none")


def test_a_folder_holds_what_is_there_and_nothing_else(gcs):
    for name in ("f/a", "f/g/b", "f2/c"):
        gcs.put("bucket", name, name.encode())
    folder = local_folder("gs://bucket/f")
    files = {
        path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file()
    }
    assert files == {"a", "g/b"}
    del gcs.bucket("bucket")["f/a"]
    assert not (local_folder("gs://bucket/f") / "a").exists()


def test_an_interrupted_folder_goes_on_with_the_files_it_lacks(gcs):
    for name in "abcd":
        gcs.put("bucket", f"f/{name}", name.encode())
    for name in "ab":
        local_file(f"gs://bucket/f/{name}")
    local_folder("gs://bucket/f")
    assert downloads(gcs) == 4


def test_a_file_that_does_not_fit_is_named_before_it_is_copied(gcs, monkeypatch):
    gcs.put("bucket", "a/b", b"content")
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(total=9, used=6, free=3)
    )
    with pytest.raises(StorageError, match=r"7 bytes don't fit: 3 are free\. .*KFDET_CACHE"):
        local_file("gs://bucket/a/b")
    assert not copy_of("gs://bucket/a/b").exists()

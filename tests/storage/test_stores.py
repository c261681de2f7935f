"""The folders of this machine, behind the interface that buckets have."""

import os
import threading

import pytest

from kfdet.errors import ConfigError
from kfdet.storage.stores import NOTHING, LocalStore, StaleGeneration, store_of


@pytest.fixture
def here(tmp_path):
    return str(tmp_path / "folder" / "file")


def test_what_was_written_is_read(here, tmp_path):
    store = LocalStore()
    written = store.replace(here, b"0123456789")
    assert store.read(here) == b"0123456789"
    assert store.read_range(here, 8, 20) == b"89"
    assert store.find(here) == written
    assert store.download(here, tmp_path / "copy") == written
    copy = store.upload(tmp_path / "copy", str(tmp_path / "folder" / "second"))
    assert store.list(str(tmp_path / "folder/")) == (written, copy)
    assert store.list(str(tmp_path / "folder/se")) == (copy,)
    store.delete(here)
    store.delete(here)
    assert store.find(here) is None
    assert store.find(str(tmp_path)) is None, "a folder is no object"
    with pytest.raises(FileNotFoundError):
        store.read(here)


def test_a_file_that_changed_is_not_replaced(here):
    store = LocalStore()
    first = store.replace(here, b"first", expected=NOTHING)
    with pytest.raises(StaleGeneration):
        store.replace(here, b"doubled", expected=NOTHING)
    store.replace(here, b"again", expected=first.generation)
    with pytest.raises(StaleGeneration):
        store.replace(here, b"late", expected=first.generation)
    assert store.read(here) == b"again"


def test_of_writers_that_saw_the_same_exactly_one_wins(here):
    won = []

    def write(number):
        try:
            LocalStore().replace(here, b"%d" % number, expected=NOTHING)
            won.append(number)
        except StaleGeneration:
            pass

    threads = [threading.Thread(target=write, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert LocalStore().read(here) == b"%d" % won[0]
    assert os.listdir(os.path.dirname(here)) == ["file"]


def test_a_store_is_found_by_location():
    assert isinstance(store_of("a/b"), LocalStore)
    with pytest.raises(ConfigError, match="Mount it as a volume"):
        store_of("s3://bucket/x")

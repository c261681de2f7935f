"""A reader sees a whole folder or none."""

import pytest

from kfdet.storage.folders import new_folder_at

THERE = "gs://bucket/exports/one"
pytestmark = pytest.mark.usefixtures("remote")


def write(location, **files):
    with new_folder_at(location, last="list.json") as work:
        for name, content in files.items():
            (work / name).write_text(content)
        (work / "deep").mkdir()
        (work / "deep" / "file").write_text("deep")
        (work / "list.json").write_text(" ".join(files))


def names(gcs):
    return {name.removeprefix("exports/one/") for name in gcs.bucket("bucket")}


def test_the_list_is_written_last_and_taken_away_first(gcs):
    seen = []

    def look(*_):
        found = gcs.bucket("bucket")
        if "exports/one/list.json" in found:
            listed = found["exports/one/list.json"].content.decode().split()
            seen.append(all(f"exports/one/{name}" in found for name in listed))

    gcs.before = look
    write(THERE, a="1", b="1")
    write(THERE, b="2", c="2")
    assert all(seen)
    assert names(gcs) == {"b", "c", "deep/file", "list.json"}
    assert gcs.bucket("bucket")["exports/one/b"].content == b"2"


def test_a_failure_leaves_nothing(gcs):
    with pytest.raises(ValueError, match="no"), new_folder_at(THERE, last="list.json") as work:
        (work / "a").write_text("1")
        raise ValueError("no")
    assert names(gcs) == set()


def test_a_folder_of_this_machine_appears_as_one(tmp_path):
    write(str(tmp_path / "one"), a="1")
    assert (tmp_path / "one" / "list.json").read_text() == "a"

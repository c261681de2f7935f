"""A reader sees a whole folder or none."""

import pytest

from kfdet.errors import StorageError
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


@pytest.mark.parametrize("when", range(0, 30, 2))
def test_of_two_writers_who_is_overtaken_is_told_and_what_is_there_is_whole(gcs, when):
    requests = []

    def overtake(*request):
        requests.append(request)
        if len(requests) == when + 1:
            gcs.before = None
            write(THERE, a="2", c="2")

    gcs.before = overtake
    said = ""
    try:
        write(THERE, a="1", b="1")
    except StorageError as failure:
        said = str(failure)
    gcs.before = None
    assert "somebody else has written there meanwhile" in said or not said
    there = {name: gcs.bucket("bucket")[f"exports/one/{name}"].content for name in names(gcs)}
    if not said:
        number, names_of = (b"1", "ab") if there["list.json"] == b"a b" else (b"2", "ac")
        files = dict.fromkeys(names_of, number) | {"deep/file": b"deep"}
        assert there == {**files, "list.json": " ".join(names_of).encode()}


def test_a_failure_leaves_nothing(gcs):
    with pytest.raises(ValueError, match="no"), new_folder_at(THERE, last="list.json") as work:
        (work / "a").write_text("1")
        raise ValueError("no")
    assert names(gcs) == set()


def test_a_folder_of_this_machine_appears_as_one(tmp_path):
    write(str(tmp_path / "one"), a="1")
    assert (tmp_path / "one" / "list.json").read_text() == "a"

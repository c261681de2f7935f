"""A registry in a bucket: the same as in a folder, for readers and for publishers at once."""

import json
import random
import threading

import numpy as np
import pytest
from gcs_fake.connection import killed_after
from gcs_fake.server import LOST_ANSWERS, REFUSALS
from test_registry import COMPARISON, submit, submit_with_evidence

from kfdet.errors import ArtifactError, StorageError
from kfdet.storage import shelves, stores
from kfdet.storage.registry import ModelRegistry

ROOT = "gs://bucket/registry"
pytestmark = pytest.mark.usefixtures("remote")


@pytest.fixture
def registry():
    return ModelRegistry(ROOT, model="shapes")


def files(gcs, version):
    prefix = f"registry/shapes/versions/{version:06d}/"
    objects = gcs.bucket("bucket")
    return {name.removeprefix(prefix): objects[name].content for name in objects if prefix in name}


def champion_in(gcs):
    return json.loads(gcs.bucket("bucket")["registry/shapes/champion.json"].content)


def test_an_empty_registry_has_no_champion(registry):
    assert registry.champion() is None
    assert registry.exports() == {}


def test_what_is_published_in_a_bucket_is_what_is_published_in_a_folder(registry, gcs, tmp_path):
    local = ModelRegistry(tmp_path / "registry", model="shapes")
    for name in ("a", "b"):
        submission = submit(registry, tmp_path, name)
        there = registry.publish(submission)
        assert there.version == local.publish(submission).version
    assert there.folder == f"{ROOT}/shapes/versions/000002"
    folder = tmp_path / "registry/shapes/versions/000002"
    wanted = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert files(gcs, 2) == {**wanted, ".claim": b""}
    assert champion_in(gcs) == json.loads((tmp_path / "registry/shapes/champion.json").read_text())
    assert registry.champion() == local.champion()
    assert registry.exports() == local.exports()


def test_publishing_the_champion_again_changes_nothing(registry, gcs, tmp_path):
    submission = submit(registry, tmp_path, "a")
    registry.publish(submission)
    before = list(gcs.writes)
    assert registry.publish(submission).already_published
    assert gcs.writes == before


def test_the_evidence_comes_back(registry, tmp_path):
    submission, matched = submit_with_evidence(registry, tmp_path)
    registry.publish(submission)
    read = registry.evidence(registry.champion())
    assert np.array_equal(read.score, matched.score)


def test_a_version_is_seen_when_its_last_object_is_there(registry, gcs, tmp_path):
    registry.publish(submit(registry, tmp_path, "a"))
    submission = submit(registry, tmp_path, "b")
    exported = {file.path for file in submission.export.files}
    seen, lists = [], []

    def look(method, path):
        gcs.before = None
        seen.append((registry.champion().version, sorted(registry.exports())))
        there = set(files(gcs, 2))
        lists.append("export.json" not in there or exported <= there)
        gcs.before = look

    gcs.before = look
    registry.publish(submission)
    gcs.before = None
    assert set(map(str, seen)) <= {str((1, [1])), str((2, [1, 2]))}
    assert len(seen) > 10
    assert all(lists)
    assert registry.champion().version == 2


@pytest.mark.parametrize("after", range(1, 30, 3))
def test_a_publish_that_breaks_off_leaves_the_champion_and_can_be_repeated(
    registry, gcs, tmp_path, after
):
    registry.publish(submit(registry, tmp_path, "a"))
    submission = submit(registry, tmp_path, "b")
    with killed_after(after, stores._bucket_store()) as killed:
        registry.publish(submission)
    if killed:
        champion = registry.champion()
        assert champion.version in (1, 2, 3)
        registry.publish(submission)
    champion = registry.champion()
    assert champion.metrics == submission.metrics
    assert set(registry.exports()) >= {1, champion.version}


def test_publishers_at_the_same_time_lose_no_version(gcs, tmp_path):
    submissions = [
        submit(ModelRegistry(ROOT, model="shapes"), tmp_path, f"model {i}", against=None)
        for i in range(6)
    ]
    gcs.faults = random.Random(3).choices([None, None, *REFUSALS, *LOST_ANSWERS], k=60)
    published = []

    def publish(submission):
        published.append(ModelRegistry(ROOT, model="shapes").publish(submission))

    threads = [threading.Thread(target=publish, args=(one,)) for one in submissions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry = ModelRegistry(ROOT, model="shapes")
    assert len({one.version.version for one in published}) == 6
    exports = registry.exports()
    assert {export.content_digest for export in exports.values()} == {
        one.export.content_digest for one in submissions
    }
    assert champion_in(gcs)["version"] == max(exports)


def test_the_same_export_published_twice_in_a_row_is_one_version(registry, gcs, tmp_path):
    submission = submit(registry, tmp_path, "a")
    first = registry.publish(submission)
    second = ModelRegistry(ROOT, model="shapes").publish(submission)
    assert (second.already_published, second.version) == (True, first.version)


def test_who_compared_with_a_champion_of_the_past_is_refused_at_the_last_moment(
    registry, gcs, tmp_path, monkeypatch
):
    late = submit(registry, tmp_path, "late", policy=COMPARISON)
    other = submit(registry, tmp_path, "other")
    place = shelves.BucketShelf.place

    def overtaken(self, work, number, **rest):
        monkeypatch.undo()
        monkeypatch.setattr(stores, "_bucket_store", lambda: self._store)
        registry.publish(other)
        return place(self, work, number + 1, **rest)

    monkeypatch.setattr(shelves.BucketShelf, "place", overtaken)
    with pytest.raises(ArtifactError, match="Another model was published meanwhile"):
        registry.publish(late)
    assert registry.champion().metrics == other.metrics


def test_a_bucket_that_is_not_there_is_one_sentence():
    with pytest.raises(StorageError, match="there is no bucket nowhere"):
        ModelRegistry("gs://nowhere/registry", model="shapes").champion()

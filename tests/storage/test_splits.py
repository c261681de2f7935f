from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kfdet.errors import ArtifactError, DataError
from kfdet.progress import Progress
from kfdet.schema.dataset import ShardFile, SplitManifest
from kfdet.stages import data_synth
from kfdet.storage.files import file_sha256
from kfdet.storage.records import read_records
from kfdet.storage.splits import (
    check_files,
    on_this_machine,
    read_split,
    shard_images,
    training_files,
)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("split") / "data"
    data_synth.run(
        out=folder,
        images={"train": 11, "val": 1, "test": 1},
        shards={"train": 4, "val": 1, "test": 1},
        size_px=32,
        progress=Progress("test", quiet=True),
    )
    files = [
        ShardFile(
            uri=str(path),
            records=sum(1 for _ in read_records(path)),
            size_bytes=path.stat().st_size,
            sha256=file_sha256(path),
        )
        for path in sorted(folder.glob("train-*"))
    ]
    return SplitManifest(shards=tuple(files), images=11, boxes=1, digest="0" * 64)


def with_first(split, **changes):
    first = split.shards[0].model_copy(update=changes)
    return split.model_copy(update={"shards": (first, *split.shards[1:])})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(1, 7))
def test_the_shards_of_any_number_hold_every_image_once(split, num_shards):
    seen = []
    for shard in range(num_shards):
        ids = [p.image_id for p in read_split(split, shard=shard, num_shards=num_shards)]
        assert ids == sorted(ids)
        assert len(ids) == shard_images(split, shard=shard, num_shards=num_shards)
        seen += ids
    assert sorted(seen) == list(range(11))


def test_an_image_id_means_the_same_record_for_any_number_of_shards(split):
    whole = {p.image_id: p.payload for p in read_split(split)}
    for shard in range(3):
        for placed in read_split(split, shard=shard, num_shards=3):
            assert whole[placed.image_id] == placed.payload


def test_a_missing_or_resized_shard_is_named(split):
    with pytest.raises(ArtifactError, match="nowhere"):
        check_files(with_first(split, uri="/nowhere/train-00000-of-00004.tfrecord"))
    with pytest.raises(ArtifactError, match="run validate again"):
        check_files(with_first(split, size_bytes=3))
    check_files(split)


def test_a_shard_with_fewer_records_than_validated_is_named(split):
    with pytest.raises(ArtifactError, match="holds 3 records"):
        list(read_split(with_first(split, records=9)))


def test_a_record_that_was_damaged_without_changing_the_size_is_named(split, tmp_path):
    path = Path(split.shards[0].uri)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    copy = tmp_path / path.name
    copy.write_bytes(content)
    with pytest.raises(DataError, match="record 0"):
        list(read_split(with_first(split, uri=str(copy))))


@pytest.mark.usefixtures("remote")
def test_a_split_in_a_bucket_is_read_like_the_files_it_was_made_of(split, gcs):
    moved = []
    for file in split.shards:
        name = Path(file.uri).name
        gcs.put("bucket", f"data/{name}", Path(file.uri).read_bytes())
        moved.append(file.model_copy(update={"uri": f"gs://bucket/data/{name}"}))
    remote = split.model_copy(update={"shards": tuple(moved)})
    check_files(remote)
    here, there = list(read_split(split)), list(read_split(remote))
    assert [one.payload for one in there] == [one.payload for one in here]
    assert there[0].file == "gs://bucket/data/" + Path(split.shards[0].uri).name
    for file, local in zip(training_files(remote), on_this_machine(remote).shards, strict=True):
        assert file.uri == local.uri
        assert file_sha256(Path(file.uri)) == local.sha256
    gcs.put("bucket", "data/train-00001-of-00004.tfrecord", b"other")
    with pytest.raises(ArtifactError, match=r"gs://bucket/data/train-00001.* it has 5 bytes"):
        list(read_split(remote))
    del gcs.bucket("bucket")["data/train-00001-of-00004.tfrecord"]
    with pytest.raises(ArtifactError, match=r"gs://bucket/data/train-00001.*no such object"):
        check_files(remote)

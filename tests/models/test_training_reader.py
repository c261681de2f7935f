"""Which records training reads: compressed shards too, and none that is in quarantine."""

import gzip
import zlib
from pathlib import Path

import pytest

from kfdet.core.tfrecord import encode_record
from kfdet.schema.dataset import ShardFile, SplitManifest
from kfdet.storage.files import file_sha256
from kfdet.storage.splits import training_files

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

PACKED = {"none": bytes, "gzip": gzip.compress, "zlib": zlib.compress}


def records(shard: int) -> list[bytes]:
    return [f"{shard}/{number}".encode() * (1 + 40 * number) for number in range(50)]


def split_of(folder: Path, *shards: tuple[str, tuple[int, ...]], damaged: int | None = None):
    """Returns a split whose shards are compressed, and used in part, as is said for each."""
    files = []
    for number, (compression, excluded) in enumerate(shards):
        data = bytearray(b"".join(map(encode_record, records(number))))
        if damaged is not None:
            offset = sum(16 + len(record) for record in records(number)[:damaged])
            data[offset + 12] ^= 1
        # Characters that Model Garden takes for a list of patterns.
        path = folder / f"a, b*[{number}].tfrecord"
        path.write_bytes(PACKED[compression](bytes(data)))
        files.append(
            ShardFile(
                uri=str(path),
                records=50 - len(excluded),
                size_bytes=path.stat().st_size,
                sha256=file_sha256(path),
                compression=compression,
                excluded=excluded,
            )
        )
    images = sum(file.records for file in files)
    return SplitManifest(shards=tuple(files), images=images, boxes=0, digest="0" * 64)


def read_by_training(
    split: SplitManifest, *, is_training: bool = False, epochs: int = 1
) -> list[bytes]:
    """Returns the payloads of some epochs, as they come out of the reader that training uses."""
    from official.core import config_definitions

    from kfdet.models.task import TrainingReader

    params = config_definitions.DataConfig(
        global_batch_size=1, is_training=is_training, drop_remainder=False, input_path="unused",
        shuffle_buffer_size=7, deterministic=True,
    )  # fmt: skip
    reader = TrainingReader(training_files(split), params)
    batches = reader.read().take(epochs * split.images)
    return [batch.numpy()[0] for batch in batches]


def wanted(*excluded: tuple[int, ...]) -> list[bytes]:
    return [
        record
        for shard, left_out in enumerate(excluded)
        for number, record in enumerate(records(shard))
        if number not in left_out
    ]


@pytest.mark.parametrize("compression", PACKED)
def test_a_single_shard_is_read_in_order(tmp_path, compression):
    split = split_of(tmp_path, (compression, ()))
    assert read_by_training(split) == wanted(())


@pytest.mark.parametrize("compression", PACKED)
def test_exactly_the_records_in_quarantine_are_absent(tmp_path, compression):
    excluded = (0, 7, 8, 31, 49)
    split = split_of(tmp_path, (compression, excluded))
    assert read_by_training(split) == wanted(excluded)


def test_shards_may_be_mixed(tmp_path):
    kinds = [("none", ()), ("gzip", (3,)), ("zlib", ()), ("none", tuple(range(50))), ("gzip", ())]
    split = split_of(tmp_path, *kinds)
    assert sorted(read_by_training(split)) == sorted(wanted(*(kind[1] for kind in kinds)))


def test_many_shuffled_epochs_hold_every_used_record_and_no_other(tmp_path):
    split = split_of(tmp_path, ("none", (1, 2)), ("gzip", (5,)))
    read = read_by_training(split, is_training=True, epochs=6)
    assert set(read) == set(wanted((1, 2), (5,)))


def test_training_goes_on_behind_a_damaged_record_in_quarantine(tmp_path):
    split = split_of(tmp_path, ("none", (20,)), ("gzip", (20, 21)), damaged=20)
    assert sorted(read_by_training(split)) == sorted(wanted((20,), (20, 21)))

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation_cases import of_images, random_data, shard_result, write_shard
from hypothesis import given, settings
from hypothesis import strategies as st

from kfdet.core.coco import canonical
from kfdet.errors import ArtifactError
from kfdet.storage import shards
from kfdet.storage.shards import ShardWriter, read_shard

DATA = canonical(random_data(7))


def assert_equal(ours, theirs) -> None:
    for table in ("images", "ground_truth", "detections"):
        a, b = getattr(ours, table), getattr(theirs, table)
        for name in a.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(0, 9))
def test_what_is_written_is_read(tmp_path_factory, seed, images):
    data = canonical(random_data(seed, images=images))
    folder = write_shard(tmp_path_factory.mktemp("shard") / "shard", data)
    result, read = read_shard(folder)
    assert result == shard_result(data)
    assert_equal(read, data)


def test_batches_join(tmp_path):
    with ShardWriter(tmp_path / "shard") as writer:
        for image in range(7):
            writer.write(of_images(DATA, [image]))
        writer.finish(shard_result(DATA))
    assert_equal(read_shard(tmp_path / "shard")[1], DATA)


def test_small_batches_are_written_as_large_row_groups_as_they_come(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_GROUP_ROWS", 3)
    with ShardWriter(tmp_path / "shard") as writer:
        (work,) = tmp_path.iterdir()
        sizes = []
        for image in range(7):
            writer.write(of_images(DATA, [image]))
            sizes.append((work / "images.parquet").stat().st_size)
        writer.finish(shard_result(DATA))
    assert sizes[0] == sizes[1] < sizes[2] < sizes[5] == sizes[6]
    file = pq.ParquetFile(tmp_path / "shard" / "images.parquet")
    groups = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    assert groups == [3, 3, 1]
    assert_equal(read_shard(tmp_path / "shard")[1], DATA)


def test_the_columns_are_those_of_the_schema(tmp_path):
    folder = write_shard(tmp_path / "shard", DATA)
    assert pq.read_schema(folder / "detections.parquet").equals(
        pa.schema(
            [("image_id", pa.int64()), ("class_id", pa.int32()), ("score", pa.float32())]
            + [(side, pa.float32()) for side in ("xmin", "ymin", "xmax", "ymax")]
        )
    )
    assert pq.read_schema(folder / "ground_truth.parquet").names == [
        "image_id", "class_id", "is_crowd", "area", "xmin", "ymin", "xmax", "ymax",
    ]  # fmt: skip
    assert pq.read_schema(folder / "images.parquet").names == [
        "image_id", "source_id", "file", "record", "width_px", "height_px", "features",
    ]  # fmt: skip


def test_an_interrupted_shard_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path / "shard") as writer:
        writer.write(DATA)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_shard_left_unfinished_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match=r"without finish\(\)"), ShardWriter(tmp_path / "s") as w:
        w.write(DATA)
    assert not list(tmp_path.iterdir())


def test_an_older_shard_is_replaced_only_by_a_whole_one(tmp_path):
    write_shard(tmp_path / "shard", of_images(DATA, [0]))
    with pytest.raises(ValueError, match="boom"), ShardWriter(tmp_path / "shard") as writer:
        writer.write(DATA)
        raise ValueError("boom")
    assert read_shard(tmp_path / "shard")[0].images == 1
    write_shard(tmp_path / "shard", DATA)
    assert read_shard(tmp_path / "shard")[0].images == 7


def test_counts_that_differ_from_the_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="rows were written"), ShardWriter(tmp_path / "s") as w:
        w.write(DATA)
        w.finish(shard_result(DATA, images=3))


def test_images_out_of_order_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ascending order"), ShardWriter(tmp_path / "s") as w:
        w.write(of_images(DATA, [3]))
        w.write(of_images(DATA, [2]))


def test_a_missing_folder_names_the_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"nowhere/shard\.json"):
        read_shard(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["images", "ground_truth", "detections"])
def test_a_damaged_table_names_the_file(tmp_path, name):
    folder = write_shard(tmp_path / "shard", DATA)
    path = folder / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match=rf"{name}\.parquet: can't read"):
        read_shard(folder)
    path.unlink()
    with pytest.raises(ArtifactError, match=rf"{name}\.parquet"):
        read_shard(folder)


def test_lost_rows_are_noticed(tmp_path):
    folder = write_shard(tmp_path / "shard", DATA)
    path = folder / "detections.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(ArtifactError, match=rf"has {len(DATA.detections) - 1} rows; expected"):
        read_shard(folder)


def test_other_columns_are_refused(tmp_path):
    folder = write_shard(tmp_path / "shard", DATA)
    path = folder / "detections.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(2, "score", table["score"].cast(pa.float64())), path)
    with pytest.raises(ArtifactError, match="score double.*expected.*score float"):
        read_shard(folder)


def test_an_unknown_key_in_the_shards_document_is_refused(tmp_path: Path):
    folder = write_shard(tmp_path / "shard", DATA)
    text = json.loads((folder / "shard.json").read_text()) | {"imagess": 1}
    (folder / "shard.json").write_text(json.dumps(text))
    with pytest.raises(ArtifactError, match="imagess"):
        read_shard(folder)

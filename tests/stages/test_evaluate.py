import shutil

import numpy as np
import pytest
from detector_cases import kill_nine

from kfdet.core import coco
from kfdet.errors import ArtifactError, UsageError
from kfdet.storage.exports import read_export
from kfdet.storage.shards import read_shard

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


def test_shards_together_are_the_whole_and_one_without_files_is_empty(tiny, tmp_path):
    tiny.evaluate(tmp_path / "whole")
    _, whole = read_shard(tmp_path / "whole")
    parts = []
    for shard in range(4):
        result = tiny.evaluate(
            tmp_path / f"{shard}", shard=shard, num_shards=4, batch_size=3 + shard
        )
        said, data = read_shard(tmp_path / f"{shard}")
        assert (said.shard, said.images) == (shard, result.images)
        parts.append(data)
    assert len(parts[3].images) == 0
    merged = coco.concatenate(parts)
    assert np.array_equal(merged.detections.boxes_xyxy_px, whole.detections.boxes_xyxy_px)
    assert np.array_equal(merged.detections.score, whole.detections.score)
    assert merged.images.source_id == whole.images.source_id
    assert merged.images.image_id.tolist() == list(range(24))


def test_after_a_kill_nothing_is_there_and_another_attempt_writes_every_image_once(tiny, tmp_path):
    out = tmp_path / "shard"
    kill_nine(tiny, f"case.evaluate(Path({str(out)!r}), killer)", moment="done >= 16")
    assert not out.exists()
    tiny.evaluate(out)
    tiny.evaluate(tmp_path / "undisturbed")
    said, data = read_shard(out)
    _, expected = read_shard(tmp_path / "undisturbed")
    assert said.images == 24
    assert data.images.image_id.tolist() == list(range(24))
    for table in ("ground_truth", "detections"):
        ours, theirs = getattr(data, table), getattr(expected, table)
        for name in ours.__dataclass_fields__:
            assert np.array_equal(getattr(ours, name), getattr(theirs, name)), f"{table}.{name}"


def test_another_checkpoint_than_the_one_chosen_is_refused(tiny, tmp_path):
    with pytest.raises(ArtifactError, match="digest"):
        tiny.evaluate(tmp_path / "out", checkpoint_digest="0" * 64)
    assert not (tmp_path / "out").exists()


def test_an_export_is_evaluated_in_the_place_of_its_checkpoint(tiny, exported_tiny, tmp_path):
    digest = read_export(exported_tiny).content_digest
    tiny.evaluate(tmp_path / "of export", checkpoint=str(exported_tiny), checkpoint_digest=digest)
    tiny.evaluate(tmp_path / "of checkpoint")
    said, ours = read_shard(tmp_path / "of export")
    _, theirs = read_shard(tmp_path / "of checkpoint")
    assert said.checkpoint_digest == digest
    assert ours.images.source_id == theirs.images.source_id
    for one, other in ((ours, theirs), (theirs, ours)):
        for image in range(24):
            mine, found = (
                np.sort(data.detections.score[data.detections.image_id == image])[::-1]
                for data in (one, other)
            )
            assert np.allclose(mine[:10], found[:10], atol=1e-4)


def test_an_export_whose_bytes_have_changed_is_refused(tiny, exported_tiny, tmp_path):
    copy = tmp_path / "export"
    shutil.copytree(exported_tiny, copy)
    digest = read_export(copy).content_digest
    weights = copy / "saved_model" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"variables.data-00000-of-00001: its digest is"):
        tiny.evaluate(tmp_path / "out", checkpoint=str(copy), checkpoint_digest=digest)
    with pytest.raises(ArtifactError, match="is the export"):
        tiny.evaluate(
            tmp_path / "out", checkpoint=str(exported_tiny), checkpoint_digest="0" * 64
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_a_shard_beyond_the_last_is_a_wrong_call(tiny, tmp_path):
    with pytest.raises(UsageError):
        tiny.evaluate(tmp_path / "out", shard=2, num_shards=2)

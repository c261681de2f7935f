import numpy as np
import pytest
from detector_cases import kill_nine

from kfdet.core import coco
from kfdet.errors import ArtifactError, UsageError
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


def test_a_shard_beyond_the_last_is_a_wrong_call(tiny, tmp_path):
    with pytest.raises(UsageError):
        tiny.evaluate(tmp_path / "out", shard=2, num_shards=2)

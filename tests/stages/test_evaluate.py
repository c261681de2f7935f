import numpy as np
import pytest
from detector_cases import QUIET

from kfdet.core import coco
from kfdet.errors import ArtifactError, UsageError
from kfdet.stages import evaluate
from kfdet.storage.shards import read_shard

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


def evaluated(tiny, out, **changes):
    ref = tiny.summary.checkpoints[-1]
    inputs = {
        "experiment": tiny.experiment_file,
        "manifest": tiny.manifest_file,
        "checkpoint": ref.uri,
        "checkpoint_digest": ref.digest,
        "split": "test",
        "shard": 0,
        "num_shards": 1,
        "batch_size": 8,
        "out": out,
        "progress": QUIET,
    }
    return evaluate.run(**{**inputs, **changes})


def test_shards_together_are_the_whole_and_one_without_files_is_empty(tiny, tmp_path):
    evaluated(tiny, tmp_path / "whole")
    _, whole = read_shard(tmp_path / "whole")
    parts = []
    for shard in range(4):
        result = evaluated(
            tiny, tmp_path / f"{shard}", shard=shard, num_shards=4, batch_size=3 + shard
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


def test_another_checkpoint_than_the_one_chosen_is_refused(tiny, tmp_path):
    with pytest.raises(ArtifactError, match="digest"):
        evaluated(tiny, tmp_path / "out", checkpoint_digest="0" * 64)
    assert not (tmp_path / "out").exists()


def test_a_shard_beyond_the_last_is_a_wrong_call(tiny, tmp_path):
    with pytest.raises(UsageError):
        evaluated(tiny, tmp_path / "out", shard=2, num_shards=2)

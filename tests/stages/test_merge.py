import numpy as np
import pytest
from evaluation_cases import (
    CHECKPOINT,
    digest,
    label_map,
    manifest,
    of_images,
    random_data,
    split_manifest,
    write_shard,
)

from kfdet.core.coco import evaluate
from kfdet.core.completeness import image_ids_of_shard
from kfdet.errors import ArtifactError, DataError
from kfdet.progress import Progress
from kfdet.schema.metrics import MeasurementConfig, Metrics
from kfdet.schema.run_config import DiagnosisConfig
from kfdet.stages import merge
from kfdet.storage.documents import read_document, write_document

LABELS = label_map("circle", "square", "triangle")
COCO_MEASUREMENT = MeasurementConfig()
DATA = random_data(11, images=14)
SPLIT = split_manifest([2] * 7, boxes=len(DATA.ground_truth))


def shards_of(folder, total, data=DATA, **changes):
    paths = []
    for k in range(total):
        ids = image_ids_of_shard(SPLIT, shard=k, num_shards=total)
        facts = {"shard": k, "num_shards": total} | changes
        paths.append(write_shard(folder / f"shard-{k}", of_images(data, ids), **facts))
    return paths


def run(folder, shards, engine="hotcoco", split=SPLIT, config=COCO_MEASUREMENT):
    write_document(folder / "manifest.json", manifest(split, LABELS))
    return merge.run(
        shards=shards,
        manifest=folder / "manifest.json",
        split="test",
        engine=engine,
        config=config,
        diagnosis=DiagnosisConfig(),
        metrics=folder / "metrics.json",
        evidence=folder / "evidence",
        report=folder / "report.html",
        progress=Progress("merge", quiet=True),
    )


@pytest.mark.parametrize("total", [1, 2, 3, 7, 9])
def test_metrics_are_the_same_for_any_number_of_shards_in_any_order(tmp_path, total):
    shards = shards_of(tmp_path, total)
    np.random.default_rng(total).shuffle(shards)
    result = run(tmp_path, shards)
    assert result.overall == evaluate(DATA, label_map=LABELS).overall
    assert (result.images, result.detections) == (14, len(DATA.detections))
    written = read_document(Metrics, tmp_path / "metrics.json")
    assert written.overall == result.overall
    assert written.shards == total
    assert written.checkpoint_digest == CHECKPOINT
    assert written.split_digest == digest("test")
    assert written.boxes == (~DATA.ground_truth.is_crowd).sum()


def test_both_engines_write_the_same_metrics(tmp_path):
    shards = shards_of(tmp_path, 2)
    run(tmp_path, shards, "hotcoco")
    ours = read_document(Metrics, tmp_path / "metrics.json")
    run(tmp_path, shards, "pycocotools")
    theirs = read_document(Metrics, tmp_path / "metrics.json")
    changed = {"engine": ours.engine, "engine_version": ours.engine_version}
    assert ours == theirs.model_copy(update=changed)


def test_a_missing_shard_is_an_error_and_leaves_no_metrics(tmp_path):
    with pytest.raises(ArtifactError, match="shard 1 of 3 is missing"):
        run(tmp_path, np.delete(shards_of(tmp_path, 3), 1).tolist())
    assert not (tmp_path / "metrics.json").exists()


def test_a_doubled_shard_is_an_error(tmp_path):
    shards = shards_of(tmp_path, 3)
    with pytest.raises(ArtifactError, match="shard 0 is given twice"):
        run(tmp_path, [*shards, shards[0]])


def test_a_shard_of_another_model_is_an_error(tmp_path):
    shards = shards_of(tmp_path / "a", 2)
    others = shards_of(tmp_path / "b", 2, checkpoint_digest=digest("other"))
    with pytest.raises(ArtifactError, match="made by checkpoint"):
        run(tmp_path, [shards[0], others[1]])


def test_lost_images_are_an_error(tmp_path):
    write_shard(tmp_path / "whole", of_images(DATA, list(range(13))), shard=0, num_shards=1)
    with pytest.raises(ArtifactError, match="lacks 1 image, first record 1 of"):
        run(tmp_path, [tmp_path / "whole"])


def test_nan_scores_are_an_error_and_no_metric(tmp_path):
    broken = random_data(11, images=14)
    broken.detections.score[0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        run(tmp_path, shards_of(tmp_path, 2, broken))
    assert not (tmp_path / "metrics.json").exists()


def test_the_report_says_when_pictures_cannot_be_read(tmp_path):
    run(tmp_path, shards_of(tmp_path, 1))
    page = (tmp_path / "report.html").read_text()
    assert "pictures can&#39;t be shown" in page
    assert "test-00000-of-00001.tfrecord" in page


@pytest.mark.parametrize("blind", ["ground_truth", "detections", "both"])
def test_a_report_is_written_whatever_is_missing(tmp_path, blind):
    nothing = of_images(DATA, [])
    data = type(DATA)(
        images=DATA.images,
        ground_truth=DATA.ground_truth if blind == "detections" else nothing.ground_truth,
        detections=DATA.detections if blind == "ground_truth" else nothing.detections,
    )
    split = split_manifest([2] * 7, boxes=len(data.ground_truth))
    result = run(tmp_path, shards_of(tmp_path, 2, data), split=split)
    page = (tmp_path / "report.html").read_text()
    if blind == "detections":
        assert result.overall.ap == 0.0
        assert "There is no detection at all" in page
    else:
        assert result.overall.ap is None
        assert "nothing can be measured" in page

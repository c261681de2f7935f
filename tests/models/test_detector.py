import dataclasses

import numpy as np
import pytest
from detector_cases import DETECTOR

from kfdet.core import coco
from kfdet.errors import ArtifactError, DataError
from kfdet.storage.splits import read_split

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@pytest.fixture(scope="module")
def detector(tiny):
    from kfdet.models.detector import Detector

    built = Detector(tiny.experiment)
    built.restore(tiny.model_dir.prefix(60))
    return built


def whole(detector, tiny, *, batch_size=8, num_shards=1):
    from kfdet.models.inference import evaluate_records

    parts = []
    for shard in range(num_shards):
        records = read_split(tiny.manifest.test, shard=shard, num_shards=num_shards)
        parts += evaluate_records(detector, records, batch_size=batch_size)
    return coco.concatenate(parts)


def assert_equal_to_the_bit(one, other):
    for table in ("ground_truth", "detections"):
        left, right = getattr(one, table), getattr(other, table)
        for field in dataclasses.fields(left):
            a, b = getattr(left, field.name), getattr(right, field.name)
            assert np.array_equal(a, b), f"{table}.{field.name}"
    assert one.images.source_id == other.images.source_id
    assert np.array_equal(one.images.image_id, other.images.image_id)


@pytest.mark.parametrize(("batch_size", "num_shards"), [(1, 1), (7, 1), (7, 3), (24, 2), (5, 5)])
def test_no_detection_depends_on_batch_or_shards(detector, tiny, batch_size, num_shards):
    reference = whole(detector, tiny)
    assert len(reference.detections) > 100
    assert len(reference.images) == 24
    other = whole(detector, tiny, batch_size=batch_size, num_shards=num_shards)
    assert_equal_to_the_bit(reference, other)


def test_boxes_lie_inside_their_image_and_scores_descend(detector, tiny):
    seen = whole(detector, tiny).detections
    assert seen.boxes_xyxy_px.min() >= 0
    assert seen.boxes_xyxy_px.max() <= 128
    assert (seen.boxes_xyxy_px[:, 2:] >= seen.boxes_xyxy_px[:, :2]).all()
    for image_id in np.unique(seen.image_id):
        scores = seen.score[seen.image_id == image_id]
        assert (np.diff(scores) <= 0).all()
        assert scores.min() >= DETECTOR.nms.score_threshold


def test_an_image_of_another_size_is_answered_in_its_own_pixels(detector, tiny):
    import io

    from PIL import Image

    small = Image.open(io.BytesIO(next(read_split(tiny.manifest.test)).record.encoded))
    # With every pixel repeated, resizing to the model's input gives the very same numbers.
    sizes = [small, small.resize((512, 512), Image.Resampling.NEAREST)]
    streams = [io.BytesIO() for _ in sizes]
    for image, stream in zip(sizes, streams, strict=True):
        image.save(stream, "PNG")
    as_it_is, enlarged = detector([stream.getvalue() for stream in streams])
    assert enlarged.boxes_yxyx_px.max() > 128
    np.testing.assert_allclose(enlarged.scores, as_it_is.scores, atol=1e-6)
    np.testing.assert_allclose(enlarged.boxes_yxyx_px / 4, as_it_is.boxes_yxyx_px, atol=0.01)


def test_the_checkpoints_differ_and_can_be_restored_in_any_order(detector, tiny):
    late = whole(detector, tiny)
    detector.restore(tiny.model_dir.prefix(20))
    early = whole(detector, tiny)
    detector.restore(tiny.model_dir.prefix(60))
    assert_equal_to_the_bit(late, whole(detector, tiny))
    assert not np.array_equal(late.detections.score, early.detections.score)


def test_an_image_that_can_t_be_decoded_is_named(detector, tiny):
    from kfdet.models.inference import evaluate_records

    def records():
        for placed in read_split(tiny.manifest.test):
            broken = placed.image_id == 5
            record = placed.record
            if broken:
                record = dataclasses.replace(record, encoded=record.encoded[:200])
            yield dataclasses.replace(placed, record=record)

    with pytest.raises(DataError, match="can't be decoded") as caught:
        list(evaluate_records(detector, records(), batch_size=4))
    assert "record 5" in str(caught.value)


def test_records_are_read_as_the_work_goes_on(detector, tiny):
    from kfdet.models.inference import evaluate_records

    read = 0

    def records():
        nonlocal read
        for placed in read_split(tiny.manifest.test):
            read += 1
            yield placed

    next(evaluate_records(detector, records(), batch_size=3))
    assert read <= 9


def test_a_checkpoint_of_another_model_is_refused(detector, tiny, tmp_path):
    import tensorflow as tf

    prefix = tf.train.Checkpoint(step=tf.Variable(1)).write(str(tmp_path / "ckpt-1"))
    with pytest.raises(ArtifactError, match="can't be restored"):
        detector.restore(prefix)
    with pytest.raises(ArtifactError, match="can't be restored"):
        detector.restore(str(tmp_path / "nothing"))
    detector.restore(tiny.model_dir.prefix(60))


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_every_suppression_takes_any_batch(tiny, version):
    from kfdet.models.detector import Detector

    generator = {"detection_generator": {"nms_version": version}}
    params = {**tiny.experiment.params}
    params["task"] = {**params["task"], "model": {**params["task"]["model"]}}
    params["task"]["model"]["detection_generator"] = {
        **params["task"]["model"]["detection_generator"],
        **generator["detection_generator"],
    }
    other = Detector(tiny.experiment.model_copy(update={"params": params}))
    other.restore(tiny.model_dir.prefix(60))
    images = [placed.record.encoded for placed in read_split(tiny.manifest.test)][:3]
    together = other(images)
    alone = [other([image])[0] for image in images]
    for one, same in zip(together, alone, strict=True):
        assert len(one) > 5
        assert np.array_equal(one.boxes_yxyx_px, same.boxes_yxyx_px)
        assert np.array_equal(one.scores, same.scores)

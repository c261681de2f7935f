"""A few steps of a training, timed in a process of its own."""

from pathlib import Path

import pytest
from detector_cases import trained

from kfdet.core.feasibility.estimates import estimate
from kfdet.errors import TrainingError
from kfdet.models.timing import measure_training
from kfdet.storage.splits import read_split

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


def test_time_memory_and_disk_are_those_of_a_training():
    tiny = trained()
    images = [placed.record.encoded for placed in read_split(tiny.manifest.val)][:6]
    measured = measure_training(tiny.experiment, tiny.manifest, images=images)
    assert measured.parameters == tiny.summary.parameters
    assert measured.measured_steps >= 3
    assert 0 < measured.step_time_s < measured.startup_time_s
    assert measured.memory_bytes > 100e6
    assert measured.device_memory_bytes is None
    # A checkpoint holds the weights and twice as much for adamw, and a little for the format.
    prefix = tiny.model_dir.prefix(tiny.summary.checkpoints[-1].step)
    whole = sum(path.stat().st_size for path in Path(prefix).parent.glob(f"{Path(prefix).name}.*"))
    assert measured.checkpoint_bytes == pytest.approx(whole, rel=0.1)
    found = estimate(measured, tiny.experiment.training, tiny.manifest, free_disk_bytes=None)
    assert found.checkpoints == len(tiny.summary.checkpoints)
    assert found.training_time_s == tiny.summary.steps * measured.step_time_s
    assert found.total_time_s > found.training_time_s + found.startup_time_s


def test_a_training_that_can_not_begin_is_told_with_its_last_words():
    tiny = trained()
    broken = tiny.manifest.train.shards[0].model_copy(update={"uri": "/nowhere/a.tfrecord"})
    train = tiny.manifest.train.model_copy(
        update={"shards": (broken, *tiny.manifest.train.shards[1:])}
    )
    manifest = tiny.manifest.model_copy(update={"train": train})
    with pytest.raises(TrainingError, match="--no-timing leaves the measurement out"):
        measure_training(tiny.experiment, manifest, images=())

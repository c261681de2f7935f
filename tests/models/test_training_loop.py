import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from detector_cases import QUIET, TRAINING, Recorder, kill_nine, rendered

from kfdet.core.training_file import TrainingFile
from kfdet.errors import ConfigError, StorageError, TrainingError
from kfdet.schema.training import TrainingJournal
from kfdet.storage.model_dir import ModelDir
from kfdet.storage.splits import training_files

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


def steps_of(curve):
    return [point.step for point in curve]


def test_the_training_says_how_far_it_is_and_keeps_everything(tiny):
    summary = tiny.summary
    assert steps_of(summary.curve) == [10, 20, 30, 40, 50, 60]
    assert [ref.step for ref in summary.checkpoints] == [20, 40, 60]
    assert summary.curve[-1].loss < summary.curve[0].loss
    assert summary.resumed_from == 0
    assert summary.parameters > 10_000
    assert list(tiny.model_dir.events.glob("events.out.tfevents.*"))


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path):
    case = rendered(tmp_path)
    kill_nine(case, "case.train(killer)", moment="done >= 35")
    assert case.model_dir.steps() == (20,)

    said = Recorder()
    case.train(said)
    assert case.summary.resumed_from == 20
    assert steps_of(case.summary.curve) == [10, 20, 30, 40, 50, 60]
    assert case.summary.train_time_s > 0
    assert any("step 20" in note for note in said.notes)
    assert min(done for done, _ in said.updates) > 20


def test_a_training_that_only_lacks_its_summary_takes_no_step(damageable):
    said = Recorder()
    damageable.train(said)
    assert damageable.summary.resumed_from == 60
    assert steps_of(damageable.summary.curve) == [10, 20, 30, 40, 50, 60]
    assert said.updates == []


def test_a_truncated_newest_checkpoint_is_moved_aside_and_the_one_before_is_used(damageable):
    folder = damageable.model_dir
    data = folder.path / "ckpt-60.data-00000-of-00001"
    os.truncate(data, data.stat().st_size // 2)
    said = Recorder()
    damageable.train(said)
    assert damageable.summary.resumed_from == 40
    assert (folder.path / "damaged" / data.name).exists()
    assert any("step 60 can't be read" in note for note in said.notes)
    assert folder.steps() == (20, 40, 60)


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(damageable):
    from kfdet.models.interruption import TrainingInterrupted

    for file in damageable.model_dir.path.glob("ckpt-[46]0.*"):
        file.unlink()

    class Impatient(Recorder):
        def update(self, done, **kept):
            super().update(done, **kept)
            if done >= 23 and len(self.updates) == 1 + sum(d < 23 for d, _ in self.updates):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterrupted, match="Run the same command again") as caught:
        damageable.train(Impatient())
    assert isinstance(caught.value, KeyboardInterrupt)
    stopped_at = damageable.model_dir.steps()[-1]
    assert 20 < stopped_at < 60
    assert f"step {stopped_at} of 60" in str(caught.value)

    damageable.train()
    assert damageable.summary.resumed_from == stopped_at
    assert steps_of(damageable.summary.curve)[-1] == 60


BUCKET = "gs://bucket/models"


@pytest.mark.usefixtures("remote")
def test_training_goes_on_while_a_checkpoint_is_uploaded_and_ends_when_all_are(tmp_path, gcs):
    from kfdet.models.interruption import TrainingInterrupted

    settings = {"steps": 12, "checkpoint_every": 4}
    case = rendered(tmp_path, TRAINING.model_copy(update=settings))
    trained_on = threading.Event()

    class Interrupted(Recorder):
        def update(self, done, **kept):
            if done > 4 and not trained_on.is_set():
                os.kill(os.getpid(), signal.SIGINT)
                trained_on.set()

    def hold_the_first_checkpoint(_, path):
        if path.endswith("ckpt-4.index"):
            assert trained_on.wait(120), "training waits for the upload"

    gcs.before = hold_the_first_checkpoint
    with pytest.raises(TrainingInterrupted, match="step [5-8] of 12, with a checkpoint in gs://"):
        case.train(Interrupted(), model_root=BUCKET)
    there = ModelDir.of(BUCKET, experiment_digest=case.experiment.fingerprint())
    first, stopped_at = there.steps()
    assert first == 4

    case.train(model_root=BUCKET)
    assert case.summary.resumed_from == stopped_at
    assert [ref.step for ref in case.summary.checkpoints] == sorted({4, stopped_at, 8, 12})


@pytest.mark.usefixtures("remote")
def test_a_checkpoint_that_can_t_be_uploaded_ends_the_training_before_the_next_one(tmp_path, gcs):
    settings = {"steps": 40, "checkpoint_every": 20}
    case = rendered(tmp_path, TRAINING.model_copy(update=settings))
    denied = threading.Event()

    class Slow(Recorder):
        def update(self, done, **figures):
            super().update(done, **figures)
            if 20 < done < 40:
                assert denied.wait(120)
                time.sleep(0.2)

    def deny(_, path):
        if path.endswith("ckpt-20.data-00000-of-00001"):
            gcs.bucket("bucket").denied = {"create"}
            denied.set()

    gcs.before = deny
    said = Slow()
    with pytest.raises(StorageError, match="no permission: .*storage.objects.create"):
        case.train(said, model_root=BUCKET)
    assert said.updates[-1][0] < 40
    assert not any("ckpt-" in name for name in gcs.bucket("bucket"))


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_no_such_weights(tmp_path):
    rate = TRAINING.learning_rate.model_copy(update={"peak": 1e12, "warmup_start": 1e12})
    case = rendered(tmp_path, TRAINING.model_copy(update={"learning_rate": rate}))
    with pytest.raises(TrainingError, match=r"no longer a number at step \d+") as caught:
        case.train()
    assert "learning_rate.peak" in str(caught.value)
    assert case.model_dir.steps() == ()


def test_a_missing_gpu_is_an_error_when_one_is_wanted():
    import tensorflow as tf

    from kfdet.models.devices import choose_device

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="sees no GPU"):
        choose_device("gpu")
    assert choose_device("auto").description.startswith("CPU")


def test_an_initial_checkpoint_that_is_not_there_is_explained(tmp_path):
    case = rendered(tmp_path, TRAINING.model_copy(update={"init_checkpoint": "/nowhere/ckpt-1"}))
    with pytest.raises(ConfigError, match=r"training\.init_checkpoint: /nowhere/ckpt-1"):
        case.train()


def test_an_initial_checkpoint_gives_its_backbone(tiny, tmp_path):
    import numpy as np
    import tensorflow as tf

    from kfdet.models.training import train

    prefix = tiny.model_dir.prefix(60)
    settings = {
        "init_checkpoint": prefix, "steps": 1, "checkpoint_every": 1, "freeze_backbone": True,
        "learning_rate": TRAINING.learning_rate.model_copy(update={"warmup_steps": 0}),
    }  # fmt: skip
    case = rendered(tmp_path, TRAINING.model_copy(update=settings))
    folder = case.model_dir
    folder.path.mkdir(parents=True)
    files = training_files(case.manifest.train)
    empty = TrainingJournal(
        experiment_digest=case.experiment.fingerprint(), train_time_s=0.0, curve=()
    )
    train(case.experiment, files=files, store=folder, journal=empty, progress=QUIET)

    def kernels(checkpoint):
        reader = tf.train.load_checkpoint(checkpoint)
        names = [
            name for name in reader.get_variable_to_shape_map()
            if name.startswith("backbone/") and "kernel/.ATTR" in name and "OPTIMIZER" not in name
        ]  # fmt: skip
        return {name: reader.get_tensor(name) for name in names}

    before, after = kernels(prefix), kernels(folder.prefix(1))
    assert before
    for name, weights in before.items():
        assert np.array_equal(weights, after[name]), name


DETERMINISTIC = """
import hashlib, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from detector_cases import TRAINING, rendered
settings = {{"deterministic": True, "steps": 6, "checkpoint_every": 6,
             "learning_rate": TRAINING.learning_rate.model_copy(update={{"warmup_steps": 2}})}}
case = rendered(Path(sys.argv[1]), TRAINING.model_copy(update=settings))
case.train()
data = case.model_dir.path / "ckpt-6.data-00000-of-00001"
print(hashlib.sha256(data.read_bytes()).hexdigest())
"""


@pytest.mark.slow
def test_deterministic_trainings_give_equal_bits(tmp_path):
    program = DETERMINISTIC.format(tests=os.path.dirname(os.path.dirname(__file__)))
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / name)],
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        digests.append(done.stdout.split()[-1])
    assert digests[0] == digests[1]


def test_records_that_tensorflow_can_t_read_are_told_by_its_own_words(tiny, tmp_path):
    from kfdet.models.training import train

    empty = TrainingJournal(experiment_digest="0" * 64, train_time_s=0.0, curve=())
    folder = ModelDir(path=tmp_path)
    with pytest.raises(TrainingError, match="lost.tfrecord; No such file") as caught:
        train(
            tiny.experiment,
            files=[TrainingFile(uri="lost.tfrecord")],
            store=folder,
            journal=empty,
            progress=QUIET,
        )
    assert "validate" in str(caught.value)

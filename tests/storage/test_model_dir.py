from pathlib import Path

import pytest

from kfdet.errors import ArtifactError, TrainingError
from kfdet.schema.training import CurvePoint, TrainingJournal, TrainingSummary
from kfdet.storage.checkpoints import check_checkpoint, checkpoint_digest
from kfdet.storage.model_dir import ModelDir

DIGEST = "a" * 64


def write(content=b"weights"):
    def files(prefix):
        with open(f"{prefix}.data-00000-of-00001", "wb") as stream:
            stream.write(content)
        with open(f"{prefix}.index", "wb") as stream:
            stream.write(b"index of " + content)

    return files


@pytest.fixture
def folder(tmp_path):
    return ModelDir.of(str(tmp_path), experiment_digest=DIGEST)


def point(step):
    return CurvePoint(
        step=step, loss=1.0, class_loss=0.5, box_loss=0.01, learning_rate=0.1, steps_per_s=2.0
    )


def summary(folder):
    return TrainingSummary(
        model_dir=str(folder.path), experiment_digest=DIGEST, steps=20, images_per_step=8,
        parameters=5, device="CPU", resumed_from=0, train_time_s=3.0, curve=(point(10),),
        checkpoints=tuple(folder.checkpoint(step) for step in folder.steps()),
    )  # fmt: skip


def test_checkpoints_are_listed_by_step_not_by_name(folder):
    for step in (100, 20, 3):
        folder.commit(step, write())
    assert folder.steps() == (3, 20, 100)


def test_a_checkpoint_that_breaks_off_while_it_is_written_is_not_there(folder):
    folder.commit(10, write())

    def breaks_off(prefix):
        write()(prefix)
        raise OSError("disk full")

    with pytest.raises(Exception, match="disk full"):
        folder.commit(20, breaks_off)
    assert folder.steps() == (10,)
    assert not (folder.path / ".saving").exists(), "its beginning fills the disk"
    folder.commit(20, write())
    assert folder.steps() == (10, 20)


def test_data_without_an_index_are_no_checkpoint(folder):
    folder.commit(10, write())
    (folder.path / "ckpt-20.data-00000-of-00001").write_bytes(b"half")
    assert folder.steps() == (10,)


def test_a_checkpoint_that_is_set_aside_is_out_of_the_way_and_kept(folder):
    folder.commit(10, write())
    folder.commit(100, write())
    damaged = folder.set_aside(10)
    assert folder.steps() == (100,)
    assert sorted(file.name for file in Path(damaged).iterdir()) == [
        "ckpt-10.data-00000-of-00001",
        "ckpt-10.index",
    ]


def test_the_digest_follows_the_bytes(folder):
    folder.commit(10, write(b"one"))
    before = checkpoint_digest(folder.prefix(10))
    check_checkpoint(folder.prefix(10), digest=before)
    folder.commit(10, write(b"two"))
    with pytest.raises(ArtifactError, match="ckpt-10"):
        check_checkpoint(folder.prefix(10), digest=before)


def test_a_journal_is_kept_for_its_own_experiment_only(folder):
    journal = TrainingJournal(experiment_digest=DIGEST, train_time_s=2.0, curve=(point(10),))
    assert folder.journal(experiment_digest=DIGEST).curve == ()
    folder.write_journal(journal)
    assert folder.journal(experiment_digest=DIGEST) == journal
    assert folder.journal(experiment_digest="b" * 64).curve == ()
    (folder.path / "journal.json").write_text("{")
    assert folder.journal(experiment_digest=DIGEST).curve == ()


def test_a_training_is_finished_while_its_checkpoints_are_unchanged(folder):
    folder.commit(10, write())
    folder.write_summary(summary(folder))
    assert folder.summary(experiment_digest=DIGEST) == summary(folder)
    assert folder.summary(experiment_digest="b" * 64) is None
    folder.commit(10, write(b"other"))
    assert folder.summary(experiment_digest=DIGEST) is None


def test_a_moved_directory_keeps_its_training(folder, tmp_path):
    folder.commit(10, write())
    folder.write_summary(summary(folder))
    moved = ModelDir(path=tmp_path / "elsewhere")
    folder.path.rename(moved.path)
    found = moved.summary(experiment_digest=DIGEST)
    assert found is not None
    assert found.model_dir == str(moved.path)
    assert found.checkpoints[0].uri == moved.prefix(10)


def test_the_directory_is_taken_by_one_training_and_free_after_it(folder):
    with folder.locked(), pytest.raises(TrainingError, match="another process"), folder.locked():
        pass
    with folder.locked():
        pass

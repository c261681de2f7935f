import shutil
import threading
import time

import pytest
from detector_cases import Recorder, copy_of_trained, kill_nine

from kfdet.errors import ArtifactError, DataError, TrainingError, UsageError
from kfdet.schema.metrics import MeasurementConfig
from kfdet.stages import select
from kfdet.storage.documents import write_document

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@pytest.fixture
def case(tmp_path):
    copied = copy_of_trained(tmp_path)
    copied.model_dir.write_summary(copied.summary)
    found = copied.model_dir.summary(experiment_digest=copied.experiment.fingerprint())
    copied.model_dir.write_summary(found)
    write_document(copied.summary_file, found)
    return copied


def test_every_checkpoint_is_measured_and_the_best_is_chosen(case, tmp_path):
    result, ledger = case.select()
    values = {entry.checkpoint.step: entry.metrics.ap for entry in ledger.entries}
    assert list(values) == [20, 40, 60]
    assert result.value == max(values.values())
    assert result.checkpoint_step == ledger.best_step
    assert values[ledger.best_step] == result.value
    assert result.checkpoint == case.model_dir.prefix(ledger.best_step)


def test_a_repeated_select_measures_nothing_again(case, tmp_path, monkeypatch):
    first, ledger = case.select()
    monkeypatch.setattr(select._Bench, "measure", lambda *_: pytest.fail("measured again"))
    assert case.select() == (first, ledger)
    other, _ = case.select(metric="ar_100")
    assert other.checkpoint_step in (20, 40, 60)


def test_other_settings_measure_every_checkpoint_again(case):
    _, coco = case.select()
    _, half = case.select(config=MeasurementConfig(iou_thresholds=(0.5,)))
    for before, after in zip(coco.entries, half.entries, strict=True):
        assert after.metrics.ap == after.metrics.ap50 == before.metrics.ap50


def test_a_killed_select_keeps_what_it_measured(case, tmp_path):
    kill_nine(case, "case.select(killer)", moment="figures['step'] == 40 and done >= 8")
    kept = case.model_dir.ledger()
    assert [entry.checkpoint.step for entry in kept.entries] == [20]
    said = Recorder()
    _, ledger = case.select(said)
    assert [entry.checkpoint.step for entry in ledger.entries] == [20, 40, 60]
    assert {figures["step"] for _, figures in said.updates} == {40, 60}
    assert ledger.entries[0] == kept.entries[0]
    (case.model_dir.path / "ledger.json").unlink()
    _, undisturbed = case.select()
    for one, other in zip(ledger.entries, undisturbed.entries, strict=True):
        assert (one.checkpoint, one.metrics) == (other.checkpoint, other.metrics)


def test_a_checkpoint_that_was_overwritten_is_refused(case, tmp_path):
    path = case.model_dir.path
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copy(path / f"ckpt-20{suffix}", path / f"ckpt-40{suffix}")
    with pytest.raises(ArtifactError, match="ckpt-40"):
        case.select()


def test_a_metric_without_ground_truth_chooses_nothing(case, tmp_path):
    with pytest.raises(DataError, match="ap_large is undefined"):
        case.select(metric="ap_large")


def test_a_follower_measures_every_checkpoint_until_the_training_is_done(case, tmp_path):
    """The checkpoints of a finished training appear one by one, two of them at once."""
    folder, hidden = case.model_dir.path, tmp_path / "hidden"
    hidden.mkdir()
    for file in [*folder.glob("ckpt-*"), folder / "training.json"]:
        shutil.move(file, hidden / file.name)

    def training():
        for names in (["ckpt-20."], ["ckpt-40.", "ckpt-60."], ["training.json"]):
            time.sleep(0.5)
            for name in names:
                for file in sorted(hidden.glob(f"{name}*"), key=lambda file: ".index" in file.name):
                    shutil.move(file, folder / file.name)

    thread = threading.Thread(target=training)
    thread.start()
    result, ledger = case.select(summary=None, follow=folder, timeout_s=60)
    thread.join()
    assert [entry.checkpoint.step for entry in ledger.entries] == [20, 40, 60]
    assert result.checkpoint_step == ledger.best_step


def test_a_follower_does_not_wait_for_ever(case, tmp_path):
    (case.model_dir.path / "training.json").unlink()
    with pytest.raises(TrainingError, match="no new checkpoint"):
        case.select(summary=None, follow=case.model_dir.path, timeout_s=0.1)


def test_something_must_be_selected_from(case, tmp_path):
    with pytest.raises(UsageError):
        case.select(summary=None)

import subprocess
import sys

import pytest
from detector_cases import TRAINING, copy_of_trained, rendered, trained

from kfdet.errors import ArtifactError, TrainingError
from kfdet.storage.documents import read_document, write_document

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

AGAIN = """
import sys
from pathlib import Path
from kfdet.progress import Progress
from kfdet.stages import train
folder = Path(sys.argv[1])
result = train.run(
    experiment=folder / "experiment.json", manifest=folder / "manifest.json",
    model_root=str(folder / "models"), summary=folder / "again.json", report=folder / "r.html",
    progress=Progress("train", quiet=True),
)
assert result.step == 60
assert "tensorflow" not in sys.modules
"""


def test_a_finished_training_is_reported_again_without_tensorflow():
    case = trained()
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, str(case.folder)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert read_document(type(case.summary), case.folder / "again.json") == case.summary


def test_a_checkpoint_that_went_missing_makes_a_training_unfinished(tmp_path):
    case = copy_of_trained(tmp_path)
    case.model_dir.write_summary(case.summary)
    digest = case.experiment.fingerprint()
    assert case.model_dir.summary(experiment_digest=digest) is not None
    (case.model_dir.path / "ckpt-40.index").unlink()
    assert case.model_dir.summary(experiment_digest=digest) is None


def test_shards_that_changed_since_validation_are_named(tmp_path):
    case = rendered(tmp_path)
    manifest = case.manifest
    shard = manifest.train.shards[1].model_copy(update={"size_bytes": 17})
    train = manifest.train.model_copy(update={"shards": (manifest.train.shards[0], shard)})
    write_document(case.manifest_file, manifest.model_copy(update={"train": train}))
    with pytest.raises(ArtifactError, match="train-00001-of-00002") as caught:
        case.train()
    assert "17" in str(caught.value)


def test_another_training_split_is_refused(tmp_path):
    case = rendered(tmp_path)
    manifest = case.manifest
    other = manifest.train.model_copy(update={"digest": "a" * 64})
    write_document(case.manifest_file, manifest.model_copy(update={"train": other}))
    with pytest.raises(ArtifactError, match="Run render again"):
        case.train()


def test_two_trainings_can_t_share_a_model_directory(tmp_path):
    case = rendered(tmp_path, TRAINING)
    with (
        case.model_dir.locked(),
        pytest.raises(TrainingError, match="another process is training here"),
    ):
        case.train()

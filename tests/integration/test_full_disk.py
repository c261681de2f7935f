"""A run whose model directory fills up in the middle of training, and that goes on when there is room."""

import json
import os
import subprocess

import pytest
from tiny_run import kfdet, statuses, write_configurations

from kfdet.schema.run_record import RunRecord
from kfdet.storage.documents import read_document

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

# A checkpoint of the tiny detector takes 4.5 MB.
ROOM_FOR_ONE = "7m"


@pytest.fixture
def small_disk(tmp_path):
    """Folder of a run whose models lie on a disk with room for one checkpoint, not for two."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a tmpfs")
    models = tmp_path / "out" / "models"
    models.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_FOR_ONE}", "tmpfs", str(models)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine mounts no tmpfs: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(models)], check=True)


def test_a_full_disk_is_named_leaves_nothing_half_written_and_is_recovered_from(small_disk):
    kfdet(
        "data", "synth", "--out", "data", "--train", 24, "--val", 8, "--test", 8, folder=small_disk
    )
    write_configurations(small_disk)
    models = small_disk / "out" / "models"

    failed = kfdet("run", "strict.yaml", "--out", "out", folder=small_disk, check=False)
    assert failed.returncode == 1
    assert "No space left on device" in failed.stderr
    assert "Free some space" in failed.stderr
    assert "Traceback" not in failed.stderr
    (folder,) = models.iterdir()
    assert sorted(file.name for file in folder.glob("**/*ckpt*")) == [
        "ckpt-20.data-00000-of-00001",
        "ckpt-20.index",
    ]
    assert not (folder / ".saving").exists()
    assert json.loads((folder / "journal.json").read_text())
    record = read_document(RunRecord, small_disk / "out" / "run.json")
    assert statuses(record)["train"] == "failed"
    assert record.verdict is None

    subprocess.run(["mount", "-o", "remount,size=200m", str(models)], check=True)
    kfdet("run", "strict.yaml", "--out", "out", folder=small_disk)
    record = read_document(RunRecord, small_disk / "out" / "run.json")
    assert statuses(record)["validate"] == "cached"
    assert statuses(record)["train"] == "done"
    assert record.verdict == "fail"
    summary = json.loads((folder / "training.json").read_text())
    assert summary["resumed_from"] == 20
    assert [ref["step"] for ref in summary["checkpoints"]] == [20, 40]

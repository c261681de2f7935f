"""`kfdet validate` and `kfdet run` as processes: exit codes, counts by code and first places."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_cases import payload, sound_splits, write_dataset

CONFIG = """
name: faulty
dataset:
  label_map: data/label_map.pbtxt
  train: data/train-*
  val: data/val-*
  test: data/test-*
detector: {input_size: [128, 128], max_level: 5}
training: {steps: 60, batch_size: 4, checkpoint_every: 20, learning_rate: {warmup_steps: 5}}
gate: {rules: [{metric: ap, at_least: 0.1}]}
"""


def kfdet(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kfdet.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    splits = sound_splits(4)
    splits["train"][1] = payload(seed=71, boxes=[(0.1, 0.1, 0.1, 0.5)])
    splits["train"][3] = payload(seed=72, boxes=[(0.3, 0.1, 0.3, 0.5), (0.2, 0.2, 0.2, 0.5)])
    splits["val"][0] = payload(seed=73, format=[b"png"])
    write_dataset(tmp_path / "data", splits)
    (tmp_path / "run.yaml").write_text(CONFIG)
    return tmp_path


def test_an_error_ends_with_10_and_says_how_many_of_which_and_where_first(folder: Path):
    done = kfdet(folder, "validate", "run.yaml", "--out", "out")
    assert done.returncode == 10
    assert "3 errors in the data" in done.stderr
    assert "box-no-area (3): data/train-00000-of-00002.tfrecord record 1 (byte " in done.stderr
    assert "image-format-mismatch" not in done.stderr
    assert "Traceback" not in done.stderr
    counts = json.loads((folder / "out" / "findings.json").read_text())["counts"]
    assert counts == {"box-no-area": 3, "image-format-mismatch": 1}
    assert not (folder / "out" / "manifest.json").exists()


def test_faulty_data_are_answered_in_json_and_end_as_without(folder: Path):
    words = kfdet(folder, "validate", "run.yaml", "--out", "out")
    assert words.stdout == ""
    done = kfdet(folder, "validate", "run.yaml", "--out", "out", "--json")
    assert done.returncode == 10
    assert done.stderr == words.stderr
    assert json.loads(done.stdout) == {
        "counts": {"box-no-area": 3, "image-format-mismatch": 1},
        "errors": 3,
        "warnings": 1,
        "findings": "out/findings.json",
        "quarantine": "out/quarantine.json",
        "report": "out/report.html",
    }
    assert all((folder / "out" / name).is_file() for name in ("quarantine.json", "report.html"))


def test_data_that_are_not_looked_at_have_no_answer(folder: Path):
    assert kfdet(folder, "validate", "run.yaml", "--out", "out").returncode == 10
    missing = ("--set", "dataset.quarantine=gone.json", "--json")
    done = kfdet(folder, "validate", "run.yaml", "--out", "out", *missing)
    assert (done.returncode, done.stdout) == (10, "")


def test_sound_data_and_groups_have_their_counts_too(folder: Path):
    lowered = ("--set", "dataset.severities={box-no-area: warning}")
    done = kfdet(folder, "validate", "run.yaml", "--out", "out", *lowered)
    assert "counts           image-format-mismatch (1); box-no-area (3)" in done.stdout
    done = kfdet(folder, "validate", "run.yaml", "--out", "out", "--json", *lowered)
    assert json.loads(done.stdout)["counts"] == {"box-no-area": 3, "image-format-mismatch": 1}
    group = ("--group", "0", "--num-groups", "1", "--json")
    done = kfdet(folder, "examine", "run.yaml", "--out", "out", *group)
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert (answer["counts"], answer["faults"]) == (
        {"box-no-area": 3, "image-format-mismatch": 1},
        4,
    )


def test_severities_are_set_in_the_configuration(folder: Path):
    lowered = ("--set", "dataset.severities={box-no-area: warning}", "--json")
    done = kfdet(folder, "validate", "run.yaml", "--out", "out", *lowered)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["errors"], answer["warnings"]) == (0, 4)
    raised = "dataset.severities={box-no-area: off, image-format-mismatch: error}"
    done = kfdet(folder, "validate", "run.yaml", "--out", "out", "--set", raised)
    assert done.returncode == 10
    assert "1 error in the data" in done.stderr
    assert "image-format-mismatch (1)" in done.stderr


def test_an_unknown_code_is_a_fault_of_the_configuration(folder: Path):
    wrong = ("--set", "dataset.severities={box-no-aera: off}")
    done = kfdet(folder, "validate", "run.yaml", "--out", "out", *wrong)
    assert done.returncode == 11
    assert 'Did you mean "box-no-area"?' in done.stderr


def test_the_quarantine_list_makes_the_next_run_pass(folder: Path):
    assert kfdet(folder, "validate", "run.yaml", "--out", "out").returncode == 10
    listed = ("--set", "dataset.quarantine=out/quarantine.json", "--json")
    done = kfdet(folder, "validate", "run.yaml", "--out", "again", *listed)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["train_images"], answer["excluded"]) == (2, 2)
    assert "2 records of train left out, as quarantine says" in done.stderr


def test_bad_data_stop_a_run_before_anything_is_rendered(folder: Path):
    done = kfdet(folder, "run", "run.yaml", "--out", "runs/one")
    assert done.returncode == 10
    assert "box-no-area (3)" in done.stdout + done.stderr
    stages = json.loads((folder / "runs/one/run.json").read_text())["stages"]
    statuses = {stage["stage"]: stage["status"] for stage in stages}
    assert statuses["validate"] == "failed"
    assert all(statuses[s] == "skipped" for s in ("render", "train", "evaluate", "export"))

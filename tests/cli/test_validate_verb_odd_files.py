"""`kfdet validate` on folders that hold pipes, devices and broken links: it ends, and names them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dataset_cases import sound_splits, write_dataset

CONFIG = """
name: odd
dataset: {label_map: data/label_map.pbtxt, train: data/train-*, val: data/val-*, test: data/test-*}
detector: {input_size: [128, 128], max_level: 5}
training: {steps: 60, batch_size: 4, checkpoint_every: 20, learning_rate: {warmup_steps: 5}}
gate: {rules: [{metric: ap, at_least: 0.1}]}
"""


def kfdet(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kfdet.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda path: os.mkfifo(path), "it is a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
        (lambda path: path.symlink_to("/gone"), "it is a link to /gone, where there is nothing"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        # A file by its kind, at whose first byte reading fails.
        (lambda path: path.symlink_to("/proc/self/mem"), "Input/output error"),
    ],
)
def test_what_a_pattern_matches_and_is_no_file_is_an_error(
    tmp_path: Path, make: Callable[[Path], None], seen: str
):
    write_dataset(tmp_path / "data", sound_splits(4))
    make(tmp_path / "data" / "train-odd")
    (tmp_path / "run.yaml").write_text(CONFIG)
    done = kfdet(tmp_path, "validate", "run.yaml", "--out", "out")
    assert done.returncode == 10, done.stderr
    assert f"file-unreadable (1): data/train-odd: {seen}\n" in done.stderr
    counts = json.loads((tmp_path / "out" / "findings.json").read_text())["counts"]
    assert counts == {"file-unreadable": 1}
    assert seen in (tmp_path / "out" / "report.html").read_text()
    named = kfdet(tmp_path, "fingerprint", "run.yaml")
    assert named.returncode == 10
    assert named.stderr.startswith(f"kfdet: dataset.train data/train-odd: can't read: {seen}; ")


def test_a_folder_that_a_pattern_matches_is_no_shard(tmp_path: Path):
    write_dataset(tmp_path / "data", sound_splits(4))
    (tmp_path / "data" / "train-old").mkdir()
    (tmp_path / "run.yaml").write_text(CONFIG)
    done = kfdet(tmp_path, "validate", "run.yaml", "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["train_images"] == 4


def test_a_label_map_that_is_a_pipe_is_not_waited_for(tmp_path: Path):
    write_dataset(tmp_path / "data", sound_splits(4))
    (tmp_path / "data" / "label_map.pbtxt").unlink()
    os.mkfifo(tmp_path / "data" / "label_map.pbtxt")
    (tmp_path / "run.yaml").write_text(CONFIG)
    done = kfdet(tmp_path, "validate", "run.yaml", "--out", "out")
    assert done.returncode == 10
    assert "label_map.pbtxt: can't read the label map: it is a pipe" in done.stderr


def test_a_run_in_a_folder_whose_name_is_no_text_says_so(tmp_path: Path):
    write_dataset(tmp_path / "data", sound_splits(4))
    (tmp_path / "run.yaml").write_text(CONFIG)
    done = kfdet(tmp_path, "run", "run.yaml", "--out", os.fsdecode(b"out-\xff"))
    assert done.returncode == 2
    assert "out-\\xff: its name is no UTF-8 text" in done.stderr
    assert not any(path.name.startswith("out") for path in tmp_path.iterdir())

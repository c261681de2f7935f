"""A run whose data are examined in groups ends before anything is rendered when a group holds bad data."""

import json
import subprocess
import sys

import pytest
import yaml
from dataset_cases import payload, sound_splits, write_dataset

from kfdet.schema.run_record import RunRecord
from kfdet.storage.documents import read_document


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_error_in_any_group_stops_the_run_before_render(tmp_path, split):
    splits = sound_splits(4)
    splits[split][3] = payload(seed=77, boxes=[(0.1, 0.1, 0.1, 0.5)])
    write_dataset(tmp_path / "data", splits)
    config = {
        "name": "groups",
        "dataset": {
            "label_map": "data/label_map.pbtxt",
            **{name: f"data/{name}-*.tfrecord" for name in ("train", "val", "test")},
        },
        "validation": {"groups": 3},
        "detector": {"input_size": [128, 128]},
        "training": {"steps": 100, "batch_size": 4, "checkpoint_every": 50},
        "gate": {"rules": [{"metric": "ap", "at_least": 0.5}]},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "kfdet.cli.main", "run", "run.yaml", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 10, done.stderr
    assert "box-no-area (1)" in done.stderr
    assert f"{split}-00001-of-00002.tfrecord record 1" in done.stderr
    record = read_document(RunRecord, tmp_path / "out" / "run.json")
    status = {stage.stage: stage.status for stage in record.stages}
    assert status == dict.fromkeys(status, "skipped") | {"examine": "done", "validate": "failed"}
    assert (tmp_path / "out" / "reports" / "validate.html").is_file()
    (findings,) = (tmp_path / "out" / "artifacts").rglob("findings")
    assert json.loads(findings.read_text())["counts"] == {"box-no-area": 1}
    assert "6 shards" in next(s.key_figure for s in record.stages if s.stage == "examine")

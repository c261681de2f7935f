"""`kfdet check`: what it prints, how it ends, and that it needs no TensorFlow unless it times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dataset_cases import payload, sound_splits, write_dataset

from kfdet.schema.feasibility import Feasibility

PROGRAM = """
import json, sys
from kfdet.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
    raise
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    boxes = ((0.1, 0.1, 0.6, 0.5), (0.5, 0.5, 0.95, 0.95))
    splits = {
        split: [payload(seed=100 * number + k, boxes=boxes) for k in range(6)]
        for number, split in enumerate(sound_splits())
    }
    dataset = write_dataset(tmp_path / "data", splits)
    config = {
        "name": "tiny",
        "dataset": dataset.model_dump(mode="json", exclude={"severities", "quarantine"}),
        "detector": {"input_size": [128, 128], "max_level": 5, "anchors": {"size": 3.0}},
        "training": {"steps": 100, "batch_size": 4, "checkpoint_every": 50},
        "gate": {"rules": [{"metric": "ap", "at_least": 0.5}]},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def kfdet_check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, "check", "run.yaml", "--no-timing", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_it_prints_rules_and_verdict_writes_its_files_and_imports_nothing_heavy(folder):
    done = kfdet_check(folder)
    assert done.returncode == 0, done.stderr
    assert "ap at least 0.5" in done.stdout
    assert "can pass" in done.stdout
    out = folder / "out" / "check"
    names = {"feasibility.json", "report.html", "manifest.json", "experiment.json", "data.html"}
    assert names <= {path.name for path in out.iterdir()}
    loaded = set(json.loads(done.stderr.strip().splitlines()[-1]))
    assert not loaded & {"tensorflow", "tf_keras", "official", "kfp", "matplotlib", "pandas"}


def test_a_gate_out_of_reach_is_an_answer_and_its_exit_code_tells_only_when_asked(folder):
    beyond = ("--set", "detector.nms.max_detections=1", "--set", "gate.rules.0.at_least=0.95")
    done = kfdet_check(folder, *beyond)
    assert done.returncode == 0, done.stderr
    assert "cannot pass" in done.stdout
    assert "Raise detector.nms.max_detections" in done.stdout.replace("\n", " ")
    asked = kfdet_check(folder, *beyond, "--exit-code", "--json")
    assert asked.returncode == 22
    assert Feasibility.model_validate_json(asked.stdout).verdict == "cannot_pass"
    assert kfdet_check(folder, "--exit-code").returncode == 0


def test_what_the_test_set_can_tell_and_where_objects_are_lost_is_printed(folder):
    few = ("--set", "detector.nms.max_detections=1", "--set", "gate.confidence=0.9")
    done = kfdet_check(folder, *few)
    assert done.returncode == 0, done.stderr
    shard = "data/test-00000-of-00002.tfrecord"
    assert (
        "too-many-objects (6 in test): 2 boxes; expected at most 1, detector.nms.max_detections. "
        f"First: {shard} record 0 200; {shard} record 1 201; {shard} record 2 202.\n"
    ) in done.stdout.replace(str(folder / "data"), "data")
    assert "too-many-objects (6 in val)" in done.stdout
    assert "what 6 test images can tell:\n  ap at least 0.5: known to within 0." in done.stdout
    assert "; a true margin shows from 0." in done.stdout


def test_invalid_data_are_refused_as_validate_refuses_them(folder):
    shard = next((folder / "data").glob("train-00000-*"))
    content = bytearray(shard.read_bytes())
    content[200] ^= 0xFF
    shard.write_bytes(content)
    done = kfdet_check(folder)
    assert done.returncode == 10
    assert "record-data-corrupt" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out" / "check" / "feasibility.json").exists()
    asked = kfdet_check(folder, "--json")
    assert asked.returncode == 10
    assert json.loads(asked.stdout) == {
        "counts": {"record-data-corrupt": 1},
        "errors": 1,
        "warnings": 0,
        "findings": "out/check/findings.json",
        "quarantine": "out/check/quarantine.json",
        "report": "out/check/data.html",
    }

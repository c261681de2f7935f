"""Real runs of the compiled pipeline on one machine: a fail, a pass, and what the cache makes of a change.

The runs share one folder and so one trained model; each test is one step of the story, in order.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from tiny_run import KFDET, configuration, kfdet, statuses, write_configurations

from kfdet.schema.gate import Decision
from kfdet.schema.run_record import RunRecord
from kfdet.storage.documents import read_document

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@pytest.fixture(scope="module")
def folder(request, tmp_path_factory):
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Else the steps of the story are dealt out to workers that have not run the ones before.
        assert all(
            item.nodeid.endswith("@tf")
            for item in request.session.items
            if item.get_closest_marker("tf")
        )
    folder = tmp_path_factory.mktemp("run")
    kfdet("data", "synth", "--out", "data", "--train", 48, "--val", 12, "--test", 12, folder=folder)
    write_configurations(folder)
    return folder


def run(folder, config, *arguments, check=True):
    done = kfdet("run", config, "--out", "out", *arguments, folder=folder, check=check)
    return read_document(RunRecord, folder / "out" / "run.json"), done


EVALUATED = ("examine", "validate", "render", "train", "select", "evaluate", "merge")


def test_a_threshold_that_is_not_met_ends_in_fail_with_a_report_and_no_export(folder):
    record, done = run(folder, "strict.yaml")
    assert record.verdict == "fail"
    assert statuses(record) == {
        **dict.fromkeys((*EVALUATED, "check", "gate"), "done"),
        "export": "skipped",
        "publish": "skipped",
    }
    assert any("ar_100" in reason for reason in record.reasons)
    assert not list(folder.rglob("saved_model.pb"))
    assert not (folder / "registry").exists()
    reports = {stage.stage: stage.report for stage in record.stages if stage.report}
    assert set(reports) >= {"validate", "render", "train", "select", "merge", "gate"}
    index = (folder / "out" / "index.html").read_text()
    for report in reports.values():
        assert (folder / "out" / report).read_text().startswith("<!doctype html>")
        assert f'href="{report}"' in index
    assert "fail" in done.stdout


def test_the_exit_code_tells_only_when_asked(folder):
    _, done = run(folder, "strict.yaml", "--exit-code", check=False)
    assert done.returncode == 20


def test_an_equal_run_is_taken_from_the_cache_and_a_lower_threshold_passes(folder):
    record, _ = run(folder, "lenient.yaml")
    assert statuses(record) == {
        **dict.fromkeys(EVALUATED, "cached"),
        # Its rules are others, and the evaluation's report tells what check found.
        **dict.fromkeys(("check", "merge", "gate", "export", "publish"), "done"),
    }
    assert record.verdict == "pass"
    assert record.published_version == 1
    champion = json.loads((folder / "registry" / "tiny" / "champion.json").read_text())
    assert champion["version"] == 1
    version = folder / "registry" / "tiny" / "versions" / "000001"
    assert (version / "saved_model" / "saved_model.pb").is_file()
    events = list((folder / "out" / "models").rglob("events.out.tfevents.*"))
    assert events, "the TensorBoard event files are kept"


def test_the_published_model_predicts_in_both_forms(folder):
    from PIL import Image

    from kfdet.core.detection_record import parse_record
    from kfdet.storage.records import read_record_at

    shard = next((folder / "data").glob("test-00000-*"))
    record = parse_record(read_record_at(shard, 0), where=shard.name)
    (folder / "image.jpg").write_bytes(record.encoded)
    version = folder / "registry" / "tiny" / "versions" / "000001"
    done = kfdet(
        "predict",
        version,
        "image.jpg",
        "--raw",
        "--plot",
        "out.png",
        "--min-score",
        0,
        folder=folder,
    )
    answer = json.loads(done.stdout)
    assert len(answer["detection_boxes"]) == len(answer["detection_scores"]) > 0
    assert len(answer["detection_classes"]) == len(answer["detection_scores"])
    for y1, x1, y2, x2 in answer["detection_boxes"]:
        assert y1 <= y2
        assert x1 <= x2
    assert Image.open(folder / "out.png").size[0] > 0


def test_publishing_the_champion_again_adds_no_version(folder):
    record, _ = run(folder, "lenient.yaml")
    assert statuses(record)["export"] == "cached"
    assert record.verdict == "pass"
    assert record.published_version == 1
    assert len(list((folder / "registry" / "tiny" / "versions").iterdir())) == 1


def test_a_champion_that_was_measured_on_other_images_is_evaluated_again(folder):
    kfdet(
        "data", "synth", "--out", "other", "--train", 8, "--val", 4, "--test", 12, "--seed", 5,
        folder=folder,
    )  # fmt: skip
    config = configuration(0.0) | {
        "gate": {
            "no_champion": "fail", "confidence": 0.5, "resamples": 100,
            "rules": [{"metric": "ar_100", "champion": {"max_drop": 1.0}}],
        }
    }  # fmt: skip
    config["dataset"]["test"] = "other/test-*.tfrecord"
    config["training"]["steps"] = 20
    (folder / "compare.yaml").write_text(yaml.safe_dump(config))
    record, _ = run(folder, "compare.yaml")
    assert record.verdict == "pass"
    status = statuses(record)
    assert (status["evaluate"], status["merge"], status["gate"]) == ("done", "done", "done")
    gate = next(stage for stage in record.stages if stage.stage == "gate")
    (rule,) = read_document(Decision, gate.outputs["decision_json"]).rules
    assert rule.champion is not None
    assert rule.standard_error is not None
    kept = list((folder / "registry/tiny/versions/000001/measured").glob("*/metrics.json"))
    assert len(kept) == 1
    assert "measured again" in (folder / "out" / gate.report).read_text()


def test_changed_evaluation_runs_again_what_depends_on_it(folder):
    record, _ = run(folder, "lenient.yaml", "--set", "evaluation.shards=3")
    status = statuses(record)
    assert all(status[stage] == "cached" for stage in ("validate", "render", "train", "select"))
    assert status["evaluate"] == "done"
    assert status["merge"] == "done"
    assert record.verdict == "pass"


def test_runs_are_compared_side_by_side(folder):
    import shutil

    shutil.copytree(folder / "out", folder / "twin", ignore=shutil.ignore_patterns("models"))
    done = kfdet("compare", "out", "twin", "--html", "compare.html", folder=folder)
    assert "ap50" in done.stdout
    assert (folder / "compare.html").read_text().startswith("<!doctype html>")


def test_a_gate_out_of_reach_stops_the_run_before_a_step_of_training(folder):
    beyond = ("lenient.yaml", "--set", "gate.rules.0={metric: ar_1, at_least: 0.99}")
    record, done = run(folder, *beyond, check=False)
    assert done.returncode == 11
    assert "can't exceed" in done.stderr
    assert "Ask for ar_100 instead" in done.stderr
    assert statuses(record)["check"] == "failed"
    assert statuses(record)["train"] == "skipped"
    assert (folder / "out" / "reports" / "check.html").is_file()
    record, _ = run(folder, *beyond, "--set", "feasibility.unreachable_gate=warn")
    assert statuses(record)["check"] == "done"
    assert record.verdict == "fail"


def test_a_corrupt_record_stops_the_run_before_a_step_of_training(folder):
    shard = next((folder / "data").glob("train-00000-*"))
    content = bytearray(shard.read_bytes())
    content[200] ^= 0xFF
    shard.write_bytes(content)
    record, done = run(folder, "lenient.yaml", check=False)
    assert done.returncode == 10
    assert shard.name in done.stderr
    assert "Traceback" not in done.stderr
    status = statuses(record)
    assert status["validate"] == "failed"
    assert status["train"] == "skipped"
    assert (folder / "out" / "reports" / "validate.html").is_file()
    assert record.verdict is None


def test_an_interrupted_training_is_resumed(folder):
    kfdet(
        "data",
        "synth",
        "--out",
        "data",
        "--train",
        48,
        "--val",
        12,
        "--test",
        12,
        "--seed",
        5,
        folder=folder,
    )
    events = folder / "out" / "logs" / "events.jsonl"
    events.write_text("")
    steps = "training.steps=4000"
    process = subprocess.Popen(
        [*KFDET, "run", "lenient.yaml", "--out", "out", "--set", steps], cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and '"unit": "steps"' not in events.read_text():
        assert process.poll() is None
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    record = read_document(RunRecord, folder / "out" / "run.json")
    assert record.error is not None
    assert record.verdict is None
    checkpoints = sorted(
        (folder / "out" / "models").rglob("*.index"), key=lambda p: p.stat().st_mtime
    )
    saved = int(checkpoints[-1].stem.rsplit("-", 1)[1])
    assert 0 < saved < 4000
    events.write_text("")

    process = subprocess.Popen(
        [*KFDET, "run", "lenient.yaml", "--out", "out", "--set", steps], cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    first = None
    while first is None and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.2)
        told = [json.loads(line) for line in events.read_text().splitlines() if line.endswith("}")]
        first = next((e["done"] for e in told if e.get("unit") == "steps"), None)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=180)
    assert first is not None
    assert first > saved


def test_a_folder_that_is_in_use_is_refused(folder):
    import fcntl

    with open(folder / "out" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = kfdet("run", "lenient.yaml", "--out", "out", folder=folder, check=False)
    assert done.returncode == 2
    assert "another run works in this folder" in done.stderr


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("dataset.train=data/none-*.tfrecord", 10, 'no file matches "data/none-*.tfrecord"'),
        ("dataset.label_map=data/none.pbtxt", 10, "none.pbtxt"),
        ("training.stepz=3", 11, 'Did you mean "steps"?'),
        ("gate.rules.0.class_name=squirrel", 11, 'no class is called "squirrel"'),
    ],
)
def test_a_mistake_is_answered_before_anything_runs(folder, override, code, words):
    done = kfdet(
        "run", "lenient.yaml", "--out", "never", "--set", override, folder=folder, check=False
    )
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path(folder, "never").rglob("manifest*"))

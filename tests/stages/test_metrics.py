import json
import os
import signal

import pytest
from PIL import Image

from kfdet.cli.main import main
from kfdet.progress import Progress
from kfdet.schema.metrics import MeasurementConfig, Metrics
from kfdet.schema.run_config import DiagnosisConfig
from kfdet.stages import metrics
from kfdet.storage.documents import read_document

TRUTH = {
    "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
    "annotations": [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400}
        for i in (1, 2)
    ],
    "categories": [{"id": 1, "name": "circle"}],
}
SEEN = [
    {"image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "score": 0.9},
    {"image_id": 2, "category_id": 1, "bbox": [40, 40, 9, 9], "score": 0.8},
]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    (tmp_path / "seen.json").write_text(json.dumps(SEEN))
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64), "grey").save(tmp_path / name)
    return tmp_path


def run(folder, **changes):
    return metrics.run(
        **{
            "ground_truth": folder / "truth.json",
            "detections": folder / "seen.json",
            "images": None,
            "split": "test",
            "engine": "hotcoco",
            "config": MeasurementConfig(),
            "diagnosis": DiagnosisConfig(),
            "metrics": folder / "metrics.json",
            "evidence": folder / "evidence",
            "report": folder / "report.html",
            "progress": Progress("metrics", quiet=True),
        }
        | changes
    )


def test_metrics_and_report_are_those_of_merge(files):
    result = run(files)
    written = read_document(Metrics, files / "metrics.json")
    assert written.overall == result.overall
    assert (written.images, written.boxes, written.detections) == (2, 2, 2)
    assert "give the folder of the images with --images" in (files / "report.html").read_text()


def test_the_report_shows_pictures_from_a_folder(files):
    run(files, images=files)
    page = (files / "report.html").read_text()
    assert "data:image/jpeg" in page
    assert "can&#39;t be shown" not in page


def test_equal_ground_truth_compares_and_other_detections_are_another_model(files):
    run(files)
    first = read_document(Metrics, files / "metrics.json")
    (files / "seen.json").write_text(json.dumps(SEEN[:1]))
    run(files)
    second = read_document(Metrics, files / "metrics.json")
    assert first.split_digest == second.split_digest
    assert first.checkpoint_digest != second.checkpoint_digest


def test_the_gate_takes_what_the_verb_writes(files, capsys, monkeypatch):
    monkeypatch.chdir(files)
    with pytest.raises(SystemExit) as end:
        main(["metrics", "--ground-truth", "truth.json", "--detections", "seen.json", "--out", "m"])
    assert end.value.code == 0
    (files / "policy.yaml").write_text("rules: [{metric: ap50, at_least: 0.9}]")
    with pytest.raises(SystemExit) as end:
        main(["gate", "m/metrics.json", "--policy", "policy.yaml", "--model", "theirs",
              "--out", "g", "--exit-code"])  # fmt: skip
    assert end.value.code == 20
    assert "short of 0.9" in capsys.readouterr().out + (files / "g" / "decision.json").read_text()


def test_what_the_settings_add_is_told_beside_the_rest(files, capsys):
    (files / "evaluation.yaml").write_text("areas: {tiny: [0, 500]}")
    compared = [
        "--ground-truth",
        str(files / "truth.json"),
        "--detections",
        str(files / "seen.json"),
    ]
    settings = ["--evaluation", str(files / "evaluation.yaml"), "--json"]
    with pytest.raises(SystemExit) as end:
        main(["metrics", *compared, *settings, "--out", str(files / "m")])
    told = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert told["ap_tiny"] == told["ap"] > 0


def test_the_gate_needs_a_model_for_a_champion_alone_and_tells_its_decision(files, capsys):
    run(files)
    (files / "alone.yaml").write_text("rules: [{metric: ap50, at_least: 0.9}]")
    (files / "rival.yaml").write_text(
        "{rules: [{metric: ap, champion: {max_drop: 0.1}}], no_champion: pass}"
    )
    capsys.readouterr()
    measured = str(files / "metrics.json")
    gate = ["gate", measured, "--out", str(files / "g"), "--registry", str(files / "r"), "--json"]
    with pytest.raises(SystemExit) as end:
        main([*gate, "--policy", str(files / "alone.yaml")])
    told = json.loads(capsys.readouterr().out)
    assert (end.value.code, told["decision"]) == (0, "fail")
    assert told["decision_file"] == str(files / "g" / "decision.json")
    with pytest.raises(SystemExit) as end:
        main([*gate, "--policy", str(files / "rival.yaml")])
    assert end.value.code == 2
    assert "--model: rules compare with the champion" in capsys.readouterr().err


def test_scores_in_percent_are_told_and_calibration_is_left_out(files, capsys):
    seen = [one | {"score": 100 * one["score"]} for one in SEEN]
    (files / "seen.json").write_text(json.dumps(seen))
    run(files, progress=Progress("metrics"))
    assert "Scores lie outside 0 to 1. 2 scores of 2 from 80 to 90." in capsys.readouterr().err
    document = read_document(Metrics, files / "metrics.json")
    assert document.overall.ap == pytest.approx(0.5, abs=0.01)
    assert document.details.calibration.expected_error is None
    page = (files / "report.html").read_text()
    assert "Scores lie outside 0 to 1" in page
    assert "Judged by" not in page[page.index("Scores lie") : page.index("Scores lie") + 600]


def test_what_the_settings_leave_out_is_not_shown_as_missing(files):
    config = MeasurementConfig(iou_thresholds=(0.3, 0.6), areas={"tiny": (0, 500)})
    run(files, config=config)
    page = (files / "report.html").read_text()
    assert "evaluation.iou_thresholds has neither" in page
    assert "No data." not in page
    assert "AP50<" not in page
    assert "AP small" not in page
    run(files)
    page = (files / "report.html").read_text()
    assert "evaluation.iou_thresholds has neither" not in page
    assert "AP50<" in page


def test_a_missing_file_is_named(files, capsys):
    with pytest.raises(SystemExit) as end:
        main(["metrics", "--ground-truth", str(files / "no.json"), "--detections", "x"])
    assert end.value.code == 10
    assert "no.json: can't read" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../outside.png", "/etc/hostname", "pipe.png"])
def test_a_file_name_leads_nowhere_but_below_the_folder_of_the_images(files, name):
    folder = files / "images"
    folder.mkdir()
    Image.new("RGB", (64, 64), "grey").save(files / "outside.png")
    os.mkfifo(folder / "pipe.png")
    entries = [{"id": 1, "file_name": name}, {"id": 2, "file_name": "b.png"}]
    (files / "truth.json").write_text(json.dumps({**TRUTH, "images": entries}))
    signal.alarm(60)
    run(files, images=folder)
    signal.alarm(0)
    page = (files / "report.html").read_text()
    assert "data:image/jpeg" not in page
    assert "can&#39;t be shown" in page

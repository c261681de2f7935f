"""Class names, file names and source ids that are markup stay text in every page that shows them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from checks import check_page, text_of
from dataset_cases import QUIET, config_of, payload, sound_splits, write_dataset
from evaluation_cases import label_map, random_data, shard_result
from PIL import Image
from run_cases import HOSTILE, run_metrics, run_record

from kfdet.core.advice import advise
from kfdet.core.coco import canonical, metrics_document
from kfdet.core.gating import decide
from kfdet.core.label_map import contiguous
from kfdet.core.measurement import measure
from kfdet.errors import DataError
from kfdet.report import index
from kfdet.report.evaluation import evaluation_page
from kfdet.report.galleries import Example, Galleries
from kfdet.report.gate import gate_page
from kfdet.schema.gate_policy import GatePolicy, GateRule
from kfdet.schema.metrics import MeasurementConfig
from kfdet.schema.run_config import DiagnosisConfig
from kfdet.stages import validate
from kfdet.storage.label_maps import write_label_map

UPWARDS = f"../../{HOSTILE}"


@pytest.mark.parametrize(
    "name", [HOSTILE, '" onerror="alert(1)', "</svg><img src=x onerror=alert(1)>"]
)
def test_the_data_report_shows_names_as_text(name: str, tmp_path: Path):
    hostile = {"source_id": [f"../../{name}".encode()], "filename": [name.encode()]}
    splits = sound_splits(3)
    splits["train"] += [
        payload(seed=90, object__class__text=[name.encode()], **hostile),
        payload(seed=91, format=[name.encode()], boxes=[(0.1, 0.1, 0.1, 0.5)], **hostile),
        payload(seed=92, encoded=[name.encode()], **hostile),
    ]
    splits["test"][0] = splits["train"][3]
    folder = tmp_path / "data"
    write_dataset(folder, splits)
    write_label_map(folder / "label_map.pbtxt", contiguous(("cat", name)))
    before = set(tmp_path.rglob("*"))
    out = tmp_path / "out"
    out.mkdir()
    names = ("manifest", "statistics", "findings", "quarantine", "report")
    with contextlib.suppress(DataError):
        validate.run(
            dataset=config_of(folder),
            progress=QUIET,
            **{n: out / n for n in names},
        )
    html = (out / "report").read_text()
    check_page(html)
    assert name in text_of(html)
    after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(out)}
    assert after == before, "a name decides of no path"


def test_the_evaluation_report_shows_names_as_text():
    labels = label_map("circle", HOSTILE, "triangle")
    data = canonical(random_data(1, images=30))
    names = tuple(UPWARDS for _ in data.images.source_id)
    data = replace(data, images=replace(data.images, source_id=names, file=names))
    found = measure(data, label_map=labels, engine="hotcoco", config=MeasurementConfig())
    document = metrics_document(
        found.evaluation, data, shard_result(data, num_shards=2), label_map=labels,
        evidence_digest="e" * 64, details=found.details,
    )  # fmt: skip
    example = Example(row=3, image=Image.new("RGB", (300, 300), "green"))
    galleries = Galleries(misses=(example,), false_alarms=(example,), typical=(example,))
    advice = advise(document, config=DiagnosisConfig(low_recall=1.0, low_precision=1.0))
    html = evaluation_page(document, found.diagnosis, galleries, advice=advice)
    check_page(html)
    assert HOSTILE in text_of(html)


def test_the_gate_report_shows_names_as_text():
    measured = run_metrics(0.5, classes=("circle", HOSTILE))
    policy = GatePolicy(rules=(GateRule(metric="ap50", class_name=HOSTILE, at_least=0.99),))
    html = gate_page(
        decide(measured, policy=policy, champion=None),
        metrics=measured,
        champion=None,
        model=HOSTILE,
    )
    check_page(html)
    assert HOSTILE in text_of(html)


def test_the_front_page_shows_names_as_text():
    record = run_record(outputs={"train": {"model_dir": UPWARDS}})
    html = index.build(
        record, metrics=run_metrics(0.5, classes=(HOSTILE,)), files=[(UPWARDS, UPWARDS)]
    )
    check_page(html)
    assert HOSTILE in text_of(html)

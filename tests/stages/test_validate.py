from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dataset_cases import QUIET, config_of, payload, sound_splits, write_dataset

from kfdet.core.detection_record import serialise_record
from kfdet.core.label_map import contiguous
from kfdet.core.shapes import SHAPE_NAMES
from kfdet.errors import ConfigError, DataError
from kfdet.schema.dataset import Findings, Manifest, Statistics
from kfdet.schema.run_config import DatasetConfig
from kfdet.stages import validate
from kfdet.stages.data_synth import shapes_record
from kfdet.storage.dataset import data_digest, dataset_digests
from kfdet.storage.documents import read_document
from kfdet.storage.label_maps import write_label_map

NO_AREA = payload(seed=77, boxes=[(0.1, 0.1, 0.1, 0.5)])


def run(config: DatasetConfig, out: Path, **more: object) -> validate.ValidateResult:
    out.mkdir(exist_ok=True)
    return validate.run(
        dataset=config,
        manifest=out / "manifest.json",
        statistics=out / "statistics.json",
        findings=out / "findings.json",
        report=out / "report.html",
        progress=QUIET,
        **more,
    )


def with_a_fault(folder: Path) -> DatasetConfig:
    splits = sound_splits()
    splits["train"].append(NO_AREA)
    return write_dataset(folder, splits)


def test_a_sound_set_gets_manifest_statistics_findings_and_report(tmp_path: Path):
    config = write_dataset(tmp_path / "data", sound_splits(5))
    result = run(config, tmp_path)
    manifest = read_document(Manifest, tmp_path / "manifest.json")
    statistics = read_document(Statistics, tmp_path / "statistics.json")
    assert result.manifest_digest == manifest.fingerprint()
    assert (result.train_images, result.val_images, result.test_images) == (5, 5, 5)
    assert result.boxes == 30 == sum(manifest.split(s).boxes for s in ("train", "val", "test"))
    assert (result.errors, result.warnings) == (0, 0)
    assert [shard.records for shard in manifest.val.shards] == [3, 2]
    assert [(c.name, c.boxes, c.images) for c in statistics.test.classes] == [
        ("cat", 5, 5),
        ("dog", 5, 5),
    ]
    assert read_document(Findings, tmp_path / "findings.json").counts == {}
    assert "</html>" in (tmp_path / "report.html").read_text()


def test_the_digest_of_a_split_is_that_of_its_files(tmp_path: Path):
    config = write_dataset(tmp_path / "data")
    run(config, tmp_path)
    manifest = read_document(Manifest, tmp_path / "manifest.json")
    digests = dataset_digests(config)
    assert {s: manifest.split(s).digest for s in ("train", "val", "test")} == {
        s: digests[s] for s in ("train", "val", "test")
    }


def test_an_error_leaves_findings_and_report_and_no_manifest(tmp_path: Path):
    config = with_a_fault(tmp_path / "data")
    (tmp_path / "manifest.json").write_text("of an earlier run")
    with pytest.raises(DataError) as raised:
        run(config, tmp_path)
    assert "1 error in the data" in str(raised.value)
    assert "box-no-area (1)" in str(raised.value)
    assert "train-00001-of-00002.tfrecord record 1" in str(raised.value)
    assert raised.value.exit_code == 10
    assert not (tmp_path / "manifest.json").exists()
    assert not (tmp_path / "statistics.json").exists()
    assert read_document(Findings, tmp_path / "findings.json").counts == {"box-no-area": 1}
    assert "box-no-area" in (tmp_path / "report.html").read_text()


def test_a_severity_can_be_lowered(tmp_path: Path):
    with_a_fault(tmp_path / "data")
    result = run(config_of(tmp_path / "data", box_no_area="warning"), tmp_path)
    assert (result.errors, result.warnings) == (0, 1)
    result = run(config_of(tmp_path / "data", box_no_area="off"), tmp_path)
    assert (result.errors, result.warnings) == (0, 0)


def test_a_severity_can_be_raised(tmp_path: Path):
    splits = sound_splits()
    splits["train"].append(payload(seed=78, format=[b"png"]))
    write_dataset(tmp_path / "data", splits)
    assert run(config_of(tmp_path / "data"), tmp_path).warnings == 1
    with pytest.raises(DataError, match="image-format-mismatch"):
        run(config_of(tmp_path / "data", image_format_mismatch="error"), tmp_path)


def test_an_unknown_code_is_a_fault_of_the_configuration(tmp_path: Path):
    write_dataset(tmp_path / "data")
    with pytest.raises(ConfigError, match="box-no-are"):
        run(config_of(tmp_path / "data", box_no_are="warning"), tmp_path)


def test_a_label_map_that_cannot_be_read_is_a_finding_beside_the_others(tmp_path: Path):
    config = with_a_fault(tmp_path / "data")
    (tmp_path / "data" / "label_map.pbtxt").write_text("item {")
    with pytest.raises(DataError, match="label-map-unreadable"):
        run(config, tmp_path)
    found = read_document(Findings, tmp_path / "findings.json")
    assert found.counts == {"box-no-area": 1, "label-map-unreadable": 1}


def test_a_label_map_that_cannot_be_read_is_no_matter_of_severity(tmp_path: Path):
    config = write_dataset(tmp_path / "data")
    (tmp_path / "data" / "label_map.pbtxt").unlink()
    with pytest.raises(DataError, match="whatever its severity"):
        run(config_of(tmp_path / "data", label_map_unreadable="off"), tmp_path)
    with pytest.raises(DataError, match="label-map-unreadable"):
        run(config, tmp_path)


def test_a_split_without_files_is_a_finding(tmp_path: Path):
    config = write_dataset(tmp_path / "data").model_copy(update={"val": ("nothing-*",)})
    with pytest.raises(DataError, match="file-no-match"):
        run(config, tmp_path)
    assert "nothing-*" in (tmp_path / "report.html").read_text()


def test_data_that_changed_since_the_run_began_are_refused(tmp_path: Path):
    config = write_dataset(tmp_path / "data")
    digest = data_digest(dataset_digests(config))
    assert run(config, tmp_path, data_digest=digest).errors == 0
    with pytest.raises(DataError, match="start the run again"):
        run(config, tmp_path, data_digest="0" * 64)
    assert not (tmp_path / "manifest.json").exists()


def test_equal_data_give_equal_files(tmp_path: Path):
    config = with_a_fault(tmp_path / "data")
    texts = []
    for name in ("one", "two"):
        with pytest.raises(DataError):
            run(config, tmp_path / name)
        texts.append([(tmp_path / name / f).read_text() for f in ("findings.json", "report.html")])
    assert texts[0] == texts[1]


def test_the_report_is_told_before_the_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = []
    monkeypatch.setattr(type(QUIET), "report", lambda self, path: told.append(path))
    with pytest.raises(DataError):
        run(with_a_fault(tmp_path / "data"), tmp_path)
    assert told == [str(tmp_path / "report.html")]


def test_every_image_faulty_is_reported_to_the_end(tmp_path: Path):
    splits = {
        split: [
            payload(seed=n, encoded=[b"rubbish"], object__class__label=np.array([9]))
            for n in range(4)
        ]
        for split in ("train", "val", "test")
    }
    with pytest.raises(DataError):
        run(write_dataset(tmp_path / "data", splits), tmp_path)
    found = read_document(Findings, tmp_path / "findings.json")
    assert found.counts["image-undecodable"] == 12
    assert found.counts["class-id-unknown"] == 12


def test_boxes_with_swapped_axes_are_found_by_looking_at_the_images(tmp_path: Path):
    def swapped(split: str, index: int) -> bytes:
        record = shapes_record(split=split, index=index, size_px=128, seed=0)
        boxes = record.boxes_yxyx_norm[:, [1, 0, 3, 2]]
        return serialise_record(dataclasses.replace(record, boxes_yxyx_norm=boxes))

    splits = {s: [swapped(s, n) for n in range(35)] for s in ("train", "val", "test")}
    config = write_dataset(tmp_path / "data", splits)
    write_label_map(tmp_path / "data" / "label_map.pbtxt", contiguous(SHAPE_NAMES))
    with pytest.raises(DataError, match="with x and y swapped"):
        run(config, tmp_path)
    assert read_document(Findings, tmp_path / "findings.json").counts == {"boxes-misplaced": 3}


def test_validating_imports_no_tensorflow():
    code = (
        "import sys, kfdet.stages.validate, kfdet.stages.data_synth, kfdet.stages.data_convert_voc, "
        "kfdet.stages.data_convert_coco; sys.exit(any(m.split('.')[0] in ('tensorflow', 'kfp') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

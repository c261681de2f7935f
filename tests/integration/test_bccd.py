"""The real run on real images, from scratch: what configs/bccd.yaml promises."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kfdet.schema.metrics import Metrics
from kfdet.schema.run_record import RunRecord
from kfdet.schema.training import TrainingSummary
from kfdet.storage.documents import read_document

ROOT = Path(__file__).resolve().parents[2]
BCCD = ROOT.parent / "shared" / "data" / "bccd"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.bccd,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not BCCD.is_dir(), reason=f"needs the BCCD images in {BCCD}"),
]


def test_blood_cells_are_learnt_from_scratch_within_the_promised_time(tmp_path):
    kfdet = [sys.executable, "-m", "kfdet.cli.main"]
    convert = [*kfdet, "data", "convert", "voc", str(BCCD), "--out", "data/bccd"]
    done = subprocess.run(convert, cwd=tmp_path, capture_output=True, text=True, check=True)
    for name in ("BloodImage_00338", "BloodImage_00343"):
        assert name in done.stderr, "a dropped box is named"

    shutil.copy(ROOT / "configs" / "bccd.yaml", tmp_path)
    subprocess.run([*kfdet, "run", "bccd.yaml", "--out", "run"], cwd=tmp_path, check=True)

    record = read_document(RunRecord, tmp_path / "run" / "run.json")
    outputs = {stage.stage: stage.outputs for stage in record.stages}
    metrics = read_document(Metrics, outputs["merge"]["metrics_json"])
    summary = read_document(TrainingSummary, outputs["train"]["summary"])
    print(metrics.overall, f"training {summary.train_time_s:.0f} s")
    assert metrics.images == 72
    assert metrics.overall.ap50 >= 0.85
    assert metrics.overall.ap >= 0.50
    assert record.verdict == "pass"
    assert record.published_version == 1

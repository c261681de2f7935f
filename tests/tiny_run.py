"""A whole run that takes a minute: its configuration, its command line and its record."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from kfdet.schema.run_record import RunRecord

KFDET = (sys.executable, "-m", "kfdet.cli.main")


def configuration(at_least: float) -> dict[str, Any]:
    """Returns a detector of shapes in `data`, and a gate that asks for an ar_100 on test."""
    return {
        "name": "tiny",
        "dataset": {
            "label_map": "data/label_map.pbtxt",
            **{split: f"data/{split}-*.tfrecord" for split in ("train", "val", "test")},
        },
        "detector": {
            "input_size": [64, 64],
            "backbone": {"model_id": 10, "depth_multiplier": 0.25},
            "min_level": 3,
            "max_level": 5,
            "fpn_filters": 32,
            "head_convs": 1,
            "head_filters": 32,
            "anchors": {"aspect_ratios": [1.0], "num_scales": 2, "size": 3},
            "nms": {"score_threshold": 0.0001},
        },
        "training": {
            "steps": 40,
            "batch_size": 8,
            "checkpoint_every": 20,
            "learning_rate": {"warmup_steps": 10},
        },
        "gate": {"rules": [{"metric": "ar_100", "at_least": at_least}]},
        "export": {"parity": {"images": 8}},
    }


def write_configurations(folder: Path) -> None:
    """Writes strict.yaml, whose gate fails, and lenient.yaml, whose gate passes."""
    for name, at_least in (("strict", 1.0), ("lenient", 0.0)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(configuration(at_least)))


def kfdet(*arguments: object, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs kfdet in a folder; unless `check` is off, it must end well."""
    done = subprocess.run(
        [*KFDET, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=600
    )
    if check and done.returncode:
        raise AssertionError(f"kfdet {arguments} ended with {done.returncode}:\n{done.stderr}")
    return done


def statuses(record: RunRecord) -> dict[str, str]:
    """Returns stage to what became of it."""
    return {stage.stage: stage.status for stage in record.stages}

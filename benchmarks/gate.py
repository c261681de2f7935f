"""Time of `kfdet gate` as a process, on metrics of COCO's size, without intervals.

    python benchmarks/gate.py [--images 5000] [--detections 500000] [--repeats 5]

The metrics are those of 80 classes, with all their details; the policy has a rule for each class and
some for all of them, and nothing is published yet. Beside it, in the same run: Python's own start,
and the import of pycocotools, below which no gate that computes COCO's numbers anew could come. The
last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bootstrap import evaluation_data
from coco_metrics import CLASSES, synthetic

from kfdet.core.coco import metrics_document
from kfdet.core.measurement import measure
from kfdet.schema.dataset import ClassLabel, LabelMap
from kfdet.schema.evaluation import ShardResult
from kfdet.schema.metrics import MeasurementConfig
from kfdet.storage.documents import write_document


def write_metrics(folder: Path, *, images: int, detections: int) -> None:
    data = evaluation_data(synthetic(images, detections), images, shaken=0.0)
    labels = LabelMap(
        classes=tuple(ClassLabel(id=k, name=f"class {k}") for k in range(1, CLASSES + 1))
    )
    found = measure(data, label_map=labels, engine="hotcoco", config=MeasurementConfig())
    origin = ShardResult(
        shard=0, num_shards=1, split="test", split_digest="a" * 64, checkpoint_digest="c" * 64,
        images=images, ground_truth_boxes=len(data.ground_truth), detections=len(data.detections),
        inference_time_s=0.0,
    )  # fmt: skip
    document = metrics_document(
        found.evaluation, data, origin, label_map=labels, evidence_digest="e" * 64,
        details=found.details,
    )  # fmt: skip
    write_document(folder / "metrics.json", document)
    rules = [
        {"metric": "ap", "class_name": f"class {k}", "at_least": 0.1} for k in range(1, CLASSES + 1)
    ]
    rules += [
        {"metric": "ap", "at_least": 0.2, "champion": {"max_drop": 0.01}},
        {"metric": "precision_at_recall", "at": 0.5, "at_least": 0.3},
    ]
    (folder / "policy.yaml").write_text(json.dumps({"no_champion": "pass", "rules": rules}))


def seconds(command: list[str], *, repeats: int) -> dict[str, float]:
    """Shortest wall-clock and CPU seconds of a process, the first run not counted."""
    walls, cpus = [], []
    for _ in range(repeats + 1):
        before, begun = os.times(), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        walls.append(time.perf_counter() - begun)
        cpus.append(
            after.children_user + after.children_system
            - before.children_user - before.children_system
        )  # fmt: skip
    return {"wall_s": round(min(walls[1:]), 3), "cpu_s": round(min(cpus[1:]), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_metrics(folder, images=arguments.images, detections=arguments.detections)
        gate = [
            sys.executable, "-m", "kfdet.cli.main", "gate", str(folder / "metrics.json"), "--policy",
            str(folder / "policy.yaml"), "--out", str(folder / "out"), "--registry",
            str(folder / "registry"), "--model", "m",
        ]  # fmt: skip
        summary = {
            "metrics_mb": round((folder / "metrics.json").stat().st_size / 1e6, 2),
            "rules": CLASSES + 2,
            "gate": seconds(gate, repeats=arguments.repeats),
            "python_start": seconds([sys.executable, "-c", ""], repeats=arguments.repeats),
            "import_pycocotools": seconds(
                [sys.executable, "-c", "import pycocotools.cocoeval"], repeats=arguments.repeats
            ),
        }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()

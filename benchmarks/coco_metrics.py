"""Time of `merge` against the COCO engines in use elsewhere, on a synthetic set of COCO's size.

    python benchmarks/coco_metrics.py [--images 5000] [--detections 500000] [--repeat 3]

Every contender is a process of its own that reads its input from disk. `merge` reads Parquet shards,
checks them, writes metrics.json, the evidence and the HTML report; `engine` is the 12 numbers alone.
pycocotools and faster-coco-eval read the same boxes as COCO JSON, and do nothing but the 12 numbers.
The last line printed is one JSON object. The dependency group `benchmark` brings the peers.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CLASSES = 80
OBJECTS_AN_IMAGE = 7.2
SHARDS = 4


def synthetic(images: int, detections: int) -> dict[str, np.ndarray]:
    """Boxes of COCO's proportions: a third small, some crowds, detections around them and elsewhere."""
    rng = np.random.default_rng(0)
    count = rng.poisson(OBJECTS_AN_IMAGE, images)
    truth_image = np.repeat(np.arange(images), count)
    total = truth_image.size
    size = np.exp(rng.normal(3.7, 1.0, (total, 2))).clip(4, 500)
    corner = rng.random((total, 2)) * np.maximum(640 - size, 1)
    truth_boxes = np.concatenate([corner, corner + size], axis=1)
    # Classes as uneven as COCO's, and a few of them in each image.
    weights = 1 / np.arange(1, CLASSES + 1) ** 0.8
    truth_class = rng.choice(CLASSES, total, p=weights / weights.sum()) + 1
    near = rng.integers(0, total, int(detections * 0.4))
    noise = rng.normal(0, 0.12, (near.size, 4)) * np.tile(size[near], 2)
    near_class = np.where(
        rng.random(near.size) < 0.85, truth_class[near], rng.integers(1, CLASSES + 1, near.size)
    )
    far = detections - near.size
    far_size = np.exp(rng.normal(3.7, 1.0, (far, 2))).clip(4, 500)
    far_corner = rng.random((far, 2)) * np.maximum(640 - far_size, 1)
    far_image = rng.integers(0, images, far)
    borrowed = truth_class[rng.integers(0, total, far)]
    seen_image = np.concatenate([truth_image[near], far_image])
    seen_boxes = np.concatenate(
        [truth_boxes[near] + noise, np.concatenate([far_corner, far_corner + far_size], axis=1)]
    )
    scores = np.concatenate([rng.beta(3, 3, near.size), rng.beta(1, 8, far)])
    order = np.argsort(seen_image, kind="stable")
    return {
        "truth_image": truth_image,
        "truth_class": truth_class,
        "truth_crowd": rng.random(total) < 0.0126,
        "truth_boxes": truth_boxes,
        "truth_area": size[:, 0] * size[:, 1] * rng.uniform(0.5, 1.0, total),
        "seen_image": seen_image[order],
        "seen_class": np.concatenate([near_class, borrowed])[order],
        # Rounded to a byte's worth of levels, so that there are ties as in real detectors.
        "seen_score": (np.round(scores[order] * 1024) / 1024).astype(np.float32),
        "seen_boxes": seen_boxes[order].astype(np.float32),
    }


def write_input(folder: Path, columns: dict[str, np.ndarray], images: int) -> None:
    """Writes the same boxes as shards with a manifest, and as COCO JSON."""
    _write_shards(folder, columns, images)
    xywh = np.concatenate(
        [
            columns["truth_boxes"][:, :2],
            columns["truth_boxes"][:, 2:] - columns["truth_boxes"][:, :2],
        ],
        axis=1,
    )
    truth = {
        "info": {},
        "images": [{"id": i, "width": 640, "height": 640} for i in range(images)],
        "categories": [{"id": k, "name": f"class {k}"} for k in range(1, CLASSES + 1)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": image,
                "category_id": k,
                "bbox": b,
                "area": a,
                "iscrowd": int(c),
            }
            for i, (image, k, b, a, c) in enumerate(
                zip(
                    columns["truth_image"].tolist(),
                    columns["truth_class"].tolist(),
                    xywh.tolist(),
                    columns["truth_area"].tolist(),
                    columns["truth_crowd"].tolist(),
                    strict=True,
                )
            )
        ],
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    boxes = columns["seen_boxes"].astype(np.float64)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    seen = [
        {"image_id": image, "category_id": k, "bbox": b, "score": s}
        for image, k, b, s in zip(
            columns["seen_image"].tolist(),
            columns["seen_class"].tolist(),
            xywh.tolist(),
            columns["seen_score"].astype(np.float64).tolist(),
            strict=True,
        )
    ]
    (folder / "seen.json").write_text(json.dumps(seen))


def _write_shards(folder: Path, columns: dict[str, np.ndarray], images: int) -> None:
    from kfdet.core.coco import Detections, EvaluationData, GroundTruth, Images
    from kfdet.schema.dataset import ClassLabel, LabelMap, Manifest, ShardFile, SplitManifest
    from kfdet.schema.evaluation import ShardResult
    from kfdet.storage.documents import write_document
    from kfdet.storage.shards import ShardWriter

    bounds = [images * k // SHARDS for k in range(SHARDS + 1)]
    files = tuple(
        ShardFile(
            uri=f"/nowhere/test-{k:05d}.tfrecord",
            records=bounds[k + 1] - bounds[k],
            size_bytes=0,
            sha256=f"{k:064x}",
        )
        for k in range(SHARDS)
    )
    test = SplitManifest(
        shards=files, images=images, boxes=len(columns["truth_image"]), digest="a" * 64
    )
    other = SplitManifest(shards=(), images=0, boxes=0, digest="b" * 64)
    labels = LabelMap(
        classes=tuple(ClassLabel(id=k, name=f"class {k}") for k in range(1, CLASSES + 1))
    )
    write_document(
        folder / "manifest.json", Manifest(label_map=labels, train=other, val=other, test=test)
    )
    batch = 64
    for k in range(SHARDS):
        with ShardWriter(folder / f"shard-{k}") as writer:
            for start in range(bounds[k], bounds[k + 1], batch):
                ids = np.arange(start, min(start + batch, bounds[k + 1]))
                t = slice(*np.searchsorted(columns["truth_image"], [ids[0], ids[-1] + 1]))
                s = slice(*np.searchsorted(columns["seen_image"], [ids[0], ids[-1] + 1]))
                writer.write(
                    EvaluationData(
                        images=Images(
                            image_id=ids,
                            source_id=tuple(f"{i:012d}.jpg" for i in ids),
                            file=(files[k].uri,) * ids.size,
                            record=ids - bounds[k],
                            width_px=np.full(ids.size, 640),
                            height_px=np.full(ids.size, 640),
                        ),
                        ground_truth=GroundTruth(
                            image_id=columns["truth_image"][t],
                            class_id=columns["truth_class"][t],
                            is_crowd=columns["truth_crowd"][t],
                            area=columns["truth_area"][t],
                            boxes_xyxy_px=columns["truth_boxes"][t],
                        ),
                        detections=Detections(
                            image_id=columns["seen_image"][s],
                            class_id=columns["seen_class"][s],
                            score=columns["seen_score"][s],
                            boxes_xyxy_px=columns["seen_boxes"][s],
                        ),
                    )
                )
            writer.finish(
                ShardResult(
                    shard=k, num_shards=SHARDS, split="test", split_digest="a" * 64,
                    checkpoint_digest="c" * 64, images=writer.images,
                    ground_truth_boxes=writer.ground_truth_boxes, detections=writer.detections,
                    inference_time_s=0.0,
                )
            )  # fmt: skip


def run_merge(folder: Path) -> list[float | None]:
    from kfdet.progress import Progress
    from kfdet.schema.metrics import MeasurementConfig
    from kfdet.schema.run_config import DiagnosisConfig
    from kfdet.stages import merge

    result = merge.run(
        shards=[folder / f"shard-{k}" for k in range(SHARDS)],
        manifest=folder / "manifest.json",
        split="test",
        engine="hotcoco",
        config=MeasurementConfig(),
        diagnosis=DiagnosisConfig(),
        metrics=folder / "metrics.json",
        evidence=folder / "evidence",
        report=folder / "report.html",
        progress=Progress("merge", quiet=True),
    )
    return list(result.overall.named().values())


def run_engine(folder: Path) -> list[float | None]:
    from kfdet.core.coco import concatenate, evaluate
    from kfdet.schema.dataset import Manifest
    from kfdet.storage.documents import read_document
    from kfdet.storage.shards import read_shard

    labels = read_document(Manifest, folder / "manifest.json").label_map
    data = concatenate([read_shard(folder / f"shard-{k}")[1] for k in range(SHARDS)])
    return list(evaluate(data, label_map=labels).overall.named().values())


def run_pycocotools(folder: Path) -> list[float | None]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return _run_stock(COCO, COCOeval, folder)


def run_faster_coco_eval(folder: Path) -> list[float | None]:
    from faster_coco_eval import COCO, COCOeval_faster

    return _run_stock(COCO, COCOeval_faster, folder)


def _run_stock(coco: type, evaluator: type, folder: Path) -> list[float | None]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco(str(folder / "truth.json"))
        job = evaluator(truth, truth.loadRes(str(folder / "seen.json")), "bbox")
        job.evaluate()
        job.accumulate()
        job.summarize()
    return [None if value == -1 else float(value) for value in list(job.stats)[:12]]


PEERS = ("pycocotools", "faster_coco_eval")
CONTENDERS = {
    "merge": run_merge,
    "engine": run_engine,
    "pycocotools": run_pycocotools,
    "faster_coco_eval": run_faster_coco_eval,
}


def measured(name: str, folder: Path) -> dict[str, object]:
    """Runs one contender in a process of its own."""
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run(
        [sys.executable, __file__, "--contender", name, "--folder", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer: dict[str, object] = json.loads(process.stdout.splitlines()[-1])
    return {
        **answer,
        "wall_s": round(time.monotonic() - began, 2),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.contender:
        numbers = CONTENDERS[arguments.contender](arguments.folder)
        # Not ru_maxrss: that starts from the size of the process that this one was forked from.
        status = Path("/proc/self/status").read_text()
        peak_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        print(json.dumps({"numbers": numbers, "peak_mb": round(peak_mb)}))
        return
    absent = [name for name in PEERS if importlib.util.find_spec(name) is None]
    if absent:
        parser.error(f"not installed: {', '.join(absent)}. Remedy: uv sync --group benchmark")
    columns = synthetic(arguments.images, arguments.detections)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_input(folder, columns, arguments.images)
        best: dict[str, dict[str, object]] = {}
        for name in CONTENDERS:
            # The reference takes a minute and needs no second look.
            times = 1 if name == "pycocotools" else arguments.repeat
            runs = [measured(name, folder) for _ in range(times)]
            best[name] = min(runs, key=lambda run: float(str(run["cpu_s"])))
            print(f"{name:18} {best[name]['wall_s']:>7} s wall  {best[name]['cpu_s']:>7} s CPU  "
                  f"{best[name]['peak_mb']:>6} MB")  # fmt: skip
    ratios = {
        f"{peer}_over_{name}": round(
            float(str(best[peer]["cpu_s"])) / float(str(best[name]["cpu_s"])), 1
        )
        for peer in PEERS
        for name in ("merge", "engine")
    }
    for name, ratio in ratios.items():
        print(f"{name.replace('_over_', ' / '):30} {ratio:>6} in CPU seconds")
    reference = best["pycocotools"]["numbers"]
    summary = {
        "images": arguments.images,
        "objects": len(columns["truth_image"]),
        "detections": arguments.detections,
        "classes": CLASSES,
        "cpus": os.cpu_count(),
        "cpu_ratios": ratios,
        "bit_identical_to_pycocotools": {
            name: run["numbers"] == reference for name, run in best.items() if name != "pycocotools"
        },
        **{
            f"{name}_{figure}": run[figure]
            for name, run in best.items()
            for figure in ("wall_s", "cpu_s", "peak_mb")
        },
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()

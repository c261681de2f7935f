"""Inference on the test split: the loop beside Model Garden's own, N shards on 1 and 2 workers, memory.

    python benchmarks/evaluate_scaling.py [--config configs/shapes.yaml] [--images 400] [--shards 4]
        [--train-steps 60] [--repeat 3] [--data PATH/TO/CONVERTED] [--keep DIR]

Trains the configuration's detector for a few dozen steps, so that suppression has real work, then:

- loop: `kfdet` restores the checkpoint and runs `evaluate_records` into a Parquet shard, as the stage
  does: decode, resize, network, suppression, ground truth, writing. `model_garden` is
  `base_trainer.Trainer.evaluate`, which `orbit.Controller.evaluate` calls: Model Garden's input
  pipeline with anchor labels, network, suppression and losses by `RetinaNetTask.validation_step`, and
  its COCO metric. `model_garden_no_metric` is the same without collecting detections and computing
  the metric; it still brings them to the host. The same checkpoint, files, batch size and version of
  suppression; the last, smaller batch is not dropped. Each is a process of its own. The loop's
  figures begin after a first pass over one batch, which compiles; `process_*` has everything.
- scaling: real `kfdet evaluate` processes, one a shard, one after another on 1 worker, and two at a
  time on 2 workers. A worker is one core: a process alone would else use all of them.
  efficiency = t1 / (2 * t2).
- memory: peak of `kfdet evaluate` as the split grows.

Images of another size than the configuration's come from `--data`, a folder that `kfdet data`
wrote. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kfdet.schema.dataset import Manifest
from kfdet.schema.training import ResolvedExperiment, TrainingSummary
from kfdet.storage.documents import read_document, write_document

KFDET = (sys.executable, "-m", "kfdet.cli.main")
GROWTH = (1, 4, 16)
CONTENDERS = ("kfdet", "model_garden_no_metric", "model_garden")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Attributes:
    folder: Holds manifest, experiment and checkpoints.
    checkpoint: Prefix of the one that is evaluated.
    """

    folder: Path
    checkpoint: str
    batch_size: int

    @property
    def experiment_file(self) -> Path:
        return self.folder / "render" / "experiment.json"

    @property
    def experiment(self) -> ResolvedExperiment:
        return read_document(ResolvedExperiment, self.experiment_file)

    def manifest_file(self, times: int) -> Path:
        return self.folder / "validate" / ("manifest.json" if times == 1 else f"times-{times}.json")

    def manifest(self, times: int) -> Manifest:
        return read_document(Manifest, self.manifest_file(times))


def prepare(folder: Path, arguments: argparse.Namespace) -> Case:
    """Makes data, experiment and checkpoint, and manifests of the test split several times over."""
    config = yaml.safe_load(arguments.config.read_text())
    data = arguments.data or folder / "data"
    config["dataset"] = {
        "label_map": str(data / "label_map.pbtxt"),
        **{split: str(data / f"{split}-*.tfrecord") for split in ("train", "val", "test")},
    }
    config["training"] |= {
        "steps": arguments.train_steps,
        "checkpoint_every": arguments.train_steps,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if not arguments.data:
        kfdet(folder, "data", "synth", "--out", data, "--test", arguments.images)
    kfdet(folder, "validate", "config.yaml", "--out", "validate")
    manifest = folder / "validate" / "manifest.json"
    statistics = folder / "validate" / "statistics.json"
    kfdet(folder, "render", "config.yaml", "--out", "render",
          "--manifest", manifest, "--statistics", statistics)  # fmt: skip
    kfdet(folder, "train", "--experiment", folder / "render" / "experiment.json",
          "--manifest", manifest, "--model-root", folder / "models", "--out", "train")  # fmt: skip
    trained = read_document(TrainingSummary, folder / "train" / "summary.json")
    case = Case(
        folder=folder,
        checkpoint=trained.checkpoints[-1].uri,
        batch_size=config["evaluation"]["batch_size"],
    )
    for times in {arguments.times, *GROWTH} - {1}:
        _write_manifest(case, times)
    return case


def _write_manifest(case: Case, times: int) -> None:
    once = case.manifest(1)
    split = once.test
    many = split.model_copy(
        update={
            "shards": split.shards * times,
            "images": split.images * times,
            "boxes": split.boxes * times,
        }
    )
    write_document(case.manifest_file(times), once.model_copy(update={"test": many}))


def kfdet(folder: Path, *arguments: object) -> None:
    done = subprocess.run(
        [*KFDET, *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"kfdet {arguments[0]} ended with {done.returncode}:\n{done.stderr}")


def measured(command: Sequence[str], *, cpu: int | None = None) -> dict[str, Any]:
    """Runs a process and returns its wall time, CPU time, peak memory and last line of output.

    Args:
        command: Its words.
        cpu: The core that it is kept to.
    """
    pin = None if cpu is None else (lambda: os.sched_setaffinity(0, {cpu}))
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=err, preexec_fn=pin)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise SystemExit(f"{command} ended with {process.returncode}:\n{err.read()}")
        return {
            "said": out.read().splitlines()[-1],
            "process_wall_s": round(wall_s, 2),
            "process_cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
            "process_peak_mb": round(usage.ru_maxrss / 1024),
        }


def evaluate_command(
    case: Case, out: Path, *, shard: int = 0, num_shards: int = 1, times: int = 1
) -> list[str]:
    return [
        *KFDET, "evaluate",
        "--experiment", str(case.experiment_file),
        "--manifest", str(case.manifest_file(times)),
        "--checkpoint", case.checkpoint,
        "--shard", str(shard),
        "--num-shards", str(num_shards),
        "--batch-size", str(case.batch_size),
        "--out", str(out),
    ]  # fmt: skip


def compare_loops(case: Case, *, times: int, repeat: int) -> dict[str, dict[str, Any]]:
    """Returns the best of each figure for each contender: other work on the machine only adds."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(repeat):
        # Taken in turns, so that a machine that slows down slows down all of them.
        for name in CONTENDERS:
            run = measured(
                [sys.executable, __file__, "--contender", name, "--keep", str(case.folder),
                 "--checkpoint", case.checkpoint, "--batch-size", str(case.batch_size),
                 "--times", str(times)]
            )  # fmt: skip
            runs[name].append({**json.loads(run.pop("said")), **run})
    best = {
        name: {
            figure: (max if figure == "images_per_s" else min)(run[figure] for run in found)
            for figure in found[0]
        }
        for name, found in runs.items()
    }
    for name, run in best.items():
        print(f"{name:24} {run['images_per_s']:8.1f} images/s  {run['cpu_ms_per_image']:7.2f} CPU-ms "
              f"an image  process {run['process_wall_s']:6.1f} s wall {run['process_cpu_s']:6.1f} s "
              f"CPU {run['process_peak_mb']:5} MB")  # fmt: skip
    return best


def run_contender(name: str, case: Case, *, times: int) -> dict[str, Any]:
    if name == "kfdet":
        first, whole = _own_loop(case, times=times)
    else:
        first, whole = _stock_loop(case, times=times, with_metric=name == "model_garden")
    first()
    wall, cpu = time.monotonic(), time.process_time()
    whole()
    wall_s, cpu_s = time.monotonic() - wall, time.process_time() - cpu
    images = case.manifest(times).test.images
    return {
        "images": images,
        "images_per_s": round(images / wall_s, 1),
        "cpu_ms_per_image": round(1000 * cpu_s / images, 3),
    }


def _own_loop(case: Case, *, times: int) -> tuple[Any, Any]:
    from kfdet.models.detector import Detector
    from kfdet.models.inference import evaluate_records
    from kfdet.schema.evaluation import ShardResult
    from kfdet.storage.shards import ShardWriter
    from kfdet.storage.splits import read_split

    detector = Detector(case.experiment)
    detector.restore(case.checkpoint)
    split = case.manifest(times).test

    def first() -> None:
        next(evaluate_records(detector, read_split(split), batch_size=case.batch_size))

    def whole() -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            ShardWriter(Path(folder) / "shard") as writer,
        ):
            for part in evaluate_records(detector, read_split(split), batch_size=case.batch_size):
                writer.write(part)
            writer.finish(
                ShardResult(
                    shard=0, num_shards=1, split="test", split_digest=split.digest,
                    checkpoint_digest="0" * 64, images=writer.images,
                    ground_truth_boxes=writer.ground_truth_boxes, detections=writer.detections,
                    inference_time_s=0.0,
                )
            )  # fmt: skip

    return first, whole


def _stock_loop(case: Case, *, times: int, with_metric: bool) -> tuple[Any, Any]:
    import tensorflow as tf
    from official.core import base_trainer, train_utils
    from official.vision.tasks.retinanet import RetinaNetTask

    from kfdet.models.experiment import build_config

    class WithoutMetric(RetinaNetTask):  # type: ignore[misc]
        def aggregate_logs(self, *logs: Any) -> bool:
            _, outputs = logs[-1]["coco_metric"]
            tf.nest.map_structure(lambda tensor: tensor.numpy(), outputs)
            return True

        def reduce_aggregated_logs(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {}

    split = case.manifest(times).test
    config = build_config(case.experiment).replace()
    config.task.validation_data.override(
        {
            "input_path": [shard.uri for shard in split.shards],
            "global_batch_size": case.batch_size,
            "drop_remainder": False,
            "is_training": False,
            "dtype": "float32",
            # It can't evaluate ids that are no numbers.
            "decoder": {"simple_decoder": {"regenerate_source_id": True}},
        }
    )
    task = (RetinaNetTask if with_metric else WithoutMetric)(config.task)
    model = task.build_model()
    trainer = base_trainer.Trainer(
        config, task, model, train_utils.create_optimizer(task, config), train=False, evaluate=True
    )
    tf.train.Checkpoint(model=model).read(case.checkpoint).expect_partial()
    steps = -(-split.images // case.batch_size)
    return lambda: trainer.evaluate(tf.constant(1)), lambda: trainer.evaluate(tf.constant(steps))


def scale(case: Case, *, shards: int, repeat: int) -> dict[str, Any]:
    """Times all the shards on 1 and on 2 workers, and one shard that holds everything."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    whole = measured(evaluate_command(case, case.folder / "whole"), cpu=cores[0])
    walls: dict[int, list[float]] = {1: [], 2: []}
    cpus: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repeat):
        for workers in (1, 2):
            wall_s, cpu_s = _on_workers(case, cores[:workers], shards=shards)
            walls[workers].append(wall_s)
            cpus[workers].append(cpu_s)
    best = {workers: min(found) for workers, found in walls.items()}
    return {
        "shards": shards,
        "whole_wall_s": whole["process_wall_s"],
        "one_worker_wall_s": round(best[1], 2),
        "two_workers_wall_s": round(best[2], 2),
        "efficiency": round(best[1] / (2 * best[2]), 3),
        "one_worker_cpu_s": round(min(cpus[1]), 2),
        "two_workers_cpu_s": round(min(cpus[2]), 2),
        "detections_equal_to_the_bit": _equal(case, shards=shards),
    }


def _on_workers(case: Case, cores: Sequence[int], *, shards: int) -> tuple[float, float]:
    def work(worker: int) -> float:
        own = range(worker, shards, len(cores))
        commands = [
            evaluate_command(case, case.folder / "shards", shard=k, num_shards=shards) for k in own
        ]
        return sum(measured(one, cpu=cores[worker])["process_cpu_s"] for one in commands)

    began = time.monotonic()
    with ThreadPoolExecutor(len(cores)) as pool:
        cpu_s = sum(pool.map(work, range(len(cores))))
    return time.monotonic() - began, cpu_s


def _equal(case: Case, *, shards: int) -> bool:
    from kfdet.core.coco import concatenate
    from kfdet.storage.shards import read_shard

    whole = read_shard(case.folder / "whole" / "shard-00000-of-00001")[1]
    parts = concatenate(
        [
            read_shard(case.folder / "shards" / f"shard-{k:05d}-of-{shards:05d}")[1]
            for k in range(shards)
        ]
    )
    return all(
        np.array_equal(getattr(whole.detections, field), getattr(parts.detections, field))
        for field in ("image_id", "class_id", "score", "boxes_xyxy_px")
    )


def grow(case: Case) -> dict[str, int]:
    """Returns images to the peak of a whole `kfdet evaluate`, in MB."""
    peaks = {}
    for times in GROWTH:
        images = case.manifest(times).test.images
        run = measured(evaluate_command(case, case.folder / "grown", times=times))
        peaks[str(images)] = run["process_peak_mb"]
        print(f"{images:8,} images: peak {run['process_peak_mb']:,} MB")
    return peaks


def measure(case: Case, arguments: argparse.Namespace) -> dict[str, Any]:
    loops = compare_loops(case, times=arguments.times, repeat=arguments.repeat)
    scaling = scale(case, shards=arguments.shards, repeat=arguments.repeat)
    print(f"{scaling['shards']} shards: {scaling['one_worker_wall_s']} s on 1 worker, "
          f"{scaling['two_workers_wall_s']} s on 2, efficiency {scaling['efficiency']}; "
          f"one shard with everything: {scaling['whole_wall_s']} s")  # fmt: skip
    own = loops["kfdet"]
    return {
        "config": arguments.config.name,
        "input_size": case.experiment.detector.input_size,
        "batch_size": case.batch_size,
        "cpus": os.cpu_count(),
        "load_before": arguments.load_before,
        "loops": loops,
        **{
            f"{figure}_of_{name}_over_kfdet": round(loops[name][figure] / own[figure], 2)
            for name in CONTENDERS[1:]
            for figure in ("cpu_ms_per_image", "process_cpu_s")
        },
        **{
            f"images_per_s_of_kfdet_over_{name}": round(
                own["images_per_s"] / loops[name]["images_per_s"], 2
            )
            for name in CONTENDERS[1:]
        },
        "scaling": scaling,
        "peak_mb_by_images": grow(case),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("configs/shapes.yaml"))
    parser.add_argument("--data", type=Path, help="folder of records; generated if not given")
    parser.add_argument("--images", type=int, default=400, help="generated images to evaluate")
    parser.add_argument("--times", type=int, default=4, help="passes over them in the loop")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--train-steps", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder to work in; else a temporary one")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        case = Case(
            folder=arguments.keep,
            checkpoint=arguments.checkpoint,
            batch_size=arguments.batch_size,
        )
        print(json.dumps(run_contender(arguments.contender, case, times=arguments.times)))
        return
    arguments.load_before = round(os.getloadavg()[0], 2)
    arguments.data = arguments.data and arguments.data.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(measure(prepare(folder, arguments), arguments)))


if __name__ == "__main__":
    main()

"""Time and memory of `kfdet validate` beside a bare decoding loop, TensorFlow, and TFDV.

    python benchmarks/validate.py [--copies 20] [--repeat 3] [--tfdv-python PATH]
    python benchmarks/validate.py --records 100000

The first form takes the 364 BCCD images beside the project (generated ones of the same size where
they are missing) `--copies` times, in 20 shards a split. Contenders, each in a process tree of its
own and one after another:

    validate    `kfdet validate` from start to report: every check, a full decode of every image
    decode      nothing but decoding those images to RGB with libjpeg-turbo (simplejpeg), one thread
                a core, images in memory; only the loop counts, not the process around it
    tensorflow  a program that parses the examples and decodes the images, and does nothing with them
    tfdv        TensorFlow Data Validation's statistics over the same files, which decode nothing;
                in an interpreter of its own that --tfdv-python names, left out where there is none
                (1.16.1 with Beam 2.72 was measured; uv finds versions that fit in seconds, pip in hours)

`validate` computes no colours: every byte passes through the decoder, and the inverse transform is
done for a small grey image alone. `decode_grey` is the loop with exactly that work, for comparison.

The second form validates small records (64 x 48 pixels), a tenth of them and then all, and prints
the memory over time of both: what grows with their number is a few hashes of each image.

Wall and CPU seconds are of the process tree. Memory is the largest sum of the tree's proportional set
sizes (PSS: shared pages are divided among those who share them), sampled ten times a second; pages of
files that are mapped count as well. The best of `--repeat` runs by CPU time is taken. Python keeps
the bytecode of every contender from its first run on, as an installed package has it, also where the
environment says not to. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

BCCD = Path(__file__).resolve().parents[2] / "shared" / "data" / "bccd"
SPLITS = ("train", "val", "test")
SHARDS = 20
IMAGES = {"train": 205, "val": 87, "test": 72}
SECONDS_BETWEEN_SAMPLES = 0.1
CORES = len(os.sched_getaffinity(0))


def bccd_records() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yields the features of each split of BCCD, by the project's own conversion."""
    from kfdet.core.example import parse_example
    from kfdet.storage.records import read_records

    command = [sys.executable, "-m", "kfdet.cli.main", "data", "convert", "voc", str(BCCD)]
    with tempfile.TemporaryDirectory() as folder:
        keep = ["--faulty", "keep", "--out", folder]
        subprocess.run([*command, *keep], check=True, capture_output=True)
        for split in SPLITS:
            files = sorted(Path(folder).glob(f"{split}-*"))
            yield split, [parse_example(f.payload) for file in files for f in read_records(file)]


def generated_records() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yields as many records as BCCD has, of images and boxes of the same size."""
    chance = np.random.default_rng(0)
    for split, count in IMAGES.items():
        yield split, [features(chance, width_px=640, height_px=480, boxes=13) for _ in range(count)]


def features(
    chance: np.random.Generator, *, width_px: int, height_px: int, boxes: int
) -> dict[str, Any]:
    from PIL import Image

    coarse = chance.integers(0, 256, (height_px // 8, width_px // 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width_px, height_px), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=40)
    low = chance.random((boxes, 2)) * 0.7
    high = low + 0.1 + chance.random((boxes, 2)) * 0.2
    sides = np.concatenate([low, high], axis=1).astype(np.float32)
    ids = np.arange(boxes) % 3 + 1
    return {
        "image/encoded": [stream.getvalue()],
        "image/format": [b"jpeg"],
        "image/height": np.array([height_px]),
        "image/width": np.array([width_px]),
        "image/source_id": [str(chance.integers(2**62)).encode()],
        **{
            f"image/object/bbox/{side}": sides[:, k]
            for k, side in enumerate(("ymin", "xmin", "ymax", "xmax"))
        },
        "image/object/class/label": ids,
        "image/object/class/text": [b"class %d" % number for number in ids],
    }


def write_shards(folder: Path, split: str, payloads: Sequence[bytes]) -> None:
    from kfdet.core.tfrecord import encode_record

    for shard in range(SHARDS):
        path = folder / f"{split}-{shard:05d}-of-{SHARDS:05d}.tfrecord"
        path.write_bytes(b"".join(map(encode_record, payloads[shard::SHARDS])))


def write_config(folder: Path, names: Sequence[str]) -> None:
    items = "\n".join(f"item {{ id: {k} name: '{name}' }}" for k, name in enumerate(names, 1))
    (folder / "label_map.pbtxt").write_text(items)
    patterns = "\n".join(f"  {split}: {folder}/{split}-*.tfrecord" for split in SPLITS)
    (folder / "run.yaml").write_text(
        f"name: benchmark\ndataset:\n  label_map: {folder}/label_map.pbtxt\n{patterns}\n"
        # The whole way to manifest and statistics, with BCCD's two boxes without area in it.
        "  severities: {box-no-area: warning}\n"
        "detector: {input_size: [256, 256], max_level: 5}\n"
        "training: {steps: 100, batch_size: 8, checkpoint_every: 100}\n"
        "gate: {rules: [{metric: ap, at_least: 0.5}]}\n"
    )


def write_copies(folder: Path, copies: int) -> int:
    """Writes every image `copies` times under ids of its own; returns their number."""
    from kfdet.core.example import serialise_example

    is_there = BCCD.is_dir()
    print(f"images: {'BCCD' if is_there else 'generated'}, {copies} times")
    total = 0
    for split, records in bccd_records() if is_there else generated_records():
        payloads = []
        for copy in range(copies):
            for record in records:
                own_id = [record["image/source_id"][0] + b"-%d" % copy]
                payloads.append(serialise_example(record | {"image/source_id": own_id}))
        write_shards(folder, split, payloads)
        total += len(payloads)
    write_config(
        folder, ("Platelets", "RBC", "WBC") if is_there else ("class 1", "class 2", "class 3")
    )
    return total


def write_small(folder: Path, count: int) -> None:
    """Writes small records: 8 in 10 of them train, 1 val and 1 test; each image is of its own."""
    from kfdet.core.example import serialise_example

    chance = np.random.default_rng(1)
    for split, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        records = (
            serialise_example(features(chance, width_px=64, height_px=48, boxes=3))
            for _ in range(round(count * share))
        )
        write_shards(folder, split, list(records))
    write_config(folder, ("class 1", "class 2", "class 3"))


def encoded_images(folder: Path) -> list[bytes]:
    from kfdet.core.example import parse_example
    from kfdet.storage.records import read_records

    return [
        bytes(parse_example(frame.payload)["image/encoded"][0])
        for file in sorted(folder.glob("*.tfrecord"))
        for frame in read_records(file)
    ]


def run_decode(folder: Path, **options: Any) -> dict[str, float]:
    """Decodes every image with libjpeg-turbo on all cores; times the loop alone."""
    import simplejpeg

    images = encoded_images(folder)

    def decode(begin: int) -> None:
        for image in images[begin::CORES]:
            simplejpeg.decode_jpeg(image, **options)

    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(simplejpeg.decode_jpeg, images[:CORES]))
        began, began_cpu = time.monotonic(), time.process_time()
        list(pool.map(decode, range(CORES)))
        return {"wall_s": time.monotonic() - began, "cpu_s": time.process_time() - began_cpu}


def run_tensorflow(folder: Path) -> dict[str, float]:
    """Parses every example and decodes every image, as plainly as TensorFlow allows."""
    began = time.monotonic()
    import tensorflow as tf

    imported = time.monotonic()
    numbers = {f"image/object/bbox/{side}": tf.float32 for side in ("ymin", "xmin", "ymax", "xmax")}
    kinds = {**numbers, "image/object/class/label": tf.int64}
    spec = {
        "image/encoded": tf.io.FixedLenFeature((), tf.string),
        "image/source_id": tf.io.FixedLenFeature((), tf.string),
        "image/height": tf.io.FixedLenFeature((), tf.int64),
        "image/width": tf.io.FixedLenFeature((), tf.int64),
        **{name: tf.io.VarLenFeature(kind) for name, kind in kinds.items()},
    }

    def looked_at(payload: tf.Tensor) -> tf.Tensor:
        example = tf.io.parse_single_example(payload, spec)
        return tf.shape(tf.io.decode_jpeg(example["image/encoded"], channels=3))

    files = [str(file) for file in sorted(folder.glob("*.tfrecord"))]
    dataset = tf.data.TFRecordDataset(files).map(looked_at, num_parallel_calls=tf.data.AUTOTUNE)
    images = sum(1 for _ in dataset.prefetch(tf.data.AUTOTUNE))
    return {"images": images, "import_s": imported - began, "loop_s": time.monotonic() - imported}


TFDV_PROGRAM = """
import sys
import tensorflow_data_validation as tfdv
for split in ("train", "val", "test"):
    tfdv.generate_statistics_from_tfrecord(sys.argv[1] + "/" + split + "-*.tfrecord")
"""


class Memory(threading.Thread):
    """Samples the memory of a process tree until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._stopped = pid, threading.Event()
        self._began = time.monotonic()
        self.curve: list[tuple[float, float]] = []

    def run(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_SAMPLES):
            self.curve.append((time.monotonic() - self._began, sum(map(pss_mb, tree(self._pid)))))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def tree(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from tree(int(child))


def pss_mb(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def measured(command: Sequence[str], *, bytecode: Path) -> dict[str, Any]:
    """Runs a command; returns seconds and memory of its process tree, and its last line.

    Args:
        command: What is run.
        bytecode: Folder that Python keeps compiled modules in.
    """
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        memory = Memory(process.pid)
        memory.start()
        out, err = process.communicate()
        memory.stop()
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{err[-2000:]}")
    return {
        "wall_s": wall,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mb": max((mb for _, mb in memory.curve), default=0.0),
        "curve": memory.curve,
        "answer": out.strip(),
    }


def contender(name: str, folder: Path, tfdv: str | None) -> list[str]:
    if name == "validate":
        return [
            *(sys.executable, "-m", "kfdet.cli.main", "validate", str(folder / "run.yaml")),
            *("--out", str(folder / "out"), "--json"),
        ]
    if name == "tfdv":
        return [str(tfdv), "-c", TFDV_PROGRAM, str(folder)]
    return [sys.executable, __file__, "--contender", name, "--folder", str(folder)]


def compare(folder: Path, *, copies: int, repeat: int, tfdv: str | None) -> dict[str, Any]:
    images = write_copies(folder, copies)
    names = ["validate", "decode", "decode_grey", "tensorflow", "tfdv"]
    if tfdv is None:
        names.remove("tfdv")
        print(
            "tfdv takes no part: tensorflow-data-validation needs packages that clash with this "
            "environment; --help says how to install it in one of its own for --tfdv-python"
        )
    best: dict[str, dict[str, Any]] = {}
    for _ in range(repeat):
        for name in names:
            run = measured(contender(name, folder, tfdv), bytecode=folder / "bytecode")
            if name.startswith("decode") or name == "tensorflow":
                inside = json.loads(run["answer"].splitlines()[-1])
                run |= inside if name.startswith("decode") else {"inside": inside}
            if name not in best or run["cpu_s"] < best[name]["cpu_s"]:
                best[name] = run
    for name, run in best.items():
        print(f"{name:12} {run['wall_s']:>7.2f} s wall  {run['cpu_s']:>7.2f} s CPU  {run['peak_mb']:>6.0f} MB")  # fmt: skip
        if "inside" in run:
            print(f"{'':12} of which {run['inside']}")
    ours = best["validate"]
    ratios = {
        f"validate_to_{name}_{figure}": round(ours[f"{figure}_s"] / run[f"{figure}_s"], 3)
        for name, run in best.items()
        if name != "validate"
        for figure in ("wall", "cpu")
    }
    return {
        "images": images,
        "cpus": CORES,
        **{
            f"{name}_{figure}": round(run[figure], 2)
            for name, run in best.items()
            for figure in ("wall_s", "cpu_s", "peak_mb")
        },
        **ratios,
    }


def grow(folder: Path, records: int) -> dict[str, Any]:
    """Validates a tenth of the records, and all of them."""
    summary: dict[str, Any] = {"cpus": CORES}
    for count in (records // 10, records):
        own = folder / str(count)
        own.mkdir()
        write_small(own, count)
        run = measured(contender("validate", own, None), bytecode=folder / "bytecode")
        print(f"{count:>9,} records  {run['wall_s']:>7.2f} s wall  {run['cpu_s']:>7.2f} s CPU  {run['peak_mb']:>6.0f} MB")  # fmt: skip
        curve = run["curve"][:: max(1, len(run["curve"]) // 12)]
        print("          MB over time: " + "  ".join(f"{at:.0f} s {mb:.0f}" for at, mb in curve))
        figures = {k: round(run[k], 2) for k in ("wall_s", "cpu_s", "peak_mb")}
        summary |= {f"records_{count}_{name}": value for name, value in figures.items()}
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--records", type=int)
    parser.add_argument(
        "--tfdv-python",
        help="interpreter that has tensorflow-data-validation; for Python 3.11 an environment "
        'with: pip install tensorflow-data-validation dill "setuptools<80"',
    )
    parser.add_argument("--contender", choices=("decode", "decode_grey", "tensorflow"))
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.contender:
        run = {
            "decode": run_decode,
            "decode_grey": lambda folder: run_decode(
                folder, colorspace="GRAY", min_height=60, min_width=80
            ),
            "tensorflow": run_tensorflow,
        }[arguments.contender]
        print(json.dumps(run(arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        summary = (
            grow(folder, arguments.records)
            if arguments.records
            else compare(
                folder,
                copies=arguments.copies,
                repeat=arguments.repeat,
                tfdv=arguments.tfdv_python,
            )
        )
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
